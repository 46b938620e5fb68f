"""
The restore guard: a keystore that was restarted, restored or failed over opens nothing until the ledger is replayed against it.

Rules: 1. The guard's keys are read in the same MGET as the persons of every unit.  2. A mark per partition names the run of the
          keystore against which its ledger was replayed.  3. The counter only rises: a lower one is an older content.
Source: design section 9 (restore guard).
"""

import struct
from collections.abc import Sequence
from typing import Final

from calllog_guard.core.crypto.entries import FLOOR_KEY, GUARD_KEY, applied_key, guarded_key
from calllog_guard.errors import GuardMovedError, KeystoreGuardedError
from calllog_guard.ports import Keystore
from calllog_guard.workers.vault import Vault

_GUARD: Final = struct.Struct(">B16sQ")
_COUNTERS: Final = 1 << 32
"""Generations are 32 bits, and take their floor from the counter: at a heartbeat a second enough for 136 years."""


def guard_entry(guard_id: bytes, counter: int = 0) -> bytes:
    """The keystore's own entry: a random id and a counter that only rises."""
    return _GUARD.pack(1, guard_id, counter)


class RestoreGuard:
    """Knows the keystore again; `keys` are what it must be shown with every reading."""

    def __init__(self, keystore: Keystore, vault: Vault, partitions: int) -> None:
        self._keystore, self._vault = keystore, vault
        self._marks = [guarded_key(partition) for partition in range(partitions)]
        self._seen = 0

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

    def _counter(self, guard: bytes | None) -> int:
        if guard is None or len(guard) != _GUARD.size or _GUARD.unpack(guard)[1] != self._vault.guard_id():
            raise GuardMovedError(
                "the keystore's guard entry is missing or another: it has another past than the one seen"
            )
        return int(_GUARD.unpack(guard)[2])

    async def _risen(self, guard: bytes | None, seen: int) -> None:
        """
        A counter below one seen means an older keystore under the same run: every mark falls, then the counter rises.

        `seen` is what was known when the question was sent: answers of several questions may overtake each other.
        """
        counter = self._counter(guard)
        if counter >= seen:
            self._seen = max(self._seen, counter)
            return
        await self._keystore.delete(self._marks)
        await self._keystore.swap({GUARD_KEY: (guard, guard_entry(self._vault.guard_id(), self._seen + 1))}, {})
        raise KeystoreGuardedError(
            "the keystore is older than one that was seen: waits until keepers replayed the ledger"
        )

    def saw(self, counter: int) -> None:
        """A heartbeat told of this counter; one that no keystore can hold is nobody's."""
        if counter < _COUNTERS:
            self._seen = max(self._seen, counter)

    async def unguarded(self, partitions: Sequence[int]) -> tuple[bytes, dict[int, int]]:
        """The run of the keystore, and the partitions whose ledger it has not had replayed: from which offset on."""
        marks = [guarded_key(partition) for partition in partitions]
        applied = [applied_key(partition) for partition in partitions]
        seen = self._seen
        origin, (guard, *found) = await self._keystore.origin([GUARD_KEY, *marks, *applied])
        await self._risen(guard, seen)
        offsets = found[len(marks) :]
        missing = {partition: int(offsets[at] or 0) for at, partition in enumerate(partitions) if found[at] != origin}
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
            await self._risen(guard, seen)
            counter = self._counter(guard) + 1
            if await self._keystore.swap({GUARD_KEY: (guard, guard_entry(self._vault.guard_id(), counter))}, {}):
                return counter

    async def raise_floor(self) -> int:
        """
        Before a replay ends: whoever is minted from now on gets a generation that nobody had, also of those lost with a restore. The counter.

        The counter is above all that were seen; restores are few, so that equal generations do not tell who was minted when.
        """
        while True:
            seen = self._seen
            guard, floor = await self._keystore.read([GUARD_KEY, FLOOR_KEY])
            await self._risen(guard, seen)
            counter = self._counter(guard) + 1
            risen = {
                GUARD_KEY: (guard, guard_entry(self._vault.guard_id(), counter)),
                FLOOR_KEY: (floor, str(max(counter, int(floor or 0) + 1)).encode()),
            }
            if await self._keystore.swap(risen, {}):
                return counter
