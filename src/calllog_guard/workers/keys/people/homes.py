"""
Where a person's entry lies, however an identifier leads to it, and who else the same human is.

Rules of identity may have been others when somebody was stored. Entries never move: ledger, holds and legs name them.
Rules: 1. An identifier goes on with the person that it had by former rules; one that is new goes by the rules in force.
       2. The key of the rules in force leads to the person (an entry that says `elsewhere`), so every other form does.
       3. If both keys have a person each hears of the other (`core/crypto/same_person.py`); the stricter binds both.
       4. Who only reads finds the same, and writes nothing.
       5. What a `same_as` says (`links.py`) leads to people who live in the generation that they were in then.
Source: docs/adr/0012-identity-is-fixed.md, docs/adr/0019-several-identifiers.md.
"""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final, NamedTuple

from calllog_guard.core.crypto.entries import EPOCH_KEY, Person, key_epoch, person_key
from calllog_guard.core.crypto.same_person import Linked, Same, open_same, same_key, seal_same
from calllog_guard.core.identifiers import Lookup
from calllog_guard.errors import EntryMovedError, EntryUnreadableError, MessageError
from calllog_guard.workers.keys.people.naming import Names, Naming
from calllog_guard.workers.keys.people.subject_keys import Keyring
from calllog_guard.workers.keys.people.unreadable import Unreadable, of_one
from calllog_guard.workers.keys.people.view import View, fresh_nonce, pointer

_Sames = Callable[[Sequence[Lookup]], Awaitable[dict[Lookup, Same]]]
_Lives = Callable[[Linked], bool]
_HOPS: Final = 8
"""One per change of the rules, at most; more is a circle that nobody of ours has made."""


class Found(NamedTuple):
    """Under which keys the entries of some lie, and of whom nothing can be known."""

    homes: dict[Names, Lookup]
    left: dict[Names, EntryUnreadableError]


class OneHuman(NamedTuple):
    """
    Who else a person is, in fixed order.

    Args:
        ruled: By rules of identity.
        known: These, and whom a `same_as` leads to.
        every: These, and whom it would lead to if they still lived as they did: numbers go by it, as nobody's place in
            it changes while a request about them is half done.

    """

    ruled: tuple[Lookup, ...]
    known: tuple[Lookup, ...]
    every: tuple[Lookup, ...]


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
        """Let a key that nobody has lead to the person; False when somebody is there by now, or the person is gone."""
        view = await self._ring.view([lookup, home])
        if view.raw[lookup] is not None or view.raw[home] is None:
            return False
        entry = self._ring.seal_person(lookup, Person(generation=0, pseudonym=None, epoch=pointer(view), home=home))
        places = {each: person_key(self._ring.tenant, each) for each in (lookup, home)}
        unchanged = {EPOCH_KEY: view.epoch, places[home]: view.raw[home]}
        return await self._keystore.swap({places[lookup]: (None, entry)}, unchanged)

    # --- one human ----------------------------------------------------------------------------------------------------

    async def same(self, lookups: Sequence[Lookup]) -> dict[Lookup, tuple[Lookup, ...]]:
        """Who else each of some people is by rules of identity, next to them; nobody for most."""
        return {lookup: same.lookups for lookup, (_, same) in (await self.sames(lookups)).items()}

    async def _said(self, lookups: Sequence[Lookup]) -> dict[Lookup, Same]:
        return {lookup: same for lookup, (_, same) in (await self.sames(lookups)).items()}

    async def sames(self, lookups: Sequence[Lookup]) -> dict[Lookup, tuple[bytes | None, Same]]:
        """
        The entries that say who else some people are, as they lie there, and what they say.

        Raises:
            EntryUnreadableError: Of one of them that cannot be known.

        """
        places = {lookup: same_key(self._ring.tenant, lookup) for lookup in dict.fromkeys(lookups)}
        read = await self._keystore.read(list(places.values()))
        return {
            lookup: (raw, Same() if raw is None else self._opened(raw, places[lookup]))
            for lookup, raw in zip(places, read, strict=True)
        }

    async def _same_known(self, lookups: Sequence[Lookup]) -> dict[Lookup, Same]:
        places = {lookup: same_key(self._ring.tenant, lookup) for lookup in lookups}
        found = dict.fromkeys(lookups, Same())
        for lookup, raw in zip(places, await self._keystore.read(list(places.values())), strict=True):
            with suppress(EntryUnreadableError):
                found[lookup] = Same() if raw is None else self._opened(raw, places[lookup])
        return found

    def _opened(self, raw: bytes, place: bytes) -> Same:
        with of_one("an entry that says who else somebody is"):
            key = self._vault.epoch_key(key_epoch(raw), self._ring.tenant, "keystore")
            return open_same(raw, place, key)

    async def everyone(self, lookups: Sequence[Lookup]) -> dict[Lookup, OneHuman]:
        """
        Of each, everybody whom the same human is known as, however far apart; without themselves.

        Raises:
            EntryUnreadableError: Of one of them that cannot be known.

        """
        return await self._everyone(lookups, self._said)

    async def everyone_known(self, lookups: Sequence[Lookup]) -> dict[Lookup, OneHuman]:
        """The same as far as it can be known: an entry that cannot be used leads nowhere."""
        return await self._everyone(lookups, self._same_known)

    async def _everyone(self, lookups: Sequence[Lookup], same: _Sames) -> dict[Lookup, OneHuman]:
        said: dict[Lookup, Same] = {}
        wanted = list(dict.fromkeys(lookups))
        while wanted:
            said |= await same(wanted)
            wanted = sorted({each for one in said.values() for each in (*one.lookups, *_named(one))} - said.keys())
        lead = await self._leading([each for one in said.values() for each in one.links])
        ruled = {lookup: one.lookups for lookup, one in said.items()}
        known = {lookup: (*one.lookups, *_named(one, lead)) for lookup, one in said.items()}
        every = {lookup: (*one.lookups, *_named(one)) for lookup, one in said.items()}
        return {each: OneHuman(_others(each, ruled), _others(each, known), _others(each, every)) for each in lookups}

    async def _leading(self, links: Collection[Linked]) -> _Lives:
        """Which lead to somebody who lives as they did; whose entry cannot be used may be that one."""
        living: dict[Lookup, int] = {}
        unsure: set[Lookup] = set()
        view = await self._ring.view(sorted({each.lookup for each in links})) if links else None
        for lookup, raw in view.raw.items() if view else ():
            try:
                person = self._ring.entry(lookup, raw)
            except EntryUnreadableError:
                unsure.add(lookup)
            else:
                if person is not None and person.pseudonym is not None:
                    living[lookup] = person.generation
        return lambda each: each.lookup in unsure or living.get(each.lookup) == each.generation

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
            for lookup, (raw, same) in (await self.sames([one, other])).items():
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


def _named(same: Same, lives: _Lives = lambda _: True) -> tuple[Lookup, ...]:
    return tuple(each.lookup for each in same.links if lives(each))


def _others(lookup: Lookup, next_: Mapping[Lookup, tuple[Lookup, ...]]) -> tuple[Lookup, ...]:
    return tuple(sorted(_reached(lookup, next_) - {lookup}))


def _reached(lookup: Lookup, next_: Mapping[Lookup, tuple[Lookup, ...]]) -> set[Lookup]:
    found, left = {lookup}, [lookup]
    while left:
        fresh = set(next_.get(left.pop(), ())) - found
        found |= fresh
        left += fresh
    return found


def stricter(person: Person, other: Person) -> Person:
    """The person with what holds for the same human elsewhere; who is gone stays gone, and keeps what the gone keep."""
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
