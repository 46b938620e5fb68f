"""
Where nobody, or nothing, was found: the case goes to an officer, and nothing is said to be done of nothing.

Rules: 1. What is its own answer (an erasure, a copy, a consent) is given; all else would close as done, so an officer
          says what it comes to.  2. Until then whoever may still come is restricted, where that was asked for.
       3. A correction is told once a keeper has made it: until then its case keeps the request, sealed.
Only from the second level of forms on. Source: docs/explanation/cases.md; GDPR Art. 5(1)(d), 16, 19, 22.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

import msgspec

from calllog_guard.core.cases.case import UNFOUND, Case, parted
from calllog_guard.core.cases.case_states import after
from calllog_guard.core.policy.active import TenantPolicy
from calllog_guard.core.records import Output
from calllog_guard.core.requests.types import TYPES, kinds
from calllog_guard.workers.desk.answers.notices import Notices, Occasion
from calllog_guard.workers.desk.cases.case_owners import Owners
from calllog_guard.workers.desk.cases.case_store import Casebook
from calllog_guard.workers.desk.cases.terms import absolute
from calllog_guard.workers.desk.decisions.granted import Granted

FORMS: Final = 2
_MOMENTARY: Final = kinds(lambda row: row.momentary)
"""What an officer can only answer: it concerns what is there now."""
_NOW: Final = _MOMENTARY | {"disclose"}
"""What is looked for anew when an officer has spoken."""
Stage = Callable[[Case, str, str, Sequence[Output]], Awaitable[Case]]


class Unfound:
    """One tenant's cases in which nobody or nothing was found."""

    def __init__(self, book: Casebook, notices: Notices, owners: Owners, stage: Stage) -> None:
        self._book, self._notices, self._owners, self._stage = book, notices, owners, stage

    @staticmethod
    def asks(granted: Granted) -> bool:
        """Whether an officer is still to say what a request comes to of whom nobody is known."""
        case, request = granted.case, granted.request
        seen = UNFOUND in case.stages or (case.type == "object" and bool(case.approvals))
        return case.known is False and TYPES[request.type].unfound and not seen and not absolute(request, granted.table)

    async def put(self, granted: Granted) -> Case:
        """Put a case before an officer, with its request; whoever asked has a receipt that says so."""
        case = granted.case
        if case.sealed is None:
            case = await self._book.sealed(case, granted.request)
        return await self._stage(_waiting(case), UNFOUND, granted.version, ())

    async def kept(self, granted: Granted) -> Granted:
        """A correction keeps its request from before it is decided: its keeper may be done before the desk is."""
        case, request = granted.case, granted.request
        if request.type != "rectify" or case.sealed is not None or case.decisions or self._owners.forms < FORMS:
            return granted
        return replace(granted, case=await self._book.save(await self._book.sealed(case, request)))

    @staticmethod
    def later(case: Case) -> bool:
        """Whether a correction is to be told once it is made."""
        return case.correcting and bool(case.sealed)

    def undecided(self, case: Case) -> bool:
        """Whether a correction is about nobody who lives: of somebody known copies alone are left."""
        return case.type == "rectify" and not case.decisions and self._owners.forms >= FORMS

    @staticmethod
    def ends(case: Case) -> bool:
        """Whether an officer has said all that there is to say."""
        return UNFOUND in case.stages and case.type in _MOMENTARY

    async def answered(self, granted: Granted) -> Case:
        """An officer has said that nothing is to be done."""
        case, notices = await self._notices.carried_out(granted, granted.case)
        closed = msgspec.structs.replace(parted(case), state="closed")
        return await self._stage(closed, "answered", granted.version, notices)

    def made(
        self, case: Case, reached: list[str], table: TenantPolicy, now: datetime
    ) -> tuple[Case, list[str], list[Output]]:
        """A correction once keepers made it, new stages and what is told; an officer has it where no leg was found."""
        if case.type != "rectify" or case.sealed is None or "rewritten" not in reached:
            return case, reached, []
        if not sum(case.legs.values()):
            case = _waiting(msgspec.structs.replace(case, state="enforcing"))
            return msgspec.structs.replace(case, stages=case.stages | {UNFOUND: now}), [UNFOUND], []
        at = case.cut_off or case.opened_at
        case, outputs = self._notices.of(case, table, self._book.asked(case), Occasion("rectified", at))
        return parted(case), reached, outputs


def afresh(case: Case) -> Case:
    """The case before it is looked who is known: meanwhile somebody may have come who can be corrected or freed."""
    if case.type not in _NOW or case.decisions or case.known is not False:
        return case
    return msgspec.structs.replace(case, known=msgspec.UNSET, unknown=msgspec.UNSET, linked=msgspec.UNSET)


def found(case: Case, before: Case) -> Case:
    """The case once it was looked who is known: where somebody has come, it is as any other."""
    return as_found(case) if before.known is False and case.known is True else case


def as_found(case: Case) -> Case:
    """The case as if nobody had missed anything."""
    return msgspec.structs.replace(case, stages={name: at for name, at in case.stages.items() if name != UNFOUND})


def was_considered(case: Case) -> bool:
    """Whether the person was restricted while an officer had the case."""
    return case.type == "object" or UNFOUND in case.stages


def _waiting(case: Case) -> Case:
    """The case before an officer; what it was thought to have reached it has not."""
    state, waits_for = after(case.state, case.waits_for, "unfound")
    stages = {name: at for name, at in case.stages.items() if name not in {"decided", "rewritten"}}
    return msgspec.structs.replace(case, state=state or case.state, waits_for=waits_for, officer=True, stages=stages)
