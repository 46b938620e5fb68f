"""
Where a person's entry lies, however an identifier leads to it, and who else the same human is.

Rules of identity may have been others when somebody was stored. Entries never move: the ledger, the holds and the legs name them.
Rules: 1. An identifier goes on with the person that it had by former rules; one that is new goes by the rules in force.
       2. The key of the rules in force leads to the person (an entry that says `elsewhere`), so that every other form does, too.
       3. Where both keys have a person of their own, each is told of the other (`core/crypto/same_person.py`), and what is stricter holds for both.
       4. Who only reads finds the same, and writes nothing.
Source: docs/adr/0012-identity-is-fixed.md.
"""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final, NamedTuple

from calllog_guard.core.crypto.entries import EPOCH_KEY, Person, key_epoch, person_key
from calllog_guard.core.crypto.same_person import Same, open_same, same_key, seal_same
from calllog_guard.core.identifiers import Lookup
from calllog_guard.errors import EntryMovedError, EntryUnreadableError, MessageError
from calllog_guard.workers.keys.people.naming import Names, Naming
from calllog_guard.workers.keys.people.subject_keys import Keyring
from calllog_guard.workers.keys.people.unreadable import Unreadable, of_one
from calllog_guard.workers.keys.people.view import View, fresh_nonce, pointer

_Sames = Callable[[Sequence[Lookup]], Awaitable[dict[Lookup, tuple[Lookup, ...]]]]
_HOPS: Final = 8
"""One per change of the rules, at most; more is a circle that nobody of ours has made."""


class Found(NamedTuple):
    """Under which keys the entries of some lie, and of whom nothing can be known."""

    homes: dict[Names, Lookup]
    left: dict[Names, EntryUnreadableError]


class Homes:
    """One tenant's."""

    def __init__(self, ring: Keyring, *, writes: bool = True) -> None:
        self._ring, self._keystore, self._vault, self._writes = ring, ring.keystore, ring.vault, writes
        self._naming = Naming(ring.tenant, ring.vault)

    # --- one identifier -----------------------------------------------------------------------------------------------

    async def of(self, wanted: Collection[Names]) -> dict[Names, Lookup]:
        """
        The key under which each one's entry lies, or is to be made.

        Raises:
            EntryUnreadableError: Of one of them nothing can be known.

        """
        found = await self.found(wanted)
        for error in found.left.values():
            raise error
        return found.homes

    async def found(self, wanted: Collection[Names]) -> Found:
        """The same of each by itself: of whom nothing can be known is left out, with the reason."""
        if not self.changed:
            return Found({names: names.lookup for names in wanted}, {})
        found = Found({}, {})
        entries = await self._entries({lookup for names in wanted for lookup in (names.lookup, *names.former)})
        for names in wanted:
            try:
                found.homes[names] = await self._home(names, entries)
            except EntryUnreadableError as error:
                found.left[names] = error
        return found

    async def _home(self, names: Names, entries: "_Entries") -> Lookup:
        known = next((each for each in names.former if entries.says(each) is not None), None)
        own = entries.end(names.lookup)
        home = own if known is None else entries.end(known)
        if self._writes and home != own:
            await self._brought_together(names.lookup, own, home, entries)
        return home

    async def of_stored(self, texts: Collection[str]) -> dict[str, Lookup]:
        """The same for identifiers as they stand in records."""
        names = {text: self.stored(text) for text in texts}
        homes = await self.of(set(names.values()))
        return {text: homes[each] for text, each in names.items()}

    def stored(self, text: str) -> Names:
        """The keys of an identifier as it stands in a record; nobody's where no rules take it for one."""
        try:
            return self._naming.names(text, stored=True)
        except MessageError:
            return Names(Lookup(""))

    @property
    def changed(self) -> bool:
        """Whether the rules were ever others."""
        return bool(self._naming.former)

    async def where(self, lookups: Collection[Lookup]) -> dict[Lookup, Lookup]:
        """Where the entries of some people lie by now; whose entry cannot be used is left where they are."""
        if not self.changed:
            return {lookup: lookup for lookup in lookups}
        found: dict[Lookup, Lookup] = {}
        entries = await self._entries(lookups)
        for lookup in lookups:
            try:
                found[lookup] = entries.end(lookup)
            except EntryUnreadableError:
                found[lookup] = lookup
        return found

    async def _brought_together(self, lookup: Lookup, own: Lookup, home: Lookup, entries: "_Entries") -> None:
        if entries.says(own) is None and own == lookup:
            await self.lead(lookup, home)
        elif home not in (await self.same([own]))[own]:
            await self.join(own, home)

    async def _entries(self, lookups: Iterable[Lookup]) -> "_Entries":
        """What some entries say, and those to which they lead."""
        found = _Entries()
        wanted = set(lookups)
        for _ in range(_HOPS):
            if wanted:
                view = await self._ring.view(sorted(wanted))
                wanted = found.read(self._ring, view)
        return found

    async def lead(self, lookup: Lookup, home: Lookup) -> bool:
        """Let a key that nobody has lead to where the person is; False when somebody is there meanwhile, or the person is not."""
        view = await self._ring.view([lookup, home])
        if view.raw[lookup] is not None or view.raw[home] is None:
            return False
        entry = self._ring.seal_person(lookup, Person(generation=0, pseudonym=None, epoch=pointer(view), home=home))
        places = {each: person_key(self._ring.tenant, each) for each in (lookup, home)}
        unchanged = {EPOCH_KEY: view.epoch, places[home]: view.raw[home]}
        return await self._keystore.swap({places[lookup]: (None, entry)}, unchanged)

    # --- one human ----------------------------------------------------------------------------------------------------

    async def same(self, lookups: Sequence[Lookup]) -> dict[Lookup, tuple[Lookup, ...]]:
        """Who else each of some people is said to be, next to them; nobody for most."""
        return {lookup: same.lookups for lookup, (_, same) in (await self._sames(lookups)).items()}

    async def _sames(self, lookups: Sequence[Lookup]) -> dict[Lookup, tuple[bytes | None, Same]]:
        places = {lookup: same_key(self._ring.tenant, lookup) for lookup in dict.fromkeys(lookups)}
        read = await self._keystore.read(list(places.values()))
        return {
            lookup: (raw, Same() if raw is None else self._opened(raw, places[lookup]))
            for lookup, raw in zip(places, read, strict=True)
        }

    async def _same_known(self, lookups: Sequence[Lookup]) -> dict[Lookup, tuple[Lookup, ...]]:
        places = {lookup: same_key(self._ring.tenant, lookup) for lookup in lookups}
        found = dict.fromkeys(lookups, tuple[Lookup, ...]())
        for lookup, raw in zip(places, await self._keystore.read(list(places.values())), strict=True):
            with suppress(EntryUnreadableError):
                found[lookup] = () if raw is None else self._opened(raw, places[lookup]).lookups
        return found

    def _opened(self, raw: bytes, place: bytes) -> Same:
        with of_one("an entry that says who else somebody is"):
            key = self._vault.epoch_key(key_epoch(raw), self._ring.tenant, "keystore")
            return open_same(raw, place, key)

    async def everyone(self, lookups: Sequence[Lookup]) -> dict[Lookup, tuple[Lookup, ...]]:
        """
        Of each, everybody whom the same human is known as, however far apart, in a fixed order; without those asked for.

        Raises:
            EntryUnreadableError: Of one of them that cannot be known.

        """
        return await self._everyone(lookups, self.same)

    async def everyone_known(self, lookups: Sequence[Lookup]) -> dict[Lookup, tuple[Lookup, ...]]:
        """The same as far as it can be known: an entry that cannot be used leads nowhere."""
        return await self._everyone(lookups, self._same_known)

    @staticmethod
    async def _everyone(lookups: Sequence[Lookup], same: _Sames) -> dict[Lookup, tuple[Lookup, ...]]:
        next_: dict[Lookup, tuple[Lookup, ...]] = {}
        wanted = list(dict.fromkeys(lookups))
        while wanted:
            next_ |= await same(wanted)
            wanted = sorted({each for some in next_.values() for each in some} - next_.keys())
        return {lookup: tuple(sorted(_reached(lookup, next_) - {lookup})) for lookup in lookups}

    async def join(self, one: Lookup, other: Lookup) -> tuple[Person, Person]:
        """
        Tell two people of each other, with what is stricter for both; as they were before.

        Raises:
            EntryUnreadableError: One of them is lost.
            EntryMovedError: One of them leads elsewhere meanwhile: ask again.

        """
        while True:
            view = await self._ring.view([one, other])
            before = {lookup: self._ring.entry(lookup, raw) for lookup, raw in view.raw.items()}
            first, second = before[one], before[other]
            if first is None or second is None:
                raise EntryUnreadableError("one of two entries that are one person is lost", "entry_lost")
            if first.home or second.home:
                raise EntryMovedError
            changes = self._joined(view, {one: stricter(first, second), other: stricter(second, first)})
            for lookup, (raw, same) in (await self._sames([one, other])).items():
                changes |= self._told(view, lookup, other if lookup == one else one, raw, same)
            if await self._keystore.swap(changes, {EPOCH_KEY: view.epoch}):
                return first, second

    def _joined(self, view: View, after: Mapping[Lookup, Person]) -> dict[bytes, tuple[bytes | None, bytes]]:
        epoch = pointer(view)
        return {
            person_key(self._ring.tenant, lookup): (
                view.raw[lookup],
                self._ring.seal_person(lookup, replace(person, epoch=epoch)),
            )
            for lookup, person in after.items()
        }

    def _told(
        self, view: View, lookup: Lookup, other: Lookup, raw: bytes | None, same: Same
    ) -> dict[bytes, tuple[bytes | None, bytes]]:
        place, epoch = same_key(self._ring.tenant, lookup), pointer(view)
        key = self._vault.epoch_key(epoch, self._ring.tenant, "keystore")
        after = same.with_rule(other)
        return {place: (raw, seal_same(after, epoch, place, key, fresh_nonce()))}


class _Entries:
    """What entries say that were read together; one that cannot be used matters to those alone whom it is about."""

    def __init__(self) -> None:
        self._said: dict[Lookup, Person | None] = {}
        self._bad: Unreadable = {}

    def read(self, ring: Keyring, view: View) -> set[Lookup]:
        """Note what the entries of a view say; those to which they lead and that were not read yet."""
        for lookup, raw in view.raw.items():
            try:
                self._said[lookup] = ring.entry(lookup, raw)
            except EntryUnreadableError as error:
                self._bad[lookup] = error
        homes = {each.home for each in self._said.values() if each is not None and each.home is not None}
        return homes - self._said.keys() - self._bad.keys()

    def says(self, lookup: Lookup) -> Person | None:
        """What one says. Raises EntryUnreadableError."""
        if lookup in self._bad:
            raise self._bad[lookup]
        return self._said[lookup]

    def end(self, lookup: Lookup) -> Lookup:
        """Where one leads to, itself mostly. Raises EntryUnreadableError."""
        for _ in range(_HOPS):
            person = self.says(lookup)
            if person is None or person.home is None:
                return lookup
            lookup = person.home
        raise EntryUnreadableError("entries of the keystore lead to each other in a circle", "entry_circle")


def _reached(lookup: Lookup, next_: Mapping[Lookup, tuple[Lookup, ...]]) -> set[Lookup]:
    found, left = {lookup}, [lookup]
    while left:
        fresh = set(next_.get(left.pop(), ())) - found
        found |= fresh
        left += fresh
    return found


def stricter(person: Person, other: Person) -> Person:
    """The person with what holds for somebody who is the same human; who is gone stays gone, and keeps only what the gone keep."""
    cut_off = max(person.cut_off, other.cut_off)
    objected = person.objected | other.objected
    if person.pseudonym is None:
        return replace(person, cut_off=cut_off, objected=objected)
    withdrawn = person.withdrawn | other.withdrawn
    restricting = [each for each in (person, other) if each.restricted]
    return replace(
        person,
        cut_off=cut_off,
        restricted=bool(restricting),
        imposed=bool(restricting) and all(each.imposed for each in restricting),
        reviewed=person.reviewed or other.reviewed,
        objected=objected,
        withdrawn=withdrawn,
        consented=person.consented & ~(withdrawn | objected),
    )
