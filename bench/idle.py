"""
What a worker costs that has nothing to do: percent of a core, each role in a process of its own, for IDLE_S seconds.

A thousand legs are there, so that partitions are not empty; every setting has its default but UNIT_WAIT_MS (100 here).
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "e2e"))

from installation import Installation
from protect import parties, publish, spent

from calllog_guard.devstack.supervisor import Stack
from calllog_guard.settings import FIRST_ROLES

IDLE_S = float(os.environ.get("IDLE_S", "120"))
SETTLE_S = float(os.environ.get("SETTLE_S", "30"))
EVENTS = 400


def main() -> None:
    """Run and print."""
    with tempfile.TemporaryDirectory() as folder, Stack(Path(folder) / "stack", "production") as stack:
        guard = Installation(stack, Path(folder) / "idle", PARTITIONS="12", SESSION_MS="45000", UNIT_WAIT_MS="100")
        try:
            workers = {role: guard.start(role, process=True) for role in FIRST_ROLES}
            publish(guard, EVENTS, 0)
            guard.settled(lambda: len(guard.live()) == parties(EVENTS, 0), "all legs")
            time.sleep(SETTLE_S)  # what follows a start has been done
            before = {role: spent(each.pid) for role, each in workers.items()}
            time.sleep(IDLE_S)
            used = {role: (spent(each.pid) - before[role]) / IDLE_S * 100 for role, each in workers.items()}
        finally:
            guard.stop()
    print(json.dumps({f"{role}_percent_of_a_core": round(each, 2) for role, each in used.items()}, indent=2))  # noqa: T201


if __name__ == "__main__":
    main()
