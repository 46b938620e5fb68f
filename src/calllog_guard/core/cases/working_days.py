"""
A tenant's days: on which of them a moment falls, and which of them are worked.

uk: Europe/London, bank holidays of England and Wales. eu: UTC and no public holidays: the law names no country's.
A tenant may name a time zone, a country and a part of it. Holidays come from a library; one that a state adds moves
due dates only once the library knows it: until then they are too early, never too late.
Source: ICO on time limits; Regulation (EEC, Euratom) 1182/71 Art. 3(4).
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from calllog_guard.errors import ConfigurationError

if TYPE_CHECKING:
    import holidays

Regime = Literal["uk", "eu"]
_DAY: Final = timedelta(1)
_SATURDAY: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """A tenant's days: its time zone (IANA), and whose public holidays count; without a country only weekends do."""

    zone: str = "UTC"
    country: str | None = None
    subdivision: str | None = None

    def day(self, moment: datetime) -> date:
        """The day on which an aware moment falls here."""
        return moment.astimezone(ZoneInfo(self.zone)).date()

    def working(self, day: date) -> bool:
        """Whether it is neither a weekend nor a public holiday."""
        return day.weekday() < _SATURDAY and not (self.country and day in _holidays(self.country, self.subdivision))

    def on_or_after(self, day: date) -> date:
        """The day itself if it is a working day, else the next one."""
        while not self.working(day):
            day += _DAY
        return day

    def before(self, day: date) -> date:
        """The last working day before it."""
        day -= _DAY
        while not self.working(day):
            day -= _DAY
        return day


@cache
def _holidays(country: str, subdivision: str | None) -> "holidays.HolidayBase":
    import holidays  # noqa: PLC0415 - takes long to load, and who writes no due date needs none

    return holidays.country_holidays(country, subdiv=subdivision)


def calendar_of(regime: Regime, *, country: str = "", subdivision: str = "", zone: str = "") -> Calendar:
    """
    The calendar of a tenant; what it does not name is England's for uk, and UTC without public holidays for eu.

    Raises:
        ConfigurationError: No such zone, country or subdivision; the policy is refused at start.

    """
    english, named = regime == "uk", bool(country or subdivision)
    if not country:
        country, subdivision = ("GB", subdivision or "ENG") if english else ("", "")
    calendar = Calendar(
        zone=zone or ("Europe/London" if english else "UTC"), country=country or None, subdivision=subdivision or None
    )
    try:
        ZoneInfo(calendar.zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigurationError(f"{zone!r} is no time zone; write one as Europe/London") from None
    try:
        if calendar.country and named:
            _holidays(calendar.country, calendar.subdivision)
    except NotImplementedError:
        wanted = "ISO 3166 codes, as GB with ENG, SCT or NIR"
        raise ConfigurationError(f"no public holidays are known for {country} {subdivision}; write {wanted}") from None
    return calendar
