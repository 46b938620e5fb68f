"""A page says that its process is well only while the servers answer without which it does nothing."""

import asyncio
import json
import math
import urllib.error
import urllib.request
from collections import Counter
from types import SimpleNamespace

import pytest
import structlog
from contexts import context
from metrics_page import page_of
from structlog.testing import capture_logs

from calllog_guard.adapters.http.pages import Pages
from calllog_guard.errors import GuardError, KeystoreSilentError, LogSilentError, ParkedError
from calllog_guard.metrics import CounterMetric, Counters, Gauges, Metrics
from calllog_guard.ports.log import TopicPartition
from calllog_guard.ports.process import Duty
from calllog_guard.settings import Settings
from calllog_guard.workers.context import WorkerContext
from calllog_guard.workers.runtime.delivery import Delivery
from calllog_guard.workers.runtime.process.health import KAFKA, KEYSTORE, Health
from calllog_guard.workers.runtime.process.pulse import Pulse


class Servers:
    """Two servers that answer, refuse, or say nothing at all; and a watch."""

    def __init__(self) -> None:
        self.at, self.kafka, self.keystore = 0.0, "answers", "answers"
        self.counts: Counter[CounterMetric] = Counter()
        asks = {KAFKA: self._kafka, KEYSTORE: self._keystore}
        self.pulse = Pulse(asks, 10, lambda name, by: self.counts.update({name: by}), lambda: self.at)

    async def _kafka(self) -> None:
        await self._answer(self.kafka, LogSilentError("Kafka does not answer (KafkaConnectionError)"))

    async def _keystore(self) -> None:
        await self._answer(self.keystore, KeystoreSilentError("the keystore does not answer (ConnectionError)"))

    @staticmethod
    async def _answer(how: str, error: Exception) -> None:
        if how == "refuses":
            raise error
        if how == "says nothing":
            await asyncio.Event().wait()

    async def pass_s(self, seconds: int) -> None:
        """Time passes; every second both are asked."""
        for _ in range(seconds):
            self.at += 1
            for name in (KAFKA, KEYSTORE):
                await self.pulse.ask(name, 0.001)


class Work:
    """A worker that is well."""

    alive, ready = True, True

    def __init__(self) -> None:
        self.why: list[str] = []


@pytest.fixture
def servers() -> Servers:
    return Servers()


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("refuses", "Kafka does not answer (KafkaConnectionError)"),
        ("says nothing", "Kafka does not answer: it says nothing"),
    ],
)
async def test_a_worker_that_is_well_is_not_while_kafka_is_silent(servers: Servers, how: str, why: str) -> None:
    health = Health(servers.pulse, Work())
    await servers.pass_s(60)
    assert (health.alive, health.ready, health.why, health.blind) == (True, True, "", False)
    servers.kafka = how
    await servers.pass_s(9)
    assert health.alive, "a hiccup is none of anybody's business"
    await servers.pass_s(1)
    assert (health.alive, health.ready, health.why, health.blind) == (False, False, why, True)
    assert servers.counts[Counters.retries] == 10, "each vain question is one"
    servers.keystore = how
    await servers.pass_s(10)
    assert health.why.startswith(f"{why}; the keystore does not answer")
    servers.kafka = servers.keystore = "answers"
    await servers.pass_s(1)
    assert (health.alive, health.ready, health.why, health.blind) == (True, True, "", False)


async def test_a_question_that_never_comes_back_is_silence(servers: Servers) -> None:
    """As when whoever asks is stuck itself."""
    await servers.pass_s(1)
    servers.at += 10
    assert servers.pulse.silent == {KAFKA: "Kafka does not answer", KEYSTORE: "the keystore does not answer"}


async def test_silence_has_a_line_at_its_beginning_and_one_at_its_end(servers: Servers) -> None:
    """Those between are thinned out by `telemetry.py`."""
    structlog.reset_defaults()
    with capture_logs() as lines:
        await servers.pass_s(5)
        servers.keystore = "refuses"
        await servers.pass_s(9)
        assert lines == []
        await servers.pass_s(3)
        assert {line["event"] for line in lines} == {"silent: everything waits"}
        assert lines[0]["why"] == "the keystore does not answer (ConnectionError)"
        del lines[:]
        servers.keystore = "answers"
        await servers.pass_s(2)
    assert lines == [{"event": "answers again", "server": KEYSTORE, "silent_s": 13, "log_level": "warning"}]


async def test_who_has_not_taken_up_its_work_is_not_ready(servers: Servers) -> None:
    health = Health(servers.pulse)
    assert (health.alive, health.ready, health.why) == (True, False, "it has not taken up its work yet")


async def test_what_a_worker_waits_for_is_said(servers: Servers) -> None:
    work = Work()
    work.ready, work.why = False, ["a unit waits: a key is missing"]
    health = Health(servers.pulse, work)
    assert (health.alive, health.ready, health.why) == (True, False, "a unit waits: a key is missing")


async def test_nobody_knows_the_lag_while_kafka_is_silent(servers: Servers) -> None:
    """Nought would be a lie, and an alarm that never comes."""
    levels = {Gauges.lag_records: 7.0, Gauges.walk_age_s: 1.0}
    registry = page_of("desk", {}, levels, Health(servers.pulse, Work()))

    def figure(name: str) -> float:
        return registry.get_sample_value(f"calllog_guard_{name}", {"role": "desk"}) or 0.0

    assert (figure("lag_records"), figure("alive")) == (7.0, 1.0)
    servers.keystore = "refuses"
    await servers.pass_s(10)
    assert (figure("lag_records"), figure("alive")) == (7.0, 0.0), "that of the keystore hides no lag"
    servers.kafka = "refuses"
    await servers.pass_s(10)
    assert math.isnan(figure("lag_records"))
    assert figure("walk_age_s") == 1.0


async def test_the_page_says_it_in_words(servers: Servers) -> None:
    """And nothing more than before while all is well."""
    pages = Pages("keeper", Metrics(), Health(servers.pulse, Work()))
    address = await pages.start("127.0.0.1:0")

    def page() -> tuple[int, dict[str, object]]:
        try:
            with urllib.request.urlopen(f"http://{address}/health", timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    try:
        assert await asyncio.to_thread(page) == (200, {"role": "keeper", "alive": True, "ready": True})
        servers.keystore = "refuses"
        await servers.pass_s(10)
        why = "the keystore does not answer (ConnectionError)"
        expected = {"role": "keeper", "alive": False, "ready": False, "why": why}
        assert await asyncio.to_thread(page) == (503, expected)
    finally:
        await pages.stop()


class Waiting:
    """A role whose work between units fails for as long as it is told to."""

    name, topics, duties = "desk", ("t",), ()

    def __init__(self, error: GuardError | None) -> None:
        self.error = error

    async def idle(self) -> None:
        """See Role."""
        if self.error is not None:
            raise self.error


def delivery(role: Waiting) -> Delivery:
    """One that is assigned, whose patience is over at once."""
    given = context(WorkerContext, settings=Settings(silent_s=0, retry_max_s=0))
    found = Delivery(role, None, SimpleNamespace(look=None), given)  # type: ignore[arg-type]
    found._assignment = 1
    return found


def test_what_is_quiet_moves_no_figure_and_no_line() -> None:
    """Whether an order came to the desk is seen on no page."""
    found, counts = delivery(Waiting(None)), Counter[CounterMetric]()
    found._beginnings = SimpleNamespace(reads=SimpleNamespace(quiet={"orders"}))  # type: ignore[assignment]
    found._count = lambda name, by: counts.update({name: by})
    quiet, loud = ({TopicPartition(topic, 0): [SimpleNamespace(offset=7, remnant=None)]} for topic in ("orders", "t"))
    with capture_logs() as lines:
        found._settle(quiet, {})
        assert (dict(counts), lines) == ({}, [])
        assert found._position == {TopicPartition("orders", 0): 8}, "and is not read again"
        found._settle(quiet | loud, loud)
    assert (counts[Counters.units], counts[Counters.records["handled"]]) == (1, 1)
    assert [line["up_to"] for line in lines] == [{"t/0": 7}]


@pytest.mark.parametrize(("error", "alive"), [(ParkedError("a case waits"), True), (LogSilentError("silent"), False)])
async def test_health_tells_of_what_waits_between_units(error: GuardError, alive: bool) -> None:  # noqa: FBT001
    """Decisions and cases may wait for hours there; a new start mends nothing of what is parked for single people."""
    role = Waiting(error)
    found = delivery(role)
    await found._idle()
    assert (found.alive, found.ready, found.why) == (alive, False, [f"work between units waits: {error}"])
    role.error = None
    await found._idle()
    assert (found.alive, found.ready, found.why) == (True, True, [])


async def test_a_duty_of_a_role_begins_once_partitions_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """The auditor's first walk found no partition, took it for somebody else's, and came an hour late."""
    turns = list[str]()

    async def walk() -> bool:
        turns.append("walked")
        return True

    role = Waiting(None)
    monkeypatch.setattr(role, "duties", (Duty("walk", 3600, walk),), raising=False)
    found = delivery(role)
    duty = next(each for each in found.duties if each.name == "walk")
    assert (await duty.work(), turns) == (False, []), "it is tried again soon"

    async def nothing(_: object) -> None: ...

    monkeypatch.setattr(found, "_take_until_done", nothing)
    await found.on_partitions_assigned([])
    assert (await duty.work(), turns) == (True, ["walked"])
