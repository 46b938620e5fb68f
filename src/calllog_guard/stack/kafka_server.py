"""
One Kafka broker that is its own controller (KRaft), as a child process.

Source: Apache Kafka 4.1 documentation, broker configurations.
"""

import base64
import logging
import socket
import subprocess
import uuid
from pathlib import Path
from typing import Final

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from calllog_guard.errors import ConfigurationError
from calllog_guard.stack import distribution

_FORMAT_S: Final = 60.0
_PROBE_MS: Final = 5000
_MESSAGE_BYTES: Final = 27_000_000
_QUIET: Final = "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.storage.internals.log=warn"

_COMMON: Final = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "listener.security.protocol.map": "CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "CLIENT",
    "auto.create.topics.enable": "false",
    "message.max.bytes": str(_MESSAGE_BYTES),
    "replica.fetch.max.bytes": str(_MESSAGE_BYTES),
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "log.cleaner.enable": "true",
    "log.cleaner.dedupe.buffer.size": "33554432",
}
_FAST: Final = {
    "broker.session.timeout.ms": "3000",  # a killed broker may register again after this
    "broker.heartbeat.interval.ms": "500",
    "log.cleaner.backoff.ms": "200",
    "group.initial.rebalance.delay.ms": "0",
    "log.retention.check.interval.ms": "1000",
    "log.initial.task.delay.ms": "500",
    "log.segment.delete.delay.ms": "200",
}


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class KafkaServer:
    """How the broker is prepared, started and asked whether it is there; `supervisor.Child` runs it."""

    name: Final = "kafka"

    def __init__(self, directory: Path, profile: str) -> None:
        self.directory = directory
        self.log_dir = directory / "logs"
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._profile = profile
        self._controller = free_port()
        self._properties = directory / "server.properties"

    def prepare(self) -> list[str]:
        """Write the settings, format the storage once; the command line of the broker."""
        java, libraries = distribution.java(), distribution.kafka_libraries()
        self.log_dir.mkdir(parents=True, exist_ok=True)
        settings = {
            **_COMMON,
            **(_FAST if self._profile == "fast" else {}),
            "listeners": f"CLIENT://{self.address},CONTROLLER://127.0.0.1:{self._controller}",
            "advertised.listeners": f"CLIENT://{self.address}",
            "controller.quorum.voters": f"1@127.0.0.1:{self._controller}",
            "log.dirs": str(self.log_dir).replace("\\", "\\\\"),
        }
        self._properties.write_text("".join(f"{key}={value}\n" for key, value in settings.items()), encoding="utf-8")
        base = [java, "-cp", f"{libraries}/*"]
        if not (self.log_dir / "meta.properties").exists():
            cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
            tool = ["kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", "-c", str(self._properties)]
            done = subprocess.run([*base, *tool], capture_output=True, text=True, check=False, timeout=_FORMAT_S)  # noqa: S603
            if done.returncode:
                msg = f"the storage of Kafka could not be formatted: {(done.stdout + done.stderr).strip()[-800:]}"
                raise ConfigurationError(msg)
        return [*base[:1], "-Xmx512m", _QUIET, *base[1:], "kafka.Kafka", str(self._properties)]

    def answers(self) -> bool:
        """Whether the broker speaks its protocol and is registered with its controller."""
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        logger = logging.getLogger("kafka")
        level = logger.level
        logger.setLevel(logging.CRITICAL)  # a broker that is starting is no news
        try:
            client = KafkaAdminClient(bootstrap_servers=self.address, request_timeout_ms=_PROBE_MS)
            try:
                return bool(client.describe_cluster()["brokers"])
            finally:
                client.close()
        except KafkaError:
            return False
        finally:
            logger.setLevel(level)
