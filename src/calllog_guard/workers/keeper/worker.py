"""
The keeper: indexes its partitions, enforces decisions (`enforcement/enforcer.py`), sweeps (`expiry/sweeper.py`).

Rules: 1. Once its erasure is done, an erased pseudonym is tombstoned on sight; until then its legs are indexed, so that
          they are counted and tombstoned together at the barrier.
       2. A result is kept in the ledger, so that a rebuild never reports anew.
Source: docs/explanation/design.md, docs/contributing/architecture.md.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import structlog

from calllog_guard.core.codec import BEAT, to_ms
from calllog_guard.core.decisions.decision import Decision, Entry, decision_in, open_entry
from calllog_guard.core.decisions.outcome import DONE, is_result, legs_part
from calllog_guard.core.identifiers import Pseudonym, Token, partition_of, split_key
from calllog_guard.core.records import Output, tombstone
from calllog_guard.core.requests.types import EXPORTS, LINKS
from calllog_guard.core.stream.anchor import ANCHOR
from calllog_guard.core.stream.arrival import content
from calllog_guard.core.stream.heartbeats import plain
from calllog_guard.core.topics import Topic
from calllog_guard.errors import EntryUnreadableError, EpochUnknownError, MessageError, RecordError
from calllog_guard.metrics import Counters, Gauges
from calllog_guard.ports.fault_injection import CrashPoints
from calllog_guard.ports.log import TopicPartition
from calllog_guard.ports.process import Duty
from calllog_guard.ports.state import Index, LegFacts, Pending
from calllog_guard.settings import Settings
from calllog_guard.workers.keeper.arrivals import UNJUDGED, facts_of, stray_of
from calllog_guard.workers.keeper.backlog import Backlog
from calllog_guard.workers.keeper.context import INDEX_FORM, KeeperContext
from calllog_guard.workers.keeper.enforcement.enforcer import Enforcer
from calllog_guard.workers.keeper.enforcement.exports import Exporter
from calllog_guard.workers.keeper.enforcement.holds import Preserver
from calllog_guard.workers.keeper.enforcement.person_search import Finder
from calllog_guard.workers.keeper.enforcement.previewing import Measurer
from calllog_guard.workers.keeper.expiry.removal_counts import Removals
from calllog_guard.workers.keeper.expiry.statistics import Statistician
from calllog_guard.workers.keeper.expiry.sweeper import Sweeper
from calllog_guard.workers.keeper.ledger_replay import Replayer
from calllog_guard.workers.keeper.partition import Shard
from calllog_guard.workers.keeper.revisions import REVISED, Revisions
from calllog_guard.workers.runtime.delivery import Unit
from calllog_guard.workers.runtime.parallel import abreast

log: Final = structlog.get_logger()


def index_path(settings: Settings, partition: int) -> Path:
    """Where the index of a partition lies."""
    return Path(settings.state_dir) / f"keeper-{settings.topic(Topic.LEGS)}-{partition}"


def held_path(settings: Settings, partition: int) -> Path:
    """Where the index of the copies of a partition lies."""
    return Path(settings.state_dir) / f"keeper-{settings.topic(Topic.HELD)}-{partition}"


class Keeper:
    """The role that reads legs and decisions, for one tenant."""

    name = "keeper"

    def __init__(self, tools: KeeperContext) -> None:
        self._t, self._dead, self._enforcer = tools, tools.dead, Enforcer(tools)
        self._revisions = Revisions(tools, self._enforcer.arrivals, self._enforcer.copies)
        exporter = Exporter(tools, self._enforcer)
        for kind in EXPORTS:
            self._enforcer.register(kind, exporter.export)
        self._preserver = Preserver(tools, self._enforcer)
        self._enforcer.register("hold", self._preserver.hold)
        self._enforcer.register("release", self._preserver.release)
        self._enforcer.register("search", Finder(tools, self._enforcer).search)
        self._enforcer.register("preview", Measurer(tools, self._enforcer).measure)
        for kind in LINKS:
            self._enforcer.register(kind, self._enforcer.noted)
        self._tenant, self._ring, self._writer, self._settings = tools.tenant, tools.ring, tools.writer, tools.settings
        self._clock, self._count = tools.clock, tools.count
        self._legs, self._decisions = tools.legs, tools.settings.topic(Topic.DECISIONS)
        self.topics: tuple[str, ...] = (self._legs, self._decisions)
        self._steps = CrashPoints(tools.settings.off)
        self._shards: dict[int, Shard] = {}
        self._backlog = Backlog(tools, self._enforcer)
        self._replayer = Replayer(tools, self._enforcer, self._preserver, self._read)
        self._statistician = Statistician(tools)
        self._removals = Removals(tools)
        self.duties = (Duty("accesses", tools.settings.watch_s, self._enforcer.readership.follow),)
        self._sweeper = Sweeper(tools, self._enforcer.copies, (self._statistician, self._removals))

    # --- assignment -------------------------------------------------------------------------------------------------

    async def assigned(self, partitions: Sequence[int]) -> dict[TopicPartition, int]:
        """See Role: an index that is young enough is resumed, any other is built anew."""
        self.close()
        for partition in set(partitions) & set(self._t.began_anew(self._decisions)):
            await self._ring.guard.applied(partition, 0)  # an offset of a ledger that is gone says nothing of this one
        legs, decisions = (
            await self._t.log.starts(self._legs, partitions),
            await self._t.log.starts(self._decisions, partitions),
        )
        self._enforcer.readership.assigned(partitions)
        ends = await self._t.log.ends(self._legs, partitions)
        decided = await self._t.log.ends(self._decisions, partitions)
        places: dict[TopicPartition, int] = {}
        for partition in partitions:
            shard = self._opened(
                partition, (legs[partition], ends[partition]), (decisions[partition], decided[partition])
            )
            shard.known_from = ends[partition]
            records = await self._t.log.read_all(self._decisions, [partition])
            self._remember(shard, records)
            self._backlog.begin(shard)
            self._statistician.begin(partition, records)
            self._removals.begin(partition, records)
            self._shards[partition] = shard
            places[TopicPartition(self._legs, partition)] = shard.legs
            places[TopicPartition(self._decisions, partition)] = shard.decisions
        return places

    def _opened(self, partition: int, legs: tuple[int, int], decisions: tuple[int, int]) -> Shard:
        held, copies = self._held(partition)
        path = index_path(self._settings, partition)
        index = self._t.open_index(path)
        position = index.position()
        oldest = to_ms(self._clock.now()) - self._settings.tombstone_keep_ms // 2
        if (
            position is not None
            and position.form == INDEX_FORM
            and position.topics == self._t.known_as(self._legs, self._decisions)
            and position.at_ms >= oldest
            and legs[0] <= position.legs <= legs[1]
            and decisions[0] <= position.decisions <= decisions[1]
        ):
            places = (partition, index, position.legs, position.decisions, held, copies)
            noted = index.pending()
            pending = {key: each for key, each in noted.items() if not key.startswith((UNJUDGED, REVISED))}
            shard = Shard(*places, pending=pending, unforgotten=True)
            for key in noted.keys() - pending.keys():
                if key.startswith(UNJUDGED):
                    shard.unjudged.failed(key.removeprefix(UNJUDGED).decode())
                else:
                    Revisions.remember(shard, key)
            return shard
        index.destroy()
        return Shard(partition, self._t.open_index(path), legs[0], decisions[0], held, copies)

    def _held(self, partition: int) -> tuple[Index, int]:
        """The index of copies; one of another form, or of another topic, is built anew."""
        path = held_path(self._settings, partition)
        index = self._t.open_index(path)
        position = index.position()
        topic = self._settings.topic(Topic.HELD)
        same = position is not None and position.topics == self._t.known_as(topic)
        if position is not None and same and position.form == INDEX_FORM and partition not in self._t.began_anew(topic):
            return index, position.legs
        index.destroy()
        return self._t.open_index(path), 0

    def _remember(self, shard: Shard, records: Sequence[Any]) -> None:
        """Who is erased and what is done, from the ledger, before the first leg is handled."""
        beats = self._ring.guard.heartbeats
        for record in records:
            self._ring.guard.saw(beats.counter(record) or 0)
        ours = [record for record in records if record.value is not None and record.key and record.key[:1] != b"~"]
        for record in ours:
            if is_result(record.key):
                try:
                    self._result(shard, record)
                except MessageError as error:  # not written by a worker; its dead letter is written when it is handled
                    self._count(Counters.unreadable[error.reason], 1)
        for record in ours:
            if not is_result(record.key):
                try:
                    decision = self._read(shard, record)[0]
                    shard.note(record.key.decode(), decision)
                except MessageError as error:  # not written by a desk; its dead letter is written when it is handled
                    self._count(Counters.unreadable[error.reason], 1)

    def _result(self, shard: Shard, record: Any) -> None:
        """
        What the ledger keeps beside a decision: that it is done, or which legs it is about to remove.

        Raises:
            MessageError: No worker of ours wrote it: it says nothing.

        """
        outcome = self._t.outcome_key.read(record.value, record.key)
        if record.key.endswith(DONE):
            shard.finished(record.key.removesuffix(DONE).decode("ascii", "replace"))
        elif (part := legs_part(record.key)) is not None:
            shard.named(part[0].decode("ascii", "replace")).put(part[1], map(Token, outcome.tokens or ()))

    def _read(self, shard: Shard, record: Any) -> tuple[Decision, Entry | None]:
        """
        A decision whose seal is checked; no entry when it is done and its epoch is gone.

        Raises:
            RecordError: No desk of ours wrote it, or its seal is another's.

        """
        decision = decision_in(record, self._ring.guard.proofs)
        name = f"{decision.pseudonym}.{decision.decision}"
        if record.key != name.encode() or decision.tenant != self._tenant:
            raise RecordError("bad_decision")
        try:
            return decision, open_entry(decision, self._t.ledger_key(decision))
        except EpochUnknownError:
            if name in shard.done:
                return decision, None
            # the walk keeps the epochs of decisions that are not done: nobody's desk wrote this under one that is gone
            raise RecordError("unknown_epoch") from None

    def close(self) -> None:
        """Let go of every index and leave it: whoever opens it next may go on from it."""
        for shard in self._shards.values():
            shard.index.close()
            shard.held.close()
        self._shards.clear()
        self._enforcer.readership.close()

    async def revoked(self, partitions: Sequence[int]) -> None:
        """See Role: the index of a partition that is someone else's now is deleted."""
        for partition in partitions:
            shard = self._shards.pop(partition, None)
            if shard is not None:
                shard.index.destroy()
                shard.held.destroy()
                self._enforcer.readership.left(partition)
                self._statistician.end(partition)
                self._removals.end(partition)

    # --- units ------------------------------------------------------------------------------------------------------

    async def unit(self, unit: Unit) -> None:
        """See Role."""
        await self._replayer.replay(self._shards)
        outputs: list[Output] = []
        for place in [each for each in unit if each.partition not in self._shards]:
            outputs += self._misplaced(unit[place])
        unit = {place: records for place, records in unit.items() if place.partition in self._shards}
        for place, records in sorted(unit.items(), key=lambda item: item[0].topic != self._decisions):
            outputs += await self._taken(self._shards[place.partition], place.topic, records)
        if outputs:
            await self._writer.write(outputs)
        for place, records in unit.items():
            shard = self._shards[place.partition]
            if place.topic == self._legs:
                shard.legs = records[-1].offset + 1
            else:
                shard.decisions = records[-1].offset + 1
        for partition in {place.partition for place in unit}:
            self._t.commit(self._shards[partition])
            await self._revisions.settle(self._shards[partition])

    def _misplaced(self, records: Sequence[Any]) -> list[Output]:
        """What lies in a partition its topic was not created with is nobody's: a dead letter, removed there."""
        outputs: list[Output] = []
        for record in records:
            if record.key == BEAT or record.value is None:
                continue
            outputs.append(self._letter(record, RecordError("wrong_partition")))
            outputs += [Output(record.topic, record.partition, record.key, None)] if record.key is not None else []
        return outputs

    async def _taken(self, shard: Shard, topic: str, records: Sequence[Any]) -> list[Output]:
        """Take the records of one partition in, the barrier of its new decisions included; what is to be written."""
        outputs: list[Output] = []
        fresh: list[Any] = []
        beats = self._ring.guard.heartbeats
        for record in records:
            if beats.ours(record) or plain(record) or record.key == ANCHOR:
                continue
            if topic == self._decisions and self._counting(shard, record):
                continue
            if topic != self._decisions:
                outputs += await self._leg(shard, record)
            else:
                try:
                    if await self._decision(shard, record):
                        fresh.append(record)
                except MessageError as error:
                    outputs.append(self._letter(record, error))
        if fresh:
            await self._pend(shard, fresh)
        return outputs

    def _counting(self, shard: Shard, record: Any) -> bool:
        """Whether a record of the ledger is one of counting."""
        return self._statistician.noted(shard.partition, record) or self._removals.noted(record)

    def _letter(self, record: Any, error: MessageError) -> Output:
        self._count(Counters.dead[error.reason], 1)
        return self._dead.of(record, error)

    async def _leg(self, shard: Shard, record: Any) -> list[Output]:
        key = record.key or b""
        if record.value is None:
            shard.index.remove(key)
            return []
        try:
            pseudonym, _ = split_key(key)
        except ValueError:
            # no release has ever given a leg such a key: it goes, or it may stand in a certificate's way
            junk = [Output(self._legs, shard.partition, key, None)] if key else []
            return [self._letter(record, RecordError("bad_leg")), *junk]
        if partition_of(Pseudonym(pseudonym), self._settings.partitions) != shard.partition:
            # nobody's keeper looks for it here: it goes, or it would outlive its person
            return [self._letter(record, RecordError("bad_leg")), Output(self._legs, shard.partition, key, None)]
        if shard.gone(pseudonym):
            return self._on_sight(shard, key)
        try:
            facts, revised = facts_of(record, self._legs)
        except MessageError as error:
            shard.index.put(key, stray_of(record))
            return [self._letter(record, error)]
        is_kept = facts.mask or revised  # else no purpose covers it, and it stands for no leg that was removed
        if is_kept and (revised or shard.revises):
            self._revisions.note(shard, key, revised=revised)
        return await self._judged(shard, record, pseudonym, facts if is_kept else None)

    async def _judged(self, shard: Shard, record: Any, pseudonym: str, facts: LegFacts | None) -> list[Output]:
        outputs: list[Output] = []
        if facts is not None and pseudonym in shard.ruled:
            try:
                facts, outputs = await self._enforcer.arrivals.judged(shard, record.key, facts, record.value)
            except MessageError as error:
                # it does not open: it stays as it is until it lapses, or goes with its person
                outputs = [self._letter(record, error)]
        if facts is None:
            return [*outputs, *self._on_sight(shard, record.key)]
        self._revisions.replaced(shard.index.facts(record.key), facts)
        shard.index.put(record.key, facts)
        shard.came(pseudonym, record.key)
        return outputs

    def _on_sight(self, shard: Shard, key: bytes) -> list[Output]:
        shard.index.remove(key)
        self._count(Counters.on_sight_tombstones, 1)
        return [tombstone(self._legs, key, self._settings.partitions)]

    async def _decision(self, shard: Shard, record: Any) -> bool:
        """Take a decision in; whether it waits for its barrier now."""
        if record.key is None:
            raise RecordError("bad_decision")
        if content(record) is None:
            return False
        if is_result(record.key):
            self._result(shard, record)
            return False
        decision, entry = self._read(shard, record)
        shard.note(record.key.decode(), decision)
        done = record.key.decode() in shard.done or record.key in shard.pending
        if decision.type == "hold" and record.key.decode() in shard.done:
            await self._preserver.unmark(decision)  # its desk marks it again when it resumes after a crash
        if done or entry is None or not self._enforcer.knows(decision):
            return False
        if decision.total:
            await self._fenced(decision, entry)
            self._steps.reached("enforce.fence")
        return True

    async def _fenced(self, decision: Decision, entry: Entry) -> None:
        """The desk's fence, repeated; by an entry that cannot be used nothing can be stored or opened either."""
        try:
            await self._ring.fence(entry.lookup, to_ms(decision.cut_off), generation=entry.generation)
        except EntryUnreadableError:
            self._count(Counters.keystore_answers["corrupt"], 1)

    async def _pend(self, shard: Shard, records: Sequence[Any]) -> None:
        """The barrier is captured once for all decisions of a unit, after the last of their fences."""
        barrier = (await self._t.log.ends(self._legs, [shard.partition]))[shard.partition]
        for record in records:
            pending = Pending(record.value, barrier, record.offset)
            shard.pending[record.key] = pending
            shard.since[record.key] = asyncio.get_running_loop().time()
            shard.index.pend(record.key, pending)

    # --- between units ----------------------------------------------------------------------------------------------

    async def idle(self) -> None:
        """See Role: judge who could not be judged, finish what has reached its barrier, then sweep."""
        await self._replayer.replay(self._shards)
        shards = list(self._shards.values())
        for shard in shards:
            await self._enforcer.arrivals.again(shard)
            await self._revisions.settle(shard)
        await abreast(self._backlog.finish, shards)
        self._t.level(Gauges.decisions_waiting, sum(len(shard.pauses) for shard in shards))
        self._t.level(Gauges.people_unjudged, sum(len(shard.unjudged) for shard in shards))
        await self._sweeper.sweep(self._shards)
