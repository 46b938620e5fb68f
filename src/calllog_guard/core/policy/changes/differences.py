"""
What a change of policy does: a line per difference, those that need a deliberate word marked, and which legs lapse.

Rules: 1. What says the same is no difference: the order of a list, a period in other units, a default in so many words.
       2. A key is what it is, not the file that it lies in: two are compared, and shown, by their fingerprint.
       3. A purpose is its number: a new name is another purpose, and refused (`core/policy/checks.py`).
Source: docs/how-to/write-the-policy.md; GDPR Art. 5(1)(b) and (e), 13(3); RFC 7638 (fingerprints).
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from functools import cache
from typing import Final, Literal, NamedTuple

import msgspec

from calllog_guard.core.crypto.jose import public_forms
from calllog_guard.core.policy.form import PEM, PurposeTable, TenantPolicy, Version, period
from calllog_guard.core.policy.versions import purposes_since
from calllog_guard.core.retention.purposes import Keep, add, due_day

What = Literal["added", "dropped", "lengthened", "shortened", "changed"]
_DAYS: Final = tuple(date(2023, 1, 1) + timedelta(number) for number in range(4 * 365 + 1))
"""Four years with their leap day: every length that a calendar period can have begins on one of these days."""
_FAMILIES: Final = ("requesters", "actors", "recipients")


class Difference(NamedTuple):
    """
    One line: what changed, of what, from what to what; of a key, the fingerprints.

    Args:
        part: The table it is in, as `purposes`; empty: the tenant's own. `name`: whose; `field`: which, or empty.

    """

    tenant: str
    what: What
    where: str
    before: str
    after: str
    part: str = ""
    name: str = ""
    field: str = ""


def longer(after: Keep, before: Keep) -> bool:
    """Whether a period reaches further than another from any day: 3 months do beyond 90 days, 92 days beyond both."""
    return after != before and any(add(day, after) > add(day, before) for day in _DAYS)


def differences(before: Version, after: Version) -> list[Difference]:
    """Every difference of two versions that a person or a leg notices; keys named by file are compared by name."""
    found: list[Difference] = []
    for name in sorted(before.tenant.keys() | after.tenant.keys()):
        old, new = before.tenant.get(name), after.tenant.get(name)
        if old is None or new is None:
            found.append(Difference(name, "added" if old is None else "dropped", "tenant", "", ""))
        else:
            found.extend(_whole(name, line) for line in _of_tenant(old, new))
    return found


def effects(before: Version, after: Version) -> Iterator[str]:
    """A line for each difference whose effect the words of the policy do not say."""
    for name in sorted(before.tenant.keys() & after.tenant.keys()):
        old, new = before.tenant[name], after.tenant[name]
        if new.names_guests and not old.names_guests:
            yield (
                f"tenant {name}: from then on each guest of a call leaves a leg under an id of that call alone, and "
                "two entries in the keystore; nobody can ask for it by a name, and it lapses as every leg does"
            )
        if old.names_guests and not new.names_guests:
            yield f"tenant {name}: from then on guests only count; their legs until then lapse as every leg does"
        if further := sorted(set(new.skips) - set(old.skips)):
            yield (
                f"tenant {name}: parties named {', '.join(further)} leave no leg from then on, and count for nothing; "
                "legs that they have stay until they lapse"
            )


_Line = tuple[What, str, str, str, str, str]
"""What, part, name, field, before, after."""


def _whole(tenant: str, line: _Line) -> Difference:
    what, part, name, field, before, after = line
    where = ".".join(filter(None, (part, name, field)))
    return Difference(tenant, what, where, before, after, part, name, field)


def _of_tenant(old: TenantPolicy, new: TenantPolicy) -> Iterator[_Line]:
    for name in sorted(old.purposes.keys() | new.purposes.keys()):
        was, is_now = old.purposes.get(name), new.purposes.get(name)
        if was is None or is_now is None:
            yield "added" if was is None else "dropped", "purposes", name, "", _purpose(was), _purpose(is_now)
        else:
            yield from _of_purpose(name, was, is_now)
    for family in _FAMILIES:
        yield from _of_people(family, getattr(old, family), getattr(new, family))
    yield from _of_notices(old, new)
    plain = set(TenantPolicy.__struct_fields__) - {"purposes", "person_notices", *_FAMILIES}
    for field in sorted(plain):
        if not _alike(old, new, field):
            yield "changed", "", "", field, _text(getattr(old, field)), _text(getattr(new, field))


def _alike(old: TenantPolicy, new: TenantPolicy, field: str) -> bool:
    """Whether a field means the same, whatever it leaves to its default."""
    if field in {"time_zone", "holidays"} and old.calendar == new.calendar:
        return True
    if field == "supervisory_authority" and old.authority == new.authority:
        return True
    if field == "guests" and old.names_guests == new.names_guests:
        return True
    return _said(getattr(old, field) or None) == _said(getattr(new, field) or None)


def _of_purpose(name: str, was: PurposeTable, is_now: PurposeTable) -> Iterator[_Line]:
    before, after = period(was.keep), period(is_now.keep)
    if before != after:
        what: What = "lengthened" if longer(after, before) else "shortened"
        yield what, "purposes", name, "keep", was.keep, is_now.keep
    for field in PurposeTable.__struct_fields__:
        if field != "keep":
            yield from _of_field("purposes", name, field, was, is_now)


def _of_field(part: str, name: str, field: str, was: msgspec.Struct, is_now: msgspec.Struct) -> Iterator[_Line]:
    a, b = getattr(was, field), getattr(is_now, field)
    if field == "key":
        a, b = (fingerprint(each) if isinstance(each, str) else each for each in (a, b))
    if _said(a) != _said(b):
        yield "changed", part, name, field, _text(a), _text(b)


def _of_people(family: str, old: Mapping[str, msgspec.Struct], new: Mapping[str, msgspec.Struct]) -> Iterator[_Line]:
    for name in sorted(old.keys() | new.keys()):
        was, is_now = old.get(name), new.get(name)
        if was is None or is_now is None:
            yield "added" if was is None else "dropped", family, name, "", _person(was), _person(is_now)
            continue
        for field in was.__struct_fields__:
            yield from _of_field(family, name, field, was, is_now)


def _of_notices(old: TenantPolicy, new: TenantPolicy) -> Iterator[_Line]:
    was, is_now = old.person_notices, new.person_notices
    if was is not None and is_now is not None:
        for field in was.__struct_fields__:
            yield from _of_field("person_notices", "", field, was, is_now)
    elif was != is_now:
        yield "added" if was is None else "dropped", "person_notices", "", "", _text(was), _text(is_now)


# --- what is the same, and how it is told -----------------------------------------------------------------------------


@cache
def fingerprint(key: str) -> str:
    """What a key is; the name of its file where nobody has put its text in place."""
    return public_forms(key.encode())[2] if key.startswith(PEM) else key


def _said(value: object) -> object:
    """A value as it counts: a list is a set, and what is left unsaid is not there."""
    if isinstance(value, tuple):
        return frozenset(value)
    if isinstance(value, msgspec.Struct):
        return {name: said for name in value.__struct_fields__ if (said := _said(getattr(value, name)))}
    return None if value is msgspec.UNSET or value is False else value


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
    """Of the stored legs: how many there are, how many are due on that day anyway, and how many by the change alone."""

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
