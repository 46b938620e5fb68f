"""
How many entries the keystore walk gets through: with nothing to change, all to re-wrap, all ratchets to move.

Redis' memory for each living person; entries per second of the walk's own CPU (time.process_time; Redis on another
core) and of the wall clock. A walk reads every entry twice: once to renew it, once more before an epoch may be
destroyed.
"""

import asyncio
import json
import os
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "e2e"))

from redis import Redis
from redises import Lone, running

from calllog_guard.adapters.kms.local import FileRing, LocalKms
from calllog_guard.adapters.redis.keystore import RedisKeystore
from calllog_guard.core.crypto.entries import EPOCH_KEY, GUARD_KEY
from calllog_guard.core.crypto.subject_secrets import month_of
from calllog_guard.core.identifiers import Lookup, Tenant, b64
from calllog_guard.workers.keys.key_cache import CacheLimits
from calllog_guard.workers.keys.people.subject_keys import Keyring
from calllog_guard.workers.keys.restore_guard import guard_entry
from calllog_guard.workers.keys.rotation import Periods, Walk, epoch_of
from calllog_guard.workers.keys.tenants.tenant_secrets import Vault

PEOPLE = int(os.environ.get("PEOPLE", "100000"))
TENANT = Tenant("iocom")


class Hand:
    """A clock that is set by hand."""

    at = datetime(2026, 11, 2, 9, tzinfo=UTC)

    def now(self) -> datetime:
        """See Clock."""
        return self.at


async def nobody() -> set[str]:
    """Nothing is pending."""
    return set()


async def filled(keystore: RedisKeystore, vault: Vault, clock: Hand) -> Keyring:
    """A keystore of PEOPLE living people, two entries each."""
    vault.create_tenant(TENANT)
    vault.create_epoch(epoch_of(clock.at))
    await keystore.put({GUARD_KEY: guard_entry(vault.guard_id()), EPOCH_KEY: epoch_of(clock.at).encode()})
    ring = Keyring(TENANT, keystore, vault, clock, CacheLimits(60, 10), 12)
    await ring.guard.open_at_once(12)
    for start in range(0, PEOPLE, 1000):
        lookups = [Lookup(b64(number.to_bytes(32, "big")).decode()) for number in range(start, start + 1000)]
        if not await ring.mint(dict.fromkeys(lookups), await ring.view(lookups), month_of(2026, 9), month_of(2026, 11)):
            raise SystemExit("someone else mints")
    return ring


async def main() -> None:
    """Run and print."""
    clock, result = Hand(), {"entries": 2 * PEOPLE}
    with tempfile.TemporaryDirectory() as folder, running(server := Lone(Path(folder) / "redis")):
        keystore = RedisKeystore(server.url)
        vault = Vault(LocalKms(Path(folder) / "kms"), FileRing(Path(folder) / "kms"))
        with Redis.from_url(server.url) as redis:
            empty = redis.info("memory")["used_memory"]
            ring = await filled(keystore, vault, clock)
            result["redis_bytes_per_person"] = round((redis.info("memory")["used_memory"] - empty) / PEOPLE)
        periods = Periods(keep_days=90, late_days=35, epoch_days=7, window_days=14)
        for name, days in (("unchanged", 0), ("rewrapped", 7), ("rewrapped_again", 7), ("ratchets_moved", 120)):
            clock.at += timedelta(days=days)
            cpu, wall = time.process_time(), time.perf_counter()
            done = await Walk(ring, clock, periods, nobody).run({})
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            if (done.contested, sum(done.entries.values())) != (0, 2 * PEOPLE):
                raise SystemExit("the walk left something")
            result |= {
                f"{name}_per_cpu_s": round(2 * PEOPLE / cpu),
                f"{name}_per_s": round(2 * PEOPLE / wall),
                f"{name}_rewrapped": done.rewrapped,
                f"{name}_advanced": done.advanced,
            }
        await keystore.close()
    print(json.dumps(result, indent=2))  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main())
