"""Batches as they are, past the library's own encoding, to a real broker."""

from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from raw_batches import Raw, batch


class Prepared:
    """A batch that is made already, as the library's producer takes one."""

    def __init__(self, raw: bytes, count: int) -> None:
        self._raw, self._count = raw, count

    def _build(self) -> bytearray:
        return bytearray(self._raw)

    def close(self) -> None:
        """See the library."""

    def closed(self) -> bool:
        """See the library."""
        return True

    def size(self) -> int:
        """See the library."""
        return len(self._raw)

    def record_count(self) -> int:
        """See the library."""
        return self._count


async def produce(servers: str, topic: str, partition: int, batches: Sequence[tuple[Sequence[Raw], str]]) -> list[int]:
    """Append batches of records, each packed by its codec; the offset of the first record of each."""
    producer: Any = AIOKafkaProducer(bootstrap_servers=servers, acks="all", max_request_size=64 << 20)
    await producer.start()
    try:
        found = []
        for records, codec in batches:
            prepared = Prepared(batch(records, codec), len(records))
            sent = await producer.send_batch(prepared, topic, partition=partition)
            found.append(int((await sent).offset))
        return found
    finally:
        await producer.stop()
