"""
The officer's desk: which cases to look at, how many days are left, and who may act on what.

Source: docs/explanation/cases.md.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from calllog_guard.core.cases.case import Case


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What is asked for; None asks for all. `officer` is the name of an officer's key: what waits for just that one."""

    kind: str | None = None
    state: str | None = None
    waits_for: str | None = None
    due_within: int | None = None
    officer: str | None = None


def days_left(case: Case, today: date) -> int | None:
    """Whole days until an answer is due, below zero when it is late; None when none is owed any more."""
    return (date.fromisoformat(case.due) - today).days if case.open else None


def may_act(case: Case, officer: str) -> bool:
    """Whether a case waits for an officer who may be this one: the second is not the first (`machine.approval`)."""
    if case.waits_for == "officer":
        return True
    return case.waits_for == "second_officer" and officer not in (case.approvals or (case.asked_by,))


def chosen(cases: Iterable[Case], wanted: Filter, today: date) -> list[Case]:
    """The cases that are asked for: those in which an answer is owed first, the soonest due first of all."""

    def fits(case: Case) -> bool:
        left = days_left(case, today)
        return (
            wanted.kind in {None, case.type}
            and wanted.state in {None, case.state}
            and wanted.waits_for in {None, case.waits_for}
            and (wanted.due_within is None or (left is not None and left <= wanted.due_within))
            and (wanted.officer is None or may_act(case, wanted.officer))
        )

    return sorted(filter(fits, cases), key=lambda case: (not case.open, case.due, case.case))
