"""
Who has opened which legs: the record of accesses, read up once and then followed, for all that one keeper is asked.

Rules: 1. Whoever asks names the time from which on nothing more can have been opened: what was read up since answers them all.
       2. Offsets stay packed until somebody's records lie among them: a year of accesses fits in memory.
       3. What is lost, and what nobody can read, is said: whoever must not be left out is told (Art. 19).
Source: GDPR Art. 15(1)(c), 19; `core/answers/readers.py`.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any, Final

import msgspec

from calllog_guard.core.answers.about import OpenedBy
from calllog_guard.core.answers.readers import opened_by
from calllog_guard.core.ids import INTERNAL_KEY
from calllog_guard.core.requests.outcome import Unsure
from calllog_guard.core.wire import Access, decode, from_ms
from calllog_guard.errors import MessageError
from calllog_guard.workers.tools import Tools

_ACCESSES: Final = msgspec.json.Decoder(Access)
_AT_ONCE: Final = 5000


class Readership:
    """Who has opened the legs of one keeper's partitions."""

    def __init__(self, tools: Tools) -> None:
        self._t = tools
        self._topic = tools.settings.topic("privacy.access")
        self._next: dict[int, int] = {}
        self._found: dict[int, list[Access]] = defaultdict(list)
        self._lost_before = date.min
        self._unread = False
        self._as_of = float("-inf")
        self._reading = asyncio.Lock()

    async def opened_by(self, partition: int, records: Mapping[int, date], since: float) -> list[OpenedBy]:
        """
        A line for each actor and purpose that has opened some legs, or may have.

        Args:
            records: The day of the call by the leg's offset.
            since: Nothing that was opened later counts (loop's clock).

        Raises:
            LogSilentError: Kafka does not answer.

        """
        await self._read_up(since)
        return opened_by(self._found[partition], records)

    async def readers(
        self, partition: int, records: Mapping[int, date], since: float
    ) -> tuple[tuple[str, ...], Unsure | None]:
        """
        The credentials that have opened some legs, or may have, and why nobody can tell for sure.

        Raises:
            LogSilentError: Kafka does not answer.

        """
        if not records:
            return (), None
        lines = await self.opened_by(partition, records, since)
        lost = self._lost_before > min(records.values())
        return tuple(sorted({line.actor for line in lines})), "lost" if lost else "unread" if self._unread else None

    async def _read_up(self, since: float) -> None:
        async with self._reading:
            if self._as_of >= since:
                return
            began = asyncio.get_running_loop().time()
            for place in range(self._t.settings.few_partitions):
                await self._follow(place)
            self._as_of = began

    async def _follow(self, place: int) -> None:
        at, end = self._next.get(place, 0), None
        while end is None or at < end:
            records, after, end = await self._t.tail(self._topic, place, at, _AT_ONCE)
            if (records[0].offset if records else after) > at:  # cut off before it was read
                cut = from_ms(records[0].timestamp) if records else self._t.clock.now()
                self._lost_before = max(self._lost_before, cut.date())
            self._take(records)
            self._next[place] = at = after

    def _take(self, records: Iterable[Any]) -> None:
        for record in records:
            if record.value is None or (record.key or INTERNAL_KEY)[:1] == INTERNAL_KEY:
                continue
            try:
                access = decode(_ACCESSES, record.value)
            except MessageError:  # no reader of ours wrote it: whom it would name nobody can tell
                self._unread = True
                continue
            if access.opened and access.topic == self._t.legs and 0 <= access.partition < self._t.settings.partitions:
                self._found[access.partition].append(access)
