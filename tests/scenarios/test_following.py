"""What a follower is told so that its table stays true: on fakes."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from reading_world import KEEP_MS, LEDGER, POLICY, Table, World

from calllog_guard.adapters.memory.fakes import MemoryLogReader
from calllog_guard.adapters.sqlite_cursor import SqliteCursor
from calllog_guard.core.calls.view import Remove, Reset
from calllog_guard.core.crypto.entries import secrets_key
from calllog_guard.core.identifiers import Tenant
from calllog_guard.errors import ConfigurationError, KeystoreSilentError, LogRefusedError, StateRefusedError
from calllog_guard.ports.log import Place
from calllog_guard.workers.reader import follower_position as progress

"""What never becomes true is a failure, and a mutant's end."""


class Job:
    """A follower and its table; a new one on the same cursor is the next start of the same job."""

    def __init__(self, world: World, table: Table, **changes: Any) -> None:
        self.world, self.table = world, table
        self.reading = world.reading("billing")
        self.cursor = SqliteCursor(world.folder / "cursor")
        self.batches = world.following(self.reading, self.cursor, **changes).batches()
        self._asked: Any = None

    async def until(self, condition: Callable[[], bool]) -> None:
        """Take batches until a condition holds; one that never holds is the test's time limit."""
        while not condition():
            self._asked = self._asked or asyncio.ensure_future(anext(self.batches))
            done, _ = await asyncio.wait([self._asked], timeout=0.02)
            if done:
                asked, self._asked = self._asked, None
                self.table.apply(await asked)

    async def ends(self) -> None:
        """As a crash ends it: what was taken last counts as not taken."""
        if self._asked is not None:
            self._asked.cancel()
            await asyncio.wait([self._asked])
        await self.batches.aclose()
        self.cursor.close()


@pytest.fixture
async def world(tmp_path: Path) -> World:
    """A log in which alice and bob are hosts of two calls each."""
    made = World(tmp_path)
    await made.ring.guard.open_at_once(2)
    for who in ("alice", "bob"):
        for call in ("c1", "c2"):
            await made.leg(who, call + who)
    return made


@asynccontextmanager
async def running(world: World, table: Table, **changes: Any) -> AsyncIterator[Job]:
    """A job for the length of a block."""
    job = Job(world, table, **changes)
    try:
        yield job
    finally:
        await job.ends()


def calls(table: Table) -> int:
    """How many rows the table has."""
    return len(table.rows)


async def test_a_new_follower_starts_its_table_over_and_takes_what_comes(world: World) -> None:
    table = Table()
    async with running(world, table) as job:
        await job.until(lambda: calls(table) == 4)
        assert table.lines[0] == Reset()
        key = await world.leg("alice", "c3")
        await job.until(lambda: calls(table) == 5)
        await world.removes(key)
        await job.until(lambda: calls(table) == 4)


class Ids:
    """Kafka's ids of the topics that are followed."""

    def __init__(self) -> None:
        self.text = "first"

    async def __call__(self, _: Sequence[str]) -> str:
        """As they are now."""
        return self.text


async def test_topics_that_were_made_anew_are_followed_from_their_beginning(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the old offsets others' records lie: deleted rows would stay for ever, and new ones would be skipped."""
    monkeypatch.setattr(progress, "_IDENTIFY_S", 0.0)
    table, ids = Table(), Ids()
    async with running(world, table, ids=ids, lap_s=0.01) as job:
        await job.until(lambda: calls(table) == 4)
        ids.text = "second"
        await job.until(lambda: table.lines.count(Reset()) == 2 and calls(table) == 4)
    ids.text = "third"  # while nobody follows
    async with running(world, table, ids=ids) as job:
        await job.until(lambda: table.lines.count(Reset()) == 3 and calls(table) == 4)
    async with running(world, table, ids=ids) as job:
        await world.leg("bob", "c9")
        await job.until(lambda: calls(table) == 5)
    assert table.lines.count(Reset()) == 3


async def test_a_cursor_of_an_earlier_release_goes_on(world: World) -> None:
    """It knows no ids: a table of millions of rows is not started over for that."""
    table = Table()
    async with running(world, table) as job:
        await job.until(lambda: calls(table) == 4)
    async with running(world, table, ids=Ids()) as job:
        await world.leg("bob", "c9")
        await job.until(lambda: calls(table) == 5)
    assert table.lines.count(Reset()) == 1


async def test_a_corrected_leg_replaces_what_its_token_stood_for(world: World) -> None:
    table = Table()
    async with running(world, table) as job:
        await job.until(lambda: calls(table) == 4)
        before = dict(table.rows)
        key = await world.leg("alice", "c1alice", day="2026-11-21")
        token = key.decode().partition(".")[2]
        await job.until(lambda: table.rows[token].started_at == "2026-11-21T10:00:00Z")
        assert {name: row for name, row in table.rows.items() if name != token} == {
            name: row for name, row in before.items() if name != token
        }


async def test_a_restriction_removes_and_its_lift_puts_again(world: World) -> None:
    """No record of the leg itself comes: the ledger says whom to look at, the keystore what has changed."""
    table = Table()
    async with running(world, table) as job:
        await job.until(lambda: calls(table) == 4)
        before = dict(table.rows)
        for flags in ({"restricted": True}, {"objected": 2}, {"withdrawn": 2}):
            await world.decides(await world.name("alice"))
            await world.sets("alice", **flags)
            await job.until(lambda: calls(table) == 2)
            assert {line.token for line in table.lines[-2:] if isinstance(line, Remove)} == set(before) - set(
                table.rows
            )
            await world.decides(await world.name("alice"))
            await world.sets("alice", **dict.fromkeys(flags, 0))
            await job.until(lambda: calls(table) == 4)
            assert table.rows == before


async def test_an_effect_that_comes_after_its_decision_is_noticed(world: World) -> None:
    """The desk writes the ledger first; a reader that looked once, in between, would miss the fence."""
    table = Table()
    async with running(world, table) as job:
        await job.until(lambda: calls(table) == 4)
        await world.decides(await world.name("alice"))
        offset = len(world.told)
        key = await world.leg("bob", "c9")
        await job.until(lambda: calls(table) == 5)
        await world.removes(key)
        await job.until(lambda: calls(table) == 4)
        await world.ring.fence(world.lookup("alice"), 1)
        await job.until(lambda: calls(table) == 2)
        assert len(world.told) == offset


async def test_a_change_that_no_ledger_tells_of_is_found_by_looking_at_everyone(world: World) -> None:
    table = Table()
    async with running(world, table, round_s=0.05) as job:
        await job.until(lambda: calls(table) == 4)
        await world.sets("alice", restricted=True)
        await job.until(lambda: calls(table) == 2)


class _Discreet(MemoryLogReader):
    """Shows a reader nothing of the ledger."""

    async def bounds(self, places: Sequence[Place]) -> dict[Place, tuple[int, int]]:
        """See LogReader."""
        if any(topic == LEDGER for topic, _ in places):
            raise LogRefusedError("no right")
        return await super().bounds(places)


async def test_without_a_right_to_the_ledger_a_new_standing_is_seen_at_the_next_round(world: World) -> None:
    """The ledger tells of secret holds: who may not know of them follows without it."""
    table, world.reads = Table(), _Discreet(world.log)
    async with running(world, table, ledger=None, round_s=0.05) as job:
        await job.until(lambda: calls(table) == 4)
        await world.sets("alice", restricted=True)
        await job.until(lambda: calls(table) == 2)
        await world.sets("alice", restricted=False)
        await job.until(lambda: calls(table) == 4)
        mark = job.cursor.bookmark()
        assert mark is not None
        assert set(mark.offsets) == {"calllog.legs"}


async def test_an_erased_persons_legs_go_and_come_back_no_more(world: World) -> None:
    table = Table()
    async with running(world, table) as job:
        await job.until(lambda: calls(table) == 4)
        name = await world.erases("alice")
        await job.until(lambda: calls(table) == 2)
        await world.leg("bob", "c9")
        await job.until(lambda: calls(table) == 3)
        assert job.cursor.of([name]) == [], "the cursor remembers nobody"


async def test_what_changed_while_nobody_followed_is_caught_up_with(world: World) -> None:
    """Also when the record that told of it was read before the crash, and its effect came after."""
    table = Table()
    async with running(world, table) as job:
        await job.until(lambda: calls(table) == 4)
        await job.until(lambda: job.cursor.bookmark() is not None)
    await world.sets("alice", restricted=True)
    await world.leg("bob", "c7")
    async with running(world, table) as job:
        await job.until(lambda: calls(table) == 3)
    assert table.lines.count(Reset()) == 1
    await world.sets("alice", restricted=False)
    async with running(world, table) as job:
        await job.until(lambda: calls(table) == 5)
    assert table.lines.count(Reset()) == 1


async def test_a_batch_that_was_not_taken_comes_again(world: World) -> None:
    """A job that dies with a batch in its hands gets it again, if it may still be seen, or is told to remove it."""
    table = Table()
    async with running(world, table) as job:
        await job.until(lambda: calls(table) == 4)
    lost = Table()
    async with running(world, lost) as job:
        await job.until(lambda: calls(lost) == 4)
    await world.sets("alice", restricted=True)
    async with running(world, table) as job:
        await job.until(lambda: calls(table) == 2)


async def test_a_removal_that_was_taken_and_not_noted_is_taken_back_when_its_reason_has_ended(world: World) -> None:
    """The job stored the batch and died before it asked for the next; meanwhile the restriction was lifted."""
    table = Table()
    async with running(world, table) as job:
        await job.until(lambda: calls(table) == 4)
        await world.leg("bob", "c3")
        await job.until(lambda: calls(table) == 5)
        await world.decides(await world.name("alice"))
        await world.sets("alice", restricted=True)
        await job.until(lambda: calls(table) == 3)
    await world.sets("alice", restricted=False)
    async with running(world, table) as job:
        await job.until(lambda: calls(table) == 5)


async def test_what_was_put_again_and_not_taken_is_put_once_more(world: World) -> None:
    await world.sets("alice", restricted=True)
    table, lost = Table(), Table()
    async with running(world, table) as job:
        await job.until(lambda: calls(table) == 2)
        await world.leg("bob", "c3")
        await job.until(lambda: calls(table) == 3)
        await world.sets("alice", restricted=False)
        await world.decides(await world.name("alice"))
        job.table = lost
        await job.until(lambda: calls(lost) == 2)
    async with running(world, table) as job:
        await job.until(lambda: calls(table) == 5)


@pytest.mark.slow
async def test_silence_removes_nothing_and_work_goes_on(world: World) -> None:
    table = Table()
    async with running(world, table) as job:
        await job.until(lambda: calls(table) == 4)
        many = len(table.lines)
        for place in (world.keystore, world.reads):
            place.silent = True
            world.told.clear()
            await job.until(lambda: len(world.told) > 2)
            assert "nothing is removed" in world.told[0]
            place.silent = False
        assert table.lines[many:] == []
        await world.leg("bob", "c8")
        await job.until(lambda: calls(table) == 5)
        assert Reset() not in table.lines[1:]


async def test_silence_that_does_not_end_is_an_error(world: World) -> None:
    table = Table()
    world.retry_max_s = 0.2
    async with running(world, table) as job:
        await job.until(lambda: calls(table) == 4)
        world.keystore.silent = True
        with pytest.raises(KeystoreSilentError):
            await job.until(lambda: False)
        assert calls(table) == 4


async def test_a_lost_key_removes_nothing(world: World) -> None:
    table = Table()
    name = await world.name("alice")
    async with running(world, table) as job:
        await job.until(lambda: calls(table) == 4)
    del world.keystore.entries[secrets_key(Tenant("iocom"), name)]
    async with running(world, table) as job:
        for many in (5, 6):  # the second after everyone was looked at
            await world.leg("bob", f"c{many}")
            await job.until(lambda many=many: calls(table) == many)  # type: ignore[misc]


async def test_legs_lapse_by_the_calendar(world: World) -> None:
    """Nothing is written anywhere on that day; the leg lives on for another purpose."""
    table = Table()
    async with running(world, table, keep_ms=KEEP_MS * 1000) as job:
        await world.leg("bob", "young", day="2026-11-23")
        await job.until(lambda: calls(table) == 5)
        world.clock.at += timedelta(days=27)
        await job.until(lambda: calls(table) == 1)
        world.clock.at += timedelta(days=3)
        await job.until(lambda: calls(table) == 0)


async def test_a_period_that_is_shortened_removes(world: World) -> None:
    table = Table()
    async with running(world, table) as job:
        await job.until(lambda: calls(table) == 4)
    world.policy = world.written(POLICY.replace("P30D", "P3D"))
    async with running(world, table) as job:
        await job.until(lambda: calls(table) == 0)


async def test_other_fields_start_the_table_over(world: World) -> None:
    """What the purpose lists no more must leave the table."""
    table = Table()
    async with running(world, table) as job:
        await job.until(lambda: calls(table) == 4)
    text = POLICY.replace('outcomes = ["answered"] }', 'outcomes = ["answered"] }\nshows = ["role"]')
    world.policy = world.written(text)
    async with running(world, table) as job:
        await job.until(lambda: table.lines.count(Reset()) == 2 and calls(table) == 4)
    assert all(not row.started_at for row in table.rows.values())


async def test_an_actor_who_loses_the_purpose_gets_nothing_more(world: World) -> None:
    table = Table()
    async with running(world, table) as job:
        await job.until(lambda: calls(table) == 4)
        world.policy = world.written(POLICY.replace('"service", "billing", "offers"', '"service"'))
        job.reading._policy = world.policy
        with pytest.raises(StateRefusedError):
            await job.until(lambda: False)


async def test_a_purpose_that_the_policy_drops_is_followed_no_more(world: World) -> None:
    """Not a mistake of whoever asks, who would leave the table as it is: nothing may be kept for it any more."""
    table = Table()
    async with running(world, table) as job:
        await job.until(lambda: calls(table) == 4)
        dropped = POLICY.split("[version.tenant.iocom.purposes.billing]")
        without = dropped[0] + "[version.tenant.iocom.purposes.offers]" + dropped[1].partition("purposes.offers]")[2]
        without = without.replace('["billing"]', '["service"]').replace('"service", "billing", "offers"', '"service"')
        world.policy = world.written(POLICY + without.replace("2026-01-01", "2026-11-24"))
        job.reading._policy = world.policy
        with pytest.raises(StateRefusedError, match="has no purpose billing"):
            await job.until(lambda: False)
    with pytest.raises(StateRefusedError, match="has no purpose billing"):
        world.reading("billing").right()


async def test_a_leg_whose_key_was_missing_comes_once_it_is_found(world: World) -> None:
    key = secrets_key(Tenant("iocom"), await world.name("alice"))
    table, entry = Table(), world.keystore.entries.pop(key)
    async with running(world, table, round_s=0.02) as job:
        await job.until(lambda: calls(table) == 2)
        world.keystore.entries[key] = entry
        await job.until(lambda: calls(table) == 4)


async def test_who_slept_longer_than_tombstones_live_starts_over(world: World) -> None:
    """A tombstone may have come and gone: only from empty is the table true."""
    table = Table()
    async with running(world, table) as job:
        key = await world.leg("alice", "c3")
        await job.until(lambda: calls(table) == 5)
    world.log.outputs = [each for each in world.log.outputs if each.key != key]
    world.clock.at += timedelta(milliseconds=KEEP_MS // 2 + 2000)
    async with running(world, table) as job:
        await job.until(lambda: table.lines.count(Reset()) == 2 and calls(table) == 4)
        world.clock.at += timedelta(milliseconds=KEEP_MS)
        await job.until(lambda: table.lines.count(Reset()) == 3 and calls(table) == 4)


async def test_a_follower_that_is_late_does_not_empty_its_table_while_the_keystore_is_silent(world: World) -> None:
    table = Table()
    async with running(world, table) as job:
        await job.until(lambda: calls(table) == 4)
    world.clock.at += timedelta(milliseconds=KEEP_MS)
    world.keystore.silent = True
    async with running(world, table) as job:
        await job.until(lambda: len(world.told) > 2)
        assert calls(table) == 4
        world.keystore.silent = False
        await job.until(lambda: table.lines.count(Reset()) == 2 and calls(table) == 4)


async def test_a_log_whose_beginning_has_overtaken_the_cursor_is_read_anew(world: World) -> None:
    table = Table()
    async with running(world, table) as job:
        await job.until(lambda: calls(table) == 4)
    for place in (("calllog.legs", 0), ("calllog.legs", 1)):
        await world.leg("alice", "late")
        world.reads.first[place] = (await world.reads.bounds([place]))[place][1]
    async with running(world, table) as job:
        await job.until(lambda: table.lines.count(Reset()) == 2)


async def test_a_cursor_of_another_purpose_is_refused(world: World) -> None:
    async with running(world, Table()) as job:
        await job.until(lambda: calls(job.table) == 4)
    cursor = SqliteCursor(world.folder / "cursor")
    with pytest.raises(ConfigurationError, match="name another file for service"):
        await anext(world.following(world.reading("service"), cursor).batches())
    with pytest.raises(ConfigurationError, match="another reader"):
        SqliteCursor(world.folder / "cursor")
    cursor.close()


async def test_a_file_that_is_no_cursor_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("not a database, and longer than a header " * 100)
    with pytest.raises(ConfigurationError, match="no cursor"):
        SqliteCursor(tmp_path / "notes")
