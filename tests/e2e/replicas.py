"""What lies on the disks of a cluster, parsed independently of the product, and what its brokers do on command."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from aiokafka.record.memory_records import MemoryRecords
from installation import Installation
from patience import PATIENCE_S, until

from calllog_guard.devstack.kafka_admin import administration


def segments(log_dir: Path, topic: str) -> Iterator[Path]:
    """Every segment file of a topic in one broker's log directory, those on their way out included."""
    for folder in log_dir.glob(f"{topic}-*"):
        yield from folder.glob("*.log*")


def records(path: Path) -> Iterator[tuple[bytes, bytes | None]]:
    """Key and value of each record in a file; a file that is deleted meanwhile is empty."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return
    batches = MemoryRecords(content)
    while batches.has_next():
        batch = batches.next_batch()
        if not batch.is_control_batch:
            yield from ((record.key, record.value) for record in batch)


def left(log_dir: Path, topic: str, keys: Collection[bytes]) -> tuple[int, int]:
    """Of how many records one replica still holds a value, of how many the key; a file being cleaned is there twice."""
    held = [
        (key, value is not None) for path in segments(log_dir, topic) for key, value in records(path) if key in keys
    ]
    return len({key for key, has_value in held if has_value}), len({key for key, _ in held})


def admin(guard: Installation) -> Any:
    """An administrator's connection."""
    return administration(guard.stack.kafka)


def whole(guard: Installation, names: Collection[str]) -> bool:
    """Whether every replica of some topics is in sync."""
    client = admin(guard)
    try:
        found = client.describe_topics([guard.topic(name) for name in names])
    finally:
        client.close()
    return all(len(each["isr_nodes"]) == len(each["replica_nodes"]) for topic in found for each in topic["partitions"])


def until_whole(guard: Installation, names: Collection[str], seconds: float = PATIENCE_S) -> None:
    """Wait until it is so."""
    until(lambda: whole(guard, names), "a replica is still out of sync", seconds)


def follower(guard: Installation, name: str, partition: int) -> int:
    """The position in `Stack.brokers` of one that does not lead a partition."""
    client = admin(guard)
    try:
        (found,) = client.describe_topics([guard.topic(name)])
    finally:
        client.close()
    leads = next(int(each["leader_id"]) for each in found["partitions"] if each["partition_index"] == partition)
    return next(at for at in range(len(guard.stack.brokers)) if at + 1 != leads)
