"""Events at an even rate, and how long each took from its record's broker time to its leg's."""

import asyncio
import subprocess
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, NamedTuple

from installation import Installation, event, raw

from calllog_guard.adapters.kafka.log import KafkaLog
from calllog_guard.adapters.kafka.writer import KafkaWriter
from calllog_guard.core.records import Output

_PEOPLE = 200


class Poured(NamedTuple):
    """How many events there were, and where the legs' topic ended before."""

    count: int
    events: int
    legs: int


async def nothing() -> None:
    """Nothing is written beside."""


def pour(
    guard: Installation,
    rate: int,
    seconds: int,
    process: "subprocess.Popen[bytes]",
    beside: Callable[[], Coroutine[Any, Any, None]] = nothing,
) -> Poured:
    """
    Publish `rate` events a second of one party each, to partition 0, for so long, and wait for their legs.

    Args:
        beside: What goes on at the same time; it is ended with the last event.

    """
    events, stored = len(_all(guard, "calllog.events", [0])), len(good(guard))

    async def go() -> int:
        writer, made, began = KafkaWriter(guard.stack.kafka, {}), 0, time.monotonic()
        await writer.start()
        other = asyncio.create_task(beside())
        try:
            while (now := time.monotonic() - began) < seconds:
                due = [
                    Output(
                        guard.topic("calllog.events"),
                        0,
                        b"good",
                        raw(event(f"even-{events}-{number}", f"even-{number % _PEOPLE}@example.org")),
                    )
                    for number in range(made, int(now * rate))
                ]
                made += len(due)
                await writer.write(due)
                await asyncio.sleep(0.01)
        finally:
            other.cancel()
            with suppress(asyncio.CancelledError):
                await other
            await writer.stop()
        return made

    count = asyncio.run(go())
    while len(good(guard)) < stored + count:
        if process.poll() is not None:
            raise SystemExit(f"the worker ended: {guard.log.read_text()[-2000:]}")
        time.sleep(0.5)
    return Poured(count, events, stored)


def good(guard: Installation) -> list[Any]:
    """The legs that were stored, in the order of their broker's time."""
    found = [each for each in guard.records("calllog.legs") if each.value is not None]
    return sorted(found, key=lambda each: each.timestamp)


def latencies(guard: Installation, poured: Poured) -> list[float]:
    """Milliseconds of each good event."""
    came = [each.timestamp for each in _all(guard, "calllog.events", [0])[poured.events :] if each.key == b"good"]
    stored = [each.timestamp for each in good(guard)[poured.legs :]]
    return [max(0, leg - begun) for begun, leg in zip(came, stored, strict=True)]


def _all(guard: Installation, name: str, partitions: list[int]) -> list[Any]:
    return asyncio.run(KafkaLog(guard.stack.kafka, {}).read_all(guard.topic(name), partitions))
