"""A file of identifiers names the same people whatever program wrote it, or is refused with its line."""

import pytest

from calllog_guard.core.identity.id_file import identifiers
from calllog_guard.errors import ConfigurationError

PEOPLE = ["alice@example.org", "josé@example.org", "+441632960961"]


@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("around", ["", " ", "\t", "\u00a0 "])
def test_editors_of_every_system_name_the_same_people(coding: str, end: str, around: str) -> None:
    raw = end.join(["", *(around + each + around for each in PEOPLE), "", ""]).encode(coding)
    assert [text for _, text in identifiers(raw, "--subject")] == PEOPLE


def test_lines_are_told_by_their_number() -> None:
    assert identifiers(b"a\n\n\nb\n", "--subject") == [(1, "a"), (4, "b")]


@pytest.mark.parametrize("mark", [b"\xff\xfe", b"\xfe\xff"])
def test_big_and_little_ends_are_told_by_the_mark(mark: bytes) -> None:
    raw = mark + "a@x\r\n".encode("utf-16-le" if mark == b"\xff\xfe" else "utf-16-be")
    assert identifiers(raw, "--subject") == [(1, "a@x")]


def test_files_that_were_joined_have_a_mark_inside() -> None:
    assert identifiers(b"\xef\xbb\xbfa@x\n\xef\xbb\xbfb@x\n", "--subject") == [(1, "a@x"), (2, "b@x")]


def test_unicodes_line_separators_part_no_identifier() -> None:
    """`str.splitlines` would make two people of one, and erase a third."""
    assert identifiers("a\u2028b\u0085".replace("\u0085", "").encode(), "--subject") == [(1, "a\u2028b")]


@pytest.mark.parametrize(
    "raw",
    [
        "josé@example.org".encode("latin-1"),
        "alice@example.org\n".encode("utf-16-le"),
        b"alice@example.org\x00\n",
        b"a\x0bb@example.org\n",
        b"\xff\xfea",
        "a\u0085b".encode(),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused_and_not_quoted(raw: bytes) -> None:
    with pytest.raises(ConfigurationError, match="--canary FILE: ") as caught:
        identifiers(raw, "--canary FILE")
    assert "example" not in str(caught.value)
