"""Stored forms are frozen: golden bytes, and an independent JOSE library opens a leg."""

import json
from pathlib import Path

from jwcrypto import jwe, jwk
from make_vectors import vectors

from calllog_guard.core.crypto.envelope import open_leg
from calllog_guard.core.crypto.secrets import DataKey
from calllog_guard.core.ids import b64

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
