"""
What Kafka shows of whole topics: ids, partitions, where each begins and ends, what a group committed; kafka-python.

aiokafka speaks no protocol that knows of topic ids: it takes a topic that was made anew for the old one.
Source: KIP-516, KIP-482.
"""

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final

from calllog_guard.adapters.kafka.admin.client import AdminClient, library, spot
from calllog_guard.adapters.kafka.security import unanswered
from calllog_guard.core.identifiers import id_text
from calllog_guard.core.stream.beginnings import MARK, Committed, Extent, Shape
from calllog_guard.errors import LogSilentError
from calllog_guard.ports.log import Place

_MISSING: Final = 3
"""UNKNOWN_TOPIC_OR_PARTITION."""


class KafkaExtents(AdminClient):
    """The Extents port."""

    async def known_as(self, topics: Sequence[str]) -> str:
        """
        Topics with their ids, as one text: one that is made anew is another.

        Raises:
            LogSilentError: One is not there, or Kafka does not answer.

        """
        found = await asyncio.to_thread(self.shapes, topics)
        if missing := [topic for topic in topics if topic not in found]:
            raise LogSilentError(f"Kafka has no topic {missing[0]}")
        return " ".join(f"{topic}@{found[topic].id}" for topic in topics)

    def shapes(self, topics: Sequence[str]) -> dict[str, Shape]:
        """See Extents."""
        with self.admin() as admin:
            found = admin.describe_topics(list(topics)) if topics else []
        for each in found:
            if each["error_code"] not in {0, _MISSING}:
                raise unanswered(library("kafka.errors").for_code(each["error_code"])(each["name"]))
        return {
            each["name"]: Shape(
                id_text(uuid.UUID(str(each["topic_id"])).bytes),
                tuple(sorted(one["partition_index"] for one in each["partitions"])),
            )
            for each in found
            if each["error_code"] != _MISSING
        }

    def extents(self, topics: Mapping[str, Shape]) -> dict[Place, Extent]:
        """See Extents."""
        spots = [spot(topic, partition) for topic, each in topics.items() for partition in each.partitions]
        if not spots:
            return {}
        spec = library("kafka.admin").OffsetSpec
        with self.admin() as admin:
            first = admin.list_partition_offsets(dict.fromkeys(spots, spec.EARLIEST))
            end = admin.list_partition_offsets(dict.fromkeys(spots, spec.LATEST))
        return {(at.topic, at.partition): Extent(topics[at.topic].id, first[at].offset, end[at].offset) for at in spots}

    def committed(self, group: str, topics: Mapping[str, Shape]) -> dict[Place, Committed]:
        """See Extents."""
        spots = [spot(topic, partition) for topic, each in topics.items() for partition in each.partitions]
        if not spots:
            return {}
        with self.admin() as admin:
            found: dict[Any, Any] = admin.list_group_offsets({group: spots}).get(group, {})
        return {
            (at.topic, at.partition): Committed(each.offset, each.metadata == MARK)
            for at, each in found.items()
            if each.offset >= 0
        }

    def since(self, times_ms: Mapping[Place, int]) -> dict[Place, int]:
        """See Extents."""
        if not times_ms:
            return {}
        asked = {spot(*place): at_ms for place, at_ms in times_ms.items()}
        with self.admin() as admin:
            found = _there(admin.list_partition_offsets(asked))
            found |= _hidden(admin, {at: at_ms for at, at_ms in asked.items() if at not in found})
        return {(at.topic, at.partition): each.offset for at, each in found.items()}


def _there(found: Mapping[Any, Any]) -> dict[Any, Any]:
    return {at: each for at, each in found.items() if each is not None and each.offset >= 0}


def _hidden(admin: Any, asked: Mapping[Any, int]) -> dict[Any, Any]:
    """
    The first records of partitions whose broker found none of a time or later, although there is one.

    It looks in the first segment that reaches the time, which may hold trimmed records alone: then the rest is as late.
    """
    if not asked:
        return {}
    spec = library("kafka.admin").OffsetSpec
    newest = _there(admin.list_partition_offsets(dict.fromkeys(asked, spec.MAX_TIMESTAMP)))
    first = _there(admin.list_partition_offsets(dict.fromkeys(newest, spec.EARLIEST))) if newest else {}
    return {
        at: first[at]
        for at, each in newest.items()
        if at in first and each.timestamp >= asked[at] and each.offset >= first[at].offset
    }
