"""Consumer groups on a real broker: a member that comes costs its group one generation."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Collection

import pytest
from kafka.admin import NewTopic
from patience import PATIENCE_S

from calllog_guard.adapters.kafka.assignor import RangePartitionAssignor, TogetherAssignor
from calllog_guard.adapters.kafka.consumer import Consumer, KafkaGroup, consumer
from calllog_guard.devstack.kafka_admin import administration
from calllog_guard.devstack.supervisor import Stack
from calllog_guard.ports.log import TopicPartition

pytestmark = pytest.mark.real


class Member:
    """One consumer, and which partitions it has."""

    def __init__(self, reader: Consumer) -> None:
        self.reader = reader
        self.given: asyncio.Queue[list[int]] = asyncio.Queue()

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        """Nothing is let go of here."""

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """Told to the test."""
        await self.given.put(sorted(place.partition for place in assigned))

    @property
    def generation(self) -> int:
        """Of its group, as the library knows it."""
        return int(self.reader._coordinator.generation)


@pytest.fixture
async def members(stack: Stack, request: pytest.FixtureRequest) -> AsyncIterator[tuple[Member, Member, list[str]]]:
    """Two that are not in the group yet, and its topics."""
    name = f"group-{secrets.token_hex(4)}"
    topics = [f"{name}-{each}" for each in "ab"]
    admin = administration(stack.kafka)
    try:
        admin.create_topics([NewTopic(topic, 2, 1) for topic in topics], wait_for_metadata=True)
    finally:
        admin.close()
    two = [Member(consumer(stack.kafka, {}, KafkaGroup(name, 6_000, request.param))) for _ in range(2)]
    for each in two:
        await each.reader.start()
    yield two[0], two[1], topics
    for each in two:
        await each.reader.stop()


@pytest.mark.parametrize("members", [TogetherAssignor, RangePartitionAssignor], indirect=True)
async def test_a_member_that_comes_costs_one_generation(members: tuple[Member, Member, list[str]]) -> None:
    """Where each joins twice, two that start together may keep each other from their work without end."""
    one, other, topics = members
    async with asyncio.timeout(PATIENCE_S):
        one.reader.subscribe(topics, one)
        assert await one.given.get() == [0, 0, 1, 1]
        assert one.generation == 1
        other.reader.subscribe(topics, other)
        assert sorted([await one.given.get(), await other.given.get()]) == [[0, 0], [1, 1]]
    assert (one.generation, other.generation) == (2, 2)
