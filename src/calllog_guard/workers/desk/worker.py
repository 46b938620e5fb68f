"""
The desk: verifies requests, runs cases and clocks, has decisions made (`decisions/decider.py`), answers with receipts.

Steps (numbered for the crash tests): 1 case written, 2 decision written, 3 fenced, 4 receipt written.
Rules: 1. Only after the fence does the request's offset move.  2. The same place means resume, another means replay.
       3. No identity outside the sealed part of a waiting case.  4. Nothing is refused but by an officer.
Source: docs/explanation/design.md, docs/explanation/cases.md.
"""

from collections.abc import Sequence
from datetime import timedelta
from itertools import groupby
from typing import Any, Final

import structlog

from calllog_guard.core.cases.case import Case, after_outcome, ended_at
from calllog_guard.core.cases.request_check import check_request
from calllog_guard.core.cases.secret_cases import is_order
from calllog_guard.core.codec import from_ms
from calllog_guard.core.decisions.outcome import TO_DESK, Outcome
from calllog_guard.core.identifiers import INTERNAL_KEY
from calllog_guard.core.records import Output
from calllog_guard.core.requests.request import AUDIENCE, Request, read_request
from calllog_guard.core.requests.types import TYPES
from calllog_guard.core.stream.arrival import appended_ms, content
from calllog_guard.core.topics import Topic
from calllog_guard.errors import HoldReleasedError, MessageError, ParkedError, RequestRefusedError
from calllog_guard.metrics import Counters, Gauges
from calllog_guard.ports.log import TopicPartition
from calllog_guard.workers.context import WorkerContext
from calllog_guard.workers.desk.answers.refusals import Refusals
from calllog_guard.workers.desk.answers.statements import Statements
from calllog_guard.workers.desk.case_execution import CaseExecution
from calllog_guard.workers.desk.cases.case_actions import Act
from calllog_guard.workers.desk.cases.case_store import Casebook
from calllog_guard.workers.desk.cases.case_topic import LOOK_S, CaseTopic
from calllog_guard.workers.desk.cases.deadlines import Deadlines, timed
from calllog_guard.workers.desk.cases.terms import apart
from calllog_guard.workers.desk.context import DeskContext
from calllog_guard.workers.desk.decisions.decider import Decider
from calllog_guard.workers.desk.routes import RequestRoutes
from calllog_guard.workers.keys.hold_store import Safe
from calllog_guard.workers.keys.tenants.tenure import Tenure
from calllog_guard.workers.runtime.delivery import Unit
from calllog_guard.workers.runtime.parallel import abreast, portions

log: Final = structlog.get_logger()


class Desk(CaseExecution):
    """The role that reads requests and outcomes, for one tenant."""

    name = "desk"
    duties = ()

    def __init__(self, context: WorkerContext, tenure: Tenure) -> None:
        book, settings = Casebook(context), context.settings
        super().__init__(DeskContext.of(context, book=book, decider=Decider(context, book), safe=Safe(context.ring)))
        self._requests, self._outcomes = settings.topic(Topic.REQUESTS), settings.topic(Topic.OUTCOMES)
        self._orders = settings.topic(Topic.ORDERS)
        self._next_holds = self._next_look = context.clock.now()
        self._owned = False
        self._topic, self._deadlines = CaseTopic(self._o, tenure), Deadlines(self._o)
        self._statements, self._refusals = Statements(self._o), Refusals(self._o)
        self._routes = RequestRoutes(self._o, self._refusals)

    @property
    def topics(self) -> tuple[str, ...]:
        """See Role: orders too, once the tenant is raised to a level that has them."""
        return (self._requests, self._outcomes, *([self._orders] if self._book.ordered else []))

    async def assigned(self, partitions: Sequence[int]) -> dict[TopicPartition, int]:
        """See Role: the cases are read anew from their topic."""
        self._book.clear()
        self._statements.begin()
        self._owned = self._o.home in partitions
        self._deadlines.begin(owned=self._owned)
        if self._owned:
            await self._topic.begin()
            await self._waiting.begin()
            self._before.begin()
            self._previews.begin()
        else:
            self._topic.end()
        return {}

    async def revoked(self, partitions: Sequence[int]) -> None:
        """See Role."""
        if self._o.home in partitions:
            self._owned = False
            self._book.clear()
            self._topic.end()
            self._deadlines.begin(owned=False)

    async def idle(self) -> None:
        """See Role: what the days bring; who has returned after an erasure is put under the holds that name them."""
        if self._owned and self._o.clock.now() >= self._next_look:
            if not self._book.ordered:  # where nothing is asked for, nothing else tells that the tenant was raised
                await self._o.ring.view([])
            await self._topic.look()
            await self._topic.drop_parts(self._o.clock.now() - timedelta(days=self._o.settings.exports_keep_days))
            self._next_look = self._o.clock.now() + timedelta(seconds=LOOK_S)
        await self._deadlines.look(self._table()[1])
        if self._owned:
            await self._before.look(*self._table(), self._o.agree)
            await self._freed()
        self._o.level(Gauges.cases_waiting, await self._waiting.again())
        now = self._o.clock.now()
        if self._owned:
            await self._statements.look()
        if now >= self._next_holds:
            await self._holds.renewed(self._table()[0])
            self._next_holds = now + timedelta(seconds=self._o.settings.sweep_s)
        if self._owned:  # last: nothing that protects anybody is behind a count
            await self._previews.look(*self._table())

    async def _freed(self) -> None:
        """The copies that were kept ready for disclosures which have ended are let go."""
        version, table = self._table()
        for jti, request, spot in self._disclosures.over(self._book.holds(), self._o.clock.now()):
            try:
                await self._asked(jti, request, spot, table, version)
            except HoldReleasedError:
                continue  # by an officer
            except MessageError as error:  # its entry cannot be used
                log.warning("copies of a disclosure that has ended are not let go yet", why=error.reason)

    async def unit(self, unit: Unit) -> None:
        """See Role: requests in their order, erasures abreast, counted in it; a unit's outcomes are written as one."""
        beats, records = self._o.vault.heartbeats(self._o.tenant), [record for each in unit.values() for record in each]
        orders = [record for record in records if record.topic == self._orders and is_order(record)]
        if orders or any(place.topic == self._requests for place in unit):
            await self._o.decider.subjects.settled()
        sent = [record for record in records if record.topic == self._requests and not beats.ours(record)]
        await self._elsewhere([record for record in sent if record.partition != self._o.home])
        asked = self._routes.home(sent)
        # orders first: what they are to preserve may be what is asked to be erased
        read = [found for record in (*orders, *asked) if (found := await self._read(record))]
        for together in _together(read):
            self._turns.begin((record.partition, record.offset) for _, record in together)
            await abreast(self._handled, together)
        await self._outcomes_of([record for record in records if record.topic == self._outcomes])
        if orders:  # whom they name stands in their cases' holds; here it goes with the next compaction
            taken = [each for each in orders if each.key[:1] != INTERNAL_KEY]
            await self._o.writer.write([Output(each.topic, each.partition, each.key, None) for each in taken])

    async def _elsewhere(self, records: Sequence[Any]) -> None:
        """Requests that lie in another partition than the tenant's are taken there."""
        key_of = self._refusals.key_of(self._table()[1])
        for record in records:
            try:
                await self._routes.take(record, key_of)
            except MessageError as error:
                await self._dead(record, error)

    async def _dead(self, record: Any, error: MessageError) -> None:
        if record.topic == self._orders:
            await self._o.writer.write([self._book.refusal(record, error, self._o.clock.now())])
            return
        self._o.count(Counters.dead[error.reason], 1)
        answer = self._refusals.of(record, error, self._table()[1]) if record.topic == self._requests else []
        await self._o.writer.write([self._o.dead.of(record, error), *answer])

    # --- requests ---------------------------------------------------------------------------------------------------

    async def _read(self, record: Any) -> tuple[Request, Any] | None:
        """A request with its record; None when it became a dead letter."""
        try:
            return await self._checked(record), record
        except MessageError as error:
            await self._dead(record, error)
            return None

    async def _handled(self, item: tuple[Request, Any]) -> None:
        try:
            await self._request(*item)
        except MessageError as error:
            await self._dead(item[1], error)
        finally:
            await self._turns.passed((item[1].partition, item[1].offset))

    async def _checked(self, record: Any) -> Request:
        _, table = self._table()
        request = read_request(
            self._refusals.token(record),
            self._refusals.key_of(table),
            tenant=self._o.tenant,
            appended_ms=appended_ms(record),
            audience=table.audience or AUDIENCE,
        )
        if record.topic == self._orders and table.requesters[request.iss].role == "backend":
            raise RequestRefusedError("wrong_topic", "/iss")
        check_request(request, table)
        self._disclosures.check_request(request)
        await self._o.decider.subjects.check(request)
        if record.topic == self._orders and record.partition != self._o.home:
            raise RequestRefusedError("wrong_partition")
        return request

    async def _request(self, request: Request, record: Any) -> None:
        version, table = self._table()
        place = (record.partition, record.offset)
        seen = self._book.get(self._book.case_of(request.iss, request.jti))
        if (seen.place if seen else self._book.place_of(request) or place) != place:
            raise RequestRefusedError("replayed", "/jti")
        if TYPES[request.type].ends is None:
            role = table.requesters[request.iss].role
            now = self._o.clock.now()
            at = from_ms(record.timestamp)
            act = Act(request=request, place=place, role=role, table=table, version=version, now=now, appended_at=at)
            await self._acted(act)
            return
        if seen is None:
            self._before.check_request(request, table)
            await self._linking.check_request(request)
            await self._holds.named(request)
        for own in self._disclosures.parts(request):
            for jti, part in apart(*own, table):
                await self._asked(jti, part, record, table, version)

    async def _acted(self, act: Act) -> None:
        try:
            await self._acts.act(act)
        except ParkedError as error:  # what it was to end cannot be ended yet
            case = self._book.get(act.request.case or "")
            if case is None or case.sealed is None or self._book.name_of(act.request, case) not in case.acts:
                raise
            await self._waiting.put(case, self._book.request_of(case), error)

    # --- answers ----------------------------------------------------------------------------------------------------

    async def _outcomes_of(self, records: Sequence[Any]) -> None:
        """What workers did: each case is written once for all a unit tells of it, with its new stages' receipts."""
        now, (version, table) = self._o.clock.now(), self._table()
        changed: dict[str, Case] = {}
        receipts: list[Output] = []
        for record in records:
            try:
                outcome = self._told(record)
            except MessageError as error:
                await self._dead(record, error)
                continue
            case = changed.get(outcome.case) or self._book.get(outcome.case)
            if case is None:
                continue
            if outcome.stage in {"searched", "looked"}:
                self._waiting.at_once(case.case)
            if outcome.stage == "failed" and not case.secret:
                self._o.count(Counters.decisions_failed, 1)
                log.error("a decision could not be carried out: an officer must look", case=case.case)
            found, reached = after_outcome(case, outcome, now)
            found, said = self._notices.heard(found, outcome, table)
            found, reached, notices = self._unfound.made(found, reached, table, now)
            if outcome.stage == "traced":
                self._waiting.at_once_all()
            if found is not case:
                found = ended_at(found, now, self._keep)
                timed(case, found, self._o.count)
                self._disclosures.ended(found)
                changed[case.case] = found
                told = [stage for stage in reached if self._certified(found, stage)]
                receipts += [self._receipts.of(found, stage, now, version) for stage in told] + said + notices
        await self._book.save_all(list(changed.values()), receipts)

    def _told(self, record: Any) -> Outcome:
        value = content(record)
        if value is None:
            raise MessageError("null_value")
        return self._o.outcome_key.read(value, TO_DESK)


def _together(read: Sequence[tuple[Request, Any]]) -> list[list[tuple[Request, Any]]]:
    """What may run abreast: total erasures, which any order ends alike; the rest one by one, in its place."""
    found: list[list[tuple[Request, Any]]] = []
    for total, some in groupby(read, lambda item: item[0].type == "erase" and item[0].range is None):
        items = list(some)
        found += portions(items, lambda item: (item[0].iss, item[0].jti)) if total else [[item] for item in items]
    return found
