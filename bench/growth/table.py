"""
How cost grows with what is there: each dimension at three sizes, each size in a process of its own.

Prints CPU per item at each size, the exponent of the whole time between the first and the last (1: linear), and the
process' peak memory with what one more of its size takes. In memory over the fakes, RocksDB and Redis where what grows
lies in them. SIZES=full takes the largest sizes (an hour); DIMENSIONS=legs,ledger only some.
The exponent is that of the total: log time over log size. Where what is measured does not grow in number (a request
among many cases), it is that of the time for each one, and 0 means that it does not grow.
"""

import asyncio
import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

BENCH: Final = Path(__file__).parents[1]
for _folder in (BENCH.parent / "tests" / "support", BENCH.parent / "tests" / "e2e", BENCH):
    sys.path.insert(0, str(_folder))

Sizes = tuple[int, int, int]
DIMENSIONS: Final[dict[str, tuple[str, Sizes, Sizes]]] = {
    "people": ("people", (1_000, 10_000, 100_000), (1_000, 100_000, 1_000_000)),
    "legs": ("keeping", (10_000, 50_000, 250_000), (100_000, 1_000_000, 10_000_000)),
    "partitions": ("keeping", (12, 48, 192), (12, 48, 192)),
    "cases": ("office", (1_000, 10_000, 50_000), (1_000, 100_000, 1_000_000)),
    "objections": ("office", (50, 200, 800), (100, 1_000, 10_000)),
    "pending": ("keeping", (30, 300, 3_000), (100, 1_000, 100_000)),
    "ledger": ("keeping", (1_000, 10_000, 50_000), (1_000, 100_000, 1_000_000)),
    "sessions": ("streams", (20, 200, 2_000), (100, 1_000, 10_000)),
    "tenants": ("streams", (1, 10, 100), (1, 30, 1_000)),
    "backlog": ("streams", (1_000, 10_000, 50_000), (10_000, 100_000, 1_000_000)),
}
_SLACK: Final = 0.15


def peak_mib() -> float:
    """The most that this process has ever had in memory."""
    line = next(each for each in Path("/proc/self/status").read_text().splitlines() if each.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


async def alone(name: str, size: int) -> None:
    """In a process of its own: measure, and say so."""
    module = __import__(DIMENSIONS[name][0])
    with tempfile.TemporaryDirectory() as folder:
        rows = await getattr(module, name)(size, Path(folder))
    print(json.dumps({"rows": rows, "peak_mib": peak_mib()}))  # noqa: T201


def measured(name: str, size: int) -> dict[str, Any]:
    """What a process of its own says."""
    command = [sys.executable, "-W", "ignore", __file__, name, str(size)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name} at {size}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def exponent(sizes: Sizes, first: float, last: float) -> float:
    """The slope of log time over log size."""
    return math.log(max(last, 1e-9) / max(first, 1e-9)) / math.log(sizes[-1] / sizes[0])


def main() -> None:
    """Measure all, and print a table."""
    full, steep = os.environ.get("SIZES") == "full", list[str]()
    wanted = os.environ.get("DIMENSIONS", ",".join(DIMENSIONS)).split(",")
    print("| what | sizes | us of CPU an item | total s | exponent | peak MiB | bytes for one more |")  # noqa: T201
    print("|---|---|---|---|---|---|---|")  # noqa: T201
    for name in wanted:
        _, small, large = DIMENSIONS[name]
        sizes = large if full else small
        found = [measured(name, size) for size in sizes]
        peaks = [each["peak_mib"] for each in found]
        more = (peaks[-1] - peaks[0]) * (1 << 20) / (sizes[-1] - sizes[0])
        for what in found[0]["rows"]:
            cells = [each["rows"][what] for each in found]
            each_us = [cpu_s / items * 1e6 for cpu_s, items in cells]
            grows = cells[0][1] != cells[-1][1]
            times = [cpu_s for cpu_s, _ in cells] if grows else each_us
            slope = exponent(sizes, times[0], times[-1])
            if slope > (1 + _SLACK if grows else _SLACK):
                steep.append(f"{name}: {what}")
            row = (
                f"{name}: {what}",
                ", ".join(f"{size:,}" for size in sizes),
                ", ".join(f"{us:,.0f}" if us >= 10 else f"{us:.2g}" for us in each_us),  # noqa: PLR2004
                ", ".join(f"{cpu_s:.2g}" for cpu_s, _ in cells),
                f"{slope:.2f}",
                ", ".join(f"{peak:.0f}" for peak in peaks),
                f"{more:,.0f}",
            )
            print("| " + " | ".join(row) + " |", flush=True)  # noqa: T201
    if steep:
        print(f"steeper than linear, or growing with what is there: {', '.join(steep)}")  # noqa: T201


if __name__ == "__main__":
    if len(sys.argv) > 2:  # noqa: PLR2004 - a dimension and its size
        asyncio.run(alone(sys.argv[1], int(sys.argv[2])))
    else:
        main()
