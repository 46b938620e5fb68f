"""
What a request says beyond who asks about whom: the types of its fields, and what their shape cannot say.

Rules: 1. A range is whole UTC days of the call's start; anything finer is refused, not rounded.
       2. A reply key is a public one on which nothing can be guessed.  3. Free text is never logged.
Source: docs/reference/messages.md; RFC 8037 and RFC 7748, section 6.1 (reply key); `schemas/request.json`.
"""

import re
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated, Final, Literal

import msgspec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from calllog_guard.core.codec import IdText, Message, Role, Utc, check_id, check_year
from calllog_guard.core.identifiers import unb64
from calllog_guard.errors import MessageError

ClockEvent = Literal[
    "verify", "clarify", "fee", "ask_identity", "ask_clarification", "ask_fee", "extend", "noticed", "tell", "not_yet"
]  # fmt: skip
Notify = Literal["before", "when_lifted"]
"""When the person learns of a disclosure: before it, or once the law's restriction ends."""
# `$` alone lets a trailing newline through in Python's regular expressions, and JSON Schema does not know `\Z`
Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._:-]{1,64}$(?!\n)")]
Short = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Ground = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
Wording = Annotated[str, msgspec.Meta(min_length=1, max_length=2000)]
Names = Annotated[tuple[Name, ...], msgspec.Meta(min_length=1, max_length=50)]
Edge = Annotated[
    str,
    msgspec.Meta(
        min_length=10, max_length=40, description="a day, inclusive; or RFC 3339 at 00:00:00Z, `to` exclusive"
    ),
]
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d\Z", re.ASCII)
_MIDNIGHT: Final = re.compile(r"(\d{4}-\d\d-\d\d)[Tt]00:00:00(?:\.0+)?(?:[Zz]|\+00:00)\Z", re.ASCII)
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d", re.ASCII)


class Range(Message, frozen=True, kw_only=True):
    """Days of the call's start, UTC; an end that is missing is open."""

    from_: Edge | None = msgspec.field(name="from", default=None)
    to: Edge | None = None


@dataclass(frozen=True, slots=True)
class Days:
    """First and last day, both inclusive; None is open."""

    first: date | None
    last: date | None

    def __contains__(self, day: date) -> bool:
        return (self.first is None or self.first <= day) and (self.last is None or day <= self.last)


class Facts(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Corrected facts of the person's leg of a call, or a session of it; what is missing stays, and is not written."""

    call_id: IdText
    occurrence: IdText | None = None
    session: IdText | None = None
    role: Role | None = None
    joined_at: Utc | None = None
    left_at: Utc | None = None


class Hold(Message, frozen=True, kw_only=True):
    """An order to preserve; `release` names its `id` alone. No range means all, what comes later too."""

    id: Name
    range: Range | None = None
    authority: Short | None = None
    basis: Short | None = None
    review_at: Utc | None = None
    secret: bool | None = None


class ReplyKey(Message, frozen=True, kw_only=True):
    """The requester's public key (JWK); a private one would be refused as an unknown field."""

    kty: Literal["OKP"]
    crv: Literal["X25519"]
    x: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{43}$(?!\n)")]
    kid: Name | None = None
    use: Literal["enc"] | None = None
    alg: Literal["ECDH-ES"] | None = None


def _day(text: str, pointer: str) -> tuple[date, bool]:
    """The day of a range's end, and whether it was written as a moment."""
    midnight = _MIDNIGHT.match(text)
    if midnight is None and not _DAY.match(text):
        raise MessageError("range_not_whole_days" if _MOMENT.match(text) else "bad_time", pointer)
    try:
        day = date.fromisoformat(midnight[1] if midnight else text)
    except ValueError:
        raise MessageError("bad_time", pointer) from None
    if not 2000 <= day.year <= 2100:  # noqa: PLR2004 - docs/how-to/publish-an-event.md; 2100-01-01 may end the last day
        raise MessageError("bad_time", pointer)
    return day, midnight is not None


def days_of(range_: Range, pointer: str = "/range") -> Days:
    """
    The days of a range.

    Raises:
        MessageError: `range_not_whole_days`, `bad_time`, `end_before_start`; `missing_field` where both ends are open:
            a request about everything has no range.

    """
    if range_.from_ is None and range_.to is None:
        raise MessageError("missing_field", f"{pointer}/from")
    first = _day(range_.from_, f"{pointer}/from")[0] if range_.from_ else None
    last = None
    if range_.to:
        last, moment = _day(range_.to, f"{pointer}/to")
        last -= timedelta(moment)
    if first and last and last < first:
        raise MessageError("end_before_start", f"{pointer}/to")
    return Days(first, last)


def check_facts(facts: Facts) -> None:
    """
    What the schema cannot say of corrected facts.

    Raises:
        MessageError: `bad_id`, `bad_time`, `end_before_start`; `missing_field` when nothing is corrected.

    """
    check_id(facts.call_id, "/facts/call_id")
    check_id(facts.occurrence or "", "/facts/occurrence")
    check_id(facts.session or "", "/facts/session")
    check_year(facts.joined_at, "/facts/joined_at")
    check_year(facts.left_at, "/facts/left_at")
    if facts.role is None and facts.joined_at is None and facts.left_at is None:
        raise MessageError("missing_field", "/facts/role")
    if facts.joined_at and facts.left_at and facts.left_at < facts.joined_at:
        raise MessageError("end_before_start", "/facts/left_at")


# Any private key tells: a point of low order yields zero with every one of them.
_PROBE: Final = X25519PrivateKey.from_private_bytes(bytes(32))


def check_reply_key(key: ReplyKey) -> None:
    """
    Whether something sealed to the key is secret at all.

    Raises:
        MessageError: `bad_key`: not 32 bytes, or a point of low order (all zeros among them).

    """
    try:
        _PROBE.exchange(X25519PublicKey.from_public_bytes(unb64(key.x.encode("ascii"))))
    except ValueError:
        raise MessageError("bad_key", "/reply_key/x") from None
