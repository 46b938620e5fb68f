"""
Values as people say them: periods, spans of time, days and moments in a zone, lists.

English, and the same on every machine: no locale is asked.
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Final
from zoneinfo import ZoneInfo

from calllog_guard.core.policy.form import period

MONTHS: Final = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_SIZES: Final = ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def many(number: int, noun: str) -> str:
    """A number with its noun: `1 call`, `1,204 calls`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def listing(texts: Sequence[str], last: str = "and") -> str:
    """`a, b and c`."""
    return f" {last} ".join(filter(None, (", ".join(texts[:-1]), *texts[-1:])))


def period_words(text: str) -> str:
    """An ISO 8601 period of days, months or years: `6 years`, `1 year and 6 months`, `90 days`."""
    months, days = period(text)
    years, months = divmod(months, 12)
    return listing([many(size, noun) for size, noun in ((years, "year"), (months, "month"), (days, "day")) if size])


def span_words(seconds: float) -> str:
    """How long something took, in its two largest units: `31 minutes and 10 seconds`."""
    left, found = int(seconds), list[str]()
    for size, noun in _SIZES:
        if left >= size:
            found.append(many(left // size, noun))
            left %= size
    return listing(found[:2]) or ("less than a second" if seconds > 0 else "")


def short_span(seconds: float) -> str:
    """A span for a table or a scale, in its largest unit: `1.5 h`."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def day_words(day: date | str) -> str:
    """`24 November 2026`, of a day or its text."""
    found = date.fromisoformat(day[:10]) if isinstance(day, str) else day
    return f"{found.day} {MONTHS[found.month - 1]} {found.year}"


def month_words(text: str) -> str:
    """`November 2026`, of `2026-11`."""
    year, _, month = text.partition("-")
    return f"{MONTHS[int(month) - 1]} {year}"


def moment(at: datetime | str, zone: str = "UTC") -> datetime:
    """A moment on the clocks of a zone."""
    return (datetime.fromisoformat(at) if isinstance(at, str) else at).astimezone(ZoneInfo(zone))


def moment_words(at: datetime | str, zone: str = "UTC", *, seconds: bool = False) -> str:
    """`24 November 2026, 09:00 GMT`: the clock that is meant stands with it, for it changes twice a year."""
    there = moment(at, zone)
    return (
        f"{day_words(there.date())}, {there:%H:%M:%S}{there: %Z}"
        if seconds
        else f"{day_words(there.date())}, {there:%H:%M %Z}"
    )


def plain(text: str | None) -> str:
    """A word of the messages as a word of people."""
    return (text or "").replace("_", " ")
