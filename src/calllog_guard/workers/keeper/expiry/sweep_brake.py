"""
Holds a sweep back that would take more at once than it may by itself, until an officer says so.

Rules: `core/retention/sweep_brake.py`. A partition's loss is judged once a round, and told; others are swept on.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from typing import Final

import structlog

from calllog_guard.core.officers.confirmations import let_go
from calllog_guard.core.retention.purposes import Purpose, due_day
from calllog_guard.core.retention.sweep_brake import DAYS_MOST, too_much
from calllog_guard.metrics import Counters, Gauges
from calllog_guard.ports.log import Place
from calllog_guard.ports.state import Index, LegFacts
from calllog_guard.workers.keeper.context import KeeperContext

log: Final = structlog.get_logger()
KeysWith = Callable[[LegFacts], Iterable[bytes]]


class SweepBrake:
    """One keeper's."""

    def __init__(self, tools: KeeperContext) -> None:
        self._t = tools
        self._days: dict[Place, date | None] = {}
        self._held: dict[Place, int] = {}

    def begin(self) -> None:
        """A round begins: each partition is judged anew."""
        self._days.clear()

    async def day(self, place: Place, index: Index, keys_with: KeysWith) -> date | None:
        """
        As of which day a partition is swept in this round; None: not at all.

        Args:
            keys_with: The record keys of a group that a sweep may take.

        Raises:
            LogSilentError: It would take much, and what officers said cannot be read.

        """
        if place not in self._days:
            self._days[place] = await self._judged(place, index, keys_with)
        return self._days[place]

    async def _judged(self, place: Place, index: Index, keys_with: KeysWith) -> date | None:
        today, held = self._t.clock.now().date(), 0
        swept: date | None = today
        if len({facts.day for facts in self._due(index, today)}) > DAYS_MOST:
            word = let_go(await self._t.confirmed(), today, lambda day: self._t.policy.at(day).label)
            free = set() if word is None else set(self._due(index, word))
            due: dict[date, int] = {}
            for facts in self._due(index, today):
                if facts not in free:
                    due[facts.day] = due.get(facts.day, 0) + await _count(keys_with(facts))
            whole = sum([await _count(keys_with(facts)) for facts in index.groups()])
            if too_much(due, whole, self._t.settings.sweep_share):
                held, swept = sum(due.values()), word
                self._tell(place, due, whole)
        self._held[place] = held
        self._t.level(Gauges.sweep_held_back_records, sum(self._held.values()))
        return swept

    def _tell(self, place: Place, due: dict[date, int], whole: int) -> None:
        if not self._held.get(place):
            self._t.count(Counters.sweeps_held_back, 1)
        log.error(
            "a sweep would take more at once than it may by itself: it waits for an officer (calllog-guard expiry)",
            topic=place[0],
            partition=place[1],
            records=sum(due.values()),
            of=whole,
            days=len(due),
        )

    def _due(self, index: Index, day: date) -> Iterator[LegFacts]:
        """The groups that have lapsed as of a day, by the policy that is in force then."""
        tables: dict[str, tuple[Purpose, ...]] = {}
        for facts in index.groups():
            if facts.policy not in tables:
                tables[facts.policy] = self._t.policy.purposes_since(self._t.tenant, facts.policy, day)
            if due_day(facts.day, facts.mask, tables[facts.policy]) <= day:
                yield facts


async def _count(keys: Iterable[bytes]) -> int:
    """How many, with the loop free behind each group."""
    await asyncio.sleep(0)
    return sum(1 for _ in keys)
