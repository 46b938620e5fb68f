"""
What will follow from an approval by the policy in force: who is told and when, and what a law keeps all the same.

Rules: 1. It says what the policy says, and nothing of the person: no worker has looked what there is.
Source: `core/requests/types.py` (notices), `core/policy/form.py`.
"""

from typing import NamedTuple

from calllog_guard.core.cases.case import Case
from calllog_guard.core.policy.form import PurposeTable, TenantPolicy
from calllog_guard.core.requests.types import RequestType, row_of


class Briefing(NamedTuple):
    """
    What an officer reads before approving.

    Args:
        person: When the person is told: `before`, `after`, `asked` (the request says it), or `never`; empty where an
            answer goes to them in any case.
        recipients: Who else is told, as far as the person's records went to them.
        kept: The purposes for which a law keeps records beyond it.

    """

    person: str
    recipients: tuple[str, ...]
    kept: tuple[tuple[str, PurposeTable], ...]


def briefing(case: Case, table: TenantPolicy) -> Briefing:
    """What the policy makes follow from an approval."""
    row = row_of(case.type)
    if row is None or case.of_nothing:
        return Briefing("", (), ())
    kind = row.before or row.notice
    told = [name for name, each in table.recipients.items() if kind in each.told]
    kept = [(name, each) for name, each in table.purposes.items() if each.survives_erasure]
    return Briefing(_person(row, table), tuple(told), tuple(kept) if case.type == "erase" else ())


def _person(row: RequestType, table: TenantPolicy) -> str:
    kind = row.before or row.notice
    if kind is None or kind == "answered":
        return ""
    if not table.tells(kind):
        return "never"
    if "notify" in row.must:
        return "asked"
    return "before" if row.before else "after"
