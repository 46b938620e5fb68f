"""
Who has opened a person's records, from the record of accesses.

In: the accesses to one partition, the person's records there by offset.  Out: a line per actor and purpose.
Rules: 1. Where an access says which records were opened, it is known whether any of the person's was.  2. Where it does not
          (earlier releases), or where a record stored then has been written anew since, only records stored beside are known of.
       3. Nobody is left out because it is not known for sure.
Source: GDPR Art. 15(1)(c); CJEU C-579/21, C-154/21.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import accumulate
from typing import Final

import msgspec

from calllog_guard.core.answers.about import OpenedBy
from calllog_guard.core.offsets import unpack
from calllog_guard.core.wire import Access
from calllog_guard.errors import MessageError

_LATE: Final = timedelta(days=2)
"""A record appended this long after its call may have replaced an earlier one: events come within minutes."""


@dataclass
class _Seen:
    first: datetime
    last: datetime
    days: set[date] = field(default_factory=set)
    records: set[int] = field(default_factory=set)


def opened_by(accesses: Iterable[Access], records: Mapping[int, date]) -> list[OpenedBy]:
    """
    A line for each actor and purpose that has opened the person's records, or may have.

    Args:
        accesses: Those to the topic and partition of the records, in any order.
        records: The day of the call by the record's offset.

    """
    offsets = sorted(records)
    # the oldest call among the records from each offset on: one that was there before, and was written anew
    oldest = list(accumulate((records[offset] for offset in reversed(offsets)), min))[::-1]
    exact: dict[tuple[str, str], _Seen] = {}
    beside: dict[tuple[str, str], _Seen] = {}
    for access in accesses:
        if not access.opened:
            continue
        name = access.actor, access.purpose
        mine = _mine(access, records)
        if mine is None:
            _see(beside, name, access.at)
        elif mine:
            _see(exact, name, access.at).records |= mine
        else:
            later = bisect_right(offsets, access.to)
            if later < len(offsets) and oldest[later] + _LATE < access.at.date():
                _see(beside, name, access.at)
    lines = [_line(name, seen) for name, seen in exact.items()]
    lines += [_line(name, seen) for name, seen in beside.items()]
    return sorted(lines, key=lambda line: (line.actor, line.purpose, -line.records))


def _mine(access: Access, records: Mapping[int, date]) -> set[int] | None:
    """The person's records that an access opened; None where it does not say which it opened."""
    if access.which is msgspec.UNSET:
        return None
    try:
        return records.keys() & set(unpack(access.which, access.from_))
    except MessageError:
        return None


def _see(seen: dict[tuple[str, str], _Seen], name: tuple[str, str], at: datetime) -> _Seen:
    found = seen.setdefault(name, _Seen(at, at))
    found.first, found.last = min(found.first, at), max(found.last, at)
    found.days.add(at.date())
    return found


def _line(name: tuple[str, str], seen: _Seen) -> OpenedBy:
    actor, purpose = name
    return OpenedBy(
        actor=actor,
        purpose=purpose,
        first=seen.first,
        last=seen.last,
        days=len(seen.days),
        records=len(seen.records),
    )
