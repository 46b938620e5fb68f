"""
The cases that a console has in memory: a short row of each, and its whole state packed.

Rules: 1. What a request said is left out of memory: the sealed request, and whose case it is.
       2. Secret cases are none of these: they lie elsewhere, and one that lies here is passed over.
Not here: how records are followed (`followed.py`), what a page says of a case (`case_view.py`).
"""

import zlib
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from heapq import nsmallest
from sys import intern
from typing import Final, NamedTuple

import msgspec

from calllog_guard.core.cases.case import CASES, Case
from calllog_guard.core.cases.working_days import Calendar
from calllog_guard.core.codec import decode, encode

SOON_DAYS: Final = 7
MOST_SHOWN: Final = 100
"""Rows of one list; a search narrows it."""
OBSERVED: Final = ("absent", "gone")
"""The stages of a removal that are seen from outside."""
_LEFT_OUT: Final = {"sealed": None, "whose": msgspec.UNSET, "filed": None, "said": msgspec.UNSET}


class CaseRow(msgspec.Struct, frozen=True, gc=False):
    """
    What lists show of a case.

    Args:
        day: Of receipt, in the tenant's zone.
        first: Who has approved so far, or asked as the first of two officers, a line each.
        removed_at: When its records were tombstoned, in seconds since 1970; 0: they were not.
        seen: The stages that were observed after that, each with the seconds that it took.
        packed: Its state.
        review_at: When a hold, or whether a person may be told, is to be looked at again, in seconds; 0: it is not.
        hold: The hold that it orders or ends, by its name.

    """

    case: str
    type: str
    state: str
    waits_for: str
    due: str
    day: str
    ticket: str
    stage: str
    stage_at: float
    first: str
    rank: tuple[int, int]
    offset: int
    removed_at: float
    seen: tuple[tuple[str, float], ...]
    packed: bytes
    review_at: float = 0.0
    hold: str = ""

    @property
    def review(self) -> datetime:
        """When it is to be looked at again."""
        return datetime.fromtimestamp(self.review_at, UTC)

    @property
    def open(self) -> bool:
        """Whether an answer is still owed."""
        return self.state in {"waiting", "enforcing"}

    def waits_for_officer(self, officer: str) -> bool:
        """Whether it waits for an officer who may be this one: the second is not the first."""
        if self.waits_for == "officer":
            return True
        return self.waits_for == "second_officer" and officer not in self.first.split("\n")

    def whole(self) -> Case:
        """Its state, as far as it is kept here."""
        return decode(CASES, zlib.decompress(self.packed))

    def days_left(self, today: date) -> int | None:
        """Whole days until an answer is due, below zero when it is late; None when none is owed any more."""
        return (date.fromisoformat(self.due) - today).days if self.open else None


class FoundRows(NamedTuple):
    """Rows of a list, and how many there are in all."""

    rows: list[CaseRow]
    many: int


def row_of(case: Case, offset: int, calendar: Calendar) -> CaseRow:
    """The row of a case that lies at an offset."""
    stage, at = max(reversed(case.stages.items()), key=lambda item: item[1], default=("", case.received_at))
    kept, removed = msgspec.structs.replace(case, **_LEFT_OUT), case.stages.get("tombstoned")
    observed = [each for each in OBSERVED if each in case.stages]
    return CaseRow(
        case=case.case,
        type=intern(case.type),
        state=intern(case.state),
        waits_for=intern(case.waits_for or ""),
        due=intern(case.due),
        day=intern(calendar.day(case.received_at).isoformat()),
        ticket=case.ticket or "",
        stage=intern(stage),
        stage_at=at.timestamp(),
        first="\n".join(case.approvals or (case.asked_by,)) if case.waits_for == "second_officer" else "",
        rank=case.rank,
        offset=offset,
        removed_at=removed.timestamp() if removed else 0.0,
        seen=tuple((each, (case.stages[each] - removed).total_seconds()) for each in observed) if removed else (),
        packed=zlib.compress(encode(kept), 1),
        review_at=case.review_at.timestamp() if case.review_at and case.state != "refused" else 0.0,
        hold=case.hold or "",
    )


def _sooner(row: CaseRow) -> tuple[bool, str, str]:
    return (not row.open, row.due, row.case)


class CaseRows:
    """All of them by id, and those in which an answer is owed."""

    def __init__(self) -> None:
        self.rows: dict[str, CaseRow] = {}
        self._owed: dict[str, CaseRow] = {}
        self._many: Counter[str] = Counter()
        self._reviewed: dict[str, CaseRow] = {}
        self._released: dict[str, str] = {}

    def put(self, row: CaseRow) -> None:
        """Take a state in, if none that is later is known."""
        known = self.rows.get(row.case)
        if known is not None and known.rank > row.rank:
            return
        self.remove(row.case)
        self.rows[row.case] = row
        self._many[row.type] += 1
        if row.open:
            self._owed[row.case] = row
        if row.review_at:
            self._reviewed[row.case] = row
        if row.type == "release" and row.state == "closed":
            self._released[row.case] = row.hold

    def remove(self, case: str) -> None:
        """A case is forgotten."""
        row = self.rows.pop(case, None)
        self._owed.pop(case, None)
        self._reviewed.pop(case, None)
        self._released.pop(case, None)
        if row is not None:
            self._many[row.type] -= 1

    def waiting_for(self, officer: str) -> FoundRows:
        """What waits for an officer."""
        return _shown([row for row in self._owed.values() if row.waits_for_officer(officer)])

    def due_soon(self, today: date) -> FoundRows:
        """What is overdue, or due within SOON_DAYS, the longest overdue first."""
        last = (today + timedelta(SOON_DAYS)).isoformat()
        return _shown([row for row in self._owed.values() if row.due <= last])

    def to_review(self, now: datetime) -> FoundRows:
        """Holds that stand, and disclosures that nobody was told of, to be reviewed within SOON_DAYS; soonest first."""
        until, ended = (now + timedelta(SOON_DAYS)).timestamp(), set(self._released.values())
        found = [
            row
            for row in self._reviewed.values()
            if row.review_at <= until and not (row.type == "hold" and row.hold in ended)
        ]
        return FoundRows(nsmallest(MOST_SHOWN, found, key=lambda row: (row.review_at, row.case)), len(found))

    def counts(self) -> list[tuple[str, int, int]]:
        """By type: open, and all, the most first."""
        owed = Counter(row.type for row in self._owed.values())
        return [(kind, owed[kind], many) for kind, many in self._many.most_common() if many]

    def searched(self, text: str) -> FoundRows:
        """The cases of an id or of its beginning, of a day of receipt or due date, or with this in their ticket."""
        if text in self.rows:
            return FoundRows([self.rows[text]], 1)
        low, rows = text.lower(), self.rows.values()
        return _shown(
            [
                row
                for row in rows
                if text in {row.day, row.due} or low in row.ticket.lower() or row.case.startswith(text)
            ]
        )

    def of_types(self, *kinds: str) -> Iterator[CaseRow]:
        """Those of some types."""
        return (row for row in self.rows.values() if row.type in kinds)

    def oldest(self, state: str) -> datetime | None:
        """Since when the one that has been in a state for longest has not moved; None: there is none."""
        found = [row.stage_at for row in self._owed.values() if row.state == state]
        return datetime.fromtimestamp(min(found), UTC) if found else None


def _shown(rows: list[CaseRow]) -> FoundRows:
    return FoundRows(nsmallest(MOST_SHOWN, rows, key=_sooner), len(rows))
