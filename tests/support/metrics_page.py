"""The metrics page of a world that keeps its numbers by itself."""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry

from calllog_guard.adapters.http.pages import Numbers
from calllog_guard.metrics import CounterMetric, GaugeMetric, Metrics
from calllog_guard.workers.runtime.process.health import Health
from calllog_guard.workers.runtime.process.pulse import Pulse


def page_of(
    role: str,
    counts: Mapping[CounterMetric, int],
    levels: Mapping[GaugeMetric, float],
    health: Health | None = None,
) -> CollectorRegistry:
    """What Prometheus reads; every server answers where no health is given."""
    metrics, registry = Metrics(), CollectorRegistry(auto_describe=False)
    for counter, many in counts.items():
        metrics.count(counter, many)
    for gauge, value in levels.items():
        metrics.level(gauge, value)
    registry.register(Numbers(role, metrics, health or Health(Pulse({}, 10, lambda *_: None))))
    return registry
