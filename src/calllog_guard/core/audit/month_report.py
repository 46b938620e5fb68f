"""
A month in the office: what came in, what was answered and when, what is due, and whether erasures met their objectives.

In: the cases as they are, what disclosures were for, who opened what, the policy's versions.  Out: `Report`, the same
for the same values; `reports/month.py` makes Markdown and a page of it.
Rules: 1. No identity goes in, so none comes out: cases have ids, actors have the names of their keys.
       2. A month has the cases received in it, or still owed an answer at any time of it; their state is that of now.
       3. Days are those of the tenant's zone.
Source: docs/explanation/design.md, docs/explanation/cases.md.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from statistics import median
from typing import Final

import msgspec

from calllog_guard.core.audit.accesses import Account
from calllog_guard.core.audit.month_lines import (
    Brake,
    CaseCount,
    DayLine,
    Disclosure,
    DoubtLine,
    HoldLine,
    LossLine,
    NoticeLine,
    OpenCase,
    Openings,
    PolicyLine,
    ProlongedLine,
    Report,
    Stage,
)
from calllog_guard.core.audit.month_statement import Statement
from calllog_guard.core.cases.case import SINCE, Case
from calllog_guard.core.cases.case_filter import days_left
from calllog_guard.core.cases.notices import Filed, waiting
from calllog_guard.core.cases.working_days import Calendar
from calllog_guard.core.codec import DENIED, Access
from calllog_guard.core.officers.acceptances import Accepted
from calllog_guard.core.officers.prolongations import Prolonged

SOON_DAYS: Final = 7
ANSWERS: Final = "answers"
"""In whose name records are opened for whoever asked for them, and for authorities; the purpose is the case's type."""
_HOUR_S: Final = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """A calendar month in a tenant's days."""

    first: date
    calendar: Calendar

    @property
    def last(self) -> date:
        """Its last day."""
        return (self.first.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)

    def has(self, moment: datetime | None) -> bool:
        """Whether a moment lies in it."""
        return moment is not None and self.first <= self.calendar.day(moment) <= self.last

    def concerns(self, case: Case) -> bool:
        """Whether a case was received in it, or owed an answer at some time of it."""
        answered = case.answered_at
        return self.calendar.day(case.received_at) <= self.last and (
            answered is None or self.calendar.day(answered) >= self.first
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """
    What a report is made of; `limits` are the brakes' limits by one type of each, with the types that share it.

    Args:
        asked: Whether actors had to prove who they are in the month, or before.
        doubted: The access records that nobody believes: why, when they were appended, how many records they claim.

    """

    tenant: str
    cases: Sequence[Case]
    filed: Mapping[str, Filed]
    holds: Sequence[HoldLine]
    accesses: Iterable[Account]
    policies: Sequence[PolicyLine]
    limits: Mapping[tuple[str, ...], int]
    objectives: Mapping[str, float]
    accepted: Sequence[Accepted] = ()
    prolonged: Sequence[Prolonged] = ()
    secrets: bool = False
    statement: Statement | None = None
    asked: bool = False
    doubted: Sequence[tuple[str, datetime, int]] = ()


def report(sources: Sources, month: Month, now: datetime) -> Report:
    """The report of a month, as things are now."""
    cases = [case for case in sources.cases if month.concerns(case)]
    today = month.calendar.day(now)
    answered = [case for case in cases if month.has(case.answered_at)]
    late = [
        case for case in answered if case.answered_at and month.calendar.day(case.answered_at).isoformat() > case.due
    ]
    counts = Counter((case.type, case.state, case.waits_for) for case in cases)
    lines = [_line(case, today) for case in sorted(sources.cases, key=lambda each: (each.due, each.case)) if case.open]
    return Report(
        tenant=sources.tenant,
        month=f"{month.first:%Y-%m}",
        at=now,
        received=sum(month.has(case.received_at) for case in cases),
        answered=len(answered),
        late=len(late),
        counts=tuple(
            CaseCount(type=kind, state=state, waits_for=waits, cases=many)
            for (kind, state, waits), many in sorted(counts.items(), key=lambda item: tuple(map(str, item[0])))
        ),
        due_soon=tuple(line for line in lines if line.left <= SOON_DAYS),
        officers=tuple(line for line in lines if line.waits_for in {"officer", "second_officer"}),
        stages=tuple(_stages(sources, month, now)),
        holds=tuple(sources.holds),
        disclosures=tuple(_disclosure(case, sources.filed.get(case.case)) for case in cases if case.type == "disclose"),
        notices=tuple(_notices(cases, now)),
        opened=(*_opened(sources, month), *_answers(sources.cases, month)),
        policies=tuple(sources.policies),
        brakes=tuple(_brakes(sources, month)),
        days=tuple(_days(sources.cases, month)),
        losses=tuple(_losses(sources.accepted, month)),
        prolonged=tuple(
            ProlongedLine(
                at=each.at,
                topic=each.topic,
                from_s=each.from_ms // 1000,
                to_s=each.to_ms // 1000,
                unread_s=each.age_ms // 1000,
            )
            for each in sources.prolonged
            if month.has(each.at)
        ),
        secrets=sources.secrets,
        statement=sources.statement,
        doubted=tuple(_doubted(sources, month)),
    )


def _line(case: Case, today: date) -> OpenCase:
    left = days_left(case, today) or 0
    return OpenCase(case=case.case, type=case.type, waits_for=case.waits_for, due=case.due, left=left)


def _stages(sources: Sources, month: Month, now: datetime) -> Iterable[Stage]:
    erasures = [case for case in sources.cases if case.type == "erase"]
    for stage, since in SINCE.items():
        objective = sources.objectives.get(stage)
        took = [
            (case.stages[stage] - case.stages[since]).total_seconds()
            for case in erasures
            if since in case.stages and month.has(case.stages.get(stage))
        ]
        hanging = [
            case
            for case in erasures
            if objective is not None
            and stage not in case.stages
            and month.has(case.stages.get(since))
            and (now - case.stages[since]).total_seconds() > objective
        ]
        missed = len(hanging) + sum(objective is not None and each > objective for each in took)
        if took or missed:
            yield Stage(
                stage=stage,
                since=since,
                erasures=len(took),
                median_s=median(took) if took else 0,
                worst_s=max(took, default=0),
                objective_s=objective,
                missed=missed,
            )


def _disclosure(case: Case, filed: Filed | None) -> Disclosure:
    told = case.notices.get("person/disclosed")
    return Disclosure(
        case=case.case,
        state=case.state,
        authority=filed.authority if filed else None,
        basis=filed.basis if filed else None,
        notify=filed.notify if filed else None,
        approvals=case.approvals,
        told=told.sent_at if told else None,
        review_at=case.review_at,
    )


def _notices(cases: Iterable[Case], now: datetime) -> Iterable[NoticeLine]:
    sent: Counter[str] = Counter()
    left: Counter[str] = Counter()
    late: Counter[str] = Counter()
    for case in cases:
        sent.update(name.partition("/")[0] for name in case.notices)
        for name, each in waiting(case.notices).items():
            left[name.partition("/")[0]] += 1
            late[name.partition("/")[0]] += each.act_by < now
    for to in sorted(sent):
        yield NoticeLine(to=to, sent=sent[to], acknowledged=sent[to] - left[to], overdue=late[to])


def _losses(accepted: Iterable[Accepted], month: Month) -> Iterable[LossLine]:
    for claims, officer in accepted:
        for span in claims.spans if month.has(claims.at) else ():
            same = span.was == claims.id and span.to > span.from_
            yield LossLine(
                at=claims.at,
                officer=officer,
                topic=claims.topic,
                partition=span.partition,
                from_=span.from_,
                to=span.to,
                records=span.to - span.from_ if same else None,
            )


def _opened(sources: Sources, month: Month) -> Iterable[Openings]:
    found: dict[tuple[str, str, bool], list[Access]] = defaultdict(list)
    for access, proven, _ in sources.accesses:
        if month.has(access.at):
            found[access.actor, access.purpose, proven].append(access)
    for (actor, purpose, proven), some in sorted(found.items(), key=lambda item: (item[0][:2], not item[0][2])):
        denied = sum(each.refused.get(DENIED, 0) for each in some)
        yield Openings(
            actor=actor,
            purpose=purpose,
            times=len({_one(each, month) for each in some if each.opened}),
            opened=sum(each.opened for each in some),
            refused=sum(sum(each.refused.values()) for each in some) - denied,
            denied=denied,
            proven=proven if sources.asked else msgspec.UNSET,
        )


def _doubted(sources: Sources, month: Month) -> Iterable[DoubtLine]:
    claims: dict[str, list[int]] = defaultdict(list)
    for reason, appended, claimed in sources.doubted:
        if month.has(appended):
            claims[reason].append(claimed)
    for reason, some in sorted(claims.items()):
        yield DoubtLine(reason=reason, accesses=len(some), claimed=sum(some))


def _one(access: Access, month: Month) -> tuple[object, date]:
    """What is one read on one day."""
    return read_of(access), month.calendar.day(access.at)


def read_of(access: Access) -> object:
    """Of which read an access is a part; of earlier releases, whose accesses name none, its case and second."""
    named = access.read is not msgspec.UNSET
    return access.read if named else (access.case, access.at.replace(microsecond=0))


def _answers(cases: Iterable[Case], month: Month) -> Iterable[Openings]:
    """Whoever asked for records, and authorities: what was opened to answer them."""
    found: dict[str, list[Case]] = defaultdict(list)
    for case in cases:
        if month.has(case.stages.get("exported")):
            found[case.type].append(case)
    for kind, some in sorted(found.items()):
        opened = sum(sum(each.legs.values()) for each in some)
        yield Openings(actor=ANSWERS, purpose=kind, times=len(some), opened=opened, refused=0)


def _brakes(sources: Sources, month: Month) -> Iterable[Brake]:
    for kinds, limit in sources.limits.items():
        same = [case for case in sources.cases if case.type in kinds]
        asked: dict[str, list[Case]] = defaultdict(list)
        for case in same:
            if month.has(case.opened_at):
                asked[case.asked_by].append(case)
        busiest = max(map(_busiest, asked.values()), default=0)
        waits = sum(case.waits_for == "officer" for case in same)
        yield Brake(type=", ".join(kinds), limit=limit, busiest=busiest, waiting=waits)


def _busiest(cases: Iterable[Case]) -> int:
    """The people whom one requester's cases named within the busiest hour."""
    found = people = first = 0
    by_time = sorted(cases, key=lambda case: case.opened_at)
    for case in by_time:
        people += case.named
        while (case.opened_at - by_time[first].opened_at).total_seconds() >= _HOUR_S:
            people -= by_time[first].named
            first += 1
        found = max(found, people)
    return found


def _days(cases: Iterable[Case], month: Month) -> Iterable[DayLine]:
    received: Counter[date] = Counter()
    answered: Counter[date] = Counter()
    for case in cases:
        received[month.calendar.day(case.received_at)] += 1
        if case.answered_at is not None:
            answered[month.calendar.day(case.answered_at)] += 1
    for number in range((month.last - month.first).days + 1):
        day = month.first + timedelta(days=number)
        yield DayLine(day=day.isoformat(), received=received[day], answered=answered[day])
