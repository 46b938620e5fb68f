"""
What the auditor does for topics: heartbeats, trims, and a look at partitions that they were not created with.

Rules: 1. A topic of events has the partitions that its backend wants, and may get more: Kafka's count holds.
       2. Nothing is trimmed without each group's word, and none of ours counts for a topic that was made anew since.
       3. A partition beyond those a topic was created with is nobody's; it gets heartbeats once it has records: so
          compaction runs there too.
Source: docs/explanation/design.md, docs/reference/topics.md.
"""

import asyncio
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Final

import structlog

from calllog_guard.core.codec import BEAT, Beat, encode, to_ms
from calllog_guard.core.records import Output
from calllog_guard.core.stream.anchor import ANCHOR
from calllog_guard.core.stream.beginnings import NO_ID, Shape, read_reached
from calllog_guard.core.stream.proofs import AUDIT
from calllog_guard.core.topics import LATER, TABLE, Topic
from calllog_guard.errors import EntryCorruptError, KeystoreSilentError
from calllog_guard.metrics import Counters, Gauges
from calllog_guard.ports.administration import Trim
from calllog_guard.ports.log import Place
from calllog_guard.settings import INGEST, SESSIONS
from calllog_guard.workers.auditor.context import AuditorContext
from calllog_guard.workers.runtime.reads import Spot, group_of

log: Final = structlog.get_logger()


_OF_SOME: Final = {INGEST: Topic.NOTIFICATIONS, SESSIONS: Topic.MOMENTS}
"""The topics of roles that not every installation has."""


class Upkeep:
    """Looks after the topics' partitions that are, modulo the count, among `watched`."""

    def __init__(self, means: AuditorContext, watched: Collection[int]) -> None:
        self._m, self._watched = means, watched
        self._shapes: Mapping[str, Shape] | None = None
        self._beyond: dict[str, list[int]] = {}
        self._counter = 0
        self.beat_at = 0.0

    def _created(self) -> dict[str, int]:
        """The topics whose counts are fixed."""
        settings = self._m.settings
        return {settings.topic(each): settings.partitions_of(each) for each, row in TABLE.items() if row.beaten}

    def _mine(self, numbers: Collection[int]) -> list[int]:
        return [number for number in numbers if number % self._m.settings.partitions in self._watched]

    def beyond(self, topic: str) -> list[int]:
        """The partitions of a topic beyond those that it was created with."""
        shape = (self._shapes or {}).get(topic)
        return [number for number in shape.partitions if number >= self._created()[topic]] if shape else []

    async def look(self) -> None:
        """
        See which topics there are, with which partitions, and whether something lies in those that nobody reads.

        Raises:
            LogSilentError: Nothing is known.

        """
        m, created = self._m, self._created()
        self._shapes = await asyncio.to_thread(
            m.extents.shapes, [*created, *m.events(), *map(m.settings.topic, (*_OF_SOME.values(), Topic.PARKED))]
        )
        more = {
            topic: Shape(self._shapes[topic].id, tuple(self.beyond(topic))) for topic in created if self.beyond(topic)
        }
        found = await asyncio.to_thread(m.extents.extents, more)
        there = {place: each.end - each.first for place, each in found.items() if each.end > each.first}
        self._beyond = {topic: [number for name, number in there if name == topic] for topic in created}
        m.level(Gauges.partitions_beyond, sum(len(each.partitions) for each in more.values()))
        m.level(Gauges.records_beyond, sum(there.values()))
        if there:
            log.error("records lie in partitions that nobody reads", places=[f"{topic}/{at}" for topic, at in there])
        elif more:
            log.warning(
                "topics have more partitions than they were created with: nobody reads them", topics=sorted(more)
            )

    # --- heartbeats -------------------------------------------------------------------------------------------------

    async def beat(self) -> None:
        """A record per partition, so that segments roll and compaction runs on quiet partitions too."""
        if not self._watched:
            return
        m = self._m
        try:
            self._counter = await m.guard.raise_counter()
        except KeystoreSilentError:
            log.warning("the counter waits", why="the keystore is silent: the heartbeat repeats the last one")
        value = encode(Beat(counter=self._counter, at=m.clock.now()))
        there = {topic: many for topic, many in self._created().items() if self._there(topic)}
        places = [(topic, number) for topic, many in there.items() for number in self._mine(range(many))]
        places += [(topic, number) for topic, some in self._beyond.items() for number in self._mine(some)]
        places += [(topic, number) for topic, shape in self._made().items() for number in self._mine(shape.partitions)]
        for role, topic in _OF_SOME.items():
            places += await self._where_read(role, topic)
        # from every auditor, whatever it owns: who starts learns the counter here
        places.append((m.settings.topic(Topic.POLICY), 0))
        beats = [Output(*place, BEAT, value) for place in places]
        if m.anchor is not None and AUDIT in m.guard.proofs.signers:  # whatever was written over it stands for one beat
            beats.append(Output(m.settings.topic(Topic.POLICY), 0, ANCHOR, encode(m.anchor)))
        await m.writer.write(await m.guard.vouched(AUDIT, beats))
        self.beat_at = asyncio.get_running_loop().time()
        m.count(Counters.heartbeats, len(places))

    def _plain(self) -> dict[str, Shape]:
        """The topics of events seen by a look: writing to one that is not made yet would hold up every heartbeat."""
        shapes = self._shapes or {}
        return {topic: shapes[topic] for topic in self._m.events() if topic in shapes}

    def _there(self, topic: str) -> bool:
        return topic in (self._shapes or {}) or topic not in map(self._m.settings.topic, LATER)

    def _made(self) -> dict[str, Shape]:
        """As `_plain`, and what waits for single people."""
        return self._plain() | self._of(Topic.PARKED)

    def _of(self, topic: Topic) -> dict[str, Shape]:
        shapes, name = self._shapes or {}, self._m.settings.topic(topic)
        return {name: shapes[name]} if name in shapes else {}

    async def _where_read(self, role: str, topic: Topic) -> list[Place]:
        """The partitions of a topic that a role reads: where none does, a beat would wait for ever."""
        name, shapes = self._m.settings.topic(topic), self._shapes or {}
        numbers = self._mine(shapes[name].partitions if name in shapes else ())
        try:
            entries = await self._m.keystore.read([Spot(role, name, number).key for number in numbers])
        except KeystoreSilentError:
            return []
        return [(name, number) for number, entry in zip(numbers, entries, strict=True) if entry is not None]

    # --- trims ------------------------------------------------------------------------------------------------------

    async def trim(self) -> bool:
        """Trim the plaintext topics behind what is committed and what operators may want; whether it was done."""
        m, requests = self._m, self._m.settings.topic(Topic.REQUESTS)
        if self._watched and not await m.agree():
            return False
        shape = (self._shapes or {}).get(requests)
        done = [await self._cut("protector", topic, each) for topic, each in self._plain().items()]
        done += [await self._cut("desk", requests, shape)] if shape else []
        done += [await self._cut(INGEST, topic, each) for topic, each in self._of(Topic.NOTIFICATIONS).items()]
        m.level(Gauges.trim_lag_records, sum(each.behind for some in done for each in some))
        return True

    async def _cut(self, role: str, topic: str, shape: Shape) -> list[Trim]:
        m = self._m
        partitions = await self._same(role, topic, shape)
        if not partitions:
            return []
        before = to_ms(m.clock.now() - timedelta(seconds=m.settings.trim_behind_s))
        more = (
            [group for group in map(str.strip, m.settings.trim_groups.split(",")) if group]
            if role == "protector"
            else []
        )
        groups = [group_of(m.settings, role), *more]
        done = await asyncio.to_thread(m.admin.trim, topic, partitions, groups, before)
        m.count(Counters.trimmed_partitions, sum(each.cut for each in done.values()))
        return list(done.values())

    async def _same(self, role: str, topic: str, shape: Shape) -> list[int]:
        """The partitions of which the role has read this topic, no namesake: its offset would cut what is unread."""
        mine = self._mine(shape.partitions)
        entries = await self._m.keystore.read([Spot(role, topic, number).key for number in mine])
        return [number for number, entry in zip(mine, entries, strict=True) if _is_of(entry, shape.id)]


def _is_of(entry: bytes | None, known: str) -> bool:
    """Whether what was read is a topic of this id; workers of an earlier release keep nothing."""
    try:
        return entry is None or read_reached(entry).id in {known, NO_ID}
    except EntryCorruptError:
        return False
