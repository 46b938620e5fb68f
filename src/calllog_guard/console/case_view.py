"""
What the page of a case shows: its stages in order, its clock with the rule of its due date, evidence, acts.

Rules: 1. An act is offered only where the case's table of states has it; the desk judges it all the same.
       2. A receipt is told as good only if its signature was checked here and now.
Source: `core/cases/case_states.py`, `core/cases/deadlines.py`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final, NamedTuple

from calllog_guard.client.answers import read_claims
from calllog_guard.console import sentences
from calllog_guard.core.answers.refused_request import RefusedRequest
from calllog_guard.core.cases.case import UNFOUND, Case
from calllog_guard.core.cases.case_filter import days_left, may_act
from calllog_guard.core.cases.case_states import ROWS, Event
from calllog_guard.core.cases.deadlines import LAW_EXTENDED_MONTHS, LAW_MONTHS, months_after
from calllog_guard.core.cases.notices import waiting
from calllog_guard.core.cases.receipt import Receipt
from calllog_guard.core.crypto.jose import verify
from calllog_guard.core.identifiers import unb64
from calllog_guard.core.policy.form import TenantPolicy
from calllog_guard.core.requests.types import row_of
from calllog_guard.errors import MessageError
from calllog_guard.ports.log import Record
from calllog_guard.reports.certificate import STAGE_WORDS
from calllog_guard.workers.desk.cases.terms import dates

_NEEDS_GROUND: Final = frozenset({"refuse", "extend"})
_ASKING: Final = (("ask_identity", "identity"), ("ask_clarification", "clarification"), ("ask_fee", "fee"))
_COMING: Final = (("verify", "identity"), ("clarify", "clarification"), ("fee", "fee"))


class Action(NamedTuple):
    """
    What an officer can do now.

    Args:
        type: Of the request that says it; `event` that of the clock.
        ground: `must` where a reason or an answer is needed.
        to: Who received the notice of the kind `notice`.
        review: `must` where it is said when to look again.

    """

    name: str
    title: str
    sentence: str
    type: str
    event: str = ""
    ground: str = ""
    to: str = ""
    notice: str = ""
    review: str = ""


class TimelineLine(NamedTuple):
    """One line of the timeline."""

    at: datetime
    text: str


class ReceiptSeen(NamedTuple):
    """A receipt: where it lies, its stage, when it was signed, and whether its signature is good; None: not checked."""

    offset: int
    stage: str
    at: datetime | None
    good: bool | None
    final: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseViewed:
    """Everything that the page says of a case."""

    case: Case
    title: str
    left: int | None
    rules: Sequence[str]
    moments: Sequence[TimelineLine]
    actions: Sequence[Action]
    own_first: bool
    evidence: Sequence[ReceiptSeen]
    given: Sequence[str]


def viewed(case: Case, table: TenantPolicy, officer: str, today: date, receipts: Sequence[ReceiptSeen]) -> CaseViewed:
    """The page of a case for an officer."""
    traces = (case.traces or {}).values()
    return CaseViewed(
        case=case,
        title=(row.title if (row := row_of(case.type)) and row.title else case.type),
        left=days_left(case, today),
        rules=list(rules(case, table)),
        moments=sorted(_moments(case), key=lambda each: each.at),
        actions=list(actions(case, officer)),
        own_first=case.waits_for == "second_officer" and not may_act(case, officer),
        evidence=receipts,
        given=list(dict.fromkeys(name for trace in traces for name in trace.given or ())),
    )


def rules(case: Case, table: TenantPolicy) -> Iterator[str]:
    """What set the due date."""
    if case.type == "complain":
        yield sentences.RULES["complaint"]
        return
    found = dates(case, table)
    yield sentences.RULES["policy" if found.law is None or found.policy < found.law else "law"]
    if found.extended:
        yield sentences.RULES["extended"]
    if found.law is None:
        yield sentences.RULES["paused"]
    received = table.calendar.day(case.received_at)
    months = (LAW_EXTENDED_MONTHS, table.extend_to_months) if found.extended else (LAW_MONTHS, table.answer_months)
    plain_days = {months_after(received, each) for each in months}
    if any(day != found.binding == table.calendar.on_or_after(day) for day in plain_days):
        yield sentences.RULES["moved"]


def _moments(case: Case) -> Iterator[TimelineLine]:
    yield TimelineLine(case.received_at, sentences.MOMENTS["received"])
    for name, at in case.moments.items():
        yield TimelineLine(at, sentences.MOMENTS[name])
    for asked, came in case.pauses:
        yield TimelineLine(asked, sentences.MOMENTS["clarification_asked"])
        if came:
            yield TimelineLine(came, sentences.MOMENTS["clarification_came"])
    for stage, at in case.stages.items():
        yield TimelineLine(at, sentences.MOMENTS.get(stage) or STAGE_WORDS.get(stage, stage))


def actions(case: Case, officer: str) -> Iterator[Action]:
    """What an officer can do now."""

    def can(event: Event) -> bool:
        return ((case.state, case.waits_for), event) in ROWS

    if (can("approve") or can("approve_first")) and may_act(case, officer):
        yield _plain("approve", _approving(case), "must" if case.type == "complain" else "")
    if can("refuse"):
        yield _plain("refuse", sentences.REFUSE, "must")
    if can("extend") and not case.extended and case.type != "complain":
        yield _clock("extend", sentences.EXTEND)
    yield from _clocks(case)


def _approving(case: Case) -> str:
    if UNFOUND in case.stages:
        return sentences.NOBODY
    kind = row_of(case.type)
    if kind is not None and kind.officer == "two" and case.waits_for == "officer":
        return sentences.FIRST
    return sentences.APPROVE[case.type]


def _clocks(case: Case) -> Iterator[Action]:
    if case.state == "waiting" and case.waits_for != "notice":
        for name, need in _COMING:
            if case.waits_for == need:
                yield _clock(name, sentences.CLOCK[name])
        for name, need in _ASKING:
            if case.waits_for != need and (need != "identity" or _asks_identity(case)):
                yield _clock(name, sentences.CLOCK[name])
    if case.tell_at is not None:
        yield _clock("tell", sentences.CLOCK["tell"])
        yield _clock("not_yet", sentences.CLOCK["not_yet"])._replace(review="must")
    for number, name in enumerate(waiting(case.notices), 1):
        to, _, kind = name.partition("/")
        found = _clock("noticed", sentences.CLOCK["noticed"])
        yield found._replace(name=f"noticed-{number}", to=to, notice=kind)


def _asks_identity(case: Case) -> bool:
    row = row_of(case.type)
    return row is not None and row.identity


def _plain(name: str, sentence: str, ground: str) -> Action:
    return Action(name, sentences.NAMES[name], sentence, name, ground=ground)


def _clock(name: str, sentence: str) -> Action:
    return Action(name, sentences.NAMES[name], sentence, "clock", name, "must" if name in _NEEDS_GROUND else "")


def evidence_in(records: Sequence[Record], pem: bytes | None) -> list[ReceiptSeen]:
    """The receipts in some records; `pem` is the tenant's public key for receipts, where it is here."""
    return [found for record in records if (found := _evidence(record, pem)) is not None]


def _evidence(record: Record, pem: bytes | None) -> ReceiptSeen | None:
    token = (record.value or b"").decode("ascii", "replace").strip()
    good: bool | None = None
    try:
        if pem is None:
            content = unb64(token.split(".")[1].encode())
        else:
            content, good = verify(pem, token), True
        claims = read_claims(content)
    except (MessageError, ValueError, IndexError):
        return ReceiptSeen(record.offset, "", None, good=False)
    if isinstance(claims, Receipt):
        return ReceiptSeen(record.offset, claims.stage, claims.at, good, claims.final)
    if isinstance(claims, RefusedRequest):
        return ReceiptSeen(record.offset, "not_taken", claims.at, good)
    return None
