"""
Whether the own clock and the brokers' agree: what cannot be taken back waits until they do.

Brokers stamp what is appended to our topics; their answers bear that time. A clock years ahead would let a keeper
remove every leg and a walk move every ratchet; one that is behind would certify too soon.
Rules: 1. What was measured holds for a minute of the loop's clock, which no one sets; then a record measures anew.
       2. A jump of the own clock is seen at once.  3. The furthest broker counts, either way: whose clock is wrong
          nobody here can tell.  4. A topic that takes its sender's times measures nothing.
Source: docs/how-to/operate.md.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

import structlog

from calllog_guard.core.codec import to_ms
from calllog_guard.metrics import Counters, Gauges, Increment, SetGauge
from calllog_guard.ports.clock import Clock
from calllog_guard.ports.log import Place

log: Final = structlog.get_logger()
FRESH_S: Final = 60.0
"""For how long a measurement is believed; most that can go by unseen is the drift of a clock within it."""
Agree = Callable[[], Awaitable[bool]]
"""Whether what cannot be taken back may be done now."""
_PAUSE_S: Final = 5.0
"""Between two records that are written to measure, while the clocks disagree."""


class Measured(NamedTuple):
    """How far the own clock was ahead of a broker's (seconds), and when: by the loop's clock and the own (ms)."""

    ahead_s: float
    at: float
    own_ms: int


class Clocks:
    """One worker's; `probe` writes a record to each partition of its own, and none where nothing is its own."""

    def __init__(
        self,
        clock: Clock,
        most_s: float,
        probe: Callable[[], Awaitable[None]],
        count: Increment,
        level: SetGauge,
    ) -> None:
        self._clock, self._most_s, self._probe, self._count, self._level = clock, most_s, probe, count, level
        self._measured: dict[Place, Measured] = {}
        self._apart, self._next = False, 0.0

    def stamped(self, place: Place, at_ms: int | None) -> None:
        """A broker has just appended something at this time; None: it took the sender's."""
        if at_ms is None:
            self._measured.pop(place, None)
            return
        own_ms = to_ms(self._clock.now())
        self._measured[place] = Measured((own_ms - at_ms) / 1000, self._now(), own_ms)

    async def agree(self) -> bool:
        """
        Whether the clocks are no further apart than they may be; False also while nothing is known.

        Raises:
            LogSilentError: Nothing could be written: wait.

        """
        if not self._agrees() and self._now() >= self._next:
            self._next = self._now() + _PAUSE_S
            self._measured.clear()
            await self._probe()
        found = self._agrees()
        if found == self._apart:
            self._apart = not found
            if self._apart:
                self._count(Counters.clocks_apart, 1)
                log.error(
                    "the clocks disagree, or a topic takes its senders' times: "
                    "nothing that cannot be taken back is done",
                    ahead_s=self._furthest(),
                    allowed_s=self._most_s,
                )
            else:
                log.warning("the clocks agree again", ahead_s=self._furthest())
        self._level(Gauges.clock_ahead_s, self._furthest())
        return found

    def _agrees(self) -> bool:
        now = self._now()
        fresh = [each for each in self._measured.values() if now - each.at <= FRESH_S]
        return bool(fresh) and abs(self._furthest()) <= self._most_s

    def _furthest(self) -> float:
        """How far the own clock is ahead of the broker from which it differs most; 0 where nothing is measured."""
        now, own_ms = self._now(), to_ms(self._clock.now())
        ahead = [
            each.ahead_s + (own_ms - each.own_ms) / 1000 - (now - each.at)
            for each in self._measured.values()
            if now - each.at <= FRESH_S
        ]
        return max(ahead, key=abs, default=0.0)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


async def unwatched() -> bool:
    """Where nobody measures: a command's own reading, and tests that set the clock by hand."""
    return True
