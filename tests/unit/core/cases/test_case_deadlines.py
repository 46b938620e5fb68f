"""When a request must be answered: a table worked out without the code, and what holds for all dates."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from clock_by_hand import dates, rows
from hypothesis import given
from hypothesis import strategies as st

from calllog_guard.core.cases.deadlines import Due, Pause, Times, acknowledge_by, check_extension, due
from calllog_guard.core.cases.working_days import Calendar, Regime, calendar_of
from calllog_guard.errors import CaseStateError, ConfigurationError, Fate

TABLE = rows()
UK, EU = calendar_of("uk"), calendar_of("eu")


def at(text: str) -> datetime | None:
    """A moment of the table; the library's reader, where the check by hand has its own."""
    return datetime.fromisoformat(text) if text else None


def due_of(row: dict[str, str]) -> tuple[Due, Calendar]:
    """What the code says to a row."""
    regime: Regime = "uk" if row["regime"] == "uk" else "eu"
    calendar = calendar_of(regime, country=row["country"], subdivision=row["subdivision"], zone=row["zone"])
    pauses = [pause.partition("/") for pause in row["pauses"].split()]
    times = Times(
        received_at=datetime.fromisoformat(row["received_at"]),
        access=row["access"] == "yes",
        identity_asked_at=at(row["identity_asked"]),
        identity_shown_at=at(row["identity_shown"]),
        fee_asked_at=at(row["fee_asked"]),
        fee_paid_at=at(row["fee_paid"]),
        pauses=tuple((datetime.fromisoformat(asked), at(came)) for asked, _, came in pauses),
        extended_at=at(row["extended_at"]),
    )
    return due(times, regime, int(row["answer_months"]), int(row["extend_to_months"]), calendar), calendar


def test_the_table_is_long_and_covers_what_it_must() -> None:
    assert len(TABLE) >= 120
    assert {row["received_at"][:4] for row in TABLE} == {str(year) for year in range(2024, 2033)}
    assert {row["regime"] for row in TABLE} == {"uk", "eu"}
    for column in ("pauses", "extended_at", "identity_shown", "fee_paid", "country", "zone"):
        assert any(row[column] for row in TABLE), column
    assert all(row["why"] for row in TABLE)
    assert [int(row["number"]) for row in TABLE] == list(range(1, len(TABLE) + 1))


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row["number"])
def test_a_row_of_the_table(row: dict[str, str]) -> None:
    """The table, its check by hand and the code were made apart: all three agree."""
    found, _ = due_of(row)
    expected = {name: row[name] for name in ("policy", "law", "binding", "alarm_28d", "extend_until")}
    assert expected == {
        "policy": str(found.policy),
        "law": str(found.law or ""),
        "binding": str(found.binding),
        "alarm_28d": str(found.alarm_28d),
        "extend_until": str(found.extend_until),
    }
    assert expected == dates(row)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row["number"])
def test_every_due_date_has_an_alarm_before_it(row: dict[str, str]) -> None:
    found, calendar = due_of(row)
    for name, day in (("policy", found.policy), ("law", found.law)):
        if day:
            early = [alarm.day for alarm in found.alarms if alarm.of == name]
            assert early == [day - timedelta(7), calendar.before(day)] or early == [
                calendar.before(day),
                day - timedelta(7),
            ]
            assert all(each < day for each in early)
    assert [alarm.day for alarm in found.alarms if alarm.of == "day_28"] == [found.alarm_28d]
    assert list(found.alarms) == sorted(found.alarms, key=lambda alarm: (alarm.day, alarm.of))
    assert any(alarm.of == "extend" for alarm in found.alarms) == (not found.extended)


DAYS = st.integers(0, 3100).map(lambda days: date(2024, 1, 1) + timedelta(days))
LATER = st.integers(0, 120)


def moment(day: date) -> datetime:
    """Noon."""
    return datetime(day.year, day.month, day.day, 12, tzinfo=UTC)


@st.composite
def lives(draw: st.DrawFn, *, open_ends: bool = True) -> dict[str, Any]:
    """What may happen to a case, each moment after the one it follows."""
    received = draw(DAYS)

    def span() -> tuple[datetime, datetime | None]:
        asked = received + timedelta(draw(LATER))
        came = asked + timedelta(draw(LATER))
        return moment(asked), None if open_ends and draw(st.integers(0, 4)) == 0 else moment(came)

    identity, fee = (span() if draw(st.booleans()) else (None, None) for _ in range(2))
    return {
        "received_at": moment(received),
        "access": draw(st.booleans()),
        "identity_asked_at": identity[0],
        "identity_shown_at": identity[1],
        "fee_asked_at": fee[0],
        "fee_paid_at": fee[1],
        "pauses": tuple(span() for _ in range(draw(st.integers(0, 3)))),
        "extended_at": moment(received + timedelta(draw(LATER))) if draw(st.booleans()) else None,
    }


REGIMES = st.sampled_from([("uk", UK), ("eu", EU), ("eu", calendar_of("eu", country="DE", zone="Europe/Berlin"))])
MONTHS = st.tuples(st.integers(1, 3), st.integers(1, 4))


def of(life: dict[str, Any], regime: tuple[Any, Calendar], months: tuple[int, int] = (1, 2)) -> Due:
    """The dates of a life."""
    return due(Times(**life), regime[0], *months, regime[1])


def later_or_same(first: date | None, second: date | None) -> bool:
    """Whether the second is not earlier; None is when time does not run."""
    return (second or date.max) >= (first or date.max)


@given(lives(), REGIMES, MONTHS)
def test_the_earlier_binds_and_is_a_working_day(life: dict[str, Any], regime: Any, months: tuple[int, int]) -> None:
    found = of(life, regime, months)
    assert found.binding == min(day for day in (found.policy, found.law) if day)
    for day in (found.policy, found.law):
        assert day is None or (day.weekday() < 5 and regime[1].working(day))
    assert found == of(life, regime, months)


@given(lives(), REGIMES, MONTHS, st.integers(1, 40))
def test_who_asks_later_is_never_due_earlier(
    life: dict[str, Any], regime: Any, months: tuple[int, int], days: int
) -> None:
    asked = [life["identity_asked_at"], life["fee_asked_at"], *(pause[0] for pause in life["pauses"])]
    latest = min((each for each in asked if each), default=datetime.max.replace(tzinfo=UTC))
    moved = life | {"received_at": min(life["received_at"] + timedelta(days), latest)}
    first, second = of(life, regime, months), of(moved, regime, months)
    assert second.policy >= first.policy
    assert later_or_same(first.law, second.law)
    assert second.binding >= first.binding


@given(lives(), REGIMES, st.integers(0, 200), LATER)
def test_a_pause_never_makes_the_law_due_earlier_and_never_moves_the_policy(
    life: dict[str, Any], regime: Any, start: int, days: int
) -> None:
    asked = life["received_at"] + timedelta(start)
    pause: Pause = (asked, asked + timedelta(days))
    first, second = of(life, regime), of(life | {"pauses": (*life["pauses"], pause)}, regime)
    assert later_or_same(first.law, second.law)
    assert second.binding >= first.binding
    if not life["extended_at"]:
        assert second.policy == first.policy


@given(lives(), REGIMES)
def test_the_order_of_pauses_says_nothing(life: dict[str, Any], regime: Any) -> None:
    assert of(life, regime) == of(life | {"pauses": life["pauses"][::-1]}, regime)


@given(lives(), st.sampled_from(["uk", "eu"]), MONTHS)
def test_an_extension_in_time_is_never_refused_and_a_late_one_never_taken(
    life: dict[str, Any], name: Regime, months: tuple[int, int]
) -> None:
    calendar = calendar_of(name)
    plain = of(life | {"extended_at": None}, (name, calendar), months)
    for days in (-1, 0, 1):
        told = moment(plain.extend_until + timedelta(days))
        extended = of(life | {"extended_at": told}, (name, calendar), months)
        assert extended.extended == (days <= 0)
        if days <= 0:
            check_extension(plain, told, calendar)
            assert extended.binding >= plain.binding
        else:
            assert extended == plain
            with pytest.raises(CaseStateError, match="too_late_to_extend"):
                check_extension(plain, told, calendar)


def test_a_second_extension_is_refused_as_a_dead_letter() -> None:
    received = datetime(2026, 3, 10, 10, tzinfo=UTC)
    once = due(Times(received_at=received, extended_at=received), "uk", 1, 2, UK)
    with pytest.raises(CaseStateError, match="extended_already") as caught:
        check_extension(once, received, UK)
    assert caught.value.fate is Fate.DEAD_LETTER


def test_a_complaint_is_acknowledged_within_thirty_days() -> None:
    assert acknowledge_by(datetime(2026, 6, 19, 22, 59, tzinfo=UTC), UK) == date(2026, 7, 19)
    assert acknowledge_by(datetime(2026, 6, 19, 23, 30, tzinfo=UTC), UK) == date(2026, 7, 20)
    assert acknowledge_by(datetime(2026, 6, 19, 23, 30, tzinfo=UTC), EU) == date(2026, 7, 19)


@pytest.mark.parametrize(
    "named",
    [{"zone": "Europe/Nowhere"}, {"zone": "../etc/passwd"}, {"country": "XX"}, {"country": "GB", "subdivision": "Z"}],
)
def test_a_calendar_that_nobody_knows_is_refused_with_what_to_write(named: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="write"):
        calendar_of("uk", **named)


def test_a_tenant_may_name_only_the_part_of_the_country() -> None:
    assert calendar_of("uk", subdivision="SCT") == Calendar(zone="Europe/London", country="GB", subdivision="SCT")
    assert Calendar() == EU
