"""
The protector: a call becomes one sealed leg per party, under that party's own key, and nothing else.

Here step 1, decoded; the others are the sealer's. What cannot be decoded is a dead letter among the unit's outputs.
Source: design sections 4, 6, 9.
"""

from collections.abc import Sequence

from aiokafka import TopicPartition

from calllog_guard.core.arrival import content
from calllog_guard.core.calls.event import Limits, payload_of, read_event
from calllog_guard.core.ids import Tenant
from calllog_guard.core.replay import first_appended_ms
from calllog_guard.core.tombstone import Output
from calllog_guard.errors import MessageError
from calllog_guard.settings import Settings
from calllog_guard.workers.delivery import DeadLetters, Steps, Unit
from calllog_guard.workers.sealer import Count, Part, Rules, Sealer


class Protector:
    """The role that reads events and writes legs, for one tenant."""

    name = "protector"

    def __init__(
        self,
        tenant: Tenant,
        topics: tuple[str, ...],
        sealer: Sealer,
        dead: DeadLetters,
        settings: Settings,
        count: Count,
    ) -> None:
        self.topics = topics
        self._tenant, self._sealer, self._dead, self._count = tenant, sealer, dead, count
        self._steps = Steps(settings.off)
        self._limits = Limits(
            ahead_ms=settings.event_ahead_s * 1000,
            late_ms=settings.event_late_days * 86_400_000,
            max_bytes=settings.event_max_bytes,
        )

    async def assigned(self, partitions: Sequence[int]) -> dict[TopicPartition, int]:
        """See Role: the committed offset is the position."""
        del partitions
        return {}

    async def revoked(self, partitions: Sequence[int]) -> None:
        """See Role."""

    async def idle(self) -> None:
        """See Role."""

    async def unit(self, unit: Unit) -> None:
        """See Role."""
        rules = self._sealer.rules()
        parts, letters = self._decoded(unit, rules)
        self._steps.reached("protect.decoded")
        parts = await self._sealer.resolved(parts)
        for name, by in (await self._sealer.settle(parts, letters, rules)).items():
            self._count(name, by)

    def _decoded(self, unit: Unit, rules: Rules) -> tuple[list[Part], list[Output]]:
        parts: list[Part] = []
        letters: list[Output] = []
        for record in (record for records in unit.values() for record in records):
            if record.key is not None and record.key[:1] == b"~":
                continue
            try:
                event = read_event(
                    payload_of(content(record), record.headers),
                    tenant=self._tenant,
                    identity=rules.identity,
                    appended_ms=record.timestamp,
                    limits=self._limits,
                )
            except MessageError as error:
                letters.append(self._dead.of(record, error))
                self._count("dead_" + error.reason, 1)
                continue
            parts += self._sealer.parts(event, first_appended_ms(record.timestamp, record.headers), rules)
        return parts, letters
