"""
A request as it arrives: a JWT signed by a registered requester, checked before anything is done.

Rules: 1. EdDSA only; nothing in the header may choose the key.  2. `exp` is judged against the record's append time.
       3. A lifetime over 24 h is refused; times may have fractions, `aud` may be a list, `nbf` is past (RFC 7519).
       4. What is handed on has one audience, whole seconds, no `nbf`.  5. `types.py` has each type's fields.
Source: docs/explanation/cases.md; RFC 7519, RFC 8725.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import msgspec

from calllog_guard.core.codec import Id, IdText, Message, TenantName, Utc, check_year, decode
from calllog_guard.core.crypto.jose import kid_of, verify
from calllog_guard.core.identifiers import b64
from calllog_guard.core.requests.fields import (
    ClockEvent,
    Facts,
    Ground,
    Hold,
    Name,
    Names,
    Notify,
    Range,
    ReplyKey,
    Short,
    Wording,
    check_facts,
    check_reply_key,
    days_of,
)
from calllog_guard.core.requests.types import TYPES, Kind, NoticeKind
from calllog_guard.errors import MessageError, RequestRefusedError

AUDIENCE: Final = "calllog-guard"
"""Of every installation whose policy names none of its own."""
LIFETIME_S: Final = 86_400
_AHEAD_S: Final = 300
NumericDate = Annotated[
    int | float, msgspec.Meta(description="seconds since 1970, with a fraction or without (RFC 7519)")
]
JTI: Final = r"^[A-Za-z0-9._:-]{8,64}$(?!\n)"


class Request(Message, frozen=True, kw_only=True):
    """
    The claims of a signed JWT (EdDSA); several `subjects` are identifiers of one person.

    The JWT may be sealed to the desk's key: JWE compact, the protected header as in `request-sealed-header.json`.
    """

    v: Literal[1]
    iss: Name
    aud: Name | Annotated[tuple[Name, ...], msgspec.Meta(min_length=1, max_length=20)]
    tenant: TenantName
    jti: Annotated[str, msgspec.Meta(pattern=JTI)]
    iat: NumericDate
    exp: NumericDate
    received_at: Utc
    type: Kind
    subjects: Annotated[tuple[IdText, ...], msgspec.Meta(max_length=100)] = ()
    identity: Literal["verified", "unverified"] = "unverified"
    ticket: Name | None = None
    range: Range | None = None
    purposes: Names | None = None
    facts: Facts | None = None
    ground: Ground | None = None
    hold: Hold | None = None
    reply_key: ReplyKey | None = None
    case: Id | None = None
    event: ClockEvent | None = None
    time: Utc | None = None
    wording: Wording | None = None
    authority: Short | None = None
    basis: Short | None = None
    notify: Notify | None = None
    review_at: Utc | None = None
    to: Name | None = None
    notice: NoticeKind | None = None
    nbf: NumericDate | msgspec.UnsetType = msgspec.UNSET


@dataclass(frozen=True, slots=True)
class Needs:
    """What an event must say and may say beside its type; anything else is refused."""

    must: tuple[str, ...]
    may: tuple[str, ...] = ()


BY_EVENT: Final[dict[ClockEvent, Needs]] = {
    "extend": Needs(("ground",)),  # Art. 12(3): told together with the reasons
    "noticed": Needs(("to",), ("notice",)),
    "not_yet": Needs(("review_at",)),
}
"""What an event of the clock must and may say in addition."""
_FIELDS: Final = Request.__struct_fields__
_BY_TYPE: Final = ("subjects", *_FIELDS[_FIELDS.index("range") : _FIELDS.index("nbf")])
_IN_HOLD: Final = tuple(f"hold.{name}" for name in Hold.__struct_fields__ if name != "id")


REQUESTS: Final = msgspec.json.Decoder(Request)


def read_request(
    raw: bytes | None,
    key_of: Callable[[str], bytes | None],
    *,
    tenant: str,
    appended_ms: int,
    audience: str = AUDIENCE,
) -> Request:
    """
    The checked claims of a request.

    Args:
        key_of: The public PEM of a registered requester by `kid`; None for anyone else.
        audience: For whom it must be: what is signed for another installation of the same keys is none of ours.

    Raises:
        RequestRefusedError: Forged, expired, or for someone else; dead-lettered, never acted on.
        MessageError: Not to the schema.

    """
    kid, content = signed_claims(raw, key_of)
    _check_audience(content, audience)
    request = decode(REQUESTS, content)
    if request.iss != kid:
        raise RequestRefusedError("wrong_issuer", "/iss")
    if request.tenant != tenant:
        raise RequestRefusedError("foreign_tenant", "/tenant")
    if not 0 <= request.exp - request.iat <= LIFETIME_S:  # what is endless is none of both
        raise RequestRefusedError("lifetime_too_long", "/exp")
    if not request.iat - _AHEAD_S <= appended_ms / 1000 <= request.exp:
        raise RequestRefusedError("expired", "/exp")
    if request.nbf is not msgspec.UNSET and not request.nbf <= appended_ms / 1000 + _AHEAD_S:
        raise RequestRefusedError("not_yet_valid", "/nbf")
    for moment, pointer in ((request.received_at, "/received_at"), (request.time, "/time")):
        check_year(moment, pointer)
        if moment is not None and moment.timestamp() > appended_ms / 1000 + _AHEAD_S:
            raise RequestRefusedError("in_future", pointer)  # it would put off every date of the case
    return msgspec.structs.replace(request, aud=audience, iat=int(request.iat), exp=int(request.exp), nbf=msgspec.UNSET)


def signed_claims(raw: bytes | None, key_of: Callable[[str], bytes | None]) -> tuple[str, bytes]:
    """
    Who has signed a request, and its claims as they were signed; see `read_request`.

    Raises:
        RequestRefusedError: Nobody who is registered.

    """
    if raw is None:
        raise RequestRefusedError("null_value")
    try:
        token = raw.decode("ascii")
    except UnicodeDecodeError:
        raise RequestRefusedError("not_a_jws") from None
    kid = kid_of(token)
    key = key_of(kid)
    if key is None:
        raise RequestRefusedError("unknown_requester")
    return kid, verify(key, token)


def _given(request: Request, name: str) -> bool:
    first, _, second = name.partition(".")
    value = getattr(request, first)
    if second:
        value = getattr(value, second, None)
    return value is not None and value != ()


def check_fields(request: Request) -> None:
    """
    Whether a request says what its type needs, no more, and makes sense.

    Raises:
        MessageError: `missing_field`, `unexpected_field`, or what is wrong with one; the request is dead-lettered.

    """
    needs, event = TYPES[request.type], BY_EVENT.get(request.event, Needs(())) if request.event else Needs(())
    must, may = [*needs.must, *event.must], {*needs.may, *event.may}
    if needs.several and len(set(request.subjects)) == 1:
        raise MessageError("one_identifier", "/subjects")
    if request.notify == "when_lifted":
        must.append("review_at")
    for name in must:
        if not _given(request, name):
            raise MessageError("missing_field", _pointer(name))
    for name in (*_BY_TYPE, *_IN_HOLD):
        if name not in must and name not in may and _given(request, name):
            raise MessageError("unexpected_field", _pointer(name))
    _check_values(request)


def _pointer(name: str) -> str:
    return "/" + name.replace(".", "/")


def _check_values(request: Request) -> None:
    if request.range:
        days_of(request.range)
    if request.facts:
        check_facts(request.facts)
    if request.reply_key:
        check_reply_key(request.reply_key)
    check_year(request.time, "/time")
    check_year(request.review_at, "/review_at")
    if request.hold:
        check_year(request.hold.review_at, "/hold/review_at")
        if request.hold.range:
            days_of(request.hold.range, "/hold/range")


def wording_digest(wording: str) -> str:
    """What is kept of a consent's wording: SHA-256 in unpadded base64url; whoever has the text can prove it."""
    return b64(hashlib.sha256(wording.encode()).digest()).decode()


def _check_audience(content: bytes, audience: str) -> None:
    try:
        claims: Any = msgspec.json.decode(content)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise MessageError("not_json") from None
    found = claims.get("aud") if isinstance(claims, dict) else None
    if audience != found and not (isinstance(found, list) and audience in found):
        raise RequestRefusedError("wrong_audience", "/aud")
