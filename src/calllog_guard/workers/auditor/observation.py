"""
The look from outside: what it takes, what it costs, and how often.

Rules: 1. One look at a partition serves every erasure that waits in it.  2. After it the partition rests as long as it
       took, so looking never takes over half a core, however large the log.  3. A look that could not read everything
       shows presence, never absence.
Source: docs/adr/0007-absence-is-observed.md.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog

from calllog_guard.core.audit.absence import Look
from calllog_guard.core.decisions.outcome import Observed
from calllog_guard.metrics import Counters, Gauges
from calllog_guard.workers.auditor.context import AuditorContext

log: Final = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class LookResult:
    """What a look at one partition saw, by each of its means, and how it was done."""

    looks: tuple[Look, ...]
    observed: Observed


class Observation:
    """Looks at the partitions of one topic, as an outsider and on the brokers' disks."""

    def __init__(self, topic: str, context: AuditorContext) -> None:
        self._topic, self._log, self._disks, self._clock = topic, context.log, context.disks, context.clock
        self._count, self._level = context.count, context.level
        self._rests_until: dict[int, float] = {}
        self.beyond: Sequence[int] = ()
        """Partitions that the topic was not created with: whoever wrote there wrote anybody's legs."""

    def rests(self, partition: int) -> bool:
        """Whether the last look at a partition was so long, and is so recent, that the next must wait."""
        return asyncio.get_running_loop().time() < self._rests_until.get(partition, 0)

    async def look(self, partition: int, names: Sequence[str], replicas: int, in_sync: int) -> LookResult | None:
        """
        One look for many pseudonyms or record keys; None when something could not be read, so nothing is concluded.

        Raises:
            LogSilentError: Kafka or a log directory does not answer; look again later.

        """
        began = asyncio.get_running_loop().time()
        look = Look.for_(names)
        places = [partition, *self.beyond]
        first, end = (await self._log.read_each(self._topic, places, look.kafka_record))[partition]
        found = [await asyncio.to_thread(partial(self._disks, self._topic, at, list(look.seen))) for at in places]
        looks, disks = (look, *(each for some in found for each in some)), found[0]
        self._told(partition, looks, asyncio.get_running_loop().time() - began)
        if unread := sum(each.unread for each in looks):
            log.error(
                "files of a partition hold what cannot be read: no certificates", partition=partition, places=unread
            )
            return None
        how = ("consumer:read_uncommitted", *(("files:segments",) if disks else ()))
        observed = Observed(
            how=how,
            partition=partition,
            from_=first,
            to=end,
            replicas=replicas,
            in_sync=in_sync,
            on_disk=sum(disk.live for disk in disks),
            at=self._clock.now(),
        )
        return LookResult(looks, observed)

    def _told(self, partition: int, looks: Sequence[Look], seconds: float) -> None:
        self._rests_until[partition] = asyncio.get_running_loop().time() + seconds
        records, size = sum(each.records for each in looks), sum(each.size_bytes for each in looks)
        names = looks[0].seen
        left = sum(any(each.seen[name].values for each in looks) for name in names)
        self._count(Counters.observed_partitions, 1)
        self._count(Counters.observed_records, records)
        self._count(Counters.observed_bytes, size)
        self._level(Gauges.observe_seconds, seconds)
        log.info(
            "observed",
            partition=partition,
            looked_for=len(names),
            with_values=left,
            records=records,
            bytes=size,
            seconds=round(seconds, 3),
        )
