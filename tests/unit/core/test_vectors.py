"""Stored forms are frozen: golden bytes, and an independent JOSE library opens a leg."""

import json
from pathlib import Path

import pytest
from jwcrypto import jwe, jwk
from make_vectors import EPOCH, TENANT, vectors

from calllog_guard.core.cases.secret_cases import open_case, secret_key
from calllog_guard.core.codec import encode
from calllog_guard.core.crypto.held_envelope import HoldEntry, HoldSecret, open_hold
from calllog_guard.core.crypto.leg_envelope import LegHeader, leg_head, leg_header, nonces, open_leg, seal_each
from calllog_guard.core.crypto.subject_secrets import DataKey, Secret, month_from
from calllog_guard.core.identifiers import EpochName, b64
from calllog_guard.core.retention.tally import TallyName, TallyPlace, open_tally, tally_epoch
from calllog_guard.errors import EntryCorruptError, RecordError

GOLDEN = json.loads((Path(__file__).parents[2] / "vectors" / "stored_v1.json").read_text())


def test_every_stored_form_is_as_it_was() -> None:
    assert vectors() == GOLDEN


@pytest.mark.parametrize("purposes", [0, 1, (1 << 50) - 1])
@pytest.mark.parametrize("topic", ["calllog.legs", "a.b_c-9.legs"])
def test_the_first_part_of_a_leg_is_its_encoded_header(purposes: int, topic: str) -> None:
    kid, rid = "AQIDBAUGBwgJCgsMDQ4PEA", "_-_-_-_-_-_-_-_-_-_-_A"
    header = LegHeader(
        kid=kid, mon="2026-10", day="2026-10-31", rid=rid, pur=purposes, pol="2026-11-01", ten="io-9", top=topic
    )
    assert leg_header(leg_head("2026-11-01", "io-9", topic), kid, "2026-10-31", rid, purposes) == encode(header)


def test_no_nonce_is_handed_out_twice() -> None:
    drawn = [*nonces(1000), *nonces(1000)]
    assert len({raw for raw, _ in drawn}) == 2000
    assert {len(raw) for raw, _ in drawn} == {12}
    assert all(text == b64(raw) for raw, text in drawn)


def test_what_is_sealed_at_once_is_what_is_sealed_alone() -> None:
    """Headers and texts of every length: none's letters depend on its neighbours', and each opens under its own key."""
    keys = [DataKey(bytes([number]) * 32) for number in range(200)]
    drafts = [(b"h" * (number % 7 + 1), b"p" * number, key) for number, key in enumerate(keys)]
    sealed = seal_each(drafts)
    assert [open_leg(leg, key) for leg, key in zip(sealed, keys, strict=True)] == [text for _, text, _ in drafts]
    parts = [leg.split(b".") for leg in sealed]
    assert [(each[0], each[1]) for each in parts] == [(b64(header), b"") for header, _, _ in drafts]
    assert len({each[2] for each in parts}) == len(parts), "no nonce twice"
    with pytest.raises(RecordError):
        open_leg(sealed[0], keys[1])
    assert seal_each([]) == []


def test_an_independent_jose_library_opens_a_leg() -> None:
    key = bytes.fromhex(GOLDEN["data_key"])
    foreign = jwe.JWE(algs=["dir", "A256GCM"])
    foreign.deserialize(GOLDEN["leg"], jwk.JWK(kty="oct", k=b64(key).decode()))
    assert foreign.payload.rstrip(b" ").decode() == GOLDEN["leg_plaintext"]
    assert len(foreign.payload) % 64 == 0
    assert foreign.jose_header["kid"] == GOLDEN["pseudonym"]


def test_an_independent_jose_library_opens_a_copy_under_a_hold() -> None:
    foreign = jwe.JWE(algs=["dir", "A256GCM"])
    foreign.deserialize(GOLDEN["copy"], jwk.JWK(kty="oct", k=b64(bytes.fromhex(GOLDEN["copy_key"])).decode()))
    assert foreign.payload.rstrip(b" ").decode() == GOLDEN["leg_plaintext"]
    assert foreign.jose_header["kid"] == GOLDEN["hold_id"]
    assert foreign.jose_header["typ"] == "calllog-held"


def test_a_hold_comes_back_and_no_bit_may_change() -> None:
    raw, key = bytes.fromhex(GOLDEN["hold"]), Secret(b"\x03" * 32)
    entry = open_hold(raw, b"place", key)
    assert entry == HoldEntry(EpochName("2026-W48"), HoldSecret(b"\x07" * 32), GOLDEN["hold_terms"].encode())
    assert open_hold(bytes.fromhex(GOLDEN["hold_released"]), b"place", key).secret is None
    for position in range(len(raw)):
        changed = raw[:position] + bytes([raw[position] ^ 1]) + raw[position + 1 :]
        with pytest.raises(EntryCorruptError):
            open_hold(changed, b"place", key)
    with pytest.raises(EntryCorruptError):
        open_hold(raw, b"elsewhere", key)


def test_a_secret_case_opens_in_its_place_alone() -> None:
    record, key = GOLDEN["secret_case"].encode(), Secret(b"\x03" * 32)
    assert open_case(secret_key(GOLDEN["case_id"]), record, key).hold == GOLDEN["hold_id"]
    with pytest.raises(RecordError):
        open_case(secret_key("A" * 22), record, key)
    assert b"hold" not in record


def test_our_reader_opens_the_golden_leg() -> None:
    opened = open_leg(GOLDEN["leg"].encode(), DataKey(bytes.fromhex(GOLDEN["data_key"])))
    assert opened.decode() == GOLDEN["leg_plaintext"]


def test_our_keeper_opens_the_golden_tally() -> None:
    raw, place = (
        bytes.fromhex(GOLDEN["tally"]),
        TallyPlace(TENANT, 7, TallyName(month_from("2026-11"), month_from("2026-08"))),
    )
    tally = open_tally(raw, place, Secret(b"\x03" * 32))
    assert (tally_epoch(raw), [(cell.day.day, count.legs, count.people) for cell, count in tally.cells.items()]) == (
        EPOCH,
        [(14, 2, 1), (15, 70_000, 10)],
    )
    assert [(key.decode(), offset) for key, offset in tally.batch.items()] == [
        (f"{GOLDEN['pseudonym']}.{GOLDEN['token']}", 258)
    ]
