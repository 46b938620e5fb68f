"""
What a keeper did, said to the desk and kept in the ledger beside its decision.

Rules: 1. Both in one write, so that a rebuild never reports anew.  2. Legs that go are named in the ledger before their
          tombstones: the auditor looks for all of them.  3. What exceeds a record comes in parts, `.legs`, `.legs-2`,
          counted in the result.
Source: docs/explanation/design.md, docs/reference/messages.md.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from calllog_guard.core.decisions.outcome import DONE, NAMES_IN_PART, TO_DESK, Outcome, legs_key
from calllog_guard.core.decisions.preview import PreviewCount
from calllog_guard.core.identifiers import Token
from calllog_guard.core.records import Output
from calllog_guard.core.topics import Topic
from calllog_guard.errors import UpgradeNeededError
from calllog_guard.ports.fault_injection import CrashPoints
from calllog_guard.workers.keeper.context import KeeperContext
from calllog_guard.workers.keeper.decision_work import Work

_PARTS_FROM: Final = 2
"""The level of forms from which on names come in parts."""
_NAMES_MOST: Final = 300_000
"""That one record of the ledger holds, within its `max.message.bytes`: what the first release's forms can name."""


def tokens_of(legs: Sequence[bytes]) -> tuple[Token, ...]:
    """The second halves of record keys."""
    return tuple(Token(leg.decode().partition(".")[2]) for leg in legs)


class Results:
    """What one keeper tells."""

    def __init__(self, tools: KeeperContext) -> None:
        self._t, self._steps = tools, CrashPoints(tools.settings.off)
        self._ledger = tools.settings.topic(Topic.DECISIONS)

    async def report(
        self, work: Work, stage: Any, tokens: tuple[Token, ...], count: int, digests: tuple[str, ...] = ()
    ) -> None:
        """To the desk and into the ledger; `tokens` name the records whose old values must be seen gone."""
        result = self.told(self.outcome(work, stage, count, digests=digests))
        await self._t.writer.write([result, self._kept(work, DONE, self.outcome(work, stage, count, tokens))])
        self._steps.reached("enforce.result")

    async def traced(self, work: Work, legs: int, readers: tuple[str, ...], unsure: Any) -> None:
        """To the desk alone: where the legs had gone."""
        outcome = msgspec.structs.replace(
            self.outcome(work, "traced", legs),
            readers=readers or msgspec.UNSET,
            disclosures=tuple(work.shard.disclosed.get(work.pseudonym, ())) or msgspec.UNSET,
            unsure=unsure or msgspec.UNSET,
        )
        await self._t.writer.write([self.told(outcome)])
        self._steps.reached("enforce.traced")

    async def done(self, work: Work, stage: Any) -> None:
        """Into the ledger alone: the desk knows."""
        await self._t.writer.write([self._kept(work, DONE, self.outcome(work, stage, 0))])
        self._steps.reached("enforce.result")

    async def removed(self, work: Work) -> None:
        """Every leg that a decision has named is tombstoned."""
        named = work.shard.recorded.get(work.key.decode())
        known = named.names if named else {}
        tokens = tuple(known) if len(known) <= self._in_part else ()
        await self.report(work, "tombstoned", tokens, len(known))

    async def searched(self, work: Work, *, found: bool, unread: int) -> None:
        """Whether somebody was found, and how many keys could not be opened."""
        outcome = self.outcome(work, "searched", int(found))
        outcome = msgspec.structs.replace(outcome, unread=unread or msgspec.UNSET)
        await self._t.writer.write([self.told(outcome), self._kept(work, DONE, outcome)])
        self._steps.reached("enforce.result")

    async def looked(self, work: Work, many: int) -> None:
        """How many records a disclosure would give."""
        outcome = self.outcome(work, "looked", many)
        await self._t.writer.write([self.told(outcome), self._kept(work, DONE, outcome)])
        self._steps.reached("enforce.result")

    async def previewed(self, work: Work, legs: int, measured: PreviewCount) -> None:
        """What a request would touch: the desk is told; the ledger, which keeps it for long, only that it was."""
        outcome = msgspec.structs.replace(self.outcome(work, "previewed", legs), measured=measured)
        await self._t.writer.write([self.told(outcome), self._kept(work, DONE, self.outcome(work, "previewed", 0))])
        self._steps.reached("enforce.result")

    async def fail(self, work: Work) -> None:
        """A decision that can never be carried out: said to the desk, so that a human looks."""
        await self.report(work, "failed", (), 0)

    async def tell(self, work: Work, stage: Any, count: int, kept: tuple[str, ...] = ()) -> None:
        """To the desk alone."""
        await self._t.writer.write([self.told(self.outcome(work, stage, count, kept=kept))])

    @property
    def _in_part(self) -> int:
        return NAMES_IN_PART if self._t.ring.forms >= _PARTS_FROM else _NAMES_MOST

    async def name(self, work: Work, legs: Sequence[bytes]) -> None:
        """
        Name legs in the ledger that are about to be removed; those of an earlier attempt stand there already.

        Raises:
            UpgradeNeededError: They are more than the first release's forms can name.

        """
        named = work.shard.named(work.key.decode())
        fresh = [token for token in tokens_of(legs) if token not in named.names]
        for number, tokens in named.added(fresh, self._in_part).items():
            if number > 1 and self._t.ring.forms < _PARTS_FROM:
                raise UpgradeNeededError(f"a decision about more than {_NAMES_MOST} legs needs newer stored forms")
            outcome = self.outcome(work, "tombstoned", len(tokens), tokens)
            await self._t.writer.write([self._kept(work, legs_key(number), outcome)])
            named.put(number, tokens)

    def _kept(self, work: Work, suffix: bytes, outcome: Outcome) -> Output:
        """A result in the ledger, beside its decision."""
        key = work.key + suffix
        return Output(self._ledger, work.shard.partition, key, self._t.outcome_key.vouched(outcome, key))

    def told(self, outcome: Outcome) -> Output:
        """An outcome on its way to the desk."""
        topic = self._t.settings.topic(Topic.OUTCOMES)
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
