"""
Sealing to a public key and signing, by a JOSE library: dead letters, requests, receipts.

Rules: 1. `alg` is pinned by us, never taken from the message.  2. Refusals carry a word, never content.
Source: RFC 7515, 7516, 7519, 8037; joserfc.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from joserfc import jwe, jws
from joserfc.errors import JoseError
from joserfc.jwk import OctKey, OKPKey

from calllog_guard.core.identifiers import unb64
from calllog_guard.errors import RequestRefusedError

_SEAL: Final = ["ECDH-ES", "A256GCM"]
_SIGN: Final = ["EdDSA", "Ed25519"]
_SHARED: Final = ["HS256"]
_FORBIDDEN: Final = frozenset({"crit", "jku", "jwk", "x5u", "x5c", "zip", "b64"})


class _Large(jwe.JWERegistry):
    """The library refuses more than 64 KiB; a dead letter holds what Kafka lets through."""

    max_ciphertext_length = 32 << 20


_registry: Final = _Large(algorithms=_SEAL)


def seal_to(public_pem: bytes, kid: str, content: bytes, *, cty: str = "") -> str:
    """JWE compact, ECDH-ES on X25519 with A256GCM; only the private half opens it. `cty`: the content's kind, clear."""
    return seal_to_key(public_pem, kid, content, cty=cty)


def seal_to_key(public: bytes | dict[str, str | list[str]], kid: str, content: bytes, *, cty: str = "") -> str:
    """As `seal_to`, to a key in PEM or a public JWK."""
    header = {"alg": "ECDH-ES", "enc": "A256GCM", "kid": kid} | ({"cty": cty} if cty else {})
    return jwe.encrypt_compact(header, content, OKPKey.import_key(public), registry=_registry)


def content_type(token: str) -> str:
    """The `cty` of a JWE's protected header; nothing is opened, and what is none has none."""
    return _in_header(token, "cty")


def sealed_to(token: str) -> str:
    """The `kid` of a JWE's protected header, likewise."""
    return _in_header(token, "kid")


def _in_header(token: str, name: str) -> str:
    try:
        header: Any = msgspec.json.decode(unb64(token.partition(".")[0].encode("ascii")))
    except (ValueError, msgspec.DecodeError, RecursionError):
        return ""
    found = header.get(name) if isinstance(header, dict) else None
    return found if isinstance(found, str) else ""


def open_sealed(private_pem: bytes, token: str) -> bytes:
    """
    The content again.

    Raises:
        RequestRefusedError: Another key's, or changed.

    """
    try:
        content = jwe.decrypt_compact(token, OKPKey.import_key(private_pem), registry=_registry).plaintext
    except (JoseError, ValueError):
        raise RequestRefusedError("does_not_open") from None
    return content or b""


@contextmanager
def _named_eddsa() -> Iterator[None]:
    """RFC 9864 renames `EdDSA` to `Ed25519`; the contract's name is the older one, and the library warns about it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "EdDSA is deprecated")
        yield


def sign(private_pem: bytes, kid: str, content: bytes) -> str:
    """JWS compact, Ed25519."""
    header = {"alg": "EdDSA", "kid": kid}
    with _named_eddsa():
        return jws.serialize_compact(header, content, OKPKey.import_key(private_pem), algorithms=_SIGN)


def kid_of(token: str) -> str:
    """
    The `kid` of a JWS whose header is one that we accept; nothing is verified yet.

    Raises:
        RequestRefusedError: Another algorithm, or a header parameter that could choose the key.

    """
    try:
        header: Any = msgspec.json.decode(unb64(token.partition(".")[0].encode("ascii")))
    except (ValueError, msgspec.DecodeError, RecursionError):
        raise RequestRefusedError("not_a_jws") from None
    if not isinstance(header, dict) or header.get("alg") != "EdDSA":
        raise RequestRefusedError("wrong_algorithm")
    if _FORBIDDEN & header.keys():
        raise RequestRefusedError("forbidden_header")
    kid = header.get("kid")
    if not isinstance(kid, str):
        raise RequestRefusedError("no_kid")
    return kid


def verify(public_pem: bytes, token: str) -> bytes:
    """
    The content of a JWS.

    Raises:
        RequestRefusedError: The signature is not this key's.

    """
    kid_of(token)
    try:
        with _named_eddsa():
            return jws.deserialize_compact(token, OKPKey.import_key(public_pem), algorithms=_SIGN).payload
    except (JoseError, ValueError):
        raise RequestRefusedError("bad_signature") from None


def shared_claims(secret: bytes, token: str) -> bytes:
    """
    The content of a JWS that is signed with a shared secret, HS256 alone: a platform's webhook.

    Raises:
        RequestRefusedError: It is not signed with this secret, or is none.

    """
    try:
        header: Any = msgspec.json.decode(unb64(token.partition(".")[0].encode("ascii")))
        if not isinstance(header, dict) or _FORBIDDEN & header.keys():
            raise RequestRefusedError("forbidden_header")
        with _named_short():
            return jws.deserialize_compact(token, OctKey.import_key(secret), algorithms=_SHARED).payload
    except (JoseError, ValueError, msgspec.DecodeError, RecursionError):
        raise RequestRefusedError("bad_signature") from None


@contextmanager
def _named_short() -> Iterator[None]:
    """The library warns of a short secret; its length is the platform's choice."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def new_pair(*, signs: bool) -> tuple[bytes, bytes]:
    """The private and public PEM of a new pair: Ed25519 when it signs, else X25519, to which is sealed."""
    return _pems(Ed25519PrivateKey.generate() if signs else X25519PrivateKey.generate())


def _pems(private: Ed25519PrivateKey | X25519PrivateKey) -> tuple[bytes, bytes]:
    return (
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
        private.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
    )


def public_forms(pem: bytes) -> tuple[bytes, dict[str, str], str]:
    """
    A key's public half, from either half: PEM, JWK, and fingerprint (the SHA-256 thumbprint of RFC 7638, base64url).

    Raises:
        ValueError: Neither Ed25519 nor X25519, or no PEM at all.

    """
    try:
        key = OKPKey.import_key(pem)
    except JoseError:
        raise ValueError("no key that we use") from None
    shown = {name: str(value) for name, value in key.as_dict(private=False).items() if name in {"kty", "crv", "x"}}
    return key.as_pem(private=False), shown, key.thumbprint()


def receipt_pem(seed: bytes) -> tuple[bytes, bytes]:
    """The private and public PEM of a tenant's Ed25519 key for receipts, from its 32-byte seed."""
    return _pems(Ed25519PrivateKey.from_private_bytes(seed))


def desk_pem(seed: bytes) -> tuple[bytes, bytes]:
    """The private and public PEM of a desk's X25519 key, to which requests are sealed, from its 32-byte seed."""
    return _pems(X25519PrivateKey.from_private_bytes(seed))


def sealing_public(seed: bytes) -> bytes:
    """The public half (32 bytes) of an X25519 key, from its seed."""
    return X25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def sealing_pem(public: bytes) -> bytes:
    """The PEM of an X25519 key's public half (32 bytes)."""
    key = X25519PublicKey.from_public_bytes(public)
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def signer_pem(public: bytes) -> bytes:
    """The PEM of an Ed25519 key's public half (32 bytes)."""
    key = Ed25519PublicKey.from_public_bytes(public)
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def signer_public(seed: bytes) -> bytes:
    """The public half (32 bytes) of an Ed25519 key, from its seed."""
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
