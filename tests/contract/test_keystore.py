"""The keystore's contract, on the fake and on a real Redis."""

import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from calllog_guard.adapters.memory import MemoryKeystore
from calllog_guard.adapters.redis_keystore import RedisKeystore
from calllog_guard.ports import Keystore


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.real)])
async def keystore(request: pytest.FixtureRequest) -> AsyncIterator[Keystore]:
    """One of the two."""
    store: Keystore = MemoryKeystore()
    if request.param == "redis":
        store = RedisKeystore(request.getfixturevalue("stack").redis)
    yield store
    await store.close()


@pytest.fixture
def names() -> list[bytes]:
    """Two names that nobody else uses."""
    return [f"clg:test:who:{secrets.token_hex(8)}".encode() for _ in range(2)]


async def test_what_was_put_is_read_in_order(keystore: Keystore, names: list[bytes]) -> None:
    await keystore.put({names[1]: b"\x00\xff"})
    assert await keystore.read(names) == [None, b"\x00\xff"]


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


async def test_rewrite_leaves_nothing_of_what_was_deleted_in_any_file(
    request: pytest.FixtureRequest, keystore: Keystore, names: list[bytes]
) -> None:
    secret = secrets.token_hex(24).encode()
    await keystore.put({names[0]: secret, names[1]: b"stays"})
    await keystore.delete(names[:1])
    if isinstance(keystore, RedisKeystore):
        folder: Path = request.getfixturevalue("stack").directory

        def files() -> bytes:
            return b"".join(path.read_bytes() for path in folder.rglob("*.aof"))

        assert secret in files(), "the control: a deleted value stays in the append-only file"
        await keystore.rewrite()
        assert secret not in files()
        assert names[0] not in files()
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
