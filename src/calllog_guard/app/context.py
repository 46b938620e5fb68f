"""What every worker and command shares: settings, policy, secrets, keystore, and what is known of the past."""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

from calllog_guard.adapters.disk.policy_file import load_policy
from calllog_guard.adapters.kafka.admin.topics import KafkaTopics
from calllog_guard.adapters.kafka.consumer import Consumer
from calllog_guard.adapters.kafka.log import KafkaLog, tenant_partition
from calllog_guard.adapters.kafka.probe import KafkaProbe
from calllog_guard.adapters.kafka.security import security
from calllog_guard.adapters.kafka.writer import KafkaWriter
from calllog_guard.adapters.kms.local import FileRing
from calllog_guard.adapters.kms.schemes import kms_at, ring_folder
from calllog_guard.adapters.memory.fakes import SystemClock
from calllog_guard.adapters.process.freed_memory import rest_s
from calllog_guard.adapters.redis.keystore import RedisKeystore
from calllog_guard.core.codec import BEAT, from_ms
from calllog_guard.core.crypto.entries import GUARD_KEY, guarded_key
from calllog_guard.core.crypto.jose import public_forms, signer_pem
from calllog_guard.core.identifiers import Tenant, b64, unb64
from calllog_guard.core.officers.acceptances import Accepted, accepted
from calllog_guard.core.officers.confirmations import Confirmed, confirmed
from calllog_guard.core.officers.prolongations import Prolonged, changes
from calllog_guard.core.policy.active import Policy
from calllog_guard.core.policy.changes.chain import Installed
from calllog_guard.core.policy.versions import events_named
from calllog_guard.core.stream.anchor import ANCHOR, Anchor, anchor_in
from calllog_guard.core.stream.arrival import Arrival
from calllog_guard.core.stream.letters import LETTERS_FROM
from calllog_guard.core.stream.proofs import AUDIT
from calllog_guard.core.topics import OURS, Topic
from calllog_guard.errors import ConfigurationError
from calllog_guard.metrics import Counters, Metrics
from calllog_guard.ports.log import TopicPartition, Writer
from calllog_guard.settings import Settings
from calllog_guard.workers.context import WorkerContext
from calllog_guard.workers.keys.key_cache import CacheLimits
from calllog_guard.workers.keys.people.late_events import LateLimit
from calllog_guard.workers.keys.people.subject_keys import Keyring
from calllog_guard.workers.keys.tenants.letter_keys import LIFE_S
from calllog_guard.workers.keys.tenants.tenant_secrets import Vault
from calllog_guard.workers.runtime.dead_letters import DeadLetters, OperatorKey
from calllog_guard.workers.runtime.process.health import KAFKA, KEYSTORE
from calllog_guard.workers.runtime.process.pulse import Pulse

_LETTER_LEAST: Final = 512 << 10
_LETTER_MOST: Final = 12 << 20
"""Payload bytes that a dead letter keeps: all of an allowed event, at most what `calllog.dead` takes, sealed twice."""


@dataclass
class AppContext:
    """What every worker and command shares."""

    settings: Settings
    policy: Policy
    vault: Vault
    keystore: RedisKeystore
    clock: SystemClock
    options: dict[str, Any]
    metrics: Metrics = field(default_factory=Metrics)
    seen: int = 0

    @property
    def log(self) -> KafkaLog:
        """The log, a question at a time."""
        return KafkaLog(self.settings.kafka, self.options)

    @property
    def home(self) -> int:
        """The tenant's partition of the topics that have few."""
        return tenant_partition(self.tenant, self.settings.few_partitions)

    @property
    def tenant(self) -> Tenant:
        """
        Whom this process serves: TENANT, or the only one that the policy in force names.

        Raises:
            ConfigurationError: No such tenant, or several and none is said.

        """
        tenants, named = self.policy.at(self.clock.now().date()).tenant, self.settings.tenant
        if named and named not in tenants:
            raise ConfigurationError(
                f"CALLLOG_GUARD_TENANT is {named}, but the policy in force names {', '.join(tenants)}: mend one of them"
            )
        if not named and len(tenants) > 1:
            raise ConfigurationError(
                f"the policy in force names {len(tenants)} tenants, and a process serves one: set CALLLOG_GUARD_TENANT "
                f"to one of {', '.join(tenants)}"
            )
        return Tenant(named or next(iter(tenants)))

    @property
    def keep_days(self) -> int:
        """The longest period of any purpose of any version of this tenant, in days."""
        return self.policy.keep_days(self.tenant)

    @property
    def anchor(self) -> Anchor:
        """What the ledger of this installation says at its beginning."""
        guard = b64(self.vault.guard_id()).decode()
        return Anchor(guard=guard, tenant=self.tenant, legs=self.settings.topic(Topic.LEGS))

    async def anchored(self) -> Anchor | None:
        """
        The anchor beside the policy, which is this installation's; None: it has none.

        Raises:
            LogSilentError: Kafka does not answer.
            ConfigurationError: Another installation writes this ledger.

        """
        return (await self._beside_policy())[0]

    async def _beside_policy(self) -> tuple[Anchor | None, int]:
        """The anchor, and the highest counter of a heartbeat; raises as `anchored`."""
        topic, proofs = self.settings.topic(Topic.POLICY), self.vault.proofs(self.tenant)
        records = [each for each in await self._of_policy() if each.key in {ANCHOR, BEAT}]
        beats = self.vault.heartbeats(self.tenant)
        counter = beats.highest([record for record in records if record.key == BEAT])
        found, passed = anchor_in(records, proofs, self.anchor, topic, ours=bool(beats.signers) and counter > 0)
        if passed:
            self.metrics.count(Counters.unreadable["unproven"], passed)
        return found, counter

    async def check_partitions(self) -> None:
        """
        Whether PARTITIONS is what the installation was created with; an earlier release's is in the guard's marks.

        Raises:
            ConfigurationError: It is another: what is written by it would lie where nobody looks.

        """
        made, mine = self.vault.profile(self.tenant).partitions, self.settings.partitions
        if not made:
            beside = [guarded_key(number) for number in (mine - 1, mine)]
            last, beyond = await self.keystore.read(beside)
            if beyond is None and (last is not None or await self.keystore.read([guarded_key(0)]) == [None]):
                return
        if made != mine:
            raise ConfigurationError(
                f"CALLLOG_GUARD_PARTITIONS is {mine}, and this installation was created with "
                f"{made or 'another count'}: set it "
                "to that, everywhere; it never changes, whatever partitions topics may have got since"
            )

    async def check_late(self) -> None:
        """See LateLimit: how old the events may be that a protector takes."""
        await LateLimit(self.keystore).work_under(self.settings.event_late_days)

    async def _of_policy(self) -> list[Arrival]:
        return await self.log.read_all(self.settings.topic(Topic.POLICY), [0])

    async def prolonged(self) -> list[Prolonged]:
        """
        What auditors of the tenant changed about how long topics are kept.

        Raises:
            LogSilentError: Kafka does not answer.

        """
        signer = self.vault.profile(self.tenant).signers.get(AUDIT)
        records = await self._of_policy()
        return changes(records, self.tenant, signer_pem(unb64(signer.encode()))) if signer else []

    async def accepted(self) -> list[Accepted]:
        """
        What officers of the tenant have accepted as lost.

        Raises:
            LogSilentError: Kafka does not answer.

        """
        records = await self._of_policy()
        return accepted(records, self.tenant, partial(self.policy.officer_key, self.tenant))

    async def confirmed(self) -> list[Confirmed]:
        """
        What officers of the tenant let expire at once.

        Raises:
            LogSilentError: Kafka does not answer.

        """
        records = await self._of_policy()
        return confirmed(records, self.tenant, partial(self.policy.officer_key, self.tenant))

    @property
    def events(self) -> tuple[str, ...]:
        """The topics of this tenant's events: of the version in force and of those that wait for their day."""
        return events_named(self.policy.versions, self.tenant, self.clock.now().date())

    def ring(self, tenant: Tenant, cache_entries: int = 0) -> Keyring:
        """The keyring of a tenant; `cache_entries` where fewer people than CACHE_ENTRIES are to be kept in memory."""
        settings = self.settings
        ring = Keyring(
            tenant,
            self.keystore,
            self.vault,
            self.clock,
            CacheLimits(settings.cache_s - rest_s(settings.cache_s), cache_entries or settings.cache_entries),
            settings.partitions,
        )
        ring.guard.saw(self.seen)
        ring.guard.count = self.metrics.count
        return ring

    async def look_back(self) -> None:
        """
        See the ledger's owner and its highest heartbeat: a keystore with a lower counter is older, even after a start.

        Both stand beside the policy, too: the ledger tells of holds, and protectors and readers have no right to it.

        Raises:
            LogSilentError: Kafka does not answer; nothing is known of the keystore's past.
            ConfigurationError: Another installation writes this ledger.

        """
        await self.check_partitions()
        _, counter = await self._beside_policy()
        self.seen = max(self.seen, counter)

    def context(self, ring: Keyring, writer: Writer, reader: Consumer | None = None) -> WorkerContext:
        """What a worker works with; `reader` is its own consumer, where it has one."""
        return WorkerContext(
            home=self.home,
            ring=ring,
            settings=self.settings,
            policy=self.policy,
            clock=self.clock,
            log=replace(self.log, reader=reader),
            writer=writer,
            dead=self.dead_letters(),
            count=self.metrics.count,
            level=self.metrics.level,
        )

    def pulse(self, places: Callable[[], Collection[TopicPartition]]) -> tuple[Pulse, KafkaProbe]:
        """What asks Kafka, for the leaders of these partitions, and the keystore; not yet started. Leave both."""
        kafka = KafkaProbe(self.settings.kafka, self.options, places)
        asks = {KAFKA: kafka.ask, KEYSTORE: lambda: self.keystore.read([GUARD_KEY])}
        return Pulse(asks, self.settings.silent_s, self.metrics.count), kafka

    def writer(self) -> KafkaWriter:
        """A producer, not yet started."""
        return KafkaWriter(self.settings.kafka, self.options)

    async def letter_keys(self) -> list[str]:
        """
        Make the week's keys of dead letters and of moments, and destroy those whose records are gone; their names.

        Brokers keep letters: their time is our newest heartbeat's; without it nothing is done. A key is made by the
        later of their clock and ours, and destroyed by the earlier.
        """
        settings = self.settings
        policy, beats = settings.topic(Topic.POLICY), self.vault.heartbeats(self.tenant)
        found = await self.log.newest(policy, [0], beats.ours)
        if self.vault.profile(self.tenant).forms < LETTERS_FROM or not found:
            return []
        beat, now = from_ms(max(record.timestamp for record in found)), self.clock.now()
        sealed = {Topic.DEAD: self.vault.letters, Topic.MOMENTS: self.vault.moments}
        for keys in sealed.values():
            await asyncio.to_thread(keys.renew, max(beat, now))
        admin = KafkaTopics(settings, self.options)
        try:
            kept_ms = await asyncio.to_thread(admin.kept_ms, [settings.topic(each) for each in sealed])
        finally:
            await asyncio.to_thread(admin.close)
        # a worker learns the newer key, its unit ends, and a topic's file goes a day after its letters have lapsed
        slack = timedelta(seconds=LIFE_S + settings.unit_max_s, days=1)
        gone: list[str] = []
        for topic, keys in sealed.items():
            here_ms = kept_ms.get(settings.topic(topic))
            if here_ms is not None:  # else it keeps them for ever
                kept = timedelta(milliseconds=max(here_ms, settings.kept_ms(topic) or 0))
                gone += await asyncio.to_thread(keys.destroy, min(beat, now), kept + slack)
        return gone

    def dead_letters(self) -> DeadLetters:
        """The sealer of dead letters."""
        path = Path(self.settings.operator_key)
        if not path.is_file():
            raise ConfigurationError(
                f"no operator key at {path}: run calllog-guard init, or set CALLLOG_GUARD_OPERATOR_KEY"
            )
        settings, pem = self.settings, path.read_bytes()
        try:
            seals = public_forms(pem)[1]["crv"] == "X25519"
        except ValueError:
            seals = False
        if not seals:
            raise ConfigurationError(f"CALLLOG_GUARD_OPERATOR_KEY: {path} is no X25519 public key in PEM")
        most = min(max(_LETTER_LEAST, settings.event_max_bytes, settings.ingest_body_bytes), _LETTER_MOST)
        kid, topic = path.name.removesuffix(".pem").removesuffix(".pub"), settings.topic(Topic.DEAD)
        week = self.vault.letters.newest
        return DeadLetters(topic, OperatorKey(pem, kid), self.clock, settings.few_partitions, most, week=week)


def world(settings: Settings) -> AppContext:
    """Everything that needs no connection yet."""
    kms = kms_at(settings.kms)
    ring = FileRing(ring_folder(settings.kms, settings.ring))
    policy = load_policy(Path(settings.policy))
    found = AppContext(
        settings,
        policy,
        Vault(kms, ring, life_s=settings.epoch_cache_s, legacy=policy.legacy_identity),
        RedisKeystore(
            settings.keystore, settings.keystore_replicas, list(filter(None, settings.keystore_replica_urls.split(",")))
        ),
        SystemClock(),
        security(settings.kafka_security),
    )
    ours = frozenset(map(settings.topic, OURS))

    def here() -> Installed:
        profile = found.vault.profile(found.tenant)
        return Installed(profile.lawful_from, ours, profile.alone_until)

    found.policy.here = here
    for version in found.policy.file:
        for tenant, table in version.tenant.items():
            for topic in ours & set(table.events):
                raise ConfigurationError(
                    f"version {version}, tenant {tenant}: events: {topic} is a topic of this software's own, which "
                    "would be trimmed as events are: name the backend's"
                )
    return found
