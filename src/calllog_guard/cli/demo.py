"""
`demo`: the promise, shown on a stack of its own: calls in, one person out, the rest untouched, an old month gone.

Real calls with --calls FILE (CSV, see `emit`), else made ones of the same shape.
"""

import asyncio
import csv
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from calllog_guard.adapters.kafka.log import KafkaLog
from calllog_guard.adapters.memory.fakes import SystemClock
from calllog_guard.cli._options import Args, command, file
from calllog_guard.core.topics import Topic
from calllog_guard.devstack.offspring import begun, unwound_by_signals
from calllog_guard.errors import StateRefusedError

_CALLS: Final = 4000
_PEOPLE: Final = 300
_DAYS: Final = 28
_OLD_DAYS: Final = 100
_WAIT_S: Final = 60
_STOP_S: Final = 30


def made_calls(path: Path, seed: int = 7) -> None:
    """Calls of the shape of real ones: few people call often, a fifth of the calls is missed."""
    dice = random.Random(seed)  # noqa: S311 - made data
    rows = ["timestamp,caller,callee,duration"]
    for _ in range(_CALLS):
        caller, callee = (int(dice.paretovariate(0.9)) % _PEOPLE for _ in range(2))
        if caller == callee:
            callee = (callee + 1) % _PEOPLE
        duration = -1 if dice.random() < 0.2 else int(dice.expovariate(1 / 180))  # noqa: PLR2004
        rows.append(f"{dice.randrange(_DAYS * 86_400)},{_name(str(caller))},{_name(str(callee))},{duration}")
    path.write_text("\n".join(rows) + "\n", "utf-8")


def _name(party: str) -> str:
    """A bare number would be found in every file that is searched for it."""
    return f"user-{party}@example.org" if party.isdecimal() else party


def _with_names(real: Path, path: Path) -> None:
    """Real calls, with names that can be told from other numbers."""
    with real.open(newline="", encoding="utf-8") as source, path.open("w", newline="", encoding="utf-8") as made:
        rows = csv.DictReader(source)
        out = csv.DictWriter(made, rows.fieldnames or ())
        out.writeheader()
        for row in rows:
            out.writerow(row | {role: _name(row[role]) for role in ("caller", "callee")})


class Demo:
    """One run: its folder, its stack, its workers, and what was seen."""

    def __init__(self, base: Path, out: Console) -> None:
        self.base, self.out = base, out
        self.environment = dict(os.environ)
        self.seen: list[tuple[str, str, bool]] = []

    def cli(self, *words: str, code: tuple[int, ...] = (0,)) -> str:
        """Run one of our commands as a user would."""
        command = [sys.executable, "-m", "calllog_guard.cli", *words]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with begun(command, env=self.environment, text=True, **pipes) as done:
            try:
                out, err = done.communicate()
            except BaseException:
                done.kill()
                raise
        if done.returncode not in code:
            raise StateRefusedError(f"`{' '.join(words[:2])}` ended with {done.returncode}: {err[-600:]}")
        return str(out)

    def promise(self, what: str, seen: str, *, kept: bool) -> None:
        """Note one line of the table."""
        self.seen.append((what, seen, kept))
        self.out.print(f"  {'[green]ok[/]' if kept else '[red]BROKEN[/]'}  {what}: {seen}")

    def live(self) -> dict[bytes, bytes]:
        """The legs that a new reader ends up with."""
        state: dict[bytes, bytes] = {}
        for record in self.records():
            if record.value is None:
                state.pop(record.key, None)
            else:
                state[record.key] = record.value
        return state

    def records(self) -> list[Any]:
        """Every leg and tombstone that the log still has."""
        partitions = list(range(int(self.environment["CALLLOG_GUARD_PARTITIONS"])))
        found = asyncio.run(KafkaLog(self.environment["CALLLOG_GUARD_KAFKA"], {}).read_all(Topic.LEGS, partitions))
        return [record for record in found if (record.key or b"")[:1] != b"~"]

    def until(self, condition: Callable[[], bool], what: str) -> float:
        """Wait for a condition; how long it took."""
        began = time.monotonic()
        while not condition():
            if time.monotonic() - began > _WAIT_S:
                raise StateRefusedError(f"not within {_WAIT_S} s: {what}; see {self.base / 'workers.log'}")
            time.sleep(0.1)
        return time.monotonic() - began

    @contextmanager
    def worker(self, *roles: str) -> Iterator[None]:
        """Workers for a while."""
        children: list[subprocess.Popen[bytes]] = []
        try:
            with (self.base / "workers.log").open("ab") as log:
                for role in roles:
                    command = [sys.executable, "-m", "calllog_guard.cli", "worker", role]
                    children.append(begun(command, stdout=log, stderr=log, env=self.environment))
            yield
        finally:
            for child in children:
                child.terminate()
            for child in children:
                try:
                    child.wait(_STOP_S)
                except subprocess.TimeoutExpired:
                    child.kill()
                    child.wait()


@command("demo")
@file("--calls", help="real calls: CSV of timestamp,caller,callee,duration")
def demo(args: Args) -> int:
    """See the module; 1 when a promise was not kept."""
    from calllog_guard.devstack.supervisor import Stack  # noqa: PLC0415 - starts child processes

    out = Console(stderr=args.json)
    with unwound_by_signals(), tempfile.TemporaryDirectory(prefix="calllog-guard-demo-") as folder:
        demo = Demo(Path(folder), out)
        out.rule("1  a real Kafka and a real Redis (fast profile: seconds instead of hours)")
        with Stack(demo.base / "stack") as stack:
            demo.environment |= stack.environment
            demo.environment["CALLLOG_GUARD_EVENT_LATE_DAYS"] = "400"
            _story(demo, args.calls, stack.broker_log_dir, stack.redis_dir)
    table = Table("promised", "seen", "verdict", title="What was promised, and what was seen")
    for what, seen, kept in demo.seen:
        table.add_row(what, seen, "kept" if kept else "BROKEN")
    out.print(table)
    out.print("next: do it yourself, step by step, with docs/tutorial/first-erasure.md", style="bold")
    if args.json:
        print(json.dumps([{"promised": what, "seen": seen, "kept": kept} for what, seen, kept in demo.seen]))  # noqa: T201
    return int(not all(kept for _, _, kept in demo.seen))


def _story(demo: Demo, named: Path | None, broker: Path, keystore: Path) -> None:
    base, out = demo.base, demo.out
    first = json.loads(demo.cli("init", str(base / "guard"), "--json"))
    demo.environment |= first["env"]
    demo.cli("topics", "create")
    tenant = json.loads(demo.cli("tenant", "create", first["tenant"], "--json"))
    calls = base / "calls.csv"
    if named is None:
        made_calls(calls)
    else:
        _with_names(named, calls)
    with demo.worker("protector", "desk", "keeper", "auditor"):
        _protect(demo, calls)
        case, keys = _erase(demo, calls)
        _look(demo, broker, keystore)
        _expire(demo)
        _certify(demo, case, broker)
        demo.cli("case", "show", case, "--receipts", str(base / "receipts"))
    out.rule("7  the receipts")
    verdicts = [
        json.loads(demo.cli("receipt", "verify", str(path), "--key", tenant["receipt_key"], "--json"))
        for path in sorted((base / "receipts").iterdir())
    ]
    stages = [verdict["claims"]["stage"] for verdict in verdicts]
    good = {"accepted", "fenced", "destroyed", "tombstoned", "absent"} <= set(stages)
    demo.promise("every stage has a signed receipt", ", ".join(stages), kept=good and bool(keys))


def _protect(demo: Demo, calls: Path) -> None:
    demo.out.rule("2  calls are protected")
    with calls.open() as file:
        expected = 2 * (sum(1 for _ in file) - 1)
    began = time.monotonic()
    demo.cli("emit", str(calls))

    def arrived() -> bool:
        legs = len(demo.live())
        demo.out.print(
            f"  {legs} of {expected} legs, {legs / 2 / (time.monotonic() - began):.0f} calls/s (with start-up)"
        )
        return legs >= expected

    demo.until(arrived, "every party's leg")
    demo.promise("one sealed leg per party", f"{len(demo.live())} legs of {expected // 2} calls", kept=True)


def _erase(demo: Demo, calls: Path) -> tuple[str, int]:
    demo.out.rule("3  one person's legs are read, and the person is erased")
    with calls.open() as file:
        who = next(csv.DictReader(file))["caller"]
    (demo.base / "who.txt").write_text(who)
    readable = demo.cli("read", "--purpose", "service", "--actor", "support-1").count("\n")
    before = demo.live()
    key = str(demo.base / "guard" / "keys" / "backend-1.pem")
    case: dict[str, Any] = json.loads(
        demo.cli("request", "erase", "--subject", f"@{demo.base / 'who.txt'}", "--key", key, "--wait", "--json")
    )
    accepted = datetime.fromisoformat(case["stages"]["accepted"])
    for stage, at in case["stages"].items():
        demo.out.print(f"  {stage:12} +{(datetime.fromisoformat(at) - accepted).total_seconds():.3f} s")
    after = demo.live()
    gone = len(before) - len(after)
    demo.promise("all legs of the person are tombstoned", f"{gone} legs", kept=gone == sum(case["legs"].values()) > 0)
    same = all(before.get(name) == value for name, value in after.items())
    demo.promise("everyone else's legs stay byte for byte", f"{len(after)} compared", kept=same)
    left = demo.cli("read", "--purpose", "service", "--actor", "support-1").count("\n")
    demo.promise(
        "no reader opens a leg of the person", f"{readable} before, {left} after", kept=readable - left == gone
    )
    return str(case["case"]), gone


def _look(demo: Demo, broker: Path, keystore: Path) -> None:
    demo.out.rule("4  the person is looked for, in topics, files, keystore and index")
    words = [
        "scan",
        "--canary",
        str(demo.base / "who.txt"),
        "--json",
        "--log-dir",
        str(broker),
        "--log-dir",
        str(keystore),
    ]
    found = json.loads(demo.cli(*words, code=(0, 1)))
    hits = [place for place in found["places"] if place["found"] and not place["plaintext"]]
    looked = f"{len(found['places'])} places, {sum(place['bytes'] for place in found['places']) >> 20} MiB"
    demo.promise("nothing stored names the person", f"{looked}, {len(hits)} with findings", kept=not hits)
    demo.out.print(
        f"  the incoming topic `calllog.events` holds it until it is trimmed: {found['plaintext_topic']} hits; "
        "the request in `privacy.requests` is sealed to the desk"
    )


def _expire(demo: Demo) -> None:
    demo.out.rule("5  an old month expires")
    start = SystemClock().now().astimezone(UTC) - timedelta(days=_OLD_DAYS)
    events = [
        {
            "tenant": "iocom",
            "call_id": f"old-{number}",
            "kind": "video",
            "outcome": "missed",
            "started_at": start.isoformat(),
            "parties": [{"id": f"user-{number}@old.example.org", "role": "host"}],
        }
        for number in range(50)
    ]
    path = demo.base / "old.ndjson"
    path.write_text("\n".join(map(json.dumps, events)) + "\n")
    known, new = {record.key for record in demo.records()}, set[bytes]()
    demo.cli("emit", str(path))

    def lapsed() -> bool:
        new.update(record.key for record in demo.records() if record.key not in known)
        return len(new) >= len(events) and not new & set(demo.live())

    took = demo.until(lapsed, "expiry of the old legs")
    demo.promise("legs whose last purpose has lapsed go", f"{len(new)} legs after {took:.1f} s", kept=True)


def _certify(demo: Demo, case: str, broker: Path) -> None:
    demo.out.rule("6  the bytes leave the disk, and an outsider looks")
    took = demo.until(lambda: "absent" in json.loads(demo.cli("case", "show", case, "--json"))["stages"], "absent")
    words = ["scan", "--case", case, "--log-dir", str(broker), "--json"]
    found = json.loads(demo.cli(*words, code=(0, 1)))
    looked = f"observed {took:.1f} s later; a scan of {len(found['places'])} places: {found['findings']} with findings"
    demo.promise("no erased value is left in log or segment files", looked, kept=found["findings"] == 0)
    canary = ["scan", "--canary", str(demo.base / "who.txt"), "--log-dir", str(broker), "--json"]

    def trimmed() -> bool:
        found = json.loads(demo.cli(*canary, code=(0, 1)))
        return not found["findings"] and not found["plaintext_topic"]

    took = demo.until(trimmed, "the trims of the incoming topics")
    demo.promise("the incoming topics are trimmed", f"nothing names the person anywhere, {took:.1f} s later", kept=True)
