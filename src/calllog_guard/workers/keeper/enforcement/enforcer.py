"""
What the keeper does for a decision once its barrier is read, a method per type of decision.

Steps of an erasure (for the crash tests): 1 fence repeated, 2 barrier read, 3 key destroyed, 4 legs tombstoned,
5 outcome and result written.
Rules: 1. Effects may be repeated.  2. What cannot be done yet stays pending and is retried.  3. Hundreds of thousands
          of legs go in portions (`workers/keeper/decision_work.py`), each named, tombstoned and unindexed first.
       4. An erasure needs nobody's key: where that does not open, nothing can be copied for law, and everything goes.
Source: docs/explanation/design.md, docs/explanation/cases.md.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec
import structlog

from calllog_guard.core.answers.parts import AMENDS
from calllog_guard.core.codec import decode
from calllog_guard.core.crypto.entries import Keys
from calllog_guard.core.decisions.decision import Decision
from calllog_guard.core.decisions.standing_rules import Rule, open_rule
from calllog_guard.core.identifiers import record_key
from calllog_guard.core.records import tombstone
from calllog_guard.core.requests.types import TAKE_AWAY, kinds
from calllog_guard.errors import EntryUnreadableError, KeyMissingError, LegMovedError
from calllog_guard.metrics import Counters
from calllog_guard.ports.fault_injection import CrashPoints
from calllog_guard.ports.state import LegFacts
from calllog_guard.workers.keeper.arrivals import Arrivals
from calllog_guard.workers.keeper.context import KeeperContext
from calllog_guard.workers.keeper.decision_work import PORTION, Ended, Work
from calllog_guard.workers.keeper.enforcement.readership import Readership
from calllog_guard.workers.keeper.enforcement.results import Results, tokens_of
from calllog_guard.workers.keeper.enforcement.tracing import Tracer
from calllog_guard.workers.keeper.held_copies import Copies
from calllog_guard.workers.keeper.revisions import siblings
from calllog_guard.workers.keys.people.law_copies import KeptOf

log: Final = structlog.get_logger()
Effect = Callable[[Work], Awaitable[Ended]]
Rows = Sequence[tuple[LegFacts, bytes]]
_REMOVE: Final = kinds(lambda row: row.removes)


class Enforcer:
    """Carries decisions out on one partition at a time."""

    def __init__(self, tools: KeeperContext) -> None:
        self._t, self._steps = tools, CrashPoints(tools.settings.off)
        self.copies, self.results = Copies(tools), Results(tools)
        self.arrivals = Arrivals(tools, self.copies)
        self._kept = KeptOf(tools.ring, tools.clock)
        self._rise = asyncio.Lock()
        self._destroyed, self._risen = 0, 0
        self._effects: dict[str, Effect] = dict.fromkeys(TAKE_AWAY, self._take_away)
        self.readership = Readership(tools)
        self._tracer = Tracer(tools, self.results, self.readership)
        self._effects["restrict"] = self._tracer.restricted

    def register(self, kind: str, effect: Effect) -> None:
        """An effect that is at home in a module of its own."""
        self._effects[kind] = effect

    def knows(self, decision: Decision) -> bool:
        """Whether this type has an effect on what is stored."""
        if decision.type == "restrict":
            return self._tracer.on
        return decision.type in _REMOVE or decision.type in self._effects

    async def finish(self, work: Work) -> Ended:
        """
        One turn of a decision.

        Raises:
            EntryUnreadableError: The person's key, or a hold's entry, cannot be used: this decision waits.

        """
        self._steps.reached("enforce.barrier")
        if work.decision.total:
            return await self._erase(work)
        if work.decision.type not in _REMOVE:
            return await self._effects[work.decision.type](work)
        keys = await self.keys(work)
        if keys is not None and keys.holds:
            return Ended.WAITS  # a hold's copies are still to be made
        if work.decision.type == "erase":
            return await self._erase_range(work, keys)
        if work.decision.type == "rectify":
            return await self._rectify(work, keys)
        return await self._effects[work.decision.type](work)

    async def keys(self, work: Work) -> Keys | None:
        """
        The secrets of whom a decision is about; None when they are erased, or live in a later generation.

        Raises:
            EntryUnreadableError: They live, and their key is missing or cannot be used.

        """
        keys = await self._t.ring.keys_of(work.pseudonym)
        if keys is None:
            view = await self._t.ring.view([work.entry.lookup])
            person = self._t.ring.person(work.entry.lookup, view.raw[work.entry.lookup])
            if person is not None and person.pseudonym == work.pseudonym:
                raise KeyMissingError(f"the key of the live person {work.pseudonym} is missing", "key_missing")
        return keys

    # --- portions ---------------------------------------------------------------------------------------------------

    @staticmethod
    def next_rows(work: Work) -> Rows:
        """The person's next legs behind those that were taken; nothing at the end."""
        return work.shard.index.legs_after(work.pseudonym, work.progress.at, PORTION)

    def _every_row(self, work: Work) -> Rows:
        """As `next_rows`, and in the end those that have come meanwhile."""
        came = work.shard.working.setdefault(work.pseudonym, {}).setdefault(work.key, set())
        late = ((work.shard.index.facts(key), key) for key in sorted(came))
        return self.next_rows(work) or [(facts, key) for facts, key in late if facts is not None]

    @staticmethod
    def took(work: Work, rows: Rows) -> None:
        """What was to be done with these legs is done; what failed before is done again."""
        work.progress.at = max(work.progress.at, rows[-1][1])
        came = work.shard.working.get(work.pseudonym, {}).get(work.key, set())
        came.difference_update(key for _, key in rows)

    async def _remove(self, work: Work, legs: Sequence[bytes]) -> None:
        """Name legs in the ledger where the auditor looks for that, tombstone them, and take them out of the index."""
        if not legs:
            return
        if not work.decision.total:
            await self.results.name(work, legs)
        await self._t.writer.write([tombstone(self._t.legs, leg, self._t.settings.partitions) for leg in legs])
        self._steps.reached("enforce.tombstoned")
        for leg in legs:
            work.shard.index.remove(leg)
        self._t.commit(work.shard)

    # --- effects ----------------------------------------------------------------------------------------------------

    async def _erase(self, work: Work) -> Ended:
        progress, shard = work.progress, work.shard
        if not await self._tracer.told(work):
            return Ended.MORE
        if not progress.destroyed:
            ended = await self._destroy(work)
            if ended is not Ended.DONE:
                return ended
            progress.destroyed, progress.at = True, b""
        removed = progress.count
        while rows := shard.index.legs_after(work.pseudonym, b"", PORTION):
            await self._remove(work, [key for _, key in rows])
            if work.over and shard.index.legs_after(work.pseudonym, b"", 1):
                return Ended.MORE
        await self.results.report(work, "tombstoned", (), removed)
        return Ended.DONE

    async def _destroy(self, work: Work) -> Ended:
        """What law keeps is copied, then the person's key goes; DONE once it is gone."""
        keys = await self._readable(work)
        if keys is not None and keys.holds:
            return Ended.WAITS  # a hold's copies are still to be made
        if keys is None and self._hold_waits(work):
            return Ended.WAITS  # what it is to preserve can perhaps be opened again; an officer can end it
        while rows := self._every_row(work):
            if keys is not None:  # else destroyed by this decision before a crash: what had to be copied was
                await self._survive(work, keys, rows)
            work.progress.count += len(rows)
            self.took(work, rows)
            if work.over:
                return Ended.MORE
        if not await self._t.ring.destroy(work.pseudonym):
            return Ended.WAITS
        await self._counted()
        self._steps.reached("enforce.destroyed")
        await self.results.tell(work, "destroyed", work.progress.count)
        return Ended.DONE

    async def _readable(self, work: Work) -> Keys | None:
        """The person's secrets; None where they are destroyed already, or can be used by nobody."""
        try:
            return await self._t.ring.keys_of(work.pseudonym)
        except EntryUnreadableError as error:
            if not work.progress.at and not self._hold_waits(work):
                self._t.count(Counters.erased_unreadable, 1)
                why = str(error)
                log.error("somebody is erased whose key cannot be used: what law keeps was not copied", why=why)  # noqa: TRY400
            return None

    def _hold_waits(self, work: Work) -> bool:
        """Whether a hold on this person was decided whose copies are still to be made."""
        shard = work.shard
        ruled = shard.ruled.get(work.pseudonym, {})
        return any(each.type == "hold" and name.encode() in shard.pending for name, each in ruled.items())

    async def _counted(self) -> None:
        """A keystore without this erasure is older, also between two heartbeats: one rise for all that just ended."""
        self._destroyed += 1
        mine = self._destroyed
        async with self._rise:
            if self._risen < mine:
                upto = self._destroyed
                await self._t.ring.guard.raise_counter()
                self._risen = upto

    async def _survive(self, work: Work, keys: Keys, rows: Rows) -> None:
        """What the law keeps of some legs is copied before they go."""
        survived = await self.copies.survive(work.shard, work.pseudonym, keys, rows)
        await self._kept.note(work.entry.lookup, survived.copies)
        self._steps.reached("enforce.noted")
        kept = set(survived.bases) - work.progress.kept
        if kept:
            await self.results.tell(work, "copied", len(rows), tuple(sorted(kept)))
            work.progress.kept |= kept

    async def _erase_range(self, work: Work, keys: Keys | None) -> Ended:
        rule = rule_of(work.decision, keys)
        span = rule.range if rule else None
        if not await self._tracer.told(work, lambda facts, _: span is not None and span.covers(facts.day)):
            return Ended.MORE
        while rows := self._every_row(work):
            mine = [(facts, key) for facts, key in rows if span is not None and span.covers(facts.day)]
            if keys is not None:
                await self._survive(work, keys, mine)
            await self._remove(work, [key for _, key in mine])
            self.took(work, rows)
            if work.over:
                return Ended.MORE
        await self._tracer.again(work)
        await self.results.removed(work)
        return Ended.DONE

    async def _take_away(self, work: Work) -> Ended:
        """Purposes are taken from what is stored; a leg whose last purpose falls away goes."""
        rule = rule_of(work.decision, await self.keys(work))
        taken = rule.mask if rule else 0
        if not await self._tracer.told(work, lambda facts, _: bool(facts.mask & taken), taken):
            return Ended.MORE
        while rows := self._every_row(work):
            gone: list[bytes] = []
            for facts, key in rows:
                left = facts.mask & ~taken
                if facts.mask and not left:
                    gone.append(key)
                elif left != facts.mask:
                    work.shard.index.put(key, msgspec.structs.replace(facts, mask=left))
            await self._remove(work, gone)
            self.took(work, rows)
            if work.over:
                return Ended.MORE
        await self.results.removed(work)
        return Ended.DONE

    async def noted(self, work: Work) -> Ended:
        """Who is one person is the desk's work, and of a replay: here is written that no epoch is kept for it."""
        await self.results.done(work, "looked")
        return Ended.DONE

    async def _rectify_copies(self, work: Work) -> Ended:
        """What law keeps of somebody who is erased is corrected where it lies; the older state goes with compaction."""
        amend, shard, found = decode(AMENDS, work.entry.task), work.shard, 0
        while not await self.copies.catch_up(shard):
            pass
        for hold in self.copies.by_law(shard):
            after: bytes | None = b""
            while after is not None:
                mine, after = await self.copies.about(shard, hold, after, work.entry.lookup)
                found += await self.copies.correct(shard, hold, mine, amend)
        await self.results.report(work, "rewritten", (), found)
        return Ended.DONE

    async def _rectify(self, work: Work, keys: Keys | None) -> Ended:
        if work.entry.task:
            return await self._rectify_copies(work)
        rule = rule_of(work.decision, keys)
        facts = rule.facts if rule else None
        rows = (
            [row for row in siblings(work.shard, record_key(work.pseudonym, facts.token)) if row[0].mask]
            if facts
            else []
        )
        legs = [key for _, key in rows]
        if not await self._tracer.told(work, lambda _, each: each in legs):
            return Ended.MORE
        if facts is not None and rows:
            places = {key: there.offset for there, key in rows}
            values = await self._t.log.fetch(self._t.legs, work.shard.partition, places)
            if missing := [key for key in legs if key not in values]:
                raise LegMovedError(missing)
            outputs = [await self.arrivals.correction(key, values[key], facts) for key in legs]
            await self._t.writer.write([output for output in outputs if output])
        self._steps.reached("enforce.corrected")
        await self._tracer.again(work)
        await self.results.report(work, "rewritten", tokens_of(legs), len(legs))
        return Ended.DONE


def rule_of(decision: Decision, keys: Keys | None) -> Rule | None:
    """What a decision says beyond its type; None when the person's key is gone, and the rule with it."""
    if decision.rule is msgspec.UNSET:
        return Rule()
    return None if keys is None else open_rule(decision, keys.identity.rules_key())
