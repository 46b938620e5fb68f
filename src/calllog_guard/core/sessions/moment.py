"""
A moment: a notification of a platform as it lies in `calllog.moments`, sealed, under a key that names nobody.

Rules: 1. Whoever seals it cannot open it: it is sealed to the public half of a week's key (`core/stream/letters.py`).
       2. Its record key is a keyed hash of source and call: all of a call lies in one partition.
       3. A week's private half is destroyed once none of its moments can be needed: no old copy of the log opens.
Form: version (1 byte), number of the week's key (4), ephemeral X25519 key (32), nonce (12), AES-256-GCM of the padded
JSON. Tenant, record key and all before the nonce are its AAD. Its key is HKDF-SHA-256 of the shared secret, salted with
both public keys. An ephemeral key serves many moments, each with a random nonce.
Source: RFC 7748, RFC 5869; docs/explanation/design.md; vectors in `tests/vectors/stored_v2.json`.
"""

import struct
from typing import Annotated, Final, Literal, NamedTuple

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from calllog_guard.core.calls.event import Kind
from calllog_guard.core.codec import IdText, Internal, Role, Utc, check_id, check_year, decode, encode
from calllog_guard.core.crypto.leg_envelope import padded
from calllog_guard.core.crypto.subject_secrets import MacKey, Secret
from calllog_guard.core.identifiers import ID_BYTES, Tenant, id_bytes, id_text
from calllog_guard.core.sources.model import What
from calllog_guard.core.sources.notification import Notification
from calllog_guard.core.stream.letters import LetterKey
from calllog_guard.errors import MessageError, NewerFormError, RecordError

SourceName = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$(?!\n)")]
NONCE: Final = 12
_VERSION: Final = 1
_FOREIGN: Final = 32
"""First bytes from here on are no version of any release, but somebody's text: nothing halts by it."""
_FORM: Final = struct.Struct(">BI32s")
_INFO: Final = b"calllog-guard/v1/moment"


class Moment(Internal, omit_defaults=True, frozen=True, kw_only=True):
    """
    What is sealed; a `Notification` and where it came from.

    Args:
        source: The installation's name of the platform that told it: one call of two sources is two calls.

    """

    v: Literal[1]
    source: SourceName
    what: What
    call: IdText
    at: Utc
    person: IdText | None = None
    session: IdText | None = None
    role: Role | None = None
    kind: Kind | None = None
    joined_at: Utc | None = None

    @property
    def notification(self) -> Notification:
        """The same without its source."""
        return Notification(
            self.what, self.call, self.at, self.person, self.session, self.role, self.kind, self.joined_at
        )


MOMENTS: Final = msgspec.json.Decoder(Moment)


def moment_of(source: str, told: Notification) -> Moment:
    """
    A notification that may be sealed.

    Raises:
        MessageError: A mapping let something through that no event may hold; the message is dead-lettered.

    """
    for name in ("call", "person", "session"):
        if (text := getattr(told, name)) is not None:
            check_id(text, f"/{name}")
    check_year(told.at, "/at")
    check_year(told.joined_at, "/joined_at")
    if told.what in {"joined", "left"} and told.session is None:
        raise MessageError("missing_field", "/session")
    # read again as whoever opens it will read it: what that refuses must not be sealed
    return decode(MOMENTS, encode(Moment(v=1, source=source, **told._asdict())))


class NamingKey(MacKey):
    """A tenant's key for the names of calls and sessions while they are paired; it opens nothing."""

    __slots__ = ()

    def call(self, tenant: Tenant, source: str, call: str) -> str:
        """The record key of a call's moments, 22 characters."""
        return self._name("call", tenant, source, call)

    def session(self, tenant: Tenant, source: str, call: str, session: str) -> str:
        """The name of a session of a call, 22 characters."""
        return self._name("session", tenant, source, call, session)

    def _name(self, *parts: str) -> str:
        return id_text(self.mac("\0".join(parts).encode())[:ID_BYTES])  # no id has a zero byte: `moment_of`


def moment_partition(name: str, partitions: int) -> int:
    """The partition of a call's moments, by its record key, as everything that is named so has it."""
    return int.from_bytes(id_bytes(name)[:4], "big") % partitions


class MomentHead(NamedTuple):
    """By which keys a moment was sealed: the number of the week's, and the ephemeral public one."""

    number: int
    ephemeral: bytes


def head_of(sealed: bytes) -> MomentHead:
    """
    The keys of a sealed moment.

    Raises:
        RecordError: No moment.
        NewerFormError: A later release's: halt.

    """
    if _VERSION < (sealed[0] if sealed else 0) < _FOREIGN:
        raise NewerFormError("a moment", sealed[0], _VERSION)
    if len(sealed) < _FORM.size + NONCE or sealed[0] != _VERSION:
        raise RecordError("bad_moment")
    _, number, ephemeral = _FORM.unpack_from(sealed)
    return MomentHead(number, ephemeral)


class MomentEnvelope:
    """The key that one ephemeral key and one week's key make: seals, or opens, any number of moments."""

    def __init__(self, head: MomentHead, secret: Secret) -> None:
        self.head, self._secret = head, secret
        self._begin = _FORM.pack(_VERSION, head.number, head.ephemeral)

    @classmethod
    def to_seal(cls, week: LetterKey, ephemeral_seed: bytes) -> "MomentEnvelope":
        """To the public half of a week's key; `ephemeral_seed`: 32 random bytes, which nobody keeps."""
        mine = X25519PrivateKey.from_private_bytes(ephemeral_seed)
        shared = mine.exchange(X25519PublicKey.from_public_bytes(week.public))
        head = MomentHead(week.number, mine.public_key().public_bytes_raw())
        return cls(head, _derived(shared, head.ephemeral, week.public))

    @classmethod
    def to_open(cls, head: MomentHead, week_seed: Secret) -> "MomentEnvelope":
        """
        With the private half of a week's key.

        Raises:
            RecordError: The ephemeral key is none.

        """
        week = X25519PrivateKey.from_private_bytes(week_seed.expose())
        try:
            shared = week.exchange(X25519PublicKey.from_public_bytes(head.ephemeral))
        except ValueError:  # a point of small order
            raise RecordError("bad_moment") from None
        return cls(head, _derived(shared, head.ephemeral, week.public_key().public_bytes_raw()))

    def _bound(self, tenant: Tenant, name: str) -> bytes:
        return b"\n".join((b"moment", tenant.encode(), name.encode(), self._begin))

    def seal(self, tenant: Tenant, name: str, moment: Moment, nonce: bytes) -> bytes:
        """The record's value; `name` is its key, `nonce` 12 random bytes, used once."""
        content = padded(encode(moment))
        return self._begin + nonce + self._secret.aes().encrypt(nonce, content, self._bound(tenant, name))

    def open(self, tenant: Tenant, name: str, sealed: bytes) -> Moment:
        """
        The moment again.

        Raises:
            RecordError: Changed in any bit, or under another key, tenant or name.

        """
        start = len(self._begin)
        try:
            content = self._secret.aes().decrypt(
                sealed[start : start + NONCE], sealed[start + NONCE :], self._bound(tenant, name)
            )
        except (InvalidTag, ValueError):
            raise RecordError("bad_moment") from None
        return decode(MOMENTS, content)


def _derived(shared: bytes, ephemeral: bytes, week: bytes) -> Secret:
    return Secret(HKDF(hashes.SHA256(), 32, ephemeral + week, _INFO).derive(shared))
