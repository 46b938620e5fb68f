"""
An officer's word that so much may expire at once: signed claims in the policy's topic; workers can read, not make them.

Rules: 1. The word names the day up to which it holds and the policy of its time: a clock beyond that day takes no
          more by it.  2. Whoever signed was an officer on the day on which the broker appended the record.
Source: docs/how-to/operate.md, docs/explanation/keystore.md; `core/retention/sweep_brake.py`.
"""

from collections.abc import Callable, Iterable
from datetime import date
from typing import Any, Final, Literal, NamedTuple

import msgspec

from calllog_guard.core.codec import Day, Internal, TenantName, Utc
from calllog_guard.core.identifiers import Tenant
from calllog_guard.core.officers.acceptances import by_officers

CONFIRMED: Final = b"~expiry."
"""Begins the record key of a confirmation in the policy's topic; earlier releases pass over what begins so."""


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


def let_go(said: Iterable[Confirmed], today: date, label_at: Callable[[date], str]) -> date | None:
    """
    Up to which day officers let go what lapses, each by the policy then in force; a day that has not come says nothing.

    Args:
        label_at: The label of the version that is in force on a day.

    """
    days = [(date.fromisoformat(each.claims.up_to), each.claims.policy) for each in said]
    return max((day for day, policy in days if day <= today and label_at(day) == policy), default=None)
