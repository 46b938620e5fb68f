"""
Ends restrictions: finds which stand on a person and where each comes from, and ends those that whoever asks may end.

Rules: 1. The ledger says which stand, the casebook from whom; it is read only for people who are restricted.
       2. An end of all is one decision without a rule; an end of some is one per restriction, in the name of its case.
       3. It may be done again after a crash: what has ended stands no more, and the flags are told whole.
       4. On whom a `same_as` alone makes the same person it ends what it ends on those named, and nothing of their own.
Source: GDPR Art. 18(1) and (3); `core/decisions/restriction.py`, `core/decisions/standing_rules.py`.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from calllog_guard.core.cases.case import TOLD, TRACED_FROM, Case
from calllog_guard.core.crypto.entries import Person
from calllog_guard.core.decisions.decision import Decision, decision_in, open_entry
from calllog_guard.core.decisions.outcome import DONE, is_result
from calllog_guard.core.decisions.restriction import RESTORE, Origin, StandingRestriction, ended_by
from calllog_guard.core.decisions.standing_rules import ALONE, REVIEW, Standing, open_rule
from calllog_guard.core.identifiers import EpochName, Lookup, Pseudonym, partition_of
from calllog_guard.core.policy.active import TenantPolicy
from calllog_guard.core.requests.types import RESTRICTIONS
from calllog_guard.core.topics import Topic
from calllog_guard.errors import EpochUnknownError, MessageError, UntracedError
from calllog_guard.workers.desk.answers.notices import Given
from calllog_guard.workers.desk.context import DeskContext
from calllog_guard.workers.desk.decisions.granted import Granted, PlannedDecision

OFFICERS: Final = "+officer"
"""Ends the name of a case that puts on all what an officer, or nobody knows who, put on one; no `jti` has a plus."""
_LEVEL: Final = 2
"""From this level of forms on a case says which restrictions its lift has met."""


@dataclass(frozen=True, slots=True)
class Met:
    """A restricted person as a lift meets them: what stands, and what of it ends."""

    subject: str
    person: Person
    standing: tuple[StandingRestriction, ...]
    ending: tuple[StandingRestriction, ...]

    @property
    def left(self) -> tuple[StandingRestriction, ...]:
        """What stands afterwards."""
        return tuple(each for each in self.standing if each not in self.ending)


class Lifting:
    """One tenant's lifts."""

    def __init__(self, context: DeskContext) -> None:
        self._a, self._policy, self._ring = context, context.policy, context.ring

    async def met(self, granted: Granted) -> dict[Lookup, Met]:
        """Everyone named who is restricted."""
        request, case = granted.request, granted.case
        named = await self._a.decider.subjects.named(request)
        lookups = named.lookups
        view = await self._ring.view(list(lookups.values()))
        people = {lookup: self._ring.person(lookup, raw) for lookup, raw in view.raw.items()}
        officer = bool(case.approvals) or self._role(case) == "officer"
        found: dict[Lookup, Met] = {}
        ends = {name for name, word in (case.lifts or {}).items() if word == "ended"}  # before a crash
        for index, lookup in sorted(lookups.items(), key=lambda item: item[0] in named.said):
            person = people[lookup]
            if person is not None and person.pseudonym is not None and person.closed:
                standing = await self.standing(person, person.pseudonym)
                before = [each for each in standing if not self._since(each, case)]
                ending = ended_by(before, officer=officer, named=request.case)
                if index in named.said:
                    ending = tuple(each for each in ending if each.case in ends - {RESTORE})
                else:
                    ends |= {each.case for each in ending}
                if ending or index not in named.said:
                    found.setdefault(lookup, Met(request.subjects[named.places[index]], person, standing, ending))
        return found

    def _since(self, each: StandingRestriction, case: Case) -> bool:
        """Whether a restriction was asked for after the lift, while the person was being told of that."""
        brought = self._a.book.get(each.case)
        return brought is not None and (brought.appended_at, brought.place) > (case.appended_at, case.place)

    def given(self, granted: Granted, met: Mapping[Lookup, Met]) -> Given | None:
        """
        By recipient, whose records it got, by the cases whose restrictions end; None where the case itself says it.

        Raises:
            UntracedError: A keeper has still to say so of one.

        """
        table = granted.table
        told = any("lifting" in each.told for each in table.recipients.values())
        if self._ring.forms < TRACED_FROM or not told:
            return None
        brought = self._brought(granted.case)  # a crash came behind the decision: nothing stands any more
        ended = {each.subject: each.standing or brought for each in met.values() if not each.left}
        if self._repeated(granted.case, met):
            ended = dict.fromkeys(granted.request.subjects, brought)
        elif not met:
            return None
        found: dict[str, dict[str, None]] = {}
        for subject, standing in ended.items():
            for name in self._given(standing, table):
                found.setdefault(name, {})[subject] = None
        return {name: tuple(subjects) for name, subjects in found.items()}

    def _brought(self, case: Case) -> tuple[StandingRestriction, ...]:
        """The restrictions that a lift has ended, as their cases say them."""
        cases = {name: self._a.book.get(name) for name in case.lifts or ()}
        return tuple(
            StandingRestriction(name, "unknown", tuple((each.traces or {}) if each is not None else ()))
            for name, each in cases.items()
        )

    def _given(self, standing: Sequence[StandingRestriction], table: TenantPolicy) -> set[str]:
        found: set[str] = set()
        for restriction in standing:
            case = self._a.book.get(restriction.case)
            traces = (case.traces or {}) if case is not None else {}
            mine = [traces[name] for name in restriction.decisions if name in traces]
            if any(trace.given is msgspec.UNSET for trace in mine):
                raise UntracedError("whom the person's records were given to is not known yet")
            if not mine:  # an earlier release's, or a restore's: whoever was told of it, or could not be
                notices = case.notices if case is not None else {}
                told = {name for name, each in table.recipients.items() if "restricted" in each.told}
                found |= {
                    name
                    for name in table.recipients
                    if case is None or name not in told or f"{name}/restricted" in notices
                }
            found |= {name for trace in mine for name in trace.given or ()}
        return found

    @staticmethod
    def _repeated(case: Case, met: Mapping[Lookup, Met]) -> bool:
        """Whether a crash came between the end of the restrictions and the notice of it."""
        return not met and TOLD in case.stages and bool(case.lifts) and set((case.lifts or {}).values()) == {"ended"}

    def told(self, granted: Granted, met: Mapping[Lookup, Met]) -> tuple[str, ...]:
        """Of whom no restriction is left: they are told before it ends, and recipients once it has (Art. 18(3))."""
        if self._repeated(granted.case, met):
            return granted.request.subjects
        return tuple(each.subject for each in met.values() if not each.left)

    async def lift(self, granted: Granted, met: Mapping[Lookup, Met]) -> Case:
        """Decide, then set the flags of everyone met by what is left."""
        parts = [part for lookup, each in met.items() for part in _parts(lookup, each)]
        case = self._noted(granted.case, met)
        if parts:
            case = (await self._a.decider.decide(replace(granted, case=case), tuple(parts))).case
        for lookup, each in met.items():
            await self._ring.change(lookup, _flagged(each.left), generation=each.person.generation)
        return case

    def _noted(self, case: Case, met: Mapping[Lookup, Met]) -> Case:
        """The case with what it has met; what it has ended already, before a crash, stays ended."""
        if self._ring.forms < _LEVEL:
            return case
        before = {} if case.lifts is msgspec.UNSET else case.lifts
        stands = {each.case: "stands" for one in met.values() for each in one.left}
        ended = {each.case: "ended" for one in met.values() for each in one.ending}
        ended |= {name: word for name, word in before.items() if word == "ended"}
        return msgspec.structs.replace(case, lifts=stands | ended)

    # --- what stands --------------------------------------------------------------------------------------------------

    async def standing(self, person: Person, pseudonym: Pseudonym) -> tuple[StandingRestriction, ...]:
        """The restrictions that stand on a person. Raises EntryUnreadableError."""
        keys = await self._ring.keys_of(pseudonym)
        standing, restricts, made = Standing(), False, defaultdict[str, list[str]](list)
        for decision in await self._decisions(pseudonym) if keys is not None else ():
            rule = open_rule(decision, keys.identity.rules_key()) if keys is not None else None
            if rule is not None:
                standing = standing.after(decision, rule)
                made[decision.case] += [decision.decision] if decision.type == "restrict" else []
                restricts = restricts or (decision.type == "restrict" and not rule.mask)
        found = [
            StandingRestriction(case, self._origin(case), tuple(made[case])) for case in sorted(standing.restrictions)
        ]
        found += [StandingRestriction(case, "objection", tuple(made[case])) for case in sorted(standing.reviews)]
        # the first form of entries has no room for it: there it is what no decision about this pseudonym accounts for
        if person.imposed or (person.restricted and not restricts):
            found.append(StandingRestriction(RESTORE, "restore"))
        return tuple(found)

    async def _decisions(self, pseudonym: Pseudonym) -> list[Decision]:
        """The person's restrictions and their ends in the order of the ledger."""
        settings = self._a.settings
        topic, home = settings.topic(Topic.DECISIONS), partition_of(pseudonym, settings.partitions)
        start = pseudonym.encode() + b"."
        records = [each for each in await self._a.log.read_all(topic, [home]) if (each.key or b"").startswith(start)]
        done = {each.key for each in records if each.key and is_result(each.key)}
        found = [
            decision
            for each in records
            if each.value is not None and each.key not in done and (decision := self._read(each, done)) is not None
        ]
        return sorted(found, key=lambda each: each.turn)

    def _read(self, record: Any, done: Sequence[bytes] | set[bytes]) -> Decision | None:
        """A restriction or its end, which a desk has sealed; None for any other decision."""
        with suppress(MessageError):
            decision = decision_in(record, self._a.ring.guard.proofs)
            if decision.type not in RESTRICTIONS:
                return None
            try:
                open_entry(decision, self._a.vault.epoch_key(EpochName(decision.epoch), self._a.tenant, "ledger"))
            except EpochUnknownError:
                return decision if record.key + DONE in done else None
            return decision
        return None

    def _origin(self, name: str) -> Origin:
        case = self._a.book.get(name)
        if case is None:
            return "unknown"
        if case.type == "object":
            return "objection"
        if case.jti.endswith(OFFICERS):
            return "officer"
        role = self._role(case)
        return "backend" if role == "backend" else "officer" if role == "officer" else "unknown"

    def _role(self, case: Case) -> str | None:
        """What a requester was when they asked: whatever a later version makes of them, they began what they began."""
        for version in reversed(self._policy.history):
            table = version.tenant.get(self._a.tenant)
            if version.effective <= case.opened_at.date() and table is not None and case.asked_by in table.requesters:
                return table.requesters[case.asked_by].role
        return None


def _parts(lookup: Lookup, met: Met) -> list[PlannedDecision]:
    if not met.ending:
        return []
    if not met.left:
        return [PlannedDecision("lift", only=lookup)]
    return [
        PlannedDecision("lift", mask=REVIEW if each.origin == "objection" else ALONE, case=each.case, only=lookup)
        for each in met.ending
        if each.case != RESTORE
    ]


def _flagged(left: Sequence[StandingRestriction]) -> Any:
    origins = {each.origin for each in left}
    restricted = bool(origins - {"objection"})
    reviewed, imposed = "objection" in origins, "restore" in origins

    def flagged(person: Person) -> Person:
        return replace(person, restricted=restricted, reviewed=reviewed, imposed=imposed)

    return flagged
