"""
What each page shows beside a case: lists, sums and pictures of what is in memory, as values for the templates.

Rules: 1. A page shows what a record says, and names what this process cannot see.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from heapq import nlargest
from math import log10
from statistics import median
from typing import Any, Final, NamedTuple

from calllog_guard.console.accesses.sums import AccessLine, Sum
from calllog_guard.console.case_rows import CaseRow
from calllog_guard.console.followed import Followed
from calllog_guard.core.cases.case import Case
from calllog_guard.core.identifiers import Tenant
from calllog_guard.core.policy.active import Policy
from calllog_guard.core.policy.changes.differences import differences
from calllog_guard.core.policy.record import record
from calllog_guard.reports.month_charts import WIDTH, Chart, Dot, Mark, Stroke, Text
from calllog_guard.reports.words import short_span

ACCESS_DAYS: Final = 35
USUAL_DAYS: Final = 28
UNUSUAL_TIMES: Final = 3
UNUSUAL_LEAST: Final = 50
"""A day is marked above three times the median of the actor's days in the four weeks before, from 50 records on."""
PLOT_DAYS: Final = 90
_LEFT: Final = 70
_BOTTOM: Final = 250.0
_DOTS: Final = 500
"""Points of a plot at most, of those within their objectives; beyond, of several one is drawn."""
_HELD: Final = 1000
"""Holds and disclosures that are shown: the newest."""
_TICKS_S: Final = (60, 3600, 86_400, 864_000)


class Dotted(NamedTuple):
    """A stage of an erasure: when its records were tombstoned, and the seconds from there."""

    at: datetime
    stage: str
    took: float


class AccessRow(NamedTuple):
    """A line of the page of accesses; `usual` is the median of the days before where the day is marked."""

    line: AccessLine
    sums: Sum
    usual: int | None


def access_rows(followed: Followed, today: date) -> list[AccessRow]:
    """Who opened what, by day and actor, the newest first; unusual days are marked."""
    by_day: dict[tuple[str, str], dict[date, int]] = defaultdict(lambda: defaultdict(int))
    since = today - timedelta(ACCESS_DAYS)
    for line, sums in followed.accesses.since(since - timedelta(USUAL_DAYS)):
        by_day[line.actor, line.by][line.day] += sums.opened
    return [
        AccessRow(line, sums, _usual(by_day[line.actor, line.by], line.day))
        for line, sums in followed.accesses.since(since)
    ]


def _usual(days: Mapping[date, int], day: date) -> int | None:
    """The median of the days before, where a day is far above it; a first day has none to compare with."""
    before = [many for each, many in days.items() if day - timedelta(USUAL_DAYS) <= each < day]
    if not before:
        return None
    found = int(median(before))
    return found if days[day] >= UNUSUAL_LEAST and days[day] > UNUSUAL_TIMES * found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasures:
    """How long erasures took, of how many one is drawn, and which are late, the latest first."""

    chart: Chart
    overdue: Sequence[tuple[CaseRow, str, float]]
    running: int
    shown: int
    step: int


def erasures(rows: Iterable[CaseRow], objectives: Mapping[str, float], now: datetime) -> Erasures:
    """
    The erasures whose records were tombstoned in the last PLOT_DAYS days.

    Args:
        objectives: Seconds from the tombstones on, by stage.

    """
    since, at, dots, late = (now - timedelta(PLOT_DAYS)).timestamp(), now.timestamp(), list[Dotted](), []
    running = 0
    for row in rows:
        running += row.state in {"enforcing", "observing"}
        seen = dict(row.seen)
        for stage, most in objectives.items() if row.removed_at else ():
            if stage in seen and row.removed_at >= since:
                dots.append(Dotted(datetime.fromtimestamp(row.removed_at, UTC), stage, seen[stage]))
            elif stage not in seen and row.state == "observing" and at - row.removed_at > most:
                late.append((row, stage, at - row.removed_at))
    late.sort(key=lambda each: -each[2])
    missed = [each for each in dots if each.took > objectives[each.stage]][-_DOTS:]
    others = [each for each in dots if each.took <= objectives[each.stage]]
    step = max(1, len(others) // _DOTS)
    drawn = [*others[::step], *missed]
    return Erasures(chart=_plot(drawn, objectives, now), overdue=late, running=running, shown=len(dots), step=step)


def _plot(dots: Sequence[Dotted], objectives: Mapping[str, float], now: datetime) -> Chart:
    """A point for each stage of each erasure: when its records were tombstoned, and how long that stage took."""
    top = max([took for _, _, took in dots] + list(objectives.values()) + [864_000])

    def y(seconds: float) -> float:
        return _BOTTOM - log10(max(seconds, 1)) / log10(top) * (_BOTTOM - 20)

    def x(at: datetime) -> float:
        return _LEFT + (1 - (now - at) / timedelta(PLOT_DAYS)) * (WIDTH - _LEFT - 20)

    parts: list[Mark] = []
    for seconds in _TICKS_S:
        parts += [Stroke(_LEFT, y(seconds), WIDTH, y(seconds), "grid")]
        parts += [Text(_LEFT - 8, y(seconds) + 4, short_span(seconds).replace(".0", ""), "small", "end")]
    for stage, most in objectives.items():
        parts += [Stroke(_LEFT, y(most), WIDTH, y(most), "objective", f"objective of {stage}")]
        parts += [Text(WIDTH, y(most) - 5, f"objective of {stage}", "small", "end")]
    for days in (0, 30, 60, 90):
        at = now - timedelta(days)
        parts += [Text(x(at), _BOTTOM + 18, f"{at:%d %b}", "small", "middle")]
    for at, stage, took in dots:
        missed = took > objectives[stage]
        tip = f"{stage} after {short_span(took)}, tombstoned {at:%Y-%m-%d %H:%M} UTC"
        parts.append(Dot(x(at), y(took), "dot loud" if missed else "dot", tip))
    return Chart(WIDTH, _BOTTOM + 26, "How long erasures took from their tombstones to each stage, by day", parts)


def policy_values(policy: Policy, tenant: Tenant, today: date) -> dict[str, Any]:
    """The version in force in words, and what each version that waits for its day changes."""
    waiting, before = [], policy.at(today)
    for each in policy.versions:
        if each.effective > today and tenant in each.tenant:
            changes = [one for one in differences(policy.inlined(before), policy.inlined(each)) if one.tenant == tenant]
            waiting.append((each, changes))
            before = each
    return {"record": record(policy.history, tenant, today, policy.inlined), "waiting": waiting}


def released(cases: Iterable[Case]) -> set[str | None]:
    """The holds that stand no more, as a desk knows them: a release of each is closed."""
    return {case.hold for case in cases if case.type == "release" and case.state == "closed"}


def held(followed: Followed, today: datetime) -> dict[str, Any]:
    """Holds, their releases and disclosures that are no secret, the next review first."""
    rows = nlargest(_HELD, followed.cases.of_types("hold", "release", "disclose"), key=lambda row: row.day)
    found = [(row, row.whole()) for row in rows]
    ended = released(case for _, case in found)
    far = datetime.max.replace(tzinfo=UTC)
    found.sort(key=lambda each: (each[1].review_at or far, each[0].due))
    return {
        "holds": [each for each in found if each[0].type != "disclose"],
        "disclosures": [each for each in found if each[0].type == "disclose"],
        "now": today,
        "ended": {row.case for row, case in found if case.type == "hold" and case.hold in ended},
    }
