"""
A million legs that fall due at once, by a policy that shortens their period, while 500 events a second flow.

Prints how long until the last tombstone is in the log, the keeper's memory in the sweep (peak, and before), and the
time from an event's append to its leg's, before and in the sweep. Times are the broker's; it and Redis run beside
the workers. LEGS=100000 for a short run.
"""

import asyncio
import json
import os
import sys
import tempfile
import threading
import time
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "e2e"))

from installation import Installation, event, raw

from calllog_guard.adapters.kafka.log import KafkaLog
from calllog_guard.app.context import world
from calllog_guard.core.identifiers import CallId, SubjectId, record_key
from calllog_guard.devstack.supervisor import Stack
from calllog_guard.settings import from_environment

LEGS = int(os.environ.get("LEGS", "1000000"))
PEOPLE = 5000
RATE = 500
_DAY = 24 * 60
_PARTIES = 20
_PORTION = 1000
SHORTER = '[version.tenant.iocom.purposes.service]\nnumber = 1\nbasis = "contract"\nkeep = "{keep}"'


def service_alone(guard: Installation, keep: str) -> None:
    """A policy of one purpose with this period."""
    path = guard.directory / "policy.toml"
    head, _, rest = path.read_text().partition("[version.tenant.iocom.purposes.")
    tail = "[version.tenant.iocom.requesters." + rest.partition("[version.tenant.iocom.requesters.")[2]
    tail = "\n".join(line for line in tail.splitlines() if not line.startswith("purposes = "))
    tail = tail.partition("[version.tenant.iocom.actors.")[0]
    path.write_text(head + SHORTER.format(keep=keep) + "\n" + tail)


def metrics(address: str) -> dict[str, float]:
    """What a worker's page shows."""
    try:
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=5) as page:
            lines = page.read().decode().splitlines()
    except OSError:
        return {}
    rows = [line.rsplit(" ", 1) for line in lines if line and not line.startswith("#")]
    return {row[0].partition("{")[0]: float(row[1]) for row in rows}


def old_legs(guard: Installation) -> None:
    """LEGS legs, a hundred days old and older by up to thirty."""
    for at in range(0, LEGS // _PARTIES, _PORTION):
        calls = [
            raw(
                event(
                    f"old-{n}",
                    *(f"p{(n * _PARTIES + party) % PEOPLE}@x.org" for party in range(_PARTIES)),
                    minutes_ago=(100 + n % 30) * _DAY,
                )
            )
            for n in range(at, min(at + _PORTION, LEGS // _PARTIES))
        ]
        guard.publish("calllog.events", calls, partition=at // _PORTION % guard.partitions)


class Flow:
    """RATE events a second, of people whose legs can be found again by their names."""

    def __init__(self, guard: Installation) -> None:
        self._guard, self._stop, self.number = guard, threading.Event(), 0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            began = time.monotonic()
            portion = [raw(event(f"flow-{n}", f"f{n % 50}@x.org")) for n in range(self.number, self.number + RATE // 5)]
            self._guard.publish("calllog.events", portion, partition=self.number % self._guard.partitions)
            self.number += len(portion)
            self._stop.wait(max(0.0, 0.2 - (time.monotonic() - began)))

    def stop(self) -> None:
        """No more."""
        self._stop.set()
        self._thread.join()


async def delays(guard: Installation) -> list[tuple[float, float]]:
    """For each event of the flow: when it was appended, and how long until its leg was (seconds)."""
    shared = world(from_environment(guard.environment))
    ring, pepper = shared.ring(shared.tenant), shared.vault.pepper(shared.tenant)
    lookups = [pepper.lookup(shared.tenant, SubjectId(f"f{n}@x.org")) for n in range(50)]
    view = await ring.view(lookups)
    persons = {each: person for each in lookups if (person := ring.person(each, view.raw[each]))}
    opened, _ = await ring.open(persons)
    await shared.keystore.close()
    events: dict[bytes, int] = {}
    legs: dict[bytes, int] = {}

    def an_event(record: Any) -> None:
        if record.value and b'"flow-' in record.value:
            call = json.loads(record.value)["call_id"]
            keys = opened[lookups[int(call.removeprefix("flow-")) % 50]]
            events[record_key(keys.pseudonym, keys.token_key.token(CallId(call)))] = record.timestamp

    def a_leg(record: Any) -> None:
        if record.key in events and record.value is not None:
            legs.setdefault(record.key, record.timestamp)

    for name, visit in (("calllog.events", an_event), ("calllog.legs", a_leg)):
        await KafkaLog(guard.stack.kafka, {}).read_each(guard.topic(name), list(range(guard.partitions)), visit)
    if len(legs) != len(events):
        raise SystemExit(f"{len(events)} events, {len(legs)} legs")
    return sorted((at / 1000, (legs[key] - at) / 1000) for key, at in events.items())


def quantiles(found: list[float], name: str) -> dict[str, float]:
    """p50, p99 and the longest."""
    found = sorted(found) or [float("nan")]
    picks = {"p50": len(found) // 2, "p99": -1 - len(found) // 100, "max": -1}
    return {f"{name}_{word}_s": round(found[at], 3) for word, at in picks.items()}


def main() -> None:
    """Run and print."""
    with tempfile.TemporaryDirectory() as folder, Stack(Path(folder) / "stack", "production") as stack:
        guard = Installation(
            stack, Path(folder) / "guard", EVENT_LATE_DAYS="400", UNIT_WAIT_MS="100", EVENTS_KEEP_H="24"
        )
        service_alone(guard, "P200D")
        guard.start("protector")
        old_legs(guard)
        page = f"127.0.0.1:{20_000 + os.getpid() % 10_000}"
        keeper = guard.start("keeper", HTTP=page)
        guard.settled(lambda: metrics(page).get("calllog_guard_records_total", 0) >= LEGS, "all legs are indexed", 1200)
        flow = Flow(guard)
        time.sleep(20)
        keeper.terminate()
        keeper.wait(60)
        service_alone(guard, "P90D")
        began = datetime.now(UTC).timestamp()  # noqa: TID251 - compared with the broker's clock
        keeper = guard.start("keeper", HTTP=page)
        process, before, peak, seen = psutil.Process(keeper.pid), 0, 0, 0.0
        end = time.monotonic() + 1800
        while seen < LEGS and time.monotonic() < end:
            seen = metrics(page).get("calllog_guard_legs_expired_total", 0)
            size = process.memory_info().rss
            before, peak = size if seen == 0 else before, max(peak, size)
            time.sleep(0.5)
        took = datetime.now(UTC).timestamp() - began  # noqa: TID251
        flow.stop()
        guard.settled(
            lambda: metrics(page).get("calllog_guard_lag_records", 1) == 0, "the keeper has read all there is", 300
        )
        found = asyncio.run(delays(guard))
        guard.stop()
    result = {"legs": LEGS, "expired": int(seen), "sweep_s": round(took, 1), "legs_per_s": int(seen / took)}
    result |= {"keeper_before_mb": before >> 20, "keeper_peak_mb": peak >> 20, "events": len(found)}
    result |= quantiles([delay for at, delay in found if at < began], "event_to_leg_before")
    result |= quantiles([delay for at, delay in found if began <= at <= began + took], "event_to_leg_during")
    print(json.dumps(result, indent=2))  # noqa: T201


if __name__ == "__main__":
    main()
