"""
The holds' entries in the keystore: made, changed and released one by one, each change only upon what was read.

Rules: 1. Only an entry that says so is released; a missing one means that nothing is known, and its copies stay.
       2. A name that was released is not given again: its copies may still be on their way out.
       3. An entry that cannot be used is one hold's concern: whoever asks for many gets the others.
Source: docs/explanation/keystore.md; `core/crypto/held_envelope.py`.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

from calllog_guard.core.codec import decode, encode
from calllog_guard.core.crypto.entries import EPOCH_KEY, key_epoch
from calllog_guard.core.crypto.held_envelope import HoldEntry, HoldSecret, hold_key, open_hold, seal_hold
from calllog_guard.core.decisions.hold import TERMS, Terms
from calllog_guard.core.identifiers import EpochName, HoldId
from calllog_guard.errors import EntryUnreadableError, HoldReleasedError
from calllog_guard.workers.keys.key_cache import Cache
from calllog_guard.workers.keys.people.subject_keys import Keyring
from calllog_guard.workers.keys.people.unreadable import of_one
from calllog_guard.workers.keys.people.view import fresh_nonce, pointer

_NOW: Final = EpochName("")
"""Whatever epoch is current when the entry is sealed."""


_OPENED_MAX: Final = 4096
_TERMS: Final[Cache[bytes, Terms]] = Cache(60.0, _OPENED_MAX)


def terms_of(entry: HoldEntry) -> Terms:
    """The terms of a living hold."""
    return _TERMS.get(entry.terms) or _TERMS.put(entry.terms, decode(TERMS, entry.terms))


class Safe:
    """One tenant's holds."""

    def __init__(self, ring: Keyring) -> None:
        self._tenant, self._keystore, self._ring, self._vault = ring.tenant, ring.keystore, ring, ring.vault
        self._opened: Cache[HoldId, tuple[bytes, HoldEntry]] = Cache(ring.cache_s, _OPENED_MAX)

    def _open(self, name: HoldId, raw: bytes) -> HoldEntry:
        """Bytes equal to those already opened are not opened again."""
        known = self._opened.get(name)
        if known is not None and known[0] == raw:
            return known[1]
        with of_one("the entry of a hold"):
            key = self._vault.epoch_key(key_epoch(raw), self._tenant, "keystore")
            entry = open_hold(raw, hold_key(self._tenant, name), key)
        return self._opened.put(name, (raw, entry))[1]

    async def readable(self, names: Iterable[HoldId]) -> tuple[dict[HoldId, HoldEntry], set[HoldId]]:
        """The entries that there are, released ones too, and the names of those that cannot be used."""
        wanted = list(dict.fromkeys(names))
        entries: dict[HoldId, HoldEntry] = {}
        unreadable: set[HoldId] = set()
        found = await self._keystore.read([hold_key(self._tenant, name) for name in wanted])
        for name, raw in zip(wanted, found, strict=True):
            if raw is None:
                self._opened.drop(name)
            else:
                try:
                    entries[name] = self._open(name, raw)
                except EntryUnreadableError:
                    unreadable.add(name)
        return entries, unreadable

    async def read(self, names: Iterable[HoldId]) -> dict[HoldId, HoldEntry]:
        """As `readable`, for whoever needs them all. Raises EntryUnreadableError."""
        entries, unreadable = await self.readable(names)
        if unreadable:
            raise EntryUnreadableError("the entry of a hold cannot be used", "entry_corrupt")
        return entries

    async def secret(self, name: HoldId) -> HoldSecret | None:
        """What seals the copies of a hold; None when it was released, or is not known."""
        entry = (await self.read([name])).get(name)
        return entry.secret if entry else None

    async def made(self, name: HoldId, terms: Terms) -> HoldSecret:
        """
        The secret of a hold, made with these terms unless it is there.

        Raises:
            HoldReleasedError: It was there and is over.

        """
        fresh = HoldEntry(_NOW, HoldSecret.mint(), encode(terms))
        entry = await self._changed(name, lambda found: found or fresh)
        if entry.secret is None:
            raise HoldReleasedError("unknown_hold", "/hold/id")
        return entry.secret

    async def change(self, name: HoldId, change: Callable[[Terms], Terms]) -> Terms:
        """
        Change the terms of a living hold; what they are then.

        Raises:
            HoldReleasedError: It is over, or not there.

        """

        def changed(found: HoldEntry | None) -> HoldEntry:
            if found is None or found.secret is None:
                raise HoldReleasedError("unknown_hold", "/hold/id")
            return replace(found, terms=encode(change(terms_of(found))))

        return terms_of(await self._changed(name, changed))

    async def release(self, name: HoldId, *, under_guard: bool = False) -> None:
        """Destroy a hold's secret and its terms; again changes nothing."""
        await self._changed(name, _released, under_guard=under_guard)

    async def _changed(
        self, name: HoldId, change: Callable[[HoldEntry | None], HoldEntry], *, under_guard: bool = False
    ) -> HoldEntry:
        place = hold_key(self._tenant, name)
        while True:
            view = await self._ring.view([], under_guard=under_guard)
            (raw,) = await self._keystore.read([place])
            found = None if raw is None else self._open(name, raw)
            new = change(found)
            if new == found:
                return new
            new = replace(new, epoch=pointer(view))
            key = self._vault.epoch_key(new.epoch, self._tenant, "keystore")
            sealed = seal_hold(new, place, key, fresh_nonce())
            if await self._keystore.swap({place: (raw, sealed)}, {EPOCH_KEY: view.epoch}):
                return new

    async def forget(self, name: HoldId) -> None:
        """Delete the hold of a purpose's month that is over; the same name may be needed again."""
        await self._keystore.delete([hold_key(self._tenant, name)])


def _released(found: HoldEntry | None) -> HoldEntry:
    if found is not None and found.secret is None:
        return found
    return HoldEntry(_NOW, None)
