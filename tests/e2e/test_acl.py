"""The Redis users of the README are enough for the workers, and can do nothing else."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from installation import Installation, event, raw
from redis import Redis
from redis.exceptions import NoPermissionError
from redises import VALKEY, Lone, running
from signing import claims, signed
from test_audit import stages
from test_restore import read

from calllog_guard.adapters.redis_keystore import RedisKeystore
from calllog_guard.stack.supervisor import Stack

pytestmark = pytest.mark.real
README = Path(__file__).parents[2] / "README.md"


def users(*, waitaof: bool) -> dict[str, list[str]]:
    """The rules of the README, by user."""
    rules = re.findall(r"^user (\w+) (.+)$", README.read_text(), re.MULTILINE)
    assert [name for name, _ in rules] == ["worker", "auditor"]
    return {name: [word for word in text.split() if waitaof or word != "+waitaof"] for name, text in rules}


def with_users(url: str, *, waitaof: bool) -> dict[str, str]:
    """Set the users up; their addresses."""
    with Redis.from_url(url) as client:
        for name, words in users(waitaof=waitaof).items():
            client.execute_command("ACL", "SETUSER", name, *words)
    return {name: url.replace("redis://", f"redis://{name}:PASSWORD@") for name in users(waitaof=waitaof)}


@pytest.fixture
def stack_of_ones_own(java: None, tmp_path: Path) -> Iterator[Stack]:  # noqa: ARG001
    """Users are a server's, not a database's."""
    with Stack(tmp_path / "stack") as stack:
        yield stack


def test_workers_do_their_work_as_the_users_of_the_readme(stack_of_ones_own: Stack, tmp_path: Path) -> None:
    urls = with_users(stack_of_ones_own.redis, waitaof=False)
    guard = Installation(stack_of_ones_own, tmp_path / "guard", KEYSTORE=stack_of_ones_own.redis)
    try:
        guard.environment["CALLLOG_GUARD_KEYSTORE"] = urls["worker"]
        for role in ("protector", "desk", "keeper"):
            guard.start(role)
        guard.start("auditor", KEYSTORE=urls["auditor"], WALK_S="1")
        guard.publish("calllog.events", [raw(event("c1", "alice@example.org", "bob@example.org"))])
        guard.settled(lambda: len(guard.live()) == 2, "both legs")
        assert read(guard) == 2
        guard.publish("privacy.requests", [signed(guard.directory, claims("acl-0001", "alice@example.org"))])
        guard.settled(lambda: "absent" in stages(guard, "acl-0001"), "absent")
        guard.settled(lambda: '"event": "walked"' in guard.log.read_text(), "the auditor walks")
        guard.cli("doctor")
        assert all(worker.poll() is None for worker in guard.workers), guard.log.read_text()[-2000:]
    finally:
        guard.stop()


async def test_they_are_enough_for_a_server_of_today_too(tmp_path: Path) -> None:
    with running(server := Lone(tmp_path, VALKEY)):
        for url in with_users(server.url, waitaof=True).values():
            store = RedisKeystore(url)
            await store.check()
            await store.put({b"clg:a": b"1", b"clg:b": b"2"})
            assert await store.swap({b"clg:a": (b"1", b"3")}, {b"clg:b": b"2"})
            assert await store.drop(b"clg:b", {b"clg:a": b"3"})
            assert (await store.origin([b"clg:a", b"clg:b"]))[1] == [b"3", None]
            await store.close()


@pytest.mark.parametrize("name", ["worker", "auditor"])
@pytest.mark.parametrize(
    "command",
    [
        *("KEYS *", "MONITOR", "DEBUG SLEEP 0", "CONFIG SET save 1", "SLOWLOG GET", "EVAL return(1) 0", "FLUSHALL"),
        *("SAVE", "BGSAVE", "SHUTDOWN", "REPLICAOF NO ONE", "ACL LIST", "DUMP clg:a", "SET other 1", "EXPIRE clg:a 1"),
    ],
)
def test_they_can_do_nothing_else(name: str, command: str, tmp_path: Path) -> None:
    with (
        running(server := Lone(tmp_path)),
        Redis.from_url(with_users(server.url, waitaof=False)[name]) as client,
        pytest.raises(NoPermissionError),
    ):
        client.execute_command(*command.split())


def test_only_the_auditor_may_list_entries(tmp_path: Path) -> None:
    with running(server := Lone(tmp_path)):
        urls = with_users(server.url, waitaof=False)
        with Redis.from_url(urls["auditor"]) as client:
            assert client.execute_command("SCAN", "0")
        with Redis.from_url(urls["worker"]) as client, pytest.raises(NoPermissionError):
            client.execute_command("SCAN", "0")
