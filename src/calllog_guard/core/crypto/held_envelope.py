"""
A hold as bytes, version 1: its entry in the keystore, and the copies that are sealed under its own secret.

Rules: 1. The secret is random; who has it can open this hold's copies alone.  2. A hold that was released leaves an
          entry without a secret: only that, never a missing entry, means that its copies may go.
       3. A copy is a leg in a header of its own: it opens under its hold, in its place, and nowhere else.
Source: docs/adr/0004-a-hold-is-a-copy.md, docs/explanation/keystore.md; vectors in `tests/vectors/stored_v1.json`.
"""

import struct
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, Literal

import msgspec

from calllog_guard.core.codec import Day, Id, Internal, TenantName, decode
from calllog_guard.core.crypto.entries import open_bytes, seal_bytes
from calllog_guard.core.crypto.leg_envelope import UNREAD
from calllog_guard.core.crypto.subject_secrets import SECRET_BYTES, DataKey, Secret, derive
from calllog_guard.core.identifiers import EpochName, HoldId, Tenant, unb64
from calllog_guard.errors import EntryCorruptError, MessageError, RecordError

_LIVE: Final = 1
_RELEASED: Final = 2
_HEAD: Final = struct.Struct(">B32s")
_PAD: Final = 512
_TAG: Final = b"hold"


class HoldSecret(Secret):
    """What opens the copies of one hold."""

    __slots__ = ()

    def copy_key(self) -> DataKey:
        """Seals the copies."""
        return DataKey(derive(self, "held"))


@dataclass(frozen=True, slots=True)
class HoldEntry:
    """A hold in the keystore; `secret` is None once it was released, `terms` are JSON (`core/decisions/hold.py`)."""

    epoch: EpochName
    secret: HoldSecret | None
    terms: bytes = b""


def hold_key(tenant: Tenant, hold: HoldId) -> bytes:
    """Where a hold's entry lies."""
    return f"clg:{tenant}:hold:{hold}".encode()


def seal_hold(entry: HoldEntry, place: bytes, key: Secret, nonce: bytes) -> bytes:
    """A hold's entry under the tenant's epoch key, padded: its length tells neither how many it is about nor what."""
    secret = entry.secret.expose() if entry.secret else bytes(SECRET_BYTES)
    content = _HEAD.pack(_LIVE if entry.secret else _RELEASED, secret) + entry.terms
    return seal_bytes(_TAG, entry.epoch, content + b" " * (-len(content) % _PAD), place, key, nonce)


def open_hold(raw: bytes, place: bytes, key: Secret) -> HoldEntry:
    """
    What a hold's entry says.

    Raises:
        EntryCorruptError: Changed in any bit, or another's.

    """
    epoch, content = open_bytes(_TAG, raw, place, key)
    state, secret = _HEAD.unpack_from(content)
    if state not in {_LIVE, _RELEASED}:
        raise EntryCorruptError("a hold's entry in an unknown state")
    return HoldEntry(epoch, HoldSecret(secret) if state == _LIVE else None, content[_HEAD.size :].rstrip(b" "))


class HeldHeader(Internal, frozen=True, kw_only=True, gc=False):
    """The protected header of a copy: as a leg's, `v` too, but `kid` names the hold."""

    major: ClassVar[int] = 2
    never: ClassVar[frozenset[str]] = UNREAD
    alg: Literal["dir"] = "dir"
    enc: Literal["A256GCM"] = "A256GCM"
    typ: Literal["calllog-held"] = "calllog-held"
    v: Literal[1, 2] = 1
    kid: Id
    mon: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{4}-[0-9]{2}$(?!\n)")]
    day: Day
    rid: Id
    pur: Annotated[int, msgspec.Meta(ge=0, lt=1 << 50)]
    pol: Day
    ten: TenantName
    top: str


_headers: Final = msgspec.json.Decoder(HeldHeader)


def parse_held(copy: bytes) -> HeldHeader:
    """
    The protected header of a copy, checked to our form; nothing is opened.

    Raises:
        RecordError: Not a copy that our keepers write; it is reported, never guessed at.

    """
    try:
        return decode(_headers, unb64(copy.partition(b".")[0]))
    except (MessageError, ValueError):
        raise RecordError("bad_copy") from None
