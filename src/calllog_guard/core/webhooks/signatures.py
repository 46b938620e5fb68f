"""
Whether a platform has signed a webhook: the named schemes, each on the raw body, before anything of it is parsed.

In: a request as it came, the secrets of its source, the own clock.  Out: the secret by which it is signed.
Rules: 1. What is compared with a secret's work is compared in constant time.  2. Each secret is tried: two are in use
          while one is replaced.  3. A refusal is a word of ours: nothing of the request is in it.
       4. Where a platform signs a time, it must lie within the window; `timed` says which do.
Source: docs/reference/ingest.md, which names each platform's own page; RFC 2104, RFC 7515, RFC 7617, RFC 6750.
"""

import base64
import binascii
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple
from urllib.parse import parse_qsl

import msgspec

from calllog_guard.core.crypto.jose import shared_claims
from calllog_guard.errors import ConfigurationError, RequestRefusedError, WebhookRefusedError

MISSING: Final = "signature_missing"
WRONG: Final = "signature_wrong"
STALE: Final = "signature_stale"
REASONS: Final = (MISSING, WRONG, STALE)
"""Why a request is refused: nothing to check, not signed by a secret of the source, or signed too long ago."""
_DIGITS: Final = re.compile(r"[0-9]{1,16}\Z")
_MS_FROM: Final = 100_000_000_000
"""A time is in milliseconds from here on: in seconds it would be in the year 5138."""
_MOST_FIELDS: Final = 1000
_SECRET_BYTES: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Signed:
    """
    A request, as far as signatures know it.

    Args:
        url: The address that the platform calls, as it is registered there, without what a signature adds to it.
        query: What stood behind `?` in the request.
        headers: By name in lower case.

    """

    url: str = ""
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes


class SourceKeys(NamedTuple):
    """
    By what a source's requests are known.

    Args:
        secrets: One, or two while one is replaced.
        window_s: How far a signed time may be from the own clock.
        id: LiveKit's API key, the user of `basic`; empty: any.

    """

    secrets: Sequence[bytes]
    window_s: float = 300
    id: str = ""

    def __repr__(self) -> str:
        return f"SourceKeys({len(self.secrets)} secrets)"


NO_KEYS: Final = SourceKeys(())
Check = Callable[[Signed, bytes, SourceKeys, float], bool]
"""Whether a request is signed by this secret; raises WebhookRefusedError where no secret could have signed it."""


class Scheme(NamedTuple):
    """
    How one platform signs.

    Args:
        signs: What is signed and where the signature lies, in words.
        timed: Whether a time is signed, so that a request cannot be sent again later.
        needs_url: Whether the address is signed.
        encoded: Whether the secret is given out in base64.

    """

    signs: str
    documentation: str
    check: Check
    timed: bool = True
    needs_url: bool = False
    encoded: bool = False


def check_signature(scheme: Scheme, request: Signed, keys: SourceKeys, now_s: float) -> bytes:
    """
    The secret by which a request is signed.

    Raises:
        WebhookRefusedError: By none of the source's: the caller answers 401, and keeps nothing.

    """
    found = [each for each in keys.secrets if scheme.check(request, each, keys, now_s)]
    if not found:
        raise WebhookRefusedError(WRONG)
    return found[0]


# --- parts ----------------------------------------------------------------------------------------------------------


def _header(request: Signed, name: str) -> str:
    found = request.headers.get(name, "")
    if not found:
        raise WebhookRefusedError(MISSING)
    return found


def _same(found: str, wanted: str) -> bool:
    """Compared in constant time; a header may hold anything."""
    return hmac.compare_digest(found.encode("utf-8", "surrogatepass"), wanted.encode())


def _recent(text: str, keys: SourceKeys, now_s: float) -> None:
    if not _DIGITS.match(text):
        raise WebhookRefusedError(WRONG)
    at = int(text)
    if abs(now_s - (at / 1000 if at >= _MS_FROM else at)) > keys.window_s:
        raise WebhookRefusedError(STALE)


def _hmac(secret: bytes, content: bytes) -> bytes:
    return hmac.digest(secret, content, "sha256")


def _b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


# --- each platform --------------------------------------------------------------------------------------------------


def _zoom(request: Signed, secret: bytes, keys: SourceKeys, now_s: float) -> bool:
    given, at = _header(request, "x-zm-signature"), _header(request, "x-zm-request-timestamp")
    _recent(at, keys, now_s)
    return _same(given, "v0=" + _hmac(secret, f"v0:{at}:".encode() + request.body).hex())


def _jaas(request: Signed, secret: bytes, keys: SourceKeys, now_s: float) -> bool:
    parts = [each.strip().partition("=") for each in _header(request, "x-jaas-signature").split(",")]
    times = [value for name, _, value in parts if name == "t"]
    given = [value for name, _, value in parts if name == "v1"]
    if len(times) != 1 or not given:
        raise WebhookRefusedError(WRONG)
    _recent(times[0], keys, now_s)
    wanted = _b64(_hmac(secret, f"{times[0]}.".encode() + request.body))
    return any([_same(each, wanted) for each in given])  # noqa: C419 - none is left out


def _daily(request: Signed, secret: bytes, keys: SourceKeys, now_s: float) -> bool:
    given, at = _header(request, "x-webhook-signature"), _header(request, "x-webhook-timestamp")
    _recent(at, keys, now_s)
    return _same(given, _b64(_hmac(secret, f"{at}.".encode() + request.body)))


def _twilio(request: Signed, secret: bytes, _: SourceKeys, __: float) -> bool:
    """Names and values of the form behind the address, by name, each pair once; of no form, the body's digest."""
    given = _header(request, "x-twilio-signature")
    url = request.url + (f"?{request.query}" if request.query else "")
    digest = dict(parse_qsl(request.query, max_num_fields=_MOST_FIELDS)).get("bodySHA256") if request.query else None
    if digest is not None:
        if not _same(digest.lower(), hashlib.sha256(request.body).hexdigest()):
            return False
        content = url
    else:
        content = url + "".join(name + value for name, value in sorted(set(_fields(request.body))))
    wanted = hmac.digest(secret, content.encode("utf-8", "surrogatepass"), "sha1")
    return _same(given, _b64(wanted))


def _fields(body: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise WebhookRefusedError(WRONG) from None


_CHECKSUMS: Final = {40: "sha1", 64: "sha256", 96: "sha384", 128: "sha512"}
"""By the length of their hexadecimal text: how bbb-webhooks itself tells them."""


def _bigbluebutton(request: Signed, secret: bytes, keys: SourceKeys, now_s: float) -> bool:
    """A digest of address, body and secret in the query; with `auth2_0`, the secret itself as a bearer's token."""
    if request.headers.get("authorization"):
        return _bearer(request, secret, keys, now_s)
    words = request.query.split("&")
    given = [each.removeprefix("checksum=") for each in words if each.startswith("checksum=")]
    if not given:
        raise WebhookRefusedError(MISSING)
    kind = _CHECKSUMS.get(len(given[0]))
    if len(given) != 1 or kind is None:
        raise WebhookRefusedError(WRONG)
    rest = "&".join(each for each in words if not each.startswith("checksum="))
    url = (request.url + (f"?{rest}" if rest else "")).encode("utf-8", "surrogatepass")
    wanted = [hashlib.new(kind, url + body + secret, usedforsecurity=False).hexdigest() for body in _bodies(request)]
    return any([_same(given[0], each) for each in wanted])  # noqa: C419 - none is left out


def _bodies(request: Signed) -> Iterator[bytes]:
    """What bbb-webhooks takes for the body: release 2 its fields as JSON, release 3 nothing, by its own mistake."""
    yield request.body
    yield b"{}"
    fields = dict(_fields(request.body)) if request.body[:1] not in {b"{", b"["} else {}
    for names in _ORDERS:
        if fields.keys() == set(names) and _DIGITS.match(fields["timestamp"]):
            said = {name: int(fields[name]) if name == "timestamp" else fields[name] for name in names}
            yield json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


_ORDERS: Final = (("event", "timestamp", "domain"), ("domain", "event", "timestamp"), ("event", "timestamp"))


def _livekit(request: Signed, secret: bytes, keys: SourceKeys, now_s: float) -> bool:
    """A JWT, HS256, of which `sha256` is the body's digest; its times are those of the token."""
    token = _header(request, "authorization").removeprefix("Bearer ").strip()
    try:
        claims = _claims.decode(shared_claims(secret, token))
    except (RequestRefusedError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    if keys.id and claims.iss != keys.id:
        return False
    if not (claims.nbf or 0) - keys.window_s <= now_s <= min(claims.exp, (claims.nbf or claims.exp) + _TOKEN_S):
        raise WebhookRefusedError(STALE)
    return _same(claims.sha256, _b64(hashlib.sha256(request.body).digest()))


class _Claims(msgspec.Struct, frozen=True):
    exp: float
    sha256: str
    nbf: float | None = None
    iss: str = ""


_claims: Final = msgspec.json.Decoder(_Claims)
_TOKEN_S: Final = 86_400.0
"""A token that says it is good for longer is not believed."""


def _bearer(request: Signed, secret: bytes, _: SourceKeys, __: float) -> bool:
    kind, _blank, given = _header(request, "authorization").partition(" ")
    if kind.lower() != "bearer":
        raise WebhookRefusedError(MISSING)
    return _alike(given.strip().encode("utf-8", "surrogatepass"), secret)


def _basic(request: Signed, secret: bytes, keys: SourceKeys, _: float) -> bool:
    kind, _blank, given = _header(request, "authorization").partition(" ")
    if kind.lower() != "basic":
        raise WebhookRefusedError(MISSING)
    try:
        user, colon, password = base64.b64decode(given.strip(), validate=True).partition(b":")
    except (ValueError, binascii.Error):
        raise WebhookRefusedError(WRONG) from None
    named = _alike(user, keys.id.encode()) if keys.id else True
    return _alike(password, secret) and named and bool(colon)


def _alike(found: bytes, wanted: bytes) -> bool:
    """Neither content nor length of a secret shows in how long it takes."""
    return hmac.compare_digest(hashlib.sha256(found).digest(), hashlib.sha256(wanted).digest())


SCHEMES: Final[Mapping[str, Scheme]] = {
    "zoom": Scheme(
        "`x-zm-signature`: HMAC-SHA256 of `v0:`, `x-zm-request-timestamp`, `:` and the body",
        "https://developers.zoom.us/docs/api/webhooks/",
        _zoom,
    ),
    "livekit": Scheme(
        "`Authorization`: a JWT, HS256, whose claim `sha256` is the body's digest",
        "https://docs.livekit.io/home/server/webhooks/",
        _livekit,
    ),
    "jaas": Scheme(
        "`X-Jaas-Signature`: `t=` a time, `v1=` HMAC-SHA256 of the time, `.` and the body",
        "https://developer.8x8.com/jaas/docs/webhooks-signatures",
        _jaas,
    ),
    "daily": Scheme(
        "`X-Webhook-Signature`: HMAC-SHA256 of `X-Webhook-Timestamp`, `.` and the body",
        "https://docs.daily.co/reference/rest-api/webhooks",
        _daily,
        encoded=True,
    ),
    "twilio": Scheme(
        "`X-Twilio-Signature`: HMAC-SHA1 of the address and the form's fields in order",
        "https://www.twilio.com/docs/usage/security",
        _twilio,
        timed=False,
        needs_url=True,
    ),
    "bigbluebutton": Scheme(
        "query `checksum`: SHA-1 to 512 of address, body and secret; or, with `auth2_0`, a bearer's token",
        "https://docs.bigbluebutton.org/development/webhooks/",
        _bigbluebutton,
        timed=False,
        needs_url=True,
    ),
    "bearer": Scheme(
        "`Authorization: Bearer` and the secret itself: nothing is signed",
        "https://www.rfc-editor.org/rfc/rfc6750",
        _bearer,
        timed=False,
    ),
    "basic": Scheme(
        "`Authorization: Basic`, with the secret as password: nothing is signed",
        "https://www.rfc-editor.org/rfc/rfc7617",
        _basic,
        timed=False,
    ),
}
"""The schemes by name."""


# --- what a platform asks before it sends anything ------------------------------------------------------------------

_CHALLENGE: Final = re.compile(r"[A-Za-z0-9_=+/.-]{1,128}\Z")
"""A challenge of Zoom's. No `:` in it: what we sign of it must never be what a webhook's signature is made of."""


class _Challenge(msgspec.Struct, frozen=True, rename="camel"):
    plain_token: str


class _Validation(msgspec.Struct, frozen=True):
    event: str
    payload: _Challenge | None = None


_VALIDATIONS: Final = msgspec.json.Decoder(_Validation)


_TRIALS: Final = {"daily": b'{"test":"test"}'}
"""What a platform sends, signed or not, to see whether somebody answers; it says nothing, and nothing becomes of it."""


def is_trial(scheme: str, body: bytes) -> bool:
    """Whether a request only asks whether somebody is there."""
    trial = _TRIALS.get(scheme)
    return trial is not None and bytes(body.translate(None, b" \t\r\n")) == trial


def handshake(scheme: str, body: bytes, secret: bytes) -> bytes | None:
    """
    The answer to Zoom's question whether an address is ours; None: the body asks no such thing.

    Args:
        body: Of a request that was signed by `secret`: whoever has it learns nothing from the answer.

    Raises:
        WebhookRefusedError: It asks, and not as Zoom does.

    """
    if scheme != "zoom" or b"endpoint.url_validation" not in body:
        return None
    try:
        found = _VALIDATIONS.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if found.event != "endpoint.url_validation":
        return None
    token = found.payload.plain_token if found.payload else ""
    if not _CHALLENGE.match(token):
        raise WebhookRefusedError(WRONG)
    return msgspec.json.encode({"plainToken": token, "encryptedToken": _hmac(secret, token.encode()).hex()})


def usable(scheme: Scheme, raw: bytes) -> bytes:
    """
    The secret in a file's bytes.

    Raises:
        ConfigurationError: None is there, or it is not as the platform gives it out.

    """
    found = raw.strip()
    try:
        found = base64.b64decode(found, validate=True) if scheme.encoded else found
    except binascii.Error:
        found = b""
    if not found or len(raw) > _SECRET_BYTES or (b"\n" in found and not scheme.encoded):
        wanted = "in base64, as the platform shows it" if scheme.encoded else "one line"
        raise ConfigurationError(f"the file of its secret holds none: it must be {wanted}")
    return found
