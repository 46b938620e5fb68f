"""What the worker of sessions works with, beside what all workers share."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from calllog_guard.core.sessions.moment import NamingKey
from calllog_guard.ports.log import Place
from calllog_guard.ports.state import Rows
from calllog_guard.workers.context import WorkerContext
from calllog_guard.workers.keys.tenants.moment_sealing import MomentOpener


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionsContext(WorkerContext):
    """
    What pairs joins and leaves.

    Args:
        names: The tenant's key for the names of calls and sessions.
        open_rows: Opens the rows of a partition.  Raises IndexHeldError: another process has them.
        id_of: Kafka's id of a topic, as it was at the last assignment.
        events: The topic to which events go, with how many partitions it has now.

    """

    names: NamingKey
    opener: MomentOpener
    open_rows: Callable[[Path], Rows]
    id_of: Callable[[str], str]
    events: Callable[[], Awaitable[Place]]
