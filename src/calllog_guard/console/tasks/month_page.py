"""
A month's report, from the same values and templates as `report --html`, as far as a console may read.

Rules: 1. Secret holds are not in it: the console has none of their cases.  2. What lies in the key store or is sealed
          (the terms of holds, to whom a disclosure went) is left out, and the page says so.
Source: `core/audit/month_report.py`, `reports/month.py`.
"""

import asyncio
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, time, timedelta
from http import HTTPStatus
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from calllog_guard.client.answers import read_claims
from calllog_guard.console.accesses.sums import KEPT_DAYS, Sum
from calllog_guard.console.case_rows import CaseRow
from calllog_guard.console.followed import Followed
from calllog_guard.console.pages import MadePage, Office, Visit
from calllog_guard.console.views import released
from calllog_guard.core.audit.month_lines import DoubtLine, HoldLine, Openings, PolicyLine, Report
from calllog_guard.core.audit.month_report import Month, Sources, report
from calllog_guard.core.audit.month_statement import KEY, Statement
from calllog_guard.core.cases.case import Case
from calllog_guard.core.identifiers import unb64
from calllog_guard.errors import MessageError
from calllog_guard.reports.month import month_values
from calllog_guard.workers.desk.cases.terms import limits

MOST_CASES: Final = 20_000
"""Cases that one page is made of: each takes a fraction of a millisecond and some kilobytes."""
_MONTH: Final = re.compile(r"\d{4}-(0[1-9]|1[0-2])\Z", re.ASCII)
_LEFT_OUT: Final = frozenset({"Holds"})


async def month_page(office: Office, visit: Visit) -> MadePage:
    """The report of the month that is asked for, or of the present one."""
    today = office.today()
    text = visit.query.get("month", f"{today:%Y-%m}")
    if not _MONTH.match(text) or text > f"{today:%Y-%m}" or text < "2000":
        return MadePage("missing.html.j2", {}, HTTPStatus.NOT_FOUND)
    month = Month(first=date.fromisoformat(f"{text}-01"), calendar=office.table().calendar)
    rows = list(_rows(office.followed.cases.rows.values(), month))
    before, after = month.first - timedelta(1), month.last + timedelta(1)
    around = {"month": text, "before": f"{before:%Y-%m}", "after": f"{after:%Y-%m}" if after <= today else ""}
    if len(rows) > MOST_CASES:
        return MadePage("month_console.html.j2", around | {"report": None})
    found = await _made(office, month, rows)
    kept = month.first >= office.followed.accesses.complete_from()
    values = month_values(found, _LEFT_OUT) | {"holds": found.holds, "accesses_kept": kept, "kept_days": KEPT_DAYS}
    return MadePage("month_console.html.j2", around | values)


async def _made(office: Office, month: Month, rows: Sequence[CaseRow]) -> Report:
    cases = await asyncio.to_thread(lambda: [row.whole() for row in rows])
    accepted, prolonged = await office.changes()
    now, followed = office.clock.now(), office.followed
    sources = Sources(
        tenant=office.tenant,
        cases=cases,
        filed={},
        holds=list(holds_of(row.whole() for row in followed.cases.of_types("hold", "release"))),
        accesses=(),
        policies=[
            PolicyLine(effective=each.effective.isoformat(), change=each.change) for each in office.policy.history
        ],
        limits=limits(office.table()),
        objectives=office.objectives,
        accepted=accepted,
        prolonged=prolonged,
        statement=await _statement(followed, f"{month.first:%Y-%m}"),
    )
    asked = office.recorder.actors().must_prove(now)
    found = await asyncio.to_thread(report, sources, month, now)
    opened = (*_opened(followed, month, asked=asked), *found.opened)
    return msgspec.structs.replace(found, opened=opened, doubted=tuple(_doubted(followed, month)))


def _rows(rows: Iterable[CaseRow], month: Month) -> Iterator[CaseRow]:
    """The cases in which an answer is owed, or something happened from the month's beginning on."""
    first = month.first.isoformat()
    begins = datetime.combine(month.first, time(), ZoneInfo(month.calendar.zone)).timestamp()
    return (row for row in rows if row.open or row.day >= first or row.stage_at >= begins)


def holds_of(cases: Iterable[Case]) -> Iterator[HoldLine]:
    """The holds among some cases: one stands until a release of it is closed."""
    known = list(cases)
    ended = released(known)
    for case in known:
        if case.type == "hold" and case.hold and case.state != "refused":
            state = "released" if case.hold in ended else "held"
            name = case.ticket or case.case
            yield HoldLine(hold=name, case=case.case, state=state, basis=None, review_at=case.review_at)


async def _statement(followed: Followed, month: str) -> Statement | None:
    """The statement of a month, where the desk has signed one."""
    for record in reversed(await followed.receipts_of(f"{KEY}{month}")):
        try:
            claims = read_claims(unb64((record.value or b"").split(b".")[1]))
        except (MessageError, ValueError, IndexError):
            continue
        if isinstance(claims, Statement):
            return claims
    return None


def _opened(followed: Followed, month: Month, *, asked: bool) -> Iterator[Openings]:
    found: dict[tuple[str, str, bool], Sum] = {}
    for line, sums in followed.accesses.lines.items():
        if month.first <= line.day <= month.last:
            name = line.actor, line.purpose, line.proven
            found[name] = found.get(name, Sum()).plus(sums)
    for (actor, purpose, proven), sums in sorted(found.items(), key=lambda item: (item[0][:2], not item[0][2])):
        yield Openings(
            actor=actor,
            purpose=purpose,
            times=sums.reads,
            opened=sums.opened,
            refused=sums.refused,
            denied=sums.denied,
            proven=proven if asked else msgspec.UNSET,
        )


def _doubted(followed: Followed, month: Month) -> Iterator[DoubtLine]:
    reasons: dict[str, tuple[int, int]] = {}
    for (on, reason), many in followed.accesses.doubted.items():
        if month.first <= on <= month.last:
            accesses, claimed = reasons.get(reason, (0, 0))
            reasons[reason] = accesses + many, claimed + followed.accesses.claimed[on, reason]
    for reason, (accesses, claimed) in sorted(reasons.items()):
        yield DoubtLine(reason=reason, accesses=accesses, claimed=claimed)
