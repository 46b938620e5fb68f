"""How long a test waits for a state: a wait ends at once when the state is there, and a busy machine is no finding."""

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

PATIENCE_S: Final = float(os.environ.get("PATIENCE_S", "400"))
"""On an idle machine; where more processes want to run than there are cores, time counts for less."""
_LOOK_S: Final = 0.05
_LOOK_MOST_S: Final = 1.0


def share() -> float:
    """The part of a core that a process of ours gets now: 1 on an idle machine; below a quarter it counts as that."""
    return min(1.0, max(0.25, (os.cpu_count() or 1) / max(os.getloadavg()[0], 0.01)))


def until(condition: Callable[[], bool], what: str | Callable[[], str], seconds: float = PATIENCE_S) -> float:
    """Wait for a state, so many seconds of an idle machine; how long it took. Looking takes at most a third."""
    began = before = time.monotonic()
    left = seconds
    while True:
        look = time.monotonic()
        if condition():
            return time.monotonic() - began
        now = time.monotonic()
        left -= (now - before) * share()
        if left <= 0:
            told = what if isinstance(what, str) else what()
            raise AssertionError(f"not within {now - began:.0f} s: {told}")
        before = now
        time.sleep(min(_LOOK_MOST_S, max(_LOOK_S, 2 * (now - look))))


def ended(process: "subprocess.Popen[Any]", seconds: float = PATIENCE_S) -> int:
    """Wait for the end of a process; its exit code."""
    until(lambda: process.poll() is not None, f"{process.args!r} has not ended", seconds)
    return int(process.returncode)


def frozen(pid: int) -> bool:
    """Whether a process stands still."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
