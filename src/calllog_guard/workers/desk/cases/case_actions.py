"""
What acts on an open case: an officer's word, and the clock (identity shown, clarification or fee asked for and come).

Rules: 1. An act is bound to its place like a request: the same place resumes.  2. What was awaited leads on by
          itself where code may grant; never around an officer.  3. Only officers refuse.  4. What a person is told
          of an act is in the log before the case says so.
Source: docs/explanation/cases.md; `core/cases/case_states.py`.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, cast

import msgspec

from calllog_guard.core.cases.case import TOLD, Case, Moment, parted
from calllog_guard.core.cases.case_owner import Reason
from calllog_guard.core.cases.case_states import BESIDE, Event, after, approval, onward
from calllog_guard.core.cases.deadlines import check_extension
from calllog_guard.core.cases.notices import acknowledged, waited_for
from calllog_guard.core.codec import encode
from calllog_guard.core.crypto.jose import public_forms
from calllog_guard.core.policy.active import TenantPolicy
from calllog_guard.core.records import Output
from calllog_guard.core.requests.request import Request
from calllog_guard.core.requests.types import RESTRICTS, Requester
from calllog_guard.errors import CaseStateError, ParkedError
from calllog_guard.workers.desk.answers.notices import AWAITED, Given, Notices, Occasion
from calllog_guard.workers.desk.answers.prior_notices import Before
from calllog_guard.workers.desk.cases.terms import (
    absolute,
    awaited,
    braked,
    calendar,
    dated,
    dates,
    people_in,
    reviewed,
)
from calllog_guard.workers.desk.context import DeskContext
from calllog_guard.workers.desk.decisions.granted import Granted

_ASKED: Final[dict[str, Moment]] = {"ask_identity": "identity_asked_at", "ask_fee": "fee_asked_at"}
_CAME: Final[dict[str, Moment]] = {"verify": "identity_shown_at", "fee": "fee_paid_at"}
_LEADS_ON: Final = frozenset({"verify", "clarify", "fee"})
Carried = Callable[[Granted], Awaitable[Case]]
_BYTES: Final = {"officer": 524_288}
_BYTES_OTHERS: Final = 262_144
"""Up to which record size acts may add to a case: backends half of officers' size, these half of a topic's."""
Stage = Callable[[Case, str, str, Sequence[Output]], Awaitable[Case]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """An act with who did it, where and when, and the policy it is judged by."""

    request: Request
    place: tuple[int, int]
    role: Requester
    table: TenantPolicy
    version: str
    now: datetime
    appended_at: datetime


class Acts:
    """
    Applies acts to cases.

    Args:
        carried: Carries a case out, or restricts a person while an objection is considered; `stage` tells.
        reviewed: Ends that restriction.

    """

    def __init__(
        self,
        context: DeskContext,
        notices: Notices,
        before: Before,
        carried: Carried,
        stage: Stage,
        reviewed: Carried,
    ) -> None:
        self._book, self._notices, self._before, self._key_of = context.book, notices, before, context.policy.public_key
        self._carried, self._stage, self._reviewed = carried, stage, reviewed

    async def act(self, act: Act) -> None:
        """
        Apply one act, and what follows from it.

        Raises:
            CaseStateError: Not possible for this case now; the act is a dead letter, the case stays as it is.

        """
        case = self._book.get(act.request.case or "")
        if case is None:
            raise CaseStateError("unknown_case", "/case")
        if act.request.event in BESIDE:
            await self._beside(case, act)
            return
        if self._book.name_of(act.request, case) not in case.acts:
            case = await self._applied(case, act)
        if case.state == "refused" and case.refusal is None and not case.announcing:
            await self._refused(case, act)
        elif case.sealed and ((case.state == "enforcing" and not case.decided) or case.considered):
            await self._carried(self._granted(case, act))

    def _granted(self, case: Case, act: Act) -> Granted:
        return Granted(case, self._book.request_of(case), act.table, act.version, act.request.ground)

    async def _beside(self, case: Case, act: Act) -> None:
        """What concerns a case's notices alone: one was received, the person may be told by now, or still may not."""
        request, outputs = act.request, list[Output]()
        name = self._book.name_of(request, case)
        if name in case.acts:
            await self._before.acknowledged(case, act.version, act.table)
            return
        if request.event == "noticed":
            notices = acknowledged(case.notices, request.to or "", request.notice, act.now)
            if notices is None:
                raise CaseStateError("no_such_notice", "/to")
            case = msgspec.structs.replace(case, notices=notices)
        elif case.tell_at is None:
            raise CaseStateError("nothing_to_tell", "/case")
        elif request.event == "not_yet":
            case = msgspec.structs.replace(case, review_at=request.review_at)
        else:
            asked = self._book.request_of(case)
            case, outputs = self._notices.of(case, act.table, asked, Occasion("disclosed", act.appended_at))
            if not outputs:
                raise CaseStateError("nobody_to_tell", "/case")
            case = msgspec.structs.replace(case, sealed=None, review_at=None)
        case = msgspec.structs.replace(case, acts=case.acts | {name: act.place})
        check_size(case, act.role)
        case = await self._book.save(case, outputs)
        await self._before.acknowledged(case, act.version, act.table)

    async def _applied(self, case: Case, act: Act) -> Case:
        event, approvals = self._event(case, act)
        state, waits_for = after(case.state, case.waits_for, event)
        case = msgspec.structs.replace(_moved(case, event, act), approvals=approvals)
        if waits_for == "officer" and event in _LEADS_ON:
            request = self._book.request_of(case)
            free = absolute(request, act.table)
            following = onward(
                request.type,
                awaited=awaited(case, request),
                braked=braked(
                    self._book, request.type, act.table, act.now, case.asked_by, case.people or people_in(request)
                )
                and not free,
                review=reviewed(request, act.table),
                officer_asked=case.officer and not free,
            )
            if following is not None:
                state, waits_for = after(state, waits_for, following)
        case = msgspec.structs.replace(
            case,
            state=state or case.state,
            waits_for=waits_for,
            officer=case.officer or waits_for == "officer" or event.startswith("ask_"),
            acts=case.acts | {self._book.name_of(act.request): act.place},
            cut_off=act.now if state == "enforcing" and case.cut_off is None else case.cut_off,
        )
        case, outputs = dated(case, act.table), list[Output]()
        if event == "extend":
            asked, ground = self._book.request_of(case) if case.sealed else None, act.request.ground or ""
            case = await self._notices.remember(case, Reason(of="extended", text=ground, at=act.appended_at), asked)
            case, outputs = self._notices.of(case, act.table, asked, Occasion("extended", act.appended_at, ground))
        check_size(case, act.role)
        return await self._book.save(case, outputs)

    def _event(self, case: Case, act: Act) -> tuple[Event, tuple[str, ...]]:
        request = act.request
        if request.type in {"approve", "refuse"}:
            self._before.check_word(case, request.type, self._book.asked(case), act.table)
        if request.type == "refuse":
            return "refuse", case.approvals
        if request.type == "approve":
            kind = self._book.request_of(case).type if case.sealed else "clock"
            if case.type == "complain" and not request.ground:
                raise CaseStateError("no_answer", "/ground")
            if case.waits_for == "second_officer":
                self._check_keys(request.iss, case.approvals or (case.asked_by,), act.table)
            return approval(kind, case.waits_for, request.iss, asked_by=case.asked_by, approvals=case.approvals)
        event = cast("Event", request.event or "verify")
        weighs = event in {"ask_fee", "ask_clarification"} and case.sealed
        if weighs and absolute(self._book.request_of(case), act.table):
            raise CaseStateError("absolute", "/event")  # an identity may be asked for, and nothing else
        if event == "extend":
            check_extension(dates(case, act.table), act.appended_at, calendar(act.table))
        return event, case.approvals

    def _check_keys(self, by: str, first: Sequence[str], table: TenantPolicy) -> None:
        """Two officers are two keys, whatever they are called. Raises CaseStateError."""
        officers = {name: found for name, found in table.requesters.items() if name in {by, *first}}
        keys = {name: public_forms(self._key_of(found.key))[2] for name, found in officers.items()}
        if any(keys.get(name) == keys[by] for name in first):
            raise CaseStateError("same_officer")

    async def _refused(self, case: Case, act: Act) -> None:
        """Told with the reasons; the restriction that an objection brought ends. Raises ParkedError: that waits."""
        request, ground = self._book.asked(case), act.request.ground
        outputs = list[Output]()
        if (
            case.type != "disclose" or waited_for(case.type) in case.notices
        ):  # of one that they never heard of nobody is told
            case, outputs = self._notices.of(case, act.table, request, Occasion("refused", act.appended_at, ground))
        reason = Reason(of="refused", text=ground or "", at=act.appended_at)
        restricts = case.type in RESTRICTS
        if request is not None and restricts and case.decisions:  # unverified, it never restricted anybody
            later: Given | None = (
                {} if self._notices.forms >= AWAITED else None
            )  # recipients hear of it when it has ended
            case, lifting = self._notices.of(
                case, act.table, request, Occasion("lifting", act.appended_at, given=later)
            )
            waits = self._before.refused(case, act.table)
            if waits.announcing:
                await self._book.save(await self._notices.remember(waits, reason, request), [*outputs, *lifting])
                return
            case = await self._book.save(case, [*outputs, *lifting])
            try:
                case, outputs = await self._reviewed(Granted(case, request, act.table, act.version, ground)), []
            except ParkedError:  # whoever ends it later does not know the reasons any more
                await self._book.save(await self._notices.remember(case, reason, request))
                raise
        case = await self._notices.remember(case, reason, request)
        await self._ended(case, act.version, outputs)

    async def refused_again(self, granted: Granted) -> Case:
        """What is left of a refusal whose reasons are told. Raises ParkedError: it still waits."""
        case = granted.case
        restricted = case.type in RESTRICTS and case.decisions
        case = await self._reviewed(granted) if restricted else case
        outputs = list[Output]()
        if TOLD in case.stages:
            at = case.stages[TOLD]
            case, outputs = self._notices.of(case, granted.table, granted.request, Occasion("lifting", at))
        return await self._ended(case, granted.version, outputs)

    async def _ended(self, case: Case, version: str, outputs: Sequence[Output]) -> Case:
        return await self._stage(msgspec.structs.replace(parted(case), refusal="officer"), "refused", version, outputs)


def check_size(case: Case, role: Requester) -> None:
    """
    Whether an act may still be added to a case.

    Raises:
        CaseStateError: `case_full`; officers can still decide it when a backend can add nothing more.

    """
    if len(encode(case)) > _BYTES.get(role, _BYTES_OTHERS):
        raise CaseStateError("case_full", "/case")


def _moved(case: Case, event: Event, act: Act) -> Case:
    """
    The case with the moment of an act; what was asked for twice counts from the first time.

    What was asked or came earlier than it is written counts from then, but never from before the request nor later than
    the log dates it. An extension is told as it is written: no word of its own makes it timely.
    """
    at = max(case.received_at, min(act.request.received_at, act.appended_at))
    times, pauses = case.moments, case.pauses
    if event in _ASKED:
        times.setdefault(_ASKED[event], at)
    elif event in _CAME:
        times.setdefault(_CAME[event], at)
    elif event == "ask_clarification" and not (pauses and pauses[-1][1] is None):
        pauses = (*pauses, (at, None))
    elif event == "clarify" and pauses and pauses[-1][1] is None:
        pauses = (*pauses[:-1], (pauses[-1][0], max(at, pauses[-1][0])))
    elif event == "extend":
        times["extended_at"] = act.appended_at
    return msgspec.structs.replace(case, times=times, pauses=pauses)
