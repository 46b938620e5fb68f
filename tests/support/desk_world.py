"""A desk on the fakes: a log in a list, a keystore in memory, a set clock; its process dies where tests say."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from wrapped import Wrapped

from calllog_guard.adapters.disk.policy_file import load_policy
from calllog_guard.adapters.memory.fakes import MemoryKeystore
from calllog_guard.adapters.memory.log import MemoryLog
from calllog_guard.core.cases.case import CASES, Case
from calllog_guard.core.cases.notices import NOTICES, WORDS, Notice, Words
from calllog_guard.core.codec import decode
from calllog_guard.core.crypto.entries import EPOCH_KEY, GUARD_KEY
from calllog_guard.core.crypto.jose import new_pair, open_sealed, sign
from calllog_guard.core.crypto.subject_secrets import month_of
from calllog_guard.core.decisions.decision import case_id, request_name
from calllog_guard.core.decisions.hold import READY
from calllog_guard.core.decisions.outcome import TO_DESK, Outcome
from calllog_guard.core.identifiers import Tenant
from calllog_guard.core.records import Output
from calllog_guard.core.stream.arrival import Arrival, arrival
from calllog_guard.metrics import CounterMetric, GaugeMetric
from calllog_guard.ports.fault_injection import CrashPoints
from calllog_guard.ports.log import Place, TopicPartition
from calllog_guard.settings import Settings
from calllog_guard.workers.context import WorkerContext
from calllog_guard.workers.desk.worker import Desk
from calllog_guard.workers.keys.key_cache import CacheLimits
from calllog_guard.workers.keys.people.naming import Naming
from calllog_guard.workers.keys.people.subject_keys import Keyring
from calllog_guard.workers.keys.restore_guard import guard_entry
from calllog_guard.workers.keys.rotation import epoch_of
from calllog_guard.workers.keys.tenants.tenure import Tenure, TenureWriter
from calllog_guard.workers.runtime.dead_letters import DeadLetters, OperatorKey

TENANT = Tenant("iocom")
START = datetime(2026, 11, 24, 9, tzinfo=UTC)
CANARY = "canary-alice@example.org"
POLICY = """
[[version]]
effective = 2020-01-01
change = "First."
[version.tenant.iocom]
regime = "uk"
events = ["calllog.events"]
[version.tenant.iocom.purposes.service]
number = 1
basis = "contract"
keep = "P90D"
[version.tenant.iocom.purposes.fraud]
number = 5
basis = "legitimate_interests"
keep = "P60D"
on_objection = "review"
[version.tenant.iocom.requesters.backend-1]
role = "backend"
key = "backend-1.pub.pem"
[version.tenant.iocom.requesters.officer-1]
role = "officer"
key = "officer-1.pub.pem"
[version.tenant.iocom.requesters.officer-2]
role = "officer"
key = "officer-2.pub.pem"
[version.tenant.iocom.recipients.invoicing]
key = "invoicing.pub.pem"
told = ["erased", "rectified", "restricted", "lifting"]
[version.tenant.iocom.person_notices]
key = "gateway.pub.pem"
told = ["erased", "restricted", "lifting", "disclosed", "extended", "refused"]
"""


class DiedError(BaseException):
    """The process ends here: no handler of ours may catch it."""


class DyingWriter:
    """A log that remembers write by write; after `left` writes the process dies."""

    def __init__(self) -> None:
        self.writes: list[list[Output]] = []
        self.left = -1

    async def write(self, outputs: Sequence[Output]) -> None:
        """See Writer."""
        if not outputs:
            return
        if self.left == 0:
            raise DiedError
        self.left -= 1
        self.writes.append(list(outputs))

    async def withdraw(self) -> None:
        """See Writer."""


class WrittenLog(MemoryLog):
    """What a desk has written, as it reads it."""

    def __init__(self, world: "DeskWorld") -> None:
        super().__init__(world)
        self._world = world

    def lane(self, place: Place) -> list[Arrival]:
        """The records of a partition."""
        ms = int(self._world.at.timestamp() * 1000)
        found = [output for output in self._world.written(place[0]) if output.partition == place[1]]
        return [arrival(place, at, ms, each.key, each.value, each.headers) for at, each in enumerate(found)]


class DeskWorld:
    """One tenant's desk, and what it wrote."""

    def __init__(self, folder: Path, policy: str = POLICY, **settings: Any) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("backend-1", "backend-2", "officer-1", "officer-2"):
            self._pair(name, signs=True)
        for name in ("invoicing", "gateway", "operator-1", "asker"):
            self._pair(name, signs=False)
        (folder / "policy.toml").write_text(policy)
        self.policy = load_policy(folder / "policy.toml")
        self.settings = Settings(partitions=4, state_dir=str(folder), **settings)
        self.at, self.writer, self.keystore = START, DyingWriter(), MemoryKeystore()
        self.wrapped = Wrapped()
        self.vault = self.wrapped.vault()
        self.vault.create_tenant(TENANT)
        self.vault.create_epoch(epoch_of(START))
        self.keystore.entries |= {GUARD_KEY: guard_entry(self.vault.guard_id()), EPOCH_KEY: epoch_of(START).encode()}
        self.counts: Counter[CounterMetric] = Counter()
        self.levels: dict[GaugeMetric, float] = {}
        self.asked: list[Arrival] = []
        self.names: dict[str, str] = {}
        self.readers: tuple[str, ...] | None = ("billing-1",)

    def _pair(self, name: str, *, signs: bool) -> None:
        private, public = new_pair(signs=signs)
        (self.folder / f"{name}.pem").write_bytes(private)
        (self.folder / f"{name}.pub.pem").write_bytes(public)

    def now(self) -> datetime:
        """See Clock."""
        return self.at

    def count(self, name: CounterMetric, by: int) -> None:
        """See the workers."""
        self.counts[name] += by

    async def start(self) -> "DeskWorld":
        """Open the keystore and start the desk."""
        await self.ring().guard.open_at_once(4)
        await self.restart()
        await self.meet(CANARY)
        return self

    async def meet(self, *subjects: str) -> None:
        """Have people known, as if they had called."""
        naming, ring = Naming(TENANT, self.vault), self.ring()
        wanted = [naming.names(subject, "/subjects").lookup for subject in subjects]
        month = month_of(self.at.year, self.at.month)
        assert await ring.mint(dict.fromkeys(wanted), await ring.view(wanted), month, month)

    async def done(self, jti: str, stage: Any, legs: int = 1) -> None:
        """A keeper has carried out what was decided in a case."""
        await self.told(self.case(jti), stage, legs)

    async def told(self, case: Case, stage: Any, legs: int) -> None:
        """The same of a case."""
        key = self.vault.outcome_key(TENANT)
        told = [
            key.vouched(
                Outcome(
                    tenant=TENANT, case=case.case, decision=each, stage=stage, partition=0, legs=legs, barrier=0,
                    up_to=0,
                    by="keeper", at=self.at,
                ),
                TO_DESK,
            )
            for each in case.decisions
        ]  # fmt: skip
        ms, name = int(self.at.timestamp() * 1000), case.case.encode()
        records = [Arrival("privacy.outcomes", 0, at, name, value, ms) for at, value in enumerate(told)]
        await self.desk.unit({TopicPartition("privacy.outcomes", 0): records})

    def ring(self) -> Keyring:
        """A keyring that has seen nothing."""
        return Keyring(TENANT, self.keystore, self.vault, self, CacheLimits(60, 100), 4)

    async def restart(self) -> None:
        """The desk anew, as after a crash."""
        self.writer.left = -1
        ring, settings = self.ring(), self.settings
        tenure = ring.tenure = Tenure(TENANT, self.keystore)
        writer = TenureWriter(self.writer, tenure, CrashPoints(frozenset()), ring.guard.vouched)
        dead = OperatorKey((self.folder / "operator-1.pub.pem").read_bytes())
        context = WorkerContext(
            home=0,
            ring=ring,
            settings=settings,
            policy=self.policy,
            clock=self,
            log=WrittenLog(self),
            writer=writer,
            dead=DeadLetters("calllog.dead", dead, self, 1),
            count=self.count,
            level=self.levels.__setitem__,
        )
        self.desk = Desk(context, tenure)
        self.book = self.desk._book
        await self.desk.assigned([0])

    def written(self, topic: str) -> list[Output]:
        """Everything in a topic."""
        return [output for write in self.writer.writes for output in write if output.topic == topic]

    async def ask(self, jti: str, *subjects: str, by: str = "backend-1", **more: Any) -> None:
        """Send a request; it is handled at once."""
        self.send(jti, *subjects, by=by, **more)
        await self.again()

    def send(self, jti: str, *subjects: str, by: str = "backend-1", **more: Any) -> None:
        """A request that the desk has not read yet."""
        now = int(self.at.timestamp())
        self.names[jti] = request_name(by, jti, self.vault.profile(TENANT).forms)
        content = {
            "v": 1,
            "iss": by,
            "aud": "calllog-guard",
            "tenant": "iocom",
            "jti": jti,
            "iat": now,
            "exp": now + 600,
            "received_at": self.at.isoformat(),
            "subjects": list(subjects),
            "identity": "verified",
            **more,
        }
        token = sign((self.folder / f"{by}.pem").read_bytes(), by, msgspec.json.encode(content)).encode()
        self.asked.append(Arrival("privacy.requests", 0, len(self.asked), b"iocom", token, now * 1000))

    async def again(self) -> None:
        """Handle the last request, for the first time or once more."""
        place = TopicPartition("privacy.requests", 0)
        await self.desk.unit({place: [self.asked[-1]]})
        for case in [each for each in self.book.every() if each.jti.endswith(READY) and not each.progress]:
            await self.told(case, "copied", 1)  # there is something to disclose
        await self.traced()

    async def traced(self) -> None:
        """Keepers say where records had gone, of every decision not yet told: `readers` have opened them."""
        for case in list(self.book) if self.readers is not None else ():
            for name, trace in (case.traces or {}).items():
                if trace.given is msgspec.UNSET:
                    await self.trace(case, name, *(self.readers or ()))

    async def trace(self, case: Case, decision: str, *readers: str) -> None:
        """A keeper says who has opened the records that a decision is about."""
        outcome = Outcome(
            tenant=TENANT, case=case.case, decision=decision, stage="traced", partition=0, legs=1, barrier=0, up_to=0,
            by="keeper", at=self.at, readers=readers or msgspec.UNSET,
        )  # fmt: skip
        raw, ms = self.vault.outcome_key(TENANT).vouched(outcome, TO_DESK), int(self.at.timestamp() * 1000)
        record = Arrival("privacy.outcomes", 0, 0, case.case.encode(), raw, ms)
        await self.desk.unit({TopicPartition("privacy.outcomes", 0): [record]})

    async def later(self, **time: float) -> None:
        """Let time pass, and the desk look."""
        self.at += timedelta(**time)
        await self.desk.idle()

    async def noticed(self, jti: str, to: str = "person", by: str = "backend-1") -> None:
        """An addressee has acknowledged what a case has told it."""
        name = f"noticed-{len(self.asked)}"
        await self.ask(name, by=by, type="clock", case=self.case(jti).case, event="noticed", to=to)

    def id_of(self, jti: str) -> str:
        """The case of a request, as its requester's."""
        own, plus, more = jti.partition("+")
        name = self.names.get(own) or request_name("backend-1", own, self.vault.profile(TENANT).forms)
        return case_id(TENANT, name + plus + more)

    def case(self, jti: str) -> Case:
        """A case as its topic has it."""
        name = self.id_of(jti)
        found = [each.value for each in self.written("privacy.cases") if each.key == name.encode()]
        assert found[-1] is not None
        return decode(CASES, found[-1])

    def case_key(self, jti: str) -> bytes:
        """A case's record key."""
        return self.id_of(jti).encode()

    def notices(self) -> list[Notice]:
        """Every notice, repeats too."""
        return [decode(NOTICES, each.value or b"") for each in self.written("privacy.notices")]

    def words(self, notice: Notice) -> Words:
        """What a notice says to whom it is for."""
        name = "gateway" if notice.to == "person" else notice.to
        return decode(WORDS, open_sealed((self.folder / f"{name}.pem").read_bytes(), notice.jwe))

    def named(self) -> list[str]:
        """The notices by addressee and kind."""
        return [f"{each.to}/{each.kind}" for each in self.notices()]

    def reasons(self) -> list[str]:
        """The dead letters' reasons."""
        return [msgspec.json.decode(each.value or b"")["reason"] for each in self.written("calllog.dead")]
