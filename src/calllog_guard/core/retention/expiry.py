"""
Which legs have outlived their last purpose.

Due dates are computed from the policy when sweeping, so that a shortened period reaches old records.
Source: docs/how-to/write-the-policy.md; GDPR Art. 5(1)(e).
"""

from collections.abc import Callable, Iterable
from datetime import date
from itertools import islice
from typing import Protocol, TypeVar

from calllog_guard.core.retention.purposes import Purpose, due_day


class DueFacts(Protocol):
    """What decides when a leg falls due, and whether a request touches it."""

    @property
    def day(self) -> date:
        """The day of the call's start, UTC."""

    @property
    def mask(self) -> int:
        """Its purposes."""

    @property
    def policy(self) -> str:
        """The policy version it was sealed under."""


Some = TypeVar("Some", bound=DueFacts)


def lapsed(
    groups: Iterable[Some],
    keys_with: Callable[[Some], Iterable[bytes]],
    purposes_since: Callable[[str], tuple[Purpose, ...]],
    today: date,
    most: int,
) -> list[bytes]:
    """
    Up to `most` record keys whose last purpose has lapsed.

    Legs with equal facts share their end, so each group is decided once: a sweep costs as much as there are groups and
    keys due. No group is passed over for an earlier one still alive: a dropped purpose ends young legs before old.

    Args:
        groups: The facts that there are, each once.
        keys_with: The record keys of a group.

    """
    due: list[bytes] = []
    tables: dict[str, tuple[Purpose, ...]] = {}
    for facts in groups:
        if len(due) >= most:
            break
        if facts.policy not in tables:
            tables[facts.policy] = purposes_since(facts.policy)
        if due_day(facts.day, facts.mask, tables[facts.policy]) <= today:
            due.extend(islice(keys_with(facts), most - len(due)))
    return due
