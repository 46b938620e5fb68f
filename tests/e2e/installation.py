"""A whole installation of its own on a shared stack: own topics, own policy, own keys, workers as child processes."""

import asyncio
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeVar

from forked import Forked, Together
from in_process import Done, command
from kafka.errors import KafkaError
from patience import PATIENCE_S, until
from redis import Redis
from sizes import every

from calllog_guard.adapters.kafka.log import KafkaLog
from calllog_guard.adapters.kafka.writer import KafkaWriter
from calllog_guard.adapters.kms.local import FileRing, LocalKms
from calllog_guard.core.identifiers import Tenant
from calllog_guard.core.records import Output
from calllog_guard.devstack.kafka_admin import administration
from calllog_guard.devstack.supervisor import Stack
from calllog_guard.errors import LogSilentError
from calllog_guard.settings import FIRST_ROLES, ROLES
from calllog_guard.workers.keys.tenants.tenant_secrets import Vault

_DEVELOPMENT: Final = "CALLLOG_GUARD_DEVELOPMENT"
_NUMBERS: Final = count(1)
"""Two installations on one stack never have one prefix, not even by chance."""


class Installation:
    """One tenant's calllog-guard, driven as a backend and an operator would."""

    count = 0
    _admin: Any = None

    def __init__(
        self,
        stack: Stack,
        directory: Path,
        release: Path | None = None,
        name: str = "",
        /,
        *,
        identity: str = "",
        **settings: str,
    ) -> None:
        """`release` is the folder of another release's package, which then makes and runs everything."""
        self.stack, self.directory, self.release = stack, directory, release
        self.name = name or f"{secrets.token_hex(3)}{next(_NUMBERS)}"
        done = self.cli("init", str(directory), "--json")
        extra = {
            "CALLLOG_PREFIX": f"c{self.name}.",
            "PRIVACY_PREFIX": f"p{self.name}.",
            "PARTITIONS": "4",
            "UNIT_WAIT_MS": "50",
            "SESSION_MS": "6000",
            "KEYSTORE": self._database(),
            **settings,
        }
        self.environment = stack.environment | json.loads(done)["env"]
        self.environment |= {f"CALLLOG_GUARD_{name}": value for name, value in extra.items()}
        policy = directory / "policy.toml"
        policy.write_text(policy.read_text().replace('"calllog.events"', f'"c{self.name}.events"'))
        self.workers: list[subprocess.Popen[bytes]] = []
        self.log = directory / "workers.log"
        self.partitions = int(extra["PARTITIONS"])
        self.cli("topics", "create")
        self.cli("tenant", "create", "iocom", *(("--identity", identity) if identity else ()))

    def _database(self) -> str:
        """A database of its own in the shared Redis: each installation has its own guard entry."""
        Installation.count += 1
        url = self.stack.redis.rpartition("/")[0] + f"/{1 + Installation.count % 15}"
        with Redis.from_url(url) as redis:
            redis.flushdb()
        return url

    def run(self, *words: str, process: bool = False, settings: Mapping[str, str] = MappingProxyType({})) -> Done:
        """Run one command: in a process of its own where the test is about that, or about another release."""
        environment = getattr(self, "environment", {}) | {f"CALLLOG_GUARD_{k}": v for k, v in settings.items()}
        if self.release is None and not process and "crash-at" not in environment.get(_DEVELOPMENT, ""):
            return command(words, environment)
        line = [sys.executable, "-m", "calllog_guard.cli", *words]
        environment = os.environ | environment | of_release(self.release)
        done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False)
        return Done(done.returncode, done.stdout, done.stderr)

    def cli(self, *words: str, code: int | None = 0, process: bool = False) -> str:
        """Run one command; its stdout; None takes any exit code."""
        done = self.run(*words, process=process)
        assert code in {None, done.code}, f"{words[0]} ended with {done.code}: {done.out[-800:]} {done.err[-1500:]}"
        return done.out

    def start(
        self, role: str, release: Path | None = None, /, *, process: bool = False, **settings: str
    ) -> subprocess.Popen[bytes]:
        """Start a worker, of another release where one is named; with `process` in an interpreter of its own."""
        environment = os.environ | self.environment | {f"CALLLOG_GUARD_{k}": v for k, v in settings.items()}
        release = release or self.release
        self.log.touch()  # a fork opens it in its own time, and whoever waits for a line reads at once
        if release is None and not process and "PYTHONPATH" not in self.environment:
            each = [Forked(["worker", one], environment, self.log) for one in self._roles(role)]
            worker: subprocess.Popen[bytes] = each[0] if len(each) == 1 else Together(each)
        else:
            environment |= of_release(release)
            with self.log.open("ab") as log:
                line = [sys.executable, "-m", "calllog_guard.cli", "worker", role]
                worker = subprocess.Popen(line, env=environment, stderr=log, stdout=log)
        self.workers.append(worker)
        return worker

    def _roles(self, role: str) -> Sequence[str]:
        """The roles of `worker all`, or the one: ingest and sessions run where sources are named."""
        named = (self.directory / "ingest.toml").is_file()
        return [each for each in ROLES if each in FIRST_ROLES or named] if role == "all" else [role]

    def stop(self) -> None:
        """End every worker, frozen ones too, and forget what they have kept."""
        self.stop_workers()
        self.part()
        shutil.rmtree(self.directory / "state", ignore_errors=True)

    def forget(self) -> None:
        """Stop, and delete its topics: the broker's cleaner would go on looking through them for as long as it runs."""
        self.stop()
        with suppress(KafkaError), closing(administration(self.stack.kafka)) as client:
            own = [name for name in client.list_topics() if name.startswith((f"c{self.name}.", f"p{self.name}."))]
            client.delete_topics(own)

    def stop_workers(self) -> None:
        """End every worker, frozen ones too."""
        for worker in self.workers:
            if worker.poll() is None:
                worker.send_signal(signal.SIGCONT)
                worker.terminate()
        for worker in self.workers:
            try:
                worker.wait(30)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()

    @property
    def admin(self) -> Any:
        """Kafka's own client, for what asks often: a client that is made takes longer than its question."""
        if self._admin is None:
            self._admin = administration(self.stack.kafka)
        return self._admin

    def part(self) -> None:
        """Let go of it: a server may have been struck under it."""
        if self._admin is not None:
            self._admin.close()
            self._admin = None

    @property
    def vault(self) -> Vault:
        """The tenant's secrets, as whoever has the KMS of this installation opens them."""
        kms = self.directory / "kms"
        return Vault(LocalKms(kms), FileRing(kms))

    def topic(self, name: str) -> str:
        """The full name of a topic."""
        family, _, rest = name.partition(".")
        return f"{family[0]}{self.name}.{rest}"

    def publish(
        self,
        name: str,
        values: Sequence[bytes | None],
        *,
        partition: int = 0,
        key: bytes | None = None,
        role: str | None = None,
    ) -> None:
        """Append raw records, as a backend would; with `role` they bear its proof."""
        outputs = [Output(self.topic(name), partition, key, value) for value in values]
        if role is not None:
            outputs = self.vault.vouched(Tenant("iocom"), role, outputs)
        self.write(outputs)

    def write(self, outputs: Sequence[Output]) -> None:
        """Append records as they are."""

        async def go() -> None:
            writer = KafkaWriter(self.stack.kafka, {})
            await writer.start()
            try:
                await writer.write(outputs)
            finally:
                await writer.stop()

        asyncio.run(go())

    def records(self, name: str, partitions: int | None = None) -> list[Any]:
        """Every record of a topic, internal keys left out."""
        count = partitions or self.partitions
        found = asyncio.run(KafkaLog(self.stack.kafka, {}).read_all(self.topic(name), list(range(count))))
        return [record for record in found if not (record.key or b"").startswith(b"~")]

    def live(self) -> dict[bytes, bytes]:
        """The legs that a new reader would end up with."""
        state: dict[bytes, bytes] = {}
        for record in self.records("calllog.legs"):
            if record.value is None:
                state.pop(record.key, None)
            else:
                state[record.key] = record.value
        return state

    def dead(self) -> list[dict[str, Any]]:
        """The dead letters."""
        return [json.loads(record.value) for record in self.records("calllog.dead", 1)]

    def settled(
        self, condition: Callable[[], bool], what: str | Callable[[], str], seconds: float = PATIENCE_S
    ) -> None:
        """Wait until a condition holds; the only bound is generous. A broker too busy to answer is asked again."""

        def holds() -> bool:
            try:
                return condition()
            except LogSilentError:
                return False

        def told() -> str:
            return f"{what if isinstance(what, str) else what()}\n{self.log.read_text()[-3000:]}"

        until(holds, told, seconds)

    def said(self, text: str, times: int = 1) -> None:
        """Wait until the workers' log has a text so often: a line is written after what it tells of."""
        self.settled(lambda: self.log.read_text().count(text) >= times, f"the log says {text!r}")

    def page(self, path: str, number: int = -1) -> str:
        """A page of one of the workers, of the one that started last where none is named."""
        self.said('"pages": "', max(1, number + 1))
        address = re.findall(r'"pages": "([^"]+)"', self.log.read_text())[number]
        with urllib.request.urlopen(f"http://{address}{path}") as answer:
            return str(answer.read().decode())


def of_release(folder: Path | None) -> dict[str, str]:
    """What a process of another release needs in its environment; nothing for this one's."""
    return {} if folder is None else {"PYTHONPATH": str(folder)}


def by_law(policy: str) -> str:
    """A policy of `init` in which a law obliges to keep the legs of billing, so that they survive an erasure."""
    old = 'basis = "contract"\nkeep = "P6M"'
    assert policy.count(old) == 1
    return policy.replace(old, 'basis = "legal_duty"\nsurvives_erasure = true\nkeep = "P6M"')


Make = Callable[..., Installation]
Some = TypeVar("Some")


def some(steps: Sequence[Some], *usual: Some) -> list[Any]:
    """Steps to be killed at: `make test` has the named ones, `make test-all` every third, `make chaos` every one."""
    return every(
        steps if os.environ.get("EVERY_STEP") else [step for step in steps if step in {*steps[::3], *usual}], *usual
    )


def event(call: str, *parties: str, minutes_ago: float = 10, **more: Any) -> dict[str, Any]:
    """A good event."""
    start = datetime.now(UTC) - timedelta(minutes=minutes_ago)  # noqa: TID251 - tests run on the real clock
    content: dict[str, Any] = {
        "tenant": "iocom",
        "call_id": call,
        "kind": "video",
        "outcome": "answered",
        "started_at": start.isoformat(),
        "ended_at": (start + timedelta(minutes=1)).isoformat(),
        "parties": [{"id": party, "role": "guest" if at else "host"} for at, party in enumerate(parties)],
    }
    return content | more


def raw(content: Mapping[str, Any]) -> bytes:
    """An event's bytes."""
    return json.dumps(content).encode()
