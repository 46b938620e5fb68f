"""
The secrets that belong to a tenant and to an epoch, unwrapped once and kept in memory.

They lie wrapped beside the KMS and never in the keystore, or a backup of it would hold what opens it.
"""

from typing import Final

from calllog_guard.core.crypto.secrets import Pepper, Secret, derive
from calllog_guard.core.ids import EpochName, Tenant
from calllog_guard.errors import ConfigurationError, EpochUnknownError
from calllog_guard.ports import Kms, Ring

ROOT: Final = "root"
"""The wrapping key of what outlives every epoch: peppers, receipt keys, the guard's id."""


class Vault:
    """Tenant secrets and epoch keys by name."""

    def __init__(self, kms: Kms, ring: Ring) -> None:
        self._kms, self._ring = kms, ring
        self._opened: dict[str, Secret] = {}

    def create(self, name: str, wrapping: str) -> None:
        """Make a secret unless it exists."""
        self._kms.create_epoch(wrapping)
        self._ring.put_new(name, self._kms.wrap(wrapping, Secret.mint()))

    def _secret(self, name: str, wrapping: str) -> Secret:
        if name not in self._opened:
            blob = self._ring.get(name)
            if blob is None and wrapping == ROOT:
                raise ConfigurationError(f"the KMS keeps no {name}: run calllog-guard tenant create first")
            if blob is None:
                raise EpochUnknownError(f"the KMS keeps no {name}")
            self._opened[name] = self._kms.unwrap(wrapping, blob)
        return self._opened[name]

    def create_tenant(self, tenant: Tenant) -> None:
        """Make the secrets of a tenant, and the guard's id with the first."""
        for name in (f"pepper.{tenant}", f"receipts.{tenant}", f"cases.{tenant}", "guard"):
            self.create(name, ROOT)

    def create_epoch(self, epoch: EpochName) -> None:
        """Make an epoch's key."""
        self.create(f"epoch.{epoch}", epoch)

    def epochs(self) -> list[str]:
        """The epochs whose key is alive."""
        return [name for name in self._kms.epochs() if name != ROOT]

    def destroy_epoch(self, epoch: EpochName) -> None:
        """Forget an epoch's key, here and in the KMS: nothing sealed under it opens again."""
        self._kms.destroy_epoch(epoch)
        for name in [each for each in self._opened if each == f"epoch.{epoch}" or each.startswith(f"{epoch}/")]:
            del self._opened[name]

    def pepper(self, tenant: Tenant) -> Pepper:
        """The tenant's key for lookups."""
        return Pepper(self._secret(f"pepper.{tenant}", ROOT).expose())

    def receipt_key(self, tenant: Tenant) -> bytes:
        """The seed (32 bytes) of the tenant's Ed25519 key for receipts."""
        return self._secret(f"receipts.{tenant}", ROOT).expose()

    def case_key(self, tenant: Tenant) -> Secret:
        """Seals the tenant's secret cases; made at first use where the tenant is older than secret cases are."""
        self.create(f"cases.{tenant}", ROOT)
        return Secret(derive(self._secret(f"cases.{tenant}", ROOT), "secret-case"))

    def guard_id(self) -> bytes:
        """The 16 bytes by which the keystore is known again."""
        return self._secret("guard", ROOT).expose()[:16]

    def epoch_key(self, epoch: EpochName, tenant: Tenant, use: str) -> Secret:
        """The tenant's key of an epoch for one use: `keystore`, `ledger` or `cases`."""
        cached = f"{epoch}/{tenant}/{use}"
        if cached not in self._opened:
            secret = self._secret(f"epoch.{epoch}", epoch)
            self._opened[cached] = Secret(derive(secret, f"epoch/{tenant}/{use}"))
        return self._opened[cached]
