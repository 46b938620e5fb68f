"""A log and a keeper's index in memory, so that workers run in one process, quickly, and can be stopped at every write."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from calllog_guard.core.codec import to_ms
from calllog_guard.core.records import Output
from calllog_guard.core.stream.arrival import Arrival, arrival
from calllog_guard.ports import Clock, LegFacts, Pending, Position


class MemoryLog:
    """Topics in lists: the Writer port, and what a client library reads of a log; nothing is ever compacted."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.records: dict[tuple[str, int], list[Arrival]] = defaultdict(list)

    async def write(self, outputs: Sequence[Output]) -> None:
        """See Writer."""
        now = to_ms(self._clock.now())
        for output in outputs:
            lane = self.records[output.topic, output.partition]
            place = (output.topic, output.partition)
            lane.append(arrival(place, len(lane), now, output.key, output.value, output.headers))

    async def withdraw(self) -> None:
        """See Writer: a list holds nothing back."""

    async def read_all(self, topic: str, partitions: Sequence[int]) -> list[Arrival]:
        """Every record of some partitions."""
        return [record for partition in partitions for record in self.records[topic, partition]]

    async def starts(self, topic: str, partitions: Sequence[int]) -> dict[int, int]:
        """The first offsets."""
        del topic
        return dict.fromkeys(partitions, 0)

    async def ends(self, topic: str, partitions: Sequence[int]) -> dict[int, int]:
        """The next offsets."""
        return {partition: len(self.records[topic, partition]) for partition in partitions}

    async def fetch(self, topic: str, partition: int, places: Mapping[bytes, int]) -> dict[bytes, bytes]:
        """The values at some offsets, by key."""
        lane = self.records[topic, partition]
        found = {key: lane[offset] for key, offset in places.items() if offset < len(lane)}
        return {key: each.value for key, each in found.items() if each.key == key and each.value is not None}

    async def tail(self, topic: str, partition: int, start: int, most: int) -> tuple[list[Arrival], int, int]:
        """So many records at most from an offset on, the offset after them, and the end."""
        lane = self.records[topic, partition]
        found = lane[start : start + most]
        return found, start + len(found), len(lane)

    async def offset_at(self, topic: str, partition: int, at_ms: int) -> int:
        """The first offset appended at or after a time; the end where there is none."""
        lane = self.records[topic, partition]
        return next((record.offset for record in lane if record.timestamp >= at_ms), len(lane))

    def live(self, topic: str) -> dict[bytes, bytes]:
        """What a compacted topic holds in the end, over all its partitions."""
        state: dict[bytes, bytes] = {}
        for (name, _), lane in self.records.items():
            for record in lane if name == topic else ():
                if record.value is None:
                    state.pop(record.key or b"", None)
                else:
                    state[record.key or b""] = record.value
        return state


class MemoryRows:
    """See Rows."""

    def __init__(self) -> None:
        self.rows: dict[bytes, bytes] = {}

    def write(self, rows: Mapping[bytes, bytes]) -> None:
        """See Rows."""
        self.rows |= rows

    def get(self, key: bytes) -> bytes | None:
        """See Rows."""
        return self.rows.get(key)

    def begin(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """See Rows."""
        yield from sorted((key, value) for key, value in self.rows.items() if key.startswith(prefix))

    def close(self) -> None:
        """Nothing is open."""

    def destroy(self) -> None:
        """See Rows."""
        self.rows.clear()


class MemoryIndex:
    """The keeper's index in dicts; what was not committed is not answered, and is lost by `reopened`."""

    def __init__(self) -> None:
        self._legs: dict[bytes, LegFacts] = {}
        self._pending: dict[bytes, Pending] = {}
        self._position: Position | None = None
        self._staged: list[Callable[[], object]] = []

    def reopened(self) -> "MemoryIndex":
        """As after a crash."""
        self._staged.clear()
        return self

    def put(self, key: bytes, facts: LegFacts) -> None:
        """See Index."""
        self._staged.append(lambda: self._legs.__setitem__(key, facts))

    def remove(self, key: bytes) -> None:
        """See Index."""
        self._staged.append(lambda: self._legs.pop(key, None))

    def pend(self, key: bytes, pending: Pending) -> None:
        """See Index."""
        self._staged.append(lambda: self._pending.__setitem__(key, pending))

    def unpend(self, key: bytes) -> None:
        """See Index."""
        self._staged.append(lambda: self._pending.pop(key, None))

    def commit(self, position: Position) -> None:
        """See Index."""
        for change in self._staged:
            change()
        self._staged.clear()
        self._position = position

    def position(self) -> Position | None:
        """See Index."""
        return self._position

    def facts(self, key: bytes) -> LegFacts | None:
        """See Index."""
        return self._legs.get(key)

    def legs_of(self, pseudonym: str) -> list[tuple[LegFacts, bytes]]:
        """See Index."""
        start = pseudonym.encode() + b"."
        return sorted(
            ((facts, key) for key, facts in self._legs.items() if key.startswith(start)), key=lambda row: row[1]
        )

    def legs_after(self, pseudonym: str, key: bytes, most: int) -> list[tuple[LegFacts, bytes]]:
        """See Index."""
        return [row for row in self.legs_of(pseudonym) if row[1] > key][:most]

    def people_after(self, pseudonym: str, most: int) -> list[str]:
        """See Index."""
        return [each for each in sorted({key[:22].decode() for key in self._legs}) if each > pseudonym][:most]

    def pending(self) -> dict[bytes, Pending]:
        """See Index."""
        return dict(sorted(self._pending.items(), key=lambda item: item[1].offset))

    def by_day(self) -> Iterator[tuple[LegFacts, bytes]]:
        """See Index."""
        yield from sorted(((facts, key) for key, facts in self._legs.items()), key=lambda row: (row[0].day, row[1]))

    def groups(self) -> Iterator[LegFacts]:
        """See Index."""
        yield from dict.fromkeys(msgspec.structs.replace(facts, offset=0) for facts, _ in self.by_day())

    def keys_with(self, facts: LegFacts) -> Iterator[bytes]:
        """See Index."""
        for found, key in self.by_day():
            if msgspec.structs.replace(found, offset=facts.offset) == facts:
                yield key

    def forget(self) -> None:
        """See Index: a dict has no files."""

    def close(self) -> None:
        """See Index."""

    def destroy(self) -> None:
        """See Index."""
        self.__init__()  # type: ignore[misc]
