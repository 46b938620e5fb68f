"""
Starts, watches and ends the two servers.

Rules: 1. No child outlives us: the kernel ends it when the thread that started it ends.
       2. A child is ended by its own process id, never by a name.
       3. Ready means that it answered in its own protocol.
"""

import ctypes
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, NoReturn, Protocol, Self

from calllog_guard.errors import ConfigurationError
from calllog_guard.stack.kafka_server import KafkaServer
from calllog_guard.stack.redis_server import RedisServer

PROFILES: Final = ("fast", "production")
_PR_SET_PDEATHSIG: Final = 1
_READY_S: Final = 90.0
_STOP_S: Final = 20.0
_FAST: Final = {
    "COMPACTION_LAG_MS": "2000",
    "TOMBSTONE_KEEP_MS": "3000",
    "HEARTBEAT_S": "0.5",
    "SWEEP_S": "1",
    "TRIM_S": "1",
    "TRIM_BEHIND_S": "0",
    "WATCH_S": "2",
    "OBSERVE_S": "1",
    "ABSENCE_AFTER_S": "2",
    "AOF_REWRITE_MIN_S": "0",
}


class Server(Protocol):
    """What a child needs to know of the server that it runs."""

    @property
    def name(self) -> str:
        """Its name in messages and files."""

    @property
    def directory(self) -> Path:
        """Its working folder."""

    def prepare(self) -> list[str]:
        """Make its files; its command line."""

    def answers(self) -> bool:
        """Whether it answers in its own protocol."""


def _die_with_parent() -> Callable[[], None] | None:
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is None:  # not Linux
        return None
    return lambda: prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))


class Child:
    """One server as a child process; it may be started again after it ended."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._process: subprocess.Popen[bytes] | None = None
        self.log = server.directory / f"{server.name}.log"

    @property
    def pid(self) -> int | None:
        """The process id while one was started and not yet ended by us."""
        return self._process.pid if self._process else None

    @property
    def died(self) -> bool:
        """Whether it ended without being asked to."""
        return self._process is not None and self._process.poll() is not None

    def start(self) -> None:
        """Start it and wait until it answers; nothing happens while it runs."""
        if self._process is not None and not self.died:
            return
        self._server.directory.mkdir(parents=True, exist_ok=True)
        command = self._server.prepare()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603
                command,
                cwd=self._server.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent(),  # noqa: PLW1509
            )
        try:
            self._wait_ready()
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """End it in its own order, by force after 20 s."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def kill(self) -> None:
        """End it at once, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def fail(self, what: str) -> NoReturn:
        """Raise the error that says what happened and where its log is, with the end of it."""
        tail = self.log.read_bytes()[-1500:].decode(errors="replace").strip() if self.log.exists() else ""
        msg = f"{self._server.name} {what}; see {self.log}, which ends:\n{tail}"
        raise ConfigurationError(msg)

    def _wait_ready(self) -> None:
        end = time.monotonic() + _READY_S
        while not self._server.answers():
            if self._process is not None and self._process.poll() is not None:
                self.fail(f"ended with {self._process.returncode} before it was ready")
            if time.monotonic() > end:
                self.fail(f"did not answer within {_READY_S:.0f} s")
            time.sleep(0.1)
        if self.died:  # someone else answers on its port
            self.fail("ended at its start while another program answers on its port")


class Stack:
    """
    A real Kafka and a real Redis in one folder, on free ports of 127.0.0.1.

    Args:
        directory: Keeps all data; a later stack on it finds them again.
        profile: `fast` compacts and sweeps within seconds; `production` keeps the defaults.

    """

    def __init__(self, directory: Path, profile: str = "fast") -> None:
        if profile not in PROFILES:
            msg = f"unknown profile of the stack: use one of {', '.join(PROFILES)}"
            raise ConfigurationError(msg)
        base = directory.resolve()
        broker, store = KafkaServer(base / "kafka", profile), RedisServer(base / "redis")
        self.directory, self.profile = base, profile
        self.kafka, self.redis = broker.address, store.url
        self.broker_log_dir, self.redis_dir = broker.log_dir, store.directory
        self.children: Final = {"redis": Child(store), "kafka": Child(broker)}

    @property
    def environment(self) -> dict[str, str]:
        """The settings with which our commands use this stack."""
        settings = {
            "KAFKA": self.kafka,
            "KEYSTORE": self.redis,
            "PARTITIONS": "12",
            "REPLICAS": "1",
            "HTTP": "127.0.0.1:0",
            "LOG_DIRS": str(self.broker_log_dir),
        }
        if self.profile == "fast":
            settings |= _FAST
        return {f"CALLLOG_GUARD_{key}": value for key, value in settings.items()}

    @property
    def pids(self) -> dict[str, int]:
        """The process ids of the children."""
        return {name: child.pid for name, child in self.children.items() if child.pid is not None}

    def start(self) -> None:
        """Start both and wait until both answer; none is left behind when one fails."""
        try:
            self.start_redis()
            self.start_kafka()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End both."""
        self.children["kafka"].stop()
        self.children["redis"].stop()

    def check(self) -> None:
        """Raise ConfigurationError when a child ended by itself."""
        for child in self.children.values():
            if child.died:
                child.fail("ended by itself")

    def kill_kafka(self) -> None:
        """Crash the broker."""
        self.children["kafka"].kill()

    def start_kafka(self) -> None:
        """Start the broker (again), on the same port."""
        self.children["kafka"].start()

    def stop_redis(self) -> None:
        """End the keystore in order."""
        self.children["redis"].stop()

    def start_redis(self) -> None:
        """Start the keystore (again), on the same port."""
        self.children["redis"].start()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
