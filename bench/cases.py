"""
100,000 open cases: how long a desk takes to start on them, and how long a look at their due dates takes.

Prints seconds: `written` (the cases into their topic), `read` (from a real Kafka into the desk's memory: a start),
`first_look` (dates of every case worked out), `look` (every later one), `brake` (what a request pays to know if its
brake is engaged) and the cases' memory. The broker runs beside it on the same machine, so the looks' bar is held
against the processor's seconds. The first look tells some 36,000 alarms. CASES sets how many.
"""

import asyncio
import json
import os
import resource
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import structlog

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "e2e"))

from installation import Installation

from calllog_guard.adapters.disk.policy_file import load_policy
from calllog_guard.adapters.kafka.log import KafkaLog
from calllog_guard.adapters.kafka.writer import KafkaWriter
from calllog_guard.adapters.memory.fakes import SystemClock
from calllog_guard.core.cases.case import Case
from calllog_guard.core.codec import encode
from calllog_guard.core.crypto.jose import signer_public
from calllog_guard.core.decisions.decision import case_id
from calllog_guard.core.identifiers import Tenant, b64
from calllog_guard.core.records import Output
from calllog_guard.core.stream.proofs import DESK, Proofs, vouched
from calllog_guard.devstack.supervisor import Stack
from calllog_guard.metrics import GaugeMetric
from calllog_guard.settings import from_environment
from calllog_guard.workers.desk.cases.case_store import Casebook
from calllog_guard.workers.desk.cases.deadlines import Deadlines
from calllog_guard.workers.desk.cases.terms import braked, dated
from calllog_guard.workers.runtime.clocks import unwatched

SEED = bytes(32)
CASES = int(os.environ.get("CASES", "100000"))
NOW = datetime.now(UTC)  # noqa: TID251 - a benchmark runs on the real clock
WAITS = ("identity", "officer", "clarification", "fee")


def opened(number: int, table: Any) -> Case:
    """A case of the last five weeks; every eighth saw its clock moved; each holds a sealed request of 600 bytes."""
    at = NOW - timedelta(minutes=number % (35 * 24 * 60), seconds=number % 60)
    jti = f"bench-{number:08d}"
    waits: Any = WAITS[number % 4]
    moved: dict[str, Any] = {"times": {"identity_asked_at": at}} if number % 8 == 0 else {}
    times: dict[str, Any] = {"received_at": at, "appended_at": at, "opened_at": at, "stages": {"accepted": at}}
    names: dict[str, Any] = {
        "case": case_id(Tenant("iocom"), jti),
        "tenant": "iocom",
        "jti": jti,
        "asked_by": "backend-1",
    }
    more: dict[str, Any] = {"ticket": None, "place": (0, number), "due": "2026-01-01", "law_due": None}
    case = Case(
        type="erase",
        state="waiting",
        waits_for=waits,
        sealed="A" * 800,
        epoch="2026-W48",
        **times,
        **names,
        **more,
        **moved,
    )
    return dated(case, table)


def seconds(since: float) -> float:
    """Since a moment of the monotonic clock."""
    return round(time.monotonic() - since, 3)


async def run(stack: Stack, guard: Installation) -> dict[str, Any]:
    """Write, read, look."""
    table = load_policy(guard.directory / "policy.toml").at(NOW.date()).tenant["iocom"]
    writer, topic, result = KafkaWriter(stack.kafka, {}), guard.topic("privacy.cases"), dict[str, Any](cases=CASES)
    cases = [opened(number, table) for number in range(CASES)]
    outputs = [vouched(Output(topic, 0, case.case.encode(), encode(case)), DESK, SEED) for case in cases]
    del cases
    await writer.start()
    began = time.monotonic()
    for at in range(0, CASES, 5000):
        await writer.write(outputs[at : at + 5000])
    await writer.stop()
    result["written_s"] = seconds(began)
    del outputs
    nothing: Any = SimpleNamespace()
    signers = {DESK: b64(signer_public(SEED)).decode()}
    vault: Any = SimpleNamespace(proofs=lambda _: Proofs(signers))
    levels: dict[GaugeMetric, float] = {}
    desk: Any = SimpleNamespace(
        tenant=Tenant("iocom"),
        home=0,
        settings=from_environment(guard.environment),
        ring=nothing,
        vault=vault,
        writer=nothing,
        clock=SystemClock(),
        level=levels.__setitem__,
        agree=unwatched,
    )
    book = desk.book = Casebook(desk)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.monotonic()
    for record in await KafkaLog(stack.kafka, {}).read_all(topic, [0]):
        if record.key and record.key[:1] != b"~":
            book.note(record)
    result["read_s"] = seconds(began)
    result["peak_growth_mb"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    deadlines = Deadlines(desk)
    with structlog.testing.capture_logs() as lines:
        for name in ("first_look_s", "look_s"):
            began, used = time.monotonic(), time.process_time()
            levels |= deadlines.sweep(table, NOW)
            result[name] = seconds(began)
            result[name.replace("_s", "_cpu_s")] = round(time.process_time() - used, 3)
    result["alarms"] = len(lines)
    result["open"] = int(sum(value for name, value in levels.items() if name.name.startswith("cases_open")))
    began = time.monotonic()
    braked(book, "erase", table, NOW, "backend-1", 1)
    result["brake_s"] = seconds(began)
    return result


def main() -> None:
    """Run and print."""
    with tempfile.TemporaryDirectory() as folder, Stack(Path(folder) / "stack", "fast") as stack:
        guard = Installation(stack, Path(folder) / "guard")
        result = asyncio.run(run(stack, guard))
    result["start_bar_s"], result["look_bar_s"] = 10, 1
    print(json.dumps(result, indent=2))  # noqa: T201
    if result["read_s"] >= result["start_bar_s"] or result["first_look_cpu_s"] >= result["look_bar_s"]:
        raise SystemExit("a bar is missed")


if __name__ == "__main__":
    main()
