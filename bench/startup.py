"""
CPU seconds of starts: `--help`, in units of Python's own `asyncio, ssl, json, argparse`, and workers until `started`.

BEFORE names the `src` folder of another release: its workers start in turns with ours, on an installation of their own.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "e2e"))

import psutil
from installation import Installation

from calllog_guard.devstack.supervisor import Stack

RUNS = int(os.environ.get("RUNS", "10"))
ROLES = os.environ.get("ROLES", "protector").split()
BEFORE = os.environ.get("BEFORE", "")
BASE = "import asyncio, ssl, json, argparse"


def spent(*words: str) -> float:
    """User and system seconds of a process that ends."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *words], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def started(guard: Installation, role: str) -> float:
    """User and system seconds of a worker up to its line that says that it has started."""
    guard.log.unlink(missing_ok=True)
    worker = psutil.Process(guard.start(role).pid)
    while b'"event": "started"' not in guard.log.read_bytes():
        time.sleep(0.005)
    times = worker.cpu_times()
    guard.stop()
    return float(times.user + times.system)


def told(what: str, found: list[float], **more: float) -> None:
    """One line of figures."""
    figures = {"median_s": statistics.median(found), "least_s": min(found), "most_s": max(found)} | more
    print(json.dumps({"what": what} | {name: round(each, 3) for name, each in figures.items()}), flush=True)  # noqa: T201


if __name__ == "__main__":
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installation has its bytecode
    spent("-m", "calllog_guard.cli", "--help")
    pairs = [(spent("-c", BASE), spent("-m", "calllog_guard.cli", "--help")) for _ in range(RUNS)]
    base, ours = map(list, zip(*pairs, strict=True))
    told(BASE, base)
    told("--help", ours, times=statistics.median(ours) / statistics.median(base))
    with tempfile.TemporaryDirectory() as name, Stack(Path(name) / "stack", "fast") as stack:
        sources = {"ours": Path(__file__).parents[1] / "src"} | ({"before": Path(BEFORE).resolve()} if BEFORE else {})
        guards = {which: Installation(stack, Path(name) / which, source) for which, source in sources.items()}
        found = {(role, which): list[float]() for role in ROLES for which in guards}
        for role, which in found:
            started(guards[which], role)
        for _ in range(RUNS):
            for (role, which), each in found.items():
                each.append(started(guards[which], role))
        for (role, which), each in found.items():
            other = statistics.median(found[role, "before"]) if BEFORE else statistics.median(each)
            told(f"worker {role}, {which}", each, share=statistics.median(each) / other)
