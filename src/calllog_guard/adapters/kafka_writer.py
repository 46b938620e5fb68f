"""
Writing to topics through aiokafka: one idempotent producer, batches built by hand, every future awaited.

Rules: 1. `acks=all`.  2. Batches stay below `max.message.bytes` of every governed topic: the broker counts batches, not records.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from calllog_guard.adapters.kafka_log import REQUEST_BYTES
from calllog_guard.adapters.kafka_security import connecting, unanswered, unreached
from calllog_guard.core.tombstone import Output
from calllog_guard.errors import LogRefusedError, LogSilentError

_BATCH_BYTES: Final = 512 << 10  # below max.message.bytes of every governed topic: the broker counts batches
_ACK_S: Final = 60.0
_SHOWN_S: Final = 5.0


class KafkaWriter:
    """The Writer port on one idempotent producer; writes that are asked for at the same time share batches."""

    def __init__(self, servers: str, options: Mapping[str, Any]) -> None:
        self._servers, self._options = servers, connecting(options)
        self._producer: Any = None
        self._waiting: list[tuple[Sequence[Output], asyncio.Future[None]]] = []
        self._flush: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """
        Connect.

        Raises:
            LogSilentError: Kafka does not answer, or refuses (LogRefusedError); try again.

        """
        made = AIOKafkaProducer(
            bootstrap_servers=self._servers,
            acks="all",
            enable_idempotence=True,
            max_batch_size=_BATCH_BYTES,
            max_request_size=REQUEST_BYTES,
            **self._options,
        )
        try:
            await made.start()
        except (KafkaError, OSError) as error:
            await made.stop()
            raise await unreached(error, self._servers, self._options) from None
        self._producer = made

    async def stop(self) -> None:
        """Disconnect."""
        if self._producer is not None:
            await self._producer.stop()

    async def partitions(self, topic: str) -> int:
        """
        How many partitions a topic has.

        Raises:
            LogSilentError: It is not there, or Kafka does not answer.

        """
        try:
            async with asyncio.timeout(_SHOWN_S):
                return len(await self._producer.partitions_for(topic))
        except (KafkaError, OSError, TimeoutError) as error:
            if isinstance(refused := unanswered(error), LogRefusedError):
                raise refused from None
            raise LogSilentError(f"Kafka has no topic {topic}, or does not answer ({type(error).__name__})") from None

    async def append(self, output: Output) -> int:
        """
        Write one record by itself; its offset.

        Raises:
            LogSilentError: It may be written, or not.

        """
        batch = self._producer.create_batch()
        self._add(batch, output)
        try:
            sent = await self._producer.send_batch(batch, output.topic, partition=output.partition)
            return int((await asyncio.wait_for(sent, _ACK_S)).offset)
        except (KafkaError, OSError, TimeoutError) as error:
            raise unanswered(error) from None

    async def write(self, outputs: Sequence[Output]) -> None:
        """See Writer."""
        if not outputs:
            return
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((outputs, done))
        if self._flush is None or self._flush.done():
            self._flush = asyncio.create_task(self._flushed(), name="writer")
        await done

    async def _flushed(self) -> None:
        """Write everything that waits, as one, until nothing waits any more."""
        while self._waiting:
            taken, self._waiting = self._waiting, []
            error: Exception | None = None
            try:
                await self._acknowledged([output for outputs, _ in taken for output in outputs])
            except Exception as caught:  # noqa: BLE001 - raised in each of those who wait for it
                error = caught
            for _, done in taken:
                if done.done():  # whoever waited was cancelled
                    continue
                if error is None:
                    done.set_result(None)
                else:
                    done.set_exception(error)

    async def _acknowledged(self, outputs: Sequence[Output]) -> None:
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
            raise unanswered(error) from None

    @staticmethod
    def _add(batch: Any, output: Output) -> bool:
        headers = list(output.headers)
        return batch.append(key=output.key, value=output.value, timestamp=None, headers=headers) is not None
