"""
What keepers removed because it had lapsed: a count per partition and month of removal, by rule, kept in the ledger.

Rules: 1. A count says which legs it counted last: one that is still there after a crash is removed, and not counted
          again.  2. It names nobody else; these are gone with the next.  3. A month is closed once: what comes later
          counts into a later one.
Source: docs/how-to/write-the-policy.md; GDPR Art. 5(1)(e), 5(2).
"""

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from calllog_guard.core.codec import Id, Internal, TenantName, Utc, decode
from calllog_guard.core.crypto.subject_secrets import Month, month_from, month_text
from calllog_guard.errors import MessageError

START: Final = b"~removed."
"""Begins the keys of these records in the ledger, where nobody but workers writes."""
RATCHET_KEY: Final = START + b"ratchet"
"""From which month on keys are kept, as the last walk left it; in partition 0."""
STATED_KEY: Final = START + b"stated"
"""The last month of which the desk has signed a statement; in the tenant's partition."""
LAW: Final = "law."
"""Before a purpose's number: copies that are kept for it by law; other copies are named by their hold."""


class Removed(Internal, frozen=True, kw_only=True):
    """
    What one partition has lost in one month.

    Args:
        rules: Legs by the rule by which they lapsed (`purpose.rule_of`).
        batch: Record keys and offsets of what was counted last.
        alive: With `closed_at`: how many legs were left.
        held: With `closed_at`: copies that were left, by hold, or by the purpose that keeps them by law.
        mac: As an outcome's.

    """

    v: Literal[1] = 1
    tenant: TenantName
    month: str
    partition: int
    rules: dict[str, int] = msgspec.field(default_factory=dict)
    batch: dict[str, int] = msgspec.field(default_factory=dict)
    alive: int | msgspec.UnsetType = msgspec.UNSET
    held: dict[str, int] | msgspec.UnsetType = msgspec.UNSET
    closed_at: Utc | msgspec.UnsetType = msgspec.UNSET
    mac: Id | msgspec.UnsetType = msgspec.UNSET

    @property
    def closed(self) -> bool:
        """Whether nothing is counted into it any more."""
        return self.closed_at is not msgspec.UNSET

    def counted(self, rules: Mapping[str, int], batch: Mapping[bytes, int]) -> "Removed":
        """The count with some more legs, which become its batch."""
        sums = {name: self.rules.get(name, 0) + rules.get(name, 0) for name in {**self.rules, **rules}}
        return msgspec.structs.replace(self, rules=sums, batch={key.decode(): at for key, at in batch.items()})


class Marked(Internal, frozen=True, kw_only=True):
    """A month that somebody has reached, and when."""

    v: Literal[1] = 1
    month: str
    at: Utc
    mac: Id | msgspec.UnsetType = msgspec.UNSET


REMOVED: Final = msgspec.json.Decoder(Removed)
MARKED: Final = msgspec.json.Decoder(Marked)


def key_of(month: Month) -> bytes:
    """The record key of a month's count."""
    return START + month_text(month).encode()


def month_in(key: bytes) -> Month | None:
    """The month of a count's record key; None when it is no count's."""
    try:
        month = month_from(key.removeprefix(START).decode("ascii", "replace"))
    except ValueError:
        return None
    return month if key_of(month) == key else None


def removed_in(raw: bytes, place: tuple[str, bytes, int]) -> Removed | None:
    """A count as it was written for a tenant, a key and a partition; None for any other."""
    try:
        found = decode(REMOVED, raw)
    except MessageError:
        return None
    tenant, key, partition = place
    return found if (found.tenant, START + found.month.encode(), found.partition) == (tenant, key, partition) else None
