"""The keystore's contract, on the fake, on a real Redis, and on a Redis and a Valkey with a replica each."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from redis import Redis
from redises import VALKEY, Lone, replicates, running

from calllog_guard.adapters.memory.fakes import MemoryKeystore
from calllog_guard.adapters.redis.keystore import RedisKeystore
from calllog_guard.ports.keys import Keystore

KINDS = [
    "memory",
    *(pytest.param(kind, marks=pytest.mark.real) for kind in ("redis", "redis+replica", "valkey+replica")),
]


@pytest.fixture(params=KINDS)
async def keystore(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Keystore]:
    """One of the four; the files of a real one lie in `tmp_path`."""
    if request.param == "memory":
        yield MemoryKeystore()
        return
    kind, _, replica = request.param.partition("+")
    executable = VALKEY if kind == "valkey" else None
    with ExitStack() as servers:
        master = Lone(tmp_path / "master", executable)
        servers.enter_context(running(master))
        if replica:
            follower = Lone(tmp_path / "replica", executable)
            servers.enter_context(running(follower))
            with Redis.from_url(follower.url) as client:
                replicates(client, master)
        store = RedisKeystore(master.url, replicas=int(bool(replica)))
        yield store
        await store.close()


@pytest.fixture
def names() -> list[bytes]:
    """Two names that nobody else uses."""
    return [f"clg:test:who:{secrets.token_hex(8)}".encode() for _ in range(2)]


async def test_what_was_put_is_read_in_order(keystore: Keystore, names: list[bytes]) -> None:
    await keystore.put({names[1]: b"\x00\xff"})
    assert await keystore.read(names) == [None, b"\x00\xff"]


async def test_what_is_new_takes_nobodys_place(keystore: Keystore, names: list[bytes]) -> None:
    """So whoever only makes entries can be held to that by the server: nothing is destroyed by writing over it."""
    assert await keystore.put_new({names[0]: b"first"})
    assert not await keystore.put_new({names[0]: b"second", names[1]: b"second"})
    assert await keystore.read(names) == [b"first", None]


async def test_swap_claims_once(keystore: Keystore, names: list[bytes]) -> None:
    assert await keystore.swap({names[0]: (None, b"first")}, {names[1]: None})
    assert not await keystore.swap({names[0]: (None, b"second")}, {names[1]: None})
    assert await keystore.read(names[:1]) == [b"first"]


async def test_swap_writes_nothing_when_a_watched_entry_moved(keystore: Keystore, names: list[bytes]) -> None:
    await keystore.put({names[1]: b"moved"})
    assert not await keystore.swap({names[0]: (None, b"new")}, {names[1]: b"before"})
    assert await keystore.read(names) == [None, b"moved"]


async def test_deleted_is_gone_and_may_be_deleted_again(keystore: Keystore, names: list[bytes]) -> None:
    await keystore.put({names[0]: b"x"})
    await keystore.delete(names)
    await keystore.delete(names)
    assert await keystore.read(names) == [None, None]


async def test_store_is_safe(keystore: Keystore) -> None:
    await keystore.check()


def files(folder: Path) -> dict[str, bytes]:
    """The append-only files of each server, those of Redis 7 and later in their own folder, on a snapshot."""
    found: dict[str, bytes] = {}
    for path in sorted(each for each in folder.rglob("*") if each.suffix in {".aof", ".rdb"}):
        server = path.relative_to(folder).parts[0]
        found[server] = found.get(server, b"") + path.read_bytes()
    return found


async def test_rewrite_leaves_nothing_of_what_was_deleted_in_any_file_of_any_copy(
    keystore: Keystore, names: list[bytes], tmp_path: Path
) -> None:
    secret = secrets.token_hex(24).encode()
    await keystore.put({names[0]: secret, names[1]: b"stays"})
    await keystore.delete(names[:1])
    if isinstance(keystore, RedisKeystore):
        for _ in range(100):  # a replica of Redis 6 acknowledges before its file is written
            held = {server: secret in content for server, content in files(tmp_path).items()}
            if all(held.values()):
                break
            await asyncio.sleep(0.05)
        assert all(held.values()), f"the control: a deleted value stays in the append-only file: {held}"
        await keystore.rewrite()
        for content in files(tmp_path).values():
            assert secret not in content
            assert names[0] not in content
    await keystore.rewrite()
    assert await keystore.read(names) == [None, b"stays"]


async def test_scan_meets_every_key_that_begins_so(keystore: Keystore, names: list[bytes]) -> None:
    start = names[0] + b":"
    many = {start + str(number).encode(): b"x" for number in range(2500)}
    await keystore.put(many)
    await keystore.put({names[1]: b"another"})
    met = [key async for batch in keystore.scan(start) for key in batch]
    assert set(met) == set(many)


async def test_origin_is_the_same_while_nothing_restarts(keystore: Keystore, names: list[bytes]) -> None:
    await keystore.put({names[0]: b"x"})
    run, found = await keystore.origin(names)
    assert found == [b"x", None]
    assert (run, found) == await keystore.origin(names)
    assert run


async def test_drop_removes_only_what_is_as_expected(keystore: Keystore, names: list[bytes]) -> None:
    await keystore.put({names[0]: b"x"})
    assert not await keystore.drop(names[0], {names[0]: b"x", names[1]: b"y"})
    assert await keystore.read(names[:1]) == [b"x"]
    assert await keystore.drop(names[0], {names[0]: b"x", names[1]: None})
    assert await keystore.read(names[:1]) == [None]
