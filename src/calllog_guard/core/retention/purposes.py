"""
Purposes: why a leg is kept, on which basis, for how long.

A leg carries its purposes as a bit mask; the bit of purpose number n is `1 << (n - 1)`, never reused.
Source: docs/reference/messages.md, docs/how-to/write-the-policy.md; GDPR Art. 5(1)(b), 6(1).
"""

from dataclasses import dataclass
from datetime import MAXYEAR, date, timedelta
from typing import Final, Literal

Basis = Literal["contract", "legal_duty", "consent", "legitimate_interests"]
Keep = tuple[int, int]
"""Calendar months and days: a period of years has no fixed number of days."""
GRACE_DAYS: Final = 31
"""For how long the topic of the legs keeps what has outlived the longest period: the sweep removes it long before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Purpose:
    """
    One purpose of one policy version; empty `roles` or `outcomes` mean all.

    Args:
        limits: Periods of other versions that a leg has lived under; the earliest end of all counts.

    """

    name: str
    number: int
    basis: Basis
    keep: Keep
    then: Literal["delete", "anonymise"] = "delete"
    survives_erasure: bool = False
    roles: frozenset[str] = frozenset()
    outcomes: frozenset[str] = frozenset()
    shows: tuple[str, ...] = ("started_at", "duration_s", "role")
    limits: tuple[Keep, ...] = ()

    def end(self, day: date) -> date:
        """The last day on which a call of `day` is kept for this purpose: 90 days and 3 months compare by calendar."""
        return min(add(day, keep) for keep in (self.keep, *self.limits))

    def promised(self, day: date) -> Keep:
        """The period by which that day was reckoned."""
        return min((self.keep, *self.limits), key=lambda keep: add(day, keep))

    @property
    def bit(self) -> int:
        """The purpose's bit in a leg's mask."""
        return 1 << (self.number - 1)

    def covers(self, role: str, outcome: str) -> bool:
        """Whether a leg of this role in such a call is kept for this purpose at all."""
        return (not self.roles or role in self.roles) and (not self.outcomes or outcome in self.outcomes)


def add(day: date, keep: Keep) -> date:
    """A day plus a period; a day that the month lacks becomes its last, one beyond the calendar the calendar's last."""
    months = day.year * 12 + day.month - 1 + keep[0]
    if months >= MAXYEAR * 12 + 11:
        return date.max
    first = date(months // 12, months % 12 + 1, 1)
    following = date((months + 1) // 12, (months + 1) % 12 + 1, 1)
    return _after(min(first + timedelta(day.day - 1), following - timedelta(1)), keep[1])


def _after(day: date, days: int) -> date:
    """So many days later, the calendar's last day at most: one record's forged day stops nobody's sweep."""
    return day + timedelta(days) if days < (date.max - day).days else date.max


def mask_for(purposes: tuple[Purpose, ...], role: str, outcome: str) -> int:
    """The purposes for which a leg may be kept, before the person's own choices."""
    return sum(purpose.bit for purpose in purposes if purpose.covers(role, outcome))


REMOVED_DAYS: Final = 37
"""Behind EVENT_LATE_DAYS, whose default is 35; see `due_day`."""


def allowed(mask: int, consent_bits: int, *, objected: int, withdrawn: int, consented: int) -> int:
    """What is left of a mask after a person's objections and withdrawals; consent purposes only once given."""
    return mask & ~objected & ~withdrawn & (~consent_bits | consented)


def due_day(day: date, mask: int, purposes: tuple[Purpose, ...]) -> date:
    """
    The first day on which no purpose of the mask reaches back to a call of `day` (whose end may lie on the next).

    With no purpose left at all, because the policy dropped them, that is at once. What never had one stands in place
    of a leg that was removed, and goes once no older event of its call can come.
    """
    if not mask:
        return _after(day, REMOVED_DAYS)
    ends = [purpose.end(day) for purpose in purposes if mask & purpose.bit]
    return _after(max(ends), 1) if ends else day


def anonymises(day: date, mask: int, purposes: tuple[Purpose, ...]) -> bool:
    """Whether a leg is counted before it goes: every purpose that lapses last says so; with none left it is deleted."""
    left = [purpose for purpose in purposes if mask & purpose.bit]
    last = max((purpose.end(day) for purpose in left), default=None)
    return last is not None and all(purpose.then == "anonymise" for purpose in left if purpose.end(day) == last)


def standing(day: date, purposes: tuple[Purpose, ...], today: date) -> int:
    """The purposes that still reach back to a call of `day`, as bits: what a sweep would leave, decided on storing."""
    return sum(purpose.bit for purpose in purposes if due_day(day, purpose.bit, (purpose,)) > today)


NO_PURPOSE: Final = "no purpose left"
"""The rule by which a leg goes whose purposes the policy has dropped, or that never had one."""


def period_text(keep: Keep) -> str:
    """A period as ISO 8601 writes it."""
    years, months = divmod(keep[0], 12)
    parts = ((years, "Y"), (months, "M"), (keep[1], "D"))
    return "P" + "".join(f"{many}{unit}" for many, unit in parts if many)


def rule_of(day: date, mask: int, purposes: tuple[Purpose, ...]) -> str:
    """By which rule a leg lapses: the purposes that reach back furthest, with their periods and what is done then."""
    left = [purpose for purpose in purposes if mask & purpose.bit]
    if not left:
        return NO_PURPOSE
    last = max(purpose.end(day) for purpose in left)
    lasting = sorted((each for each in left if each.end(day) == last), key=lambda each: each.number)
    named = " and ".join(f"{each.name} {period_text(each.promised(day))}" for each in lasting)
    return f"{named}, then {'anonymise' if anonymises(day, mask, purposes) else 'delete'}"
