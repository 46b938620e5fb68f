"""Deadlines: alarms before answers are due, once each; the numbers an operator watches; the end of a case's record."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog
from desk_world import CANARY, START, DeskWorld
from metrics_page import page_of
from prometheus_client import generate_latest
from test_notices import DISCLOSE, reply_key

from calllog_guard.core.cases.case import Case
from calllog_guard.core.cases.deadlines import complaint_alarms
from calllog_guard.core.cases.working_days import calendar_of
from calllog_guard.core.crypto.entries import EPOCH_KEY
from calllog_guard.core.identifiers import EpochName
from calllog_guard.core.policy.active import TenantPolicy
from calllog_guard.metrics import Gauges
from calllog_guard.workers.desk.cases.deadlines import CALM
from calllog_guard.workers.desk.cases.terms import alarms, dates
from calllog_guard.workers.keys.rotation import epoch_of


@pytest.fixture
async def world(tmp_path: Path) -> DeskWorld:
    """See DeskWorld."""
    return await DeskWorld(tmp_path, cases_keep_days=100).start()


async def told(world: DeskWorld, **time: float) -> list[tuple[str, str]]:
    """What the desk said of its cases once this time has passed, twice: a second look says nothing."""
    with structlog.testing.capture_logs() as lines:
        await world.later(**time)
        await world.later(minutes=2)
    found = [line for line in lines if line["event"] == "a case asks for attention"]
    assert not any(CANARY in str(line) for line in lines)
    return [(line["case"], line["of"]) for line in found]


async def test_every_alarm_comes_once_and_before_the_answer_is_due(world: DeskWorld) -> None:
    await world.ask("unknown-01", CANARY, type="erase", identity="unverified")
    case = world.case("unknown-01")
    assert case.due == "2026-12-24"
    assert await told(world, days=5) == []
    assert await told(world, days=18) == [(case.case, "policy")], "a week before"
    assert await told(world, days=5) == [(case.case, "day_28")]
    assert await told(world, days=1) == [(case.case, "policy")], "the last working day before"
    assert await told(world, days=2) == [(case.case, "overdue")]
    assert world.levels[Gauges.cases_overdue] == 1
    assert world.levels[Gauges.case_next_due_s] == -86_400
    assert await told(world, days=1) == []


async def test_a_complaint_alarms_before_its_thirtieth_day(world: DeskWorld) -> None:
    await world.ask("complain-1", CANARY, type="complain", ground="why")
    await world.noticed("complain-1")
    case = world.case("complain-1")
    assert await told(world, days=24) == [(case.case, "law")]
    assert await told(world, days=4) == [(case.case, "day_28")]
    last = complaint_alarms(case.received_at, calendar_of("uk"))
    assert last[-1].day < date.fromisoformat(case.due)


async def test_what_is_answered_alarms_no_more(world: DeskWorld) -> None:
    await world.ask("restrict-1", CANARY, type="restrict")
    await world.ask("noticed-01", type="clock", case=world.case("restrict-1").case, event="noticed", to="invoicing")
    await world.ask("noticed-02", type="clock", case=world.case("restrict-1").case, event="noticed", to="person")
    assert await told(world, days=60) == []


async def test_a_notice_that_nobody_acknowledges_alarms_by_name(world: DeskWorld) -> None:
    await world.ask("restrict-1", CANARY, type="restrict")
    case = world.case("restrict-1").case
    found = await told(world, days=8)
    assert sorted(found) == [(case, "notice invoicing/restricted"), (case, "notice person/restricted")]


async def test_the_day_to_look_again_at_a_disclosure_alarms(world: DeskWorld) -> None:
    more = DISCLOSE | {"notify": "when_lifted", "reply_key": reply_key(world), "review_at": "2026-12-10T00:00:00Z"}
    await world.ask("disclose-1", CANARY, by="officer-1", **more)
    await world.ask("approve-01", by="officer-2", type="approve", case=world.case("disclose-1").case)
    assert await told(world, days=10) == []
    assert await told(world, days=10) == [(world.case("disclose-1").case, "review")]


async def test_the_numbers_are_on_the_metrics_page(world: DeskWorld) -> None:
    await world.ask("unknown-01", CANARY, type="erase", identity="unverified")
    await world.ask("complain-1", CANARY, type="complain", ground="why")
    await world.later(minutes=1)
    page = generate_latest(page_of("desk", world.counts, world.levels)).decode()
    assert 'calllog_guard_cases_open{role="desk",type="erase",waits_for="identity"} 1.0' in page
    assert 'calllog_guard_cases_open{role="desk",type="complain",waits_for="officer"} 1.0' in page
    assert page.count("# HELP calllog_guard_cases_open ") == 1
    assert 'calllog_guard_brake_engaged{role="desk"} 0.0' in page
    await world.ask("approve-01", by="officer-1", type="approve", case=world.case("complain-1").case, ground="ok")
    await world.later(minutes=1)
    assert world.levels[Gauges.cases_open["complain", "officer"]] == 0, (
        "what is no longer there is zero, not what it was"
    )


async def test_a_desk_that_lost_its_partition_shows_no_cases(world: DeskWorld) -> None:
    await world.ask("unknown-01", CANARY, type="erase", identity="unverified")
    await world.later(minutes=1)
    assert world.levels[Gauges.cases_open["erase", "identity"]] == 1
    await world.desk.revoked([0])
    await world.later(minutes=1)
    assert world.levels[Gauges.cases_open["erase", "identity"]] == 0


async def test_waiting_cases_and_disclosures_follow_the_epoch(world: DeskWorld) -> None:
    """Else they would keep an old wrapping key alive for three years."""
    more = DISCLOSE | {"notify": "before", "reply_key": reply_key(world)}
    await world.ask("disclose-1", CANARY, by="officer-1", **more)
    await world.ask("approve-01", by="officer-2", type="approve", case=world.case("disclose-1").case)
    await world.ask("unknown-01", CANARY, type="erase", identity="unverified")
    week = epoch_of(START + timedelta(days=7))
    world.vault.create_epoch(week)
    world.keystore.entries[EPOCH_KEY] = week.encode()
    await world.later(days=7)
    assert {world.case(name).epoch for name in ("disclose-1", "unknown-01")} == {week}
    filed = world.book.filed_of(world.case("disclose-1"))
    assert filed is not None
    assert filed.basis.startswith("Criminal Justice Act")
    assert world.book.request_of(world.case("unknown-01")).subjects == (CANARY,)


async def test_a_request_that_a_later_desk_let_in_is_read_and_stays_whole(world: DeskWorld) -> None:
    """A later minor release knows a field more in requests: this desk passes it over, and seals it with the rest."""
    await world.ask("unknown-01", CANARY, type="erase", identity="unverified")
    case, book = world.case("unknown-01"), world.book
    whole = (book._part(case, "request", case.sealed) or b"")[:-1] + b',"zz_later":{"of":[1.50]}}'
    later = book._with(case, EpochName(case.epoch or ""), whole, None)
    await book.save_all([later], [])
    assert book.request_of(later).subjects == (CANARY,)
    week = epoch_of(START + timedelta(days=7))
    world.vault.create_epoch(week)
    world.keystore.entries[EPOCH_KEY] = week.encode()
    await world.later(days=7)
    renewed = world.case("unknown-01")
    assert renewed.epoch == week
    assert book._part(renewed, "request", renewed.sealed) == whole


async def test_a_case_whose_time_is_over_is_tombstoned(world: DeskWorld) -> None:
    await world.ask("restrict-1", CANARY, type="restrict")
    more = DISCLOSE | {"notify": "when_lifted", "reply_key": reply_key(world), "review_at": "2027-12-10T00:00:00Z"}
    await world.meet("bob@example.org")
    await world.ask("disclose-1", "bob@example.org", by="officer-1", **more)
    await world.ask("approve-01", by="officer-2", type="approve", case=world.case("disclose-1").case)
    await world.done("disclose-1", "exported")
    assert world.case("disclose-1").state == "closed"
    await world.ask("unknown-01", CANARY, type="erase", identity="unverified")
    assert world.case("restrict-1").keep_until == world.at + timedelta(days=100)
    await world.later(days=99)
    assert len(list(world.book)) == 3, "beside the copies that were kept ready for the disclosure"
    await world.later(days=2)
    left = {case.type for case in world.book}
    assert left == {"disclose", "erase"}, "an open case stays, and one whose person is still to be told"
    assert [each.key for each in world.written("privacy.cases") if each.value is None] == [world.case_key("restrict-1")]


def table_of(regime: str) -> TenantPolicy:
    """A tenant's policy."""
    purpose = {"number": 1, "basis": "contract", "keep": "P90D"}
    return msgspec.convert({"regime": regime, "events": ["e"], "purposes": {"p": purpose}}, TenantPolicy)


def opened(at: datetime) -> Case:
    """A case to which nothing has happened."""
    start: dict[str, Any] = {"received_at": at, "appended_at": at, "opened_at": at, "due": "", "law_due": None}
    names: dict[str, Any] = {"case": "A" * 22, "tenant": "iocom", "jti": "jti-00001", "asked_by": "backend-1"}
    return Case(type="erase", state="waiting", waits_for="identity", ticket=None, place=(0, 0), **start, **names)


@pytest.mark.parametrize("regime", ["uk", "eu"])
def test_the_short_way_to_the_alarms_gives_the_same_as_the_long_one(regime: str) -> None:
    """At days of receipt through three years, at any time of the day, across both changes of the clocks."""
    table = table_of(regime)
    for day in range(0, 1100, 3):
        case = opened(datetime(2025, 1, 1, tzinfo=UTC) + timedelta(days=day, seconds=day * 7919 % 86_400))
        assert alarms(case, table, table.calendar) == dates(case, table).alarms
        assert alarms(case, table, table.calendar)[0].day > case.received_at.date() + CALM
