"""
A preview: what carrying a request out would touch, counted by keepers before an officer decides, changing nothing.

In: the facts of a person's legs, answers of keepers.  Out: counts, as an outcome tells them and as a case keeps them.
Rules: 1. It counts what the carrying out counts: an erasure every leg, of some days theirs; an objection those that it
          removes; a disclosure those that it gives.  2. A hold that is secret moves no number, and is named nowhere.
       3. Which months had calls is forgotten once they are counted: a case says how many, and no more.
       4. Once an officer has decided a case keeps what its receipt compares: nothing joins it to the person's others.
Source: docs/explanation/cases.md.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final, Literal

import msgspec

from calllog_guard.core.codec import Id, Internal, Rewritten, Utc
from calllog_guard.core.decisions.standing_rules import Span
from calllog_guard.core.requests.types import PreviewKind
from calllog_guard.core.retention.expiry import DueFacts

FORMS: Final = 2
"""The level of forms from which on keepers know previews."""
DECIDED: Final = -1
"""The number of a preview whose case an officer has decided: whoever has to decide it again is told anew."""
_CASES_MOST: Final = 20
"""Of one person's restrictions that are named."""


class PreviewTask(Internal, frozen=True, kw_only=True):
    """What a preview's decision seals: what is counted, of which days, the purposes objected to, copies to give."""

    v: Literal[1] = 1
    of: PreviewKind
    range: Span | None = None
    mask: int = 0
    holds: tuple[Id, ...] = ()


TASKS: Final = msgspec.json.Decoder(PreviewTask)


class PreviewCount(Rewritten, frozen=True, kw_only=True):
    """
    What a keeper has counted of one person, beside the legs themselves.

    Args:
        months: Of the calls.
        narrowed: How many more legs lose a purpose and stay.
        kept: By purpose, of how many of the legs a law has copies made.
        restrictions: The cases that restrict the person, without the one that is previewed.

    """

    months: tuple[str, ...] = ()
    narrowed: int = 0
    kept: dict[str, int] = msgspec.field(default_factory=dict)
    restrictions: tuple[Id, ...] = ()


class Preview(Rewritten, frozen=True, kw_only=True):
    """
    What a case keeps of its preview.

    Args:
        number: Of the acts on the case when it was asked for: with another number it is another question; or `DECIDED`.
        asked_at: When keepers were asked; `at` when the last of them had answered.
        open: The decisions that keepers are still to answer; `seen` their months until then.
        holds: The names of holds over the people named that are no secret.
        unsure: Whether somebody's entry, or a keeper, could not be asked.

    """

    number: int
    asked_at: Utc
    at: Utc | None = None
    open: tuple[Id, ...] = ()
    seen: tuple[str, ...] = ()
    legs: int = 0
    months: int = 0
    narrowed: int = 0
    kept: dict[str, int] = msgspec.field(default_factory=dict)
    restrictions: tuple[Id, ...] = ()
    holds: tuple[str, ...] = ()
    unsure: bool = False

    def answered(self, decision: str, legs: int, told: PreviewCount | None, at: datetime) -> "Preview":
        """The preview after one answer (None: it could not be given); a repeat changes nothing."""
        if decision not in self.open:
            return self
        found = told or PreviewCount()
        restrictions = dict.fromkeys((*self.restrictions, *found.restrictions))
        added = msgspec.structs.replace(
            self,
            open=tuple(each for each in self.open if each != decision),
            seen=tuple(sorted({*self.seen, *found.months})),
            legs=self.legs + legs,
            narrowed=self.narrowed + found.narrowed,
            kept=dict(sorted((Counter(self.kept) + Counter(found.kept)).items())),
            restrictions=tuple(restrictions)[:_CASES_MOST],
            unsure=self.unsure or told is None,
        )
        return added.closed(at)

    def closed(self, at: datetime) -> "Preview":
        """The same; where nobody is still to answer its months are counted."""
        if self.open or self.at is not None:
            return self
        return msgspec.structs.replace(self, at=at, months=len(self.seen), seen=())

    def decided(self) -> "Preview | msgspec.UnsetType":
        """What stays once an officer has decided; of part of an answer nothing."""
        if self.at is None:
            return msgspec.UNSET
        return msgspec.structs.replace(self, number=DECIDED, holds=(), restrictions=())


@dataclass(slots=True)
class Measuring:
    """
    The count of one person, kept from turn to turn.

    Args:
        kept_for: The purposes for which a law keeps such a leg beyond an erasure, by name.

    """

    task: PreviewTask
    kept_for: Callable[[DueFacts], Sequence[str]]
    legs: int = 0
    narrowed: int = 0
    months: set[str] = field(default_factory=set)
    kept: Counter[str] = field(default_factory=Counter)

    def see(self, leg: DueFacts) -> None:
        """Count a leg, if it is touched."""
        task = self.task
        if task.of == "narrowed":
            self._taken(leg)
        elif (task.of == "removed" or leg.mask) and self.covers(leg.day):
            self._count(leg)
            if task.of == "removed":
                self.kept.update(self.kept_for(leg))

    def covers(self, day: date) -> bool:
        """Whether the request is about that day."""
        return self.task.range is None or self.task.range.covers(day)

    def _taken(self, leg: DueFacts) -> None:
        left = leg.mask & ~self.task.mask
        if leg.mask and not left:
            self._count(leg)
        elif left != leg.mask:
            self.narrowed += 1

    def _count(self, leg: DueFacts) -> None:
        self.legs += 1
        self.months.add(leg.day.isoformat()[:7])

    def told(self, restrictions: Sequence[str]) -> PreviewCount:
        """What is told of it."""
        return PreviewCount(
            months=tuple(sorted(self.months)),
            narrowed=self.narrowed,
            kept=dict(sorted(self.kept.items())),
            restrictions=tuple(sorted(restrictions)[:_CASES_MOST]),
        )
