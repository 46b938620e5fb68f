"""The door for Faust programs on fakes: whose lines come out, what is acknowledged, and what ends the app."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import faust
import msgspec
import pytest
from reading_world import LEGS, PARTITIONS, World

from calllog_guard.app.reader import Reader
from calllog_guard.core.calls.event import CallEvent, Party
from calllog_guard.core.calls.view import Put, Remove
from calllog_guard.core.retention.read_access import Refusal
from calllog_guard.core.stream.arrival import Arrival
from calllog_guard.errors import ConfigurationError, KeystoreSilentError, StateRefusedError
from calllog_guard.faust import CallRecord, PartyRecord, PutRecord, RemoveRecord, legs, opened
from calllog_guard.faust.records import record_of
from calllog_guard.settings import Settings
from calllog_guard.workers.reader.handed import lines_of


@pytest.fixture
async def world(tmp_path: Path) -> World:
    """A log in which alice and bob were in one call."""
    made = World(tmp_path)
    await made.ring.guard.open_at_once(2)
    await made.leg("alice")
    await made.leg("bob", role="guest")
    return made


def lying(world: World) -> list[Arrival]:
    """The records of the topic of legs."""
    ends = [0] * PARTITIONS
    found = []
    for output in world.log.outputs:
        if output.topic == LEGS:
            found.append(Arrival(LEGS, output.partition, ends[output.partition], output.key, output.value))
            ends[output.partition] += 1
    return found


async def test_what_may_be_seen_is_put_and_what_may_not_is_removed_and_counted(world: World) -> None:
    """Nobody remembers what was shown: bob's leg may have been a host's before."""
    reading = world.reading("billing")
    alice, bob = [line for _, line in await lines_of(reading, lying(world))]
    assert (isinstance(alice, Put), isinstance(bob, Remove)) == (True, True)
    assert (reading.opened, reading.refused) == (1, {Refusal.PURPOSE: 1})
    assert len(world.accesses()) >= 1


async def test_a_tombstone_is_a_removal_and_of_several_records_of_a_leg_the_last_counts(world: World) -> None:
    key = (await world.leg("carol")).decode()
    await world.removes(key.encode())
    lines = [line for _, line in await lines_of(world.reading("service"), lying(world))]
    assert [line for line in lines if isinstance(line, Remove)] == [Remove(token=key.partition(".")[2])]
    assert len(lines) == 3


async def test_who_is_fenced_comes_out_no_more(world: World) -> None:
    """The persons of a batch are read afresh."""
    reading = world.reading("service")
    assert [type(line) for _, line in await lines_of(reading, lying(world))] == [Put, Put]
    await world.erases("alice")
    assert [type(line) for _, line in await lines_of(reading, lying(world))] == [Remove, Put]


async def test_a_missing_key_removes_nothing(world: World) -> None:
    (world.folder / "other").mkdir()
    other = World(world.folder / "other")
    await other.ring.guard.open_at_once(2)
    assert await lines_of(other.reading("service"), lying(world)) == []


async def test_a_purpose_that_keeps_copies_is_sent_to_the_reader_that_knows_them(world: World) -> None:
    """An erased person's tombstone would remove what law keeps."""
    text = (world.folder / "policy.toml").read_text()
    world.policy = world.written(text.replace('keep = "P30D"\n', 'keep = "P30D"\nsurvives_erasure = true\n'))
    with pytest.raises(StateRefusedError, match="follow=True"):
        await lines_of(world.reading("billing"), lying(world))


class App:
    """What is asked of a Faust app."""

    def __init__(self) -> None:
        self.should_stop, self.crashed = False, list[BaseException]()

    async def crash(self, error: BaseException) -> None:
        """See Faust."""
        self.crashed.append(error)


class Stream:
    """What is asked of a Faust stream: batches of events, and acknowledgements."""

    def __init__(self, *batches: Sequence[Arrival], serializer: str = "raw") -> None:
        self.app, self.concurrency_index, self.acked = App(), None, list[int]()
        self.channel = SimpleNamespace(key_serializer=serializer, value_serializer=serializer)
        self._batches = batches

    async def noack_take(self, _most: int, _within_s: float) -> AsyncGenerator[list[Any], None]:
        """See Faust."""
        for batch in self._batches:
            yield [Event(each) for each in batch]

    async def ack(self, event: Any) -> None:
        """See Faust."""
        self.acked.append(event.message.offset)


class Event:
    """A Faust event."""

    def __init__(self, message: Arrival) -> None:
        self.message = message


def judged(monkeypatch: pytest.MonkeyPatch, world: World, error: Exception | None = None) -> None:
    """Reader's judgement by the fakes' reading; its own connections are the real stack's affair (tests/e2e/test_faust_door.py)."""
    reading = world.reading("service")

    @asynccontextmanager
    async def handed(_self: Reader) -> AsyncGenerator[Any, None]:
        async def lines(records: Sequence[Any]) -> Any:
            if error is not None:
                raise error
            return await lines_of(reading, records)

        yield lines

    monkeypatch.setattr(Reader, "__init__", lambda _self, **_options: None)
    monkeypatch.setattr(Reader, "handed", handed)


def door(stream: Stream) -> AsyncGenerator[PutRecord | RemoveRecord, None]:
    """The door of support."""
    return opened(stream, purpose="service", actor="all-1")


async def test_a_batch_is_acknowledged_once_its_last_line_was_taken(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is killed before gets its lines again; a table that is changed meanwhile is changed in the leg's partition."""
    judged(monkeypatch, world)
    stream, seen = Stream(lying(world)), []
    async for line in door(stream):
        assert stream.acked == []
        event = faust.current_event()
        assert event is not None
        seen.append((type(line), event.message.partition))
    assert seen == [(PutRecord, each.partition) for each in lying(world)]
    assert (len(stream.acked), stream.app.crashed) == (2, [])


async def test_whoever_leaves_the_loop_ends_the_app_and_acknowledges_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Faust restarts an agent that raises, and would acknowledge what comes next: what was left would be jumped."""
    judged(monkeypatch, world)
    stream = Stream(lying(world))
    async with aclosing(door(stream)) as lines:
        async for _ in lines:
            break
    assert (stream.acked, [type(error) for error in stream.app.crashed]) == ([], [StateRefusedError])
    stream = Stream(lying(world))
    stream.app.should_stop = True
    async with aclosing(door(stream)) as lines:
        async for _ in lines:
            break
    assert (stream.acked, stream.app.crashed) == ([], []), "a worker that stops is no crash"


async def test_silence_that_lasts_ends_the_app_and_acknowledges_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = KeystoreSilentError("redis is away")
    judged(monkeypatch, world, silent)
    stream = Stream(lying(world))
    with pytest.raises(KeystoreSilentError):
        _ = [line async for line in door(stream)]
    assert (stream.acked, stream.app.crashed) == ([], [silent])


async def test_a_topic_that_decodes_and_an_agent_with_concurrency_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="legs"):
        await anext(door(Stream(serializer="json")))
    many = Stream()
    many.concurrency_index = 0  # type: ignore[assignment]
    with pytest.raises(ConfigurationError, match="concurrency"):
        await anext(door(many))


async def test_faust_never_makes_the_topic_of_legs() -> None:
    """It would have Faust's settings, under which nothing is ever erased."""
    topic = legs(faust.App("nobody", broker="kafka://127.0.0.1:9"), Settings(calllog_prefix="clog."))
    assert topic.get_topic_name() == "clog.legs"
    await topic.declare()
    assert type(topic.derive()) is type(topic)


def test_a_record_is_sent_as_its_schema_says_and_its_repr_shows_nothing() -> None:
    """A field of Faust's own would make a dead letter of the call; Faust logs Records."""
    parties = [PartyRecord(id="alice@example.org", role="host")]
    call = CallRecord(
        tenant="iocom", call_id="c1", kind="audio", outcome="missed", started_at="2026-11-24T09:00:00Z", parties=parties
    )
    assert call.dumps() == (
        b'{"tenant":"iocom","call_id":"c1","kind":"audio","outcome":"missed","started_at":"2026-11-24T09:00:00Z",'
        b'"parties":[{"id":"alice@example.org","role":"host"}]}'
    )
    line = record_of(Put(token="T" * 22, subject="alice@example.org"))
    assert "alice" not in f"{call!r} {call} {parties!r} {line!r} {line} {record_of(Remove(token='T' * 22))!r}"
    assert PutRecord.loads(line.dumps()).subject == "alice@example.org"


@pytest.mark.parametrize(
    ("record", "ours"), [(CallRecord, CallEvent), (PartyRecord, Party), (PutRecord, Put), (RemoveRecord, Remove)]
)
def test_a_record_has_the_fields_of_what_it_stands_for(record: Any, ours: type[msgspec.Struct]) -> None:
    """A purpose that shows a new field ended every door, and a new field of events could not be sent."""
    assert set(record._options.fields) - {"op"} == set(ours.__struct_fields__)


def test_a_line_of_a_session_comes_out_as_a_record() -> None:
    assert record_of(Put(token="T" * 22, session="s1")).session == "s1"
