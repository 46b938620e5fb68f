"""
How a reader comes from the name in a record to the key that opens it, and to what stands against opening it.

`calllog.legs` names people (`People`). `calllog.held` will name holds, each with a secret of its own: another `Source`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from calllog_guard.core.crypto.secrets import DataKey, Month, Pepper
from calllog_guard.core.ids import Lookup, Pseudonym, PurposePerson
from calllog_guard.core.retention.access import Refusal, refusal_of
from calllog_guard.core.retention.purpose import Purpose
from calllog_guard.workers.keyring import Keyring


class Holder(NamedTuple):
    """
    Whose key opens a record.

    Args:
        entry: Where the standing of the name is looked up.
        person: The person's name for the readers of this purpose.
        place: Modulo the partition count: where the name's records lie.

    """

    entry: str
    person: str
    place: int
    data_key: Callable[[Month], DataKey]


class Standing(NamedTuple):
    """What a name's entry says now; `raw` only to see whether it has changed."""

    raw: bytes | None
    refusal: Refusal | None


class Source(Protocol):
    """A topic of sealed records, with the keys and standings of the names in them."""

    topic: str

    async def holders(self, names: Sequence[str]) -> dict[str, Holder]:
        """Keys by name, as far as there are any."""

    async def standings(self, holders: Mapping[str, Holder], purpose: Purpose) -> dict[str, Standing]:
        """What stands against each name, read afresh."""


class People:
    """The source of legs: names are pseudonyms, keys and persons lie in the keystore."""

    def __init__(self, topic: str, ring: Keyring, pepper: Pepper, purpose: str, *, cache_entries: int) -> None:
        self.topic = topic
        self._ring, self._pepper, self._purpose, self._cache_entries = ring, pepper, purpose, cache_entries
        self._persons: dict[Lookup, PurposePerson] = {}

    async def holders(self, names: Sequence[str]) -> dict[str, Holder]:
        """See Source."""
        owners = await self._ring.owners([Pseudonym(name) for name in names])
        return {
            name: Holder(lookup, self._person(lookup), opened.place, opened.data_key)
            for name, (lookup, opened) in owners.items()
        }

    def _person(self, lookup: Lookup) -> PurposePerson:
        if lookup not in self._persons:
            if len(self._persons) >= self._cache_entries:
                self._persons.clear()
            self._persons[lookup] = self._pepper.person_for(self._purpose, lookup)
        return self._persons[lookup]

    async def standings(self, holders: Mapping[str, Holder], purpose: Purpose) -> dict[str, Standing]:
        """See Source."""
        view = await self._ring.view([Lookup(holder.entry) for holder in holders.values()])
        found: dict[str, Standing] = {}
        for name, holder in holders.items():
            lookup = Lookup(holder.entry)
            raw = view.raw[lookup]
            found[name] = Standing(raw, refusal_of(self._ring.person(lookup, raw), name, purpose))
        return found
