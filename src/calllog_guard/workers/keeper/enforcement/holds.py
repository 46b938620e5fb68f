"""
The keeper's effects for `hold` and `release`.

Steps (for crash tests): 1 copied, 2 reported, 3 mark cleared; of a release: 1 secret destroyed, 2 copies tombstoned.
Rules: 1. The mark that keeps a person's key is cleared once the result is in the ledger.  2. A release ends when
          every copy written before it is gone; what comes later goes on sight.
Source: docs/adr/0004-a-hold-is-a-copy.md, docs/explanation/design.md.
"""

from contextlib import suppress
from dataclasses import replace

from calllog_guard.core.codec import decode
from calllog_guard.core.crypto.entries import Keys
from calllog_guard.core.decisions.decision import Decision
from calllog_guard.core.decisions.hold import OF_LAW, RELEASES
from calllog_guard.core.identifiers import HoldId, Pseudonym, id_bytes
from calllog_guard.errors import EntryUnreadableError
from calllog_guard.ports.fault_injection import CrashPoints
from calllog_guard.workers.keeper.context import KeeperContext
from calllog_guard.workers.keeper.decision_work import Ended, Work
from calllog_guard.workers.keeper.enforcement.enforcer import Enforcer, rule_of


class Preserver:
    """Carries holds and their releases out on one partition at a time."""

    def __init__(self, tools: KeeperContext, enforcer: Enforcer) -> None:
        self._t, self._enforcer, self._steps = tools, enforcer, CrashPoints(tools.settings.off)

    async def hold(self, work: Work) -> Ended:
        """The legs under a hold are copied, then the mark that keeps the person's key is cleared."""
        if work.entry.task:
            return await self._hold_law(work)
        keys = await self._enforcer.keys(work)
        rule = rule_of(work.decision, keys)
        if rule is not None and rule.hold is not None and keys is not None:
            name, span = HoldId(rule.hold), rule.range
            while rows := self._enforcer.next_rows(work):  # what comes meanwhile is copied as it comes
                held = [(facts, key) for facts, key in rows if span is None or span.covers(facts.day)]
                work.progress.count += await self._enforcer.copies.hold(work.shard, name, work.pseudonym, keys, held)
                self._enforcer.took(work, rows)
                if work.over:
                    return Ended.MORE
        await self._enforcer.results.report(work, "copied", (), work.progress.count)
        await self.unmark(work.decision)
        return Ended.DONE

    async def _hold_law(self, work: Work) -> Ended:
        """What law keeps of somebody who is erased is copied under a hold: it stays as long as that stands."""
        told, copies, shard = decode(OF_LAW, work.entry.task), self._enforcer.copies, work.shard
        found = set[bytes]()
        while not await copies.catch_up(shard):
            pass
        for hold in copies.by_law(shard):
            after: bytes | None = b""
            while after is not None:
                rows, after = await copies.about(shard, hold, after, work.entry.lookup)
                held = [(facts, key) for facts, key in rows if told.range is None or told.range.covers(facts.day)]
                await copies.hold_copies(shard, HoldId(told.hold), hold, held)
                found.update(key.rpartition(b".")[2] for _, key in held)
        await self._enforcer.results.report(work, "copied", (), len(found))
        return Ended.DONE

    async def unmark(self, decision: Decision) -> None:
        """The copies of a hold are made: it delays nothing any more. An unusable key bears no mark that counts."""
        mark = id_bytes(decision.decision)

        def cleared(keys: Keys) -> Keys:
            return replace(keys, holds=tuple(each for each in keys.holds if each != mark))

        with suppress(EntryUnreadableError):
            await self._t.ring.change_keys(Pseudonym(decision.pseudonym), cleared)
        self._steps.reached("hold.unmarked")

    async def release(self, work: Work) -> Ended:
        """The secret first, then the copies that it opened."""
        hold = HoldId(decode(RELEASES, work.entry.task).hold)
        if not work.progress.destroyed:
            await self._t.safe.release(hold)
            self._steps.reached("release.destroyed")
        work.progress.destroyed = True
        while True:
            count = await self._enforcer.copies.release(work.shard, hold)
            if count is None:
                return Ended.MORE
            work.progress.count += count
            if count == 0:
                break
            if work.over:
                return Ended.MORE
        self._steps.reached("release.tombstoned")
        await self._enforcer.results.tell(work, "destroyed", work.progress.count)
        await self._enforcer.results.report(work, "tombstoned", (), work.progress.count)
        return Ended.DONE
