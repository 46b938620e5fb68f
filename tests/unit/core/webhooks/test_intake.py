"""What becomes of a raw message: every shipped mapping, and what is wrong with a message."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from platforms import samples
from sizes import size

from calllog_guard.adapters.mappings.files import mapping
from calllog_guard.core.identity.rules import DEFAULT
from calllog_guard.core.sources.mapping import Mapping
from calllog_guard.core.webhooks.intake import IngestSource, Strictness, taken
from calllog_guard.core.webhooks.source_names import naming, source_of

RULES = Strictness("iocom", DEFAULT, 5000, 262_144)
WEBHOOKS = ("zoom", "zoom-phone", "livekit", "jaas", "jitsi", "daily", "freeswitch", "twilio", "bigbluebutton")


@pytest.mark.parametrize("name", WEBHOOKS)
def test_each_platforms_webhooks_are_taken(name: str) -> None:
    source, made = mapping(name, {}), 0
    for raw in samples(name):
        found = taken(source, raw, RULES)
        again = taken(source, raw, RULES)
        assert found[:2] == again[:2], "the same message is the same events, byte for byte"
        assert found.events or found.notifications or found.refused or found.skipped, "nothing is lost silently"
        made += len(found.events) + len(found.notifications)
        for key, event in found.events:
            assert key.decode() == json.loads(event)["call_id"]
    assert made


def daily(**payload: object) -> bytes:
    told = {"room": "r", "session_id": "s", "user_id": "ana@example.org", "joined_at": 1764493200, "duration": 5}
    return json.dumps({"type": "participant.left", "payload": told | payload}).encode()


DAILY = mapping("daily", {})


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "not_json"),
        (b"\xff{", "not_json"),
        (b"[" * 100_000, "nested_too_deep"),
        (daily(joined_at="soon"), "wrong_value"),
        (daily(room=None), "missing_value"),
        (daily(joined_at=99_999_999_999), "bad_time"),
        (daily(user_id="a" * 257), "wrong_value"),
    ],
)
def test_what_cannot_be_mapped_is_refused_by_a_word(raw: bytes, reason: str) -> None:
    found = taken(DAILY, raw, RULES)
    assert not found.events
    assert found.refused is not None
    assert found.refused.fate.value == "dead_letter"
    assert found.refused.reason == reason


def test_one_wrong_call_of_a_message_costs_no_other() -> None:
    meetings = [
        {"id": f"m{number}", "start_time": 1764493200, "duration": 60, "ongoing": False, "participants": [
            {"user_id": f"p{number}", "participant_id": "x", "join_time": 1764493200, "duration": 60}]}
        for number in range(3)
    ]  # fmt: skip
    meetings[1]["start_time"] = "never"
    found = taken(DAILY, json.dumps({"data": meetings}).encode(), RULES)
    assert [key for key, _ in found.events] == [b"m0", b"m2"]
    assert found.refused is not None
    assert found.refused.reason == "wrong_value"


def test_an_event_that_a_protector_would_refuse_is_refused_where_it_can_be_mapped_anew() -> None:
    assert taken(DAILY, daily(user_id="a\0b"), RULES).refused
    small = RULES._replace(max_bytes=50)
    found = taken(DAILY, daily(), small)
    assert found.refused is not None
    assert (found.refused.reason, found.events) == ("too_large", ())


def test_a_source_takes_the_content_that_its_platform_sends() -> None:
    json_types = ["application/json", "application/json; charset=utf-8", "application/webhook+json", "APPLICATION/JSON"]
    form_type = "application/x-www-form-urlencoded"
    for name, takes in (("zoom", json_types), ("twilio", [form_type]), ("bigbluebutton", [form_type, *json_types])):
        source = IngestSource(name, mapping(name, {}))
        for kind in (*json_types, form_type, "text/plain", "multipart/form-data", ""):
            assert source.takes(kind) == (kind in takes), (name, kind)


def test_a_record_names_its_source_in_a_header() -> None:
    assert source_of(naming("zoom")) == "zoom"
    assert source_of([("other", b"x"), ("clg-source", b"\xff")]) not in {"", "zoom"}
    assert source_of([("clg-source", None)]) == source_of([]) == ""


ANY: list[Mapping] = [mapping(name, {}) for name in WEBHOOKS]


@settings(max_examples=size("GARBAGE", 60, 2000), deadline=None)
@given(raw=st.binary(max_size=200), which=st.sampled_from(ANY))
def test_garbage_raises_nothing(raw: bytes, which: Mapping) -> None:
    found = taken(which, raw, RULES)
    assert found.refused or found.skipped or found.events or found.notifications


LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8))
NAMES = st.sampled_from(["event", "payload", "object", "participant", "type", "data", "id", "uuid", "eventType", "x"])
VALUES = st.recursive(LEAVES, lambda each: st.lists(each, max_size=3) | st.dictionaries(NAMES, each, max_size=5))


@settings(max_examples=size("GARBAGE", 60, 2000), deadline=None)
@given(value=VALUES, which=st.sampled_from(ANY))
def test_json_of_any_shape_raises_nothing(value: object, which: Mapping) -> None:
    found = taken(which, json.dumps(value).encode(), RULES)
    assert found.refused or found.skipped or found.events or found.notifications
