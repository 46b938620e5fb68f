"""
A request sealed to the desk's key: a JWE around the signed JWT, so that it names nobody in clear while in its topic.

Rules: 1. Signature inside, sealing outside: the inside is judged as if it came bare, and never opened a second time.
       2. `alg` and `enc` are pinned; unlisted header parameters are refused.  3. `kid` names the one key tried.
       4. Whatever does not open has one reason, whoever's fault it is.
Source: RFC 7516, RFC 7518 (4.6), RFC 7519 (5.2); interface (messages).
"""

import re
from collections.abc import Callable
from typing import Annotated, Final, Literal

import msgspec

from calllog_guard.core.codec import Message
from calllog_guard.core.crypto.jose import desk_pem, open_sealed, public_forms, seal_to_key
from calllog_guard.core.identifiers import Tenant, unb64
from calllog_guard.core.requests.fields import Name
from calllog_guard.errors import RequestRefusedError

MOST_BYTES: Final = 262_144
"""Room for the longest JWT that the JOSE library takes (128,000 bytes of claims), once more in base64."""
_PARTS: Final = 5


class Ephemeral(Message, frozen=True, kw_only=True):
    """The sender's key of this one message (RFC 7518, section 4.6.1.1)."""

    kty: Literal["OKP"]
    crv: Literal["X25519"]
    x: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{43}$(?!\n)")]


class SealedHeader(Message, frozen=True, kw_only=True):
    """The protected header of a request sealed to the desk; `kid` is the name of the key's file, as `iocom-desk`."""

    alg: Literal["ECDH-ES"]
    enc: Literal["A256GCM"]
    kid: Name
    epk: Ephemeral
    cty: Literal["JWT"] | msgspec.UnsetType = msgspec.UNSET
    typ: Literal["JWT", "JOSE"] | msgspec.UnsetType = msgspec.UNSET


_HEADERS: Final = msgspec.json.Decoder(SealedHeader)


def desk_kid(tenant: Tenant, number: int) -> str:
    """The name of a desk's key: `iocom-desk`, and `iocom-desk-2` after a rotation."""
    return f"{tenant}-desk" if number == 1 else f"{tenant}-desk-{number}"


def desk_number(tenant: Tenant, kid: str) -> int | None:
    """Which of the desk's keys a name means; None when it means none."""
    found = re.fullmatch(re.escape(f"{tenant}-desk") + r"(?:-([1-9]\d{0,3}))?", kid, re.ASCII)
    number = int(found[1] or 1) if found else 0
    return number if number and desk_kid(tenant, number) == kid else None


def seal_request(public_pem: bytes, kid: str, token: str) -> str:
    """
    A signed request, sealed to one of the desk's keys.

    Raises:
        ValueError: No X25519 key in PEM.

    """
    if public_forms(public_pem)[1]["crv"] != "X25519":
        raise ValueError("nothing can be sealed to this key")
    return seal_to_key(public_pem, kid, token.encode("ascii"), cty="JWT")


def bare(raw: bytes | None, seed_of: Callable[[str], bytes | None]) -> bytes | None:
    """
    A request without its seal; as it came where it has none.

    Args:
        seed_of: The 32 bytes of the desk's key by `kid`; None for a name that is none of its keys'.

    Raises:
        RequestRefusedError: `does_not_open`; dead-lettered.

    """
    if raw is None or raw.count(b".") != _PARTS - 1:
        return raw
    try:
        header, encrypted_key, *_ = raw.split(b".")
        kid = _HEADERS.decode(unb64(header)).kid
    except (ValueError, msgspec.DecodeError, RecursionError):
        raise RequestRefusedError("does_not_open") from None
    seed = None if encrypted_key or len(raw) > MOST_BYTES else seed_of(kid)
    if seed is None:
        raise RequestRefusedError("does_not_open")
    return open_sealed(desk_pem(seed)[0], raw.decode("latin-1"))
