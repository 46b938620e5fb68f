"""
The protector's hot path of two commits, in turns: short rounds, so that what disturbs one disturbs the other.

`make bench-compare BASE=<commit or folder>`. Each tree's `hot_path.py` runs in a process of its own;
one works while the other waits. Where a process lays what in memory costs or gains it a few percent for good: therefore
PAIRS pairs of processes, each for ROUNDS rounds of a unit of 500 events. Printed: microseconds of CPU per event, least
and median, and the ratio, this tree's by the base's. COLD=1: with people who were never seen.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAIRS = int(os.environ.get("PAIRS", "3"))
ROUNDS = int(os.environ.get("ROUNDS", "60"))


class Tree:
    """A tree's hot path, waiting to be asked."""

    def __init__(self, folder: Path) -> None:
        own = os.environ | {"PYTHONPATH": f"{folder / 'src'}:{folder / 'tests' / 'support'}"}
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", str(Path(__file__).with_name("hot_path.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=own,
        )
        self._said("ready")
        self.us: list[float] = []

    def _said(self, expected: str = "") -> str:
        line = self._process.stdout.readline().strip() if self._process.stdout else ""
        if not line or (expected and line != expected):
            raise SystemExit(f"the hot path ended: {self._process.wait()}")
        return line

    def work(self) -> None:
        """One round."""
        if self._process.stdin:
            self._process.stdin.write("\n")
            self._process.stdin.flush()
        self.us.append(float(self._said()))

    def end(self) -> None:
        """Let it go."""
        if self._process.stdin:
            self._process.stdin.close()
        self._process.wait()


def unpacked(base: str, folder: Path) -> Path:
    """The sources of a commit, in a folder; a folder is taken as it is."""
    if Path(base).is_dir():
        return Path(base).resolve()
    archive = ["git", "archive", base, "src", "tests/support"]
    packed = subprocess.run(archive, cwd=ROOT, check=True, capture_output=True)
    subprocess.run(["tar", "-x", "-C", str(folder)], input=packed.stdout, check=True)  # noqa: S607 - of the PATH
    return folder


def paired(base: Tree, now: Tree) -> tuple[list[float], list[float]]:
    """What both take, in turns."""
    for number in range(ROUNDS):
        for each in (base, now)[:: 1 if number % 2 else -1]:
            each.work()
    for each in (base, now):
        each.end()
    return base.us, now.us


def main() -> None:
    """Compare this tree with BASE."""
    with tempfile.TemporaryDirectory() as folder:
        tree = unpacked(os.environ["BASE"], Path(folder))
        both = [paired(Tree(tree), Tree(ROOT)) for _ in range(PAIRS)]
    base, now = ([us for pair in both for us in pair[which]] for which in (0, 1))
    ratios = [statistics.median(ours / theirs for theirs, ours in zip(*pair, strict=True)) for pair in both]
    result = {
        "base_us_per_event": {"least": round(min(base), 1), "median": round(statistics.median(base), 1)},
        "now_us_per_event": {"least": round(min(now), 1), "median": round(statistics.median(now), 1)},
        "ratio": round(statistics.median(ratios), 3),
        "ratio_of_each_pair": [round(each, 3) for each in sorted(ratios)],
        "ratio_of_least": round(min(now) / min(base), 3),
    }
    print(json.dumps(result, indent=2))  # noqa: T201


if __name__ == "__main__":
    main()
