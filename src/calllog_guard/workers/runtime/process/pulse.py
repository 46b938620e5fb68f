"""
Whether the servers that everything here waits for answer at all, asked beside the work, which may itself be waiting.

Rules: 1. Silence is measured by the age of the last answer: a question that never comes back is silence too.
       2. A line when silence begins, ever fewer while it lasts, one when it ends.  3. Every vain question is a retry.
Source: pages that said alive, ready and no lag over a cluster that was gone for half an hour.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import structlog

from calllog_guard import telemetry
from calllog_guard.errors import GuardError
from calllog_guard.metrics import Counters, Increment

log: Final = structlog.get_logger()
_OFTEN: Final = 3
"""Questions in the time after which a server counts as silent."""


class Pulse:
    """
    Asks each server again and again.

    Args:
        asks: By the server's name: returns when it has answered, raises GuardError when it has not.
        silent_s: From when on a server that has not answered counts as silent.
        now: Seconds that only rise.

    """

    def __init__(
        self,
        asks: Mapping[str, Callable[[], Awaitable[object]]],
        silent_s: float,
        count: Increment,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._asks, self._silent_s, self._count, self._now = asks, silent_s, count, now
        self._answered = dict.fromkeys(asks, now())
        self._why: dict[str, str] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Ask from now on, each server by itself."""
        self._tasks = [asyncio.create_task(self._keep_asking(name), name="pulse") for name in self._asks]

    async def stop(self) -> None:
        """Ask no more."""
        for task in self._tasks:
            task.cancel()

    @property
    def silent(self) -> dict[str, str]:
        """Why, by the name of each server that has not answered for too long."""
        now = self._now()
        ages = {name: now - at for name, at in self._answered.items()}
        return {
            name: self._why.get(name, f"{name} does not answer") for name, age in ages.items() if age >= self._silent_s
        }

    async def _keep_asking(self, name: str) -> None:
        pause = self._silent_s / _OFTEN
        while True:
            await self.ask(name, pause)
            await asyncio.sleep(pause)
            telemetry.tell_rest()

    async def ask(self, name: str, seconds: float) -> None:
        """Ask one server once, and note what came of it within so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                await self._asks[name]()
        except TimeoutError:
            self._unanswered(name, f"{name} does not answer: it says nothing")
        except GuardError as error:
            self._unanswered(name, str(error))
        else:
            before, self._answered[name] = self._answered[name], self._now()
            if self._why.pop(name, None) is not None and self._answered[name] - before >= self._silent_s:
                log.warning("answers again", server=name, silent_s=round(self._answered[name] - before))

    def _unanswered(self, name: str, why: str) -> None:
        self._why[name] = why
        self._count(Counters.retries, 1)
        if name in self.silent:
            log.error("silent: everything waits", server=name, why=why)
