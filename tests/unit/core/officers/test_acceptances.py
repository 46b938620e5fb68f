"""Only an officer of the day accepts a loss; nobody else's record in the policy's topic says anything."""

from datetime import UTC, date, datetime
from types import SimpleNamespace

import pytest

from calllog_guard.core.codec import encode, to_ms
from calllog_guard.core.crypto.jose import new_pair
from calllog_guard.core.identifiers import Tenant, id_text
from calllog_guard.core.officers.acceptances import ACCEPTED, Acceptance, Accepted, AcceptedSpan, accepted, accepting

AT = datetime(2026, 11, 24, 9, tzinfo=UTC)
OFFICER, BACKEND = new_pair(signs=True), new_pair(signs=True)
CLAIMS = Acceptance(
    tenant="iocom",
    topic="calllog.events",
    id=id_text(b"n" * 16),
    spans=(AcceptedSpan(partition=3, was=id_text(b"o" * 16), from_=5, to=0),),
    at=AT,
)
KEYS = {"officer-1": OFFICER[1]}


def officer_key(kid: str, day: date) -> bytes | None:
    """The policy knows one officer, since November."""
    return KEYS.get(kid) if day >= date(2026, 11, 1) else None


def record(value: bytes | None, key: bytes = ACCEPTED + b"x", at: datetime = AT) -> SimpleNamespace:
    """A record of the policy's topic."""
    return SimpleNamespace(key=key, value=value, timestamp=to_ms(at))


def read(*records: SimpleNamespace, tenant: str = "iocom") -> list[Accepted]:
    """What a worker of a tenant believes."""
    return accepted(records, Tenant(tenant), officer_key)


def test_an_officers_word_is_believed_with_its_name() -> None:
    assert read(record(accepting(OFFICER[0], "officer-1", CLAIMS))) == [Accepted(CLAIMS, "officer-1")]


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"\xff\xfe",
        encode(CLAIMS),
        accepting(BACKEND[0], "officer-1", CLAIMS),  # another's key under an officer's name
        accepting(OFFICER[0], "backend-1", CLAIMS),
        accepting(OFFICER[0], "officer-1", CLAIMS).replace(b".", b",", 1),
        accepting(OFFICER[0], "officer-1", CLAIMS)[:-4],
    ],
)
def test_what_no_officer_signed_says_nothing(value: bytes | None) -> None:
    assert read(record(value)) == []


def test_who_was_no_officer_on_that_day_accepts_nothing() -> None:
    """The day is the broker's: who signs cannot date it back."""
    token = accepting(OFFICER[0], "officer-1", CLAIMS)
    assert read(record(token, at=datetime(2026, 10, 31, tzinfo=UTC))) == []


def test_another_tenants_acceptance_is_passed_over() -> None:
    token = accepting(OFFICER[0], "officer-1", CLAIMS)
    assert read(record(token), tenant="other") == []


def test_a_published_policy_or_a_request_is_no_acceptance() -> None:
    """Officers sign other things too: none may be taken for this."""
    from calllog_guard.core.crypto.jose import sign  # noqa: PLC0415

    for content in (b'{"v":1,"tenant":"iocom"}', encode(CLAIMS).replace(b"accept_beginning", b"erase_everything")):
        assert read(record(sign(OFFICER[0], "officer-1", content).encode())) == []
    assert read(record(accepting(OFFICER[0], "officer-1", CLAIMS), key=b"iocom.2026-11-01")) == []
