"""
What arrives in some partitions from now on, through aiokafka's public consumer and outside any group.

For a command that has just written something and waits for what becomes of it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from calllog_guard.adapters.kafka_log import consumer
from calllog_guard.errors import LogSilentError


class KafkaWatch:
    """Hands out records of some places that were appended after `start`; every method raises LogSilentError."""

    def __init__(self, servers: str, options: Mapping[str, Any], places: Sequence[tuple[str, int]]) -> None:
        self._servers = servers
        self._places = [TopicPartition(topic, partition) for topic, partition in places]
        self._reader: Any = consumer(servers, options, group=None)

    async def start(self) -> None:
        """Connect; what is appended after this returns is seen."""
        try:
            await self._reader.start()
            self._reader.assign(self._places)
            for place, end in (await self._reader.end_offsets(self._places)).items():
                self._reader.seek(place, end)
        except (KafkaError, OSError) as error:
            await self._reader.stop()
            raise LogSilentError(f"Kafka at {self._servers} does not answer ({type(error).__name__})") from None

    async def more(self, wait_ms: int) -> list[Any]:
        """What has arrived since, after at most so many milliseconds."""
        try:
            found = await self._reader.getmany(timeout_ms=wait_ms)
        except (KafkaError, OSError) as error:
            raise LogSilentError(f"Kafka at {self._servers} does not answer ({type(error).__name__})") from None
        return [record for records in found.values() for record in records]

    async def stop(self) -> None:
        """Disconnect."""
        await self._reader.stop()
