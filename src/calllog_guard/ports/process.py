"""What a process is for, as its host sees it: it is got ready, runs until it is stopped, and takes its leave."""

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple


class Duty(NamedTuple):
    """One thing to do every so often, never twice at once; False: it could not be done yet, and is tried again soon."""

    name: str
    every_s: float
    work: Callable[[], Awaitable[bool | None]]


class HostedWork:
    """What a process is for; a GuardError of `show` or `start` refuses to start it."""

    duties: Sequence[Duty] = ()
    """What is done beside it once it has started."""

    async def show(self) -> None:
        """Check what needs no server, and serve the pages, where there are any."""

    async def start(self) -> None:
        """Get ready, waiting for servers as long as they are silent; cancelled when the end is asked for meanwhile."""

    async def run(self) -> int:
        """Work until stopped; the exit code."""
        raise NotImplementedError

    def stop(self, why: Exception | None = None) -> None:
        """End after the running unit; `why`: because of this error of a duty."""

    async def close(self) -> None:
        """Take leave of every server, within seconds."""

    async def hide(self) -> None:
        """Serve no pages any more."""
