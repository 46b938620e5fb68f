"""
What a person is given: their legs with why, how long and for whom they are kept, in parts of bounded size.

In: opened legs as they are stored, the policy's facts.  Out: the parts' plaintexts, JSON; what a reader makes of them.
Rules: 1. No other party stands in it, because none stands in a leg.  2. Parts of one identifier are numbered from
          `index * 1000 + 1`; `parts` is how many that identifier has.  3. The same legs give the same parts.
Source: GDPR Art. 15, 20; interface: messages, export.
"""

import csv
import io
from collections.abc import Sequence
from html import escape
from typing import Final, Literal

import msgspec

from calllog_guard.core.requests.fields import ReplyKey
from calllog_guard.core.requests.rules import Span
from calllog_guard.core.wire import Day, Id, Internal, Utc

LEGS_PER_PART: Final = 500
"""Below 512 KiB sealed, so that a part fits a record of every broker's default size."""
PARTS_PER_IDENTIFIER: Final = 1000


class Task(Internal, frozen=True, kw_only=True):
    """What an export's decision seals: for whom, which days, where its parts begin, the holds whose copies belong to it."""

    v: Literal[1] = 1
    key: ReplyKey
    range: Span | None = None
    first: int = 1
    holds: tuple[Id, ...] = ()


TASKS: Final = msgspec.json.Decoder(Task)


class ForPurpose(Internal, frozen=True, kw_only=True):
    """Why something is kept: name, legal basis, how long (ISO 8601 from the call's end), what happens then."""

    name: str
    basis: str
    keep: str
    then: str


class OpenedBy(Internal, frozen=True, kw_only=True):
    """An actor who has opened legs of the same partition, for which purpose, and when last."""

    actor: str
    purpose: str
    last: Utc


class About(Internal, frozen=True, kw_only=True):
    """The facts of Art. 15(1): purposes, recipients, periods, who opened; with whom a complaint may be lodged."""

    purposes: tuple[ForPurpose, ...]
    recipients: tuple[str, ...]
    keep: dict[str, str]
    opened_by: tuple[OpenedBy, ...] = ()
    policy: Day
    authority: str | None = None


class ExportedLeg(Internal, frozen=True, kw_only=True):
    """One leg as it is stored, with its purposes and the first day on which none of them reaches back to it."""

    call: str
    role: str
    joined_at: str | None
    left_at: str | None
    kind: str
    outcome: str
    started_at: str
    ended_at: str | None
    parties: int
    subject: str
    purposes: tuple[str, ...]
    kept_until: Day


class Part(Internal, frozen=True, kw_only=True):
    """The plaintext of one part."""

    v: Literal[1] = 1
    case: Id
    part: int
    parts: int
    about: About
    legs: tuple[ExportedLeg, ...]


PARTS: Final = msgspec.json.Decoder(Part)


def count_of(legs: int) -> int:
    """How many parts so many legs take; nothing stored is said in one part, too."""
    return max(1, -(-legs // LEGS_PER_PART))


def missing(parts: Sequence[Part]) -> list[int]:
    """The numbers of parts that are not there, of every identifier of which there is one."""
    found = {part.part: part.parts for part in parts}
    starts = {(number - 1) // PARTS_PER_IDENTIFIER * PARTS_PER_IDENTIFIER: count for number, count in found.items()}
    return [start + n for start, count in sorted(starts.items()) for n in range(1, count + 1) if start + n not in found]


def table(legs: Sequence[ExportedLeg]) -> str:
    """The legs as CSV (RFC 4180), one line each."""
    out = io.StringIO()
    names = ExportedLeg.__struct_fields__
    writer = csv.writer(out)
    writer.writerow(names)
    for leg in legs:
        values = (getattr(leg, name) for name in names)
        writer.writerow([_cell(value) for value in values])
    return out.getvalue()


def _cell(value: object) -> str:
    """A cell's text; what a spreadsheet would take for a formula is made text."""
    text = " ".join(value) if isinstance(value, tuple) else "" if value is None else str(value)
    return "'" + text if text[:1] in {"=", "+", "-", "@", "\t", "\r"} else text


def page(about: About, legs: Sequence[ExportedLeg]) -> str:
    """All of it as a page (HTML, no scripts, nothing fetched) that a person can read and print."""
    why = "".join(
        f"<tr><td>{escape(each.name)}</td><td>{escape(each.basis.replace('_', ' '))}</td>"
        f"<td>{escape(each.keep)}, then {escape(each.then)}</td></tr>"
        for each in about.purposes
    )
    rows = "".join(
        f"<tr><td>{escape(leg.started_at)}</td><td>{escape(leg.ended_at or '')}</td><td>{escape(leg.role)}</td>"
        f"<td>{escape(leg.kind)}, {escape(leg.outcome)}</td><td>{leg.parties}</td><td>{escape(leg.subject)}</td>"
        f"<td>{escape(', '.join(leg.purposes))}</td><td>{escape(leg.kept_until)}</td></tr>"
        for leg in legs
    )
    opened = "".join(
        f"<li>{escape(each.actor)}, for {escape(each.purpose)}, last on {each.last:%Y-%m-%d}</li>"
        for each in about.opened_by
    )
    told = ", ".join(map(escape, about.recipients)) or "nobody"
    complaint = f"<p>You may complain to: {escape(about.authority)}</p>" if about.authority else ""
    style = "body{font:16px/1.5 sans-serif;max-width:70em;margin:2em auto;padding:0 1em}table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.3em .8em .3em 0;border-bottom:1px solid #ddd;vertical-align:top}"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Your call log</title><style>{style}</style>'
        f"<h1>Your call log</h1><p>{len(legs)} calls. Policy of {escape(about.policy)}. Given to: {told}.</p>"
        f"<h2>Why it is kept, and how long</h2><table><tr><th>Purpose<th>Legal basis<th>How long</tr>{why}</table>"
        f"<h2>Who has opened records stored beside yours</h2><ul>{opened or '<li>nobody</li>'}</ul>"
        f"<h2>Your calls</h2><table><tr><th>Began<th>Ended<th>Your role<th>Call<th>Parties<th>You as<th>Kept for<th>Until</tr>"
        f"{rows}</table>{complaint}</html>\n"
    )
