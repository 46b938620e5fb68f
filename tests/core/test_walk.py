"""The walk: entries move into the new epoch, ratchets past the lapsed months, and the old epoch's key is destroyed in the end."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from calllog_guard.adapters.kms_local import FileRing, LocalKms
from calllog_guard.adapters.memory import MemoryKeystore
from calllog_guard.core.crypto.entries import EPOCH_KEY, GUARD_KEY, person_key
from calllog_guard.core.crypto.secrets import month_from
from calllog_guard.core.ids import Lookup, Tenant
from calllog_guard.errors import EpochUnknownError, RecordError
from calllog_guard.workers.keyring import Keyring, guard_entry
from calllog_guard.workers.vault import Vault
from calllog_guard.workers.walk import Walk, epoch_of

TENANT = Tenant("iocom")
START = datetime(2026, 11, 24, 9, tzinfo=UTC)
PEOPLE = [Lookup(letter * 42 + "A") for letter in "ABC"]


class Hand:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.at = START

    def now(self) -> datetime:
        """See Clock."""
        return self.at


class World:
    """A keystore with three people."""

    def __init__(self, folder: Path) -> None:
        self.clock, self.keystore = Hand(), MemoryKeystore()
        self.vault = Vault(LocalKms(folder), FileRing(folder))
        self.vault.create_tenant(TENANT)
        self.vault.create_epoch(epoch_of(START))
        self.ring = self.fresh_ring()
        self.keystore.entries |= {
            GUARD_KEY: guard_entry(self.vault.guard_id()),
            EPOCH_KEY: epoch_of(START).encode(),
        }

    def fresh_ring(self) -> Keyring:
        """A keyring that has seen nothing."""
        return Keyring(TENANT, self.keystore, self.vault, self.clock, cache_s=60, cache_entries=10, partitions=2)

    async def fill(self) -> None:
        """Two live people and one who is gone."""
        await self.ring.open_at_once(2)
        view = await self.ring.view(PEOPLE)
        assert await self.ring.mint(dict.fromkeys(PEOPLE[:2]), view, month_from("2026-10"), month_from("2026-11"))
        await self.ring.fence(PEOPLE[2], 1000)

    def walk(self) -> Walk:
        """A walk as the auditor does it: purposes reach back 90 days."""
        return Walk(
            TENANT,
            self.keystore,
            self.ring,
            self.vault,
            self.clock,
            keep_days=90,
            epoch_days=7,
            window_days=14,
            told=lambda _: None,
        )


@pytest.fixture
async def world(tmp_path: Path) -> World:
    """See World."""
    made = World(tmp_path)
    await made.fill()
    return made


async def test_nothing_moves_within_an_epoch(world: World) -> None:
    before = dict(world.keystore.entries)
    done = await world.walk().run({})
    assert (done.rewrapped, done.advanced, done.destroyed) == (0, 0, [])
    assert world.keystore.entries == before
    assert done.entries == {"2026-W48": 5}


async def test_entries_move_and_an_old_backup_opens_nothing_in_the_end(world: World) -> None:
    backup = dict(world.keystore.entries)
    world.clock.at += timedelta(days=7)
    done = await world.walk().run({})
    assert (done.epoch, done.rewrapped, done.destroyed) == ("2026-W49", 5, [])
    assert done.kept["2026-W48"] == "backup window until 2026-12-21"
    persons = {each: world.ring.person(each, world.keystore.entries[person_key(TENANT, each)]) for each in PEOPLE}
    assert all(person is not None and person.epoch == "2026-W49" for person in persons.values())
    assert [person and person.cut_off for person in persons.values()] == [0, 0, 1000], "a fence stays a fence"
    world.clock.at += timedelta(days=21)
    assert (await world.walk().run({"2026-W48": "waiting cases"})).kept["2026-W48"] == "waiting cases"
    assert (await world.walk().run({})).destroyed == ["2026-W48"]
    world.keystore.entries = backup
    thief = Keyring(TENANT, world.keystore, world.vault, world.clock, cache_s=60, cache_entries=10, partitions=2)
    with pytest.raises(EpochUnknownError):
        thief.person(PEOPLE[0], backup[person_key(TENANT, PEOPLE[0])])


async def test_the_ratchet_moves_past_the_months_that_no_purpose_reaches(world: World) -> None:
    person = world.ring.person(PEOPLE[0], world.keystore.entries[person_key(TENANT, PEOPLE[0])])
    assert person is not None
    november = (await world.ring.open({PEOPLE[0]: person}))[PEOPLE[0]].data_key(month_from("2026-11"))
    world.clock.at += timedelta(days=130)
    await world.walk().run({})
    moved = world.ring.person(PEOPLE[0], world.keystore.entries[person_key(TENANT, PEOPLE[0])])
    assert moved is not None
    opened = (await world.fresh_ring().open({PEOPLE[0]: moved}))[PEOPLE[0]]
    with pytest.raises(RecordError):
        opened.data_key(month_from("2026-11"))
    assert opened.data_key(month_from("2026-12")) != november
    world.clock.at -= timedelta(days=130)
    still = (await world.ring.open({PEOPLE[0]: person}))[PEOPLE[0]]
    assert still.data_key(month_from("2026-12")) == opened.data_key(month_from("2026-12")), "the same chain of links"


async def test_who_is_erased_during_the_walk_is_not_brought_back(world: World) -> None:
    world.clock.at += timedelta(days=7)
    person = world.ring.person(PEOPLE[0], world.keystore.entries[person_key(TENANT, PEOPLE[0])])
    assert person is not None
    assert person.pseudonym is not None
    pseudonym, read = person.pseudonym, world.keystore.read
    calls = 0

    async def erase_in_between(keys: list[bytes]) -> list[bytes | None]:
        nonlocal calls
        found = await read(keys)
        if any(b":key:" in key for key in keys) and not calls:
            calls = 1
            await world.ring.destroy(pseudonym)
        return found

    world.keystore.read = erase_in_between  # type: ignore[method-assign, assignment]
    done = await world.walk().run({})
    assert done.contested == 1
    assert await world.ring.keys_of(pseudonym) is None


async def test_an_epoch_stays_while_an_entry_lies_under_it(world: World) -> None:
    world.clock.at += timedelta(days=40)
    swap = world.keystore.swap

    async def contested(changes: Mapping[bytes, Any], unchanged: Mapping[bytes, Any]) -> bool:
        if any(b":who:" in key for key in changes):
            return False
        return await swap(changes, unchanged)

    world.keystore.swap = contested  # type: ignore[method-assign]
    done = await world.walk().run({})
    assert done.kept["2026-W48"] == "entries"
    assert not done.destroyed


async def test_a_key_that_nobody_claimed_is_removed_and_cannot_be_claimed_any_more(world: World) -> None:
    view, late = await world.ring.view(PEOPLE), PEOPLE[2]
    gone, swap = world.ring.person(late, view.raw[late]), world.keystore.swap

    async def walked_over(changes: Mapping[bytes, Any], unchanged: Mapping[bytes, Any]) -> bool:
        world.keystore.swap = swap  # type: ignore[method-assign]
        assert (await world.walk().run({})).orphans == 1
        return await swap(changes, unchanged)

    world.keystore.swap = walked_over  # type: ignore[method-assign]
    assert not await world.ring.mint({late: gone}, view, month_from("2026-10"), month_from("2026-11"))
    assert await world.ring.mint({late: gone}, view, month_from("2026-10"), month_from("2026-11"))
    done = await world.walk().run({})
    assert done.orphans == 0
    assert done.entries == {"2026-W48": 6}
