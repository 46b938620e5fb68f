"""
One unit until it is done: endless attempts while a server is silent, one deadline from the first that sent anything.

Rules: 1. The deadline runs from the start of the attempt that first gave Kafka outputs not acknowledged yet: what
          it read of people before may be sealed in them.  Nothing sent, nothing late: it may wait as long as the
          silence lasts.  2. When it is over, what is not acknowledged is withdrawn first, and then the worker halts.
       3. A unit that cannot be written is taken apart until the faulty record is found: that becomes a dead letter.
Source: docs/adr/0007-absence-is-observed.md, docs/contributing/architecture.md; `ABSENCE_AFTER_S` rests on rule 2.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import structlog

from calllog_guard.errors import (
    EntryUnreadableError,
    Fate,
    GuardError,
    KeystoreSilentError,
    LogFaultError,
    MessageError,
    ParkedError,
    UnacknowledgedError,
    UnitOverdueError,
)
from calllog_guard.metrics import Counters, Increment, SetGauge
from calllog_guard.ports.log import TopicPartition, Writer
from calllog_guard.settings import Settings
from calllog_guard.workers.runtime.dead_letters import DeadLetters
from calllog_guard.workers.runtime.retry import RETRY_FIRST_S, longer

log: Final = structlog.get_logger()

Unit = Mapping[TopicPartition, Sequence[Any]]


class Handler(Protocol):
    """What handles a unit."""

    name: str

    async def unit(self, unit: Unit) -> None:
        """See Role."""


class DeliveryContext(Protocol):
    """What of a worker's context the delivery needs."""

    @property
    def settings(self) -> Settings:
        """How long a unit may take."""

    @property
    def writer(self) -> Writer:
        """How a worker's outputs leave it."""

    @property
    def dead(self) -> DeadLetters:
        """What a record becomes that cannot be handled."""

    @property
    def count(self) -> Increment:
        """Adds to a counter."""

    @property
    def level(self) -> SetGauge:
        """Shows a present value."""


@dataclass(slots=True)
class Waits:
    """Since when the work between units waits, why; `parked`: for single people alone; no restart mends that."""

    since: float | None = None
    why: str = ""
    parked: bool = False

    def again(self, now: float, error: GuardError) -> None:
        """It has failed once more."""
        self.since = now if self.since is None else self.since
        self.why, self.parked = str(error), isinstance(error, ParkedError)


class Attempts:
    """
    The attempts of one worker's units.

    Args:
        revoking: Set when partitions are to be let go of: a retry ends then.

    """

    def __init__(self, handler: Handler, context: DeliveryContext, revoking: asyncio.Event) -> None:
        self._handler, self._writer, self._dead, self._count = handler, context.writer, context.dead, context.count
        self._revoking, self._unit_max_s = revoking, context.settings.unit_max_s
        self.retry_since: float | None = None
        self.retry_why = ""

    async def until_done(self, unit: Unit) -> bool:
        """
        Handle a unit; whether it is done, for a retry ends on revocation.

        Raises:
            UnitOverdueError: What it has sent was not acknowledged in time.
            GuardError: HALT.

        """
        try:
            return await self._tried(lambda: self._handler.unit(unit))
        except MessageError as error:
            fault = error
        halves = list(halved(unit))
        if len(halves) > 1:
            return await self.until_done(halves[0]) and await self.until_done(halves[1])
        ((record,),) = unit.values()
        self._count(Counters.dead[fault.reason], 1)
        return await self._tried(lambda: self._told(record, fault))

    async def _told(self, record: Any, error: MessageError) -> None:
        try:
            await self._writer.write([self._dead.of(record, error)])
        except MessageError:
            raise LogFaultError("a dead letter is larger than its topic takes: see `topics check`") from None

    async def _tried(self, work: Callable[[], Awaitable[None]]) -> bool:
        pause, began = RETRY_FIRST_S, self._now()
        deadline: float | None = None
        while True:
            attempt = self._now()
            try:
                await asyncio.wait_for(work(), (deadline or attempt + self._unit_max_s) - attempt)
            except TimeoutError:
                await self._overdue()
            except GuardError as error:
                self._count_answer(error)
                if error.fate is not Fate.RETRY:
                    raise
                if isinstance(error, UnacknowledgedError) and deadline is None:
                    deadline = attempt + self._unit_max_s
                self.retry_since, self.retry_why = self.retry_since or began, str(error)
                self._count(Counters.retries, 1)
                log.warning("unit waits", role=self._handler.name, why=str(error), next_try_s=pause)
            else:
                self.retry_since = None
                return True
            if deadline is not None and self._now() + pause >= deadline:
                await self._overdue()
            try:
                await asyncio.wait_for(self._revoking.wait(), pause)
            except TimeoutError:
                pause = longer(pause)
            else:
                self.retry_since = None
                return False

    async def _overdue(self) -> None:
        await self._writer.withdraw()
        raise UnitOverdueError(
            f"a unit was not done within {self._unit_max_s:.0f} s; what it has sent is withdrawn: halt"
        )

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _count_answer(self, error: GuardError) -> None:
        """The keystore's answers that are none: silence, and an entry that cannot be used."""
        if isinstance(error, KeystoreSilentError | EntryUnreadableError):
            self._count(
                Counters.keystore_answers["unavailable" if isinstance(error, KeystoreSilentError) else "corrupt"], 1
            )


def halved(unit: Unit) -> Iterator[dict[TopicPartition, list[Any]]]:
    """A unit in two, in order; one record is not divided."""
    records = [(place, record) for place, some in unit.items() for record in some]
    middle = len(records) // 2
    for half in filter(None, (records[:middle], records[middle:])):
        found: dict[TopicPartition, list[Any]] = {}
        for place, record in half:
            found.setdefault(place, []).append(record)
        yield found
