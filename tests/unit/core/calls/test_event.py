"""What a call event must be, and the one word that each breach is answered with."""

from datetime import UTC, datetime

import pytest

from calllog_guard.core.calls.event import CallEvent, Limits, read_event
from calllog_guard.core.calls.leg import leg_texts, read_leg
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
    (GOOD.replace("+441632960961", "Alice@example.org"), "duplicate_party"),
    (GOOD.replace("T09:31", "T08:31"), "end_before_start"),
    (GOOD.replace("11-24T09", "11-24T11"), "in_future"),
    (GOOD.replace("2026-11-24T09", "2026-09-24T09"), "too_late"),
    (GOOD.replace('"answered"', '"phoned"'), "wrong_value"),
    (GOOD.replace('"role":"host"', '"role":"host","joined_at":"0001-01-01T00:00:00+23:00"'), "bad_time"),
    (GOOD.replace('"role":"host"', '"role":"host","left_at":"9999-12-31T23:59:59-23:00"'), "bad_time"),
    (GOOD.replace("2026-11-24T09:31:10.250Z", "9999-12-31T23:59:59-23:00"), "bad_time"),
    (GOOD.replace("2026-11-24T09:00:00Z", "0001-01-01T00:00:00+23:00"), "bad_time"),
    (GOOD.replace('"c1"', '"\\ud800"'), "not_json"),
]


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
