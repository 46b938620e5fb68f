"""
The statement of a month: what has gone from the log and by which rule or case, and what is left, signed by the desk.

In: the keepers' closed counts added up, the cases, the policy's names.  Out: `Statement`, the same for the same values.
Rules: 1. Months are UTC, by when it went: a leg due on the last day may go on the next.  2. Nothing in it moves with a
          secret hold: no figure has its copies.  3. No person is in it, nor a small count beyond those of cases.
Source: docs/how-to/account.md; GDPR Art. 5(1)(e), 5(2), 30.
"""

from collections.abc import Collection, Mapping
from typing import Final, Literal

import msgspec

from calllog_guard.core.codec import Day, Id, Internal, TenantName, Utc

KEY: Final = "statement."
"""Begins the record key of a statement among the receipts; the month stands behind it."""
SENTENCE: Final = (
    "What law requires to be kept is kept apart for that alone, and we may be barred from saying whether: such copies "
    "are in no figure."
)
"""The same in every statement, whether or not there are any."""


class RuleLine(Internal, frozen=True, kw_only=True):
    """Legs that went because they had lapsed: the longest purposes, each with its period, and what was done then."""

    rule: str
    legs: int


class CaseLine(Internal, frozen=True, kw_only=True):
    """Legs that a request removed."""

    case: Id
    type: str
    legs: int


class HeldLine(Internal, frozen=True, kw_only=True):
    """Copies that are kept apart: for a purpose, by law, or under an officer's order that may be told of."""

    purpose: str | None
    case: Id | None
    copies: int


class Statement(Internal, frozen=True, kw_only=True):
    """
    The claims of a statement.

    Args:
        expired: By rule; `removed` by case; `alive` legs and `held` copies as they were when the month was closed.
        partitions: Of how many the counts are; `of` how many there are: the others were not counted yet.
        readable_from: No earlier month's key was kept by the last walk, but of people under restriction.

    """

    v: Literal[1] = 1
    kind: Literal["statement"] = "statement"
    tenant: TenantName
    month: str
    expired: tuple[RuleLine, ...]
    removed: tuple[CaseLine, ...]
    alive: int
    held: tuple[HeldLine, ...]
    partitions: int
    of: int
    readable_from: str | None
    walked_at: Utc | None
    controller: str | None
    sentence: str = SENTENCE
    pol: Day
    at: Utc


STATEMENTS: Final = msgspec.json.Decoder(Statement)


def rule_lines(counts: Collection[Mapping[str, int]]) -> tuple[RuleLine, ...]:
    """The counts of all partitions, added up by rule."""
    sums: dict[str, int] = {}
    for each in counts:
        for rule, legs in each.items():
            sums[rule] = sums.get(rule, 0) + legs
    return tuple(RuleLine(rule=rule, legs=legs) for rule, legs in sorted(sums.items()))
