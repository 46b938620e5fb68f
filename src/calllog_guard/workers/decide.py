"""
Carries a granted request out as far as the desk does: decisions into the ledger, then the fence or the flags.

Steps (numbered for the crash tests): 2 decision written, 3 fenced.
Rules: 1. The decision is acknowledged before the person's entry changes.  2. Every step may be repeated: ids derive from the
          request.  3. Whoever is minted between the decision and the fence gets a decision too.
       4. A standing rule needs a person to stand with: who was never seen is minted for it.
Source: design section 9, steps 2 and 3; section 10.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, Final, NamedTuple, cast

import msgspec

from calllog_guard.core.answers.parts import Task, first_of
from calllog_guard.core.crypto.entries import Person
from calllog_guard.core.crypto.secrets import Month, floor_month, month_of
from calllog_guard.core.ids import CallId, DecisionId, HoldId, Lookup, Pseudonym, Tenant, partition_of, record_key
from calllog_guard.core.requests.case import AT_ONCE, Case
from calllog_guard.core.requests.decision import (
    Decision,
    DecisionType,
    Entry,
    decision_id,
    seal_entry,
    unseen_pseudonym,
    version_at,
)
from calllog_guard.core.requests.fields import Range, days_of
from calllog_guard.core.requests.request import Request
from calllog_guard.core.requests.rules import REVIEW, Correction, Rule, Span, seal_rule
from calllog_guard.core.tombstone import Output
from calllog_guard.core.wire import encode, to_ms
from calllog_guard.policy import TenantPolicy
from calllog_guard.ports import Clock, Writer
from calllog_guard.settings import Settings
from calllog_guard.workers.abreast import abreast
from calllog_guard.workers.casebook import Casebook
from calllog_guard.workers.delivery import Steps
from calllog_guard.workers.keyring import Keyring, View, fresh_nonce, pointer
from calllog_guard.workers.subjects import Subjects
from calllog_guard.workers.vault import Vault

MINTS: Final = frozenset({"erase", "restrict", "object", "withdraw", "consent"})
"""Standing rules that hold for whoever is not yet known, too (a total erasure has a fence of its own)."""
FLAGS: Final = frozenset({"restrict", "lift", "consent"})
"""Decisions that change the person's flags and nothing that is stored."""
_APART: Final = 1000
"""Decisions of one request about one subject get numbers this far apart: there are at most 100 subjects."""
_ENDED: Final = 2 * _APART

_FORMER: Final = 100
"""The parts of earlier generations are numbered behind those of all subjects."""


def _unchanged(person: Person) -> Person:
    return person


@dataclass(frozen=True, slots=True)
class Part:
    """
    One decision of a request: its type, its number among the request's, and what it does to the person's flags.

    Args:
        mask: The purposes that it is about; of a restriction and its end see `rules.py`.
        case: In whose name it is made, where that is not the request's own: of which restriction it is the end.
        only: About whom alone.

    """

    kind: DecisionType
    number: int = 0
    flags: Callable[[Person], Person] = _unchanged
    mask: int = 0
    case: str | None = None
    only: Lookup | None = None


@dataclass(frozen=True, slots=True)
class Granted:
    """A request that is to be carried out, with the policy it is judged by, and the officer's words that granted it."""

    case: Case
    request: Request
    table: TenantPolicy
    version: str
    ground: str | None = None


class Decided(NamedTuple):
    """The case with its decisions, and the places in the request of those whom they are about."""

    case: Case
    indexes: tuple[int, ...]


def span_of(range_: Range | None) -> Span | None:
    """A request's range as it is stored."""
    if range_ is None:
        return None
    days = days_of(range_)
    return Span(from_=days.first.isoformat() if days.first else None, to=days.last.isoformat() if days.last else None)


def mask_of(names: tuple[str, ...] | None, table: TenantPolicy) -> int:
    """The bits of some purposes."""
    return sum(1 << (table.purposes[name].number - 1) for name in dict.fromkeys(names or ()) if name in table.purposes)


def parts_of(request: Request, mask: int, *, reviewed: bool) -> tuple[Part, ...]:
    """
    The decisions of a granted request, without total erasures.

    Args:
        reviewed: An officer has granted an objection, meanwhile the person was restricted: that ends with it.

    """
    changes: dict[str, Callable[[Person], Person]] = {
        "restrict": lambda person: replace(person, restricted=True),
        "object": lambda person: replace(person, objected=person.objected | mask),
        "withdraw": lambda person: _withdrawn(person, mask),
        "consent": lambda person: _consented(person, mask),
        "erase": _unchanged,
        "rectify": _unchanged,
        "access": _unchanged,
        "portability": _unchanged,
        "disclose": _unchanged,
    }
    if request.type not in changes:
        return ()
    chosen = mask if request.type in {"object", "withdraw", "consent"} else 0
    part = Part(cast("DecisionType", request.type), 0, changes[request.type], chosen)
    return (part, ended(mask)) if request.type == "object" and reviewed else (part,)


@dataclass(frozen=True, slots=True)
class Former:
    """A person's earlier generation, of which copies are left under holds that may be told of."""

    lookup: Lookup
    generation: int
    pseudonym: Pseudonym


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """What may be told of the holds on some people: for receipts, and for a person's own copy; secret ones are not in it."""

    kept: tuple[dict[str, str], ...] = ()
    holds: tuple[HoldId, ...] = ()
    former: tuple[Former, ...] = ()


def _task(request: Request, index: int, told: Telling) -> bytes:
    """What is to be done once, beside the rule; nothing for most types."""
    if request.reply_key is None:
        return b""
    holds = told.holds if request.type == "access" else ()
    return encode(Task(key=request.reply_key, range=span_of(request.range), first=first_of(index), holds=holds))


def considered(mask: int) -> Part:
    """While an officer considers an objection to some purposes the person is restricted (Art. 18(1)(d))."""
    return Part("restrict", _APART, lambda person: replace(person, reviewed=True), mask | REVIEW)


def ended(mask: int) -> Part:
    """The officer has decided."""
    return Part("lift", _ENDED, lambda person: replace(person, reviewed=False), mask | REVIEW)


def _withdrawn(person: Person, mask: int) -> Person:
    return replace(person, withdrawn=person.withdrawn | mask, consented=person.consented & ~mask)


def _consented(person: Person, mask: int) -> Person:
    """The later word counts, also after an objection: only what rests on consent can be consented to (`check_purposes`)."""
    withdrawn, objected = person.withdrawn & ~mask, person.objected & ~mask
    return replace(person, consented=person.consented | mask, withdrawn=withdrawn, objected=objected)


_NOTHING: Final = Telling()


class Decider:
    """One tenant's decisions."""

    def __init__(
        self,
        tenant: Tenant,
        ring: Keyring,
        vault: Vault,
        writer: Writer,
        book: Casebook,
        settings: Settings,
        clock: Clock,
        keep_days: int,
    ) -> None:
        self._tenant, self._ring, self._vault, self._writer = tenant, ring, vault, writer
        self._book, self._settings, self._clock, self._keep_days = book, settings, clock, keep_days
        self._steps, self.subjects = Steps(settings.off), Subjects(tenant, ring, vault)

    async def lookups(self, request: Request) -> dict[int, Lookup]:
        """See Subjects: by number, everybody whom a request is about."""
        return (await self.subjects.named(request)).lookups

    # --- total erasure ------------------------------------------------------------------------------------------------

    async def erase(self, granted: Granted, renewed: Callable[[Collection[Lookup]], Awaitable[object]]) -> Case:
        """
        Decision and fence for everyone named; again for whoever was minted in between: that pseudonym needs its own.

        `renewed` puts people under the holds that name them; nobody is fenced who appeared after it looked.
        """
        case, named = granted.case, await self.subjects.named(granted.request)
        left = named.lookups
        cut_off = to_ms(case.cut_off or self._clock.now())
        while left:
            view = await self._ring.view(list(left.values()))
            await renewed(left.values())
            if (await self._ring.view(list(left.values()))).raw != view.raw:
                continue
            case = self.subjects.met(case, named, view)
            plan = {
                index: decision
                for index, lookup in left.items()
                if (decision := self._erasure(granted, lookup, index, view)) is not None
            }
            case = await self.decided(case, list(plan.values()))
            fence = partial(self._fence, view, cut_off)
            fenced = dict(zip(plan, await abreast(fence, [left[index] for index in plan]), strict=True))
            left = {index: lookup for index, lookup in left.items() if fenced.get(index) is False}
        self._steps.reached("erase.fence")
        return case

    async def _fence(self, view: View, cut_off: int, lookup: Lookup) -> bool:
        return await self._ring.fence_if(lookup, view.raw[lookup], cut_off, view.epoch)

    def _erasure(self, granted: Granted, lookup: Lookup, index: int, view: View) -> Decision | None:
        case = granted.case
        person = self._ring.person(lookup, view.raw[lookup])
        generation = person.generation if person else 0
        if person is not None and person.cut_off >= to_ms(case.appended_at):
            return None  # fenced by this request before a crash, or by a later one: someone who returned is left alone
        decision = decision_id(self._tenant, case.jti, index, generation)
        ledger = self._vault.epoch_key(pointer(view), self._tenant, "ledger")
        pseudonym = person.pseudonym if person and person.pseudonym else unseen_pseudonym(ledger, decision)
        told = self._decision(granted, "erase", decision, pseudonym, view)
        return seal_entry(told, Entry(lookup, generation), ledger, fresh_nonce())

    # --- everything else ----------------------------------------------------------------------------------------------

    async def decide(self, granted: Granted, parts: tuple[Part, ...], told: Telling = _NOTHING) -> Decided:
        """Decisions for everyone named who is there, then their flags; `told` for a copy of what is held."""
        case, kind = granted.case, granted.request.type
        lookups = await self.lookups(granted.request)
        if kind in MINTS and case.unknown and case != self._book.get(case.case):
            case = await self._book.save(case)  # once they are minted, nobody could tell that nobody was known
        view, persons = await self._there(lookups, mint=kind in MINTS)
        found = [
            (index, decision)
            for index, lookup in lookups.items()
            for part in parts
            if part.only in {None, lookup}
            and (decision := await self._about(granted, part, index, persons.get(lookup), lookup, view, told))
            is not None
        ]
        if kind == "access":
            found += self._of_former(granted, lookups, persons, told, view)
        case = await self.decided(case, [decision for _, decision in found])
        for part in parts:
            others = await self._considered(case) if part.number == _ENDED else set()
            for lookup, person in persons.items():
                if lookup not in others and part.only in {None, lookup}:
                    await self._ring.change(lookup, part.flags, generation=person.generation)
        self._steps.reached("decide.flags")
        return Decided(case, tuple(index for index, _ in found))

    async def _considered(self, case: Case) -> set[Lookup]:
        """Of whom another objection is still before an officer: they stay restricted although this one has ended."""
        waiting = [
            each
            for each in self._book
            if each.type == "object" and each.state == "waiting" and each.decisions and each.case != case.case
        ]
        requests = [self._book.request_of(each) for each in waiting]
        return {lookup for request in requests for lookup in (await self.lookups(request)).values()}

    async def _there(self, lookups: Mapping[int, Lookup], *, mint: bool) -> tuple[View, dict[Lookup, Person]]:
        """Who of them is living; with `mint` everyone is."""
        wanted = list(dict.fromkeys(lookups.values()))
        while True:
            view = await self._ring.view(wanted)
            found = {lookup: self._ring.person(lookup, view.raw[lookup]) for lookup in wanted}
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
        part: Part,
        index: int,
        person: Person | None,
        lookup: Lookup,
        view: View,
        telling: Telling,
    ) -> Decision | None:
        if person is None or person.pseudonym is None:
            return None
        name = granted.case.jti if part.case is None else f"{granted.case.jti} {part.case}"  # no `jti` has a blank
        decision = DecisionId(decision_id(self._tenant, name, index + part.number, person.generation))
        told = self._decision(granted, part.kind, decision, person.pseudonym, view)
        ranged = part.kind == "erase"
        told = msgspec.structs.replace(told, range="sealed" if ranged else None, case=part.case or told.case)
        keys = await self._ring.keys_of(person.pseudonym)
        if keys is None:
            return None  # erased meanwhile: nothing is left to decide about
        rule = self._rule(granted, part, keys.identity.token_key().token)
        if rule != Rule():
            told = seal_rule(told, rule, keys.identity.rules_key(), fresh_nonce())
        ledger = self._vault.epoch_key(pointer(view), self._tenant, "ledger")
        return seal_entry(
            told, Entry(lookup, person.generation, _task(granted.request, index, telling)), ledger, fresh_nonce()
        )

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
                name = decision_id(self._tenant, granted.case.jti, numbers[each.lookup], each.generation)
                decision = self._decision(granted, "access", name, each.pseudonym, view)
                entry = Entry(each.lookup, each.generation, _task(granted.request, _FORMER + at, told))
                found.append((_FORMER + at, seal_entry(decision, entry, ledger, fresh_nonce())))
        return found

    def _rule(self, granted: Granted, part: Part, token_of: Callable[[CallId], Any]) -> Rule:
        """What a decision says beyond its type."""
        request = granted.request
        facts = None
        if part.kind == "rectify" and request.facts:
            given = request.facts
            token = str(token_of(CallId(given.call_id)))
            facts = Correction(token=token, role=given.role, joined_at=given.joined_at, left_at=given.left_at)
        return Rule(range=span_of(request.range) if part.kind == "erase" else None, mask=part.mask, facts=facts)

    # --- the ledger ---------------------------------------------------------------------------------------------------

    def _decision(self, granted: Granted, kind: DecisionType, name: str, pseudonym: Pseudonym, view: View) -> Decision:
        now: datetime = self._clock.now()
        return Decision(
            v=version_at(self._ring.forms),
            decision=name,
            type=kind,
            tenant=self._tenant,
            case=granted.case.case,
            pseudonym=pseudonym,
            entry="",
            epoch=pointer(view),
            cut_off=granted.case.cut_off or now,
            pol=granted.version,
            at=now,
        )

    async def decided(self, case: Case, decisions: list[Decision]) -> Case:
        """The case names its decisions before the ledger has them; both are acknowledged on return."""
        names = tuple(dict.fromkeys((*case.decisions, *(each.decision for each in decisions))))
        if names != case.decisions:
            at_once = {each.decision: AT_ONCE for each in decisions if each.type in FLAGS}
            progress = at_once | case.progress
            case = await self._book.save(msgspec.structs.replace(case, decisions=names, progress=progress))
        await self._writer.write([self._ledger(decision) for decision in decisions])
        self._steps.reached("erase.decision")
        return case

    def _ledger(self, decision: Decision) -> Output:
        pseudonym = Pseudonym(decision.pseudonym)
        key = record_key(pseudonym, DecisionId(decision.decision))
        place = partition_of(pseudonym, self._settings.partitions)
        return Output(self._settings.topic("privacy.decisions"), place, key, encode(decision))
