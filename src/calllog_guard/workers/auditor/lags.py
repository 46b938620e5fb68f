"""
The age of unread records against how long their topic keeps them: the auditor's alarm before a gap, and its remedy.

Rules: 1. The age of what is unread is that of the oldest record that a group has not read, by the broker's append time.
       2. Only plain text that waits for our workers is kept longer, by a bounded factor, and no longer than it waits.
       3. Each such change is signed in the policy's topic before it is made: keeping it longer than said is nothing to
          do in silence.
Source: docs/how-to/kafka.md.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from calllog_guard.core.codec import to_ms
from calllog_guard.core.officers.acceptances import Accepted
from calllog_guard.core.officers.prolongations import Prolonged, next_retention
from calllog_guard.core.topics import TABLE, Topic
from calllog_guard.metrics import Gauges
from calllog_guard.ports.log import Place
from calllog_guard.settings import INGEST, SESSIONS
from calllog_guard.workers.auditor.context import AuditorContext
from calllog_guard.workers.runtime.beginnings import ReadingState, standing
from calllog_guard.workers.runtime.reads import reads_of

log: Final = structlog.get_logger()
_ROLES: Final = ("protector", "desk", "keeper", INGEST, SESSIONS)
_STEPS, _STEP = 18, 1.5
"""Ages are told to half as much again, down to a 500th of the time for which the topic keeps its records."""
_HOUR_MS: Final = 3_600_000


class Lags:
    """Looks at all groups of the installation; `signed` writes what was changed where everybody may read it."""

    def __init__(
        self,
        means: AuditorContext,
        accepted: Callable[[], Awaitable[list[Accepted]]],
        signed: Callable[[Prolonged], Awaitable[None]],
    ) -> None:
        self._tenant, self._m, self._accepted, self._signed = means.tenant, means, accepted, signed

    def _wanted(self) -> dict[str, int]:
        """How long the topics are kept whose time the auditor may prolong, in milliseconds."""
        settings = self._m.settings
        found: dict[str, int] = {}
        for each in (each for each, row in TABLE.items() if row.plain):
            topics = self._m.events() if each is Topic.EVENTS else [settings.topic(each)]
            found |= dict.fromkeys(topics, settings.kept_ms(each) or 0)
        return found

    async def look(self) -> None:
        """
        Compare, tell, and prolong or end it.

        Raises:
            LogSilentError, KeystoreSilentError: Nothing is known.

        """
        m, gaps = self._m, 0
        ages: dict[str, int] = {}
        for role in _ROLES:
            there = await standing(reads_of(role, m.settings, m.events()), m.keystore, m.extents, keep=False)
            gaps += await self._gaps(there)
            ages |= await self._ages(role, there)
        m.level(Gauges.partitions_with_gaps, gaps)
        kept = await asyncio.to_thread(m.admin.kept_ms, sorted(ages))
        for topic, age_ms in ages.items():
            m.level(Gauges.unread_age_s[topic], age_ms / 1000)
            if topic in kept:
                await self._topic(topic, age_ms, kept[topic])

    async def _gaps(self, there: ReadingState) -> int:
        """Gaps that no officer has accepted: whoever halted over one serves no metrics."""
        if not there.judged(())[1]:
            return 0
        return len(there.judged(await self._accepted())[1])

    async def _topic(self, topic: str, age_ms: int, kept_ms: int) -> None:
        m, settings = self._m, self._m.settings
        near = age_ms > settings.lag_share * kept_ms
        m.level(Gauges.unread_near_end[topic], near)
        if near:
            log.error(
                "what is unread nears the end of its time", topic=topic, age_s=age_ms // 1000, kept_s=kept_ms // 1000
            )
        wanted = self._wanted().get(topic)
        if wanted is None:
            return
        change = next_retention(age_ms, kept_ms, wanted, settings.lag_share, settings.prolong_most)
        m.level(Gauges.retention_prolonged[topic], max(0.0, kept_ms / wanted - 1))
        if change is not None:
            now = m.clock.now()
            note = Prolonged(tenant=self._tenant, topic=topic, from_ms=kept_ms, to_ms=change, age_ms=age_ms, at=now)
            # first: what is changed already is no change at the next look
            await self._signed(note)
            await asyncio.to_thread(m.admin.keep, topic, change)
            log.warning("a topic is kept for another time", topic=topic, from_s=kept_ms // 1000, to_s=change // 1000)
            m.level(Gauges.retention_prolonged[topic], change / wanted - 1)

    async def _ages(self, role: str, there: ReadingState) -> dict[str, int]:
        """
        For how long the oldest unread record of each topic has waited at least, in ms; 0 where nothing is unread.

        In this order: where the log ends, where each time begins, what is read. What is read only grows, so a time
        which begins behind it is one from which something was unread.
        """
        m, wanted = self._m, self._wanted()
        ages = {topic: 0 for topic in there.shapes if any(spot[:2] == (role, topic) for spot in there.reached)}
        topics = {topic: there.shapes[topic] for topic in ages if _behind(there, role, topic)}
        kept = await asyncio.to_thread(m.admin.kept_ms, sorted(topics))
        ends = await asyncio.to_thread(m.extents.extents, {topic: topics[topic] for topic in kept})
        now, share = to_ms(m.clock.now()), m.settings.lag_share
        grids = {topic: _grid(each, wanted.get(topic, each), share) for topic, each in kept.items()}
        begins: list[tuple[dict[str, int], dict[Place, int]]] = []
        for step in zip(*grids.values(), strict=True):
            times = dict(zip(grids, step, strict=True))
            asked = await asyncio.to_thread(m.extents.since, {place: now - times[place[0]] for place in ends})
            begins.append((times, {place: asked.get(place, extent.end) for place, extent in ends.items()}))
        later = await standing(reads_of(role, m.settings, m.events()), m.keystore, m.extents, keep=False)
        for times, found in begins:
            for spot in (each for each in later.reached if each.reader == role and each.place in found):
                if found[spot.place] > later.position(spot):
                    ages[spot.topic] = max(ages[spot.topic], times[spot.topic])
        return ages


def _behind(there: ReadingState, role: str, topic: str) -> bool:
    spots = [spot for spot in there.reached if spot[:2] == (role, topic)]
    return any(there.position(spot) < there.extents[spot.place].end for spot in spots)


def _grid(kept_ms: int, wanted_ms: int, share: float) -> list[int]:
    """The ages that are told apart, among them those by which something is decided."""
    decided = [int(share * kept_ms) + 1, int(share * wanted_ms / 2) + 1]
    return sorted([*decided, *(int(2 * kept_ms / _STEP**step) for step in range(_STEPS))])
