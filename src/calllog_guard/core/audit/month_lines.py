"""The lines of a month's report: what it says, as data; pages and tables are views of it."""

from typing import Literal

import msgspec

from calllog_guard.core.audit.month_statement import Statement
from calllog_guard.core.codec import Day, Id, Message, Utc


class CaseCount(Message, frozen=True, kw_only=True):
    """How many cases of a type are in a state, and what they wait for."""

    type: str
    state: str
    waits_for: str | None
    cases: int


class OpenCase(Message, frozen=True, kw_only=True):
    """A case that somebody must look at; `left` are days."""

    case: Id
    type: str
    waits_for: str | None
    due: Day
    left: int


class Stage(Message, frozen=True, kw_only=True):
    """How long erasures took from stage to stage, in seconds; `missed` counts those now over the objective, too."""

    stage: str
    since: str
    erasures: int
    median_s: float
    worst_s: float
    objective_s: float | None
    missed: int


class HoldLine(Message, frozen=True, kw_only=True):
    """A hold that is no secret; basis and review date where they are known."""

    hold: str
    case: Id | None
    state: str
    basis: str | None
    review_at: Utc | None


class Disclosure(Message, frozen=True, kw_only=True):
    """A disclosure: to whom, on which basis, approved by whom; `told` is when the person was told of it."""

    case: Id
    state: str
    authority: str | None
    basis: str | None
    notify: str | None
    approvals: tuple[str, ...]
    told: Utc | None
    review_at: Utc | None


class Openings(Message, frozen=True, kw_only=True):
    """
    Who opened records for a purpose, how many, and how many were refused; answers to requests stand under `ANSWERS`.

    `times` counts reads that opened something, a read of several days once a day; `denied` those not let begin.
    `proven`: whether the actor signed it; False: written when nobody had to, or by somebody denied. Absent where no
    actor has a key.
    """

    actor: str
    purpose: str
    times: int
    opened: int
    refused: int
    denied: int = 0
    proven: bool | msgspec.UnsetType = msgspec.UNSET


class DoubtLine(Message, frozen=True, kw_only=True):
    """Disbelieved access records, by reason: how many, and how many opened records they claim. They name nobody."""

    reason: str
    accesses: int
    claimed: int


class PolicyLine(Message, frozen=True, kw_only=True):
    """A version of the policy and what it changed."""

    effective: Day
    change: str


class Brake(Message, frozen=True, kw_only=True):
    """A brake: limit of people an hour and requester, the busiest hour of the month, cases awaiting an officer now."""

    type: str
    limit: int
    busiest: int
    waiting: int


class DayLine(Message, frozen=True, kw_only=True):
    """What came in and what was answered on a day."""

    day: Day
    received: int
    answered: int


class NoticeLine(Message, frozen=True, kw_only=True):
    """Notices of the month's cases to an addressee."""

    to: str
    sent: int
    acknowledged: int
    overdue: int


class LossLine(Message, frozen=True, kw_only=True):
    """What an officer accepted as lost of a partition; `records` at most, None where nobody can know."""

    at: Utc
    officer: str
    topic: str
    partition: int
    from_: int = msgspec.field(name="from")
    to: int
    records: int | None


class ProlongedLine(Message, frozen=True, kw_only=True):
    """A topic whose time the auditor changed, because something unread in it was near its end, or is not any more."""

    at: Utc
    topic: str
    from_s: int
    to_s: int
    unread_s: int


class Report(Message, frozen=True, kw_only=True):
    """The report; `secrets`: a secret hold is in it; `statement`: what went in the month, once the desk signed it."""

    v: Literal[1] = 1
    tenant: str
    month: str
    at: Utc
    received: int
    answered: int
    late: int
    counts: tuple[CaseCount, ...]
    due_soon: tuple[OpenCase, ...]
    officers: tuple[OpenCase, ...]
    stages: tuple[Stage, ...]
    holds: tuple[HoldLine, ...]
    disclosures: tuple[Disclosure, ...]
    notices: tuple[NoticeLine, ...]
    opened: tuple[Openings, ...]
    policies: tuple[PolicyLine, ...]
    brakes: tuple[Brake, ...]
    days: tuple[DayLine, ...]
    losses: tuple[LossLine, ...] = ()
    prolonged: tuple[ProlongedLine, ...] = ()
    secrets: bool = False
    statement: Statement | None = None
    doubted: tuple[DoubtLine, ...] = ()
