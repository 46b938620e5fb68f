"""
Tenant secrets of one trust domain: each wrapped under the key of every domain whose work needs it, under no other.

Rules: 1. What all need (pepper, guard, profile, the epochs' keys) lies under shared keys.  2. A process with a domain
          asks for that domain's key alone; a command tries those it may use.  3. Without separate domains,
          every secret is under the one root key.
Source: docs/how-to/kms.md; the table is in `core/rights/grants.py`.
"""

import contextlib
from collections.abc import Mapping
from typing import Final

from calllog_guard.core.crypto.subject_secrets import Secret
from calllog_guard.core.identifiers import Tenant
from calllog_guard.core.rights.grants import DOMAIN_KEY, DOMAINS, SECRETS, is_shared, opened_by
from calllog_guard.errors import EntryCorruptError, EpochUnknownError, KmsForbiddenError, KmsSilentError
from calllog_guard.ports.keys import Kms, Ring

WHOLE = "cases"
"""The secret of which those in DERIVED are made: who has it needs no other."""
DERIVED: Final = ("outcomes", "secret-case", *(kind for kind in SECRETS if kind.startswith("use-")))


class Domains:
    """
    The secrets of domains beside the KMS; every method blocks.

    `own` is the domain of this process; empty: whichever the KMS lets it use.
    """

    def __init__(self, kms: Kms, ring: Ring) -> None:
        self._kms, self._ring = kms, ring
        self.own = ""

    def lies(self, name: str) -> bool:
        """Whether a secret is wrapped for domains."""
        return any(self._ring.get(f"{name}@{domain}") is not None for domain in _wrapped_for(name))

    def apart(self, tenant: Tenant) -> bool:
        """Whether a tenant's domains are apart."""
        return self.lies(f"{WHOLE}.{tenant}")

    def needs(self, name: str) -> bool:
        """Whether this process' work needs a secret."""
        return not self.own or self.own in opened_by(name)

    def open(self, name: str) -> Secret | None:
        """
        A secret that is wrapped for domains; None: it is not.

        Raises:
            KmsForbiddenError: Not for this process.

        """
        there = [each for each in _wrapped_for(name) if self._ring.get(f"{name}@{each}") is not None]
        for domain in there:
            if self.own in {"", domain}:
                with contextlib.suppress(KmsForbiddenError):
                    return self._open(name, domain)
        if there:
            raise KmsForbiddenError(
                f"the KMS lets this process open no {name.partition('.')[0]} secret: it is for {', '.join(there)} alone"
            )
        return None

    def _open(self, name: str, domain: str) -> Secret:
        try:
            return self._kms.unwrap(DOMAIN_KEY + domain, self._ring.get(f"{name}@{domain}") or b"")
        except EpochUnknownError:
            raise KmsForbiddenError(f"the KMS knows no key of {domain}") from None

    def keep(self, secrets: Mapping[str, Secret]) -> None:
        """
        Wrap secrets for each domain that needs them, and open every one again; what is there already stays.

        Raises:
            EntryCorruptError: What is there is another secret.

        """
        for name, secret in secrets.items():
            for domain in _wrapped_for(name):
                self._kms.create_epoch(DOMAIN_KEY + domain)
                if self._ring.get(f"{name}@{domain}") is None:
                    self._ring.put_new(f"{name}@{domain}", self._kms.wrap(DOMAIN_KEY + domain, secret))
                if self._open(name, domain).expose() != secret.expose():
                    raise EntryCorruptError(f"{name}@{domain} beside the KMS is another secret: nothing was removed")

    def beyond(self, tenant: Tenant) -> list[str]:
        """The other domains whose secrets this process can open, tried one by one."""
        found: list[str] = []
        for domain in DOMAINS:
            names = [f"{kind}.{tenant}" for kind in SECRETS if domain in _wrapped_for(kind)]
            there = next((each for each in names if self._ring.get(f"{each}@{domain}") is not None), None)
            if there is not None and domain != self.own:
                with contextlib.suppress(KmsSilentError, EntryCorruptError):
                    self._open(there, domain)
                    found.append(domain)
        return found


def _wrapped_for(name: str) -> tuple[str, ...]:
    """The domains a secret lies wrapped for: none for a shared one; for a derived one, all without its origin."""
    domains, kind = opened_by(name), name.partition(".")[0]
    if is_shared(name):
        return ()
    return tuple(each for each in domains if kind not in DERIVED or each not in SECRETS[WHOLE])
