"""
`/health` and `/metrics` of a worker, or of a reader that follows.

Alive means: the servers answer, and no retry lasts longer than RETRY_MAX_S.  Ready means: partitions are assigned, their seeks
confirmed, and nothing waits.  Labels are roles, reasons and fates; no metric knows a person.
Two pages that are only read need no web framework: to load one cost a worker a fifth of its start.
Source: RFC 9112, of which nothing but the first line of a request is read.
"""

import asyncio
import json
import math
from collections.abc import Iterator
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final, Protocol

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, SummaryMetricFamily
from prometheus_client.registry import Collector

from calllog_guard.errors import ConfigurationError
from calllog_guard.metrics import CounterMetric, GaugeMetric, Gauges, Metric, Metrics, SummaryMetric, kind_of

_CLIENT_S: Final = 10.0
"""So long a client may take to ask, and to take its answer; each connection is for one."""
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


class Pages:
    """The two pages of one process."""

    def __init__(self, role: str, metrics: Metrics, health: HealthView) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(Numbers(role, metrics, health))
        self._role, self._health = role, health
        self._server: asyncio.Server | None = None

    async def start(self, address: str) -> str:
        """
        Serve on `host:port`, port 0 for any; the address that was taken.

        Raises:
            ConfigurationError: The address is taken or is none.

        """
        host, _, port = address.rpartition(":")
        try:
            self._server = await asyncio.start_server(self._client, host, int(port))
        except (OSError, ValueError, OverflowError):
            raise ConfigurationError(
                f"cannot serve on {address}: set CALLLOG_GUARD_HTTP, or a reader's http, to a free host:port, or to :0"
            ) from None
        taken = self._server.sockets[0].getsockname()
        return f"{taken[0]}:{taken[1]}"

    async def stop(self) -> None:
        """Stop serving; who is being answered is not waited for."""
        if self._server is not None:
            self._server.close()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request; who asks for nothing that there is, or too slowly, or too much, is left."""
        try:
            with suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                async with asyncio.timeout(_CLIENT_S):
                    method, _, rest = (await reader.readuntil(b"\r\n\r\n")).partition(b" ")
                    status, kind, body = self._answer(method, rest.partition(b" ")[0].partition(b"?")[0])
                    head = (
                        f"HTTP/1.1 {status} {status.phrase}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
                    )
                    writer.write(f"{head}Connection: close\r\n\r\n".encode() + (b"" if method == b"HEAD" else body))
                    await writer.drain()
        finally:
            writer.close()

    def _answer(self, method: bytes, path: bytes) -> tuple[HTTPStatus, str, bytes]:
        it = self._health
        if method not in {b"GET", b"HEAD"}:
            return HTTPStatus.METHOD_NOT_ALLOWED, "text/plain", b""
        if path == b"/metrics":
            return HTTPStatus.OK, "text/plain; version=0.0.4", generate_latest(self._registry)
        if path != b"/health":
            return HTTPStatus.NOT_FOUND, "text/plain", b"/health and /metrics are here\n"
        said = {"role": self._role, "alive": it.alive, "ready": it.ready} | ({"why": it.why} if it.why else {})
        status = HTTPStatus.OK if it.alive and it.ready else HTTPStatus.SERVICE_UNAVAILABLE
        return status, "application/json; charset=utf-8", json.dumps(said).encode()
