"""A KMS and a ring in memory, that outlive the processes of a test."""

from calllog_guard.adapters.memory.fakes import MemoryKms, MemoryRing
from calllog_guard.workers.keys.tenants.tenant_secrets import Vault


class Wrapped:
    """What lies wrapped, and the KMS under whose keys it lies."""

    def __init__(self) -> None:
        self.kms, self.ring = MemoryKms(), MemoryRing()

    def vault(self) -> Vault:
        """A vault that has seen nothing."""
        return Vault(self.kms, self.ring)

    def without(self, *parts: str) -> Vault:
        """The same, once everything whose name has one of these parts is lost."""
        for name in [name for name in self.ring.blobs if any(part in name for part in parts)]:
            self.ring.remove(name)
        return self.vault()
