"""
Who has opened a person's records, from the record of accesses.

In: the accesses to one partition, the person's records there by offset.  Out: a line per actor and purpose.
Rules: 1. If an access says which records it opened, it is known whether any of the person's was.  2. Where it does not
          (earlier releases), or a record stored then was written anew since, only records stored beside are known.
       3. Nobody is left out for want of certainty.  4. What is proven is apart from what was written when nobody had to
          prove anything.  5. What nobody believes names nobody: how much of it there is is told.
Source: GDPR Art. 15(1)(c); CJEU C-579/21, C-154/21.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import accumulate
from typing import Final, NamedTuple

import msgspec

from calllog_guard.core.answers.about import OpenedBy
from calllog_guard.core.codec import Access
from calllog_guard.core.stream.offsets import unpack
from calllog_guard.errors import MessageError

LATE: Final = timedelta(days=2)
"""A record appended this long after its call may have replaced an earlier one: events come within minutes."""
_AHEAD: Final = timedelta(days=1)
"""Events may be dated after now, by minutes (EVENT_AHEAD_S), and clocks differ."""
_Name = tuple[str, str, bool]
"""Actor, purpose, and whether the actor has proven it."""


class LegOffsets(NamedTuple):
    """
    Somebody's legs, by their offsets.

    Args:
        days: Of their calls.
        purposes: The masks that they were sealed with; of one that is not here nobody knows.

    """

    days: Mapping[int, date]
    purposes: Mapping[int, int] = {}


class Opening(NamedTuple):
    """
    What an access says of somebody's records.

    Args:
        to: The last offset that it looked at.
        mine: The offsets of the person's records that it opened; None where it does not say which it opened.
        bit: Of the purpose, as a record's header has it; 0 where the policy has none of that name.

    """

    actor: str
    purpose: str
    proven: bool
    at: datetime
    to: int
    mine: AbstractSet[int] | None
    bit: int = 0


@dataclass
class _Seen:
    first: datetime
    last: datetime
    days: set[date] = field(default_factory=set)
    records: set[int] = field(default_factory=set)


def opened_by(openings: Iterable[Opening], legs: LegOffsets, *, asked: bool = False) -> list[OpenedBy]:
    """
    A line for each actor and purpose that has opened the person's records, or may have.

    Args:
        openings: Accesses to the records' topic and partition, in any order; those may be left out that opened none of
            them, and looked at none behind which an older call was written anew.
        asked: Whether actors have to prove who they are by now: a line says then whether it is proven.

    """
    offsets = sorted(legs.days)
    # the oldest call among the records from each offset on: one that was there before, and was written anew
    oldest = list(accumulate((legs.days[offset] for offset in reversed(offsets)), min))[::-1]
    exact: dict[_Name, _Seen] = {}
    beside: dict[_Name, _Seen] = {}
    for each in openings:
        name = each.actor, each.purpose, each.proven
        if each.mine is None:
            _see(beside, name, each.at)
        elif each.mine:
            if mine := each.mine - _never(each, legs):
                _see(exact, name, each.at).records |= mine
        else:
            later = bisect_right(offsets, each.to)
            if later < len(offsets) and oldest[later] + LATE < each.at.date():
                _see(beside, name, each.at)
    lines = [_line(name, seen, asked=asked) for name, seen in exact.items()]
    lines += [_line(name, seen, asked=asked) for name, seen in beside.items()]
    return sorted(lines, key=lambda line: (line.actor, line.purpose, -line.records, line.proven is False))


def never_read(openings: Iterable[Opening], legs: LegOffsets) -> int:
    """How many accesses claim to have opened records of the person that nobody can have opened so."""
    return sum(bool(_never(each, legs)) for each in openings)


def doubted(accesses: Iterable[Access], legs: LegOffsets) -> int:
    """How many accesses that nobody believes claim to have opened records of the person."""
    offsets, found = sorted(legs.days), 0
    for access in accesses:
        first, behind = bisect_left(offsets, access.from_), bisect_right(offsets, access.to)
        if first < behind:
            which = which_of(access)
            found += which is None or not which.isdisjoint(offsets[first:behind])
    return found


def _never(opening: Opening, legs: LegOffsets) -> set[int]:
    """
    What its actor signs to have opened, and nobody can have: calls that had not begun, records of another purpose.

    Where nobody has signed it, it is believed as it always was.
    """
    if not opening.proven:
        return set()
    last = (opening.at + _AHEAD).date()
    return {
        offset
        for offset in opening.mine or ()
        if legs.days[offset] > last or legs.purposes.get(offset, opening.bit) & opening.bit != opening.bit
    }


def which_of(access: Access) -> set[int] | None:
    """The records that an access opened, of those that it looked at; None where it does not say it."""
    if access.which is msgspec.UNSET:
        return None
    try:
        return {each for each in unpack(access.which, access.from_) if each <= access.to}
    except MessageError:
        return None


def _see(seen: dict[_Name, _Seen], name: _Name, at: datetime) -> _Seen:
    found = seen.setdefault(name, _Seen(at, at))
    found.first, found.last = min(found.first, at), max(found.last, at)
    found.days.add(at.date())
    return found


def _line(name: _Name, seen: _Seen, *, asked: bool) -> OpenedBy:
    actor, purpose, proven = name
    return OpenedBy(
        actor=actor,
        purpose=purpose,
        first=seen.first,
        last=seen.last,
        days=len(seen.days),
        records=len(seen.records),
        proven=proven if asked else msgspec.UNSET,
    )
