"""
Revisions of one leg: the newest stays, whatever the order in which they came.

Each revision lies under a record key of its own: no late delivery, no worker that wakes from a pause and no second
protector overwrites another. The keys of one leg begin alike. The keeper alone sees a partition as a whole, and
removes the older.
Rules: 1. Which revision is the newer stands in the legs, sealed; a leg without a revision is older than any.
       2. What is still to be compared is in the index, written with the leg: no crash forgets it.
       3. The same revision again has the same key, and replaces itself. So
          a tombstone of an older one never removes a newer one, however often it is written.
       4. What does not open is neither the newest nor removed.
Source: docs/how-to/publish-an-event.md, docs/explanation/design.md.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import structlog

from calllog_guard.core.calls.leg import read_leg
from calllog_guard.core.crypto.leg_envelope import open_leg, parse_header
from calllog_guard.core.crypto.subject_secrets import month_from
from calllog_guard.core.identifiers import ID_LETTERS, LEG_KEY_LETTERS, Pseudonym
from calllog_guard.core.records import tombstone
from calllog_guard.errors import EntryUnreadableError, MessageError
from calllog_guard.metrics import Counters
from calllog_guard.ports.state import LegFacts, Pending
from calllog_guard.workers.keeper.arrivals import Arrivals
from calllog_guard.workers.keeper.context import KeeperContext
from calllog_guard.workers.keeper.held_copies import Copies
from calllog_guard.workers.keeper.partition import Shard

log: Final = structlog.get_logger()
REVISED: Final = b"~revised."
"""Begins the index' notes of legs that may have several revisions; alone it says that some leg came as a revision."""
_MOST: Final = 100
"""Revisions of one leg that are looked at together."""
_SAME_CALL: Final = timedelta(days=1)
"""So far apart two reports of one call may say that it began: around midnight."""
Rows = Sequence[tuple[LegFacts, bytes]]


def siblings(shard: Shard, key: bytes) -> Rows:
    """The revisions of one leg that are in the index, by the record key of one of them, or by how all begin."""
    start = key[:LEG_KEY_LETTERS]
    rows = shard.index.legs_after(start[:ID_LETTERS].decode(), start, _MOST)
    return [row for row in rows if row[1].startswith(start)]


class Revisions:
    """Removes the older revisions of one keeper's legs."""

    def __init__(self, tools: KeeperContext, arrivals: Arrivals, copies: Copies) -> None:
        self._t, self._arrivals, self._copies = tools, arrivals, copies
        self._reused = False

    @staticmethod
    def remember(shard: Shard, note: bytes) -> None:
        """A note of the index, read at its opening."""
        shard.revises = True
        if start := note.removeprefix(REVISED):
            shard.revised.failed(start)
            shard.revised.now(start)

    @staticmethod
    def note(shard: Shard, key: bytes, *, revised: bool) -> None:
        """A leg that is one of several revisions, or may lie beside some, has arrived: committed with the leg."""
        start = key[:LEG_KEY_LETTERS]
        if revised and not shard.revises:
            shard.revises = True
            shard.index.pend(REVISED, Pending(b"", 0))
        shard.index.pend(REVISED + start, Pending(b"", 0))
        shard.revised.failed(start)
        shard.revised.now(start)

    def replaced(self, before: LegFacts | None, now: LegFacts) -> None:
        """A leg replaces one of another day: its platform uses one id for several calls, and says no `occurrence`."""
        if before is not None and abs(before.day - now.day) > _SAME_CALL:
            self._t.count(Counters.calls_reused, 1)
            if not self._reused:
                self._reused = True
                log.warning("a call's id came again for another day, and replaced the former: name its occurrence")

    async def settle(self, shard: Shard) -> None:
        """Compare what has arrived; what cannot be compared yet is tried again."""
        if not len(shard.revised):
            return
        for start in [each for each in shard.revised if shard.revised.due(each)]:
            try:
                done = await self._one(shard, start)
            except EntryUnreadableError:
                done = False
            if done:
                shard.revised.ended(start)
                shard.index.unpend(REVISED + start)
            else:
                shard.revised.failed(start)
        self._t.commit(shard)

    async def _one(self, shard: Shard, start: bytes) -> bool:
        """Whether no more than one revision of a leg is left."""
        while len(rows := siblings(shard, start)) > 1:
            older = await self._older(shard, rows)
            if not older:
                return older is not None
            await self._t.writer.write([tombstone(self._t.legs, key, self._t.settings.partitions) for key in older])
            facts = {key: each for each, key in rows}
            standing = await self._arrivals.standing(shard, start[:ID_LETTERS].decode())
            days = {facts[key].day for key in older}
            holds = {hold for day in days for hold in standing.holds_on(day)}
            names = [f"{hold}.{key[-ID_LETTERS:].decode()}".encode() for hold in holds for key in older]
            if copies := [name for name in names if shard.held.facts(name) is not None]:
                await self._copies.remove(shard, copies)
            for key in older:
                shard.index.remove(key)
            self._t.commit(shard)
            self._t.count(Counters.revisions_superseded, len(older))
        return True

    async def _older(self, shard: Shard, rows: Rows) -> list[bytes] | None:
        """The record keys of all revisions but the newest, as far as they open; None: it cannot be told yet."""
        pseudonym = Pseudonym(rows[0][1][:ID_LETTERS].decode())
        opened = await self._arrivals.opened(pseudonym)
        if opened is None:
            return None  # their key is missing, or they are being erased: their legs go then
        places = {key: facts.offset for facts, key in rows}
        values = await self._t.log.fetch(self._t.legs, shard.partition, places)
        if len(values) < len(places):
            return None  # one was replaced a moment ago: its record comes
        found: list[tuple[int, int, bytes]] = []
        for key, value in values.items():
            try:
                leg = read_leg(open_leg(value, opened.data_key(month_from(parse_header(value).mon))))
                found.append((-1 if not isinstance(leg.revision, int) else leg.revision, places[key], key))
            except MessageError as error:
                self._t.count(Counters.unreadable[error.reason], 1)
        return [key for _, _, key in sorted(found)[:-1]]
