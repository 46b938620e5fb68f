"""
Copies for a disclosure: of what it is about from the day of the request, and of what is held for its authority.

Rules: 1. A waiting disclosure (second officer, notice to the person) marks like a hold: its copies are made when it is
          asked for: no erasure, expiry or objection empties it.  2. They are kept as under a secret hold: whoever
          is erased meanwhile learns of the disclosure by its own notice, and where the law forbids that by nothing.
       3. They go when the case has ended, whatever its end.  4. What is held for an authority is given to it alone;
          what is held in secret only where the request names the hold.
       5. Before anybody is told of it, keepers say whether there is anything to give: a disclosure of nothing is none.
From level 2 on. Source: docs/adr/0004-a-hold-is-a-copy.md, docs/explanation/cases.md; GDPR Art. 17(3)(b),(e).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

import msgspec

from calllog_guard.core.cases.case import ANNOUNCED, ASKED, FOUND, Case
from calllog_guard.core.codec import to_ms
from calllog_guard.core.decisions.decision import case_id, request_name
from calllog_guard.core.decisions.hold import DISCLOSED, READY, Terms, hold_id
from calllog_guard.core.identifiers import Lookup, Pseudonym
from calllog_guard.core.requests.fields import Hold
from calllog_guard.core.requests.request import AUDIENCE, Request
from calllog_guard.errors import LookingError, RequestRefusedError
from calllog_guard.workers.desk.cases.unfound import as_found
from calllog_guard.workers.desk.decisions.granted import Former, Granted, Telling
from calllog_guard.workers.desk.decisions.holds import Holds

FORMS: Final = 2
FREED: Final = "+freed"
"""Ends the name of the case that lets a disclosure's copies go."""
_OVER: Final = frozenset({"closed", "refused"})
_EVERY: Final = timedelta(minutes=1)
_LOST: Final = timedelta(days=1)
"""Copies whose disclosure was never opened go after this: a crash in between is long over."""


@dataclass(frozen=True, slots=True)
class LogPlace:
    """Where and when a request of our own stands in the log: where the one stands from which it follows."""

    partition: int
    offset: int
    timestamp: int


class Disclosures:
    """One tenant's disclosures."""

    def __init__(self, holds: Holds) -> None:
        self._holds, self._a, self._next = holds, holds.context, holds.context.clock.now()

    def _name(self, iss: str, jti: str) -> str:
        return f"{DISCLOSED}{case_id(self._a.tenant, request_name(iss, jti))}"

    def check_request(self, request: Request) -> None:
        """
        Whether a disclosure may name a hold.

        Raises:
            RequestRefusedError: `unexpected_field`, up to the first level of forms.

        """
        if request.type == "disclose" and request.hold is not None and self._a.ring.forms < FORMS:
            raise RequestRefusedError("unexpected_field", "/hold")

    def parts(self, request: Request) -> list[tuple[str, Request]]:
        """The cases that a disclosure brings: before it the hold that keeps its copies ready."""
        if request.type != "disclose" or self._a.ring.forms < FORMS:
            return [(request.jti, request)]
        order = Hold(
            id=self._name(request.iss, request.jti),
            range=request.range,
            authority=request.authority,
            basis=request.basis,
            secret=True,
        )
        bare = dict.fromkeys(("range", "authority", "basis", "notify", "review_at", "reply_key", "ticket"))
        return [
            (request.jti + READY, msgspec.structs.replace(request, type="hold", hold=order, **bare)),
            (request.jti, request),
        ]

    async def produced(self, granted: Granted, lookups: Mapping[int, Lookup], told: Telling) -> Telling:
        """The copies to give, and the people who have nothing else left: the disclosure's own, and the authority's."""
        case, request, standing = granted.case, granted.request, await self._holds.standing()
        own = {hold_id(self._a.tenant, self._name(case.asked_by, case.jti)), case.hold}
        wanted = set(lookups.values())
        chosen = {
            name: terms
            for name, (_, terms) in standing.items()
            if (name in own or _for(terms, request)) and not wanted.isdisjoint(terms.subjects)
        }
        present = {(lookup, generation) for lookup, generation, _ in await self._holds.living(wanted)}
        met = [each for terms in chosen.values() for each in terms.people if each.told]
        former = [
            Former(Lookup(each.lookup), each.generation, Pseudonym(each.pseudonym))
            for each in met
            if each.lookup in wanted and (each.lookup, each.generation) not in present
        ]
        return replace(told, holds=tuple(chosen), former=tuple(dict.fromkeys(former)))

    async def looked(self, granted: Granted, told: Telling) -> tuple[Case, bool]:
        """
        The case, and whether it has anything to give.

        Raises:
            LookingError: Keepers are still to say so.

        """
        case, book = granted.case, self._a.book
        begun = ANNOUNCED in case.stages or case.decisions
        if granted.request.type != "disclose" or self._a.ring.forms < FORMS or case.known is False or begun:
            return case, True
        ready = book.get(book.case_of(case.asked_by, case.jti + READY))
        if ready is not None and ready.hold in told.holds and any(ready.legs.values()):
            return as_found(case), True
        case, said = await self._a.decider.look(granted, told)
        if ASKED in said:
            raise LookingError("keepers look whether there is anything to disclose")
        return (as_found(case), True) if FOUND in said else (case, False)

    def ended(self, case: Case) -> None:
        """A case has changed: if it was a disclosure and is over, its copies go at the next look."""
        if case.type == "disclose" and case.state in _OVER:
            self._next = self._a.clock.now()

    def over(self, cases: Iterable[Case], now: datetime) -> list[tuple[str, Request, LogPlace]]:
        """The releases that are due, once a minute: of copies whose disclosure has ended, each as an own request."""
        found: list[tuple[str, Request, LogPlace]] = []
        if now < self._next:
            return found
        self._next = now + _EVERY
        for each in cases:
            if not each.jti.endswith(READY):
                continue
            jti, book = each.jti.removesuffix(READY), self._a.book
            main, freed = (book.get(book.case_of(each.asked_by, name)) for name in (jti, jti + FREED))
            ended = main.state in _OVER if main is not None else each.opened_at + _LOST < now
            if ended and (freed is None or (freed.state == "enforcing" and not freed.decided)):
                found.append((jti + FREED, self._release(each, jti, now), LogPlace(*each.place, to_ms(now))))
        return found

    def _release(self, ready: Case, jti: str, now: datetime) -> Request:
        return Request(
            v=1,
            iss=ready.asked_by,
            aud=AUDIENCE,
            tenant=self._a.tenant,
            jti=jti,
            iat=0,
            exp=0,
            received_at=now,
            type="release",
            hold=Hold(id=self._name(ready.asked_by, jti)),
        )


def _for(terms: Terms, request: Request) -> bool:
    return not terms.secret and terms.authority is not None and terms.authority == request.authority
