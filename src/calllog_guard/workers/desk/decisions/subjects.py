"""
Whom a request names: the keystore keys of its identifiers and of the same humans, and under which nobody was known.

Rules: 1. Known is who lives in the keystore, or of whom copies remain that may be told. The erased are known no more,
          and so is who is held in secret and nowhere else: what is said is the same for both.
       2. It is said of a case once, before it does anything: what the case itself mints or fences changes nothing.
       3. While people are carried over to other rules of identity, nothing is decided: somebody might not be found.
       4. Whom a `same_as` makes the same person is reached, unless the type concerns what it names alone.
Source: docs/adr/0012-identity-is-fixed.md, docs/adr/0019-several-identifiers.md, docs/explanation/cases.md;
  GDPR Art. 5(1)(d).
"""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import msgspec

from calllog_guard.core.cases.case import Case
from calllog_guard.core.crypto.entries import Person
from calllog_guard.core.decisions.hold import DISCLOSED
from calllog_guard.core.identifiers import Lookup
from calllog_guard.core.requests.request import Request
from calllog_guard.core.requests.types import TYPES
from calllog_guard.errors import IdentityMovedError, MessageError
from calllog_guard.workers.keys.people.homes import Homes, OneHuman
from calllog_guard.workers.keys.people.naming import Naming
from calllog_guard.workers.keys.people.subject_keys import Keyring
from calllog_guard.workers.keys.people.view import View

FORMS: Final = 2
"""From this level of forms on a case says whether somebody was known: a desk of the first release would refuse it."""
_LINKED: Final = 10_000
"""Numbers of people not named by a request begin here: far beyond its subjects' and earlier generations'."""


@dataclass(frozen=True, slots=True)
class RequestSubjects:
    """
    Whom a request is about.

    Args:
        lookups: By number: the place of an identifier in the request, or a higher one for the same human elsewhere.
        places: By number: the place of the identifier through which it was found.
        said: The numbers of those whom a `same_as` alone makes the same person.

    """

    lookups: dict[int, Lookup]
    places: dict[int, int]
    said: frozenset[int] = frozenset()

    @property
    def linked(self) -> int:
        """How many people are reached whom no identifier of the request names."""
        return sum(number >= _LINKED for number in self.lookups)


class Subjects:
    """One tenant's people, as requests name them."""

    def __init__(self, ring: Keyring, *, writes: bool = True) -> None:
        self._tenant, self._ring, self._vault = ring.tenant, ring, ring.vault
        self._naming, self.homes = Naming(ring.tenant, ring.vault), Homes(ring, writes=writes)

    async def check(self, request: Request) -> None:
        """
        Whether every subject has a canonical form, or somebody was stored under it before the rules were these.

        Raises:
            MessageError: One has none, and nobody was.

        """
        for index, text in enumerate(request.subjects):
            names = self._naming.names(text, f"/subjects/{index}")
            if names.reason and not any((await self._ring.view([names.lookup, *names.former])).raw.values()):
                raise MessageError(names.reason, f"/subjects/{index}")

    async def settled(self) -> None:
        """
        Whether everybody can be found by the rules in force.

        Raises:
            IdentityMovedError: Not yet.

        """
        carried, wanted = (await self._ring.view([])).carried, len(self._vault.former(self._tenant))
        if carried < wanted:
            raise IdentityMovedError(
                "people are being carried over to other rules of identity, and requests wait until that has ended: "
                f"calllog-guard tenant identity {self._tenant} goes on with it"
            )

    async def named(self, request: Request) -> RequestSubjects:
        """
        Everybody a request is about; two identifiers of one person are the first of them.

        Raises:
            MessageError: One has no canonical form; the desk has refused it when the request was read.
            IdentityMovedError: People are being carried over to other rules: wait.

        """
        if self.homes.changed:
            await self.settled()
        names = [self._naming.names(text, f"/subjects/{index}") for index, text in enumerate(request.subjects)]
        homes = await self.homes.of(names)
        numbers: dict[Lookup, int] = {}
        for index, each in enumerate(names):
            numbers.setdefault(homes[each], index)
        places = {index: index for index in numbers.values()}
        everyone = await self.homes.everyone(list(numbers))
        reached, ruled = set(numbers), set(numbers)
        for lookup, human in everyone.items():
            ruled |= set(human.ruled)
            reached |= set(human.ruled if _alone(request) else human.known)
            for other in human.every:
                if other not in numbers:
                    number = numbers[other] = _LINKED + len(numbers)
                    places[number] = places[numbers[lookup]]
        lookups = {number: lookup for lookup, number in numbers.items() if lookup in reached}
        return RequestSubjects(lookups, places, frozenset(n for n, each in lookups.items() if each not in ruled))

    async def keys(self, request: Request) -> list[frozenset[Lookup]]:
        """By identifier, where the person's entry lies; where unknown, every key that the identifier has itself."""
        names = [self._naming.names(text, f"/subjects/{index}") for index, text in enumerate(request.subjects)]
        homes, _ = await self.homes.found(names)
        return [frozenset([homes[each]] if each in homes else [each.lookup, *each.former]) for each in names]

    async def known(self, request: Request, *, alone: bool = False) -> list[Lookup]:
        """
        Everybody a request is about, as far as is known: for what must not wait until an entry is mended.

        Args:
            alone: Without whom a `same_as` makes the same person.

        """
        own, humans = await self._humans(request)
        others = (other for human in humans for other in (human.ruled if alone else human.known))
        return list(dict.fromkeys([*own, *others]))

    async def known_with(self, own: Collection[Lookup]) -> set[Lookup]:
        """Some people and whoever else they are, as `known`: asked for at once, however many they are."""
        humans = (await self.homes.everyone_known(sorted(own))).values() if own else ()
        return {*own, *(other for human in humans for other in human.known)}

    async def more(self, request: Request) -> int:
        """How many people a request reaches by a `same_as`, beyond those of whom its identifiers are."""
        if self._ring.forms < FORMS or _alone(request) or not request.subjects:
            return 0
        own, humans = await self._humans(request)
        ruled = {*own, *(other for human in humans for other in human.ruled)}
        return len({other for human in humans for other in human.known} - ruled)

    async def alike(self, request: Request) -> bool:
        """Whether all identifiers of a request are one person's by rules of identity."""
        keys = await self.keys(request)
        humans = (await self.homes.everyone_known(sorted(keys[0]))).values()
        first = {*keys[0], *(other for human in humans for other in human.ruled)}
        return not any(first.isdisjoint(each) for each in keys)

    async def linked(self, request: Request) -> bool:
        """Whether a `same_as` says anything of somebody whom a request names."""
        return any(set(human.known) - set(human.ruled) for human in (await self._humans(request))[1])

    async def _humans(self, request: Request) -> tuple[list[Lookup], list[OneHuman]]:
        own = list(dict.fromkeys(lookup for each in await self.keys(request) for lookup in sorted(each)))
        return own, list((await self.homes.everyone_known(own)).values())

    async def matched(self, case: Case, request: Request, told: Collection[Lookup] = ()) -> Case:
        """
        The case with the identifiers under which nobody is known; what it says already stays.

        Args:
            told: Of whom copies are left that may be told of.

        """
        if self._ring.forms < FORMS or case.unknown is not msgspec.UNSET or not request.subjects:
            return case
        named = await self.named(request)
        persons, unreadable = self._ring.persons(await self._ring.view(list(named.lookups.values())))
        known = {lookup for lookup, person in persons.items() if _lives(person)} | set(told) | unreadable.keys()
        by_place: dict[int, bool] = defaultdict(bool)
        for number, lookup in named.lookups.items():
            by_place[named.places[number]] |= lookup in known
        unknown = tuple(place for place, found in sorted(by_place.items()) if not found)
        linked = named.linked or msgspec.UNSET
        return msgspec.structs.replace(case, known=len(unknown) < len(by_place), unknown=unknown, linked=linked)

    def met(self, case: Case, named: RequestSubjects, view: View) -> Case:
        """The case after somebody has appeared whom it names, before they were fenced."""
        if not case.unknown:
            return case
        persons, _ = self._ring.persons(view)
        alive = {named.places[number] for number, lookup in named.lookups.items() if _lives(persons.get(lookup))}
        unknown = tuple(place for place in case.unknown if place not in alive)
        return case if unknown == case.unknown else msgspec.structs.replace(case, known=True, unknown=unknown)


def _alone(request: Request) -> bool:
    """Whether a request concerns what it names alone; a disclosure's own copies are of what that names."""
    return TYPES[request.type].alone or (request.hold is not None and request.hold.id.startswith(DISCLOSED))


def _lives(person: Person | None) -> bool:
    return person is not None and person.pseudonym is not None
