"""
What is granted: a request with the policy it is judged by, and which decisions it comes to.

Source: docs/explanation/design.md, docs/explanation/cases.md.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, cast

import msgspec

from calllog_guard.core.cases.case import AT_ONCE, Case, Consent, parted
from calllog_guard.core.crypto.entries import Person
from calllog_guard.core.decisions.standing_rules import REVIEW, Span
from calllog_guard.core.identifiers import HoldId, Lookup, Pseudonym
from calllog_guard.core.policy.active import TenantPolicy
from calllog_guard.core.requests.fields import Range, days_of
from calllog_guard.core.requests.request import Request, wording_digest
from calllog_guard.core.requests.types import TYPES, DecisionType, kinds
from calllog_guard.workers.keys.people.law_copies import LawCopy

LAW: Final = kinds(lambda row: row.law)
"""Which requests reach what law keeps of somebody who is erased."""
FLAGS: Final = kinds(lambda row: row.fence and not row.removes)
"""Decisions that change the person's flags and nothing that is stored."""
APART: Final = 1000
"""Decisions of one request about one subject get numbers this far apart: there are at most 100 subjects."""
ENDED: Final = 2 * APART
SEARCHES: Final = 3 * APART
"""From here on searches are numbered."""


def _unchanged(person: Person) -> Person:
    return person


def _flagged(kind: str, mask: int, person: Person) -> Person:
    """The person's flags once a request is decided."""
    if kind == "restrict":
        return replace(person, restricted=True)
    if kind == "object":
        return replace(person, objected=person.objected | mask)
    if kind == "withdraw":
        return _withdrawn(person, mask)
    return _consented(person, mask) if kind == "consent" else person


@dataclass(frozen=True, slots=True)
class PlannedDecision:
    """
    One decision of a request: its type, its number among the request's, and what it does to the person's flags.

    Args:
        mask: The purposes that it is about; of a restriction and its end see `core/decisions/standing_rules.py`.
        case: In whose name it is made, where that is not the request's own: of which restriction it is the end.
        only: About whom alone.

    """

    kind: DecisionType
    number: int = 0
    flags: Callable[[Person], Person] = _unchanged
    mask: int = 0
    case: str | None = None
    only: Lookup | None = None


@dataclass(frozen=True, slots=True)
class Granted:
    """
    A request that is to be carried out, with the policy it is judged by, and the officer's words that granted it.

    Args:
        waited: It could not be carried out before: whoever was erased since it came is not meant any more.

    """

    case: Case
    request: Request
    table: TenantPolicy
    version: str
    ground: str | None = None
    waited: bool = False


def span_of(range_: Range | None) -> Span | None:
    """A request's range as it is stored."""
    if range_ is None:
        return None
    days = days_of(range_)
    return Span(from_=days.first.isoformat() if days.first else None, to=days.last.isoformat() if days.last else None)


def mask_of(names: tuple[str, ...] | None, table: TenantPolicy) -> int:
    """The bits of some purposes."""
    return sum(1 << (table.purposes[name].number - 1) for name in dict.fromkeys(names or ()) if name in table.purposes)


def parts_of(request: Request, mask: int, *, reviewed: bool) -> tuple[PlannedDecision, ...]:
    """
    The decisions of a granted request, without total erasures.

    Args:
        reviewed: An officer has granted it, meanwhile the person was restricted: that ends with it.

    """
    row = TYPES[request.type]
    if row.apart or not (row.rule or row.answer):
        return ()
    chosen = mask if row.rule == "choice" else 0
    flags = partial(_flagged, request.type, mask)
    part = PlannedDecision(cast("DecisionType", request.type), 0, flags, chosen)
    if request.type == "restrict" and reviewed:  # in this order: the lift of a case ends every restriction of it before
        return ended(mask), part
    return (part, ended(mask)) if request.type == "object" and reviewed else (part,)


@dataclass(frozen=True, slots=True)
class Former:
    """A person's earlier generation, of which copies are left under holds that may be told of."""

    lookup: Lookup
    generation: int
    pseudonym: Pseudonym


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """
    What may be told of the holds on some people: for receipts, and for a person's own copy; secret ones are not in it.

    Args:
        law: What law keeps of them beyond an erasure.
        full: Who could not be put under a hold that names them before others' copies are made.
        look: Keepers only say how much there is.

    """

    kept: tuple[dict[str, str], ...] = ()
    holds: tuple[HoldId, ...] = ()
    former: tuple[Former, ...] = ()
    law: tuple[LawCopy, ...] = ()
    full: frozenset[Lookup] = frozenset()
    look: bool = False


def considered(mask: int) -> PlannedDecision:
    """While an officer considers an objection to some purposes the person is restricted (Art. 18(1)(d))."""
    return PlannedDecision("restrict", APART, lambda person: replace(person, reviewed=True), mask | REVIEW)


def ended(mask: int) -> PlannedDecision:
    """The officer has decided."""
    return PlannedDecision("lift", ENDED, lambda person: replace(person, reviewed=False), mask | REVIEW)


def at_rest(case: Case, request: Request) -> Case:
    """The case once the desk has done its part: without its request, and closed where nobody else has work."""
    telling = request.notify == "when_lifted" and not case.of_nothing
    review = request.review_at if telling else case.review_at
    case = msgspec.structs.replace(parted(case, telling=telling), review_at=review)
    owed = any(case.progress.get(each) != AT_ONCE for each in case.decisions)  # of others a keeper tells
    return case if owed and case.ladder else msgspec.structs.replace(case, state="closed")


def consent_of(request: Request) -> Consent | None:
    """What is on record of a request's consent."""
    if request.time is None or request.wording is None:
        return None
    return Consent(time=request.time, wording=wording_digest(request.wording))


def _withdrawn(person: Person, mask: int) -> Person:
    return replace(person, withdrawn=person.withdrawn | mask, consented=person.consented & ~mask)


def _consented(person: Person, mask: int) -> Person:
    """The later word counts, even after objection: only what rests on consent can be consented (`check_purposes`)."""
    withdrawn, objected = person.withdrawn & ~mask, person.objected & ~mask
    return replace(person, consented=person.consented | mask, withdrawn=withdrawn, objected=objected)
