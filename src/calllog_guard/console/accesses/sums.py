"""
Accesses as sums by day, actor and officer, for as long as a page may ask for them: so memory has a bound.

Rules: 1. A day is forgotten once it is more than KEPT_DAYS past, by when the newest record was appended.
       2. Whoever may append can invent days and names: of lines there are MOST, and the days that are farthest from the
          newest make room. What has lost a line is whole no more, and no page says that it is.
Not here: what keeps an access from counting twice (`repeats.py`).
"""

from collections import Counter
from collections.abc import Hashable, Iterator
from datetime import date, timedelta
from typing import Final, NamedTuple, TypeVar

KEPT_DAYS: Final = 400
"""A year, and the month that a report of the same month of last year begins with."""
MOST: Final = 100_000
"""Lines, and views of cases; of either at most 57 MiB, with the longest names."""
_ROOM: Final = 10
"""So many in a hundred make room at once, or each new line would look through all."""
Key = TypeVar("Key", bound=Hashable)


class AccessLine(NamedTuple):
    """Who had records opened on a day, for what; `by` is the officer whom a console showed cases."""

    day: date
    actor: str
    purpose: str
    by: str
    proven: bool


class Sum(NamedTuple):
    """How many accesses, records opened, refusals of a whole read, records refused, and reads that opened something."""

    accesses: int = 0
    opened: int = 0
    denied: int = 0
    refused: int = 0
    reads: int = 0

    def plus(self, other: "Sum") -> "Sum":
        """Both together."""
        return Sum(*map(sum, zip(self, other, strict=True)))


class AccessSums:
    """
    The sums of a console.

    Args:
        most: Lines that are kept, and views.

    """

    def __init__(self, most: int = MOST) -> None:
        self._most, self._newest, self._lost = most, date.min, date.min
        self.lines: dict[AccessLine, Sum] = {}
        self.views: dict[tuple[str, date, str], int] = {}
        self.doubted: Counter[tuple[date, str]] = Counter()
        self.claimed: Counter[tuple[date, str]] = Counter()
        self._by_case: dict[str, set[tuple[date, str]]] = {}

    def begin(self, today: date) -> None:
        """A record was appended today: what is too old by that is forgotten."""
        if today <= self._newest:
            return
        self._newest = today
        for line in [each for each in self.lines if self._past(each.day)]:
            del self.lines[line]
        for view in [each for each in self.views if self._past(each[1])]:
            self._unsee(view)
        for counted in (self.doubted, self.claimed):
            for each in [each for each in counted if self._past(each[0])]:
                del counted[each]

    def add(self, line: AccessLine, found: Sum) -> None:
        """Count an access."""
        if self._past(line.day):
            return
        before = self.lines.get(line)
        if before is None and len(self.lines) >= self._most:
            for each in self._farthest(self.lines, [each.day for each in self.lines]):
                del self.lines[each]
                if each.day <= self._newest:  # on days to come nothing was opened
                    self._lost = max(self._lost, each.day)
        self.lines[line] = found if before is None else before.plus(found)

    def see(self, case: str, day: date, by: str) -> None:
        """An officer was shown a case."""
        view = case, day, by
        if self._past(day):
            return
        if view not in self.views and len(self.views) >= self._most:
            for each in self._farthest(self.views, [on for _, on, _ in self.views]):
                self._unsee(each)
        self.views[view] = self.views.get(view, 0) + 1
        self._by_case.setdefault(case, set()).add((day, by))

    def doubt(self, day: date, reason: str, claimed: int) -> None:
        """Count an access that nobody believes, and how many records it claims were opened."""
        self.doubted[day, reason] += 1
        self.claimed[day, reason] += claimed

    def forget(self, case: str) -> None:
        """A case is kept no more."""
        for day, by in list(self._by_case.get(case, ())):
            self._unsee((case, day, by))

    def of_case(self, case: str) -> list[tuple[tuple[date, str], int]]:
        """Which officer was shown a case on which day, and how often; the newest first."""
        found = sorted(self._by_case.get(case, ()), reverse=True)
        return [((day, by), self.views[case, day, by]) for day, by in found]

    def since(self, day: date) -> Iterator[tuple[AccessLine, Sum]]:
        """The accesses since a day, the newest first."""
        found = [item for item in self.lines.items() if item[0].day >= day]
        return iter(sorted(found, key=lambda item: item[0], reverse=True))

    def complete_from(self) -> date:
        """The first day of which all that was read is counted."""
        if self._newest == date.min:
            return date.min
        kept = self._newest - timedelta(KEPT_DAYS)
        return kept if self._lost < kept else self._lost + timedelta(1)

    def _past(self, day: date) -> bool:
        return (self._newest - day).days > KEPT_DAYS

    def _farthest(self, keys: dict[Key, object] | dict[Key, Sum] | dict[Key, int], days: list[date]) -> list[Key]:
        far = sorted(zip(keys, days, strict=True), key=lambda each: -abs((each[1] - self._newest).days))
        return [key for key, _ in far[: max(1, len(far) * _ROOM // 100)]]

    def _unsee(self, view: tuple[str, date, str]) -> None:
        case, day, by = view
        del self.views[view]
        self._by_case[case].discard((day, by))
        if not self._by_case[case]:
            del self._by_case[case]
