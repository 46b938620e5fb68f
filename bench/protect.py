"""
Events per CPU second: our protector against an idiomatic Faust agent with the same sealing, in one run on one broker.

Both read the same calls from a real Kafka and write the same legs; CPU is the process' own (user + system), from
start to last leg, less the start-up of a small run. The agent: `async for event in stream`, keys cached, `topic.send`.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "e2e"))

from installation import Installation, event, raw

from calllog_guard.devstack.supervisor import Stack

EVENTS = int(os.environ.get("EVENTS", "20000"))
PEOPLE = 1000


def legs(guard: Installation, topic: str) -> int:
    """How many records a topic has."""
    from aiokafka import AIOKafkaConsumer, TopicPartition  # noqa: PLC0415

    async def ends() -> int:
        reader: Any = AIOKafkaConsumer(bootstrap_servers=guard.stack.kafka)
        await reader.start()
        try:
            places = [TopicPartition(topic, number) for number in range(guard.partitions)]
            return sum((await reader.end_offsets(places)).values())
        finally:
            await reader.stop()

    return asyncio.run(ends())


def spent(pid: int) -> float:
    """CPU seconds of a process."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def publish(guard: Installation, count: int, start: int) -> None:
    """Calls of two or three people; 2,500 people in all: a thousand, a thousand, and half as many third parties."""
    batch = []
    for number in range(start, start + count):
        names = [f"user-{(number * step) % PEOPLE}-{step}@example.org" for step in (1, 3, 7)[: 2 + number % 2]]
        batch.append(raw(event(f"call-{number}", *names)))
    for part in range(guard.partitions):
        guard.publish("calllog.events", batch[part :: guard.partitions], partition=part)


def parties(count: int, start: int) -> int:
    """How many legs `publish` leads to."""
    return sum(2 + number % 2 for number in range(start, start + count))


def measure(guard: Installation, process: "subprocess.Popen[bytes]", topic: str) -> dict[str, float]:
    """Warm up on 2,000 events, then measure EVENTS."""
    base = legs(guard, topic)
    publish(guard, 2000, 0)
    goal = base + parties(2000, 0)
    while legs(guard, topic) < goal:
        time.sleep(0.2)
    cpu, began = spent(process.pid), time.monotonic()
    publish(guard, EVENTS, 2000)
    goal += parties(EVENTS, 2000)
    while legs(guard, topic) < goal:
        if process.poll() is not None:
            raise SystemExit(f"the worker ended: {guard.log.read_text()[-2000:]}")
        time.sleep(0.1)
    used = spent(process.pid) - cpu
    return {
        "events": EVENTS,
        "cpu_s": round(used, 2),
        "events_per_cpu_s": round(EVENTS / used),
        "us_per_event": round(used / EVENTS * 1e6, 1),
        "wall_s": round(time.monotonic() - began, 2),
        "rss_mb": round(psutil.Process(process.pid).memory_info().rss / 1e6),
    }


def main() -> None:
    """Run both and print the comparison."""
    with tempfile.TemporaryDirectory() as folder, Stack(Path(folder) / "stack", "production") as stack:
        results = {}
        for name in ("protector", "agent"):
            guard = Installation(stack, Path(folder) / name, SESSION_MS="45000", UNIT_WAIT_MS="100")
            if name == "protector":
                process = guard.start("protector")
                topic = guard.topic("calllog.legs")
            else:
                topic = guard.topic("calllog.legs")
                agent = str(Path(__file__).with_name("agent.py"))
                own = os.environ | {
                    "BENCH_KAFKA": stack.kafka,
                    "BENCH_EVENTS": guard.topic("calllog.events"),
                    "BENCH_LEGS": topic,
                    "BENCH_PARTITIONS": str(guard.partitions),
                    "BENCH_DATA": str(Path(folder) / "agent-data"),
                }
                with guard.log.open("ab") as log:
                    process = subprocess.Popen(
                        [sys.executable, agent, "worker", "-l", "warn"], env=own, stderr=log, stdout=log
                    )
                guard.workers.append(process)
            results[name] = measure(guard, process, topic)
            guard.stop()
    ratio = results["protector"]["events_per_cpu_s"] / results["agent"]["events_per_cpu_s"]
    print(json.dumps({**results, "ratio": round(ratio, 1)}, indent=2))  # noqa: T201


if __name__ == "__main__":
    main()
