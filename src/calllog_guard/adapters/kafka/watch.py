"""
What arrives in some partitions from now on, through aiokafka's public consumer and outside any group.

For a command that has just written something and waits for what becomes of it; a topic that its user may not read it does without.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError

from calllog_guard.adapters.kafka.log import consumer
from calllog_guard.adapters.kafka.security import unanswered


class KafkaWatch:
    """Hands out records of a partition of some topics that were appended after `start`; every method raises LogSilentError."""

    def __init__(self, servers: str, options: Mapping[str, Any], topics: Sequence[str], partition: int) -> None:
        self._wanted = [TopicPartition(topic, partition) for topic in topics]
        self._reader: Any = consumer(servers, options, group=None)
        self.topics: list[str] = []

    async def start(self) -> None:
        """Connect; what is appended after this returns is seen, in the `topics` that this user may read."""
        await self._reader.start()
        try:
            visible = (
                await self._reader.topics()
            )  # asked for by name, what may not be seen is a denial in the brokers' logs
            places = [place for place in self._wanted if place.topic in visible]
            self._watch(await self._reader.end_offsets(places))
        except (KafkaError, OSError) as error:
            raise unanswered(error) from None

    async def more(self, wait_ms: int) -> list[Any]:
        """What has arrived since, after at most so many milliseconds."""
        try:
            found = await self._reader.getmany(timeout_ms=wait_ms)
        except TopicAuthorizationFailedError as error:  # shown, and not to be read
            kept = [place for place in self._reader.assignment() if place.topic not in str(error.args)]
            self._watch({place: await self._reader.position(place) for place in kept})
            return []
        except (KafkaError, OSError) as error:
            raise unanswered(error) from None
        return [record for records in found.values() for record in records]

    def _watch(self, offsets: Mapping[TopicPartition, int]) -> None:
        self._reader.assign(list(offsets))
        for place, offset in offsets.items():
            self._reader.seek(place, offset)
        self.topics = [place.topic for place in offsets]

    async def stop(self) -> None:
        """Disconnect."""
        await self._reader.stop()
