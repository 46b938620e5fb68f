"""What the page of a process says of it: alive, ready, and in words why not."""

from typing import Final, Protocol

from calllog_guard.workers.runtime.process.pulse import Pulse

KAFKA: Final = "Kafka"
KEYSTORE: Final = "the keystore"


class WorkHealth(Protocol):
    """What a process does, as far as its health goes."""

    @property
    def alive(self) -> bool:
        """Whether it moves, or has waited for less than RETRY_MAX_S."""

    @property
    def ready(self) -> bool:
        """Whether it has taken up its work and does not wait."""

    @property
    def why(self) -> list[str]:
        """What keeps it from being so, in words."""


class Health:
    """
    A process' health: its work's, and that of the servers without which no work is done.

    Args:
        work: None while the process has not taken it up.

    """

    def __init__(self, pulse: Pulse, work: WorkHealth | None = None) -> None:
        self._pulse, self.work = pulse, work

    @property
    def alive(self) -> bool:
        """Whether the committed offset can move."""
        return not self._pulse.silent and (self.work is None or self.work.alive)

    @property
    def ready(self) -> bool:
        """Whether work that came now would be done."""
        return not self._pulse.silent and self.work is not None and self.work.ready

    @property
    def why(self) -> str:
        """Why it is not alive, or not ready; nothing when it is both."""
        if self.alive and self.ready:
            return ""
        work = ["it has not taken up its work yet"] if self.work is None else self.work.why
        return "; ".join([*self._pulse.silent.values(), *work])

    @property
    def blind(self) -> bool:
        """Whether nothing is known of the log: what is behind cannot be counted."""
        return KAFKA in self._pulse.silent
