"""
Entries moved into another epoch without being taken apart: opened, the epoch's name exchanged, sealed again.

The walk does this for every entry of a keystore, so there are no objects per entry; each epoch's cipher is made once.
Rules: 1. Nothing is sealed again that did not open: a changed entry is never made good.  2. A kind not in FORMS is not
       touched, and under which epoch it lies is not known: then no epoch may be destroyed.
       3. What is renewed is renewed into the level of forms in force, never into a lower one.
Source: docs/explanation/keystore.md; forms as in `entries.py`.
"""

import secrets
import struct
from collections.abc import Callable
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from calllog_guard.core.crypto.entries import (
    EXTENSION,
    KEY_HEADS,
    LIVE,
    PERSON_HEADS,
    VERSION,
    key_counts,
)
from calllog_guard.core.crypto.subject_secrets import Random, Secret
from calllog_guard.core.identifiers import EPOCH_PATTERN, EpochName
from calllog_guard.errors import EntryCorruptError

_NONCE: Final = 12


class Form(NamedTuple):
    """How the entries of a kind lie in bytes: `epoch_at` is where the length of the epoch's name stands."""

    tag: bytes
    epoch_at: int
    end_of_clear: Callable[[bytes, int], int]


def _at_once(_: bytes, at: int) -> int:
    return at


def _extended(raw: bytes, at: int) -> int:
    return at + EXTENSION.size + int(EXTENSION.unpack_from(raw, at)[0])


def _holds(raw: bytes, at: int) -> int:
    count, _, start, more = key_counts(raw, at)
    return start + 16 * count + more


FORMS: Final[dict[str, dict[int, Form]]] = {
    "who": {
        1: Form(b"person", PERSON_HEADS[1].size, _at_once),
        2: Form(b"person", PERSON_HEADS[2].size, _extended),
    },
    "key": dict.fromkeys(KEY_HEADS, Form(b"key", 1, _holds)),
    "hold": {VERSION: Form(b"hold", 1, _at_once)},
    "same": {VERSION: Form(b"same", 1, _at_once)},
    "kept": {VERSION: Form(b"kept", 1, _at_once)},
}
"""By the word in the entry's keystore key, and by version; a new one is a row: clear fields, epoch, nonce, the rest."""


class TakenEntry(NamedTuple):
    """An entry that opened: its clear bytes around the epoch's name, and what was sealed."""

    before: bytes
    epoch: bytes
    after: bytes
    secret: bytes

    @property
    def pseudonym(self) -> bytes:
        """Of a person's entry: the 16 bytes of who lives; none of who is gone."""
        return self.secret[:16] if self.before[1] == LIVE else b""

    @property
    def extended(self) -> bool:
        """Of a person's entry: whether a later release has put something beside what we know."""
        return len(self.after) > EXTENSION.size

    @property
    def holds(self) -> int:
        """Of a key entry: how many holds are pending."""
        return int.from_bytes(self.after[: 1 if self.before[0] == 1 else 2], "big")


def raised(kind: str, taken: TakenEntry, forms: int) -> TakenEntry:
    """The same entry in the version of a level of forms, if its own is lower; an extension begins empty."""
    if taken.before[0] >= min(forms, max(FORMS[kind])):
        return taken
    if kind == "who":
        head = PERSON_HEADS[forms].pack(forms, *PERSON_HEADS[1].unpack(taken.before)[1:])
        return taken._replace(before=head, after=EXTENSION.pack(0))
    count, generation = KEY_HEADS[1].unpack_from(taken.after)
    after = KEY_HEADS[forms].pack(count, generation, 0) + taken.after[KEY_HEADS[1].size :]
    return taken._replace(before=bytes([forms]), after=after)


def _form(kind: str, raw: bytes) -> Form:
    found = FORMS[kind].get(raw[0] if raw else 0)
    if found is None:
        raise EntryCorruptError("an entry of the keystore of an unknown version")
    return found


def epoch_in(kind: str, raw: bytes) -> bytes:
    """
    The epoch that an entry names, not yet authenticated.

    Raises:
        EntryCorruptError: It names none.

    """
    form = _form(kind, raw)
    start = form.epoch_at + 1
    end = start + raw[form.epoch_at] if len(raw) > form.epoch_at else start
    if end > len(raw) or not EPOCH_PATTERN.match(raw[start:end].decode("ascii", "replace")):
        raise EntryCorruptError("an entry of the keystore names no epoch")
    return raw[start:end]


class Rewrapper:
    """The ciphers of one tenant's epochs."""

    def __init__(self, key_of: Callable[[EpochName], Secret], random: Random = secrets.token_bytes) -> None:
        self._key_of, self._random = key_of, random
        self._ciphers: dict[bytes, AESGCM] = {}

    def _cipher(self, epoch: bytes) -> AESGCM:
        found = self._ciphers.get(epoch)
        if found is None:
            found = self._ciphers[epoch] = AESGCM(self._key_of(EpochName(epoch.decode("ascii"))).expose())
        return found

    def take(self, kind: str, place: bytes, raw: bytes) -> TakenEntry:
        """
        Open an entry.

        Raises:
            EntryCorruptError: Changed in any bit, or another's.

        """
        epoch, form = epoch_in(kind, raw), _form(kind, raw)
        middle = form.epoch_at + 1 + len(epoch)
        try:
            end = form.end_of_clear(raw, middle)
            nonce, sealed = raw[end : end + _NONCE], raw[end + _NONCE :]
            secret = self._cipher(epoch).decrypt(nonce, sealed, raw[:end] + form.tag + place)
        except (InvalidTag, ValueError, struct.error):
            raise EntryCorruptError("an entry of the keystore does not authenticate") from None
        return TakenEntry(raw[: form.epoch_at], epoch, raw[middle:end], secret)

    def put(self, kind: str, place: bytes, taken: TakenEntry) -> bytes:
        """Seal it again, under the epoch that it names now."""
        clear = b"%b%c%b%b" % (taken.before, len(taken.epoch), taken.epoch, taken.after)
        nonce, tag = self._random(_NONCE), _form(kind, taken.before).tag
        return clear + nonce + self._cipher(taken.epoch).encrypt(nonce, taken.secret, clear + tag + place)
