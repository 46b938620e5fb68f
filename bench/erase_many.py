"""
1,000 people with 100 legs each erased at 500 events a second: when all are destroyed, and when all are seen absent.

Prints, from the first request's publication to the last stage: `destroyed`, `tombstoned`, `absent`, `gone`; and from a
case's `tombstoned` to its `absent`, beside the profile's bound and the auditor's longest look. One request per person;
with SUBJECTS=100 a hundred people per request. Times are the cases', on one clock, broker and Redis beside the
workers.
"""

import json
import os
import sys
import tempfile
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "e2e"))

from erase import RATE, flow
from installation import Installation, event, raw
from signing import claims, signed
from test_erase import cases

from calllog_guard.devstack.supervisor import Stack

PEOPLE = int(os.environ.get("PEOPLE", "1000"))
LEGS = int(os.environ.get("LEGS", "100"))
SUBJECTS = int(os.environ.get("SUBJECTS", "1"))
STAGES = ("fenced", "destroyed", "tombstoned", "absent", "gone")


def bound(guard: Installation) -> float:
    """L + H + B + D of the fast profile, in seconds; the time of one cleaning comes on top."""
    lag, beat = (float(guard.environment[f"CALLLOG_GUARD_{name}"]) for name in ("COMPACTION_LAG_MS", "HEARTBEAT_S"))
    return lag / 1000 + beat + 0.2 + 0.5


def publish(guard: Installation, people: list[str]) -> None:
    """LEGS calls of each, ten people in a call."""
    for number, at in enumerate(range(0, len(people), 10)):
        calls = [raw(event(f"call-{at}-{n}", *people[at : at + 10])) for n in range(LEGS)]
        guard.publish("calllog.events", calls, partition=number % guard.partitions)
    wanted = len(people) * LEGS
    guard.settled(lambda: len(guard.records("calllog.legs")) >= wanted, "all legs", 240)


def ask(guard: Installation, people: list[str]) -> list[str]:
    """The requests, all at once; their names."""
    groups = [people[at : at + SUBJECTS] for at in range(0, len(people), SUBJECTS)]
    names = [f"many-{number:05d}" for number in range(len(groups))]
    requests = [signed(guard.directory, claims(name, *group)) for name, group in zip(names, groups, strict=True)]
    guard.publish("privacy.requests", requests)
    return names


def reached(guard: Installation, names: list[str], stage: str) -> bool:
    """Whether every case has got to a stage."""
    found = cases(guard)
    return all(stage in found.get(name, {}).get("stages", {}) for name in names)


def looks(guard: Installation) -> list[dict[str, Any]]:
    """What the auditor said of its looks."""
    lines = guard.log.read_text().splitlines()
    return [json.loads(line) for line in lines if line.startswith("{") and '"observed"' in line and "seconds" in line]


def main() -> None:
    """Run and print."""
    with tempfile.TemporaryDirectory() as folder, Stack(Path(folder) / "stack", "fast") as stack:
        guard = Installation(stack, Path(folder) / "guard")
        guard.start("all")
        people = [f"person-{number}@example.org" for number in range(PEOPLE)]
        publish(guard, people)
        stop = threading.Event()
        thread = threading.Thread(target=flow, args=(guard, stop))
        thread.start()
        try:
            time.sleep(2)
            began = time.time()  # noqa: TID251 - a benchmark compares with the workers' clock
            names = ask(guard, people)
            guard.settled(lambda: reached(guard, names, "gone"), "all gone", 300)
            found = cases(guard)
        finally:
            stop.set()
            thread.join()
        made = looks(guard)
        guard.stop()
    at = {
        stage: [datetime.fromisoformat(found[name]["stages"][stage]).timestamp() for name in names] for stage in STAGES
    }
    waits = sorted(absent - done for absent, done in zip(at["absent"], at["tombstoned"], strict=True))
    result = {"people": PEOPLE, "legs_each": LEGS, "subjects_per_request": SUBJECTS, "events_per_s": RATE}
    result |= {f"all_{stage}_s": round(max(at[stage]) - began, 2) for stage in STAGES}
    result |= {
        "tombstoned_to_absent_p50_s": round(waits[len(waits) // 2], 2),
        "tombstoned_to_absent_max_s": round(waits[-1], 2),
        "bound_s": bound(guard),
        "looks": len(made),
        "look_max_s": max((each["seconds"] for each in made), default=0),
        "look_records_max": max((each["records"] for each in made), default=0),
    }
    print(json.dumps(result, indent=2))  # noqa: T201


if __name__ == "__main__":
    main()
