"""What a sweep may take by itself: what lapses day by day; more waits for an officer, whoever's clock is wrong."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from guard_world import START, TENANT, GuardWorld
from test_acceptances import BACKEND, KEYS, OFFICER, officer_key, record

from calllog_guard.core.codec import encode
from calllog_guard.core.officers.acceptances import ACCEPTED, accepting
from calllog_guard.core.officers.confirmations import CONFIRMED, Confirmation, Confirmed, confirmed
from calllog_guard.core.policy.changes.publication import is_publication
from calllog_guard.core.retention import sweep_brake as brake
from calllog_guard.core.retention.sweep_brake import too_much
from calllog_guard.metrics import Counters, Gauges

AT = datetime(2026, 11, 24, 9, tzinfo=UTC)
CLAIMS = Confirmation(tenant="iocom", up_to="2026-11-24", policy="2026-11-01", at=AT)
SERVICE = """
[[version]]
effective = 2020-01-01
change = "First."
[version.tenant.iocom]
regime = "uk"
events = ["calllog.events"]
[version.tenant.iocom.purposes.service]
number = 1
basis = "contract"
keep = "P90D"
[version.tenant.iocom.requesters.officer-1]
role = "officer"
key = "officer-1.pub.pem"
"""


def days(count: int, each: int) -> dict[date, int]:
    """As many records of so many days."""
    return {date(2026, 1, 1) + timedelta(number): each for number in range(count)}


@pytest.mark.parametrize(
    ("due", "whole", "much"),
    [
        (days(1, 1_000_000), 1_000_000, False),  # a day's calls, of a log that is kept for a day
        (days(4, 500), 2000, False),  # after a long weekend
        (days(5, 200), 1000, False),  # few
        (days(5, 201), 1005, True),
        (days(90, 100), 36_000, False),  # a quarter
        (days(90, 100), 35_999, True),
        ({}, 0, False),
    ],
)
def test_much_is_many_days_and_many_records_and_a_large_share(due: dict[date, int], whole: int, *, much: bool) -> None:
    assert too_much(due, whole, 0.25) is much


@pytest.mark.parametrize(
    ("value", "believed"),
    [
        (accepting(OFFICER[0], "officer-1", CLAIMS), True),
        (accepting(BACKEND[0], "officer-1", CLAIMS), False),
        (accepting(OFFICER[0], "backend-1", CLAIMS), False),
        (encode(CLAIMS), False),
        (None, False),
    ],
)
def test_an_officers_word_alone_lets_go(value: bytes | None, *, believed: bool) -> None:
    assert KEYS
    found = confirmed([record(value, CONFIRMED + b"x"), record(value, ACCEPTED + b"x")], TENANT, officer_key)
    assert found == ([Confirmed(CLAIMS, "officer-1")] if believed else [])


class Log:
    """A log of many days, and officers who say what they like."""

    def __init__(self, world: GuardWorld) -> None:
        self.world, self.said = world, list[Confirmed]()
        object.__setattr__(world.keeper._t, "confirmed", self.confirmed)

    async def confirmed(self) -> list[Confirmed]:
        """See Tools."""
        return self.said

    def says(self, up_to: date, policy: str = "2020-01-01") -> None:
        """An officer lets go."""
        claims = Confirmation(tenant="iocom", up_to=up_to.isoformat(), policy=policy, at=AT)
        self.said.append(Confirmed(claims, "officer-1"))

    async def swept(self) -> int:
        """How many legs are left after some rounds."""
        for _ in range(3):
            self.world.keeper._sweeper.next_ms = 0
            for _ in range(3):
                await self.world.keeper.idle()
        return len(self.world.log.live("calllog.legs"))


@pytest.fixture
async def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Log:
    """Ten days of two calls of one person each; few are two."""
    monkeypatch.setattr(brake, "FEW", 2)
    world = await GuardWorld(tmp_path, SERVICE).start()
    for number in range(20):
        await world.call(f"c{number}", "alice@example.org", days_ago=1 + number // 2)
    await world.run()
    return Log(world)


async def test_a_log_that_lapses_day_by_day_needs_nobody(log: Log) -> None:
    left = []
    for day in range(80, 93):
        log.world.clock.at = START + timedelta(day)
        left.append(await log.swept())
    assert left == [20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0, 0, 0]
    assert log.world.counts[Counters.sweeps_held_back] == 0


async def test_a_clock_ten_years_ahead_sweeps_nothing(log: Log) -> None:
    """Also where the brokers' clocks are as wrong, so that all agree."""
    log.world.clock.at = START + timedelta(3660)
    assert await log.swept() == 20
    assert log.world.counts[Counters.sweeps_held_back] == 1
    assert log.world.levels[Gauges.sweep_held_back_records] == 20


async def test_an_officers_word_lets_go_what_lapses_up_to_its_day(log: Log) -> None:
    """Whose clock runs ahead of that day takes no more by it."""
    log.world.clock.at = START + timedelta(3660)
    log.says((START + timedelta(85)).date())
    assert await log.swept() == 10
    log.says((START + timedelta(3661)).date())
    assert await log.swept() == 10, "a day that has not come says nothing"
    log.says((START + timedelta(3660)).date())
    assert await log.swept() == 0
    assert log.world.levels[Gauges.sweep_held_back_records] == 0


async def test_a_word_by_another_policy_lets_nothing_go(log: Log) -> None:
    log.world.clock.at = START + timedelta(3660)
    log.says(log.world.clock.at.date(), policy="2019-01-01")
    assert await log.swept() == 20


@pytest.mark.parametrize("value", [accepting(OFFICER[0], "officer-1", CLAIMS), accepting(BACKEND[0], "nobody", CLAIMS)])
def test_a_word_is_no_version_of_the_policy(value: bytes) -> None:
    """Or it would be refused as one, and be a dead letter."""
    assert not is_publication(record(value, CONFIRMED + b"x"))
    assert is_publication(record(b"{}", CONFIRMED + b"x")), "what only bears the key is judged as what it wants to be"
