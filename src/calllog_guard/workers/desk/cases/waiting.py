"""
Granted cases that cannot be carried out, since something of one person's cannot be used: no other person's case waits.

Rules: 1. The request stays in its case, sealed, so its record may be forgotten.  2. Later requests about that person
          wait, except total erasures, which need nothing of it.  3. Each is retried by itself, with growing pauses.
       4. So many at once are no single people's matter: requests wait.
Source: docs/adr/0011-one-persons-matter.md.
"""

from collections.abc import Awaitable, Callable, Collection
from typing import Final

import structlog

from calllog_guard.core.cases.case import Case
from calllog_guard.core.identifiers import Lookup
from calllog_guard.core.policy.active import TenantPolicy
from calllog_guard.core.requests.request import Request
from calllog_guard.errors import CaseStateError, LookingError, ParkedError
from calllog_guard.metrics import Counters, Increment
from calllog_guard.workers.desk.cases.case_store import Casebook
from calllog_guard.workers.desk.decisions.decider import Decider
from calllog_guard.workers.desk.decisions.granted import Granted
from calllog_guard.workers.runtime.backoff import Pauses

log: Final = structlog.get_logger()
CASES_MOST: Final = 1000
"""Cases that wait so at once."""


def is_waiting(case: Case) -> bool:
    """Whether a case was left half done: granted, or refused, and its request kept for the rest."""
    half = (case.state == "enforcing" and not case.decided) or (
        case.state == "refused" and "refused" not in case.stages
    )
    return case.sealed is not None and not case.announcing and (half or (case.considered and not case.decisions))


class WaitingCases:
    """
    The cases of one tenant that wait so, each with the people whom it is about.

    Args:
        carry: Carries a case out as far as code may; may be called again.
        table: The policy in force.

    """

    def __init__(
        self,
        book: Casebook,
        decider: Decider,
        carry: Callable[[Granted], Awaitable[Case]],
        table: Callable[[], tuple[str, TenantPolicy]],
        count: Increment,
    ) -> None:
        self._book, self._decider, self._carry, self._table, self._count = book, decider, carry, table, count
        self._who: dict[str, frozenset[Lookup]] = {}
        self._pauses: Pauses[str] = Pauses()

    def __len__(self) -> int:
        return len(self._who)

    async def begin(self) -> None:
        """The cases were read anew; what the log is about to hand out again comes first."""
        self._who.clear()
        self._pauses = Pauses()
        for case in sorted(filter(is_waiting, self._book.every()), key=lambda each: each.place):
            try:
                await self._note(case, self._book.request_of(case))
            except CaseStateError as error:
                self._lost(case, error)
            else:
                self._pauses.later(case.case)
                if case.type == "disclose":  # keepers may have answered already
                    self._pauses.now(case.case)

    async def carried(self, granted: Granted) -> Case:
        """Carry a case out, or have it wait; behind what was asked about the same person before and waits."""
        case, request = granted.case, granted.request
        if request.type == "erase" and request.range is None:
            return await self._tried(granted)
        lookups = await self._people(request)
        for name in self._before(case, lookups):
            await self._once_more(name)
        if self._before(case, lookups):
            behind = ParkedError("what was asked about the same person before waits")
            return await self.put(case, request, behind)
        return await self._tried(granted)

    async def _tried(self, granted: Granted) -> Case:
        name = granted.case.case
        try:
            done = await self._carry(granted)
        except ParkedError as error:
            return await self.put(self._book.get(name) or granted.case, granted.request, error)
        self._ended(name)
        return done

    async def _once_more(self, name: str) -> None:
        case, (version, table) = self._book.get(name), self._table()
        if case is None or not is_waiting(case):
            self._ended(name)
            return
        try:
            request = self._book.request_of(case)
        except CaseStateError as error:
            self._lost(case, error)
            self._ended(name)
        else:
            await self._tried(Granted(case, request, table, version, waited=True))

    async def again(self) -> int:
        """Try what is due, each behind earlier ones about the same person; how many wait, without secret ones."""
        due = [case for name in self._pauses if self._pauses.due(name) and (case := self._book.get(name))]
        for case in sorted(due, key=lambda each: each.place):
            await self._once_more(case.case)
        return sum(not case.secret for name in self._who if (case := self._book.get(name)) is not None)

    @staticmethod
    def _lost(case: Case, error: CaseStateError) -> None:
        """Its request does not open any more: an officer can refuse it."""
        log.error("a case cannot go on", why=error.reason, **named(case))

    async def _note(self, case: Case, request: Request) -> None:
        self._who[case.case] = await self._people(request)

    async def _people(self, request: Request) -> frozenset[Lookup]:
        return frozenset(await self._decider.subjects.known(request))

    def _before(self, case: Case, lookups: Collection[Lookup]) -> list[str]:
        """The cases about some people that came before this one, in their order."""
        theirs = [name for name, who in self._who.items() if name != case.case and not who.isdisjoint(lookups)]
        found = [each for name in theirs if (each := self._book.get(name)) is not None and each.place < case.place]
        return [each.case for each in sorted(found, key=lambda each: each.place)]

    async def put(self, case: Case, request: Request, error: ParkedError) -> Case:
        """
        Have a case wait; on return its topic has it with its request.

        Raises:
            ParkedError: Too many wait already.

        """
        if case.case not in self._who and len(self._who) >= CASES_MOST:
            raise error
        if case.sealed is None:
            case = await self._book.save(await self._book.sealed(case, request))
        await self._note(case, request)
        if self._pauses.failed(case.case) and not isinstance(error, LookingError):
            self._count(Counters.cases_waited, 1)
            log.error("a case waits", why=str(error), **named(case))
        return case

    def at_once(self, name: str) -> None:
        """Something has changed: it is tried without its pause."""
        self._pauses.now(name)

    def at_once_all(self) -> None:
        """Something has changed that several may wait for."""
        self._pauses.at_once()

    def _ended(self, name: str) -> None:
        self._who.pop(name, None)
        self._pauses.ended(name)


def named(case: Case) -> dict[str, str]:
    """A secret case has no name in a log."""
    return {} if case.secret else {"case": case.case}
