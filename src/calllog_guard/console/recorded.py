"""
On record before it is shown: whoever opens the page of a case stands in the topic of accesses, or the page is not made.

Rules: 1. The record is acknowledged before anything of the case is handed out.  2. It is signed with the console's own
          key, as an actor of the policy, and names the officer.  3. It says which case, and nothing of its content.
Source: `core/audit/accesses.py`, `core/policy/actors.py`; GDPR Art. 5(2), 32.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from calllog_guard.core.audit.accesses import ActorKey, place_of
from calllog_guard.core.codec import Access
from calllog_guard.core.identifiers import ID_BYTES, b64
from calllog_guard.core.policy.actors import CASE_VIEW, Actors
from calllog_guard.core.records import Output
from calllog_guard.errors import StateRefusedError
from calllog_guard.ports.clock import Clock
from calllog_guard.ports.log import Writer


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewRecorder:
    """
    Writes who has been shown which case.

    Args:
        actors: Of the policy that is followed now.
        access: The topic of accesses; `cases` that of cases.
        home: The tenant's partition of both.

    """

    writer: Writer
    clock: Clock
    key: ActorKey
    guard: bytes
    actors: Callable[[], Actors]
    access: str
    cases: str
    home: int

    def actor(self) -> str:
        """
        Who this console is, by its key.

        Raises:
            StateRefusedError: The policy in force registers its key for nobody, or it has lapsed.

        """
        name = self.actors().named(self.key.public, self.clock.now())
        if name is None:
            raise StateRefusedError(
                "the console's key (CALLLOG_GUARD_ACTOR_KEY) is no actor's in the policy in force, or lapsed: enter "
                "an actor for the console there (docs/how-to/console.md)"
            )
        return name

    async def viewed(self, case: str, officer: str, offset: int, purpose: str = CASE_VIEW) -> None:
        """
        Put on record that an officer is shown a case, or handed its answer; acknowledged on return.

        Raises:
            StateRefusedError: See `actor`; LogSilentError, LogFaultError: Kafka does not take it. Show nothing.

        """
        access = Access(
            v=1,
            actor=self.actor(),
            purpose=purpose,
            case=case,
            topic=self.cases,
            partition=self.home,
            from_=offset,
            to=offset,
            opened=1,
            refused={},
            at=self.clock.now(),
            read=b64(secrets.token_bytes(ID_BYTES)).decode(),
            by=officer,
        )
        value = self.key.vouched(access, place_of(self.guard, self.access, self.home))
        await self.writer.write([Output(self.access, self.home, access.actor.encode(), value)])
