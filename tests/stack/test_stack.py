"""The stack is real: it keeps records, keeps secrets, and leaves nothing behind."""

import os
from pathlib import Path

import pytest
import redis
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.admin import NewTopic

from calllog_guard.errors import ConfigurationError
from calllog_guard.stack.redis_server import SETTINGS
from calllog_guard.stack.supervisor import Child, Stack

pytestmark = pytest.mark.real


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _round_trip(address: str, topic: str, copies: int = 1) -> tuple[bytes, bytes]:
    admin = KafkaAdminClient(bootstrap_servers=address)
    try:
        admin.create_topics([NewTopic(name=topic, num_partitions=1, replication_factor=copies)])
    finally:
        admin.close()
    producer = KafkaProducer(bootstrap_servers=address, acks="all")
    try:
        producer.send(topic, key=b"key", value=b"value").get(timeout=30)
    finally:
        producer.close()
    consumer = KafkaConsumer(
        topic, bootstrap_servers=address, auto_offset_reset="earliest", group_id=None, consumer_timeout_ms=30_000
    )
    try:
        record = next(consumer)
        return record.key, record.value
    finally:
        consumer.close()


def test_a_record_comes_back(stack: Stack) -> None:
    """Kafka stores and returns one record."""
    assert _round_trip(stack.kafka, "stack-test-record") == (b"key", b"value")


@pytest.mark.parametrize(("key", "value"), [*SETTINGS.items()])
def test_redis_runs_with_the_settings_that_keep_secrets(stack: Stack, key: str, value: str) -> None:
    """Redis reports each setting as it was asked for."""
    with redis.Redis.from_url(stack.redis, decode_responses=True) as client:
        assert client.config_get(key) == {key: value}


def test_environment_names_both_servers(stack: Stack) -> None:
    """A command that gets this environment finds the stack."""
    assert stack.environment["CALLLOG_GUARD_KAFKA"] == stack.kafka
    assert stack.environment["CALLLOG_GUARD_KEYSTORE"] == stack.redis
    assert stack.environment["CALLLOG_GUARD_SWEEP_S"] == "1"


def test_stop_leaves_no_child_and_data_outlive_it(java: None, tmp_path: Path) -> None:  # noqa: ARG001
    """After stop no process is left; the same folder has the same data."""
    with Stack(tmp_path) as first:
        pids = first.pids
        assert all(map(_alive, pids.values()))
        first.kill_kafka()
        first.start_kafka()
        pids |= {"second kafka": first.pids["kafka"]}
        with redis.Redis.from_url(first.redis) as client:
            client.set("a", "b")
    assert not any(map(_alive, pids.values()))
    again = Stack(tmp_path)
    try:
        again.start_redis()
        with redis.Redis.from_url(again.redis) as client:
            assert client.get("a") == b"b"
    finally:
        again.stop()


def test_a_child_that_dies_is_reported_with_its_log(tmp_path: Path) -> None:
    """The error names the server and its log."""
    stack = Stack(tmp_path)
    try:
        stack.start_redis()
        os.kill(stack.pids["redis"], 9)
        os.waitid(os.P_PID, stack.pids["redis"], os.WEXITED | os.WNOWAIT)
        with pytest.raises(ConfigurationError, match=r"redis ended by itself; see .*redis\.log"):
            stack.check()
    finally:
        stack.stop()


def test_an_unknown_profile_is_refused(tmp_path: Path) -> None:
    """Only the two profiles exist."""
    with pytest.raises(ConfigurationError, match="fast, production"):
        Stack(tmp_path, "quick")


def test_of_three_brokers_any_one_may_be_away(java: None, tmp_path: Path) -> None:  # noqa: ARG001
    """Records are taken while a broker is killed, frozen or ended in order, the one that leads the quorum included."""
    with Stack(tmp_path, brokers=3) as three:
        names = [broker.name for broker in three.brokers]
        assert names == ["kafka-1", "kafka-2", "kafka-3"]
        assert three.environment["CALLLOG_GUARD_REPLICAS"] == "3"
        assert len(three.environment["CALLLOG_GUARD_LOG_DIRS"].split(os.pathsep)) == 3
        assert len(three.environment["CALLLOG_GUARD_CLEANER_PAGES"].split(",")) == 3
        assert _round_trip(three.kafka, "whole", copies=3) == (b"key", b"value")
        for name, away in zip(names, (Child.kill, Child.freeze, Child.stop), strict=True):
            child = three.children[name]
            away(child)
            others = ",".join(broker.address for broker in three.brokers if broker.name != name)
            assert _round_trip(others, f"without-{name}", copies=2) == (b"key", b"value")
            child.thaw()
            child.start()
        pids = three.pids
    assert not any(map(_alive, pids.values()))
    with pytest.raises(ConfigurationError, match="start it with --brokers 3"):
        Stack(tmp_path)


def test_another_number_of_brokers_is_refused(tmp_path: Path) -> None:
    """Two brokers could not spare one."""
    with pytest.raises(ConfigurationError, match="use 1, or 3"):
        Stack(tmp_path, brokers=2)
