"""What is derived is HKDF's, by the word of a library: with and without salt, link by link."""

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from calllog_guard.core.crypto.subject_secrets import (
    READY_MOST,
    DataKey,
    Link,
    Month,
    Secret,
    TokenKey,
    derive,
    link_at,
    month_from,
)
from calllog_guard.core.identifiers import CallId

RAW = st.binary(min_size=32, max_size=32)


def by_library(raw: bytes, use: str, size: int, salt: bytes | None) -> bytes:
    """RFC 5869."""
    return HKDF(hashes.SHA256(), size, salt, f"calllog-guard/v1/{use}".encode()).derive(raw)


@given(RAW, st.none() | RAW, st.text(st.characters(codec="utf-8"), max_size=40), st.sampled_from([16, 32]))
def test_what_is_derived_is_hkdfs(raw: bytes, salt: bytes | None, use: str, size: int) -> None:
    found = derive(Secret(raw), use, size, beside=None if salt is None else Secret(salt))
    assert found == by_library(raw, use, size, salt)


@given(RAW)
def test_each_link_is_derived_of_the_one_before(raw: bytes) -> None:
    november, february = month_from("2026-11"), month_from("2027-02")
    expected = raw
    for text in ("2026-12", "2027-01", "2027-02"):
        expected = by_library(expected, f"link/{text}", 32, None)
    assert link_at(Link(raw), november, february).expose() == expected
    assert link_at(Link(raw), november, november) == Link(raw)


def test_a_ratchet_does_not_turn_back() -> None:
    with pytest.raises(ValueError, match="moved past"):
        link_at(Link(bytes(32)), Month(10), Month(9))


def test_only_so_many_ciphers_are_kept_at_once_and_each_is_made_anew_where_it_is_wanted() -> None:
    """A cipher takes fifty times the memory of its key: those of a hundred thousand people would take 300 MB."""
    keys = [DataKey(number.to_bytes(32, "big")) for number in range(READY_MOST + 10)]
    names = [TokenKey(number.to_bytes(32, "big")) for number in range(5)]
    sealed = keys[0].aes().encrypt(bytes(12), b"leg", None)
    token = names[0].token(CallId("call-1"))
    for each in keys:
        each.aes()
    assert sum(each._aes is not None for each in keys) <= READY_MOST
    assert (keys[0]._aes, names[0]._begun) == (None, None), "the first made rests first"
    assert keys[0].aes().decrypt(bytes(12), sealed, None) == b"leg"
    assert names[0].token(CallId("call-1")) == token
