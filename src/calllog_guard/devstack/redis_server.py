"""
One Redis that keeps every write before it answers, as a child process; in the secure profile behind TLS, with users.

Source: redis.conf of Redis 6.2, sections append only mode, memory, slow log,
replication (without a disk, or a synchronisation leaves a snapshot file).
"""

import subprocess
import sys
from pathlib import Path
from typing import Final

import redis

from calllog_guard.devstack import distribution
from calllog_guard.devstack.certificates import write_private
from calllog_guard.devstack.kafka_server import free_port
from calllog_guard.devstack.secured import Secured

_SOCKET: Final = "redis.sock"
"""Named without its folder, in which both processes run: the path of a socket may have 107 bytes and no more."""

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
_QUIET: Final = {"commandlog-request-larger-than": "-1", "commandlog-reply-larger-than": "-1"}
"""What Valkey logs with arguments beside the slow log; Redis does not start with what it does not know."""


def settings_of(server: str) -> dict[str, str]:
    """The settings that this server needs."""
    said = subprocess.run([server, "--version"], capture_output=True, text=True, check=False).stdout  # noqa: S603
    return SETTINGS | (_QUIET if said.startswith("Valkey") else {})


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
        server = distribution.redis_server()
        options = [part for key, value in settings_of(server).items() for part in (f"--{key}", value)]
        return [server, "--port", str(self.port), "--daemonize", "no", *options]

    def answers(self) -> bool:
        """Whether the server answers PING: not while it still loads its file."""
        try:
            with redis.Redis(host="127.0.0.1", port=self.port, socket_timeout=2) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


class SecuredRedis(RedisServer):
    """The same server on a socket in its owner's own folder, with the users of the documentation and no other."""

    def __init__(self, directory: Path, secured: Secured) -> None:
        super().__init__(directory)
        self._secured = secured

    def prepare(self) -> list[str]:
        """The command line: all that is worth hiding stands in a file."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.directory.chmod(0o700)
        (self.directory / _SOCKET).unlink(missing_ok=True)
        server, release = distribution.users_server()
        lines = [f'{key} "{value}"' for key, value in settings_of(server).items() if key != "bind"]
        lines += ["port 0", f"unixsocket {_SOCKET}", "unixsocketperm 700", "daemonize no"]
        lines += self._secured.redis_users(release)
        write_private(self.directory / "redis.conf", "".join(f"{line}\n" for line in lines).encode())
        return [server, "redis.conf"]

    def answers(self) -> bool:
        """Whether the socket is there: whether it answers is for the front to find out, by TLS and password."""
        return (self.directory / _SOCKET).exists()


class TlsFront:
    """The port of the secure profile: TLS, then the server's socket. The servers in wheels have no TLS of their own."""

    name: Final = "redis-tls"

    def __init__(self, server: RedisServer, secured: Secured) -> None:
        self.directory, self._port, self._secured = server.directory, server.port, secured
        self.url = f"rediss://127.0.0.1:{self._port}/0"

    def prepare(self) -> list[str]:
        """The command line; the server's key is in the file that is named."""
        module = ["-m", "calllog_guard.devstack.tls_front"]
        return [sys.executable, *module, str(self._port), str(self._secured.server), _SOCKET]

    def answers(self) -> bool:
        """Whether the server answers through TLS as a worker may ask it: not while it still loads its file."""
        password = self._secured.redis_password("reader")
        try:
            with redis.Redis(
                host="127.0.0.1",
                port=self._port,
                username="reader",
                password=password,
                socket_timeout=2,
                ssl=True,
                ssl_ca_certs=str(self._secured.ca),
            ) as client:
                return bool(client.mget("clg:~guard"))
        except redis.RedisError:
            return False
