"""Parts of calls whose person's entries cannot be used wait by themselves: nobody else's do, and nothing is lost."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from damage import DAMAGES, Damage
from guard_world import PARTITIONS, TENANT, GuardWorld
from sizes import EACH_WRITE

from calllog_guard.core.calls.leg import Leg, read_leg
from calllog_guard.core.calls.parked import PARKED, parked_key, waiting_now
from calllog_guard.core.codec import decode, encode
from calllog_guard.core.crypto.entries import person_key, secrets_key
from calllog_guard.core.crypto.jose import open_sealed
from calllog_guard.core.crypto.leg_envelope import open_leg, parse_header
from calllog_guard.core.crypto.subject_secrets import month_from
from calllog_guard.core.identifiers import Lookup, Pseudonym, SubjectId
from calllog_guard.core.records import Output
from calllog_guard.errors import EntryUnreadableError, KeyMissingError, UnitOverdueError
from calllog_guard.metrics import Counters, Gauges
from calllog_guard.workers.keys.people.unreadable import Unreadable
from calllog_guard.workers.protector.leg_writer import PendingLeg
from calllog_guard.workers.protector.parking import PARTS_OF_ONE, PEOPLE_MOST

ALICE, BOB = "alice@example.org", "bob@example.org"


def lookup(world: GuardWorld, who: str) -> Lookup:
    """The keystore's key for a person."""
    return world.vault.pepper(TENANT).lookup(TENANT, SubjectId(who))


async def pseudonym(world: GuardWorld, who: str) -> Pseudonym:
    """A living person's name in the log."""
    ring, found = world.ring(), lookup(world, who)
    person = ring.person(found, (await ring.view([found])).raw[found])
    assert person is not None
    assert person.pseudonym is not None
    return person.pseudonym


async def places(world: GuardWorld, who: str) -> dict[str, bytes]:
    """Where a living person's two entries lie."""
    return {
        "who": person_key(TENANT, lookup(world, who)),
        "key": secrets_key(TENANT, await pseudonym(world, who)),
    }


async def known(folder: Path, **settings: Any) -> GuardWorld:
    """A world in which alice and bob have had one call."""
    world = await GuardWorld(folder, **settings).start()
    await world.call("known", ALICE, BOB)
    await world.run()
    assert len(world.legs()) == 2
    return world


def parked(world: GuardWorld) -> dict[bytes, bytes]:
    """What waits, as the topic has it in the end."""
    return world.log.live("calllog.parked")


def again(world: GuardWorld) -> None:
    """What waits is due, as after its pause."""
    for name in world.protector._parking._pauses:
        world.protector._parking._pauses.now(name)


async def legs(world: GuardWorld, who: str) -> list[Leg]:
    """A person's legs, opened."""
    ring, found = world.ring(), lookup(world, who)
    person = ring.person(found, (await ring.view([found])).raw[found])
    assert person is not None
    opened = (await ring.open({found: person}))[0][found]
    own = [value for key, value in world.legs().items() if key.startswith(str(person.pseudonym).encode())]
    return [read_leg(open_leg(value, opened.data_key(month_from(parse_header(value).mon)))) for value in own]


async def swapped(world: GuardWorld) -> None:
    """Bob's key entry in the place of alice's."""
    entries, (alice, bob) = world.keystore.entries, [(await places(world, who))["key"] for who in (ALICE, BOB)]
    entries[alice] = entries[bob]


async def foreign(world: GuardWorld) -> None:
    """A key entry that opens in its place, and is of another generation."""
    name, ring = await pseudonym(world, ALICE), world.ring()
    keys = await ring.keys_of(name)
    assert keys is not None
    world.keystore.entries[secrets_key(TENANT, name)] = ring.seal_keys(name, replace(keys, generation=7))


async def missing(world: GuardWorld) -> None:
    """A live person without a key."""
    del world.keystore.entries[(await places(world, ALICE))["key"]]


def damaged(kind: str, damage: Damage) -> Callable[[GuardWorld], Awaitable[None]]:
    """One of alice's entries is of no use."""

    async def harm(world: GuardWorld) -> None:
        place = (await places(world, ALICE))[kind]
        world.keystore.entries[place] = damage(world.keystore.entries[place])

    return harm


HARMS: dict[str, Callable[[GuardWorld], Awaitable[None]]] = {
    "her key is missing": missing,
    "her key is another's": swapped,
    "her key is of another generation": foreign,
    **{f"person entry, {name}": damaged("who", damage) for name, damage in DAMAGES.items()},
    **{f"key entry, {name}": damaged("key", damage) for name, damage in DAMAGES.items()},
}


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.slow
async def test_one_bad_entry_holds_up_its_own_person_alone(tmp_path: Path, harm: str) -> None:
    """Fifty neighbours are in the same unit; her part waits, sealed, and comes once the entry is mended."""
    world = await known(tmp_path)
    good = dict(world.keystore.entries)
    await HARMS[harm](world)
    await world.restart()
    for number in range(50):
        await world.call(f"c{number}", f"n{number}@example.org", ALICE if number == 25 else BOB)
    await world.step("protector")
    assert world.positions["protector", "calllog.events", 0] == 51, "the offset moves"
    assert len(world.legs()) == 2 + 50 + 49
    assert (
        len(parked(world)),
        world.levels[Gauges.parked_people],
        world.counts[Counters.keystore_answers["live"]] > 49,
    ) == (1, 1, True)
    assert not any(b"alice" in value or b'"c25"' in value for value in parked(world).values())
    for place, entry in good.items():  # what was minted since stays
        world.keystore.entries[place] = entry
    again(world)
    await world.step("protector")
    assert sorted(leg.call for leg in await legs(world, ALICE)) == sorted(map(world.reference, ["c25", "known"]))
    assert (parked(world), world.levels[Gauges.parked_parts], world.counts[Counters.taken_up]) == ({}, 0, 1)
    await world.run()
    assert world.dead() == []


async def test_a_key_that_goes_with_an_erasure_is_none_that_is_missing(tmp_path: Path) -> None:
    """Between two looks of one unit: the person is gone, and their part is suppressed, not parked."""
    world = await known(tmp_path)
    await world.call("late", ALICE, BOB)
    read, entries = world.keystore.read, world.keystore.entries
    ring = world.ring()

    async def erased_meanwhile(keys: Any) -> list[bytes | None]:
        if any(b":key:" in key for key in keys):
            name = await pseudonym(world, ALICE)
            await ring.fence(lookup(world, ALICE), int(world.clock.at.timestamp() * 1000))
            entries.pop(secrets_key(TENANT, name), None)
            world.keystore.read = read  # type: ignore[method-assign]
        return await read(keys)

    await world.restart()
    world.keystore.read = erased_meanwhile  # type: ignore[method-assign]
    await world.step("protector")
    assert (parked(world), world.counts[Counters.events_suppressed["erased"]]) == ({}, 1)


async def test_what_comes_later_of_the_same_call_does_not_overtake_what_waits(tmp_path: Path) -> None:
    """The entry is mended, and the newer state arrives before the older one was tried again: the newer one stays."""
    world = await known(tmp_path)
    good = dict(world.keystore.entries)
    await missing(world)
    await world.restart()
    await world.call("call", ALICE, outcome="missed")
    await world.step("protector")
    world.keystore.entries.update(good)
    await world.call("call", ALICE)
    await world.step("protector")
    assert len(parked(world)) == 2, "it waits behind"
    again(world)
    await world.step("protector")
    assert [leg.outcome for leg in await legs(world, ALICE)] == ["answered", "answered"]
    assert parked(world) == {}


async def test_a_removal_waits_too(tmp_path: Path) -> None:
    world = await known(tmp_path)
    good = dict(world.keystore.entries)
    await missing(world)
    await world.restart()
    await world.call("known", BOB)
    await world.log.write([removal(world, "known", ALICE)])
    await world.step("protector")
    assert (len(world.legs()), len(parked(world))) == (2, 1)
    world.keystore.entries.update(good)
    again(world)
    await world.step("protector")
    assert (len(world.legs()), parked(world)) == (1, {})


def removal(world: GuardWorld, call: str, who: str) -> Output:
    """The newest event of a call, with somebody removed from it."""
    newest = json.loads(world.log.records["calllog.events", 0][-1].value or b"")
    assert newest["call_id"] == call
    return Output("calllog.events", 0, call.encode(), json.dumps(newest | {"removed": [who]}).encode())


@pytest.mark.parametrize("restarted", [False, True])
async def test_what_waits_of_somebody_who_is_erased_never_becomes_a_leg(tmp_path: Path, *, restarted: bool) -> None:
    """It is judged by the time at which it first came, however late it is tried."""
    world = await known(tmp_path)
    await damaged("key", DAMAGES["its seal"])(world)
    await world.restart()
    await world.call("waits", ALICE, BOB, days_ago=-0.002)  # a call that is just about to begin
    await world.step("protector")
    assert len(parked(world)) == 1
    world.clock.at += timedelta(seconds=1)
    await world.ask("erase-001", "erase", ALICE)
    await world.step("desk")
    if restarted:
        await world.restart()
    again(world)
    await world.step("protector")
    assert (parked(world), world.counts[Counters.events_suppressed["erased"]]) == ({}, 1)
    assert len([key for key in world.keystore.entries if b":key:" in key and b"~" not in key]) <= 2, "nobody is minted"


async def test_who_returns_by_a_call_that_waits_comes_back_as_somebody_new(tmp_path: Path) -> None:
    """It began and came after the erasure: the fence does not keep it out."""
    world = await known(tmp_path)
    before = await pseudonym(world, ALICE)
    place = (await places(world, ALICE))["who"]
    await world.ask("erase-001", "erase", ALICE)
    await world.run()
    world.clock.at += timedelta(days=3)
    good = world.keystore.entries[place]
    world.keystore.entries[place] = DAMAGES["its seal"](good)
    await world.restart()
    await world.call("new", ALICE, days_ago=1)
    await world.step("protector")
    assert len(parked(world)) == 1
    world.keystore.entries[place] = good
    again(world)
    await world.step("protector")
    assert [leg.call for leg in await legs(world, ALICE)] == [world.reference("new")]
    assert await pseudonym(world, ALICE) != before


@pytest.mark.slow
async def test_so_many_people_at_once_are_no_single_peoples_matter(tmp_path: Path) -> None:
    """Perhaps half a keystore was restored: the unit waits, nothing is written, nothing parked."""
    world = await GuardWorld(tmp_path).start()
    people = [f"p{number}@example.org" for number in range(PEOPLE_MOST + 1)]
    await world.call("a", *people[:500])
    await world.call("b", *people[500:])
    await world.run()
    for place in [each for each in world.keystore.entries if b":key:" in each]:
        del world.keystore.entries[place]
    await world.restart()
    written = world.log.calls
    await world.call("c", *people[:500], BOB)
    await world.call("d", *people[500:])
    with pytest.raises(KeyMissingError):
        await world.step("protector")
    assert world.log.calls == written + 2, "the two events"
    await world.step("protector", most=1)
    assert len(parked(world)) == 500, "the control: fewer are parked"
    with pytest.raises(KeyMissingError):
        await world.step("protector", most=1)


async def test_so_many_people_within_an_hour_are_no_single_peoples_matter(tmp_path: Path) -> None:
    """Also where those before them have been mended meanwhile."""
    world = await known(tmp_path)
    await missing(world)
    await world.restart()
    world.protector._parking._new.extend([10_000_000_000.0] * PEOPLE_MOST)
    await world.call("c", ALICE, BOB)
    with pytest.raises(KeyMissingError):
        await world.step("protector")
    world.protector._parking._new.pop()
    await world.step("protector")
    assert len(parked(world)) == 1


async def test_one_persons_flood_takes_nobody_elses_room(tmp_path: Path) -> None:
    """An account that calls all day: what there is no room for becomes dead letters, which can be replayed."""
    world = await known(tmp_path)
    good = dict(world.keystore.entries)
    await missing(world)
    await world.restart()
    for number in range(PARTS_OF_ONE + 5):
        await world.call(f"c{number}", ALICE)
    await world.call("last", BOB)
    await world.step("protector", most=PARTS_OF_ONE + 100)
    assert len(world.legs()) == 3
    assert (len(parked(world)), world.dead()) == (PARTS_OF_ONE, ["key_missing"] * 5)
    world.keystore.entries.update(good)
    for _ in range(4):
        again(world)
        await world.step("protector")
    assert parked(world) == {}
    await replayed(world)
    assert len(await legs(world, ALICE)) == PARTS_OF_ONE + 6


async def replayed(world: GuardWorld) -> None:
    """Publish what is in the dead letters again, as an operator would."""
    key = (world.folder / "operator-1.pem").read_bytes()
    for record in list(world.log.records["calllog.dead", 0]):
        letter = json.loads(record.value or b"")
        event = open_sealed(key, letter["jwe"])
        await world.log.write(
            [Output(letter["topic"], letter["partition"], json.loads(event)["call_id"].encode(), event)]
        )
    await world.step("protector")


async def test_what_waits_for_too_long_becomes_a_dead_letter_that_can_be_replayed(tmp_path: Path) -> None:
    """Before its topic forgets it: sealed to the operator, who learns whose entry it is; the first time counts."""
    world = await known(tmp_path)
    good = dict(world.keystore.entries)
    await missing(world)
    await world.restart()
    await world.call("waits", ALICE, BOB)
    await world.log.write([removal(world, "waits", "carol@example.org")])
    came = world.clock.at
    await world.step("protector")
    world.clock.at += timedelta(days=5.9)
    await world.step("protector")
    assert len(parked(world)) == 2
    world.clock.at += timedelta(days=0.2)
    await world.step("protector")
    assert (parked(world), world.dead()) == ({}, ["key_missing"] * 2)
    letter = json.loads(world.log.records["calllog.dead", 0][0].value or b"")
    assert (letter["topic"], letter["offset"], letter["at_pointer"]) == ("calllog.events", 1, "/parties")
    assert letter["appended_at"] == came.isoformat().replace("+00:00", "Z")
    assert not any(name in json.dumps(letter) for name in (ALICE, BOB, "waits"))
    event = json.loads(open_sealed((world.folder / "operator-1.pem").read_bytes(), letter["jwe"]))
    assert [party["id"] for party in event["parties"]] == [ALICE], "nobody else stands in it"
    world.keystore.entries.update(good)
    await replayed(world)
    assert sorted(leg.call for leg in await legs(world, ALICE)) == sorted(map(world.reference, ["known", "waits"]))


async def test_forms_of_the_first_release_know_no_parking(tmp_path: Path) -> None:
    """Its protectors read no such topic: until the upgrade the unit waits, as it did."""
    world = await GuardWorld(tmp_path, forms=1).start()
    await world.call("known", ALICE, BOB)
    await world.run()
    await missing(world)
    await world.restart()
    await world.call("waits", ALICE, BOB)
    with pytest.raises(EntryUnreadableError):
        await world.step("protector")
    assert parked(world) == {}


@pytest.mark.parametrize("change", ["value", "key", "place", "empty", "text", "null", "newer", "moved"])
async def test_what_no_protector_parked_is_taken_up_by_nobody(tmp_path: Path, change: str) -> None:
    """Whoever may write to the topic can make no leg, and end no wait but by a tombstone."""
    world = await known(tmp_path)
    await missing(world)
    await world.restart()
    await world.call("waits", ALICE)
    await world.step("protector")
    ((key, value),) = parked(world).items()
    record = decode(PARKED, value)
    bent = encode(replace_message(record, offset=record.offset + 1))
    changed = {
        "value": Output(
            "calllog.parked",
            0,
            key,
            value.replace(b'"sealed":"A', b'"sealed":"B').replace(b'"sealed":"', b'"sealed":"A'),
        ),
        "key": Output("calllog.parked", 0, b"A" * 22, value),
        "place": Output("calllog.parked", 0, parked_key((record.topic, 0, record.offset + 1, 0), "x"), bent),
        "empty": Output("calllog.parked", 0, b"", b""),
        "text": Output("calllog.parked", 0, b"\xff", b"\xff"),
        "null": Output("calllog.parked", 0, None, b"{}"),
        "newer": Output("calllog.parked", 0, b"B" * 22, value.replace(b'"v":1', b'"v":2')),
        "moved": Output("calllog.parked", 0, key, encode(replace_message(record, parked_ms=0))),
    }[change]
    await world.log.write([changed])
    await world.restart()
    await world.step("protector")
    replaced = change in {"value", "moved"}
    assert world.levels[Gauges.parked_parts] == (0 if replaced else 1)
    assert world.counts[Counters.unreadable["bad_parked"]] == 1


def replace_message(record: Any, **changes: Any) -> Any:
    """The record with other clear fields."""
    return msgspec.structs.replace(record, **changes)


async def test_doctor_can_tell_what_waits_why_and_since_when(tmp_path: Path) -> None:
    """From what stands in clear; what was taken up is told no more, what nobody wrote whom we know is told as well."""
    world = await known(tmp_path)
    good = dict(world.keystore.entries)
    topic = "calllog.parked"

    async def told() -> tuple[dict[str, int], Any]:
        reasons, since = waiting_now(await world.log.read_all(topic, range(PARTITIONS)))
        return dict(reasons), since

    assert await told() == ({}, None)
    await missing(world)
    await world.restart()
    came = world.clock.at
    for number in range(2):
        await world.call(f"c{number}", ALICE)
        await world.step("protector")
        world.clock.at += timedelta(minutes=5)
    await world.log.write([Output(topic, 0, b"~beat", b"{}"), Output(topic, 0, b"x", b"{")])
    assert await told() == ({"key_missing": 2, "unreadable": 1}, came)
    world.keystore.entries.update(good)
    again(world)
    await world.step("protector")
    assert await told() == ({"unreadable": 1}, None)


async def test_a_clock_that_was_ahead_does_not_let_the_topic_forget_what_waits(tmp_path: Path) -> None:
    """Its next owner counts from when the record came: it is a dead letter before its topic forgets it."""
    world = await known(tmp_path)
    await missing(world)
    await world.restart()
    await world.call("waits", ALICE)
    now = world.clock.at
    world.clock.at += timedelta(days=30)
    await world.step("protector")
    ((place, record),) = [
        (name, each) for name, some in world.log.records.items() for each in some if name[0] == "calllog.parked"
    ]
    world.log.records[place] = [
        msgspec.structs.replace(record, timestamp=int(now.timestamp() * 1000))
    ]  # as its broker has it
    world.clock.at = now + timedelta(days=6.2)
    await world.restart()
    await world.step("protector")
    assert (parked(world), world.dead()) == ({}, ["key_missing"])


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["who", "key"])
async def test_killed_at_any_write_nothing_is_lost_and_nothing_comes_twice(tmp_path: Path, kind: str) -> None:
    """While it is parked, and while it is taken up."""

    async def story(folder: Path, parks_at: int, takes_at: int, *, after: bool) -> tuple[GuardWorld, bool]:
        world = await known(folder)
        good = dict(world.keystore.entries)
        await damaged(kind, DAMAGES["its seal"])(world)
        await world.restart()
        await world.call("c1", ALICE, BOB, outcome="missed")
        await world.call("c1", ALICE, "carol@example.org")
        blown = await world.run_with_crashes(parks_at, after=after, rebuild=False)
        world.keystore.entries.update(good)
        await world.restart()
        return world, await world.run_with_crashes(takes_at, after=after, rebuild=False) or blown

    for parks in (True, False):
        at, blown = 0, True
        while blown:
            at += EACH_WRITE
            for after in (False, True):
                folder = tmp_path / f"{parks}-{at}-{after}"
                world, blown = await story(folder, at if parks else -1, -1 if parks else at, after=after)
                where = f"{'parking' if parks else 'taking up'}, write {at}, {'after' if after else 'before'}"
                assert [leg.outcome for leg in await legs(world, ALICE)] == ["answered"] * 2, where
                assert (len(world.legs()), parked(world), world.dead()) == (5, {}, []), where
        assert at > 2


async def test_partitions_that_go_to_somebody_else_take_their_waits_with_them(tmp_path: Path) -> None:
    world = await known(tmp_path)
    good = dict(world.keystore.entries)
    await missing(world)
    await world.restart()
    await world.call("waits", ALICE)
    await world.step("protector")
    await world.protector.revoked([0])
    world.keystore.entries.update(good)
    await world.protector.idle()
    assert len(parked(world)) == 1, "the other owner's now"
    await world.protector.assigned(range(PARTITIONS))
    await world.protector.idle()
    assert parked(world) == {}
    assert len(await legs(world, ALICE)) == 2


async def test_what_is_taken_up_in_vain_for_too_long_is_withdrawn_first(tmp_path: Path, monkeypatch: Any) -> None:
    """As of a unit: what was read of people may be sealed in it, and nobody may have it written much later."""
    world = await known(tmp_path, unit_max_s=0.05)
    await missing(world)
    await world.restart()
    await world.call("waits", ALICE)
    await world.step("protector")
    again(world)
    withdrawn: list[bool] = []

    async def withdraw() -> None:
        withdrawn.append(True)

    async def never(parts: list[PendingLeg]) -> Unreadable:
        assert [part.call for part in parts] == ["waits"]
        await asyncio.Event().wait()
        return {}

    monkeypatch.setattr(world.log, "withdraw", withdraw)
    with pytest.raises(UnitOverdueError):
        await world.protector._parking.take_up(never)
    assert withdrawn == [True]
    assert (len(parked(world)), world.levels[Gauges.parked_parts]) == (1, 1)
