"""
The protector of this release against that of one before, in one run on one broker: events a second, CPU, and latency.

Both have their own installation on the same servers and always run; they are measured in turns, each round begins with
the other one. Throughput: EVENTS wait for the stopped worker; time runs from SIGCONT to the last leg's broker time.
Latency: RATE events a second of one party; from the event's broker time to its leg's, in order.
"""

import asyncio
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "e2e"))

from aiokafka import AIOKafkaConsumer, TopicPartition
from installation import Installation
from protect import legs, parties, publish, spent
from releases import Fixture
from steady import latencies, pour

from calllog_guard.adapters.memory.fakes import SystemClock
from calllog_guard.devstack.supervisor import Stack

BEFORE = os.environ.get("BEFORE", "0.1.0")
EVENTS = int(os.environ.get("EVENTS", "20000"))
ROUNDS = int(os.environ.get("ROUNDS", "5"))
RATE, LATENCY_S = int(os.environ.get("RATE", "300")), int(os.environ.get("LATENCY_S", "15"))


def last_ms(guard: Installation) -> int:
    """The broker's time of the last leg."""

    async def newest() -> int:
        reader: Any = AIOKafkaConsumer(bootstrap_servers=guard.stack.kafka)
        await reader.start()
        try:
            places = [TopicPartition(guard.topic("calllog.legs"), number) for number in range(guard.partitions)]
            reader.assign(places)
            ends = {place: end for place, end in (await reader.end_offsets(places)).items() if end}
            for place, end in ends.items():
                reader.seek(place, end - 1)
            return max([(await reader.getone(place)).timestamp for place in ends])
        finally:
            await reader.stop()

    return asyncio.run(newest())


class Measured:
    """One release's protector and what was measured of it."""

    def __init__(self, stack: Stack, folder: Path, release: Path | None) -> None:
        self.guard = Installation(stack, folder, release, SESSION_MS="45000", UNIT_WAIT_MS="100")
        self.process = self.guard.start("protector")
        self.next = 0
        self.found: dict[str, list[float]] = {"events_per_s": [], "us_cpu_per_event": [], "p50_ms": [], "p99_ms": []}
        self.all_ms: list[float] = []

    def until(self, goal: int) -> None:
        """Wait until there are so many legs."""
        while legs(self.guard, self.guard.topic("calllog.legs")) < goal:
            if self.process.poll() is not None:
                raise SystemExit(f"the worker ended: {self.guard.log.read_text()[-2000:]}")
            time.sleep(1)  # whoever asks takes CPU from who is measured

    def full(self, count: int, *, kept: bool = True) -> None:
        """As fast as it can."""
        before = legs(self.guard, self.guard.topic("calllog.legs"))
        self.process.send_signal(signal.SIGSTOP)
        publish(self.guard, count, self.next)
        goal, self.next = before + parties(count, self.next), self.next + count
        cpu, began = spent(self.process.pid), SystemClock().now().timestamp()
        self.process.send_signal(signal.SIGCONT)
        self.until(goal)
        if kept:
            self.found["events_per_s"].append(count / (last_ms(self.guard) / 1000 - began))
            self.found["us_cpu_per_event"].append((spent(self.process.pid) - cpu) / count * 1e6)

    def steady(self) -> None:
        """At an even rate."""
        ms = sorted(latencies(self.guard, pour(self.guard, RATE, LATENCY_S, self.process)))
        self.found["p50_ms"].append(ms[len(ms) // 2])
        self.found["p99_ms"].append(ms[len(ms) * 99 // 100])
        self.all_ms += ms

    def of_all_rounds(self) -> dict[str, float]:
        """Latency of all rounds: one round's 99th percentile is a few tens of events, the machine's as much."""
        ms = sorted(self.all_ms)
        return {"mean_ms": statistics.mean(ms)} | {f"p{each}_ms": ms[len(ms) * each // 100] for each in (50, 90, 99)}


def main() -> None:
    """Run both and print the comparison."""
    with tempfile.TemporaryDirectory() as folder, Stack(Path(folder) / "stack", "production") as stack:
        program = Fixture(BEFORE).program(Path(folder) / "program")
        both = {
            name: Measured(stack, Path(folder) / name, release)
            for name, release in (("before", program), ("now", None))
        }
        for each in both.values():
            each.full(3000, kept=False)
        for number in range(ROUNDS):
            for each in list(both.values())[:: 1 if number % 2 else -1]:
                each.full(EVENTS)
                each.steady()
            print(f"round {number + 1} of {ROUNDS}", file=sys.stderr)  # noqa: T201
        for each in both.values():
            each.guard.stop()
    shown: dict[str, Any] = {
        name: {what: [round(value, 1) for value in values] for what, values in each.found.items()}
        for name, each in both.items()
    }
    for what in both["now"].found:
        pairs = zip(both["now"].found[what], both["before"].found[what], strict=True)
        shown[f"{what}: now by before, median of the rounds"] = round(statistics.median(a / b for a, b in pairs), 3)
    now, before = both["now"].of_all_rounds(), both["before"].of_all_rounds()
    shown["latency of all rounds: now, before"] = {what: [round(now[what], 2), round(before[what], 2)] for what in now}
    print(json.dumps(shown, indent=2))  # noqa: T201


if __name__ == "__main__":
    main()
