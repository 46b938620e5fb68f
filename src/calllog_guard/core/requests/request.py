"""
A request as it arrives: a JWT signed by a registered requester, checked before anything is done.

Rules: 1. EdDSA only; nothing in the header may choose the key.  2. `exp` is judged against the record's append time.
       3. A lifetime over 24 h is refused.
Source: RFC 7519, RFC 8725; design section 10.
"""

from collections.abc import Callable
from typing import Annotated, Any, Final, Literal

import msgspec

from calllog_guard.core.crypto.sealed import kid_of, verify
from calllog_guard.core.wire import Message, TenantName, Utc, decode
from calllog_guard.errors import MessageError, RequestRefusedError

AUDIENCE: Final = "calllog-guard"
LIFETIME_S: Final = 86_400
_AHEAD_S: Final = 300
Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._:-]{1,64}$")]
Kind = Literal[
    "erase", "access", "portability", "rectify", "restrict", "lift", "object", "withdraw", "consent",
    "hold", "release", "disclose", "approve", "refuse", "clock", "complain",
]  # fmt: skip


class Request(Message, frozen=True, kw_only=True):
    """The claims; what later types need is accepted and refused as not supported with its type."""

    v: Literal[1]
    iss: Name
    aud: Literal["calllog-guard"]
    tenant: TenantName
    jti: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._:-]{8,64}$")]
    iat: int
    exp: int
    received_at: Utc
    type: Kind
    subjects: Annotated[
        tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=256)], ...], msgspec.Meta(max_length=100)
    ] = ()
    identity: Literal["verified", "unverified"] = "unverified"
    range: Any = None
    ticket: Name | None = None
    purposes: Any = None
    facts: Any = None
    ground: Any = None
    hold: Any = None
    reply_key: Any = None
    case: Any = None
    event: Any = None


REQUESTS: Final = msgspec.json.Decoder(Request)


def read_request(raw: bytes | None, key_of: Callable[[str], bytes | None], *, tenant: str, appended_ms: int) -> Request:
    """
    The checked claims of a request.

    Args:
        key_of: The public PEM of a registered requester by `kid`; None for anyone else.

    Raises:
        RequestRefusedError: Forged, expired, or for someone else; dead-lettered, never acted on.
        MessageError: Not to the schema.

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
    content = verify(key, token)
    _check_audience(content)
    request = decode(REQUESTS, content)
    if request.iss != kid:
        raise RequestRefusedError("wrong_issuer", "/iss")
    if request.tenant != tenant:
        raise RequestRefusedError("foreign_tenant", "/tenant")
    if request.exp - request.iat > LIFETIME_S or request.exp < request.iat:
        raise RequestRefusedError("lifetime_too_long", "/exp")
    if not request.iat - _AHEAD_S <= appended_ms / 1000 <= request.exp:
        raise RequestRefusedError("expired", "/exp")
    if not 2000 <= request.received_at.year < 2100:  # noqa: PLR2004 - as for events
        raise RequestRefusedError("bad_time", "/received_at")
    if request.type == "erase" and not request.subjects:
        raise RequestRefusedError("missing_field", "/subjects")
    return request


def _check_audience(content: bytes) -> None:
    try:
        claims: Any = msgspec.json.decode(content)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise MessageError("not_json") from None
    if not isinstance(claims, dict) or claims.get("aud") != AUDIENCE:
        raise RequestRefusedError("wrong_audience", "/aud")
