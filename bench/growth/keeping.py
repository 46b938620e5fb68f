"""A keeper and ever more legs, partitions, erasures under way and erasures ever made; its indexes are RocksDB's."""

import secrets
from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import guard_world
import msgspec
from guard_world import POLICY, START, TENANT, GuardWorld
from spent import Newest, Rows, Spent

from calllog_guard.adapters.rocksdb.index import RocksIndex
from calllog_guard.core.codec import encode, to_ms
from calllog_guard.core.crypto.leg_envelope import LegHeader, seal_leg
from calllog_guard.core.crypto.subject_secrets import DataKey
from calllog_guard.core.decisions.decision import DECISIONS, Decision, Entry, seal_entry
from calllog_guard.core.decisions.outcome import DONE, Outcome
from calllog_guard.core.identifiers import EpochName, Lookup, Pseudonym, b64, id_text, partition_of
from calllog_guard.core.records import Output
from calllog_guard.core.stream.arrival import Arrival, arrival
from calllog_guard.core.stream.proofs import DESK
from calllog_guard.ports.log import TopicPartition

_LEGS, _LEDGER = "calllog.legs", "privacy.decisions"
_UNIT, _OF_ONE = 1000, 20
_PLAIN = b'{"call":"8f14e45fceea167a5a36dedd4bea2543","role":"host","joined_at":"2026-11-24T09:00:00Z"}'


async def _world(folder: Path, **settings: Any) -> GuardWorld:
    """One whose indexes are files."""
    numbers = count()
    guard_world.MemoryIndex = lambda: RocksIndex(folder / f"index-{next(numbers)}")  # type: ignore[assignment,misc]
    policy = POLICY.replace("erasures_per_hour = 10000", "erasures_per_hour = 1000000")
    world = GuardWorld(folder, policy, **settings)
    world.indexes = Newest()
    return await world.start()


def _names() -> Iterator[Pseudonym]:
    while True:
        yield Pseudonym(id_text(secrets.token_bytes(16)))


def _legs(many: int) -> Iterator[list[tuple[int, bytes, bytes]]]:
    """Sealed legs, twenty of each person, in units: their partition, key and value."""
    key, names, some = DataKey(secrets.token_bytes(32)), _names(), list[tuple[int, bytes, bytes]]()
    name = next(names)
    for number in range(many):
        name = next(names) if number % _OF_ONE == 0 else name
        day = (START - timedelta(days=number % 60)).date().isoformat()
        token = id_text(secrets.token_bytes(16))
        header = LegHeader(kid=name, mon=day[:7], day=day, rid=token, pur=1, pol="2020-01-01", ten=TENANT, top=_LEGS)
        value = seal_leg(header, _PLAIN, key, secrets.token_bytes(12))
        some.append((partition_of(name, guard_world.PARTITIONS), f"{name}.{token}".encode(), value))
        if len(some) == _UNIT or number == many - 1:
            yield some
            some = []


async def legs(size: int, folder: Path) -> Rows:
    """Legs as a protector writes them are read; then a sweep finds nothing due, and a person's are looked up."""
    spent, world, offsets = Spent(), await _world(folder), dict.fromkeys(range(guard_world.PARTITIONS), 0)
    at_ms = to_ms(START)
    for some in _legs(size):
        unit: dict[TopicPartition, list[Arrival]] = {}
        for partition, key, value in some:
            place = TopicPartition(_LEGS, partition)
            unit.setdefault(place, []).append(arrival(tuple(place), offsets[partition], at_ms, key, value, ()))
            offsets[partition] += 1
        with spent.on("a leg is read", len(some)):
            await world.keeper.unit(unit)
    world.positions |= {("keeper", _LEGS, partition): end for partition, end in offsets.items()}
    with spent.on("a pause, with its sweep", 1):
        await world.keeper.idle()
    partition, key, _ = some[-1]
    shard = world.keeper._shards[partition]  # noqa: SLF001
    with spent.on("one person's are looked up", 100):
        for _ in range(100):
            if len(shard.index.legs_of(key[:22].decode())) == 0:
                raise SystemExit("a leg is missing")
    return spent.rows


async def partitions(size: int, folder: Path) -> Rows:
    """What each partition costs that has nothing in it."""
    spent, guard_world.PARTITIONS = Spent(), size
    world = await _world(folder)
    with spent.on("assigned", size):
        await world.keeper.assigned(range(size))
    for _ in range(10):
        with spent.on("a pause", size):
            await world.keeper.idle()
    return spent.rows


async def pending(size: int, folder: Path) -> Rows:
    """So many people are erased in one burst, with a leg each."""
    spent, world = Spent(), await _world(folder)
    people = [f"person-{number}@example.org" for number in range(size)]
    for at, name in enumerate(people):
        await world.call(f"call-{at}", name)
    while await world.step("protector"):
        pass
    while await world.step("keeper"):
        pass
    for at, name in enumerate(people):
        await world.ask(f"erase-{at:06}", "erase", name)
    with spent.on("a desk takes an erasure in", size):
        while await world.step("desk"):
            pass
    with spent.on("a keeper erases", size):
        while await world.step("keeper") or world.waiting():
            pass
    with spent.on("a desk hears of it", size):
        while await world.step("desk"):
            pass
    if world.legs():
        raise SystemExit(f"{len(world.legs())} legs are left")
    return spent.rows


def _ledger(world: GuardWorld, decision: Decision, outcome: Outcome, many: int) -> Iterator[Sequence[Arrival]]:
    """Erasures that are done, each with its result, of one partition, in portions."""
    key = world.vault.epoch_key(EpochName(decision.epoch), TENANT, "ledger")
    results, names = world.vault.outcome_key(TENANT), _names()
    for at in range(0, many, _UNIT):
        outputs: list[Output] = []
        for _ in range(min(_UNIT, many - at)):
            name, number = next(names), id_text(secrets.token_bytes(16))
            bare = msgspec.structs.replace(decision, pseudonym=name, decision=number)
            own = seal_entry(
                bare, Entry(Lookup(b64(secrets.token_bytes(32)).decode()), 1), key, secrets.token_bytes(12)
            )
            place = f"{name}.{number}".encode()
            done = results.vouched(msgspec.structs.replace(outcome, decision=number), place + DONE)
            outputs += world.vault.vouched(TENANT, DESK, [Output(_LEDGER, 0, place, encode(own))])
            outputs.append(Output(_LEDGER, 0, place + DONE, done))
        yield [arrival((_LEDGER, 0), 0, 0, each.key, each.value, each.headers) for each in outputs]


async def ledger(size: int, folder: Path) -> Rows:
    """A keeper starts on a ledger of so many erasures that are long done, and reads a leg."""
    spent, world = Spent(), await _world(folder)
    await world.call("call-1", "alice@example.org")
    await world.run()
    await world.ask("erase-0001", "erase", "alice@example.org")
    await world.run()
    records = [each for lane in range(guard_world.PARTITIONS) for each in world.log.records[_LEDGER, lane]]
    decided = next(each for each in records if each.key and len(each.key) == 45 and each.value)  # noqa: PLR2004
    decision = DECISIONS.decode(decided.value or b"")
    outcome = Outcome(
        tenant=TENANT, case=decision.case, decision=decision.decision, stage="tombstoned", partition=0, legs=1,
        barrier=0, up_to=0, by="keeper", at=START,
    )  # fmt: skip
    shard = world.keeper._shards[0]  # noqa: SLF001
    for some in _ledger(world, decision, outcome, size):
        with spent.on("a start reads an erasure", len(some) // 2):
            world.keeper._remember(shard, some)  # noqa: SLF001
    if len(shard.done) < size:
        raise SystemExit("erasures are missing")
    names = [str(name) for name, _ in zip(_names(), range(100_000), strict=False)]
    with spent.on("whether a leg's person is erased", len(names)):
        for name in names:
            shard.gone(name)
    return spent.rows
