"""A keystore from a backup brings nobody back: the ledger is replayed on it before any opening, sealing or mint."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from installation import Installation, event, raw
from kafka_tools import ends, handled
from patience import ended
from redis import Redis
from signing import claims, signed
from test_erase import erased

from calllog_guard.devstack.supervisor import Stack

pytestmark = pytest.mark.real


@pytest.fixture
def guard(struck: Stack, tmp_path: Path) -> Iterator[Installation]:
    """An installation whose keystore a test may put back."""
    made = Installation(struck, tmp_path / "guard")
    yield made
    made.forget()


def restore(guard: Installation, backup: Path) -> None:
    """Put the keystore's files of a backup in place of the present ones, under running workers."""
    guard.stack.stop_redis()
    shutil.rmtree(guard.stack.redis_dir)
    shutil.copytree(backup, guard.stack.redis_dir)
    guard.stack.start_redis()


def keys(guard: Installation) -> set[str]:
    """The pseudonyms that have a key entry."""
    with Redis.from_url(guard.environment["CALLLOG_GUARD_KEYSTORE"]) as redis:
        return {name.decode().rpartition(":")[2] for name in redis.keys("clg:iocom:key:*")}


def read(guard: Installation) -> int:
    """How many legs a reader can open."""
    return guard.cli("read", "--purpose", "service", "--actor", "support-1").count('"put"')


def test_a_restored_backup_brings_nobody_back(guard: Installation, tmp_path: Path) -> None:
    for role in ("protector", "desk", "keeper", "auditor"):
        guard.start(role)
    people = [f"p{n}@example.org" for n in range(20)]
    guard.publish("calllog.events", [raw(event(f"c{n}", person, "bob@example.org")) for n, person in enumerate(people)])
    guard.settled(lambda: len(guard.live()) == 40, "all legs")
    legs = [record for record in guard.records("calllog.legs") if record.value is not None]
    backup = tmp_path / "backup"
    shutil.copytree(guard.stack.redis_dir, backup)
    before = keys(guard)
    assert len(before) == 21
    for n, person in enumerate(people[:10]):
        guard.publish("privacy.requests", [signed(guard.directory, claims(f"restore-{n:03d}", person))])
    guard.settled(lambda: all(erased(guard, f"restore-{n:03d}") for n in range(10)), "ten are erased")
    guard.publish("calllog.events", [raw(event("young", "young@example.org"))])
    guard.settled(lambda: len(guard.live()) == 31, "someone younger than the backup")
    wanted = ends(guard, "calllog.legs")
    guard.settled(lambda: handled(guard, wanted, "keeper"), "keepers know of them: a replay counts whom it knows")
    gone = before - keys(guard)
    assert len(gone) == 10
    restore(guard, backup)
    assert before == keys(guard), "the control: the backup has them all"
    # what a thief or a replayed segment puts back: every leg as it was
    for record in legs:
        guard.publish("calllog.legs", [record.value], partition=record.partition, key=record.key)
    guard.settled(lambda: not gone & keys(guard), "the erased are erased again")
    guard.publish("calllog.events", [raw(event("late", people[0], "bob@example.org"))])
    guard.settled(lambda: len(guard.live()) == 32, "work goes on: bob's leg, and none of whom was erased")
    assert read(guard) == 31, "ten others, bob's eleven and his ten restored ones; the young person's leg opens no more"
    guard.said('"people_without_key": 1')
    assert all(worker.poll() is None for worker in guard.workers)


def test_nothing_is_opened_before_the_ledger_is_replayed(guard: Installation, tmp_path: Path) -> None:
    workers = [guard.start(role) for role in ("protector", "desk", "keeper")]
    guard.publish("calllog.events", [raw(event("c1", "alice@example.org", "bob@example.org"))])
    guard.settled(lambda: len(guard.live()) == 2, "both legs")
    assert read(guard) == 2
    backup = tmp_path / "backup"
    shutil.copytree(guard.stack.redis_dir, backup)
    for worker in workers:
        worker.terminate()
        ended(worker)
    assert sum(json.loads(guard.cli("keystore", "status", "--json"))["entries"].values()) == 4
    assert "0 re-wrapped" in guard.cli("keystore", "walk")
    guard.cli("keystore", "guard")
    restore(guard, backup)
    guard.cli("keystore", "guard", code=1)
    guard.cli("keystore", "walk", code=3)
    guard.cli("read", "--purpose", "service", "--actor", "support-1", code=3)
    guard.start("protector")
    guard.publish("calllog.events", [raw(event("c2", "carol@example.org"))])
    guard.said("waits until keepers")
    assert len(guard.live()) == 2
    guard.start("keeper")
    guard.settled(lambda: len(guard.live()) == 3, "work goes on")
    assert read(guard) == 3
