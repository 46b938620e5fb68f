"""Work side by side: what may overlap, what may not, and that nothing runs on behind an error."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from calllog_guard.adapters.kafka.writer import KafkaWriter
from calllog_guard.core.records import Output
from calllog_guard.errors import LogSilentError
from calllog_guard.workers.runtime.parallel import ABREAST, Turns, abreast, portions, unhurried


def test_what_has_the_same_key_never_shares_a_portion_and_order_stays() -> None:
    items = ["a1", "b1", "a2", "c1", "a3", "b2"]
    assert portions(items, lambda item: item[0]) == [["a1", "b1"], ["a2", "c1"], ["a3", "b2"]]


def test_a_portion_is_bounded() -> None:
    assert [len(each) for each in portions(range(2 * ABREAST + 1), lambda item: item)] == [ABREAST, ABREAST, 1]


async def test_a_step_is_done_in_order_and_a_piece_that_never_comes_to_it_holds_nobody_back() -> None:
    turns, done = Turns(), list[int]()
    turns.begin(range(5))

    async def piece(number: int) -> None:
        try:
            for _ in range(10 * (5 - number)):
                await asyncio.sleep(0)
            if number == 2:
                raise LogSilentError("this one fails before")
            await turns.come(number)
            done.append(number)
            await turns.passed(number)
        finally:
            await turns.passed(number)

    with pytest.raises(LogSilentError):
        await abreast(piece, range(5))
    assert done == [0, 1, 3, 4]
    await turns.come("of whom nobody has heard")


async def test_others_run_before_each_portion_of_long_work() -> None:
    """What takes seconds as a whole leaves the loop free for heartbeats in between."""
    ran, done = list[int](), 0

    async def other() -> None:
        while True:
            ran.append(done)
            await asyncio.sleep(0)

    beside = asyncio.create_task(other())
    async for item in unhurried(range(6), 2):
        assert item == done
        done += 1
    beside.cancel()
    assert done == 6
    assert ran == [0, 2, 4]


async def test_every_piece_has_ended_before_the_error_is_raised() -> None:
    """The unit is done again after it: nothing of the first try may still be writing then."""
    ended: list[int] = []

    async def work(item: int) -> int:
        if item == 0:
            raise LogSilentError("silent")
        await asyncio.sleep(0.01)
        ended.append(item)
        return item

    with pytest.raises(LogSilentError):
        await abreast(work, range(3))
    assert ended == [1, 2]
    assert await abreast(work, [3, 1]) == [3, 1]


class Counted(KafkaWriter):
    """A writer whose broker acknowledges after a while, or never."""

    def __init__(self) -> None:
        super().__init__("localhost:1", {})
        self.batches: list[list[bytes | None]] = []
        self.silent = False

    async def _acknowledged(self, outputs: Sequence[Output]) -> list[int]:
        await asyncio.sleep(0.01)
        self.batches.append([output.key for output in outputs])
        if self.silent:
            raise LogSilentError("silent")
        return []


@pytest.fixture
async def writer() -> AsyncIterator[Counted]:
    """A writer that never connects."""
    found = Counted()
    yield found
    await found.stop()


def output(name: str) -> Output:
    """A record."""
    return Output("topic", 0, name.encode(), b"")


async def test_writes_that_are_asked_for_at_the_same_time_share_a_batch_in_their_order(writer: Counted) -> None:
    first = asyncio.create_task(writer.write([output("a")]))
    await asyncio.sleep(0.005)
    await asyncio.gather(first, writer.write([output("b"), output("c")]), writer.write([output("d")]), writer.write([]))
    assert writer.batches == [[b"a"], [b"b", b"c", b"d"]]


async def test_a_write_that_was_not_acknowledged_raises_for_everyone_who_waits_for_it(writer: Counted) -> None:
    writer.silent = True
    ended = await asyncio.gather(*(writer.write([output(name)]) for name in "ab"), return_exceptions=True)
    assert [type(each) for each in ended] == [LogSilentError, LogSilentError]
    writer.silent = False
    await writer.write([output("c")])
    assert writer.batches[-1] == [b"c"]
