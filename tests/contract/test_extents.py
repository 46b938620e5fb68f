"""The contract of what Kafka shows of topics as a whole, on the fake and on a real Kafka."""

import asyncio
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from patience import PATIENCE_S

from calllog_guard.adapters.kafka.admin.extents import KafkaExtents
from calllog_guard.adapters.memory.extents import MemoryExtents
from calllog_guard.adapters.memory.fakes import SystemClock
from calllog_guard.core.codec import to_ms
from calllog_guard.core.identifiers import is_id
from calllog_guard.core.stream.beginnings import MARK, Committed, Shape
from calllog_guard.errors import LogSilentError
from calllog_guard.ports.administration import Extents
from calllog_guard.ports.log import Place
from calllog_guard.settings import Settings

if TYPE_CHECKING:
    from calllog_guard.devstack.supervisor import Stack


class RealTopics:
    """What an administrator and a backend do, on a real Kafka."""

    def __init__(self, servers: str) -> None:
        from kafka import KafkaProducer  # noqa: PLC0415 - takes long to load

        from calllog_guard.devstack.kafka_admin import administration  # noqa: PLC0415 - takes long to load

        self._admin: Any = administration(servers)
        self._producer: Any = KafkaProducer(bootstrap_servers=servers)
        self._servers = servers

    def create(self, topic: str, partitions: int) -> None:
        """Make a topic, anew if it is there."""
        if topic in self._admin.list_topics():
            self._admin.delete_topics([topic])
        for _ in range(100):
            if topic not in self._admin.list_topics():
                break
        self._admin.create_topics(
            {topic: {"num_partitions": partitions, "replication_factor": 1, "configs": {"segment.ms": "1"}}},
            wait_for_metadata=True,
        )

    def grow(self, topic: str, partitions: int) -> None:
        """Add partitions."""
        self._admin.create_partitions({topic: partitions})
        self._admin.wait_for_topics([topic])

    def append(self, topic: str, partition: int, many: int, _at_ms: int = 0) -> None:
        """Write records; they bear the time at which they are written."""
        for _ in range(many):
            self._producer.send(topic, b"x", partition=partition).get(30)

    def trim(self, topic: str, partition: int, before: int) -> None:
        """Delete the records below an offset."""
        from kafka import TopicPartition  # noqa: PLC0415

        self._admin.delete_records({TopicPartition(topic, partition): before})

    def commit(self, group: str, topic: str, partition: int, offset: int, *, ours: bool = True) -> None:
        """What a group has read; `ours`: as a worker commits it, and not as a tool sets it."""
        from kafka import TopicPartition  # noqa: PLC0415
        from kafka.errors import KafkaError  # noqa: PLC0415
        from kafka.structs import OffsetAndMetadata  # noqa: PLC0415

        place, end = TopicPartition(topic, partition), time.monotonic() + PATIENCE_S
        while True:  # a broker that never had a group makes its topic of offsets first; the library returns some errors
            with suppress(KafkaError):
                self._admin.alter_group_offsets(group, {place: OffsetAndMetadata(offset, MARK if ours else "", -1)})
                if self._admin.list_group_offsets({group: [place]})[group][place].offset == offset:
                    return
            assert time.monotonic() < end

    def close(self) -> None:
        """Disconnect."""
        self._producer.close()
        self._admin.close()


@dataclass
class Case:
    """The port, and who changes what it shows."""

    extents: Extents
    topics: Any
    name: str = field(default_factory=lambda: f"extents.{secrets.token_hex(4)}")

    def committed(self, shapes: Mapping[str, Shape]) -> dict[Place, Committed]:
        """What the group has read; a coordinator that is just loading is asked again."""
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                return self.extents.committed("g" + self.name, shapes)
            except LogSilentError:
                assert time.monotonic() < end


@pytest.fixture(params=["memory", pytest.param("kafka", marks=pytest.mark.real)])
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    """One of the two."""
    if request.param == "memory":
        memory = MemoryExtents()
        yield Case(memory, memory)
        return
    stack: Stack = request.getfixturevalue("stack")
    topics, extents = RealTopics(stack.kafka), KafkaExtents(Settings(kafka=stack.kafka), {})
    yield Case(extents, topics)
    extents.close()
    topics.close()


def test_a_topic_shows_its_id_its_partitions_and_where_they_begin_and_end(case: Case) -> None:
    case.topics.create(case.name, 2)
    case.topics.append(case.name, 1, 5)
    case.topics.trim(case.name, 1, 3)
    shapes = case.extents.shapes([case.name, "no.such.topic"])
    assert list(shapes) == [case.name]
    assert is_id(shapes[case.name].id)
    assert shapes[case.name].partitions == (0, 1)
    found = case.extents.extents(shapes)
    assert found[case.name, 0] == (shapes[case.name].id, 0, 0)
    assert found[case.name, 1] == (shapes[case.name].id, 3, 5)


def test_a_topic_made_anew_has_another_id_and_kafka_forgets_what_was_committed(case: Case) -> None:
    case.topics.create(case.name, 1)
    case.topics.append(case.name, 0, 5)
    case.topics.commit("g" + case.name, case.name, 0, 4)
    before = case.extents.shapes([case.name])
    assert case.committed(before) == {(case.name, 0): Committed(4, ours=True)}
    case.topics.commit("g" + case.name, case.name, 0, 5, ours=False)
    assert case.committed(before) == {(case.name, 0): Committed(5, ours=False)}
    case.topics.create(case.name, 3)
    after = case.extents.shapes([case.name])
    assert after[case.name].id != before[case.name].id
    assert after[case.name].partitions == (0, 1, 2)
    assert case.committed(after) == {}


def test_partitions_that_are_added_leave_the_id_as_it_is(case: Case) -> None:
    case.topics.create(case.name, 1)
    before = case.extents.shapes([case.name])[case.name]
    case.topics.grow(case.name, 4)
    after = case.extents.shapes([case.name])[case.name]
    assert (after.id, len(after.partitions)) == (before.id, 4)


def test_the_first_record_of_a_time_on_is_told_by_its_offset(case: Case) -> None:
    case.topics.create(case.name, 2)
    now = to_ms(SystemClock().now())
    case.topics.append(case.name, 1, 3, now)
    hour = 3_600_000
    places = {(case.name, 0): now - hour, (case.name, 1): now - hour}
    assert case.extents.since(places) == {(case.name, 1): 0}
    assert case.extents.since({(case.name, 1): now + hour}) == {}
    assert case.extents.since({}) == {}


def test_what_was_trimmed_hides_no_record_of_a_time(case: Case) -> None:
    """Trimmed records lie in their segment until its deletion; it looks for a time in the first such segment."""
    case.topics.create(case.name, 2)
    now = to_ms(SystemClock().now())
    for partition, trimmed in ((0, 2), (1, 4)):
        for _ in range(4):  # a segment each
            case.topics.append(case.name, partition, 1, now)
        case.topics.trim(case.name, partition, trimmed)
    hour = 3_600_000
    assert case.extents.since({(case.name, 0): now - hour, (case.name, 1): now - hour}) == {(case.name, 0): 2}
    assert case.extents.since({(case.name, 0): now + hour}) == {}


def test_nobody_is_asked_about_nothing(case: Case) -> None:
    assert case.extents.shapes([]) == {}
    assert case.extents.extents({}) == {}
    assert case.extents.committed("g", {}) == {}


async def test_silence_is_an_error_of_its_own() -> None:
    memory = MemoryExtents()
    memory.silent = True
    for extents in (memory, KafkaExtents(Settings(kafka="127.0.0.1:1"), {})):
        with pytest.raises(LogSilentError):
            await asyncio.to_thread(extents.shapes, ["calllog.events"])


async def test_a_kafka_that_is_away_leaves_no_thread_behind() -> None:
    """A worker that waits for an hour would have thousands, each of which goes on asking."""
    before = set(threading.enumerate())
    extents = KafkaExtents(Settings(kafka="127.0.0.1:1"), {})
    with pytest.raises(LogSilentError):
        extents.shapes(["calllog.events"])
    assert not [each for each in set(threading.enumerate()) - before if each.name.startswith("kafka")]
