"""
Carries a granted request out as far as the desk does: decisions into the ledger, then the fence or the flags.

Steps (numbered for the crash tests): 2 decision written, 3 fenced.
Rules: 1. The decision is acknowledged before the person's entry changes.  2. Steps may be repeated: ids derive from the
          request.  3. Whoever is minted between the decision and the fence gets a decision too.
       4. A standing rule needs a person to stand with: who was never seen is minted for it.
       5. Who else the erased were is forgotten once the last of them is fenced, not before: a crash would lose them.
Source: docs/explanation/design.md, docs/explanation/cases.md.
"""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Final, NamedTuple, cast

import msgspec

from calllog_guard.core.answers.parts import Amend, Task, first_of
from calllog_guard.core.cases.case import ASKED, Case
from calllog_guard.core.cases.case_owner import tag_of
from calllog_guard.core.codec import encode, to_ms
from calllog_guard.core.crypto.entries import Person
from calllog_guard.core.crypto.subject_secrets import Month, floor_month, month_of
from calllog_guard.core.decisions.decision import UNSEEN, Decision, Entry, decision_id, seal_entry, unseen_pseudonym
from calllog_guard.core.decisions.hold import LAW_FROM
from calllog_guard.core.decisions.standing_rules import Rule, seal_rule
from calllog_guard.core.identifiers import DecisionId, Lookup, Pseudonym, named_call, partition_of
from calllog_guard.core.requests.request import Request
from calllog_guard.core.requests.types import TYPES, DecisionType, kinds
from calllog_guard.errors import EntryUnreadableError, HoldsFullError, KeyMissingError, MessageError, ParkedError
from calllog_guard.workers.context import WorkerContext
from calllog_guard.workers.desk.cases.case_store import Casebook
from calllog_guard.workers.desk.decisions.decision_writer import DecisionWriter
from calllog_guard.workers.desk.decisions.granted import ENDED, Granted, PlannedDecision, Telling, parts_of, span_of
from calllog_guard.workers.desk.decisions.subjects import Subjects
from calllog_guard.workers.keys.people.law_copies import LawCopy
from calllog_guard.workers.keys.people.links import PersonLinks
from calllog_guard.workers.keys.people.view import View, fresh_nonce, pointer
from calllog_guard.workers.runtime.parallel import abreast

MINTS: Final = kinds(lambda row: row.fence == "anybody")
"""Standing rules that hold for whoever is not yet known, too (a total erasure has a fence of its own)."""

_FORMER: Final = 100
"""The parts of earlier generations are numbered behind those of all subjects."""
_LAW: Final = 20_000
"""And those of copies that law keeps behind these, and behind whoever else the same human is."""


class Decided(NamedTuple):
    """The case with its decisions, their people's places in the request, and which decisions were written just now."""

    case: Case
    indexes: tuple[int, ...]
    written: tuple[str, ...] = ()


class Erasure(NamedTuple):
    """What a total erasure decides about one person, and whether their fence is still to come."""

    decisions: tuple[Decision, ...]
    fence: bool


def _task(granted: Granted, index: int, told: Telling) -> bytes:
    """What is to be done once, beside the rule; nothing for most types."""
    request, secret = granted.request, granted.case.secret or msgspec.UNSET
    if request.reply_key is None:
        return b""
    mine = request.type == "access"
    holds = told.holds if TYPES[request.type].told_of_holds else ()
    law = True if mine and told.law else msgspec.UNSET
    span = span_of(request.range)
    look = told.look or msgspec.UNSET
    return encode(
        Task(key=request.reply_key, range=span, first=first_of(index), holds=holds, law=law, secret=secret, look=look)
    )


def _amend(request: Request) -> bytes:
    """What is to be corrected in copies, whose person has no key under which a rule could be sealed."""
    if request.facts is None:
        return b""
    facts = request.facts
    session = facts.session or msgspec.UNSET
    return encode(
        Amend(
            call=named_call(facts.call_id, facts.occurrence),
            role=facts.role,
            joined_at=facts.joined_at,
            left_at=facts.left_at,
            session=session,
        )
    )


_NOTHING: Final = Telling()


class Decider(DecisionWriter):
    """One tenant's decisions."""

    def __init__(self, context: WorkerContext, book: Casebook) -> None:
        super().__init__(context, book)
        self._vault, self._keep_days, self.subjects = context.vault, context.keep_days, Subjects(context.ring)
        self.links = PersonLinks(context.ring, self.subjects.homes)

    async def lookups(self, request: Request) -> dict[int, Lookup]:
        """See Subjects: by number, everybody whom a request is about."""
        return (await self.subjects.named(request)).lookups

    # --- total erasure ------------------------------------------------------------------------------------------------

    async def erase(self, granted: Granted, renewed: Callable[[Collection[Lookup]], Awaitable[Telling]]) -> Case:
        """
        Decision and fence for everyone named; again for whoever was minted in between: that pseudonym needs its own.

        `renewed` puts people under the holds that name them; nobody is fenced who appeared after it looked.

        Raises:
            ParkedError: Of those with unusable entries, or who cannot be put under a hold yet; the others are fenced.

        """
        case, named = granted.case, await self.subjects.named(granted.request)
        left = named.lookups
        cut_off = to_ms(case.cut_off or self._clock.now())
        parked: dict[Lookup, ParkedError] = {}
        while left:
            view = await self._ring.view(list(left.values()))
            told = await renewed(left.values())
            if (await self._ring.view(list(left.values()))).raw != view.raw:
                continue
            parked |= dict.fromkeys(told.full, HoldsFullError("a hold that names the person has no room yet"))
            parked |= self._ring.persons(view)[1]
            left = {index: lookup for index, lookup in left.items() if lookup not in parked}
            case = self.subjects.met(case, named, view)
            plan = {
                index: self._erasure(replace(granted, case=case), lookup, index, view) for index, lookup in left.items()
            }
            about = [(named.places[index], each) for index, one in plan.items() for each in one.decisions]
            case = await self.decided(self._to_trace(case, about), [each for _, each in about])
            open_ = {index: left[index] for index, each in plan.items() if each.fence}
            fenced = await abreast(partial(self._fence, view, cut_off), list(open_.values()))
            left = {index: lookup for (index, lookup), done in zip(open_.items(), fenced, strict=True) if not done}
        self._steps.reached("erase.fence")
        for error in parked.values():  # everybody else who was named is fenced
            raise error
        await self.links.cut(list(named.lookups.values()))
        self._steps.reached("erase.cut")
        return case

    async def _fence(self, view: View, cut_off: int, lookup: Lookup) -> bool:
        return await self._ring.fence_if(lookup, view, cut_off)

    def _erasure(self, granted: Granted, lookup: Lookup, index: int, view: View) -> Erasure:
        """
        See Erasure.

        A keeper may have raised the cut-off of somebody first stored after the case had called them nobody: so only
        a life in a later generation than that proves a return since.
        """
        case, decisions = granted.case, []
        person = self._ring.person(lookup, view.raw[lookup])
        called_nobody = decision_id(self._tenant, case.name, index, 0) in case.decisions
        new = person is not None and person.pseudonym is not None and person.generation <= max(1, view.floor)
        fenced = person is not None and person.cut_off >= to_ms(case.appended_at) and not (called_nobody and new)
        if called_nobody:  # the case names its decisions before the ledger has them
            decisions.append(self._of_generation(granted, lookup, index, view, None))
        if not fenced and (person is not None or not called_nobody):
            decisions.append(self._of_generation(granted, lookup, index, view, person))
        return Erasure(tuple(decisions), fence=not fenced)

    def _of_generation(
        self, granted: Granted, lookup: Lookup, index: int, view: View, person: Person | None
    ) -> Decision:
        generation = person.generation if person else 0
        decision = decision_id(self._tenant, granted.case.name, index, generation)
        ledger = self._vault.epoch_key(pointer(view), self._tenant, "ledger")
        unseen = self._vault.epoch_key(pointer(view), self._tenant, UNSEEN[self._ring.forms > 1])
        pseudonym = person.pseudonym if person and person.pseudonym else unseen_pseudonym(unseen, decision)
        told = self.decision(granted, "erase", decision, pseudonym, view)
        return seal_entry(told, Entry(lookup, generation), ledger, fresh_nonce())

    # --- everything else ----------------------------------------------------------------------------------------------

    async def decide(self, granted: Granted, parts: tuple[PlannedDecision, ...], told: Telling = _NOTHING) -> Decided:
        """Decisions for everyone named who is there, then their flags; `told` for a copy of what is held."""
        case, kind = granted.case, granted.request.type
        if not parts:
            return Decided(case, ())
        named = await self.subjects.named(granted.request)
        lookups = named.lookups
        if kind in MINTS and case.unknown and case != self._book.get(case.case):
            case = await self._book.save(case)  # once they are minted, nobody could tell that nobody was known
        view, persons = await self.there(granted, lookups, mint=kind in MINTS)
        found = await self._planned(granted, parts, lookups, persons, told, view)
        case = self._to_trace(case, [(named.places.get(index, index), decision) for index, decision in found])
        if TYPES[kind].law and not TYPES[kind].restricts:
            found += self._of_law(granted, lookups, persons, told, view)
        case = await self.decided(case, [decision for _, decision in found])
        for part in parts:
            others = await self._considered(case, persons) if part.number == ENDED else set()
            for lookup, person in persons.items():
                if lookup not in others and part.only in {None, lookup}:
                    await self._ring.change(lookup, part.flags, generation=person.generation)
        self._steps.reached("decide.flags")
        return Decided(case, tuple(index for index, _ in found), tuple(each.decision for _, each in found))

    async def _planned(
        self,
        granted: Granted,
        parts: tuple[PlannedDecision, ...],
        lookups: Mapping[int, Lookup],
        persons: Mapping[Lookup, Person],
        told: Telling,
        view: View,
    ) -> list[tuple[int, Decision]]:
        """The decisions about the living and about the copies of those who lived, each by its number in the request."""
        found = [
            (index, decision)
            for index, lookup in lookups.items()
            for part in parts
            if part.only in {None, lookup}
            and (decision := await self._about(granted, part, (index, lookup, persons.get(lookup)), view, told))
            is not None
        ]
        former = TYPES[granted.request.type].told_of_holds
        return found + (self._of_former(granted, lookups, persons, told, view) if former else [])

    async def look(self, granted: Granted, told: Telling) -> tuple[Case, set[str]]:
        """Have keepers say how much a disclosure would give; the case, and what is said so far. Repeatable."""
        case, lookups = granted.case, await self.lookups(granted.request)
        named = msgspec.structs.replace(
            case, jti=f"{case.case} look {len(case.acts)}"
        )  # anew for an officer's every word
        view, persons = await self.there(granted, lookups, mint=False)
        parts, told = parts_of(granted.request, 0, reviewed=False), replace(told, look=True)
        planned = await self._planned(replace(granted, case=named), parts, lookups, persons, told, view)
        looks = [each for _, each in planned]
        if fresh := {each.decision: ASKED for each in looks if each.decision not in case.progress}:
            case = await self._book.save(msgspec.structs.replace(case, progress=case.progress | fresh))
        said = {each.decision: case.progress[each.decision] for each in looks}
        await self._writer.write([self.ledger(each) for each in looks if said[each.decision] == ASKED])
        return case, set(said.values())

    async def _considered(self, case: Case, persons: Mapping[Lookup, Person]) -> set[Lookup]:
        """Whom another request still restricts, before an officer or until told: they stay so after this one."""
        found, own = set[Lookup](), set[Lookup]()
        for each in self._book.considered():
            if each.case != case.case:
                try:
                    own.update(*await self.subjects.keys(self._book.request_of(each)))
                except MessageError:  # its request is lost: its tags alone say whose it is
                    found |= {lookup for lookup, person in persons.items() if await self._may_own(each, person)}
        return found | await self.subjects.known_with(own)

    async def _may_own(self, case: Case, person: Person) -> bool:
        """Whether a case is a person's by its tags; yes where that is unknown, as of who was unknown when it opened."""
        if case.whose is msgspec.UNSET or case.unknown or person.pseudonym is None:
            return True
        try:
            keys = await self._ring.keys_of(person.pseudonym)
        except EntryUnreadableError:
            return True
        return keys is None or tag_of(keys.identity, case.case) in case.whose

    async def there(
        self, granted: Granted, lookups: Mapping[int, Lookup], *, mint: bool
    ) -> tuple[View, dict[Lookup, Person]]:
        """Who of them is living; with `mint` everyone is. Raises EntryUnreadableError: several may be one person."""
        wanted = list(dict.fromkeys(lookups.values()))
        came = to_ms(granted.case.appended_at)
        while True:
            view = await self._ring.view(wanted)
            found, unreadable = self._ring.persons(view)
            for error in unreadable.values():
                raise error
            if granted.waited:
                found = {lookup: each for lookup, each in found.items() if each is None or each.cut_off < came}
            living = {lookup: person for lookup, person in found.items() if person and person.pseudonym}
            absent = {lookup: person for lookup, person in found.items() if lookup not in living}
            if not mint or not absent:
                return view, living
            floor, current = self._months()
            await self._ring.mint(absent, view, floor, current)

    def _months(self) -> tuple[Month, Month]:
        """The oldest month that the tenant may still keep, and the present one."""
        now = self._clock.now()
        return floor_month(now, self._keep_days), month_of(now.year, now.month)

    async def _about(
        self,
        granted: Granted,
        part: PlannedDecision,
        whom: tuple[int, Lookup, Person | None],
        view: View,
        telling: Telling,
    ) -> Decision | None:
        index, lookup, person = whom
        if person is None or person.pseudonym is None:
            return None
        name = granted.case.name
        if part.case is not None:
            name += f" {part.case}"  # no name of a request has a blank
        decision = DecisionId(decision_id(self._tenant, name, index + part.number, person.generation))
        told = self.decision(granted, part.kind, decision, person.pseudonym, view)
        ranged = part.kind == "erase"
        told = msgspec.structs.replace(told, range="sealed" if ranged else None, case=part.case or told.case)
        keys = await self._ring.keys_of(person.pseudonym)
        if keys is None and (await self._ring.view([lookup])).raw[lookup] == view.raw[lookup]:
            text = f"the key of the live person {person.pseudonym} is missing: restore it, or erase the person"
            raise KeyMissingError(text, "key_missing")
        if keys is None:
            return None  # erased meanwhile: nothing is left to decide about
        rule = self._rule(granted, part, keys.identity.token_key().token)
        if rule != Rule():
            told = seal_rule(told, rule, keys.identity.rules_key(), fresh_nonce())
        ledger = self._vault.epoch_key(pointer(view), self._tenant, "ledger")
        return seal_entry(told, Entry(lookup, person.generation, _task(granted, index, telling)), ledger, fresh_nonce())

    def _of_former(
        self,
        granted: Granted,
        lookups: Mapping[int, Lookup],
        persons: Mapping[Lookup, Person],
        told: Telling,
        view: View,
    ) -> list[tuple[int, Decision]]:
        """The copies of those who were erased, each partition asked once about each person."""
        numbers = {lookup: index for index, lookup in lookups.items()}
        many = self._settings.partitions
        asked = {(lookup, partition_of(each.pseudonym, many)) for lookup, each in persons.items() if each.pseudonym}
        ledger, found = self._vault.epoch_key(pointer(view), self._tenant, "ledger"), list[tuple[int, Decision]]()
        for at, each in enumerate(told.former):
            place = (each.lookup, partition_of(each.pseudonym, many))
            if each.lookup in numbers and place not in asked:
                asked.add(place)
                name = decision_id(self._tenant, granted.case.name, numbers[each.lookup], each.generation)
                kind = cast("DecisionType", granted.request.type)
                decision = self.decision(granted, kind, name, each.pseudonym, view)
                entry = Entry(each.lookup, each.generation, _task(granted, _FORMER + at, told))
                found.append((_FORMER + at, seal_entry(decision, entry, ledger, fresh_nonce())))
        return found

    def _of_law(
        self,
        granted: Granted,
        lookups: Mapping[int, Lookup],
        persons: Mapping[Lookup, Person],
        told: Telling,
        view: View,
    ) -> list[tuple[int, Decision]]:
        """The copies law keeps of people, each partition asked once a person; of an access, where nobody asks."""
        request, many = granted.request, self._settings.partitions
        numbers = {lookup: index for index, lookup in lookups.items()}
        ledger, found = self._vault.epoch_key(pointer(view), self._tenant, "ledger"), list[tuple[int, Decision]]()
        places = dict.fromkeys((each.lookup, each.copy.partition) for each in told.law if each.lookup in numbers)
        asked: set[tuple[Lookup, int]] = set()
        if request.type == "access":
            names = [(lookup, each.pseudonym) for lookup, each in persons.items()]
            names += [(each.lookup, each.pseudonym) for each in told.former]
            asked = {(lookup, partition_of(name, many)) for lookup, name in names if name}
        for at, (lookup, partition) in enumerate(places):
            if (lookup, partition) in asked:
                continue
            name, pseudonym = self._placed(granted, numbers[lookup], partition, ledger)
            decision = self.decision(granted, cast("DecisionType", request.type), name, pseudonym, view)
            task = _amend(request) if request.type == "rectify" else _task(granted, _LAW + at, told)
            found.append((_LAW + at, seal_entry(decision, Entry(lookup, 0, task), ledger, fresh_nonce())))
        return found

    async def by_law(
        self, granted: Granted, lookups: Mapping[int, Lookup], law: Iterable[LawCopy]
    ) -> list[tuple[Lookup, int, Pseudonym]]:
        """In which partitions law keeps copies of people, each with a generation and a name there that is nobody's."""
        numbers = {lookup: index for index, lookup in lookups.items()}
        ledger = self._vault.epoch_key(pointer(await self._ring.view([])), self._tenant, "ledger")
        return [
            (lookup, LAW_FROM + partition, self._placed(granted, numbers[lookup], partition, ledger)[1])
            for lookup, partition in dict.fromkeys((each.lookup, each.copy.partition) for each in law)
        ]
