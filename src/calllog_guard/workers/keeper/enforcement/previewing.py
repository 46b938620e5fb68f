"""
The keeper's effect for `preview`: counts what a request would touch in its partition, and changes nothing.

Rules: 1. It reads the index, and of a disclosure the copies that would be given; nobody's key, no stored leg.
       2. It holds up nothing: what was decided about the same person goes on between its turns
          (`workers/keeper/backlog.py`).
Source: `core/decisions/preview.py`, docs/explanation/cases.md.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from typing import Final

from calllog_guard.core.codec import decode
from calllog_guard.core.decisions.preview import TASKS, Measuring
from calllog_guard.core.identifiers import ID_LETTERS, HoldId, Token, record_key
from calllog_guard.core.retention.expiry import DueFacts
from calllog_guard.core.retention.purposes import due_day
from calllog_guard.workers.keeper.context import KeeperContext
from calllog_guard.workers.keeper.decision_work import Ended, Work
from calllog_guard.workers.keeper.enforcement.enforcer import Enforcer

_NAME: Final = ID_LETTERS + 1


@dataclass(slots=True)
class PreviewScope:
    """
    How far one preview is, kept from turn to turn.

    Args:
        holds: Of which copies are still to be looked at, and behind which of them.
        copies: The tokens of copies that were counted: a leg under two holds is given once.

    """

    counted: Measuring
    holds: list[tuple[HoldId, bytes]]
    caught_up: bool = False
    copies: set[bytes] = field(default_factory=set)


class Measurer:
    """Counts for the previews of one keeper's partitions."""

    def __init__(self, tools: KeeperContext, enforcer: Enforcer) -> None:
        self._t, self._enforcer = tools, enforcer

    async def measure(self, work: Work) -> Ended:
        """Count, turn by turn, then tell the desk."""
        scope = work.progress.scope
        if not isinstance(scope, PreviewScope):
            task = decode(TASKS, work.entry.task)
            scope = PreviewScope(Measuring(task, self._kept_for()), [(HoldId(each), b"") for each in task.holds])
            work.progress.scope = scope
        while rows := self._enforcer.next_rows(work):
            for facts, _ in rows:
                scope.counted.see(facts)
            self._enforcer.took(work, rows)
            if work.over:
                return Ended.MORE
        while scope.holds:
            await self._see_copies(work, scope)
            if work.over:
                return Ended.MORE
        restrictions = work.shard.restricted.get(work.pseudonym, set()) - {work.decision.case}
        told = scope.counted.told(sorted(restrictions))
        await self._enforcer.results.previewed(work, scope.counted.legs, told)
        return Ended.DONE

    def _kept_for(self) -> Callable[[DueFacts], tuple[str, ...]]:
        """By which purposes an erasure would have copies made of a leg; equal facts are judged once."""
        today, known = self._t.clock.now().date(), dict[tuple[date, int, str], tuple[str, ...]]()

        def kept_for(leg: DueFacts) -> tuple[str, ...]:
            facts = (leg.day, leg.mask, leg.policy)
            if facts not in known:
                purposes = self._t.policy.purposes_since(self._t.tenant, leg.policy, today)
                known[facts] = tuple(
                    each.name
                    for each in purposes
                    if each.survives_erasure and leg.mask & each.bit and due_day(leg.day, each.bit, (each,)) > today
                )
            return known[facts]

        return kept_for

    async def _see_copies(self, work: Work, scope: PreviewScope) -> None:
        """Copies that are given beside the legs, as an export gives them: of what is no leg any more."""
        while not scope.caught_up:
            scope.caught_up = await self._enforcer.copies.catch_up(work.shard)
        hold, after = scope.holds[0]
        mine, onward = await self._enforcer.copies.about(work.shard, hold, after, work.entry.lookup)
        for facts, key in mine:
            token = key[_NAME:]
            if token not in scope.copies and not self._given(work, scope, token):
                scope.copies.add(token)
                scope.counted.see(facts)
        scope.holds[:1] = [] if onward is None else [(hold, onward)]

    @staticmethod
    def _given(work: Work, scope: PreviewScope, token: bytes) -> bool:
        """Whether the leg itself is there, and was counted."""
        facts = work.shard.index.facts(record_key(work.pseudonym, Token(token.decode())))
        return facts is not None and bool(facts.mask) and scope.counted.covers(facts.day)
