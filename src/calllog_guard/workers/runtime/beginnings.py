"""
Where a role goes on in its topics; a gap halts it until an officer accepts it by name.

Rules: 1. Kafka deletes committed offsets with a topic, and after `offsets.retention.minutes`: the keystore keeps these.
       2. The keystore never runs ahead of commits.  3. A gap is told with its offsets before the worker halts.
       4. An end below what was read is believed after `_LEADER_S` only: a new leader may not be whole yet.
Source: `core/stream/beginnings.py`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import structlog

from calllog_guard.core.officers.acceptances import Accepted
from calllog_guard.core.stream.beginnings import (
    NO_ID,
    Committed,
    Extent,
    Gap,
    Reached,
    Shape,
    Start,
    begin,
    reached_entry,
    read_reached,
    set_ahead,
)
from calllog_guard.errors import ConfigurationError, EntryCorruptError, LogSilentError, RecordsLostError
from calllog_guard.metrics import Counters, GaugeMetric, Gauges, Increment, SetGauge
from calllog_guard.ports.administration import Extents
from calllog_guard.ports.keys import Keystore
from calllog_guard.ports.log import Place, Positions
from calllog_guard.workers.runtime.reads import WHOLE, Reads, Spot

log: Final = structlog.get_logger()
LOOK_S: Final = 5.0
"""How often a worker asks for the ids of its topics: what it read of a topic made anew before that is read again."""
_KEEP_S: Final = 30.0
_LEADER_S: Final = 30.0
COMMAND: Final = "calllog-guard topics accept"


@dataclass(frozen=True, slots=True)
class ReadingState:
    """
    What is known of a role's partitions: as Kafka shows them, how far each was read, and what is committed.

    Args:
        set_ahead: What is committed of partitions of which somebody else may have set it, ahead of what was read.

    """

    shapes: Mapping[str, Shape]
    extents: Mapping[Place, Extent]
    reached: Mapping[Spot, Reached]
    committed: Mapping[Spot, int]
    set_ahead: Mapping[Spot, int]

    def position(self, spot: Spot) -> int:
        """The next record that is read of a partition."""
        reached, extent = self.reached[spot], self.extents[spot.place]
        offset = self.committed.get(spot, reached.offset) if reached.id in {extent.id, NO_ID} else 0
        return max(offset, extent.first)

    def judged(self, accepted: Sequence[Accepted]) -> tuple[dict[Spot, Start], list[Gap]]:
        """Where each partition goes on, and which cannot."""
        starts: dict[Spot, Start] = {}
        gaps: list[Gap] = []
        for spot, reached in self.reached.items():
            found = begin(spot.place, self.extents[spot.place], reached, self.committed.get(spot), accepted)
            if isinstance(found, Gap):
                gaps.append(found)
            else:
                starts[spot] = found
        return starts, gaps


async def standing(reads: Reads, keystore: Keystore, extents: Extents, *, keep: bool) -> ReadingState:
    """
    Look at a role's partitions.

    Args:
        keep: Write down where what nobody has read yet begins, so that it is known from now on.

    Raises:
        LogSilentError, KeystoreSilentError: Nothing is known.

    """
    shapes = await asyncio.to_thread(extents.shapes, reads.named)
    shown = await asyncio.to_thread(extents.extents, shapes)
    read = {topic: shape for topic, shape in shapes.items() if topic in reads.topics}
    found = await asyncio.to_thread(extents.committed, reads.group, read)
    committed = {Spot(reads.role, *place): each for place, each in found.items()}
    spots = [spot for spot in reads.spots(shapes) if spot.place in shown]
    while True:
        entries = await keystore.read([spot.key for spot in spots])
        known = {spot: _known(spot, entry) for spot, entry in zip(spots, entries, strict=True) if entry is not None}
        reached = {spot: _expected(spot, shown[spot.place], known, committed) for spot in spots}
        fresh = {spot.key: (None, reached_entry(reached[spot])) for spot in spots if spot not in known}
        if not keep or all([await keystore.swap({key: each}, {}) for key, each in fresh.items()]):
            ahead = {
                spot: each.offset
                for spot, each in committed.items()
                if spot in known and set_ahead(each, known[spot], shown[spot.place])
            }
            believed = {spot: each.offset for spot, each in committed.items() if not (reads.marked and spot in ahead)}
            return ReadingState(shapes, shown, reached, believed, ahead)


async def take_over(reads: Reads, keystore: Keystore, extents: Extents) -> None:
    """
    Keep how far a role has read before its group's offsets need our mark: first-release workers did not mark theirs.

    Raises:
        LogSilentError, KeystoreSilentError: Nothing is known.

    """
    found = await standing(reads, keystore, extents, keep=True)
    further = {
        spot: replace(found.reached[spot], offset=offset)
        for spot, offset in found.committed.items()
        if spot in found.reached
        and found.reached[spot].id in {found.extents[spot.place].id, NO_ID}
        and not found.reached[spot].torn
        and offset > found.reached[spot].offset
    }
    await keystore.put({spot.key: reached_entry(each) for spot, each in further.items()})


def _known(spot: Spot, entry: bytes) -> Reached:
    """What the keystore says of a partition; bytes of somebody else's say that nothing of it was read."""
    try:
        return read_reached(entry)
    except EntryCorruptError:
        log.error("who has read how far is unknown: somebody wrote over it", topic=spot.topic, partition=spot.partition)  # noqa: TRY400 - a trace says nothing more
        return Reached(NO_ID, 0)


def _expected(
    spot: Spot, extent: Extent, known: Mapping[Spot, Reached], committed: Mapping[Spot, Committed]
) -> Reached:
    """How far a partition was read; one added after its topic was first seen is expected from its first record."""
    if spot in known:
        return known[spot]
    others = [each.id for other, each in known.items() if other[:2] == spot[:2]]
    if others:
        return Reached(extent.id if extent.id in others else others[0], 0)
    return Reached(extent.id, committed[spot].offset if spot in committed else extent.first)


class Beginnings:
    """The beginnings of one worker's partitions; `ids`: its topics', `anew`: what began anew at the last assignment."""

    def __init__(
        self,
        reads: Reads,
        keystore: Keystore,
        extents: Extents,
        accepted: Callable[[], Awaitable[list[Accepted]]],
        count: Increment,
        level: SetGauge,
    ) -> None:
        self.reads, self._keystore, self._extents = reads, keystore, extents
        self._accepted, self._count, self._level = accepted, count, level
        self._kept: dict[Spot, int] = {}
        self._keep_at = 0.0
        self._short_since: float | None = None
        self._told: dict[GaugeMetric, list[str]] = {}
        self.ids: dict[str, str] = {}
        self.anew: frozenset[Place] = frozenset()

    def id_of(self, topic: str) -> str:
        """Kafka's id of a topic of this role, as it was at the last assignment."""
        return self.ids.get(topic, NO_ID)

    def began_anew(self, topic: str) -> list[int]:
        """The partitions of a topic of which nothing counts any more that was known before the last assignment."""
        return [partition for name, partition in self.anew if name == topic]

    async def close(self) -> None:
        """Disconnect."""
        await asyncio.to_thread(self._extents.close)

    async def check(self) -> list[str]:
        """
        The topics that are there, of those that are read on from where the group was.

        Raises:
            ConfigurationError: One is missing, or has fewer partitions than it was created with.

        """
        shapes = await asyncio.to_thread(self._extents.shapes, self.reads.named)
        self._checked(shapes)
        return [topic for topic in self.reads.topics if topic in shapes]

    def _checked(self, shapes: Mapping[str, Shape]) -> None:
        cure = "calllog-guard topics create makes it, topics check shows all"
        for topic, many in self.reads.wanted.items():
            if topic not in shapes:
                raise ConfigurationError(f"Kafka has no topic {topic}: {cure}")
            if (found := len(shapes[topic].partitions)) < many:
                raise ConfigurationError(
                    f"{topic} has {found} partitions and was created with {many}: delete it, then {cure}"
                )
        missing = [topic for topic in self.reads.topics if topic not in shapes and topic not in self.reads.later]
        if missing and len(missing) == len(self.reads.topics):
            raise ConfigurationError(f"Kafka has no topic {', '.join(missing)}: {cure}")
        larger = [topic for topic, many in self.reads.wanted.items() if len(shapes[topic].partitions) > many]
        self._tell("topics of events are missing, the others are read", Gauges.topics_missing, missing)
        self._tell(
            "topics have more partitions than they were created with, which nobody reads", Gauges.topics_larger, larger
        )

    def _tell(self, text: str, which: GaugeMetric, topics: list[str]) -> None:
        self._level(which, len(topics))
        if topics != self._told.get(which, []):
            log.error(text, role=self.reads.role, topics=topics)
        self._told[which] = topics

    async def begin(self) -> dict[Place, int]:
        """
        Where each partition of the role's topics goes on.

        Raises:
            RecordsLostError: Something is gone that was not read; which, and what to do.
            ConfigurationError: See check.

        """
        found = await standing(self.reads, self._keystore, self._extents, keep=True)
        self._checked(found.shapes)
        starts, gaps = found.judged(())
        if gaps:
            starts, gaps = found.judged(await self._accepted())
        await self._refuse({Spot(self.reads.role, gap.topic, gap.partition): gap for gap in gaps})
        for spot, start in starts.items():
            if start.lost or start.anew:
                self._count(Counters.records_lost[spot.topic, spot.partition], start.lost)
                log.error(
                    "goes on behind what an officer accepted as lost",
                    role=self.reads.role,
                    topic=spot.topic,
                    partition=spot.partition,
                    offset=start.offset,
                    lost=start.lost,
                )
        self.ids = {topic: shape.id for topic, shape in found.shapes.items()}
        self.anew = frozenset(spot.place for spot, start in starts.items() if start.anew)
        self._kept = {
            spot: each.offset
            for spot, each in found.reached.items()
            if each == Reached(self.ids[spot.topic], each.offset)
        }
        self._told_ahead(found)
        kept = {spot for spot in starts if spot.reader == WHOLE or spot in found.set_ahead}
        await self._keep({spot: starts[spot].offset for spot in kept})
        return {spot.place: start.offset for spot, start in starts.items() if spot.reader != WHOLE}

    def _told_ahead(self, found: ReadingState) -> None:
        for spot, offset in found.set_ahead.items() if self.reads.marked else ():
            log.error(
                "somebody set an offset ahead: it is not believed",
                role=self.reads.role,
                topic=spot.topic,
                partition=spot.partition,
                offset=offset,
                read_up_to=found.reached[spot].offset,
            )

    async def _refuse(self, gaps: Mapping[Spot, Gap]) -> None:
        """Halt over gaps; an end that is short may be that of a leader which is not whole yet."""
        torn = {spot: gap for spot, gap in gaps.items() if gap.kind == "cut_short"}
        now = asyncio.get_running_loop().time()
        self._short_since = (self._short_since or now) if torn else None
        if torn and len(torn) == len(gaps) and now - (self._short_since or now) < _LEADER_S:
            raise LogSilentError(f"{next(iter(torn.values()))}, or its leader is not whole yet")
        for gap in gaps.values():
            self._count(Counters.records_lost[gap.topic, gap.partition], gap.records or 0)
            log.error("records are lost", role=self.reads.role, **_told(gap))
        if torn:
            await self._keystore.put(
                {spot.key: reached_entry(Reached(gap.was, gap.from_, torn=True)) for spot, gap in torn.items()}
            )
        if gaps:
            raise lost(list(gaps.values()))

    async def out_of_range(self, offsets: Positions) -> None:
        """
        Judge positions that Kafka refuses; returns when they are within the log after all.

        Raises:
            RecordsLostError: Something is gone that was not read.
            LogSilentError: Wait, and look again.

        """
        shapes = await asyncio.to_thread(self._extents.shapes, sorted({topic for topic, _ in offsets}))
        extents = await asyncio.to_thread(self._extents.extents, shapes)
        gaps: dict[Spot, Gap] = {}
        for place, offset in offsets.items():
            if place in extents:
                found = begin(place, extents[place], Reached(self.ids[place[0]], offset), None, ())
                if isinstance(found, Gap):
                    gaps[Spot(self.reads.role, *place)] = found
        await self._refuse(gaps)

    async def look(self, committed: Positions) -> None:
        """
        See that the topics are the ones that are read, and keep how far.

        Raises:
            RecordsLostError: One was made anew.
            ConfigurationError: One is missing.

        """
        shapes = await asyncio.to_thread(self._extents.shapes, self.reads.named)
        self._checked(shapes)
        if any(shapes[topic].id != known for topic, known in self.ids.items() if topic in shapes):
            await self.begin()
            raise RecordsLostError("a topic was made anew, which an officer has accepted: halts, to start with it")
        if asyncio.get_running_loop().time() >= self._keep_at:
            await self._whole(shapes)
        await self.keep(committed)

    async def _whole(self, shapes: Mapping[str, Shape]) -> None:
        """See that nothing was cut off what is read whole: a worker would forget it at its next start."""
        there = {topic: many for topic, many in self.reads.whole.items() if topic in shapes}
        whole = {topic: Shape(shapes[topic].id, tuple(range(many))) for topic, many in there.items()}
        found = await asyncio.to_thread(self._extents.extents, whole)
        if any(extent.first > self._kept.get(Spot(WHOLE, *place), 0) for place, extent in found.items()):
            await self.begin()
            raise RecordsLostError(
                "a topic has lost its beginning, which an officer has accepted: halts, to start with it"
            )

    async def keep(self, committed: Positions, *, now: bool = False) -> None:
        """Keep how far the role has read what it owns: every so often, and when it lets go of it."""
        at = asyncio.get_running_loop().time()
        if now or at >= self._keep_at:
            await self._keep({Spot(self.reads.role, *place): offset for place, offset in committed.items()})
            self._keep_at = at + _KEEP_S

    async def _keep(self, offsets: Mapping[Spot, int]) -> None:
        moved = {spot: offset for spot, offset in offsets.items() if self._kept.get(spot) != offset}
        if moved:
            await self._keystore.put(
                {spot.key: reached_entry(Reached(self.ids[spot.topic], offset)) for spot, offset in moved.items()}
            )
            self._kept.update(moved)


def _told(gap: Gap) -> dict[str, object]:
    """A gap as the log tells it: `first` and `last` are offsets, `last` is None where nobody can know it."""
    last = gap.to - 1 if gap.kind == "trimmed" else None
    return {
        "topic": gap.topic,
        "partition": gap.partition,
        "kind": gap.kind,
        "first": gap.from_,
        "last": last,
        "records": gap.records,
    }


def lost(gaps: Sequence[Gap]) -> RecordsLostError:
    """The error over gaps, with the command that shows and accepts them."""
    topics = dict.fromkeys(gap.topic for gap in gaps)
    more = f" (and {len(gaps) - 1} partitions more)" if len(gaps) > 1 else ""
    commands = ", ".join(f"`{COMMAND} {topic}`" for topic in topics)
    return RecordsLostError(f"{gaps[0]}{more}. Nothing goes on before an officer accepts it: see {commands}")
