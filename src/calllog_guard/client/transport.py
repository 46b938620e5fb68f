"""
The client's way to Kafka: one producer, and readers outside any group. No other module of the client needs Kafka.

Rules: 1. A key's partition is that of Java's partitioner, whoever publishes.  2. acks=all; the unacknowledged raises.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from calllog_guard.adapters.kafka.log import KafkaLog, key_partition
from calllog_guard.adapters.kafka.watch import KafkaWatch
from calllog_guard.adapters.kafka.writer import KafkaWriter
from calllog_guard.core.records import Output
from calllog_guard.core.stream.arrival import Arrival


class Transport:
    """One installation's Kafka, for one client."""

    def __init__(self, servers: str, options: Mapping[str, Any]) -> None:
        self._servers, self._options = servers, options
        self._writer, self._log = KafkaWriter(servers, options), KafkaLog(servers, options)
        self._partitions: dict[str, int] = {}

    async def start(self) -> None:
        """
        Connect.

        Raises:
            LogSilentError: Kafka does not answer, or refuses (LogRefusedError).

        """
        await self._writer.start()

    async def stop(self) -> None:
        """Disconnect."""
        await self._writer.stop()

    async def partitions(self, topic: str) -> int:
        """How many partitions a topic has; asked once."""
        if topic not in self._partitions:
            self._partitions[topic] = await self._writer.partitions(topic)
        return self._partitions[topic]

    async def append(self, topic: str, key: bytes, value: bytes, home: bytes = b"") -> tuple[int, int]:
        """Write one record by itself, to the partition of its key or of `home`: its partition and offset."""
        partition = key_partition(home or key, await self.partitions(topic))
        return partition, await self._writer.append(Output(topic, partition, key, value))

    async def publish(self, topic: str, records: Sequence[tuple[bytes, bytes]]) -> None:
        """Write records, each to the partition of its key; returns once all are acknowledged."""
        many = await self.partitions(topic)
        await self._writer.write([Output(topic, key_partition(key, many), key, value) for key, value in records])

    async def read(self, topic: str, home: bytes) -> list[Arrival]:
        """Every record of the partition of a key, up to its present end."""
        return await self._log.read_all(topic, [key_partition(home, await self.partitions(topic))])

    @asynccontextmanager
    async def watching(self, topics: Sequence[str], home: bytes) -> AsyncGenerator[KafkaWatch, None]:
        """What lies in the partition of a key in some topics, from the beginning, and what is appended to it."""
        partition = key_partition(home, await self.partitions(topics[0]))
        watch = KafkaWatch(self._servers, self._options, topics, partition, whole=True)
        try:
            await watch.start()
            yield watch
        finally:
            await watch.stop()
