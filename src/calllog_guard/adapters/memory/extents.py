"""Topics in memory as Kafka shows them, with what an administrator does to them: the fake of the Extents port."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from calllog_guard.core.identifiers import id_text
from calllog_guard.core.stream.beginnings import Committed, Extent, Shape
from calllog_guard.errors import LogSilentError
from calllog_guard.ports.log import Place


@dataclass
class MemoryTopic:
    """A topic: its id, and the bounds of its partitions."""

    bounds: list[list[int]]
    id: str = field(default_factory=lambda: id_text(secrets.token_bytes(16)))
    times: dict[int, dict[int, int]] = field(default_factory=dict)
    """By partition and offset, when a record was appended (milliseconds)."""


class MemoryExtents:
    """The Extents port; `silent` makes it answer nothing, as a stopped broker does."""

    def __init__(self) -> None:
        self.topics: dict[str, MemoryTopic] = {}
        self.groups: dict[str, dict[Place, Committed]] = {}
        self.silent = False

    def create(self, topic: str, partitions: int) -> None:
        """Make a topic; one that is there is deleted first, and Kafka forgets with it what was committed."""
        self.topics[topic] = MemoryTopic([[0, 0] for _ in range(partitions)])
        for offsets in self.groups.values():
            for place in [each for each in offsets if each[0] == topic]:
                del offsets[place]

    def grow(self, topic: str, partitions: int) -> None:
        """Add partitions."""
        bounds = self.topics[topic].bounds
        bounds += [[0, 0] for _ in range(partitions - len(bounds))]

    def append(self, topic: str, partition: int, many: int, at_ms: int = 0) -> None:
        """Write records."""
        end = self.topics[topic].bounds[partition][1]
        self.topics[topic].times.setdefault(partition, {}).update(dict.fromkeys(range(end, end + many), at_ms))
        self.topics[topic].bounds[partition][1] += many

    def trim(self, topic: str, partition: int, before: int) -> None:
        """Delete the records below an offset."""
        self.topics[topic].bounds[partition][0] = before

    def tear(self, topic: str, partition: int, end: int) -> None:
        """Lose the records from an offset on, as brokers do that did not flush."""
        self.topics[topic].bounds[partition][1] = end

    def commit(self, group: str, topic: str, partition: int, offset: int, *, ours: bool = True) -> None:
        """What a group has read; `ours`: as a worker commits it, and not as a tool sets it."""
        self.groups.setdefault(group, {})[topic, partition] = Committed(offset, ours)

    def _answer(self) -> None:
        if self.silent:
            raise LogSilentError("Kafka does not answer")

    def shapes(self, topics: Sequence[str]) -> dict[str, Shape]:
        """See Extents."""
        self._answer()
        there = {name: self.topics[name] for name in topics if name in self.topics}
        return {name: Shape(each.id, tuple(range(len(each.bounds)))) for name, each in there.items()}

    def extents(self, topics: Mapping[str, Shape]) -> dict[Place, Extent]:
        """See Extents."""
        self._answer()
        return {
            (name, partition): Extent(shape.id, *self.topics[name].bounds[partition])
            for name, shape in topics.items()
            for partition in shape.partitions
        }

    def committed(self, group: str, topics: Mapping[str, Shape]) -> dict[Place, Committed]:
        """See Extents."""
        self._answer()
        return {place: offset for place, offset in self.groups.get(group, {}).items() if place[0] in topics}

    def since(self, times_ms: Mapping[Place, int]) -> dict[Place, int]:
        """See Extents: of topics whose records were appended with times."""
        self._answer()
        found: dict[Place, int] = {}
        for (topic, partition), at_ms in times_ms.items():
            times = self.topics[topic].times.get(partition, {})
            first, _ = self.topics[topic].bounds[partition]
            later = [offset for offset, appended in sorted(times.items()) if appended >= at_ms and offset >= first]
            found |= {(topic, partition): later[0]} if later else {}
        return found

    def close(self) -> None:
        """See Extents."""
