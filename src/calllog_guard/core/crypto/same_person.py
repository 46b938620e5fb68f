"""
Who else a person is: the other keys of the keystore under which the same human is known.

Rules: 1. Sealed: a keystore's reader does not learn which of its people are one.  2. Each kind of reason has its field:
          one ends without the others.  3. Rules of identity name the next only, in both directions; a `same_as` names
          all others, so that one who leaves parts nobody else.
       4. What a `same_as` says is of people in a generation: with an erasure it ends by itself.
Source: docs/adr/0012-identity-is-fixed.md, docs/adr/0019-several-identifiers.md;
  vectors in `tests/vectors/stored_v2.json`.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Annotated, Final, Literal

import msgspec
from msgspec.structs import replace

from calllog_guard.core.codec import Internal, Rewritten, decode, encode
from calllog_guard.core.crypto.entries import open_bytes, seal_bytes
from calllog_guard.core.crypto.subject_secrets import Secret
from calllog_guard.core.identifiers import EpochName, Lookup, Tenant
from calllog_guard.errors import EntryCorruptError, MessageError

LookupText = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{43}$(?!\n)")]
SAME_MOST: Final = 100
"""Identifiers of one person; more is no human's, and their entries are compared at once (`WATCHED_MOST`)."""


class Linked(Rewritten, frozen=True, kw_only=True):
    """One of the people whom a `same_as` has made one, in the generation that they were in then."""

    who: LookupText
    generation: Annotated[int, msgspec.Meta(ge=0)]

    @property
    def lookup(self) -> Lookup:
        """Under which key their entry lies."""
        return Lookup(self.who)


class Same(Rewritten, frozen=True, kw_only=True):
    """
    The content of an entry.

    Args:
        rules: Whom a change of the rules of identity has made the same person.
        named: Everybody else whom a `same_as` has made the same person.

    """

    v: Literal[1] = 1
    rules: tuple[LookupText, ...] = ()
    named: tuple[Linked, ...] | msgspec.UnsetType = msgspec.UNSET

    @property
    def lookups(self) -> tuple[Lookup, ...]:
        """Those of the rules of identity."""
        return tuple(map(Lookup, self.rules))

    @property
    def links(self) -> tuple[Linked, ...]:
        """Those of a `same_as`."""
        return self.named or ()

    @property
    def is_empty(self) -> bool:
        """Whether it says nothing, as far as this release knows."""
        return not self.rules and not self.links and self.rest is msgspec.UNSET

    def with_rule(self, other: Lookup) -> "Same":
        """The same, and one more whom rules of identity have made the same person."""
        return self if other in self.rules else replace(self, rules=(*self.rules, other))

    def with_links(self, others: Sequence[Linked]) -> "Same":
        """The same, with these alone as whom a `same_as` has made the same person."""
        return replace(self, named=tuple(sorted(others, key=lambda each: each.who)) or msgspec.UNSET)

    def without(self, gone: Collection[Lookup]) -> "Same":
        """The same, and no `same_as` says anything of these people any more."""
        return self.with_links([each for each in self.links if each.who not in gone])


class Sameness(Internal, frozen=True, kw_only=True):
    """
    What a decision of the types `same_as` and `not_same_as` seals: who is one person from then on, whole.

    Everybody stands in one group whose place changes; who is alone in theirs is nobody else any more.
    """

    v: Literal[1] = 1
    groups: tuple[tuple[Linked, ...], ...]


def groups_after(said: Iterable[Sameness]) -> list[tuple[Linked, ...]]:
    """Who is one person after some decisions, in their order: of everybody the last one alone says it."""
    last: dict[Lookup, tuple[int, Linked]] = {}
    groups = (group for each in said for group in each.groups)
    for number, group in enumerate(groups):
        last |= {one.lookup: (number, one) for one in group}
    found: dict[int, list[Linked]] = {}
    for number, one in last.values():
        found.setdefault(number, []).append(one)
    return [tuple(group) for group in found.values()]


SAMES: Final = msgspec.json.Decoder(Same)
SAMENESSES: Final = msgspec.json.Decoder(Sameness)
_TAG: Final = b"same"
_PAD: Final = 1024
"""What a `same_as` says is as long for two as for a dozen: the size of an entry tells nothing of how many there are."""


def same_key(tenant: Tenant, lookup: Lookup) -> bytes:
    """Where the entry of a person lies."""
    return f"clg:{tenant}:same:{lookup}".encode()


def seal_same(same: Same, epoch: EpochName, place: bytes, key: Secret, nonce: bytes) -> bytes:
    """An entry under the tenant's epoch key; `place` is its keystore key."""
    content = encode(same)
    padded = content if same.named is msgspec.UNSET else content + b" " * (-len(content) % _PAD)
    return seal_bytes(_TAG, epoch, padded, place, key, nonce)


def read_same(content: bytes) -> Same:
    """
    What is sealed in an entry.

    Raises:
        EntryCorruptError: None of ours.

    """
    try:
        return decode(SAMES, content)
    except MessageError:
        raise EntryCorruptError("an entry of the keystore does not say who else somebody is") from None


def open_same(entry: bytes, place: bytes, key: Secret) -> Same:
    """
    What an entry says.

    Raises:
        EntryCorruptError: Changed in any bit, or another's.

    """
    return read_same(open_bytes(_TAG, entry, place, key)[1])
