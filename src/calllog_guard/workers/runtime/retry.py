"""
Waiting for what is silent: it is asked again, with growing pauses, until it answers.

Not here: a retried unit, whose deadline runs from what it sent (`attempts.py`); what waits by itself while others
go on (`backoff.py`).
"""

import asyncio
from collections.abc import Awaitable, Callable
from math import inf
from typing import Final, TypeVar

from calllog_guard.errors import Fate, GuardError

RETRY_FIRST_S: Final = 0.05
RETRY_MOST_S: Final = 2.0
Answer = TypeVar("Answer")


def longer(pause_s: float) -> float:
    """The pause after a pause."""
    return min(pause_s * 2, RETRY_MOST_S)


async def answered(
    ask: Callable[[], Awaitable[Answer]], waits: Callable[[GuardError], object], *, most_s: float = inf
) -> Answer:
    """
    The answer; `waits` is told each time that there is none.

    Raises:
        GuardError: Something else than silence, or silence for longer than `most_s`.

    """
    now, pause_s = asyncio.get_running_loop().time, RETRY_FIRST_S
    began = now()
    while True:
        try:
            return await ask()
        except GuardError as error:
            if error.fate is not Fate.RETRY or now() - began >= most_s:
                raise
            waits(error)
        await asyncio.sleep(pause_s)
        pause_s = longer(pause_s)
