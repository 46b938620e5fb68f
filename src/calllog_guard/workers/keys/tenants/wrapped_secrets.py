"""
Secrets beside the KMS, opened: each by its name, and the keys of epochs for a bounded time.

Rules: those of `tenant_secrets.py`.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

from calllog_guard.core.crypto.subject_secrets import Secret
from calllog_guard.core.identifiers import EPOCH_PATTERN, EpochName, Tenant
from calllog_guard.core.rights.grants import VOUCHES_PROFILES, is_shared
from calllog_guard.errors import ConfigurationError, EpochUnknownError, GuardError, KmsForbiddenError, KmsSilentError
from calllog_guard.ports.keys import Kms, Ring
from calllog_guard.workers.keys.key_cache import Cache
from calllog_guard.workers.keys.tenants.domains import Domains
from calllog_guard.workers.keys.tenants.profiles import Profiles

ROOT: Final = "root"
"""The wrapping key of what outlives epochs: peppers, receipt keys, desk keys, the guard's id, profiles, signers."""
LIFE_S: Final = 300.0
_PAUSE_S: Final = 15.0
"""How long units leave a silent KMS alone: one of its time-outs blocks everything else in the process for up to 5 s."""
_UNKNOWN_MAX: Final = 1000
_EPOCHS_MAX: Final = 1000
Opened = tuple[Secret, dict[str, Secret]]
"""An epoch's key, with what was derived of it: both end together."""


class WrappedSecrets:
    """
    Secrets by name, unwrapped, with the epochs' keys; blocks where it asks the KMS.

    Args:
        life_s: Seconds that an epoch's key may be used after the KMS opened it.
        now: Seconds that only rise.

    """

    def __init__(self, kms: Kms, ring: Ring, life_s: float, now: Callable[[], float]) -> None:
        self._kms, self._ring, self._life_s, self._now = kms, ring, life_s, now
        self._roots: dict[str, Secret] = {}
        self._epochs: Cache[EpochName, Opened] = Cache(life_s, _EPOCHS_MAX, now=now)
        self._profiles, self.domains = Profiles(kms, ring, VOUCHES_PROFILES), Domains(kms, ring)
        self._silent_until = -float("inf")
        self._unknown: Cache[str, bool] = Cache(_PAUSE_S, _UNKNOWN_MAX, now=now)

    @property
    def delay_days(self) -> int:
        """How long after a destruction someone with every right over the KMS could still take it back."""
        return self._kms.delay_days

    def create(self, name: str, wrapping: str) -> None:
        """Make a secret unless it exists."""
        self._kms.create_epoch(wrapping)
        if self._lies(name):
            return
        if wrapping == ROOT and not is_shared(name) and self.domains.apart(Tenant(name.split(".")[1])):
            self.domains.keep({name: Secret.mint()})
        else:
            self._ring.put_new(name, self._kms.wrap(wrapping, Secret.mint()))

    def _lies(self, name: str) -> bool:
        return self._ring.get(name) is not None or self.domains.lies(name)

    def _unwrap(self, name: str, wrapping: str) -> Secret:
        if wrapping == ROOT and (private := self.domains.open(name)) is not None:
            return private
        blob = self._ring.get(name)
        if blob is None and wrapping == ROOT:
            raise ConfigurationError(f"the KMS keeps no {name}: run calllog-guard tenant create first")
        if blob is None and wrapping in self._kms.epochs():  # made elsewhere a moment ago, and the folder lags
            raise KmsSilentError(
                f"the folder of wrapped keys holds no {name} yet: is it the one that all workers share?"
            )
        if blob is None:
            raise EpochUnknownError(f"the KMS keeps no {name}")
        return self._kms.unwrap(wrapping, blob)

    def _root(self, name: str) -> Secret:
        known = self._roots.get(name)
        if known is None:
            known = self._roots[name] = self._asked(name, ROOT)
        return known

    def _epoch(self, epoch: EpochName) -> Opened:
        known = self._epochs.get(epoch)
        return known or self._epochs.put(epoch, (self._asked(f"epoch.{epoch}", epoch), {}))

    def _asked(self, name: str, wrapping: str) -> Secret:
        if self._unknown.get(name):
            raise EpochUnknownError(f"the KMS kept no {name} a moment ago")
        if self._now() < self._silent_until:
            raise KmsSilentError("the KMS did not answer a moment ago; it is asked again soon")
        try:
            return self._unwrap(name, wrapping)
        except KmsForbiddenError:
            raise
        except KmsSilentError:
            self._silent_until = self._now() + _PAUSE_S
            raise
        except EpochUnknownError:  # damaged entries may name any: no unit asks for each again and again
            self._unknown.put(name, value=True)
            raise

    def _reopened(self, epoch: EpochName) -> None:
        self._epochs.put(epoch, (self._unwrap(f"epoch.{epoch}", epoch), {}))

    async def refresh(self) -> None:
        """Ask again for profiles and every opened epoch, in a thread, and forget epochs the KMS no longer opens."""
        for tenant in self._profiles.tenants:
            with contextlib.suppress(KmsSilentError):
                await asyncio.to_thread(self._profiles.look, tenant)
        for epoch in self._epochs:
            try:
                await asyncio.to_thread(self._reopened, epoch)
            except KmsSilentError:
                self._epochs.sweep()
            except GuardError:  # whoever needs the epoch next meets the same and halts by it
                self._epochs.drop(epoch)

    async def keep_fresh(self) -> None:
        """Refresh in time, until cancelled."""
        while True:
            await asyncio.sleep(self._life_s / 3)
            await self.refresh()

    def create_epoch(self, epoch: EpochName) -> None:
        """Make an epoch's key; blocks."""
        self._unknown.drop(f"epoch.{epoch}")
        self.create(f"epoch.{epoch}", epoch)

    def epochs(self) -> list[str]:
        """The epochs whose key is alive; blocks. What else lies with the KMS is none of ours."""
        return [name for name in self._kms.epochs() if EPOCH_PATTERN.match(name)]

    def destroy_epoch(self, epoch: EpochName) -> None:
        """Forget an epoch's key, here and in the KMS: nothing sealed under it opens again; blocks."""
        self._kms.destroy_epoch(epoch)
        self._epochs.drop(epoch)

    def _shared(self, name: str) -> Secret:
        """A secret as it lies under the key that all share, while it still does."""
        blob = self._ring.get(name)
        return self._root(name) if blob is None else self._kms.unwrap(ROOT, blob)
