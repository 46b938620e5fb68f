"""
What an outsider still sees of erased persons: values and keys of their legs, in records and in raw bytes.

Rules: 1. Any value but null counts.  2. Raw bytes count too: the pseudonym stands plain in a key and in
       base64 in a leg's protected header, so that a torn or renamed file hides nothing.
Source: docs/adr/0007-absence-is-observed.md.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from calllog_guard.core.audit.traces import base64_phases

_NAME: Final = 22
KEY: Final = 45
"""Characters of a record key: a person, a dot, a token."""


@dataclass(slots=True)
class Sighting:
    """What was seen of one pseudonym: values (legs), and keys (legs and tombstones); both 0 means gone."""

    values: int = 0
    keys: int = 0

    def add(self, other: "Sighting") -> None:
        """Sum up two means of observation."""
        self.values += other.values
        self.keys += other.keys

    def most(self, other: "Sighting") -> "Sighting":
        """Of two means over the same bytes, what either saw."""
        return Sighting(max(self.values, other.values), max(self.keys, other.keys))


@dataclass(slots=True)
class Look:
    """
    One look at one partition by one means, for many pseudonyms, or record keys, at once.

    `unread` counts what was not fully read: that look shows presence, never absence. `live` is false of a disk holding
    only what a move or a deletion has left.
    """

    seen: dict[bytes, Sighting] = field(default_factory=dict)
    records: int = 0
    size_bytes: int = 0
    unread: int = 0
    live: bool = True

    @classmethod
    def for_(cls, pseudonyms: Iterable[str]) -> "Look":
        """Nothing seen yet."""
        return cls({name.encode(): Sighting() for name in pseudonyms})

    def record(self, key: bytes | None, value: bytes | None) -> None:
        """Take one record into account."""
        self.records += 1
        self.size_bytes += len(key or b"") + len(value or b"")
        for name in self.named(key or b""):
            self.seen[name].add(Sighting(int(value is not None), 1))

    def named(self, key: bytes) -> list[bytes]:
        """Which of those looked for a record key belongs to: its person, its very self, or both."""
        return [name for name in (key[:_NAME], key) if name in self.seen]

    def kafka_record(self, record: Any) -> None:
        """Take one record of a client library into account."""
        self.record(record.key, record.value)


def marks(names: Iterable[bytes]) -> dict[bytes, tuple[bytes, bool]]:
    """
    Byte strings that betray a pseudonym or a record key: whose, and whether they belong to a value (else to a key).

    Record keys are told by person and dot, once for hundreds of thousands of them: what follows says which it is.
    """
    found: dict[bytes, tuple[bytes, bool]] = {}
    for name in names:
        if len(name) > _NAME:
            found[name[: _NAME + 1]] = (b"", False)
            continue
        found[name] = (name, False)
        for form in base64_phases(
            name
        ):  # a leg's header names person and record apart: only the person stands there whole
            found[form] = (name, True)
    return found
