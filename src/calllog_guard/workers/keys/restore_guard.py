"""
The restore guard: a keystore restarted, restored or failed over opens nothing until the ledger is replayed on it.

Rules: 1. The guard's keys are read in the MGET of each unit's persons.  2. A mark per partition names the run of the
          keystore against which its ledger was replayed.  3. The counter only rises: a lower one is an older content.
       4. A leap of the counter says nothing, and alarms.  5. It names the tenant's profile: an older holder looks for
          it before anything else, so every worker follows an upgrade in its next unit, and notices an older profile.
Source: docs/adr/0009-restore-guard.md; vectors in `tests/vectors/stored_v1.json` and `stored_v2.json`.
"""

import asyncio
import struct
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from calllog_guard.core.crypto.entries import FLOOR_KEY, GUARD_KEY, applied_key, guarded_key, number_at
from calllog_guard.core.identifiers import Tenant
from calllog_guard.core.profile import TenantProfile
from calllog_guard.core.records import Output
from calllog_guard.core.stream.heartbeats import Heartbeats
from calllog_guard.core.stream.proofs import Proofs
from calllog_guard.errors import GuardMovedError, KeystoreForbiddenError, KeystoreGuardedError, NewerFormError
from calllog_guard.metrics import CounterMetric, Counters, Increment
from calllog_guard.ports.keys import Keystore
from calllog_guard.workers.keys.tenants.tenant_secrets import Vault

_GUARD: Final = struct.Struct(">B16sQ")
_PROFILE: Final = struct.Struct(">I")
_COUNTERS: Final = {1: 1 << 32, 2: 1 << 64}
"""By level of forms: generations take their floor from the counter, and those of the first release are 32 bits wide."""


_LEAP: Final = 1 << 32
"""More than all auditors of an installation raise it in ten years, once a hundredth of a second."""


def _silent(_which: CounterMetric, _by: int) -> None:
    """Nobody counts."""


class GuardEntry(NamedTuple):
    """
    The keystore's own entry: a random id, a counter that only rises, and the number of the tenant's profile.

    The first release had neither number nor `rest`, which is what a later one has put behind them.
    """

    guard_id: bytes
    counter: int = 0
    profile: int = 0
    rest: bytes = b""


def guard_entry(guard_id: bytes, counter: int = 0, profile: int = 0, rest: bytes = b"") -> bytes:
    """The keystore's own entry as bytes; without a profile as the first release wrote it."""
    if not profile:
        return _GUARD.pack(1, guard_id, counter)
    return _GUARD.pack(2, guard_id, counter) + _PROFILE.pack(profile) + rest


def read_guard(raw: bytes | None) -> GuardEntry | None:
    """
    What the keystore's own entry says; None: nothing of ours.

    Raises:
        NewerFormError: A later release wrote it.

    """
    if raw is None or len(raw) < _GUARD.size:
        return None
    version, guard_id, counter = _GUARD.unpack_from(raw)
    if version > 2:  # noqa: PLR2004 - see guard_entry
        raise NewerFormError("the keystore's guard entry", version, 2)
    if version == 1:
        return GuardEntry(guard_id, counter) if len(raw) == _GUARD.size else None
    end = _GUARD.size + _PROFILE.size
    if version != 2 or len(raw) < end:  # noqa: PLR2004
        return None
    return GuardEntry(guard_id, counter, _PROFILE.unpack_from(raw, _GUARD.size)[0], raw[end:])


class RestoreGuard:
    """Knows the keystore again; `keys` are what it must be shown with every reading."""

    def __init__(self, keystore: Keystore, vault: Vault, tenant: Tenant, partitions: int) -> None:
        self._keystore, self._vault, self._tenant = keystore, vault, tenant
        self._marks = [guarded_key(partition) for partition in range(partitions)]
        self._seen, self._leap = 0, 0
        self.count: Increment = _silent

    @property
    def keys(self) -> list[bytes]:
        """The guard entry and the marks."""
        return [GUARD_KEY, *self._marks]

    @property
    def seen(self) -> int:
        """The highest counter that was seen."""
        return self._seen

    async def check(self, origin: bytes, found: Sequence[bytes | None], *, seen: int, under_guard: bool) -> None:
        """
        Judge what was read under `keys` in one answer of the run `origin`; `seen` as it was when that was asked for.

        Raises:
            GuardMovedError: The keystore has another past than the one seen.
            KeystoreGuardedError: It was restarted or restored, and the ledger is not yet replayed against it.

        """
        await self._risen(found[0], seen)
        if not under_guard and list(found[1:]) != [origin] * len(self._marks):
            raise KeystoreGuardedError(
                "the keystore was restarted or restored: waits until keepers replayed the ledger"
            )

    async def _entry(self, raw: bytes | None) -> GuardEntry:
        """The guard's entry, once this process knows the profile that it names."""
        found = read_guard(raw)
        if found is None or found.guard_id != self._vault.guard_id():
            raise GuardMovedError(
                "the keystore's guard entry is missing or another: it has another past than the one seen"
            )
        await self._vault.reach(self._tenant, found.profile)
        return found

    def _raised(self, found: GuardEntry, counter: int) -> bytes:
        """The entry with another counter, and with the newest profile."""
        return guard_entry(*found._replace(counter=counter, profile=max(found.profile, self._profile.number)))

    @property
    def _profile(self) -> TenantProfile:
        return self._vault.profile(self._tenant)

    async def _risen(self, raw: bytes | None, seen: int) -> GuardEntry:
        """
        A counter below one seen means an older keystore under the same run: every mark falls, then the counter rises.

        `seen` is what was known when the question was sent: answers of several questions may overtake each other.
        """
        found = await self._entry(raw)
        if seen and found.counter - seen >= _LEAP:  # no auditor of ours raised it so: the next puts it right
            if found.counter != self._leap:
                self._leap = found.counter
                self.count(Counters.counter_leaps, 1)
            return found._replace(counter=seen)
        if found.counter >= seen:
            self._seen = max(self._seen, found.counter)
            return found
        with suppress(KeystoreForbiddenError):  # who may not raise the guard waits for those who may, and meet the same
            await self._keystore.delete(self._marks)
            await self._keystore.swap({GUARD_KEY: (raw, self._raised(found, self._seen + 1))}, {})
        raise KeystoreGuardedError(
            "the keystore is older than one that was seen: waits until keepers replayed the ledger"
        )

    @property
    def heartbeats(self) -> Heartbeats:
        """By which a heartbeat is known."""
        return self._vault.heartbeats(self._tenant)

    @property
    def proofs(self) -> Proofs:
        """By which a record of ours is known."""
        return self._vault.proofs(self._tenant)

    async def vouched(self, role: str, outputs: Sequence[Output]) -> list[Output]:
        """Records as a role writes them; without a pause once its key is known, so nothing overtakes earlier ones."""
        if not self._vault.can_vouch(self._tenant, role):
            await asyncio.to_thread(self._vault.signer_seed, self._tenant, role)
        return self._vault.vouched(self._tenant, role, outputs)

    def saw(self, counter: int) -> None:
        """A heartbeat told of this counter; one that no keystore can hold is nobody's."""
        if counter < _COUNTERS[self._profile.forms]:
            self._seen = max(self._seen, counter)

    async def unguarded(self, partitions: Sequence[int]) -> tuple[bytes, dict[int, int]]:
        """The run of the keystore, and the partitions whose ledger it has not had replayed: from which offset on."""
        marks = [guarded_key(partition) for partition in partitions]
        applied = [applied_key(partition) for partition in partitions]
        seen = self._seen
        origin, (guard, *found) = await self._keystore.origin([GUARD_KEY, *marks, *applied])
        await self._risen(guard, seen)
        offsets = found[len(marks) :]
        missing = {
            partition: number_at(applied[at], offsets[at], 0)
            for at, partition in enumerate(partitions)
            if found[at] != origin
        }
        return origin, missing

    async def mark(self, partition: int, origin: bytes, applied: int) -> None:
        """A partition's ledger is replayed up to an offset against this run of the keystore."""
        await self._keystore.put({guarded_key(partition): origin, applied_key(partition): str(applied).encode()})

    async def applied(self, partition: int, offset: int) -> None:
        """Every decision of a partition below this offset has had its effect."""
        await self._keystore.put({applied_key(partition): str(offset).encode()})

    async def open_at_once(self, partitions: int) -> None:
        """Mark every partition of a new keystore, which has nothing to forget."""
        origin, _ = await self._keystore.origin([GUARD_KEY])
        await self._keystore.put({guarded_key(partition): origin for partition in range(partitions)})

    async def raise_counter(self) -> int:
        """
        Raise the guard's counter by one, as every heartbeat does; the counter.

        Raises:
            GuardMovedError: The keystore has another past than the one seen.

        """
        while True:
            seen = self._seen
            (guard,) = await self._keystore.read([GUARD_KEY])
            found = await self._risen(guard, seen)
            if await self._keystore.swap({GUARD_KEY: (guard, self._raised(found, found.counter + 1))}, {}):
                self._seen = max(self._seen, found.counter + 1)
                return found.counter + 1

    async def tell_profile(self) -> None:
        """Let every worker's next unit know of the newest profile."""
        while True:
            seen = self._seen
            (guard,) = await self._keystore.read([GUARD_KEY])
            found = await self._risen(guard, seen)
            if found.profile >= self._profile.number or await self._keystore.swap(
                {GUARD_KEY: (guard, self._raised(found, found.counter))}, {}
            ):
                return

    async def raise_floor(self) -> int:
        """
        Before a replay ends: who is minted now gets a generation nobody had, not even the lost. The counter.

        The counter is above all that were seen; restores are few: equal generations do not tell who was minted when.
        """
        while True:
            seen = self._seen
            guard, floor = await self._keystore.read([GUARD_KEY, FLOOR_KEY])
            found = await self._risen(guard, seen)
            counter = found.counter + 1
            risen = {
                GUARD_KEY: (guard, self._raised(found, counter)),
                FLOOR_KEY: (floor, str(max(counter, number_at(FLOOR_KEY, floor, 0) + 1)).encode()),
            }
            if await self._keystore.swap(risen, {}):
                return counter
