"""
What a sweep may take by itself, and the word of an officer that lets it take more.

A clock that is years ahead, or a period shortened by mistake, lets most of a log lapse at once, and what was swept does not come back.
Rules: 1. What lapses day by day goes by itself, however much of a short log it is.  2. More days at once than a standstill leaves
          behind, and more than a share of a partition, wait for an officer.  3. The officer's word names the day up to which it holds
          and the policy by which it was given: a clock that runs ahead of that day takes no more by it.
Source: design section 14 (time); GDPR Art. 5(1)(e), 5(1)(f).
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import date
from typing import Any, Final, Literal, NamedTuple

import msgspec

from calllog_guard.core.acceptances import by_officers
from calllog_guard.core.ids import Tenant
from calllog_guard.core.wire import Day, Internal, TenantName, Utc

CONFIRMED: Final = b"~expiry."
"""Begins the record key of a confirmation in the policy's topic; earlier releases pass over what begins so."""
DAYS_MOST: Final = 4
"""A keeper that stood still over a long weekend has so many days of calls to remove."""
FEW: Final = 1000
"""Records of a partition: as many go by themselves, whatever share they are."""


class Confirmation(Internal, frozen=True, kw_only=True):
    """
    The claims: what lapses up to and on a day, by the policy that is in force then, may go at once.

    Args:
        policy: The label of that version.

    """

    v: Literal[1] = 1
    act: Literal["confirm_expiry"] = "confirm_expiry"
    tenant: TenantName
    up_to: Day
    policy: str
    at: Utc


CONFIRMATIONS: Final = msgspec.json.Decoder(Confirmation)


class Confirmed(NamedTuple):
    """Claims whose signature was checked, with the officer who signed them."""

    claims: Confirmation
    officer: str


def confirmed(
    records: Iterable[Any], tenant: Tenant, officer_key: Callable[[str, date], bytes | None]
) -> list[Confirmed]:
    """What officers confirmed, of the records of the policy's topic; arguments as of `accepted`."""
    return [Confirmed(*each) for each in by_officers(records, CONFIRMED, CONFIRMATIONS, tenant, officer_key)]


def too_much(due: Mapping[date, int], whole: int, share: float) -> bool:
    """
    Whether a sweep would take more at once than it may by itself.

    Args:
        due: How many records lapse, by the day of their calls.
        whole: How many there are.

    """
    return len(due) > DAYS_MOST and sum(due.values()) > max(FEW, share * whole)
