"""
Where the legs had gone that a decision is about, told to the desk before any of them goes: whoever was given them is told (Art. 19).

Rules: 1. The offsets of the legs say it, and they go with the legs: so it is told first.  2. After a crash in between fewer legs are
          left and fewer readers found: the desk keeps all that it was ever told.  3. Only from the second level of forms on.
Source: GDPR Art. 19; `readership.py`.
"""

from collections.abc import Callable
from typing import Final

import structlog

from calllog_guard.core.answers.readers import LegOffsets
from calllog_guard.errors import LogSilentError
from calllog_guard.ports import LegFacts
from calllog_guard.workers.keeper.context import KeeperContext
from calllog_guard.workers.keeper.decision_work import PORTION, Ended, Work
from calllog_guard.workers.keeper.enforcement.readership import Readership
from calllog_guard.workers.keeper.enforcement.results import Results

log: Final = structlog.get_logger()
FORMS: Final = 2
_TRIES: Final = 3
"""So often a silent log is asked; then the decision goes on: an erasure waits for no record of accesses."""
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

    async def told(self, work: Work, concerns: Concerns = every) -> bool:
        """Whether the desk knows where the legs had gone that a decision concerns; False when its turn is over."""
        progress, index = work.progress, work.shard.index
        if progress.traced or not self.on:
            return True
        while rows := index.legs_after(work.pseudonym, progress.at, PORTION):
            mine = [facts for facts, key in rows if concerns(facts, key)]
            progress.records |= {facts.offset: facts.day for facts in mine}
            if not work.shard.took_purposes(work.pseudonym):
                progress.purposes |= {facts.offset: facts.mask for facts in mine}
            progress.at = rows[-1][1]
            if work.over:
                return False
        await self._results.traced(work, *await self._readers(work))
        progress.traced, progress.at = True, b""
        progress.records.clear()
        progress.purposes.clear()
        return True

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
