"""
A decision whose traces are not all gone, as the auditor keeps it.

Source: design section 9, step 5.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from calllog_guard.core.absence import Look
from calllog_guard.core.requests.case import STAGES
from calllog_guard.core.requests.decision import Decision
from calllog_guard.core.requests.outcome import Outcome

_OBSERVED: Final = ("absent", "gone")


@dataclass(slots=True)
class Watched:
    """An erasure whose traces are not all gone: its result by the keeper, and what the auditor has reported."""

    decision: Decision | None = None
    done: Outcome | None = None
    reported: set[str] = field(default_factory=set)
    rewritten: bool = False

    @property
    def stages(self) -> tuple[str, ...]:
        """What is to be observed of this decision, in order; empty when nothing is."""
        if self.decision is None or (self.done is not None and self.done.stage == "failed"):
            return ()
        kind = self.decision.type if self.decision.range is None else "erase_range"
        return tuple(stage for stage in STAGES.get(kind, ()) if stage in _OBSERVED)

    @property
    def names(self) -> list[str]:
        """What is looked for: the person, or the records whose old values must go."""
        if self.decision is None or self.done is None:
            return []
        if self.decision.total:
            return [self.decision.pseudonym]
        return [f"{self.decision.pseudonym}.{token}" for token in self.done.tokens or ()]

    def seen(self, looks: Sequence[Look]) -> list[str]:
        """The stages that a look proves: a corrected record is followed by one value, its own, wherever it lives."""
        corrected = self.decision is not None and self.decision.type == "rectify"
        found = [(each.seen[name.encode()], int(corrected and each.live)) for name in self.names for each in looks]
        left = {"absent": any(each.values > own for each, own in found), "gone": any(each.keys for each, _ in found)}
        return [stage for stage in self.stages if not left[stage]]
