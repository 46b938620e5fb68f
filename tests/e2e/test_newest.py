"""What was said last is found from the end backwards, however much was said since."""

import asyncio

import pytest
from installation import Make

from calllog_guard.adapters.kafka_newest import newest

pytestmark = pytest.mark.real


def test_the_newest_heartbeat_of_each_partition_is_found(make: Make) -> None:
    guard = make()
    for number, (partition, after) in enumerate([(0, 0), (1, 60), (2, 2000)]):
        guard.publish("privacy.decisions", [b"old", b"new %d" % number], partition=partition, key=b"~beat")
        guard.publish("privacy.decisions", [b"other"] * after, partition=partition, key=b"~other")
    guard.publish("privacy.decisions", [b"other"] * 100, partition=3, key=b"~other")
    found = asyncio.run(newest(guard.stack.kafka, {}, guard.topic("privacy.decisions"), [0, 1, 2, 3], b"~beat"))
    assert sorted(found) == [b"new 0", b"new 1", b"new 2"]
