"""
Heartbeats: how a record of ours is known in a topic to which others may write too.

Rules: 1. A heartbeat bears a signature over where it lies and what it says, by a signer that the tenant's profile names: copied to
          another topic or partition it is none.  2. A tenant of the first release has no signer: what has exactly the bytes of one of
          its heartbeats is one.  3. Whatever else is under the key, or begins with `~`, is a message like any other.
Source: design section 14 (internal records are authenticated); RFC 8032; golden bytes in `tests/vectors/stored_v2.json`.
"""

import struct
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from calllog_guard.core.ids import b64, unb64
from calllog_guard.core.tombstone import Output
from calllog_guard.core.wire import BEAT, BEATS, decode, encode
from calllog_guard.errors import MessageError, NewerFormError

HEADER: Final = "clg-internal"
"""The header that vouches for a record of ours: the signer's role, a dot, its signature in base64url."""
AUDIT: Final = "audit"
"""The signer of what auditors write."""
KEEP: Final = "keep"
"""The signer of what keepers write."""
_ROLES: Final = frozenset({AUDIT, KEEP})
"""Whose heartbeats are believed: whatever signs for something else has no say here."""
_PLACE: Final = struct.Struct(">IIII")
_PROOF_MOST: Final = 128


def _signed(topic: str, partition: int, key: bytes, value: bytes) -> bytes:
    """What is signed; lengths tell where each part ends."""
    name = topic.encode()
    lengths = _PLACE.pack(partition, len(name), len(key), len(value))
    return b"\x00".join((HEADER.encode(), b"\x01", lengths)) + name + key + value


def vouched(output: Output, role: str, seed: bytes) -> Output:
    """The same record with the proof of a signer, whose seed is 32 bytes."""
    content = _signed(output.topic, output.partition, output.key or b"", output.value or b"")
    proof = b"%b.%b" % (role.encode(), b64(Ed25519PrivateKey.from_private_bytes(seed).sign(content)))
    return msgspec.structs.replace(output, headers=(*output.headers, (HEADER, proof)))


def plain(record: Any) -> bool:
    """Whether a record has exactly the bytes of a heartbeat of the first release, which bore no proof."""
    if record.key != BEAT or record.value is None:
        return False
    try:
        return bool(encode(decode(BEATS, record.value)) == record.value)
    except (MessageError, NewerFormError):
        return False


class Heartbeats(NamedTuple):
    """By which a tenant's heartbeats are known: the public half of each signer's key in base64url, by role."""

    signers: Mapping[str, str]

    def ours(self, record: Any) -> bool:
        """Whether a record is a heartbeat that nobody else can have written, or could before there were signers."""
        if record.key != BEAT:
            return False
        return self._proven(record) if self.signers else plain(record)

    def _proven(self, record: Any) -> bool:
        proof = next((value for name, value in record.headers if name == HEADER), None) or b""
        role, _, signature = proof.partition(b".")
        public = self.signers.get(role.decode("ascii", "replace"))
        if public is None or role.decode() not in _ROLES or len(proof) > _PROOF_MOST:
            return False
        content = _signed(record.topic, record.partition, record.key, record.value or b"")
        try:
            Ed25519PublicKey.from_public_bytes(unb64(public.encode())).verify(unb64(signature), content)
        except (InvalidSignature, ValueError):
            return False
        return True

    def counter(self, record: Any) -> int | None:
        """
        The keystore's counter in a record; None: it is no heartbeat of ours.

        Raises:
            NewerFormError: A later release's: halt.

        """
        try:
            return decode(BEATS, record.value or b"").counter if self.ours(record) else None
        except MessageError:
            return None
