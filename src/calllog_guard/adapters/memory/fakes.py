"""Fakes of the ports, for fast tests; each passes the contract suite of the real one."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime

from calllog_guard.adapters.memory.log import MemoryLog
from calllog_guard.core.crypto.subject_secrets import Secret
from calllog_guard.core.records import Output
from calllog_guard.core.stream.arrival import Arrival, arrival
from calllog_guard.errors import (
    EntryCorruptError,
    EpochUnknownError,
    KeystoreSilentError,
    KmsForbiddenError,
    KmsSilentError,
    LogSilentError,
)
from calllog_guard.ports.administration import Cleaner
from calllog_guard.ports.keys import WATCHED_MOST
from calllog_guard.ports.log import Place, Record


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The time in UTC."""
        return datetime.now(UTC)  # noqa: TID251 - the one place


class MemoryKeystore:
    """A keystore in a dict; `silent` makes it answer nothing, as a stopped server does."""

    def __init__(self) -> None:
        self.entries: dict[bytes, bytes] = {}
        self.silent = False
        self.run = b"memory"

    def _answer(self) -> None:
        if self.silent:
            raise KeystoreSilentError("the keystore does not answer")

    @staticmethod
    def _compared(expected: Mapping[bytes, bytes | None]) -> None:
        if len(expected) > WATCHED_MOST:
            raise ValueError(f"{len(expected)} entries cannot be compared at once, {WATCHED_MOST} can")

    async def read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """See Keystore."""
        self._answer()
        return [self.entries.get(key) for key in keys]

    async def origin(self, keys: Sequence[bytes]) -> tuple[bytes, list[bytes | None]]:
        """See Keystore."""
        return self.run, await self.read(keys)

    async def scan(self, start: bytes) -> AsyncIterator[list[bytes]]:
        """See Keystore."""
        self._answer()
        yield [key for key in self.entries if key.startswith(start)]

    async def put(self, entries: Mapping[bytes, bytes]) -> None:
        """See Keystore."""
        self._answer()
        self.entries.update(entries)

    async def put_new(self, entries: Mapping[bytes, bytes]) -> bool:
        """See Keystore."""
        self._answer()
        if any(key in self.entries for key in entries):
            return False
        self.entries.update(entries)
        return True

    async def swap(
        self, changes: Mapping[bytes, tuple[bytes | None, bytes]], unchanged: Mapping[bytes, bytes | None]
    ) -> bool:
        """See Keystore."""
        self._answer()
        expected = {key: old for key, (old, _) in changes.items()} | dict(unchanged)
        self._compared(expected)
        if any(self.entries.get(key) != old for key, old in expected.items()):
            return False
        self.entries.update({key: new for key, (_, new) in changes.items()})
        return True

    async def delete(self, keys: Sequence[bytes]) -> None:
        """See Keystore."""
        self._answer()
        for key in keys:
            self.entries.pop(key, None)

    async def drop(self, key: bytes, unchanged: Mapping[bytes, bytes | None]) -> bool:
        """See Keystore."""
        self._answer()
        self._compared(unchanged)
        if any(self.entries.get(each) != old for each, old in unchanged.items()):
            return False
        self.entries.pop(key, None)
        return True

    async def rewrite(self) -> None:
        """See Keystore: a dict has no files."""
        self._answer()

    async def check(self) -> None:
        """See Keystore."""
        self._answer()

    async def close(self) -> None:
        """See Keystore."""


class MemoryCleaners:
    """Log cleaners as a test wants them."""

    def __init__(self, *shown: Cleaner | None) -> None:
        self.shown = list(shown)

    async def look(self) -> list[Cleaner | None]:
        """See Cleaners."""
        return list(self.shown)


class MemoryWriter:
    """A log in a list."""

    def __init__(self) -> None:
        self.outputs: list[Output] = []

    async def write(self, outputs: Sequence[Output]) -> None:
        """See Writer."""
        self.outputs.extend(outputs)

    async def withdraw(self) -> None:
        """See Writer: a list holds nothing back."""

    def lane(self, place: Place) -> list[Arrival]:
        """Every record of a partition."""
        there = [output for output in self.outputs if (output.topic, output.partition) == place]
        return [arrival(place, at, 0, output.key, output.value, output.headers) for at, output in enumerate(there)]


class MemoryLogReader:
    """The topics of a log in memory, from `first` on; `silent` makes it answer nothing, as a stopped broker does."""

    def __init__(self, log: MemoryWriter | MemoryLog) -> None:
        self._log = log
        self._places: dict[Place, int] = {}
        self.first: dict[Place, int] = {}
        self.silent = False

    def _records(self, place: Place) -> list[Arrival]:
        if self.silent:
            raise LogSilentError("Kafka does not answer")
        return self._log.lane(place)

    async def assign(self, places: Mapping[Place, int]) -> None:
        """See LogReader."""
        self._places = dict(places)

    async def poll(self, most: int) -> Sequence[Record]:
        """See LogReader."""
        found: list[Record] = []
        for place, at in self._places.items():
            some = self._records(place)[max(at, self.first.get(place, 0)) :][: most - len(found)]
            found += some
            self._places[place] = some[-1].offset + 1 if some else at
        if not found:
            await asyncio.sleep(0.001)
        return found

    async def positions(self) -> dict[Place, int]:
        """See LogReader."""
        return dict(self._places)

    async def bounds(self, places: Sequence[Place]) -> dict[Place, tuple[int, int]]:
        """See LogReader."""
        return {place: (self.first.get(place, 0), len(self._records(place))) for place in places}

    async def fetch(self, place: Place, offsets: Sequence[int]) -> list[Record]:
        """See LogReader."""
        first = self.first.get(place, 0)
        return [each for each in self._records(place) if each.offset in set(offsets) and each.offset >= first]


class MemoryKms:
    """A KMS that keeps what it wrapped in a dict per epoch; `silent`: it answers nothing; `forbidden`: others' keys."""

    delay_days = 0

    def __init__(self) -> None:
        self.wrapped: dict[str, dict[bytes, Secret]] = {}
        self.silent = False
        self.asked = 0
        self.forbidden: set[str] = set()

    def _answer(self) -> None:
        self.asked += 1
        if self.silent:
            raise KmsSilentError("the KMS does not answer")

    def _epoch(self, name: str) -> dict[bytes, Secret]:
        self._answer()
        if name in self.forbidden:
            raise KmsForbiddenError(f"the KMS does not let us use {name}")
        if name not in self.wrapped:
            raise EpochUnknownError(f"the KMS does not know the epoch {name}")
        return self.wrapped[name]

    def create_epoch(self, name: str) -> None:
        """See Kms."""
        self._answer()
        self.wrapped.setdefault(name, {})

    def wrap(self, name: str, secret: Secret) -> bytes:
        """See Kms."""
        blob = secrets.token_bytes(16)
        self._epoch(name)[blob] = secret
        return blob

    def unwrap(self, name: str, blob: bytes) -> Secret:
        """See Kms."""
        if blob not in self._epoch(name):
            raise EntryCorruptError(f"a blob wrapped under {name} does not open")
        return self.wrapped[name][blob]

    def epochs(self) -> list[str]:
        """See Kms."""
        self._answer()
        return sorted(self.wrapped)

    def destroy_epoch(self, name: str) -> None:
        """See Kms."""
        self._answer()
        self.wrapped.pop(name, None)


class MemoryRing:
    """Wrapped blobs in a dict."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}

    def get(self, name: str) -> bytes | None:
        """See Ring."""
        return self.blobs.get(name)

    def put_new(self, name: str, blob: bytes) -> bool:
        """See Ring."""
        return self.blobs.setdefault(name, blob) is blob

    def remove(self, name: str) -> None:
        """See Ring."""
        self.blobs.pop(name, None)
