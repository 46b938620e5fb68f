"""
The ingest: reads raw notifications, and maps them; webhooks reach it beside this (`receiver.py`).

Rules: 1. What names no source of `ingest.toml` is a dead letter: nobody guesses whose it is.
       2. It knows no person: no pepper, no epoch, no entry of the keystore is open to it.
Source: docs/how-to/platforms.md.
"""

from collections.abc import Sequence

from calllog_guard.core.stream.arrival import Arrival, content
from calllog_guard.core.webhooks.source_names import UNKNOWN_SOURCE, source_of
from calllog_guard.errors import MessageError
from calllog_guard.ports.fault_injection import CrashPoints
from calllog_guard.ports.log import TopicPartition
from calllog_guard.workers.ingest.context import IngestContext
from calllog_guard.workers.ingest.intake import IngestWork, MessageIntake
from calllog_guard.workers.runtime.delivery import Unit


class Ingest:
    """The role that reads raw notifications, for one tenant."""

    name = "ingest"
    duties = ()

    def __init__(self, context: IngestContext, topics: tuple[str, ...]) -> None:
        self._at, self._intake, self.topics = context, MessageIntake(context), topics
        self._steps = CrashPoints(context.settings.off)

    async def assigned(self, partitions: Sequence[int]) -> dict[TopicPartition, int]:
        """See Role: the committed offset is the position."""
        del partitions
        return {}

    async def revoked(self, partitions: Sequence[int]) -> None:
        """See Role: nothing is kept of a partition."""

    async def idle(self) -> None:
        """See Role: nothing is due between units."""

    async def unit(self, unit: Unit) -> None:
        """See Role."""
        self._intake.forget()  # a backend may have given its topic more partitions
        beats = self._at.vault.heartbeats(self._at.tenant)
        works = [await self._work(record) for records in unit.values() for record in records if not beats.ours(record)]
        self._steps.reached("ingest.mapped")
        await self._at.writer.write([output for work in works for output in work.outputs])
        self._steps.reached("ingest.written")
        for work in works:
            self._intake.told(work)

    async def _work(self, record: Arrival) -> IngestWork:
        name = source_of(record.headers)
        source = self._at.sources.get(name)
        try:
            content(record)
        except MessageError as error:
            return self._intake.refused(name if source else "", record, error)
        if source is None:
            return self._intake.refused("", record, MessageError(UNKNOWN_SOURCE))
        return await self._intake.work(source, record)
