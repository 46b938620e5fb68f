"""What survives a restart: the keeper's index, rows on disk, and what a follower remembers."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from enum import IntEnum
from typing import Protocol

import msgspec


class LegFacts(msgspec.Struct, frozen=True):
    """What decides when a leg falls due: its call's day, its purposes, the policy that sealed it; and where it lies."""

    day: date
    mask: int
    policy: str
    offset: int = 0


class Pending(msgspec.Struct, frozen=True):
    """A decision that waits for its barrier, an offset of the legs; `offset` is its own place in the ledger."""

    decision: bytes
    barrier: int
    offset: int = 0


class Position(msgspec.Struct, frozen=True):
    """Up to where both topics are in the index, which topics they were, when (milliseconds), and the rows' form."""

    legs: int
    decisions: int
    topics: str
    at_ms: int
    form: int = 1


class Index(Protocol):
    """The keeper's index of one partition; changes gather until `commit`. Raises IndexFaultError: rebuild it."""

    def put(self, key: bytes, facts: LegFacts) -> None:
        """A leg is there."""

    def remove(self, key: bytes) -> None:
        """A leg is gone."""

    def pend(self, key: bytes, pending: Pending) -> None:
        """Note a decision that waits."""

    def unpend(self, key: bytes) -> None:
        """A decision is done."""

    def commit(self, position: Position) -> None:
        """Write everything since the last commit, with the position, at once."""

    def position(self) -> Position | None:
        """Up to where the index is."""

    def facts(self, key: bytes) -> LegFacts | None:
        """What is known of a leg."""

    def legs_of(self, pseudonym: str) -> list[tuple[LegFacts, bytes]]:
        """Facts and record keys of a person's legs."""

    def legs_after(self, pseudonym: str, key: bytes, most: int) -> list[tuple[LegFacts, bytes]]:
        """As `legs_of`, in the order of their keys: so many at most of those behind `key`."""

    def people_after(self, pseudonym: str, most: int) -> list[str]:
        """The pseudonyms that have legs, in their order: so many at most of those behind one; costs a look-up each."""

    def pending(self) -> dict[bytes, Pending]:
        """Decisions that wait, by ledger key, in the order of the ledger."""

    def by_day(self) -> Iterator[tuple[LegFacts, bytes]]:
        """Facts (without the place) and record keys, the oldest day first."""

    def groups(self) -> Iterator[LegFacts]:
        """The different facts, the oldest day first; costs a look-up each, however many legs share them."""

    def keys_with(self, facts: LegFacts) -> Iterator[bytes]:
        """The record keys of the legs with these facts."""

    def forget(self) -> None:
        """Make sure that removed rows leave the files."""

    def close(self) -> None:
        """Close the files."""

    def destroy(self) -> None:
        """Close and delete the files."""


class Rows(Protocol):
    """Sorted rows of bytes that survive a restart. Raises IndexFaultError: delete them, they are made anew."""

    def write(self, rows: Mapping[bytes, bytes | None]) -> None:
        """Put rows, and remove those that are None: all or nothing."""

    def get(self, key: bytes) -> bytes | None:
        """One row."""

    def begin(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The rows whose keys begin so, in their order; what is written meanwhile may be missed."""

    def forget(self) -> None:
        """Make sure that removed rows leave the files."""

    def close(self) -> None:
        """Let go of the files."""

    def destroy(self) -> None:
        """Delete the files."""


class Shown(IntEnum):
    """Whether a leg is downstream: hidden (restricted, objected to, no consent), there, or handed out, maybe there."""

    HIDDEN = 0
    THERE = 1
    PERHAPS = 2


class ShownLeg(msgspec.Struct, frozen=True, gc=False):
    """
    A leg, or the copy of one, that a follower was shown, or may be shown later.

    Args:
        name: Of its person in the log, or of the hold that keeps the copy; `token` names the leg, and its copy too.
        offset: Where in its partition it lies.
        day: Of the call's start, and `policy` the version it was sealed under: what decides when it lapses.

    """

    name: str
    token: str
    partition: int
    offset: int
    day: str
    policy: str
    shown: Shown


class Bookmark(msgspec.Struct, frozen=True):
    """
    Up to where a follower has read, and for whom.

    Args:
        reading: What is read and how it is meant (tenant, topic, purpose, fields); another meaning starts anew.
        offsets: By topic and partition.
        whole_ms: Everything that was appended before this moment has been read.

    """

    reading: tuple[str, ...]
    offsets: dict[str, dict[int, int]]
    whole_ms: int


class Cursor(Protocol):
    """What a follower remembers between two starts. Raises ConfigurationError: the file is no cursor, or in use."""

    def bookmark(self) -> Bookmark | None:
        """Up to where; None in a new one."""

    def at(self, name: str, tokens: Sequence[str]) -> list[ShownLeg]:
        """Some legs of one name, as far as they are remembered."""

    def of(self, names: Sequence[str]) -> list[ShownLeg]:
        """Every leg of some people."""

    def names_after(self, name: str, most: int) -> list[str]:
        """The next names of people in their order, each once."""

    def days(self) -> list[tuple[str, str]]:
        """The days, each with policy version, that the legs have."""

    def of_day(self, day: str, policy: str) -> list[ShownLeg]:
        """Every leg of a day that was sealed under a version."""

    def save(self, bookmark: Bookmark, kept: Sequence[ShownLeg], dropped: Sequence[tuple[str, str]]) -> None:
        """Write all of it at once, durably: legs that are there (again), and names and tokens to be forgotten."""

    def clear(self) -> None:
        """Forget everything."""

    def close(self) -> None:
        """Close the file."""
