"""
What a sweep may take by itself; more waits for the word of an officer (`core/officers/confirmations.py`).

A clock years ahead, or a period shortened by mistake, lets most of a log lapse at once; what was swept does not return.
Rules: 1. What lapses day by day goes by itself, even all of a short log.  2. More days at once than a standstill leaves
          behind, and more than a share of a partition, wait for an officer.
Source: docs/how-to/operate.md; GDPR Art. 5(1)(e), 5(1)(f).
"""

from collections.abc import Mapping
from datetime import date
from typing import Final

DAYS_MOST: Final = 4
"""A keeper that stood still over a long weekend has so many days of calls to remove."""
FEW: Final = 1000
"""Records of a partition: as many go by themselves, whatever share they are."""


def too_much(due: Mapping[date, int], whole: int, share: float) -> bool:
    """
    Whether a sweep would take more at once than it may by itself.

    Args:
        due: How many records lapse, by the day of their calls.
        whole: How many there are.

    """
    return len(due) > DAYS_MOST and sum(due.values()) > max(FEW, share * whole)
