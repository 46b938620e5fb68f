"""A log and a keeper's index in memory, so that workers run in one process, fast, and can be stopped at every write."""

from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence

import msgspec

from calllog_guard.core.codec import to_ms
from calllog_guard.core.records import Output
from calllog_guard.core.stream.arrival import Arrival, arrival
from calllog_guard.errors import LogSilentError
from calllog_guard.ports.clock import Clock
from calllog_guard.ports.log import Cut, Place, Portion, Positions, Wanted, ignored
from calllog_guard.ports.state import LegFacts, Pending, Position


class MemoryLog:
    """
    Topics in lists: the ports Writer and Log; nothing is ever compacted.

    Args:
        first: Up to where partitions are cut off.
        silent: It answers nothing, as a stopped broker does.

    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.records: dict[Place, list[Arrival]] = defaultdict(list)
        self.first: dict[Place, int] = {}
        self.silent = False

    def lane(self, place: Place) -> list[Arrival]:
        """Every record that a partition has had."""
        return self.records[place]

    def _there(self, topic: str, partition: int, start: int = 0) -> list[Arrival]:
        """The records that are there, from an offset on."""
        if self.silent:
            raise LogSilentError("Kafka does not answer")
        return self.lane((topic, partition))[max(start, self.first.get((topic, partition), 0)) :]

    async def write(self, outputs: Sequence[Output]) -> None:
        """See Writer."""
        now = to_ms(self._clock.now())
        for output in outputs:
            place = (output.topic, output.partition)
            at = len(self.records[place])
            self.records[place].append(arrival(place, at, now, output.key, output.value, output.headers))

    async def withdraw(self) -> None:
        """See Writer: a list holds nothing back."""

    async def starts(self, topic: str, partitions: Sequence[int]) -> dict[int, int]:
        """See Log."""
        self._there(topic, 0)
        return {partition: self.first.get((topic, partition), 0) for partition in partitions}

    async def ends(self, topic: str, partitions: Sequence[int]) -> dict[int, int]:
        """See Log."""
        self._there(topic, 0)
        return {partition: len(self.lane((topic, partition))) for partition in partitions}

    async def offset_at(self, topic: str, partition: int, at_ms: int) -> int:
        """See Log."""
        found = (record.offset for record in self._there(topic, partition) if record.timestamp >= at_ms)
        return next(found, len(self.lane((topic, partition))))

    async def read_all(self, topic: str, partitions: Sequence[int]) -> list[Arrival]:
        """See Log."""
        return [record for partition in partitions for record in self._there(topic, partition)]

    async def read_each(
        self, topic: str, partitions: Sequence[int], visit: Callable[[Arrival], object]
    ) -> dict[int, tuple[int, int]]:
        """See Log."""
        starts, ends = await self.starts(topic, partitions), await self.ends(topic, partitions)
        for record in await self.read_all(topic, partitions):
            visit(record)
        return {partition: (starts[partition], ends[partition]) for partition in partitions}

    async def tail(self, topic: str, partition: int, start: int, most: int) -> tuple[list[Arrival], int, int]:
        """See Log."""
        found = self._there(topic, partition, start)[:most]
        after = found[-1].offset + 1 if found else start
        return found, after, len(self.lane((topic, partition)))

    async def fetch(self, topic: str, partition: int, places: Mapping[bytes, int]) -> dict[bytes, bytes]:
        """See Log."""
        there = self._there(topic, partition)
        first = self.first.get((topic, partition), 0)
        found = {key: there[at - first] for key, at in places.items() if first <= at < first + len(there)}
        return {key: each.value for key, each in found.items() if each.key == key and each.value is not None}

    async def newest(self, topic: str, partitions: Sequence[int], wanted: Wanted) -> list[Arrival]:
        """See Log."""
        last = [[each for each in self._there(topic, partition) if wanted(each)][-1:] for partition in partitions]
        return [each for some in last for each in some]

    async def portions(
        self, starts: Positions, most: int, *, committed: bool = False, cut: Cut = ignored
    ) -> AsyncGenerator[tuple[Positions, Portion], None]:
        """See Log; there are no transactions here."""
        del committed
        at = dict(starts)
        for place, start in starts.items():
            first = self.first.get(place, 0)
            if 0 < start < first:
                cut(place, start, first)
            while found := self._there(*place, at[place])[:most]:
                at[place] = found[-1].offset + 1
                yield dict(at), {place: found}

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

    def write(self, rows: Mapping[bytes, bytes | None]) -> None:
        """See Rows."""
        for key, value in rows.items():
            if value is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = value

    def get(self, key: bytes) -> bytes | None:
        """See Rows."""
        return self.rows.get(key)

    def begin(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """See Rows."""
        yield from sorted((key, value) for key, value in self.rows.items() if key.startswith(prefix))

    def forget(self) -> None:
        """See Rows: a dict has no files."""

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
