"""
Until when a request must be answered.

One month from receipt by the ICO's arithmetic: the same date next month; no such date, that month's last day; on a weekend or
public holiday, the next working day. Source: UK GDPR and EU GDPR Art. 12(3); ICO guidance on time limits.
"""

from datetime import date, timedelta

import holidays
from dateutil.relativedelta import relativedelta

_WEEKEND = 5


def due_date(received: date, months: int, regime: str) -> date:
    """The last day on which the answer is in time."""
    day = received + relativedelta(months=months)
    bank = holidays.country_holidays("GB", subdiv="ENG") if regime == "uk" else {}
    while day.weekday() >= _WEEKEND or day in bank:
        day += timedelta(1)
    return day
