"""What is kept in memory is bounded in number and time, and goes at once where a fence says so."""

import asyncio
from pathlib import Path
from sys import getrefcount

import pytest
from clock_of_caches import gone_in_time
from test_rotation import PEOPLE, START, TENANT, World

from calllog_guard.core.codec import to_ms
from calllog_guard.core.crypto.entries import Person
from calllog_guard.core.crypto.subject_secrets import month_of
from calllog_guard.core.identifiers import Lookup, Pseudonym
from calllog_guard.workers.keys.key_cache import Cache, CacheLimits
from calllog_guard.workers.keys.people.subject_keys import Keyring

ALICE, NOW_MS = PEOPLE[0], to_ms(START)


class Kept:
    """A cache whose clock is set by hand."""

    def __init__(self, most: int = 10) -> None:
        self.at = 0.0
        self.cache: Cache[str, str] = Cache(60, most, now=lambda: self.at)


def test_nothing_is_given_out_at_its_time() -> None:
    kept = Kept()
    kept.cache.put("a", "1")
    kept.at = 58
    assert kept.cache.get("a") == "1"
    kept.at = 60
    assert kept.cache.get("a") is None


def test_the_oldest_makes_room_and_nothing_else() -> None:
    """A cache that empties itself asks the keystore for everybody at once."""
    kept = Kept(most=3)
    for name in ("a", "b", "c", "a", "d"):
        kept.cache.put(name, name)
    assert list(kept.cache) == ["c", "a", "d"]


def test_what_is_over_goes_although_nobody_asks_for_it() -> None:
    """A process that waits for its next record turns nothing over by itself."""
    kept = Kept()
    kept.cache.put("a", "1")
    kept.at = 30
    kept.cache.put("b", "2")
    kept.at = 61
    assert gone_in_time(lambda: list(kept.cache) == ["b"])


def test_what_is_put_again_lives_anew() -> None:
    kept = Kept()
    kept.cache.put("a", "1")
    kept.cache.put("b", "2")
    kept.at = 30
    kept.cache.put("a", "3")
    kept.at = 61
    kept.cache.sweep()
    assert (list(kept.cache), kept.cache.get("a")) == (["a"], "3")


@pytest.fixture
async def world(tmp_path: Path) -> World:
    """Two living people, one who is gone."""
    made = World(tmp_path)
    await made.fill()
    return made


async def living(ring: Keyring) -> Person:
    """Alice, with her key opened in this ring's memory."""
    view = await ring.view([ALICE])
    person = ring.person(ALICE, view.raw[ALICE])
    assert person is not None
    assert person.pseudonym is not None
    await ring.open({ALICE: person})
    await ring.owners([person.pseudonym])
    assert kept(ring) == ([ALICE], [person.pseudonym])
    return person


def kept(ring: Keyring) -> tuple[list[Lookup], list[Pseudonym]]:
    """Whose key bytes a ring has in memory."""
    return list(ring._cache), list(ring._owners)


async def test_who_fences_forgets_the_key(world: World) -> None:
    ring = world.fresh_ring()
    await living(ring)
    await ring.fence(ALICE, NOW_MS)
    assert kept(ring) == ([], [])


async def test_who_fences_what_nobody_changed_forgets_the_key(world: World) -> None:
    ring = world.fresh_ring()
    await living(ring)
    view = await ring.view([ALICE])
    assert await ring.fence_if(ALICE, view, NOW_MS)
    assert kept(ring) == ([], [])


async def test_who_sees_another_workers_fence_forgets_the_key(world: World) -> None:
    ring = world.fresh_ring()
    await living(ring)
    await world.fresh_ring().fence(ALICE, NOW_MS)
    view = await ring.view([ALICE])
    ring.persons(view)
    assert kept(ring) == ([], [])


async def test_who_destroys_a_key_forgets_it(world: World) -> None:
    ring = world.fresh_ring()
    person = await living(ring)
    assert await ring.destroy(Pseudonym(person.pseudonym or ""))
    assert kept(ring) == ([], [])


async def test_what_seals_and_names_by_a_key_goes_with_it(world: World) -> None:
    """Ciphers and begun HMACs are kept, not made for each leg: they hold keys, and nobody else may hold them."""
    ring = world.fresh_ring()
    opened, _ = await ring.open({ALICE: await living(ring)})
    month = month_of(START.year, START.month)
    cipher, begun = opened[ALICE].data_key(month).aes(), opened[ALICE].token_key.begun()
    assert opened[ALICE].data_key(month).aes() is cipher
    opened.clear()
    assert min(getrefcount(cipher), getrefcount(begun)) > 2
    await ring.fence(ALICE, NOW_MS)
    assert (getrefcount(cipher), getrefcount(begun)) == (2, 2), "this test's own, and the argument"


@pytest.mark.slow
async def test_key_bytes_lapse_in_memory_without_any_more_work(world: World) -> None:
    """The bound that receipts state holds for a worker that never hears of the person again."""
    ring = Keyring(TENANT, world.keystore, world.vault, world.clock, CacheLimits(2, 10), 2)
    await living(ring)
    assert await asyncio.to_thread(gone_in_time, lambda: (*kept(ring), list(ring._verified)) == ([], [], []))
