"""What each converter makes of what platforms write, and what it refuses."""

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sizes import size

from calllog_guard.core.calls.reading import checked as read_strictly
from calllog_guard.core.identity.rules import DEFAULT
from calllog_guard.core.sources.converters import CONVERTERS, Around, zone_of
from calllog_guard.core.sources.model import Convert, MappingSettings
from calllog_guard.errors import ConfigurationError, UnmappedError


def made(name: Convert, value: Any, near_s: float | None = None, **settings: Any) -> Any:
    """What a converter makes of a value."""
    set_to = MappingSettings(**settings)
    return CONVERTERS[name].run(value, Around(set_to, zone_of(set_to), near_s))


def at(*parts: int) -> datetime:
    """A time in UTC."""
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc,arg-type]  # year to microsecond


GOOD: list[tuple[Convert, Any, Any]] = [
    ("number-text", 16778240, "16778240"),
    ("integer", "1650117928", 1650117928),
    ("bool", "TRUE", True),
    ("bool", 0, False),
    ("lower", "OK", "ok"),
    ("url-decoded", "ana%40example.org", "ana@example.org"),
    ("name", '"A <strange> Name" <+441632960961>', "+441632960961"),
    ("name", "+441632960961", "+441632960961"),
    ("e164", "+44 (0)1632 960-961", "+441632960961"),
    ("e164", "0044 1632 960961", "+441632960961"),
    ("e164", "tel:+44-1632-960961;phone-context=example.org", "+441632960961"),
    ("sip-user", "sip:+441632960961@pbx.example.org:5060;user=phone", "+441632960961"),
    ("sip-user", '"A" <sips:ana%2Eb:secret@pbx.example.org>', "ana.b"),
    ("sip-address", "<sip:ana@PBX.example.org:5060;transport=tls>", "ana@pbx.example.org"),
    ("seconds", "216.2", 216.2),
    ("epoch-s", 1708972302.986, at(2024, 2, 26, 18, 31, 42, 986000)),
    ("epoch-s", "1650117928", at(2022, 4, 16, 14, 5, 28)),
    ("epoch-ms", 1600951800112, at(2020, 9, 24, 12, 50, 0, 112000)),
    ("epoch-us", "1764493200000001", at(2025, 11, 30, 9, 0, 0, 1)),
    ("epoch-s", 0, None),
    ("iso-8601", "2026-11-24T09:00:00.1234567Z", at(2026, 11, 24, 9, 0, 0, 123456)),
    ("iso-8601", "2026-11-24t09:00:00z", at(2026, 11, 24, 9)),
    ("iso-8601", "2026-11-24T10:30:00+0130", at(2026, 11, 24, 9)),
    ("iso-8601", "2026-11-24 09:00:00 UTC", at(2026, 11, 24, 9)),
    ("iso-8601", "2016-12-31T23:59:60Z", at(2017, 1, 1)),
    ("iso-8601", "2017-01-01T00:59:60.5+01:00", at(2017, 1, 1, 0, 0, 0, 500000)),
    ("rfc-2822", "Sat, 31 Dec 2016 18:59:60 -0500", at(2017, 1, 1)),
    ("iso-8601", "1970-01-01T00:00:00Z", None),
    ("rfc-2822", "Tue, 24 Nov 2026 10:00:00 +0100", at(2026, 11, 24, 9)),
    ("rfc-2822", "Tue, 24 Nov 2026 09:00:00 GMT", at(2026, 11, 24, 9)),
]


@pytest.mark.parametrize(("name", "value", "expected"), GOOD)
def test_a_converter_makes_of_what_platforms_write_what_they_mean(name: Convert, value: Any, expected: Any) -> None:
    assert made(name, value) == expected


BAD: list[tuple[Convert, Any, str]] = [
    ("text", 7, "wrong_value"),
    ("number-text", True, "wrong_value"),
    ("number-text", 1.5, "wrong_value"),
    ("integer", 1.5, "wrong_value"),
    ("bool", "maybe", "wrong_value"),
    ("e164", "01632 960961", "wrong_value"),
    ("e164", "anonymous", "wrong_value"),
    ("sip-address", "sip:pbx.example.org", "wrong_value"),
    ("seconds", "1e9", "wrong_value"),
    ("epoch-s", "nan", "wrong_value"),
    ("epoch-s", 10**19, "wrong_value"),
    ("iso-8601", "2026-11-24T09:00:00", "no_offset"),
    ("iso-8601", "2026-13-24T09:00:00Z", "wrong_value"),
    ("iso-8601", "2026-11-24T09:00:61Z", "wrong_value"),
    ("iso-8601", "2026-11-24T09:00:60Z", "wrong_value"),
    ("iso-8601", "9999-12-31T23:59:60Z", "wrong_value"),
    ("rfc-2822", "Tue, 24 Nov 2026 09:00:60 +0000", "wrong_value"),
    ("iso-8601", "24/11/2026 09:00", "wrong_value"),
    ("rfc-2822", "yesterday", "wrong_value"),
    ("rfc-2822", "Tue, 24 Nov 2026 09:00:00 -0000", "no_offset"),
    ("local", "2026-11-24 09:00:00", "no_zone"),
    ("url-decoded", "%ff", "wrong_value"),
]


@pytest.mark.parametrize(("name", "value", "reason"), BAD)
def test_what_a_converter_cannot_read_is_refused_by_its_kind(name: Convert, value: Any, reason: str) -> None:
    with pytest.raises(UnmappedError) as refused:
        made(name, value)
    assert refused.value.reason == reason
    assert str(value) not in str(refused.value)


def test_a_country_stands_for_a_leading_zero() -> None:
    assert made("e164", "01632 960961", country="44") == "+441632960961"
    assert made("e164", "441632960961", country="44") == "+441632960961"


def test_italian_numbers_keep_their_zero() -> None:
    assert made("e164", "06 1234567", country="39") == "+39061234567"


@pytest.mark.parametrize("zone", ["Europe", "Mars/Base", "/etc/passwd", "../x"])
def test_what_is_no_zone_is_told(zone: str) -> None:
    with pytest.raises(ConfigurationError, match="no such time zone"):
        zone_of(MappingSettings(zone=zone))


TWICE = "2026-10-25 01:30:00"


def test_the_hour_that_exists_twice_is_told_by_a_second_nearby_or_by_the_settings() -> None:
    """In London 01:30 came twice on that night; an hour's error would put a call into another leg's time."""
    first, second = at(2026, 10, 25, 0, 30), at(2026, 10, 25, 1, 30)
    assert made("local", TWICE, first.timestamp(), zone="Europe/London") == first
    assert made("local", TWICE, second.timestamp() + 5, zone="Europe/London") == second
    assert made("local", TWICE, zone="Europe/London", twice="first") == first
    assert made("local", TWICE, zone="Europe/London", twice="second") == second
    for near_s in (None, 1_790_000_000.0):  # no hint, or one that is of another day
        with pytest.raises(UnmappedError, match="hour_twice"):
            made("local", TWICE, near_s, zone="Europe/London")


def test_an_hour_that_does_not_exist_tells_of_a_wrong_zone() -> None:
    with pytest.raises(UnmappedError, match="no_such_hour"):
        made("local", "2026-03-29 01:30:00", zone="Europe/London")


def test_a_local_time_is_that_of_its_zone_in_summer_and_winter() -> None:
    assert made("local", "2026-07-01 10:00:00", zone="Europe/London") == at(2026, 7, 1, 9)
    assert made("local", "2026-12-01 10:00:00", zone="Europe/London") == at(2026, 12, 1, 10)


def test_each_converter_of_the_form_is_there() -> None:
    assert list(CONVERTERS) == list(get_args(Convert))


ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from([each for _, each, _ in GOOD]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=3,
)


@pytest.mark.parametrize("text", ["2016-12-31T23:59:60Z", "2017-01-01T02:59:60.25+03:00", "2016-12-31t18:59:60-0500"])
def test_a_leap_second_is_the_same_in_an_event_and_through_a_mapping(text: str) -> None:
    """Two ways of telling one call give one leg."""
    event = {"started_at": text, "ended_at": text, "call_id": "c", "kind": "audio", "outcome": "answered"}
    raw = json.dumps(event | {"tenant": "iocom", "parties": [{"id": "a", "role": "host"}]}).encode()
    assert read_strictly(raw, DEFAULT, 2, 0).event.started_at == made("iso-8601", text)


@settings(max_examples=size("CONVERTED", 60, 2000), deadline=None)
@given(st.sampled_from(list(CONVERTERS)), ANY)
def test_whatever_comes_a_converter_gives_a_value_or_our_refusal(name: Convert, value: Any) -> None:
    with suppress(UnmappedError):
        made(name, value, zone="Europe/London")


USUAL = st.one_of(
    st.floats(min_value=0, max_value=1 << 34),
    st.builds(lambda micros: micros / 1_000_000, st.integers(0, 1 << 53)),
    st.integers(-(10**21), 10**21),
)


@given(value=USUAL, unit=st.sampled_from([("epoch-s", 1), ("epoch-ms", 1000), ("epoch-us", 1_000_000)]))
@settings(max_examples=size("CONVERTED", 400, 20_000), deadline=None)
def test_a_usual_number_is_the_moment_that_its_digits_say(value: float, unit: tuple[Convert, int]) -> None:
    """Most numbers are read without decimals: to the microsecond as with them, and what has too many digits is not."""
    name, per_second = unit
    text = repr(value)
    whole = text.removesuffix(".0") if isinstance(value, float) else text

    def asked(given: Any) -> Any:
        try:
            return made(name, given)
        except UnmappedError as error:
            return error.reason

    assert asked(value) == asked(text) == asked(whole), (value, per_second)


@given(st.datetimes(), st.sampled_from([0, 3, 6]))
@settings(max_examples=size("CONVERTED", 200, 10_000), deadline=None)
def test_a_usual_text_is_the_moment_that_any_other_form_of_it_is(moment: datetime, digits: int) -> None:
    """Texts with `Z` are read at once: as those that say the same with an offset."""
    text = moment.isoformat(timespec="microseconds")
    text = text[:19] if not digits else text[: 20 + digits]
    assert made("iso-8601", text + "Z") == made("iso-8601", text + "+00:00")
