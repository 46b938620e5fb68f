"""The log as its administrator sees it."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from calllog_guard.core.stream.beginnings import Committed, Extent, Shape
from calllog_guard.ports.log import Place


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
        """What each page shows; None where it is silent or shows no cleaner: nothing is known of that broker."""


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
    """What a trim did to a partition: whether it was cut, and how many records consumed by all are still there."""

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
