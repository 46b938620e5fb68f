"""What a forgetful keystore may not bring about: nobody's generation twice, no old decision over a new person."""

from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from test_rotation import PEOPLE, START, TENANT, World

from calllog_guard.core.codec import to_ms
from calllog_guard.core.crypto.entries import person_key
from calllog_guard.core.crypto.subject_secrets import month_from
from calllog_guard.errors import KeystoreGuardedError
from calllog_guard.workers.keys.people.subject_keys import Keyring

LATER = to_ms(START + timedelta(hours=1))


@pytest.fixture
async def world(tmp_path: Path) -> World:
    """Two living people, one who is gone."""
    made = World(tmp_path)
    await made.fill()
    return made


async def mint(world: World, lookup: str, ring: Keyring | None = None) -> int:
    """Someone's event arrives; the generation that is minted."""
    ring = ring or world.ring
    found = next(each for each in PEOPLE if each == lookup)
    view = await ring.view([found])
    person = ring.person(found, view.raw[found])
    assert await ring.mint({found: person}, view, month_from("2026-10"), month_from("2026-11"))
    return world.person(found).generation


async def replay(world: World, run: bytes) -> None:
    """Another run of the keystore, and the end of its replay by the keepers."""
    world.keystore.run = run
    with suppress(KeystoreGuardedError):  # an older content is told once
        await world.ring.guard.unguarded([0, 1])
    origin, missing = await world.ring.guard.unguarded([0, 1])
    for partition in missing:
        await world.ring.guard.raise_floor()
        await world.ring.guard.mark(partition, origin, 0)


async def test_who_is_younger_than_the_backup_is_minted_under_another_generation(world: World) -> None:
    """The keys are lost with the backup; a decision about them may be somewhere, and must not meet the new person."""
    del world.keystore.entries[person_key(TENANT, PEOPLE[0])]
    backup = dict(world.keystore.entries)
    given = {1}
    for restore in range(5):
        world.keystore.entries = dict(backup)
        await replay(world, b"run %d" % restore)
        new = await mint(world, PEOPLE[0])
        assert new not in given, f"restore {restore}"
        given.add(new)


async def test_a_replayed_fence_keeps_its_generation_where_the_keystore_has_forgotten_the_person(world: World) -> None:
    place = person_key(TENANT, PEOPLE[2])
    del world.keystore.entries[place]
    await world.ring.fence(PEOPLE[2], LATER, generation=7)
    assert world.person(PEOPLE[2]).generation == 7
    assert await mint(world, PEOPLE[2]) == 8
    entry = world.keystore.entries[place]
    await world.ring.fence(PEOPLE[2], LATER, generation=7)
    assert world.keystore.entries[place] == entry, "the old decision, once more, does not touch who has returned"


async def test_a_fence_for_someone_never_seen_is_replayed_too(world: World) -> None:
    """Or events from before the erasure would create them after a restore."""
    del world.keystore.entries[person_key(TENANT, PEOPLE[2])]
    await world.ring.fence(PEOPLE[2], LATER, generation=0)
    assert (world.person(PEOPLE[2]).pseudonym, world.person(PEOPLE[2]).cut_off) == (None, LATER)


async def test_an_older_keystore_under_the_same_run_is_known_to_whoever_looked_into_the_log(world: World) -> None:
    """A worker that starts on it has seen no counter itself."""
    fresh = world.fresh_ring()
    await fresh.view(PEOPLE)
    fresh = world.fresh_ring()
    fresh.guard.saw(1)
    with pytest.raises(KeystoreGuardedError):
        await fresh.view(PEOPLE)
    with pytest.raises(KeystoreGuardedError):
        await world.fresh_ring().view(PEOPLE)  # every mark fell


async def test_a_counter_that_no_keystore_can_hold_is_nobodys(world: World) -> None:
    fresh = world.fresh_ring()
    fresh.guard.saw(1 << 70)
    await fresh.view(PEOPLE)
