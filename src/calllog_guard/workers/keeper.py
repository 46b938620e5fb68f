"""
The keeper: keeps the index of its partitions, enforces decisions in order, tombstones expired legs.

Steps of an erasure (numbered for the crash tests): 1 fence repeated, 2 barrier read, 3 key destroyed, 4 legs tombstoned,
5 outcome and result written.  Of an expiry: 1 due, 2 tombstoned.
Rules: 1. Once its erasure is done, an erased pseudonym is tombstoned on sight; until then its legs are indexed, so that
          they are counted and tombstoned together at the barrier.
       2. A result is kept in the ledger, so that a rebuild never reports anew.
Source: design section 9, step 4; section 12.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Final

import structlog
from aiokafka import TopicPartition

from calllog_guard.core.crypto.envelope import parse_header
from calllog_guard.core.ids import EpochName, Lookup, Pseudonym, Tenant, split_key
from calllog_guard.core.requests.decision import DECISIONS, DONE, Decision, Outcome, is_result, open_entry
from calllog_guard.core.retention.sweep import lapsed
from calllog_guard.core.tombstone import Output, tombstone
from calllog_guard.core.wire import BEAT, BEATS, decode, encode, to_ms
from calllog_guard.errors import EpochUnknownError, MessageError, RecordError
from calllog_guard.policy import Policy
from calllog_guard.ports import Clock, Facts, Index, Pending, Position, Writer
from calllog_guard.settings import Settings
from calllog_guard.workers.delivery import DeadLetters, Steps, Unit
from calllog_guard.workers.keyring import Keyring
from calllog_guard.workers.vault import Vault

log: Final = structlog.get_logger()
ReadAll = Callable[[str, Sequence[int]], Awaitable[list[Any]]]
Offsets = Callable[[str, Sequence[int]], Awaitable[dict[int, int]]]


@dataclass
class Shard:
    """One partition: its index, who is erased in it (with the decisions not yet done), what is done, and how far it was read."""

    index: Index
    legs: int
    decisions: int
    erased: dict[str, set[str]] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)
    pending: dict[bytes, Pending] = field(default_factory=dict)

    def erases(self, pseudonym: str, name: str) -> None:
        """A decision over a pseudonym was read."""
        self.erased.setdefault(pseudonym, set()).update({name} - self.done)

    def finished(self, name: str) -> None:
        """A decision is done: from now on its pseudonym's legs are tombstoned on sight."""
        self.done.add(name)
        self.erased.get(name.partition(".")[0], set()).discard(name)


class Keeper:
    """The role that reads legs and decisions, for one tenant."""

    name = "keeper"

    def __init__(
        self,
        tenant: Tenant,
        home: int,
        ring: Keyring,
        vault: Vault,
        writer: Writer,
        dead: DeadLetters,
        policy: Policy,
        settings: Settings,
        clock: Clock,
        read_all: ReadAll,
        starts: Offsets,
        ends: Offsets,
        reached: Callable[[str, int], Awaitable[int]],
        open_index: Callable[[Path], Index],
        count: Callable[[str, int], None],
    ) -> None:
        self._tenant, self._home, self._ring, self._vault = tenant, home, ring, vault
        self._writer, self._dead, self._policy, self._settings = writer, dead, policy, settings
        self._clock, self._read_all, self._starts, self._ends, self._count = clock, read_all, starts, ends, count
        self._legs, self._decisions = settings.topic("calllog.legs"), settings.topic("privacy.decisions")
        self._reached, self._open_index = reached, open_index
        self._outcomes = settings.topic("privacy.outcomes")
        self.topics: tuple[str, ...] = (self._legs, self._decisions)
        self._steps = Steps(settings.off)
        self._shards: dict[int, Shard] = {}
        self._next_sweep = 0

    # --- assignment -------------------------------------------------------------------------------------------------

    async def assigned(self, partitions: Sequence[int]) -> dict[TopicPartition, int]:
        """See Role: an index that is young enough is resumed, any other is built anew."""
        for shard in self._shards.values():
            shard.index.close()
        self._shards.clear()
        legs, decisions = await self._starts(self._legs, partitions), await self._starts(self._decisions, partitions)
        places: dict[TopicPartition, int] = {}
        for partition in partitions:
            shard = self._opened(partition, legs[partition], decisions[partition])
            self._remember(shard, await self._read_all(self._decisions, [partition]))
            self._shards[partition] = shard
            places[TopicPartition(self._legs, partition)] = shard.legs
            places[TopicPartition(self._decisions, partition)] = shard.decisions
        return places

    def _path(self, partition: int) -> Path:
        return Path(self._settings.state_dir) / f"keeper-{self._legs}-{partition}"

    def _opened(self, partition: int, legs: int, decisions: int) -> Shard:
        index = self._open_index(self._path(partition))
        position = index.position()
        oldest = to_ms(self._clock.now()) - self._settings.tombstone_keep_ms // 2
        if (
            position is not None
            and position.topics == self._legs
            and position.at_ms >= oldest
            and position.legs >= legs
        ):
            return Shard(index, position.legs, position.decisions, pending=index.pending())
        index.destroy()
        return Shard(self._open_index(self._path(partition)), legs, decisions)

    def _remember(self, shard: Shard, records: Sequence[Any]) -> None:
        """Who is erased and what is done, from the ledger, before the first leg is handled."""
        for record in records:
            if record.key == BEAT and record.value is not None:
                self._ring.saw(decode(BEATS, record.value).counter)
        ours = [record for record in records if record.value is not None and record.key and record.key[:1] != b"~"]
        for record in ours:
            if record.key.endswith(DONE):
                shard.finished(record.key.removesuffix(DONE).decode("ascii", "replace"))
        for record in ours:
            if not is_result(record.key):
                try:
                    shard.erases(self._read(shard, record)[0].pseudonym, record.key.decode())
                except MessageError as error:  # not written by a desk; its dead letter is written when it is handled
                    self._count("unreadable_" + error.reason, 1)

    def _read(self, shard: Shard, record: Any) -> tuple[Decision, Lookup | None, int]:
        """
        A decision whose seal is checked; no lookup when it is done and its epoch is gone.

        Raises:
            RecordError: Whoever wrote it does not have the ledger's key.

        """
        decision = decode(DECISIONS, record.value)
        name = f"{decision.pseudonym}.{decision.decision}"
        if record.key != name.encode() or decision.tenant != self._tenant:
            raise RecordError("bad_decision")
        try:
            key = self._vault.epoch_key(EpochName(decision.epoch), self._tenant, "ledger")
        except EpochUnknownError:
            if name in shard.done:
                return decision, None, 0
            raise
        return decision, *open_entry(decision, key)

    async def revoked(self, partitions: Sequence[int]) -> None:
        """See Role: the index of a partition that is someone else's now is deleted."""
        for partition in partitions:
            shard = self._shards.pop(partition, None)
            if shard is not None:
                shard.index.destroy()

    # --- units ------------------------------------------------------------------------------------------------------

    async def unit(self, unit: Unit) -> None:
        """See Role."""
        await self._replay()
        outputs: list[Output] = []
        touched: set[int] = set()
        for place, records in sorted(unit.items(), key=lambda item: item[0].topic != self._decisions):
            shard = self._shards[place.partition]
            touched.add(place.partition)
            for record in records:
                if record.key is not None and record.key[:1] == b"~":
                    continue
                try:
                    if place.topic == self._decisions:
                        await self._decision(shard, record)
                    else:
                        outputs.extend(self._leg(shard, record))
                except MessageError as error:
                    self._count("dead_" + error.reason, 1)
                    outputs.append(self._dead.of(record, error))
        if outputs:
            await self._writer.write(outputs)
        for place, records in unit.items():
            shard = self._shards[place.partition]
            if place.topic == self._legs:
                shard.legs = records[-1].offset + 1
            else:
                shard.decisions = records[-1].offset + 1
        for partition in touched:
            self._commit(self._shards[partition])

    def _commit(self, shard: Shard) -> None:
        shard.index.commit(Position(shard.legs, shard.decisions, self._legs, to_ms(self._clock.now())))

    def _leg(self, shard: Shard, record: Any) -> list[Output]:
        try:
            pseudonym, token = split_key(record.key or b"")
        except ValueError:
            raise RecordError("bad_leg") from None
        if record.value is None:
            shard.index.remove(record.key)
            return []
        if shard.erased.get(pseudonym) == set():
            shard.index.remove(record.key)
            self._count("on_sight_tombstones", 1)
            return [tombstone(self._legs, record.key, self._settings.partitions)]
        header = parse_header(record.value)
        if header.kid != pseudonym or header.rid != token or header.top != self._legs:
            raise RecordError("bad_leg")
        try:
            day = date.fromisoformat(header.day)
        except ValueError:
            raise RecordError("bad_leg") from None
        shard.index.put(record.key, Facts(day, header.pur, header.pol))
        return []

    async def _decision(self, shard: Shard, record: Any) -> None:
        if record.key is None:
            raise RecordError("bad_decision")
        if record.value is None or is_result(record.key):
            self._remember(shard, [record])
            return
        decision, lookup, generation = self._read(shard, record)
        shard.erases(decision.pseudonym, record.key.decode())
        if record.key.decode() in shard.done or record.key in shard.pending or lookup is None:
            return
        await self._ring.fence(lookup, to_ms(decision.cut_off), generation=generation)
        self._steps.reached("enforce.fence")
        barrier = (await self._ends(self._legs, [record.partition]))[record.partition]
        pending = Pending(record.value, barrier)
        shard.pending[record.key] = pending
        shard.index.pend(record.key, pending)

    # --- between units ----------------------------------------------------------------------------------------------

    async def idle(self) -> None:
        """See Role: finish what has reached its barrier, then sweep."""
        await self._replay()
        for partition, shard in self._shards.items():
            for key, pending in list(shard.pending.items()):
                if await self._reached(self._legs, partition) >= pending.barrier:
                    await self._finish(partition, shard, key, pending)
        now = to_ms(self._clock.now())
        if now >= self._next_sweep:
            more = False
            for shard in self._shards.values():
                more = await self._sweep(shard) or more
            self._next_sweep = now if more else now + int(self._settings.sweep_s * 1000)

    async def _replay(self) -> None:
        """
        After a restart, restore or failover of the keystore: apply the ledger again, as far as it may have forgotten it.

        Whoever was erased since the backup is erased again before anybody opens anything.
        """
        origin, missing = await self._ring.unguarded(sorted(self._shards))
        for partition, applied in missing.items():
            shard = self._shards[partition]
            end = (await self._ends(self._decisions, [partition]))[partition]
            again = 0
            for record in await self._read_all(self._decisions, [partition]):
                if record.offset < applied or record.value is None or not record.key or record.key[:1] == b"~":
                    continue
                if not is_result(record.key):
                    await self._again(shard, record)
                    again += 1
            lost = await self._lost(shard)
            settled = not shard.pending and shard.decisions >= end
            await self._ring.mark(partition, origin, end if settled else applied)
            log.warning("ledger replayed", partition=partition, decisions=again, people_without_key=lost)
            self._count("guard_replayed", again)
            self._count("guard_keys_lost", lost)

    async def _again(self, shard: Shard, record: Any) -> None:
        try:
            decision, lookup, generation = self._read(shard, record)
        except MessageError:
            return  # not written by a desk
        if lookup is not None:
            cut_off = to_ms(decision.cut_off)
            await self._ring.fence(lookup, cut_off, generation=generation, under_guard=True)
        if record.key.decode() in shard.done:
            await self._ring.destroy(Pseudonym(decision.pseudonym))

    async def _lost(self, shard: Shard) -> int:
        """How many people have legs but no key any more: minted after the backup, their legs open no more."""
        names = {key.partition(b".")[0].decode() for _, key in shard.index.by_day()} - set(shard.erased)
        return await self._ring.missing([Pseudonym(name) for name in names])

    async def _finish(self, partition: int, shard: Shard, key: bytes, pending: Pending) -> None:
        decision = decode(DECISIONS, pending.decision)
        self._steps.reached("enforce.barrier")
        await self._ring.destroy(Pseudonym(decision.pseudonym))
        self._steps.reached("enforce.destroyed")
        legs = shard.index.legs_of(decision.pseudonym)
        destroyed = self._outcome(decision, "destroyed", partition, len(legs), pending, shard)
        await self._writer.write([destroyed])
        await self._writer.write([tombstone(self._legs, leg, self._settings.partitions) for leg in legs])
        self._steps.reached("enforce.tombstoned")
        result = self._outcome(decision, "tombstoned", partition, len(legs), pending, shard)
        done = Output(self._decisions, partition, key + DONE, result.value)
        await self._writer.write([result, done])
        self._steps.reached("enforce.result")
        for leg in legs:
            shard.index.remove(leg)
        shard.index.unpend(key)
        self._commit(shard)
        shard.index.forget()
        shard.pending.pop(key)
        shard.finished(key.decode())
        if not shard.pending:
            await self._ring.applied(partition, shard.decisions)

    def _outcome(
        self, decision: Decision, stage: Any, partition: int, legs: int, pending: Pending, shard: Shard
    ) -> Output:
        outcome = Outcome(
            tenant=self._tenant,
            case=decision.case,
            decision=decision.decision,
            stage=stage,
            partition=partition,
            legs=legs,
            barrier=pending.barrier,
            up_to=shard.legs,
            by="keeper",
            at=self._clock.now(),
        )
        return Output(self._outcomes, self._home, decision.case.encode(), encode(outcome))

    async def _sweep(self, shard: Shard) -> bool:
        today = self._clock.now().date()
        most = self._settings.sweep_records
        index, policy = shard.index, self._policy
        due = lapsed(
            index.groups(),
            index.keys_with,
            lambda stored: policy.purposes_since(self._tenant, stored, today),
            today,
            most,
        )
        if not due:
            return False
        self._steps.reached("expire.due")
        await self._writer.write([tombstone(self._legs, key, self._settings.partitions) for key in due])
        self._steps.reached("expire.tombstoned")
        for key in due:
            shard.index.remove(key)
        self._commit(shard)
        self._count("legs_expired", len(due))
        return len(due) >= most
