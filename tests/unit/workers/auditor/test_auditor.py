"""When the auditor certifies, and when it must not: on fakes, so that each circumstance can be made."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from contexts import context

from calllog_guard.adapters.kms.local import FileRing, LocalKms
from calllog_guard.adapters.memory.extents import MemoryExtents
from calllog_guard.adapters.memory.fakes import MemoryCleaners, MemoryKeystore, MemoryWriter
from calllog_guard.core.audit.absence import Look
from calllog_guard.core.codec import BEAT, BEATS, decode, encode, to_ms
from calllog_guard.core.crypto.entries import GUARD_KEY
from calllog_guard.core.decisions.decision import Decision
from calllog_guard.core.decisions.outcome import TO_DESK, Outcome, OutcomeKey, is_result
from calllog_guard.core.identifiers import Tenant
from calllog_guard.core.records import Output
from calllog_guard.core.stream.arrival import arrival
from calllog_guard.core.stream.beginnings import Reached, reached_entry, reached_key
from calllog_guard.core.stream.proofs import DESK
from calllog_guard.core.topics import TABLE
from calllog_guard.metrics import GaugeMetric, Gauges
from calllog_guard.ports.administration import Cleaner, Trim
from calllog_guard.ports.log import TopicPartition
from calllog_guard.settings import Settings
from calllog_guard.workers.auditor.context import AuditorContext
from calllog_guard.workers.auditor.lags import Lags
from calllog_guard.workers.auditor.observation import Observation
from calllog_guard.workers.auditor.worker import Auditor
from calllog_guard.workers.keys.key_cache import CacheLimits
from calllog_guard.workers.keys.people.subject_keys import Keyring
from calllog_guard.workers.keys.restore_guard import guard_entry
from calllog_guard.workers.keys.rotation import Walked
from calllog_guard.workers.keys.tenants.tenant_secrets import Vault

IOCOM = Tenant("iocom")
NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
NAME, OTHER, CASE = "A" * 22, "B" * 21 + "A", "C" * 21 + "A"
LEG = NAME.encode() + b"." + OTHER.encode()
LEDGER = NAME.encode() + b"." + CASE.encode()
COMMON: dict[str, Any] = {"tenant": "iocom", "case": CASE, "decision": CASE, "at": NOW}
DECISION = Decision(type="erase", pseudonym=NAME, entry="", epoch="2026-W48", cut_off=NOW, pol="2026-11-01", **COMMON)
DONE = Outcome(stage="tombstoned", partition=0, legs=1, barrier=1, up_to=2, by="keeper", **COMMON)
KEY = OutcomeKey(b"k" * 32)


@dataclass
class Record:
    """What the client library hands out."""

    key: bytes
    value: bytes | None
    partition: int = 0
    offset: int = 0
    topic: str = "privacy.decisions"
    timestamp: int = to_ms(NOW)
    headers: tuple[tuple[str, bytes], ...] = ()
    senders: bool = False
    signed: bool = True


def result(suffix: bytes, outcome: Outcome, *, of: bytes = LEDGER) -> Record:
    """What a worker keeps in the ledger beside a decision."""
    return Record(of + suffix, KEY.vouched(outcome, of + suffix), offset=1)


@dataclass
class Finding:
    """See ports."""

    setting: str
    good: bool
    topic: str = "calllog.legs"
    withholds: bool = True


@dataclass
class Log:
    """The log as the auditor sees it, and the port of its administration."""

    legs: list[Record] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    in_sync: int = 3
    open: list[int] = field(default_factory=list)
    minutes: float = 10
    looks: int = 0
    events: Sequence[str] = ("calllog.events",)
    trimmed: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    places: list[tuple[str, int]] = field(default_factory=list)
    extents: MemoryExtents = field(default_factory=MemoryExtents)
    beyond: dict[int, list[Record]] = field(default_factory=dict)
    ledger: list[Record] = field(default_factory=lambda: [Record(LEDGER, encode(DECISION)), result(b".done", DONE)])

    def now(self) -> datetime:
        """See Clock: some minutes after the tombstones."""
        return NOW + timedelta(minutes=self.minutes)

    def check(self, keep_days: int, events: Sequence[str]) -> Sequence[Finding]:
        """See Topics."""
        assert (keep_days, events) == (90, self.events)
        return self.findings

    def replicas(self, topic: str) -> dict[int, tuple[int, int]]:
        """See Topics."""
        assert topic == "calllog.legs"
        return dict.fromkeys((0, *self.beyond), (3, self.in_sync))

    def trim(self, topic: str, partitions: Sequence[int], groups: Sequence[str], before_ms: int) -> dict[int, Trim]:
        """See Topics."""
        assert before_ms
        self.trimmed.append((topic, tuple(groups)))
        self.places += [(topic, partition) for partition in partitions]
        return dict.fromkeys(partitions, Trim(cut=True, behind=0))

    def kept_ms(self, topics: Sequence[str]) -> dict[str, int]:
        """See Topics."""
        return dict.fromkeys(topics, 86_400_000)

    def keep(self, topic: str, retention_ms: int) -> None:
        """See Topics."""
        raise AssertionError(topic, retention_ms)

    def blocked(self, topic: str, partitions: Sequence[int]) -> list[int]:
        """See Topics."""
        assert topic
        return [each for each in self.open if each in partitions]

    async def read_all(self, _: str, __: Sequence[int]) -> list[Any]:
        """The ledger: an erasure that the keeper has done."""
        return self.ledger

    async def read_each(
        self, _: str, partitions: Sequence[int], visit: Callable[[Any], None]
    ) -> dict[int, tuple[int, int]]:
        """The legs."""
        self.looks += 1
        for record in (*self.legs, *(each for at in partitions for each in self.beyond.get(at, ()))):
            visit(record)
        return {0: (0, 9)}

    async def starts(self, _: str, __: Sequence[int]) -> dict[int, int]:
        """First offsets."""
        return {0: 0}


WELL = Cleaner(uncleanable=0, dead=0, delay_s=4)


async def audited(
    log: Log, tmp_path: Path, disks: Sequence[Look] = (), cleaners: Sequence[Cleaner | None] = (WELL, WELL)
) -> tuple[list[str], dict[GaugeMetric, float]]:
    """The stages that one look and one watch report, and the levels shown."""
    auditor, writer, levels = await made(log, tmp_path, disks, cleaners)
    await auditor._watch()
    await auditor._observe()
    told = [KEY.read(each.value or b"", TO_DESK) for each in writer.outputs if each.topic == "privacy.outcomes"]
    assert all(each.stage == "rewritten" or each.observed for each in told)
    return [each.stage for each in told], levels


async def made(
    log: Log, tmp_path: Path, disks: Sequence[Look] = (), cleaners: Sequence[Cleaner | None] = (WELL, WELL)
) -> tuple[Auditor, MemoryWriter, dict[GaugeMetric, float]]:
    """An auditor that has partition 0, what it writes, and the levels it shows."""
    settings, keystore, writer = Settings(partitions=1), MemoryKeystore(), MemoryWriter()
    vault = Vault(LocalKms(tmp_path), FileRing(tmp_path))
    ring = Keyring(Tenant("iocom"), keystore, vault, log, CacheLimits(60, 10), 1)
    vault.create_tenant(Tenant("iocom"))
    keystore.entries[GUARD_KEY] = guard_entry(vault.guard_id())
    for record in log.ledger:
        if not is_result(record.key) and record.signed:
            output = Output(record.topic, record.partition, record.key, record.value)
            (proven,) = vault.vouched(IOCOM, DESK, [output])
            record.headers = proven.headers
    await ring.guard.open_at_once(1)
    levels: dict[GaugeMetric, float] = {}

    async def walked() -> Walked:
        return Walked()

    for topic in (topic for topic, row in TABLE.items() if row.beaten):
        log.extents.create(topic, 1 + len(log.beyond) * (topic == "calllog.legs"))
    for name in log.events:
        if name not in log.extents.topics and name != "waits":
            log.extents.create(name, 1)

    async def none() -> list[Any]:
        return []

    async def unsigned(change: object) -> None:
        raise AssertionError(change)

    own = context(
        AuditorContext,
        ring=ring,
        settings=settings,
        policy=SimpleNamespace(keep_days=lambda _: 90),
        clock=log,
        log=log,
        writer=writer,
        admin=log,
        extents=log.extents,
        events=lambda: log.events,
        level=levels.__setitem__,
        disks=lambda *_: list(disks),
        cleaners=MemoryCleaners(*cleaners),
        walked=walked,
    )
    auditor = Auditor(own, Lags(own, none, unsigned))
    auditor._outcome_key = KEY
    await auditor.assigned([0])
    return auditor, writer, levels


async def test_every_topic_of_events_that_is_there_is_kept_rolling_and_trimmed(tmp_path: Path) -> None:
    """Plain text lies in each; a write to one that a version names and nobody made would hold up every heartbeat."""
    log = Log(events=("one", "two", "waits"))
    auditor, writer, _ = await made(log, tmp_path)
    await auditor._upkeep.beat()
    await auditor._upkeep.trim()
    assert not {output.topic for output in writer.outputs} & set(log.events)
    await auditor._watch()
    for events in (("one", "two", "waits"), ("two",)):  # a version comes into force while the auditor runs
        log.events, log.trimmed = events, []
        writer.outputs.clear()
        await auditor._upkeep.beat()
        await auditor._upkeep.trim()
        there = {topic for topic in events if topic != "waits"}
        assert {output.topic for output in writer.outputs} & {"one", "two", "waits"} == there
        assert set(log.trimmed) == {
            *((topic, ("calllog.guard-protector",)) for topic in there),
            ("privacy.requests", ("calllog.guard-desk",)),
        }


async def test_raw_notifications_are_kept_rolling_where_an_ingest_reads_them_and_trimmed_behind_it(
    tmp_path: Path,
) -> None:
    """They are plain text too; where nobody reads them a heartbeat would wait for ever."""
    raw, log = "calllog.notifications", Log()
    log.extents.create(raw, 1)
    auditor, writer, _ = await made(log, tmp_path)
    await auditor._watch()
    await auditor._upkeep.beat()
    assert raw not in {output.topic for output in writer.outputs}
    reached = Reached(log.extents.topics[raw].id, 0)
    auditor._ring.keystore.entries[reached_key("ingest", raw, 0)] = reached_entry(reached)  # type: ignore[attr-defined]
    await auditor._upkeep.beat()
    assert [output.key for output in writer.outputs if output.topic == raw] == [BEAT]
    await auditor._upkeep.trim()
    assert [groups for topic, groups in log.trimmed if topic == raw] == [("calllog.guard-ingest",)]


async def test_every_auditor_beats_beside_the_policy_where_everybody_may_read(tmp_path: Path) -> None:
    """Who starts learns the counter there; were it one auditor's alone, the counter of the others would be missed."""
    auditor, writer, _ = await made(Log(ledger=[]), tmp_path)
    await auditor.assigned([3])
    await auditor._upkeep.beat()
    beats = [each for each in writer.outputs if each.topic == "privacy.policy"]
    assert [(each.partition, each.key) for each in beats] == [(0, BEAT)]
    assert decode(BEATS, beats[0].value or b"").counter == 1


async def test_every_heartbeat_is_known_where_it_lies(tmp_path: Path) -> None:
    """By every reader of its topic, whose profile names the auditor's key."""
    auditor, writer, _ = await made(Log(ledger=[]), tmp_path)
    await auditor.assigned([0])
    await auditor._watch()
    await auditor._upkeep.beat()
    known = auditor._ring.guard.heartbeats
    read = [arrival((each.topic, each.partition), 0, 0, each.key, each.value, each.headers) for each in writer.outputs]
    assert len({each.topic for each in read}) == len(read) == 8
    assert all(known.ours(each) for each in read)


async def test_topics_of_events_are_kept_in_every_partition_that_they_have(tmp_path: Path) -> None:
    """More or fewer than the installation's count, and grown since: plain text in any of them must roll and be cut."""
    log = Log(events=("wide", "thin"))
    log.extents.create("wide", 3)
    log.extents.create("thin", 1)
    auditor, writer, _ = await made(log, tmp_path)
    for many in (3, 5):
        log.extents.grow("wide", many)
        writer.outputs.clear()
        log.places.clear()
        await auditor._watch()
        await auditor._upkeep.beat()
        await auditor._upkeep.trim()
        wanted = {*(("wide", number) for number in range(many)), ("thin", 0)}
        assert {(each.topic, each.partition) for each in writer.outputs if each.topic in log.events} == wanted
        assert {place for place in log.places if place[0] in log.events} == wanted


async def test_a_topic_made_anew_is_not_cut_by_what_was_read_of_its_namesake(tmp_path: Path) -> None:
    """A commit that overtook the deletion stands under the name: by it the trim would take what nobody has read."""
    log = Log(events=("plain",))
    auditor, _, _ = await made(log, tmp_path)
    await auditor._watch()
    entries = {
        reached_key("protector", "plain", 0): reached_entry(Reached("B" * 21 + "A", 50)),
        reached_key("desk", "privacy.requests", 0): b"rubbish",
    }
    await auditor._keystore.put(entries)
    await auditor._upkeep.trim()
    assert log.trimmed == []
    known = log.extents.topics["plain"].id
    await auditor._keystore.put({reached_key("protector", "plain", 0): reached_entry(Reached(known, 50))})
    await auditor._upkeep.trim()
    assert log.places == [("plain", 0)]


async def test_a_value_in_a_partition_beyond_is_no_certificate_and_an_empty_one_withholds_none(tmp_path: Path) -> None:
    assert (await audited(Log(beyond={1: []}), tmp_path / "empty"))[0] == ["rewritten", "absent", "gone"]
    stages, levels = await audited(Log(beyond={1: [], 2: [Record(LEG, b"sealed")]}), tmp_path / "full")
    assert stages == ["rewritten"]
    assert levels[Gauges.partitions_beyond] == 2


async def test_what_lies_in_a_partition_beyond_is_an_alarm_and_is_kept_rolling(tmp_path: Path) -> None:
    log = Log(beyond={1: [], 2: []})
    auditor, writer, levels = await made(log, tmp_path)
    await auditor._watch()
    await auditor._upkeep.beat()
    assert levels[Gauges.records_beyond] == 0
    assert {each.partition for each in writer.outputs if each.topic == "calllog.legs"} == {0}
    log.extents.append("calllog.legs", 2, 4)
    log.findings.append(Finding("records in partitions beyond", good=False, withholds=False))
    await auditor._watch()
    await auditor._upkeep.beat()
    assert levels[Gauges.records_beyond] == 4
    assert {each.partition for each in writer.outputs if each.topic == "calllog.legs"} == {0, 2}
    assert auditor._sound, "looked at with the rest, it withholds nothing"


async def test_nothing_left_is_absent_and_gone(tmp_path: Path) -> None:
    assert (await audited(Log(), tmp_path))[0] == ["rewritten", "absent", "gone"]


async def test_a_tombstone_left_is_absent_only(tmp_path: Path) -> None:
    assert (await audited(Log([Record(LEG, None)]), tmp_path))[0] == ["rewritten", "absent"]


async def test_a_value_left_is_an_alarm_and_no_certificate(tmp_path: Path) -> None:
    stages, levels = await audited(Log([Record(LEG, b"sealed"), Record(LEG, None)]), tmp_path)
    assert stages == ["rewritten"]
    assert levels[Gauges.erase_unobserved_oldest_s] == 600
    assert levels[Gauges.erasures_overdue] == 0


async def test_a_value_left_on_one_disk_alone_is_no_certificate(tmp_path: Path) -> None:
    disk = Look.for_([NAME])
    disk.record(LEG, b"sealed")
    assert (await audited(Log(), tmp_path, [Look.for_([NAME]), disk]))[0] == ["rewritten"]


@pytest.mark.parametrize(
    "log",
    [Log(in_sync=2), Log(open=[0]), Log(findings=[Finding("cleanup.policy", good=False)])],
    ids=["a replica out of sync", "an open transaction", "a drifted setting"],
)
async def test_nothing_is_certified_while_something_is_wrong(log: Log, tmp_path: Path) -> None:
    assert (await audited(log, tmp_path))[0] == ["rewritten"]


async def test_an_overdue_erasure_is_an_alarm_and_never_a_certificate(tmp_path: Path) -> None:
    stages, levels = await audited(Log([Record(LEG, b"sealed"), Record(LEG, None)], minutes=91), tmp_path)
    assert stages == ["rewritten"]
    assert levels[Gauges.erasures_overdue] == 1


@pytest.mark.parametrize(
    ("broken", "level"),
    [
        (Cleaner(uncleanable=2, dead=0, delay_s=0), Gauges.cleaner_uncleanable),
        (Cleaner(uncleanable=0, dead=1, delay_s=0), Gauges.cleaner_dead_threads),
        (None, Gauges.cleaner_silent_pages),
    ],
    ids=["an uncleanable partition", "a dead thread", "a silent page"],
)
async def test_nothing_is_certified_while_a_cleaner_has_stopped(
    broken: Cleaner | None, level: GaugeMetric, tmp_path: Path
) -> None:
    stages, levels = await audited(Log(), tmp_path, cleaners=[WELL, broken])
    assert stages == ["rewritten"]
    assert levels[level] == (2 if level == Gauges.cleaner_uncleanable else 1)
    assert levels[Gauges.cleaner_delay_s] == 4


async def test_brokers_that_show_no_page_are_not_held_against_the_log(tmp_path: Path) -> None:
    assert (await audited(Log(), tmp_path, cleaners=[]))[0] == ["rewritten", "absent", "gone"]


async def test_a_tombstone_key_that_outlives_its_objective_is_an_alarm_too(tmp_path: Path) -> None:
    seen = result(b".absent", DONE)
    log = Log([Record(LEG, None)], minutes=31 * 60)
    log.ledger.append(seen)
    stages, levels = await audited(log, tmp_path)
    assert stages == []
    assert (levels[Gauges.erasures_overdue], levels[Gauges.erase_unobserved_oldest_s]) == (1, 0)


async def test_an_erasure_that_no_keeper_has_done_is_overdue_as_well(tmp_path: Path) -> None:
    log = Log(minutes=91)
    log.ledger.pop()
    stages, levels = await audited(log, tmp_path)
    assert stages == []
    assert (levels[Gauges.erasures_overdue], levels[Gauges.erase_unobserved_oldest_s]) == (1, 91 * 60)


RESTRICTED = [
    Record(LEDGER, encode(msgspec.structs.replace(DECISION, type="restrict"))),
    result(b".done", msgspec.structs.replace(DONE, stage="traced", legs=0)),
]


async def test_nothing_is_remembered_of_decisions_of_which_nothing_is_observed(tmp_path: Path) -> None:
    """The ledger only grows: their results were kept for ever, as if a decision were still to come."""
    auditor, _, _ = await made(Log(ledger=RESTRICTED), tmp_path)
    assert auditor._watched == {0: {}}


async def test_a_result_whose_decision_does_not_come_is_forgotten_after_a_day(tmp_path: Path) -> None:
    log = Log(ledger=[*RESTRICTED])
    auditor, _, _ = await made(log, tmp_path)
    await auditor.unit({TopicPartition("privacy.decisions", 0): RESTRICTED})
    for days, left in ((0, 1), (1, 1), (2, 0)):
        log.minutes = 10 + days * 24 * 60
        await auditor._observe()
        assert (days, len(auditor._watched[0])) == (days, left)


async def test_of_a_decision_written_anew_the_result_may_stand_before_it(tmp_path: Path) -> None:
    """A desk that went on after a crash wrote it once more, and the log keeps the later record alone."""
    ledger = [result(b".done", DONE), Record(LEDGER, encode(DECISION), offset=2)]
    assert (await audited(Log(ledger=ledger), tmp_path))[0] == ["rewritten", "absent", "gone"]


async def test_bytes_that_could_not_be_read_are_no_certificate(tmp_path: Path) -> None:
    disk = Look.for_([NAME])
    disk.unread = 1
    assert (await audited(Log(), tmp_path, [disk]))[0] == ["rewritten"]


async def test_an_erasure_that_is_too_young_rides_on_no_look(tmp_path: Path) -> None:
    """A producer may still hold a unit that it began before: a look for an older erasure proves nothing of this one."""
    younger = Outcome(stage="tombstoned", partition=0, legs=1, barrier=1, up_to=2, by="keeper", **COMMON)
    other = OTHER.encode() + b"." + CASE.encode()
    log = Log()
    log.ledger += [
        Record(other, encode(msgspec.structs.replace(DECISION, pseudonym=OTHER)), offset=2),
        result(b".done", msgspec.structs.replace(younger, at=NOW + timedelta(minutes=9)), of=other),
    ]
    assert (await audited(log, tmp_path))[0] == ["rewritten", "rewritten", "absent", "gone"]


@pytest.mark.parametrize(("hours", "looks"), [(23, 0), (25, 1)])
async def test_a_tombstone_is_not_looked_for_while_the_topic_keeps_it(tmp_path: Path, hours: int, looks: int) -> None:
    log = Log([Record(LEG, None)], minutes=hours * 60)
    log.ledger.append(result(b".absent", DONE))
    await audited(log, tmp_path)
    assert log.looks == looks


async def test_a_partition_rests_after_a_look_for_as_long_as_the_look_took(monkeypatch: pytest.MonkeyPatch) -> None:
    log, now = Log(), [1000.0]
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now[0])

    async def slow(topic: str, partitions: Sequence[int], visit: Callable[[Any], None]) -> dict[int, tuple[int, int]]:
        now[0] += 5
        return await log.read_each(topic, partitions, visit)

    slowly, disks = SimpleNamespace(read_each=slow), lambda *_: list[Look]()
    observation = Observation("calllog.legs", context(AuditorContext, log=slowly, disks=disks, clock=log))
    assert not observation.rests(0)
    await observation.look(0, [NAME], 3, 3)
    assert observation.rests(0)
    assert not observation.rests(1)
    now[0] += 5
    assert not observation.rests(0)


TOKEN = OTHER


def partial(kind: str, stage: str) -> list[Record]:
    """The ledger after a decision over one record of a living person."""
    decision = msgspec.structs.replace(DECISION, type=kind, range="sealed" if kind == "erase" else None)
    done = msgspec.structs.replace(DONE, stage=stage, tokens=(TOKEN,))
    return [Record(LEDGER, encode(decision)), result(b".done", done)]


ALIVE = Record(NAME.encode() + b"." + CASE.encode(), b"another record of the same person")
VALUE, GONE = Record(LEG, b"sealed"), Record(LEG, None)


@pytest.mark.parametrize(
    ("kind", "stage", "legs", "told"),
    [
        ("erase", "tombstoned", [VALUE, GONE, ALIVE], []),
        ("erase", "tombstoned", [GONE, ALIVE], ["absent"]),
        ("object", "tombstoned", [ALIVE], ["absent", "gone"]),
        ("rectify", "rewritten", [VALUE, VALUE, ALIVE], []),
        ("rectify", "rewritten", [VALUE, ALIVE], ["absent"]),
        ("rectify", "failed", [ALIVE], []),
        ("restrict", "tombstoned", [], []),
    ],
)
async def test_of_a_living_person_the_decided_records_alone_must_be_seen_gone(
    tmp_path: Path, kind: str, stage: str, legs: list[Record], told: list[str]
) -> None:
    log = Log(legs, ledger=partial(kind, stage), minutes=60 * 26)
    assert (await audited(log, tmp_path))[0] == told


async def test_an_old_value_on_one_disk_alone_is_no_certificate_of_a_correction(tmp_path: Path) -> None:
    """Each place may hold the one corrected value; what a move has left behind may hold none."""
    here, left = Look.for_([LEG.decode()]), Look.for_([LEG.decode()])
    here.record(LEG, b"new")
    left.record(LEG, b"old")
    left.live = False
    log = Log([VALUE], ledger=partial("rectify", "rewritten"))
    assert (await audited(log, tmp_path, [here]))[0] == ["absent"]
    assert (await audited(log, tmp_path, [here, left]))[0] == []


@pytest.mark.parametrize(
    "forged",
    [
        Record(LEDGER + b".done", encode(DONE), offset=1),
        Record(LEDGER + b".done", OutcomeKey(b"x" * 32).vouched(DONE, LEDGER + b".done"), offset=1),
        Record(LEDGER + b".done", KEY.vouched(DONE, LEDGER + b".legs"), offset=1),
        Record(LEDGER + b".done", KEY.vouched(DONE, TO_DESK), offset=1),
    ],
    ids=["without a mac", "by another key", "moved from another result", "moved from the desk's topic"],
)
async def test_nothing_is_certified_on_the_word_of_whoever_may_write_to_the_ledger(
    forged: Record, tmp_path: Path
) -> None:
    """An erasure that no keeper has done is looked for under the wrong names, and is never certified."""
    log = Log(minutes=91)
    log.ledger[1] = forged
    stages, levels = await audited(log, tmp_path)
    assert stages == []
    assert levels[Gauges.erasures_overdue] == 1


async def test_what_is_said_to_be_gone_already_is_looked_for_all_the_same(tmp_path: Path) -> None:
    log = Log()
    log.ledger.append(Record(LEDGER + b".gone", encode(DONE), offset=2))
    assert (await audited(log, tmp_path))[0] == ["rewritten", "absent", "gone"]
