"""What the workers of one tenant share, put together once per process."""

from dataclasses import dataclass, fields
from typing import Any, Self

from calllog_guard.core.decisions.outcome import OutcomeKey
from calllog_guard.core.identifiers import Tenant
from calllog_guard.core.policy.active import Policy
from calllog_guard.metrics import Increment, SetGauge
from calllog_guard.ports.clock import Clock
from calllog_guard.ports.keys import Keystore
from calllog_guard.ports.log import Log, Writer
from calllog_guard.settings import Settings
from calllog_guard.workers.keys.people.subject_keys import Keyring
from calllog_guard.workers.keys.tenants.tenant_secrets import Vault
from calllog_guard.workers.runtime.clocks import Agree, unwatched
from calllog_guard.workers.runtime.dead_letters import DeadLetters


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerContext:
    """
    What a worker works with, whatever its role.

    Args:
        home: The tenant's partition of the topics that have few.
        agree: Says whether the clocks of this process and of the brokers agree.

    """

    home: int
    ring: Keyring
    settings: Settings
    policy: Policy
    clock: Clock
    log: Log
    writer: Writer
    dead: DeadLetters
    count: Increment
    level: SetGauge
    agree: Agree = unwatched

    @classmethod
    def of(cls, context: "WorkerContext", **more: Any) -> Self:
        """The context of one role, made of what all roles share."""
        return cls(**{each.name: getattr(context, each.name) for each in fields(WorkerContext)}, **more)

    @property
    def tenant(self) -> Tenant:
        """Whose worker it is."""
        return self.ring.tenant

    @property
    def keystore(self) -> Keystore:
        """Where people's keys lie."""
        return self.ring.keystore

    @property
    def vault(self) -> Vault:
        """The tenant's secrets."""
        return self.ring.vault

    @property
    def outcome_key(self) -> OutcomeKey:
        """With what a worker vouches for what it did."""
        return self.vault.outcome_key(self.tenant)

    @property
    def keep_days(self) -> int:
        """The longest period of any purpose of any version, in days."""
        return self.policy.keep_days(self.tenant)
