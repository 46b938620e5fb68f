"""
Keeping a topic for longer because something unread would else be lost: by how much, when it ends, and the record of it.

Source: docs/how-to/kafka.md; RFC 7515.
"""

from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final, Literal

import msgspec

from calllog_guard.core.codec import Internal, TenantName, Utc, decode, encode
from calllog_guard.core.crypto.jose import sign, verify
from calllog_guard.core.identifiers import Tenant
from calllog_guard.errors import MessageError

PROLONGED: Final = b"~prolonged."
"""Begins the record key; earlier releases pass over what begins so."""
SIGNER: Final = "audit"


class Prolonged(Internal, frozen=True, kw_only=True):
    """
    A change of a topic's `retention.ms` by the auditor.

    Args:
        from_ms: What it was, and `to_ms` what it is now: longer, or as it should be again.
        age_ms: How long the oldest unread record had been waiting.

    """

    v: Literal[1] = 1
    act: Literal["prolong"] = "prolong"
    tenant: TenantName
    topic: str
    from_ms: int
    to_ms: int
    age_ms: int
    at: Utc


CHANGES: Final = msgspec.json.Decoder(Prolonged)


def next_retention(age_ms: int, kept_ms: int, wanted_ms: int, share: float, most: float) -> int | None:
    """
    To what a topic's retention must be set; None: it may stay.

    Args:
        wanted_ms: What it should be.
        share: Of its time, from which on what is unread is near its end.
        most: How many times the wanted time it may be.

    """
    bound = int(wanted_ms * most)
    if age_ms > share * kept_ms and kept_ms < bound:
        return min(kept_ms * 2, bound)
    if wanted_ms < kept_ms <= bound and age_ms <= share * wanted_ms / 2:
        return wanted_ms
    return None


def noted(private_pem: bytes, change: Prolonged) -> bytes:
    """The value of the record of a change."""
    return sign(private_pem, SIGNER, encode(change)).encode()


def changes(records: Iterable[Any], tenant: Tenant, public_pem: bytes) -> list[Prolonged]:
    """What the tenant's auditors changed, of the records of the policy's topic; what they did not sign says nothing."""
    found: list[Prolonged] = []
    for record in records:
        if record.value is None or not (record.key or b"").startswith(PROLONGED):
            continue
        with suppress(MessageError, UnicodeDecodeError):
            change = decode(CHANGES, verify(public_pem, record.value.decode("ascii")))
            found += [change] if change.tenant == tenant else []
    return found
