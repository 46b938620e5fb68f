"""What an entry says of who else somebody is: sealed, as long for two as for a dozen, and each decision whole."""

import pytest

from calllog_guard.core.codec import decode, encode
from calllog_guard.core.crypto.same_person import (
    SAMENESSES,
    Linked,
    Same,
    Sameness,
    groups_after,
    open_same,
    seal_same,
)
from calllog_guard.core.crypto.subject_secrets import Secret
from calllog_guard.core.identifiers import EpochName, Lookup
from calllog_guard.errors import EntryCorruptError

KEY, NONCE, EPOCH = Secret(bytes(32)), bytes(12), EpochName("2026-W48")
A, B, C, D = (Linked(who=letter * 43, generation=number) for number, letter in enumerate("ABCD", 1))


def sealed(same: Same) -> bytes:
    return seal_same(same, EPOCH, b"place", KEY, NONCE)


def test_what_is_sealed_comes_back_and_no_bit_may_change() -> None:
    same = Same().with_rule(Lookup("E" * 43)).with_links([B, A])
    entry = sealed(same)
    assert open_same(entry, b"place", KEY) == same
    assert (same.links, same.lookups) == ((A, B), ("E" * 43,)), "in one order, and each reason by itself"
    for position in range(0, len(entry), 7):
        changed = entry[:position] + bytes([entry[position] ^ 1]) + entry[position + 1 :]
        with pytest.raises(EntryCorruptError):
            open_same(changed, b"place", KEY)
    with pytest.raises(EntryCorruptError):
        open_same(entry, b"elsewhere", KEY)


def test_the_size_of_an_entry_does_not_tell_how_many_they_are() -> None:
    sizes = {len(sealed(Same().with_links([Linked(who=letter * 43, generation=1) for letter in "ABCDEFGH"[:many]])))
             for many in (1, 2, 8)}  # fmt: skip
    assert len(sizes) == 1


def test_links_end_and_rules_stay() -> None:
    same = Same().with_rule(Lookup("E" * 43)).with_links([A, B])
    assert same.without([A.lookup]).links == (B,)
    assert same.without([A.lookup, B.lookup]) == Same().with_rule(Lookup("E" * 43))
    assert not same.with_links(()).is_empty
    assert Same().with_links([A]).with_links(()).is_empty


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ([], []),
        ([((A, B),)], [{A, B}]),
        ([((A, B),), ((A,), (B,))], [{A}, {B}]),
        ([((A, B),), ((C, D),), ((A, B, C, D),)], [{A, B, C, D}]),
        ([((A, B, C),), ((B, C), (A,))], [{B, C}, {A}]),
        ([((A, B, C),), ((A,), (C,))], [{B}, {A}, {C}]),
        ([((A, B),), ((A,), (B,)), ((B, A),)], [{A, B}]),
    ],
)
def test_of_everybody_the_last_decision_counts(
    said: list[tuple[tuple[Linked, ...], ...]], wanted: list[set[Linked]]
) -> None:
    """Of somebody whom the last one names no more, because they were gone, nothing of before it holds."""
    decisions = [decode(SAMENESSES, encode(Sameness(groups=groups))) for groups in said]
    found = [set(group) for group in groups_after(decisions)]
    assert sorted(found, key=str) == sorted(wanted, key=str)
