"""
Calls as rows: of a page, in words; of a file of comma separated values.

Rules: 1. What a spreadsheet would take for a formula is made text.  2. The sealed parts and `export.json` are exact.
Source: RFC 4180; OWASP, CSV Injection.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Final

import msgspec

from calllog_guard.core.answers.parts import ExportedLeg
from calllog_guard.reports.words import MONTHS, day_words, moment, span_words

PAGE: Final = 2000
"""Calls on one page: more are slow to open on a telephone."""
_KINDS: Final = {"video": "Video call", "audio": "Voice call", "screen": "Screen sharing"}
_ROLES: Final = {
    "host": "you were the host",
    "guest": "you were a guest",
    "caller": "you called",
    "callee": "you were called",
}
_OUTCOMES: Final = {"answered": "", "missed": "missed", "declined": "declined", "failed": "failed"}
_FORMULA: Final = frozenset("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
"""The first characters that make a cell a formula, in the forms of full width too."""


@dataclass(frozen=True, slots=True)
class Row:
    """One call in words; `seen` says how the person was in it, `length` is empty where nobody spoke."""

    began: str
    length: str
    what: str
    seen: str
    people: int
    subject: str
    purposes: Sequence[str]
    until: str
    call: str
    outcome: str
    role: str


@dataclass(frozen=True, slots=True)
class MonthOfCalls:
    """The calls of a month, newest first."""

    title: str
    rows: Sequence[Row]


def pages_of(legs: Sequence[ExportedLeg], zone: str, *, exact: bool = False) -> Iterator[list[MonthOfCalls]]:
    """The calls page by page, by the months of a zone; `exact`: to the second."""
    for start in range(0, len(legs), PAGE):
        some = legs[start : start + PAGE]
        months = groupby(some, lambda leg: (moment(leg.started_at, zone).year, moment(leg.started_at, zone).month))
        yield [
            MonthOfCalls(f"{MONTHS[month - 1]} {year}", [_row(leg, zone, exact=exact) for leg in group])
            for (year, month), group in months
        ]


def _row(leg: ExportedLeg, zone: str, *, exact: bool) -> Row:
    began = moment(leg.joined_at or leg.started_at, zone)
    return Row(
        began=f"{began.day} {MONTHS[began.month - 1]}, {began:{'%H:%M:%S' if exact else '%H:%M'} %Z}",
        length=span_words(_seconds(leg)),
        what=_KINDS.get(leg.kind, leg.kind),
        seen=", ".join(
            filter(None, (_ROLES.get(leg.role, leg.role), _OUTCOMES.get(leg.outcome, leg.outcome), _estimated(leg)))
        ),
        people=leg.parties,
        subject=leg.subject,
        purposes=leg.purposes,
        until=day_words(leg.kept_until),
        call=leg.call,
        outcome=leg.outcome,
        role=leg.role,
    )


def _estimated(leg: ExportedLeg) -> str:
    return "when you joined or left was not reported: an estimate" if leg.estimated else ""


def _seconds(leg: ExportedLeg) -> float:
    start = leg.joined_at or leg.started_at
    end = leg.left_at or leg.ended_at or start
    return max(0.0, (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds())


def table(legs: Iterable[ExportedLeg]) -> str:
    """The calls as CSV, a line each."""
    out = io.StringIO()
    names = ExportedLeg.__struct_fields__
    writer = csv.writer(out)
    writer.writerow(names)
    for leg in legs:
        writer.writerow([_cell(getattr(leg, name)) for name in names])
    return out.getvalue()


def _cell(value: object) -> str:
    """A cell's text."""
    if isinstance(value, dict):
        text = " ".join(f"{name}={each}" for name, each in value.items())
    else:
        text = (
            " ".join(value)
            if isinstance(value, tuple)
            else ""
            if value is None or value is msgspec.UNSET
            else str(value)
        )
    return "'" + text if text.lstrip(" \u00a0\ufeff")[:1] in _FORMULA else text
