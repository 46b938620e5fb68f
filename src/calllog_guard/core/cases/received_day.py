"""
When a request came, as somebody types it: a letter bears the day on which it arrived, not that of its entry.

Rules: 1. A date alone is that day in the tenant's zone; a moment has an offset.  2. Nothing came in the future.
       3. What is more than a month past is overdue as it arrives: that must be said, for it is mostly a mistyped year.
Source: GDPR Art. 12(3) (from receipt of the request); RFC 3339.
"""

import re
from contextlib import suppress
from datetime import UTC, date, datetime, time
from typing import Final
from zoneinfo import ZoneInfo

from calllog_guard.core.cases.deadlines import LAW_MONTHS, months_after
from calllog_guard.errors import ConfigurationError

_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d\Z", re.ASCII)
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)\Z", re.ASCII)
_NAME: Final = "--received-at"


def received_moment(text: str, *, zone: str, now: datetime, long_ago: bool) -> datetime:
    """
    The moment that a text means.

    Args:
        zone: The tenant's (IANA).
        long_ago: It is known to be more than a month past.

    Raises:
        ConfigurationError: No such moment, one in the future, or one so old that it must be meant.

    """
    moment = _read(text, ZoneInfo(zone))
    if moment > now:
        raise ConfigurationError(f"{_NAME}: {text} is in the future")
    today = now.astimezone(ZoneInfo(zone)).date()
    if months_after(moment.astimezone(ZoneInfo(zone)).date(), LAW_MONTHS) < today and not long_ago:
        raise ConfigurationError(f"{_NAME}: {text} is more than a month past: say --long-ago if it is meant")
    return moment


def _read(text: str, zone: ZoneInfo) -> datetime:
    moment = None
    with suppress(ValueError, OverflowError):
        if _DAY.match(text):
            moment = datetime.combine(date.fromisoformat(text), time(), zone).astimezone(UTC)
        elif _MOMENT.match(text):
            moment = datetime.fromisoformat(text.upper())
    if moment is None or moment.year < _FIRST_YEAR:
        raise ConfigurationError(
            f"{_NAME}: {text!r} is no day or moment from {_FIRST_YEAR} on; write 2026-06-25, or 2026-06-25T10:30:00Z"
        )
    return moment


_FIRST_YEAR: Final = 2000
"""What the desk accepts (`check_year`)."""
