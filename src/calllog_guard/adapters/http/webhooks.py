"""
Webhooks over HTTP, through aiohttp: raw bodies in, short answers out.

Rules: 1. A body is handed on as it came: nothing unpacks or parses it.  2. Every bound is one of bytes or seconds: of
          headers, body, connections, requests at work.  3. No answer and no line of a log holds anything of a request.
Source: RFC 9110, RFC 9112; docs/reference/ingest.md.
"""

from http import HTTPStatus
from typing import Final

from aiohttp import web

from calllog_guard.adapters.http.connections import SERVER, BoundedServer, Bounds, body_of
from calllog_guard.errors import ConfigurationError
from calllog_guard.ports.webhooks import WebhookRequest, WebhookService

_HEAD_S: Final = 10.0
"""So long a client may take to send a request's head, or to send the next one."""
_BODY_S: Final = 5.0
"""So long it may take to send the body."""
_LINGER_S: Final = 1.0
_END_S: Final = 4.0
"""Longer than any answer takes."""
_CONNECTIONS: Final = 1000
_AT_WORK: Final = 256
"""Requests whose bodies are in memory at the same time."""


class WebhookServer:
    """Serves one `WebhookService`."""

    def __init__(self, service: WebhookService) -> None:
        self._service, self._at_work = service, 0
        self._runner: web.ServerRunner | None = None

    async def start(self, address: str) -> str:
        """
        Listen on `host:port`, port 0 for any; the address that was taken.

        Raises:
            ConfigurationError: The address is taken or is none.

        """
        host, _, port = address.rpartition(":")
        bounds = Bounds(_HEAD_S, _LINGER_S, _CONNECTIONS)
        runner = web.ServerRunner(BoundedServer(self._answer, bounds), shutdown_timeout=_END_S)
        await runner.setup()
        try:
            await web.TCPSite(runner, host.strip("[]") or None, int(port)).start()
        except (OSError, ValueError, OverflowError):
            await runner.cleanup()
            raise ConfigurationError(
                f"cannot listen on {address}: set CALLLOG_GUARD_INGEST_HTTP to a free host:port, or to :0"
            ) from None
        self._runner = runner
        taken = runner.addresses[0]
        return f"{taken[0]}:{taken[1]}"

    async def stop(self) -> None:
        """Take no more requests, and answer those at work."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if self._at_work >= _AT_WORK:
            return self._away(HTTPStatus.SERVICE_UNAVAILABLE)
        self._at_work += 1
        try:
            return await self._one(request)
        finally:
            self._at_work -= 1

    async def _one(self, request: web.BaseRequest) -> web.StreamResponse:
        path, _, query = request.raw_path.partition("?")
        if status := self._refuses(request, path):
            return self._away(status)
        try:
            body = await body_of(request, self._service.most_bytes, _BODY_S)
        except TimeoutError:
            return self._away(HTTPStatus.REQUEST_TIMEOUT)
        if body is None:
            return self._away(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        reply = await self._service.receive(WebhookRequest(path, query, request.headers, body))
        told = {"Content-Type": reply.content_type, "Server": SERVER}
        return web.Response(status=reply.status, body=reply.body, headers=told)

    def _refuses(self, request: web.BaseRequest, path: str) -> int:
        """The status with which a request is turned away before its body is read; 0: it is not."""
        if request.method != "POST":
            return HTTPStatus.METHOD_NOT_ALLOWED
        status = self._service.refuses(path, request.headers.get("Content-Type", ""))
        if status:
            return status
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            return HTTPStatus.UNSUPPORTED_MEDIA_TYPE
        too_large = (request.content_length or 0) > self._service.most_bytes
        return HTTPStatus.REQUEST_ENTITY_TOO_LARGE if too_large else 0

    def _away(self, status: int) -> web.Response:
        self._service.turned_away(status)
        found = web.Response(status=status, headers={"Server": SERVER})
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            found.headers["Retry-After"] = "5"
        if status not in {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED}:
            found.force_close()  # its body is not read
        return found
