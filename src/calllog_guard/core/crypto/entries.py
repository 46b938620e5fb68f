"""
The two entries of the keystore as bytes, version 1: who someone is, and how their legs are opened.

Rules: 1. Every clear byte is authenticated (AAD).  2. A gone person's entry holds no pseudonym.
       3. Clear fields come first and are read only after the seal is checked.
Source: design section 8; vectors in `tests/vectors/stored_v1.json`.
"""

import struct
from dataclasses import dataclass, replace
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from calllog_guard.core.crypto.secrets import IdentitySecret, Link, Month, Secret
from calllog_guard.core.ids import EPOCH_PATTERN, EpochName, Lookup, Pseudonym, Tenant, b64, id_bytes, id_text, unb64
from calllog_guard.errors import EntryCorruptError

PERSON_HEAD: Final = struct.Struct(">BBIQBQQQ")
KEY_HEAD: Final = struct.Struct(">BI")
SECRETS: Final = struct.Struct(">32s32sH32sH32s")
VERSION: Final = 1
LIVE, GONE = 1, 2
RESTRICTED, HELD, REVIEWED = 1, 2, 4
_NONCE: Final = 12


def person_key(tenant: Tenant, lookup: Lookup) -> bytes:
    """Where a person's entry lies."""
    return f"clg:{tenant}:who:{lookup}".encode()


def secrets_key(tenant: Tenant, pseudonym: Pseudonym) -> bytes:
    """Where a person's secrets lie."""
    return f"clg:{tenant}:key:{pseudonym}".encode()


GUARD_KEY: Final = b"clg:~guard"
EPOCH_KEY: Final = b"clg:~epoch"
FLOOR_KEY: Final = b"clg:~floor"
"""The least generation of whoever is minted: above all that a keystore before its last replay may have given."""


def guarded_key(partition: int) -> bytes:
    """Which run of the keystore has had a partition's ledger replayed against it."""
    return f"clg:~guarded:{partition}".encode()


def applied_key(partition: int) -> bytes:
    """Up to which decision the keystore has seen a partition's ledger applied."""
    return f"clg:~applied:{partition}".encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """
    Who someone is and whether anything may be stored or opened.

    Args:
        pseudonym: None when the person is gone.
        cut_off: Milliseconds since 1970 of the last erasure; 0 when there was none.
        reviewed: Restricted only while an officer considers an objection.
        objected: Purposes as a bit mask, as are `withdrawn` and `consented`.

    """

    generation: int
    pseudonym: Pseudonym | None
    cut_off: int = 0
    restricted: bool = False
    held: bool = False
    reviewed: bool = False
    objected: int = 0
    withdrawn: int = 0
    consented: int = 0
    epoch: EpochName

    def erased(self, cut_off: int, epoch: EpochName, generation: int = 0) -> "Person":
        """
        The same person, gone: a cut-off and a generation never fall.

        An objection stays, so that who returns is not asked again; restrictions and consents were about what is gone.
        """
        return replace(
            self,
            generation=max(self.generation, generation),
            pseudonym=None,
            cut_off=max(self.cut_off, cut_off),
            restricted=False,
            reviewed=False,
            withdrawn=0,
            consented=0,
            epoch=epoch,
        )

    @property
    def closed(self) -> bool:
        """Whether the person's data may be stored and not used (Art. 18)."""
        return self.restricted or self.reviewed


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """How a person's legs are opened; `holds` are the decisions whose copies are still to be made."""

    generation: int
    lookup: Lookup
    identity: IdentitySecret
    floor: Month
    floor_link: Link
    current: Month
    current_link: Link
    holds: tuple[bytes, ...] = ()
    epoch: EpochName


def person_epoch(entry: bytes) -> EpochName:
    """The epoch that a person entry names, not yet authenticated: only to know which key to fetch."""
    return _epoch_at(entry, PERSON_HEAD.size)[0]


def _epoch_at(entry: bytes, offset: int) -> tuple[EpochName, int]:
    size = entry[offset] if offset < len(entry) else 0
    end = offset + 1 + size
    if not size or end > len(entry):
        raise EntryCorruptError("an entry of the keystore names no epoch")
    name = entry[offset + 1 : end].decode("ascii", "replace")
    if not EPOCH_PATTERN.match(name):
        raise EntryCorruptError("an entry of the keystore names no epoch")
    return EpochName(name), end


def _seal(clear: bytes, place: bytes, secret: bytes, key: Secret, nonce: bytes) -> bytes:
    return clear + nonce + AESGCM(key.expose()).encrypt(nonce, secret, clear + place)


def _open(entry: bytes, end: int, place: bytes, key: Secret) -> bytes:
    nonce, sealed = entry[end : end + _NONCE], entry[end + _NONCE :]
    try:
        return AESGCM(key.expose()).decrypt(nonce, sealed, entry[:end] + place)
    except (InvalidTag, ValueError):
        raise EntryCorruptError("an entry of the keystore does not authenticate") from None


def seal_bytes(tag: bytes, epoch: EpochName, content: bytes, place: bytes, key: Secret, nonce: bytes) -> bytes:
    """An entry whose only clear field is its epoch; `tag` tells kinds of entry apart."""
    clear = bytes([VERSION, len(epoch)]) + epoch.encode()
    return _seal(clear, tag + place, content, key, nonce)


def open_bytes(tag: bytes, entry: bytes, place: bytes, key: Secret) -> tuple[EpochName, bytes]:
    """
    Epoch and content of such an entry.

    Raises:
        EntryCorruptError: Changed in any bit, or another's.

    """
    if entry[:1] != bytes([VERSION]):
        raise EntryCorruptError("an entry of an unknown version")
    epoch, end = _epoch_at(entry, 1)
    return epoch, _open(entry, end, tag + place, key)


def seal_person(person: Person, place: bytes, key: Secret, nonce: bytes) -> bytes:
    """A person entry under the tenant's epoch key; `place` is its keystore key."""
    flags = RESTRICTED * person.restricted | HELD * person.held | REVIEWED * person.reviewed
    state = LIVE if person.pseudonym else GONE
    masks = (person.objected, person.withdrawn, person.consented)
    clear = PERSON_HEAD.pack(VERSION, state, person.generation, person.cut_off, flags, *masks)
    clear += bytes([len(person.epoch)]) + person.epoch.encode()
    secret = id_bytes(person.pseudonym) if person.pseudonym else b""
    return _seal(clear, b"person" + place, secret, key, nonce)


def open_person(entry: bytes, place: bytes, key: Secret) -> Person:
    """
    What a person entry says.

    Raises:
        EntryCorruptError: Changed in any bit, or another's.

    """
    if len(entry) < PERSON_HEAD.size or entry[0] != VERSION:
        raise EntryCorruptError("a person entry of an unknown version")
    epoch, end = _epoch_at(entry, PERSON_HEAD.size)
    secret = _open(entry, end, b"person" + place, key)
    _, state, generation, cut_off, flags, objected, withdrawn, consented = PERSON_HEAD.unpack_from(entry)
    if (state == LIVE) != bool(secret):
        raise EntryCorruptError("a person entry contradicts itself")
    return Person(
        generation=generation,
        pseudonym=Pseudonym(id_text(secret)) if secret else None,
        cut_off=cut_off,
        restricted=bool(flags & RESTRICTED),
        held=bool(flags & HELD),
        reviewed=bool(flags & REVIEWED),
        objected=objected,
        withdrawn=withdrawn,
        consented=consented,
        epoch=epoch,
    )


def seal_keys(keys: Keys, place: bytes, key: Secret, nonce: bytes) -> bytes:
    """A key entry under the tenant's epoch key; `place` is its keystore key, which names the pseudonym."""
    clear = bytes([VERSION, len(keys.epoch)]) + keys.epoch.encode()
    clear += KEY_HEAD.pack(len(keys.holds), keys.generation) + b"".join(keys.holds)
    links = (keys.floor, keys.floor_link.expose(), keys.current, keys.current_link.expose())
    secret = SECRETS.pack(unb64(keys.lookup.encode()), keys.identity.expose(), *links)
    return _seal(clear, b"key" + place, secret, key, nonce)


def key_epoch(entry: bytes) -> EpochName:
    """The epoch that a key entry names, not yet authenticated."""
    return _epoch_at(entry, 1)[0]


def open_keys(entry: bytes, place: bytes, key: Secret) -> Keys:
    """
    The secrets of a person.

    Raises:
        EntryCorruptError: Changed in any bit, or another's.

    """
    if entry[:1] != bytes([VERSION]):
        raise EntryCorruptError("a key entry of an unknown version")
    epoch, at = _epoch_at(entry, 1)
    if len(entry) < at + KEY_HEAD.size:
        raise EntryCorruptError("a key entry is too short")
    count, generation = KEY_HEAD.unpack_from(entry, at)
    at += KEY_HEAD.size
    end = at + 16 * count
    secret = _open(entry, end, b"key" + place, key)
    if len(secret) != SECRETS.size:
        raise EntryCorruptError("a key entry holds other secrets than ours")
    lookup, identity, floor, floor_link, current, current_link = SECRETS.unpack(secret)
    return Keys(
        generation=generation,
        lookup=Lookup(b64(lookup).decode()),
        identity=IdentitySecret(identity),
        floor=Month(floor),
        floor_link=Link(floor_link),
        current=Month(current),
        current_link=Link(current_link),
        holds=tuple(entry[at + 16 * n : at + 16 * n + 16] for n in range(count)),
        epoch=epoch,
    )
