"""
Carries out that several identifiers are one person (`same_as`), and that they are not any more (`not_same_as`).

Steps (for the crash tests): 1 decision written, 2 entries written, 3 what stands on one asked for of all.
Rules: 1. One decision says a whole group, sealed, under a pseudonym of nobody's: the ledger names none of its people.
       2. All of them lie in one partition, so that a replay has one order of them.
       3. What stands on one of them (restriction, objection, withdrawal) is asked for of all, as cases of their own.
       4. An end concerns the future alone: what was done stays, and what stands on each stays on each.
Source: docs/adr/0019-several-identifiers.md, docs/explanation/cases.md; GDPR Art. 5(1)(d), 18, 21, 7(3).
"""

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import replace
from typing import Any, Final, cast

import msgspec

from calllog_guard.core.answers.person import names
from calllog_guard.core.cases.case import Case
from calllog_guard.core.codec import encode, to_ms
from calllog_guard.core.crypto.entries import Person
from calllog_guard.core.crypto.same_person import SAME_MOST, Linked, Sameness
from calllog_guard.core.decisions.decision import Entry, decision_id, seal_entry
from calllog_guard.core.identifiers import DecisionId, Lookup
from calllog_guard.core.policy.active import TenantPolicy
from calllog_guard.core.requests.request import Request
from calllog_guard.core.requests.types import LINKS, DecisionType, Kind
from calllog_guard.errors import RequestRefusedError
from calllog_guard.ports.fault_injection import CrashPoints
from calllog_guard.workers.desk.cases.terms import apart
from calllog_guard.workers.desk.context import DeskContext
from calllog_guard.workers.desk.decisions.disclosures import LogPlace
from calllog_guard.workers.desk.decisions.granted import Granted
from calllog_guard.workers.desk.decisions.lifts import OFFICERS, Lifting
from calllog_guard.workers.keys.people.view import fresh_nonce, pointer

FORMS: Final = 2
LEDGER: Final = 0
"""The partition of the ledger in which all decisions of these types lie."""
_GROUND: Final = "It stands for this person under another identifier."
_Groups = tuple[tuple[Linked, ...], ...]
_Ask = Callable[[str, Request, Any, TenantPolicy, str], Awaitable[None]]
_Consider = Callable[[Granted], Awaitable[Case]]


class Linking:
    """
    One tenant's.

    Args:
        ask: Opens the case of a request that follows from another, and carries it out.
        consider: Carries out what an officer's case does before it is decided.

    """

    def __init__(self, context: DeskContext, lifting: Lifting, ask: _Ask, consider: _Consider) -> None:
        self._a, self._ring, self._decider = context, context.ring, context.decider
        self._lifting, self._ask, self._consider = lifting, ask, consider
        self._steps = CrashPoints(context.settings.off)

    # --- before a case is opened --------------------------------------------------------------------------------------

    async def check_request(self, request: Request) -> None:
        """
        Whether this can be said of these identifiers.

        Raises:
            RequestRefusedError: `older_forms`; `one_identifier`: all are one person's by the rules of identity already;
                `too_many_identifiers`; `not_linked`: no `same_as` says anything of them.

        """
        if request.type not in LINKS:
            return
        if self._ring.forms < FORMS:
            raise RequestRefusedError("older_forms", "/type")
        subjects = self._decider.subjects
        if request.type == "not_same_as":
            if not await subjects.linked(request):
                raise RequestRefusedError("not_linked", "/subjects")
        elif await subjects.alike(request):
            raise RequestRefusedError("one_identifier", "/subjects")
        elif len(await subjects.known(request)) > SAME_MOST:
            raise RequestRefusedError("too_many_identifiers", "/subjects")

    # --- carrying out -------------------------------------------------------------------------------------------------

    async def joined(self, granted: Granted) -> Case:
        """Everybody whom the identifiers name, or lead to, is one person from now on; who was never seen is minted."""
        case, named = granted.case, await self._decider.subjects.named(granted.request)
        if case.unknown and case != self._a.book.get(case.case):
            case = await self._a.book.save(case)  # once they are minted, nobody could tell that nobody was known
        _, people = await self._decider.there(granted, named.lookups, mint=True)
        case = await self._told(replace(granted, case=case), (_group(people, people),))
        await self._on_all(granted, people)
        await self._considered(granted, people)
        self._steps.reached("same.stands")
        return case

    async def parted(self, granted: Granted) -> Case:
        """Those named are nobody else any more; the others of their groups stay one."""
        named = await self._decider.subjects.named(granted.request)
        _, people = await self._decider.there(granted, named.lookups, mint=False)
        rest: dict[int, list[Lookup]] = {}
        for number in sorted(named.said):
            rest.setdefault(named.places[number], []).append(named.lookups[number])
        own = [lookup for number, lookup in named.lookups.items() if number not in named.said]
        groups = (*(_group(people, some) for some in rest.values()), *(_group(people, [each]) for each in own))
        return await self._told(granted, tuple(group for group in groups if group))

    async def _told(self, granted: Granted, groups: _Groups) -> Case:
        """The decision is in the ledger, then in the entries; nothing is written where they say so already."""
        case, tenant, links = granted.case, self._a.tenant, self._decider.links
        if not groups or not groups[0] or await links.stand(groups):
            return case
        view = await self._ring.view([])
        ledger = self._a.vault.epoch_key(pointer(view), tenant, "ledger")
        name = decision_id(tenant, case.name, 0, 0)
        nobody = self._decider.nobody(DecisionId(f"{name}.same"), LEDGER, ledger)
        told = self._decider.decision(granted, cast("DecisionType", granted.request.type), name, nobody, view)
        entry = Entry(groups[0][0].lookup, 0, encode(Sameness(groups=groups)))
        case = await self._decider.decided(case, [seal_entry(told, entry, ledger, fresh_nonce())])
        await links.write(groups)
        self._steps.reached("same.written")
        return case

    # --- what stands --------------------------------------------------------------------------------------------------

    async def _on_all(self, granted: Granted, people: Mapping[Lookup, Person]) -> None:
        """What stands on one and not on all is asked for of all: cases of their own, with receipts and notices."""
        asked, table, book = granted.request, granted.table, self._a.book
        spot = LogPlace(*granted.case.place, to_ms(granted.case.appended_at))
        for kind, mask, lacks in _standing(people.values()):
            purposes = names(table, mask) if mask else None
            if purposes == ():
                continue  # the policy has none of them any more: nothing is kept for them
            ground = None if kind == "withdraw" else _GROUND
            own = msgspec.structs.replace(asked, type=kind, purposes=purposes, ground=ground, identity="verified")
            name = f"{granted.case.jti}+{kind}" + (await self._officers(people) if kind == "restrict" else "")
            for jti, part in apart(name, own, table):
                if lacks or book.get(book.case_of(asked.iss, jti)) is not None:  # half done before a crash
                    await self._ask(jti, part, spot, table, granted.version)

    async def _officers(self, people: Mapping[Lookup, Person]) -> str:
        """How the name of a case ends that puts on all what a backend may not end (`lifts.py`)."""
        living = [(each, each.pseudonym) for each in people.values() if each.pseudonym and each.closed]
        origins = {one.origin for person, name in living for one in await self._lifting.standing(person, name)}
        return OFFICERS if origins - {"backend", "objection", "restore"} else ""

    async def _considered(self, granted: Granted, people: Mapping[Lookup, Person]) -> None:
        """While an officer has an objection of one of them, all are restricted."""
        if len({each.reviewed for each in people.values()}) < 2:  # noqa: PLR2004 - on all, or on nobody
            return
        for case in self._a.book.considered():
            if case.considered and (asked := self._a.book.asked(case)) is not None:
                about = await self._decider.subjects.known(asked)
                if not people.keys().isdisjoint(about):
                    await self._consider(Granted(case, asked, granted.table, granted.version))


def _group(people: Mapping[Lookup, Person], wanted: Collection[Lookup]) -> tuple[Linked, ...]:
    found = [Linked(who=each, generation=people[each].generation) for each in wanted if each in people]
    return tuple(sorted(found, key=lambda each: each.who))


def _standing(people: Collection[Person]) -> list[tuple[Kind, int, bool]]:
    """By type, the purposes of what stands on any of some people, and whether it does not stand on all of them."""
    found: list[tuple[Kind, int, bool]] = []
    if any(each.restricted and not each.imposed for each in people):
        found.append(("restrict", 0, not all(each.restricted for each in people)))
    objected = [each.objected for each in people]
    withdrawn = [each.withdrawn for each in people]
    for kind, masks in (("object", objected), ("withdraw", withdrawn)):
        mask = 0
        for each in masks:
            mask |= each
        if mask:
            found.append((cast("Kind", kind), mask, any(each != mask for each in masks)))
    return found
