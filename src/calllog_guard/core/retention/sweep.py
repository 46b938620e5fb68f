"""
Which legs have outlived their last purpose.

Due dates are computed from the policy when sweeping, so that a shortened period reaches old records.
Source: GDPR Art. 5(1)(e); design section 11.
"""

from collections.abc import Callable, Iterable
from datetime import date, timedelta
from typing import Protocol

from calllog_guard.core.retention.purpose import Purpose, add, due_day


class Facts(Protocol):
    """What decides when a leg falls due."""

    @property
    def day(self) -> date:
        """The day of the call's start, UTC."""

    @property
    def mask(self) -> int:
        """Its purposes."""

    @property
    def policy(self) -> str:
        """The policy version it was sealed under."""


def lapsed(
    rows: Iterable[tuple[Facts, bytes]], purposes_since: Callable[[str], tuple[Purpose, ...]], today: date, most: int
) -> list[bytes]:
    """
    Up to `most` record keys whose last purpose has lapsed; `rows` come with the oldest day first.

    The walk ends at the first day of which not even the shortest purpose has lapsed.
    """
    due: list[bytes] = []
    tables: dict[str, tuple[Purpose, ...]] = {}
    for facts, key in rows:
        purposes = tables.setdefault(facts.policy, purposes_since(facts.policy))
        shortest = min((add(facts.day, purpose.keep) for purpose in purposes), default=facts.day)
        if len(due) >= most or (facts.mask and shortest + timedelta(1) > today):
            break
        if due_day(facts.day, facts.mask, purposes) <= today:
            due.append(key)
    return due
