"""What begins with `~` is a message like any other, unless it is a heartbeat that nobody else can have written."""

import json
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from guard_world import POLICY, START, TENANT, GuardWorld
from hypothesis import given
from hypothesis import strategies as st

from calllog_guard.core.cases.secret_cases import PREFIX
from calllog_guard.core.codec import BEAT, Beat, encode, to_ms
from calllog_guard.core.crypto.entries import GUARD_KEY
from calllog_guard.core.crypto.jose import signer_public
from calllog_guard.core.identifiers import b64
from calllog_guard.core.officers.acceptances import ACCEPTED
from calllog_guard.core.records import Output
from calllog_guard.core.stream.anchor import ANCHOR, Anchor
from calllog_guard.core.stream.arrival import Arrival, arrival
from calllog_guard.core.stream.heartbeats import Heartbeats, plain
from calllog_guard.core.stream.proofs import AUDIT, HEADER, KEEP, vouched
from calllog_guard.core.stream.replay import REPLAYED_KEY
from calllog_guard.errors import Fate, NewerFormError
from calllog_guard.workers.keys.restore_guard import guard_entry

VALUE = encode(Beat(counter=1, at=START))
SEED = b"\x0b" * 32
OTHER = b"\x0c" * 32
KNOWN = Heartbeats({AUDIT: b64(signer_public(SEED)).decode(), "desk": b64(signer_public(OTHER)).decode()})
FIRST = Heartbeats({})
FORGED = [BEAT, REPLAYED_KEY, ANCHOR, ACCEPTED + b"x", PREFIX + b"x", b"~cells.2026-10.2026-09", b"~", b"~x"]
"""Keys that are ours in some topic."""
VALUES = [VALUE, b"{}", b"", b"junk"]
GOLDEN = json.loads((Path(__file__).parents[3] / "vectors" / "stored_v2.json").read_text())


def lying(output: Output, topic: str = "calllog.events", partition: int = 0) -> Arrival:
    """A record as it is read somewhere."""
    return arrival((topic, partition), 7, 0, output.key, output.value, output.headers)


def beat(key: bytes = BEAT, value: bytes = VALUE, seed: bytes = SEED, role: str = AUDIT) -> Output:
    """A heartbeat of partition 0 of the events."""
    return vouched(Output("calllog.events", 0, key, value), role, seed)


def first_release(world: GuardWorld) -> GuardWorld:
    """The same as the first release made it: no profile, no signer."""
    world.vault = world.wrapped.without("profile.", "signer.")
    world.keystore.entries[GUARD_KEY] = guard_entry(world.vault.guard_id())
    return world


@pytest.fixture(params=[1, 2])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> GuardWorld:
    """An installation at each level of forms."""
    made = GuardWorld(tmp_path, POLICY)
    return await (first_release(made) if request.param == 1 else made).start()


async def ours(world: GuardWorld, *places: tuple[str, int], role: str = AUDIT) -> Sequence[Output]:
    """Heartbeats as a worker writes them."""
    beats = [Output(*place, BEAT, VALUE) for place in places]
    return await world.ring().guard.vouched(role, beats)


# --- by whom it is known --------------------------------------------------------------------------------------------


def test_a_heartbeat_is_known_where_it_lies_and_nowhere_else() -> None:
    assert KNOWN.ours(lying(beat()))
    assert not KNOWN.ours(lying(beat(), partition=1))
    assert not KNOWN.ours(lying(beat(), topic="calllog.events2"))
    assert not KNOWN.ours(lying(msgspec.structs.replace(beat(), value=VALUE + b" ")))
    assert not KNOWN.ours(lying(msgspec.structs.replace(beat(b"~beats"), key=BEAT)))


def test_only_who_beats_is_believed() -> None:
    """A signer of something else has no say, whatever it signs."""
    assert not KNOWN.ours(lying(beat(seed=OTHER)))
    assert not KNOWN.ours(lying(beat(seed=OTHER, role="desk")))
    assert not KNOWN.ours(lying(beat(role=KEEP)))
    assert not KNOWN.ours(lying(beat(b"c1")))


@pytest.mark.parametrize(
    "proof",
    [None, b"", b"audit", b"audit.", b"audit.\xff", b"\xff.AA", b"audit." + b"A" * 86, b"audit." + b"A" * 10**6],
)
def test_a_proof_that_is_none_proves_nothing(proof: bytes | None) -> None:
    forged = Output("calllog.events", 0, BEAT, VALUE)
    assert not KNOWN.ours(lying(forged))
    assert not KNOWN.ours(arrival(("calllog.events", 0), 7, 0, BEAT, VALUE, ((HEADER, proof),)))


def test_the_first_proof_alone_is_looked_at() -> None:
    """Twenty thousand headers would be twenty thousand signatures to check."""
    ((name, proof),) = beat().headers
    headers = ((name, b"audit." + b"A" * 86), (name, proof))
    assert not KNOWN.ours(arrival(("calllog.events", 0), 7, 0, BEAT, VALUE, headers))


def test_a_tenant_of_the_first_release_knows_its_heartbeats_by_their_bytes() -> None:
    assert FIRST.ours(lying(Output("calllog.events", 0, BEAT, VALUE)))
    other = [b" " + VALUE, VALUE[:-1] + b',"text":"hidden"}', VALUE.replace(b'"v":1', b'"v":2'), b"", b"{}", None]
    for value in other:
        assert not FIRST.ours(lying(Output("calllog.events", 0, BEAT, value)))
    assert not FIRST.ours(lying(Output("calllog.events", 0, b"~beats", VALUE)))


@given(
    st.binary(), st.lists(st.tuples(st.sampled_from([HEADER, "x"]), st.none() | st.binary())), st.none() | st.binary()
)
def test_whatever_a_broker_hands_out_is_told_apart(key: bytes, headers: Any, value: bytes | None) -> None:
    for name in (key, BEAT):
        record = arrival(("t", 0), 0, 0, name, value, tuple(headers))
        assert not KNOWN.ours(record)
        assert FIRST.ours(record) == plain(record)


def test_a_later_minor_release_may_say_more_and_a_later_major_halts() -> None:
    more = beat(value=VALUE[:-1] + b',"more":1}')
    assert KNOWN.counter(lying(more)) == 1
    with pytest.raises(NewerFormError) as halted:
        KNOWN.counter(lying(beat(value=VALUE.replace(b'"v":1', b'"v":2'))))
    assert halted.value.fate is Fate.HALT
    assert KNOWN.counter(lying(Output("calllog.events", 0, BEAT, VALUE.replace(b'"v":1', b'"v":2')))) is None


def test_the_highest_counter_counts_whatever_was_appended_since() -> None:
    """An old heartbeat is proven for ever: appended again, it must not let an older keystore pass for the newest."""
    counters = [3, 9, 4]
    proven = [lying(beat(value=encode(Beat(counter=each, at=START)))) for each in counters]
    forged = lying(Output("calllog.events", 0, BEAT, encode(Beat(counter=1 << 50, at=START))))
    junk = [lying(Output("calllog.events", 0, BEAT, value)) for value in (b"", b"junk", b'{"v":9,"counter":1}', None)]
    assert KNOWN.highest([*proven, forged, *junk]) == 9
    assert KNOWN.highest([forged, *junk]) == KNOWN.highest([]) == 0
    plain_ones = [lying(Output("calllog.events", 0, BEAT, encode(Beat(counter=each, at=START)))) for each in counters]
    assert FIRST.highest([*plain_ones, *junk]) == 4
    with pytest.raises(NewerFormError):
        KNOWN.highest([lying(beat(value=VALUE.replace(b'"v":1', b'"v":2')))])


def test_an_old_heartbeat_is_known_by_the_brokers_time_and_its_counter_is_not_believed() -> None:
    raised = Heartbeats(KNOWN.signers, START)
    old = Output("calllog.events", 0, BEAT, encode(Beat(counter=1 << 50, at=START)))
    before, at = (arrival(("calllog.events", 0), 7, to_ms(START) - each, BEAT, old.value, ()) for each in (1, 0))
    assert (raised.ours(before), raised.ours(at), KNOWN.ours(before)) == (True, False, False)
    assert not raised.ours(msgspec.structs.replace(before, senders=True)), "a sender dates as they like"
    assert not raised.ours(msgspec.structs.replace(before, value=old.value + b" "))  # type: ignore[operator]
    assert (raised.counter(before), raised.highest([before])) == (None, 0)


def test_the_golden_heartbeat_is_known() -> None:
    name, proof = GOLDEN["heartbeat_header"]
    value, headers = GOLDEN["heartbeat"].encode(), ((name, proof.encode()),)
    assert KNOWN.counter(arrival(("privacy.requests", 3), 0, 0, BEAT, value, headers)) == (1 << 40) + 1


# --- events ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["~c1", "~beat", "~replayed", "~guard", "~", "~case.x"])
async def test_a_call_whose_id_begins_like_ours_is_stored(world: GuardWorld, call: str) -> None:
    await world.call(call, "alice", "bob")
    await world.run()
    assert len(world.legs()) == 2
    assert world.dead() == []


@pytest.mark.parametrize("topic", ["calllog.events", "privacy.requests", "privacy.outcomes"])
async def test_what_an_outsider_writes_under_a_key_of_ours_is_told(world: GuardWorld, topic: str) -> None:
    """Heartbeats with a proof of nobody, or of another place, included."""
    forged = [Output(topic, 0, key, value) for key in FORGED for value in VALUES]
    if not world.vault.profile(TENANT).signers and topic != "privacy.outcomes":
        forged.remove(Output(topic, 0, BEAT, VALUE))  # exactly our own, of which nobody can know who wrote it
    forged += [vouched(Output(topic, 0, BEAT, b"{}"), AUDIT, SEED)]
    forged += [
        msgspec.structs.replace(each, topic=topic, value=b"[]") for each in await ours(world, ("privacy.cases", 0))
    ]
    await world.log.write(forged)
    await world.run()
    assert len(world.dead()) == len(forged)


async def test_a_copy_of_a_heartbeat_in_another_topic_is_none(tmp_path: Path) -> None:
    world = await GuardWorld(tmp_path).start()
    copied = [
        msgspec.structs.replace(each, topic="calllog.events") for each in await ours(world, ("privacy.requests", 0))
    ]
    await world.log.write(copied)
    await world.run()
    assert len(world.dead()) == 1


async def test_our_own_heartbeats_are_no_messages(world: GuardWorld) -> None:
    names = ("calllog.events", "privacy.requests", "privacy.cases", "calllog.legs", "calllog.held", "privacy.decisions")
    places = [(name, 0) for name in names]
    await world.log.write(await ours(world, *places))
    anchor = encode(Anchor(guard="A" * 22))
    await world.log.write([Output(name, 0, ANCHOR, anchor) for name in ("calllog.legs", "privacy.decisions")])
    await world.call("c1", "alice")
    await world.ask("erase-001", "erase", "alice")
    await world.run()
    await world.restart(rebuild=True)
    await world.run()
    assert world.dead() == []
    assert not [each for each in world.counts if each.name in {"unreadable", "dead"}]
    assert "tombstoned" in world.case("erase-001").stages


async def test_old_heartbeats_that_are_read_after_the_upgrade_are_none_of_the_messages(tmp_path: Path) -> None:
    """Those of 0.1.0 that lie unread when the tenant is raised; what is written under their key later is told."""
    world = await first_release(GuardWorld(tmp_path, POLICY)).start()
    places = ("calllog.events", "privacy.requests")
    await world.log.write([Output(name, 0, BEAT, VALUE) for name in places])
    world.vault.upgrade(TENANT, partitions=4, at=world.clock.at)
    world.clock.at += timedelta(minutes=14)
    await world.log.write([Output(name, 0, BEAT, VALUE) for name in places])
    await world.restart()
    await world.run()
    assert world.dead() == []
    await world.call("c1", "alice")
    world.clock.at += timedelta(minutes=2)
    await world.log.write([Output(name, 0, BEAT, VALUE) for name in places])
    await world.run()
    assert (len(world.dead()), len(world.legs())) == (2, 1)


async def test_a_request_is_carried_out_whatever_its_key(world: GuardWorld) -> None:
    await world.call("c1", "alice")
    await world.run()
    for number, key in enumerate([b"~x", *FORGED]):
        await world.ask(f"object-{number:03}", "object", "alice", purposes=["quality"], ground="personal")
        lane = world.log.records["privacy.requests", 0]
        lane[-1] = msgspec.structs.replace(lane[-1], key=key)
        await world.run()
        assert world.case(f"object-{number:03}").state == "observing"
    assert world.dead() == []


# --- the ledger -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("topic", ["calllog.legs", "privacy.decisions"])
async def test_keepers_tell_of_what_is_none_of_ours(world: GuardWorld, topic: str) -> None:
    junk = [Output(topic, 0, key, b"junk") for key in (b"~x", b"~beat", b"~", b"~case.x")]
    junk += [Output(topic, 0, b"~cells.x.y", None), Output(topic, 0, b"~cells.2026-13.2026-10", None)]
    await world.log.write(junk)
    await world.run()
    await world.restart(rebuild=True)
    await world.run()
    assert len(set(world.dead())) == 1
    assert len({each.value for each in world.log.records["calllog.dead", 0]}) >= 4


@pytest.mark.parametrize("mark", [b'{"v":1,"month":"x"}', b'{"v":1,"month":""}', b"junk"])
async def test_no_mark_of_counting_stops_a_keeper(world: GuardWorld, mark: bytes) -> None:
    await world.log.write([Output("privacy.decisions", 0, b"~cells.closed", mark)])
    await world.restart(rebuild=True)
    await world.call("c1", "alice")
    await world.run()
    assert len(world.legs()) == 1


async def test_a_forged_counter_is_believed_by_nobody(tmp_path: Path) -> None:
    """Every keystore would look like an older one."""
    world = await GuardWorld(tmp_path).start()
    huge = encode(Beat(counter=1 << 50, at=START))
    forged = Output("privacy.decisions", 0, BEAT, huge)
    await world.log.write([forged, vouched(forged, AUDIT, SEED)])
    await world.restart(rebuild=True)
    assert world.keeper._ring.guard.seen == 0
    await world.call("c1", "alice")
    await world.run()
    assert len(world.legs()) == 1


@pytest.mark.parametrize("role", [AUDIT, KEEP])
async def test_the_counter_of_a_heartbeat_is_seen(world: GuardWorld, role: str) -> None:
    await world.log.write(await ours(world, ("privacy.decisions", 0), role=role))
    await world.restart(rebuild=True)
    assert world.keeper._ring.guard.seen == 1


async def test_a_replayed_ledger_ends_with_a_heartbeat_that_is_known(world: GuardWorld) -> None:
    """A keeper that starts meanwhile must learn the counter from it."""
    world.keystore.run = b"restored"
    await world.keeper._replayer.replay(world.keeper._shards)
    written = [each for each in world.log.records["privacy.decisions", 0] if each.key == BEAT]
    assert world.vault.heartbeats(TENANT).counter(written[0]) == 1
    assert all(bool(each.headers) == bool(world.vault.profile(TENANT).signers) for each in written)
