"""
What the desk does for a granted request: it decides, fences, answers, tells; each step is repeatable after a crash.

Source: docs/explanation/design.md, docs/explanation/cases.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

import msgspec
import structlog

from calllog_guard.core.cases.case import UNFOUND, Case, ended_at, parted
from calllog_guard.core.cases.case_owner import Reason
from calllog_guard.core.cases.case_states import after, opening
from calllog_guard.core.cases.receipt import CERTIFIED
from calllog_guard.core.codec import from_ms
from calllog_guard.core.identifiers import Lookup
from calllog_guard.core.policy.active import TenantPolicy
from calllog_guard.core.records import Output
from calllog_guard.core.requests.request import Request
from calllog_guard.core.requests.types import LINKS, OWN, TYPES, kinds
from calllog_guard.errors import EntryUnreadableError, HoldReleasedError, HoldsFullError, MessageError
from calllog_guard.metrics import Counters
from calllog_guard.ports.fault_injection import CrashPoints
from calllog_guard.workers.desk.answers.answers import Answers
from calllog_guard.workers.desk.answers.notices import AWAITED, Notices, Occasion
from calllog_guard.workers.desk.answers.prior_notices import Before
from calllog_guard.workers.desk.answers.receipts import NAMED, ReceiptSigner
from calllog_guard.workers.desk.cases.case_actions import Acts
from calllog_guard.workers.desk.cases.case_owners import Owners
from calllog_guard.workers.desk.cases.case_store import COUNTED
from calllog_guard.workers.desk.cases.deadlines import timed
from calllog_guard.workers.desk.cases.terms import absolute, braked, dated, people_in, reviewed, role_of
from calllog_guard.workers.desk.cases.unfound import Unfound, afresh, found, was_considered
from calllog_guard.workers.desk.cases.waiting import WaitingCases, named
from calllog_guard.workers.desk.context import DeskContext
from calllog_guard.workers.desk.decisions.disclosures import Disclosures
from calllog_guard.workers.desk.decisions.granted import (
    LAW,
    Granted,
    Telling,
    at_rest,
    consent_of,
    considered,
    ended,
    mask_of,
    parts_of,
)
from calllog_guard.workers.desk.decisions.holds import Holds
from calllog_guard.workers.desk.decisions.lifts import Lifting, Met
from calllog_guard.workers.desk.decisions.linking import Linking
from calllog_guard.workers.desk.decisions.previews import Previews
from calllog_guard.workers.desk.decisions.search import Searcher
from calllog_guard.workers.desk.decisions.unwritten import without_unwritten
from calllog_guard.workers.runtime.parallel import Turns

log: Final = structlog.get_logger()


_FENCES: Final = kinds(lambda row: row.fence)
"""What takes effect in the keystore at once: from `fenced` on nothing is opened or stored against it."""


class CaseExecution:
    """What a desk does for a granted request, until it is done and told."""

    def __init__(self, desk: DeskContext) -> None:
        book, settings = desk.book, desk.settings
        self._o, self._book, self._steps = desk, book, CrashPoints(settings.off)
        self._keep = timedelta(days=settings.cases_keep_days)
        self._owners, self._holds, self._receipts = Owners(desk.ring, desk.decider), Holds(desk), ReceiptSigner(desk)
        self._answers, self._notices = Answers(desk, self._owners), Notices(desk, self._owners)
        self._searcher, self._lifting, self._disclosures = Searcher(desk), Lifting(desk), Disclosures(self._holds)
        self._previews = Previews(desk, self._holds, self._disclosures)
        self._unfound = Unfound(book, self._notices, self._owners, self.stage)
        self._waiting = WaitingCases(book, desk.decider, self._carry, self._table, desk.count)
        carried = self._waiting.carried
        self._before = Before(desk, self._notices, self.stage, carried)
        self._acts = Acts(desk, self._notices, self._before, carried, self.stage, self._reviewed)
        self._linking = Linking(desk, self._lifting, self._asked, carried)
        self._turns = Turns()

    def _table(self) -> tuple[str, TenantPolicy]:
        version = self._o.policy.at(self._o.clock.now().date())
        return version.effective.isoformat(), version.tenant[self._o.tenant]

    async def _asked(self, jti: str, request: Request, record: Any, table: TenantPolicy, version: str) -> None:
        """One case: opened, and carried out as far as code may."""
        case = self._book.get(self._book.case_of(request.iss, jti))
        if case is None:
            case = await self._opened(jti, request, record, table, version)
        half = case.state not in {"waiting", "refused"} and not case.decided  # the keeper may have been done first
        if half or case.considered:
            await self._waiting.carried(Granted(case, request, table, version))

    async def _opened(self, jti: str, request: Request, record: Any, table: TenantPolicy, version: str) -> Case:
        held = await self._holds.named(request)
        now, kind, appended_at = self._o.clock.now(), request.type, from_ms(record.timestamp)
        people = people_in(request) + await self._o.decider.subjects.more(request)
        place = (record.partition, record.offset)
        await self._turns.come(place)
        event = opening(
            kind,
            role_of(request.iss, table),
            verified=request.identity == "verified",
            braked=braked(self._book, kind, table, now, request.iss, people) and not absolute(request, table),
            review=reviewed(request, table),
        )
        state, waits_for = after(None, None, event)
        case = Case(
            case=self._book.case_of(request.iss, jti),
            tenant=self._o.tenant,
            type=kind,
            state=state or "waiting",
            waits_for=waits_for,
            ticket=request.ticket,
            received_at=min(request.received_at, appended_at),  # a sender's clock puts no date off
            due="",
            law_due=None,
            jti=jti,
            place=place,
            appended_at=appended_at,
            cut_off=max(now, appended_at) if state == "enforcing" else None,
            opened_at=now,
            asked_by=request.iss,
            people=people if people > 1 and self._owners.forms >= COUNTED else msgspec.UNSET,
            ranged=request.range is not None,
            consent=consent_of(request),
            hold=held[0],
            secret=held[1],
            review_at=self._review_at(request, secret=held[1]),
            officer=waits_for == "officer",
        )
        case = dated(case, table)
        gone = state == "enforcing" and kind == "erase" and request.range is None  # nobody is left who could ask
        if kind in OWN and not gone:
            case = await self._owners.opened(case, request)
        if state == "waiting":
            case = await self._book.sealed(case, request)
        with self._book.begun(case):
            await self._turns.passed(place)
            case, told = self._received(case, request, table)
            case = await self.stage(case, "accepted", version, told)
        self._steps.reached("erase.case")
        return case

    def _review_at(self, request: Request, *, secret: bool) -> datetime | None:
        """When a hold is to be looked at again, where its case may tell of it; of a disclosure that is known later."""
        known = request.hold is not None and request.type == "hold" and not secret and self._owners.forms >= COUNTED
        return request.hold.review_at if known and request.hold else None

    def _received(self, case: Case, request: Request, table: TenantPolicy) -> tuple[Case, list[Output]]:
        """Whoever complains is told that it has come (DPA 2018 s.164A)."""
        if request.type != "complain" or self._notices.forms < AWAITED:
            return case, []
        return self._notices.of(case, table, request, Occasion("received", case.appended_at))

    async def _carry(self, granted: Granted) -> Case:
        """What is to be done for a case now, until it is done. May be called again after a crash."""
        state = granted.case.state
        try:
            if state == "refused":
                return await self._acts.refused_again(granted)
            return await (self._considered if state == "waiting" else self._enforced)(granted)
        except MessageError as error:
            if not granted.waited:
                raise
            return await self._failed(granted, error)

    async def _failed(self, granted: Granted, error: MessageError) -> Case:
        """
        What waited has become impossible, and no record of it is left that could be a dead letter: its case says so.

        An officer decides what is to become of it; a hold that was released meanwhile has ended.
        """
        case = self._book.get(granted.case.case) or granted.case
        self._o.count(Counters.decisions_failed, not case.secret)
        log.error("a case cannot be carried out: an officer must look", why=error.reason, **named(case))
        if case.state != "enforcing":  # an officer has it, or has refused it
            return case
        if isinstance(error, HoldReleasedError):
            case = msgspec.structs.replace(parted(case), state="refused", refusal=error.reason)
            return await self._book.save(ended_at(case, self._o.clock.now(), self._keep))
        return await self._book.save(msgspec.structs.replace(case, state="waiting", waits_for="officer", officer=True))

    async def _enforced(self, granted: Granted) -> Case:
        """Carry a granted request out; the receipt of the fence ends it. May be called again after a crash."""
        request = granted.request
        lookups = await self._o.decider.lookups(request)
        told = await self._holds.renewed(granted.version, lookups.values())
        if request.type == "disclose":
            told = await self._disclosures.produced(granted, lookups, told)
        # after a crash a hold may just have decided for this very case: go on from there
        before = self._book.get(granted.case.case) or granted.case
        left = [each.lookup for each in told.former]
        left += [each.lookup for each in told.law if request.type in LAW]
        case = await self._o.decider.subjects.matched(afresh(before), request, left)
        granted = replace(granted, case=found(case, before))
        if self._unfound.asks(granted):
            case = await self._unfound.put(granted)
            return await self._considered(replace(granted, case=case)) if case.considered else case
        if self._unfound.ends(granted.case):
            return await self._unfound.answered(granted)
        case, anything = await self._disclosures.looked(granted, told)
        if not anything and UNFOUND not in case.stages:
            return await self._unfound.put(replace(granted, case=case))
        granted = replace(granted, case=case)
        return await self._done(await self._unfound.kept(granted), told)

    async def _done(self, granted: Granted, told: Telling) -> Case:
        """What a request asks for is decided, and told."""
        request = granted.request
        met = await self._lifting.met(granted) if request.type == "lift" else {}
        subjects = self._lifting.told(granted, met) if request.type == "lift" else request.subjects
        granted = await self._before.told(granted, subjects)
        if granted.case.announcing:
            return granted.case
        given = self._lifting.given(granted, met)
        case = await self._decided(granted, told, met)
        if self._unfound.undecided(case):
            return await self._unfound.put(replace(granted, case=case))
        if case.type == "erase":
            again = [*told.kept, *([{"basis": "legal_duty"}] if told.law else [])]
            kept = (*again, *(each for each in case.kept if each not in again))
            case = msgspec.structs.replace(case, kept=kept)
        later = self._unfound.later(case)
        case, notices = (case, []) if later else await self._notices.carried_out(granted, case)
        case, more = self._before.done(granted, case, subjects, given)
        if granted.ground and case.type == "complain":
            answer = Reason(of="answered", text=granted.ground, at=case.cut_off or case.opened_at)
            case = await self._notices.remember(case, answer, request)
        case = case if later else at_rest(case, request)
        fences = case.type in _FENCES and not (case.type == "erase" and case.ranged)
        stage = "fenced" if fences else "answered" if case.type == "complain" else "decided"
        if request.reply_key is not None and not case.decisions:  # the desk's part is the whole answer
            case = msgspec.structs.replace(case, stages=case.stages | {"decided": self._o.clock.now()})
            stage = "exported"
        case = await self.stage(case, stage, granted.version, [*notices, *more])
        self._steps.reached("erase.receipt")
        return case

    async def _decided(self, granted: Granted, told: Telling, met: Mapping[Lookup, Met]) -> Case:
        """A request's decisions are in the ledger, its fence or flags in the keystore, and other notes are written."""
        request, case = granted.request, granted.case
        if request.type == "erase" and request.range is None:
            return await self._erased(granted)
        if request.type == "hold":
            return await self._holds.hold(granted)
        if request.type == "release":
            return await self._holds.release(granted)
        if request.type == "lift":
            return await self._lifting.lift(granted, met)
        if request.type in LINKS:
            return await (self._linking.joined if TYPES[request.type].several else self._linking.parted)(granted)
        if told.full:
            raise HoldsFullError("a hold that names one of these people has no room yet")
        mask = mask_of(request.purposes, granted.table)
        parts = parts_of(request, mask, reviewed=bool(case.approvals) and was_considered(case))
        case, indexes, written = await self._o.decider.decide(granted, parts, told)
        case = await without_unwritten(self._o, case, written)
        return await self._answers.write(replace(granted, case=case), told, indexes)

    async def _erased(self, granted: Granted) -> Case:
        """Everyone named is fenced; unusable entries are first looked for in the log, slowly: raises ParkedError."""
        renewed = partial(self._holds.renewed, granted.version)
        try:
            return await self._o.decider.erase(granted, renewed)
        except EntryUnreadableError:
            case = await self._searcher.search(granted)
            return await self._o.decider.erase(replace(granted, case=case), renewed)

    async def _considered(self, granted: Granted) -> Case:
        """An officer has an objection before them: meanwhile the person is restricted. Repeatable after a crash."""
        case = await self._o.decider.subjects.matched(granted.case, granted.request)
        part = considered(mask_of(granted.request.purposes, granted.table))
        case = (await self._o.decider.decide(replace(granted, case=case), (part,))).case
        told, outputs = self._notices.of(case, granted.table, granted.request, Occasion("restricted", case.opened_at))
        return case if told is case else await self._o.book.save(told, outputs)

    async def _reviewed(self, granted: Granted) -> Case:
        """An officer has refused an objection: the restriction that it brought ends."""
        part = ended(mask_of(granted.request.purposes, granted.table))
        return (await self._o.decider.decide(granted, (part,))).case

    async def stage(self, case: Case, stage: str, version: str, notices: Sequence[Output] = ()) -> Case:
        """The case has reached a stage: saved behind its receipt and its notices."""
        now = self._o.clock.now()
        before, case = case, msgspec.structs.replace(case, stages=case.stages | {stage: now})
        case = ended_at(case, now, self._keep)
        timed(before, case, self._o.count)
        self._disclosures.ended(case)
        told = [self._receipts.of(case, stage, now, version)] if self._certified(case, stage) else []
        return await self._book.save(case, [*told, *notices])

    def _certified(self, case: Case, stage: str) -> bool:
        """Whether a stage ends in a receipt; see CERTIFIED."""
        if stage == "decided":  # a release before the second level of forms refuses what it does not know
            return case.state == "closed" and self._o.ring.forms >= NAMED
        return stage in CERTIFIED and (stage != "rewritten" or case.type == "rectify")
