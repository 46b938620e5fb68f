"""Platforms' messages on their way in, on fakes: what is acknowledged is written, and nothing of a message is told."""

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import pytest
from guard_world import Crash
from ingest_world import EVENTS, LETTERS, MOMENTS, RAW, SCHEME_OF, IngestWorld, Silent
from platforms import PLATFORMS, key_of, samples

from calllog_guard.adapters.mappings.files import mapping_file, text_of_mapping
from calllog_guard.core.records import Output
from calllog_guard.core.sources.mapping import Mapping
from calllog_guard.core.stream.arrival import Arrival, sent
from calllog_guard.core.webhooks.signatures import SCHEMES, handshake
from calllog_guard.core.webhooks.source_names import naming
from calllog_guard.errors import EntryCorruptError, LogFaultError, OutputTooLargeError, UnacknowledgedError
from calllog_guard.metrics import Counters
from calllog_guard.ports.log import TopicPartition
from calllog_guard.ports.webhooks import WebhookRequest
from calllog_guard.workers.runtime.attempts import Attempts


@pytest.fixture
async def world(tmp_path: Path) -> IngestWorld:
    found = IngestWorld(tmp_path, ingest_answer_s=0.2)
    await found.start()
    return found


def left(**more: Any) -> bytes:
    """A session that Daily reports."""
    told = {"room": "standup", "session_id": "s1", "user_id": "ana@example.org", "joined_at": 1764493200, "duration": 9}
    return json.dumps({"type": "participant.left", "payload": told | more}).encode()


def joined(session: str = "16778240") -> bytes:
    """A join that Zoom reports."""
    person = {
        "user_name": "Ana Canary",
        "user_id": session,
        "email": "ana@example.org",
        "join_time": "2025-11-30T09:00:05Z",
    }
    told = {"uuid": "4444AAA==", "host_id": "h", "topic": "Canary topic", "participant": person}
    return json.dumps({"event": "meeting.participant_joined", "payload": {"object": told}}).encode()


def record(raw: bytes | None, source: str | None, offset: int = 0) -> Arrival:
    headers = naming(source) if source is not None else ()
    return sent(("calllog.notifications", 0), offset, 1_764_579_600_000, None, raw, headers)


# --- webhooks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCHEME_OF)
async def test_each_platforms_webhooks_are_taken_over_http_and_from_the_topic_alike(
    world: IngestWorld, tmp_path: Path, name: str
) -> None:
    other = IngestWorld(tmp_path / "other")
    await other.start()
    for number, raw in enumerate(samples(name)):
        reply = await world.post(name, raw)
        assert (reply.status, reply.body) == (200, b"")
        await other.ingest().unit({TopicPartition(RAW, 0): [record(raw, name, number)]})
    assert world.events() == other.events()
    assert world.moments() == other.moments()
    assert [(letter.reason, letter.source, raw) for letter, raw in world.letters()] == [
        (letter.reason, letter.source, raw) for letter, raw in other.letters()
    ]
    assert len(world.events()) + len(world.moments())
    assert not world.halted
    assert world.counts == world.counts | other.counts | Counter(
        {each: many for each, many in world.counts.items() if each.name.startswith("webhook")}
    )


async def test_a_session_becomes_legs_under_its_calls_id(world: IngestWorld) -> None:
    assert (await world.post("daily", left())).status == 200
    assert (await world.post("daily", left(user_id="bob@example.org", session_id="s2"))).status == 200
    keys = [each.key for each in world.lying(EVENTS)]
    assert keys == [b"standup", b"standup"]
    assert len({each.partition for each in world.lying(EVENTS)}) == 1, "a call's events keep their order"
    await world.run()
    assert len(world.log.live("calllog.legs")) == 2


async def test_a_join_is_a_sealed_moment_and_names_nobody(world: IngestWorld) -> None:
    assert (await world.post("zoom", joined())).status == 200
    (moment,) = world.moments()
    assert (moment.source, moment.what, moment.person) == ("zoom", "joined", "ana@example.org")
    assert not world.events()
    for each in world.lying(MOMENTS):
        assert b"ana" not in each.key + each.value
        assert b"4444AAA" not in each.key + each.value


async def test_the_same_webhook_again_changes_nothing(world: IngestWorld) -> None:
    for _ in range(3):
        assert (await world.post("daily", left())).status == 200
        assert (await world.post("zoom", joined())).status == 200
    assert len({each.value for each in world.lying(EVENTS)}) == 1
    assert len({msgspec.json.encode(each) for each in world.moments()}) == 1
    assert len({each.key for each in world.lying(MOMENTS)}) == 1
    await world.run()
    assert len(world.log.live("calllog.legs")) == 1


@pytest.mark.parametrize("name", SCHEME_OF)
async def test_what_nobody_signed_is_answered_401_and_leaves_nothing(world: IngestWorld, name: str) -> None:
    """Whoever found the address would fill the topic of dead letters."""
    good = world.signed(name, samples(name)[0])
    scheme = SCHEME_OF[name]
    forged = PLATFORMS[scheme](good.body, key_of(scheme, b"b3RoZXI="), int(world.clock.at.timestamp()))
    receiver = world.receiver()
    for bad in (
        good._replace(headers={}, query=""),
        WebhookRequest(f"/{name}", forged.query, forged.headers, forged.body),
    ):
        reply = await receiver.receive(bad)
        assert reply.status == 401
    assert not any(world.lying(topic) for topic in (EVENTS, MOMENTS, LETTERS, RAW))
    refused = {each.values: many for each, many in world.counts.items() if each.name == "webhooks_refused"}
    assert refused == {(name, "signature_missing"): 1, (name, "signature_wrong"): 1}


@pytest.mark.parametrize("name", [name for name, scheme in SCHEME_OF.items() if SCHEMES[scheme].timed])
async def test_a_webhook_of_an_hour_ago_is_not_taken_again(world: IngestWorld, name: str) -> None:
    old = world.signed(name, samples(name)[0])
    world.clock.at = world.clock.at.replace(hour=world.clock.at.hour + 1)
    assert (await world.receiver().receive(old)).status == 401
    assert world.counts[Counters.webhooks_refused[name, "signature_stale"]] == 1


async def test_zooms_question_is_answered_and_leaves_nothing(world: IngestWorld) -> None:
    asked = b'{"event":"endpoint.url_validation","payload":{"plainToken":"qgg8vlvZRS6UYooatFL8Aw"},"event_ts":1}'
    reply = await world.post("zoom", asked)
    assert (reply.status, reply.content_type) == (200, "application/json")
    assert reply.body == handshake("zoom", asked, key_of("zoom"))
    unsigned = world.signed("zoom", asked)._replace(headers={})
    assert (await world.receiver().receive(unsigned)).status == 401
    assert (await world.receiver().receive(WebhookRequest("/daily", "", {}, b'{"test":"test"}'))).status == 200
    assert not world.log.calls


def test_only_paths_of_sources_that_sign_are_known(tmp_path: Path) -> None:
    receiver = IngestWorld(tmp_path).receiver()
    json_type, form_type = "application/json", "application/x-www-form-urlencoded"
    assert [receiver.refuses(path, json_type) for path in ("/zoom", "/zoom/", "/", "zoom", "/ZOOM")] == [0, *[404] * 4]
    assert [receiver.refuses("/twilio", each) for each in (json_type, form_type, "")] == [415, 0, 415]


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "reason"),
    [(b"no json", "not_json"), (left(joined_at="soon"), "wrong_value"), (left(user_id="a\0"), "bad_id")],
)
async def test_what_cannot_be_mapped_is_a_sealed_letter_with_its_source(
    world: IngestWorld, raw: bytes, reason: str
) -> None:
    assert (await world.post("daily", raw)).status == 200, "sent again it would be refused again"
    await world.ingest().unit({TopicPartition(RAW, 0): [record(raw, "daily", 7)]})
    (first, payload), (second, _) = world.letters()
    assert payload == raw
    assert (first.source, first.topic, first.offset) == ("daily", RAW, -1)
    assert (second.source, second.topic, second.offset) == ("daily", RAW, 7)
    assert first.reason == second.reason == reason
    assert not world.events()
    assert world.counts[Counters.dead[reason]] == 2


async def test_what_can_be_kept_of_a_message_is_kept(world: IngestWorld) -> None:
    people = [
        {"user_id": f"p{at}", "participant_id": f"s{at}", "join_time": at and 1764493200, "duration": 60}
        for at in range(3)
    ]
    people[0]["join_time"] = "never"
    raw = json.dumps({"data": [{"id": "m", "start_time": 1764493200, "duration": 60, "participants": people}]}).encode()
    await world.ingest().unit({TopicPartition(RAW, 0): [record(raw, "daily")]})
    (event,) = world.events()
    assert [party["id"] for party in event["parties"]] == ["p1", "p2"]
    ((letter, payload),) = world.letters()
    assert (payload, letter.at_pointer) == (raw, "/parties/0/joined_at")


async def test_a_skipped_message_is_counted_by_the_rules_word(world: IngestWorld) -> None:
    assert (await world.post("daily", b'{"type":"recording.started"}')).status == 200
    skipped = {each.values: many for each, many in world.counts.items() if each.name == "notifications_skipped"}
    assert skipped == {("daily", "of a type that the mapping does not take"): 1}
    assert not world.log.calls, "nothing is written, and nothing waited for"


@pytest.mark.parametrize("source", ["", "unknown", "Ana <ana@example.org>", None])
async def test_a_record_of_no_source_is_a_letter_that_repeats_no_name(world: IngestWorld, source: str | None) -> None:
    await world.ingest().unit({TopicPartition(RAW, 0): [record(left(), source)]})
    ((letter, payload),) = world.letters()
    assert (letter.reason, letter.source, payload) == ("unknown_source", msgspec.UNSET, left())
    assert b"ana@" not in world.lying(LETTERS)[0].value
    assert not world.events()


async def test_heartbeats_are_no_messages_and_nobody_elses_beat_is_one(world: IngestWorld) -> None:
    forged = record(b"{}", None)
    await world.ingest().unit({TopicPartition(RAW, 0): [msgspec.structs.replace(forged, key=b"~beat")]})
    assert [letter.reason for letter, _ in world.letters()] == ["unknown_source"]
    raw = record(None, "daily")
    await world.ingest().unit({TopicPartition(RAW, 0): [raw]})
    assert [letter.reason for letter, _ in world.letters()][1:] == ["not_json"]


# --- a broker that is silent, a process that dies -------------------------------------------------------------------


async def test_what_no_broker_acknowledges_is_sent_again_by_its_platform(world: IngestWorld) -> None:
    silent = Silent(world.log)
    receiver = world.receiver(silent)
    began = asyncio.get_running_loop().time()
    replies = await asyncio.gather(*(world.post("daily", left(session_id=f"s{at}"), receiver) for at in range(20)))
    assert asyncio.get_running_loop().time() - began < 2
    assert {each.status for each in replies} == {503}
    assert not world.events()
    assert not any(each.name.startswith("notifications") for each in world.counts)
    silent.answers = True
    replies = await asyncio.gather(*(world.post("daily", left(session_id=f"s{at}"), receiver) for at in range(20)))
    assert {each.status for each in replies} == {200}
    assert len(world.events()) == 20
    assert not world.halted


@pytest.mark.parametrize(
    ("error", "halts"),
    [
        (UnacknowledgedError("x"), False),
        (LogFaultError("x"), True),
        (EntryCorruptError("x"), True),
        (KeyError("ana"), False),
    ],
)
async def test_what_goes_wrong_is_503_and_halts_where_nothing_may_follow(
    world: IngestWorld, error: Exception, *, halts: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    silent = Silent(world.log)
    silent.answers, silent.error = True, error
    assert (await world.post("daily", left(), world.receiver(silent))).status == 503
    assert bool(world.halted) == halts
    assert not world.events()
    said = capfd.readouterr()
    assert "ana" not in said.out + said.err


async def test_an_event_that_its_topic_does_not_take_is_a_letter(world: IngestWorld) -> None:
    silent = Silent(world.log)
    silent.answers, silent.error = True, OutputTooLargeError(EVENTS, 1 << 24)
    assert (await world.post("daily", left(), world.receiver(silent))).status == 200
    ((letter, payload),) = world.letters()
    assert (letter.reason, letter.source, payload) == ("output_too_large", "daily", left())
    silent.error = OutputTooLargeError(EVENTS, 1 << 24)
    context = world.ingest_context(silent)
    attempts = Attempts(world.ingest(silent), context, asyncio.Event())
    assert await attempts.until_done({TopicPartition(RAW, 0): [record(left(), "daily", 3)]})
    assert [(each.reason, each.source) for each, _ in world.letters()][1:] == [("output_too_large", "daily")]


@pytest.mark.parametrize("after", [False, True])
async def test_a_death_at_the_write_loses_nothing_and_tells_nothing_twice(world: IngestWorld, *, after: bool) -> None:
    """Before the write nobody was answered; after it nobody was answered either, and the same comes again."""
    bodies = [left(session_id=f"s{at}", user_id=f"p{at}@example.org") for at in range(4)]
    for body in bodies:
        world.fuse.at, world.fuse.after, world.fuse.count = 1, after, 0
        with pytest.raises(Crash):
            await world.post("daily", body)
        world.fuse.at = -1
        assert (await world.post("daily", body)).status == 200
    assert len({each.value for each in world.lying(EVENTS)}) == 4
    await world.restart()
    await world.run()
    assert len(world.log.live("calllog.legs")) == 4


@pytest.mark.parametrize("after", [False, True])
async def test_a_death_within_a_unit_repeats_it(world: IngestWorld, *, after: bool) -> None:
    unit = {
        TopicPartition(RAW, 0): [
            record(left(user_id=f"p{at}@example.org", session_id=f"s{at}"), "daily", at) for at in range(5)
        ]
        + [record(b"bad", "daily", 5)]
    }
    world.fuse.at, world.fuse.after, world.fuse.count = 1, after, 0
    with pytest.raises(Crash):
        await world.ingest().unit(unit)
    world.fuse.at = -1
    await world.ingest().unit(unit)
    assert len({each.value for each in world.lying(EVENTS)}) == 5
    assert {letter.offset for letter, _ in world.letters()} == {5}


# --- nothing of a message is told -----------------------------------------------------------------------------------


def told_by(raw: Any, name: str = "") -> set[str]:
    """The texts of a message: names of people, addresses, free text, ids."""
    if isinstance(raw, dict):
        return {each for key, value in raw.items() for each in told_by(value, key)}
    if isinstance(raw, list):
        return {each for value in raw for each in told_by(value, name)}
    return {raw} if isinstance(raw, str) and len(raw) > 5 else set()


@pytest.mark.parametrize("name", SCHEME_OF)
async def test_no_text_of_any_sample_is_in_logs_metrics_keys_or_headers(
    world: IngestWorld, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """The value of an event tells of its parties; a letter and a moment are sealed; nothing else tells anything."""
    texts: set[str] = set()
    for raw in samples(name):
        try:
            texts |= told_by(json.loads(raw))
        except ValueError:
            texts |= {value for _, value in parse_qsl(raw.decode()) if len(value) > 5}
        for body in (raw, raw[: len(raw) // 2]):
            await world.post(name, body)
            await world.receiver().receive(world.signed(name, body)._replace(headers={}))
            await world.ingest().unit({TopicPartition(RAW, 0): [record(body, name)]})
    assert texts
    said = capfd.readouterr()
    calls = {each["call_id"] for each in world.events()}
    clear = [said.out, said.err, repr(world.counts), repr(world.levels), repr(world.keystore.entries)]
    for topic in (EVENTS, MOMENTS, LETTERS):
        clear += [repr((each.key, each.headers)) for each in world.lying(topic) if topic != EVENTS]
        clear += [repr(each.headers) for each in world.lying(topic)]
        clear += [repr(each.value) for each in world.lying(topic) if topic != EVENTS]
    everything = "\n".join(clear)
    words = {text for text in texts - calls if text.lower() not in {"application", "answered", "completed"}}
    found = sorted(text for text in words if text in everything)
    assert found == []
    assert not world.lying(RAW), "the raw body is stored nowhere"


async def test_a_display_name_is_in_no_event_either(world: IngestWorld) -> None:
    await world.post("zoom", joined())
    await world.post("daily", left(user_name="Ana Canary"))
    assert "Canary" not in repr(world.events()) + repr(world.moments())


async def test_a_mended_mapping_takes_what_the_first_refused(world: IngestWorld) -> None:
    bad = left(room=None)
    await world.post("daily", bad)
    assert [letter.reason for letter, _ in world.letters()] == ["missing_value"]
    text = text_of_mapping("daily").replace('["payload.meeting_id", "payload.room"]', '"payload.session_id"', 1)
    mended = Mapping(mapping_file(text, {}))
    await world.post("daily", bad, world.receiver(daily=mended))
    assert [each["call_id"] for each in world.events()] == ["s1"]


async def test_outputs_are_written_together(world: IngestWorld) -> None:
    """A poll is a unit: its outputs go as one, and nothing of it is counted before they are acknowledged."""
    silent = Silent(world.log)
    running = asyncio.create_task(
        world.ingest(silent).unit({TopicPartition(RAW, 0): [record(left(), "daily"), record(b"bad", "daily", 1)]})
    )
    await asyncio.sleep(0)
    tried: list[Output] = silent.tried
    assert [each.topic for each in tried] == [EVENTS, LETTERS]
    assert not world.counts
    running.cancel()
