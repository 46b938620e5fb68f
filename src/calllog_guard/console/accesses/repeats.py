"""
What of accesses has been counted: remembered for as long as it could come again, so memory has a bound.

Rules: 1. What is signed counts once: its digest is kept for KEPT.  2. What comes later than KEPT after it was made is
          not counted: nobody could tell it from a repetition, and a reader writes an access before it opens anything.
       3. Of a partition alone, whose times of appending only grow.
"""

from collections import deque
from collections.abc import Hashable
from datetime import date, datetime, timedelta
from typing import Final

KEPT: Final = timedelta(days=2)
_AHEAD: Final = timedelta(minutes=5)
"""So far ahead of its appending an access may say it was made: `core/policy/actors.py`."""


class Repeats:
    """The accesses of one partition of the last days."""

    def __init__(self) -> None:
        self._names: set[bytes] = set()
        self._order: deque[tuple[datetime, bytes]] = deque()
        self._reads: dict[date, set[int]] = {}

    @property
    def kept(self) -> int:
        """How much is remembered."""
        return len(self._names) + sum(map(len, self._reads.values()))

    @staticmethod
    def late(made: datetime, appended: datetime) -> bool:
        """Whether an access comes so late that nobody can tell whether it has come before."""
        return appended - made > KEPT

    def again(self, name: bytes, appended: datetime) -> bool:
        """Whether what is signed was there already; a name that is empty is nobody's."""
        while self._order and appended - self._order[0][0] > KEPT + _AHEAD:
            self._names.discard(self._order.popleft()[1])
        if name in self._names:
            return True
        if name:
            self._names.add(name)
            self._order.append((appended, name))
        return False

    def new_read(self, day: date, today: date, read: Hashable) -> bool:
        """Whether a read opens its first record of a day; of days that are past all count as new."""
        for old in [each for each in self._reads if today - each > KEPT]:
            del self._reads[old]
        if today - day > KEPT:
            return True
        found, mark = self._reads.setdefault(day, set()), hash(read)
        fresh = mark not in found
        found.add(mark)
        return fresh
