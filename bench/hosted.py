"""
What the host costs: CPU per event of a protector under Faust, and of the same loop alone, in one run on one broker.

Both run all the time, each on an installation of its own; they are measured in turns, and each round begins with the
other one.
EVENTS wait while the worker stands still (SIGSTOP); CPU is the process' own. `alone` is the same work without Faust.
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "e2e"))

import psutil
from release import EVENTS, ROUNDS, Measured

from calllog_guard import telemetry
from calllog_guard.devstack.supervisor import Stack
from calllog_guard.ports.process import Duty


class Fresh(Measured):
    """The protector in an interpreter of its own: a fork of the tests' server would pay for its pages."""

    def __init__(self, stack: Stack, folder: Path, *line: str) -> None:
        super().__init__(stack, folder, None)
        self.guard.stop_workers()
        line = (sys.executable, *line)
        with self.guard.log.open("ab") as log:
            self.process = subprocess.Popen(line, env=os.environ | self.guard.environment, stderr=log, stdout=log)
        self.guard.workers.append(self.process)


async def alone() -> None:
    """The same work, without its host."""
    from calllog_guard.app.hosted import Worker  # noqa: PLC0415 - in the process that is measured alone
    from calllog_guard.settings import from_environment  # noqa: PLC0415

    telemetry.configure("protector")
    work = Worker("protector", from_environment(os.environ))
    await work.show()
    await work.start()
    beside = [asyncio.create_task(turns(duty)) for duty in work.duties]
    await work.run()
    for task in beside:
        task.cancel()


async def turns(duty: Duty) -> None:
    """A duty as a plain loop."""
    while True:
        await duty.work()
        await asyncio.sleep(duty.every_s)


def main() -> None:
    """Run both and print the comparison."""
    with tempfile.TemporaryDirectory() as folder, Stack(Path(folder) / "stack", "production") as stack:
        both = {
            "hosted": Fresh(stack, Path(folder) / "hosted", "-m", "calllog_guard.cli", "worker", "protector"),
            "alone": Fresh(stack, Path(folder) / "alone", __file__, "alone"),
        }
        for each in both.values():
            each.full(3000, kept=False)
        for number in range(ROUNDS):
            for each in list(both.values())[:: 1 if number % 2 else -1]:
                each.full(EVENTS)
            print(f"round {number + 1} of {ROUNDS}, load {os.getloadavg()[0]:.1f}", file=sys.stderr)  # noqa: T201
        shown: dict[str, Any] = {
            name: {
                "us_cpu_per_event": [round(value, 1) for value in each.found["us_cpu_per_event"]],
                "rss_mb": round(psutil.Process(each.process.pid).memory_info().rss / 1e6),
            }
            for name, each in both.items()
        }
        for each in both.values():
            each.guard.stop()
    pairs = zip(*(both[name].found["us_cpu_per_event"] for name in ("hosted", "alone")), strict=True)
    shown["hosted by alone, median of the rounds"] = round(statistics.median(one / other for one, other in pairs), 3)
    print(json.dumps(shown, indent=2))  # noqa: T201


if __name__ == "__main__":
    if sys.argv[1:] == ["alone"]:
        asyncio.run(alone())
    else:
        main()
