"""The writer on a real broker: what no retry cures is told from silence, and what is given up is never sent."""

import asyncio
import secrets
from collections.abc import AsyncIterator

import pytest
from kafka.admin import NewTopic
from patience import PATIENCE_S

from calllog_guard.adapters.kafka.log import KafkaLog
from calllog_guard.adapters.kafka.writer import KafkaWriter
from calllog_guard.core.records import Output
from calllog_guard.devstack.kafka_admin import administration
from calllog_guard.devstack.supervisor import Stack
from calllog_guard.errors import LogFaultError, LogSilentError, OutputTooLargeError, UnacknowledgedError

pytestmark = pytest.mark.real


def made(stack: Stack, partitions: int = 1, **settings: str) -> str:
    """A topic of its own."""
    name = f"writer-{secrets.token_hex(4)}"
    configs = {key.replace("_", "."): value for key, value in settings.items()}
    admin = administration(stack.kafka)
    try:
        admin.create_topics([NewTopic(name, partitions, 1, topic_configs=configs)], wait_for_metadata=True)
    finally:
        admin.close()
    return name


def deleted(stack: Stack, topic: str) -> None:
    """As an administrator's slip."""
    admin = administration(stack.kafka)
    try:
        admin.delete_topics([topic])
    finally:
        admin.close()


@pytest.fixture
async def writer(stack: Stack) -> AsyncIterator[KafkaWriter]:
    """One that waits for six seconds."""
    found = KafkaWriter(stack.kafka, {}, ack_s=6)
    await found.start()
    yield found
    await found.stop()


async def values(stack: Stack, topic: str) -> list[bytes | None]:
    """What lies in a topic of one partition."""
    return [record.value for record in await KafkaLog(stack.kafka, {}).read_all(topic, [0])]


async def test_what_is_too_large_is_its_messages_fault_and_the_next_write_is_whole(
    stack: Stack, writer: KafkaWriter
) -> None:
    """The sequence of an idempotent producer has a hole behind a refused batch: it is not used again."""
    topic = made(stack, max_message_bytes=str(1 << 20))
    await writer.write([Output(topic, 0, b"1", b"before")])
    with pytest.raises(OutputTooLargeError) as found:
        await writer.write([Output(topic, 0, b"2", b"x" * (2 << 20)), Output(topic, 0, b"3", b"beside")])
    assert (found.value.topic, found.value.reason) == (topic, "output_too_large")
    assert found.value.size > 2 << 20
    for number in range(3):
        await writer.write([Output(topic, 0, b"4", b"after %d" % number)])
    assert (await values(stack, topic))[-3:] == [b"after 0", b"after 1", b"after 2"]


async def test_a_topic_that_does_not_take_what_it_must_is_a_fault(stack: Stack, writer: KafkaWriter) -> None:
    """No message is at fault: a thousand of them would end as dead letters."""
    narrow, compacted, fine = made(stack, max_message_bytes="200"), made(stack, cleanup_policy="compact"), made(stack)
    with pytest.raises(LogFaultError, match=narrow):
        await writer.write([Output(narrow, 0, b"1", b"x" * 1000)])
    with pytest.raises(LogFaultError, match=rf"{compacted} \(InvalidRecordError\)"):
        await writer.write([Output(compacted, 0, None, b"without a key")])
    with pytest.raises(LogFaultError, match="partition 7"):
        await writer.write([Output(fine, 7, b"1", b"x")])
    await writer.write([Output(fine, 0, b"1", b"x")])
    assert await values(stack, fine) == [b"x"]


async def test_a_topic_that_was_deleted_is_named(stack: Stack, writer: KafkaWriter) -> None:
    """The library asks for it without end, and says nothing."""
    topic, other = made(stack), made(stack)
    await writer.write([Output(topic, 0, b"1", b"x")])
    deleted(stack, topic)
    with pytest.raises(UnacknowledgedError, match=f"no topic {topic}"):
        await writer.write([Output(topic, 0, b"2", b"y")])
    await writer.write([Output(other, 0, b"1", b"z")])
    assert await values(stack, other) == [b"z"]


async def test_a_partition_that_was_added_is_written_to_and_one_that_is_not_there_is_a_fault(
    stack: Stack, writer: KafkaWriter
) -> None:
    """What the library knows of a topic is minutes old."""
    topic = made(stack)
    await writer.write([Output(topic, 0, b"1", b"first")])
    admin = administration(stack.kafka)
    try:
        admin.create_partitions({topic: 3})
    finally:
        admin.close()
    await writer.write([Output(topic, 2, b"2", b"later")])
    with pytest.raises(LogFaultError, match="no partition 3"):
        await writer.write([Output(topic, 3, b"3", b"nowhere")])


async def test_of_those_who_share_a_write_the_one_at_fault_is_told(stack: Stack, writer: KafkaWriter) -> None:
    """A request that is handled beside it is none the worse."""
    topic = made(stack, max_message_bytes=str(1 << 20))
    large, small = Output(topic, 0, b"1", b"x" * (2 << 20)), Output(topic, 0, b"2", b"small")
    await writer.write([small])
    each = [writer.write([one]) for one in (small, large, small, small)]
    done = await asyncio.gather(*each, return_exceptions=True)
    assert [type(error) for error in done] == [type(None), OutputTooLargeError, type(None), type(None)]
    await writer.write([small])


@pytest.mark.parametrize("rounds", range(4))
async def test_what_is_withdrawn_while_it_waits_for_others_is_told(
    stack: Stack, writer: KafkaWriter, rounds: int
) -> None:
    """Nobody waits for ever, nothing of it is written, and who writes next begins anew."""
    topic = made(stack)
    one = asyncio.create_task(writer.write([Output(topic, 0, b"1", b"withdrawn")]))
    for _ in range(rounds):
        await asyncio.sleep(0)
    await writer.withdraw()
    two = asyncio.create_task(writer.write([Output(topic, 0, b"1", b"next")]))
    if rounds:
        with pytest.raises(UnacknowledgedError):
            await one
    await asyncio.gather(one, two, return_exceptions=bool(rounds))
    assert (await values(stack, topic))[-1] == b"next"
    assert (b"withdrawn" in await values(stack, topic)) is not bool(rounds)


async def test_a_writer_that_writes_nothing_stops_as_any_other(stack: Stack) -> None:
    """Its sender has not run a single time: nothing is awaited between its start and its end."""
    writer = KafkaWriter(stack.kafka, {})
    await writer.start()
    await writer.write([])
    await writer.stop()


async def test_what_a_frozen_broker_does_not_acknowledge_is_never_sent(struck: Stack) -> None:
    """Six batches: what its machine took from the wire is one of them, and the rest does not leave this process."""
    topic, kafka = made(struck), struck.children["kafka"]
    writer = KafkaWriter(struck.kafka, {}, ack_s=4)
    await writer.start()
    await writer.write([Output(topic, 0, b"0", b"before")])
    kafka.freeze()
    with pytest.raises(UnacknowledgedError):
        await writer.write([Output(topic, 0, b"%d" % number, b"late" * 30_000) for number in range(24)])
    with pytest.raises(LogSilentError):
        await writer.write([Output(topic, 0, b"1", b"again")])
    kafka.thaw()
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                await writer.write([Output(topic, 0, b"1", b"after")])
            except LogSilentError:
                continue
            break
    found = await values(struck, topic)
    assert (found[0], found[-1]) == (b"before", b"after")
    assert sum(value == b"late" * 30_000 for value in found) <= 5
    await writer.stop()


async def test_withdrawing_ends_what_is_under_way_and_the_next_write_is_as_the_first(struck: Stack) -> None:
    """As the deadline of a unit does it, from another task."""
    topic, kafka = made(struck), struck.children["kafka"]
    writer = KafkaWriter(struck.kafka, {})
    await writer.start()
    kafka.freeze()
    first = asyncio.create_task(writer.write([Output(topic, 0, b"1", b"x" * 400_000)] * 8))
    await asyncio.sleep(0)
    second = asyncio.create_task(writer.write([Output(topic, 0, b"1", b"waits")]))
    await asyncio.sleep(0.5)
    async with asyncio.timeout(10):
        await writer.withdraw()
        for task in (first, second):
            with pytest.raises(UnacknowledgedError):
                await task
    kafka.thaw()
    async with asyncio.timeout(PATIENCE_S):
        while not await values(struck, topic) or b"after" not in await values(struck, topic):
            try:
                await writer.write([Output(topic, 0, b"1", b"after")])
            except LogSilentError:
                continue
    found = await values(struck, topic)
    assert b"waits" not in found
    assert sum(value != b"after" for value in found) <= 2
    async with asyncio.timeout(10):
        await writer.stop()
