"""
What a worker does on a schedule beside its units: one task per duty, never two of the same at once.

A duty that meets silence is tried again at its next turn, one that returns False soon; any other error is carried out and halts the
worker.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from calllog_guard.errors import Fate, GuardError

log: Final = structlog.get_logger()
_SOON_S: Final = 5.0


class Duty:
    """One thing to do every so often; the pause begins when the work has ended. False: it could not be done yet."""

    def __init__(self, name: str, every_s: float, work: Callable[[], Awaitable[bool | None]]) -> None:
        self.name, self._every_s, self._work = name, every_s, work
        self._task: asyncio.Task[bool | None] | None = None
        self._due = 0.0

    async def _run(self) -> bool | None:
        return await self._work()

    def poll(self) -> None:
        """
        Start the work if it is due, and take its result if it has ended.

        Raises:
            GuardError: The work ended in something that is not silence.

        """
        now = asyncio.get_running_loop().time()
        if self._task is not None and self._task.done():
            task, self._task = self._task, None
            self._due = now + self._every_s
            try:
                if task.result() is False:
                    self._due = now + min(_SOON_S, self._every_s)
            except GuardError as error:
                if error.fate is not Fate.RETRY:
                    raise
                log.warning("duty waits", duty=self.name, why=str(error))
        if self._task is None and now >= self._due:
            self._task = asyncio.create_task(self._run(), name=self.name)
