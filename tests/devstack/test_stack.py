"""The stack is real: it keeps records, keeps secrets, and leaves nothing behind."""

import os
import socket
import threading
from collections import deque
from pathlib import Path

import pytest
import redis
from kafka import KafkaConsumer, KafkaProducer
from kafka.admin import NewTopic
from kafka.errors import KafkaError

from calllog_guard.devstack import kafka_server
from calllog_guard.devstack.kafka_admin import administration
from calllog_guard.devstack.redis_server import SETTINGS
from calllog_guard.devstack.supervisor import Stack
from calllog_guard.errors import ConfigurationError

pytestmark = pytest.mark.real


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _round_trip(address: str, topic: str) -> tuple[bytes, bytes]:
    admin = administration(address)
    try:
        admin.create_topics([NewTopic(name=topic, num_partitions=1, replication_factor=1)], wait_for_metadata=True)
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


def test_asking_a_broker_that_is_not_there_yet_leaves_no_thread_behind() -> None:
    """Whoever waits for a start asks many times; each thread would go on asking, and draw random numbers meanwhile."""
    before = set(threading.enumerate())
    with pytest.raises(KafkaError):
        administration("127.0.0.1:1", bootstrap_timeout_ms=200)
    assert not [each for each in set(threading.enumerate()) - before if each.name.startswith("kafka")]


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


def test_two_servers_never_get_one_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor one on which somebody listens: a port is not listened on yet when the next one is looked for."""
    drawn = iter([15001, 15001, 15002, 15003, 15001, 15004])
    monkeypatch.setattr("secrets.choice", lambda _: next(drawn))
    monkeypatch.setattr(kafka_server, "_is_free", lambda port: port != 15003)
    monkeypatch.setattr(kafka_server, "_GIVEN", deque(maxlen=256))
    assert [kafka_server.free_port() for _ in range(3)] == [15001, 15002, 15004]


def test_a_port_that_somebody_listens_on_is_not_free() -> None:
    """It is asked of the system."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert not kafka_server._is_free(taken.getsockname()[1])
    assert kafka_server.free_port() < 32_768, "no connection is made from it"


def test_an_unknown_profile_is_refused(tmp_path: Path) -> None:
    """Only the two profiles exist."""
    with pytest.raises(ConfigurationError, match="fast, production"):
        Stack(tmp_path, "quick")


def test_a_stack_of_three_tells_of_each_broker(java: None, tmp_path: Path) -> None:  # noqa: ARG001
    """Address, log directory and page of each; that any one may be away is what the drills are about."""
    three = Stack(tmp_path, brokers=3)
    assert list(three.children) == ["redis", "kafka-1", "kafka-2", "kafka-3"]
    environment = three.environment
    assert environment["CALLLOG_GUARD_REPLICAS"] == "3"
    assert environment["CALLLOG_GUARD_LOG_DIRS"].split(os.pathsep) == [
        str(tmp_path.resolve() / name / "logs") for name in ("kafka-1", "kafka-2", "kafka-3")
    ]
    assert [len(set(environment[f"CALLLOG_GUARD_{name}"].split(","))) for name in ("KAFKA", "CLEANER_PAGES")] == [3, 3]


def test_another_size_of_a_stack_that_is_there_is_refused(tmp_path: Path) -> None:
    """Its records would be out of reach."""
    (tmp_path / "kafka").mkdir()
    with pytest.raises(ConfigurationError, match="start it with --brokers 1"):
        Stack(tmp_path, brokers=3)


def test_a_frozen_server_answers_again_when_it_is_thawed(tmp_path: Path) -> None:
    """It stands still with its connections open, and a stop ends it all the same."""
    stack = Stack(tmp_path)
    try:
        stack.start_redis()
        child = stack.children["redis"]
        with redis.Redis.from_url(stack.redis, socket_timeout=0.5) as client:
            child.freeze()
            with pytest.raises(redis.TimeoutError):
                client.ping()
            child.thaw()
            assert client.ping()
        child.freeze()
        pid = stack.pids["redis"]
    finally:
        stack.stop()
    assert not _alive(pid)


def test_another_number_of_brokers_is_refused(tmp_path: Path) -> None:
    """Two brokers could not spare one."""
    with pytest.raises(ConfigurationError, match="use 1, or 3"):
        Stack(tmp_path, brokers=2)
