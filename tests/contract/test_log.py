"""The contract of a log that is read without a group, on the fake and on a real Kafka: the ports Log and LogReader."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from calllog_guard.adapters.kafka.log import KafkaLog
from calllog_guard.adapters.kafka.log_reader import KafkaLogReader
from calllog_guard.adapters.kafka.writer import KafkaWriter
from calllog_guard.adapters.memory.fakes import MemoryLogReader, MemoryWriter, SystemClock
from calllog_guard.adapters.memory.log import MemoryLog
from calllog_guard.core.codec import to_ms
from calllog_guard.core.records import Output
from calllog_guard.core.stream.arrival import Arrival
from calllog_guard.errors import LogSilentError
from calllog_guard.ports.log import Log, LogReader, Place, Record, TopicPartition, Writer

if TYPE_CHECKING:
    from calllog_guard.devstack.supervisor import Stack


class Cutter(Protocol):
    """Cuts the beginning of a partition off."""

    async def __call__(self, place: Place, before: int) -> None:
        """See Topics.trim."""


@dataclass
class Both:
    """A topic of two partitions: the log and its reader, on the fake or on Kafka."""

    topic: str
    writer: Writer
    log: Log
    reader: LogReader
    cut: Cutter

    def place(self, partition: int) -> TopicPartition:
        """One of the two."""
        return TopicPartition(self.topic, partition)

    async def add(self, partition: int, *values: bytes | None, key: bytes = b"key") -> None:
        """Append."""
        await self.writer.write([Output(self.topic, partition, key, value) for value in values])

    async def polled(self, many: int) -> list[Record]:
        """So many records of the reader."""
        found: list[Record] = []
        while len(found) < many:
            found += await self.reader.poll(many - len(found))
        return found


class KafkaTopic:
    """A topic on a real Kafka, made and cut by its administrator."""

    def __init__(self, servers: str, name: str) -> None:
        from kafka.admin import NewTopic  # noqa: PLC0415 - takes long to load

        from calllog_guard.devstack.kafka_admin import administration  # noqa: PLC0415 - takes long to load

        self.name, self.admin = name, partial(administration, servers)
        with self.admin() as admin:
            admin.create_topics([NewTopic(name, 2, 1, topic_configs={"retention.ms": "-1"})], wait_for_metadata=True)

    def trim(self, place: Place, before: int) -> None:
        """Delete the records before an offset."""
        from kafka import TopicPartition as Spot  # noqa: PLC0415

        with self.admin() as admin:
            admin.delete_records({Spot(*place): before})

    async def cut(self, place: Place, before: int) -> None:
        """See Cutter."""
        await asyncio.to_thread(self.trim, place, before)


@pytest.fixture(params=["memory", pytest.param("kafka", marks=pytest.mark.real)])
async def both(request: pytest.FixtureRequest) -> AsyncIterator[Both]:
    """One of the two."""
    topic = f"reads.{secrets.token_hex(4)}"
    if request.param == "memory":
        memory = MemoryLog(SystemClock())
        reading = MemoryLogReader(memory)

        async def cut(place: Place, before: int) -> None:
            memory.first[place] = reading.first[place] = before

        yield Both(topic, memory, memory, reading, cut)
        return
    servers = request.getfixturevalue("stack").kafka
    made = await asyncio.to_thread(KafkaTopic, servers, topic)
    writer, reader = KafkaWriter(servers, {}), KafkaLogReader(servers, {})
    await writer.start()
    yield Both(topic, writer, KafkaLog(servers, {}), reader, made.cut)
    await reader.close()
    await writer.stop()


def values(records: Sequence[Record]) -> list[bytes | None]:
    """What they hold."""
    return [record.value for record in records]


# --- the log, a question at a time ------------------------------------------------------------------------------------


async def test_everything_is_read_in_order_and_where_it_began_and_ended_is_told(both: Both) -> None:
    await both.add(0, b"a", None, b"c")
    await both.add(1, b"z")
    found = await both.log.read_all(both.topic, [0, 1])
    assert sorted((each.partition, each.offset, each.value) for each in found if each.value) == [
        (0, 0, b"a"),
        (0, 2, b"c"),
        (1, 0, b"z"),
    ]
    assert {each.topic for each in found} == {both.topic}
    seen = list[Arrival]()
    assert await both.log.read_each(both.topic, [0], seen.append) == {0: (0, 3)}
    assert values(seen) == [b"a", None, b"c"]
    assert await both.log.read_all(both.topic, []) == []


async def test_what_was_cut_off_is_not_there(both: Both) -> None:
    """Nor does anything say that it is: what lies behind the cut is whole."""
    await both.add(1, b"a", b"b", b"c")
    await both.cut(both.place(1), 2)
    assert (await both.log.starts(both.topic, [0, 1]), await both.log.ends(both.topic, [0, 1])) == (
        {0: 0, 1: 2},
        {0: 0, 1: 3},
    )
    assert values(await both.log.read_all(both.topic, [1])) == [b"c"]
    assert await both.log.read_each(both.topic, [1], lambda _: None) == {1: (2, 3)}
    found, after, end = await both.log.tail(both.topic, 1, 0, 10)
    assert (values(found), after, end) == ([b"c"], 3, 3)
    assert await both.log.fetch(both.topic, 1, {b"key": 0}) == {}


async def test_the_tail_is_what_comes_from_an_offset_on(both: Both) -> None:
    await both.add(0, *(b"%d" % number for number in range(5)))
    found, after, end = await both.log.tail(both.topic, 0, 2, 100)
    assert (values(found), after, end) == ([b"2", b"3", b"4"], 5, 5)
    assert await both.log.tail(both.topic, 0, 5, 100) == ([], 5, 5)
    assert await both.log.tail(both.topic, 1, 0, 100) == ([], 0, 0), "an empty partition"


async def test_values_are_fetched_by_the_place_of_their_key_as_far_as_they_are_there(both: Both) -> None:
    """A key that has moved, a tombstone and a place behind the end are left out."""
    await both.writer.write([Output(both.topic, 0, b"%d" % number, b"v%d" % number) for number in range(2500)])
    await both.add(0, None, key=b"gone")
    wanted = {b"1": 1, b"2400": 2400, b"0": 0, b"moved": 7, b"gone": 2500, b"later": 9000}
    found = await both.log.fetch(both.topic, 0, wanted)
    assert found == {b"1": b"v1", b"2400": b"v2400", b"0": b"v0"}
    assert await both.log.fetch(both.topic, 0, {}) == {}


async def test_the_newest_of_a_kind_is_found_however_far_back_it_lies(both: Both) -> None:
    await both.add(0, b"first", key=b"beat")
    await both.add(0, b"second", key=b"beat")
    await both.add(0, *([b"other"] * 300))
    await both.add(1, *([b"other"] * 3))
    found = await both.log.newest(both.topic, [0, 1], lambda each: each.key == b"beat")
    assert [(each.partition, each.value) for each in found] == [(0, b"second")]
    assert await both.log.newest(both.topic, [0, 1], lambda each: each.key == b"none") == []


async def test_portions_say_where_partitions_go_on_and_what_was_cut_off(both: Both) -> None:
    """From the positions of the last one a reader goes on without a gap and without a repetition."""
    await both.add(0, *(b"%d" % number for number in range(7)))
    await both.add(1, b"a", b"b")
    await both.cut(both.place(0), 3)
    lost, read = list[tuple[Any, int, int]](), list[bytes | None]()
    positions = {both.place(0): 1, both.place(1): 0}
    made = both.log.portions(positions, 2, cut=lambda place, start, to: lost.append((place, start, to)))
    async for reached, portion in made:
        positions |= reached
        for records in portion.values():
            assert len(records) <= 2
            read += values(records)
    assert sorted(filter(None, read)) == [b"3", b"4", b"5", b"6", b"a", b"b"]
    assert positions == {both.place(0): 7, both.place(1): 2}
    assert lost == [(both.place(0), 1, 3)]
    assert [portion async for portion in both.log.portions(positions, 2)] == []


async def test_the_offset_at_a_time_is_that_of_the_first_record_since(both: Both) -> None:
    """A tenth of a second apart: a broker knows milliseconds, and the clock is the machine's."""
    clock = SystemClock()
    times = [to_ms(clock.now())]
    for value in (b"a", b"b"):
        await both.add(1, value)
        await asyncio.sleep(0.1)
        times.append(to_ms(clock.now()))
        await asyncio.sleep(0.1)
    assert [await both.log.offset_at(both.topic, 1, at_ms) for at_ms in times] == [0, 1, 2]
    assert await both.log.offset_at(both.topic, 0, times[0]) == 0, "an empty partition"


# --- a reader that follows --------------------------------------------------------------------------------------------


async def test_what_was_written_comes_in_order_from_the_offset_on(both: Both) -> None:
    await both.add(1, b"a", b"b", None, b"d")
    place = both.place(1)
    await both.reader.assign({place: 1})
    assert values(await both.polled(3)) == [b"b", None, b"d"]
    assert await both.reader.positions() == {place: 4}
    assert list(await both.reader.poll(10)) == []
    await both.reader.assign({place: 0})
    assert values(await both.polled(4)) == [b"a", b"b", None, b"d"], "an assignment anew goes back"


async def test_only_what_is_assigned_is_read(both: Both) -> None:
    await both.add(0, b"zero")
    await both.add(1, b"one")
    await both.reader.assign({both.place(0): 0})
    assert values(await both.polled(1)) == [b"zero"]
    await both.reader.assign({both.place(0): 1, both.place(1): 0})
    assert values(await both.polled(1)) == [b"one"]


async def test_bounds_are_the_first_and_the_next_offset(both: Both) -> None:
    await both.add(1, b"a", b"b")
    zero, one = both.place(0), both.place(1)
    assert await both.reader.bounds([zero, one]) == {zero: (0, 0), one: (0, 2)}
    await both.cut(one, 1)
    assert await both.reader.bounds([one]) == {one: (1, 2)}


async def test_records_are_fetched_by_offset_and_following_goes_on(both: Both) -> None:
    place = both.place(1)
    await both.add(1, *(b"%d" % number for number in range(2000)))
    await both.reader.assign({place: 1998})
    wanted = [3, 1990, 7, 1200, 1201, 5000]
    fetched = await both.reader.fetch(place, wanted)
    assert sorted(record.offset for record in fetched) == [3, 7, 1200, 1201, 1990]
    assert all(record.value == b"%d" % record.offset for record in fetched)
    assert values(await both.polled(2)) == [b"1998", b"1999"]


# --- silence ----------------------------------------------------------------------------------------------------------


def silent_log() -> MemoryLog:
    """One that answers nothing."""
    found = MemoryLog(SystemClock())
    found.silent = True
    return found


@pytest.mark.parametrize("log", [silent_log(), KafkaLog("127.0.0.1:1", {})], ids=["memory", "kafka"])
async def test_silence_is_an_error_and_never_an_empty_log(log: Log) -> None:
    place = TopicPartition("t", 0)
    asks: list[Any] = [
        log.starts("t", [0]),
        log.ends("t", [0]),
        log.offset_at("t", 0, 0),
        log.read_all("t", [0]),
        log.read_each("t", [0], lambda _: None),
        log.tail("t", 0, 0, 1),
        log.fetch("t", 0, {b"key": 0}),
        log.newest("t", [0], lambda _: True),
        anext(log.portions({place: 0}, 1)),
    ]
    answers = await asyncio.gather(*asks, return_exceptions=True)
    assert [isinstance(each, LogSilentError) for each in answers] == [True] * len(asks)


async def test_a_reader_tells_silence_from_nothing() -> None:
    silent = MemoryLogReader(MemoryWriter())
    silent.silent = True
    for reader in (silent, KafkaLogReader("127.0.0.1:1", {})):
        with pytest.raises(LogSilentError):
            await reader.bounds([("t", 0)])


@pytest.mark.real
async def test_what_no_transaction_has_committed_is_left_out_where_that_is_asked_for(stack: "Stack") -> None:
    """Of an old log of a backend, whose records are no calls before they are committed."""
    from aiokafka import AIOKafkaProducer  # noqa: PLC0415

    topic = f"reads.{secrets.token_hex(4)}"
    await asyncio.to_thread(KafkaTopic, stack.kafka, topic)
    writer: Any = AIOKafkaProducer(bootstrap_servers=stack.kafka, transactional_id=topic)
    await writer.start()
    try:
        for number, kept in enumerate((True, False, True)):
            await writer.begin_transaction()
            await writer.send_and_wait(topic, b"%d" % number, partition=0)
            await (writer.commit_transaction() if kept else writer.abort_transaction())
    finally:
        await writer.stop()
    log, place = KafkaLog(stack.kafka, {}), TopicPartition(topic, 0)
    for committed, told in ((True, [b"0", b"2"]), (False, [b"0", b"1", b"2"])):
        read = [portion async for portion in log.portions({place: 0}, 10, committed=committed)]
        assert [each.value for _, portion in read for each in portion.get(place, ())] == told
        assert dict(read[-1][0]) == {place: 6}, "markers count as read"
