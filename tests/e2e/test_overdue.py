"""UNIT_MAX_S on the real stack: a unit that sent something ends in time, all attempts together; nothing comes later."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from installation import Installation, event, raw
from patience import ended

from calllog_guard.devstack.supervisor import Stack

pytestmark = pytest.mark.real
UNIT_MAX_S = 12
PARTIES = 900
EVENTS = 8


@pytest.fixture
def guard(struck: Stack, tmp_path: Path) -> Iterator[Installation]:
    """One installation on it."""
    made = Installation(struck, tmp_path / "in", UNIT_MAX_S=str(UNIT_MAX_S), RETRY_MAX_S="600", PARTITIONS="1")
    yield made
    made.forget()


def crowd(number: int) -> bytes:
    """A call of very many, none of whom was in another."""
    return raw(event(f"c{number}", *(f"user-{number}-{party}@example.org" for party in range(PARTIES))))


def waits(guard: Installation) -> int:
    """How often a unit was tried in vain."""
    return guard.log.read_text().count('"unit waits"')


@pytest.mark.long
def test_what_was_sent_to_a_frozen_broker_is_withdrawn_and_the_worker_halts(struck: Stack, guard: Installation) -> None:
    """Seven thousand legs, of which the broker's machine takes one batch: the rest is never sent, nothing is lost."""
    redis, kafka = struck.children["redis"], struck.children["kafka"]
    worker = guard.start("protector")
    guard.publish("calllog.events", [raw(event("first", "alice@example.org"))])
    guard.settled(lambda: len(guard.live()) == 1, "the worker runs")
    redis.freeze()
    guard.publish("calllog.events", [crowd(number) for number in range(EVENTS)])
    guard.settled(lambda: waits(guard) > 0, "the unit was polled, and waits for the keystore")
    kafka.freeze()
    redis.thaw()
    assert ended(worker) == 70
    (halt,) = [line for line in map(json.loads, lines(guard)) if line["event"] == "halt"]
    assert (halt["kind"], "withdrawn" in halt["why"]) == ("UnitOverdueError", True)
    kafka.thaw()
    guard.publish("calllog.legs", [b"a record that the broker took after what it had taken before"], key=b"marker")
    guard.settled(lambda: b"marker" in guard.live(), "the broker answers again")
    late = len(guard.live()) - 2
    assert late <= 900, "one batch at most was on the wire"
    again = guard.start("protector")
    guard.settled(lambda: len(guard.live()) == EVENTS * PARTIES + 2, "nothing is lost")
    assert again.poll() is None


@pytest.mark.long
def test_a_unit_that_has_sent_nothing_outlasts_the_keystores_silence(struck: Stack, guard: Installation) -> None:
    """Longer than UNIT_MAX_S, and yet no halt: nothing of it can be late."""
    redis = struck.children["redis"]
    worker = guard.start("protector")
    guard.publish("calllog.events", [raw(event("first", "alice@example.org"))])
    guard.settled(lambda: len(guard.live()) == 1, "the worker runs")
    redis.freeze()
    guard.publish("calllog.events", [raw(event("second", "bob@example.org"))])
    guard.settled(lambda: waits(guard) >= 4, "it has waited four times, five seconds for an answer each")
    assert worker.poll() is None
    redis.thaw()
    guard.settled(lambda: len(guard.live()) == 2, "and goes on")
    assert worker.poll() is None


def lines(guard: Installation) -> list[str]:
    """The worker's own log lines."""
    return [line for line in guard.log.read_text().splitlines() if line.startswith("{")]
