"""The users of Redis are enough for the workers, on old servers and on those of today, and can do nothing else."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from installation import Installation, event, raw
from redis import Redis
from redis.exceptions import NoPermissionError, ResponseError
from redises import VALKEY, Lone, running, with_users
from signing import claims, signed
from test_audit import stages
from test_restore import read

from calllog_guard.adapters.redis.keystore import RedisKeystore
from calllog_guard.core.rights.grants import ENTRIES, KEYSTORE_USERS
from calllog_guard.devstack.supervisor import Stack
from calllog_guard.errors import KeystoreForbiddenError

pytestmark = pytest.mark.real
OLD, FINE = (None, (6, 2)), (VALKEY, (7, 2))
SERVERS = pytest.mark.parametrize("server", [OLD, FINE], ids=["redis 6.2", "valkey"])
Server = tuple[str | None, tuple[int, int]]


@contextmanager
def users(server: Server, folder: Path) -> Iterator[tuple[Redis, dict[str, str]]]:
    """A server with the users; its own client, and their addresses."""
    executable, release = server
    with running(lone := Lone(folder, executable)), Redis.from_url(lone.url) as client:
        yield client, with_users(lone.url, release)


@pytest.fixture
def stack_of_ones_own(java: None, tmp_path: Path) -> Iterator[Stack]:  # noqa: ARG001
    """Users are a server's, not a database's."""
    with Stack(tmp_path / "stack") as stack:
        yield stack


@pytest.mark.long
def test_workers_do_their_work_as_users_of_an_old_server(stack_of_ones_own: Stack, tmp_path: Path) -> None:
    urls = with_users(stack_of_ones_own.redis, (6, 2))
    guard = Installation(stack_of_ones_own, tmp_path / "guard", KEYSTORE=stack_of_ones_own.redis)
    try:
        said = json.loads(guard.cli("doctor", "--json"))
        (line,) = [each for each in said if each["check"] == "keystore users"]
        assert line["verdict"] == "warned"
        assert "one user for all" in line["found"]
        for role in ("protector", "desk", "keeper"):
            guard.start(role, KEYSTORE=urls[role])
        guard.start("auditor", KEYSTORE=urls["auditor"], WALK_S="1")
        guard.publish("calllog.events", [raw(event("c1", "alice@example.org", "bob@example.org"))])
        guard.settled(lambda: len(guard.live()) == 2, "both legs")
        guard.environment["CALLLOG_GUARD_KEYSTORE"] = urls["reader"]
        assert read(guard) == 2
        guard.publish("privacy.requests", [signed(guard.directory, claims("acl-0001", "alice@example.org"))])
        guard.settled(lambda: "absent" in stages(guard, "acl-0001"), "absent")
        guard.said('"event": "walked"')
        guard.environment["CALLLOG_GUARD_KEYSTORE"] = urls["operator"]
        guard.cli("doctor")
        assert "can do more than this role" not in guard.log.read_text()
        assert all(worker.poll() is None for worker in guard.workers), guard.log.read_text()[-2000:]
        guard.start("protector", KEYSTORE=urls["keeper"])
        guard.said("can do more than this role")
    finally:
        guard.stop()


@SERVERS
async def test_they_are_enough_for_every_server(server: Server, tmp_path: Path) -> None:
    with users(server, tmp_path) as (_, urls):
        store = RedisKeystore(urls["keeper"])
        await store.check()
        await store.put({b"clg:iocom:key:a": b"1", b"clg:iocom:who:b": b"2"})
        assert await store.swap({b"clg:iocom:key:a": (b"1", b"3")}, {b"clg:iocom:who:b": b"2"})
        assert await store.drop(b"clg:iocom:key:a", {b"clg:iocom:key:a": b"3"})
        assert (await store.origin([b"clg:iocom:key:a", b"clg:iocom:who:b"]))[1] == [None, b"2"]
        await store.close()
        for user, url in urls.items():
            store = RedisKeystore(url)
            assert await store.beyond(user) == []
            await store.close()


@SERVERS
async def test_who_may_not_is_told_so_and_nothing_is_changed(server: Server, tmp_path: Path) -> None:
    with users(server, tmp_path) as (client, urls):
        client.mset({"clg:iocom:who:a": "1", "clg:iocom:key:a": "1", "clg:iocom:hold:a": "1"})
        reader, protector = RedisKeystore(urls["reader"]), RedisKeystore(urls["protector"])
        for store, attempt in (
            *((reader, each) for each in ("put", "new", "delete", "swap", "drop")),
            *((protector, each) for each in ("delete", "drop")),
        ):
            with pytest.raises(KeystoreForbiddenError):
                await {
                    "put": lambda s: s.put({b"clg:iocom:who:a": b"2"}),
                    "new": lambda s: s.put_new({b"clg:iocom:key:n": b"2"}),
                    "delete": lambda s: s.delete([b"clg:iocom:key:a"]),
                    "swap": lambda s: s.swap({b"clg:iocom:who:a": (b"1", b"2")}, {}),
                    "drop": lambda s: s.drop(b"clg:iocom:key:a", {b"clg:iocom:key:a": b"1"}),
                }[attempt](store)
        assert set(client.mget("clg:iocom:who:a", "clg:iocom:key:a", "clg:iocom:hold:a")) == {b"1"}
        assert await protector.beyond("reader") == ["write over entries"] or server == FINE
        await reader.close()
        await protector.close()


async def test_who_may_write_nothing_reads_where_copies_are_counted(tmp_path: Path) -> None:
    """The proof of a reading is a write; a reader makes nothing of it that must outlive a failover."""
    with users(FINE, tmp_path) as (_, urls):
        for replicas in (0, 1):
            store = RedisKeystore(urls["reader"], replicas=replicas)
            assert (await store.origin([b"clg:~guard"]))[1] == [None]
            with pytest.raises(KeystoreForbiddenError):
                await store.origin([b"other"])
            await store.close()
        store = RedisKeystore(urls["protector"], replicas=1)
        with pytest.raises(Exception, match="wanted 1 and 1"):
            await store.origin([b"clg:~guard"])
        await store.close()


ELSEWHERE = [
    *(
        "KEYS *",
        "MONITOR",
        "DEBUG SLEEP 0",
        "CONFIG SET save 1",
        "SLOWLOG GET",
        "EVAL return(1) 0",
        "FLUSHALL",
        "FLUSHDB",
    ),
    *("SAVE", "BGSAVE", "SHUTDOWN", "REPLICAOF NO ONE", "ACL LIST", "DUMP clg:iocom:who:a", "MSET other 1"),
    *("EXPIRE clg:iocom:who:a 1", "RENAME clg:iocom:who:a x", "GETDEL clg:iocom:who:a", "UNLINK clg:iocom:who:a"),
    *("SWAPDB 0 1", "APPEND clg:iocom:key:a x", "SCRIPT LOAD x", "PUBLISH a b", "MIGRATE h 1 clg:iocom:key:a 0 1"),
]


@SERVERS
def test_they_can_do_nothing_else(server: Server, tmp_path: Path) -> None:
    with users(server, tmp_path) as (_, urls):
        for user, url in urls.items():
            with Redis.from_url(url) as client:
                for command in [*ELSEWHERE, *(() if user == "auditor" else ("SCAN 0", "BGREWRITEAOF"))]:
                    with pytest.raises(ResponseError, match=r"permission|DEBUG command not allowed"):
                        pytest.fail(f"{user}: {command}: {client.execute_command(*command.split())!r}")
        with Redis.from_url(urls["auditor"]) as client:
            assert client.execute_command("SCAN", "0")


def example(pattern: str, user: str) -> str:
    """An entry that a pattern of the table is about."""
    return pattern.replace("TENANT", "iocom").replace("ROLE", user).replace("*", "x")


@pytest.mark.parametrize("user", KEYSTORE_USERS)
def test_a_server_of_today_holds_each_user_to_the_table(user: str, tmp_path: Path) -> None:
    """Every command on every kind of entry: what is in the table works, and nothing else does."""
    asked = {"R": "MGET {}", "N": "MSETNX {} 2", "W": "MSET {} 2", "D": "DEL {}", "S": "SET {} 2"}
    found, wanted = dict[str, set[str]](), dict[str, set[str]]()
    with users(FINE, tmp_path) as (owner, urls), Redis.from_url(urls[user]) as client:
        for pattern, rights in ENTRIES.items():
            key = example(pattern, user)
            letters = set(rights.get(user, ""))
            wanted[pattern] = letters | ({"N"} if "W" in letters else set())
            found[pattern] = set()
            for letter, command in asked.items():
                owner.set(key, "1")
                try:
                    client.execute_command(*command.format(key).split())
                except NoPermissionError:
                    assert owner.get(key) == b"1"
                else:
                    found[pattern].add(letter)
    assert found == wanted
