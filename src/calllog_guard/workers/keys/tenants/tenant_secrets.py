"""
The secrets that belong to a tenant and to an epoch, unwrapped and kept in memory for a bounded time.

They lie wrapped beside the KMS and never in the keystore, or a backup of it would hold what opens it.
Rules: 1. No epoch's key is used past its life after the KMS last opened it: an epoch destroyed elsewhere ends here too.
       2. The KMS is asked on a schedule, in a thread (`keep_fresh`); a unit meets it only for a new epoch, or when
       it has been silent for a whole life. A silent KMS is asked by units once in a while only.
       3. A tenant's profile is read again with every refresh, and at once when the keystore's guard names a later one.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from itertools import count, takewhile
from typing import Final

from msgspec import UNSET
from msgspec.structs import replace

from calllog_guard.core.crypto.jose import signer_public
from calllog_guard.core.crypto.subject_secrets import CallKey, Pepper, Secret, derive
from calllog_guard.core.decisions.outcome import OutcomeKey
from calllog_guard.core.identifiers import EpochName, Tenant, b64
from calllog_guard.core.identity.rules import AS_WRITTEN, DEFAULT
from calllog_guard.core.profile import FORMS, UNPROVEN_FOR, TenantProfile
from calllog_guard.core.records import Output
from calllog_guard.core.requests.sealing import desk_kid, desk_number
from calllog_guard.core.rights.grants import SECRETS, VOUCHES_LETTERS, is_shared
from calllog_guard.core.sessions.moment import NamingKey
from calllog_guard.core.stream.heartbeats import Heartbeats
from calllog_guard.core.stream.letters import MOMENTS
from calllog_guard.core.stream.proofs import AUDIT, DESK, KEEP, Proofs, vouched
from calllog_guard.errors import EpochUnknownError, KmsForbiddenError, KmsSilentError
from calllog_guard.ports.keys import Kms, Ring
from calllog_guard.workers.keys.tenants.domains import DERIVED, WHOLE
from calllog_guard.workers.keys.tenants.letter_keys import LetterKeys
from calllog_guard.workers.keys.tenants.wrapped_secrets import LIFE_S, ROOT, WrappedSecrets

SIGNERS: Final = (AUDIT, KEEP, DESK)

_LABELS: Final = {kind: kind.replace("use-", "use/") for kind in DERIVED}
"""The word by which each is derived of the secret of cases."""


class Vault(WrappedSecrets):
    """
    Tenant secrets and epoch keys by name.

    Args:
        life_s: Seconds that an epoch's key may be used after the KMS opened it.
        now: Seconds that only rise.
        legacy: The rules by which people of a tenant without a profile are known.

    """

    def __init__(
        self,
        kms: Kms,
        ring: Ring,
        *,
        life_s: float = LIFE_S,
        now: Callable[[], float] = time.monotonic,
        legacy: Callable[[Tenant], tuple[str, ...]] = lambda _: (AS_WRITTEN,),
    ) -> None:
        super().__init__(kms, ring, life_s, now)
        self._legacy = legacy
        self._peppers: dict[Tenant, tuple[Pepper, CallKey]] = {}
        self._names: dict[Tenant, NamingKey] = {}
        self.letters = LetterKeys(kms, ring, VOUCHES_LETTERS, now)
        self.moments = LetterKeys(kms, ring, VOUCHES_LETTERS, now, kind=MOMENTS)

    def warm(self, tenant: Tenant) -> None:
        """
        Open what a worker will need, so that no unit has to; blocks.

        Raises:
            KmsSilentError: Ask again.
            ConfigurationError: The tenant was never made.

        """
        for name in (*_tenant_names(tenant), *self._desk_names(tenant)):
            if self.domains.needs(name):
                with contextlib.suppress(*(() if self.domains.own else (KmsForbiddenError,))):
                    self._roots[name] = self._unwrap(name, ROOT)
        for kind in DERIVED:
            if self.domains.own and self.domains.needs(kind):
                self._part(kind, tenant)
        self._profiles.look(tenant)
        alive = self.epochs() if self.domains.needs("epoch") else []
        whole = [epoch for epoch in alive if self._ring.get(f"epoch.{epoch}") is not None]
        for epoch in whole:
            with contextlib.suppress(EpochUnknownError):  # destroyed just now
                self._reopened(EpochName(epoch))

    @property
    def made(self) -> bool:
        """Whether an installation has its secrets here."""
        return self._ring.get("guard") is not None

    def alone(self, tenant: Tenant) -> bool:
        """Whether no other tenant has secrets here: one's walk would destroy epochs the other still needs; blocks."""
        return self._ring.get(f"pepper.{tenant}") is not None if self.made else not self.epochs()

    def create_tenant(
        self,
        tenant: Tenant,
        identity: Sequence[str] = DEFAULT,
        at: datetime | None = None,
        partitions: int | None = None,
        *,
        apart_from: EpochName | None = None,
    ) -> None:
        """
        Make the secrets of a tenant, and the guard's id with the first; a new tenant begins with the newest forms.

        Args:
            apart_from: A new tenant's domains are apart, from its first epoch on.

        """
        new = self._ring.get(f"pepper.{tenant}") is None
        if new:  # an older tenant has a pepper and no profile: the profile goes first
            self.upgrade(tenant, identity, at, partitions)
        for name in (*_tenant_names(tenant), _desk_name(tenant, 1), _moments_name(tenant)):
            self.create(name, ROOT)
        if new and apart_from:
            self.separate(tenant, apart_from)

    def separate(self, tenant: Tenant, epoch: EpochName) -> TenantProfile:
        """
        Wrap the tenant's secrets for the domains that need them, and remove the shared key's; blocks, repeatable.

        Args:
            epoch: From this one on, what is sealed for one domain needs that domain's secret, too.

        """
        names = [*_tenant_names(tenant), *self._desk_names(tenant)]
        names += [_signer_name(tenant, role) for role in self.profile(tenant).signers]
        names += filter(self._lies, [_moments_name(tenant)])  # a tenant that was made before has none until its upgrade
        private = [name for name in names if not is_shared(name)]
        found = {name: self._shared(name) for name in private}
        whole = found[f"{WHOLE}.{tenant}"]
        parts = {f"{kind}.{tenant}": Secret(derive(whole, label)) for kind, label in _LABELS.items()}
        self.domains.keep(found | parts)
        profile = self._profiles.change(
            tenant, lambda found: found if found.separated else replace(found, separated=epoch)
        )
        for name in private:
            self._ring.remove(name)
        return profile

    # --- the profile ------------------------------------------------------------------------------------------------

    def profile(self, tenant: Tenant) -> TenantProfile:
        """
        What is written for a tenant, and by which rules; blocks at the first call only.

        Raises:
            KmsSilentError: Ask again.
            EntryCorruptError: Somebody wrote it who may not.
            NewerFormError: A later release wrote it.

        """
        return self._profiles.known(tenant)

    def identity(self, tenant: Tenant) -> tuple[str, ...]:
        """By which named rules two identifiers are one person; raises as `profile`."""
        profile = self.profile(tenant)
        return profile.identity if profile.number else self._legacy(tenant)

    def former(self, tenant: Tenant) -> tuple[tuple[str, ...], ...]:
        """The rules of identity that were in force before, the oldest first; raises as `profile`."""
        return self.profile(tenant).before

    def know(self, tenant: Tenant, identity: Sequence[str], at: datetime) -> TenantProfile:
        """Put other rules of identity in force; blocks. People stored under the present ones are to be carried over."""
        rules = tuple(identity)
        return self._profiles.change(
            tenant, lambda found: found if found.identity == rules else replace(found.knowing(rules), at=at)
        )

    async def reach(self, tenant: Tenant, number: int) -> None:
        """
        Know a tenant's profile of this number, or a later one.

        Raises:
            KmsSilentError: It is not there: not yet, or someone put an older copy of the folder in its place.

        """
        if self.profile(tenant).number < number:
            found = await asyncio.to_thread(self._profiles.look, tenant)
            if found.number < number:
                raise KmsSilentError(
                    f"the folder of wrapped keys holds profile {found.number} of {tenant}, and the keystore knows "
                    f"{number}: is it the folder that all workers share, and no older copy of it?"
                )

    def upgrade(
        self,
        tenant: Tenant,
        identity: Sequence[str] = (),
        at: datetime | None = None,
        partitions: int | None = None,
        *,
        former: tuple[tuple[str, ...], ...] = (),
    ) -> TenantProfile:
        """
        Raise a tenant to the newest forms, with its signers; blocks.

        Args:
            identity: The rules of a tenant that has no profile, `former` those before them.
            partitions: The count of a tenant whose profile has none.

        """
        self.letters.prepare()
        for name in (*(_signer_name(tenant, role) for role in SIGNERS), _moments_name(tenant)):
            self.create(name, ROOT)
        signers = {role: b64(signer_public(self.signer_seed(tenant, role))).decode() for role in SIGNERS}
        older = self._ring.get(f"pepper.{tenant}") is not None

        def raised(profile: TenantProfile) -> TenantProfile:
            if not profile.number:
                profile = replace(profile, identity=tuple(identity), former=former or UNSET)
            many = profile.partitions or partitions or UNSET
            new = replace(profile, forms=FORMS, partitions=many, signers=profile.signers | signers)
            if older and profile.forms < FORMS and at is not None:  # what was law until today stays law
                new = replace(new, judged_from=(at.date() + timedelta(days=1)).isoformat())
            if older and DESK not in profile.signers and at is not None:
                new = replace(new, unproven_until=at + UNPROVEN_FOR)
            if new.clear_calls is UNSET and not older:
                new = replace(new, clear_calls=None)
            elif new.clear_calls is UNSET and at is not None:
                new = replace(new, clear_calls=(at.date() + timedelta(days=1)).isoformat())
            return profile if new == profile else replace(new, at=at)

        return self._profiles.change(tenant, raised)

    def signer_seed(self, tenant: Tenant, role: str) -> bytes:
        """The seed (32 bytes) of a signer's Ed25519 key, of `tenant upgrade`; the public half is in the profile."""
        return self._root(_signer_name(tenant, role)).expose()

    def can_vouch(self, tenant: Tenant, role: str) -> bool:
        """Whether `vouched` asks no server: the role's key is known, or the tenant has none; raises as `profile`."""
        return role not in self.profile(tenant).signers or _signer_name(tenant, role) in self._roots

    def heartbeats(self, tenant: Tenant) -> Heartbeats:
        """By which the tenant's heartbeats are known; raises as `profile`."""
        return Heartbeats(*self.proofs(tenant))

    def proofs(self, tenant: Tenant) -> Proofs:
        """By which the tenant's records are known; raises as `profile`."""
        profile = self.profile(tenant)
        return Proofs(profile.signers, profile.unproven_until or None)

    def vouched(self, tenant: Tenant, role: str, outputs: Sequence[Output]) -> list[Output]:
        """Records with the proof of a role's signer; a level-1 tenant has none. May block; raises as `profile`."""
        if role not in self.profile(tenant).signers:
            return list(outputs)
        seed = self.signer_seed(tenant, role)
        return [vouched(output, role, seed) for output in outputs]

    # --- each secret ------------------------------------------------------------------------------------------------

    def pepper(self, tenant: Tenant) -> Pepper:
        """The tenant's key for lookups."""
        return self._pepper(tenant)[0]

    def call_key(self, tenant: Tenant) -> CallKey:
        """The tenant's key for calls: of the pepper, so that whoever knows people knows calls, and nobody else."""
        return self._pepper(tenant)[1]

    def _pepper(self, tenant: Tenant) -> tuple[Pepper, CallKey]:
        raw = self._root(f"pepper.{tenant}").expose()
        known = self._peppers.get(tenant)
        if known is None or known[0].expose() is not raw:
            pepper = Pepper(raw)
            known = self._peppers[tenant] = pepper, pepper.call_key()
        return known

    def receipt_key(self, tenant: Tenant) -> bytes:
        """The seed (32 bytes) of the tenant's Ed25519 key for receipts."""
        return self._root(f"receipts.{tenant}").expose()

    def case_key(self, tenant: Tenant) -> Secret:
        """Seals the tenant's secret cases."""
        return self._part("secret-case", tenant)

    def moment_names(self, tenant: Tenant) -> NamingKey:
        """
        With what calls and sessions are named while they are paired; of `tenant create` or `tenant upgrade`.

        Raises:
            ConfigurationError: The tenant was made before, and never raised.
            KmsForbiddenError: Not for this process.

        """
        if tenant not in self._names:
            self._names[tenant] = NamingKey(self._root(_moments_name(tenant)).expose())
        return self._names[tenant]

    def desk_key(self, tenant: Tenant, kid: str) -> bytes | None:
        """
        The seed (32 bytes) of a desk's X25519 key by its `kid`; None where there is none.

        A tenant of an earlier release has none until `tenant create` runs again. All ever made stay: what one opens
        may lie in the topic still.
        """
        number = desk_number(tenant, kid)
        name = _desk_name(tenant, number or 0)
        if number is None or (name not in self._roots and not self._lies(name)):
            return None
        return self._root(name).expose()

    def desk_kids(self, tenant: Tenant) -> list[str]:
        """The names of the desk's keys, the newest last."""
        return [desk_kid(tenant, number) for number in range(1, len(self._desk_names(tenant)) + 1)]

    def rotate_desk_key(self, tenant: Tenant) -> None:
        """Make the desk's next key beside the older ones."""
        self.create(_desk_name(tenant, len(self._desk_names(tenant)) + 1), ROOT)

    def _desk_names(self, tenant: Tenant) -> list[str]:
        names = (_desk_name(tenant, number) for number in count(1))
        return list(takewhile(self._lies, names))

    def outcome_key(self, tenant: Tenant) -> OutcomeKey:
        """With what the tenant's workers vouch for their outcomes."""
        return OutcomeKey(self._part("outcomes", tenant).expose())

    def _part(self, kind: str, tenant: Tenant) -> Secret:
        """What is derived of the secret of cases; a domain that may not open that has the part alone."""
        name = f"{kind}.{tenant}"
        known = self._roots.get(name)
        if known is None:
            try:
                if not self.domains.needs(WHOLE) and self.domains.lies(name):
                    known = self._asked(name, ROOT)
                else:
                    known = Secret(derive(self._root(f"{WHOLE}.{tenant}"), _LABELS[kind]))
            except KmsForbiddenError:
                if self.domains.own or not self.domains.lies(name):
                    raise
                known = self._asked(name, ROOT)
            self._roots[name] = known
        return known

    def guard_id(self) -> bytes:
        """The 16 bytes by which the keystore is known again."""
        return self._root("guard").expose()[:16]

    def epoch_key(self, epoch: EpochName, tenant: Tenant, use: str) -> Secret:
        """
        The tenant's key of an epoch for one use.

        Every domain has `keystore`, to know people, open legs; others are of some (`use-…` in the table of rights).

        Raises:
            EpochUnknownError: Destroyed, here or elsewhere.
            KmsSilentError: Its life is over and the KMS does not answer.

        """
        secret, derived = self._epoch(epoch)
        name = f"epoch/{tenant}/{use}"
        begins = self.profile(tenant).separated if f"use-{use}" in SECRETS else UNSET
        own = begins is not UNSET and epoch >= begins
        if own:
            name += "/own"
        if name not in derived:
            part = self._part(f"use-{use}", tenant) if own else None
            derived[name] = Secret(derive(secret, name, beside=part))
        return derived[name]


def _tenant_names(tenant: Tenant) -> tuple[str, ...]:
    return (f"pepper.{tenant}", f"receipts.{tenant}", f"cases.{tenant}", "guard")


def _desk_name(tenant: Tenant, number: int) -> str:
    return f"desk.{tenant}.{number}"


def _moments_name(tenant: Tenant) -> str:
    return f"moments.{tenant}"


def _signer_name(tenant: Tenant, role: str) -> str:
    return f"signer.{tenant}.{role}"
