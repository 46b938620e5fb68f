"""What was asked about somebody whose person entry cannot be used waits alone; erasures look for them in the log."""

from datetime import timedelta
from pathlib import Path

import pytest
from damage import DAMAGES
from guard_world import TENANT, GuardWorld
from test_backlog import ASKED, CAROL, filled, settled, stages
from test_parking import ALICE, BOB, lookup, places

from calllog_guard.core.crypto.entries import Person, person_key
from calllog_guard.core.decisions.outcome import is_result
from calllog_guard.metrics import Counters
from calllog_guard.workers.desk.cases.waiting import is_waiting

BAD = DAMAGES["its seal"]


def again(world: GuardWorld) -> None:
    """What waits is due, as after its pause."""
    world.desk._waiting._pauses.at_once()
    for shard in world.keeper._shards.values():
        shard.pauses.at_once()


async def spoiled(world: GuardWorld) -> dict[bytes, bytes]:
    """Alice's person entry does not authenticate; what it was."""
    place = (await places(world, ALICE))["who"]
    good = {place: world.keystore.entries[place]}
    world.keystore.entries[place] = BAD(good[place])
    await world.restart()
    return good


async def person(world: GuardWorld, who: str) -> Person | None:
    """What an entry says."""
    ring, found = world.ring(), lookup(world, who)
    return ring.person(found, (await ring.view([found])).raw[found])


@pytest.mark.parametrize("kind", [kind for kind in ASKED if kind != "hold"])
@pytest.mark.parametrize("restarted", [False, True])
async def test_a_case_waits_for_its_person_alone_and_ends_when_the_entry_is_mended(
    tmp_path: Path, kind: str, *, restarted: bool
) -> None:
    """Bob's of the same kind, in the same unit, is carried out; also where the desk is started anew meanwhile."""
    world = await filled(tmp_path)
    good = await spoiled(world)
    for jti, who in (("alice-001", ALICE), ("bob-00001", BOB)):
        await ASKED[kind](world, jti, who)
    await settled(world)
    assert world.case("bob-00001").state in {"closed", "observing"}
    assert is_waiting(world.case("alice-001"))
    assert (len(world.desk._waiting), world.counts[Counters.cases_waited], world.dead()) == (1, 1, [])
    if restarted:
        await world.restart()
    world.keystore.entries |= good
    again(world)
    await world.run()
    assert world.case("alice-001").state == world.case("bob-00001").state
    assert stages(world, "alice-001") == stages(world, "bob-00001")
    assert len(world.desk._waiting) == 0


async def test_what_was_asked_later_about_the_same_person_waits_behind(tmp_path: Path) -> None:
    """The entry is mended before the first was tried again: the order is as asked, and nobody else is behind."""
    world = await filled(tmp_path)
    good = await spoiled(world)
    await world.ask("restrict1", "restrict", ALICE)
    await world.step("desk")
    await world.ask("lift-0001", "lift", ALICE, key="officer-1", ground="over")
    await world.ask("restrict2", "restrict", BOB)
    await world.step("desk")
    assert [is_waiting(world.case(jti)) for jti in ("restrict1", "restrict2")] == [True, False]
    world.keystore.entries |= good
    await world.ask("restrict3", "restrict", ALICE)
    await world.step("desk")
    found = await person(world, ALICE)
    assert found is not None
    assert found.restricted, "the last that was asked holds"
    assert len(world.desk._waiting) == 0, "what came before was tried first"


@pytest.mark.parametrize("damage", DAMAGES)
async def test_somebody_whose_entry_does_not_open_is_found_by_their_key_and_erased(tmp_path: Path, damage: str) -> None:
    world = await filled(tmp_path)
    place = await places(world, ALICE)
    world.keystore.entries[place["who"]] = DAMAGES[damage](world.keystore.entries[place["who"]])
    await world.restart()
    await world.ask("erase-001", "erase", ALICE)
    await world.ask("erase-002", "erase", BOB)
    for _ in range(3):
        await settled(world)
        again(world)
    await world.run()
    for jti in ("erase-001", "erase-002"):
        assert stages(world, jti) == ["accepted", "fenced", "destroyed", "tombstoned"]
        assert sum(world.case(jti).legs.values()) == 3
    assert place["key"] not in world.keystore.entries
    assert len(world.legs()) == 3, "carol's"
    found = await person(world, ALICE)
    assert found is not None
    assert found.pseudonym is None
    await world.call("late", ALICE, days_ago=1)
    await world.run()
    assert len(world.legs()) == 3, "the fence stands"


async def test_who_cannot_be_looked_for_is_nobody_only_when_every_key_opens(tmp_path: Path) -> None:
    """Her key does not open either: it may be hers, so nothing is said to be done before it is mended."""
    world = await filled(tmp_path)
    place = (await places(world, ALICE))["key"]
    good = world.keystore.entries[place]
    await spoiled(world)
    world.keystore.entries[place] = BAD(good)
    await world.restart()
    await world.ask("erase-001", "erase", ALICE)
    for _ in range(3):
        await settled(world)
        again(world)
    assert stages(world, "erase-001") == ["accepted"]
    assert len(world.legs()) == 9
    world.keystore.entries[place] = good
    world.clock.at += timedelta(days=1, hours=1)  # each partition is asked once a day
    for _ in range(3):
        await settled(world)
        again(world)
    await world.run()
    assert stages(world, "erase-001")[-1] == "tombstoned"
    assert len(world.legs()) == 6


async def test_an_entry_of_nobody_becomes_gone_in_no_earlier_generation(tmp_path: Path) -> None:
    """Bytes under the lookup of a person who never was here: the erasure ends, and the fence stands."""
    world = await filled(tmp_path)
    nobody = "nobody@example.org"
    world.keystore.entries[person_key(TENANT, lookup(world, nobody))] = b"junk"
    await world.restart()
    await world.ask("erase-001", "erase", nobody)
    for _ in range(3):
        await settled(world)
        again(world)
    await world.run()
    found = await person(world, nobody)
    assert found is not None
    assert found.pseudonym is None
    assert "fenced" in stages(world, "erase-001")
    assert len(world.legs()) == 9


async def test_the_first_releases_forms_search_for_nobody(tmp_path: Path) -> None:
    """A keeper of that release reads no such decision; the erasure waits, and everybody else's goes on."""
    world = await filled(tmp_path, forms=1)
    await spoiled(world)
    await world.ask("erase-001", "erase", ALICE)
    await world.ask("erase-002", "erase", CAROL)
    await settled(world)
    assert stages(world, "erase-002")[-1] == "tombstoned"
    assert stages(world, "erase-001") == ["accepted"]
    ledger = [key for key in world.log.live("privacy.decisions") if not key.startswith(b"~") and not is_result(key)]
    assert len(ledger) == 1


async def test_a_secret_case_that_waits_is_in_no_number(tmp_path: Path) -> None:
    """Whoever may read the numbers must not learn that there is a secret hold."""
    world = await filled(tmp_path)
    good = await spoiled(world)
    await world.hold("hold-0001", "claim-1", ALICE, secret=True)
    await settled(world)
    assert len(world.desk._waiting) == 1
    again(world)
    assert await world.desk._waiting.again() == 0
    await world.ask("restrict1", "restrict", ALICE)
    await settled(world)
    assert await world.desk._waiting.again() == 1
    world.keystore.entries |= good
    again(world)
    await world.run()
    assert len(world.held()) == 3
