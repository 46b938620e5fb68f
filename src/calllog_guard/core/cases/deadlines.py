"""
Until when a request must be answered: by the policy, by the law, and by the earlier of the two.

In: what happened when (`Times`), the tenant's regime, months and calendar.  Out: `Due`, the same for the same values.
Rules: 1. The same date so many months later; if there is none, the month's last; on a weekend or holiday, the next
          working day (ICO; EU: Regulation 1182/71 Art. 3(4)).
       2. The policy's time runs from the request and never stops. The law's may start late and stop (uk): `law` is None
          while it does not run, and the policy binds alone.
       3. Where a text leaves two readings, the earlier date is taken: too early is never unlawful.
       4. Which day a moment falls on is decided in the tenant's zone (`working_days.py`).
       5. eu: no proof, fee or clarification stops anything. That the EDPB stops time until a proof comes (guidelines
          01/2022, section 5.3) is a reading, and the later date: rule 3.
Source: UK GDPR Art. 12, 12A; EU GDPR Art. 12(3)-(6); DPA 2018 s.164A; ICO on time limits;
  `tests/support/clock_table.csv`.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final, Literal

from dateutil.relativedelta import relativedelta

from calllog_guard.core.cases.working_days import Calendar, Regime
from calllog_guard.errors import CaseStateError

ARTICLE_12A: Final = date(2026, 2, 5)
"""From this day of receipt on UK time runs by Art. 12A (SI 2026/82, reg. 2)."""
LAW_MONTHS: Final = 1
LAW_EXTENDED_MONTHS: Final = 3
"""One month, extended by two further months (Art. 12(3))."""
PROMPT_DAYS: Final = 7
"""Before Art. 12A, proof or a fee moved the start only if asked for promptly; the ICO gives no number, this is ours."""
ACKNOWLEDGE_DAYS: Final = 30
"""DPA 2018 s.164A, from 19 June 2026; promised to all. A last day on a weekend is not moved, though the ICO would."""
INTERNAL_DAYS: Final = 28
"""The ICO's advice for one number of days that keeps every month."""
_WEEK: Final = timedelta(7)


Pause = tuple[datetime, datetime | None]
"""When clarification was asked for and when it came; None while it is awaited."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """
    What happened to a case and when; all aware.

    `access` says that the request is one under Art. 15: clarification stops the clock of no other (Art. 12A(5)).
    A proof or fee that was never asked for moves nothing. A moment before its forerunner counts as that one.
    """

    received_at: datetime
    access: bool = False
    identity_asked_at: datetime | None = None
    identity_shown_at: datetime | None = None
    fee_asked_at: datetime | None = None
    fee_paid_at: datetime | None = None
    pauses: tuple[Pause, ...] = ()
    extended_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """A day on which a case asks for attention, and why: `day_28`, or ahead of `extend`, `policy` or `law`."""

    day: date
    of: Literal["day_28", "extend", "policy", "law"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """
    The last days: of the policy, of the law (None while its time does not run), and the earlier, which binds.

    `extend_until` is the last day to tell the person of an extension; `extended` whether that was done in time.
    """

    policy: date
    law: date | None
    binding: date
    alarm_28d: date
    extend_until: date
    extended: bool
    alarms: tuple[Alarm, ...]


def months_after(day: date, months: int) -> date:
    """The same date so many months later, or that month's last day."""
    return day + relativedelta(months=months)


def _uk_start(times: Times, calendar: Calendar) -> date | None:
    """The latest of request, proof, fee (Art. 12A(2)), None while one is awaited; before it, if asked for promptly."""
    received = calendar.day(times.received_at)
    latest = received + timedelta(PROMPT_DAYS) if received < ARTICLE_12A else date.max
    start = received
    for asked, came in ((times.identity_asked_at, times.identity_shown_at), (times.fee_asked_at, times.fee_paid_at)):
        if asked is None or calendar.day(asked) > latest:
            continue
        if came is None:
            return None
        start = max(start, calendar.day(came))
    return start


def _uk_pauses(times: Times, calendar: Calendar) -> list[tuple[date, date | None]]:
    """Art. 12A(5) and (6): the days on which clarification was awaited."""
    if not times.access or calendar.day(times.received_at) < ARTICLE_12A:
        return []
    return [(calendar.day(asked), calendar.day(came) if came else None) for asked, came in times.pauses]


def _end(start: date, months: int, pauses: list[tuple[date, date | None]]) -> date | None:
    """
    The month's own last day, not moved to a working day; None while a pause is open.

    The day on which clarification comes counts again, so one asked for and given within a day stops nothing. What is
    asked for once the time has run out stops nothing either: the days up to the next working day are a grace.
    """
    end, counted = months_after(start, months), start
    for asked, came in sorted(pauses, key=lambda pause: (pause[0], pause[1] or date.max)):
        if asked > end:
            break
        if came is None:
            return None
        end += max(timedelta(0), came - max(asked, counted))
        counted = max(counted, came)
    return end


def due(times: Times, regime: Regime, answer_months: int, extend_to_months: int, calendar: Calendar) -> Due:
    """
    All the dates of a case; an extension told of after `extend_until` changes nothing.

    Args:
        answer_months: The policy's time to answer, at least 1.
        extend_to_months: The policy's time in all once extended.

    """
    received = calendar.day(times.received_at)
    start = _uk_start(times, calendar) if regime == "uk" else received
    pauses = _uk_pauses(times, calendar) if regime == "uk" else []
    first_law = _end(start, LAW_MONTHS, pauses) if start else None
    first_policy = months_after(received, answer_months)
    extend_until = min(first_policy, first_law or first_policy)
    extended = times.extended_at is not None and calendar.day(times.extended_at) <= extend_until
    end_law = _end(start, LAW_EXTENDED_MONTHS, pauses) if start and extended else first_law
    end_policy = months_after(received, max(answer_months, extend_to_months)) if extended else first_policy
    policy, law = calendar.on_or_after(end_policy), calendar.on_or_after(end_law) if end_law else None
    alarm = received + timedelta(INTERNAL_DAYS)
    ahead: list[tuple[date | None, Literal["extend", "policy", "law"]]] = [(policy, "policy"), (law, "law")]
    if not extended:
        ahead.append((extend_until, "extend"))
    alarms = {Alarm(day=alarm, of="day_28")} | {
        Alarm(day=early, of=of) for day, of in ahead if day for early in (day - _WEEK, calendar.before(day))
    }
    return Due(
        policy=policy,
        law=law,
        binding=min(policy, law or policy),
        alarm_28d=alarm,
        extend_until=extend_until,
        extended=extended,
        alarms=tuple(sorted(alarms, key=lambda each: (each.day, each.of))),
    )


def check_extension(now: Due, at: datetime, calendar: Calendar) -> None:
    """
    Whether the person may still be told, at `at`, that the answer takes longer.

    The first month must not be over, and its last day is not moved to a working day.

    Raises:
        CaseStateError: `extended_already` or `too_late_to_extend`; the officer's request becomes a dead letter.

    """
    if now.extended:
        raise CaseStateError("extended_already")
    if calendar.day(at) > now.extend_until:
        raise CaseStateError("too_late_to_extend")


def complaint_alarms(received_at: datetime, calendar: Calendar) -> tuple[Alarm, ...]:
    """The days on which a complaint asks for attention before its last one."""
    last, received = acknowledge_by(received_at, calendar), calendar.day(received_at)
    ahead = (last - _WEEK, calendar.before(last))
    found = {Alarm(day=day, of="law") for day in ahead} | {Alarm(day=received + timedelta(INTERNAL_DAYS), of="day_28")}
    return tuple(sorted(found, key=lambda each: (each.day, each.of)))


def acknowledge_by(received_at: datetime, calendar: Calendar) -> date:
    """The last day to acknowledge a complaint."""
    return calendar.day(received_at) + timedelta(ACKNOWLEDGE_DAYS)
