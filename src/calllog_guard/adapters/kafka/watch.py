"""
What arrives in some partitions from now on, through aiokafka's public consumer and outside any group.

For a command that wrote something and waits for what becomes of it; it does without a topic its user may not read.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from calllog_guard.adapters.kafka.consumer import consumer, ours
from calllog_guard.core.stream.arrival import Arrival
from calllog_guard.errors import LogRefusedError
from calllog_guard.ports.log import Positions, TopicPartition


class KafkaWatch:
    """
    Hands out records of a partition of some topics appended after `start`; every method raises LogSilentError.

    Args:
        whole: From the beginning, in place of what is appended from now on.

    """

    def __init__(
        self, servers: str, options: Mapping[str, Any], topics: Sequence[str], partition: int, *, whole: bool = False
    ) -> None:
        self._wanted, self._whole = [TopicPartition(topic, partition) for topic in topics], whole
        self._reader = consumer(servers, options)
        self.topics: list[str] = []

    async def start(self) -> None:
        """Connect; what is appended after this returns is seen, in the `topics` that this user may read."""
        await self._reader.start()
        with ours():
            visible = await self._reader.topics()  # asked for by name, what is hidden is a denial in the brokers' logs
            places = [place for place in self._wanted if place.topic in visible]
            ends = self._reader.beginning_offsets if self._whole else self._reader.end_offsets
            self._watch(await ends(places))

    async def more(self, wait_ms: int) -> list[Arrival]:
        """What has arrived since, after at most so many milliseconds."""
        with ours():
            try:
                found = await self._reader.getmany(timeout_ms=wait_ms)
            except LogRefusedError as error:  # shown, and not to be read
                places = self._reader.assignment()
                kept = [place for place in places if place.topic not in str(error)]
                if len(kept) == len(places):
                    raise
                self._watch({place: await self._reader.position(place) for place in kept})
                return []
        return [record for records in found.values() for record in records]

    def _watch(self, offsets: Positions) -> None:
        self._reader.assign(list(offsets))
        for place, offset in offsets.items():
            self._reader.seek(place, offset)
        self.topics = [place.topic for place in offsets]

    async def stop(self) -> None:
        """Disconnect."""
        await self._reader.stop()
