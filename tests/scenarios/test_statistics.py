"""Anonymise at expiry: who is counted, what is told, and that neither a crash, an order nor an erasure tells more."""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from guard_world import PARTITIONS, POLICY, TENANT, GuardWorld

from calllog_guard.core.crypto.subject_secrets import TokenKey, month_from
from calllog_guard.core.identifiers import EpochName
from calllog_guard.core.records import Output
from calllog_guard.core.retention.purposes import Purpose, anonymises
from calllog_guard.core.retention.statistics import Cell, CellCount, K, cell_of, statistics, tag_of
from calllog_guard.core.retention.tally import Tally, TallyName, TallyPlace, name_from, open_tally, seal_tally
from calllog_guard.errors import EntryCorruptError
from calllog_guard.metrics import Counters
from calllog_guard.workers.keeper.expiry.statistics import Statistician

ANONYMOUS = POLICY.replace('number = 3\nbasis = "legitimate_interests"\nkeep = "P60D"', "KEPT").replace(
    "KEPT", 'number = 3\nbasis = "legitimate_interests"\nkeep = "P100D"\nthen = "anonymise"'
)
"""Guests' legs lapse after 100 days, by a purpose with anonymise; hosts' after six years, by one with delete."""
DECEMBER = datetime(2026, 12, 1, 1, tzinfo=UTC)


async def filled(folder: Path, guests: int, *, policy: str = ANONYMOUS, name: str = "p") -> GuardWorld:
    """A call of one host with so many guests, 101 days ago: on a day of August that is due in November."""
    world = await GuardWorld(folder, policy).start()
    assert "anonymise" in policy
    for number in range(guests):
        await world.call(f"c{number}", "host", f"{name}{number}", days_ago=102)
    return world


def told(world: GuardWorld) -> list[dict[str, Any]]:
    """What was published, each record as often as it was written."""
    return [json.loads(each.value) for each in world.log.records["calllog.statistics", 0] if each.value]


def guests(world: GuardWorld) -> int:
    """How many legs are left beside the hosts'."""
    from calllog_guard.core.crypto.leg_envelope import parse_header  # noqa: PLC0415

    return sum(parse_header(value).pur & 2 == 0 for value in world.legs().values())


async def month_ends(world: GuardWorld) -> None:
    """On to December: every partition closes the month, and then it is told."""
    world.clock.at = DECEMBER
    await sweeps(world)
    await sweeps(world)


async def sweeps(world: GuardWorld) -> None:
    """Now, not in SWEEP_S."""
    world.keeper._sweeper.next_ms = 0
    await world.run()


@pytest.mark.parametrize(("people", "published"), [(9, 0), (10, 1), (11, 1)])
async def test_ten_people_are_told_nine_never(tmp_path: Path, people: int, published: int) -> None:
    """The leg goes on its day; the number waits for the month's end."""
    world = await filled(tmp_path, people)
    await world.run()
    assert (guests(world), told(world)) == (0, [])
    await month_ends(world)
    day = (datetime(2026, 11, 24, 9, tzinfo=UTC) - timedelta(days=102)).date().isoformat()
    expected = {
        "v": 1,
        "tenant": "iocom",
        "month": "2026-11",
        "day": day,
        "kind": "video",
        "duration": "1m-5m",
        "parties": "1-2",
        "legs": people,
        "people_at_least": 10,
    }
    assert told(world) == [expected] * published
    assert [key for key in world.log.live("privacy.decisions") if key.startswith(b"~cells.2")] == []
    assert world.counts[Counters.cells_published] == published


async def test_a_heavy_caller_is_one_person(tmp_path: Path) -> None:
    world = await filled(tmp_path, 9)
    for number in range(30):
        await world.call(f"more{number}", "host", "p0", days_ago=102)
    await world.run()
    await month_ends(world)
    assert (guests(world), told(world)) == (0, [])


async def test_a_person_is_counted_once_over_days_and_restarts(tmp_path: Path) -> None:
    """Nine people whose legs of one day lapse in many portions, some after a rebuild: nine they stay."""
    world = await filled(tmp_path, 9)
    await world.run()
    for day in range(4):
        world.clock.at += timedelta(days=1)
        for number in range(9):
            await world.call(f"again{day}-{number}", "host", f"p{number}", days_ago=103 + day)
        await world.restart(rebuild=day % 2 == 0)
        await sweeps(world)
    await month_ends(world)
    assert world.counts[Counters.legs_counted] == 45
    assert (guests(world), told(world)) == (0, [])


async def test_a_rebuilt_index_counts_nothing_again(tmp_path: Path) -> None:
    """Read anew from its beginning, the log first shows legs that were counted and removed long ago."""
    world = await filled(tmp_path, 12)
    await world.run()
    await world.restart(rebuild=True)
    await world.step("keeper", most=3)
    await world.run()
    await month_ends(world)
    assert ([each["legs"] for each in told(world)], world.counts[Counters.legs_counted]) == ([12], 12)


@pytest.mark.parametrize("rebuild", [False, True])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.slow
async def test_a_crash_at_any_write_counts_each_leg_once_and_tells_each_cell_once(
    tmp_path: Path, *, after: bool, rebuild: bool
) -> None:
    number, met = 0, 0
    while True:
        number += 1
        world = await filled(tmp_path / str(number), 11)
        world.keeper._sweeper.next_ms = 1 << 50
        await world.run()
        world.keeper._sweeper.next_ms = 0
        crashed = await world.run_with_crashes(number, after=after, rebuild=rebuild)
        if not crashed:
            break
        met += 1
        await month_ends(world)
        assert (guests(world), [each["legs"] for each in told(world)]) == (0, [11]), f"crash at write {number}"
    assert met >= 2 * PARTITIONS, "counted and tombstoned, in every partition"


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.slow
async def test_a_crash_while_publishing_tells_each_cell_once_and_the_same(tmp_path: Path, *, after: bool) -> None:
    number = 0
    while True:
        number += 1
        world = await filled(tmp_path / str(number), 11)
        await world.run()
        world.clock.at, world.keeper._sweeper.next_ms = DECEMBER, 0
        await world.run()
        world.keeper._sweeper.next_ms = 0
        crashed = await world.run_with_crashes(number, after=after, rebuild=False)
        await sweeps(world)
        assert [each["legs"] for each in told(world)] == [11], f"crash at write {number}"
        assert [key for key in world.log.live("privacy.decisions") if key.startswith(b"~cells.2")] == []
        if not crashed:
            break
    assert number > PARTITIONS


async def test_nothing_is_told_before_every_partition_has_closed_the_month(tmp_path: Path) -> None:
    world = await filled(tmp_path, 11)
    await world.run()
    world.clock.at = DECEMBER
    statistician = world.keeper._statistician
    shards = world.keeper._shards
    for partition in (0, 1, 3):
        await statistician.close(shards[partition])
    await statistician.close(shards[0])
    assert told(world) == []
    await statistician.close(shards[2])
    await statistician.close(shards[0])
    assert len(told(world)) == 1


async def test_erased_objected_and_restricted_people_are_not_counted(tmp_path: Path) -> None:
    world = await GuardWorld(tmp_path, ANONYMOUS).start()
    for number in range(12):
        await world.call(f"c{number}", "host", f"p{number}", days_ago=99)
    await world.run()
    await world.ask("erase-0001", "erase", "p0")
    await world.ask("object-001", "object", "p1", purposes=["quality"])
    await world.ask("restrict-1", "restrict", "p2")
    await world.run()
    world.clock.at += timedelta(days=3)
    await sweeps(world)
    assert (world.counts[Counters.legs_counted], guests(world)) == (9, 1)
    await month_ends(world)
    assert told(world) == []
    await world.ask("lift-00001", "lift", "p2")
    await world.run()
    await sweeps(world)
    assert (guests(world), world.counts[Counters.legs_counted]) == (0, 10), (
        "counted in December, alone, and so never told"
    )
    world.clock.at = datetime(2027, 1, 1, 1, tzinfo=UTC)
    await sweeps(world)
    assert told(world) == []


async def test_whose_flags_say_restricted_waits_although_the_ledger_is_behind(tmp_path: Path) -> None:
    """The desk's word in the keystore counts at once; the keeper may not have read the decision yet."""
    world = await filled(tmp_path, 11)
    world.keeper._sweeper.next_ms = 1 << 50
    await world.run()
    await world.ask("restrict-1", "restrict", "p2")
    await world.step("desk")
    world.keeper._sweeper.next_ms = 0
    await world.keeper.idle()
    assert (guests(world), world.counts[Counters.legs_counted]) == (1, 10)


@pytest.mark.slow
async def test_publishing_and_erasure_tell_nothing_about_one_person(tmp_path: Path) -> None:
    """
    Differencing: whoever has every state of the topic and knows who was erased when can subtract only whole cells.

    The same calls in worlds that differ in order, crashes and one erasure: all tell the same bytes, each cell
    once; and later erasures change none of them.
    """
    seen: set[str] = set()
    for seed in range(4):
        world = await filled(tmp_path / str(seed), 0)
        calls = [(f"c{cell}-{number}", f"p{number}", 102 + cell) for cell in range(3) for number in range(8 + 2 * cell)]
        Random(seed).shuffle(calls)  # noqa: S311 - an order
        for name, guest, days in calls:
            await world.call(name, "host", guest, days_ago=days)
        await world.run()
        if seed % 2:
            await world.ask("erase-0001", "erase", "p3")
            await world.restart(rebuild=True)
            await world.run()
        await month_ends(world)
        before = told(world)
        for number in range(5):
            await world.ask(f"erase-1{number:03d}", "erase", f"p{number}")
        await world.run()
        world.clock.at += timedelta(days=40)
        await sweeps(world)
        assert told(world) == before
        assert sorted(each["legs"] for each in before) == [10, 12], "the cell of eight is never told"
        cells = [(each["day"], each["kind"], each["duration"], each["parties"]) for each in before]
        assert len(cells) == len(set(cells)), "no cell twice: no two numbers to subtract"
        seen.add(json.dumps(sorted(before, key=lambda each: str(each["day"]))))
    assert len(seen) == 1


async def test_what_was_promised_deletion_is_deleted(tmp_path: Path) -> None:
    """A later version that says anonymise does not reach a leg that was stored under one that says delete."""
    later = ANONYMOUS.replace("2020-01-01", "2026-11-01")
    world = await GuardWorld(tmp_path, POLICY.replace("P60D", "P100D") + later).start()
    world.clock.at = datetime(2026, 10, 20, 9, tzinfo=UTC)
    for number in range(12):
        await world.call(f"c{number}", "host", f"p{number}", days_ago=80)
    await world.run()
    world.clock.at = datetime(2026, 11, 24, 9, tzinfo=UTC)
    await sweeps(world)
    assert (guests(world), world.counts[Counters.legs_counted]) == (0, 0)


async def test_a_tally_moves_with_the_epochs_and_one_that_is_lost_counts_nothing(tmp_path: Path) -> None:
    world = await filled(tmp_path, 11)
    await world.run()
    world.vault.create_epoch(EpochName("2026-W49"))
    world.keystore.entries[b"clg:~epoch"] = b"2026-W49"
    await sweeps(world)
    sealed = [value for key, value in world.log.live("privacy.decisions").items() if key.startswith(b"~cells.2")]
    assert {value[2:10] for value in sealed} == {b"2026-W49"}
    world.vault.destroy_epoch(EpochName("2026-W49"))
    statistician = Statistician(world.keeper._t)
    for partition in range(PARTITIONS):
        statistician.begin(partition, world.log.records["privacy.decisions", partition])
    assert all(not book.tallies for book in statistician._books.values())
    assert world.counts[Counters.tallies_lost] > 0


async def test_a_leg_that_was_replaced_meanwhile_is_neither_counted_nor_removed(tmp_path: Path) -> None:
    world = await filled(tmp_path, 11)
    world.keeper._sweeper.next_ms = 1 << 50
    await world.run()
    shard, key = next(  # wherever the dice of the pseudonyms have put one
        (shard, key)
        for shard in world.keeper._shards.values()
        for facts, key in shard.index.by_day()
        if facts.mask & 2 == 0
    )
    lane = world.log.records["calllog.legs", shard.partition]
    await world.log.write([Output("calllog.legs", shard.partition, key, None)])
    del lane[shard.index.facts(key).offset :]  # type: ignore[union-attr]
    gone, _ = await world.keeper._statistician.counted(shard, [key])
    assert gone == []


# --- the pure part --------------------------------------------------------------------------------------------------

DAY = date(2026, 8, 14)
NAME = TallyName(month_from("2026-11"), month_from("2026-08"))
PLACE = TallyPlace(TENANT, 3, NAME)


@pytest.mark.parametrize(
    ("outcome", "seconds", "parties", "expected"),
    [
        ("missed", None, 2, ("none", "1-2")),
        ("answered", 0, 1, ("under-1m", "1-2")),
        ("answered", 59.9, 3, ("under-1m", "3-5")),
        ("answered", 60, 5, ("1m-5m", "3-5")),
        ("answered", 300, 6, ("5m-15m", "6-10")),
        ("answered", 900, 10, ("15m-60m", "6-10")),
        ("answered", 3600, 1000, ("60m-up", "11-up")),
    ],
)
def test_limits_of_the_cells(outcome: str, seconds: float | None, parties: int, expected: tuple[str, str]) -> None:
    start = datetime(2026, 8, 14, 9, tzinfo=UTC)
    span = (None, None) if seconds is None else (start, start + timedelta(seconds=seconds))
    assert cell_of(DAY, "video", outcome, span, parties) == Cell(DAY, "video", *expected)


def test_what_lapses_last_decides_and_deletion_wins() -> None:
    def purpose(number: int, days: int, then: Any) -> Purpose:
        return Purpose(name=f"p{number}", number=number, basis="contract", keep=(0, days), then=then)

    short, long, same = purpose(1, 30, "delete"), purpose(2, 90, "anonymise"), purpose(3, 90, "delete")
    assert anonymises(DAY, 0b011, (short, long, same))
    assert not anonymises(DAY, 0b001, (short, long, same))
    assert not anonymises(DAY, 0b111, (short, long, same)), "deletion on the same day wins"
    assert not anonymises(DAY, 0b011, (short,)), "a dropped purpose keeps no leg, nor does it anonymise any"
    assert not anonymises(DAY, 0, (short, long, same))


def test_tallies_forget_who_stands_behind_a_full_cell() -> None:
    cell = Cell(DAY, "video", "none", "1-2")
    tally = Tally()
    for number in range(K):
        tally = tally.counted([(cell, bytes([number]) * 6)], {})
        assert (tally.cells[cell].people, tally.cells[cell].tags is None) == (number + 1, number + 1 == K)
    assert tally.counted([(cell, b"\1" * 6)], {}).cells[cell] == CellCount(K + 1, None)


def test_partitions_add_up_and_fewer_than_ten_are_not_told() -> None:
    cell, other = Cell(DAY, "video", "none", "1-2"), Cell(DAY, "audio", "none", "1-2")
    six, four, three = (frozenset(bytes([n]) * 6 for n in range(number)) for number in (6, 4, 3))
    ten, untold = statistics(
        TENANT, NAME.lapsed, [{cell: CellCount(7, six), other: CellCount(9, six)}, {cell: CellCount(5, four)}]
    )
    assert ([(each.kind, each.legs) for each in ten], untold) == ([("video", 12)], 1)
    nine, untold = statistics(TENANT, NAME.lapsed, [{cell: CellCount(70, six)}, {cell: CellCount(50, three)}])
    assert (nine, untold) == ([], 1)


def test_tags_are_others_in_every_cell_and_month_and_for_everybody() -> None:
    alice, bob = TokenKey(b"\1" * 32).tally_key(), TokenKey(b"\2" * 32).tally_key()
    cells = [Cell(DAY, "video", "none", "1-2"), Cell(DAY, "audio", "none", "1-2")]
    tags = {
        tag_of(key, month_from(month), cell)
        for key in (alice, bob)
        for month in ("2026-11", "2026-12")
        for cell in cells
    }
    assert len(tags) == 8


def test_a_tally_opens_in_its_place_only(tmp_path: Path) -> None:
    del tmp_path
    key, epoch = TokenKey(b"\3" * 32), EpochName("2026-W48")
    cells = {Cell(DAY, "video", "none", "1-2"): CellCount(3, frozenset({b"\1" * 6, b"\2" * 6}))}
    cells[Cell(date(2026, 8, 31), "screen", "60m-up", "11-up")] = CellCount(70_000, None)
    tally = Tally(cells, {b"a" * 22 + b"." + b"b" * 22: 1 << 40})
    sealed = seal_tally(tally, PLACE, epoch, key, b"\0" * 12)
    assert open_tally(sealed, PLACE, key) == tally
    assert name_from(NAME.key) == NAME
    assert name_from(b"~cells.closed") is None
    for place in (TallyPlace(TENANT, 4, NAME), TallyPlace(TENANT, 3, TallyName(NAME.lapsed, NAME.lapsed))):
        with pytest.raises(EntryCorruptError):
            open_tally(sealed, place, key)
    with pytest.raises(EntryCorruptError):
        open_tally(sealed[:-1] + bytes([sealed[-1] ^ 1]), PLACE, key)
