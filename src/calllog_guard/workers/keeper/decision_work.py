"""
One decision whose barrier is read, how far it is carried out, and for how long it may hold up everything else.

Rules: 1. A decision about hundreds of thousands of legs is done in portions, turn by turn: units, and other people's
          decisions, come in between.  2. Its progress is kept in memory alone: after a crash it begins anew, and each
          effect may be repeated.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from enum import Enum
from typing import Final

from calllog_guard.core.codec import decode
from calllog_guard.core.crypto.subject_secrets import Secret
from calllog_guard.core.decisions.decision import DECISIONS, Decision, Entry, open_entry
from calllog_guard.core.identifiers import Pseudonym
from calllog_guard.ports.state import Pending
from calllog_guard.workers.keeper.partition import Shard

PORTION: Final = 2000
"""Legs taken at once."""
_TURN_S: Final = 0.25
"""How long one decision may hold up the next unit, a portion more or less."""


class Ended(Enum):
    """How a turn of a decision ended: it is carried out, it waits for another decision, or there is more to do."""

    DONE = "done"
    WAITS = "waits"
    MORE = "more"


@dataclass(slots=True)
class DecisionProgress:
    """
    How far a decision is carried out.

    Args:
        at: Up to which record key its person's legs were looked at.
        count: How many legs it has found, removed, copied or given so far.
        kept: On which legal bases some of them were copied.
        traced: Whether it is told where the legs went; `records`: their offsets until then, each with its call's day,
            `purposes` with the mask that it was sealed with, where that is known, `tries` how often a look was vain,
            `readers` whom it was told, `waits_from` since when it waits for the desk's flag (loop's clock).
        scope: Of an export: what it is about, and which parts are written.

    """

    at: bytes = b""
    count: int = 0
    kept: set[str] = field(default_factory=set)
    destroyed: bool = False
    traced: bool = False
    tries: int = 0
    records: dict[int, date] = field(default_factory=dict)
    purposes: dict[int, int] = field(default_factory=dict)
    readers: tuple[str, ...] = ()
    waits_from: float = 0.0
    scope: object = None


@dataclass(frozen=True, slots=True)
class Work:
    """One decision whose barrier is read, in one turn; `until` is when that is over (loop's clock)."""

    shard: Shard
    key: bytes
    pending: Pending
    decision: Decision
    entry: Entry
    until: float = float("inf")

    @property
    def pseudonym(self) -> Pseudonym:
        """Whom it is about."""
        return Pseudonym(self.decision.pseudonym)

    @property
    def progress(self) -> DecisionProgress:
        """How far it is; kept with its partition until it is done."""
        found: DecisionProgress = self.shard.progress.setdefault(self.key, DecisionProgress())
        return found

    @property
    def over(self) -> bool:
        """Whether its turn is over."""
        return asyncio.get_running_loop().time() >= self.until


def work_of(shard: Shard, key: bytes, pending: Pending, ledger_key: Callable[[Decision], Secret]) -> Work:
    """
    A turn of a decision that waits.

    Raises:
        RecordError, EpochUnknownError: Its entry does not open any more.

    """
    decision = decode(DECISIONS, pending.decision)
    until = asyncio.get_running_loop().time() + _TURN_S
    return Work(shard, key, pending, decision, open_entry(decision, ledger_key(decision)), until)
