"""
How a reader comes from the name in a record to the key that opens it, and to what stands against opening it.

`calllog.legs` names people (`People`). `calllog.held` names holds, each with a secret (`Kept`): only a purpose's holds
by law are read for that purpose; what an officer ordered is for the claim alone.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import msgspec

from calllog_guard.core.calls.leg import Leg
from calllog_guard.core.crypto.held_envelope import HeldHeader, parse_held
from calllog_guard.core.crypto.leg_envelope import LegHeader, parse_header
from calllog_guard.core.crypto.subject_secrets import CallKey, DataKey, Month, Pepper
from calllog_guard.core.decisions.hold import kept_id
from calllog_guard.core.identifiers import HoldId, Lookup, Pseudonym, PurposePerson, Tenant
from calllog_guard.core.retention.purposes import Purpose
from calllog_guard.core.retention.read_access import Refusal, refusal_of
from calllog_guard.workers.keys.hold_store import Safe, terms_of
from calllog_guard.workers.keys.key_cache import Cache
from calllog_guard.workers.keys.people.homes import Homes
from calllog_guard.workers.keys.people.naming import Names
from calllog_guard.workers.keys.people.subject_keys import Keyring


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """Who reads, for what, on whose behalf; on record. `read` is a random id: accesses with the same id are one."""

    tenant: Tenant
    purpose: str
    actor: str
    case: str | None = None
    read: str | msgspec.UnsetType = msgspec.UNSET


class Holder(NamedTuple):
    """
    Whose key opens a record.

    Args:
        entry: Where the standing of the name is looked up.
        person: The person's name for the readers of this purpose, from an opened leg.
        place: Modulo the partition count: where the name's records lie.

    """

    entry: str
    person: Callable[[Leg], str]
    place: int
    data_key: Callable[[Month], DataKey]


class EntryState(NamedTuple):
    """What a name's entry says now; `raw` only to see whether it has changed."""

    raw: bytes | None
    refusal: Refusal | None


class Closed(NamedTuple):
    """The records, by name and token, whose person has restricted them, and those of an unknown person."""

    restricted: set[tuple[str, str]]
    unknown: set[tuple[str, str]]


Header = LegHeader | HeldHeader


class Source(Protocol):
    """A topic of sealed records, with the keys and standings of the names in them."""

    topic: str

    @property
    def forms(self) -> int:
        """The level of stored forms that is written now; see `Keyring.forms`."""

    @property
    def calls(self) -> CallKey | None:
        """What names calls by reference; see `Keyring.calls`."""

    def parse(self, value: bytes) -> Header:
        """The protected header of a record. Raises RecordError."""

    def meant(self, header: Header, partition: int, purpose: Purpose) -> bool:
        """Whether a record is this purpose's business; others are passed over, not refused: nobody learns of it."""

    async def holders(self, names: Sequence[str]) -> dict[str, Holder]:
        """Keys by name, as far as there are any."""

    async def standings(self, holders: Mapping[str, Holder], purpose: Purpose) -> dict[str, EntryState]:
        """What stands against each name, read afresh."""

    async def unchanged(self, holders: Mapping[str, Holder], standings: Mapping[str, EntryState]) -> bool:
        """Whether every entry still is as it was."""

    async def met(self) -> bool:
        """Whether people in opened records have other names than said, or stand against it: say it again."""

    def follow(self) -> None:
        """Records are opened once and shown for long: what shows later whether they still may be is remembered."""

    def against(self, header: Header, leg: Leg) -> Refusal | None:
        """What stands against using an opened record, as far as its person is known."""

    async def closed(self, names: Collection[tuple[str, str]]) -> Closed:
        """Of records that were opened before, by name and token: whose person stands against it by now."""


class People:
    """The source of legs: names are pseudonyms, keys and persons lie in the keystore."""

    def __init__(self, topic: str, ring: Keyring, pepper: Pepper, purpose: str, *, cache_entries: int) -> None:
        self.topic = topic
        self._ring, self._pepper, self._purpose = ring, pepper, purpose
        self._persons: Cache[Lookup, PurposePerson] = Cache(ring.cache_s, cache_entries)

    @property
    def forms(self) -> int:
        """See Source."""
        return self._ring.forms

    @property
    def calls(self) -> CallKey | None:
        """See Source."""
        return self._ring.calls

    async def holders(self, names: Sequence[str]) -> dict[str, Holder]:
        """See Source."""
        owners = await self._ring.owners([Pseudonym(name) for name in names])
        return {
            name: Holder(lookup, self._named(self._person(lookup)), opened.place, opened.data_key)
            for name, (lookup, opened) in owners.items()
        }

    def parse(self, value: bytes) -> Header:
        """See Source."""
        return parse_header(value)

    def meant(self, header: Header, partition: int, purpose: Purpose) -> bool:
        """See Source."""
        del header, partition, purpose
        return True

    @staticmethod
    def _named(person: PurposePerson) -> Callable[[Leg], str]:
        return lambda _: person

    def _person(self, lookup: Lookup) -> PurposePerson:
        known = self._persons.get(lookup)
        return known or self._persons.put(lookup, self._pepper.person_for(self._purpose, lookup))

    async def standings(self, holders: Mapping[str, Holder], purpose: Purpose) -> dict[str, EntryState]:
        """See Source."""
        view = await self._ring.view([Lookup(holder.entry) for holder in holders.values()])
        found: dict[str, EntryState] = {}
        persons, _ = self._ring.persons(view)
        for name, holder in holders.items():
            lookup = Lookup(holder.entry)  # of whose entry cannot be used nothing is known
            found[name] = EntryState(view.raw[lookup], refusal_of(persons.get(lookup), name, purpose))
        return found

    async def unchanged(self, holders: Mapping[str, Holder], standings: Mapping[str, EntryState]) -> bool:
        """See Source."""
        now = (await self._ring.view([Lookup(holder.entry) for holder in holders.values()])).raw
        return all(now[Lookup(holder.entry)] == standings[name].raw for name, holder in holders.items())

    async def met(self) -> bool:
        """See Source: names stand in the keystore."""
        return False

    def follow(self) -> None:
        """See Source: names stand in the records."""

    def against(self, header: Header, leg: Leg) -> Refusal | None:
        """See Source: who stands against it was known before it was opened."""
        del header, leg
        return None

    async def closed(self, names: Collection[tuple[str, str]]) -> Closed:
        """See Source: the standing of the name says it."""
        del names
        return Closed(set(), set())


class Kept:
    """The source of the copies that one purpose keeps by law: a table built of both topics does not see an erasure."""

    def __init__(self, topic: str, ring: Keyring, safe: Safe, homes: Homes, pepper: Pepper, errand: Errand) -> None:
        self.topic = topic
        self._ring, self._safe, self._homes, self._pepper = ring, safe, homes, pepper
        self._tenant, self._purpose = errand.tenant, errand.purpose
        self._met: dict[Names, Lookup] = {}
        self._unmet: set[Names] = set()
        self._closed: dict[Lookup, tuple[bytes | None, bool]] = {}
        self._unasked: set[Lookup] = set()
        self._whose: dict[tuple[str, str], Lookup] | None = None

    @property
    def forms(self) -> int:
        """See Source."""
        return self._ring.forms

    @property
    def calls(self) -> CallKey | None:
        """See Source."""
        return self._ring.calls

    def parse(self, value: bytes) -> Header:
        """See Source."""
        return parse_held(value)

    def meant(self, header: Header, partition: int, purpose: Purpose) -> bool:
        """See Source."""
        return header.kid == kept_id(self._tenant, purpose.number, header.mon, partition)

    async def holders(self, names: Sequence[str]) -> dict[str, Holder]:
        """See Source."""
        found: dict[str, Holder] = {}
        entries, _ = await self._safe.readable(map(HoldId, names))
        for name, entry in entries.items():
            if entry.secret is not None and (place := terms_of(entry).partition) is not None:
                found[name] = Holder(name, self._person, place, self._opens(entry.secret.copy_key()))
        return found

    @staticmethod
    def _opens(key: DataKey) -> Callable[[Month], DataKey]:
        return lambda _: key

    def _person(self, leg: Leg) -> str:
        names = self._homes.stored(leg.subject)
        home = self._met.get(names, names.lookup)
        if self._homes.changed and names not in self._met:
            self._unmet.add(names)
        return self._pepper.person_for(self._purpose, home)

    async def met(self) -> bool:
        """See Source: where somebody's entry lies can be asked once their identifier is known."""
        found = await self._homes.of(self._unmet) if self._unmet else {}
        self._met = found
        self._unmet = set()
        moved = any(home != names.lookup for names, home in found.items())
        asked, self._unasked = self._unasked, set()
        if asked and not moved:
            self._closed |= await self._standing(asked)
        return moved or any(self._closed[each][1] for each in asked)

    async def _standing(self, lookups: Collection[Lookup]) -> dict[Lookup, tuple[bytes | None, bool]]:
        """By lookup, the entry, and whether use is barred (Art. 18): it is, too, where the entry cannot be used."""
        view = await self._ring.view(sorted(lookups))
        persons, unreadable = self._ring.persons(view)
        return {
            each: (view.raw[each], each in unreadable or ((person := persons.get(each)) is not None and person.closed))
            for each in lookups
        }

    def follow(self) -> None:
        """See Source: whose each record is that is opened."""
        self._whose = {}

    async def closed(self, names: Collection[tuple[str, str]]) -> Closed:
        """See Source."""
        known = {name: lookup for name in names if (lookup := (self._whose or {}).get(name)) is not None}
        standing = await self._standing(set(known.values())) if known else {}
        return Closed({name for name, lookup in known.items() if standing[lookup][1]}, set(names) - known.keys())

    def against(self, header: Header, leg: Leg) -> Refusal | None:
        """See Source: an erased person may restrict what law keeps; being unknown stands against nothing."""
        names = self._homes.stored(leg.subject)
        lookup = self._met.get(names, names.lookup)
        if self._whose is not None:
            self._whose[header.kid, header.rid] = lookup
        if lookup not in self._closed:
            self._unasked.add(lookup)
            return None
        return Refusal.RESTRICTED if self._closed[lookup][1] else None

    async def standings(self, holders: Mapping[str, Holder], purpose: Purpose) -> dict[str, EntryState]:
        """See Source: a copy is for the purpose that keeps it; under the restore guard nobody opens one either."""
        await self._ring.view([])
        entries, unreadable = await self._safe.readable(HoldId(name) for name in holders)
        found: dict[str, EntryState] = {}
        for name in holders:
            entry = entries.get(HoldId(name))
            if HoldId(name) in unreadable:
                found[name] = EntryState(None, Refusal.UNKNOWN)
            elif entry is None or entry.secret is None:
                found[name] = EntryState(None, Refusal.ERASED)
            else:
                other = terms_of(entry).purpose != purpose.number
                found[name] = EntryState(entry.terms, Refusal.PURPOSE if other else None)
        return found

    async def unchanged(self, holders: Mapping[str, Holder], standings: Mapping[str, EntryState]) -> bool:
        """See Source."""
        entries, _ = await self._safe.readable(HoldId(name) for name in holders)
        now = {name: entries.get(HoldId(name)) for name in holders}
        closed, self._closed = self._closed, {}
        if closed and await self._standing(closed) != closed:
            return False
        return all(
            (entry.terms if entry is not None and entry.secret is not None else None) == standings[name].raw
            for name, entry in now.items()
        )
