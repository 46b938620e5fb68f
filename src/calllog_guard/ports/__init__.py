"""
What the workers need of the world, each as small as its use.

Each port has a contract suite in `tests/contract/`, run on the shipped fake and on the real thing.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from enum import IntEnum
from typing import Final, NamedTuple, Protocol

import msgspec

from calllog_guard.core.crypto.subject_secrets import Secret
from calllog_guard.core.records import Output
from calllog_guard.core.stream.arrival import Arrival
from calllog_guard.core.stream.beginnings import Committed, Extent, Shape

WATCHED_MOST: Final = 512
"""Entries that a keystore can compare at once; more are compared in portions, each by itself."""


class Clock(Protocol):
    """The one way in for time."""

    def now(self) -> datetime:
        """The time, aware, UTC."""


class Keystore(Protocol):
    """
    Where every secret about a person lies; entries are opaque bytes here.

    Every method raises KeystoreSilentError when no answer came: then nothing is known, and the caller waits;
    KeystoreForbiddenError, which is one, where the user of this process has no right to it (`core/rights/grants.py`).
    However many keys a call names, the store goes on answering others meanwhile.
    """

    async def read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The entries, in order; None means that there is none."""

    async def origin(self, keys: Sequence[bytes]) -> tuple[bytes, list[bytes | None]]:
        """The entries, with the name of the run of the store that gave them: another after a restart or failover."""

    def scan(self, start: bytes) -> AsyncIterator[list[bytes]]:
        """The keys that begin with `start`, in batches; what comes or goes meanwhile may be missed or met twice."""

    async def put(self, entries: Mapping[bytes, bytes]) -> None:
        """Write entries; durable on return."""

    async def put_new(self, entries: Mapping[bytes, bytes]) -> bool:
        """Write entries where none of their keys has one, else nothing (of one portion) and False; durable on return."""

    async def swap(
        self, changes: Mapping[bytes, tuple[bytes | None, bytes]], unchanged: Mapping[bytes, bytes | None]
    ) -> bool:
        """
        Write all of `changes` if each entry, and each of `unchanged`, is still as expected; else nothing and False.

        Raises ValueError above WATCHED_MOST entries, those of `unchanged` included.
        """

    async def delete(self, keys: Sequence[bytes]) -> None:
        """Remove entries; durable on return."""

    async def drop(self, key: bytes, unchanged: Mapping[bytes, bytes | None]) -> bool:
        """Remove an entry if each of `unchanged` is still as expected; else nothing and False."""

    async def rewrite(self) -> None:
        """Make sure that what was deleted before this call is in none of the store's files; returns when it is so."""

    async def check(self) -> None:
        """
        Whether the store keeps and forgets as promised.

        Raises:
            KeystoreUnsafeError: Which setting, found and wanted; the worker does not start.

        """

    async def close(self) -> None:
        """Close connections."""


class Kms(Protocol):
    """
    Wrapping keys, one per epoch; off the hot path, synchronous, each answer within seconds.

    Every method raises KmsSilentError when no answer came, or none that says anything about the epoch: wait; KmsForbiddenError, which
    is one, where the KMS lets these credentials not use the key.
    """

    @property
    def delay_days(self) -> int:
        """How long after a destruction someone with every right over the KMS could still take it back."""

    def create_epoch(self, name: str) -> None:
        """Make the epoch's key; nothing happens when it exists."""

    def wrap(self, name: str, secret: Secret) -> bytes:
        """The secret under the epoch's key. Raises EpochUnknownError."""

    def unwrap(self, name: str, blob: bytes) -> Secret:
        """The secret again. Raises EpochUnknownError when destroyed, EntryCorruptError when changed."""

    def epochs(self) -> list[str]:
        """The names whose key is alive."""

    def destroy_epoch(self, name: str) -> None:
        """Forget the epoch's key; nothing wrapped under it opens again."""


class Ring(Protocol):
    """
    Where wrapped blobs lie: beside the KMS, never in the keystore, or a backup of it would hold them.

    Every method raises KmsSilentError when the place does not answer.
    """

    def get(self, name: str) -> bytes | None:
        """The blob of a name."""

    def put_new(self, name: str, blob: bytes) -> bool:
        """Store a blob unless one is there; whether it was stored."""

    def remove(self, name: str) -> None:
        """Remove a blob, whether it is there or not."""


class Writer(Protocol):
    """Writes records and returns when every one is acknowledged by all in-sync replicas."""

    async def write(self, outputs: Sequence[Output]) -> None:
        """
        Write in order per partition.

        Raises:
            LogSilentError: Some may be written, some not (UnacknowledgedError, withdrawn), or none; the unit is done again.
            OutputTooLargeError: One is larger than its topic takes; the message is at fault.
            LogFaultError: A topic refuses what it must take.

        """

    async def withdraw(self) -> None:
        """Give up what is not acknowledged: nothing of it is sent from now on. The next write is as good as the first."""


class LegFacts(msgspec.Struct, frozen=True):
    """What decides when a leg falls due: the day of its call, its purposes, the policy it was sealed under; and where it lies."""

    day: date
    mask: int
    policy: str
    offset: int = 0


class Pending(msgspec.Struct, frozen=True):
    """A decision that waits for its barrier, an offset of the legs; `offset` is its own place in the ledger."""

    decision: bytes
    barrier: int
    offset: int = 0


class Position(msgspec.Struct, frozen=True):
    """Up to where both topics are in the index, which topics they were, when that was (milliseconds), and the rows' form."""

    legs: int
    decisions: int
    topics: str
    at_ms: int
    form: int = 1


class Index(Protocol):
    """The keeper's index of one partition; changes gather until `commit`. Raises IndexFaultError: rebuild it."""

    def put(self, key: bytes, facts: LegFacts) -> None:
        """A leg is there."""

    def remove(self, key: bytes) -> None:
        """A leg is gone."""

    def pend(self, key: bytes, pending: Pending) -> None:
        """Note a decision that waits."""

    def unpend(self, key: bytes) -> None:
        """A decision is done."""

    def commit(self, position: Position) -> None:
        """Write everything since the last commit, with the position, at once."""

    def position(self) -> Position | None:
        """Up to where the index is."""

    def facts(self, key: bytes) -> LegFacts | None:
        """What is known of a leg."""

    def legs_of(self, pseudonym: str) -> list[tuple[LegFacts, bytes]]:
        """Facts and record keys of a person's legs."""

    def legs_after(self, pseudonym: str, key: bytes, most: int) -> list[tuple[LegFacts, bytes]]:
        """As `legs_of`, in the order of their keys: so many at most of those behind `key`."""

    def people_after(self, pseudonym: str, most: int) -> list[str]:
        """The pseudonyms that have legs, in their order: so many at most of those behind one; costs a look-up each."""

    def pending(self) -> dict[bytes, Pending]:
        """Decisions that wait, by ledger key, in the order of the ledger."""

    def by_day(self) -> Iterator[tuple[LegFacts, bytes]]:
        """Facts (without the place) and record keys, the oldest day first."""

    def groups(self) -> Iterator[LegFacts]:
        """The different facts, the oldest day first; costs a look-up each, however many legs share them."""

    def keys_with(self, facts: LegFacts) -> Iterator[bytes]:
        """The record keys of the legs with these facts."""

    def forget(self) -> None:
        """Make sure that removed rows leave the files."""

    def close(self) -> None:
        """Close the files."""

    def destroy(self) -> None:
        """Close and delete the files."""


class Rows(Protocol):
    """Sorted rows of bytes that survive a restart. Raises IndexFaultError: delete them, they are made anew."""

    def write(self, rows: Mapping[bytes, bytes]) -> None:
        """Put rows, all or none."""

    def get(self, key: bytes) -> bytes | None:
        """One row."""

    def begin(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The rows whose keys begin so, in their order."""

    def close(self) -> None:
        """Let go of the files."""

    def destroy(self) -> None:
        """Delete the files."""


class Cleaner(msgspec.Struct, frozen=True):
    """What a broker shows of its log cleaner: partitions it gave up, threads that died, its worst delay (seconds)."""

    uncleanable: int
    dead: int
    delay_s: int

    @property
    def works(self) -> bool:
        """Whether it cleans every partition."""
        return not self.uncleanable and not self.dead


class Cleaners(Protocol):
    """The log cleaners of the brokers, where the brokers show them."""

    async def look(self) -> list[Cleaner | None]:
        """What each page shows; None where it is silent or shows no cleaner, so that nothing is known of that broker."""


class Finding(Protocol):
    """One governed setting, wanted and found."""

    @property
    def topic(self) -> str:
        """Whose it is: a topic, or `broker N`."""

    @property
    def setting(self) -> str:
        """Its name."""

    @property
    def good(self) -> bool:
        """Whether it is as it must be."""

    @property
    def withholds(self) -> bool:
        """Whether nothing can be certified while it is not."""


class Trim(msgspec.Struct, frozen=True):
    """What a trim did to a partition: whether it was cut, and how many records that all had consumed are still there."""

    cut: bool
    behind: int


class Topics(Protocol):
    """
    The log as its administrator sees it. Synchronous: call it in a thread.

    Every method raises LogSilentError when Kafka does not answer, or refuses.
    """

    def check(self, keep_days: int, events: Sequence[str]) -> Sequence[Finding]:
        """Each governed setting of each topic, those of events by their names, and of each broker, wanted and found."""

    def replicas(self, topic: str) -> dict[int, tuple[int, int]]:
        """By partition: how many replicas there are, and how many are in sync."""

    def trim(self, topic: str, partitions: Sequence[int], groups: Sequence[str], before_ms: int) -> dict[int, Trim]:
        """Cut what every group has committed and what is older than `before_ms`; what was done, by partition."""

    def kept_ms(self, topics: Sequence[str]) -> dict[str, int]:
        """Their `retention.ms`; of who keeps for ever, none."""

    def keep(self, topic: str, retention_ms: int) -> None:
        """Set its `retention.ms`."""

    def blocked(self, topic: str, partitions: Sequence[int]) -> list[int]:
        """Partitions in which an open transaction holds compaction back."""


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
        """As `read_all`, handed out; by partition the first offset, and the end as it was before the first record was read."""

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

        With each, where partitions go on behind it: what compaction or an aborted transaction left empty counts as read.

        Args:
            committed: Without what a transaction has not committed.

        """


class Extents(Protocol):
    """Topics as Kafka shows them; as `Topics`, synchronous, with LogSilentError."""

    def shapes(self, topics: Sequence[str]) -> dict[str, Shape]:
        """The topics that there are."""

    def extents(self, topics: Mapping[str, Shape]) -> dict[Place, Extent]:
        """Where each partition begins and ends."""

    def committed(self, group: str, topics: Mapping[str, Shape]) -> dict[Place, Committed]:
        """What a group has committed; what it has not, or Kafka has forgotten, is left out."""

    def since(self, times_ms: Mapping[Place, int]) -> dict[Place, int]:
        """The first offset appended at or after a time, by partition; where there is none, none."""

    def close(self) -> None:
        """Disconnect."""


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
    """A member of a consumer group, which commits and moves nowhere by itself. Methods that ask raise LogSilentError."""

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


class Shown(IntEnum):
    """Whether a leg is downstream: hidden (restricted, objected to, not consented), there, or handed out and perhaps there."""

    HIDDEN = 0
    THERE = 1
    PERHAPS = 2


class ShownLeg(msgspec.Struct, frozen=True, gc=False):
    """
    A leg, or the copy of one, that a follower was shown, or may be shown later.

    Args:
        name: Of its person in the log, or of the hold that keeps the copy; `token` names the leg, and its copy too.
        offset: Where in its partition it lies.
        day: Of the call's start, and `policy` the version it was sealed under: what decides when it lapses.

    """

    name: str
    token: str
    partition: int
    offset: int
    day: str
    policy: str
    shown: Shown


class Bookmark(msgspec.Struct, frozen=True):
    """
    Up to where a follower has read, and for whom.

    Args:
        reading: What is read and how it is meant (tenant, topic, purpose, fields); another meaning starts anew.
        offsets: By topic and partition.
        whole_ms: Everything that was appended before this moment has been read.

    """

    reading: tuple[str, ...]
    offsets: dict[str, dict[int, int]]
    whole_ms: int


class Cursor(Protocol):
    """What a follower remembers between two starts. Raises ConfigurationError: the file is no cursor, or in use."""

    def bookmark(self) -> Bookmark | None:
        """Up to where; None in a new one."""

    def at(self, name: str, tokens: Sequence[str]) -> list[ShownLeg]:
        """Some legs of one name, as far as they are remembered."""

    def of(self, names: Sequence[str]) -> list[ShownLeg]:
        """Every leg of some people."""

    def names_after(self, name: str, most: int) -> list[str]:
        """The next names of people in their order, each once."""

    def days(self) -> list[tuple[str, str]]:
        """The days, each with policy version, that the legs have."""

    def of_day(self, day: str, policy: str) -> list[ShownLeg]:
        """Every leg of a day that was sealed under a version."""

    def save(self, bookmark: Bookmark, kept: Sequence[ShownLeg], dropped: Sequence[tuple[str, str]]) -> None:
        """Write all of it at once, durably: legs that are there (again), and names and tokens that must be forgotten."""

    def clear(self) -> None:
        """Forget everything."""

    def close(self) -> None:
        """Close the file."""
