"""
Decisions on their way to the ledger: each has a name, moment and epoch; the case names it before the ledger has it.

Source: docs/explanation/design.md.
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Final

import msgspec

from calllog_guard.core.cases.case import AT_ONCE, TRACED_FROM, Case, Trace
from calllog_guard.core.codec import encode
from calllog_guard.core.crypto.subject_secrets import Secret
from calllog_guard.core.decisions.decision import Decision, decision_id, unseen_pseudonym, version_at
from calllog_guard.core.decisions.standing_rules import Correction, Rule
from calllog_guard.core.identifiers import CallId, DecisionId, Pseudonym, named_call, partition_of, record_key
from calllog_guard.core.records import Output
from calllog_guard.core.requests.types import TRACED, DecisionType
from calllog_guard.core.topics import Topic
from calllog_guard.ports.fault_injection import CrashPoints
from calllog_guard.workers.context import WorkerContext
from calllog_guard.workers.desk.cases.case_store import Casebook
from calllog_guard.workers.desk.decisions.granted import FLAGS, Granted, PlannedDecision, span_of
from calllog_guard.workers.keys.people.view import View, pointer

_APART: Final = timedelta(microseconds=1)


class DecisionWriter:
    """Makes decisions, seals nothing in them yet, and writes them to the ledger."""

    def __init__(self, context: WorkerContext, book: Casebook) -> None:
        self._tenant, self._ring, self._writer = context.tenant, context.ring, context.writer
        self._book, self._settings, self._clock = book, context.settings, context.clock
        self._steps, self._last = CrashPoints(context.settings.off), datetime.min.replace(tzinfo=UTC)

    def _placed(self, granted: Granted, index: int, partition: int, ledger: Secret) -> tuple[DecisionId, Pseudonym]:
        """A decision with a name of nobody in a partition; the same on a repeat."""
        name = decision_id(self._tenant, f"{granted.case.name} law {partition}", index, 0)
        return name, self.nobody(name, partition, ledger)

    def nobody(self, name: DecisionId, partition: int, ledger: Secret) -> Pseudonym:
        """A pseudonym of nobody's in a partition, for a decision about nobody's records; the same on a repeat."""
        for number in count():
            pseudonym = unseen_pseudonym(ledger, DecisionId(f"{name}.{number}"))
            if partition_of(pseudonym, self._settings.partitions) == partition:
                return pseudonym
        raise AssertionError("numbers do not end")

    def _rule(self, granted: Granted, part: PlannedDecision, token_of: Callable[[CallId, str], Any]) -> Rule:
        """What a decision says beyond its type."""
        request = granted.request
        facts = None
        if part.kind == "rectify" and request.facts:
            given = request.facts
            token = str(token_of(named_call(given.call_id, given.occurrence), given.session or ""))
            facts = Correction(token=token, role=given.role, joined_at=given.joined_at, left_at=given.left_at)
        return Rule(range=span_of(request.range) if part.kind == "erase" else None, mask=part.mask, facts=facts)

    def decision(self, granted: Granted, kind: DecisionType, name: str, pseudonym: Pseudonym, view: View) -> Decision:
        """A decision before anything is sealed in it."""
        now, tenure = self._clock.now(), self._ring.tenure
        self._last = max(now, self._last + _APART)  # none is made at the moment of another, or before it
        return Decision(
            v=version_at(self._ring.forms),
            tenure=msgspec.UNSET if tenure is None or self._ring.forms == 1 else tenure.number,
            decision=name,
            type=kind,
            tenant=self._tenant,
            case=granted.case.case,
            pseudonym=pseudonym,
            entry="",
            epoch=pointer(view),
            cut_off=granted.case.cut_off or now,
            pol=granted.version,
            at=self._last,
        )

    def _to_trace(self, case: Case, decisions: Iterable[tuple[int, Decision]]) -> Case:
        """The case with the decisions of which keepers will say where the records had gone."""
        if self._ring.forms < TRACED_FROM:
            return case
        new = {each.decision: Trace(of=each.type, place=place) for place, each in decisions if each.type in TRACED}
        traces = new | (case.traces or {})
        return msgspec.structs.replace(case, traces=traces) if new else case

    async def decided(self, case: Case, decisions: list[Decision]) -> Case:
        """The case names its decisions before the ledger has them; both are acknowledged on return."""
        names = tuple(dict.fromkeys((*case.decisions, *(each.decision for each in decisions))))
        if names != case.decisions:
            at_once = {each.decision: AT_ONCE for each in decisions if each.type in FLAGS}
            progress = at_once | case.progress
            case = await self._book.save(msgspec.structs.replace(case, decisions=names, progress=progress))
        await self._writer.write([self.ledger(decision) for decision in decisions])
        self._steps.reached("erase.decision")
        return case

    def ledger(self, decision: Decision) -> Output:
        """A decision on its way to its person's partition."""
        pseudonym = Pseudonym(decision.pseudonym)
        key = record_key(pseudonym, DecisionId(decision.decision))
        place = partition_of(pseudonym, self._settings.partitions)
        return Output(self._settings.topic(Topic.DECISIONS), place, key, encode(decision))
