"""
What the standing rules about a person make of a leg that arrives.

Rules: 1. Where rules cannot be read (key missing, unusable) legs are indexed as they are, and judged once
          they can; nobody else's legs wait.  2. That they await judgement is in the index: no crash forgets it.
       3. What lies under a person's key and is no leg is indexed: an erasure removes it, or no certificate is given.
Source: docs/adr/0003-decisions-stand.md.
"""

from collections.abc import Iterable
from datetime import date, timedelta
from typing import Any, Final

import msgspec

from calllog_guard.core.calls.correction import corrected
from calllog_guard.core.calls.leg import renewed
from calllog_guard.core.codec import from_ms
from calllog_guard.core.crypto.key_bytes import KeyBytes
from calllog_guard.core.crypto.leg_envelope import open_leg, parse_header, seal_leg
from calllog_guard.core.crypto.subject_secrets import Secret, month_from
from calllog_guard.core.decisions.decision import Decision
from calllog_guard.core.decisions.standing_rules import Correction, Rule, Standing, open_rule
from calllog_guard.core.identifiers import Pseudonym, split_key
from calllog_guard.core.records import Output, tombstone
from calllog_guard.core.stream.arrival import content
from calllog_guard.errors import EntryUnreadableError, KeyMissingError, MessageError, RecordError
from calllog_guard.metrics import Counters
from calllog_guard.ports.state import LegFacts, Pending
from calllog_guard.workers.keeper.context import KeeperContext
from calllog_guard.workers.keeper.decision_work import PORTION
from calllog_guard.workers.keeper.held_copies import Copies
from calllog_guard.workers.keeper.partition import Shard
from calllog_guard.workers.keys.people.view import fresh_nonce

UNJUDGED: Final = b"~unjudged."
"""Begins the index' note that a person's legs are still to be judged; no ledger key of a decision begins so."""
_AT_ONCE: Final = 10
"""People tried between two units."""


EVERY_PURPOSE: Final = (1 << 50) - 1
_AHEAD: Final = timedelta(days=31)
"""A call begins at most minutes after its event was appended; this bounds what a forged day costs, and no more."""
_FIRST: Final = date(2000, 1, 1)


def facts_of(record: Any, topic: str) -> tuple[LegFacts, bool]:
    """
    What decides when a leg falls due, from its header; and whether it is one revision of several.

    Raises:
        RecordError: Not a leg that our protectors write here, or of a day that no event can have.

    """
    pseudonym, token = split_key(record.key)
    header = parse_header(content(record) or b"")
    if header.kid != pseudonym or header.rid != token or header.top != topic or header.mon != header.day[:7]:
        raise RecordError("bad_leg")
    try:
        day = date.fromisoformat(header.day)
    except ValueError:
        raise RecordError("bad_leg") from None
    if not _FIRST <= day <= appended_on(record) + _AHEAD:
        raise RecordError("bad_leg")
    return LegFacts(day, header.pur, header.pol, record.offset), header.rev is True


def appended_on(record: Any) -> date:
    """The day on which a record was appended."""
    return from_ms(max(record.timestamp, 0)).date()


def stray_of(record: Any) -> LegFacts:
    """The index row of a record under a person's key that is no leg: it goes with the person or the longest period."""
    day = appended_on(record)
    return LegFacts(day, EVERY_PURPOSE, day.isoformat(), record.offset)


def _opened(decision: Decision, key: Secret) -> Rule:
    try:
        return open_rule(decision, key)
    except RecordError:
        raise EntryUnreadableError("the rule of a decision does not open", "rule_corrupt") from None


class Arrivals:
    """Judges the legs of people about whom something was decided."""

    def __init__(self, tools: KeeperContext, copies: Copies) -> None:
        self._t, self._copies = tools, copies

    async def standing(self, shard: Shard, pseudonym: str) -> Standing:
        """
        All rules about a person that hold now, folded in the order of the ledger.

        Raises:
            EntryUnreadableError: The person's key is missing or cannot be used, and they are not erased.

        """
        known = shard.standing.get(pseudonym)
        if known is None:
            known = shard.standing[pseudonym] = await self._folded(shard, pseudonym, shard.standing_rules(pseudonym))
        return known

    async def flags(self, shard: Shard, pseudonym: str) -> Standing:
        """What a person's entry must say: every decision counts once it was made, done or not. Raises as `standing`."""
        return await self._folded(shard, pseudonym, shard.ruled.get(pseudonym, {}).values())

    async def _folded(self, shard: Shard, pseudonym: str, decisions: Iterable[Decision]) -> Standing:
        found, every = Standing(), list(decisions)
        keys = None
        if any(each.rule is not msgspec.UNSET for each in every):
            keys = await self._t.ring.keys_of(Pseudonym(pseudonym))
            if keys is None and pseudonym not in shard.erased:
                raise KeyMissingError(f"the key of {pseudonym} is missing", "key_missing")
        for decision in every:
            if decision.rule is msgspec.UNSET:
                found = found.after(decision, Rule())
            elif keys is not None:
                found = found.after(decision, _opened(decision, keys.identity.rules_key()))
        return found

    async def judged(
        self, shard: Shard, key: bytes, facts: LegFacts, value: bytes
    ) -> tuple[LegFacts | None, list[Output]]:
        """A leg's facts as they count (None: it goes), and what to write; of whose rules cannot be read, as it is."""
        try:
            return await self._judged(shard, key, facts, value)
        except EntryUnreadableError:
            person = key[:22].decode()
            shard.unjudged.failed(person)
            shard.index.pend(UNJUDGED + person.encode(), Pending(b"", 0))
            return facts, []

    async def _judged(
        self, shard: Shard, key: bytes, facts: LegFacts, value: bytes
    ) -> tuple[LegFacts | None, list[Output]]:
        pseudonym, _, token = key.decode().partition(".")
        standing = await self.standing(shard, pseudonym)
        holds = standing.holds_on(facts.day)
        if holds:
            await self._copies.arriving(shard, holds, value)
        mask = standing.mask_of(facts.mask)
        if standing.removes(facts.day) or (facts.mask and not mask):
            return None, [tombstone(self._t.legs, key, self._t.settings.partitions)]
        outputs: list[Output] = []
        corrected_facts = standing.correction_of(token) if facts.mask else None
        if corrected_facts is not None:
            output = await self.correction(key, value, corrected_facts)
            outputs += [output] if output else []
        return msgspec.structs.replace(facts, mask=mask), outputs

    async def again(self, shard: Shard) -> None:
        """Judge the legs of those whose rules could not be read when they arrived."""
        for person in [each for each in shard.unjudged if shard.unjudged.due(each)][:_AT_ONCE]:
            try:
                done = person in shard.erased or await self._all_of(shard, person)
            except EntryUnreadableError:
                done = False
            if done:
                shard.unjudged.ended(person)
                shard.index.unpend(UNJUDGED + person.encode())
                self._t.commit(shard)
            else:
                shard.unjudged.failed(person)

    async def _all_of(self, shard: Shard, person: str) -> bool:
        """Whether every leg of a person was where the index says, and is judged."""
        await self.standing(shard, person)
        at, whole = b"", True
        while rows := shard.index.legs_after(person, at, PORTION):
            at = rows[-1][1]
            values = await self._t.log.fetch(self._t.legs, shard.partition, {key: facts.offset for facts, key in rows})
            whole = whole and len(values) == len(rows)
            for facts, key in rows:
                if key in values:
                    await self._one(shard, key, facts, values[key])
            self._t.commit(shard)
        return whole

    async def _one(self, shard: Shard, key: bytes, facts: LegFacts, value: bytes) -> None:
        try:
            after, outputs = await self._judged(shard, key, facts, value)
        except MessageError as error:  # it does not open: it stays until its last purpose lapses
            self._t.count(Counters.unreadable[error.reason], 1)
            return
        await self._t.writer.write(outputs)
        if after is None:
            shard.index.remove(key)
        else:
            shard.index.put(key, after)

    async def correction(self, key: bytes, value: bytes, facts: Correction) -> Output | None:
        """The leg with its corrected facts, sealed anew in its place; None when it says so already or opens no more."""
        header = parse_header(value)
        opened = await self.opened(Pseudonym(header.kid))
        if opened is None:
            return None
        data_key = opened.data_key(month_from(header.mon))
        before = open_leg(value, data_key)
        text, form = renewed(before, header.v, self._t.ring.calls)
        after = corrected(text, role=facts.role, joined_at=facts.joined_at, left_at=facts.left_at)
        if after == before:
            return None
        sealed = seal_leg(msgspec.structs.replace(header, v=form), after, data_key, fresh_nonce())
        return Output(self._t.legs, opened.place % self._t.settings.partitions, key, sealed)

    async def opened(self, pseudonym: Pseudonym) -> KeyBytes | None:
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
