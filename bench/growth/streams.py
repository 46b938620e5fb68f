"""Calls of ever more sessions, ever more tenants in one policy, and an ever longer backlog of events."""

import secrets
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import guard_world
import sessions_world
from hot_path import World, event, handled
from raw_batches import Raw, batch
from sessions_world import EVENTS, MOMENTS, SessionsWorld, at, joined, left, over
from spent import Newest, Rows, Spent

from calllog_guard.adapters.disk.policy_file import load_policy
from calllog_guard.adapters.rocksdb.rows import RocksRows
from calllog_guard.core.stream.arrival import arrival
from calllog_guard.ports.log import TopicPartition
from calllog_guard.workers.keys.key_cache import CacheLimits

_CALLS, _UNIT, _LIVE = 4000, 1000, 50
_APPEND_TIME = 8


def _told(calls: int, sessions: int) -> Iterator[list[Any]]:
    """Everybody joins, everybody leaves, all of it ends; in units."""
    names = [
        (f"call-{call}", f"s-{number}", f"p{number}@example.org") for call in range(calls) for number in range(sessions)
    ]
    for what, second in ((joined, 1), (left, 100)):
        for first in range(0, len(names), _UNIT):
            yield [what(second, session, person, call=call) for call, session, person in names[first : first + _UNIT]]
    yield [over(200, f"call-{call}") for call in range(calls)]


async def sessions(size: int, folder: Path) -> Rows:
    """The same number of sessions in all, ever more of them in each call."""
    spent, calls = Spent(), max(1, _CALLS // size)
    sessions_world.FusedRows = lambda _: RocksRows(folder / secrets.token_hex(4))  # type: ignore[assignment,misc]
    world = SessionsWorld(folder / "world")
    world.rows = Newest()
    await world.start()
    offsets = dict.fromkeys(range(guard_world.PARTITIONS), 0)
    now_ms = int((guard_world.START + timedelta(minutes=5)).timestamp() * 1000)
    for told in _told(calls, size):
        unit: dict[TopicPartition, list[Any]] = {}
        for output in (world.sealer.record("zoom", each) for each in told):
            place = TopicPartition(MOMENTS, output.partition)
            unit.setdefault(place, []).append(
                arrival(tuple(place), offsets[place.partition], now_ms, output.key, output.value, output.headers)
            )
            offsets[place.partition] += 1
        with spent.on("moments of calls", len(told)):
            await world.sessions.unit(unit)
            await world.sessions.idle()
    if not any(world.log.records[EVENTS, each] for each in range(guard_world.PARTITIONS)):
        raise SystemExit(f"nothing was told after {at(0)}")
    cpu_s, many = spent.rows["moments of calls"]
    return {"a moment of a call of so many sessions": (cpu_s / many * 1000, 1000)}


async def tenants(size: int, folder: Path) -> Rows:
    """A policy of so many tenants is read."""
    spent = Spent()
    guard_world.write_keys(folder)
    head, own = guard_world.BARE.split("[version.tenant.iocom]", 1)
    text = head + "".join(
        ("[version.tenant.iocom]" + own)
        .replace("iocom", f"tenant{number}")
        .replace("calllog.events", f"calllog.events{number}")
        for number in range(size)
    )
    (folder / "policy.toml").write_text(text)
    with spent.on("policy read", size):
        load_policy(folder / "policy.toml")
    return spent.rows


def _events(place: int, first: int, many: int) -> dict[TopicPartition, bytes]:
    made_ms = int(guard_world.START.timestamp() * 1000)
    raw = [
        Raw(event(number, [f"user-{number % 400}-1@example.org"]), at_ms=made_ms)
        for number in range(first, first + many)
    ]
    return {TopicPartition("calllog.events", place): batch(raw, attributes=_APPEND_TIME)}


async def backlog(size: int, folder: Path) -> Rows:
    """So many events wait in one partition; a poll has UNIT_RECORDS of them, and one that has just come to another."""
    guard_world.CacheLimits = lambda *_: CacheLimits(86_400, 50_000)  # type: ignore[assignment,misc]
    spent, world = Spent(), await World(folder).start()
    await handled(world, [_events(0, 0, _UNIT)])
    live_s: list[float] = []
    for first in range(0, size, _UNIT):
        some = _events(0, first, _UNIT)
        both = some | _events(1, 50_000_000 + first, 1)
        began = time.process_time()
        with spent.on("waiting events", _UNIT):
            await handled(world, [both])
        live_s.append(time.process_time() - began)
    last = sorted(live_s[-_LIVE:])
    return spent.rows | {"until a live event is stored": (last[len(last) // 2], 1)}
