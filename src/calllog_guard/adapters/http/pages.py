"""
`/health` and `/metrics` of a worker, or of a reader that follows.

Alive means: the servers answer, no retry exceeds RETRY_MAX_S. Ready means: partitions are assigned, seeks
confirmed, and nothing waits.  Labels are roles, reasons and fates; no metric knows a person.
The standard library's server serves them: two read-only pages need no web framework, and one costs a worker a fifth of
its start. Its threads ask the event loop for each answer: a process whose loop stands still answers nobody.
"""

import asyncio
import json
import math
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import TimeoutError as LateError
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any, Final, Protocol

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, SummaryMetricFamily
from prometheus_client.registry import Collector

from calllog_guard.errors import ConfigurationError
from calllog_guard.metrics import CounterMetric, GaugeMetric, Gauges, Metric, Metrics, SummaryMetric, kind_of

_CLIENT_S: Final = 10.0
"""So long a client may take to ask, and to take its answer."""
_ANSWER_S: Final = 5.0
"""So long the event loop may take to say it."""
PREFIX: Final = "calllog_guard_"
"""How every name on the page begins."""
_FAMILIES: Final[dict[type[Metric], Any]] = {
    CounterMetric: CounterMetricFamily,
    SummaryMetric: SummaryMetricFamily,
    GaugeMetric: GaugeMetricFamily,
}


class HealthView(Protocol):
    """What the pages say of their process."""

    @property
    def alive(self) -> bool:
        """Whether the committed offset can move."""

    @property
    def ready(self) -> bool:
        """Whether work that came now would be done."""

    @property
    def why(self) -> str:
        """Why it is not alive, or not ready."""

    @property
    def blind(self) -> bool:
        """Whether nothing is known of the log now."""


class Numbers(Collector):
    """The numbers of a worker as Prometheus reads them."""

    def __init__(self, role: str, metrics: Metrics, health: HealthView) -> None:
        self._role, self._values, self._health = role, metrics, health

    def collect(self) -> Iterator[Any]:
        """See Collector."""
        self._values.level(Gauges.alive, float(self._health.alive))
        for row, found in self._values.rows():
            family = _FAMILIES[kind_of(row)](PREFIX + row.name, row.meaning, labels=["role", *row.labels])
            for each, value in found:
                unknown = each == Gauges.lag_records and self._health.blind
                family.add_metric([self._role, *each.values], *((math.nan,) if unknown else value))
            yield family


Answer = tuple[HTTPStatus, str, bytes]
"""Status, content type, body."""


class Pages:
    """The two pages of one process."""

    def __init__(self, role: str, metrics: Metrics, health: HealthView) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(Numbers(role, metrics, health))
        self._role, self._health = role, health
        self._server: _Server | None = None

    async def start(self, address: str) -> str:
        """
        Serve on `host:port`, port 0 for any; the address that was taken.

        Raises:
            ConfigurationError: The address is taken or is none.

        """
        host, _, port = address.rpartition(":")
        try:
            self._server = _Server(host, int(port), self.answer)
        except (OSError, ValueError, OverflowError):
            raise ConfigurationError(
                f"cannot serve on {address}: set CALLLOG_GUARD_HTTP, or a reader's http, to a free host:port, or to :0"
            ) from None
        threading.Thread(target=self._server.serve_forever, name="pages", daemon=True).start()
        taken = self._server.socket.getsockname()
        return f"{taken[0]}:{taken[1]}"

    async def stop(self) -> None:
        """Stop serving; who is being answered is not waited for."""
        if self._server is not None:
            await asyncio.to_thread(self._server.shutdown)
            self._server.server_close()

    async def answer(self, path: str) -> Answer:
        """Status, content type and body of a page."""
        it = self._health
        if path == "/metrics":
            return HTTPStatus.OK, "text/plain; version=0.0.4", generate_latest(self._registry)
        if path != "/health":
            return HTTPStatus.NOT_FOUND, "text/plain", b"/health and /metrics are here\n"
        said = {"role": self._role, "alive": it.alive, "ready": it.ready} | ({"why": it.why} if it.why else {})
        status = HTTPStatus.OK if it.alive and it.ready else HTTPStatus.SERVICE_UNAVAILABLE
        return status, "application/json; charset=utf-8", json.dumps(said).encode()


class _Server(ThreadingHTTPServer):
    """Asks the event loop that it was made in for each answer."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, host: str, port: int, answer: Callable[[str], Coroutine[Any, Any, Answer]]) -> None:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        self.address_family = found[0][0]
        self._answer, self._loop = answer, asyncio.get_running_loop()
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        """Bind alone: the library's way asks DNS for the host's full name, which nobody needs and delays a start."""
        TCPServer.server_bind(self)

    def said(self, path: str) -> Answer:
        """The answer of the process. Raises LateError: its event loop stands still."""
        return asyncio.run_coroutine_threadsafe(self._answer(path), self._loop).result(_ANSWER_S)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who hangs up, or asks too slowly, is no event of ours."""


class _Handler(BaseHTTPRequestHandler):
    """One request of one client."""

    timeout = _CLIENT_S
    server: _Server

    def do_GET(self) -> None:
        """Answer a page, with its body."""
        self._answer(body=True)

    def do_HEAD(self) -> None:
        """Answer a page, without its body."""
        self._answer(body=False)

    def _answer(self, *, body: bool) -> None:
        try:
            status, kind, content = self.server.said(self.path.partition("?")[0])
        except LateError:
            status, kind, content = HTTPStatus.SERVICE_UNAVAILABLE, "text/plain", b"the event loop does not answer\n"
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def version_string(self) -> str:
        """Who asks learns nothing of what runs here."""
        return "calllog-guard"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """Who asks for a page is no event of ours."""
