"""
A tenant's profile: which stored forms its installation writes, by which rules it knows people, who signs for it.

It is kept with the tenant's secrets, one numbered blob per change, and the highest number counts.
Rules: 1. Every level ever written has readers; the profile names the written one, raised once all workers read it.
       2. A level never falls.  3. Who writes beside the KMS and cannot wrap cannot change it: the KMS wraps its digest.
Source: docs/how-to/upgrade.md; vectors in `tests/vectors/stored_v2.json`.
"""

import hashlib
import struct
from datetime import date, datetime, timedelta
from typing import Annotated, Final, Literal

import msgspec
from msgspec.structs import replace

from calllog_guard.core.codec import Day, Rewritten, Utc, decode, encode
from calllog_guard.core.identifiers import Tenant
from calllog_guard.core.identity.rules import unknown_rules
from calllog_guard.errors import EntryCorruptError, MessageError, NewerFormError

RELEASE_0_1: Final = 1
"""The forms of the first release: what a tenant without a profile has."""
FORMS: Final = 2
"""The highest level of forms that this release writes; new tenants begin with it."""
CHANGES: Final = (
    (2, "keystore: generations of 64 bits, up to 65,535 pending holds of one person, room for what later releases add"),
    (2, "decisions: version 2, whose sealed entry has generations of 64 bits"),
    (2, "the keystore's guard entry names the profile: workers of an earlier release halt at it"),
    (2, "auditors and keepers have keys of their own, and sign their heartbeats"),
    (2, "parts of calls whose person's entries cannot be used wait in calllog.parked, and hold up nobody else's"),
    (2, "the number of partitions is kept with the tenant's secrets: a process that has another is refused"),
    (2, "a person's entry says what a restore has imposed; the case of a lift, which restrictions it met"),
    (2, "new versions of the policy must be lawful: what an earlier release took until today stays as it is"),
    (2, "the rules by which two identifiers are one person are the tenant's: no policy changes them"),
    (2, "cases and receipts say whether somebody was known under the identifiers of the request"),
    (
        2,
        (
            "legs and copies name calls by reference: nobody can read an address in it, or try a guess without the "
            "tenant's key"
        ),
    ),
    (
        2,
        (
            "cases and decisions say in which tenure of a desk they were written: what a paused desk writes late never "
            "wins"
        ),
    ),
    (
        2,
        (
            "desks sign cases and decisions, keepers what they count: what came without a proof since the upgrade is "
            "passed over"
        ),
    ),
    (2, "a request is known by its requester and its `jti`: ids of cases and decisions derive from both"),
    (2, "dead letters are sealed to the key of a week, too, which is destroyed when their days are over"),
    (
        2,
        (
            "events: sessions, revisions, occurrences, guests, numbers of parties, calls that go on, times as numbers; "
            "one wrong party is refused alone"
        ),
    ),
    (2, "joins and leaves wait for their pair in calllog.moments, sealed to a week's key that is destroyed"),
    (2, "orders of holds arrive in privacy.orders, where secret cases lie too: no backend may read it"),
)
"""By level, what is written from then on; `tenant upgrade` shows it."""
UNPROVEN_FOR: Final = timedelta(minutes=15)
"""After an upgrade: every worker that writes has met the new profile by then, and ended or left its unit of before."""
_AS_MADE: Final = 2
_FORM: Final = 1
_HEAD: Final = struct.Struct(">BI")


class TenantProfile(Rewritten, frozen=True, kw_only=True):
    """
    What an installation's programs must agree on; a tenant without one has the defaults.

    Args:
        number: 0 where none was ever written.
        forms: The level of stored forms and messages that is written.
        identity: The named rules by which two identifiers are one person; they belong to the tenant from its creation.
        former: The rules that were in force before, oldest first: by them whoever has no record left is still found.
        partitions: How many the topics of legs and decisions were made with; other programs must not mistake it.
        signers: By role, the public half (32 bytes, base64url) of the Ed25519 key by which its records are signed.
        clear_calls: Until which day legs may name calls by their ids; None: no such leg ever was; UNSET: nobody
            knows.
        judged_from: From which day on its policy's versions must be lawful (`policy/lawful.py`), where a past release
            others; UNSET: all of them.
        unproven_until: Until when records without a proof may be written, by the brokers' time; UNSET: none ever was.
        separated: From which epoch on what is sealed for one domain needs its secret, too; UNSET: they are not apart.
        at: When it was written.

    """

    v: Literal[1] = 1
    number: int = 0
    forms: Annotated[int, msgspec.Meta(ge=1)] = RELEASE_0_1
    identity: tuple[str, ...] = ()
    former: tuple[tuple[str, ...], ...] | msgspec.UnsetType = msgspec.UNSET
    partitions: Annotated[int, msgspec.Meta(ge=1)] | msgspec.UnsetType = msgspec.UNSET
    signers: dict[str, str] = msgspec.field(default_factory=dict)
    judged_from: Day | msgspec.UnsetType = msgspec.UNSET
    clear_calls: Day | msgspec.UnsetType | None = msgspec.UNSET
    unproven_until: Utc | msgspec.UnsetType = msgspec.UNSET
    separated: str | msgspec.UnsetType = msgspec.UNSET
    at: Utc | None = None

    @property
    def before(self) -> tuple[tuple[str, ...], ...]:
        """The rules of identity that were in force before, the oldest first."""
        return self.former or ()

    def knowing(self, identity: tuple[str, ...]) -> "TenantProfile":
        """The same with other rules of identity."""
        if identity == self.identity:
            return self
        return replace(self, identity=identity, former=(*self.before, self.identity))

    @property
    def lawful_from(self) -> date:
        """The first day of a version that is judged: none while an earlier release may follow what this one refuses."""
        if self.forms == RELEASE_0_1:
            return date.max
        return date.min if self.judged_from is msgspec.UNSET else date.fromisoformat(self.judged_from)

    @property
    def alone_until(self) -> datetime | None:
        """
        Until when a tenant's only officer changes all alone: the first day of one made, and not raised or changed.

        The second profile of one that is made says that its domains are apart, and is dated as the first.
        """
        made = self.number <= _AS_MADE and self.judged_from is msgspec.UNSET
        return self.at + timedelta(days=1) if made and self.at else None


PROFILES: Final = msgspec.json.Decoder(TenantProfile)


def profile_name(tenant: Tenant, number: int) -> str:
    """Under which name a profile lies beside the KMS."""
    return f"profile.{tenant}.{number}"


def packed(profile: TenantProfile) -> bytes:
    """A profile as bytes, before its proof: a version byte, the length, JSON."""
    content = encode(profile)
    return _HEAD.pack(_FORM, len(content)) + content


def digest(name: str, content: bytes) -> bytes:
    """What the KMS wraps to vouch for the bytes under a name."""
    return hashlib.sha256(b"profile\x00" + name.encode() + b"\x00" + content).digest()


def split(name: str, blob: bytes) -> tuple[bytes, bytes]:
    """
    The packed profile and its proof.

    Raises:
        EntryCorruptError: No profile.
        NewerFormError: A later release's.

    """
    if blob[:1] > bytes([_FORM]):
        raise NewerFormError(name, blob[0], _FORM)
    if len(blob) < _HEAD.size or blob[0] != _FORM:
        raise EntryCorruptError(f"{name} beside the KMS is no profile")
    end = _HEAD.size + _HEAD.unpack_from(blob)[1]
    return blob[:end], blob[end:]


def opened(name: str, number: int, content: bytes) -> TenantProfile:
    """
    The profile in bytes that are proven.

    Raises:
        EntryCorruptError: None of ours, or its rules of identity are a later release's.
        NewerFormError: Its level of forms, or its version, is a later release's.

    """
    try:
        profile = decode(PROFILES, content[_HEAD.size :])
    except MessageError:
        raise EntryCorruptError(f"{name} beside the KMS is no profile") from None
    if profile.number != number:
        raise EntryCorruptError(f"{name} beside the KMS says that it is number {profile.number}")
    if unknown := [name for rules in (profile.identity, *profile.before) for name in unknown_rules(rules)]:
        raise EntryCorruptError(
            f"{name} beside the KMS names rules of identity that this release does not know ({', '.join(unknown)}): "
            "run the release that wrote it"
        )
    if profile.forms > FORMS:
        raise NewerFormError(f"the level of forms in {name}", profile.forms, FORMS)
    return profile
