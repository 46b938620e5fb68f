"""
Persons and their keys: read afresh per unit, minted in two durable steps, key bytes cached for a bounded time.

Rules: 1. Only a missing person entry means ERASED; a live person without a key waits. Its finder forgets their key.
       2. Nothing is sealed before both entries are durable.  3. Another guard entry, or none: halt.
       4. An entry that cannot be used is told of that person alone: whoever asks for many gets the others.
Source: docs/explanation/keystore.md.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final

from calllog_guard.core.codec import to_ms
from calllog_guard.core.crypto.entries import (
    EPOCH_KEY,
    FLOOR_KEY,
    IDENTITY_KEY,
    Keys,
    Person,
    number_at,
    open_person,
    person_epoch,
    person_key,
    seal_keys,
    seal_person,
    secrets_key,
)
from calllog_guard.core.crypto.key_bytes import KeyBytes
from calllog_guard.core.crypto.subject_secrets import IdentitySecret, Link, Month, link_at
from calllog_guard.core.identifiers import Lookup, Pseudonym, Tenant, id_bytes
from calllog_guard.errors import EntryMovedError, EntryUnreadableError, KeyMissingError
from calllog_guard.ports.clock import Clock
from calllog_guard.ports.keys import Keystore
from calllog_guard.workers.keys.key_cache import Cache, CacheLimits
from calllog_guard.workers.keys.people.key_entries import NONCE, KeyEntries
from calllog_guard.workers.keys.people.unreadable import Unreadable, of_one
from calllog_guard.workers.keys.people.view import View, pointer
from calllog_guard.workers.keys.restore_guard import RestoreGuard
from calllog_guard.workers.keys.tenants.tenant_secrets import Vault
from calllog_guard.workers.keys.tenants.tenure import Tenure

_MINTED_AT_ONCE: Final = 120
"""People: each has two entries that a transaction watches; its time grows with the square (4 ms for 250 entries)."""


class Keyring(KeyEntries):
    """One tenant's persons."""

    def __init__(
        self,
        tenant: Tenant,
        keystore: Keystore,
        vault: Vault,
        clock: Clock,
        cache: CacheLimits,
        partitions: int,
    ) -> None:
        super().__init__(tenant, keystore, vault)
        self._clock, self.cache_s = clock, cache.life_s
        self._cache: Cache[Lookup, KeyBytes] = Cache(*cache)
        self._owners: Cache[Pseudonym, Lookup] = Cache(*cache)
        self._verified: Cache[Lookup, tuple[bytes, Person]] = Cache(*cache)
        self.guard = RestoreGuard(keystore, vault, tenant, partitions)
        self.tenure: Tenure | None = None
        self.minted = 0

    @property
    def keystore(self) -> Keystore:
        """Where the entries lie."""
        return self._keystore

    @property
    def vault(self) -> Vault:
        """What opens them."""
        return self._vault

    # --- persons ----------------------------------------------------------------------------------------------------

    async def view(self, lookups: Sequence[Lookup], *, under_guard: bool = False) -> View:
        """
        Person entries and the guard, in one MGET; `under_guard` is for the replay that ends the guard, for nobody else.

        Raises:
            GuardMovedError: The keystore has another past than the one seen.
            KeystoreGuardedError: It was restarted or restored, and the ledger is not yet replayed against it.
            StaleDeskError: Of a desk: another one has the cases.

        """
        before = person_key(self.tenant, Lookup(""))
        places = [before + lookup.encode() for lookup in lookups]
        watched, mine = self.guard.keys, [self.tenure.key] if self.tenure else []
        seen = self.guard.seen
        origin, found = await self._keystore.origin([*watched, EPOCH_KEY, FLOOR_KEY, IDENTITY_KEY, *places, *mine])
        await self.guard.check(origin, found[: len(watched)], seen=seen, under_guard=under_guard)
        if self.tenure is not None:
            await self.tenure.judge(found.pop())
        epoch, floor, carried, *raw = found[len(watched) :]
        numbers = number_at(FLOOR_KEY, floor, 1), number_at(IDENTITY_KEY, carried, 0)
        return View(epoch, dict(zip(lookups, raw, strict=True)), *numbers)

    def person(self, lookup: Lookup, raw: bytes | None) -> Person | None:
        """
        What an entry says.

        Raises:
            EntryUnreadableError: Someone wrote to the keystore, or its epoch is destroyed.
            EntryMovedError: It leads elsewhere since it was asked for: ask again where.

        """
        person = self.entry(lookup, raw)
        if person is not None and person.home is not None:
            raise EntryMovedError
        return person

    def entry(self, lookup: Lookup, raw: bytes | None) -> Person | None:
        """
        What an entry says, or where it leads; bytes equal to those already checked are not checked again.

        Raises:
            EntryUnreadableError: Someone wrote to the keystore, or its epoch is destroyed.

        """
        if raw is None:
            return None
        known = self._verified.get(lookup)
        if known is not None and known[0] == raw:
            return known[1]
        with of_one("a person entry"):
            key = self._vault.epoch_key(person_epoch(raw), self.tenant, "keystore")
            person = open_person(raw, person_key(self.tenant, lookup), key)
        self._others_forgotten(lookup, person)
        self._verified.put(lookup, (raw, person))
        return person

    def _others_forgotten(self, lookup: Lookup, person: Person) -> None:
        """Of whom is gone no key bytes stay, whatever their time, also when they have returned as somebody else."""
        opened = self._cache.get(lookup)
        if opened is not None and opened.pseudonym != person.pseudonym:
            self._cache.drop(lookup)
            self._owners.drop(opened.pseudonym)

    def persons(self, view: View) -> tuple[dict[Lookup, Person | None], Unreadable]:
        """What the entries of a view say, and whose say nothing because they cannot be used."""
        found: dict[Lookup, Person | None] = {}
        unreadable: Unreadable = {}
        verified = self._verified.live(view.raw)
        for lookup, raw in view.raw.items():
            known = verified.get(lookup)
            if known is not None and known[0] == raw and known[1].home is None:
                found[lookup] = known[1]
                continue
            try:
                found[lookup] = self.person(lookup, raw)
            except EntryUnreadableError as error:
                unreadable[lookup] = error
        return found, unreadable

    def seal_person(self, lookup: Lookup, person: Person) -> bytes:
        """A person entry as it is stored."""
        key = self._vault.epoch_key(person.epoch, self.tenant, "keystore")
        return seal_person(person, person_key(self.tenant, lookup), key, secrets.token_bytes(NONCE), self.forms)

    async def fence(
        self, lookup: Lookup, cut_off: int, *, generation: int | None = None, under_guard: bool = False
    ) -> Person:
        """
        Turn a person's entry to gone; returns the person as found before.

        A cut-off never falls; a generation later than `generation` stays. For people not found the fence takes it
        so that who returns gets a later one although the keystore had forgotten them; without one, that of somebody
        who is minted now.
        """
        while True:
            view = await self.view([lookup], under_guard=under_guard)
            raw = view.raw[lookup]
            found = self.entry(lookup, raw)
            least = generation or (1 if found else max(1, view.floor))
            if found is not None and found.home is not None:
                # another's generations: what is dated up to the cut-off is kept out, no more
                lookup, generation = found.home, 0
                continue
            before = found or Person(generation=least, pseudonym=None, epoch=pointer(view))
            later = found is not None and generation is not None and found.generation > generation
            fenced = found is not None and found.pseudonym is None and found.cut_off >= cut_off
            if (later and before.cut_off >= cut_off) or (fenced and before.generation >= least):
                return before
            # who lives in a later generation keeps living; what is dated up to this cut-off is kept out all the same
            kept = replace(before, cut_off=cut_off, epoch=pointer(view))
            gone = kept if later else before.erased(cut_off, pointer(view), least)
            place = person_key(self.tenant, lookup)
            if await self._keystore.swap({place: (raw, self.seal_person(lookup, gone))}, self._unchanged(view.epoch)):
                self._others_forgotten(lookup, gone)
                return before

    async def fence_if(self, lookup: Lookup, view: View, cut_off: int) -> bool:
        """
        Turn the person's entry to gone if it is still as `view` says; whether it was, so that nobody minted meanwhile.

        Of nobody it takes the generation of somebody who is minted now, so that who returns is in a later one.
        """
        name, raw = pointer(view), view.raw[lookup]
        before = self.person(lookup, raw) or Person(generation=max(1, view.floor), pseudonym=None, epoch=name)
        gone = before.erased(cut_off, name)
        place = person_key(self.tenant, lookup)
        fenced = await self._keystore.swap({place: (raw, self.seal_person(lookup, gone))}, self._unchanged(view.epoch))
        if fenced:
            self._others_forgotten(lookup, gone)
        return fenced

    async def change(
        self, lookup: Lookup, change: Callable[[Person], Person], *, generation: int, under_guard: bool = False
    ) -> bool:
        """Change the flags of a living person of this generation; False when there is none."""
        while True:
            view = await self.view([lookup], under_guard=under_guard)
            raw = view.raw[lookup]
            person = self.entry(lookup, raw)
            if person is None or person.pseudonym is None or person.generation != generation:
                return False
            changed = change(person)
            if changed == person:
                return True
            place = person_key(self.tenant, lookup)
            new = self.seal_person(lookup, replace(changed, epoch=pointer(view)))
            if await self._keystore.swap({place: (raw, new)}, self._unchanged(view.epoch)):
                return True

    # --- keys -------------------------------------------------------------------------------------------------------

    async def mint(self, wanted: Mapping[Lookup, Person | None], view: View, floor: Month, current: Month) -> bool:
        """
        New secrets for persons never seen, or returning; False when another was faster: read again, some may be minted.

        Raises:
            KeystoreSilentError: Nothing is known; the unit is done again.

        """
        people = list(wanted)
        for at in range(0, len(people), _MINTED_AT_ONCE):
            if not await self._minted(
                {each: wanted[each] for each in people[at : at + _MINTED_AT_ONCE]}, view, floor, current
            ):
                return False
        return True

    async def _minted(self, wanted: Mapping[Lookup, Person | None], view: View, floor: Month, current: Month) -> bool:
        """As `mint`, all of them or nobody."""
        epoch = pointer(view)
        key = self._vault.epoch_key(epoch, self.tenant, "keystore")
        entries: dict[bytes, bytes] = {}
        claims: dict[bytes, tuple[bytes | None, bytes]] = {}
        for lookup, before in wanted.items():
            identity, first = IdentitySecret.mint(), Link.mint()
            pseudonym = identity.pseudonym()
            generation = max(before.generation + 1 if before else 1, view.floor)
            place = secrets_key(self.tenant, pseudonym)
            keys = Keys(
                generation=generation,
                lookup=lookup,
                identity=identity,
                floor=floor,
                floor_link=first,
                current=current,
                current_link=link_at(first, floor, current),
                epoch=epoch,
            )
            entries[place] = seal_keys(keys, place, key, secrets.token_bytes(NONCE), self.forms)
            base = before or Person(generation=1, pseudonym=None, epoch=epoch)
            person = replace(base, generation=generation, pseudonym=pseudonym, epoch=epoch)
            claims[person_key(self.tenant, lookup)] = (view.raw[lookup], self.seal_person(lookup, person))
        if not await self._keystore.put_new(entries):  # names are random: nobody's keys are ever written over
            return False
        # the claim holds only while the new keys are there as written: the walk may have taken them for orphans
        if await self._keystore.swap(claims, {**self._unchanged(view.epoch), **entries}):
            self.minted += len(claims)
            return True
        return False  # the walk removes what nobody claims: who protects may delete nothing

    async def open(self, persons: Mapping[Lookup, Person]) -> tuple[dict[Lookup, KeyBytes], Unreadable]:
        """The key bytes of live persons, and whose key is missing, unusable, or another's: wait for those; alarm."""
        opened: dict[Lookup, KeyBytes] = {}
        missing: dict[Lookup, tuple[Person, Pseudonym]] = {}
        kept = self._cache.live(persons)
        for lookup, person in persons.items():
            cached = kept.get(lookup)
            if cached is not None and (cached.generation, cached.pseudonym) == (person.generation, person.pseudonym):
                opened[lookup] = cached
            elif person.pseudonym is not None:
                missing[lookup] = person, person.pseudonym
        places = [secrets_key(self.tenant, pseudonym) for _, pseudonym in missing.values()]
        unreadable: Unreadable = {}
        for (lookup, owner), raw in zip(missing.items(), await self._keystore.read(places), strict=True):
            try:
                opened[lookup] = self._kept(owner[1], self._own_keys(lookup, *owner, raw))
            except EntryUnreadableError as error:
                unreadable[lookup] = error
        return opened, unreadable

    def _own_keys(self, lookup: Lookup, person: Person, pseudonym: Pseudonym, raw: bytes | None) -> Keys:
        if raw is None:
            text = f"the key of the live person {pseudonym} is missing: restore it, or erase the person"
            raise KeyMissingError(text, "key_missing")
        keys = self.keys(pseudonym, raw)
        if keys.lookup != lookup or keys.generation != person.generation:
            text = f"the key entry of {pseudonym} belongs to another person or generation"
            raise KeyMissingError(text, "key_foreign")
        return keys

    async def owners(self, pseudonyms: Sequence[Pseudonym]) -> dict[Pseudonym, tuple[Lookup, KeyBytes]]:
        """Lookup and key bytes of each pseudonym, in one MGET if not cached; without a usable key entry: left out."""
        found: dict[Pseudonym, tuple[Lookup, KeyBytes]] = {}
        missing: list[Pseudonym] = []
        for pseudonym in pseudonyms:
            owner = self._owners.get(pseudonym)
            cached = self._cache.get(owner) if owner else None
            if owner and cached and cached.pseudonym == pseudonym:
                found[pseudonym] = owner, cached
            else:
                missing.append(pseudonym)
        places = [secrets_key(self.tenant, pseudonym) for pseudonym in missing]
        for pseudonym, raw in zip(missing, await self._keystore.read(places), strict=True):
            if raw is not None:
                with suppress(EntryUnreadableError):
                    keys = self.keys(pseudonym, raw)
                    found[pseudonym] = self._owners.put(pseudonym, keys.lookup), self._kept(pseudonym, keys)
        return found

    async def destroy(self, pseudonym: Pseudonym) -> bool:
        """See KeyEntries; what was destroyed is not kept in memory either."""
        destroyed = await super().destroy(pseudonym)
        owner = self._owners.drop(pseudonym) if destroyed else None
        if owner is not None:
            self._cache.drop(owner)
        return destroyed

    def _kept(self, pseudonym: Pseudonym, keys: Keys) -> KeyBytes:
        token_key = keys.identity.token_key()
        place = int.from_bytes(id_bytes(pseudonym)[:4], "big")
        links = {keys.floor: keys.floor_link, keys.current: keys.current_link}
        return self._cache.put(keys.lookup, KeyBytes(pseudonym, keys.generation, token_key, place, links, {}))

    async def anew(self, pseudonym: Pseudonym, keys: Keys) -> bool:
        """
        Make a person entry from the key entry, in the place of unusable bytes; whether there is a usable one now.

        The person is restricted: what they chose is lost with the entry.
        """
        view = await self.view([keys.lookup])
        name = pointer(view)
        person = Person(generation=keys.generation, pseudonym=pseudonym, restricted=True, imposed=True, epoch=name)
        return await self._instead(keys.lookup, view, person)

    async def nobody(self, lookup: Lookup, view: View, generation: int) -> None:
        """As `anew`, of somebody of whom there is no key: gone, in a generation that none of theirs was later than."""
        await self._instead(lookup, view, Person(generation=max(1, generation), pseudonym=None, epoch=pointer(view)))

    async def _instead(self, lookup: Lookup, view: View, person: Person) -> bool:
        raw = view.raw[lookup]
        if raw is None or lookup not in self.persons(view)[1]:
            return True
        change = {person_key(self.tenant, lookup): (raw, self.seal_person(lookup, person))}
        return await self._keystore.swap(change, self._unchanged(view.epoch))

    def _unchanged(self, epoch: bytes | None) -> dict[bytes, bytes | None]:
        """What must stand while an entry is changed: the pointer to the epoch, and for a desk its tenure."""
        return {EPOCH_KEY: epoch, **(self.tenure.unchanged if self.tenure else {})}

    def now_ms(self) -> int:
        """The clock in milliseconds."""
        return to_ms(self._clock.now())
