"""The log reader's contract, on the fake and on a real Kafka."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from calllog_guard.adapters.kafka_log import KafkaLog
from calllog_guard.adapters.kafka_reader import KafkaLogReader
from calllog_guard.adapters.kafka_writer import KafkaWriter
from calllog_guard.adapters.memory import MemoryLogReader, MemoryWriter, SystemClock
from calllog_guard.adapters.memory_log import MemoryLog
from calllog_guard.core.tombstone import Output
from calllog_guard.core.wire import to_ms
from calllog_guard.errors import LogSilentError
from calllog_guard.ports import LogReader, Place, Record, Writer

if TYPE_CHECKING:
    from calllog_guard.stack.supervisor import Stack


@dataclass
class Log:
    """A topic of two partitions with its reader."""

    topic: str
    writer: Writer
    reader: LogReader

    async def add(self, partition: int, *values: bytes | None) -> None:
        """Append."""
        await self.writer.write([Output(self.topic, partition, b"key", value) for value in values])

    async def read(self, many: int) -> list[Record]:
        """So many records."""
        found: list[Record] = []
        while len(found) < many:
            found += await self.reader.poll(many - len(found))
        return found


def made(servers: str, topic: str) -> None:
    """Make the topic."""
    from kafka.admin import KafkaAdminClient, NewTopic  # noqa: PLC0415

    admin = KafkaAdminClient(bootstrap_servers=servers)
    admin.create_topics([NewTopic(topic, 2, 1)])
    admin.close()


@pytest.fixture(params=["memory", pytest.param("kafka", marks=pytest.mark.real)])
async def log(request: pytest.FixtureRequest) -> AsyncIterator[Log]:
    """One of the two."""
    topic = f"reads.{secrets.token_hex(4)}"
    if request.param == "memory":
        memory = MemoryWriter()
        yield Log(topic, memory, MemoryLogReader(memory))
        return
    servers = request.getfixturevalue("stack").kafka
    await asyncio.to_thread(made, servers, topic)
    writer, reader = KafkaWriter(servers, {}), KafkaLogReader(servers, {})
    await writer.start()
    yield Log(topic, writer, reader)
    await reader.close()
    await writer.stop()


def values(records: Sequence[Record]) -> list[bytes | None]:
    """What they hold."""
    return [record.value for record in records]


async def test_what_was_written_comes_in_order_from_the_offset_on(log: Log) -> None:
    await log.add(1, b"a", b"b", None, b"d")
    place: Place = (log.topic, 1)
    await log.reader.assign({place: 1})
    assert values(await log.read(3)) == [b"b", None, b"d"]
    assert await log.reader.positions() == {place: 4}
    assert list(await log.reader.poll(10)) == []
    await log.reader.assign({place: 0})
    assert values(await log.read(4)) == [b"a", b"b", None, b"d"], "an assignment anew goes back"


async def test_only_what_is_assigned_is_read(log: Log) -> None:
    await log.add(0, b"zero")
    await log.add(1, b"one")
    await log.reader.assign({(log.topic, 0): 0})
    assert values(await log.read(1)) == [b"zero"]
    await log.reader.assign({(log.topic, 0): 1, (log.topic, 1): 0})
    assert values(await log.read(1)) == [b"one"]


async def test_bounds_are_the_first_and_the_next_offset(log: Log) -> None:
    await log.add(1, b"a", b"b")
    assert await log.reader.bounds([(log.topic, 0), (log.topic, 1)]) == {(log.topic, 0): (0, 0), (log.topic, 1): (0, 2)}


async def test_records_are_fetched_by_offset_and_following_goes_on(log: Log) -> None:
    place: Place = (log.topic, 1)
    await log.add(1, *(b"%d" % number for number in range(2000)))
    await log.reader.assign({place: 1998})
    wanted = [3, 1990, 7, 1200, 1201, 5000]
    fetched = await log.reader.fetch(place, wanted)
    assert sorted(record.offset for record in fetched) == [3, 7, 1200, 1201, 1990]
    assert all(record.value == b"%d" % record.offset for record in fetched)
    assert values(await log.read(2)) == [b"1998", b"1999"]


@pytest.mark.real
async def test_the_offset_at_a_time_is_that_of_the_first_record_since(stack: "Stack") -> None:
    """A second apart: a broker knows milliseconds, and the clock is the machine's."""
    topic, clock, servers = f"reads.{secrets.token_hex(4)}", SystemClock(), stack.kafka
    await asyncio.to_thread(made, servers, topic)
    memory, writer = MemoryLog(clock), KafkaWriter(servers, {})
    await writer.start()
    times = [to_ms(clock.now())]
    for value in (b"a", b"b"):
        for each in (memory, writer):
            await each.write([Output(topic, 1, b"key", value)])
        await asyncio.sleep(0.1)
        times.append(to_ms(clock.now()))
        await asyncio.sleep(0.1)
    await writer.stop()
    for offset_at in (memory.offset_at, KafkaLog(servers, {}).offset_at):
        assert [await offset_at(topic, 1, at_ms) for at_ms in times] == [0, 1, 2]
        assert await offset_at(topic, 0, times[0]) == 0, "an empty partition"


async def test_silence_is_an_error() -> None:
    silent = MemoryLogReader(MemoryWriter())
    silent.silent = True
    for tail in (silent, KafkaLogReader("127.0.0.1:1", {})):
        with pytest.raises(LogSilentError):
            await tail.bounds([("t", 0)])
