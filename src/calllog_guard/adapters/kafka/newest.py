"""
The newest record of a kind in each partition, looked for from the end backwards, without reading all; and every record of some keys.

Source: docs/adr/0009-restore-guard.md.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

from aiokafka import TopicPartition

from calllog_guard.adapters.kafka.log import asking, handed, offsets
from calllog_guard.ports import Record

_READ_S: Final = 300.0
_BACK: Final = 64
"""Records from the end that are read first; sixteen times more each time none of them is wanted."""
Wanted = Callable[[Record], bool]


async def keyed(
    servers: str, options: Mapping[str, Any], topic: str, partition: int, keys: Collection[bytes]
) -> list[Record]:
    """
    The records of some keys in a partition, the oldest first.

    Raises:
        LogSilentError: Kafka does not answer.

    """
    async with asking(servers, options) as reader:
        return await asyncio.wait_for(_forwards(reader, TopicPartition(topic, partition), keys), _READ_S)


async def holds_any(servers: str, options: Mapping[str, Any], topic: str, partitions: Sequence[int]) -> bool:
    """
    Whether a topic holds a record, whatever it is.

    Raises:
        LogSilentError: Kafka does not answer.

    """
    async with asking(servers, options) as reader:
        first = await offsets(reader, topic, partitions, end=False)
        return first != await offsets(reader, topic, partitions, end=True)


async def _forwards(reader: Any, place: TopicPartition, keys: Collection[bytes]) -> list[Record]:
    found: list[Record] = []
    reader.assign([place])
    end = (await reader.end_offsets([place]))[place]
    await reader.seek_to_beginning(place)
    while await reader.position(place) < end:
        for records in (await handed(reader, place)).values():
            found += [each for each in records if each.key in keys]
    return found


async def newest(
    servers: str, options: Mapping[str, Any], topic: str, partitions: Sequence[int], wanted: Wanted
) -> list[Record]:
    """
    The newest record that is wanted in each partition that has one, looked for from the end backwards.

    Raises:
        LogSilentError: Kafka does not answer.

    """
    async with asking(servers, options) as reader:
        return await asyncio.wait_for(_backwards(reader, topic, partitions, wanted), _READ_S)


async def _backwards(reader: Any, topic: str, partitions: Sequence[int], wanted: Wanted) -> list[Record]:
    places = [TopicPartition(topic, partition) for partition in partitions]
    reader.assign(places)
    first, end = await reader.beginning_offsets(places), await reader.end_offsets(places)
    found: dict[TopicPartition, Record] = {}
    back, waiting = _BACK, {place for place in places if end[place] > first[place]}
    while waiting:
        for place in waiting:
            reader.seek(place, max(first[place], end[place] - back))
        reading = set(waiting)
        while reading:
            for place, records in (await handed(reader, *reading)).items():
                for each in filter(wanted, records):
                    found[place] = each
            reading = {place for place in reading if await reader.position(place) < end[place]}
        waiting = {place for place in waiting if place not in found and end[place] - back > first[place]}
        back *= 16
    return list(found.values())
