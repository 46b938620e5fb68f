"""The index of accesses finds what a reading of all would find, and survives a restart without rereading them."""

import dataclasses
import random
import secrets
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from guard_world import GuardWorld
from test_access import answer
from test_actors import ACCESS, LATER, PROVING, access, counted, written
from test_recipients import ALICE, called

from calllog_guard.adapters.memory.log import MemoryRows
from calllog_guard.adapters.rocksdb.rows import RocksRows
from calllog_guard.core.answers.readers import LegOffsets, Opening, opened_by, which_of
from calllog_guard.core.audit.accesses import Account
from calllog_guard.core.codec import Access
from calllog_guard.core.records import Output
from calllog_guard.core.stream.offsets import pack
from calllog_guard.metrics import Counters
from calllog_guard.ports.state import Rows
from calllog_guard.workers.keeper.enforcement.access_index import AccessIndex
from calllog_guard.workers.keeper.enforcement.readership import Readership

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
Open = Callable[[Path], Rows]


@pytest.fixture(params=["memory", "rocksdb"])
def open_rows(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Rows]:
    """Both kinds of rows, which outlive whoever opened them."""
    kept = MemoryRows()
    return (lambda: kept) if request.param == "memory" else lambda: RocksRows(tmp_path / "rows")


def some(rng: random.Random) -> Access:
    """Any access that a reader may have written, of any release."""
    start = rng.randrange(0, 9000)
    offsets = sorted(rng.sample(range(start, start + 1500), rng.randrange(0, 200)))
    offsets = list(range(start, start + 1500)) if rng.random() < 0.1 else offsets
    which: Any = pack(offsets, start) if rng.random() < 0.9 else msgspec.UNSET
    return Access(
        v=1, actor=rng.choice(["a-1", "b-1"]), purpose=rng.choice(["billing", "service"]), case=None,
        topic="calllog.legs",
        partition=0, from_=start, to=start + 1499, opened=len(offsets), refused={}, which=which,
        at=NOW - timedelta(days=rng.randrange(0, 200), seconds=rng.randrange(0, 80_000)),
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.slow
def test_it_finds_what_a_reading_of_everything_finds(open_rows: Callable[[], Rows], seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311 - no secret
    accounts = [Account(some(rng), proven=rng.random() < 0.5, name=secrets.token_bytes(16)) for _ in range(120)]
    index = AccessIndex(open_rows, "these", NOW)
    for offset, account in enumerate(accounts):
        index.add(offset % 3, offset, account)
        index.commit(offset % 3, offset + 1)
    index.close()
    index = AccessIndex(open_rows, "these", NOW)
    for _ in range(10):
        days = {rng.randrange(0, 11_000): date(2026, 11, 24) - timedelta(rng.randrange(0, 300)) for _ in range(30)}
        whole = [
            Opening(each.actor, each.purpose, proven, each.at, each.to, None if which is None else which & days.keys())
            for each, proven, _ in accounts
            if each.opened
            for which in [which_of(each)]
        ]
        assert opened_by(index.openings(days), LegOffsets(days), asked=True) == opened_by(
            whole, LegOffsets(days), asked=True
        )
    assert all(index.has(each.name) for each in accounts)
    index.close()


@pytest.mark.parametrize("head", [b"", b"\xff", b"\xc0", b"\x81\xa2of\x07"])
def test_a_head_of_another_release_is_made_anew(open_rows: Callable[[], Rows], head: bytes) -> None:
    rows = open_rows()
    rows.write({b"p": head, b"c" + b"n" * 16: b""})
    rows.close()
    index = AccessIndex(open_rows, "these", NOW)
    assert (index.head.next, index.has(b"n" * 16)) == ({}, False)
    index.close()


@pytest.mark.parametrize("why", ["other keys", "a month"])
def test_it_is_made_anew_of_other_keys_and_after_a_month(open_rows: Callable[[], Rows], why: str) -> None:
    """What was believed may not be any more; what the topic has forgotten it forgets, too."""
    index = AccessIndex(open_rows, "these", NOW)
    index.add(0, 0, Account(some(random.Random(1)), proven=True, name=b"n" * 16))  # noqa: S311
    index.commit(0, 1)
    index.close()
    of, now = ("those", NOW) if why == "other keys" else ("these", NOW + timedelta(31))
    index = AccessIndex(open_rows, of, now)
    assert (index.head.next, index.has(b"n" * 16)) == ({}, False)
    index.close()


async def test_a_restart_reads_no_access_again(tmp_path: Path) -> None:
    """A count of records that the topic handed out."""
    world = await GuardWorld(tmp_path, PROVING).start()
    places = await called(world, "c1", ALICE)
    world.clock.at = LATER
    for number in range(200):
        await written(world, access(world, places, at=LATER + timedelta(seconds=number)))
    read = counted(world)
    await world.restart()
    first = (await answer(world, "access-01", ALICE)).about.opened_by
    assert (read[ACCESS], [each.records for each in first]) == (200, [1])
    await world.restart()
    assert (await answer(world, "access-02", ALICE)).about.opened_by == first
    assert read[ACCESS] == 200, "the index survived"
    world.clock.at += timedelta(days=1)
    await written(world, access(world, places))
    assert (await answer(world, "access-03", ALICE)).about.opened_by[0].days == 2
    assert read[ACCESS] == 201, "what is new, and no more"
    await world.restart(rebuild=True)
    assert (await answer(world, "access-04", ALICE)).about.opened_by[0].days == 2
    assert read[ACCESS] == 402, "it is lost, and made anew"


async def test_a_copy_behind_a_restart_counts_once(tmp_path: Path) -> None:
    world = await GuardWorld(tmp_path, PROVING).start()
    places = await called(world, "c1", ALICE)
    world.clock.at = LATER
    value = await written(world, access(world, places))
    assert (await answer(world, "access-01", ALICE)).about.unproven is msgspec.UNSET
    await world.restart()

    await world.log.write([Output(ACCESS, 0, b"billing-1", value)])
    assert (await answer(world, "access-02", ALICE)).about.unproven == 1
    assert world.counts[Counters.access_unproven["replayed"]] == 1


async def test_nobody_stands_in_it(tmp_path: Path) -> None:
    world = await GuardWorld(tmp_path, PROVING).start()
    places = await called(world, "c1", ALICE)
    world.clock.at = LATER
    await written(world, access(world, places))
    await written(world, access(world, places), None)
    await answer(world, "access-01", ALICE)
    names = {
        record.key.partition(b".")[0]
        for lane in world.log.records.values()
        for record in lane
        if record.key and b"." in record.key
    }
    kept = b"\0".join(key + b"\0" + value for rows in world.rows.values() for key, value in rows.rows.items())
    assert kept
    assert b"canary" not in kept
    assert not any(name in kept for name in names), "nor a pseudonym"


@pytest.mark.parametrize("how", ["given away", "left", "closed"])
async def test_a_rebalance_while_accesses_are_read_stops_no_keeper(tmp_path: Path, how: str) -> None:
    """The duty that follows them is no unit: nobody waits for it before partitions go."""
    world = await GuardWorld(tmp_path, PROVING).start()
    places = await called(world, "c1", ALICE)
    world.clock.at = LATER
    await written(world, access(world, places))
    await world.restart()
    keeper, tail, done = world.keeper, world.log.tail, list[str]()

    async def given(topic: str, partition: int, start: int, most: int) -> Any:
        if topic == ACCESS and not done:
            done.append(topic)
            if how == "given away":
                await keeper.assigned([])
            elif how == "left":
                await keeper.revoked(range(4))
            else:
                keeper.close()
        return await tail(topic, partition, start, most)

    two = dataclasses.replace(world.settings, partitions=8)  # of accesses, so that one is still to be read
    world.log.tail = given  # type: ignore[method-assign]
    readership = Readership(dataclasses.replace(keeper._t, settings=two))
    keeper._enforcer.readership = readership
    readership.assigned(range(4))
    await readership.follow()
    for place, offset in (await keeper.assigned(list(range(4)))).items():
        world.positions["keeper", place.topic, place.partition] = offset
    await readership.follow()
    assert (await answer(world, "access-01", ALICE)).about.opened_by[0].records == 1
