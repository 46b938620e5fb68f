"""
Finds a person's own cases again, and keeps in them what officers told the person.

Rules: 1. Only from level 2 of forms on: a desk of the first release would refuse the case.  2. Nobody is minted for it.
       3. No case and no act waits for it: an entry that cannot be used counts as nobody's.
       4. A case is theirs under the identifiers that it names: a `same_as` that was wrong shows nobody another's case.
Source: `core/cases/case_owner.py`.
"""

import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from calllog_guard.core.cases import case_owner as whose
from calllog_guard.core.cases.case import Case
from calllog_guard.core.cases.case_owner import Reason, Whose
from calllog_guard.core.crypto.subject_secrets import CallKey, IdentitySecret, Secret
from calllog_guard.core.identifiers import Lookup, Pseudonym
from calllog_guard.core.requests.request import Request
from calllog_guard.errors import EntryUnreadableError, RecordError
from calllog_guard.workers.desk.decisions.decider import Decider
from calllog_guard.workers.keys.people.subject_keys import Keyring
from calllog_guard.workers.runtime.parallel import unhurried

FORMS: Final = 2
_AT_ONCE: Final = 1000
"""Cases looked at before others have their turn."""


class Owners:
    """Who a tenant's cases belong to."""

    def __init__(self, ring: Keyring, decider: Decider) -> None:
        self._ring, self._decider = ring, decider

    @property
    def forms(self) -> int:
        """The level of stored forms that is written now."""
        return self._ring.forms

    @property
    def calls(self) -> CallKey | None:
        """What names calls by reference; see `Keyring.calls`."""
        return self._ring.calls

    async def identities(self, lookups: Sequence[Lookup]) -> list[IdentitySecret | None]:
        """The secrets of some people; None for who is not known, or cannot be."""
        view = await self._ring.view(list(dict.fromkeys(lookups)))
        persons, _ = self._ring.persons(view)
        found: list[IdentitySecret | None] = []
        for lookup in lookups:
            person = persons.get(lookup)
            found.append(await self._identity(person.pseudonym) if person and person.pseudonym else None)
        return found

    async def _identity(self, pseudonym: Pseudonym) -> IdentitySecret | None:
        try:
            keys = await self._ring.keys_of(pseudonym)
        except EntryUnreadableError:
            return None
        return keys.identity if keys else None

    async def opened(self, case: Case, request: Request) -> Case:
        """A new case that can be found again by those whom it is about."""
        if self._ring.forms < FORMS or not request.subjects:
            return case
        identities = await self.identities(await self._decider.subjects.known(request, alone=True))
        found = whose.opened(case.case, identities, secrets.token_bytes)
        return msgspec.structs.replace(case, whose=dict(found.keys))

    async def said(self, case: Case, request: Request | None, reason: Reason) -> Case:
        """The case with what an officer told the person."""
        if case.whose is msgspec.UNSET or request is None:
            return case
        before = _parts(case)
        lookups = await self._decider.subjects.known(request, alone=True)
        keys = [_key(before, case.case, each) for each in await self.identities(lookups) if each is not None]
        after = whose.say(
            before, case.case, next((each for each in keys if each is not None), None), reason, secrets.token_bytes
        )
        return msgspec.structs.replace(case, said=after.said)

    async def of(
        self, cases: Iterable[Case], identities: Collection[IdentitySecret]
    ) -> Mapping[str, tuple[Reason, ...]]:
        """By case, those of some people, with what was said in it."""
        found: dict[str, tuple[Reason, ...]] = {}
        tagged = [(identity, whose.tags_of(identity)) for identity in identities]
        async for case in unhurried(cases, _AT_ONCE):
            if case.whose is msgspec.UNSET:
                continue
            for identity, tag in tagged:
                if tag(case.case) not in case.whose:
                    continue
                parts = _parts(case)
                key = _key(parts, case.case, identity)
                if key is not None:
                    found[case.case] = _said(parts, case.case, key)
                    break
        return found


def _parts(case: Case) -> Whose:
    return Whose(case.whose or {}, case.said or ())


def _key(parts: Whose, case: str, identity: IdentitySecret) -> Secret | None:
    try:
        return whose.case_key(parts, case, identity)
    except RecordError:
        return None  # nobody's desk wrote it: the case is listed by what was decided in it


def _said(parts: Whose, case: str, key: Secret) -> tuple[Reason, ...]:
    try:
        return whose.said(parts, case, key)
    except RecordError:
        return ()
