"""
Which version holds on a day, and for how long a leg may stay under it.

Rules: 1. A leg lives by the version it was stored under and by every later one in force: a shortened period reaches it,
          a lengthened one does not.  2. A purpose that any of them lacks is no purpose of that leg any more, even if it
          comes back.  3. A version whose day has not come changes nothing.  4. A promised deletion is kept: a leg is
          anonymised only where every version that it lived under says so.
Source: docs/how-to/write-the-policy.md; GDPR Art. 5(1)(b) and (e).
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

from calllog_guard.core.policy.form import TenantPolicy, Version
from calllog_guard.core.retention.purposes import Purpose


def law(versions: Sequence[Version]) -> tuple[Version, ...]:
    """Of each day the last word: a mistake that was corrected on its day is the law of no leg, whenever stored."""
    return tuple({version.effective: version for version in sorted(versions, key=lambda each: each.order)}.values())


def change_at(versions: Sequence[Version], today: date, wanted: date | None = None) -> tuple[Version, Version] | None:
    """
    The next version whose day is not past, its own day included, and the one before it.

    Args:
        versions: One a day, oldest first.
        wanted: The day of the version that is meant instead.

    """
    meant = (each for each in versions if (each.effective >= today if wanted is None else each.effective == wanted))
    following = next(meant, None)
    earlier = [each for each in versions if following is not None and each.effective < following.effective]
    return (earlier[-1], following) if earlier and following is not None else None


def in_force(versions: Sequence[Version], day: date) -> Version | None:
    """The version that holds on a day; `versions` come oldest first."""
    return next((version for version in reversed(versions) if version.effective <= day), None)


def purposes_since(versions: Sequence[Version], tenant: str, stored: str, today: date) -> tuple[Purpose, ...]:
    """
    What may still keep a leg that was stored under the version `stored` (its day, as in the leg's header).

    Each purpose comes with its period now and, as `limits`, the periods of the versions in between.
    """
    reign = [version for version in versions if version.effective <= today]
    began = max(
        (version.effective.isoformat() for version in reign if version.effective.isoformat() <= stored), default=""
    )
    passed = [version.tenant.get(tenant) for version in reign if version.effective.isoformat() >= began]
    if not passed or passed[-1] is None:
        return ()
    tables = [_by_number(table) for table in passed]
    return tuple(
        replace(
            purpose,
            limits=tuple(table[number].keep for table in tables[:-1]),
            then=purpose.then if all(table[number].then == purpose.then for table in tables) else "delete",
        )
        for number, purpose in tables[-1].items()
        if all(number in table for table in tables)
    )


def has_survived(versions: Sequence[Version], tenant: str, number: int, today: date) -> bool:
    """Whether any version that has been in force made a purpose survive an erasure."""
    tables = [_by_number(version.tenant.get(tenant)) for version in versions if version.effective <= today]
    return any(number in table and table[number].survives_erasure for table in tables)


def _by_number(table: TenantPolicy | None) -> dict[int, Purpose]:
    return {} if table is None else {purpose.number: purpose for purpose in table.listed()}


def events_named(versions: Sequence[Version], tenant: str, today: date) -> tuple[str, ...]:
    """The topics of a tenant's events, each once: the version in force first, then what waiting versions add."""
    now = in_force(versions, today)
    waiting = [version for version in versions if version.effective > today]
    tables = [version.tenant[tenant] for version in (now, *waiting) if version is not None and tenant in version.tenant]
    return tuple(dict.fromkeys(topic for table in tables for topic in table.events))


def longest_keep_days(versions: Sequence[Version], tenant: str) -> int:
    """The longest period of any purpose of a tenant in any version, in days, rounded up to 31 for each month."""
    tables = [version.tenant[tenant] for version in versions if tenant in version.tenant]
    keeps = [purpose.keep for table in tables for purpose in table.listed()]
    return max((months * 31 + days for months, days in keeps), default=1)
