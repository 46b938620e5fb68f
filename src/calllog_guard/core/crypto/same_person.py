"""
Who else a person is: the other keys of the keystore under which the same human is known.

Rules: 1. Sealed: who reads the keystore alone does not learn which of its people are one.  2. It says the next ones only, in both
          directions; whoever wants all follows them.  3. Each kind of reason is a field of its own, so that one ends without the others.
Source: docs/adr/0012-identity-is-fixed.md; vectors in `tests/vectors/stored_v2.json`.
"""

from typing import Annotated, Final, Literal

import msgspec
from msgspec.structs import replace

from calllog_guard.core.codec import Rewritten, decode, encode
from calllog_guard.core.crypto.entries import open_bytes, seal_bytes
from calllog_guard.core.crypto.subject_secrets import Secret
from calllog_guard.core.identifiers import EpochName, Lookup, Tenant
from calllog_guard.errors import EntryCorruptError, MessageError

LookupText = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{43}$(?!\n)")]


class Same(Rewritten, frozen=True, kw_only=True):
    """
    The content of an entry.

    Args:
        rules: Whom a change of the rules of identity has made the same person.

    """

    v: Literal[1] = 1
    rules: tuple[LookupText, ...] = ()

    @property
    def lookups(self) -> tuple[Lookup, ...]:
        """All of them, for whatever reason."""
        return tuple(map(Lookup, self.rules))

    def with_rule(self, other: Lookup) -> "Same":
        """The same, and one more whom rules of identity have made the same person."""
        return self if other in self.rules else replace(self, rules=(*self.rules, other))


SAMES: Final = msgspec.json.Decoder(Same)
_TAG: Final = b"same"


def same_key(tenant: Tenant, lookup: Lookup) -> bytes:
    """Where the entry of a person lies."""
    return f"clg:{tenant}:same:{lookup}".encode()


def seal_same(same: Same, epoch: EpochName, place: bytes, key: Secret, nonce: bytes) -> bytes:
    """An entry under the tenant's epoch key; `place` is its keystore key."""
    return seal_bytes(_TAG, epoch, encode(same), place, key, nonce)


def open_same(entry: bytes, place: bytes, key: Secret) -> Same:
    """
    What an entry says.

    Raises:
        EntryCorruptError: Changed in any bit, or another's.

    """
    try:
        return decode(SAMES, open_bytes(_TAG, entry, place, key)[1])
    except MessageError:
        raise EntryCorruptError("an entry of the keystore does not say who else somebody is") from None
