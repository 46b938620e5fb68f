"""From when time runs: the day on which a request came, and what was asked of the person; not the desk's delay."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from desk_world import CANARY, POLICY, START, DeskWorld

from calllog_guard.core.cases.received_day import received_moment
from calllog_guard.errors import ConfigurationError

DAYS_AGO = timedelta(days=1)


@pytest.fixture
async def world(tmp_path: Path) -> DeskWorld:
    """A desk of the United Kingdom, on 24 November 2026 at 9:00."""
    return await DeskWorld(tmp_path).start()


@pytest.fixture
async def european(tmp_path: Path) -> DeskWorld:
    """A desk of the Union."""
    return await DeskWorld(tmp_path, POLICY.replace('"uk"', '"eu"')).start()


def ago(days: float) -> str:
    """A moment so many days before the world begins."""
    return (START - days * DAYS_AGO).isoformat()


# --- received ---------------------------------------------------------------------------------------------------------


async def test_a_letter_that_is_five_days_old_is_due_from_its_own_day(world: DeskWorld) -> None:
    await world.ask("letter-001", CANARY, type="erase", received_at=ago(5), identity="unverified")
    assert world.case("letter-001").due == "2026-12-21", "19 December is a Saturday"
    await world.ask("letter-002", CANARY, type="complain", ground="why", received_at=ago(5))
    assert world.case("letter-002").due == "2026-12-19", "30 days, DPA 2018 s.164A"


async def test_a_clock_that_is_minutes_fast_puts_no_answer_off_by_a_day(world: DeskWorld) -> None:
    """What the log dates on the 24th was not received on the 25th."""
    world.at = datetime(2026, 11, 24, 23, 58, tzinfo=UTC)
    await world.ask("ahead-0001", CANARY, type="erase", received_at="2026-11-25T00:02:00Z", identity="unverified")
    assert world.case("ahead-0001").due == "2026-12-24"
    assert world.case("ahead-0001").received_at == world.at


async def test_a_brake_counts_what_is_begun_now_whatever_day_the_letters_bear(tmp_path: Path) -> None:
    policy = POLICY.replace('events = ["calllog.events"]', 'events = ["calllog.events"]\nerasures_per_hour = 2')
    world = await DeskWorld(tmp_path, policy).start()
    for number in range(4):
        await world.ask(f"letter-00{number}", f"p{number}@example.org", type="erase", received_at=ago(5 * number + 1))
    assert [world.case(f"letter-00{number}").waits_for for number in range(4)] == [None, None, "officer", "officer"]


async def test_a_consent_of_tomorrow_is_refused(world: DeskWorld) -> None:
    """Art. 7(1): what is on record must have happened."""
    tomorrow = (START + timedelta(days=1)).isoformat()
    await world.ask("consent-01", CANARY, type="consent", purposes=["service"], wording="Yes.", time=tomorrow)
    assert world.reasons() == ["in_future"]


# --- identity ---------------------------------------------------------------------------------------------------------


async def test_an_identity_that_nobody_asked_for_stops_no_clock(world: DeskWorld) -> None:
    """UK GDPR Art. 12A(2)(b): time runs from the information *requested* under Art. 12(6)."""
    await world.ask("unknown-01", CANARY, type="erase", identity="unverified")
    case = world.case("unknown-01")
    assert (case.waits_for, case.law_due) == ("identity", "2026-12-24")
    await world.later(days=10)
    await world.ask("verify-001", type="clock", case=case.case, event="verify")
    case = world.case("unknown-01")
    assert (case.state, case.law_due) == ("enforcing", "2026-12-24"), "a proof that came unasked moves nothing"


async def test_an_identity_that_was_asked_for_starts_the_uk_clock_when_it_comes(world: DeskWorld) -> None:
    await world.ask("unknown-01", CANARY, type="erase", identity="unverified")
    case = world.case("unknown-01").case
    await world.later(days=1)
    await world.ask("asked-0001", type="clock", case=case, event="ask_identity")
    assert (world.case("unknown-01").due, world.case("unknown-01").law_due) == ("2026-12-24", None)
    await world.later(days=9)
    await world.ask("verify-001", type="clock", case=case, event="verify")
    found = world.case("unknown-01")
    assert (found.due, found.law_due) == ("2026-12-24", "2027-01-04"), "the policy's promise does not wait"


async def test_in_the_union_an_identity_stops_no_clock_asked_for_or_not(european: DeskWorld) -> None:
    """Art. 12(3) knows no pause; that of the EDPB's guidelines 01/2022 would be later, and early is never unlawful."""
    await european.ask("unknown-01", CANARY, type="erase", identity="unverified")
    case = european.case("unknown-01").case
    await european.ask("asked-0001", type="clock", case=case, event="ask_identity")
    await european.later(days=9)
    await european.ask("verify-001", type="clock", case=case, event="verify")
    found = european.case("unknown-01")
    assert (found.due, found.law_due) == ("2026-12-24", "2026-12-24")


async def test_a_proof_that_came_by_post_counts_from_its_day_and_an_earlier_one_from_the_request(
    world: DeskWorld,
) -> None:
    for name, days in (("post", 3), ("early", 30)):
        await world.ask(f"{name}-00001", f"{name}@example.org", type="erase", received_at=ago(5), identity="unverified")
        case = world.case(f"{name}-00001").case
        await world.ask(f"{name}-asked", type="clock", case=case, event="ask_identity", received_at=ago(4))
        await world.ask(f"{name}-shown", type="clock", case=case, event="verify", received_at=ago(days))
    assert world.case("post-00001").law_due == "2026-12-21"
    assert world.case("post-00001").times["identity_shown_at"] == START - 3 * DAYS_AGO
    assert world.case("early-00001").times["identity_shown_at"] == START - 5 * DAYS_AGO


async def test_nothing_is_asked_before_the_request_has_come(world: DeskWorld) -> None:
    """Else a pause could be longer than the case is old."""
    await world.ask("access-001", CANARY, type="object", purposes=["fraud"], received_at=ago(5))
    case = world.case("access-001").case
    asked = {"type": "clock", "case": case, "received_at": ago(20)}
    await world.ask("clarify-01", event="ask_clarification", **asked)
    await world.ask("fee-000001", by="officer-1", event="ask_fee", **asked)
    found = world.case("access-001")
    assert found.pauses[0][0] == found.times["fee_asked_at"] == START - 5 * DAYS_AGO


async def test_who_is_not_known_is_still_waited_for_after_the_fee(world: DeskWorld) -> None:
    """That nobody asked stops no clock, and opens no door either."""
    await world.ask("unknown-01", CANARY, type="erase", identity="unverified")
    case = world.case("unknown-01").case
    await world.ask("fee-000001", by="officer-1", type="clock", case=case, event="ask_fee")
    await world.ask("paid-00001", type="clock", case=case, event="fee")
    assert world.case("unknown-01").waits_for == "identity"
    assert world.case("unknown-01").state == "waiting"


async def test_what_an_earlier_release_took_for_asked_runs_again(world: DeskWorld) -> None:
    """It noted the opening of a case as the moment at which the person was asked."""
    await world.ask("unknown-01", CANARY, type="erase", identity="unverified")
    case = world.case("unknown-01")
    old = msgspec.structs.replace(case, times={"identity_asked_at": case.opened_at}, law_due=None)
    await world.book.save(old)
    await world.restart()
    await world.ask("clarify-01", type="clock", case=case.case, event="ask_clarification")
    assert world.case("unknown-01").law_due == "2026-12-24"


# --- extension --------------------------------------------------------------------------------------------------------


async def test_an_extension_counts_from_when_it_was_said_not_from_when_the_desk_read_it(world: DeskWorld) -> None:
    """Said an hour before the last day ended, read by a desk that was down over midnight."""
    await world.ask("unknown-01", CANARY, type="erase", identity="unverified")
    case = world.case("unknown-01").case
    extend = {"by": "officer-1", "type": "clock", "case": case, "event": "extend", "ground": "Many calls."}
    world.at = datetime(2026, 12, 24, 23, tzinfo=UTC)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world, "again", _nothing)
        await world.ask("extend-001", **extend)
    world.at = datetime(2026, 12, 25, 6, tzinfo=UTC)
    await world.again()
    assert world.case("unknown-01").extended
    assert world.reasons() == []


async def test_an_extension_said_a_day_late_is_not_made_timely_by_its_own_word(world: DeskWorld) -> None:
    await world.ask("unknown-01", CANARY, type="erase", identity="unverified")
    case = world.case("unknown-01").case
    world.at = datetime(2026, 12, 25, 6, tzinfo=UTC)
    extend = {"by": "officer-1", "type": "clock", "case": case, "event": "extend", "ground": "Many calls."}
    await world.ask("extend-001", **extend, received_at="2026-12-20T09:00:00Z")
    assert world.reasons() == ["too_late_to_extend"]


async def _nothing() -> None:
    """No desk runs."""


# --- as it is typed ---------------------------------------------------------------------------------------------------

NOW = datetime(2026, 6, 30, 23, 30, tzinfo=UTC)
"""Half past midnight on 1 July in London."""


def typed(text: str, zone: str = "Europe/London", *, long_ago: bool = False) -> str:
    """What a text means."""
    return received_moment(text, zone=zone, now=NOW, long_ago=long_ago).astimezone(UTC).isoformat()


def test_a_date_is_that_day_in_the_tenants_zone_and_a_moment_is_itself() -> None:
    assert typed("2026-06-25") == "2026-06-24T23:00:00+00:00"
    assert typed("2026-06-25", "UTC") == "2026-06-25T00:00:00+00:00"
    assert typed("2026-06-25T10:30:00+02:00") == "2026-06-25T08:30:00+00:00"
    assert typed("2026-06-25T10:30:00Z") == "2026-06-25T10:30:00+00:00"


def test_today_is_today_in_the_tenants_zone() -> None:
    assert typed("2026-07-01") == "2026-06-30T23:00:00+00:00"
    with pytest.raises(ConfigurationError, match="2026-07-01 is in the future"):
        typed("2026-07-01", "UTC")


@pytest.mark.parametrize(
    "text",
    ["2026-07-02", "2026-06-30T23:30:01Z", "2027-01-01", "2026-06-31", "yesterday", "", "20260625", "2026-W26-4"],
)
def test_what_is_no_day_or_has_not_come_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="--received-at"):
        typed(text)


def test_a_moment_without_an_offset_is_refused_with_what_to_write() -> None:
    with pytest.raises(ConfigurationError, match="2026-06-25T10:30:00Z"):
        typed("2026-06-25T10:30:00")


def test_what_is_more_than_a_month_past_must_be_meant() -> None:
    """Such a request is overdue as it arrives: more often than not a mistyped year."""
    assert typed("2026-06-01") == "2026-05-31T23:00:00+00:00"
    with pytest.raises(ConfigurationError, match=r"2026-05-31 .*--long-ago"):
        typed("2026-05-31")
    with pytest.raises(ConfigurationError, match="--long-ago"):
        typed("2025-06-25")
    assert typed("2025-06-25", long_ago=True) == "2025-06-24T23:00:00+00:00"
    with pytest.raises(ConfigurationError, match="1999-12-31"):
        typed("1999-12-31", long_ago=True)


def test_a_midnight_that_the_clocks_leave_out_is_the_same_day() -> None:
    """In Beirut 29 March 2026 begins at one o'clock."""
    moment = received_moment("2026-03-29", zone="Asia/Beirut", now=NOW, long_ago=True)
    from zoneinfo import ZoneInfo  # noqa: PLC0415

    assert moment.astimezone(ZoneInfo("Asia/Beirut")).date() == date(2026, 3, 29)
