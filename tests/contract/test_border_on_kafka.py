"""The border on a real broker: what the library's parser stops at is passed over, and what lies behind it is read."""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from math import inf
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.consumer import fetcher as library
from kafka.admin import NewTopic
from patience import PATIENCE_S
from raw_batches import Raw, batch
from raw_producer import produce

from calllog_guard.adapters.kafka import fetches as kafka_fetched
from calllog_guard.adapters.kafka.consumer import Consumer, consumer
from calllog_guard.adapters.kafka.log import KafkaLog
from calllog_guard.core.stream.arrival import CORRUPT, TOO_LARGE, UNREADABLE, Arrival
from calllog_guard.devstack.kafka_admin import administration
from calllog_guard.devstack.supervisor import Stack
from calllog_guard.errors import LogFaultError, LogRefusedError

pytestmark = pytest.mark.real
GOOD = [Raw(b"good %d" % number, b"key") for number in range(3)]
BOMB = Raw(b" " * (30 << 20), b"bomb")
STRANGE = Raw(b"v", b"k", [(b"\xff\xfe", b"x"), (b"null", None)])


@pytest.fixture
def topic(stack: Stack) -> str:
    """One partition, made for the test."""
    name = f"border-{secrets.token_hex(4)}"
    admin = administration(stack.kafka)
    try:
        admin.create_topics(
            [NewTopic(name, 1, 1, topic_configs={"max.message.bytes": str(32 << 20), "retention.ms": "-1"})],
            wait_for_metadata=True,
        )
    finally:
        admin.close()
    return name


def test_our_consumers_read_by_our_parser_and_others_by_the_librarys() -> None:
    """Where a new release of it has moved these names, this fails, and the poisoned records below end the workers again."""
    ours = kafka_fetched.Fetcher._fetched.__globals__
    assert (ours["MemoryRecords"], ours["PartitionRecords"]) == (kafka_fetched.Fetched, kafka_fetched.FetchedArrivals)
    assert ours["FetchResult"] is kafka_fetched.Result
    assert Consumer._begun.__globals__["Fetcher"] is kafka_fetched.Fetcher
    for function, names in (
        (library.Fetcher._proc_fetch_request, {"MemoryRecords", "PartitionRecords", "FetchResult"}),
        (library.Fetcher.fetched_records, {"FetchResult"}),
        (AIOKafkaConsumer.start, {"Fetcher"}),
    ):
        assert names <= set(function.__code__.co_names), "the library finds its own by these names"
        assert not any(function.__globals__[name].__module__.startswith("calllog_guard") for name in names)
    asked = {"_proc_fetch_request": "_fetch_requests_routine", "_fetch_max_wait_ms": "_get_actions_per_node"}
    for name, by in asked.items():
        assert name in getattr(library.Fetcher, by).__code__.co_names, "the library asks for ours at each fetch"


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
async def test_what_stops_the_library_is_passed_over_record_by_record(stack: Stack, topic: str, codec: str) -> None:
    """Nothing before it twice, nothing behind it lost."""
    packed = "gzip" if codec == "none" else codec
    lots = [(GOOD, codec), ([GOOD[0], STRANGE, GOOD[1]], codec), ([BOMB], packed), ([STRANGE], codec), (GOOD, codec)]
    await produce(stack.kafka, topic, 0, lots)
    found = await KafkaLog(stack.kafka, {}).read_all(topic, [0])
    assert [each.offset for each in found] == list(range(11))
    told = [(each.remnant.reason if each.remnant else each.value) for each in found]
    good = [each.value for each in GOOD]
    assert told == [*good, b"good 0", b"v", b"good 1", TOO_LARGE, b"v", *good]
    assert found[4].headers == (("\\xff\\xfe", b"x"), ("null", None))


async def test_a_poll_is_bounded_in_bytes_and_loses_nothing(stack: Stack, topic: str) -> None:
    """Forty megabytes of records that unpack from little; three partitions' worth is the same as one."""
    large = [Raw(bytes([number]) * (1 << 20)) for number in range(40)]
    await produce(stack.kafka, topic, 0, [(large, "zstd")])
    reader = consumer(stack.kafka, {})
    await reader.start()
    place, sizes, seen = TopicPartition(topic, 0), list[int](), list[Arrival]()
    try:
        reader.assign([place])
        await reader.seek_to_beginning(place)
        while len(seen) < len(large):
            found = (await reader.getmany(timeout_ms=1000)).get(place, [])
            sizes.append(sum(each.size for each in found))
            seen += found
    finally:
        await reader.stop()
    assert [each.value for each in seen] == [each.value for each in large]
    assert max(sizes) <= 17 << 20


def errors(answer: Any, code: int) -> None:
    """The broker refuses every partition of an answer."""
    for _, partitions in answer.topics:
        for number, (partition, _, *rest) in enumerate(partitions):
            partitions[number] = (partition, code, *rest[:-1], b"")


async def polled(reader: Any) -> Any:
    """What is handed out next, or raised."""
    async with asyncio.timeout(30):
        while not (found := await reader.getmany(timeout_ms=100)):
            pass
        return found


async def test_a_partition_that_a_broker_cannot_read_is_unheard_of(stack: Stack, topic: str) -> None:
    """It asks again without end, and says nothing: the clock since the last answer is all that tells."""
    await produce(stack.kafka, topic, 0, [(GOOD, "none")])
    reader, place = consumer(stack.kafka, {}), TopicPartition(topic, 0)
    await reader.start()
    send, code = reader._client.send, 2

    async def refused(node: int, request: object, **more: object) -> object:
        answer = await send(node, request, **more)
        if type(request).__name__ == "FetchRequest" and code:
            errors(answer, code)
        return answer

    reader._client.send = refused
    try:
        reader.assign([place])
        await reader.seek_to_beginning(place)
        assert reader.unheard_s(place) == inf
        for _ in range(3):
            assert await reader.getmany(timeout_ms=100) == {}
        assert reader.unheard_s(place) == inf
        code = 29  # a right that was lost
        with pytest.raises(LogRefusedError):
            await polled(reader)
        code = 0
        found = await polled(reader)
        assert [each.value for each in found[place]] == [each.value for each in GOOD]
        assert reader.unheard_s(place) < 30
    finally:
        await reader.stop()


async def test_a_library_that_has_stopped_reading_is_told(stack: Stack, topic: str) -> None:
    """Its own task ends, and whoever polls is handed nothing, for ever."""
    await produce(stack.kafka, topic, 0, [(GOOD, "none")])
    reader, place = consumer(stack.kafka, {}), TopicPartition(topic, 0)
    await reader.start()

    try:
        reader._fetcher.error_future.cancel()
        reader.assign([place])
        with pytest.raises(LogFaultError):
            await polled(reader)
    finally:
        reader._fetcher._fetch_task = asyncio.create_task(
            asyncio.sleep(0)
        )  # the library stops half way where it has ended
        await reader.stop()


async def test_what_a_transaction_took_back_is_not_handed_out(stack: Stack, topic: str) -> None:
    """Where `read_committed` is asked for; markers are no records anywhere."""
    writer: Any = AIOKafkaProducer(bootstrap_servers=stack.kafka, transactional_id=topic)
    await writer.start()
    try:
        for number, kept in enumerate((True, False, True)):
            await writer.begin_transaction()
            await writer.send_and_wait(topic, b"%d" % number, partition=0)
            await (writer.commit_transaction() if kept else writer.abort_transaction())
    finally:
        await writer.stop()
    committed = await KafkaLog(stack.kafka, {"isolation_level": "read_committed"}).read_all(topic, [0])
    assert [each.value for each in committed] == [b"0", b"2"]
    assert [each.value for each in await KafkaLog(stack.kafka, {}).read_all(topic, [0])] == [b"0", b"1", b"2"]


async def through(
    stack: Stack, topic: str, change: Callable[[int, bytes], bytes], until: int
) -> tuple[list[Arrival], int]:
    """What a consumer is handed while each answer to its fetches is changed, and how many fetches it took."""
    reader = consumer(stack.kafka, {})
    await reader.start()
    place, seen, fetches = TopicPartition(topic, 0), list[Arrival](), 0
    send = reader._client.send

    async def changed(node: int, request: object, **more: object) -> object:
        nonlocal fetches
        answer = await send(node, request, **more)
        if type(request).__name__ == "FetchRequest":
            for _, partitions in answer.topics:
                for number, (*some, content) in enumerate(partitions):
                    if content:
                        fetches += 1
                        partitions[number] = (*some, change(fetches, content))
        return answer

    reader._client.send = changed
    try:
        reader.assign([place])
        await reader.seek_to_beginning(place)
        async with asyncio.timeout(PATIENCE_S):
            while not seen or seen[-1].offset < until - 1:
                seen += (await reader.getmany(timeout_ms=200)).get(place, [])
    finally:
        await reader.stop()
    return seen, fetches


def flipped(content: bytes, at: int) -> bytes:
    """One bit of it is another."""
    changed = bytearray(content)
    changed[at] ^= 1
    return bytes(changed)


async def test_a_bit_that_flips_on_the_way_once_costs_a_second_look(stack: Stack, topic: str) -> None:
    """What was damaged in transit is whole at its source."""
    await produce(stack.kafka, topic, 0, [(GOOD, "none")])
    seen, fetches = await through(stack, topic, lambda turn, raw: flipped(raw, 70) if turn < 3 else raw, 3)
    assert [each.value for each in seen] == [each.value for each in GOOD]
    assert fetches == 3


async def test_a_bit_that_has_flipped_on_the_disk_costs_its_batch_and_no_other(stack: Stack, topic: str) -> None:
    """Each offset of it is told, for the batch itself can no longer be asked how many it has."""
    lots = [(GOOD, "none"), (GOOD, "zstd"), (GOOD, "none")]
    await produce(stack.kafka, topic, 0, lots)
    sizes = [len(batch(GOOD, "none")), len(batch(GOOD, "zstd"))]

    def damage(_: int, content: bytes) -> bytes:
        base = int.from_bytes(content[:8], "big")
        at = {0: sizes[0] + 70, 3: 70}.get(base)
        return content if at is None else flipped(content, at)

    seen, _ = await through(stack, topic, damage, 9)
    told = [(each.offset, each.remnant.reason if each.remnant else each.value) for each in seen]
    good = [each.value for each in GOOD]
    assert told == list(enumerate([*good, CORRUPT, CORRUPT, CORRUPT, *good]))


async def test_an_answer_without_a_whole_batch_is_passed_over_too(stack: Stack, topic: str) -> None:
    """A length below zero, a format of tomorrow: what is there cannot be found, and is told."""
    lots: Sequence[tuple[list[Raw], str]] = [([GOOD[0]], "none"), ([GOOD[1]], "none"), ([GOOD[2]], "none")]
    await produce(stack.kafka, topic, 0, lots)

    def damage(_: int, content: bytes) -> bytes:
        base, length = int.from_bytes(content[:8], "big"), int.from_bytes(content[8:12], "big") + 12
        first, rest = content[:length], content[length:]
        if base == 0:
            return content[:8] + b"\xff\xff\xff\xf0" + content[12:]
        if base == 1:
            return first[:16] + b"\x07" + first[17:] + rest
        return content

    seen, _ = await through(stack, topic, damage, 3)
    assert [(each.remnant.reason if each.remnant else each.value) for each in seen] == [CORRUPT, CORRUPT, b"good 2"]


async def test_records_that_are_none_are_told_beside_those_that_are(stack: Stack, topic: str) -> None:
    """The broker checks what it is sent; what it has let through once lies in the log for good."""
    await produce(stack.kafka, topic, 0, [(GOOD, "none")])

    mixed = batch([GOOD[0], Raw(body=b"\0\x02"), GOOD[2]], "gzip")
    seen, _ = await through(stack, topic, lambda _, __: mixed, 3)
    assert [(each.remnant.reason if each.remnant else each.value) for each in seen] == [
        b"good 0",
        UNREADABLE,
        b"good 2",
    ]
