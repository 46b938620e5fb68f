"""
Puts the parts together: settings and policy in, running workers out.

What one role alone needs is imported when that role starts: no process loads the others.
"""

import os
import secrets
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from calllog_guard.adapters.kafka.admin.extents import KafkaExtents
from calllog_guard.adapters.kafka.admin.topics import KafkaTopics
from calllog_guard.adapters.kafka.assignor import RangePartitionAssignor, TogetherAssignor
from calllog_guard.adapters.kafka.consumer import Consumer, KafkaGroup, consumer
from calllog_guard.adapters.kafka.writer import KafkaWriter
from calllog_guard.app.context import AppContext
from calllog_guard.core.cases.case import Case, case_in, later
from calllog_guard.core.codec import BEAT, Beat, encode
from calllog_guard.core.crypto.jose import receipt_pem
from calllog_guard.core.decisions.decision import Decision, decision_in, open_entry
from calllog_guard.core.decisions.outcome import DONE, is_result
from calllog_guard.core.identifiers import ID_BYTES, EpochName, b64
from calllog_guard.core.officers.prolongations import PROLONGED, Prolonged
from calllog_guard.core.officers.prolongations import noted as noted_by
from calllog_guard.core.records import Output
from calllog_guard.core.stream.proofs import AUDIT, DESK, KEEP
from calllog_guard.core.topics import Topic
from calllog_guard.errors import (
    ConfigurationError,
    EntryCorruptError,
    EpochUnknownError,
    MessageError,
)
from calllog_guard.ports.fault_injection import CrashPoints
from calllog_guard.ports.log import Place, TopicPartition
from calllog_guard.ports.process import Duty
from calllog_guard.settings import ROLES
from calllog_guard.workers.context import WorkerContext
from calllog_guard.workers.keys.tenants.tenure import BELIEVED, Tenure, TenureWriter
from calllog_guard.workers.runtime.beginnings import Beginnings
from calllog_guard.workers.runtime.clocks import Agree, Clocks
from calllog_guard.workers.runtime.delivery import Delivery, Role
from calllog_guard.workers.runtime.reads import Reads, reads_of

if TYPE_CHECKING:
    from calllog_guard.core.audit.absence import Look
    from calllog_guard.workers.keeper.worker import Keeper
    from calllog_guard.workers.keys.rotation import Walk, Walked

_MARKED_SINCE: Final = 2
"""The level of forms from which on no worker of the first release is left, which commits offsets without our mark."""
_PAIRS_SINCE: Final = 2
"""The level of forms from which on a person's sessions are legs of their own."""


class Links(NamedTuple):
    """A worker's own connections to Kafka, and where it goes on."""

    writer: KafkaWriter
    reader: Consumer
    begins: Beginnings


def serve(shared: AppContext, name: str, writer: KafkaWriter, duties: Sequence[Duty] = ()) -> Delivery:
    """One worker: its role on its consumer group, and what it does beside it."""
    settings, begins = shared.settings, beginnings(shared, name)
    # what a backend's transaction took back is no call; our own topics have none
    isolation = "read_committed" if name == "protector" else "read_uncommitted"
    assignor = RangePartitionAssignor if begins.reads.fixed is None else TogetherAssignor
    reader = consumer(
        settings.kafka,
        {**shared.options, "isolation_level": isolation},
        KafkaGroup(begins.reads.group, settings.session_ms, assignor),
    )
    context = shared.context(shared.ring(shared.tenant), writer, reader)
    return Delivery(_ROLES[name](shared, context, Links(writer, reader, begins)), reader, begins, context, duties)


def reads(shared: AppContext, role: str) -> Reads:
    """What a role of this installation reads today."""
    events = shared.policy.at(shared.clock.now().date()).tenant[shared.tenant].events
    return replace(
        reads_of(role, shared.settings, events), marked=shared.vault.profile(shared.tenant).forms >= _MARKED_SINCE
    )


def beginnings(shared: AppContext, role: str) -> Beginnings:
    """Where a role of this installation goes on in its topics."""
    extents = KafkaExtents(shared.settings, shared.options)
    return Beginnings(
        reads(shared, role), shared.keystore, extents, shared.accepted, shared.metrics.count, shared.metrics.level
    )


def _protector(shared: AppContext, context: WorkerContext, links: Links) -> Role:
    from calllog_guard.workers.protector.leg_writer import Sealer
    from calllog_guard.workers.protector.parking import Parking
    from calllog_guard.workers.protector.worker import Protector

    del shared
    return Protector(context, links.begins.reads.topics, Sealer(context), Parking(context, links.reader.assignment))


def _desk(shared: AppContext, context: WorkerContext, links: Links) -> Role:
    from calllog_guard.workers.desk.worker import Desk

    ring, settings = context.ring, context.settings
    tenure = ring.tenure = Tenure(context.tenant, context.keystore)
    believed = map(settings.topic, BELIEVED)
    writer = TenureWriter(links.writer, tenure, CrashPoints(settings.off), ring.guard.vouched, believed)
    context = replace(context, writer=writer)
    beats = partial(_beats, context, lambda: [(settings.topic(Topic.CASES), context.home)])
    return Desk(replace(context, agree=_agree(shared, links, beats)), tenure)


def _ingest(shared: AppContext, context: WorkerContext, links: Links) -> Role:
    from calllog_guard.app.ingest import ingest_context, sources_of
    from calllog_guard.workers.ingest.worker import Ingest

    return Ingest(ingest_context(shared, context, links.writer, sources_of(shared)), links.begins.reads.topics)


def _agree(shared: AppContext, links: Links, probe: Callable[[], Awaitable[None]]) -> Agree:
    """What compares this process's clock with those of the brokers to which it writes."""
    found = Clocks(shared.clock, shared.settings.clock_apart_s, probe, shared.metrics.count, shared.metrics.level)
    links.writer.stamped = found.stamped
    return found.agree


async def _beats(context: WorkerContext, places: Callable[[], list[Place]], role: str = "") -> None:
    """Write a heartbeat to each place: its broker says when; a desk's needs no proof, as nobody believes it."""
    guard = context.ring.guard
    value = encode(Beat(counter=guard.seen, at=context.clock.now()))
    beats = [Output(*place, BEAT, value) for place in places()]
    await context.writer.write(await guard.vouched(role, beats) if role else beats)


def keeper(shared: AppContext, context: WorkerContext, links: Links) -> "Keeper":
    """The keeper."""
    from calllog_guard.adapters.rocksdb.index import RocksIndex
    from calllog_guard.adapters.rocksdb.rows import RocksRows
    from calllog_guard.workers.keeper.context import KeeperContext
    from calllog_guard.workers.keeper.worker import Keeper
    from calllog_guard.workers.keys.hold_store import Safe

    ledger, ours = context.settings.topic(Topic.DECISIONS), range(context.settings.partitions)

    def places() -> list[Place]:  # beyond ours is nobody's ledger
        read = links.reader.assignment()
        return [(ledger, each.partition) for each in read if each.topic == ledger and each.partition in ours]

    async def reached(topic: str, partition: int) -> int:
        return int(await links.reader.position(TopicPartition(topic, partition)))

    return Keeper(
        KeeperContext.of(
            replace(context, agree=_agree(shared, links, partial(_beats, context, places, KEEP))),
            safe=Safe(context.ring),
            open_index=RocksIndex,
            open_rows=RocksRows,
            reached=reached,
            id_of=links.begins.id_of,
            began_anew=links.begins.began_anew,
            confirmed=shared.confirmed,
        )
    )


def _auditor(shared: AppContext, context: WorkerContext, links: Links) -> Role:
    from calllog_guard.adapters.disk.segment_files import look_at_replica, replicas
    from calllog_guard.adapters.http.cleaners import HttpCleaners, pages
    from calllog_guard.workers.auditor.context import AuditorContext
    from calllog_guard.workers.auditor.lags import Lags
    from calllog_guard.workers.auditor.worker import Auditor

    tenant, settings = context.tenant, context.settings
    log_dirs = [Path(name) for name in settings.log_dirs.split(os.pathsep) if name]

    async def walked() -> "Walked":
        return await walk(shared, lambda _: None).run(await needed_epochs(shared))

    def disks(topic: str, partition: int, names: list[bytes]) -> "list[Look]":
        return [look_at_replica(each, names) for each in replicas(log_dirs, topic, partition)]

    async def noted(change: Prolonged) -> None:
        if AUDIT in shared.vault.profile(tenant).signers:  # an older tenant has no signer until it is upgraded
            key = PROLONGED + b64(secrets.token_bytes(ID_BYTES))
            token = noted_by(receipt_pem(shared.vault.signer_seed(tenant, AUDIT))[0], change)
            await context.writer.write([Output(settings.topic(Topic.POLICY), 0, key, token)])

    async def beat() -> None:
        await auditor.beat()

    own = AuditorContext.of(
        replace(context, agree=_agree(shared, links, beat)),
        admin=KafkaTopics(settings, shared.options),
        extents=KafkaExtents(settings, shared.options),
        events=lambda: shared.events,
        disks=disks,
        cleaners=HttpCleaners(pages(settings.cleaner_pages)),
        walked=walked,
        anchor=shared.anchor,
    )
    auditor = Auditor(own, Lags(own, shared.accepted, noted))
    return auditor


def walk(shared: AppContext, told: Callable[[int], None]) -> "Walk":
    """The keystore walk of this installation."""
    from calllog_guard.workers.keys.rotation import Periods, Walk

    settings = shared.settings
    return Walk(
        shared.ring(shared.tenant),
        shared.clock,
        Periods(
            keep_days=shared.keep_days,
            late_days=settings.event_late_days,
            epoch_days=settings.epoch_days,
            window_days=settings.backup_window_days,
        ),
        partial(unfinished, shared),
        told,
        shared.letter_keys,
    )


async def unfinished(shared: AppContext) -> set[str]:
    """The pseudonyms about whom something was decided that is not done."""
    return {decision.pseudonym for decision in await _undone(shared)}


async def _undone(shared: AppContext) -> list[Decision]:
    """The decisions in the ledger whose result no keeper of ours has written."""
    settings = shared.settings
    ledger = await shared.log.read_all(settings.topic(Topic.DECISIONS), list(range(settings.partitions)))
    done, outcome_key = set[bytes](), shared.vault.outcome_key(shared.tenant)
    for record in ledger:
        if record.value is not None and record.key and record.key.endswith(DONE):
            with suppress(MessageError):  # no result of ours: it is not done
                outcome_key.read(record.value, record.key)
                done.add(record.key)
    found: list[Decision] = []
    for record in ledger:
        if record.value is not None and record.key and record.key[:1] != b"~" and not is_result(record.key):
            with suppress(MessageError, EpochUnknownError):  # no decision of ours: no keeper carries it out either
                decision = decision_in(record, shared.vault.proofs(shared.tenant))
                if record.key + DONE not in done and record.key == f"{decision.pseudonym}.{decision.decision}".encode():
                    open_entry(decision, shared.vault.epoch_key(EpochName(decision.epoch), shared.tenant, "ledger"))
                    found.append(decision)
    return found


async def needed_epochs(shared: AppContext) -> dict[str, str]:
    """The epochs that an open case or an erasure that is not done still needs, with the reason."""
    settings = shared.settings
    needed: dict[str, str] = {}
    cases: dict[bytes, Case] = {}
    proofs = shared.vault.proofs(shared.tenant)
    for record in await shared.log.read_all(settings.topic(Topic.CASES), [shared.home]):
        if not record.key or record.key[:1] == b"~":
            continue
        with suppress(MessageError):  # no case of ours
            if record.value is None:
                proofs.read(record, DESK, lambda each: cases.pop(each.key, None))
                continue
            case = case_in(record, proofs)
            if not case.epoch or _opens(shared, case):
                cases[record.key] = later(cases.get(record.key), case)
    needed |= {case.epoch: "sealed parts of cases" for case in cases.values() if case.epoch}
    needed |= {decision.epoch: "erasures that are not done" for decision in await _undone(shared)}
    return needed


def _opens(shared: AppContext, case: Case) -> bool:
    """Whether a sealed part of a case opens with the epoch it names: whoever writes records keeps no epoch alive."""
    from calllog_guard.core.cases.sealed_case import PartName, open_part

    with suppress(EpochUnknownError):
        key = shared.vault.epoch_key(EpochName(case.epoch or ""), shared.tenant, "cases")
        parts: tuple[tuple[PartName, str | None], ...] = (("request", case.sealed), ("filed", case.filed))
        for name, sealed in parts:
            with suppress(EntryCorruptError):
                open_part(case.case, name, sealed, key)
                return True
    return False


def _sessions(shared: AppContext, context: WorkerContext, links: Links) -> Role:
    from calllog_guard.adapters.rocksdb.rows import RocksRows
    from calllog_guard.workers.keys.tenants.moment_sealing import MomentOpener
    from calllog_guard.workers.sessions.context import SessionsContext
    from calllog_guard.workers.sessions.worker import Sessions

    tenant, vault = context.tenant, shared.vault
    if (forms := vault.profile(tenant).forms) < _PAIRS_SINCE:
        raise ConfigurationError(
            f"tenant {tenant} is at level {forms} of stored forms, and sessions of one person need level "
            f"{_PAIRS_SINCE}: calllog-guard tenant upgrade {tenant}"
        )

    async def events() -> Place:
        topic = shared.policy.at(shared.clock.now().date()).tenant[tenant].events[0]
        return topic, await links.writer.partitions(topic)

    return Sessions(
        SessionsContext.of(
            context,
            names=vault.moment_names(tenant),
            opener=MomentOpener(tenant, vault.moments.secret, shared.settings.epoch_cache_s),
            open_rows=RocksRows,
            id_of=links.begins.id_of,
            events=events,
        )
    )


_ROLES: Final[dict[str, Callable[[AppContext, WorkerContext, Links], Role]]] = dict(
    zip(ROLES, (_protector, _desk, keeper, _auditor, _ingest, _sessions), strict=True)
)
