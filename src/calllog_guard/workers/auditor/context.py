"""What the parts of an auditor share."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from calllog_guard.core.audit.absence import Look
from calllog_guard.core.stream.anchor import Anchor
from calllog_guard.ports.administration import Cleaners, Extents, Topics
from calllog_guard.workers.context import WorkerContext
from calllog_guard.workers.keys.restore_guard import RestoreGuard
from calllog_guard.workers.keys.rotation import Walked


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditorContext(WorkerContext):
    """
    What an auditor works with.

    Args:
        events: The topics of events now.
        disks: Looks for names in the files of a partition's replicas on this machine.
        walked: Walks the keystore once.

    """

    admin: Topics
    extents: Extents
    events: Callable[[], Sequence[str]]
    disks: Callable[[str, int, list[bytes]], list[Look]]
    cleaners: Cleaners
    walked: Callable[[], Awaitable[Walked]]
    anchor: Anchor | None = None

    @property
    def guard(self) -> RestoreGuard:
        """The restore guard."""
        return self.ring.guard
