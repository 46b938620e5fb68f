"""How each platform sends a webhook: signed as its own documentation says, written apart from what checks it."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, quote

_PAYLOADS = Path(__file__).parent / "payloads"


def samples(name: str) -> list[bytes]:
    """The messages of a platform's samples, as they come."""
    found: list[bytes] = []
    for path in sorted(path for path in (_PAYLOADS / name).iterdir() if ".expected" not in path.name):
        raw = path.read_bytes()
        try:
            json.loads(raw)
        except ValueError:
            found += [line for line in raw.splitlines() if line.strip()]
        else:
            found.append(raw)
    return found


class Sent(NamedTuple):
    """A request as a platform sends it."""

    headers: dict[str, str]
    body: bytes
    query: str = ""


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def zoom(body: bytes, secret: bytes, now: int) -> Sent:
    digest = hmac.new(secret, b"v0:%d:" % now + body, hashlib.sha256).hexdigest()
    return Sent({"x-zm-request-timestamp": str(now), "x-zm-signature": f"v0={digest}"}, body)


def jaas(body: bytes, secret: bytes, now: int) -> Sent:
    digest = hmac.new(secret, b"%d." % now + body, hashlib.sha256).digest()
    return Sent({"x-jaas-signature": f"t={now},v1={_b64(digest)}"}, body)


def daily(body: bytes, secret: bytes, now: int) -> Sent:
    digest = hmac.new(secret, b"%d." % now + body, hashlib.sha256).digest()
    return Sent({"x-webhook-timestamp": str(now), "x-webhook-signature": _b64(digest)}, body)


def livekit(body: bytes, secret: bytes, now: int, **claims: object) -> Sent:
    def part(found: Mapping[str, object]) -> str:
        return base64.urlsafe_b64encode(json.dumps(found).encode()).decode().rstrip("=")

    told = {"iss": "APIkey", "nbf": now, "exp": now + 300, "sha256": _b64(hashlib.sha256(body).digest())} | claims
    signed = f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part(told)}"
    mac = hmac.new(secret, signed.encode(), hashlib.sha256).digest()
    return Sent({"authorization": f"{signed}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"}, body)


URL = "https://hooks.example.org/in"


def twilio(body: bytes, secret: bytes, _: int) -> Sent:
    fields = "".join(name + value for name, value in sorted(parse_qsl(body.decode(), keep_blank_values=True)))
    return Sent({"x-twilio-signature": _b64(hmac.new(secret, (URL + fields).encode(), hashlib.sha1).digest())}, body)


def bigbluebutton(body: bytes, secret: bytes, _: int) -> Sent:
    return Sent({}, body, "checksum=" + hashlib.sha256(URL.encode() + body + secret).hexdigest())


def bearer(body: bytes, secret: bytes, _: int) -> Sent:
    return Sent({"authorization": f"Bearer {secret.decode()}"}, body)


def basic(body: bytes, secret: bytes, _: int) -> Sent:
    return Sent({"authorization": f"Basic {_b64(b'pbx:' + secret)}"}, body)


PLATFORMS: dict[str, Callable[[bytes, bytes, int], Sent]] = {
    "zoom": zoom,
    "jaas": jaas,
    "daily": daily,
    "livekit": livekit,
    "twilio": twilio,
    "bigbluebutton": bigbluebutton,
    "bearer": bearer,
    "basic": basic,
}
"""By the scheme's name."""
SECRET = b"c2VjcmV0LW9mLWEtd2ViaG9vaw=="
"""It is base64 too: Daily's are."""
FORM = b"CallSid=CA1&From=" + quote("+442012345678").encode()


def body_of(scheme: str) -> bytes:
    """A body of the kind that a scheme's platform sends."""
    return FORM if scheme in {"twilio", "bigbluebutton"} else b'{"event":"a","payload":{"name":"Ana"}}'


def key_of(scheme: str, raw: bytes = SECRET) -> bytes:
    """What a platform signs with, of what its console shows."""
    return base64.b64decode(raw) if scheme == "daily" else raw
