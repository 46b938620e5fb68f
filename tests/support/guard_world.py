"""Protector, desk and keeper in one process, on the fakes: log, keystore and indexes in memory, a clock set by hand."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from wrapped import Wrapped

from calllog_guard.adapters.disk.policy_file import load_policy
from calllog_guard.adapters.memory.fakes import MemoryKeystore
from calllog_guard.adapters.memory.log import MemoryIndex, MemoryLog, MemoryRows
from calllog_guard.core.cases.case import Case
from calllog_guard.core.cases.secret_cases import REFUSED, open_refusal
from calllog_guard.core.codec import Access, encode, time_text
from calllog_guard.core.crypto.entries import EPOCH_KEY, GUARD_KEY
from calllog_guard.core.crypto.jose import sign, verify
from calllog_guard.core.decisions.decision import case_id, request_name
from calllog_guard.core.identifiers import CallId, Tenant
from calllog_guard.core.identity.rules import DEFAULT
from calllog_guard.core.profile import FORMS, profile_name
from calllog_guard.core.records import Output
from calllog_guard.core.stream.arrival import Arrival
from calllog_guard.core.stream.offsets import pack
from calllog_guard.core.stream.proofs import DESK
from calllog_guard.metrics import CounterMetric, GaugeMetric
from calllog_guard.ports.fault_injection import CrashPoints
from calllog_guard.ports.log import TopicPartition
from calllog_guard.settings import Settings
from calllog_guard.workers.context import WorkerContext
from calllog_guard.workers.desk.worker import Desk
from calllog_guard.workers.keeper.context import KeeperContext
from calllog_guard.workers.keeper.worker import Keeper
from calllog_guard.workers.keys.hold_store import Safe
from calllog_guard.workers.keys.key_cache import CacheLimits
from calllog_guard.workers.keys.people.subject_keys import Keyring
from calllog_guard.workers.keys.restore_guard import guard_entry
from calllog_guard.workers.keys.rotation import epoch_of
from calllog_guard.workers.keys.tenants.tenure import Tenure, TenureWriter
from calllog_guard.workers.protector.leg_writer import Sealer
from calllog_guard.workers.protector.parking import Parking
from calllog_guard.workers.protector.worker import Protector
from calllog_guard.workers.runtime.dead_letters import DeadLetters, OperatorKey

TENANT = Tenant("iocom")
START = datetime(2026, 11, 24, 9, tzinfo=UTC)
PARTITIONS = 4
POLICY = """
[[version]]
effective = 2020-01-01
change = "First."
[version.tenant.iocom]
regime = "uk"
events = ["calllog.events"]
erasures_per_hour = 10000
exports_per_hour = 10000
changes_per_hour = 10000
[version.tenant.iocom.purposes.service]
number = 1
basis = "contract"
keep = "P90D"
[version.tenant.iocom.purposes.billing]
number = 2
basis = "legal_duty"
keep = "P6Y"
survives_erasure = true
when = { roles = ["host"], outcomes = ["answered"] }
[version.tenant.iocom.purposes.quality]
number = 3
basis = "legitimate_interests"
keep = "P60D"
on_objection = "grant"
[version.tenant.iocom.requesters.backend-1]
role = "backend"
key = "backend-1.pub.pem"
[version.tenant.iocom.requesters.officer-1]
role = "officer"
key = "officer-1.pub.pem"
[version.tenant.iocom.actors.billing-1]
purposes = ["billing"]
"""
BARE = POLICY
"""Without a gateway."""
POLICY += """\
[version.tenant.iocom.person_notices]
key = "operator-1.pub.pem"
told = ["lifting", "disclosed"]
"""


class Crash(BaseException):
    """The process dies here: no handler of ours may catch it."""


class Fuse:
    """Blows at one write to the log or the keystore, before or after it took effect."""

    def __init__(self) -> None:
        self.at, self.after, self.count = -1, False, 0

    def before(self) -> None:
        """A write is about to be made."""
        self.count += 1
        if self.count == self.at and not self.after:
            raise Crash

    def done(self) -> None:
        """It was made."""
        if self.count == self.at and self.after:
            raise Crash


class FusedLog(MemoryLog):
    """A log whose writes may be the last thing a process does; `calls` counts how often it was asked."""

    def __init__(self, clock: "Hand", fuse: Fuse) -> None:
        super().__init__(clock)
        self._fuse, self.calls = fuse, 0

    async def write(self, outputs: Sequence[Output]) -> None:
        """See Writer."""
        if outputs:
            self.calls += 1
            self._fuse.before()
        await super().write(outputs)
        if outputs:
            self._fuse.done()


class FusedKeystore(MemoryKeystore):
    """A keystore whose writes may be the last thing a process does."""

    def __init__(self, fuse: Fuse) -> None:
        super().__init__()
        self._fuse, self.calls = fuse, 0

    def _answer(self) -> None:
        self.calls += 1
        super()._answer()

    async def put(self, entries: Mapping[bytes, bytes]) -> None:
        """See Keystore."""
        self._fuse.before()
        await super().put(entries)
        self._fuse.done()

    async def put_new(self, entries: Mapping[bytes, bytes]) -> bool:
        """See Keystore."""
        self._fuse.before()
        found = await super().put_new(entries)
        self._fuse.done()
        return found

    async def swap(
        self, changes: Mapping[bytes, tuple[bytes | None, bytes]], unchanged: Mapping[bytes, bytes | None]
    ) -> bool:
        """See Keystore."""
        self._fuse.before()
        found = await super().swap(changes, unchanged)
        self._fuse.done()
        return found

    async def delete(self, keys: Sequence[bytes]) -> None:
        """See Keystore."""
        self._fuse.before()
        await super().delete(keys)
        self._fuse.done()

    async def drop(self, key: bytes, unchanged: Mapping[bytes, bytes | None]) -> bool:
        """See Keystore."""
        self._fuse.before()
        found = await super().drop(key, unchanged)
        self._fuse.done()
        return found


class Hand:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.at = START

    def now(self) -> datetime:
        """See Clock."""
        return self.at


def write_keys(folder: Path) -> None:
    """Key pairs of a backend, two officers, two actors, a thief and the operator."""
    none, pem = serialization.NoEncryption(), serialization.Encoding.PEM
    keys: dict[str, Ed25519PrivateKey | X25519PrivateKey] = {
        "backend-1": Ed25519PrivateKey.generate(),
        "officer-1": Ed25519PrivateKey.generate(),
        "officer-2": Ed25519PrivateKey.generate(),
        "billing-1": Ed25519PrivateKey.generate(),
        "support-1": Ed25519PrivateKey.generate(),
        "thief-1": Ed25519PrivateKey.generate(),
        "operator-1": X25519PrivateKey.generate(),
    }
    for name, key in keys.items():
        (folder / f"{name}.pem").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, none))
        (folder / f"{name}.pub.pem").write_bytes(
            key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
        )


class GuardWorld:
    """A tenant's installation in memory; with `gateway` people due to be told are told at once, as `backend` says."""

    backend, gateway = "backend-1", True
    acknowledged: set[str]

    def __init__(
        self,
        folder: Path,
        policy: str = POLICY,
        *,
        forms: int = FORMS,
        rules: tuple[str, ...] = DEFAULT,
        **settings: Any,
    ) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        write_keys(folder)
        (folder / "policy.toml").write_text(policy)
        self.policy = load_policy(folder / "policy.toml")
        self.settings = Settings(partitions=PARTITIONS, event_late_days=400, state_dir=str(folder), **settings)
        self.clock, self.fuse = Hand(), Fuse()
        self.log, self.keystore = FusedLog(self.clock, self.fuse), FusedKeystore(self.fuse)
        self.wrapped = Wrapped()
        self.vault = self.wrapped.vault()
        self.vault.create_tenant(TENANT, rules)
        if forms < FORMS:  # as an earlier release made it
            self.vault = self.wrapped.without(profile_name(TENANT, 1))
        self.vault.create_epoch(epoch_of(START))
        self.keystore.entries |= {GUARD_KEY: guard_entry(self.vault.guard_id()), EPOCH_KEY: epoch_of(START).encode()}
        self.counts: Counter[CounterMetric] = Counter()
        self.levels: dict[GaugeMetric, float] = {}
        self.indexes: dict[Path, MemoryIndex] = {}
        self.rows: dict[Path, MemoryRows] = {}
        self.positions: dict[tuple[str, str, int], int] = {}
        self.calls = 0
        self.names: dict[str, str] = {}

    async def start(self) -> "GuardWorld":
        """Open a new keystore and start every worker."""
        await self.ring().guard.open_at_once(PARTITIONS)
        await self.restart()
        return self

    def ring(self) -> Keyring:
        """A keyring that has seen nothing."""
        return Keyring(TENANT, self.keystore, self.vault, self.clock, CacheLimits(60, 1000), PARTITIONS)

    def count(self, name: CounterMetric, by: int) -> None:
        """See the workers."""
        self.counts[name] += by

    async def restart(self, *, rebuild: bool = False) -> None:
        """All workers anew, as after a crash; with `rebuild` the indexes are lost too."""
        self.fuse.at = -1
        if rebuild:
            self.indexes.clear()
            self.rows.clear()
        for index in self.indexes.values():
            index.reopened()
        self.protector, self.desk, self.keeper = self._protector(), self._desk(), self._keeper()
        for role in (self.protector, self.desk, self.keeper):
            homes = [0] if role is self.desk else list(range(PARTITIONS))
            for place, offset in (await role.assigned(homes)).items():
                self.positions[role.name, place.topic, place.partition] = offset

    def context(self) -> WorkerContext:
        """What a worker that has seen nothing works with."""
        dead = OperatorKey((self.folder / "operator-1.pub.pem").read_bytes())
        return WorkerContext(
            home=0,
            ring=self.ring(),
            settings=self.settings,
            policy=self.policy,
            clock=self.clock,
            log=self.log,
            writer=self.log,
            dead=DeadLetters("calllog.dead", dead, self.clock, 1),
            count=self.count,
            level=self.levels.__setitem__,
        )

    def _protector(self) -> Protector:
        context = self.context()
        parking = Parking(context, lambda: [("calllog.events", partition) for partition in range(PARTITIONS)])
        return Protector(context, ("calllog.events",), Sealer(context), parking)

    def _desk(self) -> Desk:
        context = self.context()
        ring = context.ring
        tenure = ring.tenure = Tenure(TENANT, self.keystore)
        writer = TenureWriter(self.log, tenure, CrashPoints(frozenset()), ring.guard.vouched)
        desk = Desk(replace(context, writer=writer, level=lambda _name, _value: None), tenure)
        self.book = desk._book
        return desk

    def safe(self) -> Safe:
        """The holds' entries."""
        return Safe(self.ring())

    def _keeper(self) -> Keeper:
        async def reached(topic: str, partition: int) -> int:
            return self.positions.get(("keeper", topic, partition), 0)

        return Keeper(
            KeeperContext.of(
                self.context(),
                safe=self.safe(),
                open_index=lambda path: self.indexes.setdefault(path, MemoryIndex()),
                open_rows=lambda path: self.rows.setdefault(path, MemoryRows()),
                reached=reached,
            )
        )

    # --- running ----------------------------------------------------------------------------------------------------

    async def step(self, name: str, most: int = 1000) -> bool:
        """One poll and what is due after it, of one worker; whether there was anything to read."""
        role: Any = {"protector": self.protector, "desk": self.desk, "keeper": self.keeper}[name]
        unit: dict[TopicPartition, list[Arrival]] = {}
        for topic in role.topics:
            for partition in range(PARTITIONS):
                at = self.positions.get((name, topic, partition), 0)
                found = self.log.records[topic, partition][at : at + most]
                if found:
                    unit[TopicPartition(topic, partition)] = found
        if unit:
            await role.unit(unit)
            for place, records in unit.items():
                self.positions[name, place.topic, place.partition] = records[-1].offset + 1
        await role.idle()
        return bool(unit)

    async def run(self, rounds: int = 60) -> int:
        """Every worker in turn until nothing is left to do; how many rounds that took."""
        for number in range(rounds):
            written = self.log.calls
            moved = [await self.step(name) for name in ("protector", "desk", "keeper")]
            told = self.gateway and await self.acknowledge()
            if not any(moved) and not self.waiting() and self.log.calls == written and not told:
                return number
        raise AssertionError(f"not at rest after {rounds} rounds")

    async def acknowledge(self) -> bool:
        """The gateway has told whoever a case waits for, and the backend says so; whether there was one."""
        names = [(case.case, f"told-{case.case}") for case in self.book if case.announcing]
        wanted = [(case, jti) for case, jti in names if jti not in vars(self).setdefault("acknowledged", set())]
        blows, count = self.fuse.at, self.fuse.count
        self.fuse.at = -1  # it is no worker that writes this
        for case, jti in wanted:
            self.acknowledged.add(jti)
            await self.ask(jti, "clock", key=self.backend, case=case, event="noticed", to="person")
        self.fuse.at, self.fuse.count = blows, count
        return bool(wanted)

    def waiting(self) -> int:
        """How many decisions the keeper has still to carry out."""
        return sum(len(shard.pending) for shard in self.keeper._shards.values())

    async def run_with_crashes(self, at: int, *, after: bool, rebuild: bool) -> bool:
        """As `run`, but the process dies at the write number `at`; whether there were so many."""
        self.fuse.at, self.fuse.after, self.fuse.count = at, after, 0
        try:
            await self.run()
        except Crash:
            await self.restart(rebuild=rebuild)
            await self.run()
            return True
        return False

    # --- what a backend and an officer do ---------------------------------------------------------------------------

    def reference(self, call: str) -> str:
        """By what records name a call."""
        return self.vault.call_key(TENANT).reference(CallId(call))

    async def call(self, name: str, *parties: str, days_ago: float = 1, outcome: str = "answered") -> None:
        """Publish an event."""
        start = self.clock.at - timedelta(days=days_ago)
        content = {
            "tenant": TENANT,
            "call_id": name,
            "kind": "video",
            "outcome": outcome,
            "started_at": start.isoformat(),
            "ended_at": (start + timedelta(minutes=1)).isoformat(),
            "parties": [{"id": party, "role": "guest" if at else "host"} for at, party in enumerate(parties)],
        }
        await self.log.write([Output("calllog.events", 0, name.encode(), json.dumps(content).encode())])

    async def ask(self, jti: str, kind: str, *subjects: str, key: str = "backend-1", **more: Any) -> None:
        """Send a signed request; an `order` where no backend sees it."""
        now, order = int(self.clock.at.timestamp()), more.pop("order", False)
        self.names[jti] = request_name(key, jti, self.vault.profile(TENANT).forms)
        claims = {
            "v": 1,
            "iss": key,
            "aud": "calllog-guard",
            "tenant": TENANT,
            "jti": jti,
            "iat": now,
            "exp": now + 600,
            "received_at": time_text(self.clock.at),
            "type": kind,
            "subjects": list(subjects),
            "identity": "verified",
            **more,
        }
        token = sign((self.folder / f"{key}.pem").read_bytes(), key, json.dumps(claims).encode())
        place = ("privacy.orders", 0, jti.encode()) if order else ("privacy.requests", 0, b"iocom")
        await self.log.write([Output(*place, token.encode())])

    async def as_desk(self, *outputs: Output) -> None:
        """Write what bears the desk's proof, whoever wrote it."""
        await self.log.write(self.vault.vouched(TENANT, DESK, outputs))

    async def hold(self, jti: str, name: str, *subjects: str, secret: bool = False, **more: Any) -> None:
        """An officer orders a hold."""
        hold = {
            "id": name,
            "authority": "Court",
            "basis": "legal_claims",
            "review_at": "2027-06-01T00:00:00Z",
            "secret": secret,
            **more,
        }
        await self.ask(jti, "hold", *subjects, key="officer-1", order=self.book.ordered, hold=hold)

    async def release(self, jti: str, name: str) -> None:
        """An officer releases a hold."""
        await self.ask(jti, "release", key="officer-1", order=self.book.ordered, hold={"id": name})

    async def opened(
        self, actor: str, places: Mapping[int, Sequence[int]] | None = None, *, which: bool = True
    ) -> None:
        """A credential has opened legs, by partition, or every leg that there is, and that is on record."""
        lanes = {partition: self.log.records["calllog.legs", partition] for partition in range(PARTITIONS)}
        every = {partition: [each.offset for each in lane] for partition, lane in lanes.items() if lane}
        for partition, offsets in (every if places is None else places).items():
            access = Access(
                v=1, actor=actor, purpose="billing", case=None, topic="calllog.legs", partition=partition,
                from_=min(offsets),
                to=max(offsets), opened=len(offsets), refused={}, at=self.clock.at,
                which=pack(offsets, min(offsets)) if which else msgspec.UNSET,
            )  # fmt: skip
            await self.log.write([Output("privacy.access", 0, actor.encode(), encode(access))])

    # --- what can be seen -------------------------------------------------------------------------------------------

    def id_of(self, jti: str) -> str:
        """The case of a request, as its requester's."""
        own, plus, more = jti.partition("+")
        name = self.names.get(own) or request_name("backend-1", own, self.vault.profile(TENANT).forms)
        return case_id(TENANT, name + plus + more)

    def case(self, jti: str) -> Case:
        """A case, secret or not."""
        case = self.book.get(self.id_of(jti))
        assert case is not None, f"no case of {jti}"
        return case

    def receipts(self, jti: str) -> list[dict[str, Any]]:
        """The claims of the receipts that were published for a request."""
        from calllog_guard.core.crypto.jose import receipt_pem  # noqa: PLC0415

        public, name = receipt_pem(self.vault.receipt_key(TENANT))[1], self.id_of(jti).encode()
        records = self.log.records["privacy.receipts", 0]
        return [json.loads(verify(public, each.value.decode())) for each in records if each.key == name and each.value]

    def dead(self) -> list[str]:
        """The reasons of the dead letters, in the order of what they are about."""
        found = [json.loads(each.value) for each in self.log.records["calllog.dead", 0] if each.value]
        return [each["reason"] for each in sorted(found, key=lambda each: each["offset"])]

    def refused(self) -> list[str]:
        """Why orders were not taken, in their order."""
        key, lane = self.vault.case_key(TENANT), self.log.records["privacy.orders", 0]
        told = [each for each in lane if (each.key or b"").startswith(REFUSED)]
        found = [open_refusal(each.key or b"", each.value or b"", key) for each in told]
        return [each.reason for each in sorted(found, key=lambda each: each.offset)]

    def legs(self) -> dict[bytes, bytes]:
        """The living legs."""
        return self.log.live("calllog.legs")

    def held(self) -> dict[bytes, bytes]:
        """The living copies."""
        return self.log.live("calllog.held")

    def held_of(self, name: str) -> list[bytes]:
        """The living copies of a hold, by its key id."""
        return [key for key in self.held() if key.startswith(name.encode() + b".")]
