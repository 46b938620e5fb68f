"""
Starts, watches and ends the servers.

Rules: 1. No child outlives us: the kernel ends it when the thread that started it ends.
       2. A child is ended by its own process id, never by a name.
       3. Ready means that it answered in its own protocol.
"""

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, NoReturn, Protocol, Self

from calllog_guard.devstack.kafka_server import cluster
from calllog_guard.devstack.offspring import begun
from calllog_guard.devstack.redis_server import RedisServer, SecuredRedis, TlsFront
from calllog_guard.devstack.secured import Secured
from calllog_guard.errors import ConfigurationError

PROFILES: Final = ("fast", "production", "secure")
BROKERS: Final = (1, 3)
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


class Child:
    """
    One server as a child process; it may be started again after it ended.

    Args:
        keeps: Open files that it holds open with us: a lock of ours is free again when it has ended too.

    """

    def __init__(self, server: Server, keeps: Sequence[int] = ()) -> None:
        self._server, self._keeps = server, tuple(keeps)
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
        self.launch()
        self.wait_ready()

    def launch(self) -> None:
        """Start it without waiting: brokers of one quorum answer only together."""
        if self._process is not None and not self.died:
            return
        self._server.directory.mkdir(parents=True, exist_ok=True)
        command = self._server.prepare()
        with self.log.open("ab") as log:
            self._process = begun(
                command,
                cwd=self._server.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=self._keeps,
            )

    def wait_ready(self) -> None:
        """Wait until it answers; it is ended when it does not."""
        try:
            self._wait_ready()
        except BaseException:
            self.kill()
            raise

    def freeze(self) -> None:
        """Let it stand still with all its connections, as a stalled machine does."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def terminate(self) -> None:
        """Ask it to end, without waiting; a frozen one is thawed, or it would not hear."""
        self._signal(signal.SIGCONT)
        self._signal(signal.SIGTERM)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def stop(self) -> bool:
        """End it in its own order, by force after 20 s; whether force was needed."""
        if self._process is None:
            return False
        self.terminate()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
            return True
        self._process = None
        return False

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
    A real Kafka of one or three brokers and a real Redis in one folder, on free ports of 127.0.0.1.

    Args:
        directory: Keeps all data; a later stack on it finds them again.
        profile: `fast` compacts and sweeps within seconds; `production` keeps the defaults;
            `secure` is fast, with TLS, users, rights.
        brokers: 1 or 3; with three, every record has three replicas and any one broker may be away.
        keeps: Open files that the servers hold open with us, as a lock.

    """

    def __init__(self, directory: Path, profile: str = "fast", *, brokers: int = 1, keeps: Sequence[int] = ()) -> None:
        if profile not in PROFILES:
            msg = f"unknown profile of the stack: use one of {', '.join(PROFILES)}"
            raise ConfigurationError(msg)
        if brokers not in BROKERS:
            msg = f"a stack of {brokers} brokers cannot be had: use 1, or 3, of which any one may be away"
            raise ConfigurationError(msg)
        base = directory.resolve()
        self.secured = Secured(base) if profile == "secure" else None
        self.brokers = cluster(base, profile, brokers, self.secured)
        if self.secured:
            store: RedisServer = SecuredRedis(base / "redis", self.secured)
            stores: list[RedisServer | TlsFront] = [store, TlsFront(store, self.secured)]
        else:
            stores = [store := RedisServer(base / "redis")]
        self._redis_port = store.port
        self.directory, self.profile = base, profile
        self.kafka, self.redis = ",".join(each.address for each in self.brokers), stores[-1].url
        self.log_dirs = [each.log_dir for each in self.brokers]
        self.broker_log_dir, self.redis_dir = self.log_dirs[0], store.directory
        self._stores = [each.name for each in stores]
        self.children: Final = {each.name: Child(each, keeps) for each in (*stores, *self.brokers)}

    @property
    def environment(self) -> dict[str, str]:
        """The settings with which our commands use this stack; where there are users, the operator's."""
        return self.environment_of("operator")

    def environment_of(self, user: str) -> dict[str, str]:
        """The settings with which a user's programs use this stack."""
        settings = {
            "KAFKA": self.kafka,
            **({} if self.secured else {"KEYSTORE": self.redis}),
            "PARTITIONS": "12",
            "REPLICAS": str(len(self.brokers)),
            "HTTP": "127.0.0.1:0",
            "LOG_DIRS": os.pathsep.join(map(str, self.log_dirs)),
            "CLEANER_PAGES": ",".join(each.page for each in self.brokers if each.shows_page),
        }
        if self.profile != "production":
            settings |= _FAST
        own = self.secured.environment(user) if self.secured else {}
        return {f"CALLLOG_GUARD_{key}": value for key, value in settings.items()} | own

    @property
    def pids(self) -> dict[str, int]:
        """The process ids of the children."""
        return {name: child.pid for name, child in self.children.items() if child.pid is not None}

    @property
    def _kafka(self) -> list[Child]:
        return [self.children[each.name] for each in self.brokers]

    def start(self) -> None:
        """Start all and wait until all answer; none is left behind when one fails."""
        if self.secured:
            self.secured.prepare(self._redis_port)
        try:
            self.start_redis()
            self.start_kafka()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> list[str]:
        """
        End all; the brokers at the same time, for the last of a quorum finds nobody to take leave of.

        Returns:
            The names of those that had to be ended by force.

        """
        for child in self._kafka:
            child.terminate()
        last = [*(each.name for each in self.brokers), *reversed(self._stores)]
        return [name for name in last if self.children[name].stop()]

    def check(self) -> None:
        """Raise ConfigurationError when a child ended by itself."""
        for child in self.children.values():
            if child.died:
                child.fail("ended by itself")

    def kill_kafka(self) -> None:
        """Crash every broker."""
        for child in self._kafka:
            child.kill()

    def start_kafka(self) -> None:
        """Start every broker that does not run, on the same ports."""
        for child in self._kafka:
            child.launch()
        for child in self._kafka:
            child.wait_ready()
        if self.secured:
            self.secured.grant(self.brokers[0].administered_at)

    def stop_redis(self) -> None:
        """End the keystore in order."""
        for name in reversed(self._stores):
            self.children[name].stop()

    def start_redis(self) -> None:
        """Start the keystore (again), on the same port."""
        for name in self._stores:
            self.children[name].start()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
