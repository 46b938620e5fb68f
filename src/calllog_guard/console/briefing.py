"""
What will follow from an approval: who is told and when, what a law keeps, and what keepers have counted.

Rules: 1. What the policy says and what was counted are told apart.  2. What was counted says when; until keepers have
          answered the page says so, and no number is shown.
Source: `core/requests/types.py` (notices), `core/policy/form.py`, `core/decisions/preview.py`.
"""

from typing import NamedTuple

from calllog_guard.core.cases.case import Case
from calllog_guard.core.decisions.preview import Preview
from calllog_guard.core.policy.form import PurposeTable, TenantPolicy
from calllog_guard.core.requests.types import RequestType, row_of


class Briefing(NamedTuple):
    """
    What an officer reads before approving.

    Args:
        person: When the person is told: `before`, `after`, `asked` (the request says it), `never`, or `barred`: the
            desk refuses an approval, as nobody would tell them before; empty where an answer goes to them in any case.
        recipients: Who else is told, as far as the person's records went to them.
        kept: The purposes for which a law keeps records beyond it.
        measuring: Whether keepers are still to answer; `measured` what they have counted.

    """

    person: str
    recipients: tuple[str, ...]
    kept: tuple[tuple[str, PurposeTable], ...]
    measuring: bool = False
    measured: Preview | None = None


def briefing(case: Case, table: TenantPolicy) -> Briefing:
    """What the policy makes follow from an approval."""
    row = row_of(case.type)
    if row is None or case.of_nothing:
        return Briefing("", (), ())
    kind = row.before or row.notice
    told = [name for name, each in table.recipients.items() if kind in each.told]
    kept = [(name, each) for name, each in table.purposes.items() if each.survives_erasure]
    by_law = tuple(kept) if case.type == "erase" else ()
    open_ = bool(case.preview) and case.measured is None
    barred = case.type == "object" and bool(case.decisions) and not table.tells("lifting")
    person = "barred" if barred else _person(row, table)
    return Briefing(person, tuple(told), by_law, open_, case.measured)


class Compared(NamedTuple):
    """How many records keepers had counted before an officer approved, and how many it was."""

    counted: int
    done: int


def compared(case: Case) -> Compared | None:
    """Both numbers, once a keeper has told how many it was; None where not everybody was counted before."""
    found = case.measured
    done = {"tombstoned", "exported"} & case.stages.keys()
    return Compared(found.legs, sum(case.legs.values())) if found is not None and done and not found.unsure else None


def _person(row: RequestType, table: TenantPolicy) -> str:
    kind = row.before or row.notice
    if kind is None or kind == "answered":
        return ""
    if not table.tells(kind):
        return "never"
    if "notify" in row.must:
        return "asked"
    return "before" if row.before else "after"
