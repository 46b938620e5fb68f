"""
Reading and writing topics through aiokafka: public consumer, idempotent producer, batches built by hand.

Rules: 1. `acks=all`, idempotent, every future awaited.  2. Debug logs of the library print keys and values: kept off.
       3. `read_committed` is not needed: nobody writes transactions.
"""

import asyncio
import json
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import KafkaError
from aiokafka.partitioner import murmur2

from calllog_guard.core.tombstone import Output
from calllog_guard.errors import ConfigurationError, LogSilentError

_BATCH_BYTES: Final = 512 << 10  # below max.message.bytes of every governed topic: the broker counts batches
_REQUEST_BYTES: Final = 26 << 20
_ACK_S: Final = 60.0
_READ_S: Final = 300.0

logging.getLogger("aiokafka").setLevel(logging.ERROR)


def security(text: str) -> dict[str, Any]:
    """Client options of Kafka as JSON (TLS, SASL), passed through as they are."""
    try:
        found = json.loads(text)
    except ValueError:
        raise ConfigurationError("CALLLOG_GUARD_KAFKA_SECURITY must be a JSON object of client options") from None
    if not isinstance(found, dict):
        raise ConfigurationError("CALLLOG_GUARD_KAFKA_SECURITY must be a JSON object of client options")
    return found


class KafkaWriter:
    """The Writer port on one idempotent producer."""

    def __init__(self, servers: str, options: Mapping[str, Any]) -> None:
        self._producer: Any = AIOKafkaProducer(
            bootstrap_servers=servers,
            acks="all",
            enable_idempotence=True,
            max_batch_size=_BATCH_BYTES,
            max_request_size=_REQUEST_BYTES,
            **options,
        )

    async def start(self) -> None:
        """Connect."""
        try:
            await self._producer.start()
        except (KafkaError, OSError) as error:
            raise LogSilentError(f"Kafka does not answer ({type(error).__name__})") from None

    async def stop(self) -> None:
        """Disconnect."""
        await self._producer.stop()

    async def write(self, outputs: Sequence[Output]) -> None:
        """See Writer."""
        lanes: dict[tuple[str, int], list[Output]] = defaultdict(list)
        for output in outputs:
            lanes[output.topic, output.partition].append(output)
        futures: list[Any] = []
        try:
            for (topic, partition), lane in lanes.items():
                batch = self._producer.create_batch()
                for output in lane:
                    if not self._add(batch, output):
                        futures.append(await self._producer.send_batch(batch, topic, partition=partition))
                        batch = self._producer.create_batch()
                        self._add(batch, output)
                futures.append(await self._producer.send_batch(batch, topic, partition=partition))
            await asyncio.wait_for(asyncio.gather(*futures), _ACK_S)
        except (KafkaError, OSError, TimeoutError) as error:
            raise LogSilentError(f"Kafka acknowledged nothing ({type(error).__name__})") from None

    @staticmethod
    def _add(batch: Any, output: Output) -> bool:
        headers = list(output.headers)
        return batch.append(key=output.key, value=output.value, timestamp=None, headers=headers) is not None


def consumer(
    servers: str,
    options: Mapping[str, Any],
    *,
    group: str | None,
    max_wait_ms: int = 10,
    session_ms: int = 45_000,
    fetch_bytes: int = 4 << 20,
) -> Any:
    """A consumer of ours: range assignor, earliest, no automatic commits."""
    return AIOKafkaConsumer(
        bootstrap_servers=servers,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        partition_assignment_strategy=(RangePartitionAssignor,),
        session_timeout_ms=session_ms,
        heartbeat_interval_ms=min(3_000, session_ms // 3),
        max_poll_interval_ms=600_000,
        rebalance_timeout_ms=600_000,
        fetch_max_wait_ms=max_wait_ms,
        fetch_max_bytes=_REQUEST_BYTES * 2,
        max_partition_fetch_bytes=fetch_bytes,
        **options,
    )


async def read_all(servers: str, options: Mapping[str, Any], topic: str, partitions: Sequence[int]) -> list[Any]:
    """
    Every record of some partitions up to their present ends, as an outsider reads them.

    Raises:
        LogSilentError: Kafka does not answer; nothing of what was read is used.

    """
    records: list[Any] = []
    await read_each(servers, options, topic, partitions, records.append)
    return records


async def read_each(
    servers: str, options: Mapping[str, Any], topic: str, partitions: Sequence[int], visit: Callable[[Any], None]
) -> dict[int, tuple[int, int]]:
    """
    Hand out every record of some partitions, from the beginning to the present ends, `read_uncommitted`.

    Returns:
        By partition: the first offset, and the end as it was captured before the first record was read.

    Raises:
        LogSilentError: Kafka does not answer; what was handed out is not all there is.

    """
    reader = consumer(servers, options, group=None)
    try:
        await reader.start()
        return await asyncio.wait_for(_read_up(reader, topic, partitions, visit), _READ_S)
    except (KafkaError, OSError, TimeoutError) as error:
        raise LogSilentError(f"Kafka does not answer ({type(error).__name__})") from None
    finally:
        await reader.stop()


async def _read_up(
    reader: Any, topic: str, partitions: Sequence[int], visit: Callable[[Any], None]
) -> dict[int, tuple[int, int]]:
    places = [TopicPartition(topic, partition) for partition in partitions]
    reader.assign(places)
    await reader.seek_to_beginning(*places)
    ends = await reader.end_offsets(places)
    starts = {place: await reader.position(place) for place in places}
    waiting = {place for place in places if ends[place] > starts[place]}
    while waiting:
        for found in (await reader.getmany(*waiting, timeout_ms=200)).values():
            for record in found:
                visit(record)
        waiting = {place for place in waiting if await reader.position(place) < ends[place]}
    return {place.partition: (starts[place], ends[place]) for place in places}


def tenant_partition(tenant: str, partitions: int) -> int:
    """Where every client's default partitioner puts the key of a tenant."""
    return int((murmur2(tenant.encode()) & 0x7FFFFFFF) % partitions)


async def offsets(reader: Any, topic: str, partitions: Sequence[int], *, end: bool) -> dict[int, int]:
    """
    The first or the next offset of some partitions.

    Raises:
        LogSilentError: Kafka does not answer.

    """
    places = [TopicPartition(topic, partition) for partition in partitions]
    try:
        found = await (reader.end_offsets(places) if end else reader.beginning_offsets(places))
    except (KafkaError, OSError) as error:
        raise LogSilentError(f"Kafka does not answer ({type(error).__name__})") from None
    return {place.partition: int(offset) for place, offset in found.items()}


async def position(reader: Any, topic: str, partition: int) -> int:
    """The offset that the consumer hands out next; what compaction emptied counts as read."""
    return int(await reader.position(TopicPartition(topic, partition)))
