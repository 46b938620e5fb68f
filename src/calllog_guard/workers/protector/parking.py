"""
Parts of calls whose person's entries cannot be used wait in `calllog.parked`: nobody else's events wait for them.

Steps (numbered for the crash tests): 1 parked; of a part taken up: 2 its leg acknowledged, 3 its tombstone written.
Rules: 1. What came later of the same person from the same partition of events waits behind it: a call's order holds.
       2. A part is there until its leg is acknowledged.
       3. The owner of its partition of events takes it up, with growing pauses, by the rules that hold then, judged by
          the time at which it first came: what a fence keeps out never becomes a leg.
       4. So many people at once, or within an hour, are no single people's matter: units wait.
       5. So many parts of one person, and
          what has waited for most of DEAD_KEEP_DAYS, become dead letters.
Source: docs/adr/0011-one-persons-matter.md.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import structlog

from calllog_guard.core.calls.parked import (
    PARKED,
    PARKED_FROM,
    Parked,
    WaitingPart,
    event_of,
    open_parked,
    parked_key,
    seal_parked,
    since_ms,
)
from calllog_guard.core.codec import BEAT, decode, encode, from_ms, to_ms
from calllog_guard.core.crypto.subject_secrets import month_of
from calllog_guard.core.identifiers import CallId, EpochName, Lookup
from calllog_guard.core.records import Output
from calllog_guard.core.stream.arrival import Arrival
from calllog_guard.core.topics import Topic
from calllog_guard.errors import EpochUnknownError, MessageError, NewerFormError, UnitOverdueError
from calllog_guard.metrics import Counters, Gauges
from calllog_guard.ports.fault_injection import CrashPoints
from calllog_guard.ports.log import Place
from calllog_guard.workers.context import WorkerContext
from calllog_guard.workers.keys.people.unreadable import Unreadable
from calllog_guard.workers.keys.people.view import fresh_nonce, pointer
from calllog_guard.workers.protector.leg_writer import PendingLeg
from calllog_guard.workers.runtime.backoff import Pauses

log: Final = structlog.get_logger()
PEOPLE_MOST: Final = 1000
"""People whose parts one protector parks, at once and within an hour."""
PARTS_OF_ONE: Final = 1000
PARTS_MOST: Final = 20_000
"""Parts that wait at once, about a kilobyte each in memory."""
_AT_ONCE: Final = 500
_HOUR_S: Final = 3600.0
_DAY_MS: Final = 86_400_000


class Waiting(NamedTuple):
    """A part that waits, since when and why."""

    part: PendingLeg
    since_ms: int
    reason: str

    @property
    def key(self) -> bytes:
        """Its record key."""
        return parked_key(self.part.place, self.part.lookup)


Queue = dict[bytes, Waiting]
"""What waits of one person from one partition of events, in the order of their events, by record key."""
Name = tuple[str, int, Lookup]
"""A topic of events, its partition, and a person."""


class Parking:
    """The parts that wait of one protector's partitions of events."""

    def __init__(self, context: WorkerContext, owned: Callable[[], Collection[Place]]) -> None:
        """`owned` gives the partitions of events that are ours."""
        self._n, self._owned, self._steps = context, owned, CrashPoints(context.settings.off)
        self._topic = context.settings.topic(Topic.PARKED)
        self._queues: dict[Name, Queue] = {}
        self._pauses: Pauses[Name] = Pauses()
        self._unread = False
        self._new: deque[float] = deque()
        days = context.settings
        # before the topic forgets it, and before the epoch that seals it can end
        self._keep_ms = min(days.dead_keep_days * 6 / 7, days.epoch_days + days.backup_window_days) * _DAY_MS

    # --- assignment -------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Partitions of events were assigned; what waits of them is read before the next unit."""
        self._forget()
        self._unread = True

    def end(self) -> None:
        """They are someone else's."""
        self._forget()
        self._unread = False
        self._show()

    def _forget(self) -> None:
        self._queues.clear()
        self._pauses = Pauses()

    @property
    def _parks(self) -> bool:
        return self._n.ring.forms >= PARKED_FROM

    async def ready(self) -> None:
        """Read what waits, once after an assignment."""
        if not self._unread or not self._parks:
            return
        owned = {(topic, partition) for topic, partition in self._owned()}
        places = sorted({partition % self._n.settings.partitions for _, partition in owned})
        latest = {record.key: record for record in await self._n.log.read_all(self._topic, places)}
        found = [self._read(record) for record in latest.values() if record.value is not None]
        for waiting in sorted(filter(None, found), key=lambda each: each.part.place):
            if waiting.part.place[:2] in owned:
                self._put(waiting)
        self._unread = False
        self._show()

    def _read(self, record: Any) -> Waiting | None:
        """A record of ours; what none of our protectors wrote, or a later release's, stays where it is."""
        if record.key == BEAT:
            return None
        try:
            parked = decode(PARKED, record.value)
            key = self._n.vault.epoch_key(EpochName(parked.epoch), self._n.ring.tenant, "parked")
            waiting = Waiting(
                _part(parked, open_parked(parked, self._n.ring.tenant, key)), since_ms(parked, record), parked.reason
            )
        except (MessageError, EpochUnknownError, NewerFormError):
            waiting = None
        if waiting is None or waiting.key != record.key:
            self._n.count(Counters.unreadable["bad_parked"], 1)
            return None
        return waiting

    def _put(self, waiting: Waiting) -> None:
        topic, partition, _, _ = waiting.part.place
        self._queues.setdefault((topic, partition, waiting.part.lookup), {})[waiting.key] = waiting

    # --- units ------------------------------------------------------------------------------------------------------

    def split(self, parts: Sequence[PendingLeg]) -> tuple[list[PendingLeg], list[PendingLeg]]:
        """The parts that can be tried, and those that wait behind others of their person."""
        if not self._queues:
            return list(parts), []
        free: list[PendingLeg] = []
        behind: list[PendingLeg] = []
        for part in parts:
            (behind if (*part.place[:2], part.lookup) in self._queues else free).append(part)
        return free, behind

    def room(self) -> int:
        """Of how many people more parts may be parked now; 0: units wait."""
        if not self._parks:
            return 0
        now = asyncio.get_running_loop().time()
        while self._new and self._new[0] <= now - _HOUR_S:
            self._new.popleft()
        people = len({lookup for _, _, lookup in self._queues})
        return max(0, PEOPLE_MOST - max(people, len(self._new)))

    async def park(self, parts: Sequence[PendingLeg], why: Unreadable) -> None:
        """Write what has to wait; on return the log has it. `why` says it of those who had nothing waiting before."""
        if not parts:
            return
        now_ms = to_ms(self._n.clock.now())
        waiting = [Waiting(part, now_ms, self._reason(part, why)) for part in parts]
        waits, letters = self._bounded(waiting)
        await self._n.writer.write([*await self._records(waits), *(self._letter(each) for each in letters)])
        self._steps.reached("park.parked")
        for each in waits:
            self._put(each)
        self._new.extend([asyncio.get_running_loop().time()] * len(why))
        for reason, many in Counter(each.reason for each in waits).items():
            self._n.count(Counters.parked[reason], many)
        for reason, many in Counter(each.reason for each in letters).items():
            self._n.count(Counters.dead[reason], many)
        if why:
            texts = sorted({str(error) for error in why.values()})[:5]
            log.error("parts of calls wait: entries of the keystore cannot be used", people=len(why), why=texts)
        self._show()

    def _reason(self, part: PendingLeg, why: Unreadable) -> str:
        if part.lookup in why:
            return why[part.lookup].reason
        queue = self._queues.get((*part.place[:2], part.lookup))
        return next(iter(queue.values())).reason if queue else "behind"

    def _bounded(self, waiting: Sequence[Waiting]) -> tuple[list[Waiting], list[Waiting]]:
        """What may wait, and what there is no room for: one person's flood takes nobody else's."""
        of_one = Counter({name: len(queue) for name, queue in self._queues.items()})
        many = of_one.total()
        waits: list[Waiting] = []
        letters: list[Waiting] = []
        for each in waiting:
            name = (*each.part.place[:2], each.part.lookup)
            if of_one[name] < PARTS_OF_ONE and many < PARTS_MOST:
                of_one[name] += 1
                many += 1
                waits.append(each)
            else:
                letters.append(each)
        return waits, letters

    async def _records(self, waiting: Sequence[Waiting]) -> list[Output]:
        if not waiting:
            return []
        epoch, tenant = pointer(await self._n.ring.view([])), self._n.ring.tenant
        key = self._n.vault.epoch_key(epoch, tenant, "parked")
        found: list[Output] = []
        for each in waiting:
            topic, partition, offset, index = each.part.place
            parked = Parked(
                topic=topic,
                partition=partition,
                offset=offset,
                index=index,
                parked_ms=each.since_ms,
                reason=each.reason,
                epoch=epoch,
                sealed="",
            )
            value = encode(seal_parked(parked, _waiting(each.part), tenant, key, fresh_nonce()))
            found.append(Output(self._topic, self._place(each), each.key, value))
        return found

    def _place(self, each: Waiting) -> int:
        return each.part.place[1] % self._n.settings.partitions

    def _letter(self, each: Waiting) -> Output:
        topic, partition, offset, _ = each.part.place
        event = event_of(_waiting(each.part), self._n.ring.tenant)
        return self._n.dead.of(
            Arrival(topic, partition, offset, None, event, each.part.appended_ms), MessageError(each.reason, "/parties")
        )

    # --- taking up --------------------------------------------------------------------------------------------------

    async def take_up(self, settle: Callable[[list[PendingLeg]], Awaitable[Unreadable]]) -> None:
        """Try again what is due; `settle` stores parts and says of whom it could not."""
        await self._lapsed()
        due: list[Waiting] = []
        names: list[Name] = []
        for name, queue in self._queues.items():
            if self._pauses.due(name) and len(due) < _AT_ONCE:
                names.append(name)
                due += list(queue.values())[:_AT_ONCE]
        if not due:
            return
        left = await self._in_time(settle([each.part for each in due]))
        self._steps.reached("park.settled")
        await self._gone([each for each in due if each.part.lookup not in left])
        for name in names:
            if name[2] in left:
                self._pauses.failed(name)
        self._n.count(Counters.taken_up, sum(each.part.lookup not in left for each in due))
        self._show()

    async def _in_time(self, settling: Awaitable[Unreadable]) -> Unreadable:
        """As a unit: what is not acknowledged in time is withdrawn, and the worker halts."""
        most_s = self._n.settings.unit_max_s
        try:
            return await asyncio.wait_for(settling, most_s)
        except TimeoutError:
            await self._n.writer.withdraw()
            raise UnitOverdueError(f"parts that waited were not taken up within {most_s:.0f} s: halt") from None

    async def _lapsed(self) -> None:
        """What has waited too long becomes a dead letter, before its topic forgets it."""
        before = to_ms(self._n.clock.now()) - self._keep_ms
        lapsing = [queue for queue in self._queues.values() if next(iter(queue.values())).since_ms <= before]
        old = [each for queue in lapsing for each in queue.values() if each.since_ms <= before][:_AT_ONCE]
        if not old:
            return
        await self._n.writer.write([self._letter(each) for each in old])
        for each in old:
            self._n.count(Counters.dead[each.reason], 1)
        await self._gone(old)
        self._show()

    async def _gone(self, waiting: Sequence[Waiting]) -> None:
        """What waits no more: its record gets a tombstone."""
        await self._n.writer.write([Output(self._topic, self._place(each), each.key, None) for each in waiting])
        self._steps.reached("park.forgotten")
        for each in waiting:
            name = (*each.part.place[:2], each.part.lookup)
            queue = self._queues[name]
            queue.pop(each.key)
            if not queue:
                self._queues.pop(name)
                self._pauses.ended(name)

    def _show(self) -> None:
        waiting = [each for queue in self._queues.values() for each in queue.values()]
        oldest = min((each.since_ms for each in waiting), default=None)
        age = 0 if oldest is None else (self._n.clock.now() - from_ms(oldest)).total_seconds()
        self._n.level(Gauges.parked_parts, len(waiting))
        self._n.level(Gauges.parked_people, len({lookup for _, _, lookup in self._queues}))
        self._n.level(Gauges.parked_oldest_s, age)


def _waiting(part: PendingLeg) -> WaitingPart:
    return WaitingPart(
        lookup=part.lookup,
        mask=part.mask,
        text=None if part.text is None else part.text.decode(),
        removed=part.removed,
        call=part.call,
        started_ms=part.started_ms,
        appended_ms=part.appended_ms,
        former=part.former,
        form=2 if part.form == 2 else msgspec.UNSET,  # noqa: PLR2004 - the first version is not named
        session=part.session or msgspec.UNSET,
        revision=msgspec.UNSET if part.revision < 0 else part.revision,
    )


def _part(parked: Parked, waiting: WaitingPart) -> PendingLeg:
    start = from_ms(waiting.started_ms)
    return PendingLeg(
        Lookup(waiting.lookup),
        waiting.mask,
        None if waiting.text is None else waiting.text.encode(),
        CallId(waiting.call),
        waiting.started_ms,
        waiting.appended_ms,
        start.date().isoformat(),
        month_of(start.year, start.month),
        parked.place,
        waiting.removed,
        tuple(map(Lookup, waiting.former)),
        waiting.form or 1,
        waiting.session or "",
        -1 if waiting.revision is msgspec.UNSET else waiting.revision,
    )
