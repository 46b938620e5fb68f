"""
Tenants' profiles beside the KMS: found, checked, and written one number after the other.

Rules: 1. Within a process a profile never falls back.  2. What the KMS does not vouch for is nobody's profile: halt.
Source: `core/profile.py`.
"""

from collections.abc import Callable

from msgspec.structs import replace

from calllog_guard.core.crypto.subject_secrets import Secret
from calllog_guard.core.identifiers import Tenant
from calllog_guard.core.profile import TenantProfile, digest, opened, packed, profile_name, split
from calllog_guard.errors import EntryCorruptError
from calllog_guard.ports.keys import Kms, Ring


def vouched(kms: Kms, wrapping: str, name: str, content: bytes) -> bytes:
    """What everybody may know, with the proof that whoever has the right to wrap has written it under this name."""
    return content + kms.wrap(wrapping, Secret(digest(name, content)))


def check_vouched(kms: Kms, wrapping: str, name: str, content: bytes, proof: bytes) -> None:
    """
    Whether the KMS vouches for what lies under a name.

    Raises:
        EntryCorruptError: Somebody wrote it who may not.
        KmsSilentError: Ask again.

    """
    try:
        found = kms.unwrap(wrapping, proof).expose()
    except EntryCorruptError:
        found = b""
    if found != digest(name, content):
        raise EntryCorruptError(f"{name} beside the KMS was written by somebody who may not")


class Profiles:
    """
    The profiles of an installation; every method blocks but `known`.

    Args:
        wrapping: The name of the wrapping key that vouches for them.

    """

    def __init__(self, kms: Kms, ring: Ring, wrapping: str) -> None:
        self._kms, self._ring, self._wrapping = kms, ring, wrapping
        self._seen: dict[Tenant, TenantProfile] = {}

    @property
    def tenants(self) -> list[Tenant]:
        """Whose profile was asked for."""
        return list(self._seen)

    def known(self, tenant: Tenant) -> TenantProfile:
        """The newest that was seen; looked for by the first caller only."""
        return self._seen.get(tenant) or self.look(tenant)

    def look(self, tenant: Tenant) -> TenantProfile:
        """
        The newest that there is.

        Raises:
            KmsSilentError: Ask again.
            EntryCorruptError: Somebody wrote it who may not.
            NewerFormError: A later release wrote it.

        """
        found = self._seen.get(tenant) or TenantProfile()
        newest = found.number
        while self._ring.get(profile_name(tenant, newest + 1)) is not None:
            newest += 1
        if newest > found.number:
            found = self._opened(tenant, newest)
        self._seen[tenant] = found
        return found

    def _opened(self, tenant: Tenant, number: int) -> TenantProfile:
        name = profile_name(tenant, number)
        content, proof = split(name, self._ring.get(name) or b"")
        check_vouched(self._kms, self._wrapping, name, content, proof)
        return opened(name, number, content)

    def change(self, tenant: Tenant, change: Callable[[TenantProfile], TenantProfile]) -> TenantProfile:
        """Write the next profile unless nothing changes; what holds then."""
        while True:
            before = self.look(tenant)
            changed = change(before)
            if changed == before:
                return before
            name = profile_name(tenant, before.number + 1)
            content = packed(replace(changed, number=before.number + 1))
            self._kms.create_epoch(self._wrapping)
            self._ring.put_new(name, vouched(self._kms, self._wrapping, name, content))
