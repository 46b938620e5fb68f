"""Each role does its work with the rights of the table, and what it may not do it leaves to those who may."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from test_rotation import PEOPLE, TENANT, World
from user_keystore import UserKeystore

from calllog_guard.core.crypto.entries import GUARD_KEY, guarded_key, secrets_key
from calllog_guard.core.crypto.subject_secrets import month_from
from calllog_guard.errors import KeystoreForbiddenError, KeystoreGuardedError
from calllog_guard.workers.keys.key_cache import CacheLimits
from calllog_guard.workers.keys.people.subject_keys import Keyring

MONTHS = month_from("2026-10"), month_from("2026-11")


@pytest.fixture
async def world(tmp_path: Path) -> World:
    """Two living people, one who is gone."""
    made = World(tmp_path)
    await made.fill()
    return made


def ring_of(world: World, keystore: UserKeystore) -> Keyring:
    """A role's."""
    return Keyring(TENANT, keystore, world.vault, world.clock, CacheLimits(60, 10), 2)


async def test_a_protector_mints_whoever_is_new_and_whoever_returns(world: World) -> None:
    ring = ring_of(world, UserKeystore(world.keystore, "protector"))
    view = await ring.view(PEOPLE)
    assert await ring.mint({PEOPLE[2]: ring.person(PEOPLE[2], view.raw[PEOPLE[2]])}, view, *MONTHS)
    assert world.person(PEOPLE[2]).generation == 2
    assert await ring.keys_of(world.keys(PEOPLE[2])[0])


async def test_a_protector_that_was_too_late_leaves_its_keys_to_the_walk(world: World) -> None:
    """Its user may delete nothing, and the walk removes what nobody claims."""

    class Late(UserKeystore):
        async def put_new(self, entries: Mapping[bytes, bytes]) -> bool:
            world.change_person(PEOPLE[2], restricted=True)
            return await super().put_new(entries)

    ring = ring_of(world, Late(world.keystore, "protector"))
    view = await ring.view(PEOPLE)
    before = set(world.keystore.entries)
    assert not await ring.mint({PEOPLE[2]: ring.person(PEOPLE[2], view.raw[PEOPLE[2]])}, view, *MONTHS)
    (orphan,) = set(world.keystore.entries) - before
    assert (await world.walk().run({})).orphans == 1
    assert orphan not in world.keystore.entries


async def test_keys_are_never_written_over(world: World) -> None:
    """Neither by a name that is given twice, nor by a protector's user with a mind of its own."""
    place = secrets_key(TENANT, world.keys(PEOPLE[0])[0])
    before = dict(world.keystore.entries)
    keystore = UserKeystore(world.keystore, "protector")
    assert not await keystore.put_new({place: b"other"})
    for attempt in (keystore.put({place: b"other"}), keystore.delete([place]), keystore.drop(place, {})):
        with pytest.raises(KeystoreForbiddenError):
            await attempt
    assert world.keystore.entries == before


@pytest.mark.parametrize("user", ["reader", "officer", "protector", "desk"])
async def test_who_may_not_raise_the_guard_is_held_by_it_all_the_same(world: World, user: str) -> None:
    """An older keystore is seen by whoever has seen a newer one; those who may raise the guard do."""
    ring = ring_of(world, UserKeystore(world.keystore, user))
    ring.guard.saw(7)
    before = dict(world.keystore.entries)
    with pytest.raises(KeystoreGuardedError, match="older"):
        await ring.view(PEOPLE)
    assert world.keystore.entries == before
    keeper = ring_of(world, UserKeystore(world.keystore, "keeper"))
    keeper.guard.saw(7)
    with pytest.raises(KeystoreGuardedError, match="older"):
        await keeper.view(PEOPLE)
    assert guarded_key(0) not in world.keystore.entries
    assert world.keystore.entries[GUARD_KEY] != before[GUARD_KEY]


async def test_a_reader_opens_and_changes_nothing(world: World) -> None:
    ring = ring_of(world, UserKeystore(world.keystore, "reader"))
    view = await ring.view(PEOPLE)
    person = ring.person(PEOPLE[0], view.raw[PEOPLE[0]])
    assert person is not None
    assert person.pseudonym is not None
    assert await ring.keys_of(person.pseudonym)
    for attempt in (
        ring.fence(PEOPLE[0], 1),
        ring.destroy(person.pseudonym),
        ring.change_keys(person.pseudonym, lambda keys: replace(keys, generation=9)),
    ):
        with pytest.raises(KeystoreForbiddenError):
            await attempt
