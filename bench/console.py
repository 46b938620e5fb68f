"""
The console with CASES cases in memory: CPU time of the inbox and of a search on the server, and its resident memory.

The cases are written as a desk writes them, each with its proof, into a log in memory, which is let go before memory is
measured; pages are asked as a browser asks, without a socket.
"""

import asyncio
import gc
import os
import secrets
import sys
import tempfile
import time
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

import msgspec
from console_world import ConsoleWorld
from desk_world import CANARY, START, TENANT

from calllog_guard.core.codec import encode
from calllog_guard.core.identifiers import b64
from calllog_guard.core.records import Output

CASES = int(os.environ.get("CASES", "100000"))
_TIMES, _PORTION = 5, 5000


def resident_mib() -> float:
    """What this process has in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


async def main() -> None:
    """Fill it, and ask."""
    with tempfile.TemporaryDirectory() as folder:
        world = await ConsoleWorld(Path(folder) / "console").start()
        for number, kind in enumerate(("erase", "access", "object")):
            more = {"purposes": ["fraud"]} if kind == "object" else {}
            more |= {"reply_key": KEY} if kind == "access" else {}
            await world.desk.ask(f"seed-{number:05}", CANARY, type=kind, **more)
        await world.see()
        seeds = [row.whole() for row in world.followed.cases.rows.values()]
        began, loaded = time.perf_counter(), 0.0
        for start in range(0, CASES, _PORTION):
            outputs = []
            for number in range(start, min(CASES, start + _PORTION)):
                name = b64(secrets.token_bytes(16)).decode()
                at = START - timedelta(minutes=number)
                case = msgspec.structs.replace(
                    seeds[number % len(seeds)],
                    case=name,
                    ticket=f"REF-{number}",
                    received_at=at,
                    due=(at + timedelta(days=30)).date().isoformat(),
                    state="closed" if number % 10 else seeds[number % len(seeds)].state,
                    waits_for=None if number % 10 else seeds[number % len(seeds)].waits_for,
                    stages=dict.fromkeys(("accepted", "fenced", "tombstoned", "absent"), at),
                )
                outputs.append(Output("privacy.cases", 0, name.encode(), encode(case)))
            world.log.own = world.desk.vault.vouched(TENANT, "desk", outputs)
            there = len(world.desk.written("privacy.cases"))
            world.followed._next["privacy.cases", 0] = there  # noqa: SLF001 - what was let go is read
            at_once = time.perf_counter()
            await world.see()
            loaded += time.perf_counter() - at_once
            world.log.own = []
        if len(world.followed.cases.rows) != CASES + len(seeds):
            raise SystemExit("cases are missing")
        gc.collect()
        print(f"{CASES:,} cases: filled in {time.perf_counter() - began:.0f} s, of it reading {loaded:.0f} s")  # noqa: T201
        print(f"resident {resident_mib():.0f} MiB")  # noqa: T201
        browser = await world.signed_in()
        for path in ("/", "/?q=REF-99", "/?q=2026-11-20", f"/?q={name}", "/erasures", "/holds", "/access"):
            took = []
            for _ in range(_TIMES):
                begins = time.process_time()
                found = await browser.open(path)
                took.append(time.process_time() - begins)
                if found.status != HTTPStatus.OK:
                    raise SystemExit(f"{path}: {found.status}")
            print(f"{path[:14]:16} {min(took) * 1000:6.0f} to {max(took) * 1000:.0f} ms, {len(found.body):,} bytes")  # noqa: T201


KEY = {"kty": "OKP", "crv": "X25519", "x": "3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08"}

if __name__ == "__main__":
    asyncio.run(main())
