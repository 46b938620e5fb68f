"""
Tells recipients and the person what became of a case, each notice sealed to whom it is for.

Rules: 1. A notice is acknowledged by the log before the case says so (`Casebook.save` writes in that order): a
          crash between the two sends it again by the same name, readers keep the first of a case, addressee and kind.
       2. What must be told before (a restriction's end, a disclosure) is a stage that waits (`prior_notices.py`).
       3. Anyone the policy omits is told by whoever asked: nothing is sent, and the case says so by saying nothing.
       4. A recipient hears of those whose records it got, once keepers have answered for all: until then the
          case keeps its request, sealed. An erasure of some days is told when it is done: until then they may be read.
Source: docs/explanation/cases.md; GDPR Art. 12(3), 12(4), 18(3), 19.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec

from calllog_guard.core.cases.case import TOLD, TRACED_FROM, Case, Doubt, parted
from calllog_guard.core.cases.case_owner import Reason
from calllog_guard.core.cases.notices import (
    PERSON,
    KeptFor,
    Notice,
    Remedies,
    Sent,
    Words,
    act_by,
    for_recipient,
    name_of,
    told_before,
)
from calllog_guard.core.codec import encode
from calllog_guard.core.crypto.jose import seal_to
from calllog_guard.core.decisions.outcome import Outcome
from calllog_guard.core.identifiers import named_call
from calllog_guard.core.policy.active import TenantPolicy
from calllog_guard.core.policy.facts import said
from calllog_guard.core.policy.recipients import given_to
from calllog_guard.core.records import Output
from calllog_guard.core.requests.fields import Facts
from calllog_guard.core.requests.request import Request
from calllog_guard.core.requests.types import TYPES, NoticeKind
from calllog_guard.core.retention.purposes import due_day
from calllog_guard.core.topics import Topic
from calllog_guard.errors import CaseStateError
from calllog_guard.reports.notice import Sender, letter
from calllog_guard.workers.desk.cases.case_owners import Owners
from calllog_guard.workers.desk.context import DeskContext
from calllog_guard.workers.desk.decisions.granted import Granted

AWAITED: Final = 2
"""From this level of forms on the person is told before, and recipients when it is done."""
LETTERS: Final = 2
"""From this level of forms on a notice has its letter: who reads notices may refuse fields that they do not know."""
_REASONED: Final = frozenset({"extended", "refused", "answered"})
_ALWAYS: Final = frozenset({"answered", "received"})
_DATED: Final = frozenset({"extended", "received"})
_BEFORE: Final = frozenset({"lifting", "disclosed"})
_REMEDIES: Final = frozenset({"refused", "answered"})
_DONE: Final = frozenset({"destroyed", "tombstoned", "rewritten", "failed"})
Given = Mapping[str, tuple[str, ...]]
"""By recipient, of whom it was given records."""
Told = tuple[Case, list[Output]]
"""The case that remembers the notices, and the notices: to be written before it."""


@dataclass(frozen=True, slots=True)
class Occasion:
    """
    What somebody is told of.

    Args:
        at: A time that a repeat knows too, so that it says the same.
        ground: The officer's reasons.
        given: By recipient, of whom it was given records, where the case's own decisions do not say it.

    """

    kind: NoticeKind
    at: datetime
    ground: str | None = None
    given: Given | None = None


class Notices:
    """One tenant's notices."""

    def __init__(self, context: DeskContext, owners: Owners) -> None:
        self._tenant, self._home, self._book = context.tenant, context.home, context.book
        self._policy, self._owners = context.policy, owners
        self._topic = context.settings.topic(Topic.NOTICES)

    @property
    def forms(self) -> int:
        """The level of stored forms that is written now."""
        return self._owners.forms

    def _addressees(
        self, case: Case, table: TenantPolicy, kind: NoticeKind, given: Given
    ) -> Iterator[tuple[str, bytes, tuple[str, ...]]]:
        """Who is told of this kind, each with the public key and of whom; what was done to nobody is told to nobody."""
        person = table.person_notices
        if case.of_nothing and kind not in _REASONED:
            return
        if person is not None and (kind in _ALWAYS or kind in person.told):
            yield PERSON, self._policy.public_key(person.key), ()
        for name, recipient in table.recipients.items():
            if kind in recipient.told and name in given:
                yield name, self._policy.public_key(recipient.key), given[name]

    def of(self, case: Case, table: TenantPolicy, request: Request | None, what: Occasion) -> Told:
        """
        The notices of one kind that were not sent yet; those to recipients once it is known whom records went to.

        Args:
            request: None where it is no longer kept: the person is then known by ticket and request alone.

        """
        kind, at, given = what.kind, what.at, what.given
        words = self._words(case, kind, table, request, at, what.ground)
        if given is None:
            given = self._given(case, kind, table, words.subjects)
            if given is None:
                case, given = msgspec.structs.replace(case, untold=(case.untold or {}) | {kind: at}), {}
        outputs, sent = [], {}
        for to, key, subjects in self._addressees(case, table, kind, given):
            if name_of(to, kind) in case.notices:
                continue
            told = words if to == PERSON else for_recipient(msgspec.structs.replace(words, subjects=subjects))
            if self._owners.forms >= LETTERS:
                told = msgspec.structs.replace(told, nothing=case.of_nothing or msgspec.UNSET)
                told = msgspec.structs.replace(told, text=letter(told, to, self._sender(case, table)))
            content = encode(told)
            notice = Notice(case=case.case, to=to, kind=kind, act_by=words.act_by, jwe=seal_to(key, to, content))
            outputs.append(Output(self._topic, self._home, case.case.encode(), encode(notice)))
            sent[name_of(to, kind)] = Sent(sent_at=at, act_by=words.act_by)
        return (msgspec.structs.replace(case, notices=case.notices | sent), outputs) if outputs else (case, [])

    def _given(self, case: Case, kind: NoticeKind, table: TenantPolicy, subjects: tuple[str, ...]) -> Given | None:
        """By recipient, whose records it got; None where keepers have yet to say so and somebody is to be told."""
        wanted = [name for name, recipient in table.recipients.items() if kind in recipient.told]
        if case.of_nothing or not wanted:
            return {}
        if self._owners.forms < TRACED_FROM:
            return dict.fromkeys(wanted, subjects)
        traces = [trace for _, trace in case.traces_of(kind)]
        if any(trace.given is msgspec.UNSET for trace in traces):
            return None
        places: dict[str, set[int]] = {}
        for trace in traces:
            for name in trace.given or ():
                places.setdefault(name, set()).add(trace.place)
        return {name: tuple(subjects[at] for at in sorted(some) if at < len(subjects)) for name, some in places.items()}

    def heard(self, case: Case, outcome: Outcome, table: TenantPolicy) -> Told:
        """
        The case after a keeper has said where records had gone, and what recipients are told by that.

        A keeper that did a thing without saying so is an earlier release's: then nobody can tell, and all are told.
        """
        trace = (case.traces or {}).get(outcome.decision)
        if trace is None or not (
            outcome.stage == "traced" or (trace.given is msgspec.UNSET and outcome.stage in _DONE)
        ):
            return self._told_at_last(case, table, outcome.stage)
        doubt: Doubt | None = (outcome.unsure or None) if outcome.stage == "traced" else "untraced"
        unsure = doubt is not None and (outcome.legs > 0 or outcome.stage == "failed")
        found = given_to(table, outcome.readers or (), self._authorities(outcome), unsure=unsure)
        given = tuple(dict.fromkeys((*(trace.given or ()), *found)))
        trace = msgspec.structs.replace(trace, given=given, unsure=doubt if unsure and doubt else trace.unsure)
        case = msgspec.structs.replace(case, traces=(case.traces or {}) | {outcome.decision: trace})
        return self._told_at_last(case, table, outcome.stage)

    def _told_at_last(self, case: Case, table: TenantPolicy, stage: str) -> Told:
        """What recipients could not be told before."""
        outputs: list[Output] = []
        under_way = case.type == "erase" and case.ranged and "tombstoned" not in case.stages and stage != "failed"
        if not case.untold or under_way:
            return case, outputs
        for kind, at in case.untold.items():
            if all(trace.given is not msgspec.UNSET for _, trace in case.traces_of(kind)):
                case, more = self.of(case, table, self._book.asked(case), Occasion(kind, at))
                left = {name: at for name, at in (case.untold or {}).items() if name != kind}
                case = msgspec.structs.replace(case, untold=left or msgspec.UNSET)
                outputs += more
        rests = (case.decided or "refused" in case.stages) and not case.correcting
        return (parted(case) if rests else case), outputs

    def _authorities(self, outcome: Outcome) -> list[str]:
        """To whom the person's records were disclosed, as far as it opens; secret holds are left out."""
        named = [case for name in outcome.disclosures or () if (case := self._book.get(name)) is not None]
        cases = [case for case in named if not case.secret]
        found: list[str] = []
        for case in cases:
            with suppress(CaseStateError):
                filed = self._book.filed_of(case) if "exported" in case.stages else None
                found += [filed.authority] if filed else []
        return found

    @staticmethod
    def _sender(case: Case, table: TenantPolicy) -> Sender:
        titles = {name: text for name, each in table.recipients.items() if (text := said(each.title)) is not None}
        return Sender(
            company=said(table.controller),
            contact=said(table.contact),
            authority=table.authority,
            zone=table.calendar.zone,
            titles=titles,
            purposes={name: said(each.why) or name for name, each in table.purposes.items()},
            asked=case.type,
            received_at=case.received_at,
            before=not case.decided,
        )

    def _words(
        self,
        case: Case,
        kind: NoticeKind,
        table: TenantPolicy,
        request: Request | None,
        at: datetime,
        ground: str | None,
    ) -> Words:
        disclosed = kind == "disclosed" and request is not None
        kept = _kept(case, kind, table, at) if self._owners.forms >= LETTERS else ()
        return Words(
            v=1,
            kind=kind,
            tenant=self._tenant,
            case=case.case,
            subjects=request.subjects if request else (),
            range=request.range if request else None,
            facts=self._corrected(request) if request and kind == "rectified" else None,
            purposes=(request.purposes or ()) if request else (),
            ticket=case.ticket,
            request=case.jti,
            ground=ground if kind in _REASONED else None,
            authority=request.authority if request and disclosed else None,
            basis=request.basis if request and disclosed else None,
            due=case.due if kind in _DATED else None,
            remedies=Remedies(authority=table.authority) if kind in _REMEDIES or kept else None,
            kept=kept or msgspec.UNSET,
            act_by=act_by(at, table.days_to_tell) if kind in _BEFORE else act_by(at),
            at=at,
        )

    def _corrected(self, request: Request) -> Facts | None:
        """What was corrected, the call named as readers' lines and exports name it."""
        facts, calls = request.facts, self._owners.calls
        if facts is None or calls is None:
            return facts
        return msgspec.structs.replace(
            facts, call_id=calls.reference(named_call(facts.call_id, facts.occurrence)), occurrence=None
        )

    async def remember(self, case: Case, act: Reason, request: Request | None) -> Case:
        """What an officer tells the person stays in the case, for the person's own answer."""
        return await self._owners.said(case, request, act)

    def before(self, granted: Granted, subjects: tuple[str, ...], given: Given | None = None) -> Told | None:
        """
        What must be told before a request is carried out, of those whom it concerns; None where nothing must.

        Args:
            given: By recipient, of whom it was given records, where other cases say it. A recipient may use the data
                when a restriction has ended, and hears of it then.

        """
        case, request = granted.case, msgspec.structs.replace(granted.request, subjects=subjects)
        kind = told_before(request, ends_review=bool(case.approvals))
        if kind is None or not subjects:
            return None
        if TOLD not in case.stages and self.forms >= AWAITED:
            given = {}
        at = case.stages.get(TOLD) or case.cut_off or case.opened_at
        return self.of(case, granted.table, request, Occasion(kind, at, given=given))

    async def carried_out(self, granted: Granted, case: Case) -> Told:
        """
        What is told once a request has been carried out, or that there was nothing to which it could be done.

        The case keeps the request where recipients can be told later only.
        """
        kind = TYPES[granted.request.type].notice
        if case.of_nothing and (kind is not None or case.type == "lift"):
            kind = "answered"
        if kind is None:
            return case, []
        at = case.cut_off or case.opened_at
        case, outputs = self.of(case, granted.table, granted.request, Occasion(kind, at, granted.ground))
        if case.untold and case.sealed is None:
            case = await self._book.sealed(case, granted.request)
        return case, outputs


def _kept(case: Case, kind: NoticeKind, table: TenantPolicy, at: datetime) -> tuple[KeptFor, ...]:
    """What law keeps beyond this erasure, if anything: the keepers have not looked yet, and letters do not wait."""
    again = kind == "answered" and bool(case.kept)
    if case.type != "erase" or not (kind == "erased" or again):
        return ()
    return tuple(
        KeptFor(
            purpose=each.name,
            why=said(table.purposes[each.name].why),
            until=due_day(at.date(), each.bit, (each,)).isoformat(),
        )
        for each in table.listed()
        if each.survives_erasure
    )
