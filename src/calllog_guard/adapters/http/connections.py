"""
Connections of clients that nobody knows: bounded in time and number, and silent about what they sent.

Rules: 1. A head that does not end, and a connection on which nothing comes, are closed.
       2. What the library would answer to a broken request quotes it, and names its release: the status alone is sent.
       3. A body comes as it was sent: nothing unpacks it.
Source: RFC 9112; aiohttp's own bounds are an hour for a connection, and none for their number.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from aiohttp import web

SERVER: Final = "calllog-guard"
_HEADERS: Final = 64
_QUIET: Final = logging.getLogger("calllog_guard.connections")
"""What the library would log quotes requests."""
_QUIET.disabled = True


Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Bounds(NamedTuple):
    """
    What one server's connections may take.

    Args:
        head_s: So long a client may take to send a request's head, or to send the next one.
        linger_s: So long what is left of a body that nobody wants is read.
        connections: At the same time.

    """

    head_s: float
    linger_s: float
    connections: int


class _Connection(web.RequestHandler):
    """One connection."""

    __slots__ = ("_full", "_refused")

    def __init__(self, server: "BoundedServer", **options: Any) -> None:
        super().__init__(server, **options)
        self._full, self._refused = server.full, server.refused

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take it, unless there are too many."""
        super().connection_made(transport)
        if self._full():
            self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The status alone."""
        del exc, message
        if request.writer.output_size > 0:
            raise ConnectionError("an answer was begun")
        found = web.Response(status=status, headers={**self._refused, "Server": SERVER})
        found.force_close()
        return found


class BoundedServer(web.Server):
    """
    Makes connections with bounds.

    Args:
        refused: The headers of what is answered to a request that cannot be read.

    """

    def __init__(self, answer: Answer, bounds: Bounds, refused: Mapping[str, str] = MappingProxyType({})) -> None:
        super().__init__(answer)
        self._bounds, self.refused = bounds, refused

    def full(self) -> bool:
        """Whether there are more connections than may be."""
        return len(self.connections) > self._bounds.connections

    def __call__(self) -> web.RequestHandler:
        """Make one."""
        return _Connection(
            self,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=self._bounds.head_s,
            lingering_time=self._bounds.linger_s,
            max_headers=_HEADERS,
            auto_decompress=False,
            access_log=None,
            logger=_QUIET,
        )


async def body_of(request: web.BaseRequest, most: int, seconds: float) -> bytes | None:
    """
    A request's body; None: it is larger than it may be.

    Raises:
        TimeoutError: It does not come in time.

    """
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0
    if request.content.is_eof():  # it came with its head, as most do
        there = request.content.read_nowait()
        return there if len(there) <= most else None
    found, size = list[bytes](), 0
    async with asyncio.timeout(seconds):
        async for piece in request.content.iter_any():
            size += len(piece)
            if size > most:
                return None
            found.append(piece)
    return b"".join(found)
