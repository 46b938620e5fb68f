"""
What the days bring to the cases: alarms before answers are due, notices not acknowledged, cases whose time is up.

Rules: 1. An alarm is a log line with the case's id, and a metric; each is told once per process, the newest of
          a case stands for those before it.  2. What is counted never includes a secret case.
       3. A case is examined when it changed or its next alarm's day came; its dates are worked out once for all
          that are alike to the day.
       4. It runs between units, so that no case changes meanwhile.
Source: docs/explanation/cases.md, docs/reference/metrics.md; GDPR Art. 12(3), 19; DPA 2018 s.164A.
"""

from collections import Counter
from datetime import date, datetime, timedelta
from itertools import islice
from typing import Final

import structlog

from calllog_guard.core.cases.case import SINCE, Case
from calllog_guard.core.cases.notices import waiting
from calllog_guard.core.cases.working_days import Calendar
from calllog_guard.core.policy.active import TenantPolicy
from calllog_guard.core.requests.types import TYPES
from calllog_guard.metrics import GaugeMetric, Gauges, Increment, Summaries
from calllog_guard.workers.desk.cases.terms import alarms, engaged
from calllog_guard.workers.desk.context import DeskContext

log: Final = structlog.get_logger()
_EVERY: Final = timedelta(minutes=1)
_DAY: Final = timedelta(days=1)
CALM: Final = timedelta(days=19)
"""No alarm is earlier: no month has fewer than 28 days, the first is a week before its end; two days for the zones."""
_AT_ONCE: Final = 1000
"""Cases renewed or forgotten between two units; a new epoch comes once a week."""


def timed(before: Case, after: Case, count: Increment) -> None:
    """Count how long an erasure took to a stage from the one that `SINCE` names (to the millisecond)."""
    if after.type != "erase":
        return
    for stage in after.stages.keys() - before.stages.keys():
        last = after.stages.get(SINCE.get(stage, ""))
        if last is not None:
            ms = max(0, int((after.stages[stage] - last).total_seconds() * 1000))
            count(Summaries.erase_stage_seconds[stage], ms * 1000)


class Deadlines:
    """Looks at the cases of one tenant every minute, while this desk has them."""

    def __init__(self, context: DeskContext) -> None:
        self._book, self._settings, self._clock = context.book, context.settings, context.clock
        self._level, self._agree = context.level, context.agree
        self._owned, self._next, self._renewing = False, context.clock.now(), False
        self._quiet: dict[str, tuple[Case, date]] = {}
        self._table: TenantPolicy | None = None
        self._told: dict[str, tuple[str, date]] = {}
        self._shown: set[GaugeMetric] = set()

    def begin(self, *, owned: bool) -> None:
        """The cases are another's now, or were read anew."""
        self._owned = owned
        self._quiet.clear()
        self._show({})
        self._next = self._clock.now()

    async def look(self, table: TenantPolicy) -> None:
        """Do what is due, if a minute has passed."""
        now = self._clock.now()
        if not self._owned:
            return
        if now >= self._next:
            self._next = now + _EVERY
            self._show(self.sweep(table, now))
            self._renewing = True
            await self._forget(now)
        if self._renewing:
            self._renewing = await self._book.renew(_AT_ONCE) == _AT_ONCE

    def sweep(self, table: TenantPolicy, now: datetime) -> dict[GaugeMetric, float]:
        """Tell every alarm whose day has come; the metrics."""
        if table != self._table:
            self._table = table
            self._quiet.clear()
        calendar = table.calendar
        today = calendar.day(now)
        text = today.isoformat()
        counts: Counter[tuple[str, str]] = Counter()
        overdue, next_due, oldest, late = 0, "", 0.0, 0
        for case in self._book:
            if case.notices:
                age, lapsed = self._unacknowledged(case, now)
                oldest, late = max(oldest, age), late + lapsed
            if case.tell_at is not None and case.tell_at <= now:
                self._tell(case, "review", calendar.day(case.tell_at))
            if not case.open:
                continue
            counts[case.type, case.waits_for or "none"] += 1
            overdue += case.due < text
            next_due = min(next_due or case.due, case.due)
            known = self._quiet.get(case.case)
            if known is None or known[0] is not case or known[1] <= today:
                self._quiet[case.case] = (case, self._alarmed(case, table, calendar, today))
        left = (datetime.fromisoformat(next_due) - datetime.fromisoformat(text)).days * 86_400 if next_due else 0
        levels = {Gauges.cases_open[which]: float(many) for which, many in counts.items()}
        return levels | {
            Gauges.cases_overdue: overdue,
            Gauges.case_next_due_s: left,
            Gauges.brake_engaged: sum(engaged(self._book, kind, table, now) for kind in _BRAKES),
            Gauges.notices_unacknowledged_oldest_s: oldest,
            Gauges.notices_overdue: late,
        }

    def _show(self, levels: dict[GaugeMetric, float]) -> None:
        """Show what was counted; what is not among it any more is zero."""
        for name in self._shown - levels.keys():
            self._level(name, 0)
        self._shown |= levels.keys()
        for name, value in levels.items():
            self._level(name, value)

    def _alarmed(self, case: Case, table: TenantPolicy, calendar: Calendar, today: date) -> date:
        """Tell the newest alarm of an open case whose day has come; the day of its next."""
        late = date.fromisoformat(case.due) + _DAY
        if late <= today:
            self._tell(case, "overdue", late)
            return date.max
        calm = case.received_at.date() + CALM
        if today < calm:
            return min(calm, late)
        following = late
        for alarm in reversed(alarms(case, table, calendar)):
            if alarm.day <= today:
                self._tell(case, alarm.of, alarm.day)
                break
            following = alarm.day
        return min(following, late)

    def _unacknowledged(self, case: Case, now: datetime) -> tuple[float, int]:
        """How old the oldest notice is that nobody acknowledged (seconds), and how many are past their date."""
        oldest, late = 0.0, 0
        for name, sent in waiting(case.notices).items():
            oldest = max(oldest, (now - sent.sent_at).total_seconds())
            if sent.act_by < now:
                late += 1
                self._tell(case, f"notice {name}", sent.act_by.date())
        return oldest, late

    def _tell(self, case: Case, what: str, day: date) -> None:
        key = f"{case.case} {what}" if what.startswith("notice") or what == "review" else case.case
        if self._told.get(key) != (what, day):
            self._told[key] = (what, day)
            log.warning("a case asks for attention", case=case.case, of=what, since=day.isoformat(), due=case.due)

    async def _forget(self, now: datetime) -> None:
        """Cases past their time; one of which the person is still to be told stays."""
        over = list(islice(self._book.over(now, timedelta(days=self._settings.cases_keep_days)), _AT_ONCE))
        if over and await self._agree():
            await self._book.forget_all(over)


_BRAKES: Final = tuple({rule.brake: kind for kind, rule in TYPES.items() if rule.brake}.values())
