"""
Anonymous numbers out of legs that lapse: into which cell a leg is counted, and which cells are published.

In: the facts of one opened leg. Out: cells behind which at least K different people stand, each once and for ever.
Rules: 1. A leg is counted when its last purpose lapses, in the month in which that happens, into one cell of one tally.
       2. People of a cell are known by tags that only their own secrets yield, others in every cell; once they are K
          the cell forgets them.
       3. Cells do not overlap and no sum of them is published: nothing can be subtracted from anything.
Not here: the wait for the month's end (`tally.py`), the counting and crashes (`workers/keeper/expiry/statistics.py`).
Source: docs/how-to/write-the-policy.md; GDPR recital 26; WP29 Opinion 05/2014 (k-anonymity).
"""

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final, Literal, NamedTuple

from calllog_guard.core.codec import Day, Internal, TenantName
from calllog_guard.core.crypto.subject_secrets import Month, Secret, month_text
from calllog_guard.core.identifiers import Tenant

K: Final = 10
"""So many different people stand behind whatever is published (issue: anonymise at expiry)."""
KINDS: Final = ("video", "audio", "screen")
DURATIONS: Final = ("none", "under-1m", "1m-5m", "5m-15m", "15m-60m", "60m-up")
"""`none`: not answered. Else the time this party was in the call, from the lower limit to below the upper one."""
PARTIES: Final = ("1-2", "3-5", "6-10", "11-up")
_SECONDS: Final = (0, 60, 300, 900, 3600)
_PARTIES_FROM: Final = (1, 3, 6, 11)
TAG_BYTES: Final = (
    6  # of at most K - 1 people in one cell: two alike once in 10^13 cells, and then one too few is counted
)


class Cell(NamedTuple):
    """What is told of a call: its day (UTC, of the start), and three words of the lists above."""

    day: date
    kind: str
    duration: str
    parties: str


@dataclass(frozen=True, slots=True)
class CellCount:
    """Legs in a cell, and the tags of the different people behind it; None once they are K or more."""

    legs: int = 0
    tags: frozenset[bytes] | None = frozenset()

    @property
    def people(self) -> int:
        """At least so many, and exactly so many below K."""
        return K if self.tags is None else len(self.tags)


class Statistic(Internal, frozen=True, kw_only=True):
    """A cell as it is published, once; `month` is the one in which its legs lapsed, `day` that of the calls."""

    v: Literal[1] = 1
    tenant: TenantName
    month: str
    day: Day
    kind: Literal["video", "audio", "screen"]
    duration: Literal["none", "under-1m", "1m-5m", "5m-15m", "15m-60m", "60m-up"]
    parties: Literal["1-2", "3-5", "6-10", "11-up"]
    legs: int
    people_at_least: int

    @property
    def key(self) -> bytes:
        """Its record key."""
        cell = (self.tenant, self.month, self.day, self.kind, self.duration, self.parties)
        return ".".join(cell).encode()


def cell_of(day: date, kind: str, outcome: str, span: tuple[datetime | None, datetime | None], parties: int) -> Cell:
    """The cell of one leg; `span` is when this party joined and left."""
    joined, left = span
    duration = DURATIONS[0]
    if outcome == "answered" and joined and left:
        duration = DURATIONS[sum((left - joined).total_seconds() >= each for each in _SECONDS)]
    size = PARTIES[max(0, sum(parties >= each for each in _PARTIES_FROM) - 1)]
    return Cell(day, kind, duration, size)


def tag_of(key: Secret, lapsed: Month, cell: Cell) -> bytes:
    """What tells a person from the others in one cell: without the person's own `tally_key` it is nobody's."""
    said = "/".join((month_text(lapsed), cell.day.isoformat(), *cell[1:]))
    return hmac.digest(key.expose(), said.encode(), hashlib.sha256)[:TAG_BYTES]


def statistics(
    tenant: Tenant, lapsed: Month, counted: Iterable[Mapping[Cell, CellCount]]
) -> tuple[list[Statistic], int]:
    """
    The cells of a month behind which K people stand, and how many cells are never told.

    Args:
        counted: By partition: a person lives in one, so that the numbers of people add up.

    """
    legs: dict[Cell, int] = {}
    people: dict[Cell, int] = {}
    for cells in counted:
        for cell, count in cells.items():
            legs[cell] = legs.get(cell, 0) + count.legs
            people[cell] = people.get(cell, 0) + count.people
    told = [
        Statistic(
            tenant=tenant,
            month=month_text(lapsed),
            day=cell.day.isoformat(),
            kind=cell.kind,  # type: ignore[arg-type] # a word of KINDS, as the other two are of their lists
            duration=cell.duration,  # type: ignore[arg-type]
            parties=cell.parties,  # type: ignore[arg-type]
            legs=legs[cell],
            people_at_least=K,
        )
        for cell in sorted(legs)
        if people[cell] >= K
    ]
    return told, len(legs) - len(told)
