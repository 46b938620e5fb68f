"""
The look from outside: what it takes, what it costs, and how often.

Rules: 1. One look at a partition serves every erasure that waits in it.  2. After a look a partition rests for as long as the look
       took, so that looking never takes more than half of one core, however large the log.  3. A look that could not read everything
       shows presence, never absence.
Source: design section 9, step 5.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import structlog

from calllog_guard.core.absence import Look
from calllog_guard.core.requests.decision import Observed
from calllog_guard.ports import Clock

log: Final = structlog.get_logger()
ReadEach = Callable[[str, Sequence[int], Callable[[Any], None]], Awaitable[dict[int, tuple[int, int]]]]
Disks = Callable[[str, int, list[bytes]], list[Look]]


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look at one partition saw, and how it was done."""

    look: Look
    observed: Observed


class Observation:
    """Looks at the partitions of one topic, as an outsider and on the brokers' disks."""

    def __init__(
        self,
        topic: str,
        read_each: ReadEach,
        disks: Disks,
        clock: Clock,
        count: Callable[[str, int], None],
        level: Callable[[str, float], None],
    ) -> None:
        self._topic, self._read_each, self._disks, self._clock = topic, read_each, disks, clock
        self._count, self._level = count, level
        self._rests_until: dict[int, float] = {}

    def rests(self, partition: int) -> bool:
        """Whether the last look at a partition was so long, and is so recent, that the next must wait."""
        return asyncio.get_running_loop().time() < self._rests_until.get(partition, 0)

    async def look(self, partition: int, pseudonyms: Sequence[str], replicas: int, in_sync: int) -> Seen | None:
        """
        One look for many pseudonyms; None when something could not be read, so that nothing may be concluded.

        Raises:
            LogSilentError: Kafka or a log directory does not answer; look again later.

        """
        began = asyncio.get_running_loop().time()
        look = Look.for_(pseudonyms)
        first, end = (await self._read_each(self._topic, [partition], look.kafka_record))[partition]
        disks = await asyncio.to_thread(partial(self._disks, self._topic, partition, list(look.seen)))
        for disk in disks:
            look.merge(disk)
        self._told(partition, look, asyncio.get_running_loop().time() - began)
        if look.unread:
            log.error(
                "files of a partition hold what cannot be read: no certificates",
                partition=partition,
                places=look.unread,
            )
            return None
        how = ("consumer:read_uncommitted", *(("files:segments",) if disks else ()), "keystore:rewritten")
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
        return Seen(look, observed)

    def _told(self, partition: int, look: Look, seconds: float) -> None:
        self._rests_until[partition] = asyncio.get_running_loop().time() + seconds
        left = sum(each.values > 0 for each in look.seen.values())
        self._count("observed_partitions", 1)
        self._count("observed_records", look.records)
        self._count("observed_bytes", look.size_bytes)
        self._level("observe_seconds", seconds)
        log.info(
            "observed",
            partition=partition,
            erasures=len(look.seen),
            with_values=left,
            records=look.records,
            bytes=look.size_bytes,
            seconds=round(seconds, 3),
        )
