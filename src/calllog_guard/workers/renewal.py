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
_TURN: Final = 20
"""Portions after which others have their turn."""


class Renewal:
    """Renews the legs of one keeper's partitions."""

    def __init__(self, tools: Tools) -> None:
        self._t = tools
        self._at: dict[int, tuple[str, bytes]] = {}

    async def renew(self, shard: Shard) -> bool:
        """Append some of the old legs of whoever is restricted again, and say whether there are more; the index follows when they are read back."""
        t = self._t
        start, at = self._at.pop(shard.partition, ("", b""))
        people = sorted(each for each in shard.restricted if each >= start)
        if not people:
            return False
        days = t.policy.keep_days(t.tenant) + GRACE_DAYS // 2
        first_young = await t.offset_at(t.legs, shard.partition, to_ms(t.clock.now()) - days * _DAY_MS)
        portions = 0
        for person in people:
            at = at if person == start else b""
            while rows := shard.index.legs_after(person, at, _AT_ONCE):
                if portions == _TURN:
                    self._at[shard.partition] = person, at
                    return True
                portions, at = portions + 1, rows[-1][1]
                old = {key: facts.offset for facts, key in rows if facts.offset < first_young}
                values = await t.fetch(t.legs, shard.partition, old)
                await t.writer.write([Output(t.legs, shard.partition, key, value) for key, value in values.items()])
                t.count("legs_renewed", len(values))
        return False
