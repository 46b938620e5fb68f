"""
Notes of copies that law keeps without a note: an earlier release made them, or a restored keystore forgot them.

Rule: a partition is looked through once in each run of the keystore, a portion at a time.
Source: docs/adr/0009-restore-guard.md; `core/crypto/law_copy.py`.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from calllog_guard.core.crypto.entries import guarded_key
from calllog_guard.core.crypto.law_copy import KeptCopy, noted_key
from calllog_guard.core.identifiers import HoldId, Lookup
from calllog_guard.core.retention.purposes import due_day
from calllog_guard.errors import EntryUnreadableError
from calllog_guard.ports.state import LegFacts
from calllog_guard.workers.keeper.context import KeeperContext
from calllog_guard.workers.keeper.held_copies import Copies
from calllog_guard.workers.keeper.partition import Shard
from calllog_guard.workers.keys.people.homes import Homes
from calllog_guard.workers.keys.people.law_copies import FORMS, KeptOf

log: Final = structlog.get_logger()
_AT_ONCE: Final = 500


@dataclass(slots=True)
class _Place:
    run: bytes
    holds: list[HoldId]
    after: bytes = b""


class Noting:
    """One keeper's."""

    def __init__(self, tools: KeeperContext, copies: Copies) -> None:
        self._t, self._copies = tools, copies
        self._kept, self._homes = KeptOf(tools.ring, tools.clock), Homes(tools.ring, writes=False)
        self._at: dict[int, _Place] = {}

    async def portion(self, shard: Shard) -> bool:
        """Note some of a partition's copies, once all there are were read; whether there is more."""
        if self._t.ring.forms < FORMS:
            return False
        keys = [guarded_key(shard.partition), noted_key(shard.partition)]
        guarded, noted = await self._t.ring.keystore.read(keys)
        run = guarded or b"-"
        if noted == run:
            return False
        place = self._at.get(shard.partition)
        if place is None or place.run != run:
            place = self._at[shard.partition] = _Place(run, self._copies.by_law(shard))
        if not place.holds:
            await self._t.ring.keystore.put({keys[1]: run})
            del self._at[shard.partition]
            return False
        rows = shard.held.legs_after(place.holds[0], place.after, _AT_ONCE)
        try:
            await self._note(shard, place.holds[0], rows)
        except EntryUnreadableError as error:
            log.warning("copies that law keeps wait to be noted", why=str(error))
            return False
        if len(rows) < _AT_ONCE:
            place.holds, place.after = place.holds[1:], b""
        else:
            place.after = rows[-1][1]
        return True

    async def _note(self, shard: Shard, hold: HoldId, rows: Sequence[tuple[LegFacts, bytes]]) -> None:
        legs, today = await self._copies.opened(shard, hold, rows), self._t.clock.now().date()
        homes = await self._homes.of_stored([leg.subject for leg in legs.values()])
        found: dict[Lookup, list[KeptCopy]] = defaultdict(list)
        for facts, key in rows:
            if key in legs:
                purposes = self._t.policy.purposes_since(self._t.tenant, facts.policy, today)
                until = due_day(facts.day, facts.mask, purposes).isoformat()
                copy = KeptCopy(partition=shard.partition, purpose=facts.mask.bit_length(), until=until)
                found[homes[legs[key].subject]].append(copy)
        for lookup, copies in found.items():
            await self._kept.note(lookup, copies)
