"""
A month in the office as a page and as Markdown.

Rules: 1. What the page shows is in the report: no other source.
"""

from collections.abc import Collection, Iterator
from datetime import UTC, date, datetime
from typing import Any, get_args

from calllog_guard.core.audit import month_report
from calllog_guard.core.audit.month_lines import Report
from calllog_guard.core.cases.case import WaitsFor
from calllog_guard.core.cases.working_days import Calendar
from calllog_guard.reports.month_charts import by_access, by_day, by_stage, by_state
from calllog_guard.reports.month_tables import counts, tables
from calllog_guard.reports.pages import page
from calllog_guard.reports.words import plain


def month_page(report: Report) -> str:
    """The page."""
    return page("month.html.j2", **month_values(report))


def month_values(report: Report, leave_out: Collection[str] = ()) -> dict[str, Any]:
    """
    What the page's template is given.

    Args:
        leave_out: The titles of tables that are not shown.

    """
    charts = {
        "Erasures by stage": by_stage(report.stages) if report.stages else None,
        "Who opened records": by_access(report.opened) if report.opened else None,
    }
    shown = [table for table in tables(report) if table.title not in leave_out]
    return {
        "report": report,
        "tiles": _tiles(report),
        "waits": _waits(report),
        "by_state": by_state(report.counts) if report.counts else None,
        "by_day": by_day(report.days),
        "sections": [(table, charts.get(table.title)) for table in shown],
    }


def month_markdown(report: Report) -> str:
    """The same as Markdown."""
    return page("month.md.j2", report=report, counts=counts(report), tables=list(tables(report)))


def _tiles(report: Report) -> list[tuple[int, str, bool]]:
    """A number, what it counts, and whether somebody must look at it."""
    missed = sum(each.missed for each in report.stages)
    overdue = sum(each.left < 0 for each in report.due_soon)
    unheard = sum(each.overdue for each in report.notices)
    return [
        (report.received, "received", False),
        (report.answered, "answered", False),
        (report.late, "answered late", report.late > 0),
        (overdue, "overdue now", overdue > 0),
        (len(report.due_soon) - overdue, "due within 7 days", False),
        (len(report.officers), "wait for officers", False),
        (missed, "objectives missed", missed > 0),
        (unheard, "notices unacknowledged", unheard > 0),
    ]


def _waits(report: Report) -> list[tuple[int, str]]:
    """How many cases wait for what."""
    waits: dict[str, int] = {}
    for each in report.counts:
        if each.waits_for:
            waits[each.waits_for] = waits.get(each.waits_for, 0) + each.cases
    return [(number, plain(name)) for name, number in sorted(waits.items())]


def texts() -> Iterator[str]:
    """What the page asks the catalogue for beside its template's own; words that records contain are none of these."""
    month = month_report.Month(first=date(2026, 1, 1), calendar=Calendar())
    sources = month_report.Sources(
        tenant="", cases=(), filed={}, holds=(), accesses=(), policies=(), limits={}, objectives={}
    )
    nothing = month_report.report(sources, month, datetime(2026, 1, 1, tzinfo=UTC))
    yield from (what for _, what, _ in _tiles(nothing))
    for table in tables(nothing):
        yield from (table.title, *(each for each in (table.empty, *table.heads) if each))
    yield from map(plain, get_args(WaitsFor))
