"""
What Redis leaves in files: settings by which it keeps and forgets as promised, and the append-only file written anew.

Rules: 1. Every copy counts: each replica is asked what the master is.  2. A snapshot file is refused: what was
       deleted stays in it for ever.  3. Automatic failover by Sentinel is invisible here; the documentation forbids it.
Source: docs/explanation/keystore.md, docs/how-to/keystore.md.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from redis.asyncio import ConnectionPool, Redis

from calllog_guard.errors import KeystoreSilentError, KeystoreUnsafeError

WANTED: Final = {
    "appendonly": "yes",
    "appendfsync": "always",
    "maxmemory-policy": "noeviction",
    "save": "",
    "aof-load-truncated": "no",
}
_REPLICATING: Final = {"repl-diskless-sync": "yes"}
"""Or a full synchronisation leaves a snapshot file on the master."""
_REPLICATED: Final = {"repl-diskless-load": "swapdb"}
"""Or it leaves one on the replica."""
_LOGS: Final = {
    "slowlog-log-slower-than": "slowlog-max-len",
    "commandlog-request-larger-than": "commandlog-large-request-max-len",
    "commandlog-reply-larger-than": "commandlog-large-reply-max-len",
}
"""Logs that keep arguments, by the setting that -1 turns off, and the length that 0 does; some are Valkey's alone."""
_REWRITE_S: Final = 300.0
_PAUSE_S: Final = 0.05
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1", None})


@asynccontextmanager
async def _replicas(master: Any, listed: Sequence[str], wanted: int) -> AsyncIterator[list[Any]]:
    """A client of each replica: those that are listed, or else those that the master knows; too few are silence."""
    found = await master.info("replication")
    pool = master.connection_pool
    own = {name: value for name, value in pool.connection_kwargs.items() if name not in {"host", "port", "path"}}
    known = [found[f"slave{number}"] for number in range(int(found.get("connected_slaves", 0)))]
    made: list[Any] = [Redis.from_url(url, **_patience(own)) for url in listed] or [
        Redis(connection_pool=ConnectionPool(pool.connection_class, host=each["ip"], port=int(each["port"]), **own))
        for each in known
        if each["state"] == "online"
    ]
    try:
        if len(made) < wanted:
            raise KeystoreSilentError(f"the keystore has {len(made)} replicas in reach, wanted {wanted}")
        yield made
    finally:
        for each in made:
            await each.aclose(close_connection_pool=True)


def _patience(own: dict[str, Any]) -> dict[str, Any]:
    return {name: own[name] for name in ("socket_timeout", "socket_connect_timeout") if name in own}


# --- settings -------------------------------------------------------------------------------------------------------


async def checked(master: Any, listed: Sequence[str], wanted: int) -> None:
    """
    Compare settings and state of the master and of each replica with what the promises need.

    Raises:
        KeystoreUnsafeError: What was found, what is wanted, what to do.

    """
    server = await master.info("server")
    mode = server.get("redis_mode", server.get("server_mode"))  # Valkey's name for it
    if mode != "standalone":
        raise KeystoreUnsafeError(f"Redis runs in {mode} mode, wanted standalone: a cluster fails over by itself")
    if (await master.info("replication"))["role"] != "master":
        raise KeystoreUnsafeError("CALLLOG_GUARD_KEYSTORE names a replica: name the master")
    async with _replicas(master, listed, wanted) as replicas:
        await _settings(master, "Redis", WANTED | (_REPLICATING if replicas or wanted else {}))
        await _snapshots(master, "Redis")
        for number, replica in enumerate(replicas):
            name = f"the replica {number} of Redis"
            await _settings(replica, name, WANTED | _REPLICATED)
            await _snapshots(replica, name)


async def _settings(server: Any, name: str, wanted: dict[str, str]) -> None:
    for setting, value in wanted.items():
        found = (await server.config_get(setting)).get(setting)
        if found != value:
            raise KeystoreUnsafeError(
                f"{name} runs with {setting} {found!r}, wanted {value!r}: secrets may be lost or kept; "
                f"set it in redis.conf and start Redis again"
            )
    for setting, length in _LOGS.items():
        found = (await server.config_get(setting)).get(setting)
        if found not in {None, "-1"} and (await server.config_get(length)).get(length) != "0":
            raise KeystoreUnsafeError(
                f"{name} runs with {setting} {found!r}, wanted '-1': the log keeps arguments, which hold sealed "
                f"secrets; set it in redis.conf and start Redis again"
            )


async def _snapshots(server: Any, name: str) -> None:
    info = await server.info()
    started = int(info["server_time_usec"]) / 1e6 - int(info["uptime_in_seconds"])
    place = Path((await server.config_get("dir"))["dir"]) / (await server.config_get("dbfilename"))["dbfilename"]
    here = server.connection_pool.connection_kwargs.get("host") in _LOOPBACK and place.is_file()
    if here or int(info["rdb_last_save_time"]) > started + 2:  # both clocks count whole seconds
        raise KeystoreUnsafeError(
            f"{name} has a snapshot file ({place.name}), wanted none: it keeps what was deleted; "
            f"delete it and start Redis again"
        )


# --- the append-only file -------------------------------------------------------------------------------------------


async def rewritten_everywhere(master: Any, listed: Sequence[str], wanted: int) -> None:
    """
    Have the append-only file written anew on the master and each replica, from a state that has all deletes up to now.

    Raises:
        KeystoreSilentError: One of them did not, or not in time: nothing is known of its file.

    """
    end = asyncio.get_running_loop().time() + _REWRITE_S
    offset = int((await master.info("replication"))["master_repl_offset"])
    async with _replicas(master, listed, wanted) as replicas:
        for replica in replicas:
            await _caught_up(replica, offset, end)
        await asyncio.gather(*(_rewritten(server, end) for server in (master, *replicas)))


async def _caught_up(replica: Any, offset: int, end: float) -> None:
    while True:
        found = await replica.info("replication")
        if found["role"] == "slave" and found["master_link_status"] == "up" and found["slave_repl_offset"] >= offset:
            return
        if asyncio.get_running_loop().time() > end:
            raise KeystoreSilentError("a replica of the keystore has not caught up: its file may keep what was deleted")
        await asyncio.sleep(_PAUSE_S)


async def _rewritten(server: Any, end: float) -> None:
    """Waits for a running rewrite, whose snapshot may be older than the delete, then runs its own."""
    await _at_rest(server, end)
    await server.bgrewriteaof()
    await asyncio.sleep(_PAUSE_S)
    await _at_rest(server, end)
    if (await server.info("persistence")).get("aof_last_bgrewrite_status") != "ok":
        raise KeystoreSilentError("the keystore could not rewrite its append-only file: see its log")


async def _at_rest(server: Any, end: float) -> None:
    while True:
        state = await server.info("persistence")
        if not state.get("aof_rewrite_in_progress") and not state.get("aof_rewrite_scheduled"):
            return
        if asyncio.get_running_loop().time() > end:
            raise KeystoreSilentError(f"the keystore's append-only file was not rewritten within {_REWRITE_S:.0f} s")
        await asyncio.sleep(_PAUSE_S)
