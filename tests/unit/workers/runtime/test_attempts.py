"""A unit: bounded before it begins, one deadline from the first attempt that sent, and one faulty record told alone."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from contexts import context
from hypothesis import given
from hypothesis import strategies as st

from calllog_guard.adapters.memory.fakes import MemoryWriter
from calllog_guard.core.records import Output
from calllog_guard.core.stream.arrival import Arrival, arrival
from calllog_guard.core.stream.units import parties, units
from calllog_guard.errors import (
    GuardError,
    KeystoreSilentError,
    LogFaultError,
    MessageError,
    OutputTooLargeError,
    UnacknowledgedError,
    UnitOverdueError,
)
from calllog_guard.metrics import CounterMetric, Counters
from calllog_guard.ports.log import TopicPartition
from calllog_guard.settings import Settings
from calllog_guard.workers.context import WorkerContext
from calllog_guard.workers.runtime.attempts import Attempts, Unit

PLACES = [TopicPartition("events", 0), TopicPartition("events", 1)]


def records(*values: bytes, place: TopicPartition = PLACES[0]) -> dict[TopicPartition, list[Arrival]]:
    """Records of one partition."""
    return {place: [arrival((*place,), at, 0, None, value) for at, value in enumerate(values)]}


# --- cutting a poll -------------------------------------------------------------------------------------------------


@given(st.lists(st.lists(st.binary(max_size=30), max_size=8), max_size=3), st.integers(1, 60), st.integers(1, 6))
def test_a_poll_is_cut_without_loss_in_its_order(some: list[list[bytes]], most_bytes: int, most: int) -> None:
    poll = {at: records(*values)[PLACES[0]] for at, values in enumerate(some) if values}
    found = list(units(poll, most_bytes, most))
    again: dict[int, list[Arrival]] = {}
    for unit in found:
        assert unit
        flat = [record for each in unit.values() for record in each]
        assert len(flat) == 1 or sum(each.size for each in flat) <= most_bytes
        assert len(flat) == 1 or sum(map(parties, flat)) <= most
        for place, each in unit.items():
            again.setdefault(place, []).extend(each)
    assert again == poll


def test_three_hundred_events_of_a_thousand_parties_are_many_units() -> None:
    """Forty kilobytes each; no way of writing the JSON makes its parties fewer than they are."""
    event = b'{"parties":[' + b",".join(b'{"id":"%d","role":"guest"}' % number for number in range(1000)) + b"]}"
    (first, *_), *rest = [list(unit.values()) for unit in units(records(*[event] * 300), 4 << 20, 10_000)]
    assert len(rest) >= 30
    assert sum(map(parties, first)) <= 10_000 <= sum(map(parties, first)) + 1001


# --- attempts -------------------------------------------------------------------------------------------------------


class Withdrawn(MemoryWriter):
    """A log that tells when it was asked to give up, and refuses what holds a word."""

    def __init__(self) -> None:
        super().__init__()
        self.withdrawn = 0
        self.refused: bytes | None = None

    async def write(self, outputs: Sequence[Output]) -> None:
        """See Writer."""
        if self.refused is not None and any(self.refused in (output.value or b"") for output in outputs):
            raise OutputTooLargeError("legs", 2_000_000)
        await super().write(outputs)

    async def withdraw(self) -> None:
        """See Writer."""
        self.withdrawn += 1


class World:
    """A handler that fails as it is told, and what came of it."""

    name = "protector"

    def __init__(self, unit_max_s: float = 0.5) -> None:
        self.log, self.counts, self.revoking = Withdrawn(), Counter[CounterMetric](), asyncio.Event()
        self.attempts: list[float] = []
        self.fails: Callable[[int], GuardError | None] = lambda _: None
        dead = SimpleNamespace(of=lambda _, error: Output("dead", 0, None, error.reason.encode()))
        settings = Settings(unit_max_s=unit_max_s)
        given = context(WorkerContext, writer=self.log, dead=dead, settings=settings, count=self.count)
        self.under_test = Attempts(self, given, self.revoking)

    def count(self, name: CounterMetric, by: int) -> None:
        """See Delivery."""
        self.counts[name] += by

    async def unit(self, unit: Unit) -> None:
        """See Role."""
        self.attempts.append(asyncio.get_running_loop().time())
        error = self.fails(len(self.attempts))
        if error is not None:
            raise error
        await self.log.write([Output("legs", 0, None, record.value) for each in unit.values() for record in each])

    def written(self) -> list[Any]:
        """What was written, letters apart."""
        return [output.value for output in self.log.outputs if output.topic == "legs"]

    def letters(self) -> list[Any]:
        """The reasons of letters."""
        return [output.value for output in self.log.outputs if output.topic == "dead"]


async def test_one_deadline_is_over_all_attempts_once_anything_was_sent() -> None:
    """Each attempt by itself is short: the certificate's waiting time rests on what they take together."""
    world = World(unit_max_s=0.6)
    world.fails = lambda _: UnacknowledgedError("not acknowledged")
    with pytest.raises(UnitOverdueError):
        await world.under_test.until_done(records(b"1"))
    assert len(world.attempts) > 1
    assert world.attempts[-1] - world.attempts[0] < 0.6
    assert world.log.withdrawn == 1


@pytest.mark.slow
async def test_what_has_sent_nothing_waits_as_long_as_the_silence_lasts() -> None:
    """A keystore that is away for an hour stops no worker: nothing was read that could be late."""
    world = World(unit_max_s=0.2)
    world.fails = lambda number: KeystoreSilentError("silent") if number < 6 else None
    assert await world.under_test.until_done(records(b"1"))
    assert world.attempts[-1] - world.attempts[0] > 0.4
    assert (world.written(), world.log.withdrawn) == ([b"1"], 0)
    assert world.counts[Counters.keystore_answers["unavailable"]] == 5


async def test_the_deadline_goes_on_through_another_silence() -> None:
    """Kafka once, then the keystore for ever: what was sent in the first attempt is what counts."""
    world = World(unit_max_s=0.4)
    world.fails = lambda number: KeystoreSilentError("silent") if number != 2 else UnacknowledgedError("no")
    with pytest.raises(UnitOverdueError):
        await world.under_test.until_done(records(b"1"))
    assert world.attempts[-1] - world.attempts[1] < 0.4


async def test_an_attempt_that_hangs_is_cut_off_and_withdrawn() -> None:
    world = World(unit_max_s=0.2)

    async def hangs(unit: Unit) -> None:
        del unit
        await asyncio.sleep(60)

    world.unit = hangs  # type: ignore[method-assign]
    with pytest.raises(UnitOverdueError):
        await world.under_test.until_done(records(b"1"))
    assert world.log.withdrawn == 1


async def test_a_retry_ends_on_revocation() -> None:
    world = World()
    world.fails = lambda _: KeystoreSilentError("silent")
    asyncio.get_running_loop().call_later(0.1, world.revoking.set)
    assert not await world.under_test.until_done(records(b"1", b"2"))


@pytest.mark.parametrize("at", [0, 1, 4, 8])
async def test_the_one_record_whose_outputs_fit_nowhere_is_a_letter_and_the_others_are_handled(at: int) -> None:
    """The broker refuses a batch as a whole; which message is at fault is found by halves."""
    values = [b"good %d" % number for number in range(9)]
    values[at] = b"huge"
    world = World()
    world.log.refused = b"huge"
    unit = records(*values[:5]) | records(*values[5:], place=PLACES[1])
    assert await world.under_test.until_done(unit)
    assert sorted(world.written()) == sorted(value for value in values if value != b"huge")
    assert world.letters() == [b"output_too_large"]
    assert world.counts[Counters.dead["output_too_large"]] == 1


async def test_a_revocation_ends_the_search_too() -> None:
    """The second half is not handled before the first is."""
    world = World()
    world.fails = lambda number: MessageError("bad") if number == 1 else KeystoreSilentError("silent")
    world.revoking.set()
    assert not await world.under_test.until_done(records(b"1", b"2"))
    assert len(world.attempts) == 2


async def test_a_letter_that_its_topic_does_not_take_halts() -> None:
    """That is no message's fault any more."""
    world = World()
    world.log.refused = b"too_large"
    world.fails = lambda _: OutputTooLargeError("legs", 2_000_000)
    with pytest.raises(LogFaultError):
        await world.under_test.until_done(records(b"1"))
    assert world.written() == []
