"""What the ingest works with, beside what all workers share."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from calllog_guard.core.records import Output
from calllog_guard.core.sources.notification import Notification
from calllog_guard.core.webhooks.intake import IngestSource
from calllog_guard.workers.context import WorkerContext


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestContext(WorkerContext):
    """
    What the ingest works with.

    Args:
        sources: Of `ingest.toml`, by name.
        events: The topic in force for the tenant's events.
        partitions: How many partitions a topic has.
        place: The partition of a key, among so many: that of Java's partitioner.
        moment: The sealed record of a notification of a source.

    """

    sources: Mapping[str, IngestSource]
    events: Callable[[], str]
    partitions: Callable[[str], Awaitable[int]]
    place: Callable[[bytes, int], int]
    moment: Callable[[str, Notification], Output]
