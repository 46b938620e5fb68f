"""
`/health` and `/metrics` of a worker, or of a reader that follows.

Alive means: the servers answer, and no retry lasts longer than RETRY_MAX_S.  Ready means: partitions are assigned, their seeks
confirmed, and nothing waits.  Labels are roles, reasons and fates; no metric knows a person.
"""

import math
from collections.abc import Iterator
from typing import Any, Final, Protocol

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, SummaryMetricFamily
from prometheus_client.registry import Collector

from calllog_guard.errors import ConfigurationError
from calllog_guard.metrics import CounterMetric, GaugeMetric, Gauges, Metric, Metrics, SummaryMetric, kind_of

_LEAVE_S: Final = 1.0
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
        self._role, self._health_of = role, health
        self._runner: web.AppRunner | None = None

    async def start(self, address: str) -> str:
        """
        Serve on `host:port`, port 0 for any; the address that was taken.

        Raises:
            ConfigurationError: The address is taken or is none.

        """
        host, _, port = address.rpartition(":")
        app = web.Application()
        app.router.add_get("/health", self._health)
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=_LEAVE_S)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, int(port)).start()
        except (OSError, ValueError):
            raise ConfigurationError(
                f"cannot serve on {address}: set CALLLOG_GUARD_HTTP, or a reader's http, to a free host:port, or to :0"
            ) from None
        taken = self._runner.addresses[0]
        return f"{taken[0]}:{taken[1]}"

    async def stop(self) -> None:
        """Stop serving."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _health(self, _: web.Request) -> web.Response:
        it = self._health_of
        said = {"role": self._role, "alive": it.alive, "ready": it.ready} | ({"why": it.why} if it.why else {})
        return web.json_response(said, status=200 if it.alive and it.ready else 503)

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": "text/plain; version=0.0.4"})
