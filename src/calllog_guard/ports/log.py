"""The log, as it is read, written, and taken part in."""

from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from calllog_guard.core.records import Output
from calllog_guard.core.stream.arrival import Arrival


class Writer(Protocol):
    """Writes records and returns when every one is acknowledged by all in-sync replicas."""

    async def write(self, outputs: Sequence[Output]) -> None:
        """
        Write in order per partition.

        Raises:
            LogSilentError: Some are perhaps written (UnacknowledgedError, withdrawn), or none; the unit is done again.
            OutputTooLargeError: One is larger than its topic takes; the message is at fault.
            LogFaultError: A topic refuses what it must take.

        """

    async def withdraw(self) -> None:
        """Give up what is not acknowledged: nothing of it is sent from now on. The next write is as good as a first."""


Place = tuple[str, int]
"""A topic and one of its partitions."""


class TopicPartition(NamedTuple):
    """A Place whose parts have names."""

    topic: str
    partition: int


Positions = Mapping[TopicPartition, int]
Portion = Mapping[TopicPartition, Sequence[Arrival]]
Wanted = Callable[[Arrival], bool]
Cut = Callable[[TopicPartition, int, int], None]
"""Is told of a partition that records from an offset up to another were cut off it before they were read."""


def ignored(_place: TopicPartition, _from: int, _to: int) -> None:
    """Nobody is told what was cut off."""


class Log(Protocol):
    """
    A log as it is read without a group, `read_uncommitted`, a question at a time.

    Every method raises LogSilentError when Kafka does not answer: nothing of what was read is all there is.
    """

    async def starts(self, topic: str, partitions: Sequence[int]) -> dict[int, int]:
        """The first offset of each partition."""

    async def ends(self, topic: str, partitions: Sequence[int]) -> dict[int, int]:
        """The offset of each partition that is written next."""

    async def offset_at(self, topic: str, partition: int, at_ms: int) -> int:
        """The first offset that was appended at or after a time; the end where there is none."""

    async def read_all(self, topic: str, partitions: Sequence[int]) -> list[Arrival]:
        """Every record up to the present ends, as an outsider reads them."""

    async def read_each(
        self, topic: str, partitions: Sequence[int], visit: Callable[[Arrival], object]
    ) -> dict[int, tuple[int, int]]:
        """As `read_all`, handed out; by partition the first offset, and the end as before the first record was read."""

    async def tail(self, topic: str, partition: int, start: int, most: int) -> tuple[list[Arrival], int, int]:
        """About `most` records from an offset on, the offset after them, and the end."""

    async def fetch(self, topic: str, partition: int, places: Mapping[bytes, int]) -> dict[bytes, bytes]:
        """Values by key; `places` says at which offset each lies. What is no longer there is left out."""

    async def newest(self, topic: str, partitions: Sequence[int], wanted: Wanted) -> list[Arrival]:
        """The newest record that is wanted in each partition that has one, looked for from the end backwards."""

    def portions(
        self, starts: Positions, most: int, *, committed: bool = False, cut: Cut = ignored
    ) -> AsyncGenerator[tuple[Positions, Portion], None]:
        """
        Up to `most` records at a time, from `starts` (or what is left there) to the present ends.

        With each, where partitions go on behind it: what compaction or an aborted transaction emptied counts as read.

        Args:
            committed: Without what a transaction has not committed.

        """


class Record(Protocol):
    """One record of a topic, as the client library hands it out."""

    @property
    def topic(self) -> str:
        """Where it lies."""

    @property
    def partition(self) -> int:
        """See topic."""

    @property
    def offset(self) -> int:
        """See topic."""

    @property
    def key(self) -> bytes | None:
        """Its key."""

    @property
    def value(self) -> bytes | None:
        """Its value; None is a tombstone."""


class GroupConsumer(Protocol):
    """A member of a consumer group, which commits and moves only when told. Methods that ask raise LogSilentError."""

    async def start(self) -> None:
        """Connect."""

    async def stop(self) -> None:
        """Take leave of the group, and disconnect."""

    async def shown(self, topics: Iterable[str]) -> None:
        """See that there are these topics, and that this user may see them."""

    def subscribe(self, topics: Sequence[str], listener: "GroupListener") -> None:
        """Take part; the listener is told of what this member gets and loses."""

    async def getmany(self, *, timeout_ms: int, max_records: int) -> Portion:
        """What comes next; nothing when nothing came in time. Raises OffsetsGoneError."""

    def seek(self, place: TopicPartition, offset: int) -> None:
        """Go on from there."""

    async def position(self, place: TopicPartition) -> int:
        """The offset that is handed out next; what compaction emptied counts as read."""

    def highwater(self, place: TopicPartition) -> int | None:
        """The end of a partition, as far as it is known."""

    def unheard_s(self, place: TopicPartition) -> float:
        """Seconds since Kafka last answered for a partition."""

    async def commit(self, offsets: Positions) -> None:
        """Say up to where was read."""


class GroupListener(Protocol):
    """Who takes part in a consumer group; what it raises is only logged."""

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        """These are no longer read."""

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """These are read from now on."""


class LogReader(Protocol):
    """Some partitions, read without a group. Every method raises LogSilentError: wait, then assign anew."""

    async def assign(self, places: Mapping[Place, int]) -> None:
        """Read these partitions, and no others, from these offsets on."""

    async def poll(self, most: int) -> Sequence[Record]:
        """Up to `most` next records, in order per partition; none when nothing came for a moment."""

    async def positions(self) -> dict[Place, int]:
        """The offset that comes next, by partition; what compaction emptied counts as read."""

    async def bounds(self, places: Sequence[Place]) -> dict[Place, tuple[int, int]]:
        """The first offset that is there and the next that will be written."""

    async def fetch(self, place: Place, offsets: Sequence[int]) -> list[Record]:
        """The records at these offsets, as far as they are still there; what is assigned is not disturbed."""
