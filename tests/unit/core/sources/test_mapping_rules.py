"""What a mapping takes, drops, skips and refuses."""

import json
from typing import Any

import pytest

from calllog_guard.adapters.mappings.files import mapping_file
from calllog_guard.core.calls.event import Limits
from calllog_guard.core.calls.leg import leg_texts, read_leg
from calllog_guard.core.calls.reading import read_event
from calllog_guard.core.calls.strangers import with_guests
from calllog_guard.core.crypto.subject_secrets import CallKey
from calllog_guard.core.identity.rules import DEFAULT
from calllog_guard.core.sources.check import REMEDIES, checked
from calllog_guard.core.sources.mapping import MappedItem, Mapping
from calllog_guard.errors import ConfigurationError

HEAD = 'v = 1\ntitle = "T"\ntells = "call"\ndocumentation = "https://example.org"\n'
EVENT = """
[[rule]]
name = "a call"
event.call_id = "id"
event.kind = { value = "video" }
event.outcome = { path = "outcome", default = "answered" }
event.started_at = { path = "start", convert = "epoch-s" }
[[rule.event.party]]
each = "people"
skip = [{ path = "kind", equals = ["bot"], why = "a bot" }]
id = "user"
role = { path = "role", table = { H = "host" }, default = "guest" }
joined_at = { path = "joined", convert = "epoch-s" }
left_at = { path = "left", convert = "epoch-s" }
"""
START = 1_764_493_200


def ours(text: str = EVENT, head: str = HEAD) -> Mapping:
    """A mapping of some rules."""
    return Mapping(mapping_file(head + text, {}))


def one(message: Any, mapping: Mapping | None = None) -> MappedItem:
    """What becomes of a message that is one item."""
    (result,) = (mapping or ours()).results(message, "iocom")
    return result


def event(result: MappedItem) -> dict[str, Any]:
    """The event of a result."""
    assert result.event is not None, result
    return result.event


def reasons(result: MappedItem) -> list[tuple[str, str, str, str]]:
    """What was refused, where, from where, and what was found."""
    return [(each.reason, each.pointer, each.source, each.found) for each in result.refused]


def test_a_wrong_party_is_refused_alone_with_its_place_and_kind() -> None:
    """Whoever else was in the call must not lose their leg by it."""
    people = [{"user": "ana@example.org"}, {"user": 7}, {"user": "ben@example.org", "joined": "soon"}]
    result = one({"id": "c", "start": START, "people": people})
    assert event(result)["parties"] == [{"id": "ana@example.org", "role": "guest"}]
    assert reasons(result) == [
        ("wrong_value", "/parties/1/id", "user", "a number"),
        ("wrong_value", "/parties/2/joined_at", "joined", "text"),
    ]


def test_no_error_tells_a_value() -> None:
    """Errors reach logs and terminals of those who may not read calls."""
    value = "carol@example.org"
    result = one({"id": "c", "start": value, "people": [{"user": {"mail": value}}]})
    assert value not in repr([(str(error), error.args, vars(error)) for error in result.refused])


def test_what_lacks_an_id_counts_as_a_guest_and_a_bot_does_not() -> None:
    people = [{"user": "ana@example.org"}, {"user": ""}, {"user": None, "joined": START}, {"user": "x", "kind": "BOT"}]
    result = one({"id": "c", "start": START, "people": people})
    assert [party.get("guest", False) for party in event(result)["parties"]] == [False, True, True]
    assert result.skipped == ("a bot",)


def test_who_is_named_twice_without_sessions_was_there_as_long_as_both() -> None:
    """A number that calls itself is one leg."""
    people = [
        {"user": "ana@example.org", "joined": START + 10, "left": START + 20},
        {"user": "ana@example.org", "joined": START + 5, "left": START + 15},
        {"user": "ben@example.org", "left": START + 9},
        {"user": "ben@example.org", "joined": START + 5},
    ]
    ana, ben = event(one({"id": "c", "start": START, "people": people}))["parties"]
    assert (ana["joined_at"], ana["left_at"]) == ("2025-11-30T09:00:05Z", "2025-11-30T09:00:20Z")
    assert ben == {"id": "ben@example.org", "role": "guest"}


def test_nobody_joined_a_call_that_was_not_answered() -> None:
    people = [{"user": "ana@example.org", "joined": START}]
    made = event(one({"id": "c", "start": START, "outcome": "missed", "people": people}))
    assert made["parties"] == [{"id": "ana@example.org", "role": "guest"}]


@pytest.mark.parametrize("start", [0, "0", "", None, 0.0, "0.0"])
def test_a_zero_or_empty_time_is_no_time(start: Any) -> None:
    """FreeSWITCH writes 0, Webex writes 1970: a call at that time would be refused as too late, or kept for ever."""
    assert reasons(one({"id": "c", "start": start, "people": []})) == [
        ("missing_value", "/started_at", "start", "nothing")
    ]


def test_a_list_that_is_none_is_refused() -> None:
    assert reasons(one({"id": "c", "start": START, "people": {"user": "x"}})) == [
        ("no_list", "/parties", "people", "an object")
    ]
    assert reasons(one({"id": "c", "start": START})) == [("no_party", "/parties", "", "nothing")]


@pytest.mark.parametrize("message", [None, 7, "text", [], [[]], {"people": [None, 3]}, {"id": []}])
def test_any_json_has_an_end(message: Any) -> None:
    """A stranger's message must not stop a file."""
    result = one(message)
    assert result.event is None
    assert all(error.reason in REMEDIES for error in result.refused)


def test_what_no_field_names_is_never_read() -> None:
    message = {
        "id": "c",
        "start": START,
        "name": "x",
        "people": [{"user": "ana@example.org", "name": "Ana", "ip.v4": "1"}],
    }
    found = checked(ours(), message, "iocom")
    assert found.dropped == (("name", "text"), ("people[].name", "text"), ('people[]."ip.v4"', "text"))
    assert ("people[].user", "text") in found.read


def test_paths_lead_out_of_an_item_and_to_the_message() -> None:
    text = """
[[rule]]
name = "n"
each = "calls"
event.call_id = { join = ["$.room", "id"], between = "/" }
event.kind = { value = "audio" }
event.outcome = { jmes = "length(people) == `1` && 'missed' || 'answered'" }
event.started_at = { path = "at[0]", convert = "iso-8601" }
[[rule.event.party]]
each = "people"
id = '"mail.address"'
role = "^.role"
session = "^^.server"
"""
    call = {"id": 7, "role": "guest", "at": ["2026-11-24T09:00:00+0100"], "people": [{"mail.address": "a@example.org"}]}
    made = event(one({"room": "r", "server": "s1", "calls": [call]}, ours(text)))
    assert (made["call_id"], made["outcome"], made["started_at"]) == ("r/7", "missed", "2026-11-24T08:00:00Z")
    assert made["parties"] == [{"id": "a@example.org", "role": "guest", "session": "s1"}]


def test_made_up_ids_come_from_what_the_message_says() -> None:
    """Two equal rows are one call, whatever their file's name and place."""
    text = EVENT.replace('call_id = "id"', 'call_id = { digest = ["start", "people"] }')
    people = [{"user": "ana@example.org"}]
    one_id, same, other = (
        event(one(each, ours(text)))["call_id"]
        for each in (
            {"start": START, "people": people},
            {"start": START, "people": people, "extra": 1},
            {"start": START + 1, "people": people},
        )
    )
    assert one_id == same != other
    assert len(one_id) == 32


WRONG = [
    (
        EVENT.replace('call_id = "id"', 'call_id = { path = "id", value = "x" }'),
        "rule a call: call_id: a field needs one of",
    ),
    (EVENT.replace('table = { H = "host" }', 'table = "roles"'), "there is no table roles"),
    (EVENT.replace('each = "people"', 'each = "people["'), "is no path"),
    (EVENT.replace('each = "people"', 'each = { jmes = "people[?" }'), "is no JMESPath expression"),
    (EVENT.replace('equals = ["bot"], ', ""), "a test needs one of equals"),
    (EVENT.replace('convert = "epoch-s"', 'convert = "epoch"'), "rule[0].event.started_at.convert"),
    (EVENT.replace('why = "a bot"', 'because = "a bot"'), "unknown field `because`"),
    ('[[rule]]\nname = "n"\n', "one of event, notification"),
    ("[[rule", "is no TOML"),
    (EVENT + '[settings]\nzone = "Europe/Lodnon"\n', "there is no such time zone"),
]


@pytest.mark.parametrize(("text", "says"), WRONG, ids=[says for _, says in WRONG])
def test_a_wrong_mapping_is_refused_before_it_is_used(text: str, says: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        ours(text)
    assert says in str(refused.value)


def test_a_setting_that_no_mapping_has_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="--set knows no colour"):
        mapping_file(HEAD + EVENT, {"colour": "red"})


def test_two_kinds_of_empty_and_the_files_own_words_are_missing() -> None:
    head = HEAD + 'missing = ["NA", 0]\n'
    people = [{"user": "NA"}, {"user": " "}, {"user": "ana@example.org", "joined": 0}]
    made = event(one({"id": "c", "start": START, "people": people}, ours(head=head)))
    assert [party.get("id") for party in made["parties"]] == [None, None, "ana@example.org"]


def test_a_withheld_number_is_nobodys_and_counts_as_a_guest() -> None:
    """Two strangers who withhold their numbers are not one person."""
    text = EVENT.replace(
        'id = "user"', 'id = { path = "user", missing = ["Anonymous"] }\nguest = [{ path = "user", ends = ["*"] }]'
    )
    people = [{"user": "anonymous"}, {"user": "ANONYMOUS "}, {"user": "+44163296****"}, {"user": "+44163297****"}]
    made = event(one({"id": "c", "start": START, "people": people}, ours(text)))
    assert made["parties"] == [{"role": "guest", "guest": True}] * 4


def test_a_large_call_is_told_in_several_events_with_the_number_of_its_people() -> None:
    people = [{"user": f"p{number // 2}@example.org", "joined": START + number} for number in range(1800)]
    text = EVENT.replace('id = "user"', 'id = "user"\nsession = { path = "joined", convert = "number-text" }')
    results = list(ours(text).results({"id": "c", "start": START, "people": [*people, {"joined": 1}]}, "iocom"))
    told = [event(each) for each in results]
    assert [len(each["parties"]) for each in told] == [200] * 9 + [1]
    assert {each["party_count"] for each in told} == {901}
    assert {each["call_id"] for each in told} == {"c"}


@pytest.mark.slow
def test_a_call_of_20_000_has_a_leg_for_each_and_the_true_number_in_all() -> None:
    """One report of a webinar: reconnects, guests, and the longest ids that there are; no event is too large."""
    people: list[dict[str, Any]] = [
        {"user": f"p{number:05}\\" + "x" * 249, "joined": START} for number in range(19_000)
    ]
    people += [{**people[number], "joined": START + 60} for number in range(500)]
    people += [{"user": None, "joined": START + number} for number in range(1000)]
    text = EVENT.replace('id = "user"', 'id = "user"\nsession = { path = "joined", convert = "number-text" }')
    results = list(ours(text).results({"id": "c", "start": START, "people": people}, "iocom"))
    limits = Limits(ahead_ms=0, late_ms=1 << 40, max_bytes=262_144)
    calls, legs, counts = CallKey(b"\4" * 32), set(), set()
    for each in results:
        raw = json.dumps(event(each), ensure_ascii=False).encode()
        found = read_event(raw, tenant="iocom", identity=DEFAULT, appended_ms=(START + 9999) * 1000, limits=limits)
        assert found.wrong == ()
        found = with_guests(found, calls)
        told = [read_leg(leg) for leg in leg_texts(found.event, calls)]
        legs |= {(leg.subject, leg.session) for leg in told}
        counts |= {leg.parties for leg in told}
    assert (len(legs), counts) == (20_500, {20_000})


def test_places_are_shown_so_that_they_cannot_act_on_a_terminal() -> None:
    message = {"id": "c", "start": START, "\x1b[2J": 1, "people": [{"user": "ana@example.org"}]}
    found = checked(ours(), message, "iocom")
    assert ('"\\u001b[2J"', "a number") in found.dropped


def test_a_message_nested_without_end_has_an_end() -> None:
    nested: Any = "x"
    for _ in range(900):
        nested = {"a": [nested]}
    found = checked(
        ours(), {"id": "c", "start": START, "deep": nested, "people": [{"user": "ana@example.org"}]}, "iocom"
    )
    assert found.results[0].event is not None


@pytest.mark.parametrize("way", ["length(keys(extra)) == `0`", "length(extra) == `0`", "type(extra) == 'object'"])
def test_a_check_computes_of_objects_what_a_worker_does(way: str) -> None:
    """A function of JMESPath over an object must not tell the looked-at message from the real one."""
    mapping = ours(EVENT.replace('name = "a call"', f'name = "a call"\nwhen = [{{ jmes = "{way}", equals = [true] }}]'))
    message = {"id": "c", "start": START, "extra": {}, "people": [{"user": "a@example.org"}]}
    (looked,) = checked(mapping, message, "iocom").results
    assert (looked.rule, looked) == ("a call", one(message, mapping))
