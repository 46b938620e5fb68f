"""
Proofs: how a record that a worker of ours wrote is told from what anybody else wrote in its place.

A record bears a signature over its place and content, by a role's key of which everybody has the public half alone.
Rules: 1. Moved to another topic, partition or key it proves nothing; a tombstone bears one like any other record.
       2. Tenants of the first release have no signers: what was written before is known by the broker's time, which
          no sender sets; what came later without a proof is nobody's, and is passed over.
       3. A later release's form halts whoever reads it only if it is proven: what anybody may write stops nobody.
Source: docs/explanation/keystore.md; RFC 8032; golden bytes in `tests/vectors/stored_v2.json`.
"""

import struct
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from calllog_guard.core.codec import to_ms
from calllog_guard.core.identifiers import b64, unb64
from calllog_guard.core.records import Output
from calllog_guard.errors import NewerFormError, RecordError

HEADER: Final = "clg-internal"
"""The header that vouches for a record of ours: the signer's role, a dot, its signature in base64url."""
AUDIT: Final = "audit"
"""The signer of what auditors write."""
KEEP: Final = "keep"
"""The signer of what keepers write."""
DESK: Final = "desk"
"""The signer of what desks write: cases, decisions, and the tombstones of both."""
UNPROVEN: Final = "unproven"
"""The reason of a record that should bear a proof and does not."""
TOGETHER: Final = 500
"""Proofs that are checked before others may run: a fifteenth of a second (a signature takes 120 us)."""
_PLACE: Final = struct.Struct(">IIII")
_PROOF_MOST: Final = 128
T = TypeVar("T")


def _signed(topic: str, partition: int, key: bytes, value: bytes | None) -> bytes:
    """What is signed; lengths tell where each part ends, and a tombstone is no empty value."""
    name, said = topic.encode(), value or b""
    lengths = _PLACE.pack(partition, len(name), len(key), len(said))
    form = b"\x01" if value is not None else b"\x02"
    return b"\x00".join((HEADER.encode(), form, lengths)) + name + key + said


def vouched(output: Output, role: str, seed: bytes) -> Output:
    """The same record with the proof of a signer, whose seed is 32 bytes."""
    content = _signed(output.topic, output.partition, output.key or b"", output.value)
    proof = b"%b.%b" % (role.encode(), b64(Ed25519PrivateKey.from_private_bytes(seed).sign(content)))
    return msgspec.structs.replace(output, headers=(*output.headers, (HEADER, proof)))


def signer_of(record: Any, signers: Mapping[str, str]) -> str | None:
    """The role whose signer has proven a record, or None. Twenty thousand headers are one signature to check."""
    proof = next((value for name, value in record.headers if name == HEADER), None) or b""
    role, _, signature = proof.partition(b".")
    public = signers.get(role.decode("ascii", "replace"))
    if public is None or len(proof) > _PROOF_MOST:
        return None
    content = _signed(record.topic, record.partition, record.key or b"", record.value)
    try:
        Ed25519PublicKey.from_public_bytes(unb64(public.encode())).verify(unb64(signature), content)
    except (InvalidSignature, ValueError):
        return None
    return role.decode()


class Proofs(NamedTuple):
    """
    By which a tenant's records are known.

    Args:
        signers: The public half of each signer's key in base64url, by role.
        until: What brokers appended before this needs no proof; None: everything needs one.

    """

    signers: Mapping[str, str]
    until: datetime | None = None

    def proven(self, record: Any, role: str) -> bool:
        """Whether a role of ours wrote a record, and nobody else can have."""
        return role in self.signers and signer_of(record, self.signers) == role

    def older(self, record: Any, role: str) -> bool:
        """Whether a record was written before the role had a signer."""
        if role not in self.signers:
            return True
        return self.until is not None and not record.senders and record.timestamp < to_ms(self.until)

    def believed(self, record: Any, role: str) -> bool:
        """Whether a role of ours wrote a record, as far as anybody could tell when it was written."""
        return self.older(record, role) or self.proven(record, role)

    def read(self, record: Any, role: str, reading: Callable[[Any], T]) -> T:
        """
        What a record says that only a role of ours may say.

        Raises:
            MessageError: No such record, or none of ours (`unproven`): it is passed over.
            NewerFormError: A later release of ours wrote it: halt.

        """
        if not self.believed(record, role):
            raise RecordError(UNPROVEN)
        return self.form(record, role, reading)

    def form(self, record: Any, role: str, reading: Callable[[Any], T]) -> T:
        """As `read`, where the content has a proof of its own: this one is asked for only in a later release's form."""
        try:
            return reading(record)
        except NewerFormError:
            if self.proven(record, role):
                raise
            raise RecordError(UNPROVEN) from None
