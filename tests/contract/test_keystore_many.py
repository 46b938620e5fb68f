"""The keystore's contract with 100,000 keys: each call ends in a minute; no other client and not this loop waits."""

import asyncio
import secrets
import threading
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redises import Lone, running
from sizes import size

from calllog_guard.adapters.kms.local import FileRing, LocalKms
from calllog_guard.adapters.memory.fakes import MemoryKeystore, SystemClock
from calllog_guard.adapters.redis.keystore import PORTION, RedisKeystore
from calllog_guard.core.crypto.entries import EPOCH_KEY, GUARD_KEY, person_key
from calllog_guard.core.crypto.subject_secrets import month_of
from calllog_guard.core.identifiers import SubjectId, Tenant
from calllog_guard.ports.keys import WATCHED_MOST, Keystore
from calllog_guard.workers.keys.key_cache import CacheLimits
from calllog_guard.workers.keys.people.subject_keys import Keyring
from calllog_guard.workers.keys.restore_guard import guard_entry
from calllog_guard.workers.keys.rotation import epoch_of
from calllog_guard.workers.keys.tenants.tenant_secrets import Vault

MANY = size("KEYS", 20_000, 100_000)
WAIT_S = 1.0
"""What another client, or this loop, waits at most, or a third of the whole on a busy machine: a tenth is usual."""
TENANT = Tenant("iocom")


@dataclass
class Bystanders:
    """Who else wants an answer: another client of the server, and other tasks of this loop."""

    pings: list[float] = field(default_factory=list)
    ticks: list[float] = field(default_factory=list)

    @property
    def longest(self) -> float:
        """The longest wait of anybody."""
        return max(self.pings + self.ticks, default=0)


@dataclass
class Store:
    """A keystore, and the address where another client finds it."""

    keystore: Keystore
    url: str | None

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[Bystanders]:
        """The waits of bystanders for as long as the block runs."""
        seen, over = Bystanders(), threading.Event()

        def ping(url: str) -> None:
            with Redis.from_url(url) as client:
                while not over.is_set():
                    began = time.perf_counter()
                    client.ping()
                    seen.pings.append(time.perf_counter() - began)
                    over.wait(0.002)

        async def tick() -> None:
            while True:
                began = time.perf_counter()
                await asyncio.sleep(0)
                seen.ticks.append(time.perf_counter() - began)
                await asyncio.sleep(0.002)

        thread = threading.Thread(target=ping, args=(self.url,)) if self.url else None
        if thread:
            thread.start()
        task = asyncio.create_task(tick())
        try:
            yield seen
        finally:
            over.set()
            task.cancel()
            if thread:
                thread.join()


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.real)])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """The fake, and a real Redis of its own."""
    if request.param == "memory":
        yield Store(MemoryKeystore(), None)
        return
    server = Lone(tmp_path / "redis")
    with running(server):
        keystore = RedisKeystore(server.url)
        yield Store(keystore, server.url)
        await keystore.close()


async def test_very_many_keys_are_written_read_and_removed_beside_others(store: Store) -> None:
    """The parties of some units, all at once: nobody else of the keystore notices."""
    keystore = store.keystore
    entries = {b"clg:many:who:%032d" % number: secrets.token_bytes(200) for number in range(MANY)}
    keys = [*entries, b"clg:many:who:absent"]
    took: dict[str, float] = {}
    read: dict[str, list[bytes | None]] = {}

    async def timed(name: str, call: Awaitable[Any]) -> None:
        began = time.perf_counter()
        found = await call
        took[name] = time.perf_counter() - began
        read[name] = found[1] if name == "origin" else found

    async with store.watched() as seen:
        await timed("put", keystore.put(entries))
        await timed("read", keystore.read(keys))
        await timed("origin", keystore.origin(keys))
        await timed("delete", keystore.delete(keys))
        await timed("again", keystore.read(keys))
    assert read["read"] == read["origin"] == [*entries.values(), None]
    assert not any(read["again"])
    assert seen.longest < max(WAIT_S, sum(took.values()) / 3), took
    assert seen.pings or not store.url


@pytest.mark.real
async def test_no_command_names_more_keys_than_a_portion_has(tmp_path: Path) -> None:
    """What the time of every other client rests on, whatever else the machine does."""
    server = Lone(tmp_path / "redis")
    with running(server), Redis.from_url(server.url) as other:
        keystore = RedisKeystore(server.url)
        keys = [b"clg:few:who:%032d" % number for number in range(3 * PORTION + 1)]
        with other.monitor() as monitor:
            await keystore.put(dict.fromkeys(keys, b"x"))
            await keystore.read(keys)
            await keystore.origin(keys)
            await keystore.swap(dict.fromkeys(keys[:WATCHED_MOST], (b"x", b"y")), {})
            await keystore.delete(keys)
            other.set("the", "end")
            said: list[str] = []
            while "SET the end" not in said:
                said.append(monitor.next_command()["command"])
        await keystore.close()
    most = max(said, key=lambda command: command.count("clg:few:who"))
    assert most.count("clg:few:who") <= WATCHED_MOST
    assert sum(command.count("clg:few:who") for command in said) == 4 * len(keys) + 3 * WATCHED_MOST


async def test_swap_compares_so_many_entries_and_no_more(store: Store) -> None:
    """More than that is the caller's to cut: one transaction over all of them would stop the server."""
    keys = [b"clg:swap:who:%d" % number for number in range(WATCHED_MOST + 1)]
    with pytest.raises(ValueError, match="513"):
        await store.keystore.swap(dict.fromkeys(keys, (None, b"x")), {})
    with pytest.raises(ValueError, match="513"):
        await store.keystore.drop(keys[0], dict.fromkeys(keys))
    assert await store.keystore.swap(dict.fromkeys(keys[:-1], (None, b"x")), {})


async def test_ten_thousand_people_are_minted_beside_others(store: Store, tmp_path: Path) -> None:
    """Ten calls of a thousand new parties; nobody is found under a person entry whose keys are not there."""
    clock = SystemClock()
    vault = Vault(LocalKms(tmp_path / "kms"), FileRing(tmp_path / "kms"))
    vault.create_tenant(TENANT)
    vault.create_epoch(epoch_of(clock.now()))
    await store.keystore.put({GUARD_KEY: guard_entry(vault.guard_id()), EPOCH_KEY: epoch_of(clock.now()).encode()})
    ring = Keyring(TENANT, store.keystore, vault, clock, CacheLimits(60, 20_000), 4)
    await ring.guard.open_at_once(4)
    people = [vault.pepper(TENANT).lookup(TENANT, SubjectId(f"user-{number}")) for number in range(10_000)]
    view, month = await ring.view(people), month_of(clock.now().year, clock.now().month)
    async with store.watched() as seen:
        began = time.perf_counter()
        minting = asyncio.create_task(ring.mint(dict.fromkeys(people), view, month, month))
        while not minting.done():
            raw = await store.keystore.read([person_key(TENANT, people[-1]), person_key(TENANT, people[0])])
            live = {
                each: person
                for each, entry in zip(people[::-9999], raw, strict=True)
                if (person := ring.person(each, entry))
            }
            opened, unreadable = await ring.open(live)
            assert (set(opened), unreadable) == (set(live), {})
            await asyncio.sleep(0)
        assert await minting
        took = time.perf_counter() - began
    found = await ring.view(people)
    live = {each: person for each in people if (person := ring.person(each, found.raw[each]))}
    opened, unreadable = await ring.open(live)
    assert (set(opened), unreadable, ring.minted) == (set(people), {}, len(people))
    assert seen.longest < max(WAIT_S, took / 3)
