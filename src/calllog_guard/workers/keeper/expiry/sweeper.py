"""
Expiry: legs whose last purpose has lapsed are tombstoned, in portions between the keeper's units.

Steps (numbered for the crash tests): 1 due, 2 tombstoned.
Rules: 1. Not swept is who is restricted, or has a hold still to be copied, nor for this round anybody whose entries
          cannot tell: their legs take nobody else's place in a portion.  2. Nothing is swept before the partition was
          read to the end that it had when it was assigned: what was replaced or removed since would not be known.
          Nor while clocks disagree, nor more at once than `sweep_brake.py` lets go: what was swept is gone.
       3. A leg to be anonymised is counted first (`statistics.py`), and every leg by its rule (`removal_counts.py`).
Source: docs/how-to/write-the-policy.md; GDPR Art. 5(1)(e), 18.
"""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final

from calllog_guard.core.codec import to_ms
from calllog_guard.core.identifiers import Pseudonym
from calllog_guard.core.records import tombstone
from calllog_guard.core.retention.expiry import lapsed
from calllog_guard.core.retention.purposes import due_day
from calllog_guard.metrics import Counters, Gauges
from calllog_guard.ports.fault_injection import CrashPoints
from calllog_guard.workers.keeper.context import KeeperContext
from calllog_guard.workers.keeper.copy_notes import Noting
from calllog_guard.workers.keeper.expiry.removal_counts import PORTION, Removals
from calllog_guard.workers.keeper.expiry.renewal import Renewal
from calllog_guard.workers.keeper.expiry.statistics import Statistician
from calllog_guard.workers.keeper.expiry.sweep_brake import SweepBrake
from calllog_guard.workers.keeper.held_copies import Copies
from calllog_guard.workers.keeper.partition import Shard

_TURN_S: Final = 0.25
"""How long sweeping may hold up the next unit, one portion more or less: decisions are enforced within a second."""


class Sweeper:
    """Sweeps one keeper's partitions every SWEEP_S."""

    def __init__(self, tools: KeeperContext, copies: Copies, counting: tuple[Statistician, Removals]) -> None:
        self._t, self._copies = tools, copies
        self._statistician, self._removals = counting
        self._brake = SweepBrake(tools)
        self._renewal, self._steps = Renewal(tools), CrashPoints(tools.settings.off)
        self._noting = Noting(tools, copies)
        self._unswept: deque[int] = deque()
        self._overdue: dict[int, tuple[int, float]] = {}
        self.next_ms = 0

    async def sweep(self, shards: Mapping[int, Shard]) -> None:
        """Portions of one partition after the other for a short time: no unit or decision waits for a million legs."""
        now = to_ms(self._t.clock.now())
        if not self._unswept and now >= self.next_ms:
            self._unswept.extend(shards)
            self._brake.begin()
            for each in shards.values():
                each.unsure.clear()
            self.next_ms = now + int(self._t.settings.sweep_s * 1000)
        if not self._unswept or not await self._t.agree():
            return
        loop = asyncio.get_running_loop()
        until = loop.time() + _TURN_S
        for _ in range(len(self._unswept)):
            shard, more = shards.get(self._unswept[0]), False
            if shard is not None:
                more = await self._portion(shard)
                more = await self._copies.sweep(shard, self._brake) or more
                more = more or await self._noting.portion(shard)
                more = more or await self._renewal.renew(shard)
            if more:
                self._unswept.rotate(-1)  # the others first
            else:
                self._unswept.popleft()
            if loop.time() >= until:
                return

    async def _portion(self, shard: Shard) -> bool:
        """One portion of what is due in a partition; whether more is there, or will be once all is read."""
        t = self._t
        if await t.reached(t.legs, shard.partition) < shard.known_from:
            return True
        day = await self._brake.day((t.legs, shard.partition), shard.index, shard.index.keys_with)
        if day is None:
            return False
        whole = day >= t.clock.now().date()  # nothing is held back
        if whole:
            await self._removals.close(shard)
        due = self._due(shard, day)
        full = len(due) >= t.settings.sweep_records
        self._overdue[shard.partition] = (len(due), self._oldest(shard)) if full else (0, 0.0)
        t.level(Gauges.sweep_overdue_records, sum(many for many, _ in self._overdue.values()))
        t.level(Gauges.sweep_oldest_overdue_s, max(oldest for _, oldest in self._overdue.values()))
        due, more = await self._statistician.counted(shard, await self._copied(shard, due))
        due = await self._copied(shard, due)
        for at in range(0, len(due), PORTION):
            await self._remove(shard, due[at : at + PORTION], day)
        if whole:
            await self._statistician.close(shard)
        return full or more

    async def _remove(self, shard: Shard, due: Sequence[bytes], day: date) -> None:
        """Legs that are due go, each counted first."""
        t = self._t
        self._steps.reached("expire.due")
        await self._removals.counted(shard, due, day)
        await t.writer.write([tombstone(t.legs, key, t.settings.partitions) for key in due])
        self._steps.reached("expire.tombstoned")
        for key in due:
            shard.index.remove(key)
        t.commit(shard)
        shard.unforgotten = True
        t.count(Counters.legs_expired, len(due))

    def _due(self, shard: Shard, day: date) -> list[bytes]:
        """What has lapsed as of a day, one portion."""
        index, policy, spared = shard.index, self._t.policy, shard.restricted.keys() | shard.unsure
        return lapsed(
            index.groups(),
            lambda facts: (key for key in index.keys_with(facts) if key[:22].decode() not in spared),
            lambda stored: policy.purposes_since(self._t.tenant, stored, day),
            day,
            self._t.settings.sweep_records,
        )

    def _oldest(self, shard: Shard) -> float:
        """For how long the oldest leg of a partition is overdue, in whole days as seconds."""
        today = self._t.clock.now().date()
        ends = [
            due_day(facts.day, facts.mask, self._t.policy.purposes_since(self._t.tenant, facts.policy, today))
            for facts in shard.index.groups()
        ]
        return (today - min([today, *ends])).total_seconds()

    async def _copied(self, shard: Shard, legs: Sequence[bytes]) -> list[bytes]:
        """Without those of whom a hold's copies are still to be made, or nobody can tell."""
        held = await self._t.ring.marked([Pseudonym(key[:22].decode()) for key in legs]) if legs else set()
        shard.unsure |= held
        return [key for key in legs if key[:22].decode() not in held]
