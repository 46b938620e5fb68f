"""
The worker of sessions: notifications per CPU second of its process, and its memory over so many open sessions.

SESSIONS joins wait while it stands still (SIGSTOP), then their leaves; CPU is the process' own, Kafka's clients and
RocksDB included. MEMORY names the open sessions after which its memory is told: `MEMORY=100000,1000000`.
"""

import asyncio
import json
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "e2e"))

import psutil
from installation import Installation

from calllog_guard.adapters.kafka.writer import KafkaWriter
from calllog_guard.core.identifiers import Tenant
from calllog_guard.core.records import Output
from calllog_guard.core.sources.notification import Notification
from calllog_guard.devstack.supervisor import Stack
from calllog_guard.workers.keys.tenants.moment_sealing import MomentSealer

SESSIONS: Final = int(os.environ.get("SESSIONS", "20000"))
MEMORY: Final = [int(each) for each in os.environ.get("MEMORY", "100000").split(",")]
BAR_PER_S: Final = 5000
_PORTION: Final = 5000
_IN_A_CALL: Final = 20


def moments(first: int, many: int, what: str) -> Iterator[Notification]:
    """So many sessions, twenty in a call."""
    at = datetime.now(UTC) - timedelta(minutes=30 if what == "joined" else 5)  # noqa: TID251 - the real clock
    for number in range(first, first + many):
        call = f"meeting-{number // _IN_A_CALL:08d}"
        yield Notification(what, call, at, f"p{number}@example.org", f"s-{number}", "guest", "video")  # type: ignore[arg-type]


class Running:
    """One installation with its worker of sessions."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.guard = Installation(stack, folder, PARTITIONS="4")
        vault, tenant = self.guard.vault, Tenant("iocom")
        place = self.guard.topic("calllog.moments"), 4
        self._sealer = MomentSealer(tenant, place, vault.moment_names(tenant), vault.moments.newest)
        self.worker = psutil.Process(self.guard.start("sessions", process=True, UNIT_RECORDS="1000").pid)
        self.guard.said('"assigned"')
        self._told = 0

    async def _write(self, notifications: Iterator[Notification]) -> None:
        writer = KafkaWriter(self.guard.stack.kafka, {})
        await writer.start()
        try:
            portion: list[Output] = []
            for each in notifications:
                portion.append(self._sealer.record("zoom", each))
                if len(portion) == _PORTION:
                    await writer.write(portion)
                    portion = []
            await writer.write(portion)
        finally:
            await writer.stop()

    def _read(self) -> int:
        lines = self.guard.page("/metrics").splitlines()
        return int(sum(float(line.split()[-1]) for line in lines if line.startswith("calllog_guard_moments_total{")))

    def take(self, first: int, many: int, what: str) -> float:
        """Let it take so many at once; its CPU seconds for each."""
        self.worker.send_signal(signal.SIGSTOP)
        asyncio.run(self._write(moments(first, many, what)))
        before = sum(self.worker.cpu_times()[:2])
        self.worker.send_signal(signal.SIGCONT)
        self._told += many
        self.guard.settled(lambda: self._read() >= self._told, "all are paired", 1200)
        return (sum(self.worker.cpu_times()[:2]) - before) / many


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder, Stack(Path(folder) / "stack", "production") as stack:
        running = Running(stack, Path(folder) / "sessions")
        running.take(0, 2000, "joined")
        running.take(0, 2000, "left")
        joined, left = (running.take(10_000, SESSIONS, what) for what in ("joined", "left"))
        shown: dict[str, Any] = {
            "per_cpu_second": {"joins": round(1 / joined), "leaves": round(1 / left), "bar": BAR_PER_S},
            "rss_mb": {"after the joins and leaves": round(running.worker.memory_info().rss / 1e6)},
        }
        open_now = 0
        for many in MEMORY:
            running.take(1_000_000 + open_now, many - open_now, "joined")
            open_now = many
            shown["rss_mb"][f"{many} open"] = round(running.worker.memory_info().rss / 1e6)
        shown["loadavg"] = os.getloadavg()[0]
        running.guard.stop()
    print(json.dumps(shown, indent=2))  # noqa: T201


if __name__ == "__main__":
    main()
