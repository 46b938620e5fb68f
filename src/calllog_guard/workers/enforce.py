"""
What the keeper does for a decision once its barrier is read, a method per type of decision.

Steps of an erasure (numbered for the crash tests): 1 fence repeated, 2 barrier read, 3 key destroyed, 4 legs tombstoned,
5 outcome and result written.
Rules: 1. Every effect may be repeated.  2. The result goes to the desk and into the ledger in one write, so that a rebuild never
          reports anew.  3. What cannot be done yet stays pending and is tried again.
Source: design section 9, step 4; section 10.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from calllog_guard.core.calls.correct import corrected
from calllog_guard.core.crypto.envelope import open_leg, parse_header, seal_leg
from calllog_guard.core.crypto.opened import Opened
from calllog_guard.core.crypto.secrets import month_from
from calllog_guard.core.ids import Pseudonym, Token, record_key
from calllog_guard.core.requests.decision import Decision, Entry
from calllog_guard.core.requests.outcome import DONE, LEGS, TO_DESK, Outcome
from calllog_guard.core.requests.rules import Correction, Rule, Standing, open_rule
from calllog_guard.core.tombstone import Output, tombstone
from calllog_guard.errors import LegMovedError
from calllog_guard.ports import Facts, Pending
from calllog_guard.workers.copies import Copies
from calllog_guard.workers.delivery import Steps
from calllog_guard.workers.keyring import fresh_nonce
from calllog_guard.workers.shard import Shard
from calllog_guard.workers.tools import Tools

_REMOVE: Final = frozenset({"erase", "object", "withdraw", "rectify"})


@dataclass(frozen=True, slots=True)
class Work:
    """One decision whose barrier is read."""

    shard: Shard
    key: bytes
    pending: Pending
    decision: Decision
    entry: Entry


def _tokens(legs: Sequence[bytes]) -> tuple[Token, ...]:
    return tuple(Token(leg.decode().partition(".")[2]) for leg in legs)


class Enforcer:
    """Carries decisions out on one partition at a time."""

    def __init__(self, tools: Tools) -> None:
        self._t, self._steps, self.copies = tools, Steps(tools.settings.off), Copies(tools)
        self._rise = asyncio.Lock()
        self._destroyed, self._risen = 0, 0
        self._effects: dict[str, Callable[[Work], Awaitable[bool]]] = {
            "object": self._take_away,
            "withdraw": self._take_away,
            "rectify": self._rectify,
        }

    def register(self, kind: str, effect: Callable[[Work], Awaitable[bool]]) -> None:
        """An effect that is at home in a module of its own."""
        self._effects[kind] = effect

    def knows(self, decision: Decision) -> bool:
        """Whether this type has an effect on what is stored."""
        return decision.type == "erase" or decision.type in self._effects

    async def finish(self, work: Work) -> bool:
        """Carry a decision out; False when it must wait for another."""
        self._steps.reached("enforce.barrier")
        if work.decision.total:
            return await self._erase(work)
        pseudonym = Pseudonym(work.decision.pseudonym)
        if work.decision.type in _REMOVE and await self._t.ring.marked([pseudonym]):
            return False  # a hold's copies are still to be made
        if work.decision.type == "erase":
            return await self._erase_range(work)
        return await self._effects[work.decision.type](work)

    # --- what was decided -------------------------------------------------------------------------------------------

    async def rule(self, decision: Decision) -> Rule | None:
        """What a decision says beyond its type; None when the person's key is gone, and the rule with it."""
        if decision.rule is msgspec.UNSET:
            return Rule()
        keys = await self._t.ring.keys_of(Pseudonym(decision.pseudonym))
        return None if keys is None else open_rule(decision, keys.identity.rules_key())

    async def standing(self, shard: Shard, pseudonym: str) -> Standing:
        """All rules about a person that hold now, folded in the order of the ledger."""
        known = shard.standing.get(pseudonym)
        if known is None:
            known = Standing()
            for decision in shard.standing_rules(pseudonym):
                rule = await self.rule(decision)
                known = known if rule is None else known.after(decision, rule)
            shard.standing[pseudonym] = known
        return known

    async def flags(self, shard: Shard, pseudonym: str) -> Standing:
        """What a person's entry must say: every decision counts from the moment it was made, done or not."""
        found = Standing()
        for decision in shard.ruled.get(pseudonym, {}).values():
            rule = await self.rule(decision)
            found = found if rule is None else found.after(decision, rule)
        return found

    # --- effects ----------------------------------------------------------------------------------------------------

    async def _erase(self, work: Work) -> bool:
        pseudonym = Pseudonym(work.decision.pseudonym)
        rows = work.shard.index.legs_of(pseudonym)
        if not await self._survived(work, rows) or not await self._t.ring.destroy(pseudonym):
            return False  # a hold's copies are still to be made
        await self._counted()
        self._steps.reached("enforce.destroyed")
        legs = [key for _, key in rows]
        await self._t.writer.write([self.told(self.outcome(work, "destroyed", len(legs)))])
        await self._remove(work, legs)
        return True

    async def _counted(self) -> None:
        """A keystore without this erasure is an older one, also between two heartbeats: one rise for all that just ended."""
        self._destroyed += 1
        mine = self._destroyed
        async with self._rise:
            if self._risen < mine:
                upto = self._destroyed
                await self._t.ring.guard.raise_counter()
                self._risen = upto

    async def _erase_range(self, work: Work) -> bool:
        rule = await self.rule(work.decision)
        span = rule.range if rule else None
        every = work.shard.index.legs_of(work.decision.pseudonym)
        rows = [(facts, key) for facts, key in every if span is not None and span.covers(facts.day)]
        if not await self._survived(work, rows):
            return False
        await self._remove(work, [key for _, key in rows])
        return True

    async def _survived(self, work: Work, rows: Sequence[tuple[Facts, bytes]]) -> bool:
        """What the law keeps is copied before anything goes; False while a hold's copies are still to be made."""
        pseudonym = Pseudonym(work.decision.pseudonym)
        keys = await self._t.ring.keys_of(pseudonym)
        if keys is None:
            return True  # destroyed by this decision before a crash: what had to be copied was
        if keys.holds:
            return False
        kept = await self.copies.survive(work.shard, pseudonym, keys, rows)
        if kept:
            await self._t.writer.write([self.told(self.outcome(work, "copied", len(rows), kept=kept))])
        return True

    async def _take_away(self, work: Work) -> bool:
        """Purposes are taken from what is stored; a leg whose last purpose falls away goes."""
        rule = await self.rule(work.decision)
        taken = rule.mask if rule else 0
        gone: list[bytes] = []
        for facts, key in work.shard.index.legs_of(work.decision.pseudonym):
            left = facts.mask & ~taken
            if facts.mask and not left:
                gone.append(key)
            elif left != facts.mask:
                work.shard.index.put(key, msgspec.structs.replace(facts, mask=left))
        await self._remove(work, gone)
        return True

    async def _remove(self, work: Work, legs: Sequence[bytes]) -> None:
        t = self._t
        if not work.decision.total:
            legs = await self._recorded(work, legs)
        await t.writer.write([tombstone(t.legs, leg, t.settings.partitions) for leg in legs])
        self._steps.reached("enforce.tombstoned")
        await self.report(work, "tombstoned", () if work.decision.total else legs, len(legs))
        for leg in legs:
            work.shard.index.remove(leg)

    async def _recorded(self, work: Work, legs: Sequence[bytes]) -> Sequence[bytes]:
        """
        The legs to be removed, with those of an earlier attempt: a repeat, or a rebuilt index, does not find them any more.

        They are in the ledger before their tombstones: the auditor looks for the names that are reported, for all of them.
        """
        name = work.key.decode()
        known = work.shard.recorded.get(name, ())
        both = tuple(dict.fromkeys((*known, *legs)))
        if both != known:
            await self._t.writer.write(
                [self._kept(work, LEGS, self.outcome(work, "tombstoned", len(both), _tokens(both)))]
            )
            work.shard.recorded[name] = both
        return both

    async def _rectify(self, work: Work) -> bool:
        rule = await self.rule(work.decision)
        facts = rule.facts if rule else None
        pseudonym = Pseudonym(work.decision.pseudonym)
        key = record_key(pseudonym, facts.token) if facts else b""
        rows = {row: found for found, row in work.shard.index.legs_of(pseudonym) if row == key}
        if facts is not None and rows:
            values = await self._t.fetch(self._t.legs, work.shard.partition, {key: rows[key].offset})
            if key not in values:
                raise LegMovedError([key])
            output = await self.correction(key, values[key], facts)
            await self._t.writer.write([output] if output else [])
        self._steps.reached("enforce.corrected")
        await self.report(work, "rewritten", list(rows), len(rows))
        return True

    async def correction(self, key: bytes, value: bytes, facts: Correction) -> Output | None:
        """The leg with its corrected facts, sealed anew in its place; None when it says so already or opens no more."""
        header = parse_header(value)
        opened = await self.opened(Pseudonym(header.kid))
        if opened is None:
            return None
        data_key = opened.data_key(month_from(header.mon))
        before = open_leg(value, data_key)
        after = corrected(before, role=facts.role, joined_at=facts.joined_at, left_at=facts.left_at)
        if after == before:
            return None
        sealed = seal_leg(header, after, data_key, fresh_nonce())
        return Output(self._t.legs, opened.place % self._t.settings.partitions, key, sealed)

    async def opened(self, pseudonym: Pseudonym) -> Opened | None:
        """A living person's key bytes; None when the person is gone."""
        keys = await self._t.ring.keys_of(pseudonym)
        if keys is None:
            return None
        view = await self._t.ring.view([keys.lookup])
        person = self._t.ring.person(keys.lookup, view.raw[keys.lookup])
        if person is None or person.pseudonym != pseudonym:
            return None
        found, unreadable = await self._t.ring.open({keys.lookup: person})
        for error in unreadable.values():
            raise error
        return found[keys.lookup]

    # --- results ----------------------------------------------------------------------------------------------------

    async def report(
        self, work: Work, stage: Any, legs: Sequence[bytes], count: int, digests: tuple[str, ...] = ()
    ) -> None:
        """To the desk and into the ledger; `legs` name the records whose old values must be seen gone."""
        tokens = _tokens(legs)
        result = self.told(self.outcome(work, stage, count, digests=digests))
        await self._t.writer.write([result, self._kept(work, DONE, self.outcome(work, stage, count, tokens))])
        self._steps.reached("enforce.result")

    async def fail(self, work: Work) -> None:
        """A decision that can never be carried out: said to the desk, so that a human looks."""
        await self.report(work, "failed", (), 0)

    def _kept(self, work: Work, suffix: bytes, outcome: Outcome) -> Output:
        """A result in the ledger, beside its decision."""
        key = work.key + suffix
        topic = self._t.settings.topic("privacy.decisions")
        return Output(topic, work.shard.partition, key, self._t.outcome_key.vouched(outcome, key))

    def told(self, outcome: Outcome) -> Output:
        """An outcome on its way to the desk."""
        topic = self._t.settings.topic("privacy.outcomes")
        return Output(topic, self._t.home, outcome.case.encode(), self._t.outcome_key.vouched(outcome, TO_DESK))

    def outcome(
        self,
        work: Work,
        stage: Any,
        legs: int,
        tokens: tuple[Token, ...] = (),
        *,
        digests: tuple[str, ...] = (),
        kept: tuple[str, ...] = (),
    ) -> Outcome:
        """What was done."""
        decision = work.decision
        return Outcome(
            tenant=self._t.tenant,
            case=decision.case,
            decision=decision.decision,
            stage=stage,
            partition=work.shard.partition,
            legs=legs,
            barrier=work.pending.barrier,
            up_to=work.shard.legs,
            by="keeper",
            at=self._t.clock.now(),
            tokens=tokens or msgspec.UNSET,
            kept=kept or msgspec.UNSET,
            digests=digests or msgspec.UNSET,
        )

    async def on_arrival(
        self, shard: Shard, key: bytes, facts: Facts, value: bytes
    ) -> tuple[Facts | None, list[Output]]:
        """What the standing rules make of a leg that arrives: its facts as they count (None: it goes), and what to write."""
        pseudonym, _, token = key.decode().partition(".")
        standing = await self.standing(shard, pseudonym)
        holds = standing.holds_on(facts.day)
        if holds:
            await self.copies.arriving(shard, holds, value)
        mask = standing.mask_of(facts.mask)
        if standing.removes(facts.day) or (facts.mask and not mask):
            return None, [tombstone(self._t.legs, key, self._t.settings.partitions)]
        outputs: list[Output] = []
        if token in standing.corrections:
            output = await self.correction(key, value, standing.corrections[token])
            outputs += [output] if output else []
        return msgspec.structs.replace(facts, mask=mask), outputs
