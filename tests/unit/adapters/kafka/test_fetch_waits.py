"""How long a fetch waits at the broker: shortly while records come, longer the longer none does."""

import asyncio
from typing import Any

import pytest
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.offset import OffsetRequest

from calllog_guard.adapters.kafka import fetches
from calllog_guard.adapters.kafka.fetches import FETCHES, WAIT_MOST_MS, Fetcher, FetchingClient


class Time:
    """Seconds that are set by hand."""

    at = 100.0

    def monotonic(self) -> float:
        """See time."""
        return self.at


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    """The adapter's time."""
    found = Time()
    monkeypatch.setattr(fetches, "time", found)
    return found


class Asked(Fetcher):
    """One that is answered by hand."""

    def __init__(self, *, least_ms: int = 10) -> None:
        self._fetch_max_wait_ms = least_ms
        self.found = False

    async def _fetched(self, *_: Any) -> bool:
        return self.found

    def __del__(self) -> None:
        """Nothing was begun."""


def test_a_fetch_waits_a_tenth_of_the_pause_before_it_and_a_fifth_of_a_second_at_most(time: Time) -> None:
    fetcher = Asked()
    assert fetcher._fetch_max_wait_ms == 10
    time.at += 1
    assert fetcher._fetch_max_wait_ms == 100
    time.at += 3600
    assert fetcher._fetch_max_wait_ms == WAIT_MOST_MS
    assert Asked(least_ms=2000)._fetch_max_wait_ms == 2000


def test_a_record_makes_fetches_short_again_and_an_empty_answer_does_not(time: Time) -> None:
    fetcher = Asked()
    time.at += 60
    asyncio.run(fetcher._proc_fetch_request())
    assert fetcher._fetch_max_wait_ms == WAIT_MOST_MS
    fetcher.found = True
    assert asyncio.run(fetcher._proc_fetch_request()) is True
    assert fetcher._fetch_max_wait_ms == 10


async def test_a_question_waits_behind_no_fetch() -> None:
    asked: list[tuple[int, dict[str, int]]] = []

    class Client:
        name = "of the library"

        async def send(self, node_id: int, _: object, **how: int) -> None:
            asked.append((node_id, how))

    client = FetchingClient(Client())
    await client.send(1, FetchRequest(500, 1, 1, 0, []))
    await client.send(1, OffsetRequest(-1, 0, []))
    assert asked == [(1, {"group": FETCHES}), (1, {})]
    assert client.name == "of the library"
