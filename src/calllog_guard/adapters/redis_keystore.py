"""
The keystore in Redis: four operations over opaque bytes, no scripts, no TTLs.

Rules: 1. Any doubt is silence (KeystoreSilentError), never an answer.  2. Unsafe settings are refused at start.
Source: design section 8; `facts.md` (Redis).
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, cast

from redis.asyncio import Redis
from redis.exceptions import RedisError, WatchError

from calllog_guard.errors import KeystoreSilentError, KeystoreUnsafeError

WANTED: Final = {
    "appendonly": "yes",
    "appendfsync": "always",
    "maxmemory-policy": "noeviction",
    "save": "",
    "aof-load-truncated": "no",
}
_TIMEOUT_S: Final = 5.0
_SCAN: Final = 1000
_REWRITE_S: Final = 300.0
_REWRITE_PAUSE_S: Final = 0.05


@asynccontextmanager
async def _answers() -> AsyncIterator[None]:
    try:
        yield
    except (RedisError, OSError, TimeoutError) as error:
        raise KeystoreSilentError(f"the keystore does not answer ({type(error).__name__})") from None


class RedisKeystore:
    """The keystore port on one Redis."""

    def __init__(self, url: str) -> None:
        self._redis: Any = Redis.from_url(url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S)

    async def read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """See Keystore."""
        if not keys:
            return []
        async with _answers():
            return cast("list[bytes | None]", await self._redis.mget(keys))

    async def origin(self, keys: Sequence[bytes]) -> tuple[bytes, list[bytes | None]]:
        """See Keystore: both in one transaction, so that the same server gave them."""
        async with _answers(), self._redis.pipeline(transaction=True) as transaction:
            transaction.info("server")
            transaction.mget(keys)
            server, found = await transaction.execute()
            return str(server["run_id"]).encode(), found

    async def scan(self, start: bytes) -> AsyncIterator[list[bytes]]:
        """See Keystore."""
        cursor, first = 0, True
        while first or cursor:
            async with _answers():
                cursor, found = await self._redis.scan(cursor, match=start + b"*", count=_SCAN)
            first = False
            if found:
                yield found

    async def put(self, entries: Mapping[bytes, bytes]) -> None:
        """See Keystore."""
        if entries:
            async with _answers():
                await self._redis.mset(dict(entries))

    async def swap(
        self, changes: Mapping[bytes, tuple[bytes | None, bytes]], unchanged: Mapping[bytes, bytes | None]
    ) -> bool:
        """See Keystore."""
        expected = {key: old for key, (old, _) in changes.items()} | dict(unchanged)
        return await self._if(expected, lambda queue: queue.mset({key: new for key, (_, new) in changes.items()}))

    async def drop(self, key: bytes, unchanged: Mapping[bytes, bytes | None]) -> bool:
        """See Keystore."""
        return await self._if(unchanged, lambda queue: queue.delete(key))

    async def _if(self, expected: Mapping[bytes, bytes | None], change: Callable[[Any], Any]) -> bool:
        async with _answers(), self._redis.pipeline(transaction=True) as transaction:
            await transaction.watch(*expected)
            found = await transaction.mget(list(expected))
            if found != list(expected.values()):
                return False
            transaction.multi()
            change(transaction)
            try:
                await transaction.execute()
            except WatchError:
                return False
            return True

    async def delete(self, keys: Sequence[bytes]) -> None:
        """See Keystore."""
        if keys:
            async with _answers():
                await self._redis.delete(*keys)

    async def rewrite(self) -> None:
        """See Keystore: waits for a running rewrite, whose snapshot may be older than the delete, then runs its own."""
        end = asyncio.get_running_loop().time() + _REWRITE_S
        async with _answers():
            await self._rewritten(end)
            await self._redis.bgrewriteaof()
            await asyncio.sleep(_REWRITE_PAUSE_S)
            await self._rewritten(end)
            if (await self._redis.info("persistence")).get("aof_last_bgrewrite_status") != "ok":
                raise KeystoreSilentError("the keystore could not rewrite its append-only file: see its log")

    async def _rewritten(self, end: float) -> None:
        while True:
            state = await self._redis.info("persistence")
            if not state.get("aof_rewrite_in_progress") and not state.get("aof_rewrite_scheduled"):
                return
            if asyncio.get_running_loop().time() > end:
                raise KeystoreSilentError(
                    f"the keystore's append-only file was not rewritten within {_REWRITE_S:.0f} s"
                )
            await asyncio.sleep(_REWRITE_PAUSE_S)

    async def check(self) -> None:
        """See Keystore."""
        async with _answers():
            found = {name: (await self._redis.config_get(name)).get(name) for name in WANTED}
        for name, wanted in WANTED.items():
            if found.get(name) != wanted:
                raise KeystoreUnsafeError(
                    f"Redis runs with {name} {found.get(name)!r}, wanted {wanted!r}: secrets may be lost or kept; "
                    f"set it in redis.conf and start Redis again"
                )

    async def hosts(self) -> list[str]:
        """The host that is asked, and those of its replicas and of the server that it copies."""
        async with _answers():
            found = await self._redis.info("replication")
        mine = self._redis.connection_pool.connection_kwargs.get("host")
        copies = [each["ip"] for name, each in found.items() if name.startswith("slave") and isinstance(each, dict)]
        return [host for host in (mine, found.get("master_host"), *copies) if host]

    async def close(self) -> None:
        """See Keystore."""
        await self._redis.aclose()
