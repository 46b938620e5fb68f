"""
Restrictions that stand on a person, each with its origin, and which of them a lift ends.

Rules: 1. A backend ends what backends began: the person's wish, which it passes on.  2. What an officer began, what an
          objection brought (Art. 18(1)(d)), what a restore imposed, and what is of unknown origin, an officer ends.
       3. An officer's lift ends all, or the one that it names.
Source: GDPR Art. 18(1) and (3).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

Origin = Literal["backend", "officer", "objection", "restore", "unknown"]
RESTORE: Final = "restore"
"""What a restriction is called that no case has brought."""


@dataclass(frozen=True, slots=True)
class StandingRestriction:
    """One that stands: the case that brought it, or `restore`, and the decisions about the person by which it did."""

    case: str
    origin: Origin
    decisions: tuple[str, ...] = ()


def ended_by(
    standing: Sequence[StandingRestriction], *, officer: bool, named: str | None
) -> tuple[StandingRestriction, ...]:
    """
    Those that a lift ends.

    Args:
        officer: Whether an officer asked for it, or approved it.
        named: The case whose restriction alone is meant.

    """
    return tuple(
        each for each in standing if (officer or each.origin == "backend") and (named is None or each.case == named)
    )
