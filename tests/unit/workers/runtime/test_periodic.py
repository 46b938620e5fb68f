"""A duty's turns: after its pause, and soon again where it could not be done yet."""

import asyncio

import pytest

from calllog_guard.workers.runtime.periodic import Duty

HOUR_S = 3600.0


async def turns(answers: list[bool | None], clock: list[float]) -> list[float]:
    """When a duty of every hour was begun, by a loop whose clock moves a second at each poll."""
    loop, begun = asyncio.get_running_loop(), list[float]()

    async def work() -> bool | None:
        begun.append(clock[0])
        return answers.pop(0)

    duty = Duty("walk", HOUR_S, work)
    real, loop.time = loop.time, lambda: clock[0]  # type: ignore[method-assign]
    try:
        while answers:
            duty.poll()
            for _ in range(3):
                await asyncio.sleep(0)
            clock[0] += 1
    finally:
        loop.time = real  # type: ignore[method-assign]
    return begun


@pytest.mark.parametrize("answer", [True, None])
async def test_what_was_done_rests(answer: bool | None) -> None:  # noqa: FBT001 - a duty's answer
    first, second = await turns([answer, True], [0.0])
    assert second - first >= HOUR_S


async def test_what_could_not_be_done_yet_is_tried_soon() -> None:
    """A walk that waits for the clocks to be measured would otherwise come an hour later."""
    first, second = await turns([False, True], [0.0])
    assert second - first < HOUR_S / 100
