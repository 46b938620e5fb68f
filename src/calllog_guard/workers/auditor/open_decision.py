"""
A decision whose traces are not all gone, as the auditor keeps it.

Source: docs/adr/0007-absence-is-observed.md.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from calllog_guard.core.audit.absence import Look
from calllog_guard.core.decisions.decision import Decision
from calllog_guard.core.decisions.outcome import Outcome
from calllog_guard.core.requests.types import stages_of

_OBSERVED: Final = ("absent", "gone")


@dataclass(slots=True)
class Watched:
    """
    An erasure whose traces are not all gone: its result by the keeper, and what the auditor has reported.

    Args:
        named: The legs that the keeper named before it removed them, where the result leaves them to these parts.

    """

    decision: Decision | None = None
    done: Outcome | None = None
    reported: set[str] = field(default_factory=set)
    rewritten: bool = False
    named: dict[str, None] = field(default_factory=dict)

    @property
    def stages(self) -> tuple[str, ...]:
        """What is to be observed of this decision, in order; empty when nothing is."""
        if self.decision is None or (self.done is not None and self.done.stage == "failed"):
            return ()
        stages = stages_of(self.decision.type, ranged=self.decision.range is not None)
        return tuple(stage for stage in stages if stage in _OBSERVED)

    @property
    def _tokens(self) -> Collection[str]:
        if self.done is None or self.done.tokens is msgspec.UNSET:
            return self.named
        return self.done.tokens

    @property
    def whole(self) -> bool:
        """Whether every record is known whose value must go: a part of the names that is missing certifies nothing."""
        if self.decision is None or self.done is None:
            return False
        return self.decision.total or len(self._tokens) == self.done.legs

    @property
    def names(self) -> Iterator[str]:
        """What is looked for: the person, or the records whose old values must go."""
        if self.decision is not None and self.done is not None:
            name = self.decision.pseudonym
            yield from (name,) if self.decision.total else (f"{name}.{token}" for token in self._tokens)

    def seen(self, looks: Sequence[Look]) -> list[str]:
        """The stages that a look proves: a corrected record is followed by one value, its own, wherever it lives."""
        corrected = self.decision is not None and self.decision.type == "rectify"
        left = {"absent": False, "gone": False}
        for name in map(str.encode, self.names):
            for each in looks:
                left["absent"] |= each.seen[name].values > int(corrected and each.live)
                left["gone"] |= each.seen[name].keys > 0
        return [stage for stage in self.stages if not left[stage]]
