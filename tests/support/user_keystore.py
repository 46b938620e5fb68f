"""A keystore in memory that lets its user do what the table of rights says, as a server of today does."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from calllog_guard.adapters.memory.fakes import MemoryKeystore
from calllog_guard.core.rights.grants import ENTRIES
from calllog_guard.errors import KeystoreForbiddenError


class UserKeystore(MemoryKeystore):
    """Another's entries, as one user."""

    def __init__(self, store: MemoryKeystore, user: str) -> None:
        super().__init__()
        self.entries, self.run, self._user = store.entries, store.run, user

    def _may(self, keys: Iterable[bytes], letter: str) -> None:
        for key in keys:
            letters = {
                each
                for pattern, users in ENTRIES.items()
                if fnmatchcase(key.decode(), pattern.replace("TENANT", "iocom").replace("ROLE", self._user))
                for each in users.get(self._user, "")
            }
            if letter not in letters and not (letter == "N" and "W" in letters):
                raise KeystoreForbiddenError(f"{self._user} may not {letter} {key.decode()}")

    async def read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """See Keystore."""
        self._may(keys, "R")
        return await super().read(keys)

    async def scan(self, start: bytes) -> AsyncIterator[list[bytes]]:
        """See Keystore."""
        if self._user != "auditor":
            raise KeystoreForbiddenError(f"{self._user} may not scan")
        async for found in super().scan(start):
            yield found

    async def put(self, entries: Mapping[bytes, bytes]) -> None:
        """See Keystore."""
        self._may(entries, "W")
        await super().put(entries)

    async def put_new(self, entries: Mapping[bytes, bytes]) -> bool:
        """See Keystore."""
        self._may(entries, "N")
        return await super().put_new(entries)

    async def swap(
        self, changes: Mapping[bytes, tuple[bytes | None, bytes]], unchanged: Mapping[bytes, bytes | None]
    ) -> bool:
        """See Keystore."""
        self._may([*changes, *unchanged], "R")
        self._may(changes, "W")
        return await super().swap(changes, unchanged)

    async def delete(self, keys: Sequence[bytes]) -> None:
        """See Keystore."""
        self._may(keys, "D")
        await super().delete(keys)

    async def drop(self, key: bytes, unchanged: Mapping[bytes, bytes | None]) -> bool:
        """See Keystore."""
        self._may(unchanged, "R")
        self._may([key], "D")
        return await super().drop(key, unchanged)
