"""Steps at which a test may stop a worker: between any two of its writes it must be able to die."""

import os
import signal

from calllog_guard.settings import CRASH_AT, STOP_AT


class CrashPoints:
    """Named steps of the protocols, at which a test may have the process killed or frozen; no effect in production."""

    def __init__(self, off: frozenset[str]) -> None:
        self._at = next((word.removeprefix(CRASH_AT) for word in off if word.startswith(CRASH_AT)), None)
        self._stop_at = next((word.removeprefix(STOP_AT) for word in off if word.startswith(STOP_AT)), None)

    def reached(self, step: str) -> None:
        """Die or stand still here, if a test asked for it."""
        if step == self._at:
            os.kill(os.getpid(), signal.SIGKILL)
        if step == self._stop_at:
            self._stop_at = None
            os.kill(os.getpid(), signal.SIGSTOP)
