"""
One Redis that keeps every write before it answers, as a child process.

Source: redis.conf of Redis 6.2, sections append only mode, memory, slow log,
replication (without a disk, or a synchronisation leaves a snapshot file).
"""

from pathlib import Path
from typing import Final

import redis

from calllog_guard.stack import distribution
from calllog_guard.stack.kafka_server import free_port

SETTINGS: Final = {
    "appendonly": "yes",
    "appendfsync": "always",
    "maxmemory-policy": "noeviction",
    "save": "",
    "aof-load-truncated": "no",
    "slowlog-log-slower-than": "-1",
    "repl-diskless-sync": "yes",
    "repl-diskless-sync-delay": "0",
    "repl-diskless-load": "swapdb",
    "bind": "127.0.0.1",
}


class RedisServer:
    """How the keystore is prepared, started and asked whether it is there; `supervisor.Child` runs it."""

    name: Final = "redis"

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def prepare(self) -> list[str]:
        """The command line of the server, which runs in its folder."""
        self.directory.mkdir(parents=True, exist_ok=True)
        options = [part for key, value in SETTINGS.items() for part in (f"--{key}", value)]
        return [distribution.redis_server(), "--port", str(self.port), "--daemonize", "no", *options]

    def answers(self) -> bool:
        """Whether the server answers PING: not while it still loads its file."""
        try:
            with redis.Redis(host="127.0.0.1", port=self.port, socket_timeout=2) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False
