"""
The intake of an old log: its events become legs by the protector's own rules, and nobody comes back by it.

Rules: 1. No fence moves: a person who is gone stays gone, whatever the old log says; who is on the company's list of
       people erased so long ago that their fence lapsed leaves no leg.  2. A leg whose last purpose lapsed is never
       stored.  3. The late limit does not bind here: the keys of a new person reach back as far as any purpose.
       4. A batch counts when its outputs are acknowledged; the same batch again writes the same keys.
Source: docs/how-to/publish-an-event.md, docs/explanation/design.md, docs/how-to/write-the-policy.md.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from math import inf
from typing import Any, Final

import msgspec
import structlog

from calllog_guard.core.calls.event import CheckedEvent, Limits
from calllog_guard.core.calls.formats import payload_of
from calllog_guard.core.calls.import_journal import Batch, Events, Legs, Refused, Skipped
from calllog_guard.core.calls.leg import form_of
from calllog_guard.core.calls.reading import read_event, refused_alone
from calllog_guard.core.codec import to_ms
from calllog_guard.core.identifiers import Lookup
from calllog_guard.core.records import Output
from calllog_guard.core.retention.purposes import Purpose, standing
from calllog_guard.core.stream.arrival import content
from calllog_guard.errors import MessageError, UnacknowledgedError, UnitOverdueError
from calllog_guard.metrics import CounterMetric, Counters
from calllog_guard.ports.fault_injection import CrashPoints
from calllog_guard.workers.context import WorkerContext
from calllog_guard.workers.protector.leg_writer import PendingLeg, Sealer, UnitRules
from calllog_guard.workers.runtime.retry import answered

log: Final = structlog.get_logger()
_ANY_AGE_MS: Final = 100 * 366 * 86_400_000  # events of section 6 begin in 2000
_BY_POLICY: Final = "parties that the policy skips"
_ENDS: Final = {
    Counters.legs_written: "stored",
    Counters.legs_removed: "removed",
    Counters.events_suppressed["erased"]: "erased",
    Counters.events_suppressed["no_purpose"]: "no_purpose",
    Counters.events_suppressed["lapsed"]: "no_key",
}


@dataclass(frozen=True, slots=True)
class Item:
    """
    One record of an old log.

    Args:
        value: The event's JSON, or why the source has none, or skips it.
        place: Where it lies, for the manifest.
        record: As Kafka gave it, when it came from a topic: refused ones become dead letters, for the topic may be cut.

    """

    value: bytes | MessageError | Skipped | None
    place: Mapping[str, int]
    record: Any = None


class Intake:
    """
    One import.

    Args:
        context: Its dead letters are of refused records of a topic; files keep theirs.
        sealer: One that brings nobody back.
        listed: The lookups of those on the company's list.

    """

    def __init__(self, context: WorkerContext, sealer: Sealer, listed: frozenset[Lookup]) -> None:
        self._tenant, self._sealer, self._dead, self._policy = context.tenant, sealer, context.dead, context.policy
        settings = self._settings = context.settings
        self._clock, self._listed = context.clock, listed
        self._steps = CrashPoints(settings.off)
        self._limits = Limits(
            ahead_ms=settings.event_ahead_s * 1000,
            late_ms=_ANY_AGE_MS,
            max_bytes=settings.event_max_bytes,
            skew_ms=round(settings.event_skew_s * 1000),
        )
        self._standing: dict[str, int] = {}

    async def batch(self, items: Sequence[Item], positions: Mapping[int, int]) -> Batch:
        """
        Take in a batch; returns when all its outputs are acknowledged.

        Raises:
            GuardError: RETRY longer than RETRY_MAX_S, or HALT; nothing of the batch is counted; it can be repeated.

        """
        rules, now = self._sealer.rules(), self._clock.now()
        purposes = self._policy.purposes_since(self._tenant, rules.version, now.date())
        self._standing.clear()
        parts: list[PendingLeg] = []
        refused: list[Refused] = []
        letters: list[Output] = []
        events: Counter[str] = Counter()
        legs: Counter[str] = Counter()
        ended: Counter[CounterMetric] = Counter()
        skipped: Counter[str] = Counter()
        mended: Counter[str] = Counter()
        for item in items:
            if isinstance(item.value, Skipped):
                skipped[item.value.why] += 1
                continue
            before = legs["born_expired"]
            try:
                payload, checked = self._event(item, rules, to_ms(now))
            except MessageError as error:
                events["refused"] += 1
                refused.append(Refused(**item.place, reason=error.reason, at_pointer=error.pointer))
                if item.record is not None:
                    letters.append(self._dead.of(item.record, error))
                continue
            if checked.skipped:
                skipped[_BY_POLICY] += checked.skipped
            mended.update(checked.mended)
            for wrong, event in refused_alone(payload, checked):
                refused.append(Refused(**item.place, reason=wrong.reason, at_pointer=wrong.pointer))
                if item.record is not None:
                    letters.append(self._dead.of(msgspec.structs.replace(item.record, value=event), wrong))
            appended_ms = to_ms(now) if item.record is None else min(to_ms(now), max(item.record.timestamp, 0))
            kept = self._kept(self._sealer.parts(checked, appended_ms, rules), purposes, now.date(), legs)
            lapsed = legs["born_expired"] > before and not any(part.mask for part in kept)
            events["born_expired" if lapsed else "accepted"] += 1
            parts += kept
            if len(parts) >= self._settings.unit_parties:
                ended += await self._settled(parts, (), rules)
                parts = []
        ended += await self._settled(parts, letters, rules)
        self._steps.reached("import.acknowledged")
        legs.update({name: ended[count] for count, name in _ENDS.items()})
        return Batch(
            policy=rules.version,
            positions=dict(positions),
            events=msgspec.convert({"read": events.total()} | events, Events),
            legs=msgspec.convert(dict(legs), Legs),
            refused=tuple(refused),
            skipped=skipped,
            mended=mended,
        )

    def _event(self, item: Item, rules: UnitRules, now_ms: int) -> tuple[bytes | None, CheckedEvent]:
        if isinstance(item.value, MessageError):
            raise item.value
        headers = () if item.record is None else item.record.headers
        assert not isinstance(item.value, Skipped)  # noqa: S101 - no such item comes here
        value = item.value if item.record is None else content(item.record)
        payload = payload_of(value, headers)
        return payload, read_event(
            payload,
            tenant=self._tenant,
            identity=rules.identity,
            appended_ms=now_ms,
            limits=msgspec.structs.replace(self._limits, skips=rules.tables.skips),
            form=form_of(rules.calls),
        )

    def _kept(
        self, parts: Sequence[PendingLeg], purposes: tuple[Purpose, ...], today: date, legs: Counter[str]
    ) -> list[PendingLeg]:
        """The parts without those of listed people and those whose last purpose lapsed; lapsed purposes are off."""
        kept: list[PendingLeg] = []
        for part in parts:
            if part.text is None or not part.mask:
                kept.append(part)
            elif not self._listed.isdisjoint((part.lookup, *part.former)):
                legs["listed"] += 1
            elif left := part.mask & self._reach(part.day, purposes, today):
                kept.append(part if left == part.mask else msgspec.structs.replace(part, mask=left))
            else:
                legs["born_expired"] += 1
        return kept

    def _reach(self, day: str, purposes: tuple[Purpose, ...], today: date) -> int:
        if day not in self._standing:
            self._standing[day] = standing(date.fromisoformat(day), purposes, today)
        return self._standing[day]

    async def _resolved(
        self, parts: Sequence[PendingLeg], letters: Sequence[Output], rules: UnitRules
    ) -> Counter[CounterMetric]:
        found, unknown = await self._sealer.resolved(parts)
        return (await self._sealer.settle(found, letters, rules, unknown=unknown)).ended

    async def _settled(
        self, parts: Sequence[PendingLeg], letters: Sequence[Output], rules: UnitRules
    ) -> Counter[CounterMetric]:
        """As a worker does: silence is waited for, a unit that has sent something and takes too long is not."""
        now, most_s, deadline = asyncio.get_running_loop().time, self._settings.unit_max_s, inf

        async def attempt() -> Counter[CounterMetric]:
            nonlocal deadline
            began = now()
            try:
                settled = self._resolved(parts, letters, rules)
                return await asyncio.wait_for(settled, min(most_s, max(0.0, deadline - began)))
            except TimeoutError:
                raise UnitOverdueError(f"a unit was not done within {most_s:.0f} s: halt") from None
            except UnacknowledgedError:
                deadline = min(deadline, began + most_s)
                raise

        told = partial(log.warning, "import waits")
        return await answered(attempt, lambda error: told(why=str(error)), most_s=self._settings.retry_max_s)
