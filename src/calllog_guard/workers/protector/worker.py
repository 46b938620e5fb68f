"""
The protector: a call becomes one sealed leg per party, under that party's own key, and nothing else.

Here step 1, decoded; the rest is the sealer's. What is not decoded is a dead letter in the outputs; what concerns a
person whose entries cannot be used is parked.
Source: docs/explanation/design.md, docs/how-to/publish-an-event.md.
"""

from collections.abc import Sequence
from itertools import chain

import msgspec

from calllog_guard.core.calls.event import Limits
from calllog_guard.core.calls.formats import payload_of
from calllog_guard.core.calls.leg import form_of
from calllog_guard.core.calls.reading import read_event, refused_alone
from calllog_guard.core.records import Output
from calllog_guard.core.stream.arrival import appended_ms, content
from calllog_guard.core.stream.replay import first_appended_ms
from calllog_guard.errors import MessageError
from calllog_guard.metrics import Counters
from calllog_guard.ports.fault_injection import CrashPoints
from calllog_guard.ports.log import TopicPartition
from calllog_guard.workers.context import WorkerContext
from calllog_guard.workers.keys.people.unreadable import Unreadable
from calllog_guard.workers.protector.leg_writer import PendingLeg, Sealer, Settled, UnitRules
from calllog_guard.workers.protector.parking import Parking
from calllog_guard.workers.runtime.delivery import Unit


class Protector:
    """The role that reads events and writes legs, for one tenant."""

    name = "protector"
    duties = ()

    def __init__(
        self,
        context: WorkerContext,
        topics: tuple[str, ...],
        sealer: Sealer,
        parking: Parking,
    ) -> None:
        settings, self.topics = context.settings, topics
        self._tenant, self._sealer, self._dead, self._count = context.tenant, sealer, context.dead, context.count
        self._parking = parking
        self._steps = CrashPoints(settings.off)
        self._limits = Limits(
            ahead_ms=settings.event_ahead_s * 1000,
            late_ms=settings.event_late_days * 86_400_000,
            max_bytes=settings.event_max_bytes,
            skew_ms=round(settings.event_skew_s * 1000),
        )

    async def assigned(self, partitions: Sequence[int]) -> dict[TopicPartition, int]:
        """See Role: the committed offset is the position."""
        del partitions
        self._parking.begin()
        return {}

    async def revoked(self, partitions: Sequence[int]) -> None:
        """See Role: a rebalance takes all of them, and gives anew."""
        del partitions
        self._parking.end()

    async def idle(self) -> None:
        """See Role: what waits for somebody's entries is tried again."""
        await self._parking.ready()
        await self._parking.take_up(self._taken_up)

    async def unit(self, unit: Unit) -> None:
        """See Role."""
        await self._parking.ready()
        rules = self._sealer.rules()
        parts, letters = self._decoded(unit, rules)
        self._steps.reached("protect.decoded")
        found, unknown = await self._sealer.resolved(parts)
        free, behind = self._parking.split(found)
        settled = await self._sealer.settle(free, letters, rules, self._parking.room(), unknown)
        self._told(settled)
        left = [part for part in free if part.lookup in settled.left]
        await self._parking.park([*behind, *left], settled.left)

    async def _taken_up(self, parts: list[PendingLeg]) -> Unreadable:
        rules = self._sealer.rules()
        found, unknown = await self._sealer.resolved([self._sealer.again(part, rules) for part in parts])
        settled = await self._sealer.settle(found, (), rules, len(parts), unknown)
        self._told(settled)
        pairs = zip(parts, found, strict=True)
        return {part.lookup: settled.left[each.lookup] for part, each in pairs if each.lookup in settled.left}

    def _told(self, settled: Settled) -> None:
        for which, by in settled.ended.items():
            self._count(which, by)

    def _decoded(self, unit: Unit, rules: UnitRules) -> tuple[list[PendingLeg], list[Output]]:
        parts: list[PendingLeg] = []
        letters: list[Output] = []
        limits, form = msgspec.structs.replace(self._limits, skips=rules.tables.skips), form_of(rules.calls)
        for record in chain.from_iterable(unit.values()):
            if rules.heartbeats.ours(record):
                continue
            try:
                payload = payload_of(content(record), record.headers)
                checked = read_event(
                    payload,
                    tenant=self._tenant,
                    identity=rules.identity,
                    appended_ms=appended_ms(record),
                    limits=limits,
                    form=form,
                )
            except MessageError as error:
                letters.append(self._dead.of(record, error))
                self._count(Counters.dead[error.reason], 1)
                continue
            if checked.skipped:
                self._count(Counters.events_suppressed["skipped"], checked.skipped)
            for reason in checked.mended:
                self._count(Counters.events_mended[reason], 1)
            for wrong, event in refused_alone(payload, checked) if checked.wrong else ():
                letters.append(self._dead.of(msgspec.structs.replace(record, value=event), wrong))
                self._count(Counters.dead[wrong.reason], 1)
            place = (record.topic, record.partition, record.offset)
            parts += self._sealer.parts(checked, first_appended_ms(record.timestamp, record.headers), rules, place)
        return parts, letters
