"""
What a revision costs the keeper: CPU per leg without revisions, with one of each call, and with two, in one run.

On the index as in production, the log and the keystore in memory: what is compared is the keeper's own work. The
protector's work is done before, and is not in the figures, which are CPU seconds of this process.
"""

import asyncio
import json
import os
import sys
import tempfile
import time
from itertools import count
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "scenarios"))

import guard_world
from guard_world import GuardWorld
from test_sessions import of, publish

from calllog_guard.adapters.rocksdb.index import RocksIndex

CALLS = int(os.environ.get("EVENTS", "3000"))
REVISIONS: dict[str, tuple[int | None, ...]] = {"warm": (None,), "none": (None,), "one": (1,), "two": (1, 2)}
"""By the name of what is measured: the revisions of each call."""


class _Newest(dict[Path, Any]):
    """The index that was opened last: one that was closed does not open again."""

    def setdefault(self, path: Path, index: Any = None) -> Any:
        """Keep it."""
        self[path] = index
        return index


async def keeper_s(folder: Path, revisions: tuple[int | None, ...]) -> float:
    """The CPU seconds of a keeper until it is done with the legs of all calls, of two people each."""
    numbers = count()
    guard_world.MemoryIndex = lambda: RocksIndex(folder / f"index-{next(numbers)}")  # type: ignore[assignment,misc]
    world = GuardWorld(folder)
    world.indexes = _Newest()
    await world.start()
    for revision in revisions:
        for number in range(CALLS):
            parties = [of(f"a{number % 1000}@x.org", role="host"), of(f"b{number % 997}@x.org")]
            await publish(world, f"call-{number}", parties, revision=revision)
    while await world.step("protector"):
        pass
    began = time.process_time()
    while await world.step("keeper"):
        pass
    await world.keeper.idle()
    used = time.process_time() - began
    if len(world.legs()) != 2 * CALLS:
        raise SystemExit(f"{len(world.legs())} legs are left")
    return used


async def main() -> None:
    """Run all and print microseconds of CPU per leg."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, revisions in REVISIONS.items():
            (place := Path(folder) / name).mkdir()
            found[name] = await keeper_s(place, revisions) / (2 * CALLS * len(revisions)) * 1e6
    found.pop("warm")
    result = {"legs": 2 * CALLS} | {f"{name}_us_per_leg": round(us, 1) for name, us in found.items()}
    print(json.dumps(result, indent=2))  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main())
