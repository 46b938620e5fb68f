"""One text per value: what is not the one base64url form of its bytes is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calllog_guard.core.identifiers import b64, unb64

LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@given(st.binary(max_size=400))
def test_every_value_has_a_text_and_comes_back(raw: bytes) -> None:
    assert unb64(b64(raw)) == raw


@given(st.lists(st.sampled_from([*LETTERS, *b"+/=\n .\x00\xff"]), max_size=12).map(bytes))
def test_no_value_has_two_texts(text: bytes) -> None:
    try:
        raw = unb64(text)
    except ValueError:
        return
    assert b64(raw) == text


def test_texts_of_one_and_two_letters_are_those_of_one_byte() -> None:
    good = [text for text in (bytes([a, b]) for a in range(256) for b in range(256)) if b64(raw_or_none(text)) == text]
    assert len(good) == 256
    with pytest.raises(ValueError, match="base64url"):
        unb64(b"A")


def raw_or_none(text: bytes) -> bytes:
    """The bytes of a text; none when it is refused."""
    try:
        return unb64(text)
    except ValueError:
        return b""
