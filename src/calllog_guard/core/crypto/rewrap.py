"""
Entries moved into another epoch without being taken apart: opened, the epoch's name exchanged, sealed again.

The walk does this for every entry of a keystore, so there are no objects per entry, and each epoch's cipher is made once.
Rules: 1. Nothing is sealed again that did not open: a changed entry is never made good.  2. A kind that is not in FORMS is not
       touched, and what lies under its epoch is not known: then no epoch may be destroyed.
Source: design section 8; forms as in `entries.py`.
"""

import secrets
from collections.abc import Callable
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from calllog_guard.core.crypto.entries import KEY_HEAD, PERSON_HEAD, VERSION
from calllog_guard.core.crypto.secrets import Random, Secret
from calllog_guard.core.ids import EPOCH_PATTERN, EpochName
from calllog_guard.errors import EntryCorruptError

_NONCE: Final = 12


class Form(NamedTuple):
    """How the entries of a kind lie in bytes: `epoch_at` is where the length of the epoch's name stands."""

    tag: bytes
    epoch_at: int
    clear_after_epoch: Callable[[bytes, int], int]


def _nothing(_: bytes, __: int) -> int:
    return 0


def _holds(raw: bytes, at: int) -> int:
    return KEY_HEAD.size + 16 * raw[at]


FORMS: Final = {
    "who": Form(b"person", PERSON_HEAD.size, _nothing),
    "key": Form(b"key", 1, _holds),
    "hold": Form(b"hold", 1, _nothing),
}
"""By the word in the entry's keystore key. A new kind is a row here: clear fields, the epoch, the nonce, the sealed rest."""


class Taken(NamedTuple):
    """An entry that opened: its clear bytes around the epoch's name, and what was sealed."""

    before: bytes
    epoch: bytes
    after: bytes
    secret: bytes


def epoch_in(form: Form, raw: bytes) -> bytes:
    """
    The epoch that an entry names, not yet authenticated.

    Raises:
        EntryCorruptError: It names none.

    """
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

    def take(self, form: Form, place: bytes, raw: bytes) -> Taken:
        """
        Open an entry.

        Raises:
            EntryCorruptError: Changed in any bit, or another's.

        """
        epoch = epoch_in(form, raw)
        if raw[0] != VERSION:
            raise EntryCorruptError("an entry of the keystore of an unknown version")
        start = form.epoch_at + 1
        middle = start + len(epoch)
        try:
            end = middle + form.clear_after_epoch(raw, middle)
            nonce, sealed = raw[end : end + _NONCE], raw[end + _NONCE :]
            secret = self._cipher(epoch).decrypt(nonce, sealed, raw[:end] + form.tag + place)
        except (InvalidTag, ValueError, IndexError):
            raise EntryCorruptError("an entry of the keystore does not authenticate") from None
        return Taken(raw[: form.epoch_at], epoch, raw[middle:end], secret)

    def put(self, form: Form, place: bytes, taken: Taken) -> bytes:
        """Seal it again, under the epoch that it names now."""
        clear = b"%b%c%b%b" % (taken.before, len(taken.epoch), taken.epoch, taken.after)
        nonce = self._random(_NONCE)
        return clear + nonce + self._cipher(taken.epoch).encrypt(nonce, taken.secret, clear + form.tag + place)
