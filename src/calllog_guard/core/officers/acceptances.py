"""
What an officer accepted as lost: signed claims in the policy's topic, which every worker reads and no worker can make.

Rules: 1. An acceptance names the topic by Kafka's id and the offsets shown: repeated or moved, it accepts nothing else.
       2. Whoever signed was an officer on the day on which the broker appended the record.
Source: docs/how-to/kafka.md, docs/explanation/keystore.md; RFC 7515.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import date
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeVar

import msgspec

from calllog_guard.core.codec import Id, Internal, TenantName, Utc, decode, encode, from_ms
from calllog_guard.core.crypto.jose import kid_of, sign, verify
from calllog_guard.core.identifiers import Tenant
from calllog_guard.errors import MessageError

ACCEPTED: Final = b"~accepted."
"""Begins the record key of an acceptance; earlier releases pass over what begins so."""


class AcceptedSpan(Internal, frozen=True, kw_only=True):
    """
    What was accepted of one partition.

    Args:
        was: The id of the topic that was read before.
        from_: The first offset that was not read of it.
        to: Where reading goes on.

    """

    partition: int
    was: Id
    from_: int = msgspec.field(name="from")
    to: int


class Acceptance(Internal, frozen=True, kw_only=True):
    """The claims; `id` is the topic as it is now."""

    v: Literal[1] = 1
    act: Literal["accept_beginning"] = "accept_beginning"
    tenant: TenantName
    topic: str
    id: Id
    spans: tuple[AcceptedSpan, ...]
    at: Utc


ACCEPTANCES: Final = msgspec.json.Decoder(Acceptance)


class Accepted(NamedTuple):
    """Claims whose signature was checked, with the officer who signed them."""

    claims: Acceptance
    officer: str


def accepting(private_pem: bytes, kid: str, claims: Internal) -> bytes:
    """The value of the record of what an officer says."""
    return sign(private_pem, kid, encode(claims)).encode()


def accepted(
    records: Iterable[Any], tenant: Tenant, officer_key: Callable[[str, date], bytes | None]
) -> list[Accepted]:
    """
    What officers accepted, of the records of the policy's topic; what no officer of the tenant signed says nothing.

    Args:
        officer_key: The public PEM of an officer's credential on a day; None: it was no officer's.

    """
    return [Accepted(*each) for each in by_officers(records, ACCEPTED, ACCEPTANCES, tenant, officer_key)]


class Claims(Protocol):
    """What is signed: of one tenant."""

    @property
    def tenant(self) -> str:
        """Whose it is."""


C = TypeVar("C", bound=Claims)


def by_officers(
    records: Iterable[Any],
    begins: bytes,
    decoder: "msgspec.json.Decoder[C]",
    tenant: Tenant,
    officer_key: Callable[[str, date], bytes | None],
) -> Iterator[tuple[C, str]]:
    """The claims of one kind, whose record keys begin so, and who signed each; arguments as of `accepted`."""
    for record in records:
        if record.value is None or not (record.key or b"").startswith(begins):
            continue
        with suppress(MessageError, UnicodeDecodeError):
            token = record.value.decode("ascii")
            kid = kid_of(token)
            pem = officer_key(kid, from_ms(record.timestamp).date())
            if pem is None:
                continue
            claims = decode(decoder, verify(pem, token))
            if claims.tenant == tenant:
                yield claims, kid
