"""Stored forms are frozen: golden bytes, and an independent JOSE library opens a leg."""

import json
from pathlib import Path

from jwcrypto import jwe, jwk
from make_vectors import EPOCH, TENANT, vectors

from calllog_guard.core.crypto.envelope import open_leg
from calllog_guard.core.crypto.secrets import DataKey, Secret, month_from
from calllog_guard.core.ids import b64
from calllog_guard.core.retention.tally import Place, TallyName, open_tally, tally_epoch

GOLDEN = json.loads((Path(__file__).parents[1] / "vectors" / "stored_v1.json").read_text())


def test_every_stored_form_is_as_it_was() -> None:
    assert vectors() == GOLDEN


def test_an_independent_jose_library_opens_a_leg() -> None:
    key = bytes.fromhex(GOLDEN["data_key"])
    foreign = jwe.JWE(algs=["dir", "A256GCM"])
    foreign.deserialize(GOLDEN["leg"], jwk.JWK(kty="oct", k=b64(key).decode()))
    assert foreign.payload.rstrip(b" ").decode() == GOLDEN["leg_plaintext"]
    assert len(foreign.payload) % 64 == 0
    assert foreign.jose_header["kid"] == GOLDEN["pseudonym"]


def test_our_reader_opens_the_golden_leg() -> None:
    opened = open_leg(GOLDEN["leg"].encode(), DataKey(bytes.fromhex(GOLDEN["data_key"])))
    assert opened.decode() == GOLDEN["leg_plaintext"]


def test_our_keeper_opens_the_golden_tally() -> None:
    raw, place = (
        bytes.fromhex(GOLDEN["tally"]),
        Place(TENANT, 7, TallyName(month_from("2026-11"), month_from("2026-08"))),
    )
    tally = open_tally(raw, place, Secret(b"\x03" * 32))
    assert (tally_epoch(raw), [(cell.day.day, count.legs, count.people) for cell, count in tally.cells.items()]) == (
        EPOCH,
        [(14, 2, 1), (15, 70_000, 10)],
    )
    assert [(key.decode(), offset) for key, offset in tally.batch.items()] == [
        (f"{GOLDEN['pseudonym']}.{GOLDEN['token']}", 258)
    ]
