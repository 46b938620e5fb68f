"""
What each role reads, from where its group was and whole, as `core/topics.py` says.

For the workers, for the auditor's alarms and for `topics accept`.
Source: docs/reference/topics.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from calllog_guard.core.stream.beginnings import Shape, reached_key
from calllog_guard.core.topics import LATER, TABLE, Topic
from calllog_guard.ports.log import Place
from calllog_guard.settings import Settings

WHOLE: Final = "all"
"""The reader's name of what every role reads from its beginning: nothing may be cut off it."""


class Spot(NamedTuple):
    """A partition with who reads it: a role, or WHOLE."""

    reader: str
    topic: str
    partition: int

    @property
    def place(self) -> Place:
        """The partition alone."""
        return self.topic, self.partition

    @property
    def key(self) -> bytes:
        """Where the keystore keeps how far it was read."""
        return reached_key(*self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reads:
    """
    What a role reads.

    Args:
        topics: Read on from where the group was.
        whole: Read from their beginning at each assignment, with their partition counts.
        marked: Whether every member of the group marks what it commits; one of the first release does not.
        later: Those among them that an installation of the first release has none of before its upgrade.
        quiet: What is read of these moves no figure and no line of a log: it tells of secret holds.
        fixed: The partitions `topics` were created with; None: they are the backends', may differ, grow, be missing.

    """

    role: str
    group: str
    topics: tuple[str, ...]
    whole: Mapping[str, int]
    fixed: int | None
    marked: bool = False
    later: frozenset[str] = frozenset()
    quiet: frozenset[str] = frozenset()

    @property
    def named(self) -> list[str]:
        """Every topic."""
        return list(dict.fromkeys([*self.topics, *self.whole]))

    @property
    def wanted(self) -> dict[str, int]:
        """How many partitions each topic was created with, but the backends' own, and those not there yet."""
        found = {**self.whole, **({} if self.fixed is None else dict.fromkeys(self.topics, self.fixed))}
        return {topic: many for topic, many in found.items() if self.marked or topic not in self.later}

    def spots(self, shapes: Mapping[str, Shape]) -> list[Spot]:
        """Every partition that is read."""
        each = [
            Spot(self.role, topic, number)
            for topic in self.topics
            if topic in shapes
            for number in shapes[topic].partitions
        ]
        return [
            *each,
            *(
                Spot(WHOLE, topic, number)
                for topic, many in self.whole.items()
                if topic in shapes
                for number in range(many)
            ),
        ]


def group_of(settings: Settings, role: str) -> str:
    """The consumer group of a role; two installations on one broker do not meet."""
    return f"{settings.calllog_prefix}guard-{role}"


def reads_of(role: str, settings: Settings, events: Sequence[str]) -> Reads:
    """What a role reads; `events` are the topics of the tenant's events."""
    follow = [topic for topic, row in TABLE.items() if role in row.follow]
    of_backends = follow == [Topic.EVENTS]
    later = frozenset(map(settings.topic, set(follow) & set(LATER)))
    return Reads(
        role=role,
        group=group_of(settings, role),
        topics=tuple(events) if of_backends else tuple(map(settings.topic, follow)),
        whole={settings.topic(each): settings.partitions_of(each) for each, row in TABLE.items() if role in row.whole},
        fixed=None if of_backends else settings.partitions_of(follow[0]),
        later=later,
        quiet=later & {settings.topic(Topic.ORDERS)},
    )
