"""Puts the parts together: settings and policy in, running workers out."""

import os
import secrets
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from calllog_guard.adapters.disk.segment_files import look_at_replica, replicas
from calllog_guard.adapters.http.cleaners import HttpCleaners, pages
from calllog_guard.adapters.kafka.admin.extents import KafkaExtents
from calllog_guard.adapters.kafka.admin.topics import KafkaTopics
from calllog_guard.adapters.kafka.assignor import RangePartitionAssignor, TogetherAssignor
from calllog_guard.adapters.kafka.log import (
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
from calllog_guard.adapters.kafka.writer import KafkaWriter
from calllog_guard.adapters.rocksdb.index import RocksIndex
from calllog_guard.adapters.rocksdb.rows import RocksRows
from calllog_guard.app.context import AppContext
from calllog_guard.core.audit.absence import Look
from calllog_guard.core.cases.case import Case, case_in, later
from calllog_guard.core.cases.sealed_case import PartName, open_part
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
from calllog_guard.errors import EntryCorruptError, EpochUnknownError, MessageError
from calllog_guard.ports import Place, Writer
from calllog_guard.ports.fault_injection import CrashPoints
from calllog_guard.settings import ROLES
from calllog_guard.workers.auditor.lags import Lags
from calllog_guard.workers.auditor.upkeep import Means
from calllog_guard.workers.auditor.worker import Auditor
from calllog_guard.workers.desk.answers.answers import Answers
from calllog_guard.workers.desk.answers.notices import Notices
from calllog_guard.workers.desk.answers.receipts import Receipts
from calllog_guard.workers.desk.cases.case_owners import Owners
from calllog_guard.workers.desk.cases.case_store import Casebook
from calllog_guard.workers.desk.cases.case_topic import CaseTopic
from calllog_guard.workers.desk.decisions.decider import Decider
from calllog_guard.workers.desk.decisions.holds import Archive, Holds
from calllog_guard.workers.desk.decisions.search import Searcher
from calllog_guard.workers.desk.worker import Desk, Office
from calllog_guard.workers.keeper.context import Tools
from calllog_guard.workers.keeper.worker import Keeper
from calllog_guard.workers.keys.hold_store import Safe
from calllog_guard.workers.keys.people.subject_keys import Keyring
from calllog_guard.workers.keys.rotation import Periods, Walk, Walked
from calllog_guard.workers.keys.tenants.tenure import BELIEVED, Tenure, TenureWriter
from calllog_guard.workers.protector.parking import Parking, ParkingNeeds
from calllog_guard.workers.protector.worker import Protector
from calllog_guard.workers.runtime.attempts import Outlet
from calllog_guard.workers.runtime.beginnings import Beginnings
from calllog_guard.workers.runtime.clocks import Clocks
from calllog_guard.workers.runtime.delivery import Delivery, Role
from calllog_guard.workers.runtime.periodic import Duty
from calllog_guard.workers.runtime.reads import Reads, reads_of

_MARKED_SINCE: Final = 2
"""The level of forms from which on no worker of the first release is left, which commits offsets without our mark."""


def serve(shared: AppContext, name: str, writer: KafkaWriter, duties: Sequence[Duty] = ()) -> Delivery:
    """One worker: its role on its consumer group, and what it does beside it."""
    settings, begins = shared.settings, beginnings(shared, name)
    # what a backend's transaction took back is no call; our own topics have none
    isolation = "read_committed" if name == "protector" else "read_uncommitted"
    reader = consumer(
        settings.kafka,
        {**shared.options, "isolation_level": isolation},
        group=begins.reads.group,
        session_ms=settings.session_ms,
        assignor=RangePartitionAssignor if begins.reads.fixed is None else TogetherAssignor,
    )
    role = _ROLES[name](shared, writer, reader, begins)
    outlet = Outlet(writer, shared.dead_letters().of)
    return Delivery(role, reader, settings, outlet, begins, shared.metrics.count, shared.metrics.level, duties)


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


def _protector(shared: AppContext, writer: KafkaWriter, reader: Any, begins: Beginnings) -> Role:
    tenant = shared.tenant
    ring, dead = shared.ring(tenant), shared.dead_letters()
    parking = Parking(
        ParkingNeeds(
            ring=ring,
            vault=shared.vault,
            writer=writer,
            settings=shared.settings,
            clock=shared.clock,
            dead=dead,
            read_all=partial(read_all, shared.settings.kafka, shared.options),
            owned=reader.assignment,
            count=shared.metrics.count,
            level=shared.metrics.level,
        )
    )
    sealer = shared.sealer(ring, writer, shared.metrics.count)
    return Protector(tenant, begins.reads.topics, sealer, dead, shared.settings, shared.metrics.count, parking)


def _desk(shared: AppContext, kafka: KafkaWriter, reader: Any, begins: Beginnings) -> Role:
    del reader, begins
    tenant, settings, ring = shared.tenant, shared.settings, shared.ring(shared.tenant)
    home = tenant_partition(tenant, settings.few_partitions)
    topic, steps = settings.topic(Topic.CASES), CrashPoints(settings.off)
    topics = topic, settings.topic(Topic.ORDERS)
    ring.tenure = Tenure(tenant, shared.keystore)
    writer = TenureWriter(kafka, ring.tenure, steps, ring.guard.vouched, map(settings.topic, BELIEVED))
    beats = partial(_beats, shared, ring, writer, lambda: [(topic, home)])
    book = Casebook(tenant, home, topics, ring, shared.vault, writer, steps)
    last = partial(tail, settings.kafka, shared.options)
    decider = Decider(tenant, ring, shared.vault, writer, book, settings, shared.clock, shared.keep_days)
    read = partial(read_all, settings.kafka, shared.options)
    owners = Owners(ring, decider)
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
            searcher=Searcher(archive, writer),
            answers=Answers(archive, writer, home, owners),
            owners=owners,
            receipts=Receipts(tenant, home, shared.vault, settings, shared.policy),
            outcome_key=shared.vault.outcome_key(tenant),
            notices=Notices(tenant, home, book, shared.policy, settings, owners),
            writer=writer,
            dead=shared.dead_letters(),
            policy=shared.policy,
            settings=settings,
            clock=shared.clock,
            topic=CaseTopic(book, ring.tenure, read, last, shared.metrics.count),
            desk_key=partial(shared.vault.desk_key, tenant),
            heartbeats=partial(shared.vault.heartbeats, tenant),
            count=shared.metrics.count,
            level=shared.metrics.level,
            agree=clocks(shared, kafka, beats).agree,
        )
    )


def clocks(shared: AppContext, writer: KafkaWriter, probe: Callable[[], Awaitable[None]]) -> Clocks:
    """What compares this process's clock with those of the brokers to which it writes."""
    found = Clocks(shared.clock, shared.settings.clock_apart_s, probe, shared.metrics.count, shared.metrics.level)
    writer.stamped = found.stamped
    return found


async def _beats(
    shared: AppContext, ring: Keyring, writer: Writer, places: Callable[[], list[Place]], role: str = ""
) -> None:
    """Write a heartbeat to each place: its broker says when; one of a desk needs no proof, for nobody believes what it says."""
    value = encode(Beat(counter=ring.guard.seen, at=shared.clock.now()))
    beats = [Output(*place, BEAT, value) for place in places()]
    await writer.write(await ring.guard.vouched(role, beats) if role else beats)


def tools(shared: AppContext, writer: KafkaWriter, reader: Any, begins: Beginnings) -> Tools:
    """What enforcing needs."""
    tenant, settings = shared.tenant, shared.settings
    ring, ledger = shared.ring(tenant), settings.topic(Topic.DECISIONS)

    def places() -> list[Place]:
        ours = range(settings.partitions)  # beyond those is nobody's ledger
        return [
            (ledger, each.partition) for each in reader.assignment() if each.topic == ledger and each.partition in ours
        ]

    beats = partial(_beats, shared, ring, writer, places, KEEP)
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
        open_rows=RocksRows,
        level=shared.metrics.level,
        safe=Safe(tenant, shared.keystore, ring, shared.vault),
        count=shared.metrics.count,
        id_of=begins.id_of,
        began_anew=begins.began_anew,
        agree=clocks(shared, writer, beats).agree,
        confirmed=shared.confirmed,
    )


def keeper(shared: AppContext, writer: KafkaWriter, reader: Any, begins: Beginnings) -> Keeper:
    """The keeper, on a consumer of its own."""
    return Keeper(
        tools(shared, writer, reader, begins),
        shared.dead_letters(),
        partial(read_all, shared.settings.kafka, shared.options),
        partial(offsets, reader, end=False),
        partial(offsets, reader, end=True),
        partial(position, reader),
        RocksIndex,
    )


def _auditor(shared: AppContext, writer: KafkaWriter, reader: Any, begins: Beginnings) -> Role:
    del begins
    tenant, settings = shared.tenant, shared.settings
    log_dirs = [Path(name) for name in settings.log_dirs.split(os.pathsep) if name]

    async def walked() -> Walked:
        return await walk(shared, lambda _: None).run(await needed_epochs(shared))

    def disks(topic: str, partition: int, names: list[bytes]) -> list[Look]:
        return [look_at_replica(each, names) for each in replicas(log_dirs, topic, partition)]

    async def noted(change: Prolonged) -> None:
        if AUDIT in shared.vault.profile(tenant).signers:  # an older tenant has no signer until it is upgraded
            key = PROLONGED + b64(secrets.token_bytes(ID_BYTES))
            token = noted_by(receipt_pem(shared.vault.signer_seed(tenant, AUDIT))[0], change)
            await writer.write([Output(settings.topic(Topic.POLICY), 0, key, token)])

    async def beat() -> None:
        await auditor.beat()

    ring = shared.ring(tenant)
    means = Means(
        settings=settings,
        clock=shared.clock,
        keystore=shared.keystore,
        guard=ring.guard,
        admin=KafkaTopics(settings, shared.options),
        extents=KafkaExtents(settings, shared.options),
        writer=writer,
        events=lambda: shared.events,
        count=shared.metrics.count,
        level=shared.metrics.level,
        agree=clocks(shared, writer, beat).agree,
        anchor=shared.anchor,
    )
    auditor = Auditor(
        tenant_partition(tenant, settings.few_partitions),
        means,
        Lags(tenant, means, shared.accepted, noted),
        lambda: shared.keep_days,
        shared.vault.outcome_key(tenant),
        ring,
        partial(read_all, settings.kafka, shared.options),
        partial(read_each, settings.kafka, shared.options),
        partial(offsets, reader, end=False),
        disks,
        HttpCleaners(pages(settings.cleaner_pages)),
        walked,
    )
    return auditor


def walk(shared: AppContext, told: Callable[[int], None]) -> Walk:
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
        partial(unfinished, shared),
        shared.letter_keys,
    )


async def unfinished(shared: AppContext) -> set[str]:
    """The pseudonyms about whom something was decided that is not done."""
    return {decision.pseudonym for decision in await _undone(shared)}


async def _undone(shared: AppContext) -> list[Decision]:
    """The decisions in the ledger whose result no keeper of ours has written."""
    settings = shared.settings
    ledger = await read_all(
        settings.kafka, shared.options, settings.topic(Topic.DECISIONS), list(range(settings.partitions))
    )
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
    settings, home = shared.settings, tenant_partition(shared.tenant, shared.settings.few_partitions)
    read = partial(read_all, settings.kafka, shared.options)
    needed: dict[str, str] = {}
    cases: dict[bytes, Case] = {}
    proofs = shared.vault.proofs(shared.tenant)
    for record in await read(settings.topic(Topic.CASES), [home]):
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
    """Whether a sealed part of a case opens with the epoch that it names: whoever writes records keeps no epoch alive."""
    with suppress(EpochUnknownError):
        key = shared.vault.epoch_key(EpochName(case.epoch or ""), shared.tenant, "cases")
        parts: tuple[tuple[PartName, str | None], ...] = (("request", case.sealed), ("filed", case.filed))
        for name, sealed in parts:
            with suppress(EntryCorruptError):
                open_part(case.case, name, sealed, key)
                return True
    return False


_ROLES: Final[dict[str, Callable[[AppContext, KafkaWriter, Any, Beginnings], Role]]] = dict(
    zip(ROLES, (_protector, _desk, keeper, _auditor), strict=True)
)
