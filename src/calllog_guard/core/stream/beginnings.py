"""
Where a role goes on in a partition, and whether something that it has not read is gone.

In: what Kafka shows of the partition, how far the role has read it, what an officer has accepted.  Out: `Start`, `Gap`.
Rules: 1. A topic is known by Kafka's id, not by its name: a topic made anew shares no offset with the old one.
       2. What counts is where the log begins, not which offsets hold a record: compaction and transactions empty some.
       3. Nothing is passed over but what an officer accepted by name, up to the offset shown: an offset that somebody
          else set ahead of what was read is not believed.
Source: docs/how-to/kafka.md; Apache Kafka, KIP-516 (topic ids), `log start offset`.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from calllog_guard.core.identifiers import ID_BYTES, b64, id_bytes, id_text
from calllog_guard.core.officers.acceptances import Accepted, AcceptedSpan
from calllog_guard.errors import EntryCorruptError, NewerFormError

NO_ID: Final = id_text(bytes(ID_BYTES))
"""The id of a topic that has none: brokers before 2.8, and what nobody has seen yet."""
MARK: Final = "calllog-guard"
"""Stands beside each offset that we commit; the tools that set offsets leave nothing there."""
_REACHED: Final = struct.Struct(">B16sQB")
_VERSION: Final = 1


class Shape(NamedTuple):
    """A topic as a whole: Kafka's id of it, and its partitions."""

    id: str
    partitions: tuple[int, ...]


class Extent(NamedTuple):
    """A partition as Kafka shows it: its topic's id, the first offset that is there, and the next to be written."""

    id: str
    first: int
    end: int


@dataclass(frozen=True, slots=True)
class Reached:
    """
    How far a role has read a partition.

    Args:
        id: Of the topic that was read.
        offset: The next to read.
        torn: The log ended before this offset when it was looked at last: what lies there now is something else.

    """

    id: str
    offset: int
    torn: bool = False


class Committed(NamedTuple):
    """An offset that a group has committed; `ours` is one that bears our mark."""

    offset: int
    ours: bool = True


def set_ahead(committed: Committed, reached: Reached, extent: Extent) -> bool:
    """Whether somebody else set an offset ahead of what a role has read: what lies between would be lost unseen."""
    return not committed.ours and reached.id == extent.id and committed.offset > reached.offset


def reached_key(role: str, topic: str, partition: int) -> bytes:
    """Where the keystore keeps a role's place in a partition; Kafka forgets offsets, and deletes them with a topic."""
    return f"clg:~read:{role}:{topic}:{partition}".encode()


def reached_entry(reached: Reached) -> bytes:
    """The entry, version 1: version, topic id, offset, flags."""
    return _REACHED.pack(_VERSION, id_bytes(reached.id), reached.offset, reached.torn)


def read_reached(entry: bytes) -> Reached:
    """
    What an entry says.

    Raises:
        EntryCorruptError: No entry of ours.
        NewerFormError: A later release's.

    """
    if entry[:1] > bytes([_VERSION]) and len(entry) >= _REACHED.size:
        raise NewerFormError("the entry of how far a topic was read", entry[0], _VERSION)
    if len(entry) != _REACHED.size or entry[0] != _VERSION:
        raise EntryCorruptError("an entry of how far a topic was read has an unknown form")
    _, raw, offset, flags = _REACHED.unpack(entry)
    return Reached(b64(raw).decode(), offset, bool(flags))


class Start(NamedTuple):
    """Where reading goes on; `lost` counts offsets that are passed over, `anew`: nothing before it counts any more."""

    offset: int
    lost: int = 0
    anew: bool = False


Kind = Literal["trimmed", "anew", "cut_short"]


class Gap(NamedTuple):
    """
    What is gone of a partition before it was read.

    Args:
        kind: `trimmed` at its beginning; the topic was made `anew`; its end was `cut_short`, below what was read.
        was: The topic that was read before, `id` the one that is there.
        from_: The first offset that was not read; `to` is where reading can go on.

    """

    topic: str
    partition: int
    kind: Kind
    was: str
    from_: int
    id: str
    to: int

    @property
    def records(self) -> int | None:
        """How many records are gone at most; None where nobody can know."""
        return self.to - self.from_ if self.kind == "trimmed" else None

    @property
    def span(self) -> AcceptedSpan:
        """What an officer must accept."""
        return AcceptedSpan(partition=self.partition, was=self.was, from_=self.from_, to=self.to)

    def __str__(self) -> str:
        """What happened, in a sentence."""
        place = f"{self.topic}/{self.partition}"
        if self.kind == "trimmed":
            return (
                f"{place} begins at offset {self.to} and was read up to {self.from_}: "
                f"records {self.from_} to {self.to - 1} are gone unread"
            )
        if self.kind == "anew":
            return (
                f"{self.topic} was deleted and made anew (id {self.id}, not {self.was}): what followed offset "
                f"{self.from_} of partition {self.partition} is gone unread"
            )
        return f"{place} ends before offset {self.from_}, up to which it was read: brokers have lost its end"


def begin(
    place: tuple[str, int], extent: Extent, reached: Reached, committed: int | None, accepted: Iterable[Accepted]
) -> Start | Gap:
    """
    Where reading goes on.

    Args:
        reached: How far the role has read; of a partition that nobody has read yet, where it is expected to begin.
        committed: What Kafka keeps of the role's group; lower than `reached` where an operator wants a replay.

    """
    spans = [
        span
        for each in accepted
        if (each.claims.topic, each.claims.id) == (place[0], extent.id)
        for span in each.claims.spans
        if span.partition == place[1]
    ]
    position = reached.offset if committed is None else committed
    handled, anew = max(position, reached.offset), False
    if reached.id not in {extent.id, NO_ID} and extent.id != NO_ID:
        found = [span.to for span in spans if span.was == reached.id]
        if not found:
            return Gap(*place, "anew", reached.id, reached.offset, extent.id, extent.first)
        position, handled, anew = max(found), max(found), True
    elif reached.torn or handled > extent.end:
        found = [span.to for span in spans if span.was == extent.id and span.from_ == handled and span.to <= handled]
        if not found:
            return Gap(*place, "cut_short", extent.id, handled, extent.id, extent.first)
        position, handled, anew = max(found), max(found), True
    if extent.first <= handled:
        return Start(max(position, extent.first), anew=anew)
    if not any(span.was == extent.id and span.from_ <= handled and extent.first <= span.to for span in spans):
        return Gap(*place, "trimmed", extent.id, handled, extent.id, extent.first)
    return Start(extent.first, extent.first - handled, anew)
