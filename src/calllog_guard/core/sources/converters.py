"""
What may be made of a value on its way into an event: a closed list.

In: a value as JSON has it, and what a mapping's user has set.  Out: text, a number, a truth value, or a time in UTC.
Rules: 1. What cannot be converted is refused by the kind of what was found, never by its value.
       2. A time of 1970, and the number 0, is no time: platforms write them where they have none.
Source: RFC 3339, RFC 5322 (dates), RFC 3966 (tel), RFC 3261 (sip), ITU-T E.164; docs/reference/mapping.md.
"""

import re
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal, DecimalException
from email.utils import parsedate_to_datetime
from typing import Any, Final, NamedTuple
from urllib.parse import unquote_to_bytes
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from calllog_guard.core.codec import behind_leap_second
from calllog_guard.core.sources.model import Convert, MappingSettings
from calllog_guard.errors import ConfigurationError, UnmappedError


class Around(NamedTuple):
    """What a converter may know beside the value: the settings, and the second near which a local time lies."""

    settings: MappingSettings
    zone: ZoneInfo | None = None
    near_s: float | None = None


class Converter(NamedTuple):
    """A converter: what it takes and gives, in words, and how."""

    takes: str
    gives: str
    run: Callable[[Any, Around], Any]


def kind_of(value: Any) -> str:
    """What a value is, in a word that tells nothing of it."""
    if isinstance(value, bool):
        return "true or false"
    words = {str: "text", int: "a number", float: "a number", list: "a list", dict: "an object", datetime: "a time"}
    return "nothing" if value is None else next((word for kind, word in words.items() if isinstance(value, kind)), "?")


def zone_of(settings: MappingSettings) -> ZoneInfo | None:
    """
    The zone of local times.

    Raises:
        ConfigurationError: There is no such zone.

    """
    try:
        return ZoneInfo(settings.zone) if settings.zone else None
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigurationError("there is no such time zone: give one as --set zone=Europe/London") from None


def _wrong(value: Any) -> UnmappedError:
    return UnmappedError("wrong_value", found=kind_of(value))


# --- texts and numbers ----------------------------------------------------------------------------------------------

_TRUTH: Final = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,20}(\.[0-9]{1,20})?\Z")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _wrong(value)
    return value


def _number_text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise _wrong(value)
    return str(value)


def _decimal(value: Any) -> Decimal:
    """A number, also one that came as text; a fraction keeps the digits with which it was written."""
    text = repr(value) if isinstance(value, int | float) and not isinstance(value, bool) else _text(value).strip()
    if not _NUMBER.match(text):
        raise _wrong(value)
    return Decimal(text)


def seconds(value: Any) -> float:
    """
    A length of time in seconds.

    Raises:
        UnmappedError: It is no number.

    """
    return float(_decimal(value))


def _integer(value: Any) -> int:
    found = _decimal(value)
    if found != int(found):
        raise _wrong(value)
    return int(found)


def _truth(value: Any) -> bool:
    found = value if isinstance(value, bool) else _TRUTH.get(_number_text(value).strip().lower())
    if found is None:
        raise _wrong(value)
    return found


def _decoded(value: Any) -> str:
    try:
        return unquote_to_bytes(_text(value)).decode()
    except UnicodeDecodeError:
        raise _wrong(value) from None


_NAMED: Final = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^<"]*)\s*<(?P<inner>[^<>]*)>\s*\Z')


def _address(value: Any) -> str:
    """What stands in angle brackets behind a name, or all of it where there are none."""
    found = _NAMED.match(_text(value).strip())
    return (found["inner"] if found else value).strip()


_SCHEME: Final = re.compile(r"(?:tel|sips?):", re.IGNORECASE)


def _sip(value: Any) -> str:
    """A SIP URI without its scheme, parameters and headers."""
    return re.split("[;?]", _SCHEME.sub("", _address(value), count=1), maxsplit=1)[0]


def _sip_user(value: Any) -> str:
    user = _sip(value).partition("@")[0].partition(":")[0]
    return _decoded(user)


def _sip_address(value: Any) -> str:
    user, at, host = _sip(value).partition("@")
    if not at or not user or not host:
        raise _wrong(value)
    return f"{_decoded(user.partition(':')[0])}@{host.partition(':')[0].lower()}"


_SEPARATORS: Final = re.compile(r"[-\u2010-\u2015 ./()]")
_E164: Final = re.compile(r"\+[1-9][0-9]{6,14}\Z")
_DIGITS: Final = re.compile(r"[1-9][0-9]{6,14}\Z")


_KEEPS_ZERO: Final = frozenset({"39", "378"})
"""Italy and San Marino have no trunk prefix: the zero is part of the number."""


def _e164(value: Any, around: Around) -> str:
    """
    A number of the whole world, however it is written.

    `00` stands for `+`; with a country set, one leading zero stands for that country.
    """
    text = _SEPARATORS.sub(
        "", _SCHEME.sub("", _number_text(value).strip(), count=1).partition(";")[0].replace("(0)", "")
    )
    country = around.settings.country
    if text.startswith("00"):
        text = "+" + text[2:]
    elif country and text.startswith("0"):
        text = f"+{country}{text if country in _KEEPS_ZERO else text[1:]}"
    elif country and _DIGITS.match(text) and text.startswith(country):
        text = "+" + text
    if not _E164.match(text):
        raise _wrong(value)
    return text


# --- times ----------------------------------------------------------------------------------------------------------

_MOST: Final = 10**20
"""Beyond, a number has more digits than are read."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NO_YEAR: Final = 1970
_ISO: Final = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d|\d{8})[Tt_ ](?P<clock>\d\d:?\d\d(?::?\d\d)?)(?:[.,](?P<fraction>\d{1,12}))?"
    r" ?(?P<zone>[Zz]|UTC|[+-]\d\d(?::?\d\d)?)?\Z"
)


_FLOATS: Final = (1.0, float(1 << 32))
"""Between these, no two microseconds are one float, and what is written of a float has no exponent."""


def _micros(value: Any, per_second: int) -> int:
    """Microseconds since 1970, without what is finer; the usual numbers need no decimals."""
    each = 1_000_000 // per_second
    if type(value) is int and -_MOST < value < _MOST:
        return value * each
    if per_second == 1 and type(value) is float and _FLOATS[0] <= value < _FLOATS[1]:
        micros = round(value * 1_000_000)
        if micros / 1_000_000 == value:  # it was written with six digits at most: these
            return micros
    return int(_decimal(value) * each)


def _since_1970(per_second: int) -> Callable[[Any, Around], datetime | None]:
    def moment(value: Any, _: Around) -> datetime | None:
        try:
            found = _EPOCH + timedelta(microseconds=_micros(value, per_second))
        except (OverflowError, DecimalException):
            raise _wrong(value) from None
        return _or_none(found)

    return moment


def _or_none(moment: datetime) -> datetime | None:
    return None if moment.year <= _NO_YEAR else moment


class _Read(NamedTuple):
    """A time as it stands: the clock's without a zone, the zone, and whether it is a leap second, with 59 for 60."""

    clock: datetime
    zone: str | None
    leap: bool

    def moment(self, value: Any, offset: timedelta | ZoneInfo, fold: int = 0) -> datetime:
        """It in UTC; raises UnmappedError on a leap second where UTC has none, and beyond the calendar."""
        try:
            if isinstance(offset, ZoneInfo):
                found = self.clock.replace(tzinfo=offset, fold=fold).astimezone(UTC)
            else:
                found = (self.clock - offset).replace(tzinfo=UTC)
        except OverflowError:
            raise _wrong(value) from None
        behind = behind_leap_second(found) if self.leap else found
        if behind is None:
            raise _wrong(value)
        return behind


def _parsed(value: Any) -> _Read:
    found = _ISO.match(_text(value).strip())
    if found is None:
        raise _wrong(value)
    clock = found["clock"].replace(":", "").ljust(6, "0")
    micros = int((found["fraction"] or "").ljust(6, "0")[:6])
    try:
        moment = datetime.fromisoformat(found["date"].replace("-", "") + "T" + clock[:4] + min(clock[4:], "59"))
    except ValueError:
        raise _wrong(value) from None
    if clock[4:] > "60":
        raise _wrong(value)
    return _Read(moment.replace(microsecond=micros), found["zone"], clock[4:] == "60")


_USUAL: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-5][0-9](?:\.[0-9]{3}(?:[0-9]{3})?)?Z\Z")
"""As nearly all are written; `fromisoformat` reads these as we do, and refuses what is in no calendar."""


def _iso(value: Any, _: Around) -> datetime | None:
    if isinstance(value, str) and _USUAL.match(value):
        with suppress(ValueError):  # told below
            return _or_none(datetime.fromisoformat(value))
    read = _parsed(value)
    zone = read.zone
    if zone is None:
        raise UnmappedError("no_offset", found="a time without its offset")
    digits = "0000" if zone in {"Z", "z", "UTC"} else zone[1:].replace(":", "").ljust(4, "0")
    shift = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return _or_none(read.moment(value, -shift if zone[0] == "-" else shift))


_LEAP_OF_2822: Final = re.compile(r"(?<=:\d\d):60(?=\s|\Z)", re.ASCII)


def _rfc_2822(value: Any, _: Around) -> datetime | None:
    text, leap = _LEAP_OF_2822.subn(":59", _text(value).strip(), count=1)
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError):
        raise _wrong(value) from None
    if found.tzinfo is None:
        raise UnmappedError("no_offset", found="a time without its offset")
    offset = found.utcoffset() or timedelta()
    return _or_none(_Read(found.replace(tzinfo=None), None, bool(leap)).moment(value, offset))


def _local(value: Any, around: Around) -> datetime | None:
    """
    A local time in the zone that is set.

    One that exists twice is the one near the second that tells, or which of two the settings say.
    One that does not exist is refused: the zone is wrong.
    """
    read = _parsed(value)
    if read.zone is not None:
        return _iso(value, around)
    if read.clock.year <= _NO_YEAR:
        return None
    if around.zone is None:
        raise UnmappedError("no_zone", found="a local time")
    first, second = (read.moment(value, around.zone, fold) for fold in (0, 1))
    if first == second:
        return first
    if first > second:  # skipped when the clocks went forward
        raise UnmappedError("no_such_hour", found="a local time that its zone does not have")
    if around.near_s is not None:
        away = sorted((abs(each.timestamp() - around.near_s), each) for each in (first, second))
        if away[0][0] < (second - first).total_seconds():
            return away[0][1]
    if around.settings.twice == "refuse":
        raise UnmappedError("hour_twice", found="a local time that its zone has twice")
    return first if around.settings.twice == "first" else second


def _day(value: Any, _: Around) -> str:
    if not isinstance(value, datetime):
        raise _wrong(value)
    return value.astimezone(UTC).date().isoformat()


CONVERTERS: Final[dict[Convert, Converter]] = {
    "text": Converter("text", "the same text; a number is refused", lambda value, _: _text(value)),
    "number-text": Converter("text or a whole number", "text", lambda value, _: _number_text(value)),
    "integer": Converter("a whole number, also as text", "a whole number", lambda value, _: _integer(value)),
    "bool": Converter("true, false, 1, 0, yes, no; also as text", "true or false", lambda value, _: _truth(value)),
    "lower": Converter("text", "lower case", lambda value, _: _text(value).lower()),
    "url-decoded": Converter("text with `%40`", "text", lambda value, _: _decoded(value)),
    "name": Converter('`"A Name" <+441632960961>`', "what stands in the brackets", lambda value, _: _address(value)),
    "e164": Converter("a number as people write it, also behind `tel:`", "`+441632960961`", _e164),
    "sip-user": Converter(
        "`sip:+441632960961@pbx.example.org`", "what stands before the `@`", lambda value, _: _sip_user(value)
    ),
    "sip-address": Converter(
        "`<sip:a@pbx.example.org;transport=tls>`", "`a@pbx.example.org`", lambda value, _: _sip_address(value)
    ),
    "seconds": Converter("a number, also as text", "a length of time", lambda value, _: seconds(value)),
    "epoch-s": Converter("seconds since 1970, also as text or with a fraction", "a time", _since_1970(1)),
    "epoch-ms": Converter("milliseconds since 1970, also as text", "a time", _since_1970(1_000)),
    "epoch-us": Converter("microseconds since 1970, also as text", "a time", _since_1970(1_000_000)),
    "iso-8601": Converter("`2026-11-24T09:00:00.1234567Z`, `+0000`, `+01:00`", "a time", _iso),
    "rfc-2822": Converter("`Tue, 24 Nov 2026 09:00:00 +0000`", "a time", _rfc_2822),
    "local": Converter("`2026-11-24 09:00:00`, in the zone that is set", "a time", _local),
    "day": Converter("a time, behind one of the above", "its day in UTC, `2026-11-24`", _day),
}
"""Every converter of a mapping."""
