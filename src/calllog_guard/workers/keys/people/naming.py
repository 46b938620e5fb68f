"""
From an identifier to the keystore's key for a person: the one place where it is decided who is who.

Rules: 1. The rules are the tenant's, from its profile; no policy changes them.  2. Each incoming identifier comes here.
       3. Where rules were others before, an identifier has a key by those, too: people under it are found (`homes.py`).
Source: docs/adr/0012-identity-is-fixed.md; `core/identity/rules.py`.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from calllog_guard.core.calls.event import CallEvent
from calllog_guard.core.identifiers import Lookup, SubjectId, Tenant, is_guest
from calllog_guard.core.identity.rules import canonical
from calllog_guard.errors import MessageError
from calllog_guard.workers.keys.tenants.tenant_secrets import Vault


class Names(NamedTuple):
    """
    The keystore keys of whom an identifier names: by the rules in force, and others by former ones, the newest first.

    With a reason the rules in force refuse it: the keys are those of somebody stored under it before, or nobody's.
    """

    lookup: Lookup
    former: tuple[Lookup, ...] = ()
    reason: str = ""


class Naming:
    """One tenant's identifiers."""

    def __init__(self, tenant: Tenant, vault: Vault) -> None:
        self._tenant, self._vault = tenant, vault

    @property
    def rules(self) -> tuple[str, ...]:
        """By which named rules two identifiers are one person, now."""
        return self._vault.identity(self._tenant)

    @property
    def former(self) -> tuple[tuple[str, ...], ...]:
        """The rules that were in force before, the newest first."""
        return self._vault.former(self._tenant)[::-1]

    def keyed(self, subject: SubjectId) -> Lookup:
        """The keystore's key for a canonical form."""
        return self._vault.pepper(self._tenant).lookup(self._tenant, subject)

    def lookup(self, text: str) -> Lookup:
        """The key by the rules in force. Raises MessageError: the identifier has no canonical form."""
        return self.keyed(canonical(text, self.rules))

    def names(self, text: str, pointer: str = "", *, stored: bool = False) -> Names:
        """
        All keys of an identifier that a request names or that is stored: what the rules refuse former ones may know.

        One that is stored was somebody's, whatever the rules in force say of its form by former ones.

        Raises:
            MessageError: It has no canonical form by any.

        """
        if stored and is_guest(text):
            return Names(self.keyed(SubjectId(text)))
        try:
            subject, refused = canonical(text, self.rules, pointer), None
        except MessageError as error:
            subject, refused = SubjectId(""), error
        former = self._former(text, subject)
        if refused is None:
            return Names(self.keyed(subject), tuple(map(self.keyed, former)))
        keys = [self.keyed(each) for each in former if stored or not self._takes(each)]
        if not keys:
            raise refused
        return Names(keys[0], tuple(keys[1:]), refused.reason)

    def _takes(self, subject: SubjectId) -> bool:
        """Whether a form by former rules is a present one: it may be another's, never known under the text."""
        try:
            return canonical(subject, self.rules) == subject
        except MessageError:
            return False

    def _former(self, text: str, subject: SubjectId) -> list[SubjectId]:
        """The forms by former rules that are other ones, the newest first; nearly always none."""
        found: dict[SubjectId, None] = {}
        for rules in self.former:
            with suppress(MessageError):
                found[canonical(text, rules)] = None
        return [each for each in found if each != subject]

    def of_unit(self) -> "UnitNames":
        """For the identifiers of one unit; not to be kept beyond it."""
        former = self.former_keys if self.former else None
        return UnitNames(self._vault.pepper(self._tenant).lookup_of(self._tenant), former)

    def former_keys(self, text: str, subject: SubjectId) -> tuple[Lookup, ...]:
        """The keys of an identifier by former rules that are other ones than its present key, the newest first."""
        return tuple(map(self.keyed, self._former(text, subject)))


class UnitNames:
    """
    The keys of the people of one unit: who is named twice in it is looked up once.

    Identifiers are kept here, so it goes with its unit: what is kept for longer would stay after an erasure.
    """

    __slots__ = ("_former", "_known", "_lookup_of")

    def __init__(
        self, lookup_of: Callable[[SubjectId], Lookup], former: Callable[[str, SubjectId], tuple[Lookup, ...]] | None
    ) -> None:
        self._lookup_of, self._former = lookup_of, former
        self._known: dict[SubjectId, Lookup] = {}

    def of_all(self, subjects: Sequence[SubjectId]) -> list[Lookup]:
        """As `Naming.lookup`, of identifiers with known canonical forms."""
        known, lookup_of = self._known, self._lookup_of
        for subject in subjects:
            if subject not in known:
                known[subject] = lookup_of(subject)
        return [known[subject] for subject in subjects]

    def former_of_all(self, subjects: Sequence[SubjectId], event: CallEvent) -> list[tuple[Lookup, ...]]:
        """The keys of the same by former rules, which go by how an event writes them; nearly always none."""
        if self._former is None:
            return [()] * len(subjects)
        gone = (each if isinstance(each, str) else each.id for each in event.removed)
        texts = (*(party.id or "" for party in event.parties), *gone)
        return [self._former(text, subject) for subject, text in zip(subjects, texts, strict=True)]
