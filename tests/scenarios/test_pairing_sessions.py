"""Joins and leaves become legs: late, twice, in any order, or never; over crashes, rebuilds, and a replay of a day."""

import random
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from guard_world import PARTITIONS
from sessions_world import LIMIT, SessionsWorld, at, joined, left, ordered, over
from sizes import EACH_WRITE, size

from calllog_guard.core.sources.notification import Notification

ANA, BO = "ana@example.org", "bo@example.org"
HOUR, QUARTER = timedelta(hours=1), timedelta(minutes=15)


@pytest.fixture
async def world(tmp_path: Path) -> SessionsWorld:
    """An installation without calls, a quarter of an hour after the first of them began."""
    world = await SessionsWorld(tmp_path).start()
    world.clock.at += QUARTER
    return world


async def test_a_join_is_an_open_leg_and_a_leave_ends_it(world: SessionsWorld) -> None:
    await world.tell(joined(0))
    await world.pair()
    assert world.spans() == [(ANA, 0, None, False)]
    await world.tell(left(60))
    await world.pair()
    assert world.spans() == [(ANA, 0, 60, False)]
    assert [event["revision"] for event in world.events()] == sorted(event["revision"] for event in world.events())


async def test_two_devices_and_who_comes_back_are_legs_of_their_own(world: SessionsWorld) -> None:
    """Also under one session id, as JaaS keeps it over a lost connection."""
    await world.tell(joined(0), joined(5, "s-2"), left(30), joined(40), left(50, "s-2"), left(90))
    await world.pair()
    assert world.spans() == [(ANA, 0, 30, False), (ANA, 5, 50, False), (ANA, 40, 90, False)]
    assert len({session for _, _, session in world.paired()}) == 3


async def test_the_calls_end_closes_who_has_no_leave_and_says_that_it_is_an_estimate(world: SessionsWorld) -> None:
    await world.tell(joined(0), joined(10, "s-2", BO), left(20, "s-2", BO), over(100))
    await world.pair()
    assert world.spans() == [(ANA, 0, 100, True), (BO, 10, 20, False)]
    await world.tell(left(99))
    await world.pair()
    assert world.spans() == [(ANA, 0, 99, False), (BO, 10, 20, False)], "a leave that comes late mends it"


async def test_a_call_that_ends_closes_those_of_earlier_units(world: SessionsWorld) -> None:
    await world.tell(joined(0), joined(10, "s-2", BO), joined(20, "s-3", call="call-2"))
    await world.pair()
    await world.tell(over(100))
    await world.pair()
    assert world.spans() == [(ANA, 0, 100, True), (ANA, 20, None, False), (BO, 10, 100, True)]


async def test_the_end_of_a_call_may_come_before_its_joins(world: SessionsWorld) -> None:
    await world.tell(over(100))
    await world.pair()
    await world.tell(joined(0), joined(200, "s-2"))
    await world.pair()
    assert world.spans() == [(ANA, 0, 100, True), (ANA, 200, None, False)]


async def test_the_limit_closes_what_nobody_ended(world: SessionsWorld) -> None:
    """By the brokers' time: heartbeats alone let it pass."""
    await world.tell(joined(0))
    await world.pass_time(LIMIT - QUARTER - timedelta(seconds=1))
    await world.pair()
    assert world.spans() == [(ANA, 0, None, False)]
    await world.pass_time(timedelta(seconds=1))
    await world.pair()
    assert world.spans() == [(ANA, 0, 86_400, True)]


async def test_time_that_passed_unseen_closes_what_was_open_before_it_is_forgotten(world: SessionsWorld) -> None:
    """No heartbeat for a week: the worker, the auditor or the brokers were away."""
    await world.tell(joined(0))
    await world.pair()
    await world.pass_time(7 * LIMIT)
    await world.pair()
    assert world.spans() == [(ANA, 0, 86_400, True)]


async def test_a_leave_without_a_join_waits_for_it_as_long_as_the_limit(world: SessionsWorld) -> None:
    """Then it is a moment, estimated; a join that comes after all takes it back."""
    await world.tell(left(60))
    await world.pass_time(LIMIT - QUARTER)
    await world.pair()
    assert world.spans() == []
    await world.pass_time(timedelta(minutes=1))
    await world.pair()
    assert world.spans() == [(ANA, 60, 60, True)]
    await world.tell(joined(0))
    await world.pair()
    assert world.spans() == [(ANA, 0, 60, False)]


async def test_the_room_that_ended_says_nothing_of_another_call(world: SessionsWorld) -> None:
    """Nor the same call of another source."""
    await world.tell(joined(0), joined(0, call="call-2"), over(50, "call-2"))
    await world.tell(over(70), source="jaas")
    await world.pair()
    assert world.spans() == [(ANA, 0, None, False), (ANA, 0, 50, True)]
    assert {call: leg.left for (call, _, _), leg in world.paired().items()}["call-1"] is None


async def test_a_guest_counts_and_is_nobody(world: SessionsWorld) -> None:
    await world.tell(joined(0, person=None), left(9, person=None))
    await world.pair()
    assert world.spans() == [(None, 0, 9, False)]
    assert world.events()[-1]["parties"][0]["guest"] is True


async def test_who_becomes_known_late_is_one_person_and_no_guest_beside(world: SessionsWorld) -> None:
    """A leave that names the account, and a join that names the address: the join's word counts, whatever comes first."""
    for number, order in enumerate(((0, 1), (1, 0))):
        told = [joined(0, call=f"c{number}"), left(60, person="account-7", call=f"c{number}")]
        for each in order:
            await world.tell(told[each])
            await world.pair()
    assert world.spans() == [(ANA, 0, 60, False)] * 2
    for late in (left(60, person="account-7", call="c2")._replace(joined_at=at(0)), joined(0, call="c2")):
        await world.tell(late)
        await world.pair()
    assert world.spans() == [(ANA, 0, 60, False)] * 3, "whoever was told before was nobody"


# --- again and again --------------------------------------------------------------------------------------------------


async def test_what_comes_again_is_told_once(world: SessionsWorld) -> None:
    """Nothing new is known: no event."""
    told = [joined(0), left(60), over(100)]
    await world.tell(*told)
    await world.pair()
    events = len(world.events())
    await world.tell(*told * 5)
    await world.pair()
    assert len(world.events()) == events


async def test_a_whole_day_that_is_replayed_changes_nothing(world: SessionsWorld) -> None:
    """Whether its sessions are remembered or long forgotten, all of it or its joins alone; and nothing is left of it."""
    told = [joined(0), left(60), joined(10, "s-2", BO), over(500), joined(600, "s-3"), left(900, "s-3")]
    await world.tell(*told)
    await world.pair()
    wanted = world.spans()
    for wait, again in ((HOUR, told), (4 * LIMIT, told[::-1]), (4 * LIMIT, [joined(0), joined(600, "s-3")])):
        await world.pass_time(wait)
        await world.tell(*again)
        await world.pair()
        await world.pass_time(2 * LIMIT)
        await world.pair()
        assert world.spans() == wanted
    await world.pass_time(3 * LIMIT)
    await world.pair()
    assert not [row for rows in world.rows.values() for row in rows.rows if row[:1] in b"sed"], "all of it has lapsed"


async def test_rows_that_are_lost_are_made_anew_of_what_the_topic_holds(world: SessionsWorld) -> None:
    """The same events, also of what time alone has closed."""
    await world.tell(joined(0), joined(10, "s-2", BO), left(60), left(70, "s-9", BO))
    await world.pass_time(LIMIT + HOUR)
    await world.pair()
    wanted = world.spans()
    await world.pairs_anew(lost=True)
    await world.pair(1)
    assert world.spans() == wanted
    assert wanted == [(ANA, 0, 60, False), (BO, 10, 10 + 86_400, True), (BO, 70, 70, True)]


async def test_a_leave_whose_join_the_topic_has_forgotten_is_no_stay(world: SessionsWorld) -> None:
    """The leg is there with its join: another that begins at its leave would be a lie."""
    await world.tell(joined(0))
    await world.pass_time(LIMIT / 2)
    await world.tell(left(43_000))
    await world.pair()
    wanted = world.spans()
    for partition in range(PARTITIONS):
        records = world.log.records["calllog.moments", partition]
        world.cut(partition, next((each.offset for each in records if each.offset and each.key != b"~beat"), 1))
    await world.pairs_anew(lost=True)
    await world.pass_time(3 * LIMIT)
    await world.pair()
    assert world.spans() == wanted == [(ANA, 0, 43_000, False)]


async def test_rows_of_a_topic_that_was_made_anew_or_is_ahead_are_not_believed(world: SessionsWorld) -> None:
    await world.tell(joined(0))
    await world.pair()
    lane = next(lane for place, lane in world.log.records.items() if place[0] == "calllog.moments" and lane)
    lane.clear()
    await world.pairs_anew()
    assert {world.positions["sessions", "calllog.moments", each] for each in range(PARTITIONS)} == {0}
    await world.tell(joined(5), left(50))
    await world.pair()
    assert (ANA, 5, 50, False) in world.spans()


STORY: Sequence[Notification] = [
    joined(0), joined(3, "s-2", BO), left(20), joined(25), joined(30, "s-3", None), left(31, "s-2", BO),
    over(40), left(39), left(38, "s-3", None), joined(50, "s-4", BO),
]  # fmt: skip


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("lost", [False, True])
async def test_killed_at_every_write_no_session_is_lost_and_none_is_there_twice(
    tmp_path: Path, *, after: bool, lost: bool
) -> None:
    """Before and after each write of events and of rows, with and without the rows."""

    async def filled(folder: Path) -> SessionsWorld:
        world = await SessionsWorld(folder).start()
        await world.tell(*STORY)
        await world.pass_time(LIMIT + HOUR)
        return world

    calm = await filled(tmp_path / "calm")
    await calm.pair(3)
    wanted = calm.spans()
    assert len(wanted) == 5
    for number in range(1, 100, EACH_WRITE):
        world = await filled(tmp_path / f"{number}-{after}-{lost}")
        if not await world.pair_with_crash(number, after=after, lost=lost):
            break
        assert world.spans() == wanted
    assert number > 5


# --- random histories -------------------------------------------------------------------------------------------------


class Told:
    """A history of some calls, and how it was told: moments with the seconds at which they come."""

    def __init__(self, dice: random.Random) -> None:
        self.wanted: list[tuple[str | None, int, int | None, bool]] = []
        self.moments: list[tuple[int, Notification]] = []
        for call in range(dice.randint(1, 4)):
            self._call(f"call-{call}", dice)

    def _call(self, call: str, dice: random.Random) -> None:
        stays: list[tuple[str | None, str, int, int | None]] = []
        for number in range(dice.randint(1, 6)):
            person = dice.choice([ANA, BO, "cy@example.org", None])
            time = dice.randrange(0, 20_000)
            for _ in range(dice.randint(1, 3)):
                stay = dice.randrange(1, 5000)
                stays.append((person, f"s-{number}", time, time + stay))
                time += stay + dice.randrange(1, 1000)
        end = max(gone or 0 for *_, gone in stays) + dice.randrange(0, 60)
        told: list[Notification] = [over(end, call)]
        for person, session, begun, gone in stays:
            told.append(joined(begun, session, person, call=call))
            following = min((at for _, name, at, _ in stays if name == session and at > begun), default=end)
            if dice.random() < 0.05:
                self.wanted.append((person, begun, following, True))
            else:
                self.wanted.append((person, begun, gone, False))
                told.append(left(gone or 0, session, person, call=call))
        for each in told:
            for _ in range(dice.randint(1, 5)):
                self.moments.append((dice.randrange(0, 5400), each))

    def __iter__(self) -> Iterator[tuple[int, Notification]]:
        return iter(sorted(self.moments, key=lambda each: each[0]))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(size("HISTORIES", 10, 10_000)))
async def test_the_legs_are_those_of_the_history_however_it_is_told(tmp_path: Path, seed: int) -> None:
    """Shuffled, up to five times each, 5 % of the leaves lost, restarts and lost rows in between, a replay of the day."""
    dice = random.Random(seed)  # noqa: S311 - dice of a test
    history, world = Told(dice), await SessionsWorld(tmp_path).start()
    world.clock.at += timedelta(seconds=45_000)
    for each in (history, history):
        for _, moment in each:
            await world.tell(moment)
            if dice.random() < 0.1:
                await world.pair(dice.randint(1, 5))
            if dice.random() < 0.02:
                await world.pairs_anew(lost=dice.random() < 0.5)
        await world.pair()
        assert world.spans() == ordered(history.wanted)
        await world.pass_time(dice.choice([HOUR, 3 * LIMIT]))
