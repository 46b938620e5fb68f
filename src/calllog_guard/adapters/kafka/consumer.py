"""
The client library's consumer, made safe: every start and end is bounded, its errors come out as ours, places are ours.

Rules: 1. Only topics of events are read `read_committed`: ours hold no transactions, and a hanging one would hide from
          us what an outsider sees.  2. It resets no offset and commits none by itself.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from math import inf
from typing import Any, Final, cast

import aiokafka
from aiokafka import AIOKafkaConsumer
from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import KafkaError, NoOffsetForPartitionError, OffsetOutOfRangeError, TopicAuthorizationFailedError

from calllog_guard.adapters.kafka.fetches import Fetcher, Unbroken, found_by
from calllog_guard.adapters.kafka.security import connecting, unanswered, unreached
from calllog_guard.adapters.process.endings import ended
from calllog_guard.core.stream.arrival import Arrival
from calllog_guard.core.stream.beginnings import MARK
from calllog_guard.errors import LogFaultError, LogRefusedError, LogSilentError, OffsetsGoneError
from calllog_guard.ports.log import Cut, GroupListener, Portion, Positions, TopicPartition, ignored

REQUEST_BYTES: Final = 26 << 20
_SHOWN_S: Final = 5.0
START_S: Final = 15.0
"""For a connection: the library would wait a minute and more for a server that takes it and says nothing."""
LEAVE_S: Final = 3.0
"""For taking leave; then the connection is dropped."""
_COMMIT_S: Final = 10.0
"""The library looks for the group's coordinator for ever."""
REBALANCE_MS: Final = 600_000
"""So long a group waits for a member whose unit is still running; longer than any unit."""
_METADATA_MS: Final = 10_000  # so soon are partitions seen that a topic of events gets
_POLL_MS: Final = 200
SILENT_S: Final = 60.0


class Consumer(AIOKafkaConsumer):  # type: ignore[misc]
    """The library's consumer, which says why it does not start, and what it may not see; the library asks for ever."""

    _begun = found_by(AIOKafkaConsumer.start, Fetcher=Fetcher)

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
                await self._begun()
        except (KafkaError, OSError) as error:
            raise await unreached(error, *self._asked) from None

    async def stop(self) -> None:
        """Take leave of the group, and disconnect: within seconds, whoever answers."""
        if not await ended(super().stop(), LEAVE_S):
            await ended(self._client.close(), LEAVE_S)

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """
        See the library; each offset bears our mark.

        Raises:
            LogSilentError: They are not committed.

        """
        marked = {aiokafka.TopicPartition(*place): (offset, MARK) for place, offset in offsets.items()}
        try:
            async with asyncio.timeout(_COMMIT_S):
                await super().commit(marked)
        except (KafkaError, OSError) as error:
            raise unanswered(error) from None

    def subscribe(self, topics: Sequence[str], listener: GroupListener) -> None:
        """Take part in the group; the listener is told of what it gets and loses."""
        super().subscribe(topics=list(topics), listener=_Told(listener))

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        """Read these partitions, and no others, outside any group."""
        super().assign([aiokafka.TopicPartition(*place) for place in partitions])

    async def getmany(
        self, *partitions: TopicPartition, timeout_ms: int = 0, max_records: int | None = None
    ) -> dict[TopicPartition, list[Arrival]]:
        """
        As the library's, in arrivals: nothing raises for what lies in the log; what does not hold is read again first.

        Raises:
            OffsetsGoneError: What was to be read next is not there.
            LogFaultError: The library reads no more, and would say nothing for ever: start anew.
            LogRefusedError: A right is gone; ask again.

        """
        self._whole()
        try:
            return await self._arrivals(partitions, timeout_ms, max_records)
        except NoOffsetForPartitionError:  # between the assignment and the seek
            return {}
        except OffsetOutOfRangeError as error:
            raise OffsetsGoneError({TopicPartition(*place): at for place, at in error.args[0].items()}) from None
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
        places = [aiokafka.TopicPartition(*place) for place in partitions]
        found = await super().getmany(*places, timeout_ms=timeout_ms, max_records=max_records)
        for place in [place for place, records in found.items() if self._unbroken.again(place, records)]:
            self.seek(place, found[place].pop().offset)
            if not found[place]:
                del found[place]
        return cast("dict[TopicPartition, list[Arrival]]", found)

    def unheard_s(self, place: TopicPartition) -> float:
        """
        Seconds since Kafka last answered for a partition, were it with nothing; without end when it never has.

        A broker may answer for all and refuse one partition, whose file it cannot read: the library asks without end.
        """
        heard_ms = self.last_poll_timestamp(place)
        return inf if heard_ms is None else max(0.0, time.time() - heard_ms / 1000)  # noqa: TID251 - its clock

    async def shown(self, topics: Iterable[str]) -> None:
        """
        See that there are these topics, and that this user may see them.

        Raises:
            LogSilentError: One is not there, or this user may not see it (LogRefusedError).

        """
        for topic in topics:
            try:
                async with asyncio.timeout(_SHOWN_S):  # what was just made is not yet known to every broker
                    await self._client._wait_on_metadata(topic)  # noqa: SLF001 - the producer's way; none is public
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


class _Told(aiokafka.ConsumerRebalanceListener):  # type: ignore[misc]
    """A listener of ours, as the library knows one."""

    def __init__(self, listener: GroupListener) -> None:
        self._listener = listener

    async def on_partitions_revoked(self, revoked: Iterable[Any]) -> None:
        """See GroupListener."""
        await self._listener.on_partitions_revoked([TopicPartition(*place) for place in revoked])

    async def on_partitions_assigned(self, assigned: Iterable[Any]) -> None:
        """See GroupListener."""
        await self._listener.on_partitions_assigned([TopicPartition(*place) for place in assigned])


@dataclass(frozen=True, slots=True)
class KafkaGroup:
    """How a consumer takes part in a group, by one assignor: with two the library joins twice."""

    name: str | None
    session_ms: int = 45_000
    assignor: type[AbstractPartitionAssignor] = RangePartitionAssignor


NOBODYS: Final = KafkaGroup(None)


def consumer(
    servers: str,
    options: Mapping[str, Any],
    group: KafkaGroup = NOBODYS,
    *,
    max_wait_ms: int = 10,
    fetch_bytes: int = 4 << 20,
) -> Consumer:
    """A consumer of ours, not yet started."""
    return Consumer(
        servers,
        group_id=group.name,
        enable_auto_commit=False,
        auto_offset_reset="none",
        partition_assignment_strategy=(group.assignor,),
        session_timeout_ms=group.session_ms,
        heartbeat_interval_ms=min(3_000, group.session_ms // 3),
        max_poll_interval_ms=600_000,
        rebalance_timeout_ms=REBALANCE_MS,
        fetch_max_wait_ms=max_wait_ms,
        fetch_max_bytes=REQUEST_BYTES * 2,
        max_partition_fetch_bytes=fetch_bytes,
        **{"metadata_max_age_ms": _METADATA_MS} | connecting(options),
    )


@contextmanager
def ours() -> Iterator[None]:
    """What the library raises meanwhile comes out as ours."""
    try:
        yield
    except (KafkaError, OSError) as error:
        raise unanswered(error) from None


@asynccontextmanager
async def asking(servers: str, options: Mapping[str, Any]) -> AsyncGenerator[Consumer, None]:
    """A consumer without a group, for as long as a question takes; the library's errors come out as ours."""
    reader = consumer(servers, options)
    try:
        with ours():
            await reader.start()
            yield reader
    finally:
        await reader.stop()


async def handed(reader: Consumer, *places: TopicPartition, most: int | None = None, cut: Cut = ignored) -> Portion:
    """What a reader without a group is handed next; what was trimmed before it came is passed over: it is gone."""
    try:
        return await reader.getmany(*places, timeout_ms=_POLL_MS, max_records=most)
    except OffsetsGoneError as error:
        firsts = await reader.beginning_offsets(list(error.places))
        if all(firsts[place] <= at for place, at in error.places.items()):
            raise
        for place, at in error.places.items():
            reader.seek(place, max(at, firsts[place]))
            if firsts[place] > at:
                cut(place, at, firsts[place])
        return {}


async def reading(
    reader: Consumer,
    starts: Positions,
    ends: Positions,
    *,
    most: int | None = None,
    cut: Cut = ignored,
    silent_s: float = SILENT_S,
) -> AsyncGenerator[tuple[Positions, Portion], None]:
    """
    What lies in assigned partitions from `starts` up to `ends`: a portion, and where each partition goes on behind it.

    What compaction, or an aborted transaction, left empty counts as read.

    Raises:
        TimeoutError: Nothing has moved for so long: a read may take as long as it takes, an answer may not.

    """
    for place, offset in starts.items():
        reader.seek(place, offset)
    at, since = starts, time.monotonic()
    while waiting := [place for place in at if at[place] < ends[place]]:
        async with asyncio.timeout(silent_s):
            found = await handed(reader, *waiting, most=most, cut=cut)
            reached = {place: await reader.position(place) for place in waiting}
        if found or any(reached[place] != at[place] for place in waiting):
            at, since = {**at, **reached}, time.monotonic()
            yield at, found
        elif time.monotonic() - since > silent_s:
            raise TimeoutError
