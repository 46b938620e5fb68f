"""What workers count is shown on their pages, under the names that operators' dashboards and alarms know."""

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from metrics_page import page_of
from prometheus_client import generate_latest

import calllog_guard
from calllog_guard.metrics import ROWS, CounterMetric, Counters, GaugeMetric, Gauges, Labelled, Metric, Metrics

SOURCES = Path(calllog_guard.__file__).parent
PAGE = Path(__file__).parents[3] / "vectors" / "metrics_page_v1.json"
TABLES = {"Counters", "Gauges", "Summaries"}


def counted() -> Iterator[str]:
    """The numbers that the source names outside of their table."""
    for path in SOURCES.rglob("*.py"):
        if path.name == "metrics.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in TABLES:
                yield node.attr


def lines(page: str) -> set[str]:
    """Kinds, names, labels and values, without the words."""
    return {line for line in page.splitlines() if not line.startswith("# HELP")}


def one(row: Metric | Labelled[Metric]) -> Metric:
    return row[tuple(f"{label}_1" for label in row.labels)] if isinstance(row, Labelled) else row


@pytest.mark.slow
def test_every_declared_number_is_counted_somewhere_and_no_other() -> None:
    """A number that nobody counts is a promise to an operator; mypy refuses the other direction, this test too."""
    assert set(counted()) == {row.name for row in ROWS}


@pytest.mark.parametrize("role", ["protector", "desk", "keeper", "auditor", "reader"])
def test_the_page_shows_every_name_that_it_has_ever_shown(role: str) -> None:
    """Dashboards and alarms are written against these names."""
    known = json.loads(PAGE.read_text())
    counts: dict[CounterMetric, int] = {}
    levels: dict[GaugeMetric, float] = {}
    for row in ROWS:
        each = one(row)
        if isinstance(each, GaugeMetric):
            levels[each] = 3.0 if each.values else 2.0
        elif type(each) is CounterMetric:
            counts[each] = 5 if each.values else 4
    full = lines(generate_latest(page_of(role, counts, levels)).decode())
    fresh = lines(generate_latest(page_of(role, {}, {})).decode())
    told = {state: {line.replace('role="keeper"', f'role="{role}"') for line in known[state]} for state in known}
    assert told["fresh"] <= fresh
    timed = {line for line in told["full"] if "_seconds" in line and not line.startswith("#")}
    alive = {f'calllog_guard_alive{{role="{role}"}} 1.0'}
    assert told["full"] - timed - alive <= full


def test_what_takes_time_is_shown_as_how_often_and_how_long() -> None:
    metrics = Metrics()
    for us in (1_000_000, 500_000):
        metrics.count(one(SUMMARY), us)  # type: ignore[arg-type]
    (shown,) = (found for row, found in metrics.rows() if row is SUMMARY)
    assert [value for _, value in shown] == [(2, 1.5)]


SUMMARY = next(row for row in ROWS if row.name == "unit_seconds")


def test_what_waits_is_on_the_page() -> None:
    levels = dict.fromkeys(
        (Gauges.parked_parts, Gauges.cases_waiting, Gauges.decisions_waiting, Gauges.people_unjudged), 3.0
    )
    page = page_of("keeper", {Counters.decisions_waited: 2}, levels)
    assert all(page.get_sample_value(f"calllog_guard_{each}", {"role": "keeper"}) == 3.0 for each in levels)
    assert page.get_sample_value("calllog_guard_decisions_waited_total", {"role": "keeper"}) == 2


def test_a_family_takes_as_many_labels_as_it_has() -> None:
    with pytest.raises(ValueError, match="reads has 2 labels, 1 are given"):
        Counters.reads["billing"]


def test_a_number_with_the_same_labels_is_the_same_number() -> None:
    """Values are kept by it: a partition as a number and as a text must not be counted apart."""
    assert Counters.records_lost["calls", 1] is Counters.records_lost["calls", "1"]
    assert Counters.dead["too_large"] is not Counters.dead["not_json"]


def test_two_processes_share_no_value() -> None:
    """Tests make many worlds in one process."""
    first, second = Metrics(), Metrics()
    first.count(Counters.units, 1)
    assert (first.totals(), second.totals()) == ({"units": 1}, {})
