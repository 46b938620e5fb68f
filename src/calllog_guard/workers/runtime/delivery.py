"""
One delivery rule for every worker: a poll is a unit, its outputs are acknowledged before its offset moves.

Rules: 1. The offset is one integer per partition, written in one place (`_settle`).
       2. An error has one of three ends: RETRY, DEAD_LETTER (inside the unit), HALT.  What is not ours halts.
       3. Nothing is handled before the own seek is confirmed; a retry ends on revocation.
       4. Where reading goes on, and whether something unread is gone, `beginnings.py` says; the library resets nothing.
Source: docs/contributing/architecture.md.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, Protocol

import structlog

from calllog_guard.core.stream.units import units
from calllog_guard.errors import (
    Fate,
    GuardError,
    KeystoreSilentError,
    LogSilentError,
    OffsetsGoneError,
    PositionConflictError,
)
from calllog_guard.metrics import Counters, Gauges, Summaries
from calllog_guard.ports.log import GroupConsumer, TopicPartition
from calllog_guard.ports.process import Duty
from calllog_guard.workers.runtime.attempts import Attempts, DeliveryContext, Waits
from calllog_guard.workers.runtime.attempts import Unit as Unit  # noqa: PLC0414 - what every role takes
from calllog_guard.workers.runtime.beginnings import LOOK_S, Beginnings
from calllog_guard.workers.runtime.retry import RETRY_FIRST_S, RETRY_MOST_S, answered

log: Final = structlog.get_logger()


_UNHEARD_S: Final = 30.0
"""From when on a partition counts as stuck for which its broker has answered nothing."""


class Role(Protocol):
    """What a worker is to the delivery."""

    name: str

    @property
    def topics(self) -> tuple[str, ...]:
        """What it reads now; an upgrade may add one."""

    @property
    def duties(self) -> Sequence[Duty]:
        """What it does every so often, beside its units."""

    async def assigned(self, partitions: Sequence[int]) -> dict[TopicPartition, int]:
        """Get ready for partitions; where to read on, where that is not the committed offset."""

    async def revoked(self, partitions: Sequence[int]) -> None:
        """Let go of partitions."""

    async def unit(self, unit: Unit) -> None:
        """Handle one poll; returns when every output is acknowledged. May be called again with the same records."""

    async def idle(self) -> None:
        """What is due between units."""


class Delivery:
    """Runs one role over one consumer until asked to stop."""

    def __init__(
        self,
        role: Role,
        consumer: GroupConsumer,
        beginnings: Beginnings,
        context: DeliveryContext,
        duties: Sequence[Duty] = (),
    ) -> None:
        own = [each._replace(work=partial(self._once_given, each.work)) for each in role.duties]
        self.duties, self._level = (*own, *duties, Duty("beginnings", LOOK_S, self._look)), context.level
        self._given = False
        self._subscribed: tuple[str, ...] = ()
        self._role, self._consumer, self._settings, self._count = role, consumer, context.settings, context.count
        self._beginnings = beginnings
        self._position: dict[TopicPartition, int] = {}
        self._committed: dict[TopicPartition, int] = {}
        self._owned = 0
        self._started = False
        self._assignment = 0
        self._lock = asyncio.Lock()
        self._revoking = asyncio.Event()
        self._carried: BaseException | None = None
        self._stopping = asyncio.Event()
        self._attempts = Attempts(role, context, self._revoking)
        self._commit_why = ""
        self._stuck_since: float | None = None
        self._waits = Waits()

    # --- life -------------------------------------------------------------------------------------------------------

    def stop(self, why: Exception | None = None) -> None:
        """End after the running unit; with an error: because of it."""
        if why is None:
            self._stopping.set()
        else:
            self._carried = why
        self._revoking.set()

    @property
    def alive(self) -> bool:
        """Whether the committed offset moves while there is lag: no standstill or retry longer than RETRY_MAX_S."""
        idle = None if self._waits.parked else self._waits.since
        began = [since for since in (self._attempts.retry_since, self._stuck_since, idle) if since is not None]
        return not began or self._now() - min(began) < self._settings.retry_max_s

    @property
    def ready(self) -> bool:
        """Whether partitions are assigned, their seeks confirmed, and nothing has waited for long."""
        return self._assignment > 0 and self._carried is None and not self.why

    @property
    def places(self) -> list[TopicPartition]:
        """What is read now."""
        return list(self._position)

    @property
    def why(self) -> list[str]:
        """What keeps the worker from its work, in words."""
        tried, now = self._attempts, self._now()
        found = []
        if tried.retry_since is not None and now - tried.retry_since >= self._settings.silent_s:
            found.append(f"a unit waits: {tried.retry_why}")
        if self._waits.since is not None and now - self._waits.since >= self._settings.silent_s:
            found.append(f"work between units waits: {self._waits.why}")
        if self._stuck_since is not None and now - self._stuck_since >= self._settings.retry_max_s:
            found.append("the committed offset stands still while there is lag")
        if not self._assignment:
            found.append("no partitions are assigned yet")
        return [*found, *filter(None, (self._commit_why,))]

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    async def start(self) -> None:
        """
        Connect.

        Raises:
            LogSilentError: Kafka does not answer, or does not show us a topic; try again.
            ConfigurationError: A topic is missing, or has fewer partitions than it was created with.

        """
        if not self._started:
            await self._consumer.start()
            self._started = True
        await self._consumer.shown(await self._beginnings.check())

    async def close(self) -> None:
        """Disconnect, also what has never run."""
        await self._consumer.stop()

    async def run(self) -> None:
        """
        Poll, handle, settle, commit, until stopped.

        Raises:
            GuardError: HALT; nothing was committed for the unit that failed.

        """
        self._subscribe()
        next_commit = self._now() + self._settings.commit_ms / 1000
        try:
            while not self._stopping.is_set():
                if self._role.topics != self._subscribed:
                    await self._subscribe_anew()
                await self._once()
                if self._now() >= next_commit:
                    async with self._lock:
                        await self._commit()
                        await self._measure()
                    next_commit = self._now() + self._settings.commit_ms / 1000
            async with self._lock:
                await self._commit()
                await self._keep()
        finally:
            await self._beginnings.close()
            await self._consumer.stop()

    async def _once_given(self, work: Callable[[], Awaitable[bool | None]]) -> bool | None:
        """A duty of the role: before the first partitions are given it would find nothing, and pause all its time."""
        return await work() if self._given else False

    def _subscribe(self) -> None:
        self._subscribed = self._role.topics
        self._consumer.subscribe(self._subscribed, self)

    async def _subscribe_anew(self) -> None:
        """The role reads other topics: what is owned is let go of, and comes back with them."""
        async with self._lock:
            await self._commit()
            await self._keep()
            self._position.clear()
            self._committed.clear()
            self._assignment += 1
            self._subscribe()

    async def _polled(self) -> Unit:
        """What the consumer hands out; a position that Kafka refuses is judged."""
        try:
            found: Unit = await self._consumer.getmany(
                timeout_ms=self._settings.unit_wait_ms, max_records=self._settings.unit_records
            )
        except OffsetsGoneError as error:
            await self._judge(error.places)
            return {}
        except LogSilentError as error:
            await self._wait(error)
            return {}
        return found

    async def _judge(self, refused: Mapping[TopicPartition, int]) -> None:
        ours = {place: at for place, at in refused.items() if self._position.get(place) == at}
        try:
            await self._beginnings.out_of_range(ours)
        except GuardError as judged:
            if judged.fate is not Fate.RETRY:
                raise
            await self._wait(judged)

    async def _wait(self, why: GuardError) -> None:
        log.warning("waits", role=self._role.name, why=str(why))
        await asyncio.sleep(RETRY_MOST_S)

    async def _once(self) -> None:
        assignment = self._assignment
        found = await self._polled()
        if self._carried is not None:
            raise self._carried
        async with self._lock:
            if assignment != self._assignment:
                await self._rewind()
                return
            ours = {place: records for place, records in found.items() if place in self._position}
            self._check(ours)
            for unit in units(ours, self._settings.unit_bytes, self._settings.unit_parties):
                began = self._now()
                if not await self._attempts.until_done(unit):
                    await self._rewind()
                    return
                if loud := {place: each for place, each in unit.items() if not self._quiet(place)}:
                    self._count(Summaries.unit_seconds, int((self._now() - began) * 1e6))
                self._settle(unit, loud)
            await self._idle()

    def _check(self, unit: Unit) -> None:
        for place, records in unit.items():
            if records[0].offset < self._position[place]:
                raise PositionConflictError(f"{place.topic}/{place.partition} handed out what was already handled")

    def _quiet(self, place: TopicPartition) -> bool:
        return place.topic in self._beginnings.reads.quiet

    def _settle(self, unit: Unit, loud: Unit) -> None:
        """The one place where an offset moves; figures and lines are of what is `loud` alone."""
        for place, records in unit.items():
            self._position[place] = records[-1].offset + 1
        if not loud:
            return
        for records in loud.values():
            self._count(Counters.records["handled"], len(records))
            for left in (record.remnant for record in records if record.remnant is not None):
                self._count(Counters.unreadable[left.reason], 1)
        self._count(Counters.units, 1)
        places = {f"{place.topic}/{place.partition}": records[-1].offset for place, records in loud.items()}
        log.info("unit", role=self._role.name, records=sum(map(len, loud.values())), up_to=places)

    async def _rewind(self) -> None:
        for place, offset in self._position.items():
            self._consumer.seek(place, offset)

    async def _idle(self) -> None:
        try:
            await self._role.idle()
        except GuardError as error:
            if error.fate is not Fate.RETRY:
                raise
            self._waits.again(self._now(), error)
            log.warning("waits", role=self._role.name, why=str(error))
            await asyncio.sleep(RETRY_FIRST_S)
        else:
            self._waits = Waits()

    async def _commit(self) -> None:
        moved = {place: offset for place, offset in self._position.items() if self._committed.get(place) != offset}
        if not moved:
            self._commit_why = ""
            return
        try:
            await self._consumer.commit(moved)
        except LogSilentError as error:
            self._commit_why = f"offsets are not committed: {error}"
            log.warning("commit waits", role=self._role.name, why=str(error))
        else:
            self._commit_why = ""
            self._committed.update(moved)
            self._stuck_since = None

    async def _look(self) -> None:
        await self._beginnings.look(self._committed.copy())

    async def _keep(self) -> None:
        """How far what is let go of was read; what is silent now keeps an older word, which is no less safe."""
        with suppress(KeystoreSilentError):
            await self._beginnings.keep(self._committed, now=True)

    async def _measure(self) -> None:
        """
        How far behind the ends of its partitions the worker is, and since when its committed offset stands still so.

        Between units the consumer hands out next what is not handled; offsets that hold no record are passed over.
        """
        ends = {place: self._consumer.highwater(place) for place in self._position}
        lags = {
            place: max(0, end - await self._consumer.position(place)) for place, end in ends.items() if end is not None
        }
        unsaved = any(self._committed.get(place, offset) != offset for place, offset in self._position.items())
        # a partition that a broker cannot read has no lag that anybody knows of
        unheard = any(self._consumer.unheard_s(place) > _UNHEARD_S for place in ends)
        self._stuck_since = (self._stuck_since or self._now()) if any(lags.values()) or unsaved or unheard else None
        self._level(Gauges.lag_records, sum(lag for place, lag in lags.items() if not self._quiet(place)))
        self._level(Gauges.committed_age_s, self._now() - self._stuck_since if self._stuck_since else 0)

    # --- rebalance: errors here are only logged by the library, so they are carried out by hand ---------------------

    async def on_partitions_revoked(self, revoked: Any) -> None:
        """Let the running unit end (a retry ends now), commit, let go."""
        self._revoking.set()
        async with self._lock:
            try:
                if revoked:
                    await self._commit()
                    await self._keep()
                    await self._role.revoked(sorted({place.partition for place in revoked}))
            except Exception as error:  # noqa: BLE001 - carried out of the listener
                self._carried = error
            finally:
                self._position.clear()
                self._committed.clear()
                self._assignment += 1

    async def on_partitions_assigned(self, assigned: Any) -> None:
        """Check, get ready, seek, and only then handle."""
        async with self._lock:
            try:
                await self._take_until_done(sorted(assigned))
                self._given = True
            except Exception as error:  # noqa: BLE001 - carried out of the listener
                self._carried = error
            finally:
                self._assignment += 1
                if not self._stopping.is_set():
                    self._revoking.clear()

    async def _take_until_done(self, assigned: Sequence[TopicPartition]) -> None:
        """Get ready; while something is silent, wait and try again."""

        async def take() -> None:
            if not self._stopping.is_set():
                await self._take(assigned)

        await answered(take, lambda error: log.warning("assignment waits", role=self._role.name, why=str(error)))

    async def _take(self, assigned: Sequence[TopicPartition]) -> None:
        starts, fixed = await self._beginnings.begin(), self._beginnings.reads.fixed
        there = [
            place for place in assigned if place.topic in self._beginnings.ids
        ]  # one that was just deleted is revoked soon
        if unseen := [place for place in there if place not in starts]:
            raise LogSilentError(
                f"Kafka does not show partition {unseen[0].partition} of {unseen[0].topic} everywhere yet"
            )
        own = {place for place in there if fixed is None or place.partition < fixed}
        if fixed is not None:
            sets = {
                frozenset(each.partition for each in own if each.topic == topic)
                for topic in self._role.topics
                # one that came with an upgrade is not in an assignment from before it
                if topic not in self._beginnings.reads.later or any(each.topic == topic for each in own)
            }
            if len(sets) > 1:
                raise PositionConflictError("the topics of this worker were assigned with unequal partition sets")
        partitions = sorted({place.partition for place in own})
        wanted = await self._role.assigned(partitions)
        for place in there:
            self._position[place] = wanted.get(place, starts[place])
            self._consumer.seek(place, self._position[place])
        log.info("assigned", role=self._role.name, partitions=partitions)
