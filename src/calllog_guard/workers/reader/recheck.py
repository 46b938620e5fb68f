"""
At whom a follower looks again, because their standing may have changed without any record of a leg.

Rules: 1. A name in the ledger is looked at at once, and repeatedly for a minute: decisions precede effects.
       2. Everyone is looked at in turn besides, for what no ledger tells, or told while nobody followed.
"""

from collections.abc import Iterable
from typing import Final

from calllog_guard.core.identifiers import INTERNAL_KEY
from calllog_guard.ports.log import Record
from calllog_guard.ports.state import Cursor

_WATCH_S: Final = 60.0
_WATCH_FIRST_S: Final = 0.1
_WATCH_MOST_S: Final = 0.5
_SLICE: Final = 500
_SLICE_S: Final = 0.1
ROUND_S: Final = 60.0
"""Everyone is looked at once in this time; longer when there are more than 300,000 of them."""


class Lookout:
    """Names that are due; times are seconds of one clock that only rises."""

    def __init__(self, cursor: Cursor, round_s: float) -> None:
        self._cursor, self._round_s = cursor, round_s
        self._watched: dict[str, tuple[float, float, float]] = {}
        self._last, self._next, self._begun = "", 0.0, 0.0

    def watch(self, ledger: Iterable[Record], now: float) -> None:
        """Whoever the ledger names; what it says of them is for their entry to say."""
        for record in ledger:
            key = record.key or INTERNAL_KEY
            if key[:1] != INTERNAL_KEY:
                self._watched[key.partition(b".")[0].decode("ascii", "replace")] = now, _WATCH_FIRST_S, now + _WATCH_S

    def everyone_anew(self) -> None:
        """Begin a round at once."""
        self._last, self._next = "", 0.0

    def names(self, now: float) -> list[str]:
        """Who is due."""
        return list(dict.fromkeys([*self._due(now), *self._slice(now)]))

    def _due(self, now: float) -> list[str]:
        due = [name for name, (at, _, _) in self._watched.items() if at <= now]
        for name in due:
            _, pause, until = self._watched[name]
            if now > until:
                del self._watched[name]
            else:
                self._watched[name] = now + pause, min(pause * 2, _WATCH_MOST_S), until
        return due

    def _slice(self, now: float) -> list[str]:
        if now < self._next:
            return []
        if not self._last:
            self._begun = now
        names = self._cursor.names_after(self._last, _SLICE)
        self._last = names[-1] if names else ""
        self._next = now + _SLICE_S if names else self._begun + self._round_s
        return names
