"""
From an identifier to the keystore's key for a person: the one place where it is decided who is who.

Rules: 1. The rules are the tenant's, from its profile; no policy changes them.  2. Everything that takes an identifier in comes here.
Source: `core/identity.py`; design section 14 (identity is fixed).
"""

from calllog_guard.core.identity import canonical
from calllog_guard.core.ids import Lookup, SubjectId, Tenant
from calllog_guard.workers.vault import Vault


class Naming:
    """One tenant's identifiers."""

    def __init__(self, tenant: Tenant, vault: Vault) -> None:
        self._tenant, self._vault = tenant, vault

    @property
    def rules(self) -> tuple[str, ...]:
        """By which named rules two identifiers are one person, now."""
        return self._vault.identity(self._tenant)

    def canonical(self, text: str, pointer: str = "") -> SubjectId:
        """The one form of an identifier. Raises MessageError: it has none."""
        return canonical(text, self.rules, pointer)

    def keyed(self, subject: SubjectId) -> Lookup:
        """The keystore's key for a canonical form."""
        return self._vault.pepper(self._tenant).lookup(self._tenant, subject)

    def lookup(self, text: str, pointer: str = "") -> Lookup:
        """The keystore's key for whom an identifier names. Raises MessageError: it has no canonical form."""
        return self.keyed(self.canonical(text, pointer))
