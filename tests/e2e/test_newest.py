"""What was said last is found from the end backwards, however much was said since."""

import asyncio

import pytest
from installation import Make

from calllog_guard.adapters.kafka.log import KafkaLog
from calllog_guard.ports.log import Record

pytestmark = pytest.mark.real


def test_the_newest_heartbeat_of_each_partition_is_found(make: Make) -> None:
    guard = make()
    for number, (partition, after) in enumerate([(0, 0), (1, 60), (2, 2000)]):
        guard.publish("privacy.decisions", [b"old", b"new %d" % number], partition=partition, key=b"~beat")
        guard.publish("privacy.decisions", [b"other"] * after, partition=partition, key=b"~other")
    guard.publish("privacy.decisions", [b"other"] * 100, partition=3, key=b"~other")
    guard.publish("privacy.decisions", [b"forged"] * 100, partition=1, key=b"~beat")

    def wanted(record: Record) -> bool:
        return record.key == b"~beat" and record.value != b"forged"

    found = asyncio.run(KafkaLog(guard.stack.kafka, {}).newest(guard.topic("privacy.decisions"), [0, 1, 2, 3], wanted))
    assert sorted(each.value or b"" for each in found) == [b"new 0", b"new 1", b"new 2"]
