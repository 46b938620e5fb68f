"""
The end of a long process: SIGTERM or SIGINT ask for it, and it comes within 30 s, in whatever state they find us.

Rules: 1. The running unit may end, for some seconds; then it is left: nothing of it is committed, and it is done again.
       2. Saying goodbye is bounded too, and a loop or a thread that is stuck ends with the process.
       3. What was asked for is exit 0; a halt on the way out stays a halt.  4. A second signal changes nothing.
"""

import asyncio
import contextlib
import os
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar

import structlog

from calllog_guard import telemetry

log: Final = structlog.get_logger()
_ORDERLY_S: Final = 10.0
_FORCED_S: Final = 8.0
_LAST_S: Final = 25.0
"""Below the 30 s that container platforms wait before they kill."""
T = TypeVar("T")


async def lived(work: Callable[[asyncio.Event], Coroutine[Any, Any, int]]) -> int:
    """
    Do work until it has ended by itself or somebody asks for its end; the exit code.

    Args:
        work: Gets the event that says that its end is asked for.

    """
    loop, asked = asyncio.get_running_loop(), asyncio.Event()
    loop.set_exception_handler(telemetry.in_loop)
    _listen(loop, asked)
    task, waiter = asyncio.create_task(work(asked)), asyncio.create_task(asked.wait())
    await asyncio.wait({task, waiter}, return_when=asyncio.FIRST_COMPLETED)
    waiter.cancel()
    if not task.done():
        await asyncio.wait({task}, timeout=_ORDERLY_S)
    if not task.done():
        log.warning("the end is forced: what was not acknowledged is done again")
        task.cancel()
        await asyncio.wait({task}, timeout=_FORCED_S)
        log.info("stopped", forced=True)
    return task.result() if task.done() and not task.cancelled() else 0


def _listen(loop: asyncio.AbstractEventLoop, asked: asyncio.Event) -> None:
    """
    Hear of the signals in a thread of their own.

    A loop that is stuck would hear of none, and a handler may interrupt anything, another handler too.
    """
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)

    def hear() -> None:
        os.read(ours, 1)
        with contextlib.suppress(RuntimeError):  # the loop has ended by itself meanwhile
            loop.call_soon_threadsafe(asked.set)
        time.sleep(_LAST_S)
        log.error("the end is forced: something is stuck")
        os._exit(0)

    threading.Thread(target=hear, name="signals", daemon=True).start()
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: None)
    signal.set_wakeup_fd(theirs, warn_on_full_buffer=False)


async def unless(asked: asyncio.Event, work: Awaitable[T]) -> T | None:
    """What work returns; None when its end was asked for meanwhile, and it is left."""
    task, waiter = asyncio.ensure_future(work), asyncio.create_task(asked.wait())
    try:
        await asyncio.wait({task, waiter}, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        waiter.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=_FORCED_S)
