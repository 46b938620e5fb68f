"""What one look at the keystore said of some people."""

import secrets
from dataclasses import dataclass

from calllog_guard.core.crypto.entries import EPOCH_KEY
from calllog_guard.core.identifiers import EPOCH_PATTERN, EpochName, Lookup
from calllog_guard.errors import GuardMovedError
from calllog_guard.workers.keys.people.key_entries import NONCE


def fresh_nonce() -> bytes:
    """Twelve random bytes, for one seal."""
    return secrets.token_bytes(NONCE)


@dataclass(frozen=True, slots=True)
class View:
    """
    What one MGET said: raw person entries by lookup, the pointer to the current epoch, the least generation to mint.

    `carried` is how many changes of the rules of identity the keystore has been carried through.
    """

    epoch: bytes | None
    raw: dict[Lookup, bytes | None]
    floor: int = 1
    carried: int = 0


def pointer(view: View) -> EpochName:
    """
    The current epoch.

    Raises:
        GuardMovedError: The keystore names none, or what is no epoch.

    """
    if view.epoch is None:
        raise GuardMovedError("the keystore names no epoch: run calllog-guard tenant create, or restore the keystore")
    epoch = view.epoch.decode("ascii", "replace")
    if not EPOCH_PATTERN.match(epoch):
        raise GuardMovedError(f"{EPOCH_KEY.decode()} in the keystore is no epoch: restore the keystore")
    return EpochName(epoch)
