"""
Where a decision's legs had gone, told to the desk before any of them goes: whoever was given them is told (Art. 19).

Rules: 1. The legs' offsets say it and go with them: so it is told first.  2. After a crash in between fewer legs are
          left and fewer readers found: the desk keeps all that it was ever told.  3. Only from level 2 of forms on.
       4. Who reads until the person's entry is flagged is on record then: the look follows.  5. An erasure of some
          days and a correction raise no flag: it is looked once more when they are made.
Source: GDPR Art. 19; `readership.py`.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from calllog_guard.core.answers.readers import LegOffsets
from calllog_guard.core.requests.types import TYPES
from calllog_guard.errors import EntryUnreadableError, LogSilentError
from calllog_guard.ports.state import LegFacts
from calllog_guard.workers.keeper.context import KeeperContext
from calllog_guard.workers.keeper.decision_work import PORTION, Ended, Work
from calllog_guard.workers.keeper.enforcement.readership import Readership
from calllog_guard.workers.keeper.enforcement.results import Results

log: Final = structlog.get_logger()
FORMS: Final = 2
_TRIES: Final = 3
"""So often a silent log is asked; then the decision goes on: an erasure waits for no record of accesses."""
_FLAG_S: Final = 600.0
"""So long a flag is waited for; its desk may have lost what was to set it."""
_ENDED_BY: Final[dict[str, str]] = {kind: row.ended_by for kind, row in TYPES.items() if row.ended_by}
"""Decisions whose desk raises a flag, and which later one takes it down again."""
Concerns = Callable[[LegFacts, bytes], bool]


def every(_facts: LegFacts, _key: bytes) -> bool:
    """A decision about all legs of a person."""
    return True


class Tracer:
    """Finds where the legs of one keeper's partitions had gone."""

    def __init__(self, tools: KeeperContext, results: Results, readership: Readership) -> None:
        self._t, self._results, self._readership = tools, results, readership

    @property
    def on(self) -> bool:
        """Whether every desk understands it."""
        return self._t.ring.forms >= FORMS

    async def told(self, work: Work, concerns: Concerns = every, mask: int = 0) -> bool:
        """
        Whether the desk knows where a decision's legs had gone; False when its turn is over, or nothing is flagged yet.

        Args:
            mask: The purposes that it takes away.

        """
        progress, index = work.progress, work.shard.index
        if progress.traced or not self.on:
            return True
        if not await self._flagged(work, mask):
            return False
        while rows := index.legs_after(work.pseudonym, progress.at, PORTION):
            mine = [facts for facts, key in rows if concerns(facts, key)]
            progress.records |= {facts.offset: facts.day for facts in mine}
            if not work.shard.took_purposes(work.pseudonym):
                progress.purposes |= {facts.offset: facts.mask for facts in mine}
            progress.at = rows[-1][1]
            if work.over:
                return False
        legs, progress.readers, unsure = await self._readers(work)
        await self._results.traced(work, legs, progress.readers, unsure)
        progress.traced, progress.at = True, b""
        if work.decision.type in _ENDED_BY or work.decision.total:
            self._forget(work)
        return True

    async def again(self, work: Work) -> None:
        """Tell of who has read meanwhile what is done now."""
        if self.on and work.progress.records:
            work.shard.since[work.key] = asyncio.get_running_loop().time()
            legs, readers, unsure = await self._readers(work)
            if set(readers) - set(work.progress.readers) or unsure:
                await self._results.traced(work, legs, readers, unsure)
            self._forget(work)

    @staticmethod
    def _forget(work: Work) -> None:
        work.progress.records.clear()
        work.progress.purposes.clear()

    async def _flagged(self, work: Work, mask: int) -> bool:
        """Whether nobody reads any more against a decision; from then on the accesses are looked at."""
        ends, now, progress = _ENDED_BY.get(work.decision.type), asyncio.get_running_loop().time(), work.progress
        if ends is None or progress.waits_from < 0:
            return True
        if not (await self._stands(work, mask) or self._ended(work, ends)):
            progress.waits_from = progress.waits_from or now
            if now < progress.waits_from + _FLAG_S:
                return False
            log.error("a decision was written and its flag is not raised", partition=work.shard.partition)
        progress.waits_from, work.shard.since[work.key] = -1.0, now
        return True

    async def _stands(self, work: Work, mask: int) -> bool:
        lookup = work.entry.lookup
        view = await self._t.ring.view([lookup])
        try:
            person = self._t.ring.person(lookup, view.raw[lookup])
        except EntryUnreadableError:
            return True  # by such an entry nothing is read
        if person is None or person.pseudonym != work.pseudonym:
            return True
        if work.decision.type == "restrict":
            return person.restricted or person.reviewed
        return not mask & ~(person.objected if work.decision.type == "object" else person.withdrawn)

    @staticmethod
    def _ended(work: Work, ends: str) -> bool:
        """Whether a later decision has taken the flag down again: what came first was carried out first."""
        ruled = work.shard.ruled.get(work.pseudonym, {})
        return any(each.type == ends and each.turn > work.decision.turn for each in ruled.values())

    async def _readers(self, work: Work) -> tuple[int, tuple[str, ...], str | None]:
        progress, since = work.progress, work.shard.since.get(work.key, 0.0)
        legs = len(progress.records)
        try:
            mine = LegOffsets(progress.records, progress.purposes)
            readers, unsure = await self._readership.readers(work.shard.partition, mine, since)
        except LogSilentError as error:
            progress.tries += 1
            if progress.tries < _TRIES:
                raise
            log.error("who has opened records cannot be read: every recipient is told", why=str(error))  # noqa: TRY400
            return legs, (), "unread"
        return legs, readers, unsure

    async def restricted(self, work: Work) -> Ended:
        """The keeper's effect for `restrict`: nothing of what is stored changes."""
        if not await self.told(work):
            return Ended.MORE
        await self._results.done(work, "traced")
        return Ended.DONE
