"""
Whom a request names: the keystore's keys of its identifiers, and under which of them nobody was known.

Rules: 1. Known is who lives in the keystore, or of whom copies are left that may be told of. Who was erased before is known no more,
          and so is who is held in secret and nowhere else: what is said is the same for both.
       2. It is said of a case once, before anything is done for it: whatever is minted or fenced by the case itself changes nothing.
Source: design section 14 (truth of receipts); GDPR Art. 5(1)(d).
"""

from collections.abc import Collection, Mapping
from typing import Final

import msgspec

from calllog_guard.core.crypto.entries import Person
from calllog_guard.core.ids import Lookup, Tenant
from calllog_guard.core.requests.case import Case
from calllog_guard.core.requests.request import Request
from calllog_guard.workers.keyring import Keyring, View
from calllog_guard.workers.naming import Naming
from calllog_guard.workers.vault import Vault

FORMS: Final = 2
"""From this level of forms on a case says whether somebody was known: a desk of the first release would refuse it."""


class Subjects:
    """One tenant's people, as requests name them."""

    def __init__(self, tenant: Tenant, ring: Keyring, vault: Vault) -> None:
        self._ring, self._naming = ring, Naming(tenant, vault)

    def lookups(self, request: Request) -> dict[int, Lookup]:
        """
        The subjects of a request by their number in it; two identifiers of one person are the first of them.

        Raises:
            MessageError: One has no canonical form; the desk has refused it when the request was read.

        """
        numbers: dict[Lookup, int] = {}
        for index, text in enumerate(request.subjects):
            numbers.setdefault(self._naming.lookup(text, f"/subjects/{index}"), index)
        return {index: lookup for lookup, index in numbers.items()}

    async def matched(self, case: Case, request: Request, told: Collection[Lookup] = ()) -> Case:
        """
        The case with the identifiers under which nobody is known; what it says already stays.

        Args:
            told: Of whom copies are left that may be told of.

        """
        lookups = self.lookups(request)
        if self._ring.forms < FORMS or case.unknown is not msgspec.UNSET or not lookups:
            return case
        persons, unreadable = self._ring.persons(await self._ring.view(list(lookups.values())))
        known = {lookup for lookup, person in persons.items() if person is not None and person.pseudonym} | set(told)
        unknown = tuple(index for index, lookup in lookups.items() if lookup not in known | unreadable.keys())
        return msgspec.structs.replace(case, known=len(unknown) < len(lookups), unknown=unknown)

    def met(self, case: Case, lookups: Mapping[int, Lookup], view: View) -> Case:
        """The case after somebody has appeared whom it names, before they were fenced."""
        if not case.unknown:
            return case
        found = {index: self._ring.person(lookup, view.raw[lookup]) for index, lookup in lookups.items()}
        unknown = tuple(index for index in case.unknown if not _lives(found.get(index)))
        return case if unknown == case.unknown else msgspec.structs.replace(case, known=True, unknown=unknown)


def _lives(person: Person | None) -> bool:
    return person is not None and person.pseudonym is not None
