"""
Asks keepers what a case that is before an officer would touch: the briefing that is read before an approval.

Steps (for the crash tests): 1 case says whom it asks, 2 previews written.
Rules: 1. Nobody is minted and no entry changes: who is not known has no records.  2. No case waits for it: an approval
          that comes first is carried out as ever.  3. It is asked between units; ids derive from the case, the acts
          on it and when it said so: a repeat after a crash is the same question, and another act brings a new one.
       4. Of holds only those are named that are no secret.
From level 2 of forms on. Source: `core/decisions/preview.py`, docs/explanation/cases.md.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import msgspec

from calllog_guard.core.cases.case import Case
from calllog_guard.core.codec import encode, to_ms
from calllog_guard.core.decisions.decision import Decision, Entry, decision_id, seal_entry
from calllog_guard.core.decisions.hold import Terms
from calllog_guard.core.decisions.preview import FORMS, Preview, PreviewTask
from calllog_guard.core.identifiers import Lookup, Pseudonym, partition_of
from calllog_guard.core.policy.active import TenantPolicy
from calllog_guard.core.records import Output
from calllog_guard.core.requests.request import Request
from calllog_guard.core.requests.types import PREVIEWED
from calllog_guard.errors import IdentityMovedError, MessageError, ParkedError
from calllog_guard.ports.fault_injection import CrashPoints
from calllog_guard.workers.desk.context import DeskContext
from calllog_guard.workers.desk.decisions.disclosures import Disclosures
from calllog_guard.workers.desk.decisions.granted import Granted, Telling, mask_of, span_of
from calllog_guard.workers.desk.decisions.holds import Holds
from calllog_guard.workers.desk.decisions.subjects import Subjects
from calllog_guard.workers.keys.people.view import View, fresh_nonce, pointer

_AT_ONCE: Final = 20
"""Cases asked about between two units."""
_SEEN_AT_ONCE: Final = 1000
"""Cases looked at between two units: after a restart most have been asked about already."""
_LATER: Final = timedelta(minutes=1)
"""After this it is asked again what could not be asked."""
_FORMER: Final = 100
"""Earlier generations, of which copies are given, are numbered behind the subjects, as in an answer."""


class _Asked(NamedTuple):
    """The previews of a case, which holds conflict, and whether somebody's entry cannot be used."""

    decisions: tuple[Decision, ...]
    holds: tuple[str, ...]
    unsure: bool


class Previews:
    """One tenant's."""

    def __init__(self, context: DeskContext, holds: Holds, disclosures: Disclosures) -> None:
        self._a, self._book, self._ring = context, context.book, context.ring
        self._holds, self._disclosures = holds, disclosures
        self._subjects, self._steps = Subjects(context.ring, writes=False), CrashPoints(context.settings.off)
        self._asked: set[tuple[str, datetime]] = set()
        self._later: dict[str, datetime] = {}

    def begin(self) -> None:
        """The cases were read anew: what another desk has asked is asked once more."""
        self._asked.clear()
        self._later.clear()

    async def look(self, version: str, table: TenantPolicy) -> None:
        """Ask about cases that have come before an officer, and once more about those that could not be asked about."""
        if self._ring.forms < FORMS:
            return
        now = self._a.clock.now()
        again = [name for name, at in self._later.items() if at <= now]
        cases = {name: case for name in again if (case := self._book.get(name)) is not None and case.weighed}
        cases |= {case.case: case for case in self._book.weighed(_SEEN_AT_ONCE)}
        for name in again:
            del self._later[name]
        due = [case for case in cases.values() if self._due(case)]
        self._later |= {case.case: now for case in due}  # until they are asked about: keystore or log may be silent
        if due:
            await self._ask(due[:_AT_ONCE], version, table)

    def _due(self, case: Case) -> bool:
        if case.type not in PREVIEWED or case.sealed is None:
            return False
        before = case.preview
        if not before or before.number != len(case.acts):
            return True
        return bool(before.open) and (case.case, before.asked_at) not in self._asked

    async def _ask(self, cases: Sequence[Case], version: str, table: TenantPolicy) -> None:
        """Write the previews of some cases; these say first which, so that the answers are taken for theirs."""
        standing = [terms for _, terms in (await self._holds.standing()).values()]
        saved: list[Case] = []
        outputs: list[Output] = []
        for case in cases:
            begun = _begun(case, self._a.clock.now())
            asking = msgspec.structs.replace(case, preview=begun)
            try:
                asked = await self._planned(Granted(asking, self._book.request_of(case), table, version), standing)
            except (ParkedError, IdentityMovedError):  # nobody can tell yet whom it names
                self._later[case.case] = self._a.clock.now() + _LATER
                continue
            except MessageError:  # its request does not open: whoever decides it is told so
                self._later.pop(case.case, None)
                continue
            preview = _preview(begun, asked, anew=begun is not case.preview)
            saved.append(msgspec.structs.replace(case, preview=preview.closed(self._a.clock.now())))
            outputs += [self._a.decider.ledger(each) for each in asked.decisions if each.decision in preview.open]
        await self._book.save_all(saved, [])
        self._steps.reached("preview.case")
        await self._a.writer.write(outputs)
        for case in saved:
            self._later.pop(case.case, None)
        self._asked |= {(case.case, case.preview.asked_at) for case in saved if case.preview}

    async def _planned(self, granted: Granted, standing: Sequence[Terms]) -> _Asked:
        request = granted.request
        lookups = (await self._subjects.named(request)).lookups
        view = await self._ring.view(list(dict.fromkeys(lookups.values())))
        persons, unreadable = self._ring.persons(view)
        people = [
            (index, lookup, person.generation, person.pseudonym)
            for index, lookup in lookups.items()
            if (person := persons.get(lookup)) is not None and person.pseudonym is not None
        ]
        told = Telling()
        if request.type == "disclose":
            told = await self._disclosures.produced(granted, lookups, told)
            people += self._former(lookups, people, told)
        task = encode(_task(granted, told))
        decisions = tuple(self._decision(granted, one, task, view) for one in people)
        return _Asked(decisions, _conflicts(lookups.values(), standing), bool(unreadable))

    def _former(
        self, lookups: Mapping[int, Lookup], people: list[tuple[int, Lookup, int, Pseudonym]], told: Telling
    ) -> list[tuple[int, Lookup, int, Pseudonym]]:
        """Who has copies left and nothing else, each partition asked once about each person."""
        many, numbers = self._a.settings.partitions, {lookup: index for index, lookup in lookups.items()}
        asked = {(lookup, partition_of(pseudonym, many)) for _, lookup, _, pseudonym in people}
        found: list[tuple[int, Lookup, int, Pseudonym]] = []
        for each in told.former:
            place = (each.lookup, partition_of(each.pseudonym, many))
            if each.lookup in numbers and place not in asked:
                asked.add(place)
                found.append((_FORMER + numbers[each.lookup], each.lookup, each.generation, each.pseudonym))
        return found

    def _decision(self, granted: Granted, one: tuple[int, Lookup, int, Pseudonym], task: bytes, view: View) -> Decision:
        index, lookup, generation, pseudonym = one
        case, number = granted.case, len(granted.case.acts)
        asked_at = to_ms(case.preview.asked_at) if case.preview else 0  # a case may come before an officer again
        name = decision_id(self._a.tenant, f"{case.case} preview {number} {asked_at}", index, generation)
        bare = self._a.decider.decision(granted, "preview", name, pseudonym, view)
        ledger = self._a.vault.epoch_key(pointer(view), self._a.tenant, "ledger")
        return seal_entry(bare, Entry(lookup, generation, task), ledger, fresh_nonce())


def _begun(case: Case, now: datetime) -> Preview:
    """What is asked about a case now; or what a desk has asked whose answers are still to come."""
    before, number = case.preview, len(case.acts)
    return before if before and before.number == number else Preview(number=number, asked_at=now)


def _preview(begun: Preview, asked: _Asked, *, anew: bool) -> Preview:
    """What the case says of it from now on."""
    names = tuple(each.decision for each in asked.decisions)
    if anew:
        return msgspec.structs.replace(begun, open=names, holds=asked.holds, unsure=asked.unsure)
    # what was asked of somebody who is gone meanwhile is answered by nobody
    left = tuple(each for each in begun.open if each in names)
    return msgspec.structs.replace(begun, open=left, unsure=begun.unsure or left != begun.open)


def _conflicts(lookups: Collection[Lookup], standing: Sequence[Terms]) -> tuple[str, ...]:
    """The holds over somebody named that may be told of, by their names."""
    named = [terms for terms in standing if not set(lookups).isdisjoint(terms.subjects)]
    return tuple(terms.name for terms in named if not terms.secret)


def _task(granted: Granted, told: Telling) -> PreviewTask:
    request: Request = granted.request
    mask = mask_of(request.purposes, granted.table)
    return PreviewTask(of=PREVIEWED[request.type], range=span_of(request.range), mask=mask, holds=told.holds)
