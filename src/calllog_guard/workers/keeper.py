"""
The keeper: keeps the index of its partitions, enforces decisions in order (`enforce.py`), sweeps (`sweeper.py`).

Rules: 1. Once its erasure is done, an erased pseudonym is tombstoned on sight; until then its legs are indexed, so that
          they are counted and tombstoned together at the barrier.
       2. A result is kept in the ledger, so that a rebuild never reports anew.
Source: design section 9, step 4; section 12.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any, Final

import structlog
from aiokafka import TopicPartition

from calllog_guard.core.arrival import content
from calllog_guard.core.crypto.envelope import parse_header
from calllog_guard.core.ids import split_key
from calllog_guard.core.requests.decision import DECISIONS, Decision, Entry, open_entry
from calllog_guard.core.requests.outcome import DONE, LEGS, is_result
from calllog_guard.core.tombstone import Output, tombstone
from calllog_guard.core.wire import BEAT, BEATS, decode, to_ms
from calllog_guard.errors import EpochUnknownError, LegMovedError, MessageError, RecordError
from calllog_guard.ports import Facts, Index, Pending
from calllog_guard.settings import Settings
from calllog_guard.workers.abreast import abreast, portions
from calllog_guard.workers.delivery import DeadLetters, Steps, Unit
from calllog_guard.workers.enforce import Enforcer, Work
from calllog_guard.workers.exports import Exporter
from calllog_guard.workers.preserve import Preserver
from calllog_guard.workers.replayer import Replayer
from calllog_guard.workers.shard import Shard
from calllog_guard.workers.statistics import Statistician
from calllog_guard.workers.sweeper import Sweeper
from calllog_guard.workers.tools import INDEX_FORM, Tools

log: Final = structlog.get_logger()
ReadAll = Callable[[str, Sequence[int]], Awaitable[list[Any]]]
Offsets = Callable[[str, Sequence[int]], Awaitable[dict[int, int]]]


def index_path(settings: Settings, partition: int) -> Path:
    """Where the index of a partition lies."""
    return Path(settings.state_dir) / f"keeper-{settings.topic('calllog.legs')}-{partition}"


def held_path(settings: Settings, partition: int) -> Path:
    """Where the index of the copies of a partition lies."""
    return Path(settings.state_dir) / f"keeper-{settings.topic('calllog.held')}-{partition}"


class Keeper:
    """The role that reads legs and decisions, for one tenant."""

    name = "keeper"

    def __init__(
        self,
        tools: Tools,
        dead: DeadLetters,
        read_all: ReadAll,
        starts: Offsets,
        ends: Offsets,
        reached: Callable[[str, int], Awaitable[int]],
        open_index: Callable[[Path], Index],
    ) -> None:
        self._t, self._dead, self._enforcer = tools, dead, Enforcer(tools)
        exporter = Exporter(tools, self._enforcer, read_all)
        for kind in ("access", "portability", "disclose"):
            self._enforcer.register(kind, exporter.export)
        self._preserver = Preserver(tools, self._enforcer)
        self._enforcer.register("hold", self._preserver.hold)
        self._enforcer.register("release", self._preserver.release)
        self._tenant, self._ring, self._writer, self._settings = tools.tenant, tools.ring, tools.writer, tools.settings
        self._clock, self._count = tools.clock, tools.count
        self._read_all, self._starts, self._ends = read_all, starts, ends
        self._legs, self._decisions = tools.legs, tools.settings.topic("privacy.decisions")
        self._reached, self._open_index = reached, open_index
        self.topics: tuple[str, ...] = (self._legs, self._decisions)
        self._steps = Steps(tools.settings.off)
        self._shards: dict[int, Shard] = {}
        self._replayer = Replayer(tools, self._enforcer, self._preserver, read_all, ends, self._read)
        self._statistician = Statistician(tools, read_all)
        self._sweeper = Sweeper(tools, self._enforcer.copies, self._statistician, reached)

    # --- assignment -------------------------------------------------------------------------------------------------

    async def assigned(self, partitions: Sequence[int]) -> dict[TopicPartition, int]:
        """See Role: an index that is young enough is resumed, any other is built anew."""
        self.close()
        for partition in set(partitions) & set(self._t.began_anew(self._decisions)):
            await self._ring.guard.applied(partition, 0)  # an offset of a ledger that is gone says nothing of this one
        legs, decisions = await self._starts(self._legs, partitions), await self._starts(self._decisions, partitions)
        ends = await self._ends(self._legs, partitions)
        decided = await self._ends(self._decisions, partitions)
        places: dict[TopicPartition, int] = {}
        for partition in partitions:
            shard = self._opened(
                partition, (legs[partition], ends[partition]), (decisions[partition], decided[partition])
            )
            shard.known_from = ends[partition]
            records = await self._read_all(self._decisions, [partition])
            self._remember(shard, records)
            self._statistician.begin(partition, records)
            self._shards[partition] = shard
            places[TopicPartition(self._legs, partition)] = shard.legs
            places[TopicPartition(self._decisions, partition)] = shard.decisions
        return places

    def _opened(self, partition: int, legs: tuple[int, int], decisions: tuple[int, int]) -> Shard:
        held, copies = self._held(partition)
        path = index_path(self._settings, partition)
        index = self._open_index(path)
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
            return Shard(*places, pending=index.pending(), unforgotten=True)
        index.destroy()
        return Shard(partition, self._open_index(path), legs[0], decisions[0], held, copies)

    def _held(self, partition: int) -> tuple[Index, int]:
        """The index of copies; one of another form, or of another topic, is built anew."""
        path = held_path(self._settings, partition)
        index = self._open_index(path)
        position = index.position()
        topic = self._settings.topic("calllog.held")
        same = position is not None and position.topics == self._t.known_as(topic)
        if position is not None and same and position.form == INDEX_FORM and partition not in self._t.began_anew(topic):
            return index, position.legs
        index.destroy()
        return self._open_index(path), 0

    def _remember(self, shard: Shard, records: Sequence[Any]) -> None:
        """Who is erased and what is done, from the ledger, before the first leg is handled."""
        for record in records:
            if record.key == BEAT and record.value is not None:
                with suppress(MessageError):  # not written by an auditor
                    self._ring.guard.saw(decode(BEATS, record.value).counter)
        ours = [record for record in records if record.value is not None and record.key and record.key[:1] != b"~"]
        for record in ours:
            if is_result(record.key):
                try:
                    self._result(shard, record)
                except MessageError as error:  # not written by a worker; its dead letter is written when it is handled
                    self._count("unreadable_" + error.reason, 1)
        for record in ours:
            if not is_result(record.key):
                try:
                    decision = self._read(shard, record)[0]
                    shard.note(record.key.decode(), decision)
                except MessageError as error:  # not written by a desk; its dead letter is written when it is handled
                    self._count("unreadable_" + error.reason, 1)

    def _result(self, shard: Shard, record: Any) -> None:
        """
        What the ledger keeps beside a decision: that it is done, or which legs it is about to remove.

        Raises:
            MessageError: No worker of ours wrote it: it says nothing.

        """
        outcome = self._t.outcome_key.read(record.value, record.key)
        if record.key.endswith(DONE):
            shard.finished(record.key.removesuffix(DONE).decode("ascii", "replace"))
        elif record.key.endswith(LEGS):
            name = record.key.removesuffix(LEGS).decode("ascii", "replace")
            shard.recorded[name] = tuple(f"{name[:22]}.{token}".encode() for token in outcome.tokens or ())

    def _read(self, shard: Shard, record: Any) -> tuple[Decision, Entry | None]:
        """
        A decision whose seal is checked; no entry when it is done and its epoch is gone.

        Raises:
            RecordError: Whoever wrote it does not have the ledger's key.

        """
        decision = decode(DECISIONS, record.value)
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

    async def revoked(self, partitions: Sequence[int]) -> None:
        """See Role: the index of a partition that is someone else's now is deleted."""
        for partition in partitions:
            shard = self._shards.pop(partition, None)
            if shard is not None:
                shard.index.destroy()
                shard.held.destroy()
                self._statistician.end(partition)

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

    def _misplaced(self, records: Sequence[Any]) -> list[Output]:
        """What lies in a partition that its topic was not created with is nobody's: a dead letter, and gone from there."""
        outputs: list[Output] = []
        for record in records:
            if record.key == BEAT or record.value is None:
                continue
            error = RecordError("wrong_partition")
            self._count("dead_" + error.reason, 1)
            outputs.append(self._dead.of(record, error))
            outputs += [Output(record.topic, record.partition, record.key, None)] if record.key is not None else []
        return outputs

    async def _taken(self, shard: Shard, topic: str, records: Sequence[Any]) -> list[Output]:
        """Take the records of one partition in, the barrier of its new decisions included; what is to be written."""
        outputs: list[Output] = []
        fresh: list[Any] = []
        for record in records:
            if record.key is not None and record.key[:1] == b"~":
                if topic == self._decisions:
                    self._statistician.noted(shard.partition, record)
                continue
            try:
                if topic != self._decisions:
                    outputs += await self._leg(shard, record)
                elif await self._decision(shard, record):
                    fresh.append(record)
            except MessageError as error:
                self._count("dead_" + error.reason, 1)
                outputs.append(self._dead.of(record, error))
        if fresh:
            await self._pend(shard, fresh)
        return outputs

    async def _leg(self, shard: Shard, record: Any) -> list[Output]:
        try:
            pseudonym, token = split_key(record.key or b"")
        except ValueError:
            raise RecordError("bad_leg") from None
        if record.value is None:
            shard.index.remove(record.key)
            return []
        if shard.gone(pseudonym):
            return self._on_sight(shard, record.key)
        header = parse_header(content(record) or b"")
        if header.kid != pseudonym or header.rid != token or header.top != self._legs:
            raise RecordError("bad_leg")
        try:
            day = date.fromisoformat(header.day)
        except ValueError:
            raise RecordError("bad_leg") from None
        facts: Facts | None = Facts(day, header.pur, header.pol, record.offset)
        outputs: list[Output] = []
        if facts is not None and pseudonym in shard.ruled:
            facts, outputs = await self._enforcer.on_arrival(shard, record.key, facts, record.value)
        if facts is None:
            return self._on_sight(shard, record.key)
        shard.index.put(record.key, facts)
        return outputs

    def _on_sight(self, shard: Shard, key: bytes) -> list[Output]:
        shard.index.remove(key)
        self._count("on_sight_tombstones", 1)
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
            await self._ring.fence(entry.lookup, to_ms(decision.cut_off), generation=entry.generation)
            self._steps.reached("enforce.fence")
        return True

    async def _pend(self, shard: Shard, records: Sequence[Any]) -> None:
        """The barrier is captured once for all decisions of a unit, after the last of their fences."""
        barrier = (await self._ends(self._legs, [shard.partition]))[shard.partition]
        for record in records:
            pending = Pending(record.value, barrier, record.offset)
            shard.pending[record.key] = pending
            shard.index.pend(record.key, pending)

    # --- between units ----------------------------------------------------------------------------------------------

    async def idle(self) -> None:
        """See Role: finish what has reached its barrier, then sweep."""
        await self._replayer.replay(self._shards)
        await abreast(self._finish, list(self._shards.values()))
        await self._sweeper.sweep(self._shards)

    async def _finish(self, shard: Shard) -> None:
        """Carry out, in order, what has reached its barrier; what must wait for another decision is tried again."""
        reached = await self._reached(self._legs, shard.partition) if shard.pending else 0
        ripe = [item for item in shard.pending.items() if item[1].barrier <= reached]
        works = [self._work(shard, key, pending) for key, pending in ripe]
        finished = False
        for together in portions(works, lambda work: work.decision.pseudonym):  # one person's in order, others abreast
            for work in filter(None, await abreast(self._carried_out, together)):
                shard.index.unpend(work.key)
                shard.pending.pop(work.key)
                shard.finished(work.key.decode())
                finished = True
            self._t.commit(shard)
        shard.unforgotten = shard.unforgotten or finished
        if finished and not shard.pending:
            await self._ring.guard.applied(shard.partition, shard.decisions)
        await self._forget(shard)

    async def _forget(self, shard: Shard) -> None:
        """Removed rows leave the files; rewriting these costs what the whole index costs, so it rests for as long as it took."""
        now = asyncio.get_running_loop().time
        began = now()
        if shard.unforgotten and began >= shard.forget_from:
            await asyncio.to_thread(shard.index.forget)
            shard.unforgotten, shard.forget_from = False, now() + (now() - began)

    async def _look_again(self, shard: Shard, missing: Sequence[bytes]) -> None:
        """A leg that was not there, and of which nothing was read up to the end that the log had then, is there no more."""
        ends = await self._ends(self._legs, [shard.partition])
        reached = await self._reached(self._legs, shard.partition)
        for key in missing:
            facts, (offset, end) = shard.index.facts(key), shard.missing.pop(key, (-1, 0))
            if facts is None:
                continue
            if facts.offset != offset or not reached >= end > offset:  # an end below it: a leader that is not whole yet
                shard.missing[key] = (facts.offset, ends[shard.partition])
            else:
                shard.index.remove(key)
                self._count("legs_lost", 1)
                log.error("a leg is in the index and not in the log", partition=shard.partition, offset=offset)

    def _work(self, shard: Shard, key: bytes, pending: Pending) -> Work:
        decision = decode(DECISIONS, pending.decision)
        return Work(shard, key, pending, decision, open_entry(decision, self._t.ledger_key(decision)))

    async def _carried_out(self, work: Work) -> Work | None:
        """The work when it is done, None while it must wait."""
        try:
            return work if await self._enforcer.finish(work) else None
        except LegMovedError as error:  # the next look at the index knows more; nobody else waits for it
            self._count("legs_moved", 1)
            log.warning("a decision waits", decision=work.decision.decision, why=str(error))
            await self._look_again(work.shard, error.missing)
            return None
        except MessageError as error:  # a rule that its desk did not seal as we do
            self._count("dead_" + error.reason, 1)
            log.error("a decision cannot be carried out", decision=work.decision.decision, why=error.reason)  # noqa: TRY400
            await self._enforcer.fail(work)
            return work
