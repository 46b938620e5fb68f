"""
Legs of restricted people are appended anew before Kafka's own retention takes them.

The topic of the legs forgets what was appended longer ago than the longest period and GRACE_DAYS. Whatever lives is swept before
that; who is restricted is not swept, and what they may need for a claim must not go by age either.

Rules: 1. A leg is written again under its own key, byte for byte, once half of the grace is used up: nothing is opened for it.
       2. No protector writes such a leg any more, so nothing newer is covered: it is older than any period.
Source: GDPR Art. 18(2); design section 10 (neither swept nor ratcheted away).
"""

from typing import Final

from calllog_guard.core.retention.purpose import GRACE_DAYS
from calllog_guard.core.tombstone import Output
from calllog_guard.core.wire import to_ms
from calllog_guard.workers.shard import Shard
from calllog_guard.workers.tools import Tools

_DAY_MS: Final = 86_400_000
_AT_ONCE: Final = 500
"""Legs whose values are in memory together."""


class Renewal:
    """Renews the legs of one keeper's partitions."""

    def __init__(self, tools: Tools) -> None:
        self._t = tools

    async def renew(self, shard: Shard) -> None:
        """Append the old legs of whoever is restricted again; the index follows when they are read back."""
        if not shard.restricted:
            return
        t = self._t
        days = t.policy.keep_days(t.tenant) + GRACE_DAYS // 2
        first_young = await t.offset_at(t.legs, shard.partition, to_ms(t.clock.now()) - days * _DAY_MS)
        rows = [row for person in sorted(shard.restricted) for row in shard.index.legs_of(person)]
        old = [(key, facts.offset) for facts, key in rows if facts.offset < first_young]
        for at in range(0, len(old), _AT_ONCE):
            values = await t.fetch(t.legs, shard.partition, dict(old[at : at + _AT_ONCE]))
            await t.writer.write([Output(t.legs, shard.partition, key, value) for key, value in values.items()])
            t.count("legs_renewed", len(values))
