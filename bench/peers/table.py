"""
One table of speed: our protector beside its floor and beside peers, on one broker, in one run, in turns.

CPU of the process under test alone (user and system, microseconds an event of 2 or 3 parties), each pinned to one core,
the broker, Redis and this program to the other. In each of ROUNDS every one handles EVENTS that wait for it; the order
turns. Calls of 2,500 people who are known. A peer's people count nothing: it has one key a topic.
Writes: a Markdown table on stdout, `bench-peers.json` in the current folder; `plot.py` draws it.
"""

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "support"))
sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "e2e"))
sys.path.insert(0, str(Path(__file__).parents[1]))

from installation import Installation
from protect import legs, parties, publish, spent

from calllog_guard.devstack.kafka_server import free_port
from calllog_guard.devstack.supervisor import Stack
from calllog_guard.errors import ConfigurationError

HERE = Path(__file__).parent
EVENTS = int(os.environ.get("EVENTS", "10000"))
ROUNDS = int(os.environ.get("ROUNDS", "5"))
PEERS = Path(os.environ.get("PEERS", ".venv-peers"))
"""The environment and the libraries of the peers: `make bench-peers` makes it."""
ONLY = os.environ.get("ONLY", "").split()
"""`ours`, and those who are compared: all where nothing is said."""
LEG = 560
"""Bytes of a leg, with its headers; measured once our own has written some."""
WARM = 3000
BROKER, TESTED = [0], [min(1, (os.cpu_count() or 1) - 1)]
PROXY = """
virtualClusters:
  bench:
    targetCluster:
      bootstrapServers: {kafka}
    clusterNetworkAddressConfigProvider:
      type: PortPerBrokerClusterNetworkAddressConfigProvider
      config:
        bootstrapAddress: 127.0.0.1:{port}
filterDefinitions:
  - name: encrypt
    type: RecordEncryption
    config:
      kms: UnitTestingKmsService
      kmsConfig:
        numIvBytes: 12
        numAuthBits: 128
        existingKeks:
          - uuid: 00000000-0000-0000-0000-000000000001
            key: AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=
            algorithm: AES
            alias: bench
      selector: TemplateKekSelector
      selectorConfig:
        template: bench
defaultFilters:
  - encrypt
"""


@dataclass
class Turn:
    """One under test: its process, how it is given EVENTS, and what was measured."""

    name: str
    lacks: str
    guard: Installation
    process: "subprocess.Popen[bytes]"
    feed: Callable[[int, int], int]
    us: list[float] = field(default_factory=list)
    per_s: list[float] = field(default_factory=list)
    next: int = 0
    waits: bool = True
    """Whether what it is fed lies on the broker until it goes on: else it runs while it is fed."""

    def go(self, count: int, *, kept: bool = True) -> None:
        """Have it handle so many events."""
        topic = self.guard.topic("calllog.legs")
        before, began = legs(self.guard, topic), time.monotonic()
        if self.waits:
            self.process.send_signal(signal.SIGSTOP)
        cpu = spent(self.process.pid)
        goal = before + self.feed(count, self.next)
        self.next += count
        if self.waits:
            began = time.monotonic()
            self.process.send_signal(signal.SIGCONT)
        while legs(self.guard, topic) < goal:
            if self.process.poll() is not None:
                raise SystemExit(f"{self.name} ended: {self.guard.log.read_text()[-2000:]}")
            time.sleep(0.25)
        if kept:
            self.us.append((spent(self.process.pid) - cpu) / count * 1e6)
            self.per_s.append(count / (time.monotonic() - began))


class Field:
    """All who are compared, on one stack."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.stack, self.folder = stack, folder

    def guard(self, name: str) -> Installation:
        """Topics of its own."""
        return Installation(self.stack, self.folder / name, SESSION_MS="45000", UNIT_WAIT_MS="100")

    def process(self, guard: Installation, line: Sequence[str], **more: str) -> "subprocess.Popen[bytes]":
        """A program of a peer's, on one core."""
        own = {
            "BENCH_KAFKA": self.stack.kafka,
            "BENCH_EVENTS": guard.topic("calllog.events"),
            "BENCH_OUT": guard.topic("calllog.legs"),
            "BENCH_LEGS": guard.topic("calllog.legs"),
            "BENCH_PARTITIONS": str(guard.partitions),
            "BENCH_DATA": str(guard.directory / "agent-data"),
            "BENCH_LEG": str(LEG),
        }
        with guard.log.open("ab") as log:
            process = subprocess.Popen([*line], env=os.environ | own | more, stderr=log, stdout=log)
        guard.workers.append(process)
        return process

    def ours(self) -> Turn:
        """A protector, as operators run it."""
        guard = self.guard("ours")
        return self._reader("calllog-guard, protector", "", guard, guard.start("protector", process=True))

    def plain(self, how: str, name: str) -> Turn:
        """Plain aiokafka."""
        guard = self.guard(f"plain-{how}")
        line = [sys.executable, str(HERE / "plain.py")]
        return self._reader(name, "protects nothing", guard, self.process(guard, line, BENCH_HOW=how))

    def agent(self) -> Turn:
        """A Faust agent."""
        guard = self.guard("agent")
        line = [sys.executable, str(HERE.parent / "agent.py"), "worker", "-l", "warn"]
        lacks = "people's keys in memory alone, no erasure, no dead letters"
        return self._reader("Faust agent, idiomatic, our sealing", lacks, guard, self.process(guard, line))

    def confluent(self) -> Turn:
        """Confluent's client with rules for fields."""
        guard = self.guard("confluent")
        process = self.process(guard, [str(PEERS / "bin" / "python"), str(HERE / "confluent_fields.py")])
        lacks = "one key a topic: nobody can be erased; ids alone are encrypted; no checks"

        def feed(count: int, start: int) -> int:
            publish(guard, count, start)
            return count

        return Turn("Confluent's Python client, field rules, local KMS", lacks, guard, process, feed)

    def kroxylicious(self, name: str, batch: int) -> Turn:
        """The proxy, given records of a leg's size."""
        guard, port = self.guard(f"proxy-{batch}"), free_port()
        config = guard.directory / "proxy.yaml"
        config.write_text(PROXY.format(kafka=self.stack.kafka, port=port))
        libraries = str(PEERS / "kroxylicious" / "*")
        line = ["java", "-cp", libraries, str(HERE / "kroxylicious" / "Launcher.java"), str(config)]
        process, lacks = self.process(guard, line), "one key a topic: nobody can be erased; no checks, no tokens"

        def feed(count: int, start: int) -> int:
            many = parties(count, start)
            self._once(guard, f"127.0.0.1:{port}", many, batch)
            return many

        return Turn(f"Kroxylicious 0.10.0, {name}", lacks, guard, process, feed, waits=False)

    def _once(self, guard: Installation, servers: str, count: int, batch: int) -> None:
        line = [str(PEERS / "bin" / "python"), str(HERE / "feed_proxy.py")]
        feeder = self.process(guard, line, BENCH_KAFKA=servers, BENCH_COUNT=str(count), BENCH_BATCH=str(batch))
        if feeder.wait():
            raise SystemExit(f"the proxy was not fed: {guard.log.read_text()[-2000:]}")

    def _reader(self, name: str, lacks: str, guard: Installation, process: "subprocess.Popen[bytes]") -> Turn:
        def feed(count: int, start: int) -> int:
            publish(guard, count, start)
            return parties(count, start)

        return Turn(name, lacks, guard, process, feed)


def shown(each: Turn, ours: Turn) -> dict[str, Any]:
    """A row."""
    return {
        "name": each.name,
        "us": [round(pick(each.us), 1) for pick in (min, statistics.median, max)],
        "events_per_s": round(statistics.median(each.per_s)) if each.waits else None,
        "to_ours": round(statistics.median(a / b for a, b in zip(each.us, ours.us, strict=True)), 2),
        "rss_mb": round(psutil.Process(each.process.pid).memory_info().rss / 1e6),
        "lacks": each.lacks,
    }


def main() -> None:
    """Run all and print the table."""
    if not (PEERS / "kroxylicious").is_dir():
        raise ConfigurationError(f"no peers in {PEERS}: run `make bench-peers`")
    psutil.Process().cpu_affinity(BROKER)
    with tempfile.TemporaryDirectory() as folder, Stack(Path(folder) / "stack", "production") as stack:
        for pid in stack.pids.values():
            for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
                process.cpu_affinity(BROKER)
        table = Field(stack, Path(folder))
        all_ = {
            "ours": table.ours,
            "batches": partial(table.plain, "batches", "plain aiokafka, batches by hand"),
            "each": partial(table.plain, "each", "plain aiokafka, record by record"),
            "agent": table.agent,
            "proxy": partial(table.kroxylicious, "batches as ours", 512 << 10),
            "proxy-16": partial(table.kroxylicious, "batches of 16 KiB", 16 << 10),
            "confluent": table.confluent,
        }
        turns = [begin() for name, begin in all_.items() if name in ONLY or not ONLY]
        try:
            for each in turns:
                psutil.Process(each.process.pid).cpu_affinity(TESTED)
                each.go(WARM, kept=False)
                print(f"{each.name}: warm", file=sys.stderr)  # noqa: T201
            for number in range(ROUNDS):
                for each in turns[number % len(turns) :] + turns[: number % len(turns)]:
                    each.go(EVENTS)
                print(f"round {number + 1} of {ROUNDS}", file=sys.stderr)  # noqa: T201
            rows = [shown(each, turns[0]) for each in turns]
        finally:
            for each in turns:
                each.guard.stop()
    made = {"events": EVENTS, "rounds": ROUNDS, "rows": rows}
    Path("bench-peers.json").write_text(json.dumps(made, indent=2) + "\n")
    print("| what | CPU, us an event: min, median, max | of ours | events/s | MB | what it does not do |")  # noqa: T201
    print("|---|---|---|---|---|---|")  # noqa: T201
    for row in rows:
        cells = [row["name"], ", ".join(map(str, row["us"])), row["to_ours"], row["events_per_s"] or ""]
        print("| " + " | ".join(map(str, [*cells, row["rss_mb"], row["lacks"]])) + " |")  # noqa: T201


if __name__ == "__main__":
    main()
