"""
Follows the published policy: every worker reads the policy's topic and is the law of it, without a restart.

Rules: 1. A worker has read the topic to its end before it works.  2. What is refused changes nothing, and is told.
       3. A version that wants to keep legs for longer than their topic does waits until the topic does too.
       4. Nothing begins under a law that is older than one published or followed before; who runs already goes on.
Source: docs/how-to/write-the-policy.md.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final, Protocol

import structlog

from calllog_guard.core.policy.active import Policy
from calllog_guard.core.policy.changes.chain import PASSING, TOO_LONG, FollowedPolicy
from calllog_guard.core.policy.changes.grave import SECOND
from calllog_guard.core.policy.changes.publication import is_publication
from calllog_guard.core.policy.form import Version
from calllog_guard.errors import RequestRefusedError
from calllog_guard.metrics import Counters, Increment
from calllog_guard.ports.clock import Clock

log: Final = structlog.get_logger()
_ASK_AGAIN: Final = timedelta(seconds=30)
_MOST_REFUSED: Final = 100
_MOST_BYTES: Final = 1 << 20
"""Of a published version: ten times the longest policy ever written. Its writers could else fill the memory."""
_TOO_LARGE: Final = "too_large"


class PolicyRecords(Protocol):
    """A topic from its beginning on. Both methods raise LogSilentError: ask again."""

    async def up_to_now(self) -> list[Any]:
        """Every record up to the present end."""

    async def more(self) -> list[Any]:
        """What has arrived since."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyHooks:
    """
    What a process does around the policy that it follows.

    Args:
        kept_days: For how long the log keeps legs; None: for ever.
        seen: The newest version that this machine has followed.
        show: Is told which version is in force.
        letter: Makes a dead letter of a refused publication; None: another process does.

    """

    kept_days: Callable[[], Awaitable[int | None]]
    seen: Callable[[], tuple[date, int] | None]
    show: Callable[[Version], None]
    letter: Callable[[Any, RequestRefusedError], Awaitable[None]] | None
    count: Increment


class PolicySource:
    """Keeps one process' policy up with what is published."""

    def __init__(self, policy: Policy, tail: PolicyRecords, clock: Clock, hooks: PolicyHooks) -> None:
        self._policy, self._tail, self._clock, self._kept_days = policy, tail, clock, hooks.kept_days
        self._count, self._show, self._letter, self._seen = hooks.count, hooks.show, hooks.letter, hooks.seen
        self._records: dict[bytes, int] = {}
        self._fresh: dict[bytes, Any] = {}
        self._told: dict[bytes, str] = {}
        self._large: list[Any] = []
        self._ask_again = clock.now()

    async def catch_up(self) -> None:
        """
        Be the law of today before the first unit; what was refused earlier is told again, so that nothing is missed.

        Raises:
            ConfigurationError: That would be an older law than one that was published, or followed on this machine.

        """
        self._note(await self._tail.up_to_now())
        followed, now = await self._follow(), self._clock.now()
        followed.check_whole(self._seen(), now.date())
        self._shown(now)

    async def look(self) -> None:
        """Follow what has been published since."""
        self._note(await self._tail.more())
        now = self._clock.now()
        if self._fresh or self._large or (TOO_LONG in self._told.values() and now >= self._ask_again):
            await self._follow()
            self._ask_again = now + _ASK_AGAIN
        self._shown(now)

    def _shown(self, now: datetime) -> None:
        self._show(self._policy.at(now.date()))

    def _note(self, records: Sequence[Any]) -> None:
        for record in records:
            if record.value in self._records or not is_publication(record):
                continue
            if record.remnant is not None or len(record.value) > _MOST_BYTES:
                self._large.append(record)
            else:
                self._records[record.value] = record.timestamp
                self._fresh[record.value] = record

    async def _refuse_large(self) -> None:
        large, self._large = self._large, []
        for record in large:
            reason = record.remnant.reason if record.remnant else _TOO_LARGE
            log.error("published policy refused: nothing changes", reason=reason)
            self._count(Counters.policy_refused[reason], 1)
            if self._letter is not None:
                await self._letter(record, RequestRefusedError(reason))

    async def _follow(self) -> FollowedPolicy:
        await self._refuse_large()
        before = self._policy.versions
        followed = self._policy.follow(self._records, await self._kept_days())
        if self._policy.versions != before:
            log.info("policy followed", versions=[each.label for each in self._policy.versions])
        for token, reason in followed.refused.items():
            if self._told.get(token) == reason:
                continue
            if reason == SECOND:
                log.warning("a published policy waits until a second officer has signed it")
                continue
            log.error("published policy refused: nothing changes", reason=reason)
            self._count(Counters.policy_refused[reason], 1)
            if self._letter is not None and token in self._fresh:
                await self._letter(self._fresh[token], RequestRefusedError(reason))
        self._fresh.clear()
        self._told = followed.refused
        for token in [each for each, why in followed.refused.items() if why not in PASSING][:-_MOST_REFUSED]:
            del self._records[token]
            del self._told[token]
        return followed
