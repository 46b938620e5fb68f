"""
What keeping and enforcing need of the world.

Source: docs/explanation/design.md.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from calllog_guard.core.codec import to_ms
from calllog_guard.core.crypto.subject_secrets import Secret
from calllog_guard.core.decisions.decision import Decision
from calllog_guard.core.identifiers import EpochName
from calllog_guard.core.officers.confirmations import Confirmed
from calllog_guard.core.stream.beginnings import NO_ID
from calllog_guard.core.topics import Topic
from calllog_guard.ports.state import Index, Position, Rows
from calllog_guard.workers.context import WorkerContext
from calllog_guard.workers.keeper.partition import Shard
from calllog_guard.workers.keys.hold_store import Safe

INDEX_FORM: Final = 2
"""The form of the index' rows; an index of another form is built anew."""


async def nothing_confirmed() -> Sequence[Confirmed]:
    """Where no officer says anything."""
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class KeeperContext(WorkerContext):
    """
    What a keeper works with.

    Args:
        reached: The offset that this keeper is handed next, of a partition of a topic.
        id_of: Kafka's id of a topic.
        began_anew: The partitions of a topic of which nothing counts any more that was known before.
        confirmed: What officers let expire at once.

    """

    safe: Safe
    open_index: Callable[[Path], Index]
    open_rows: Callable[[Path], Rows]
    reached: Callable[[str, int], Awaitable[int]]
    id_of: Callable[[str], str] = lambda _topic: NO_ID
    began_anew: Callable[[str], Collection[int]] = lambda _topic: ()
    confirmed: Callable[[], Awaitable[Sequence[Confirmed]]] = nothing_confirmed

    @property
    def legs(self) -> str:
        """The topic of legs."""
        return self.settings.topic(Topic.LEGS)

    def ledger_key(self, decision: Decision) -> Secret:
        """The key of a decision's entry. Raises EpochUnknownError when its epoch is destroyed."""
        return self.vault.epoch_key(EpochName(decision.epoch), self.tenant, "ledger")

    def known_as(self, *topics: str) -> str:
        """Topics with their ids, as an index names what it was made of: one that was made anew is another."""
        return " ".join(f"{topic}@{self.id_of(topic)}" for topic in topics)

    @property
    def ledger(self) -> str:
        """The topic of decisions."""
        return self.settings.topic(Topic.DECISIONS)

    def commit(self, shard: Shard) -> None:
        """Write the index with its position, at once."""
        now, topics = to_ms(self.clock.now()), self.known_as(self.legs, self.ledger)
        shard.index.commit(Position(shard.legs, shard.decisions, topics, now, INDEX_FORM))
