"""A table that follows keeps what law obliges the company to keep, nothing else: workers and followers on fakes."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from downstream import Downstream, plain, readings
from guard_world import PARTITIONS, POLICY, TENANT, Crash, GuardWorld
from sizes import EACH_WRITE

from calllog_guard.adapters.memory.fakes import MemoryLogReader
from calllog_guard.adapters.sqlite_cursor import SqliteCursor
from calllog_guard.core.calls.view import Put, Reset
from calllog_guard.core.crypto.held_envelope import HeldHeader
from calllog_guard.core.crypto.leg_envelope import parse_header, seal_leg
from calllog_guard.core.crypto.subject_secrets import DataKey
from calllog_guard.core.decisions.hold import kept_id
from calllog_guard.core.identifiers import Pseudonym, partition_of
from calllog_guard.core.records import Output, tombstone
from calllog_guard.errors import KeystoreGuardedError
from calllog_guard.ports.state import Bookmark, Shown, ShownLeg
from calllog_guard.workers.reader.once import snapshot

BOTH = POLICY.replace('purposes = ["billing"]', 'purposes = ["billing", "service"]')
HELD = "calllog.held"


async def filled(folder: Path, policy: str = BOTH) -> GuardWorld:
    """Two hosts with two calls each, and guests."""
    world = await GuardWorld(folder, policy).start()
    for days in (10, 50):
        await world.call(f"b{days}", "bob", "guest", days_ago=days)
        await world.call(f"c{days}", "carol", "guest", days_ago=days)
    await world.run()
    assert len(world.legs()) == 8
    return world


@pytest.fixture
async def world(tmp_path: Path) -> GuardWorld:
    """See `filled`."""
    return await filled(tmp_path)


@pytest.fixture
async def job(world: GuardWorld) -> AsyncIterator[Downstream]:
    """A billing table that shows all four calls of hosts."""
    made = Downstream(world).start()
    await made.until(lambda: len(made.table.rows) == 4)
    yield made
    await made.ends()


async def of(world: GuardWorld, who: str) -> set[str]:
    """The tokens of a person's legs that are there."""
    lookup = world.vault.pepper(TENANT).lookup(TENANT, who)  # type: ignore[arg-type]
    person = world.ring().person(lookup, (await world.ring().view([lookup])).raw[lookup])
    assert person is not None
    return {key.decode()[23:] for key in world.legs() if key.decode()[:22] == person.pseudonym}


async def test_an_erasure_removes_nothing_that_the_law_keeps_and_leaves_no_gap(
    world: GuardWorld, job: Downstream
) -> None:
    """Not at the fence either, when the leg is closed and its copy not yet made."""
    before = dict(job.table.rows)
    await world.ask("erase-001", "erase", "bob")
    await world.step("desk")
    await job.for_(0.1)
    assert len(await plain(world)) == 2, "a plain read has a gap here"
    assert job.table.rows == before
    await world.run()
    await job.for_(0.1)
    assert job.table.rows == before == await plain(world)
    assert job.removed() == set()
    assert len(world.legs()) == 6, "the legs are gone: it is the copies that speak"


async def test_a_tombstone_is_not_believed_before_the_copies_are_read(world: GuardWorld) -> None:
    """Whichever topic comes first: here nothing but the tombstone asks for the copies."""
    job = Downstream(world, lap_s=3600).start()
    await job.until(lambda: len(job.table.rows) == 4)
    await job.for_(0.05)  # its only lap
    before = dict(job.table.rows)
    await world.ask("erase-001", "erase", "bob")
    await world.run()
    await job.until(lambda: len(job.table.lines) > 5)
    await job.for_(0.05)
    assert (job.table.rows, job.removed()) == (before, set())
    await job.ends()


async def test_a_purpose_that_no_law_keeps_loses_its_rows_at_the_fence(world: GuardWorld) -> None:
    job = Downstream(world, "service").start()
    await job.until(lambda: len(job.table.rows) == 8)
    gone = await of(world, "bob")
    await world.ask("erase-001", "erase", "bob")
    await world.step("desk")
    await job.until(lambda: len(job.table.rows) == 6)
    assert job.removed() == gone
    await job.ends()


async def test_a_leg_that_left_no_copy_is_removed_with_its_tombstone(world: GuardWorld, job: Downstream) -> None:
    """What stays for a copy must not stay without one."""
    gone = await of(world, "bob")
    keys = [key for key in world.legs() if key.decode()[23:] in gone]
    await world.ask("erase-001", "erase", "bob")
    await world.step("desk")
    await job.for_(0.05)
    await world.log.write([tombstone("calllog.legs", key, PARTITIONS) for key in keys])
    await job.until(lambda: len(job.table.rows) == 2)
    assert job.removed() == gone


async def test_a_row_goes_with_its_copy(world: GuardWorld, job: Downstream) -> None:
    await world.ask("erase-001", "erase", "bob")
    await world.run()
    (copy, *_) = world.held()
    place = next(p for p in range(PARTITIONS) for each in world.log.records[HELD, p] if each.key == copy)
    await job.for_(0.05)
    await world.log.write([Output(HELD, place, copy, None)])
    await job.until(lambda: len(job.table.rows) == 3)
    assert job.removed() == {copy.decode()[23:]}


async def test_a_copy_lapses_by_the_calendar(world: GuardWorld, job: Downstream) -> None:
    await world.ask("erase-001", "erase", "bob")
    await world.run()
    await job.until_true()
    world.clock.at = datetime(2032, 12, 1, tzinfo=UTC)
    await job.until(lambda: not job.table.rows)
    await job.ends()
    await world.run()
    assert world.held() == {}
    job.start()
    await job.until(lambda: job.cursor.days() == [])  # and is forgotten
    assert job.table.rows == {}


async def test_an_erased_range_keeps_its_rows_too_and_a_late_event_changes_nothing(
    world: GuardWorld, job: Downstream
) -> None:
    before, day = dict(job.table.rows), (world.clock.at - timedelta(days=10)).date().isoformat()
    await world.ask("erase-001", "erase", "bob", range={"from": day, "to": day})
    await world.run()
    await job.for_(0.1)
    assert (len(world.held()), job.removed()) == (1, set())
    await world.call("b10", "bob", "guest", "late", days_ago=10)
    await world.step("protector")
    await job.for_(0.1)
    await world.run()
    await job.until_true()
    assert (job.table.rows, job.removed()) == (before, set())


@pytest.mark.parametrize("secret", [True, False])
async def test_what_an_officer_ordered_comes_out_in_no_line_and_no_record(
    world: GuardWorld, job: Downstream, *, secret: bool
) -> None:
    """Neither the copies, nor that they go again; and no figure moves."""
    await job.for_(0.05)
    lines, counts = len(job.table.lines), dict(job.counts)
    await world.hold("hold-0001", "claim-17", "bob", "guest", secret=secret)
    await world.run()
    assert len(world.held()) == 6
    await job.for_(0.05)
    await world.release("free-0001", "claim-17")
    await world.run()
    assert world.held() == {}
    await job.for_(0.05)
    assert (job.since(lines), job.counts) == ([], counts)
    assert not any(HELD.encode() in (output.value or b"") for output in job.accesses.outputs)
    await job.ends()
    job.table.lines.clear()
    (world.folder / "cursor-billing").unlink()
    job.start()
    await job.until_true()
    assert not any(HELD.encode() in (output.value or b"") for output in job.accesses.outputs)


async def test_a_restriction_and_an_objection_remove_and_nothing_comes_back_by_an_erasure(
    world: GuardWorld, job: Downstream
) -> None:
    """An objection that an officer granted took the purpose from the legs: there is no copy of them."""
    mine = await of(world, "bob")
    await world.ask("limit-001", "restrict", "bob")
    await world.run()
    await job.until(lambda: len(job.table.rows) == 2)
    assert job.removed() == mine
    await world.ask("lift-0001", "lift", "bob")
    await world.run()
    await job.until(lambda: len(job.table.rows) == 4)
    await world.ask("object-01", "object", "bob", purposes=["billing"])
    await world.run()
    await job.until(lambda: len(job.table.rows) == 2)
    await world.ask("grant-001", "approve", key="officer-1", case=world.case("object-01").case)
    await world.run()
    await world.ask("erase-001", "erase", "bob")
    await world.run()
    await job.for_(0.1)
    assert job.table.rows == await plain(world)
    assert len(job.table.rows) == 2


async def test_who_was_restricted_when_erased_comes_back_with_the_copies(world: GuardWorld, job: Downstream) -> None:
    """As a plain read shows it: the restriction was about what is gone."""
    before = dict(job.table.rows)
    await world.ask("limit-001", "restrict", "bob")
    await world.run()
    await job.until(lambda: len(job.table.rows) == 2)
    await world.ask("erase-001", "erase", "bob")
    await world.run()
    await job.until_true()
    assert job.table.rows == before


async def test_a_hold_that_is_lost_removes_nothing(world: GuardWorld, job: Downstream) -> None:
    """A missing entry says nothing; a follower that begins meanwhile shows the row once the entry is there again."""
    everything = dict(job.table.rows)
    await world.ask("erase-001", "erase", "bob")
    await world.run()
    await job.for_(0.1)
    holds = {key: entry for key, entry in world.keystore.entries.items() if b":hold:" in key}
    for key in holds:
        del world.keystore.entries[key]
    await job.for_(0.1)
    assert job.table.rows == everything
    await job.ends()
    (world.folder / "cursor-billing").unlink()
    job.start()
    await job.until(lambda: len(job.table.rows) == 2)
    world.keystore.entries |= holds
    await job.until(lambda: job.table.rows == everything)


async def test_a_copy_that_does_not_open_keeps_no_row(world: GuardWorld, job: Downstream) -> None:
    """Anybody can write a header: one under a hold that does not exist must not hold up a removal."""
    (leg,) = [key for key in world.legs() if key.decode()[23:] in await of(world, "bob")][:1]
    header = parse_header(world.legs()[leg])
    place = partition_of(Pseudonym(header.kid), PARTITIONS)
    forged = {each: getattr(header, each) for each in ("mon", "day", "rid", "pol", "ten")}
    name = kept_id(TENANT, 2, header.mon, place)
    held = HeldHeader(kid=name, pur=2, top=HELD, **forged)
    value = seal_leg(held, b"{}", DataKey(b"k" * 32), b"\1" * 12)
    await world.log.write([Output(HELD, place, f"{name}.{header.rid}".encode(), value)])
    await job.for_(0.05)
    await world.log.write([tombstone("calllog.legs", leg, PARTITIONS)])
    await job.until(lambda: job.removed() == {header.rid})


async def test_under_the_restore_guard_no_copy_is_opened(world: GuardWorld) -> None:
    await world.ask("erase-001", "erase", "bob")
    await world.run()
    _, kept = readings(world)
    copies = [each for place in range(PARTITIONS) for each in world.log.records[HELD, place]]
    world.keystore.run = b"another"
    with pytest.raises(KeystoreGuardedError):
        await kept.judged(copies)
    assert kept.opened == 0


async def test_junk_among_the_copies_is_passed_over(world: GuardWorld, job: Downstream) -> None:
    before = dict(job.table.rows)
    await world.ask("erase-001", "erase", "bob")
    await world.run()
    key, value = next(iter(world.held().items()))
    others = [b"", b"x", b"\xff\xfe.\x00", b"A" * 22 + b"." + b"B" * 22, b"~beat"]
    junk = [Output(HELD, 1, name, text) for name in others for text in (b"\xff", b"{}", value, None)]
    junk += [Output(HELD, 1, None, text) for text in (b"junk", None)]
    junk += [Output("calllog.legs", 1, each.key, each.value) for each in junk]
    await world.log.write(junk)
    await job.for_(0.1)
    await world.call("new", "dora")
    await world.step("protector")
    await job.until(lambda: len(job.table.rows) == 5)
    assert before.items() <= job.table.rows.items()
    assert key.decode()[23:] in before


async def test_an_erasure_says_nothing_about_the_rows_of_others(world: GuardWorld, job: Downstream) -> None:
    theirs = await of(world, "carol")
    await world.ask("erase-001", "erase", "bob")
    await world.run()
    await job.until_true()
    assert {line.token for line in job.table.lines if isinstance(line, Put)} >= theirs
    assert not theirs & {line.token for line in job.since(5) if isinstance(line, Put)}


# --- crashes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.slow
async def test_a_follower_that_dies_at_any_write_of_its_cursor_ends_with_the_same_table(
    tmp_path: Path, *, after: bool
) -> None:
    """Also between a copy and its leg's tombstone: lines are repeated, none is lost, and no kept row ever goes."""
    world = await filled(tmp_path)
    job = Downstream(world).start()
    await job.until_true()
    await job.ends()
    cursor, before = (tmp_path / "cursor-billing").read_bytes(), dict(job.table.rows)
    await world.ask("erase-001", "erase", "bob")
    await world.call("new", "carol", "guest")
    await world.run()
    wanted = await plain(world)
    at, died = 0, True
    while died:
        at += EACH_WRITE
        (tmp_path / "cursor-billing").write_bytes(cursor)
        job.table.rows, died = dict(before), False
        job.fuse.at, job.fuse.after, job.fuse.count = at, after, 0
        job.start()
        try:
            await job.until(lambda: job.table.rows == wanted and job.fuse.count > 8)
        except Crash:
            died = True
        job.fuse.at = -1
        await job.ends()
        job.start()
        await job.until(lambda: job.table.rows == wanted)
        await job.for_(0.03)
        await job.ends()
        assert (job.table.rows, job.removed()) == (wanted, set())
    assert at > 5


@pytest.mark.slow
async def test_a_worker_that_dies_anywhere_in_an_erasure_takes_no_row_away(tmp_path: Path) -> None:
    """The follower looks at what each crash left behind."""
    at, died = 0, True
    while died:
        at += EACH_WRITE
        world = await filled(tmp_path / f"{at}")
        job = Downstream(world).start()
        await job.until_true()
        before = dict(job.table.rows)
        await world.ask("erase-001", "erase", "bob")
        world.fuse.at, world.fuse.after, world.fuse.count, died = at, False, 0, False
        try:
            await world.run()
        except Crash:
            died = True
        await job.for_(0.02)
        assert job.table.rows == before
        await world.restart()
        await world.run()
        await job.for_(0.02)
        await job.ends()
        assert (job.table.rows, job.removed()) == (before, set())
    assert at > 10


# --- cursors ----------------------------------------------------------------------------------------------------------


def old_cursor(world: GuardWorld, purpose: str, meaning: str) -> None:
    """As a release wrote it that knew nothing of copies: at the end of legs and ledger, with a leg that is no more."""
    topics = ("calllog.legs", "privacy.decisions")
    offsets = {topic: {place: len(world.log.records[topic, place]) for place in range(PARTITIONS)} for topic in topics}
    places = ",".join(map(str, range(PARTITIONS)))
    reading = (TENANT, "calllog.legs", purpose, meaning, places, "privacy.decisions")
    cursor = SqliteCursor(world.folder / f"cursor-{purpose}")
    stale = ShownLeg("S" * 22, "T" * 22, 0, 0, "2026-11-20", "2020-01-01", Shown.THERE)
    cursor.save(Bookmark(reading, offsets, int(world.clock.at.timestamp() * 1000)), [stale], ())
    cursor.close()


async def test_a_cursor_that_knows_nothing_of_copies_starts_over_where_there_are_any(world: GuardWorld) -> None:
    """The erased whose rows that release removed come back; a table without copies goes on as it was."""
    await world.ask("erase-001", "erase", "bob")
    await world.run()
    for purpose, resets in (("billing", 1), ("service", 0)):
        job = Downstream(world, purpose)
        old_cursor(world, purpose, readings(world, purpose)[0].right().meaning)
        job.start()
        await world.call("new", "carol")
        await world.step("protector")
        await job.until(lambda job=job: bool(job.table.rows))  # type: ignore[misc]
        assert [type(line) for line in job.table.lines].count(Reset) == resets
        if resets:
            await job.until_true()
        await job.ends()


async def test_a_follower_whose_copies_have_been_overtaken_starts_over(world: GuardWorld, job: Downstream) -> None:
    await world.ask("erase-001", "erase", "bob")
    await world.run()
    await job.until_true()
    await job.ends()
    place = next(p for p in range(PARTITIONS) if world.log.records[HELD, p])
    end = len(world.log.records[HELD, place])
    await world.log.write([Output(HELD, place, b"~beat", b"{}")])
    job.log.first[HELD, place] = job.held.first[HELD, place] = end + 1
    job.start()
    await job.until(lambda: job.table.lines.count(Reset()) == 2)


async def test_a_reader_of_a_purpose_without_copies_never_asks_for_their_topic(world: GuardWorld) -> None:
    """Its credential needs no right to read `calllog.held`, and learns nothing of holds."""
    job = Downstream(world, "service")
    asked: list[Any] = []

    class Watched(MemoryLogReader):
        """Notes which topics are read."""

        def _records(self, place: Any) -> Any:
            asked.append(place[0])
            return super()._records(place)

    job.log, job.held = Watched(world.log), Watched(world.log)
    job.start()
    await job.until(lambda: len(job.table.rows) == 8)
    await job.for_(0.05)
    await job.ends()
    legs, kept = readings(world, "service")
    batches = snapshot(legs, Watched(world.log), range(PARTITIONS), lambda _: None, kept)
    assert sum([len(each) async for each in batches]) == 8
    assert set(asked) == {"calllog.legs", "privacy.decisions"}


async def test_silence_of_the_copies_removes_nothing(world: GuardWorld, job: Downstream) -> None:
    """A tombstone is not believed while nobody says whether there is a copy."""
    before = dict(job.table.rows)
    job.held.silent = True
    await world.ask("erase-001", "erase", "bob")
    await world.run()
    await job.for_(0.2)
    assert job.table.rows == before
    job.held.silent = False
    await job.until(lambda: len(job.table.lines) > 6)
    await job.for_(0.1)
    assert (job.table.rows, job.removed()) == (before, set())
