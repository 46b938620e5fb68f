"""
Writing to topics through aiokafka: one idempotent producer, batches built by hand, every future awaited.

Rules: 1. `acks=all`.  2. Batches stay below each governed topic's `max.message.bytes`: brokers count batches.
       3. What is refused, or not acknowledged in time, is withdrawn with its producer, whose sequence has a hole:
          nothing of it is sent later, and the next write begins with a producer of its own.
       4. Silence is waited for.  A record too large is its message's fault; other lasting errors are the world's.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import aiokafka.errors as library
from aiokafka.errors import KafkaError

from calllog_guard.adapters.kafka.consumer import REQUEST_BYTES, START_S
from calllog_guard.adapters.kafka.producer import InvalidRecordError, Producer
from calllog_guard.adapters.kafka.security import connecting, unanswered, unreached
from calllog_guard.core.records import Output
from calllog_guard.errors import (
    GuardError,
    LogFaultError,
    LogRefusedError,
    LogSilentError,
    OutputTooLargeError,
    UnacknowledgedError,
)

_BATCH_BYTES: Final = 512 << 10  # below max.message.bytes of every governed topic: the broker counts batches
_ROUNDS: Final = 64
"""Of the loop, that a batch waits at most for others who write."""
_QUIET_ROUNDS: Final = 3
"""Without a new one, after which nobody is on the way: so many steps lie between a request and its write."""
_ACK_S: Final = 60.0
_SHOWN_S: Final = 5.0
_ASK_S: Final = 0.1
_ORDINARY: Final = 1_000_000
"""Bytes that every governed topic takes, whatever its `max.message.bytes`: one that does not is set wrongly."""
_TOO_LARGE: Final = (library.MessageSizeTooLargeError, library.RecordListTooLargeError)
_FAULTS: Final = (
    InvalidRecordError,
    library.InvalidTimestampError,
    library.InvalidTopicError,
    library.PolicyViolationError,
    library.UnsupportedForMessageFormatError,
    library.UnsupportedVersionError,
)
Lane = tuple[str, int]
Stamped = Callable[[Lane, int | None], None]
"""Is told of each batch when its broker appended it, in milliseconds; None: its topic takes the sender's time."""
Waiting = tuple[Sequence[Output], asyncio.Future[None]]


class KafkaWriter:
    """The Writer port on one idempotent producer; writes that are asked for at the same time share batches."""

    def __init__(self, servers: str, options: Mapping[str, Any], ack_s: float = _ACK_S) -> None:
        self._servers, self._options, self._ack_s = servers, connecting(options), ack_s
        self._producer: Producer | None = None
        self._waiting: list[Waiting] = []
        self._flush: asyncio.Task[None] | None = None
        self.stamped: Stamped = lambda _lane, _ms: None

    async def start(self) -> None:
        """
        Connect.

        Raises:
            LogSilentError: Kafka does not answer, or refuses (LogRefusedError); try again.

        """
        await self._ready()

    async def _ready(self) -> Producer:
        if self._producer is None:
            made = Producer(
                bootstrap_servers=self._servers,
                acks="all",
                enable_idempotence=True,
                max_batch_size=_BATCH_BYTES,
                max_request_size=REQUEST_BYTES,
                **self._options,
            )
            try:
                async with asyncio.timeout(START_S):
                    await made.start()
            except (KafkaError, OSError) as error:
                await made.withdraw()
                raise await unreached(error, self._servers, self._options) from None
            except BaseException:
                await made.withdraw()
                raise
            self._producer = made
        return self._producer

    async def stop(self) -> None:
        """Disconnect; what was written is acknowledged, and what was not is withdrawn."""
        await self.withdraw()

    async def withdraw(self) -> None:
        """See Writer."""
        self._refuse()
        if self._flush is not None:
            self._flush.cancel()
        await self._drop()

    def _refuse(self) -> None:
        """Write nothing of what waits."""
        waiting, self._waiting = self._waiting, []
        for _, done in waiting:
            if not done.done():
                done.set_exception(UnacknowledgedError("what was to be written is withdrawn"))

    async def _drop(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.withdraw()

    async def partitions(self, topic: str) -> int:
        """
        How many partitions a topic has.

        Raises:
            LogSilentError: It is not there, or Kafka does not answer.

        """
        try:
            async with asyncio.timeout(_SHOWN_S):
                return len(await (await self._ready()).partitions_for(topic))
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
        return (await self._acknowledged([output]))[0]

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
            try:
                await self._gathered()
            except asyncio.CancelledError:
                self._refuse()
                continue
            taken, self._waiting = self._waiting, []
            if isinstance(await self._settled(taken), OutputTooLargeError):
                for each in taken:  # whose it is: the others are not at fault
                    await self._settled([each], alone=True)

    async def _gathered(self) -> None:
        """Let those join who are about to write: while the loop is busy, a batch costs more than its records."""
        known, quiet = 0, 0
        for _ in range(_ROUNDS):
            known, quiet = len(self._waiting), quiet + 1 if len(self._waiting) == known else 0
            if quiet == _QUIET_ROUNDS:
                return
            await asyncio.sleep(0)

    async def _settled(self, taken: Sequence[Waiting], *, alone: bool = False) -> BaseException | None:
        """Write for some who wait, and tell them; not yet that one is at fault, unless it is `alone`."""
        error: BaseException | None = None
        try:
            await self._acknowledged([output for outputs, _ in taken for output in outputs])
        except asyncio.CancelledError:
            error = UnacknowledgedError("what was to be written is withdrawn")
        except Exception as caught:  # noqa: BLE001 - raised in each of those who wait for it
            error = caught
        if not isinstance(error, OutputTooLargeError) or alone:
            for _, done in taken:
                if done.done():  # whoever waited was cancelled
                    continue
                if error is None:
                    done.set_result(None)
                else:
                    done.set_exception(error)
        return error

    async def _acknowledged(self, outputs: Sequence[Output]) -> list[int]:
        """The offset of the first record of each batch, in the order of the lanes."""
        lanes: dict[Lane, list[Output]] = defaultdict(list)
        for output in outputs:
            lanes[output.topic, output.partition].append(output)
        sent: list[tuple[Lane, int, Any]] = []
        try:
            async with asyncio.timeout(self._ack_s):
                producer = await self._ready()
                for lane, some in lanes.items():
                    await self._send(producer, lane, some, sent)
                offsets = [self._told(lane, await each) for lane, _, each in sent]
        except (KafkaError, OSError, TimeoutError) as error:
            judged = await self._judged(error, lanes, sent)
            await self._drop()
            raise judged from None
        return offsets

    def _told(self, lane: Lane, done: Any) -> int:
        """The offset of a batch; when its broker appended it is told to whoever compares clocks."""
        self.stamped(lane, done.timestamp if done.timestamp_type and done.timestamp is not None else None)
        return int(done.offset)

    async def _send(
        self, producer: Producer, lane: Lane, outputs: Sequence[Output], sent: list[tuple[Lane, int, Any]]
    ) -> None:
        topic, partition = lane
        await self._there(producer, topic, partition)
        batch, largest = producer.create_batch(), 0
        for output in outputs:
            key, value, headers = output.key, output.value, list(output.headers)
            size = len(value or b"") + len(key or b"")
            if batch.append(key=key, value=value, timestamp=None, headers=headers) is None:
                sent.append((lane, largest, await producer.send_batch(batch, topic, partition=partition)))
                batch, largest = producer.create_batch(), 0
                batch.append(key=key, value=value, timestamp=None, headers=headers)
            largest = max(largest, size)
        sent.append((lane, largest, await producer.send_batch(batch, topic, partition=partition)))

    @staticmethod
    async def _there(producer: Producer, topic: str, partition: int) -> None:
        """One that was added just now is known to the library in minutes, and to each broker in moments."""
        now = asyncio.get_running_loop().time
        end = now() + _SHOWN_S
        while partition not in await producer.partitions_for(topic):
            if now() >= end:
                raise LogFaultError(f"Kafka has no partition {partition} of {topic}: see `topics check`")
            await producer.client.force_metadata_update()
            await asyncio.sleep(_ASK_S)

    async def _judged(
        self, error: BaseException, lanes: Mapping[Lane, Sequence[Output]], sent: Sequence[tuple[Lane, int, Any]]
    ) -> GuardError:
        """What an error means for whoever waits for the write."""
        for (topic, _), largest, future in sent:
            refused = future.exception() if future.done() and not future.cancelled() else None
            kind = type(refused).__name__
            if isinstance(refused, _TOO_LARGE) and largest > _ORDINARY:
                return OutputTooLargeError(topic, largest)
            if isinstance(refused, (*_TOO_LARGE, *_FAULTS)):
                return LogFaultError(
                    f"Kafka takes no record of {largest} bytes into {topic} ({kind}): see `topics check`"
                )
        silent = unanswered(error)
        if isinstance(silent, LogRefusedError) or not sent:
            return silent
        known = self._producer.client.cluster if self._producer else None
        gone = sorted({topic for topic, _ in lanes if known is not None and known.partitions_for_topic(topic) is None})
        if gone:
            return UnacknowledgedError(f"Kafka has no topic {', '.join(gone)} any more: see `topics check`")
        return UnacknowledgedError(f"Kafka does not acknowledge ({type(error).__name__})")
