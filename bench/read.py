"""
Legs opened per CPU second of one core, warm: `Reader` on real Kafka and Redis, keys cached, persons reread per batch.

Three figures: a plain read (log, keystore, accesses, lines), the same from memory (no log, no lines), a follower that
fills a new cursor file. CPU is this process' own (user + system); wall time is shared with the broker on one machine.
Protectors write the legs first: LEGS of them, of PEOPLE people, each leg under its own key of the month.
"""

import asyncio
import json
import os
import sys
import tempfile
import time
from contextlib import aclosing
from pathlib import Path
from typing import Any

import msgspec
import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "e2e"))

from installation import Installation, event, raw

from calllog_guard import Reader
from calllog_guard.adapters.kafka.log_reader import KafkaLogReader
from calllog_guard.app.context import world
from calllog_guard.devstack.supervisor import Stack
from calllog_guard.settings import Settings, from_environment
from calllog_guard.workers.reader.once import _state
from calllog_guard.workers.reader.session import BATCH

LEGS = int(os.environ.get("LEGS", "100000"))
PEOPLE = int(os.environ.get("PEOPLE", "2000"))


def publish(guard: Installation) -> None:
    """Calls of two people each."""
    calls = [
        raw(event(f"call-{n}", f"user-{n % PEOPLE}@example.org", f"user-{(n * 7 + 1) % PEOPLE}@example.org"))
        for n in range(LEGS // 2)
    ]
    for part in range(guard.partitions):
        guard.publish("calllog.events", calls[part :: guard.partitions], partition=part)


class Meter:
    """CPU and wall seconds, and the memory at the end."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        times = self._process.cpu_times()
        self._cpu, self._wall = times.user + times.system, time.monotonic()

    def result(self, legs: int) -> dict[str, Any]:
        """Per leg."""
        times = self._process.cpu_times()
        cpu, wall = times.user + times.system - self._cpu, time.monotonic() - self._wall
        return {
            "legs": legs,
            "legs_per_cpu_s": round(legs / cpu),
            "us_per_leg": round(cpu / legs * 1e6, 1),
            "legs_per_wall_s": round(legs / wall),
            "rss_mb": round(self._process.memory_info().rss / 1e6),
        }


async def plain(reader: Reader) -> tuple[dict[str, Any], int]:
    """A read as the command does it: every line encoded."""
    encoder, size = msgspec.json.Encoder(), 0
    meter = Meter()
    async for lines in reader.batches():
        size += len(encoder.encode_lines(lines))
    return meter.result(reader.opened), size


async def judged(reader: Reader, settings: Settings) -> dict[str, Any]:
    """The same keyring twice: cold, then warm, from records in memory."""
    shared = world(settings)
    writer, log = shared.writer(), KafkaLogReader(settings.kafka, shared.options)
    await writer.start()
    reading = reader._made(shared, writer)  # noqa: SLF001 - a benchmark looks inside
    records = [
        record
        for partition in range(settings.partitions)
        for record in await _state(log, (reading.source.topic, partition))
    ]
    found = {}
    for name in ("cold", "warm"):
        meter = Meter()
        for start in range(0, len(records), BATCH):
            await reading.judged(records[start : start + BATCH])
        found[name] = meter.result(len(records))
    await log.close()
    await writer.stop()
    await shared.keystore.close()
    return found


async def followed(guard: Installation, path: Path) -> dict[str, Any]:
    """A follower from empty to the end of the log."""
    settings = from_environment(guard.environment)
    reader = Reader(purpose="service", actor="support-1", settings=settings, follow=True, cursor=path)
    meter, many = Meter(), 0
    async with aclosing(aiter(reader.batches())) as batches:
        async for lines in batches:
            many += len(lines)
            if many > LEGS:
                break
    return meter.result(many - 1)


def main() -> None:
    """Run and print."""
    with tempfile.TemporaryDirectory() as folder, Stack(Path(folder) / "stack", "production") as stack:
        guard = Installation(stack, Path(folder) / "guard", TOMBSTONE_KEEP_MS="86400000", UNIT_WAIT_MS="100")
        publish(guard)
        worker = guard.start("protector")
        settings = from_environment(guard.environment)

        def arrived() -> bool:
            read = guard.cli("read", "--purpose", "service", "--actor", "support-1")
            return read.count("\n") >= LEGS

        guard.settled(arrived, "all legs", 600)
        worker.terminate()
        worker.wait(30)
        reader = Reader(purpose="service", actor="support-1", settings=settings)
        result, size = asyncio.run(plain(reader))
        found = {
            "plain": result | {"bytes_per_line": round(size / LEGS)},
            "judged": asyncio.run(judged(reader, settings)),
        }
        cursor = Path(folder) / "cursor"
        found["followed"] = asyncio.run(followed(guard, cursor))
        found["followed"] |= {"cursor_bytes_per_leg": round(cursor.stat().st_size / LEGS)}
        guard.stop()
    print(json.dumps(found, indent=2))  # noqa: T201


if __name__ == "__main__":
    main()
