"""
What waits for one entry, one hold or one case is tried again by itself, with growing pauses; nobody else waits for it.

Times are seconds of the event loop's clock.
"""

import asyncio
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

PAUSE_FIRST_S: Final = 1.0
PAUSE_MOST_S: Final = 60.0
_TOLD_S: Final = 3600.0

Name = TypeVar("Name", bound=Hashable)


@dataclass(slots=True)
class Attempt:
    """Since when something waits, when it is tried next, after which pause, and when it was last told of."""

    since: float
    next_try: float
    pause_s: float = PAUSE_FIRST_S
    told: float = float("-inf")


class Pauses(Generic[Name]):
    """The things of one kind that wait, by their names."""

    def __init__(self) -> None:
        self._waiting: dict[Name, Attempt] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, name: object) -> bool:
        return name in self._waiting

    def __iter__(self) -> Iterator[Name]:
        return iter(list(self._waiting))

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    def due(self, name: Name) -> bool:
        """Whether it may be tried: it does not wait, or its pause is over."""
        found = self._waiting.get(name)
        return found is None or found.next_try <= self._now()

    def failed(self, name: Name) -> bool:
        """It was tried in vain; whether that is to be told: at first, and then once an hour."""
        now = self._now()
        found = self._waiting.get(name) or Attempt(now, now)
        found.next_try = now + found.pause_s
        found.pause_s = min(found.pause_s * 2, PAUSE_MOST_S)
        self._waiting[name] = found
        if tell := now - found.told >= _TOLD_S:
            found.told = now
        return tell

    def waited_s(self, name: Name) -> float:
        """For how long it has waited here."""
        found = self._waiting.get(name)
        return self._now() - found.since if found else 0.0

    def ended(self, name: Name) -> None:
        """It waits no more."""
        self._waiting.pop(name, None)

    def later(self, name: Name) -> None:
        """It was begun by another process: it is tried after the longest pause, and then as after a failure."""
        now = self._now()
        self._waiting[name] = Attempt(now, now + PAUSE_MOST_S)

    def now(self, name: Name) -> None:
        """It is due, if it waits."""
        if name in self._waiting:
            self._waiting[name].next_try = float("-inf")

    def at_once(self) -> None:
        """Everything is due."""
        for each in self._waiting:
            self.now(each)
