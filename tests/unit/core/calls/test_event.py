"""What a call event must be, and the one word that each breach is answered with."""

from datetime import UTC, datetime

import pytest

from calllog_guard.core.calls.event import EVENTS, CallEvent, Given, Limits, check_event, plain_names
from calllog_guard.core.calls.leg import leg_texts, read_leg
from calllog_guard.core.calls.reading import read_event
from calllog_guard.core.codec import to_ms
from calllog_guard.core.identity.rules import DEFAULT
from calllog_guard.errors import MessageError

NOW = to_ms(datetime(2026, 11, 24, 10, tzinfo=UTC))
LIMITS = Limits(ahead_ms=300_000, late_ms=35 * 86_400_000, max_bytes=262_144)
GOOD = (
    '{"tenant":"iocom","call_id":"c1","kind":"video","outcome":"answered","started_at":"2026-11-24T09:00:00Z",'
    '"ended_at":"2026-11-24T09:31:10.250Z","parties":[{"id":"alice@example.org","role":"host"},'
    '{"id":"+441632960961","role":"guest"}]}'
)


def read(text: str | bytes | None) -> CallEvent:
    """Read as the tenant's protector would."""
    raw = text.encode() if isinstance(text, str) else text
    return read_event(raw, tenant="iocom", identity=DEFAULT, appended_ms=NOW, limits=LIMITS).event


BAD: list[tuple[str | bytes | None, str]] = [
    (None, "null_value"),
    (b"\xff\xfe", "not_json"),
    ("[" * 100_000, "wrong_value"),
    ("nonsense", "not_json"),
    (b" " * 300_000, "too_large"),
    (GOOD.replace('"kind"', '"topic":1,"kind"'), "unknown_field"),
    (GOOD.replace('"iocom"', '"other"'), "foreign_tenant"),
    (GOOD.replace('"c1"', "7"), "wrong_value"),
    (GOOD.replace('"c1"', '"c\\u0000"'), "bad_id"),
    (GOOD.replace("T09:31", "T08:31"), "end_before_start"),
    (GOOD.replace("11-24T09", "11-24T11"), "in_future"),
    (GOOD.replace("2026-11-24T09", "2026-09-24T09"), "too_late"),
    (GOOD.replace('"answered"', '"phoned"'), "wrong_value"),
    (GOOD.replace("2026-11-24T09:31:10.250Z", "9999-12-31T23:59:59-23:00"), "bad_time"),
    (GOOD.replace("2026-11-24T09:00:00Z", "0001-01-01T00:00:00+23:00"), "bad_time"),
    (GOOD.replace('"c1"', '"\\ud800"'), "not_json"),
]


PARTIES: list[tuple[str, str, str]] = [
    (GOOD.replace("+441632960961", "Alice@example.org"), "duplicate_party", "/parties/1/id"),
    (
        GOOD.replace('"role":"host"', '"role":"host","joined_at":"0001-01-01T00:00:00+23:00"'),
        "bad_time",
        "/parties/0/joined_at",
    ),
    (
        GOOD.replace('"role":"host"', '"role":"host","left_at":"9999-12-31T23:59:59-23:00"'),
        "bad_time",
        "/parties/0/left_at",
    ),
]


@pytest.mark.parametrize(("raw", "reason", "pointer"), PARTIES)
def test_a_bad_party_is_refused_alone(raw: str, reason: str, pointer: str) -> None:
    found = read_event(raw.encode(), tenant="iocom", identity=DEFAULT, appended_ms=NOW, limits=LIMITS)
    assert [(each.error.reason, each.error.pointer) for each in found.wrong] == [(reason, pointer)]
    assert len(found.event.parties) == 1
    with pytest.raises(MessageError, match=reason):
        read_event(raw.encode(), tenant="iocom", identity=DEFAULT, appended_ms=NOW, limits=LIMITS, form=1)


@pytest.mark.parametrize(("raw", "reason"), BAD, ids=[f"{index}-{reason}" for index, (_, reason) in enumerate(BAD)])
def test_bad_event_is_refused_with_one_word_and_no_quote(raw: str | bytes | None, reason: str) -> None:
    with pytest.raises(MessageError) as caught:
        read(raw)
    assert caught.value.reason == reason
    assert "alice" not in str(caught.value).lower()
    assert "phoned" not in str(caught.value)


def test_leg_holds_its_own_party_and_no_other() -> None:
    texts = leg_texts(read(GOOD))
    legs = [read_leg(text) for text in texts]
    assert [leg.subject for leg in legs] == ["alice@example.org", "+441632960961"]
    assert b"441632960961" not in texts[0]
    assert legs[0].joined_at == "2026-11-24T09:00:00Z"
    assert legs[0].left_at == "2026-11-24T09:31:10.250Z"
    assert legs[0].parties == 2


def test_unanswered_call_has_no_joined_and_left() -> None:
    legs = [read_leg(text) for text in leg_texts(read(GOOD.replace('"answered"', '"missed"')))]
    assert all(leg.joined_at is None and leg.left_at is None for leg in legs)


def test_the_short_way_says_what_the_long_one_says() -> None:
    """What is wrong, mended, counted or removed takes the long way; all else has the same names by either."""
    host = '"role":"host"'
    plain = [
        GOOD,
        GOOD.replace("alice@", "Alice@"),
        GOOD.replace('"answered"', '"missed"'),
        GOOD.replace('"c1"', '"c1","revision":7'),
        GOOD.replace('"c1"', '"c1","occurrence":"w"'),
        GOOD.replace(host, host + ',"session":"s"'),
    ]
    plain.append(GOOD.replace(host, host + ',"joined_at":"2026-11-24T09:01:00Z","left_at":"2026-11-24T09:02:00Z"'))
    for text in plain:
        event = EVENTS.decode(text)
        found = check_event(Given(event), DEFAULT, 5000)
        assert (found.event, found.names, found.wrong) == (event, plain_names(event, DEFAULT), ())
    for text in (
        *(text for text, _, _ in PARTIES),
        GOOD.replace("T09:31", "T08:31"),
        GOOD.replace(host, host + ',"session":"s\\u0007"'),
        GOOD.replace(host, host + ',"left_at":"2026-11-24T08:59:58Z"'),
        GOOD.replace('"id":"alice@example.org"', '"guest":true'),
        GOOD.replace('"c1"', '"c1","party_count":9'),
        GOOD.replace('"c1"', '"c1","occurrence":"w\\u0007"'),
        GOOD.replace('"c1"', '"c1","removed":["x"]'),
        GOOD.replace('"c1"', '"c\\u0007"'),
    ):
        assert plain_names(EVENTS.decode(text), DEFAULT) is None
