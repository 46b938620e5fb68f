"""
An answer put together again from its parts, as a page, a table or a file shows it.

Rules: 1. A contradiction is refused: parts of two cases, two of one number, one beyond its group; and what no keeper
          writes, because anybody may seal to a public key: days and times that are none, zones that nobody knows.
       2. Calls are in order of time, newest first.  3. The same parts give the same answer, in any order.
Source: `parts.py`.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import msgspec

from calllog_guard.core.answers.about import About, OpenedBy
from calllog_guard.core.answers.parts import GROUP, DisclosureTerms, ExportedLeg, Part, group_of, joined, missing
from calllog_guard.core.policy.form import period
from calllog_guard.errors import ConfigurationError, RecordError


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Everything in an answer; `lacking` are the numbers of parts that are not there."""

    case: str
    about: About
    disclosure: DisclosureTerms | None
    legs: Sequence[ExportedLeg]
    left_out: dict[str, int]
    parts: int
    lacking: Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """A sealed part: its file, and the SHA-256 of it, in hexadecimal and as the receipt writes it."""

    file: str
    hexadecimal: str
    digest: str


def whole(parts: Iterable[Part]) -> Answer:
    """
    The answer of at least one part.

    Raises:
        RecordError: `several_cases`, `part_twice`, `bad_part`, `bad_leg`, `bad_about`: no answer of ours is like that.

    """
    ordered = sorted(parts, key=lambda part: part.part)
    _check(ordered)
    for part in ordered:
        _check_values(part)
    told = [part for part in ordered if part.about.at is not None and group_of(part.part) == 1]
    about = joined([part.about for part in told]) if told else ordered[-1].about
    lasts = {group_of(part.part): part for part in ordered}.values()  # each counts what was left out up to itself
    left_out = sum((Counter(part.left_out) for part in lasts), Counter[str]())
    seen = _merged(line for part in lasts for line in part.about.opened_by)
    unproven = sum(part.about.unproven or 0 for part in lasts)
    calls = next((part.about.calls for part in ordered if part.about.calls), msgspec.UNSET)
    legs = [leg for part in ordered for leg in part.legs]
    legs.sort(key=lambda leg: (leg.started_at, leg.call, leg.subject), reverse=True)
    return Answer(
        case=ordered[0].case,
        about=msgspec.structs.replace(about, opened_by=seen, calls=calls, unproven=unproven or msgspec.UNSET),
        disclosure=next((part.disclosure for part in ordered if part.disclosure is not None), None),
        legs=legs,
        left_out=dict(left_out),
        parts=len(ordered),
        lacking=missing(ordered),
    )


def _check(ordered: Sequence[Part]) -> None:
    if len({part.case for part in ordered}) > 1:
        raise RecordError("several_cases")
    if len({part.part for part in ordered}) < len(ordered):
        raise RecordError("part_twice")
    counts = {group_of(part.part): part.parts for part in ordered}
    for part in ordered:
        place = part.part - group_of(part.part) + 1
        if part.part < 1 or not place <= part.parts <= GROUP or part.parts != counts[group_of(part.part)]:
            raise RecordError("bad_part")


def _check_values(part: Part) -> None:
    try:
        for leg in part.legs:
            for text in filter(None, (leg.started_at, leg.ended_at, leg.joined_at, leg.left_at)):
                datetime.fromisoformat(text).astimezone(UTC)
            for day in (leg.kept_until, *leg.until.values()):
                date.fromisoformat(day)
    except ValueError:
        raise RecordError("bad_leg") from None
    try:
        ZoneInfo(part.about.zone)
        date.fromisoformat(part.about.policy)
        for keep in (*(purpose.keep for purpose in part.about.purposes), *part.about.keep.values()):
            period(keep)
        for own in part.about.requests:
            date.fromisoformat(own.due)
    except (ValueError, KeyError, OSError, ConfigurationError):
        raise RecordError("bad_about") from None


def _merged(lines: Iterable[OpenedBy]) -> tuple[OpenedBy, ...]:
    """A line per actor and purpose, over all identifiers; what is known for sure stands apart from what may be."""
    found: dict[tuple[str, str, bool, bool], OpenedBy] = {}
    for line in lines:
        name = line.actor, line.purpose, line.records > 0, line.proven is False
        other = found.get(name)
        if other is None:
            found[name] = line
        else:
            firsts = [each.first for each in (line, other) if each.first is not None]
            found[name] = msgspec.structs.replace(
                line,
                first=min(firsts, default=None),
                last=max(line.last, other.last),
                days=max(line.days, other.days),
                records=line.records + other.records,
            )
    return tuple(found[name] for name in sorted(found))
