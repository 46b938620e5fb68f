"""
What law keeps of people beyond their erasure, as the keystore knows it: noted by keepers, asked by desks.

Rules: 1. Noted before the key goes.  2. The unusable is said: nobody hears nothing is kept because nothing could be
          read.  3. Only from level 2 of forms on: the first release's walk keeps such entries' epochs for ever.
Source: `core/crypto/law_copy.py`.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from calllog_guard.core.crypto.entries import EPOCH_KEY, key_epoch
from calllog_guard.core.crypto.law_copy import KeptCopies, KeptCopy, kept_key, open_kept, seal_kept
from calllog_guard.core.identifiers import Lookup
from calllog_guard.ports.clock import Clock
from calllog_guard.workers.keys.people.subject_keys import Keyring
from calllog_guard.workers.keys.people.unreadable import of_one
from calllog_guard.workers.keys.people.view import fresh_nonce, pointer

FORMS: Final = 2


@dataclass(frozen=True, slots=True)
class LawCopy:
    """Copies of somebody, for a purpose, in a partition."""

    lookup: Lookup
    copy: KeptCopy


class KeptOf:
    """One tenant's."""

    def __init__(self, ring: Keyring, clock: Clock) -> None:
        self._ring, self._keystore, self._vault, self._clock = ring, ring.keystore, ring.vault, clock

    async def of(self, lookups: Collection[Lookup]) -> tuple[LawCopy, ...]:
        """
        What is kept of some people now.

        Raises:
            EntryUnreadableError: Of one of them that cannot be known.

        """
        if self._ring.forms < FORMS:
            return ()
        wanted, today = list(dict.fromkeys(lookups)), self._clock.now().date()
        places = [kept_key(self._ring.tenant, each) for each in wanted]
        read = await self._keystore.read(places)
        entries = [self._opened(place, raw) for place, raw in zip(places, read, strict=True)]
        return tuple(
            LawCopy(lookup, copy) for lookup, entry in zip(wanted, entries, strict=True) for copy in entry.left(today)
        )

    def _opened(self, place: bytes, raw: bytes | None) -> KeptCopies:
        if raw is None:
            return KeptCopies()
        with of_one("an entry that says what law keeps of somebody"):
            return open_kept(raw, place, self._vault.epoch_key(key_epoch(raw), self._ring.tenant, "keystore"))

    async def note(self, lookup: Lookup, copies: Iterable[KeptCopy]) -> None:
        """
        Note that there are these copies of somebody; on return it is durable.

        Raises:
            EntryUnreadableError: What is noted already cannot be read: whoever is erased waits.

        """
        more = list(copies)
        if not more or self._ring.forms < FORMS:
            return
        place = kept_key(self._ring.tenant, lookup)
        while True:
            view = await self._ring.view([])
            (raw,) = await self._keystore.read([place])
            before = self._opened(place, raw)
            after = before.with_copies(more)
            if after == before:
                return
            epoch = pointer(view)
            key = self._vault.epoch_key(epoch, self._ring.tenant, "keystore")
            entry = seal_kept(after, epoch, place, key, fresh_nonce())
            if await self._keystore.swap({place: (raw, entry)}, {EPOCH_KEY: view.epoch}):
                return
