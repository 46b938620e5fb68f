"""
What a change of policy does: a line per difference, those that need a deliberate word marked, and which legs lapse by it.

Source: design section 11; GDPR Art. 5(1)(b) and (e), 13(3).
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import Final, Literal, NamedTuple

import msgspec

from calllog_guard.core.policy.form import PurposeTable, TenantPolicy, Version, period
from calllog_guard.core.policy.versions import purposes_since
from calllog_guard.core.retention.purpose import Keep, add, due_day

What = Literal["added", "dropped", "lengthened", "shortened", "changed"]
_DAYS: Final = tuple(date(2023, 1, 1) + timedelta(number) for number in range(4 * 365 + 1))
"""Four years with their leap day: every length that a calendar period can have begins on one of these days."""


class Difference(NamedTuple):
    """One line: what changed, of what, from what to what."""

    tenant: str
    what: What
    where: str
    before: str
    after: str


def longer(after: Keep, before: Keep) -> bool:
    """Whether a period reaches further than another from any day at all: 3 months do beyond 90 days, and 92 days beyond both."""
    return after != before and any(add(day, after) > add(day, before) for day in _DAYS)


def differences(before: Version, after: Version) -> list[Difference]:
    """Every difference between two versions that somebody or some leg notices."""
    found: list[Difference] = []
    for name in sorted(before.tenant.keys() | after.tenant.keys()):
        old, new = before.tenant.get(name), after.tenant.get(name)
        if old is None or new is None:
            found.append(Difference(name, "added" if old is None else "dropped", "tenant", "", ""))
        else:
            found.extend(Difference(name, *line) for line in _of_tenant(old, new))
    return found


_Line = tuple[What, str, str, str]


def _of_tenant(old: TenantPolicy, new: TenantPolicy) -> Iterator[_Line]:
    for name in sorted(old.purposes.keys() | new.purposes.keys()):
        was, is_now = old.purposes.get(name), new.purposes.get(name)
        if was is None or is_now is None:
            yield "added" if was is None else "dropped", f"purposes.{name}", _purpose(was), _purpose(is_now)
        else:
            yield from _of_purpose(f"purposes.{name}", was, is_now)
    for family in ("requesters", "actors", "recipients"):
        yield from _of_people(family, getattr(old, family), getattr(new, family))
    plain = set(TenantPolicy.__struct_fields__) - {"purposes", "requesters", "actors", "recipients"}
    for field in sorted(plain):
        a, b = getattr(old, field), getattr(new, field)
        if a != b:
            yield "changed", field, _text(a), _text(b)


def _of_purpose(where: str, was: PurposeTable, is_now: PurposeTable) -> Iterator[_Line]:
    if longer(period(is_now.keep), period(was.keep)):
        yield "lengthened", f"{where}.keep", was.keep, is_now.keep
    elif was.keep != is_now.keep:
        yield "shortened", f"{where}.keep", was.keep, is_now.keep
    for field in PurposeTable.__struct_fields__:
        a, b = getattr(was, field), getattr(is_now, field)
        if field != "keep" and a != b:
            yield "changed", f"{where}.{field}", _text(a), _text(b)


def _of_people(family: str, old: Mapping[str, msgspec.Struct], new: Mapping[str, msgspec.Struct]) -> Iterator[_Line]:
    for name in sorted(old.keys() | new.keys()):
        was, is_now = old.get(name), new.get(name)
        if was is None or is_now is None:
            yield "added" if was is None else "dropped", f"{family}.{name}", _person(was), _person(is_now)
            continue
        for field in was.__struct_fields__:
            a, b = getattr(was, field), getattr(is_now, field)
            if a != b:
                hidden = field == "key"  # the text of a key tells a reader nothing
                yield "changed", f"{family}.{name}.{field}", "" if hidden else _text(a), "" if hidden else _text(b)


def _purpose(table: PurposeTable | None) -> str:
    return "" if table is None else f"{table.number}, {table.basis}, {table.keep}, then {table.then}"


def _person(table: msgspec.Struct | None) -> str:
    if table is None:
        return ""
    texts = (_text(getattr(table, field)) for field in table.__struct_fields__ if field != "key")
    return "; ".join(filter(None, texts))


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(_text, value))
    if value is msgspec.UNSET:
        return ""
    if isinstance(value, msgspec.Struct):
        parts = ((name, getattr(value, name)) for name in value.__struct_fields__)
        return "; ".join(f"{name} {_text(part)}" for name, part in parts if part not in {None, ()} and name != "key")
    if value is None or isinstance(value, bool):
        return {None: "", True: "yes", False: "no"}[value]
    return str(value)


Stored = tuple[date, int, str]
"""Day, mask and version of a leg, as its header says them."""


class Lapsing(NamedTuple):
    """Of the stored legs: how many there are, how many are due on that day anyway, and how many become so by the change."""

    legs: int
    due_anyway: int
    due_by_change: int


def lapsing(
    before: Sequence[Version], after: Sequence[Version], tenant: str, legs: Mapping[Stored, int], day: date
) -> Lapsing:
    """What falls due when `after` is the law instead of `before`; `legs` are counted by what decides about them."""
    count: Counter[str] = Counter()
    for (start, mask, stored), many in legs.items():
        count["legs"] += many
        if due_day(start, mask, purposes_since(before, tenant, stored, day)) <= day:
            count["anyway"] += many
        elif due_day(start, mask, purposes_since(after, tenant, stored, day)) <= day:
            count["change"] += many
    return Lapsing(count["legs"], count["anyway"], count["change"])
