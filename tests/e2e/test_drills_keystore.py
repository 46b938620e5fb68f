"""
Drills of the keystore: after restore, promotion, replay or thaw nobody erased is opened again; full disks stop work.

`make drills` erases 1,000 people (DRILL_ERASURES); the usual run a few.
"""

import os
import resource
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import ahocorasick_rs
import pytest
from installation import Installation, event, raw
from redis import Redis
from redises import Lone, Switch, from_snapshot, replicates, running
from signing import claims, signed
from test_erase import cases, erased
from test_restore import keys, read, restore

from calllog_guard.core.records import Output
from calllog_guard.devstack.supervisor import Child, Stack

pytestmark = [pytest.mark.real, pytest.mark.long]
MANY = int(os.environ.get("DRILL_ERASURES", "20"))
LIVING = 10
PATIENCE_S = 400 + MANY / 4


def port(stack: Stack) -> int:
    """Of the stack's Redis."""
    return int(stack.redis.rpartition(":")[2].partition("/")[0])


class Drill:
    """An installation behind an address that can be led to another Redis."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.stack, self.master = stack, port(stack)
        self.switch = Switch(self.master)
        # no heartbeat helps: what is noticed is noticed without
        self.guard = Installation(stack, folder / "guard", KEYSTORE=self.switch.url, HEARTBEAT_S="3600")
        self.opened_in_the_end = LIVING + 1
        self.gone: set[str] = set()
        self.legs: list[Any] = []

    def until(self, what: str, condition: object) -> None:
        """Wait, long enough for many."""
        assert callable(condition)
        began = time.monotonic()
        self.guard.settled(lambda: bool(condition()), what, seconds=PATIENCE_S)
        print(f"{what}: {time.monotonic() - began:.1f} s")  # noqa: T201

    def erase(self, name: str, *people: str) -> None:
        """Ask for erasures, and wait until every one is tombstoned."""
        guard, names = self.guard, {f"{name}-{n:05d}" for n in range(len(people))}
        requests = [signed(guard.directory, claims(each, who)) for each, who in zip(sorted(names), people, strict=True)]
        guard.publish("privacy.requests", requests)
        self.until(
            f"{name}: {len(people)} tombstoned",
            lambda: (
                sum("tombstoned" in case["stages"] for jti, case in cases(guard).items() if jti in names) == len(people)
            ),
        )

    def put_back(self, name: str, records: list[Any]) -> None:
        """Append records as they were, each in its partition."""
        topic = self.guard.topic(name)
        self.guard.write([Output(topic, each.partition, each.key, each.value) for each in records])

    def nobody_is_back(self, after: str) -> None:
        """Every leg that there ever was is put back, and none of the erased opens."""
        self.put_back("calllog.legs", self.legs)
        self.until(f"{after}: the erased have no key", lambda: not self.gone & keys(self.guard))
        self.until(
            f"{after}: the guard is down",
            lambda: '"waiting": []' in self.guard.cli("keystore", "guard", "--json", code=None),
        )
        assert read(self.guard) == self.opened_in_the_end, after


@pytest.fixture
def drill(java: None, tmp_path: Path) -> Iterator[Drill]:  # noqa: ARG001
    """See Drill."""
    with Stack(tmp_path / "stack") as stack:
        made = Drill(stack, tmp_path)
        yield made
        made.guard.stop()
        made.switch.close()


def holding(folder: Path, values: set[bytes]) -> list[str]:
    """Files of a folder in which any of some values lies."""
    found, automaton = [], ahocorasick_rs.BytesAhoCorasick(list(values))
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        with suppress(FileNotFoundError):  # deleted while we looked
            if automaton.find_matches_as_indexes(path.read_bytes()):
                found.append(path.name)
    return found


@contextmanager
def copied(drill: Drill, folder: Path) -> Iterator[tuple[Lone, dict[bytes, bytes]]]:
    """Copies of now: `files`, a `snapshot`, and a replica that hears no more, given with its key entries."""
    shutil.copytree(drill.stack.redis_dir, folder / "files")
    stale, camera, master = Lone(folder / "stale"), Lone(folder / "camera"), Lone(folder / "master")
    master.port = drill.master
    with running(stale), running(camera):
        for server in (stale, camera):
            with Redis.from_url(server.url) as client:
                replicates(client, master)
                client.replicaof("NO", "ONE")
        with Redis.from_url(camera.url) as client:
            client.save()
            entries = {name: client.get(name) or b"" for name in client.keys("clg:iocom:key:*")}
        from_snapshot((camera.directory / "dump.rdb").read_bytes(), folder / "snapshot")
        yield stale, entries


@pytest.mark.timeout(1800 + 4 * MANY)
def test_nobody_comes_back_with_a_copy_a_stale_replica_an_old_ledger_or_a_frozen_worker(
    drill: Drill, tmp_path: Path
) -> None:
    guard, stack = drill.guard, drill.stack
    frozen = guard.start("protector")
    for role in ("protector", "desk", "keeper", "auditor"):
        guard.start(role)
    people, living = [f"gone-{n}@x.org" for n in range(MANY)], [f"lives-{n}@x.org" for n in range(LIVING)]
    for part in range(guard.partitions):
        calls = [raw(event(f"c-{who}", who)) for who in [*people, *living, "back@x.org"][part :: guard.partitions]]
        guard.publish("calllog.events", calls, partition=part)
    drill.until("all legs", lambda: len(guard.live()) == MANY + LIVING + 1)
    drill.erase("first", "back@x.org")
    guard.publish("calllog.events", [raw(event("again", "back@x.org", minutes_ago=0))])
    drill.until("someone returned", lambda: len(guard.live()) == MANY + LIVING + 1)
    drill.legs = [each for each in guard.records("calllog.legs") if each.value]
    with copied(drill, tmp_path) as (stale, before):
        frozen.send_signal(signal.SIGSTOP)
        drill.erase("many", *people)
        drill.gone = {name.decode().rpartition(":")[2] for name in before} - keys(guard)
        assert len(drill.gone) == MANY
        wrapped = {value for name, value in before.items() if name.decode().rpartition(":")[2] in drill.gone}
        ledger = [each for each in guard.records("privacy.decisions") if each.value]
        drill.nobody_is_back("erased")
        with Redis.from_url(stack.redis) as client:
            replicates(client, stale)
            client.replicaof("NO", "ONE")
        drill.nobody_is_back("an older content in the same process")
        for name in ("files", "snapshot"):
            restore(guard, tmp_path / name)
            drill.nobody_is_back(f"{name} restored")
        drill.switch.to(stale.port)
        drill.nobody_is_back("a stale replica promoted")
        # erased on the promoted one alone; the old master, whose run and marks are as they were, knows nothing of it
        drill.erase("late", living[0])
        drill.opened_in_the_end -= 1
        drill.gone |= {name.decode().rpartition(":")[2] for name in before} - keys(guard) - drill.gone
        drill.until("no entry of the erased in a file of the promoted", lambda: not holding(stale.directory, wrapped))
        drill.switch.to(drill.master)
        drill.nobody_is_back("back to the old master")
        drill.put_back("privacy.decisions", ledger)
        drill.nobody_is_back("the old ledger once more")
        frozen.send_signal(signal.SIGCONT)
        guard.publish("calllog.events", [raw(event("last", living[1]))])
        drill.opened_in_the_end += 1
        drill.until("work goes on", lambda: len(guard.live()) == drill.opened_in_the_end)
        drill.nobody_is_back("thawed")
    for folder in (stack.redis_dir, Path(stack.broker_log_dir)):
        drill.until(f"no entry of the erased in a file of {folder.name}", lambda at=folder: not holding(at, wrapped))
    assert holding(tmp_path / "files", wrapped), "the control: the copy has them"
    assert all(worker.poll() is None for worker in guard.workers), guard.log.read_text()[-2000:]


@pytest.fixture
def narrow(java: None, tmp_path: Path) -> Iterator[Installation]:  # noqa: ARG001
    """An installation whose Redis can run out of disk and memory."""
    stack = Stack(tmp_path / "stack")
    server = Lone(stack.redis_dir)
    server.port = port(stack)
    stack.children["redis"] = Child(server)
    with stack:
        guard = Installation(stack, tmp_path / "guard", KEYSTORE=stack.redis)
        for role in ("protector", "desk", "keeper", "auditor"):
            guard.start(role)
        guard.publish("calllog.events", [raw(event(f"a{n}", f"p{n}@x.org")) for n in range(20)])
        guard.settled(lambda: len(guard.live()) == 20, "the first legs")
        yield guard
        guard.stop()


def more(guard: Installation) -> None:
    """New people, and an erasure."""
    guard.publish("calllog.events", [raw(event(f"b{n}", f"q{n}@x.org")) for n in range(100)])
    guard.publish("privacy.requests", [signed(guard.directory, claims("full-0001", "p1@x.org"))])


def all_is_well(guard: Installation) -> None:
    """Everything was taken up again, and whatever was sealed has a key that was kept."""
    guard.settled(lambda: erased(guard, "full-0001"), "erased")
    guard.settled(lambda: len(guard.live()) == 119, "everybody's leg")
    assert {key.decode().partition(".")[0] for key in guard.live()} == keys(guard)
    assert read(guard) == 119
    assert all(worker.poll() is None for worker in guard.workers), guard.log.read_text()[-2000:]


def test_a_full_disk_stops_the_work_and_nothing_is_sealed_under_an_unconfirmed_key(narrow: Installation) -> None:
    redis = narrow.stack.children["redis"]
    assert redis.pid is not None
    size = sum(path.stat().st_size for path in narrow.stack.redis_dir.glob("*.aof"))
    resource.prlimit(redis.pid, resource.RLIMIT_FSIZE, (size + 3000, resource.RLIM_INFINITY))
    more(narrow)
    narrow.settled(lambda: redis.died, "Redis would rather end than answer for what is not on its disk")
    time.sleep(1)
    kept = b"".join(path.read_bytes() for path in narrow.stack.redis_dir.glob("*.aof"))
    assert len(narrow.live()) < 100, "the control: not everybody's key had room"
    for key in narrow.live():
        assert b"clg:iocom:key:" + key.partition(b".")[0] in kept, "a leg was sealed under a key that is on no disk"
    narrow.stack.start_redis()
    all_is_well(narrow)


def test_full_memory_stops_the_work_and_nothing_is_sealed_under_an_unconfirmed_key(narrow: Installation) -> None:
    with Redis.from_url(narrow.stack.redis) as client:
        client.config_set("maxmemory", client.info("memory")["used_memory"] // 2)
        more(narrow)
        narrow.settled(lambda: "(OutOfMemoryError)" in narrow.log.read_text(), "the workers wait")
        time.sleep(2)
        assert len(narrow.live()) == 20
        assert not erased(narrow, "full-0001")
        client.config_set("maxmemory", 0)
    all_is_well(narrow)
