"""A decision about one person, or under one hold, that cannot be done waits by itself; everybody else's is done."""

import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from damage import DAMAGES
from guard_world import PARTITIONS, POLICY, TENANT, GuardWorld
from test_crash_matrix import CONSENT, reply
from test_parking import ALICE, BOB, HARMS, legs, lookup, missing, places, pseudonym

from calllog_guard.core.crypto.entries import applied_key, person_key, secrets_key
from calllog_guard.core.crypto.held_envelope import hold_key
from calllog_guard.core.decisions.hold import kept_id
from calllog_guard.core.identifiers import HoldId, Pseudonym, partition_of, record_key
from calllog_guard.core.records import Output
from calllog_guard.errors import EntryUnreadableError
from calllog_guard.metrics import Counters
from calllog_guard.ports.state import LegFacts
from calllog_guard.workers.keeper.partition import Shard

CAROL = "carol@example.org"
KEY_HARMS = {name: harm for name, harm in HARMS.items() if not name.startswith("person")}
ASKED: dict[str, Callable[[GuardWorld, str, str], Awaitable[None]]] = {
    "erase a range": lambda world, jti, who: world.ask(
        jti, "erase", who, range={"from": "2026-11-01", "to": "2026-11-22"}
    ),
    "rectify": lambda world, jti, who: world.ask(jti, "rectify", who, facts={"call_id": "c1", "role": "guest"}),
    "object": lambda world, jti, who: world.ask(jti, "object", who, purposes=["quality"]),
    "withdraw": lambda world, jti, who: world.ask(jti, "withdraw", who, purposes=["research"]),
    "access": lambda world, jti, who: world.ask(jti, "access", who, reply_key=reply(world)),
    "portability": lambda world, jti, who: world.ask(jti, "portability", who, reply_key=reply(world)),
    "hold": lambda world, jti, who: world.hold(jti, f"hold-{jti}", who),
}


async def filled(folder: Path, **settings: Any) -> GuardWorld:
    """Three people with three calls each, two, twenty and forty days ago."""
    world = await GuardWorld(folder, POLICY + CONSENT, **settings).start()
    for number, days in enumerate((2, 20, 40)):
        for who in (ALICE, BOB, CAROL):
            await world.call(f"c{number}", who, days_ago=days)
    await world.run()
    assert len(world.legs()) == 9
    return world


def shards(world: GuardWorld) -> list[Shard]:
    """The keeper's partitions."""
    return list(world.keeper._shards.values())


def again(world: GuardWorld) -> None:
    """What waits is due, as after its pause."""
    for shard in shards(world):
        shard.pauses.at_once()
        shard.unjudged.at_once()


async def settled(world: GuardWorld) -> None:
    """Every worker has had its turns, whatever still waits."""
    for _ in range(30):
        for name in ("protector", "desk", "keeper"):
            await world.step(name)


def stages(world: GuardWorld, jti: str) -> list[str]:
    """What a case has come through."""
    return list(world.case(jti).stages)


@pytest.mark.parametrize("kind", ASKED)
@pytest.mark.parametrize("harm", ["her key is missing", "key entry, its seal"])
async def test_what_needs_a_key_that_cannot_be_used_waits_and_is_done_when_it_can(
    tmp_path: Path, kind: str, harm: str
) -> None:
    """Damaged between the desk's decision and the keeper's turn; bob's of the same kind is answered meanwhile."""
    world = await filled(tmp_path)
    good = dict(world.keystore.entries)
    for jti, who in (("alice-001", ALICE), ("bob-00001", BOB)):
        await ASKED[kind](world, jti, who)
        await world.step("desk")
    marks = {place: raw for place, raw in world.keystore.entries.items() if good.get(place) != raw}
    await HARMS[harm](world)
    await settled(world)
    assert world.case("bob-00001").state in {"closed", "observing"}
    assert world.case("alice-001").state == "enforcing", "nothing is said to be done that is not"
    assert world.counts[Counters.decisions_waited] == 1
    world.keystore.entries |= {(await places(world, ALICE))["key"]: good[(await places(world, ALICE))["key"]]} | marks
    again(world)
    await world.run()
    assert world.case("alice-001").state == world.case("bob-00001").state
    assert stages(world, "alice-001") == stages(world, "bob-00001")
    assert world.case("alice-001").legs.popitem()[1] == world.case("bob-00001").legs.popitem()[1]


@pytest.mark.parametrize("harm", KEY_HARMS)
async def test_an_erasure_ends_although_the_key_cannot_be_used(tmp_path: Path, harm: str) -> None:
    """It is what removes the entry: destroyed, every leg tombstoned, and the receipt says what was done."""
    world = await filled(tmp_path)
    place = (await places(world, ALICE))["key"]
    await HARMS[harm](world)
    await world.restart()
    await world.ask("erase-001", "erase", ALICE)
    await world.ask("erase-002", "erase", BOB)
    await world.run()
    assert place not in world.keystore.entries
    assert len(world.legs()) == 3, "carol's"
    for jti in ("erase-001", "erase-002"):
        assert stages(world, jti) == ["accepted", "fenced", "destroyed", "tombstoned"]
        assert sum(world.case(jti).legs.values()) == 3
    assert [each["shredded"] for each in world.receipts("erase-001")][-1]
    readable = harm == "her key is of another generation"
    assert (len(world.held()) > 3) == readable, "what law keeps of her could be copied by nobody"
    assert ({"basis": "legal_duty"} in world.case("erase-001").kept) == readable
    assert world.counts[Counters.erased_unreadable] == (0 if readable or harm == "her key is missing" else 1)


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_person_entry_that_is_damaged_behind_the_fence_stops_no_keeper(tmp_path: Path, damage: str) -> None:
    """Between the desk's fence and the keeper's: nothing can be stored by it, the key goes, and the legs."""
    world = await filled(tmp_path)
    place = await places(world, ALICE)
    await world.ask("erase-001", "erase", ALICE)
    await world.step("desk")
    world.keystore.entries[place["who"]] = DAMAGES[damage](world.keystore.entries[place["who"]])
    await world.run()
    assert place["key"] not in world.keystore.entries
    assert stages(world, "erase-001")[-1] == "tombstoned"
    assert len(world.legs()) == 6


async def test_a_hold_that_waits_for_a_key_keeps_the_erasure_waiting_and_nobody_else(tmp_path: Path) -> None:
    """What is to be preserved for a claim is not given up because it cannot be opened today."""
    world = await filled(tmp_path)
    place = (await places(world, ALICE))["key"]
    await world.hold("hold-0001", "claim-1", ALICE)
    await world.ask("erase-001", "erase", ALICE)
    await world.ask("erase-002", "erase", BOB)
    await world.step("desk")
    good = world.keystore.entries[place]
    world.keystore.entries[place] = DAMAGES["its seal"](good)
    await settled(world)
    assert stages(world, "erase-002")[-1] == "tombstoned"
    assert stages(world, "erase-001") == ["accepted", "fenced"]
    assert place in world.keystore.entries
    world.keystore.entries[place] = good
    again(world)
    await world.run()
    assert stages(world, "erase-001")[-1] == "tombstoned"
    assert len(world.held()) >= 3
    assert world.case("hold-0001").state == "closed"


async def test_what_has_waited_in_vain_for_days_has_failed_and_an_officer_hears_it(tmp_path: Path) -> None:
    """A decision that waited for ever would keep its epoch alive, and with it every backup of its time."""
    world = await filled(tmp_path)
    await ASKED["object"](world, "object-01", ALICE)
    await world.hold("hold-0001", "claim-1", BOB)
    await world.ask("erase-001", "erase", BOB)
    await world.step("desk")
    await missing(world)
    entries, bob = world.keystore.entries, (await places_of_gone(world, BOB))
    entries[bob] = DAMAGES["its seal"](entries[bob])
    await settled(world)
    world.clock.at += timedelta(days=8)
    for shard in shards(world):
        for each in shard.pauses._waiting.values():
            each.since -= 4000
    again(world)
    await settled(world)
    assert world.counts[Counters.decisions_failed] == 2
    assert not world.waiting()
    assert stages(world, "erase-001")[-1] == "tombstoned", "the hold has failed: nothing keeps the erasure any more"


async def places_of_gone(world: GuardWorld, who: str) -> bytes:
    """The key entry of somebody who is fenced: the one that is nobody else's."""
    others = [(await places(world, each))["key"] for each in (CAROL,)]
    alice = [key for key in world.keystore.entries if b":key:" in key and key not in others]
    ring = world.ring()
    for place in alice:
        keys = await ring.keys_of(Pseudonym(place.rpartition(b":")[2].decode()))
        if keys is not None and keys.lookup == lookup(world, who):
            return place
    raise AssertionError


async def test_an_erasure_waits_for_the_copies_of_law_whose_holds_entry_cannot_be_used(tmp_path: Path) -> None:
    """The month's hold of one purpose and partition: who has nothing under it is erased at once."""
    world = await filled(tmp_path)
    name = await pseudonym(world, ALICE)
    partition = partition_of(name, PARTITIONS)
    month = (world.clock.at - timedelta(days=2)).date().isoformat()[:7]
    hold = hold_key(TENANT, HoldId(kept_id(TENANT, 2, month, partition)))
    await world.safe().made(HoldId(kept_id(TENANT, 2, month, partition)), terms(month, partition))
    good = world.keystore.entries[hold]
    world.keystore.entries[hold] = DAMAGES["its seal"](good)
    await world.restart()
    await world.call("alone", "dora@example.org", outcome="missed")
    await world.run()
    await world.ask("erase-001", "erase", ALICE)
    await world.ask("erase-002", "erase", "dora@example.org")
    await settled(world)
    assert stages(world, "erase-002")[-1] == "tombstoned"
    assert stages(world, "erase-001") == ["accepted", "fenced"]
    world.keystore.entries[hold] = good
    again(world)
    await world.run()
    assert stages(world, "erase-001")[-1] == "tombstoned"
    assert list(world.case("erase-001").kept) == [{"basis": "legal_duty"}]


def terms(month: str, partition: int) -> Any:
    """Of what a purpose keeps by law."""
    from calllog_guard.core.decisions.hold import Terms  # noqa: PLC0415

    return Terms(name=f"2.{month}", basis="legal_duty", purpose=2, partition=partition)


@pytest.mark.parametrize("rebuilt", [False, True])
async def test_legs_of_somebody_whose_rules_cannot_be_read_are_judged_once_they_can(
    tmp_path: Path, *, rebuilt: bool
) -> None:
    """An index built anew meets them all at once; nobody else's legs wait, and no crash forgets who was not judged."""
    world = await filled(tmp_path)
    name = await pseudonym(world, ALICE)
    old = {key: value for key, value in world.legs().items() if key.startswith(name.encode())}
    await world.ask("range-001", "erase", ALICE, range={"from": "2026-10-01", "to": "2026-10-31"})
    await world.ask("object-01", "object", ALICE, purposes=["quality"])
    await world.ask("rectify-1", "rectify", ALICE, facts={"call_id": "c0", "role": "guest"})
    await world.run()
    kept = set(world.legs())
    place = (await places(world, ALICE))["key"]
    good = world.keystore.entries[place]
    world.keystore.entries[place] = DAMAGES["its seal"](good)
    await world.restart(rebuild=rebuilt)
    for key, value in old.items():  # a zombie writes all of them again
        await world.log.write([Output("calllog.legs", partition_of(name, PARTITIONS), key, value)])
    await world.call("another", BOB)
    await settled(world)
    assert len(world.legs()) == 9 + 1, "bob's has come; alice's are not judged"
    assert sum(len(shard.unjudged) for shard in shards(world)) == 1
    await world.restart()
    assert sum(len(shard.unjudged) for shard in shards(world)) == 1, "the index knows"
    world.keystore.entries[place] = good
    await world.restart()
    again(world)
    await world.run()
    assert set(world.legs()) - kept == {
        key for key in world.legs() if key not in kept and not key.startswith(name.encode())
    }
    masks = [facts.mask for shard in shards(world) for facts, _ in shard.index.legs_of(name)]
    assert len(masks) == 2
    assert all(mask & 4 == 0 for mask in masks), "objected"
    assert sorted(leg.role for leg in await legs(world, ALICE)) == ["guest", "host"], "corrected"
    assert not any(shard.unjudged or shard.index.pending() for shard in shards(world))


@pytest.mark.parametrize("kind", ["who", "key"])
async def test_the_guard_ends_past_an_entry_that_cannot_be_used(tmp_path: Path, kind: str) -> None:
    """Or one flipped bit would keep a restarted keystore shut for everybody."""
    world = await filled(tmp_path)
    await world.ask("restrict1", "restrict", ALICE)
    await world.ask("object-01", "object", ALICE, purposes=["quality"])
    await world.ask("restrict2", "restrict", BOB)
    await world.ask("erase-001", "erase", CAROL)
    await world.run()
    entries = world.keystore.entries
    for who in (ALICE, CAROL):
        place = (
            person_key(TENANT, lookup(world, who))
            if kind == "who" or who == CAROL
            else (await places(world, ALICE))["key"]
        )
        entries[place] = DAMAGES["its seal"](entries[place])
    for partition in range(PARTITIONS):  # nothing is known to be applied: all is replayed
        entries.pop(applied_key(partition), None)
    world.keystore.run = b"another run"
    await world.restart()
    await world.step("keeper")
    await settled(world)
    view = await world.ring().view([lookup(world, BOB)])
    person = world.ring().person(lookup(world, BOB), view.raw[lookup(world, BOB)])
    assert person is not None
    assert person.restricted
    if kind == "key":
        alice = world.ring().person(
            lookup(world, ALICE), (await world.ring().view([lookup(world, ALICE)])).raw[lookup(world, ALICE)]
        )
        assert alice is not None
        assert (alice.restricted, alice.objected) == (True, 4), "what the entry says stays"


@pytest.mark.parametrize("harm", ["key entry, its seal", "person entry, its seal"])
async def test_lapsed_legs_of_somebody_whose_entries_cannot_tell_take_nobody_elses_turn(
    tmp_path: Path, harm: str
) -> None:
    """A portion holds two legs, and three of hers come first: she may be restricted, or under a hold."""
    policy = POLICY.replace('keep = "P90D"', 'keep = "P30D"\nthen = "anonymise"')
    policy = policy.replace('keep = "P60D"', 'keep = "P30D"\nthen = "anonymise"')
    world = await GuardWorld(tmp_path, policy, sweep_records=2).start()
    for who in (ALICE, BOB, CAROL):
        for number in range(3):
            await world.call(f"c{number}", who, days_ago=1 if who != ALICE else 2, outcome="missed")
    await world.run()
    await HARMS[harm](world)
    await world.restart()
    world.clock.at += timedelta(days=40)
    await settled(world)
    assert len(world.legs()) == 3, "hers alone are left"
    assert len({key[:22] for key in world.legs()}) == 1


# --- records that no protector wrote ----------------------------------------------------------------------------------


def bent(value: bytes, **changes: Any) -> bytes:
    """The leg with other clear fields in its header."""
    from calllog_guard.core.identifiers import b64, unb64  # noqa: PLC0415

    head, _, rest = value.partition(b".")
    header = json.loads(unb64(head)) | changes
    return b64(json.dumps(header, separators=(",", ":")).encode()) + b"." + rest


FORGED: dict[str, dict[str, Any]] = {
    "the last day there is": {"day": "9999-12-31", "mon": "9999-12"},
    "no day of the calendar": {"day": "2026-02-31", "mon": "2026-02"},
    "the year 0": {"day": "0000-01-01", "mon": "0000-01"},
    "before all events": {"day": "1999-12-31", "mon": "1999-12"},
    "next year": {"day": "2027-12-31", "mon": "2027-12"},
    "a month that is not the day's": {"mon": "2026-10"},
    "no month": {"mon": "2026-99"},
    "more purposes than there can be": {"pur": 1 << 62},
    "fewer than none": {"pur": -1},
    "somebody else": {"kid": "A" * 22},
    "a number for a day": {"day": 7},
}


@pytest.mark.parametrize("what", [*FORGED, "text", "empty", "another's"])
async def test_a_record_that_is_no_leg_stops_no_keeper_and_goes_with_its_person(tmp_path: Path, what: str) -> None:
    """It is a dead letter, sweeps go on, and an erasure removes it, or no certificate could ever be given."""
    world = await filled(tmp_path)
    name, bob = await pseudonym(world, ALICE), await pseudonym(world, BOB)
    key, value = next((key, value) for key, value in world.legs().items() if key.startswith(name.encode()))
    forged = {
        "text": b"no leg at all",
        "empty": b"",
        "another's": world.legs()[next(k for k in world.legs() if k.startswith(bob.encode()))],
    }
    forged |= {word: bent(value, **changes) for word, changes in FORGED.items()}
    place = partition_of(name, PARTITIONS)
    await world.log.write([Output("calllog.legs", place, key, forged[what])])
    await world.log.write([Output("calllog.legs", place, record_key(name, "A" * 22), forged[what])])
    await world.run()
    assert len(world.dead()) == 2
    world.clock.at += timedelta(hours=1)
    await world.keeper.idle()
    await world.restart(rebuild=True)
    await world.run()
    await world.ask("erase-001", "erase", ALICE)
    await world.run()
    assert stages(world, "erase-001")[-1] == "tombstoned"
    assert not any(each.startswith(name.encode()) for each in world.legs())
    assert len(world.legs()) == 6


async def test_a_record_that_is_no_leg_does_not_outlive_every_purpose(tmp_path: Path) -> None:
    world = await filled(tmp_path)
    name = await pseudonym(world, ALICE)
    await world.log.write([Output("calllog.legs", partition_of(name, PARTITIONS), record_key(name, "A" * 22), b"?")])
    await world.run()
    world.clock.at += timedelta(days=6 * 366 - 20)
    await settled(world)
    assert record_key(name, "A" * 22) in world.legs(), "as long as the longest of them"
    world.clock.at += timedelta(days=30)
    await settled(world)
    assert world.legs() == {}


@pytest.mark.parametrize(
    "key", [b"x", b"A" * 22, b"A" * 22 + b".", b"\xff" * 45, b"A" * 45, b"A" * 22 + b"." + b"!" * 22]
)
async def test_a_record_under_a_key_of_no_leg_goes_at_once(tmp_path: Path, key: bytes) -> None:
    """It would stand in the way of whoever's pseudonym it begins with; its tombstone is no news."""
    world = await filled(tmp_path)
    await world.log.write([Output("calllog.legs", 0, key, b"junk")])
    await world.run()
    assert world.dead() == ["bad_leg"]
    assert key not in world.legs()


async def test_a_day_beyond_the_calendar_in_an_index_of_an_earlier_release_stops_no_sweep(tmp_path: Path) -> None:
    """What was taken in before such days were refused is in the index of that partition."""
    from datetime import date  # noqa: PLC0415

    world = await filled(tmp_path)
    for shard in shards(world):
        shard.index.put(record_key(Pseudonym("A" * 22), "A" * 22), LegFacts(date.max, 7, "2020-01-01", 0))
        shard.held.put(record_key(Pseudonym("A" * 22), "A" * 22), LegFacts(date.max, 7, "2020-01-01", 0))
        world.keeper._t.commit(shard)
    world.clock.at += timedelta(days=7 * 366)
    await settled(world)
    assert world.legs() == {}


async def test_a_keeper_that_cannot_fence_still_raises_what_is_everybodys(tmp_path: Path) -> None:
    """A keystore that is silent is nobody's own matter: the keeper waits."""
    world = await filled(tmp_path)
    await world.ask("erase-001", "erase", ALICE)
    await world.step("desk")
    world.keystore.silent = True
    with pytest.raises(Exception, match="does not answer") as silent:
        await world.step("keeper")
    assert not isinstance(silent.value, EntryUnreadableError)
    world.keystore.silent = False
    await world.run()
    assert len(world.legs()) == 6
    assert secrets_key(TENANT, Pseudonym("A" * 22)) not in world.keystore.entries
