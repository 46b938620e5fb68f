"""Clocks that differ: what cannot be taken back waits, whoever's clock is wrong, and in whichever direction."""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from guard_world import GuardWorld

from calllog_guard.core.codec import to_ms
from calllog_guard.errors import LogSilentError
from calllog_guard.metrics import CounterMetric, Counters, GaugeMetric, Gauges
from calllog_guard.ports.log import Place
from calllog_guard.workers.runtime.clocks import Clocks

HERE, THERE = ("privacy.decisions", 0), ("privacy.decisions", 1)
NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)


class Brokers:
    """Two brokers and a worker, each with a clock of its own."""

    def __init__(self, **ahead_s: float) -> None:
        self.at, self.probes, self.counts, self.levels = NOW, 0, Counter[CounterMetric](), dict[GaugeMetric, float]()
        self.brokers: dict[Place, datetime | None] = {
            HERE: NOW - timedelta(seconds=ahead_s.get("here", 0)),
            THERE: NOW - timedelta(seconds=ahead_s.get("there", 0)),
        }
        self.clocks = Clocks(self, 300, self.probe, self.count, self.levels.__setitem__)

    def now(self) -> datetime:
        """See Clock."""
        return self.at

    def count(self, name: CounterMetric, by: int) -> None:
        """See the workers."""
        self.counts[name] += by

    async def probe(self) -> None:
        """A record to each broker."""
        self.probes += 1
        for place, at in self.brokers.items():
            self.clocks.stamped(place, None if at is None else to_ms(at))


@pytest.mark.parametrize("ahead_s", [301, -301, 10 * 366 * 86_400, -10 * 366 * 86_400])
async def test_clocks_disagree_in_either_direction(ahead_s: float) -> None:
    world = Brokers(here=ahead_s, there=ahead_s)
    assert not await world.clocks.agree()
    assert world.levels[Gauges.clock_ahead_s] == pytest.approx(ahead_s, abs=5)
    assert not await world.clocks.agree()
    assert (world.counts[Counters.clocks_apart], world.probes) == (1, 1), "told once, and not measured at every call"


async def test_clocks_that_agree_are_not_measured_at_every_call() -> None:
    world = Brokers(here=10, there=-10)
    for _ in range(3):
        assert await world.clocks.agree()
    assert (world.probes, world.counts) == (1, {})


async def test_the_broker_that_differs_most_counts() -> None:
    assert not await Brokers(here=0, there=400).clocks.agree()
    assert not await Brokers(here=-400, there=0).clocks.agree()


async def test_a_jump_of_the_own_clock_is_seen_at_once() -> None:
    for jump in (timedelta(days=3660), timedelta(days=-3660)):
        world = Brokers()
        assert await world.clocks.agree()
        world.at += jump
        assert not await world.clocks.agree()


async def test_nothing_measured_is_no_agreement() -> None:
    """A topic that takes its sender's time tells nothing of its broker's."""
    world = Brokers()
    world.brokers = {HERE: None, THERE: None}
    assert not await world.clocks.agree()

    async def silent() -> None:
        raise LogSilentError("Kafka does not answer")

    with pytest.raises(LogSilentError):
        await Clocks(world, 300, silent, world.count, world.levels.__setitem__).agree()


@pytest.mark.parametrize("topic", ["calllog.events", "privacy.requests"])
async def test_what_its_sender_dated_is_a_dead_letter(tmp_path: Path, topic: str) -> None:
    """Whoever sends could date a call before every fence, and a request so that its answer is never due."""
    world = await GuardWorld(tmp_path).start()
    await world.call("c1", "alice@example.org")
    await world.ask("request-1", "restrict", "alice@example.org")
    lane = world.log.records[topic, 0]
    lane[0] = msgspec.structs.replace(lane[0], senders=True)
    await world.run()
    letters = [json.loads(each.value or b"") for each in world.log.records["calllog.dead", 0]]
    assert [(each["topic"], each["reason"]) for each in letters] == [(topic, "senders_time")]
    assert bool(world.log.live("calllog.legs")) == (topic == "privacy.requests")
    assert bool(world.log.live("privacy.cases")) == (topic == "calllog.events")


async def test_a_keeper_sweeps_nothing_while_the_clocks_disagree(tmp_path: Path) -> None:
    world = await GuardWorld(tmp_path).start()
    await world.call("c1", "alice@example.org", "bob@example.org")
    await world.run()
    there = len(world.log.live("calllog.legs"))
    assert there == 2
    agreed = [False]

    async def agree() -> bool:
        return agreed[0]

    object.__setattr__(world.keeper._t, "agree", agree)
    world.clock.at += timedelta(days=3660)
    for _ in range(3):
        await world.keeper.idle()
    assert len(world.log.live("calllog.legs")) == there
    agreed[0] = True
    for _ in range(3):
        await world.keeper.idle()
    assert len(world.log.live("calllog.legs")) == 0
