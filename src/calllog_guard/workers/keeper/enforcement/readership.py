"""
Who has opened which legs: the record of accesses, read once into an index, and then followed.

Rules: 1. An asker names the time after which nothing more can be opened: what was read since answers them all.
       2. What is lost, and what nobody can read, is said: whoever must not be left out is told (Art. 19).
       3. What its actor has to have proven and has not is counted and alarmed, names nobody and chooses no recipient.
Source: GDPR Art. 15(1)(c), 19; `core/answers/readers.py`, `core/policy/actors.py`, `access_index.py`.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import structlog

from calllog_guard.core.answers.about import OpenedBy
from calllog_guard.core.answers.readers import LegOffsets, doubted, never_read, opened_by, which_of
from calllog_guard.core.audit.accesses import Doubt, read_access
from calllog_guard.core.codec import Access, from_ms
from calllog_guard.core.decisions.outcome import Unsure
from calllog_guard.core.identifiers import INTERNAL_KEY
from calllog_guard.core.policy.actors import Judge
from calllog_guard.core.stream.arrival import LATEST_MS
from calllog_guard.core.topics import Topic
from calllog_guard.errors import LogSilentError, MessageError, NewerFormError, RecordError
from calllog_guard.metrics import Counters
from calllog_guard.workers.keeper.context import KeeperContext
from calllog_guard.workers.keeper.enforcement.access_index import AccessIndex
from calllog_guard.workers.runtime.parallel import unhurried

log: Final = structlog.get_logger()
_AT_ONCE: Final = 5000
_BREATH: Final = 200
"""Accesses that are judged before others may run: a signature takes a tenth of a millisecond."""
_FORM: Final = 1
"""Of the index' rows: one of another form is built anew."""


class Readers(NamedTuple):
    """Who has opened some legs, and how many accesses that nobody believes claim it."""

    lines: list[OpenedBy]
    unproven: int


class Readership:
    """Who has opened the legs of one keeper's partitions."""

    def __init__(self, tools: KeeperContext) -> None:
        self._t = tools
        self._topic = tools.settings.topic(Topic.ACCESS)
        self._open: dict[int, AccessIndex] = {}
        self._assigned: set[int] = set()
        self._judge = self._judged_by()
        self._counted: dict[int, int] = {}
        self._as_of = float("-inf")
        self._reading = asyncio.Lock()

    async def opened_by(self, partition: int, legs: LegOffsets, since: float) -> Readers:
        """
        A line for each actor and purpose that has opened some legs, or may have.

        Args:
            since: Nothing that was opened later counts (loop's clock).

        Raises:
            LogSilentError: Kafka does not answer.

        """
        index = await self._read(partition, since)
        actors = self._judge.actors
        openings, asked = list(index.openings(legs.days, actors.bits)), actors.must_prove(self._t.clock.now())
        never = never_read(openings, legs)
        self._alarm(Counter({Doubt.NEVER: never}))
        return Readers(opened_by(openings, legs, asked=asked), never + doubted(index.doubted(), legs))

    async def readers(self, partition: int, legs: LegOffsets, since: float) -> tuple[tuple[str, ...], Unsure | None]:
        """
        The credentials that have opened some legs, or may have, and why nobody can tell for sure.

        Raises:
            LogSilentError: Kafka does not answer.

        """
        if not legs.days:
            return (), None
        lines = (await self.opened_by(partition, legs, since)).lines
        head = self._open[partition].head
        lost = head.lost > min(legs.days.values())
        return tuple(sorted({line.actor for line in lines})), "lost" if lost else "unread" if head.unread else None

    async def follow(self) -> None:
        """
        Read what was written since, so that what nobody proves is alarmed before anybody asks.

        Raises:
            LogSilentError: Kafka does not answer.

        """
        async with self._reading:
            await self._read_up(asyncio.get_running_loop().time())

    def assigned(self, partitions: Iterable[int]) -> None:
        """These partitions are this keeper's now: one reading serves all of them."""
        self._assigned |= set(partitions)

    def left(self, partition: int) -> None:
        """A partition is somebody else's now: its index is deleted."""
        self._assigned.discard(partition)
        if (index := self._open.pop(partition, None)) is not None:
            index.destroy()

    def close(self) -> None:
        """Let go of every index: whoever opens it next goes on from it."""
        for index in self._open.values():
            index.close()
        self._open.clear()
        self._assigned.clear()

    # --- reading ----------------------------------------------------------------------------------------------------

    async def _read(self, partition: int, since: float) -> AccessIndex:
        async with self._reading:
            self._assigned.add(partition)
            await self._read_up(since)
            if partition not in self._open:
                raise LogSilentError(f"partition {partition} was given away while its accesses were read")
            return self._open[partition]

    async def _read_up(self, since: float) -> None:
        self._renewed()
        for partition in self._assigned - self._open.keys():
            self._open[partition], self._as_of = self._opened(partition), float("-inf")
        if self._as_of >= since or not self._open:
            return
        began = asyncio.get_running_loop().time()
        for place in range(self._t.settings.few_partitions):
            await self._follow(place)
        self._as_of = began

    def _renewed(self) -> None:
        """Where others are registered now, what was believed may not be any more: every index is made anew."""
        if self._t.policy.actors(self._t.tenant) is self._judge.actors:
            return
        before, self._judge = self._judge.actors.digest, self._judged_by()
        if self._judge.actors.digest == before:
            return
        for index in self._open.values():
            index.close()
        self._open.clear()  # each is opened again, and found to be made by others

    def _opened(self, partition: int) -> AccessIndex:
        t = self._t
        path = Path(t.settings.state_dir) / f"keeper-{self._topic}-{partition}"
        made_of = f"{_FORM} {t.known_as(self._topic, t.legs)} {self._judge.actors.digest}"
        return AccessIndex(lambda: t.open_rows(path), made_of, t.clock.now())

    def _judged_by(self) -> Judge:
        t = self._t
        dead, cases = t.settings.topic(Topic.DEAD), t.settings.topic(Topic.CASES)
        return Judge(t.policy.actors(t.tenant), t.vault.guard_id(), self._topic, dead=dead, cases=cases)

    async def _follow(self, place: int) -> None:
        indexes = self._open  # empty as soon as the partitions are somebody else's
        at, end = min((index.head.next.get(place, 0) for index in indexes.values()), default=0), None
        while indexes and (end is None or at < end):
            records, after, end = await self._t.log.tail(self._topic, place, at, _AT_ONCE)
            first = records[0].offset if records else after
            if first > at:  # cut off before it was read
                cut = from_ms(records[0].timestamp) if records else self._t.clock.now()
                for index in indexes.values():
                    if index.head.next.get(place, 0) < first:
                        index.head.lost = max(index.head.lost, cut.date())
            await self._take(place, records)
            for index in indexes.values():
                index.commit(place, max(after, index.head.next.get(place, 0)))
            at = after

    async def _take(self, place: int, records: Iterable[Any]) -> None:
        doubts, ends = Counter[Doubt](), dict[int, int]()
        async for record in unhurried(records, _BREATH):
            if record.value is None or (record.key or INTERNAL_KEY)[:1] == INTERNAL_KEY:
                continue
            try:
                await self._believe(place, record, ends)
            except RecordError as error:
                reason = Doubt(error.reason)
                if reason is Doubt.UNREADABLE and not self._judge.actors.must_prove(from_ms(record.timestamp)):
                    for index in self._open.values():
                        index.head.unread = True  # whom it would name nobody can tell
                    continue
                doubts[reason] += record.offset >= self._counted.get(place, 0)
                self._doubt(place, record)
            self._counted[place] = max(self._counted.get(place, 0), record.offset + 1)
        self._alarm(doubts)

    async def _believe(self, place: int, record: Any, ends: dict[int, int]) -> None:
        """
        Take in an access that is to be believed.

        Args:
            ends: Of partitions of legs, not before the access was read.

        Raises:
            RecordError: It is not; the reason is a `Doubt`.
            LogSilentError: Kafka does not answer.

        """
        account = self._judge.account(record.value, place, record.timestamp)
        index = self._index_of(account.access)
        if index is None or record.offset < index.head.next.get(place, 0):
            return
        if account.name and index.has(account.name):
            raise RecordError(Doubt.REPLAYED)
        if account.proven and account.access.opened:
            partition = account.access.partition
            if partition not in ends:
                ends[partition] = await self._t.log.offset_at(self._t.legs, partition, LATEST_MS)
            if max(which_of(account.access) or {account.access.to}) >= ends[partition]:
                raise RecordError(Doubt.NEVER)  # of legs that were not there
        index.add(place, record.offset, account)

    def _doubt(self, place: int, record: Any) -> None:
        with suppress(MessageError, NewerFormError):
            access = read_access(record.value)
            index = self._index_of(access)
            if access.opened and index is not None and record.offset >= index.head.next.get(place, 0):
                index.doubt(place, record.offset, record.value)

    def _index_of(self, access: Access) -> AccessIndex | None:
        return self._open.get(access.partition) if access.topic == self._t.legs else None

    def _alarm(self, doubts: Counter[Doubt]) -> None:
        for reason, many in doubts.items():
            if many:
                self._t.count(Counters.access_unproven[reason], many)
                log.error("records of accesses are believed by nobody: see report", reason=str(reason), records=many)
