"""
Ends that are bounded: whatever a server, a thread or a library is still waiting for, the process ends.

Rules: 1. Taking leave of a server is a courtesy of some seconds.  2. What was not acknowledged is not committed,
          so an end by force loses nothing: it is a crash that was asked for.
Source: asyncio.run waits without a bound for tasks that do not heed a cancellation, and for threads.
"""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

T = TypeVar("T")
_LEFT_S: Final = 2.0


async def ended(work: Coroutine[Any, Any, Any], seconds: float) -> bool:
    """Wait for work to end, well or not, and leave it when it takes longer; whether it has ended."""
    task = asyncio.ensure_future(work)
    done, _ = await asyncio.wait({task}, timeout=seconds)
    if not done:
        task.cancel()  # it may not heed it: nobody waits
    elif not task.cancelled():
        task.exception()  # a failing goodbye tells nothing
    return bool(done)


def run(main: Coroutine[Any, Any, T]) -> T:
    """As asyncio.run, but what is left when `main` has ended gets two seconds, and threads none."""
    runner = asyncio.Runner()
    try:
        return runner.run(main)
    finally:
        loop = runner.get_loop()
        loop.run_until_complete(_left(asyncio.all_tasks(loop)))
        asyncio.set_event_loop(None)
        with contextlib.suppress(RuntimeError):  # a task that is still in the middle of something
            loop.close()


async def _left(tasks: set[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        done, _ = await asyncio.wait(tasks, timeout=_LEFT_S)
        for task in done:
            if not task.cancelled():
                task.exception()
    await ended(asyncio.get_running_loop().shutdown_asyncgens(), _LEFT_S)
