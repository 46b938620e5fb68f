"""
Reading topics through aiokafka's public consumer; writing is in `writer.py`, the options of both in `security.py`.

Rules: 1. Only topics of events are read `read_committed`: in those of ours nobody writes transactions, and one that hangs would hide from
          us what an outsider sees.  2. Every start and every end is bounded.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from math import inf
from typing import Any, Final, cast

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import KafkaError, NoOffsetForPartitionError, OffsetOutOfRangeError, TopicAuthorizationFailedError
from aiokafka.partitioner import murmur2

from calllog_guard.adapters.kafka.fetches import Unbroken
from calllog_guard.adapters.kafka.security import connecting, unanswered, unreached
from calllog_guard.adapters.process.endings import ended
from calllog_guard.core.stream.arrival import Arrival
from calllog_guard.core.stream.beginnings import MARK
from calllog_guard.errors import LogFaultError, LogRefusedError, LogSilentError

REQUEST_BYTES: Final = 26 << 20
_ACK_S: Final = 60.0
_SILENT_S: Final = 60.0  # a read may take as long as it takes; an answer may not
_READ_S: Final = 300.0
_SHOWN_S: Final = 5.0
START_S: Final = 15.0
"""For a connection: a server that takes it and says nothing would be waited for by the library for a minute and more."""
LEAVE_S: Final = 3.0
"""For taking leave; then the connection is dropped."""
_COMMIT_S: Final = 10.0
"""The library looks for the group's coordinator for ever."""
_METADATA_MS: Final = 10_000  # so soon are partitions seen that a topic of events gets
_NEAR: Final = 2000  # offsets: reading on is cheaper than another fetch


class Consumer(AIOKafkaConsumer):  # type: ignore[misc]
    """The library's consumer, which says why it does not start, and what it may not see: the library would ask for ever."""

    def __init__(self, servers: str, **options: Any) -> None:
        super().__init__(bootstrap_servers=servers, **options)
        self._asked = servers, options
        self._unbroken = Unbroken()

    async def start(self) -> None:
        """
        Connect.

        Raises:
            LogSilentError: Kafka does not answer, or refuses (LogRefusedError).

        """
        try:
            async with asyncio.timeout(START_S):
                await super().start()
        except (KafkaError, OSError) as error:
            raise await unreached(error, *self._asked) from None

    async def stop(self) -> None:
        """Take leave of the group, and disconnect: within seconds, whoever answers."""
        if not await ended(super().stop(), LEAVE_S):
            await ended(self._client.close(), LEAVE_S)

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """See the library; each offset bears our mark. TimeoutError when nobody answers."""
        async with asyncio.timeout(_COMMIT_S):
            await super().commit({place: (offset, MARK) for place, offset in offsets.items()})

    async def getmany(
        self, *partitions: TopicPartition, timeout_ms: int = 0, max_records: int | None = None
    ) -> dict[TopicPartition, list[Arrival]]:
        """
        As the library's, in arrivals: nothing raises for what lies in the log; what does not hold is read again first.

        Raises:
            LogFaultError: The library reads no more, and would say nothing for ever: start anew.
            LogRefusedError: A right is gone; ask again.

        """
        self._whole()
        try:
            return await self._arrivals(partitions, timeout_ms, max_records)
        except TopicAuthorizationFailedError as error:
            raise unanswered(error) from None

    def _whole(self) -> None:
        """That both tasks of the library are at work: nobody else looks at the one that fetches."""
        reading = self._fetcher.error_future if self._fetcher else None
        if reading is not None and reading.done() and not self._closed:
            raise LogFaultError("reading from Kafka has ended within the library: start anew")
        try:
            self._coordinator.check_errors()
        except KafkaError as error:
            raise LogFaultError(f"taking part in the consumer group has ended: {unanswered(error)}") from None

    async def _arrivals(
        self, partitions: Sequence[TopicPartition], timeout_ms: int, max_records: int | None
    ) -> dict[TopicPartition, list[Arrival]]:
        found = await super().getmany(*partitions, timeout_ms=timeout_ms, max_records=max_records)
        for place in [place for place, records in found.items() if self._unbroken.again(place, records)]:
            self.seek(place, found[place].pop().offset)
            if not found[place]:
                del found[place]
        return cast("dict[TopicPartition, list[Arrival]]", found)

    def unheard_s(self, place: TopicPartition) -> float:
        """
        Seconds since Kafka last answered for a partition, were it with nothing; without end when it never has.

        A broker may answer for everything and refuse one partition, whose file it cannot read: the library asks again without end.
        """
        heard_ms = self.last_poll_timestamp(place)
        return inf if heard_ms is None else max(0.0, time.time() - heard_ms / 1000)  # noqa: TID251 - the stamps of the library are of this clock

    async def shown(self, topics: Iterable[str]) -> None:
        """
        See that there are these topics, and that this user may see them.

        Raises:
            LogSilentError: One is not there, or this user may not see it (LogRefusedError).

        """
        for topic in topics:
            try:
                async with asyncio.timeout(_SHOWN_S):  # what was just made is not yet known to every broker
                    await self._client._wait_on_metadata(topic)  # noqa: SLF001 - the producer's way; there is no public one
            except (KafkaError, TimeoutError) as error:
                if isinstance(refused := unanswered(error), LogRefusedError):
                    raise refused from None
                raise LogSilentError(
                    f"Kafka has no topic {topic}, or does not answer ({type(error).__name__})"
                ) from None

    async def beginning_offsets(self, partitions: Sequence[TopicPartition]) -> Any:
        """Of topics that are shown."""
        await self.shown(place.topic for place in partitions)
        return await super().beginning_offsets(partitions)

    async def end_offsets(self, partitions: Sequence[TopicPartition]) -> Any:
        """Of topics that are shown."""
        await self.shown(place.topic for place in partitions)
        return await super().end_offsets(partitions)


def consumer(
    servers: str,
    options: Mapping[str, Any],
    *,
    group: str | None,
    max_wait_ms: int = 10,
    session_ms: int = 45_000,
    fetch_bytes: int = 4 << 20,
    assignor: type[AbstractPartitionAssignor] = RangePartitionAssignor,
) -> Any:
    """A consumer of ours: it resets no offset and commits none by itself; members of a release before know the range assignor alone."""
    return Consumer(
        servers,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="none",
        partition_assignment_strategy=tuple(dict.fromkeys((assignor, RangePartitionAssignor))),
        session_timeout_ms=session_ms,
        heartbeat_interval_ms=min(3_000, session_ms // 3),
        max_poll_interval_ms=600_000,
        rebalance_timeout_ms=600_000,
        fetch_max_wait_ms=max_wait_ms,
        fetch_max_bytes=REQUEST_BYTES * 2,
        max_partition_fetch_bytes=fetch_bytes,
        **{"metadata_max_age_ms": _METADATA_MS} | connecting(options),
    )


@asynccontextmanager
async def asking(servers: str, options: Mapping[str, Any]) -> AsyncGenerator[Any, None]:
    """A consumer without a group, for as long as a question takes; what the library raises meanwhile comes out as ours."""
    reader = consumer(servers, options, group=None)
    try:
        await reader.start()
        yield reader
    except (KafkaError, OSError, TimeoutError) as error:
        raise unanswered(error) from None
    finally:
        await reader.stop()


Cut = Callable[[TopicPartition, int, int], None]
"""Is told of a partition that records from an offset up to another were cut off it before they were read."""


async def handed(
    reader: Any, *places: TopicPartition, most: int | None = None, cut: Cut = lambda _place, _from, _to: None
) -> dict[TopicPartition, list[Any]]:
    """What a reader without a group is handed next; what was cut off before it came is passed over: it is not there to be read."""
    try:
        found: dict[TopicPartition, list[Any]] = await reader.getmany(*places, timeout_ms=200, max_records=most)
    except NoOffsetForPartitionError:  # between the assignment and the seek
        return {}
    except OffsetOutOfRangeError as error:
        firsts = await reader.beginning_offsets(list(error.args[0]))
        if all(firsts[place] <= at for place, at in error.args[0].items()):
            raise
        for place, at in error.args[0].items():
            reader.seek(place, max(at, firsts[place]))
            if firsts[place] > at:
                cut(place, at, firsts[place])
        return {}
    return found


async def read_all(servers: str, options: Mapping[str, Any], topic: str, partitions: Sequence[int]) -> list[Any]:
    """
    Every record of some partitions up to their present ends, as an outsider reads them.

    Raises:
        LogSilentError: Kafka does not answer; nothing of what was read is used.

    """
    records: list[Any] = []
    await read_each(servers, options, topic, partitions, records.append)
    return records


async def read_each(
    servers: str, options: Mapping[str, Any], topic: str, partitions: Sequence[int], visit: Callable[[Any], None]
) -> dict[int, tuple[int, int]]:
    """
    Hand out every record of some partitions, from the beginning to the present ends, `read_uncommitted`.

    Returns:
        By partition: the first offset, and the end as it was captured before the first record was read.

    Raises:
        LogSilentError: Kafka does not answer; what was handed out is not all there is.

    """
    async with asking(servers, options) as reader:
        return await _read_up(reader, topic, partitions, visit)


async def _read_up(
    reader: Any, topic: str, partitions: Sequence[int], visit: Callable[[Any], None]
) -> dict[int, tuple[int, int]]:
    places = [TopicPartition(topic, partition) for partition in partitions]
    reader.assign(places)
    async with asyncio.timeout(_SILENT_S):
        ends = await reader.end_offsets(places)
        await reader.seek_to_beginning(*places)
        starts = {place: await reader.position(place) for place in places}
    waiting = {place for place in places if ends[place] > starts[place]}
    before, since = dict(starts), time.monotonic()
    while waiting:
        for found in (await handed(reader, *waiting)).values():
            for record in found:
                visit(record)
        at = {place: await asyncio.wait_for(reader.position(place), _SILENT_S) for place in waiting}
        if at != before:
            before, since = at, time.monotonic()
        elif time.monotonic() - since > _SILENT_S:
            raise TimeoutError
        waiting = {place for place in waiting if at[place] < ends[place]}
    return {place.partition: (starts[place], ends[place]) for place in places}


class Tail:
    """Follows partition 0 of a topic from its beginning, outside any group; connects when first asked."""

    def __init__(self, servers: str, options: Mapping[str, Any], topic: str) -> None:
        self._servers, self._options, self._place = servers, options, TopicPartition(topic, 0)
        self._reader: Any = None

    async def up_to_now(self) -> list[Any]:
        """
        Every record from the beginning to the present end.

        Raises:
            LogSilentError: Kafka does not answer; ask again.

        """
        await self.stop()
        self._reader = consumer(self._servers, self._options, group=None, max_wait_ms=500)
        records: list[Any] = []
        try:
            await self._reader.start()
            partitions = [self._place.partition]
            await asyncio.wait_for(_read_up(self._reader, self._place.topic, partitions, records.append), _READ_S)
        except (KafkaError, OSError, TimeoutError) as error:
            raise unanswered(error) from None
        return records

    async def more(self) -> list[Any]:
        """What has arrived since; nothing while Kafka is away."""
        try:
            found = await self._reader.getmany(timeout_ms=0)
        except KafkaError as error:
            raise unanswered(error) from None
        return [record for records in found.values() for record in records]

    async def stop(self) -> None:
        """Disconnect."""
        reader, self._reader = self._reader, None
        if reader is not None:
            await reader.stop()


async def units(
    servers: str,
    options: Mapping[str, Any],
    topic: str,
    starts: Mapping[int, int],
    most: int,
    cut: Cut = lambda _place, _from, _to: None,
) -> AsyncGenerator[tuple[dict[int, int], list[Any]], None]:
    """
    The committed records of a topic, up to `most` at a time, from `starts` (or what is left there) to the present ends.

    With each, where every partition goes on behind it: what compaction or an aborted transaction left empty counts as read.

    Raises:
        LogSilentError: Kafka does not answer; go on from the last positions.

    """
    async with asking(servers, {**options, "isolation_level": "read_committed"}) as reader:
        places = [TopicPartition(topic, partition) for partition in starts]
        reader.assign(places)
        firsts, ends = await reader.beginning_offsets(places), await reader.end_offsets(places)
        at = {place: max(firsts[place], min(starts[place.partition], ends[place])) for place in places}
        for place, offset in at.items():
            reader.seek(place, offset)
            if 0 < starts[place.partition] < firsts[place]:
                cut(place, starts[place.partition], firsts[place])
        while waiting := [place for place in places if at[place] < ends[place]]:
            found = await asyncio.wait_for(handed(reader, *waiting, most=most, cut=cut), _ACK_S)
            at = {place: await reader.position(place) for place in places}
            records = [record for each in found.values() for record in each]
            yield {place.partition: offset for place, offset in at.items()}, records


async def fetch(
    servers: str, options: Mapping[str, Any], topic: str, partition: int, places: Mapping[bytes, int]
) -> dict[bytes, bytes]:
    """
    The values of some records by key; `places` says at which offset each lies. What is no longer there is left out.

    Raises:
        LogSilentError: Kafka does not answer.

    """
    found: dict[bytes, bytes] = {}
    if not places:
        return found
    async with asking(servers, options) as reader:
        await asyncio.wait_for(_fetch(reader, TopicPartition(topic, partition), places, found), _READ_S)
    return found


async def _fetch(reader: Any, place: TopicPartition, places: Mapping[bytes, int], found: dict[bytes, bytes]) -> None:
    """Read forward through the wanted offsets; a long way to the next one is jumped over."""
    reader.assign([place])
    end = (await reader.end_offsets([place]))[place]
    wanted = {offset: key for key, offset in places.items()}
    for offset in sorted(wanted):
        at = await reader.position(place) if found else -1
        if not at <= offset <= at + _NEAR or at < 0:
            reader.seek(place, offset)
        while await reader.position(place) <= offset < end:
            for records in (await handed(reader, place)).values():
                for record in records:
                    key = wanted.get(record.offset)
                    if key is not None and key == record.key and record.value is not None:
                        found[key] = record.value


async def followed(
    reader: Any, starts: Callable[[], Awaitable[Mapping[TopicPartition, int]]], most: int
) -> AsyncGenerator[dict[TopicPartition, list[Any]], None]:
    """
    What a worker would be handed, without a group, up to the ends as they are at the start; `starts` is asked once connected.

    Raises:
        LogSilentError: Kafka does not answer.

    """
    try:
        await reader.start()
        places = await starts()
        reader.assign(list(places))
        for place, offset in places.items():
            reader.seek(place, offset)
        ends = await reader.end_offsets(list(places))
        waiting = [place for place in places if places[place] < ends[place]]
        while waiting:
            found = await asyncio.wait_for(handed(reader, *waiting, most=most), _ACK_S)
            if found:
                yield found
            waiting = [place for place in waiting if await reader.position(place) < ends[place]]
    except (KafkaError, OSError, TimeoutError) as error:
        raise unanswered(error) from None
    finally:
        await reader.stop()


async def tail(
    servers: str, options: Mapping[str, Any], topic: str, partition: int, start: int, most: int
) -> tuple[list[Any], int, int]:
    """
    About `most` records of a partition from an offset on, the offset after them, and the end.

    Raises:
        LogSilentError: Kafka does not answer.

    """
    found: list[Any] = []
    async with asking(servers, options) as reader:
        after, end = await asyncio.wait_for(
            _tail(reader, TopicPartition(topic, partition), start, most, found), _READ_S
        )
    return found, after, end


async def _tail(reader: Any, place: TopicPartition, start: int, most: int, found: list[Any]) -> tuple[int, int]:
    reader.assign([place])
    end = (await reader.end_offsets([place]))[place]
    reader.seek(place, start)
    while (after := await reader.position(place)) < end and len(found) < most:
        for records in (await handed(reader, place)).values():
            found += records
    return after, end


async def offset_at(servers: str, options: Mapping[str, Any], topic: str, partition: int, at_ms: int) -> int:
    """
    The first offset of a partition that was appended at or after a time; the end where there is none.

    Raises:
        LogSilentError: Kafka does not answer.

    """
    place = TopicPartition(topic, partition)
    async with asking(servers, options) as reader:
        await reader.shown([topic])
        found = (await reader.offsets_for_times({place: at_ms}))[place]
        return int((await reader.end_offsets([place]))[place] if found is None else found.offset)


def tenant_partition(tenant: str, partitions: int) -> int:
    """Where every client's default partitioner puts the key of a tenant."""
    return int((murmur2(tenant.encode()) & 0x7FFFFFFF) % partitions)


async def offsets(reader: Any, topic: str, partitions: Sequence[int], *, end: bool) -> dict[int, int]:
    """
    The first or the next offset of some partitions.

    Raises:
        LogSilentError: Kafka does not answer.

    """
    places = [TopicPartition(topic, partition) for partition in partitions]
    try:
        found = await (reader.end_offsets(places) if end else reader.beginning_offsets(places))
    except (KafkaError, OSError) as error:
        raise unanswered(error) from None
    return {place.partition: int(offset) for place, offset in found.items()}


async def position(reader: Any, topic: str, partition: int) -> int:
    """The offset that the consumer hands out next; what compaction emptied counts as read."""
    return int(await reader.position(TopicPartition(topic, partition)))
