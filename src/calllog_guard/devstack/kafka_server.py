"""
Kafka brokers that are their own controllers (KRaft), as child processes: one alone, or three in one quorum.

Source: Apache Kafka 4.1 documentation, broker configurations; the Prometheus JMX exporter's documentation.
"""

import base64
import logging
import os
import secrets
import socket
import subprocess
import uuid
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from kafka.errors import KafkaError

from calllog_guard.devstack import distribution
from calllog_guard.devstack.kafka_admin import administration
from calllog_guard.devstack.secured import Secured
from calllog_guard.errors import ConfigurationError

_FORMAT_S: Final = 60.0
_PROBE_MS: Final = 5000
_MESSAGE_BYTES: Final = 27_000_000
_QUIET: Final = "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.storage.internals.log=warn"
_PAGE: Final = """\
lowercaseOutputName: true
includeObjectNames: ["kafka.log:type=LogCleaner,*", "kafka.log:type=LogCleanerManager,*"]
"""

_COMMON: Final = {
    "process.roles": "broker,controller",
    "listener.security.protocol.map": "CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "CLIENT",
    "auto.create.topics.enable": "false",
    "unclean.leader.election.enable": "false",
    "message.max.bytes": str(_MESSAGE_BYTES),
    "replica.fetch.max.bytes": str(_MESSAGE_BYTES),
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
    "log.cleaner.enable": "true",
    "log.cleaner.threads": "2",
    "log.cleaner.dedupe.buffer.size": "33554432",
    "log.retention.check.interval.ms": "60000",
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
_FAST_JVM: Final = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
"""A broker of minutes is over before what an optimising compiler costs comes back."""
_GIVEN: Final[deque[int]] = deque(maxlen=256)
"""The ports that were given to servers of this process: one that does not listen yet would be given again."""


_PORTS: Final = range(12_000, 32_000)
"""
Below those for connections (Linux from 32,768, others from 49,152): one of these may be taken by a connection
before a server listens on it, or while it is down.
"""


def free_port() -> int:
    """A port of the loopback that nothing listens on, and that neither we nor a neighbour gave to a server just now."""
    while True:
        port = secrets.choice(_PORTS[os.getpid() % 16 :: 16])
        if port not in _GIVEN and _is_free(port):
            _GIVEN.append(port)
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@dataclass(frozen=True, slots=True)
class Node:
    """A broker's number, and its ports: for clients, brokers (where apart), the quorum, and the page of its figures."""

    number: int
    client: int = field(default_factory=free_port)
    broker: int = field(default_factory=free_port)
    quorum: int = field(default_factory=free_port)
    page: int = field(default_factory=free_port)


def _replicated(brokers: int) -> dict[str, str]:
    """What follows from the number of brokers: with three, any one may be away."""
    copies, in_sync = str(brokers), str(min(brokers, 2))
    internal = ("offsets.topic", "transaction.state.log", "share.coordinator.state.topic")
    return (
        {"min.insync.replicas": in_sync, "default.replication.factor": copies}
        | {f"{topic}.replication.factor": copies for topic in internal}
        | {f"{topic}.min.isr": in_sync for topic in internal[1:]}
    )


def cluster(base: Path, profile: str, brokers: int, secured: Secured | None = None) -> list["KafkaServer"]:
    """
    The brokers of a cluster in a folder.

    Raises:
        ConfigurationError: The folder holds a cluster of another size: its records would be out of reach.

    """
    nodes = [Node(number) for number in range(1, brokers + 1)]
    names = ["kafka"] if brokers == 1 else [f"kafka-{node.number}" for node in nodes]
    there = sorted(path.name for path in base.glob("kafka*") if path.is_dir())
    if there and there != names:
        msg = (
            f"{base} holds a stack of {len(there)} broker(s): start it with --brokers {len(there)}, or take another "
            "folder"
        )
        raise ConfigurationError(msg)
    return [KafkaServer(base / name, profile, nodes, node, secured) for name, node in zip(names, nodes, strict=True)]


class KafkaServer:
    """How a broker is prepared, started and asked whether it is there; `supervisor.Child` runs it."""

    def __init__(
        self, directory: Path, profile: str, nodes: Sequence[Node], node: Node, secured: Secured | None = None
    ) -> None:
        self.name = directory.name
        self.directory = directory
        self.log_dir = directory / "logs"
        self.address = f"127.0.0.1:{node.client}"
        self.page = f"http://127.0.0.1:{node.page}/metrics"
        self.overrides: dict[str, str] = {}
        """Settings that a drill changes; they hold from the broker's next start on."""
        self._profile, self._nodes, self._node, self._secured = profile, nodes, node, secured
        self.administered_at = f"127.0.0.1:{node.broker}" if secured else self.address
        self._properties = directory / "server.properties"

    @property
    def shows_page(self) -> bool:
        """Whether the broker shows its figures as a page."""
        return distribution.exporter(distribution.kafka_libraries()) is not None

    def prepare(self) -> list[str]:
        """Write the settings, format the storage once; the command line of the broker."""
        java, libraries = distribution.java(), distribution.kafka_libraries()
        self.log_dir.mkdir(parents=True, exist_ok=True)
        settings = self._settings()
        self._properties.write_text("".join(f"{key}={value}\n" for key, value in settings.items()), encoding="utf-8")
        base = [java, "-cp", f"{libraries}/*"]
        if not (self.log_dir / "meta.properties").exists():
            tool = ["kafka.tools.StorageTool", "format", f"--cluster-id={self._cluster_id()}"]
            command = [base[0], *_FAST_JVM, *base[1:], *tool, "-c", str(self._properties)]
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_FORMAT_S)  # noqa: S603
            if done.returncode:
                msg = f"the storage of Kafka could not be formatted: {(done.stdout + done.stderr).strip()[-800:]}"
                raise ConfigurationError(msg)
        jvm = () if self._profile == "production" else _FAST_JVM
        return [
            java,
            "-Xmx512m",
            *jvm,
            _QUIET,
            *self._agent(libraries),
            *base[1:],
            "kafka.Kafka",
            str(self._properties),
        ]

    def answers(self) -> bool:
        """Whether the broker speaks its protocol and is registered with its controller."""
        try:
            host, _, port = self.administered_at.partition(":")
            socket.create_connection((host, int(port)), timeout=1).close()
        except OSError:
            return False
        logger = logging.getLogger("kafka")
        level = logger.level
        logger.setLevel(logging.CRITICAL)  # a broker that is starting is no news
        try:
            options = self._secured.administration if self._secured else {}
            client = administration(self.administered_at, request_timeout_ms=_PROBE_MS, **options)
            try:
                there = client.describe_cluster()["brokers"]  # those that are down are listed too, as fenced
                return any(each["broker_id"] == self._node.number and not each.get("is_fenced") for each in there)
            finally:
                client.close()
        except KafkaError:
            return False
        finally:
            logger.setLevel(level)

    def _settings(self) -> dict[str, str]:
        listeners = f"CLIENT://{self.address}"
        if self._secured:
            listeners += f",BROKER://{self.administered_at}"
        return {
            **_COMMON,
            **(self._secured.broker if self._secured else {}),
            **_replicated(len(self._nodes)),
            **({} if self._profile == "production" else _FAST),
            "node.id": str(self._node.number),
            "listeners": f"{listeners},CONTROLLER://127.0.0.1:{self._node.quorum}",
            "advertised.listeners": listeners,
            "controller.quorum.voters": ",".join(f"{node.number}@127.0.0.1:{node.quorum}" for node in self._nodes),
            "log.dirs": str(self.log_dir).replace("\\", "\\\\"),
            **self.overrides,
        }

    def _cluster_id(self) -> str:
        """The id that all brokers of the folder share; the first to be formatted makes it."""
        path = self.directory.parent / "cluster.id"
        if not path.exists():
            path.write_text(base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("="), "utf-8")
        return path.read_text("utf-8")

    def _agent(self, libraries: Path) -> list[str]:
        agent = distribution.exporter(libraries)
        if agent is None:
            return []
        rules = self.directory / "page.yml"
        rules.write_text(_PAGE, "utf-8")
        return [f"-javaagent:{agent}=127.0.0.1:{self._node.page}:{rules}"]
