"""
The decisions of a partition that have reached their barrier, carried out turn by turn.

Rules: 1. One person's are carried out in order, others abreast.  2. What waits for a person's entry, a hold's, or
          an upgrade is retried by itself, with growing pauses, and told; all others go on.  3. What waited in vain for
          DEAD_KEEP_DAYS has failed, and an officer must look: only total erasures wait for ever.
Source: docs/explanation/design.md, docs/adr/0011-one-persons-matter.md.
"""

import asyncio
from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Final

import structlog

from calllog_guard.core.codec import decode
from calllog_guard.core.decisions.decision import DECISIONS
from calllog_guard.core.requests.types import EXPORTS, HOLDS
from calllog_guard.errors import EpochUnknownError, LegMovedError, MessageError, ParkedError
from calllog_guard.metrics import Counters
from calllog_guard.ports.state import Pending
from calllog_guard.workers.keeper.context import KeeperContext
from calllog_guard.workers.keeper.decision_work import Ended, Work, work_of
from calllog_guard.workers.keeper.enforcement.enforcer import Enforcer
from calllog_guard.workers.keeper.partition import Shard
from calllog_guard.workers.runtime.parallel import abreast, portions

log: Final = structlog.get_logger()
_TRIED_S: Final = 3600.0
"""For so long a decision is tried by one process before it has failed, however old it is."""


def _is_free(work: Work, busy: Collection[tuple[str, bool]]) -> bool:
    """Whether a decision is not behind one about the same person that has more to do; `busy` says if it is a hold's."""
    if work.decision.type == "hold":  # an erasure may wait for it
        return True
    by_hold = work.decision.type != "preview"  # how long it takes to count would tell of a hold that is secret
    return (work.pseudonym, False) not in busy and not (by_hold and (work.pseudonym, True) in busy)


class Backlog:
    """Finishes the decisions of one keeper's partitions."""

    def __init__(self, tools: KeeperContext, enforcer: Enforcer) -> None:
        self._t, self._enforcer = tools, enforcer

    @staticmethod
    def begin(shard: Shard) -> None:
        """
        What was given before a crash is not given again: by now less may be left to give, under the same keys.

        All else is done once more, which changes nothing.
        """
        for key, pending in list(shard.pending.items()):
            if key.decode("ascii", "replace") in shard.done and decode(DECISIONS, pending.decision).type in EXPORTS:
                shard.index.unpend(key)
                del shard.pending[key]

    async def finish(self, shard: Shard) -> None:
        """One turn of what has reached its barrier; what must wait, or has more to do, is tried again."""
        reached = await self._t.reached(self._t.legs, shard.partition) if shard.pending else 0
        ripe = [item for item in shard.pending.items() if item[1].barrier <= reached and shard.pauses.due(item[0])]
        works = [work for key, pending in ripe if (work := self._work(shard, key, pending)) is not None]
        finished, busy = False, set[tuple[str, bool]]()
        for together in portions(works, lambda work: work.decision.pseudonym):
            free = [work for work in together if _is_free(work, busy)]
            for work, ended in zip(free, await abreast(self._carried_out, free), strict=True):
                if ended is Ended.MORE and work.decision.type != "preview":  # what only counts holds up nobody
                    busy.add((work.pseudonym, work.decision.type in HOLDS))
                elif ended is Ended.DONE:
                    self._finished(work)
                    finished = True
            self._t.commit(shard)
        shard.unforgotten = shard.unforgotten or finished
        if finished and not shard.pending:
            await self._t.ring.guard.applied(shard.partition, shard.decisions)
        await self._forget(shard)

    def _finished(self, work: Work) -> None:
        shard, key = work.shard, work.key
        shard.index.unpend(key)
        shard.pending.pop(key)
        shard.progress.pop(key, None)
        shard.since.pop(key, None)
        shard.worked(work.pseudonym, key)
        shard.pauses.ended(key)
        shard.finished(key.decode())

    async def _forget(self, shard: Shard) -> None:
        """Removed rows leave the files; rewriting them costs as much as the index, so it rests as long as it took."""
        now = asyncio.get_running_loop().time
        began = now()
        if shard.unforgotten and began >= shard.forget_from:
            await asyncio.to_thread(shard.index.forget)
            shard.unforgotten, shard.forget_from = False, now() + (now() - began)

    def _work(self, shard: Shard, key: bytes, pending: Pending) -> Work | None:
        try:
            return work_of(shard, key, pending, self._t.ledger_key)
        except (MessageError, EpochUnknownError) as error:  # the walk keeps its epoch: somebody else has destroyed it
            self._waits(shard, key, error)
            return None

    async def _carried_out(self, work: Work) -> Ended:
        try:
            ended = await self._enforcer.finish(work)
        except LegMovedError as error:  # the next look at the index knows more; nobody else waits for it
            self._t.count(Counters.legs_moved, 1)
            log.warning("a decision waits", decision=work.decision.decision, why=str(error))
            await self._look_again(work.shard, error.missing)
            return Ended.WAITS
        except ParkedError as error:
            if not self._in_vain(work):
                self._waits(work.shard, work.key, error)
                return Ended.WAITS
            return await self._failed(work, "waited in vain: " + str(error))
        except MessageError as error:  # a rule that its desk did not seal as we do
            self._t.count(Counters.dead[error.reason], 1)
            return await self._failed(work, error.reason)
        work.shard.pauses.ended(work.key)
        return ended

    async def _failed(self, work: Work, why: str) -> Ended:
        log.error("a decision cannot be carried out", decision=work.decision.decision, why=why)
        await self._enforcer.results.fail(work)
        return Ended.DONE

    def _waits(self, shard: Shard, key: bytes, error: Exception) -> None:
        if shard.pauses.failed(key):
            self._t.count(Counters.decisions_waited, 1)
            log.error("a decision waits", decision=key.decode("ascii", "replace").partition(".")[2], why=str(error))

    def _in_vain(self, work: Work) -> bool:
        age = self._t.clock.now() - work.decision.at
        tried = work.shard.pauses.waited_s(work.key) > _TRIED_S
        return not work.decision.total and tried and age > timedelta(days=self._t.settings.dead_keep_days)

    async def _look_again(self, shard: Shard, missing: Sequence[bytes]) -> None:
        """A leg that was not there, and of which nothing was read up to the log's end then, is there no more."""
        ends = await self._t.log.ends(self._t.legs, [shard.partition])
        reached = await self._t.reached(self._t.legs, shard.partition)
        for key in missing:
            facts, (offset, end) = shard.index.facts(key), shard.missing.pop(key, (-1, 0))
            if facts is None:
                continue
            if facts.offset != offset or not reached >= end > offset:  # an end below it: a leader that is not whole yet
                shard.missing[key] = (facts.offset, ends[shard.partition])
            else:
                shard.index.remove(key)
                self._t.count(Counters.legs_lost, 1)
                log.error("a leg is in the index and not in the log", partition=shard.partition, offset=offset)
