"""
The two entries of the keystore as bytes, in both versions: who someone is, and how their legs are opened.

Rules: 1. Every clear byte is authenticated (AAD).  2. A gone person's entry holds no pseudonym.
       3. Clear fields are first, read only after the seal's check.  4. Version 2 has room for later minor releases,
          in clear and sealed: who does not know it keeps it.  What is sealed in a person's entry goes with the person.
Source: docs/explanation/keystore.md; vectors in `tests/vectors/stored_v1.json` and `stored_v2.json`.
"""

import struct
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final

from cryptography.exceptions import InvalidTag

from calllog_guard.core.crypto.subject_secrets import IdentitySecret, Link, Month, Secret
from calllog_guard.core.identifiers import (
    EPOCH_PATTERN,
    EpochName,
    Lookup,
    Pseudonym,
    Tenant,
    b64,
    id_bytes,
    id_text,
    unb64,
)
from calllog_guard.errors import EntryCorruptError

PERSON_HEADS: Final = {1: struct.Struct(">BBIQBQQQ"), 2: struct.Struct(">BBQQIQQQ")}
"""Version, state, generation, cut-off, flags, and the masks of purposes: objected to, withdrawn, consented."""
KEY_HEADS: Final = {1: struct.Struct(">BI"), 2: struct.Struct(">HQH")}
"""How many holds, generation, and in version 2 the length of the extension behind the holds."""
EXTENSION: Final = struct.Struct(">H")
"""Before the extension of a person entry of version 2, which stands behind the epoch's name."""
SECRETS: Final = struct.Struct(">32s32sH32sH32s")
HOLDS_MOST: Final = {1: 255, 2: 65_535}
"""By level of forms, how many pending holds a key entry has room for."""
GENERATION_MOST: Final = {1: (1 << 32) - 1, 2: (1 << 64) - 1}
VERSION: Final = 1
"""Of entries that have no other: holds."""
LIVE, GONE, ELSEWHERE = 1, 2, 3
"""A flag of a person's entry: they have another, under their key by former rules of identity (version 2 alone)."""
RESTRICTED, HELD, REVIEWED, IMPOSED = 1, 2, 4, 8
_FLAGS: Final = RESTRICTED | HELD | REVIEWED | IMPOSED
_NONCE: Final = 12
_PSEUDONYM: Final = 16
_EPOCHS_MAX: Final = 1000
_HOLD: Final = 16
_SECRET_SIZES: Final = {1: {LIVE: _PSEUDONYM, GONE: 0}, 2: {LIVE: _PSEUDONYM, GONE: 0, ELSEWHERE: 32}}
"""What a person's entry seals, by version and state: a pseudonym, nothing, a lookup."""


def person_key(tenant: Tenant, lookup: Lookup) -> bytes:
    """Where a person's entry lies."""
    return f"clg:{tenant}:who:{lookup}".encode()


def secrets_key(tenant: Tenant, pseudonym: Pseudonym) -> bytes:
    """Where a person's secrets lie."""
    return f"clg:{tenant}:key:{pseudonym}".encode()


GUARD_KEY: Final = b"clg:~guard"
EPOCH_KEY: Final = b"clg:~epoch"
IDENTITY_KEY: Final = b"clg:~identity"
"""How many changes of the rules of identity this keystore has been carried through."""
FLOOR_KEY: Final = b"clg:~floor"
"""The least generation of whoever is minted: above all that a keystore before its last replay may have given."""


def tenure_key(tenant: Tenant) -> bytes:
    """Which desk has a tenant's cases (`workers/keys/tenants/tenure.py`)."""
    return f"clg:~desk:{tenant}".encode()


_DIGITS: Final = 20
"""Of the largest number of 64 bits."""


def guarded_key(partition: int) -> bytes:
    """Which run of the keystore has had a partition's ledger replayed against it."""
    return f"clg:~guarded:{partition}".encode()


def applied_key(partition: int) -> bytes:
    """Up to which decision the keystore has seen a partition's ledger applied."""
    return f"clg:~applied:{partition}".encode()


def number_at(place: bytes, raw: bytes | None, usual: int) -> int:
    """
    A number that the keystore keeps in digits; `usual` where there is none.

    Raises:
        EntryCorruptError: No number of ours; the key is named, and nothing of what lies there.

    """
    if not raw:
        return usual
    if not raw.isdigit() or len(raw) > _DIGITS:
        raise EntryCorruptError(f"{place.decode()} in the keystore is no number: restore the keystore")
    return int(raw)


@dataclass(frozen=True, slots=True)
class Rest:
    """A later minor release's part of an entry: flags, clear bytes, sealed bytes; `form` is the version read."""

    flags: int = 0
    clear: bytes = b""
    sealed: bytes = b""
    form: int = field(default=1, compare=False)


NOTHING_ELSE: Final = Rest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """
    Who someone is and whether anything may be stored or opened.

    Args:
        pseudonym: None when the person is gone.
        home: Where the entry of this person lies, if not here; all else is then empty.
        cut_off: Milliseconds since 1970 of the last erasure; 0 when there was none.
        reviewed: Restricted only while an officer considers an objection.
        imposed: Restricted by a restore, because what the person decided is lost; entries of version 1 do not say it.
        objected: Purposes as a bit mask, as are `withdrawn` and `consented`.

    """

    generation: int
    pseudonym: Pseudonym | None
    cut_off: int = 0
    restricted: bool = False
    held: bool = False
    reviewed: bool = False
    imposed: bool = False
    objected: int = 0
    withdrawn: int = 0
    consented: int = 0
    epoch: EpochName
    home: Lookup | None = None
    rest: Rest = NOTHING_ELSE

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
            imposed=False,
            withdrawn=0,
            consented=0,
            epoch=epoch,
            rest=replace(self.rest, sealed=b""),
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
    rest: Rest = NOTHING_ELSE


def entry_version(entry: bytes) -> int:
    """
    The version of a person or key entry.

    Not a halt beyond ours: the tenant's profile says which versions are written, and halts; here one entry is damaged.

    Raises:
        EntryCorruptError: None that this release reads.

    """
    version = entry[0] if entry else 0
    if version not in PERSON_HEADS:
        raise EntryCorruptError(f"an entry of the keystore of version {version}: this release reads 1 to 2")
    return version


def person_head(entry: bytes) -> tuple[int, ...]:
    """
    The clear fields of a person entry, not yet authenticated: see PERSON_HEADS.

    Raises:
        EntryCorruptError: Not in a form of ours.

    """
    head = PERSON_HEADS[entry_version(entry)]
    if len(entry) < head.size:
        raise EntryCorruptError("a person entry is too short")
    return head.unpack_from(entry)


def person_epoch(entry: bytes) -> EpochName:
    """The epoch that a person entry names, not yet authenticated: only to know which key to fetch."""
    return _epoch_at(entry, PERSON_HEADS[entry_version(entry)].size)[0]


def _epoch_at(entry: bytes, offset: int) -> tuple[EpochName, int]:
    size = entry[offset] if offset < len(entry) else 0
    end = offset + 1 + size
    if not size or end > len(entry):
        raise EntryCorruptError("an entry of the keystore names no epoch")
    return _epoch_name(entry[offset + 1 : end]), end


@lru_cache(maxsize=_EPOCHS_MAX)
def _epoch_name(raw: bytes) -> EpochName:
    name = raw.decode("ascii", "replace")
    if not EPOCH_PATTERN.match(name):
        raise EntryCorruptError("an entry of the keystore names no epoch")
    return EpochName(name)


def _seal(clear: bytes, place: bytes, secret: bytes, key: Secret, nonce: bytes) -> bytes:
    return clear + nonce + key.aes().encrypt(nonce, secret, clear + place)


def _open(entry: bytes, end: int, place: bytes, key: Secret) -> bytes:
    nonce, sealed = entry[end : end + _NONCE], entry[end + _NONCE :]
    try:
        return key.aes().decrypt(nonce, sealed, entry[:end] + place)
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


def seal_person(person: Person, place: bytes, key: Secret, nonce: bytes, forms: int = 1) -> bytes:
    """A person entry under the tenant's epoch key, in a level's version or the one read; `place`: its keystore key."""
    form = max(forms, person.rest.form)
    flags = RESTRICTED * person.restricted | HELD * person.held | REVIEWED * person.reviewed | person.rest.flags
    flags |= IMPOSED * person.imposed if form > 1 else 0
    state = ELSEWHERE if person.home else LIVE if person.pseudonym else GONE
    masks = (person.objected, person.withdrawn, person.consented)
    clear = PERSON_HEADS[form].pack(form, state, person.generation, person.cut_off, flags, *masks)
    clear += bytes([len(person.epoch)]) + person.epoch.encode()
    secret = id_bytes(person.pseudonym) if person.pseudonym else unb64(person.home.encode()) if person.home else b""
    if form > 1:
        clear += EXTENSION.pack(len(person.rest.clear)) + person.rest.clear
        secret += person.rest.sealed
    return _seal(clear, b"person" + place, secret, key, nonce)


def open_person(entry: bytes, place: bytes, key: Secret) -> Person:
    """
    What a person entry says.

    Raises:
        EntryCorruptError: Changed in any bit, or another's.

    """
    version, state, generation, cut_off, flags, objected, withdrawn, consented = person_head(entry)
    epoch, end = _epoch_at(entry, PERSON_HEADS[version].size)
    more, end = _extension(entry, end) if version > 1 else (b"", end)
    secret = _open(entry, end, b"person" + place, key)
    size = _SECRET_SIZES[version].get(state, -1)
    own = secret[: max(size, 0)]
    if len(own) != size or (version == 1 and own != secret):
        raise EntryCorruptError("a person entry contradicts itself")
    return Person(
        generation=generation,
        pseudonym=Pseudonym(id_text(own)) if state == LIVE else None,
        home=Lookup(b64(own).decode()) if state == ELSEWHERE else None,
        cut_off=cut_off,
        restricted=bool(flags & RESTRICTED),
        held=bool(flags & HELD),
        reviewed=bool(flags & REVIEWED),
        imposed=bool(flags & IMPOSED),
        objected=objected,
        withdrawn=withdrawn,
        consented=consented,
        epoch=epoch,
        rest=Rest(flags & ~_FLAGS, more, secret[len(own) :], version) if version > 1 else NOTHING_ELSE,
    )


def _extension(entry: bytes, at: int) -> tuple[bytes, int]:
    if len(entry) < at + EXTENSION.size:
        raise EntryCorruptError("an entry of the keystore is too short")
    start = at + EXTENSION.size
    end = start + EXTENSION.unpack_from(entry, at)[0]
    return entry[start:end], end


def seal_keys(keys: Keys, place: bytes, key: Secret, nonce: bytes, forms: int = 1) -> bytes:
    """A key entry under the tenant's epoch key, as `seal_person`; `place`, its keystore key, names the pseudonym."""
    form = max(forms, keys.rest.form)
    clear = bytes([form, len(keys.epoch)]) + keys.epoch.encode()
    counts = (len(keys.holds), keys.generation, len(keys.rest.clear))
    clear += KEY_HEADS[form].pack(*counts[: form + 1]) + b"".join(keys.holds)
    links = (keys.floor, keys.floor_link.expose(), keys.current, keys.current_link.expose())
    secret = SECRETS.pack(unb64(keys.lookup.encode()), keys.identity.expose(), *links)
    if form > 1:
        clear, secret = clear + keys.rest.clear, secret + keys.rest.sealed
    return _seal(clear, b"key" + place, secret, key, nonce)


def key_epoch(entry: bytes) -> EpochName:
    """The epoch that a key entry names, not yet authenticated."""
    return _epoch_at(entry, 1)[0]


def key_counts(entry: bytes, at: int) -> tuple[int, int, int, int]:
    """
    How many holds, the generation, where the holds begin and how long the extension behind them is; not yet authentic.

    Args:
        at: Where the epoch's name ends.

    Raises:
        EntryCorruptError: Not in a form of ours.

    """
    head = KEY_HEADS[entry_version(entry)]
    if len(entry) < at + head.size:
        raise EntryCorruptError("a key entry is too short")
    count, generation, *more = head.unpack_from(entry, at)
    return count, generation, at + head.size, sum(more)


def open_keys(entry: bytes, place: bytes, key: Secret) -> Keys:
    """
    The secrets of a person.

    Raises:
        EntryCorruptError: Changed in any bit, or another's.

    """
    entry_version(entry)
    epoch, at = _epoch_at(entry, 1)
    count, generation, at, more = key_counts(entry, at)
    end = at + _HOLD * count
    secret = _open(entry, end + more, b"key" + place, key)
    if len(secret) < SECRETS.size or (entry[0] == 1 and len(secret) != SECRETS.size):
        raise EntryCorruptError("a key entry holds other secrets than ours")
    lookup, identity, floor, floor_link, current, current_link = SECRETS.unpack_from(secret)
    return Keys(
        generation=generation,
        lookup=Lookup(b64(lookup).decode()),
        identity=IdentitySecret(identity),
        floor=Month(floor),
        floor_link=Link(floor_link),
        current=Month(current),
        current_link=Link(current_link),
        holds=tuple(entry[at + _HOLD * n : at + _HOLD * (n + 1)] for n in range(count)),
        epoch=epoch,
        rest=Rest(0, entry[end : end + more], secret[SECRETS.size :], entry[0]),
    )
