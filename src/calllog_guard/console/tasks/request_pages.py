"""
New requests: which types there are, the form of one, and what became of one that was sent.

Rules: 1. The server gets what is sealed, and the id of the case to come; nothing that was typed.
       2. What became of it is told by its case, or by the desk's own answer to a refused request.
"""

import re
from http import HTTPStatus
from typing import Any, Final

from calllog_guard.console.pages import MadePage, Office, Visit
from calllog_guard.console.tasks.fields import fields_of, kinds_asked, month_ago, why_not
from calllog_guard.core.requests.types import TYPES
from calllog_guard.errors import StateRefusedError

_ID: Final = re.compile(r"[A-Za-z0-9_-]{22}\Z", re.ASCII)


async def types_page(office: Office, _visit: Visit) -> MadePage:
    """Every type of request, with a link to its form or the reason why there is none."""
    table = office.table()
    rows = [(kind, TYPES[kind], why_not(kind, table)) for kind in kinds_asked()]
    return MadePage("requests.html.j2", {"rows": rows})


async def form_page(office: Office, visit: Visit, name: str) -> MadePage:
    """The form of a type."""
    kind, table, today = next((each for each in kinds_asked() if each == name), None), office.table(), office.today()
    if kind is None or why_not(kind, table):
        return MadePage("missing.html.j2", {}, HTTPStatus.NOT_FOUND)
    values: dict[str, Any] = {"kind": kind, "row": TYPES[kind], "fields": list(fields_of(kind, table))}
    values |= {"today": today, "month_ago": month_ago(today)}
    return MadePage("request_form.html.j2", values | office.signing(visit))


async def sent_page(office: Office, _visit: Visit, name: str) -> MadePage:
    """What became of a request: its case, the desk's refusal, or nothing yet."""
    row, refused = office.followed.cases.rows.get(name), office.followed.refused.get(name)
    return MadePage("request_sent.html.j2", {"case": name, "row": row, "refused": refused})


def led_to(case: str) -> str:
    """
    The page of a request that was sent, by the case to come.

    Raises:
        StateRefusedError: That is no case's id: nothing was sent.

    """
    if not _ID.match(case):
        raise StateRefusedError("the form did not say which case it opens: nothing was sent")
    return f"/requests/{case}"
