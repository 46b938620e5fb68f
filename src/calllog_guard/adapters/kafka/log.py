"""Reading a log in Kafka without a group, a question over a connection of its own; consumers are in `consumer.py`."""

import asyncio
from bisect import bisect_left
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from aiokafka.partitioner import murmur2

from calllog_guard.adapters.kafka.consumer import SILENT_S, Consumer, asking, consumer, ours, reading
from calllog_guard.core.stream.arrival import Arrival
from calllog_guard.errors import LogSilentError
from calllog_guard.ports.log import Cut, Portion, Positions, TopicPartition, Wanted, ignored

_READ_S: Final = 300.0
_NEAR: Final = 2000  # offsets: reading on is cheaper than another fetch
_BACK: Final = 64
"""Records from the end that are read first; sixteen times more each time none of them is wanted."""


def places_of(topic: str, partitions: Iterable[int]) -> list[TopicPartition]:
    """Some partitions of a topic."""
    return [TopicPartition(topic, partition) for partition in partitions]


@dataclass(frozen=True, slots=True)
class KafkaLog:
    """The Log port; where a worker has a `reader` of its own already, that one is asked for first and next offsets."""

    servers: str
    options: Mapping[str, Any]
    reader: Consumer | None = None

    @asynccontextmanager
    async def _asked(self) -> AsyncGenerator[Consumer, None]:
        if self.reader is None:
            async with asking(self.servers, self.options) as reader:
                yield reader
        else:
            with ours():
                yield self.reader

    async def starts(self, topic: str, partitions: Sequence[int]) -> dict[int, int]:
        """See Log."""
        async with self._asked() as reader:
            return _numbered(await reader.beginning_offsets(places_of(topic, partitions)))

    async def ends(self, topic: str, partitions: Sequence[int]) -> dict[int, int]:
        """See Log."""
        async with self._asked() as reader:
            return _numbered(await reader.end_offsets(places_of(topic, partitions)))

    async def offset_at(self, topic: str, partition: int, at_ms: int) -> int:
        """See Log."""
        place = TopicPartition(topic, partition)
        async with asking(self.servers, self.options) as reader:
            await reader.shown([topic])
            found = (await reader.offsets_for_times({place: at_ms}))[place]
            return int((await reader.end_offsets([place]))[place] if found is None else found.offset)

    async def read_all(self, topic: str, partitions: Sequence[int]) -> list[Arrival]:
        """See Log."""
        records: list[Arrival] = []
        await self.read_each(topic, partitions, records.append)
        return records

    async def read_each(
        self, topic: str, partitions: Sequence[int], visit: Callable[[Arrival], object]
    ) -> dict[int, tuple[int, int]]:
        """See Log."""
        async with asking(self.servers, self.options) as reader:
            return await read_up(reader, places_of(topic, partitions), visit)

    async def tail(self, topic: str, partition: int, start: int, most: int) -> tuple[list[Arrival], int, int]:
        """See Log."""
        place, found, after = TopicPartition(topic, partition), list[Arrival](), start
        async with asking(self.servers, self.options) as reader:
            reader.assign([place])
            ends = await reader.end_offsets([place])
            async with aclosing(reading(reader, {place: start}, ends)) as portions:
                async for at, portion in portions:
                    found += portion.get(place, ())
                    after = at[place]
                    if len(found) >= most:
                        break
        return found, after, ends[place]

    async def fetch(self, topic: str, partition: int, places: Mapping[bytes, int]) -> dict[bytes, bytes]:
        """See Log."""
        if not places:
            return {}
        async with asking(self.servers, self.options) as reader, asyncio.timeout(_READ_S):
            place = TopicPartition(topic, partition)
            reader.assign([place])
            end = (await reader.end_offsets([place]))[place]
            records = await fetched(reader, (place, end), places.values(), near=_NEAR)
        return {
            record.key: record.value
            for record in records
            if record.key is not None and record.value is not None and places.get(record.key) == record.offset
        }

    async def newest(self, topic: str, partitions: Sequence[int], wanted: Wanted) -> list[Arrival]:
        """See Log."""
        places, found, back = places_of(topic, partitions), dict[TopicPartition, Arrival](), _BACK
        async with asking(self.servers, self.options) as reader, asyncio.timeout(_READ_S):
            reader.assign(places)
            first, end = await reader.beginning_offsets(places), await reader.end_offsets(places)
            waiting = [place for place in places if end[place] > first[place]]
            while waiting:
                starts = {place: max(first[place], end[place] - back) for place in waiting}
                async for _, portion in reading(reader, starts, end):
                    for place, records in portion.items():
                        for each in filter(wanted, records):
                            found[place] = each
                waiting = [place for place in waiting if place not in found and end[place] - back > first[place]]
                back *= 16
        return list(found.values())

    async def portions(
        self, starts: Positions, most: int, *, committed: bool = False, cut: Cut = ignored
    ) -> AsyncGenerator[tuple[Positions, Portion], None]:
        """See Log."""
        options = {**self.options, "isolation_level": "read_committed"} if committed else self.options
        async with asking(self.servers, options) as reader:
            places = list(starts)
            reader.assign(places)
            firsts, ends = await reader.beginning_offsets(places), await reader.end_offsets(places)
            at: Positions = {place: max(firsts[place], min(starts[place], ends[place])) for place in places}
            for place in places:
                if 0 < starts[place] < firsts[place]:
                    cut(place, starts[place], firsts[place])
            async with aclosing(reading(reader, at, ends, most=most, cut=cut)) as portions:
                async for portion in portions:
                    yield portion


def _numbered(offsets: Mapping[TopicPartition, int]) -> dict[int, int]:
    return {place.partition: int(offset) for place, offset in offsets.items()}


async def read_up(
    reader: Consumer, places: Sequence[TopicPartition], visit: Callable[[Arrival], object]
) -> dict[int, tuple[int, int]]:
    """See `Log.read_each`; the reader goes on behind what was read."""
    reader.assign(places)
    ends, starts = await reader.end_offsets(places), await reader.beginning_offsets(places)
    async for _, portion in reading(reader, starts, ends):
        for records in portion.values():
            for record in records:
                visit(record)
    return {place.partition: (starts[place], ends[place]) for place in places}


async def fetched(
    reader: Consumer,
    upto: tuple[TopicPartition, int],
    offsets: Iterable[int],
    *,
    near: int = 0,
    most: int | None = None,
    silent_s: float = SILENT_S,
) -> list[Arrival]:
    """The records present at these offsets of a partition, up to its end; what is further than `near` is jumped to."""
    left, wanted, found, (place, end) = sorted(offsets), set(offsets), list[Arrival](), upto
    while left and left[0] < end:
        made = reading(reader, {place: left[0]}, {place: end}, most=most, silent_s=silent_s)
        async with aclosing(made) as portions:
            async for at, portion in portions:
                found += [record for record in portion.get(place, ()) if record.offset in wanted]
                left = left[bisect_left(left, at[place]) :]
                if not left or left[0] > at[place] + near:
                    break
    return found


class Tail:
    """Follows partition 0 of a topic from its beginning, outside any group; connects when first asked."""

    def __init__(self, servers: str, options: Mapping[str, Any], topic: str) -> None:
        self._servers, self._options, self._place = servers, options, TopicPartition(topic, 0)
        self._reader: Consumer | None = None

    async def up_to_now(self) -> list[Arrival]:
        """
        Every record from the beginning to the present end.

        Raises:
            LogSilentError: Kafka does not answer; ask again.

        """
        await self.stop()
        self._reader = consumer(self._servers, self._options, max_wait_ms=500)
        records: list[Arrival] = []
        with ours():
            await self._reader.start()
            async with asyncio.timeout(_READ_S):
                await read_up(self._reader, [self._place], records.append)
        return records

    async def more(self) -> list[Arrival]:
        """What has arrived since; nothing while Kafka is away."""
        if self._reader is None:  # it is asked for everything first
            raise LogSilentError("nothing was read yet")
        with ours():
            found = await self._reader.getmany(timeout_ms=0)
        return [record for records in found.values() for record in records]

    async def stop(self) -> None:
        """Disconnect."""
        reader, self._reader = self._reader, None
        if reader is not None:
            await reader.stop()


def key_partition(key: bytes, partitions: int) -> int:
    """Where Java's default partitioner puts a key, as do those of kafka-python and aiokafka."""
    return int((murmur2(key) & 0x7FFFFFFF) % partitions)


def tenant_partition(tenant: str, partitions: int) -> int:
    """The partition of a tenant in the topics that are partitioned so."""
    return key_partition(tenant.encode(), partitions)
