"""
The end of the restore guard: the ledger applied again to a keystore that may have forgotten some of it.

Rules: 1. Whoever was erased since the backup is erased again before anybody opens anything.  2. Flags are told whole, from all
          decisions about a person, so that nothing is taken back that was decided later.  3. Only what a desk sealed counts.
Source: design section 9 (restore guard).
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

import structlog

from calllog_guard.core.crypto.entries import Person
from calllog_guard.core.ids import HoldId, Pseudonym
from calllog_guard.core.requests.decision import DECISIONS, Decision, Entry, is_result
from calllog_guard.core.requests.hold import RELEASES
from calllog_guard.core.requests.rules import Standing
from calllog_guard.core.tombstone import Output
from calllog_guard.core.wire import BEAT, Beat, decode, encode, to_ms
from calllog_guard.errors import MessageError
from calllog_guard.workers.enforce import Enforcer
from calllog_guard.workers.preserve import Preserver
from calllog_guard.workers.shard import Shard
from calllog_guard.workers.tools import Tools

log: Final = structlog.get_logger()
ReadAll = Callable[[str, Sequence[int]], Awaitable[list[Any]]]
Offsets = Callable[[str, Sequence[int]], Awaitable[dict[int, int]]]
Read = Callable[[Shard, Any], tuple[Decision, Entry | None]]


class Replayer:
    """Replays the ledger of the keeper's partitions; `read` opens a decision and checks its seal."""

    def __init__(
        self, tools: Tools, enforcer: Enforcer, preserver: Preserver, read_all: ReadAll, ends: Offsets, read: Read
    ) -> None:
        self._t, self._enforcer, self._preserver, self._read = tools, enforcer, preserver, read
        self._ring, self._writer, self._clock, self._count = tools.ring, tools.writer, tools.clock, tools.count
        self._read_all, self._ends = read_all, ends
        self._decisions = tools.settings.topic("privacy.decisions")

    async def replay(self, shards: Mapping[int, Shard]) -> None:
        """
        After a restart, restore or failover of the keystore: apply the ledger again, as far as it may have forgotten it.

        Whoever was erased since the backup is erased again before anybody opens anything.
        """
        origin, missing = await self._ring.guard.unguarded(sorted(shards))
        self._t.level("guard_lag", len(missing))
        for partition, applied in missing.items():
            shard = shards[partition]
            end = (await self._ends(self._decisions, [partition]))[partition]
            again = 0
            flagged: dict[str, Entry] = {}
            records = await self._read_all(self._decisions, [partition])
            await self._unmark(shard, records)
            for record in records:
                if record.offset < applied or record.value is None or not record.key or record.key[:1] == b"~":
                    continue
                if not is_result(record.key):
                    await self._again(shard, record, flagged)
                    again += 1
            await self._flags(shard, flagged)
            lost = await self._lost(shard)
            beat = Beat(counter=await self._ring.guard.raise_floor(), at=self._clock.now())
            # at once, not with the next heartbeat: who starts meanwhile looks into the log for it
            await self._writer.write([Output(self._decisions, partition, BEAT, encode(beat))])
            settled = not shard.pending and shard.decisions >= end
            await self._ring.guard.mark(partition, origin, end if settled else applied)
            log.warning("ledger replayed", partition=partition, decisions=again, people_without_key=lost)
            self._count("guard_replayed", again)
            self._count("guard_keys_lost", lost)

    async def _unmark(self, shard: Shard, records: Sequence[Any]) -> None:
        """A restored key entry may bear the mark of a hold whose copies were made since: it would keep the key for ever."""
        for record in records:
            name = (record.key or b"").decode("ascii", "replace")
            if name in shard.done and record.value is not None:
                with suppress(MessageError):  # not written by a desk
                    decision = decode(DECISIONS, record.value)
                    if decision.type == "hold":
                        await self._preserver.unmark(decision)

    async def _again(self, shard: Shard, record: Any, flagged: dict[str, Entry]) -> None:
        try:
            decision, entry = self._read(shard, record)
        except MessageError:
            return  # not written by a desk
        shard.note(record.key.decode(), decision)  # perhaps not read yet: its flags are set already
        if decision.type == "release" and entry is not None:
            await self._t.safe.release(HoldId(decode(RELEASES, entry.task).hold), under_guard=True)
        if not decision.total:
            if entry is not None and decision.pseudonym in shard.ruled:
                flagged[decision.pseudonym] = entry
            return
        if entry is not None:
            cut_off = to_ms(decision.cut_off)
            await self._ring.fence(entry.lookup, cut_off, generation=entry.generation, under_guard=True)
        if record.key.decode() in shard.done:
            await self._ring.destroy(Pseudonym(decision.pseudonym))

    async def _flags(self, shard: Shard, flagged: dict[str, Entry]) -> None:
        """The flags of whom the keystore may have forgotten a restriction, an objection, a withdrawal or a consent."""
        for pseudonym, entry in flagged.items():
            standing = await self._enforcer.flags(shard, pseudonym)

            def told(person: Person, standing: Standing = standing) -> Person:
                return replace(
                    person,
                    restricted=bool(standing.restrictions),
                    held=bool(standing.holds),
                    reviewed=bool(standing.reviews),
                    objected=standing.objected,
                    withdrawn=standing.withdrawn,
                    consented=standing.consented,
                )

            await self._ring.change(entry.lookup, told, generation=entry.generation, under_guard=True)

    async def _lost(self, shard: Shard) -> int:
        """How many people have legs but no key any more: minted after the backup, their legs open no more."""
        names = {key.partition(b".")[0].decode() for _, key in shard.index.by_day()} - set(shard.erased)
        return await self._ring.missing([Pseudonym(name) for name in names])
