"""
What keeping and enforcing need of the world.

Source: docs/explanation/design.md.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from calllog_guard.core.codec import to_ms
from calllog_guard.core.crypto.subject_secrets import Secret
from calllog_guard.core.decisions.decision import Decision
from calllog_guard.core.decisions.outcome import OutcomeKey
from calllog_guard.core.identifiers import EpochName, Tenant
from calllog_guard.core.officers.confirmations import Confirmed
from calllog_guard.core.policy.active import Policy
from calllog_guard.core.stream.beginnings import NO_ID
from calllog_guard.core.topics import Topic
from calllog_guard.metrics import Increment, SetGauge
from calllog_guard.ports import Clock, Position, Rows, Tail, Writer
from calllog_guard.settings import Settings
from calllog_guard.workers.keeper.partition import Shard
from calllog_guard.workers.keys.hold_store import Safe
from calllog_guard.workers.keys.people.subject_keys import Keyring
from calllog_guard.workers.keys.tenants.tenant_secrets import Vault
from calllog_guard.workers.runtime.clocks import Agree, unwatched

INDEX_FORM: Final = 2
"""The form of the index' rows; an index of another form is built anew."""
Fetch = Callable[[str, int, Mapping[bytes, int]], Awaitable[dict[bytes, bytes]]]
OffsetAt = Callable[[str, int, int], Awaitable[int]]


async def nothing_confirmed() -> Sequence[Confirmed]:
    """Where no officer says anything."""
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """
    What enforcing needs of the world; `home` is the tenant's partition.

    `fetch` gives records by key and offset; `tail` those of a partition from an offset on, so many at most, with the offset
    after them and the end; `offset_at` the first offset appended at or after a time in ms; `id_of` Kafka's id of a topic; and
    `began_anew` the partitions of a topic of which nothing counts any more that was known before; `agree` whether clocks do; `confirmed` what officers let expire at once.
    """

    tenant: Tenant
    home: int
    ring: Keyring
    vault: Vault
    writer: Writer
    policy: Policy
    settings: Settings
    clock: Clock
    fetch: Fetch
    tail: Tail
    offset_at: OffsetAt
    open_rows: Callable[[Path], Rows]
    safe: Safe
    count: Increment
    level: SetGauge = lambda _name, _value: None
    id_of: Callable[[str], str] = lambda _topic: NO_ID
    began_anew: Callable[[str], Collection[int]] = lambda _topic: ()
    agree: Agree = unwatched
    confirmed: Callable[[], Awaitable[Sequence[Confirmed]]] = nothing_confirmed

    @property
    def legs(self) -> str:
        """The topic of legs."""
        return self.settings.topic(Topic.LEGS)

    @property
    def outcome_key(self) -> OutcomeKey:
        """With what the keeper vouches for what it did."""
        return self.vault.outcome_key(self.tenant)

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
