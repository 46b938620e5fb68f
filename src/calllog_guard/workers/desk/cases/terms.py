"""
What the tenant's policy means for a case: its dates, its brake, and whether an officer must look.

Source: docs/explanation/cases.md; `core/cases/deadlines.py`, `core/cases/case_states.py`.
"""

from collections import defaultdict
from datetime import date, datetime, time
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from calllog_guard.core.cases.case import Case, WaitsFor
from calllog_guard.core.cases.deadlines import Alarm, Due, Times, acknowledge_by, complaint_alarms, due
from calllog_guard.core.cases.working_days import Calendar, Regime
from calllog_guard.core.policy.active import TenantPolicy
from calllog_guard.core.requests.request import Request
from calllog_guard.core.requests.types import COPIES, TYPES, Kind, Requester
from calllog_guard.workers.desk.cases.case_store import Casebook

_BRAKES: Final = {
    "erasure": "erasures_per_hour",
    "export": "exports_per_hour",
    "objection": "objections_per_hour",
    "disclosure": "disclosures_per_hour",
    "change": "changes_per_hour",
}


_CHANGES: Final = 100
"""People an hour, where the policy does not say `changes_per_hour`."""
TOGETHER: Final = 20
"""
Identifiers of one request whose answer is carried away, or which are to be one person: hardly anybody has more, so an
officer looks at more.
"""


def calendar(table: TenantPolicy) -> Calendar:
    """The working days of a tenant."""
    return table.calendar


def dates(case: Case, table: TenantPolicy) -> Due:
    """All the dates of a case."""
    return due(case.clock(), table.regime, table.answer_months, table.extend_to_months, calendar(table))


Moments = tuple[tuple[str, date], ...]
Pauses = tuple[tuple[date, date | None], ...]


@lru_cache(maxsize=16_384)
def _alarms_of(
    moments: Moments, pauses: Pauses, regime: Regime, months: tuple[int, int], days: Calendar, *, access: bool
) -> tuple[Alarm, ...]:
    """The alarms of every case to which the same happened on the same days: the clock counts days alone."""
    zone = ZoneInfo(days.zone)

    def noon(day: date) -> datetime:
        return datetime.combine(day, time(12), zone)

    stopped = tuple((noon(asked), noon(came) if came else None) for asked, came in pauses)
    times = Times(access=access, pauses=stopped, **{name: noon(day) for name, day in moments})
    return due(times, regime, *months, days).alarms


def alarms(case: Case, table: TenantPolicy, days: Calendar) -> tuple[Alarm, ...]:
    """When an open case asks for attention, in order; worked out once for all cases that are alike to the day."""
    if case.type == "complain":
        return complaint_alarms(case.received_at, days)
    moments = (
        ("received_at", days.day(case.received_at)),
        *((name, days.day(at)) for name, at in case.moments.items()),
    )
    pauses = tuple((days.day(asked), days.day(came) if came else None) for asked, came in case.pauses)
    access = case.type in COPIES
    months = (table.answer_months, table.extend_to_months)
    return _alarms_of(moments, pauses, table.regime, months, days, access=access)


def dated(case: Case, table: TenantPolicy) -> Case:
    """The case with its due dates, anew from what happened."""
    if case.type == "complain":
        last = acknowledge_by(case.received_at, calendar(table)).isoformat()
        return msgspec.structs.replace(case, due=last, law_due=last)
    found = dates(case, table)
    return msgspec.structs.replace(
        case,
        due=found.binding.isoformat(),
        law_due=found.law.isoformat() if found.law else None,
        extended=found.extended,
        paused_s=sum(int((came - asked).total_seconds()) for asked, came in case.pauses if came),
    )


def limit(kind: Kind, table: TenantPolicy) -> int | None:
    """About how many people one requester may begin cases of such types in an hour; None where nothing brakes."""
    brake = TYPES[kind].brake
    return int(getattr(table, _BRAKES[brake]) or _CHANGES) if brake else None


def limits(table: TenantPolicy) -> dict[tuple[str, ...], int]:
    """The limit of each brake, by the types that share it."""
    shared: dict[str, list[Kind]] = defaultdict(list)
    for kind, row in TYPES.items():
        if row.brake:
            shared[row.brake].append(kind)
    return {tuple(kinds): limit(kinds[0], table) or 0 for kinds in shared.values()}


def braked(book: Casebook, kind: Kind, table: TenantPolicy, now: datetime, by: str, people: int) -> bool:
    """Whether a requester has asked about so many people within the hour that so many more wait for an officer."""
    most = limit(kind, table)
    carried = (TYPES[kind].brake == "export" or TYPES[kind].several) and people > TOGETHER
    return most is not None and (carried or book.begun_people(kind, now)[by] + people > most)


def engaged(book: Casebook, kind: Kind, table: TenantPolicy, now: datetime) -> bool:
    """Whether the brake of this type holds back whatever some requester sends next."""
    most = limit(kind, table)
    return most is not None and any(many >= most for many in book.begun_people(kind, now).values())


def awaited(case: Case, request: Request) -> frozenset[WaitsFor]:
    """What was asked for and has not come; the identity of who is not known, also where nobody has asked for it."""
    found: list[WaitsFor] = []
    unknown = TYPES[request.type].identity and request.identity == "unverified"
    if (unknown or "identity_asked_at" in case.moments) and "identity_shown_at" not in case.moments:
        found.append("identity")
    if case.pauses and case.pauses[-1][1] is None:
        found.append("clarification")
    if "fee_asked_at" in case.times and "fee_paid_at" not in case.times:
        found.append("fee")
    return frozenset(found)


def people_in(request: Request) -> int:
    """How many people a request may concern: one per identifier it names, as which are one person's is unknown."""
    return max(1, len(set(request.subjects or ())))


MARKETING: Final = "+marketing"
"""Ends the name of a case that one request brings beside another; no `jti` has a plus."""


def absolute(request: Request, table: TenantPolicy) -> bool:
    """Whether it is an objection to direct marketing alone: nobody weighs it, and nobody refuses it (Art. 21(3))."""
    return request.type == "object" and not _others(request, table)


def _others(request: Request, table: TenantPolicy) -> tuple[str, ...]:
    """What an objection names beside direct marketing."""
    tables = table.purposes
    return tuple(name for name in request.purposes or () if name not in tables or not tables[name].absolute)


def role_of(requester: str, table: TenantPolicy) -> Requester:
    """What a requester is; an officer's key that was revoked since asked as an officer."""
    found = table.requesters.get(requester)
    return found.role if found is not None else "officer"


def apart(jti: str, request: Request, table: TenantPolicy) -> list[tuple[str, Request]]:
    """
    The cases that a request brings, each by its `jti`.

    What an objection says of direct marketing is a case of its own where it also names what an officer may weigh.
    """
    others = _others(request, table) if request.type == "object" else ()
    purposes = request.purposes or ()
    if not others or len(others) == len(purposes):
        return [(jti, request)]
    replace = msgspec.structs.replace
    own = tuple(name for name in purposes if name not in others)
    return [
        (jti + MARKETING, replace(request, purposes=own)),
        (jti, replace(request, purposes=others)),
    ]


def reviewed(request: Request, table: TenantPolicy) -> bool:
    """
    Whether an objection is put to an officer.

    One may object only to what rests on legitimate interests (Art. 21(1)) and to direct marketing (21(2)); that any
    other purpose is not among them is a refusal, so a human's.
    """
    if request.type != "object" or absolute(request, table):
        return False
    purposes = [table.purposes[name] for name in request.purposes or () if name in table.purposes]
    return any(each.on_objection == "review" or each.basis != "legitimate_interests" for each in purposes)
