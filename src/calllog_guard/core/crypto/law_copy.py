"""
Of whom copies lie that a law has kept beyond their erasure, where, and until when: an entry of the keystore.

After an erasure nothing else leads from an identifier to the copies: pseudonym and secrets are gone, the entry lapses.
Rules: 1. It is written before the person's key is destroyed.  2. It goes with the last purpose, not before.  3. What an
          officer ordered to hold is never in it.
Source: docs/adr/0004-a-hold-is-a-copy.md; vectors in `tests/vectors/stored_v2.json`.
"""

from collections.abc import Iterable
from datetime import date
from typing import Final, Literal

import msgspec
from msgspec.structs import replace

from calllog_guard.core.codec import Day, Rewritten, decode, encode
from calllog_guard.core.crypto.entries import open_bytes, seal_bytes
from calllog_guard.core.crypto.subject_secrets import Secret
from calllog_guard.core.identifiers import EpochName, Lookup, Tenant
from calllog_guard.errors import EntryCorruptError, MessageError


class KeptCopy(Rewritten, frozen=True, kw_only=True):
    """Copies for the purpose of that number in a partition; the first day on which none of them is kept any more."""

    partition: int
    purpose: int
    until: Day


class KeptCopies(Rewritten, frozen=True, kw_only=True):
    """The content of an entry."""

    v: Literal[1] = 1
    copies: tuple[KeptCopy, ...] = ()

    def with_copies(self, more: Iterable[KeptCopy]) -> "KeptCopies":
        """The same and some more; of a partition and a purpose the later day counts."""
        found = {(each.partition, each.purpose): each for each in self.copies}
        for each in more:
            known = found.get((each.partition, each.purpose))
            if known is None or known.until < each.until:
                found[each.partition, each.purpose] = each if known is None else replace(known, until=each.until)
        return replace(self, copies=tuple(found[place] for place in sorted(found)))

    def left(self, today: date) -> tuple[KeptCopy, ...]:
        """What is kept on a day."""
        return tuple(each for each in self.copies if each.until > today.isoformat())


KEPT: Final = msgspec.json.Decoder(KeptCopies)
_TAG: Final = b"kept"


def kept_key(tenant: Tenant, lookup: Lookup) -> bytes:
    """Where the entry of a person lies."""
    return f"clg:{tenant}:kept:{lookup}".encode()


def noted_key(partition: int) -> bytes:
    """In which run of the keystore all copies of a partition were noted."""
    return f"clg:~noted:{partition}".encode()


def seal_kept(kept: KeptCopies, epoch: EpochName, place: bytes, key: Secret, nonce: bytes) -> bytes:
    """An entry under the tenant's epoch key; `place` is its keystore key."""
    return seal_bytes(_TAG, epoch, encode(kept), place, key, nonce)


def read_kept(content: bytes) -> KeptCopies:
    """
    What is sealed in an entry.

    Raises:
        EntryCorruptError: None of ours.

    """
    try:
        return decode(KEPT, content)
    except MessageError:
        raise EntryCorruptError("an entry of the keystore does not say what law keeps of somebody") from None


def open_kept(entry: bytes, place: bytes, key: Secret) -> KeptCopies:
    """
    What an entry says.

    Raises:
        EntryCorruptError: Changed in any bit, or another's.

    """
    return read_kept(open_bytes(_TAG, entry, place, key)[1])
