"""
Access records that prove who wrote them: an actor signs what it opened, where the record lies, in which installation.

Rules: 1. The signature stands last, over the bytes before it as they came: it covers what a later minor release adds.
       2. It is tied to installation, topic and partition: elsewhere it is nobody's.  3. A copy in the same place has
          the same content: whoever counts records knows it by `digest`.
Source: docs/how-to/read-the-log.md; GDPR Art. 15(1)(c), 32; RFC 8032; golden bytes in `tests/vectors/stored_v2.json`.
"""

import hashlib
from enum import StrEnum
from typing import Final, NamedTuple

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from calllog_guard.core.codec import DENIED, Access, decode, encode
from calllog_guard.core.identifiers import b64, unb64
from calllog_guard.errors import ConfigurationError

ACCESSES: Final = msgspec.json.Decoder(Access)
_DIGEST_BYTES: Final = 16


class Doubt(StrEnum):
    """Why a record of an access is believed by nobody; the reasons of the metric and of the report."""

    UNREADABLE = "unreadable"
    UNSIGNED = "unsigned"
    UNREGISTERED = "unregistered_actor"
    SIGNATURE = "wrong_signature"
    LAPSED = "lapsed_actor"
    TIME = "wrong_time"
    PURPOSE = "foreign_purpose"
    REPLAYED = "replayed"
    NEVER = "never_read"


class Account(NamedTuple):
    """
    What a record of an access says.

    Args:
        proven: Its actor signed it. False: its writer did not have to prove itself, or was refused before anything
            was opened.
        name: Of what is proven, by what a copy is known: it counts once.

    """

    access: Access
    proven: bool
    name: bytes = b""


class Signatory(msgspec.Struct, frozen=True):
    """Who has signed, whatever else a later release says beside it."""

    actor: str = ""
    sig: str | msgspec.UnsetType = msgspec.UNSET


_NAMED: Final = msgspec.json.Decoder(Signatory)


def named_in(raw: bytes) -> Signatory:
    """Who is said to have signed."""
    try:
        return _NAMED.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Signatory()


def denies(access: Access) -> bool:
    """Whether it is of a read that was refused at its beginning: nothing was opened, and who asked may have no key."""
    return not access.opened and set(access.refused) == {DENIED}


def place_of(guard: bytes, topic: str, partition: int) -> bytes:
    """Where a record of an access lies: installation, topic, partition."""
    return b"%b\n%b\n%d" % (b64(guard), topic.encode(), partition)


def _signed(content: bytes, place: bytes) -> bytes:
    return b"access\n" + place + b"\n" + content


def _with(content: bytes, signature: str) -> bytes:
    return b'%b,"sig":"%b"}' % (content[:-1], signature.encode())


class ActorKey:
    """An actor's private key; `public` are the 32 bytes of its other half."""

    __slots__ = ("_private", "public")

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private, self.public = private, private.public_key().public_bytes_raw()

    def __repr__(self) -> str:
        return "ActorKey(32 bytes)"

    def vouched(self, access: Access, place: bytes) -> bytes:
        """The record as it is written at a place."""
        content = encode(msgspec.structs.replace(access, sig=msgspec.UNSET))
        return _with(content, b64(self._private.sign(_signed(content, place))).decode())


def actor_key(pem: bytes, told: str) -> ActorKey:
    """
    The key in a PEM.

    Args:
        told: What the error calls it.

    Raises:
        ConfigurationError: None that signs.

    """
    try:
        private = load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ConfigurationError(f"{told} is no private key in PEM without a password") from None
    if not isinstance(private, Ed25519PrivateKey):
        raise ConfigurationError(
            f"{told} does not sign: an actor's key is Ed25519 (calllog-guard key new --role actor)"
        )
    return ActorKey(private)


def public_bytes(pem: bytes) -> bytes:
    """The 32 bytes of a public key that the policy's checks have let pass."""
    key = load_pem_public_key(pem)
    if not isinstance(key, Ed25519PublicKey):
        raise AssertionError("the policy's checks want Ed25519")  # noqa: TRY004 - a defect, not a caller's mistake
    return key.public_bytes_raw()


def read_access(raw: bytes) -> Access:
    """
    What a record says; nothing of it is believed yet.

    Raises:
        MessageError: Nobody's access.

    """
    return decode(ACCESSES, raw)


def _content(raw: bytes, access: Access | Signatory) -> bytes | None:
    """The bytes that were signed; None where the signature is not the last that is said."""
    if not isinstance(access.sig, str):
        return None
    content = raw[: -len(_with(b"}", access.sig))] + b"}"
    return content if _with(content, access.sig) == raw else None


def proves(raw: bytes, access: Access | Signatory, place: bytes, public: bytes) -> bool:
    """Whether the holder of a key has signed these bytes for this place."""
    content, signature = _content(raw, access), access.sig
    if content is None or not isinstance(signature, str):
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(unb64(signature.encode("ascii")), _signed(content, place))
    except (InvalidSignature, ValueError):
        return False
    return True


def digest(raw: bytes) -> bytes:
    """By what a copy of a signed record is known: its bytes have one form."""
    return hashlib.sha256(raw).digest()[:_DIGEST_BYTES]
