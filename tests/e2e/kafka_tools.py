"""What an administrator does to topics behind the product's back."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from installation import Installation
from kafka import TopicPartition
from kafka.admin import OffsetSpec
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata
from patience import PATIENCE_S

from calllog_guard.devstack.kafka_admin import administration


@contextmanager
def admin(guard: Installation) -> Iterator[Any]:
    """Kafka's own client."""
    client: Any = administration(guard.stack.kafka)
    try:
        yield client
    finally:
        client.close()


def bounds(guard: Installation, name: str, partition: int = 0) -> tuple[int, int]:
    """The first offset of a partition, and the next."""
    place = TopicPartition(guard.topic(name), partition)
    with admin(guard) as client:
        return (
            client.list_partition_offsets({place: OffsetSpec.EARLIEST})[place].offset,
            client.list_partition_offsets({place: OffsetSpec.LATEST})[place].offset,
        )


def ends(guard: Installation, *names: str) -> dict[Any, int]:
    """Where some topics end now."""
    topics = {guard.topic(name) for name in names}
    with admin(guard) as client:
        places = [
            TopicPartition(each["name"], one["partition_index"])
            for each in client.describe_topics(list(topics))
            for one in each["partitions"]
        ]
        return {
            at: each.offset
            for at, each in client.list_partition_offsets(dict.fromkeys(places, OffsetSpec.LATEST)).items()
        }


def handled(guard: Installation, wanted: dict[Any, int], *roles: str) -> bool:
    """Whether a role has handled what lay before some ends, by its commits; each topic is one of these roles'."""
    groups = [guard.topic(f"calllog.guard-{role}") for role in roles]
    try:
        found = guard.admin.list_group_offsets({group: list(wanted) for group in groups})
    except KafkaError:
        guard.part()
        return False  # no group has come yet, or its coordinator has not
    offsets = [each for group in groups for each in found.get(group, {}).items()]
    return all(any(at == place and each.offset >= end for place, each in offsets) for at, end in wanted.items() if end)


def delete_records(guard: Installation, name: str, before: int, partition: int = 0) -> None:
    """Cut the beginning of a partition."""
    with admin(guard) as client:
        client.delete_records({TopicPartition(guard.topic(name), partition): before})


def make_anew(guard: Installation, name: str, partitions: int, **settings: str) -> None:
    """Delete a topic and make it again under its name."""
    topic = guard.topic(name)
    with admin(guard) as client:
        client.delete_topics([topic])
        shape: dict[str, Any] = {"num_partitions": partitions, "replication_factor": 1}
        shape |= {
            "configs": {"message.timestamp.type": "LogAppendTime"}
            | {k.replace("_", "."): v for k, v in settings.items()}
        }
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                client.create_topics({topic: shape}, wait_for_metadata=True)
            except KafkaError:
                assert time.monotonic() < deadline, f"{topic} is not deleted"
                time.sleep(0.2)
            else:
                return


def grow(guard: Installation, name: str, partitions: int) -> None:
    """Add partitions to a topic."""
    with admin(guard) as client:
        client.create_partitions({guard.topic(name): partitions})


def forget_group(guard: Installation, role: str) -> None:
    """Delete a consumer group with what it has committed, as Kafka does by itself after a week."""
    with admin(guard) as client:
        client.delete_groups([f"c{guard.name}.guard-{role}"])


def set_offset(guard: Installation, role: str, name: str, offset: int, partition: int = 0) -> None:
    """Set what a consumer group has committed, as `kafka-consumer-groups --reset-offsets` does."""
    place = TopicPartition(guard.topic(name), partition)
    with admin(guard) as client:
        client.alter_group_offsets(f"c{guard.name}.guard-{role}", {place: OffsetAndMetadata(offset, "", -1)})
