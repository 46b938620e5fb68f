"""
The key entries of one tenant: what each seals, and how it is changed and destroyed.

Rule: an entry that cannot be used is told of that person alone: whoever asks for many gets the others.
Source: docs/explanation/keystore.md.
"""

import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from calllog_guard.core.calls.leg import REFERRED
from calllog_guard.core.crypto.entries import Keys, key_epoch, open_keys, seal_keys, secrets_key
from calllog_guard.core.crypto.subject_secrets import CallKey
from calllog_guard.core.identifiers import Lookup, Pseudonym, Tenant
from calllog_guard.errors import EntryUnreadableError
from calllog_guard.ports.keys import Keystore
from calllog_guard.workers.keys.people.unreadable import of_one
from calllog_guard.workers.keys.tenants.tenant_secrets import Vault

NONCE: Final = 12


class KeyEntries:
    """One tenant's key entries."""

    def __init__(self, tenant: Tenant, keystore: Keystore, vault: Vault) -> None:
        self.tenant, self._keystore, self._vault = tenant, keystore, vault

    @property
    def forms(self) -> int:
        """The level of stored forms written now: from 2 on the newer ones (docs/how-to/upgrade.md)."""
        return self._vault.profile(self.tenant).forms

    @property
    def calls(self) -> CallKey | None:
        """What names calls by reference; None under the first release's forms, which name them by their ids."""
        return self._vault.call_key(self.tenant) if self.forms >= REFERRED else None

    def keys(self, pseudonym: Pseudonym, raw: bytes) -> Keys:
        """
        The secrets in a key entry.

        Raises:
            EntryUnreadableError: Someone wrote to the keystore, or its epoch is destroyed.

        """
        with of_one(f"the key entry of {pseudonym}"):
            key = self._vault.epoch_key(key_epoch(raw), self.tenant, "keystore")
            return open_keys(raw, secrets_key(self.tenant, pseudonym), key)

    def seal_keys(self, pseudonym: Pseudonym, keys: Keys) -> bytes:
        """A key entry as it is stored."""
        key = self._vault.epoch_key(keys.epoch, self.tenant, "keystore")
        return seal_keys(keys, secrets_key(self.tenant, pseudonym), key, secrets.token_bytes(NONCE), self.forms)

    async def keys_of(self, pseudonym: Pseudonym) -> Keys | None:
        """The secrets of a pseudonym; None when destroyed. Raises EntryUnreadableError."""
        (raw,) = await self._keystore.read([secrets_key(self.tenant, pseudonym)])
        return None if raw is None else self.keys(pseudonym, raw)

    async def change_keys(self, pseudonym: Pseudonym, change: Callable[[Keys], Keys]) -> Keys | None:
        """Change a key entry by itself; what it was before, None when it is destroyed. Raises EntryUnreadableError."""
        place = secrets_key(self.tenant, pseudonym)
        while True:
            (raw,) = await self._keystore.read([place])
            if raw is None:
                return None
            keys = self.keys(pseudonym, raw)
            changed = change(keys)
            if changed == keys or await self._keystore.swap({place: (raw, self.seal_keys(pseudonym, changed))}, {}):
                return keys

    async def keys_with(self, lookup: Lookup, pseudonyms: Sequence[str]) -> tuple[dict[Pseudonym, Keys], int]:
        """Which of some people's keys seal a lookup, and how many could not be opened, or are not there."""
        names = [Pseudonym(each) for each in pseudonyms]
        found: dict[Pseudonym, Keys] = {}
        unread = 0
        for name, raw in zip(
            names, await self._keystore.read([secrets_key(self.tenant, each) for each in names]), strict=True
        ):
            try:
                keys = None if raw is None else self.keys(name, raw)
            except EntryUnreadableError:
                keys = None
            unread += keys is None
            if keys is not None and keys.lookup == lookup:
                found[name] = keys
        return found, unread

    async def marked(self, pseudonyms: Sequence[Pseudonym]) -> set[Pseudonym]:
        """Which of some people have a hold whose copies are still to be made, or a key entry that cannot tell."""
        names = list(dict.fromkeys(pseudonyms))
        found = await self._keystore.read([secrets_key(self.tenant, each) for each in names])
        return {name for name, raw in zip(names, found, strict=True) if raw is not None and self._held(name, raw)}

    def _held(self, pseudonym: Pseudonym, raw: bytes) -> bool:
        try:
            return bool(self.keys(pseudonym, raw).holds)
        except EntryUnreadableError:
            return True

    async def missing(self, pseudonyms: Sequence[Pseudonym]) -> int:
        """How many of some pseudonyms have no key entry."""
        found = await self._keystore.read([secrets_key(self.tenant, each) for each in pseudonyms])
        return sum(each is None for each in found)

    async def destroy(self, pseudonym: Pseudonym) -> bool:
        """Delete a key entry unless a hold is pending on it, also one that no longer opens; whether it is gone now."""
        place = secrets_key(self.tenant, pseudonym)
        while True:
            (raw,) = await self._keystore.read([place])
            if raw is None:
                return True
            with suppress(EntryUnreadableError):  # its marks say nothing any more: no copy can be made with it
                if self.keys(pseudonym, raw).holds:
                    return False
            if await self._keystore.drop(place, {place: raw}):
                return True
