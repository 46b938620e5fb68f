"""
How long good events take beside bad input, and without it, in turns on one installation with all its workers.

RATE good events a second; beside them poisoned records, a person without a key, an entry with a flipped bit, erasure of
somebody with LEGS legs (tombstones and result), and a case that is acknowledged over and over. Times are the broker's.
"""

import asyncio
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Coroutine
from itertools import count
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "e2e"))

from installation import Installation, event, raw
from raw_batches import Raw
from raw_producer import produce
from signing import claims, signed
from spoiled import spoil
from steady import good, latencies, nothing, pour
from test_erase import cases

from calllog_guard.devstack.supervisor import Stack

RATE, LATENCY_S, ROUNDS = (
    int(os.environ.get(*each)) for each in (("RATE", "300"), ("LATENCY_S", "15"), ("ROUNDS", "3"))
)
LEGS = int(os.environ.get("LEGS", "20000"))
MISSING, FLIPPED, PATIENT = (f"{name}@example.org" for name in ("missing", "flipped", "patient"))
SPOILED = (MISSING, FLIPPED)
LARGE = "large-{}@example.org"
"""Another in each round: calls from before an erasure bring nobody back."""
BOMB = b" " * (30 << 20)
Beside = Callable[[], Coroutine[Any, Any, None]]


def bad_events(guard: Installation, lots: list[tuple[list[Raw], str]], pause_s: float) -> Beside:
    """The same batches again and again."""

    async def go() -> None:
        while True:
            await produce(guard.stack.kafka, guard.topic("calllog.events"), 1, lots)
            await asyncio.sleep(pause_s)

    return go


def requests(guard: Installation, made: Callable[[int], bytes], pause_s: float, most: int = 1_000_000) -> Beside:
    """Requests, one after another."""

    async def go() -> None:
        for number in range(most):
            value = made(number)
            await produce(
                guard.stack.kafka, guard.topic("privacy.requests"), 0, [([Raw(value, b"%d" % number)], "none")]
            )
            await asyncio.sleep(pause_s)
        await asyncio.Event().wait()

    return go


def beside(guard: Installation) -> dict[str, Beside]:
    """What goes on beside the good ones, by its name."""
    large = count()

    def erasure(_: int) -> bytes:
        number = next(large)
        return signed(guard.directory, claims(f"large-{number:05}", LARGE.format(number)))

    asked = f"patient-{os.urandom(3).hex()}"
    guard.publish("privacy.requests", [signed(guard.directory, claims(asked, PATIENT, identity="unverified"))])
    guard.settled(lambda: asked in cases(guard), "a case that waits")
    case = cases(guard)[asked]["case"]

    def acknowledged(number: int) -> bytes:
        more = {"type": "clock", "case": case, "event": "asked", "identity": "verified"}
        content = claims(f"{asked}-{number}-{os.urandom(3).hex()}", **more)
        return signed(guard.directory, {name: each for name, each in content.items() if name != "subjects"})

    def calls(who: str) -> list[tuple[list[Raw], str]]:
        return [([Raw(raw(event("bad-" + who, who)), b"bad") for _ in range(5)], "none")]

    junk = [Raw(b"\xff" * 1000, b"bad", [(b"clg-replay", None)]) for _ in range(5)]
    return {
        "poisoned records": bad_events(guard, [(junk, "none"), ([Raw(BOMB, b"bad")], "gzip")], 1.0),
        "a missing key": bad_events(guard, calls(MISSING), 0.5),
        "a flipped bit": bad_events(guard, calls(FLIPPED), 0.5),
        "a huge result": requests(guard, erasure, 1.0, 1),
        "an endless case": requests(guard, acknowledged, 0.05),
    }


def grown(guard: Installation, number: int) -> None:
    """Somebody with many legs, for the erasure of theirs in this round."""
    before, who = len(good(guard)), LARGE.format(number)
    for start in range(0, LEGS, 2000):
        calls = range(start, min(start + 2000, LEGS))
        guard.publish("calllog.events", [raw(event(f"large-{number}-{call}", who)) for call in calls], partition=2)
    guard.settled(lambda: len(good(guard)) >= before + LEGS, "their legs")


def main() -> None:
    """Run all and print how they compare."""
    found: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as folder, Stack(Path(folder) / "stack", "production") as stack:
        guard = Installation(stack, Path(folder) / "guard", SESSION_MS="45000", CACHE_S="1")
        process = guard.start("protector")
        for role in ("desk", "keeper", "auditor"):
            guard.start(role)
        guard.publish("calllog.events", [raw(event("first-" + who, who)) for who in SPOILED])
        guard.settled(lambda: len(guard.live()) == len(SPOILED), "their first legs")
        spoil(guard, MISSING, "key", "missing")
        spoil(guard, FLIPPED, "who", "flipped")
        all_ = beside(guard)
        pour(guard, RATE, 5, process)
        for number in range(ROUNDS):
            for name, other in all_.items():
                if name == "a huge result":
                    grown(guard, number)
                turns = {"without": nothing, "with": other}
                for turn in list(turns)[:: 1 if number % 2 else -1]:
                    ms = sorted(latencies(guard, pour(guard, RATE, LATENCY_S, process, turns[turn])))
                    own = found.setdefault(name, {})
                    own.setdefault(f"p50_ms {turn}", []).append(ms[len(ms) // 2])
                    own.setdefault(f"p99_ms {turn}", []).append(ms[len(ms) * 99 // 100])
                print(f"round {number + 1} of {ROUNDS}: {name}", file=sys.stderr)  # noqa: T201
        if any(worker.poll() is not None for worker in guard.workers):
            raise SystemExit(f"a worker ended: {guard.log.read_text()[-2000:]}")
        letters = len(guard.dead())
        guard.stop()
    shown: dict[str, Any] = {"dead letters": letters}
    for name, own in found.items():
        shown[name] = own | {
            f"{what}: with by without, median of the rounds": round(
                statistics.median(
                    a / max(1, b) for a, b in zip(own[f"{what} with"], own[f"{what} without"], strict=True)
                ),
                2,
            )
            for what in ("p50_ms", "p99_ms")
        }
    print(json.dumps(shown, indent=2))  # noqa: T201


if __name__ == "__main__":
    main()
