"""
The keys of a week: of dead letters, beside the operator's, and of moments; private halves are destroyed in their time.

A letter is sealed to the operator's key, and the result to the week's: opening needs both, so neither the operator's
key, found years later, nor the KMS alone opens what backups of the topic still hold.
Rules: 1. Keys are numbered from 1; the highest is used: no worker's clock decides.  2. The public half lies beside the
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
"""From this level of forms on letters are sealed to a week's key: the first release opens the operator's alone."""
WEEK: Final = timedelta(days=7)
LETTERS: Final = "letters"
MOMENTS: Final = "moments"
"""What is sealed to the keys of a kind: dead letters; joins and leaves that wait for their pair."""
_FORM: Final = struct.Struct(">B32sQ")
_VERSION: Final = 1
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,8}\Z")


class LetterKey(NamedTuple):
    """The public half of a key, X25519, and when its week began by the later of our clock and the brokers'."""

    number: int
    public: bytes
    since: datetime
    kind: str = LETTERS

    @property
    def pem(self) -> bytes:
        """The same in PEM."""
        return sealing_pem(self.public)

    @property
    def kid(self) -> str:
        """What a letter calls it, and the KMS its wrapping key."""
        return kid_of(self.number, self.kind)


def kid_of(number: int, kind: str = LETTERS) -> str:
    """The name of a key."""
    return f"{kind}-{number}"


def number_in(kid: str, kind: str = LETTERS) -> int | None:
    """The number of a key by its name; None: it is none of a week."""
    found = _NUMBER.match(kid.removeprefix(f"{kind}-")) if kid.startswith(f"{kind}-") else None
    return int(found[0]) if found else None


def packed(key: LetterKey) -> bytes:
    """The public half as bytes, before its proof: version, key, milliseconds."""
    return _FORM.pack(_VERSION, key.public, to_ms(key.since))


def unpacked(number: int, blob: bytes, kind: str = LETTERS) -> tuple[LetterKey, bytes, bytes]:
    """
    A key, the bytes that are vouched for, and their proof.

    Raises:
        EntryCorruptError: No key of ours.
        NewerFormError: A later release's.

    """
    if blob[:1] > bytes([_VERSION]):
        raise NewerFormError(f"the key {kid_of(number, kind)} of a week", blob[0], _VERSION)
    if len(blob) < _FORM.size or blob[0] != _VERSION:
        raise EntryCorruptError(f"{kid_of(number, kind)} beside the KMS is no key of a week")
    _, public, since_ms = _FORM.unpack_from(blob)
    try:
        return LetterKey(number, public, from_ms(since_ms), kind), blob[: _FORM.size], blob[_FORM.size :]
    except (ValueError, OverflowError):
        raise EntryCorruptError(f"{kid_of(number, kind)} beside the KMS is no key of a week") from None
