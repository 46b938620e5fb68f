"""Puts the parts together: settings and policy in, running workers out."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from calllog_guard.adapters.http_cleaner import HttpCleaners, pages
from calllog_guard.adapters.kafka_admin import KafkaTopics
from calllog_guard.adapters.kafka_log import (
    consumer,
    fetch,
    offset_at,
    offsets,
    position,
    read_all,
    read_each,
    tail,
    tenant_partition,
)
from calllog_guard.adapters.kafka_newest import newest, oldest
from calllog_guard.adapters.kafka_security import security
from calllog_guard.adapters.kafka_writer import KafkaWriter
from calllog_guard.adapters.kms_address import kms_at, ring_folder
from calllog_guard.adapters.kms_local import FileRing
from calllog_guard.adapters.memory import SystemClock
from calllog_guard.adapters.redis_keystore import RedisKeystore
from calllog_guard.adapters.rocksdb_index import RocksIndex
from calllog_guard.adapters.segment_files import look_at_replica, replicas
from calllog_guard.core.absence import Look
from calllog_guard.core.anchor import ANCHOR, ANCHORS, Anchor, check_anchor
from calllog_guard.core.crypto.sealed import public_forms
from calllog_guard.core.ids import Tenant, b64
from calllog_guard.core.policy.versions import events_named
from calllog_guard.core.requests.case import CASES, Case
from calllog_guard.core.requests.decision import DECISIONS
from calllog_guard.core.requests.outcome import DONE, is_result
from calllog_guard.core.wire import BEAT, BEATS, decode
from calllog_guard.errors import ConfigurationError, MessageError
from calllog_guard.policy import Policy, load_policy
from calllog_guard.ports import Writer
from calllog_guard.settings import Settings
from calllog_guard.workers.auditor import Auditor
from calllog_guard.workers.casebook import Casebook
from calllog_guard.workers.decide import Decider
from calllog_guard.workers.delivery import DeadLetters, Delivery, Role, Steps
from calllog_guard.workers.desk import Desk, Office
from calllog_guard.workers.duties import Duty
from calllog_guard.workers.holds import Archive, Holds
from calllog_guard.workers.keeper import Keeper
from calllog_guard.workers.keyring import Keyring
from calllog_guard.workers.notices import Notices
from calllog_guard.workers.protector import Protector
from calllog_guard.workers.receipts import Receipts
from calllog_guard.workers.safe import Safe
from calllog_guard.workers.sealer import Count, Sealer
from calllog_guard.workers.tools import Tools
from calllog_guard.workers.vault import Vault
from calllog_guard.workers.walk import Periods, Walk, Walked


@dataclass
class World:
    """What every worker and command shares."""

    settings: Settings
    policy: Policy
    vault: Vault
    keystore: RedisKeystore
    clock: SystemClock
    options: dict[str, Any]
    counts: Counter[str]
    levels: dict[str, float] = field(default_factory=dict)
    seen: int = 0

    def level(self, name: str, value: float) -> None:
        """Show a present value."""
        self.levels[name] = value

    def count(self, name: str, by: int) -> None:
        """Add to a counter."""
        self.counts[name] += by

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
                f"the policy in force names {len(tenants)} tenants, and a process serves one: set CALLLOG_GUARD_TENANT to one "
                f"of {', '.join(tenants)}"
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
        return Anchor(guard=guard, tenant=self.tenant, legs=self.settings.topic("calllog.legs"))

    async def anchored(self) -> Anchor | None:
        """
        The anchor beside the policy, which is this installation's; None: it has none.

        Raises:
            LogSilentError: Kafka does not answer.
            ConfigurationError: Another installation writes this ledger.

        """
        topic = self.settings.topic("privacy.policy")
        raw = await oldest(self.settings.kafka, self.options, topic, 0, ANCHOR)
        if raw is None:
            return None
        try:
            found = decode(ANCHORS, raw)
        except MessageError as error:
            raise ConfigurationError(
                f"the first {ANCHOR.decode()} of {topic} is none of ours ({error.reason})"
            ) from None
        check_anchor(found, self.anchor, topic)
        return found

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
            cache_s=settings.cache_s,
            cache_entries=cache_entries or settings.cache_entries,
            partitions=settings.partitions,
        )
        ring.guard.saw(self.seen)
        return ring

    async def look_back(self) -> None:
        """
        See whose the ledger is, and the newest heartbeat: a keystore with a lower counter is an older one, also for who has just started.

        Both stand beside the policy, too: the ledger tells of holds, and protectors and readers have no right to it.

        Raises:
            LogSilentError: Kafka does not answer; nothing is known of the keystore's past.
            ConfigurationError: Another installation writes this ledger.

        """
        await self.anchored()
        topic = self.settings.topic("privacy.policy")
        for beat in await newest(self.settings.kafka, self.options, topic, [0], BEAT):
            with suppress(MessageError):  # not written by an auditor
                self.seen = max(self.seen, decode(BEATS, beat).counter)

    def sealer(self, ring: Keyring, writer: Writer, count: Count, *, returns: bool = True) -> Sealer:
        """What seals calls of this installation's tenant."""
        return Sealer(
            ring.tenant,
            ring,
            self.vault.pepper(ring.tenant),
            writer,
            self.policy,
            self.settings,
            self.clock,
            count,
            keep_days=self.keep_days,
            returns=returns,
        )

    def writer(self) -> KafkaWriter:
        """A producer, not yet started."""
        return KafkaWriter(self.settings.kafka, self.options)

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
        return DeadLetters(settings.topic("calllog.dead"), pem, self.clock, settings.few_partitions)


def world(settings: Settings) -> World:
    """Everything that needs no connection yet."""
    kms = kms_at(settings.kms)
    ring = FileRing(ring_folder(settings.kms, settings.ring))
    return World(
        settings,
        load_policy(Path(settings.policy)),
        Vault(kms, ring, life_s=settings.epoch_cache_s),
        RedisKeystore(
            settings.keystore, settings.keystore_replicas, list(filter(None, settings.keystore_replica_urls.split(",")))
        ),
        SystemClock(),
        security(settings.kafka_security),
        Counter(),
    )


def serve(shared: World, name: str, writer: KafkaWriter, duties: Sequence[Duty] = ()) -> Delivery:
    """One worker: its role on its consumer group, and what it does beside it."""
    settings = shared.settings
    group = f"{settings.calllog_prefix}guard-{name}"
    reader = consumer(settings.kafka, shared.options, group=group, session_ms=settings.session_ms)
    return Delivery(
        _ROLES[name](shared, writer, reader), reader, settings, shared.clock, shared.count, shared.level, duties
    )


def _protector(shared: World, writer: KafkaWriter, reader: Any) -> Role:
    del reader
    tenant = shared.tenant
    table = shared.policy.at(shared.clock.now().date()).tenant[tenant]
    sealer = shared.sealer(shared.ring(tenant), writer, shared.count)
    return Protector(tenant, tuple(table.events), sealer, shared.dead_letters(), shared.settings, shared.count)


def _desk(shared: World, writer: KafkaWriter, reader: Any) -> Role:
    del reader
    tenant, settings, ring = shared.tenant, shared.settings, shared.ring(shared.tenant)
    home = tenant_partition(tenant, settings.few_partitions)
    topic, steps = settings.topic("privacy.cases"), Steps(settings.off)
    book = Casebook(tenant, home, topic, ring, shared.vault, writer, steps)
    decider = Decider(tenant, ring, shared.vault, writer, book, settings, shared.clock, shared.keep_days)
    read = partial(read_all, settings.kafka, shared.options)
    archive = Archive(
        tenant=tenant,
        ring=ring,
        safe=Safe(tenant, shared.keystore, ring, shared.vault),
        vault=shared.vault,
        book=book,
        decider=decider,
        settings=settings,
        clock=shared.clock,
        read_all=read,
    )
    return Desk(
        Office(
            tenant=tenant,
            home=home,
            book=book,
            decider=decider,
            holds=Holds(archive),
            receipts=Receipts(tenant, home, shared.vault, settings),
            outcome_key=shared.vault.outcome_key(tenant),
            notices=Notices(tenant, home, book, shared.policy, settings),
            writer=writer,
            dead=shared.dead_letters(),
            policy=shared.policy,
            settings=settings,
            clock=shared.clock,
            read_all=read,
            desk_key=partial(shared.vault.desk_key, tenant),
            count=shared.count,
            level=shared.level,
        )
    )


def tools(shared: World, writer: KafkaWriter) -> Tools:
    """What enforcing needs."""
    tenant, settings = shared.tenant, shared.settings
    ring = shared.ring(tenant)
    return Tools(
        tenant=tenant,
        home=tenant_partition(tenant, settings.few_partitions),
        ring=ring,
        vault=shared.vault,
        writer=writer,
        policy=shared.policy,
        settings=settings,
        clock=shared.clock,
        fetch=partial(fetch, settings.kafka, shared.options),
        tail=partial(tail, settings.kafka, shared.options),
        offset_at=partial(offset_at, settings.kafka, shared.options),
        level=shared.level,
        safe=Safe(tenant, shared.keystore, ring, shared.vault),
        count=shared.count,
    )


def keeper(shared: World, writer: KafkaWriter, reader: Any) -> Keeper:
    """The keeper, on a consumer of its own."""
    return Keeper(
        tools(shared, writer),
        shared.dead_letters(),
        partial(read_all, shared.settings.kafka, shared.options),
        partial(offsets, reader, end=False),
        partial(offsets, reader, end=True),
        partial(position, reader),
        RocksIndex,
    )


def _auditor(shared: World, writer: KafkaWriter, reader: Any) -> Role:
    tenant, settings = shared.tenant, shared.settings
    log_dirs = [Path(name) for name in settings.log_dirs.split(os.pathsep) if name]

    async def walked() -> Walked:
        return await walk(shared, lambda _: None).run(await needed_epochs(shared))

    def disks(topic: str, partition: int, names: list[bytes]) -> list[Look]:
        return [look_at_replica(each, names) for each in replicas(log_dirs, topic, partition)]

    return Auditor(
        tenant,
        tenant_partition(tenant, settings.few_partitions),
        lambda: shared.events,
        lambda: shared.keep_days,
        shared.vault.outcome_key(tenant),
        shared.ring(tenant),
        shared.keystore,
        KafkaTopics(settings, shared.options),
        writer,
        settings,
        shared.clock,
        partial(read_all, settings.kafka, shared.options),
        partial(read_each, settings.kafka, shared.options),
        partial(offsets, reader, end=False),
        disks,
        HttpCleaners(pages(settings.cleaner_pages)),
        walked,
        shared.count,
        shared.level,
    )


def walk(shared: World, told: Callable[[int], None]) -> Walk:
    """The keystore walk of this installation."""
    settings, tenant = shared.settings, shared.tenant
    return Walk(
        tenant,
        shared.keystore,
        shared.ring(tenant),
        shared.vault,
        shared.clock,
        Periods(
            keep_days=shared.keep_days,
            late_days=settings.event_late_days,
            epoch_days=settings.epoch_days,
            window_days=settings.backup_window_days,
        ),
        told,
    )


async def needed_epochs(shared: World) -> dict[str, str]:
    """The epochs that an open case or an erasure that is not done still needs, with the reason."""
    settings, home = shared.settings, tenant_partition(shared.tenant, shared.settings.few_partitions)
    read = partial(read_all, settings.kafka, shared.options)
    needed: dict[str, str] = {}
    cases: dict[bytes, Case] = {}
    for record in await read(settings.topic("privacy.cases"), [home]):
        if record.value is not None and record.key and record.key[:1] != b"~":
            with suppress(MessageError):  # no case of ours
                cases[record.key] = decode(CASES, record.value)
    needed |= {case.epoch: "sealed parts of cases" for case in cases.values() if case.epoch}
    ledger = await read(settings.topic("privacy.decisions"), list(range(settings.partitions)))
    done, outcome_key = set[bytes](), shared.vault.outcome_key(shared.tenant)
    for record in ledger:
        if record.value is not None and record.key and record.key.endswith(DONE):
            with suppress(MessageError):  # no result of ours: it is not done
                outcome_key.read(record.value, record.key)
                done.add(record.key)
    for record in ledger:
        if record.value is not None and record.key and record.key[:1] != b"~" and not is_result(record.key):
            with suppress(MessageError):  # no decision of ours
                decision = decode(DECISIONS, record.value)
                if record.key + DONE not in done:
                    needed[decision.epoch] = "erasures that are not done"
    return needed


_ROLES: Final[dict[str, Callable[[World, KafkaWriter, Any], Role]]] = {
    "protector": _protector,
    "desk": _desk,
    "keeper": keeper,
    "auditor": _auditor,
}
ROLES: Final = tuple(_ROLES)
