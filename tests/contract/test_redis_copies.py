"""A write counts only on as many copies as are wanted, and a Redis that may lose or keep secrets is refused."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redises import VALKEY, Lone, replicates, running

from calllog_guard.adapters.redis.keystore import RedisKeystore
from calllog_guard.devstack.redis_server import RedisServer
from calllog_guard.devstack.supervisor import Child
from calllog_guard.errors import KeystoreSilentError, KeystoreUnsafeError

pytestmark = pytest.mark.real
SERVERS = pytest.mark.parametrize("executable", [None, VALKEY], ids=["redis", "valkey"])


@dataclass
class Pair:
    """A master and its replica."""

    master: Lone
    replica: Lone
    follower: Child

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """The replica hangs, its connection stays: only the counts tell."""
        assert self.follower.pid is not None
        os.kill(self.follower.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.follower.pid, signal.SIGCONT)


@contextmanager
def pair(folder: Path, executable: str | None, **options: str) -> Iterator[Pair]:
    """Two servers; the options are the replica's."""
    with ExitStack() as servers:
        master, replica = Lone(folder / "master", executable), Lone(folder / "replica", executable, **options)
        servers.enter_context(running(master))
        follower = servers.enter_context(running(replica))
        with Redis.from_url(replica.url) as client:
            replicates(client, master)
        yield Pair(master, replica, follower)


@asynccontextmanager
async def opened(server: Lone, replicas: int = 0, urls: Sequence[str] = ()) -> AsyncIterator[RedisKeystore]:
    """The keystore on a server, closed in the end."""
    store = RedisKeystore(server.url, replicas, urls)
    try:
        yield store
    finally:
        await store.close()


def snapshots(folder: Path) -> list[Path]:
    """Every snapshot file."""
    return list(folder.rglob("dump.rdb"))


async def check(server: Lone, replicas: int = 0) -> None:
    """Have a server checked."""
    async with opened(server, replicas) as store:
        await store.check()


@pytest.mark.parametrize("executable", [pytest.param(None, marks=pytest.mark.long), VALKEY], ids=["redis", "valkey"])
async def test_nothing_counts_as_written_while_a_replica_does_not_have_it(
    executable: str | None, tmp_path: Path
) -> None:
    with pair(tmp_path, executable) as two:
        async with opened(two.master, 1) as store:
            await store.put({b"clg:a": b"1"})
            with two.frozen():
                writes: list[Any] = [
                    store.put({b"clg:b": b"1"}),
                    store.swap({b"clg:c": (None, b"1")}, {}),
                    store.drop(b"clg:a", {b"clg:a": b"1"}),
                    store.delete([b"clg:a"]),  # by now there is nothing left to delete, and still the replica has it
                ]
                for write in writes:
                    with pytest.raises(KeystoreSilentError, match="0 replicas, wanted 1"):
                        await write
                with pytest.raises(KeystoreSilentError, match="wanted 1"):
                    await store.origin([b"clg:b"])  # what another has written may be nowhere but here
            assert (await store.origin([b"clg:a", b"clg:b", b"clg:c"]))[1] == [None, b"1", b"1"]
            with Redis.from_url(two.replica.url) as client:
                assert client.mget([b"clg:a", b"clg:b", b"clg:c"]) == [None, b"1", b"1"]


async def test_a_store_that_no_longer_keeps_a_file_proves_nothing(tmp_path: Path) -> None:
    server = Lone(tmp_path, VALKEY)
    with running(server), Redis.from_url(server.url) as client:
        async with opened(server) as store:
            await store.put({b"clg:a": b"1"})
            client.config_set("appendonly", "no")
            with pytest.raises(KeystoreSilentError):
                await store.put({b"clg:b": b"1"})


@SERVERS
async def test_a_rewrite_waits_for_every_replica(executable: str | None, tmp_path: Path) -> None:
    with pair(tmp_path, executable) as two:
        async with opened(two.master, 1, [two.replica.url]) as store, opened(two.master, 2) as wants_two:
            await store.put({b"clg:a": b"1"})
            with two.frozen():
                rewriting = asyncio.create_task(store.rewrite())
                await asyncio.sleep(0.5)
                assert not rewriting.done()
            await rewriting
            with pytest.raises(KeystoreSilentError):
                await wants_two.rewrite()
            two.follower.kill()
            with pytest.raises(KeystoreSilentError):
                await store.rewrite()


@SERVERS
async def test_a_pair_that_keeps_and_forgets_is_accepted(executable: str | None, tmp_path: Path) -> None:
    with pair(tmp_path, executable) as two:
        await check(two.master, 1)
        assert not snapshots(tmp_path), "a synchronisation leaves no snapshot"
        with pytest.raises(KeystoreSilentError, match="wanted 2"):
            await check(two.master, 2)
        with pytest.raises(KeystoreUnsafeError, match="names a replica"):
            await check(two.replica)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("appendonly", "no"),
        ("appendfsync", "everysec"),
        ("maxmemory-policy", "allkeys-lru"),
        ("save", "900 1"),
        ("aof-load-truncated", "yes"),
        ("slowlog-log-slower-than", "10000"),
        ("repl-diskless-sync", "no"),
    ],
)
async def test_an_unsafe_setting_is_refused(setting: str, value: str, tmp_path: Path) -> None:
    with pair(tmp_path, None) as two, Redis.from_url(two.master.url) as client:
        client.config_set(setting, value)
        with pytest.raises(KeystoreUnsafeError, match=setting):
            await check(two.master)


async def test_an_unsafe_replica_is_refused(tmp_path: Path) -> None:
    with (
        pair(tmp_path, None, appendfsync="everysec") as two,
        pytest.raises(KeystoreUnsafeError, match=r"replica 0 .* appendfsync"),
    ):
        await check(two.master)


async def test_a_log_that_keeps_arguments_is_refused(tmp_path: Path) -> None:
    server = Lone(tmp_path, VALKEY)
    with running(server), Redis.from_url(server.url) as client:
        await check(server)
        client.config_set("commandlog-request-larger-than", 1000)
        with pytest.raises(KeystoreUnsafeError, match="commandlog-request"):
            await check(server)


async def test_a_valkey_that_the_path_calls_redis_server_keeps_no_arguments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on systems whose redis-server is Valkey: the stack starts it so that the workers take it."""
    (tmp_path / "redis-server").symlink_to(VALKEY)
    monkeypatch.setenv("PATH", str(tmp_path))
    server = RedisServer(tmp_path / "data")
    with running(server), Redis.from_url(server.url) as client:
        assert client.info("server")["server_name"] == "valkey"
        store = RedisKeystore(server.url)
        await store.check()
        await store.close()


async def test_a_snapshot_file_is_refused_whoever_made_it(tmp_path: Path) -> None:
    server = Lone(tmp_path)
    with running(server) as child, Redis.from_url(server.url) as client:
        await check(server)
        (tmp_path / "dump.rdb").write_bytes(b"of an earlier run")
        with pytest.raises(KeystoreUnsafeError, match="snapshot"):
            await check(server)
        await asyncio.sleep(3)
        client.save()
        (tmp_path / "dump.rdb").rename(tmp_path / "elsewhere.rdb")
        with pytest.raises(KeystoreUnsafeError, match="snapshot"):  # as on another machine: only its time tells
            await check(server)
        child.stop()
        child.start()
        await check(server)
