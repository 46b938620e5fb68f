"""
What the desk tells beside the records that keepers send: to a person, to an authority; sealed to the asker's key.

Rules: 1. Written before the case says that it was decided: a crash in between writes it again, and the last counts.
       2. Only the people asked about are looked up; their cases are found by what was decided about them.
Source: GDPR Art. 15, 20; `core/answers/person.py`.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from calllog_guard.core.answers import person
from calllog_guard.core.answers.about import About
from calllog_guard.core.answers.parts import DisclosureTerms, Part, first_of, split
from calllog_guard.core.answers.person import Asked, Flags, Known, OwnCase
from calllog_guard.core.cases.case import Case
from calllog_guard.core.cases.case_owner import Reason
from calllog_guard.core.cases.notices import Filed
from calllog_guard.core.crypto.entries import Keys, Person
from calllog_guard.core.decisions.decision import decision_in
from calllog_guard.core.decisions.outcome import is_result
from calllog_guard.core.decisions.standing_rules import open_rule
from calllog_guard.core.identifiers import INTERNAL_KEY, Lookup, Pseudonym, partition_of
from calllog_guard.core.policy.active import TenantPolicy
from calllog_guard.core.requests.request import Request
from calllog_guard.core.requests.types import OWN
from calllog_guard.core.topics import Topic
from calllog_guard.errors import CaseStateError, MessageError
from calllog_guard.workers.desk.cases.case_owners import Owners
from calllog_guard.workers.desk.context import DeskContext
from calllog_guard.workers.desk.decisions.granted import Granted, Telling, span_of
from calllog_guard.workers.runtime.answer_parts import sealed_part

_ID: Final = 22


@dataclass(frozen=True, slots=True)
class _Found:
    """
    Who of those asked about is known, and their cases.

    Args:
        masks: By case, the purposes it was about.
        reasons: By case, what officers told them.

    """

    living: Mapping[Lookup, Person]
    cases: Sequence[Case]
    masks: Mapping[str, int]
    reasons: Mapping[str, tuple[Reason, ...]]


class Answers:
    """One tenant's answers."""

    def __init__(self, context: DeskContext, owners: Owners) -> None:
        self._a, self._owners = context, owners

    async def write(self, granted: Granted, told: Telling, indexes: Sequence[int]) -> Case:
        """
        Write what is told beside the records; the case knows the digests of it.

        Args:
            indexes: The places in the request of whose records keepers will send.

        """
        case, request = granted.case, granted.request
        if request.reply_key is None:
            return case
        groups = (1, *(first_of(index) for index in indexes))
        abouts = split(await self._about(granted, told, groups))
        terms = _terms(case, request) if request.type == "disclose" else None
        outputs, digests = [], []
        for number, about in enumerate(abouts, 1):
            part = Part(case=case.case, part=number, parts=len(abouts), about=about, legs=(), disclosure=terms)
            output, digest = sealed_part(self._a.settings, self._a.home, part, request.reply_key, secret=case.secret)
            outputs.append(output)
            digests.append(digest)
        await self._a.writer.write(outputs)
        return msgspec.structs.replace(case, digests=case.digests | {case.case: tuple(digests)})

    async def _about(self, granted: Granted, told: Telling, groups: tuple[int, ...]) -> About:
        case, request, table = granted.case, granted.request, granted.table
        asked = Asked(received_at=case.received_at, at=self._a.clock.now(), groups=groups)
        base = person.plain(table, self._a.tenant, granted.version)
        if self._a.ring.calls is not None:
            base = msgspec.structs.replace(base, calls="reference")
        bare = Known(subjects=request.subjects, linked=case.linked)
        if request.type == "disclose":
            return person.disclosure(base, bare, asked)
        if request.type == "portability":
            return person.portability(base, table, bare, asked)
        found = await self._found(set((await self._a.decider.lookups(request)).values()))
        known = Known(
            subjects=request.subjects,
            linked=case.linked,
            flags=[_flags(each) for each in found.living.values()],
            cases=_own(found, case, table),
            disclosed=[pair for each in found.cases if (pair := self._disclosed(each)) is not None],
            kept=told.kept,
            law=law_of(told),
        )
        return person.access(base, table, known, asked)

    async def _found(self, lookups: Collection[Lookup]) -> _Found:
        a = self._a
        view = await a.ring.view(list(lookups))
        persons = {lookup: a.ring.person(lookup, raw) for lookup, raw in view.raw.items()}
        living = {lookup: each for lookup, each in persons.items() if each is not None and each.pseudonym is not None}
        names = [each.pseudonym for each in living.values() if each.pseudonym]
        keys = {name: found for name in names if (found := await a.ring.keys_of(name)) is not None}
        masks = await self._decided(keys)
        theirs = [case for case in a.book if case.type in OWN]
        reasons = await self._owners.of(theirs, [each.identity for each in keys.values()])
        cases = [case for name in {**masks, **reasons} if (case := a.book.get(name)) is not None and not case.secret]
        return _Found(living, sorted(cases, key=lambda case: (case.received_at, case.place)), masks, reasons)

    async def _decided(self, keys: Mapping[Pseudonym, Keys]) -> dict[str, int]:
        """The cases with a decision about some people, and its purposes, from the ledger."""
        topic, found = self._a.settings.topic(Topic.DECISIONS), dict[str, int]()
        places = sorted({partition_of(each, self._a.settings.partitions) for each in keys})
        for record in await self._a.log.read_all(topic, places) if places else ():
            key = record.key or INTERNAL_KEY
            if record.value is None or key[:1] == INTERNAL_KEY or is_result(key):
                continue
            own = keys.get(Pseudonym(key[:_ID].decode("ascii", "replace")))
            if own is None:
                continue
            try:
                decision = decision_in(record, self._a.ring.guard.proofs)
                mask = open_rule(decision, own.identity.rules_key()).mask
            except MessageError:
                continue  # not written by a desk
            found[decision.case] = found.get(decision.case, 0) | mask
        return found

    def _disclosed(self, case: Case) -> tuple[Case, Filed] | None:
        try:
            filed = self._a.book.filed_of(case) if case.type == "disclose" else None
        except CaseStateError:
            return None  # nobody's desk sealed it so: the renewal of sealed parts tells of it
        return (case, filed) if filed is not None else None


def law_of(told: Telling) -> list[tuple[int, str]]:
    """The purposes for which law keeps copies, by number, each with the last of its days."""
    found: dict[int, str] = {}
    for each in told.law:
        found[each.copy.purpose] = max(each.copy.until, found.get(each.copy.purpose, ""))
    return sorted(found.items())


def _own(found: _Found, present: Case, table: TenantPolicy) -> list[OwnCase]:
    """The person's own cases, the present one too where nothing was decided in it."""
    own = [case for case in found.cases if case.type in OWN and case.case != present.case]
    return [
        OwnCase(
            case=case,
            purposes=person.names(table, found.masks.get(case.case, 0)),
            reasons=found.reasons.get(case.case, ()),
        )
        for case in (*own, present)
    ]


def _flags(each: Person) -> Flags:
    return Flags(
        restricted=each.restricted,
        considered=each.reviewed,
        objected=each.objected,
        withdrawn=each.withdrawn,
        consented=each.consented,
    )


def _terms(case: Case, request: Request) -> DisclosureTerms:
    told = case.notices.get("person/disclosed")
    return DisclosureTerms(
        authority=request.authority or "",
        basis=request.basis or "",
        asked_by=case.asked_by,
        approvals=case.approvals,
        asked_at=case.received_at,
        decided_at=case.cut_off,
        range=span_of(request.range),
        notify=request.notify or "before",
        told_at=told.sent_at if told else None,
    )
