"""
Where a follower is in its topics, and whether it may have missed a tombstone.

Rules: 1. The bookmark holds the position of each topic read for an errand; another meaning of the errand starts anew.
       2. Whoever may have missed a tombstone starts anew: it was away, or behind, for over half of the time tombstones
          live, or a topic's beginning has overtaken it.
Copies are read through a connection of their own, to be read to their end before a leg's tombstone is believed.
Source: facts: a consumer slower than `delete.retention.ms`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from calllog_guard.core.codec import to_ms
from calllog_guard.errors import ConfigurationError
from calllog_guard.ports.clock import Clock
from calllog_guard.ports.log import LogReader, Place
from calllog_guard.ports.state import Bookmark, Cursor

_IDS: Final = "ids:"
_IDENTIFY_S: Final = 5.0


async def nothing_published() -> None:
    """Where no policy is published."""


async def no_ids(_: Sequence[str]) -> str:
    """Of a log that has none."""
    return ""


class AnewError(Exception):
    """The follower has to start over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trail:
    """
    What a follower reads.

    Args:
        copies: The topic of the copies; read through `held`, the others through `log`.
        ledger: None for who has no right to it, because it tells of secret holds.
        keep_ms: How long tombstones live.
        ids: Gives Kafka's ids of topics, as one text: a topic that was made anew has other records at the old offsets.
        look: Follows the policies that were published since.

    """

    log: LogReader
    held: LogReader
    legs: str
    copies: str
    ledger: str | None
    partitions: Sequence[int]
    keep_ms: int
    ids: Callable[[Sequence[str]], Awaitable[str]] = no_ids
    look: Callable[[], Awaitable[None]] = nothing_published

    def places(self, *topics: str | None) -> list[Place]:
        """The partitions of some topics; of None there are none."""
        return [(topic, partition) for topic in topics if topic is not None for partition in self.partitions]


class FollowerPosition:
    """The bookmark of a follower; `mark` is where it is, `saved` where its cursor has it."""

    def __init__(self, trail: Trail, cursor: Cursor, clock: Clock) -> None:
        self._trail, self._cursor, self._clock = trail, cursor, clock
        self.mark = self.saved = Bookmark((), {}, 0)
        self._before: dict[Place, int] = {}
        self._ends: dict[Place, int] = {}
        self._lap_ms = 0
        self._ids, self._ids_at = "", 0.0

    @property
    def _topics(self) -> tuple[str, ...]:
        """The topics from which lines come, both compacted."""
        both = (self._trail.legs, self._trail.copies)
        return tuple(topic for topic in both if topic in self.mark.offsets)

    def meaning(self, tenant: str, purpose: str, said: str, *, copies: bool) -> tuple[str, ...]:
        """What is read and how it is meant; a cursor without copies means something else where there are any."""
        trail = self._trail
        partitions = ",".join(map(str, trail.partitions))
        meant = (tenant, trail.legs, purpose, said, partitions, trail.ledger or "", *([trail.copies] if copies else []))
        return (*meant, _IDS + self._ids) if self._ids else meant

    async def identify(self, *, copies: bool) -> None:
        """
        Ask which topics these are, now and then.

        Raises:
            AnewError: Others than those that are followed.

        """
        now = asyncio.get_running_loop().time()
        if self._ids and now < self._ids_at + _IDENTIFY_S:
            return
        found = await self._trail.ids([self._trail.legs, *([self._trail.copies] if copies else [])])
        known, self._ids, self._ids_at = self._ids, found, now
        if known not in {"", found}:
            raise AnewError

    async def begin(self, meant: tuple[str, ...]) -> bool:
        """
        Go to the bookmark, or to the beginning; whether the table starts over.

        Raises:
            ConfigurationError: The cursor is another errand's.

        """
        trail, now = self._trail, to_ms(self._clock.now())
        copies = [trail.copies] if trail.copies in meant else []
        bounds = await trail.log.bounds(trail.places(trail.legs, trail.ledger, *copies))
        mark = self._cursor.bookmark()
        if mark is not None and mark.reading[:3] != meant[:3]:
            raise ConfigurationError(
                f"the cursor follows {' '.join(mark.reading[:3])}: name another file for {meant[2]}"
            )
        # the cursor of an earlier release knows no ids
        same = mark is not None and mark.reading in {meant, tuple(each for each in meant if not each.startswith(_IDS))}
        anew = mark is None or not same or now - mark.whole_ms > trail.keep_ms // 2
        if mark is not None and not anew:
            anew = any(not first <= mark.offsets[t][p] <= end for (t, p), (first, end) in bounds.items())
        if mark is None or anew:
            self._cursor.clear()
            firsts = {place: end if place[0] == trail.ledger else first for place, (first, end) in bounds.items()}
            mark = Bookmark(meant, _by_topic(firsts), now)
        mark = Bookmark(meant, mark.offsets, mark.whole_ms)
        self.mark = self.saved = mark
        self._lap_ms, self._before = now, _places(mark.offsets, self._topics)
        self._ends = {place: end for place, (_, end) in bounds.items() if place[0] == trail.legs}
        at = _places(mark.offsets, tuple(mark.offsets))
        await trail.log.assign({place: offset for place, offset in at.items() if place[0] != trail.copies})
        if copies:
            await trail.held.assign({place: offset for place, offset in at.items() if place[0] == trail.copies})
        return anew

    async def moved(self, log: LogReader) -> None:
        """What one of the two readers has handed out counts as read once the next batch is asked for."""
        offsets = self.mark.offsets | _by_topic(await log.positions())
        self.mark = Bookmark(self.mark.reading, offsets, self.mark.whole_ms)

    async def keep_up(self) -> None:
        """
        Note up to when everything has been read; the copies have just been read to their end.

        Raises:
            AnewError: That is too long ago, or a topic's beginning has overtaken us: a tombstone may have been missed.

        """
        now_ms, at = to_ms(self._clock.now()), _places(self.mark.offsets, self._topics)
        bounds = await self._trail.log.bounds(self._trail.places(*self._topics))
        if any(first > self._before[place] for place, (first, _) in bounds.items()):
            raise AnewError
        self._before = at
        whole_ms = self.mark.whole_ms
        if all(at[place] >= end for place, end in self._ends.items()):
            whole_ms, self._lap_ms = self._lap_ms, now_ms
            self._ends = {place: end for place, (_, end) in bounds.items() if place[0] == self._trail.legs}
        if now_ms - whole_ms > self._trail.keep_ms // 2:
            raise AnewError
        self.mark = Bookmark(self.mark.reading, self.mark.offsets, whole_ms)


def _by_topic(places: Mapping[Place, int]) -> dict[str, dict[int, int]]:
    found: dict[str, dict[int, int]] = {}
    for (topic, partition), offset in places.items():
        found.setdefault(topic, {})[partition] = offset
    return found


def _places(offsets: Mapping[str, Mapping[int, int]], topics: Sequence[str]) -> dict[Place, int]:
    return {(topic, partition): offset for topic in topics for partition, offset in offsets[topic].items()}
