"""A protector and ever more people: Redis holds their entries, so what grows in this process is its own."""

import gc
from pathlib import Path
from typing import Any

import guard_world
from hot_path import World, event, handled
from raw_batches import Raw, batch
from redises import Lone, running
from spent import Rows, Spent

from calllog_guard.adapters.redis.keystore import RedisKeystore
from calllog_guard.ports.log import TopicPartition
from calllog_guard.settings import Settings
from calllog_guard.workers.keys.key_cache import CacheLimits

_UNIT = 500
_APPEND_TIME = 8
_AGAIN = 10_000


def _fetch(first: int, last: int) -> dict[TopicPartition, bytes]:
    """Events of two people each: nobody is in two."""
    made_ms = int(guard_world.START.timestamp() * 1000)
    raw = [
        Raw(event(number, [f"user-{2 * number}@example.org", f"user-{2 * number + 1}@example.org"]), at_ms=made_ms)
        for number in range(first, last)
    ]
    return {TopicPartition("calllog.events", 0): batch(raw, attributes=_APPEND_TIME)}


async def people(size: int, folder: Path) -> Rows:
    """Everybody once, then the last ten thousand of them again."""
    spent, most, anything = Spent(), Settings().cache_entries, dict[str, Any]()
    guard_world.CacheLimits = lambda *_: CacheLimits(86_400, most)  # type: ignore[assignment,misc]
    with running(server := Lone(folder / "redis")):
        world = World(folder)
        entries, keystore = world.keystore.entries, RedisKeystore(server.url)
        vars(world).update(keystore=keystore, **anything)
        await keystore.put(entries)
        await world.start()
        await handled(world, [_fetch(10_000_000, 10_000_100)])
        gc.collect()
        gc.freeze()
        for first in range(0, size // 2, _UNIT):
            fetch, many = _fetch(first, min(first + _UNIT, size // 2)), min(_UNIT, size // 2 - first)
            with spent.on("met for the first time", 2 * many):
                await handled(world, [fetch])
        for first in range(max(0, size - _AGAIN) // 2, size // 2, _UNIT):
            fetch, many = _fetch(first, min(first + _UNIT, size // 2)), min(_UNIT, size // 2 - first)
            with spent.on("met again", 2 * many):
                await handled(world, [fetch])
        await keystore.close()
    rows = spent.rows
    cpu_s, many = rows["met again"]
    return rows | {"met again": (cpu_s / many * 1000, 1000)}
