"""
Who has opened which legs: the record of accesses, read up once and then followed, for all that one keeper is asked.

Rules: 1. Whoever asks names the time from which on nothing more can have been opened: what was read up since answers them all.
       2. Offsets stay packed until somebody's records lie among them: a year of accesses fits in memory.
       3. What is lost, and what nobody can read, is said: whoever must not be left out is told (Art. 19).
       4. What its actor has to have proven and has not is counted and alarmed, names nobody and chooses no recipient.
Source: GDPR Art. 15(1)(c), 19; `core/answers/readers.py`, `core/policy/actors.py`.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any, Final, NamedTuple

import structlog

from calllog_guard.core.accesses import Account, Doubt, read_access
from calllog_guard.core.answers.about import OpenedBy
from calllog_guard.core.answers.readers import doubted, never_read, opened_by
from calllog_guard.core.ids import INTERNAL_KEY
from calllog_guard.core.policy.actors import Judge
from calllog_guard.core.requests.outcome import Unsure
from calllog_guard.core.wire import Access, from_ms
from calllog_guard.errors import MessageError, NewerFormError, RecordError
from calllog_guard.workers.tools import Tools

log: Final = structlog.get_logger()
_AT_ONCE: Final = 5000
_BREATH: Final = 200
_MOST_DOUBTED: Final = 10_000
"""Of accesses that nobody believes: whoever writes one writes a million. Beyond, they are counted and no more."""


class Readers(NamedTuple):
    """Who has opened some legs, and how many accesses that nobody believes claim it."""

    lines: list[OpenedBy]
    unproven: int


class Readership:
    """Who has opened the legs of one keeper's partitions."""

    def __init__(self, tools: Tools) -> None:
        self._t = tools
        self._topic = tools.settings.topic("privacy.access")
        self._next: dict[int, int] = {}
        self._found: dict[int, list[Account]] = defaultdict(list)
        self._doubted: dict[int, list[Access]] = defaultdict(list)
        self._judge = self._judged_by()
        self._counted: dict[int, int] = {}
        self._lost_before = date.min
        self._unread = False
        self._as_of = float("-inf")
        self._reading = asyncio.Lock()

    async def opened_by(self, partition: int, records: Mapping[int, date], since: float) -> Readers:
        """
        A line for each actor and purpose that has opened some legs, or may have.

        Args:
            records: The day of the call by the leg's offset.
            since: Nothing that was opened later counts (loop's clock).

        Raises:
            LogSilentError: Kafka does not answer.

        """
        await self.read_up(since)
        accounts, asked = self._found[partition], self._judge.actors.must_prove(self._t.clock.now())
        never = never_read(accounts, records)
        self._alarm(Counter({Doubt.NEVER: never}))
        lines = opened_by(accounts, records, asked=asked)
        return Readers(lines, never + doubted(self._doubted[partition], records))

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
        lines = (await self.opened_by(partition, records, since)).lines
        lost = self._lost_before > min(records.values())
        return tuple(sorted({line.actor for line in lines})), "lost" if lost else "unread" if self._unread else None

    async def read_up(self, since: float) -> None:
        """
        Read what was written up to a time (loop's clock), unless that was done since.

        Raises:
            LogSilentError: Kafka does not answer.

        """
        async with self._reading:
            if self._as_of >= since:
                return
            began = asyncio.get_running_loop().time()
            if self._t.policy.actors(self._t.tenant) is not self._judge.actors:
                self._judge = self._judged_by()  # others are registered now: what was believed may not be any more
                self._next.clear()
                self._found.clear()
                self._doubted.clear()
            for place in range(self._t.settings.few_partitions):
                await self._follow(place)
            self._as_of = began

    def _judged_by(self) -> Judge:
        t = self._t
        return Judge(t.policy.actors(t.tenant), t.vault.guard_id(), self._topic, t.settings.topic("calllog.dead"))

    async def _follow(self, place: int) -> None:
        at, end = self._next.get(place, 0), None
        while end is None or at < end:
            records, after, end = await self._t.tail(self._topic, place, at, _AT_ONCE)
            if (records[0].offset if records else after) > at:  # cut off before it was read
                cut = from_ms(records[0].timestamp) if records else self._t.clock.now()
                self._lost_before = max(self._lost_before, cut.date())
            await self._take(place, records)
            self._next[place] = at = after

    async def _take(self, place: int, records: Iterable[Any]) -> None:
        judge, doubts = self._judge, Counter[Doubt]()
        for number, record in enumerate(records):
            if number % _BREATH == 0:
                await asyncio.sleep(0)  # a signature takes a tenth of a millisecond
            if record.value is None or (record.key or INTERNAL_KEY)[:1] == INTERNAL_KEY:
                continue
            try:
                account = judge.account(record.value, place, record.timestamp)
            except RecordError as error:
                reason = Doubt(error.reason)
                if reason is Doubt.UNREADABLE and not judge.actors.must_prove(from_ms(record.timestamp)):
                    self._unread = True  # whom it would name nobody can tell
                    continue
                doubts[reason] += record.offset >= self._counted.get(place, 0)
                self._doubt(record.value)
            else:
                if account.access.opened and self._is_ours(account.access):
                    self._found[account.access.partition].append(account)
            self._counted[place] = max(self._counted.get(place, 0), record.offset + 1)
        self._alarm(doubts)

    def _doubt(self, raw: bytes) -> None:
        """Remember what is believed by nobody, to say how much of it there is."""
        try:
            access = read_access(raw)
        except (MessageError, NewerFormError):
            return
        if access.opened and self._is_ours(access) and sum(map(len, self._doubted.values())) < _MOST_DOUBTED:
            self._doubted[access.partition].append(access)

    def _is_ours(self, access: Access) -> bool:
        return access.topic == self._t.legs and 0 <= access.partition < self._t.settings.partitions

    def _alarm(self, doubts: Counter[Doubt]) -> None:
        for reason, many in doubts.items():
            if many:
                self._t.count(f"access_unproven_{reason}", many)
                log.error("records of accesses are believed by nobody: see report", reason=str(reason), records=many)
