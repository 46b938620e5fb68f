"""
The protector's hot path in memory: batches of events as fetched to batches of legs as sent, people and keys known.

With COLD=1 nobody in an event was ever seen. `compare.py` runs this beside another tree's sources, which is why only
names that both have are used. It says `ready`, then for each line of its input handles a unit, and says the
microseconds of CPU per event.
Not in it: sockets, Redis, the event loop between units.
"""

import asyncio
import gc
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import guard_world
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.structs import RecordMetadata
from guard_world import PARTITIONS, START, TENANT, GuardWorld
from raw_batches import Raw, batch

from calllog_guard.adapters.kafka.batches import arrivals, holds, split
from calllog_guard.adapters.kafka.writer import KafkaWriter
from calllog_guard.core.stream.arrival import Arrival
from calllog_guard.core.stream.units import units
from calllog_guard.ports.log import TopicPartition
from calllog_guard.workers.context import WorkerContext
from calllog_guard.workers.keys.key_cache import CacheLimits

COLD = bool(os.environ.get("COLD"))
EVENTS = 500
"""In a unit."""
UNITS = 12
PEOPLE = 400
"""Of each of three kinds of party: a thousand people in all take part in calls, each several times in a unit."""
_APPEND_TIME = 8
_BATCH_BYTES = 512 << 10
Fetched = dict[TopicPartition, bytes]


class Acknowledging:
    """A producer whose broker takes each batch at once: the library's own builder, and nothing sent."""

    def create_batch(self) -> BatchBuilder:
        """See the library."""
        return BatchBuilder(_BATCH_BYTES, 0)

    async def partitions_for(self, topic: str) -> set[int]:
        """See the library."""
        del topic
        return set(range(PARTITIONS))

    async def send_batch(self, made: BatchBuilder, topic: str, *, partition: int) -> Any:
        """See the library."""
        made.close()
        made._build()  # noqa: SLF001 - what the library's sender does
        done = asyncio.get_running_loop().create_future()
        done.set_result(RecordMetadata(topic, partition, TopicPartition(topic, partition), 0, None, 0, 0))
        return done

    async def withdraw(self) -> None:
        """Nothing is under way."""


class Writing(KafkaWriter):
    """The writer as it is, on that producer."""

    async def _ready(self) -> Any:
        return Acknowledging()


class World(GuardWorld):
    """An installation in memory whose protector writes batches of Kafka."""

    def context(self) -> WorkerContext:
        """See GuardWorld."""
        return replace(super().context(), writer=Writing("", {}))


def event(number: int, names: Sequence[str]) -> bytes:
    """An event of an hour ago."""
    start = START - timedelta(minutes=60 + number % 60)
    content = {
        "tenant": TENANT,
        "call_id": f"call-{number}",
        "kind": "video",
        "outcome": "answered",
        "started_at": start.isoformat(),
        "ended_at": (start + timedelta(minutes=1)).isoformat(),
        "parties": [{"id": name, "role": "guest" if at else "host"} for at, name in enumerate(names)],
    }
    return json.dumps(content).encode()


def fetched(unit: int) -> Fetched:
    """A unit's events, in a batch per partition: 2.5 parties each."""
    values: list[list[Raw]] = [[] for _ in range(PARTITIONS)]
    for number in range(unit * EVENTS, (unit + 1) * EVENTS):
        steps = (1, 3, 7)[: 2 + number % 2]
        names = [f"user-{number if COLD else number * step % PEOPLE}-{step}@example.org" for step in steps]
        raw = Raw(event(number, names), at_ms=int(START.timestamp() * 1000))
        values[number % PARTITIONS].append(raw)
    return {
        TopicPartition("calllog.events", place): batch(some, attributes=_APPEND_TIME)
        for place, some in enumerate(values)
    }


def parsed(fetch: Fetched) -> dict[TopicPartition, list[Arrival]]:
    """As `adapters/kafka/fetches.py` parses, without a consumer."""
    found: dict[TopicPartition, list[Arrival]] = {}
    for place, content in fetch.items():
        records = found[place] = []
        for each in split(content):
            if each is None or not holds(each):
                raise SystemExit("the batches made here are none")
            records += arrivals(tuple(place), each, 0)
    return found


async def handled(world: GuardWorld, fetches: Sequence[Fetched]) -> None:
    """All of it, as the delivery does."""
    for fetch in fetches:
        for unit in units(parsed(fetch), 4 << 20, 10_000):
            await world.protector.unit(unit)
        await world.protector.idle()


async def main() -> None:
    """Answer until the input ends."""
    guard_world.CacheLimits = lambda *_: CacheLimits(86_400, 100_000)  # type: ignore[assignment,misc]
    with tempfile.TemporaryDirectory() as folder:
        world = await World(Path(folder)).start()
        fetches = [fetched(number) for number in range(UNITS)]
        for _ in range(2):  # everybody is minted, then known
            await handled(world, fetches[: 1 if COLD else UNITS])
        gc.collect()
        gc.freeze()  # as a worker does
        print("ready", flush=True)  # noqa: T201
        for at, _ in enumerate(sys.stdin, 1):
            some = [fetched(at) if COLD else fetches[at % UNITS]]
            before = sum(world.counts.values())
            began = time.process_time()
            await handled(world, some)
            used = time.process_time() - began
            if sum(world.counts.values()) == before:
                raise SystemExit("nothing was handled")
            print(used / EVENTS * 1e6, flush=True)  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main())
