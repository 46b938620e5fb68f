"""
How long an erasure takes while 500 events a second flow: from the request's publication to fence and `tombstoned`.

Times are differences between the request's append time and the stages in the case, on one clock. Behind the fence no
reader opens a leg: `read` asks the person entry for every leg.
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

from installation import Installation, event, raw
from signing import claims, signed
from test_erase import cases

from calllog_guard.devstack.supervisor import Stack

ERASURES = int(os.environ.get("ERASURES", "100"))
RATE = 500


def flow(guard: Installation, stop: threading.Event) -> None:
    """RATE events a second, in ten portions."""
    number = 0
    while not stop.is_set():
        began = time.monotonic()
        portion = [
            raw(event(f"flow-{number + n}", f"f{(number + n) % 5000}@x.org", "g@x.org")) for n in range(RATE // 5)
        ]
        guard.publish("calllog.events", portion, partition=number % guard.partitions)
        number += len(portion)
        stop.wait(max(0.0, 0.2 - (time.monotonic() - began)))


def seconds(case: dict[str, Any], published: float, stage: str) -> float:
    """From publication to a stage."""
    return datetime.fromisoformat(case["stages"][stage]).timestamp() - published


def main() -> None:
    """Run and print the quantiles."""
    with tempfile.TemporaryDirectory() as folder, Stack(Path(folder) / "stack", "fast") as stack:
        guard = Installation(stack, Path(folder) / "guard")
        guard.start("all")
        people = [f"person-{number}@example.org" for number in range(ERASURES)]
        guard.publish("calllog.events", [raw(event(f"c-{n}", who, "other@x.org")) for n, who in enumerate(people)])
        guard.publish("calllog.events", [raw(event(f"big-{n}", "big@example.org")) for n in range(1000)])
        guard.settled(lambda: len(guard.live()) == 2 * ERASURES + 1000, "all legs")
        stop = threading.Event()
        thread = threading.Thread(target=flow, args=(guard, stop))
        thread.start()
        time.sleep(2)
        published: dict[str, float] = {}
        for number, who in enumerate([*people, "big@example.org"]):
            name = f"bench-{number:04d}"
            request = signed(guard.directory, claims(name, who))
            published[name] = time.time()  # noqa: TID251 - a benchmark compares with the workers' clock
            guard.publish("privacy.requests", [request])
            time.sleep(0.1)
        guard.settled(
            lambda: sum("tombstoned" in c["stages"] for c in cases(guard).values()) == len(published), "all", 120
        )
        found = cases(guard)
        stop.set()
        thread.join()
        guard.stop()
    last = f"bench-{ERASURES:04d}"
    few = [name for name in published if name != last]
    result = {"erasures": len(few), "events_per_s": RATE}
    for stage in ("fenced", "tombstoned"):
        times = sorted(seconds(found[name], published[name], stage) for name in few)
        result |= {
            f"{stage}_p50_s": round(times[len(times) // 2], 3),
            f"{stage}_p99_s": round(times[-1 - len(times) // 100], 3),
        }
    result["tombstoned_1000_legs_s"] = round(seconds(found[last], published[last], "tombstoned"), 3)
    print(json.dumps(result, indent=2))  # noqa: T201


if __name__ == "__main__":
    main()
