"""
What the person must be told before it is done: a disclosure, and the end of a restriction. A stage that waits.

Steps (numbered for the crash tests): 1 notice written, 2 case waits, 3 acknowledged or its days gone by, 4 carried out.
Rules: 1. Nothing is decided before the gateway's acknowledgement is in the case, or the days of the policy are over.
       2. Where no gateway tells the person of it, it is refused before it begins, and never done in silence.
       3. Due dates go on, nobody else's request waits, and an officer may still refuse it.
       4. Days pass only while the clocks agree: what has been disclosed is not taken back.
Only from the second level of forms on. Source: docs/adr/0016-before-means-before.md; GDPR Art. 18(3), 12(3).
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import msgspec
import structlog

from calllog_guard.core.cases.case import ANNOUNCED, TOLD, Case
from calllog_guard.core.cases.case_states import after
from calllog_guard.core.cases.notices import act_by, told_before, waited_for
from calllog_guard.core.cases.request_check import check_told
from calllog_guard.core.policy.active import TenantPolicy
from calllog_guard.core.records import Output
from calllog_guard.core.requests.request import Request
from calllog_guard.core.requests.types import RESTRICTS
from calllog_guard.errors import CaseStateError, MessageError, ParkedError
from calllog_guard.ports.fault_injection import CrashPoints
from calllog_guard.workers.desk.answers.notices import AWAITED, Given, Notices, Told
from calllog_guard.workers.desk.context import DeskContext
from calllog_guard.workers.desk.decisions.granted import Granted
from calllog_guard.workers.runtime.clocks import Agree

log: Final = structlog.get_logger()
_EVERY: Final = timedelta(minutes=1)
Carried = Callable[[Granted], Awaitable[Case]]
Stage = Callable[[Case, str, str, Sequence[Output]], Awaitable[Case]]


class Before:
    """
    One tenant's cases that wait until the person has been told.

    Args:
        stage: Saves a case behind its notices.
        carried: Carries a case out, or has it wait for what is missing.

    """

    def __init__(self, context: DeskContext, notices: Notices, stage: Stage, carried: Carried) -> None:
        self._book, self._notices, self._stage, self._carried = context.book, notices, stage, carried
        self._clock, self._steps, self._first = context.clock, CrashPoints(context.settings.off), False
        self._next = context.clock.now()

    def begin(self) -> None:
        """The cases were read anew: what another desk has begun goes on at once."""
        self._next, self._first = self._clock.now(), True

    # --- refused before it begins -------------------------------------------------------------------------------------

    def check_request(self, request: Request, table: TenantPolicy) -> None:
        """
        Whether somebody tells the person of what is asked for.

        Raises:
            RequestRefusedError: `nobody_to_tell`: the policy names no gateway that is told of this kind.

        """
        if self._applies:
            check_told(request, table)

    def check_word(self, case: Case, word: str, request: Request | None, table: TenantPolicy) -> None:
        """
        As `check_request`, of an officer's `approve` or `refuse`: the policy may differ; both end a restriction.

        Raises:
            CaseStateError: `nobody_to_tell`; the act is a dead letter, and the case stays as it is.

        """
        restricts = case.type in RESTRICTS and bool(case.decisions)
        kind = None
        if word == "refuse" and restricts:
            kind = "lifting"
        elif word != "refuse" and request is not None and (case.type != "object" or restricts):
            kind = told_before(request, ends_review=True)
        if kind is not None and self._applies and not case.of_nothing and not table.tells(kind):
            raise CaseStateError("nobody_to_tell", "/case")

    @property
    def _applies(self) -> bool:
        return self._notices.forms >= AWAITED

    # --- told, and awaited --------------------------------------------------------------------------------------------

    async def told(self, granted: Granted, subjects: tuple[str, ...]) -> Granted:
        """
        Tell what must be told before a request is carried out, of those whom it concerns; on return the log has it.

        The case waits (`announcing`) until the person was told; after that nothing is left to tell before.

        Raises:
            ParkedError: The policy does not name any more who would tell the person: wait until it does.

        """
        found = self._notices.before(granted, subjects)
        if found is None or (self._applies and ANNOUNCED in granted.case.stages):
            return granted
        case, outputs = found
        if case.of_nothing:
            return granted
        if not self._applies:
            if case is not granted.case:
                case = await self._book.save(case, outputs)
                self._steps.reached("notices.before")
            return replace(granted, case=case)
        if case.sealed is None:
            case = await self._book.sealed(case, granted.request)
        state, waits_for = after(case.state, case.waits_for, "announce")
        case = msgspec.structs.replace(case, state=state or case.state, waits_for=waits_for)
        case = await self._stage(self._awaited(case, granted.table), ANNOUNCED, granted.version, outputs)
        self._steps.reached("notices.before")
        return replace(granted, case=case)

    def refused(self, case: Case, table: TenantPolicy) -> Case:
        """A refused objection: its answer is given, and the restriction ends when the person was told of that."""
        if not self._applies or case.of_nothing or TOLD in case.stages:
            return case
        stages = {name: at for name, at in case.stages.items() if name != ANNOUNCED}
        stages[ANNOUNCED] = case.stages.get(ANNOUNCED, self._clock.now())
        return msgspec.structs.replace(self._awaited(case, table), waits_for="notice", stages=stages)

    def done(self, granted: Granted, case: Case, subjects: tuple[str, ...], given: Given | None) -> Told:
        """Once it is done those are told who were given the data and may use them again."""
        if TOLD not in case.stages:
            return case, []
        return self._notices.before(replace(granted, case=case), subjects, given) or (case, [])

    def _awaited(self, case: Case, table: TenantPolicy) -> Case:
        """The case with the day when it goes on unacknowledged: so many after it was told, whatever the wait before."""
        name = waited_for(case.type)
        sent = case.notices.get(name)
        if sent is None:
            raise ParkedError("nobody would tell the person before it is done: name person_notices in the policy")
        last = max(sent.act_by, act_by(self._clock.now(), table.days_to_tell))
        return msgspec.structs.replace(case, notices=case.notices | {name: msgspec.structs.replace(sent, act_by=last)})

    # --- and done -----------------------------------------------------------------------------------------------------

    async def look(self, version: str, table: TenantPolicy, agree: Agree) -> None:
        """Carry out, once a minute, what was acknowledged before a crash or may go on by its days."""
        now = self._clock.now()
        if now < self._next:
            return
        first, self._next, self._first = self._first, now + _EVERY, False
        for case in [each for each in self._book if each.announcing or (first and _half(each))]:
            if not case.announcing or _acknowledged(case) or (_over(case, now) and await agree()):
                await self._done(case, version, table)

    async def acknowledged(self, case: Case, version: str, table: TenantPolicy) -> None:
        """Somebody has acknowledged a notice of a case, perhaps before a crash: it goes on if it was the one."""
        if (case.announcing and _acknowledged(case)) or _half(case):
            await self._done(case, version, table)

    async def _done(self, case: Case, version: str, table: TenantPolicy) -> None:
        try:
            request = self._book.request_of(case)
        except MessageError as error:  # an officer can refuse it
            log.error("a case cannot go on", why=error.reason, case=case.case)  # noqa: TRY400
            return
        if case.announcing:
            state = after(case.state, case.waits_for, "told")[0] if case.state == "waiting" else case.state
            stages = case.stages | {TOLD: self._clock.now()}
            changed = msgspec.structs.replace(case, state=state or case.state, waits_for=None, stages=stages)
            case = await self._book.save(changed)
            self._steps.reached("notices.told")
        await self._carried(Granted(case, request, table, version, waited=True))


def _half(case: Case) -> bool:
    """Whether the person was told and a crash came before it was carried out."""
    left = (case.state == "enforcing" and not case.decided) or (
        case.state == "refused" and "refused" not in case.stages
    )
    return TOLD in case.stages and case.sealed is not None and left


def _acknowledged(case: Case) -> bool:
    sent = case.notices.get(waited_for(case.type))
    return sent is not None and sent.acknowledged_at is not None


def _over(case: Case, now: datetime) -> bool:
    sent = case.notices.get(waited_for(case.type))
    return sent is not None and sent.act_by <= now
