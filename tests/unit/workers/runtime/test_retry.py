"""What is silent is asked again, with growing pauses, and not for longer than was said; anything else is no silence."""

import asyncio

import pytest

from calllog_guard.errors import ConfigurationError, GuardError, LogSilentError
from calllog_guard.workers.runtime.retry import RETRY_FIRST_S, RETRY_MOST_S, answered, longer


class Server:
    """It fails as often as it is told to."""

    def __init__(self, *errors: GuardError) -> None:
        self.errors, self.asked, self.told = list(errors), 0, list[str]()

    async def ask(self) -> str:
        """What is asked for."""
        self.asked += 1
        if self.errors:
            raise self.errors.pop(0)
        return "an answer"

    def waits(self, error: GuardError) -> None:
        """Who asked is told."""
        self.told.append(str(error))


async def test_silence_is_waited_for_and_told_each_time() -> None:
    server = Server(LogSilentError("one"), LogSilentError("two"))
    assert await answered(server.ask, server.waits) == "an answer"
    assert (server.asked, server.told) == (3, ["one", "two"])


async def test_silence_for_longer_than_was_said_is_an_error() -> None:
    server = Server(LogSilentError("one"), LogSilentError("two"))
    with pytest.raises(LogSilentError, match="one"):
        await answered(server.ask, server.waits, most_s=0)
    assert (server.asked, server.told) == (1, [])


async def test_what_is_no_silence_is_not_asked_again() -> None:
    server = Server(ConfigurationError("wrong"))
    with pytest.raises(ConfigurationError):
        await answered(server.ask, server.waits)
    assert server.told == []


async def test_pauses_grow_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that comes back is not met by all at once, and nobody waits for long once it is there."""
    pauses, server = list[float](), Server(*(LogSilentError("silent") for _ in range(9)))
    sleep = asyncio.sleep

    async def noted(pause_s: float) -> None:
        pauses.append(pause_s)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", noted)
    await answered(server.ask, server.waits)
    assert pauses[:3] == [RETRY_FIRST_S, RETRY_FIRST_S * 2, RETRY_FIRST_S * 4]
    assert max(pauses) == pauses[-1] == RETRY_MOST_S == longer(RETRY_MOST_S)
