"""Where a role goes on: gaps halt, what nobody lost does not, and an acceptance covers what was shown alone."""

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from calllog_guard.adapters.memory.extents import MemoryExtents
from calllog_guard.adapters.memory.fakes import MemoryKeystore
from calllog_guard.core.codec import decode, encode
from calllog_guard.core.identifiers import id_text
from calllog_guard.core.officers.acceptances import ACCEPTANCES, Acceptance, Accepted, AcceptedSpan
from calllog_guard.core.stream.beginnings import (
    NO_ID,
    Extent,
    Gap,
    Reached,
    Start,
    begin,
    reached_entry,
    reached_key,
    read_reached,
)
from calllog_guard.errors import ConfigurationError, EntryCorruptError, LogSilentError, NewerFormError, RecordsLostError
from calllog_guard.metrics import CounterMetric, Counters, GaugeMetric, Gauges
from calllog_guard.ports.log import TopicPartition
from calllog_guard.workers.runtime import beginnings as module
from calllog_guard.workers.runtime.beginnings import Beginnings, take_over
from calllog_guard.workers.runtime.reads import Reads

PLACE = ("calllog.events", 0)
OLD, NEW = id_text(b"o" * 16), id_text(b"n" * 16)
AT = datetime(2026, 11, 24, 9, tzinfo=UTC)
EVENTS, CASES = "calllog.events", "privacy.cases"
READS = Reads(role="protector", group="g", topics=(EVENTS,), whole={CASES: 1}, fixed=None)


def accept(*spans: AcceptedSpan, topic: str = EVENTS, known: str = NEW) -> list[Accepted]:
    """What an officer has signed."""
    return [Accepted(Acceptance(tenant="iocom", topic=topic, id=known, spans=spans, at=AT), "officer-1")]


def span(from_: int, to: int, *, was: str = NEW, partition: int = 0) -> AcceptedSpan:
    """One partition of it."""
    return AcceptedSpan(partition=partition, was=was, from_=from_, to=to)


@pytest.mark.parametrize(
    ("extent", "reached", "committed", "expected"),
    [
        (Extent(NEW, 0, 9), Reached(NEW, 5), 7, Start(7)),  # the group's word is younger than the keystore's
        (Extent(NEW, 0, 9), Reached(NEW, 5), None, Start(5)),  # Kafka has forgotten what was committed
        (Extent(NEW, 0, 9), Reached(NEW, 5), 2, Start(2)),  # an operator wants a replay
        (Extent(NEW, 4, 9), Reached(NEW, 5), 2, Start(4)),  # ... of what is left: it was read before
        (Extent(NEW, 5, 9), Reached(NEW, 5), 5, Start(5)),  # cut up to where it was read
        (Extent(NEW, 8, 9), Reached(NEW, 5), 7, Gap(*PLACE, "trimmed", NEW, 7, NEW, 8)),
        (Extent(NEW, 8, 9), Reached(NEW, 0), None, Gap(*PLACE, "trimmed", NEW, 0, NEW, 8)),
        (Extent(NEW, 9, 9), Reached(NEW, 5), 5, Gap(*PLACE, "trimmed", NEW, 5, NEW, 9)),  # all of it
        (Extent(NEW, 0, 50), Reached(OLD, 5), 7, Gap(*PLACE, "anew", OLD, 5, NEW, 0)),
        (Extent(NEW, 3, 50), Reached(OLD, 5), None, Gap(*PLACE, "anew", OLD, 5, NEW, 3)),
        (Extent(NEW, 0, 4), Reached(NEW, 5), 5, Gap(*PLACE, "cut_short", NEW, 5, NEW, 0)),
        (Extent(NEW, 0, 9), Reached(NEW, 5, torn=True), 5, Gap(*PLACE, "cut_short", NEW, 5, NEW, 0)),  # grown since
        (Extent(NEW, 0, 9), Reached(NO_ID, 5), 5, Start(5)),
        (Extent(NO_ID, 0, 9), Reached(OLD, 5), 5, Start(5)),  # brokers that know no ids
    ],
)
def test_what_is_gone_unread_is_a_gap_and_nothing_else_is(
    extent: Extent, reached: Reached, committed: int | None, expected: Start | Gap
) -> None:
    assert begin(PLACE, extent, reached, committed, ()) == expected


@pytest.mark.parametrize(
    ("extent", "reached", "spans", "expected"),
    [
        (Extent(NEW, 8, 9), Reached(NEW, 5), [span(5, 8)], Start(8, 3)),
        (Extent(NEW, 8, 9), Reached(NEW, 6), [span(5, 8)], Start(8, 2)),  # the worker had read more than was shown
        (Extent(NEW, 8, 9), Reached(NEW, 4), [span(5, 8)], Gap(*PLACE, "trimmed", NEW, 4, NEW, 8)),  # ... less
        (
            Extent(NEW, 9, 9),
            Reached(NEW, 5),
            [span(5, 8)],
            Gap(*PLACE, "trimmed", NEW, 5, NEW, 9),
        ),  # more is gone since
        (Extent(NEW, 8, 9), Reached(NEW, 5), [span(5, 8, partition=1)], Gap(*PLACE, "trimmed", NEW, 5, NEW, 8)),
        (Extent(NEW, 8, 9), Reached(NEW, 5), [span(5, 8, was=OLD)], Gap(*PLACE, "trimmed", NEW, 5, NEW, 8)),
        (Extent(NEW, 0, 9), Reached(OLD, 5), [span(5, 0, was=OLD)], Start(0, anew=True)),
        (Extent(NEW, 0, 9), Reached(OLD, 5), [span(5, 0)], Gap(*PLACE, "anew", OLD, 5, NEW, 0)),
        (Extent(NEW, 4, 9), Reached(OLD, 5), [span(5, 0, was=OLD)], Gap(*PLACE, "trimmed", NEW, 0, NEW, 4)),
        (Extent(NEW, 4, 9), Reached(OLD, 5), [span(5, 0, was=OLD), span(0, 4)], Start(4, 4, anew=True)),
        (Extent(NEW, 0, 9), Reached(NEW, 5, torn=True), [span(5, 0)], Start(0, anew=True)),
        (Extent(NEW, 0, 3), Reached(NEW, 5), [span(7, 0)], Gap(*PLACE, "cut_short", NEW, 5, NEW, 0)),  # another time's
    ],
)
def test_an_acceptance_covers_what_was_shown_and_nothing_else(
    extent: Extent, reached: Reached, spans: Sequence[AcceptedSpan], expected: Start | Gap
) -> None:
    """Repeated, moved or grown older, an officer's word must not let anything pass that no officer saw."""
    assert begin(PLACE, extent, reached, None, accept(*spans)) == expected
    assert begin(PLACE, extent, reached, None, accept(*spans, *spans)) == expected


def test_an_acceptance_of_another_topic_or_of_its_next_namesake_says_nothing() -> None:
    extent, reached = Extent(NEW, 8, 9), Reached(NEW, 5)
    for signed in (accept(span(5, 8), topic="calllog.other"), accept(span(5, 8), known=OLD)):
        assert isinstance(begin(PLACE, extent, reached, None, signed), Gap)


def test_a_gap_tells_its_offsets_in_a_sentence() -> None:
    for kind in ("trimmed", "anew", "cut_short"):
        gap = Gap(*PLACE, kind, OLD, 5, NEW, 8)
        assert "calllog.events" in str(gap)
        assert "5" in str(gap)
    assert Gap(*PLACE, "trimmed", OLD, 5, NEW, 8).records == 3
    assert Gap(*PLACE, "anew", OLD, 5, NEW, 0).records is None


@pytest.mark.parametrize("reached", [Reached(OLD, 0), Reached(NEW, 2**63), Reached(NO_ID, 7, torn=True)])
def test_an_entry_reads_as_it_was_written(reached: Reached) -> None:
    assert read_reached(reached_entry(reached)) == reached


@pytest.mark.parametrize("entry", [b"", b"5", b"\x02", bytes(26), bytes(27)])
def test_an_entry_of_another_form_is_refused(entry: bytes) -> None:
    with pytest.raises(EntryCorruptError):
        read_reached(entry)


def test_an_entry_of_a_later_release_halts() -> None:
    with pytest.raises(NewerFormError):
        read_reached(b"\x02" + reached_entry(Reached(OLD, 5))[1:])


def test_stored_forms_are_as_they_were() -> None:
    """Golden bytes of what the keystore keeps, and of what an officer signs."""
    golden = json.loads((Path(__file__).parents[3] / "vectors" / "beginnings_v1.json").read_text())
    (signed,) = accept(span(5, 0, was=OLD, partition=3))
    assert golden["reached"] == reached_entry(Reached(NEW, 258)).hex()
    assert golden["reached_torn"] == reached_entry(Reached(NEW, 258, torn=True)).hex()
    assert golden["acceptance"] == encode(signed.claims).decode()
    assert decode(ACCEPTANCES, golden["acceptance"].encode()) == signed.claims


# --- a worker's beginnings ------------------------------------------------------------------------------------------


class Installed:
    """A keystore, topics, and a worker that starts again and again."""

    def __init__(self, reads: Reads = READS) -> None:
        self.keystore, self.extents, self.reads = MemoryKeystore(), MemoryExtents(), reads
        self.signed: list[Accepted] = []
        self.counts: Counter[CounterMetric] = Counter()
        self.levels: dict[GaugeMetric, float] = {}
        for topic in reads.topics:
            self.extents.create(topic, reads.fixed or 2)
        for topic, many in reads.whole.items():
            self.extents.create(topic, many)

    def worker(self) -> Beginnings:
        """As at a process' start."""

        async def accepted() -> list[Accepted]:
            return self.signed

        def count(name: CounterMetric, by: int) -> None:
            self.counts[name] += by

        return Beginnings(self.reads, self.keystore, self.extents, accepted, count, self.levels.__setitem__)

    def accept(self, gap: Gap) -> None:
        """As `topics accept` does with what it shows."""
        self.signed += accept(gap.span, topic=gap.topic, known=gap.id)

    async def read_up(self, partition: int = 0, topic: str = EVENTS) -> None:
        """A worker reads all there is, commits it, and stops."""
        worker = self.worker()
        await worker.begin()
        end = self.extents.topics[topic].bounds[partition][1]
        self.extents.commit("g", topic, partition, end)
        await worker.keep({TopicPartition(topic, partition): end}, now=True)


async def gap_of(worker: Beginnings, installed: Installed, topic: str = EVENTS, partition: int = 0) -> Gap:
    """What a worker halts over."""
    with pytest.raises(RecordsLostError, match="topics accept " + topic):
        await worker.begin()
    from calllog_guard.workers.runtime.beginnings import standing  # noqa: PLC0415 - as the command looks

    there = await standing(installed.reads, installed.keystore, installed.extents, keep=False)
    (gap,) = [each for each in there.judged(())[1] if (each.topic, each.partition) == (topic, partition)]
    return gap


async def test_a_topic_that_was_cut_before_anybody_came_has_no_gap() -> None:
    """(a) A first start on a topic whose beginning is gone: nobody here has lost it."""
    installed = Installed()
    installed.extents.append(EVENTS, 0, 50)
    installed.extents.trim(EVENTS, 0, 20)
    assert await installed.worker().begin() == {(EVENTS, 0): 20, (EVENTS, 1): 0}
    installed.extents.trim(EVENTS, 0, 30)
    assert (await gap_of(installed.worker(), installed)).from_ == 20


async def test_a_cut_behind_what_is_committed_is_no_gap() -> None:
    """(c) Our own trim."""
    installed = Installed()
    installed.extents.append(EVENTS, 0, 50)
    await installed.read_up()
    installed.extents.trim(EVENTS, 0, 50)
    assert (await installed.worker().begin())[EVENTS, 0] == 50
    assert not +installed.counts


async def test_a_gap_halts_is_counted_and_goes_on_once_accepted() -> None:
    installed = Installed()
    installed.extents.append(EVENTS, 0, 50)
    await installed.read_up()
    installed.extents.append(EVENTS, 0, 50)
    installed.extents.trim(EVENTS, 0, 70)
    gap = await gap_of(installed.worker(), installed)
    assert (gap.kind, gap.from_, gap.to, gap.records) == ("trimmed", 50, 70, 20)
    assert installed.counts[Counters.records_lost["calllog.events", "0"]] == 20
    installed.accept(gap)
    installed.accept(gap)  # twice does no harm
    assert (await installed.worker().begin())[EVENTS, 0] == 70
    installed.extents.trim(EVENTS, 0, 71)  # what was accepted is not more than what was shown
    with pytest.raises(RecordsLostError):
        await installed.worker().begin()


async def test_offsets_that_kafka_forgot_are_known_all_the_same() -> None:
    """(d) `offsets.retention.minutes`, or a deleted group: neither replays all, nor passes over what is gone."""
    installed = Installed()
    installed.extents.append(EVENTS, 0, 50)
    await installed.read_up()
    installed.extents.groups.clear()
    assert (await installed.worker().begin())[EVENTS, 0] == 50
    installed.extents.append(EVENTS, 0, 50)
    installed.extents.trim(EVENTS, 0, 60)
    assert (await gap_of(installed.worker(), installed)).records == 10


async def test_an_upgrade_takes_over_what_is_committed() -> None:
    """A release before kept nothing in the keystore."""
    installed = Installed()
    installed.extents.append(EVENTS, 0, 50)
    installed.extents.commit("g", EVENTS, 0, 30)
    assert await installed.worker().begin() == {(EVENTS, 0): 30, (EVENTS, 1): 0}
    installed.extents.groups.clear()
    assert (await installed.worker().begin())[EVENTS, 0] == 30


@pytest.mark.parametrize("marked", [True, False])
async def test_an_offset_that_somebody_set_ahead_is_believed_in_the_first_release_alone(*, marked: bool) -> None:
    """`kafka-consumer-groups --reset-offsets --to-latest` loses what lies between unseen; those workers do not mark."""
    installed = Installed(replace(READS, marked=marked))
    installed.extents.append(EVENTS, 0, 50)
    await installed.read_up()
    installed.extents.append(EVENTS, 0, 50)
    installed.extents.commit("g", EVENTS, 0, 90, ours=False)
    assert (await installed.worker().begin())[EVENTS, 0] == (50 if marked else 90)
    assert (await installed.worker().begin())[EVENTS, 0] == (50 if marked else 90), "nor later"
    installed.reads = replace(READS, marked=True)  # after `tenant upgrade`
    assert (await installed.worker().begin())[EVENTS, 0] == (50 if marked else 90), "what was believed stays so"
    installed.extents.trim(EVENTS, 0, 90)
    if marked:
        assert (await gap_of(installed.worker(), installed)).records == 40
    installed.extents.commit("g", EVENTS, 0, 95)
    assert (await installed.worker().begin())[EVENTS, 0] == 95, "a worker of ours got that far before it crashed"


async def test_an_upgrade_keeps_how_far_workers_of_the_first_release_have_read() -> None:
    """A later release had read, then the first again, and the topic was cut behind it: no gap, though none marked."""
    installed = Installed(replace(READS, marked=False))
    installed.extents.append(EVENTS, 0, 50)
    await installed.read_up()
    installed.extents.append(EVENTS, 0, 50)
    installed.extents.commit("g", EVENTS, 0, 90, ours=False)
    installed.extents.trim(EVENTS, 0, 80)
    await take_over(installed.reads, installed.keystore, installed.extents)
    installed.reads = replace(READS, marked=True)
    assert (await installed.worker().begin())[EVENTS, 0] == 90
    installed.extents.trim(EVENTS, 0, 95)
    assert (await gap_of(installed.worker(), installed)).from_ == 90


async def test_an_upgrade_hides_no_gap() -> None:
    installed = Installed(replace(READS, marked=False))
    installed.extents.append(EVENTS, 0, 50)
    await installed.read_up()
    installed.extents.append(EVENTS, 0, 50)
    installed.extents.commit("g", EVENTS, 0, 60, ours=False)
    installed.extents.trim(EVENTS, 0, 80)
    await take_over(installed.reads, installed.keystore, installed.extents)
    installed.reads = replace(READS, marked=True)
    gap = await gap_of(installed.worker(), installed)
    assert (gap.from_, gap.to) == (60, 80)


async def test_a_partition_that_a_topic_gets_is_read_from_its_first_record() -> None:
    installed = Installed()
    installed.extents.append(EVENTS, 0, 50)
    await installed.read_up()
    installed.extents.grow(EVENTS, 3)
    installed.extents.append(EVENTS, 2, 9)
    assert (await installed.worker().begin())[EVENTS, 2] == 0
    installed.extents.grow(EVENTS, 4)
    installed.extents.append(EVENTS, 3, 9)
    installed.extents.trim(EVENTS, 3, 4)
    assert (await gap_of(installed.worker(), installed, partition=3)).records == 4


async def test_a_topic_made_anew_is_known_by_its_id_whatever_lies_at_the_old_offsets() -> None:
    installed = Installed()
    installed.extents.append(EVENTS, 0, 50)
    await installed.read_up()
    installed.extents.create(EVENTS, 2)
    installed.extents.append(EVENTS, 0, 90)
    installed.extents.commit("g", EVENTS, 0, 50)  # a commit that overtook the deletion
    gap = await gap_of(installed.worker(), installed)
    assert (gap.kind, gap.from_, gap.to, gap.records) == ("anew", 50, 0, None)
    installed.accept(gap)
    with pytest.raises(RecordsLostError):  # the other partition is not accepted yet
        await installed.worker().begin()
    installed.accept(await gap_of(installed.worker(), installed, partition=1))
    worker = installed.worker()
    assert await worker.begin() == {(EVENTS, 0): 0, (EVENTS, 1): 0}
    assert sorted(worker.began_anew(EVENTS)) == [0, 1]


async def test_a_crash_before_anything_was_committed_begins_anew_again() -> None:
    """What the keystore keeps follows what is committed: an old topic's offset, left by a race, must not come back."""
    installed = Installed()
    installed.extents.append(EVENTS, 0, 50)
    await installed.read_up()
    installed.extents.create(EVENTS, 2)
    installed.extents.append(EVENTS, 0, 90)
    for partition in (0, 1):
        installed.accept(await gap_of(installed.worker(), installed, partition=partition))
    assert (await installed.worker().begin())[EVENTS, 0] == 0
    installed.extents.commit("g", EVENTS, 0, 50)
    assert (await installed.worker().begin())[EVENTS, 0] == 0


async def test_a_running_worker_notices_a_topic_made_anew_at_its_next_look() -> None:
    installed = Installed()
    installed.extents.append(EVENTS, 0, 50)
    worker = installed.worker()
    await worker.begin()
    await worker.look({TopicPartition(EVENTS, 0): 50})
    installed.extents.create(EVENTS, 2)
    installed.extents.append(EVENTS, 0, 90)
    with pytest.raises(RecordsLostError, match="made anew"):
        await worker.look({TopicPartition(EVENTS, 0): 60})
    (kept,) = await installed.keystore.read([reached_key("protector", EVENTS, 0)])
    assert kept is not None
    assert read_reached(kept).offset == 50, "what was read of the new one under old offsets counts for nothing"


async def test_a_position_that_the_log_has_passed_by_halts_in_the_middle_of_a_run() -> None:
    installed = Installed()
    installed.extents.append(EVENTS, 0, 90)
    worker = installed.worker()
    await worker.begin()
    await worker.out_of_range({TopicPartition(EVENTS, 0): 50})
    installed.extents.trim(EVENTS, 0, 60)
    with pytest.raises(RecordsLostError, match="records 50 to 59 are gone unread"):
        await worker.out_of_range({TopicPartition(EVENTS, 0): 50})
    assert installed.counts[Counters.records_lost["calllog.events", "0"]] == 10


async def test_an_end_below_what_was_read_waits_for_its_leader_then_halts_for_good(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A new leader may not be whole yet; one that never will be has lost records, and others take their offsets."""
    installed = Installed()
    installed.extents.append(EVENTS, 0, 50)
    await installed.read_up()
    installed.extents.tear(EVENTS, 0, 40)
    worker = installed.worker()
    with pytest.raises(LogSilentError):
        await worker.begin()
    installed.extents.append(EVENTS, 0, 10)
    assert (await worker.begin())[EVENTS, 0] == 50
    installed.extents.tear(EVENTS, 0, 40)
    monkeypatch.setattr(module, "_LEADER_S", 0.0)
    with pytest.raises(RecordsLostError, match="lost its end"):
        await worker.begin()
    installed.extents.append(EVENTS, 0, 90)  # now there is something at offset 50, and it is another record
    gap = await gap_of(installed.worker(), installed)
    installed.accept(gap)
    assert (await installed.worker().begin())[EVENTS, 0] == 0


async def test_what_is_read_whole_may_lose_nothing_at_its_beginning() -> None:
    """Nobody is behind on a topic that is read from its beginning at every start: who cuts it makes a worker forget."""
    installed = Installed()
    installed.extents.append(CASES, 0, 50)
    await installed.worker().begin()
    installed.extents.trim(CASES, 0, 20)
    gap = await gap_of(installed.worker(), installed, CASES)
    assert (gap.kind, gap.from_, gap.to) == ("trimmed", 0, 20)
    installed.accept(gap)
    await installed.worker().begin()
    installed.extents.create(CASES, 1)
    gap = await gap_of(installed.worker(), installed, CASES)
    assert gap.kind == "anew"
    installed.accept(gap)
    await installed.worker().begin()
    await installed.worker().begin()


async def test_a_running_worker_notices_what_is_cut_off_a_topic_that_is_read_whole() -> None:
    """Its memory is whole, its next start's would not be."""
    installed = Installed()
    installed.extents.append(CASES, 0, 50)
    worker = installed.worker()
    await worker.begin()
    await worker.look({})
    installed.extents.trim(CASES, 0, 20)
    worker._keep_at = 0.0  # half a minute later
    with pytest.raises(RecordsLostError, match="begins at offset 20"):
        await worker.look({})


@pytest.mark.parametrize("topic", [EVENTS, CASES])
async def test_a_topic_that_is_missing_or_smaller_is_refused_with_what_to_do(topic: str) -> None:
    installed = Installed(Reads(role="desk", group="g", topics=(EVENTS,), whole={CASES: 2}, fixed=2))
    await installed.worker().check()
    there = installed.extents.topics.pop(topic)
    with pytest.raises(ConfigurationError, match="topics create"):
        await installed.worker().check()
    installed.extents.topics[topic] = there
    there.bounds.pop()
    with pytest.raises(ConfigurationError, match="has 1 partitions and was created with 2"):
        await installed.worker().begin()


async def test_topics_of_events_may_be_missing_one_by_one_and_not_all() -> None:
    installed = Installed(Reads(role="protector", group="g", topics=(EVENTS, "other"), whole={}, fixed=None))
    del installed.extents.topics["other"]
    assert await installed.worker().check() == [EVENTS]
    assert installed.levels[Gauges.topics_missing] == 1
    assert set(await installed.worker().begin()) == {(EVENTS, 0), (EVENTS, 1)}
    del installed.extents.topics[EVENTS]
    with pytest.raises(ConfigurationError, match="no topic"):
        await installed.worker().check()


async def test_bytes_that_somebody_wrote_over_an_entry_hide_no_gap_and_are_no_dead_end() -> None:
    installed = Installed()
    installed.extents.append(EVENTS, 0, 50)
    await installed.read_up()
    place = reached_key("protector", EVENTS, 0)
    await installed.keystore.put({place: b"rubbish"})
    assert (await installed.worker().begin())[EVENTS, 0] == 50, "the group's word is still there"
    installed.extents.groups.clear()
    installed.extents.trim(EVENTS, 0, 20)
    gap = await gap_of(installed.worker(), installed)
    assert gap.from_ == 0
    installed.accept(gap)
    assert (await installed.worker().begin())[EVENTS, 0] == 20


async def test_two_workers_that_begin_at_once_agree() -> None:
    installed = Installed()
    installed.extents.append(EVENTS, 0, 50)
    installed.extents.trim(EVENTS, 0, 20)
    first, second = await asyncio.gather(*(installed.worker().begin() for _ in range(2)))
    assert first == second
