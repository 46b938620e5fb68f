"""
Counts what lapses before it goes, by the rule by which it does, for the signed statement of each month.

Steps of a portion (numbered for the crash tests): 1 counted; the keeper then tombstones.
Rules: 1. Counted first, then removed: a crash's rest is removed, not recounted.  2. A month closes by the first sweep
          behind its end, before anything goes: what is there counts when it goes.  3. What is left is counted then,
          copies included.  4. Only from the second level of forms on.
Source: GDPR Art. 5(2); `core/retention/removals.py`; `workers/desk/answers/statements.py`.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

import msgspec

from calllog_guard.core.crypto.subject_secrets import Month, month_of, month_text
from calllog_guard.core.decisions.hold import kept_id
from calllog_guard.core.identifiers import HoldId
from calllog_guard.core.records import Output
from calllog_guard.core.retention.purposes import Purpose, rule_of
from calllog_guard.core.retention.removals import LAW, START, Removed, key_of, month_in, removed_in
from calllog_guard.ports.fault_injection import CrashPoints
from calllog_guard.workers.keeper.context import KeeperContext
from calllog_guard.workers.keeper.partition import Shard

FORMS: Final = 2
PORTION: Final = 1000
"""Legs counted at once: their names stand in the count until the next, a hundred kilobytes."""


@dataclass(slots=True)
class RemovalBook:
    """The counts of one partition by month."""

    months: dict[Month, Removed] = field(default_factory=dict)

    @property
    def closed(self) -> Month | None:
        """The last month that is closed."""
        return max((month for month, each in self.months.items() if each.closed), default=None)


class Removals:
    """Counts for one keeper, partition by partition."""

    def __init__(self, tools: KeeperContext) -> None:
        self._t, self._steps = tools, CrashPoints(tools.settings.off)
        self._books: dict[int, RemovalBook] = {}

    @property
    def on(self) -> bool:
        """Whether every keeper passes over these records."""
        return self._t.ring.forms >= FORMS

    def begin(self, partition: int, records: Sequence[Any]) -> None:
        """A partition was assigned; `records` is its ledger."""
        self._books[partition] = RemovalBook()
        for record in records:
            self._take(partition, record)

    def end(self, partition: int) -> None:
        """A partition is someone else's."""
        self._books.pop(partition, None)

    def noted(self, record: Any) -> bool:
        """Whether a record of the ledger is one of counting."""
        return bool((record.key or b"").startswith(START))

    def _take(self, partition: int, record: Any) -> None:
        month = month_in(record.key or b"")
        if month is None or record.value is None or not self._t.outcome_key.proves(record.value, record.key):
            return
        found = removed_in(record.value, (self._t.tenant, record.key, partition))
        if found is not None:
            self._books[partition].months[month] = found

    # --- counting ---------------------------------------------------------------------------------------------------

    async def counted(self, shard: Shard, legs: Sequence[bytes], day: date) -> None:
        """Count legs that are about to go as of a day; those that were counted before a crash are not counted again."""
        if not self.on:
            return
        left = self._left(shard)
        rules, batch = Counter[str](), dict(left)
        tables: dict[tuple[date, int, str], str] = {}
        for key in legs:
            facts = shard.index.facts(key)
            if facts is None or key in left:
                continue
            group = (facts.day, facts.mask, facts.policy)
            if group not in tables:
                tables[group] = rule_of(facts.day, facts.mask, self._purposes(facts.policy, day))
            rules[tables[group]] += 1
            batch[key] = facts.offset
        if rules:
            month = self._running(shard, day)
            await self._write(shard, month, self._of(shard, month).counted(rules, batch))
        self._steps.reached("expire.counted")

    def _left(self, shard: Shard) -> dict[bytes, int]:
        """Legs that were counted and are still there."""
        batches = [item for each in self._books[shard.partition].months.values() for item in each.batch.items()]
        found = {key.encode(): offset for key, offset in batches}
        return {key: at for key, at in found.items() if (facts := shard.index.facts(key)) and facts.offset == at}

    def _purposes(self, stored: str, day: date) -> tuple[Purpose, ...]:
        return self._t.policy.purposes_since(self._t.tenant, stored, day)

    def _running(self, shard: Shard, day: date) -> Month:
        """The month into which is counted: never one that is closed, also when the clock goes back."""
        closed = self._books[shard.partition].closed
        month = month_of(day.year, day.month)
        return month if closed is None else Month(max(month, closed + 1))

    def _of(self, shard: Shard, month: Month) -> Removed:
        found = self._books[shard.partition].months.get(month)
        return found or Removed(tenant=self._t.tenant, month=month_text(month), partition=shard.partition)

    async def _write(self, shard: Shard, month: Month, count: Removed) -> None:
        key = key_of(month)
        value = self._t.outcome_key.vouched(count, key)
        await self._t.writer.write([Output(self._t.ledger, shard.partition, key, value)])
        self._books[shard.partition].months[month] = count

    # --- the month's end --------------------------------------------------------------------------------------------

    async def close(self, shard: Shard) -> None:
        """Before a sweep: begin the running month, and close those that are over."""
        if not self.on:
            return
        running = self._running(shard, self._t.clock.now().date())
        months = self._books[shard.partition].months
        open_ = [month for month, each in months.items() if month < running and not each.closed]
        left = self._left(shard)
        if running not in months:
            await self._write(shard, running, self._of(shard, running).counted({}, left))
        if not open_:
            return
        alive, held = await asyncio.to_thread(self._there, shard)
        for month in sorted(open_):
            count = msgspec.structs.replace(
                months[month], batch={}, alive=alive - len(left), held=held, closed_at=self._t.clock.now()
            )
            await self._write(shard, month, count)
        self._steps.reached("expire.closed")

    def _there(self, shard: Shard) -> tuple[int, Mapping[str, int]]:
        """How many legs are left, and copies by what holds them."""
        held: Counter[str] = Counter()
        for facts, key in shard.held.by_day():
            hold, number = HoldId(key[:22].decode()), facts.mask.bit_length()
            law = kept_id(self._t.tenant, number, facts.day.isoformat()[:7], shard.partition)
            held[f"{LAW}{number}" if hold == law else hold] += 1
        return sum(1 for _ in shard.index.by_day()), dict(held)
