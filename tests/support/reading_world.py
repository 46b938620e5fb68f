"""A call log on fakes: people with legs, a policy, readers of it."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from wrapped import Wrapped

from calllog_guard.adapters.disk.policy_file import load_policy
from calllog_guard.adapters.memory.fakes import MemoryKeystore, MemoryLogReader, MemoryWriter
from calllog_guard.adapters.sqlite_cursor import SqliteCursor
from calllog_guard.core.calls.view import Line, Put, Remove, Reset
from calllog_guard.core.crypto.entries import EPOCH_KEY, GUARD_KEY, Person, person_key
from calllog_guard.core.crypto.leg_envelope import LegHeader, seal_leg
from calllog_guard.core.crypto.subject_secrets import month_from
from calllog_guard.core.identifiers import CallId, Lookup, Pseudonym, SubjectId, Tenant, partition_of, record_key
from calllog_guard.core.policy.active import Policy
from calllog_guard.core.records import Output, tombstone
from calllog_guard.metrics import CounterMetric
from calllog_guard.settings import Settings
from calllog_guard.workers.keys.key_cache import CacheLimits
from calllog_guard.workers.keys.people.subject_keys import Keyring
from calllog_guard.workers.keys.restore_guard import guard_entry
from calllog_guard.workers.reader.follower import Following, Pace
from calllog_guard.workers.reader.follower_position import Trail, no_ids
from calllog_guard.workers.reader.once import snapshot
from calllog_guard.workers.reader.session import Hand as ReadersHand
from calllog_guard.workers.reader.session import ReaderContext, Reading
from calllog_guard.workers.reader.sources import Errand, People

TENANT, PARTITIONS = Tenant("iocom"), 2
LEGS, HELD, LEDGER, ACCESS = "calllog.legs", "calllog.held", "privacy.decisions", "privacy.access"
KEEP_MS = 86_400_000
POLICY = """
[[version]]
effective = 2026-01-01
change = "First."
[version.tenant.iocom]
regime = "uk"
events = ["calllog.events"]
[version.tenant.iocom.purposes.service]
number = 1
basis = "contract"
keep = "P90D"
shows = ["role", "started_at", "duration_s", "kind", "outcome", "parties", "subject", "call", \
"joined_at", "left_at", "ended_at"]
[version.tenant.iocom.purposes.billing]
number = 2
basis = "legal_duty"
keep = "P30D"
when = { roles = ["host"], outcomes = ["answered"] }
[version.tenant.iocom.purposes.offers]
number = 3
basis = "consent"
keep = "P90D"
[version.tenant.iocom.actors.billing-1]
purposes = ["billing"]
[version.tenant.iocom.actors.all-1]
purposes = ["service", "billing", "offers"]
"""


class Table:
    """A table downstream: by token, the fields."""

    def __init__(self) -> None:
        self.rows: dict[str, Put] = {}
        self.lines: list[Line] = []

    def apply(self, batch: list[Line]) -> None:
        """As any job does."""
        self.lines += batch
        for line in batch:
            if isinstance(line, Reset):
                self.rows.clear()
            elif isinstance(line, Remove):
                self.rows.pop(line.token, None)
            else:
                self.rows[line.token] = line


class Hand:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.at = datetime(2026, 11, 24, 9, tzinfo=UTC)

    def now(self) -> datetime:
        """See Clock."""
        return self.at


class World:
    """One tenant's call log."""

    retry_max_s = 5.0

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock, self.keystore, self.log = folder, Hand(), MemoryKeystore(), MemoryWriter()
        self.wrapped = Wrapped()
        self.vault = self.wrapped.vault()
        self.vault.create_tenant(TENANT)
        self.vault.create_epoch("2026-W48")  # type: ignore[arg-type]
        self.keystore.entries |= {GUARD_KEY: guard_entry(self.vault.guard_id()), EPOCH_KEY: b"2026-W48"}
        self.ring = self.fresh_ring()
        self.reads = MemoryLogReader(self.log)
        self.policy = self.written(POLICY)
        self.told: list[str] = []
        self.counts: Counter[CounterMetric] = Counter()

    def count(self, name: CounterMetric, by: int) -> None:
        """See the readers."""
        self.counts[name] += by

    def fresh_ring(self) -> Keyring:
        """A keyring of another process."""
        return Keyring(TENANT, self.keystore, self.vault, self.clock, CacheLimits(60, 1000), PARTITIONS)

    def written(self, text: str) -> Policy:
        """A policy from its text."""
        path = self.folder / "policy.toml"
        path.write_text(text)
        return load_policy(path)

    # --- people and their legs --------------------------------------------------------------------------------------

    def lookup(self, who: str) -> Lookup:
        """Of a subject id."""
        return self.vault.pepper(TENANT).lookup(TENANT, SubjectId(who))

    async def person(self, who: str) -> Person:
        """The person as the keystore has them; minted when new."""
        lookup = self.lookup(who)
        view = await self.ring.view([lookup])
        if self.ring.person(lookup, view.raw[lookup]) is None:
            assert await self.ring.mint({lookup: None}, view, month_from("2026-10"), month_from("2026-11"))
            view = await self.ring.view([lookup])
        found = self.ring.person(lookup, view.raw[lookup])
        assert found is not None
        return found

    async def sets(self, who: str, **flags: Any) -> None:
        """Change a person's flags, as a desk does."""
        lookup, person = self.lookup(who), await self.person(who)
        self.keystore.entries[person_key(TENANT, lookup)] = self.ring.seal_person(lookup, replace(person, **flags))

    async def name(self, who: str) -> Pseudonym:
        """The person's pseudonym."""
        name = (await self.person(who)).pseudonym
        assert name is not None
        return name

    async def leg(self, who: str, call: str = "c1", **changes: Any) -> bytes:
        """Append a leg as a protector does; its record key."""
        person, lookup = await self.person(who), self.lookup(who)
        opened = (await self.ring.open({lookup: person}))[0][lookup]
        token, revision = opened.token_key.token(CallId(call)), changes.get("revision")
        if revision is not None:
            token = opened.token_key.revised(token, CallId(call), "", revision)
        day, role, kind = changes.get("day", "2026-11-20"), changes.get("role", "host"), changes.get("kind", "video")
        text = (
            f'{{"call":"{call}","role":"{role}","joined_at":null,"left_at":null,"kind":"{kind}","outcome":"answered",'
            f'"started_at":"{day}T10:00:00Z","ended_at":"{day}T10:31:10Z","parties":2,"subject":"{who}"'
        )
        text += "}" if revision is None else f',"revision":{revision}}}'
        header = LegHeader(
            v=changes.get("v", 1),
            kid=opened.pseudonym,
            mon=day[:7],
            day=day,
            rid=token,
            pur=changes.get("mask", 7),
            pol="2026-01-01",
            ten=changes.get("tenant", TENANT),
            top=changes.get("topic", LEGS),
        )
        key = record_key(opened.pseudonym, changes.get("key", token))
        value = seal_leg(header, text.encode(), opened.data_key(month_from(day)), b"\1" * 12)
        value = changes.get("value", value)
        partition = changes.get("partition", partition_of(opened.pseudonym, PARTITIONS))
        await self.log.write([Output(LEGS, partition, key, value)])
        return key

    async def removes(self, key: bytes) -> None:
        """Append a leg's tombstone."""
        await self.log.write([tombstone(LEGS, key, PARTITIONS)])

    async def decides(self, name: Pseudonym) -> None:
        """Append a record of the ledger; what it says is not the reader's business."""
        await self.log.write([Output(LEDGER, partition_of(name, PARTITIONS), record_key(name, "D" * 21 + "A"), b"{}")])

    async def erases(self, who: str) -> Pseudonym:
        """Decide and fence, as a desk does."""
        name = await self.name(who)
        await self.decides(name)
        await self.ring.fence(self.lookup(who), 1)
        return name

    # --- readers ----------------------------------------------------------------------------------------------------

    def reading(self, purpose: str = "billing", actor: str = "all-1", hand: ReadersHand | None = None) -> Reading:
        """A reader of another process; `hand` signs what it opens."""
        source = People(LEGS, self.fresh_ring(), self.vault.pepper(TENANT), purpose, cache_entries=1000)
        errand = Errand(tenant=TENANT, purpose=purpose, actor=actor)
        settings = Settings(partitions=PARTITIONS, retry_max_s=self.retry_max_s)
        given: dict[str, Any] = {"policy": self.policy, "clock": self.clock, "writer": self.log, "hand": hand}
        return Reading(errand, source, ReaderContext(settings=settings, count=self.count, **given))

    async def all(self, reading: Reading) -> list[Line]:
        """Everything that a reader gets at once."""
        batches = snapshot(reading, MemoryLogReader(self.log), range(PARTITIONS), self.told.append)
        return [line async for batch in batches for line in batch]

    def following(self, reading: Reading, cursor: SqliteCursor, **changes: Any) -> Following:
        """A follower; everyone is looked at once, at its start, unless the test says otherwise."""
        limits: dict[str, Any] = {"round_s": 3600.0} | changes
        trail = Trail(
            log=self.reads,
            held=MemoryLogReader(self.log),
            legs=LEGS,
            copies=HELD,
            ledger=limits.pop("ledger", LEDGER),
            partitions=range(PARTITIONS),
            keep_ms=limits.pop("keep_ms", KEEP_MS),
            ids=limits.pop("ids", no_ids),
        )
        return Following(reading, reading, trail, cursor, self.told.append, Pace(**limits))

    def accesses(self) -> Sequence[Output]:
        """The access records."""
        return [output for output in self.log.outputs if output.topic == ACCESS]


Batches = AsyncIterator[list[Line]]
