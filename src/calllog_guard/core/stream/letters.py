"""
The keys to which dead letters are sealed: one a week, beside the operator's; its private half is destroyed with the letters' days.

A letter is sealed to the operator's key, and what comes of that to the week's: who opens it needs both, so that neither the operator's
key, found years later, nor the KMS alone opens what backups of the topic still hold.
Rules: 1. Keys are numbered from 1, and the highest number is used: no clock of a worker decides.  2. The public half lies beside the
          wrapped private one, and the KMS vouches for it: whoever could replace it would read every letter.
Source: docs/how-to/dead-letters.md; RFC 7516; vectors in `tests/unit/workers/keys/test_letter_keys.py`.
"""

import re
import struct
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from calllog_guard.core.codec import from_ms, to_ms
from calllog_guard.core.crypto.jose import sealing_pem
from calllog_guard.errors import EntryCorruptError, NewerFormError

LETTERS_FROM: Final = 2
"""From this level of forms on letters are sealed to the key of a week: the first release's command opens the operator's alone."""
WEEK: Final = timedelta(days=7)
_FORM: Final = struct.Struct(">B32sQ")
_VERSION: Final = 1
_KID: Final = re.compile(r"letters-([1-9][0-9]{0,8})\Z")


class LetterKey(NamedTuple):
    """The public half of a key, X25519, and when its week began by the later of our clock and the brokers'."""

    number: int
    public: bytes
    since: datetime

    @property
    def pem(self) -> bytes:
        """The same in PEM."""
        return sealing_pem(self.public)

    @property
    def kid(self) -> str:
        """What a letter calls it, and the KMS its wrapping key."""
        return kid_of(self.number)


def kid_of(number: int) -> str:
    """The name of a key."""
    return f"letters-{number}"


def number_in(kid: str) -> int | None:
    """The number of a key by its name; None: it is none of a week."""
    found = _KID.match(kid)
    return int(found[1]) if found else None


def packed(key: LetterKey) -> bytes:
    """The public half as bytes, before its proof: version, key, milliseconds."""
    return _FORM.pack(_VERSION, key.public, to_ms(key.since))


def unpacked(number: int, blob: bytes) -> tuple[LetterKey, bytes, bytes]:
    """
    A key, the bytes that are vouched for, and their proof.

    Raises:
        EntryCorruptError: No key of ours.
        NewerFormError: A later release's.

    """
    if blob[:1] > bytes([_VERSION]):
        raise NewerFormError(f"the key {kid_of(number)} of dead letters", blob[0], _VERSION)
    if len(blob) < _FORM.size or blob[0] != _VERSION:
        raise EntryCorruptError(f"{kid_of(number)} beside the KMS is no key of dead letters")
    _, public, since_ms = _FORM.unpack_from(blob)
    try:
        return LetterKey(number, public, from_ms(since_ms)), blob[: _FORM.size], blob[_FORM.size :]
    except (ValueError, OverflowError):
        raise EntryCorruptError(f"{kid_of(number)} beside the KMS is no key of dead letters") from None
