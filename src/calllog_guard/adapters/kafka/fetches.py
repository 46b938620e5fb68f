"""
What the library's consumer does with a fetch, done so that nothing in it raises and no poll is larger than RUN_MOST.

The library parses a fetch while it is handed out: an error there loses every other partition's records in the same
answer, and its position has moved past them.  There is no public way to another parser: our consumers run the library's
functions with ours under the names by which these find their own (`tests/contract/test_border_on_kafka.py` fails if a
release moves them).  Other consumers of the process, as those of a Faust program, keep the library's.
Rules: 1. A batch that does not hold is read again, TRIES times; then it is passed over, an offset at a time.
       2. Control batches, and with `read_committed` what was aborted, are passed over, as the library does.
"""

import time
from collections.abc import Iterator
from types import FunctionType
from typing import Any, Final

import aiokafka.consumer.fetcher as library
from aiokafka.record.default_records import DefaultRecordBatch

from calllog_guard.adapters.kafka.batches import arrivals, broken, holds, split
from calllog_guard.core.stream.arrival import CORRUPT, Arrival

RUN_MOST: Final = 16 << 20
"""Bytes of one poll, or one larger record: thousands of events, or the widest batch of any governed topic."""
TRIES: Final = 3
FETCHES: Final = 2
"""A group of connections of the library's client, beside its own for the coordinator (1) and for all else (0)."""
WAIT_MOST_MS: Final = 200
_PART: Final = 0.1
_MAGIC_AT, _ATTRIBUTES_AT, _LAST_AT = 16, 22, 23
_CONTROL, _HEADED = 0x20, 2


class _Left:
    """How many bytes the running poll may still hand out."""

    bytes = RUN_MOST


class Fetched:
    """What was fetched of a partition, in place of the library's parser."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def has_next(self) -> bool:
        """Whether anything was fetched: less than a batch is told by us, not skipped."""
        return bool(self.content)

    def size_in_bytes(self) -> int:
        """See the library."""
        return len(self.content)


class FetchedArrivals(library.PartitionRecords):  # type: ignore[misc]
    """The records of a fetch, in place of the library's iterator."""

    next_fetch_offset: int

    def _unpack_records(self) -> Iterator[Arrival]:
        place = (self._tp.topic, self._tp.partition)
        for batch in split(self._records.content):
            if batch is None or not holds(batch):
                content = self._records.content if batch is None else batch
                self.next_fetch_offset += 1
                yield broken(place, self.next_fetch_offset - 1, content)
                return
            if batch[_MAGIC_AT] < _HEADED or not self._passed(batch):
                for found in arrivals(place, batch, self.next_fetch_offset):
                    self.next_fetch_offset = found.offset + 1
                    yield found
            self.next_fetch_offset = max(self.next_fetch_offset, _after(batch))

    def _passed(self, batch: memoryview) -> bool:
        """Whether a batch holds no record for us: a marker of a transaction, or records of one that was aborted."""
        control = bool(batch[_ATTRIBUTES_AT] & _CONTROL)
        if self._isolation_level != library.READ_COMMITTED:
            return control
        head = DefaultRecordBatch(batch)
        self._consume_aborted_up_to(head.base_offset)
        if control and self._aborts(head):
            self._aborted_producers.discard(head.producer_id)
        return control or (head.is_transactional and head.producer_id in self._aborted_producers)

    def _aborts(self, head: Any) -> bool:
        try:
            return bool(self._contains_abort_marker(iter(head)))
        except Exception:  # noqa: BLE001 - the library on foreign bytes
            return False


def _after(batch: memoryview) -> int:
    """The offset behind a batch, those included that compaction has emptied."""
    base = int.from_bytes(batch[:8], "big", signed=True)
    last = 0 if batch[_MAGIC_AT] < _HEADED else int.from_bytes(batch[_LAST_AT : _LAST_AT + 4], "big", signed=True)
    return base + max(last, 0) + 1


class Result(library.FetchResult):  # type: ignore[misc]
    """A fetch that is handed out, no more of it at once than the running poll may hold."""

    _partition_records: FetchedArrivals | None

    def getall(self, max_records: int | None = None) -> list[Arrival]:
        """See the library."""
        found: list[Arrival] = []
        if _Left.bytes <= 0 or not self.check_assignment(self._topic_partition) or not self.has_more():
            return found
        for each in self._partition_records or ():
            found.append(each)
            _Left.bytes -= each.size
            if _Left.bytes <= 0 or len(found) == max_records:
                self._update_position()
                return found
        self._update_position()
        self._partition_records = None
        return found


def found_by(function: Any, **names: Any) -> Any:
    """A function of the library's that finds ours under some names of its module."""
    made = FunctionType(function.__code__, function.__globals__ | names, function.__name__, function.__defaults__)
    made.__kwdefaults__ = function.__kwdefaults__
    return made


class FetchingClient:
    """
    The library's client, as its fetcher uses it: fetches have a connection of their own.

    A broker answers a connection's requests in their order: a question about offsets would wait behind a fetch that
    waits for records.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        """What the fetcher does with its client besides."""
        return getattr(self._client, name)

    async def send(self, node_id: int, request: Any) -> Any:
        """See the library."""
        apart = {"group": FETCHES} if isinstance(request, library.FetchRequest) else {}
        return await self._client.send(node_id, request, **apart)


class Fetcher(library.Fetcher):  # type: ignore[misc]
    """
    Begins each poll with all that it may hold, and parses as we do; the longer nothing comes, the longer a fetch waits.

    The broker answers a fetch at once when there is a record for it. Only what is not asked for meanwhile, as the
    partition whose records are being handed out, waits for its end: at most a tenth of the pause before, or a fifth of
    a second. A worker with nothing to do asks five times a second in place of a hundred times.
    """

    _OURS: Final = {"MemoryRecords": Fetched, "PartitionRecords": FetchedArrivals, "FetchResult": Result}
    _fetched = found_by(library.Fetcher._proc_fetch_request, **_OURS)  # noqa: SLF001 - no public way, see above
    next_record = found_by(library.Fetcher.next_record, **_OURS)
    _handed_out = found_by(library.Fetcher.fetched_records, **_OURS)

    _least_ms = 0
    _last_s = 0.0

    def __init__(self, client: Any, *arguments: Any, **options: Any) -> None:
        super().__init__(FetchingClient(client), *arguments, **options)

    @property
    def _fetch_max_wait_ms(self) -> int:
        """How long the broker may wait for a record; the library asks for each fetch."""
        quiet_ms = (time.monotonic() - self._last_s) * 1000
        return max(self._least_ms, min(WAIT_MOST_MS, int(quiet_ms * _PART)))

    @_fetch_max_wait_ms.setter
    def _fetch_max_wait_ms(self, least_ms: int) -> None:
        self._least_ms, self._last_s = least_ms, time.monotonic()

    async def _proc_fetch_request(self, *request: Any) -> Any:
        found = await self._fetched(*request)
        if found:
            self._last_s = time.monotonic()
        return found

    async def fetched_records(self, partitions: Any, timeout: float = 0, max_records: int | None = None) -> Any:  # noqa: ASYNC109
        """See the library."""
        _Left.bytes = RUN_MOST
        return await self._handed_out(partitions, timeout, max_records)


class Unbroken:
    """What one consumer knows of batches that do not hold: how often each was read, and which were given up."""

    def __init__(self) -> None:
        self._tries: dict[Any, tuple[int, int]] = {}
        self._passed: dict[Any, str] = {}

    def again(self, place: Any, records: list[Arrival]) -> bool:
        """Whether the last of what was handed out is to be read once more."""
        last = records[-1]
        if last.remnant is None or last.remnant.reason != CORRUPT:
            return False
        offset, tries = self._tries.get(place, (-1, 0))
        tries = tries + 1 if offset == last.offset else 1
        self._tries[place] = (last.offset, tries)
        if tries > TRIES or self._passed.get(place) == last.remnant.sha256:
            self._passed[place] = last.remnant.sha256
            return False
        return True
