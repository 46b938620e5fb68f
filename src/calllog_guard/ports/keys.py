"""Where secrets lie: the keystore, wrapping keys, and what is wrapped under them."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final, Protocol

from calllog_guard.core.crypto.subject_secrets import Secret

WATCHED_MOST: Final = 512
"""Entries that a keystore can compare at once; more are compared in portions, each by itself."""


class Keystore(Protocol):
    """
    Where every secret about a person lies; entries are opaque bytes here.

    Every method raises KeystoreSilentError when no answer came: then nothing is known, and the caller waits;
    KeystoreForbiddenError, which is one, where the user of this process has no right to it (`core/rights/grants.py`).
    However many keys a call names, the store goes on answering others meanwhile.
    """

    async def read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The entries, in order; None means that there is none."""

    async def origin(self, keys: Sequence[bytes]) -> tuple[bytes, list[bytes | None]]:
        """The entries, with the name of the run of the store that gave them: another after a restart or failover."""

    def scan(self, start: bytes) -> AsyncIterator[list[bytes]]:
        """The keys that begin with `start`, in batches; what comes or goes meanwhile may be missed or met twice."""

    async def put(self, entries: Mapping[bytes, bytes]) -> None:
        """Write entries; durable on return."""

    async def put_new(self, entries: Mapping[bytes, bytes]) -> bool:
        """Write entries where none of their keys has one, else none (of a portion) and False; durable on return."""

    async def swap(
        self, changes: Mapping[bytes, tuple[bytes | None, bytes]], unchanged: Mapping[bytes, bytes | None]
    ) -> bool:
        """
        Write all of `changes` if each entry, and each of `unchanged`, is still as expected; else nothing and False.

        Raises ValueError above WATCHED_MOST entries, those of `unchanged` included.
        """

    async def delete(self, keys: Sequence[bytes]) -> None:
        """Remove entries; durable on return."""

    async def drop(self, key: bytes, unchanged: Mapping[bytes, bytes | None]) -> bool:
        """Remove an entry if each of `unchanged` is still as expected; else nothing and False."""

    async def rewrite(self) -> None:
        """Make sure that what was deleted before this call is in none of the store's files; returns when it is so."""

    async def check(self) -> None:
        """
        Whether the store keeps and forgets as promised.

        Raises:
            KeystoreUnsafeError: Which setting, found and wanted; the worker does not start.

        """

    async def close(self) -> None:
        """Close connections."""


class Kms(Protocol):
    """
    Wrapping keys, one per epoch; off the hot path, synchronous, each answer within seconds.

    Every method raises KmsSilentError when no answer came, or none about the epoch: wait; KmsForbiddenError, which
    is one, where the KMS lets these credentials not use the key.
    """

    @property
    def delay_days(self) -> int:
        """How long after a destruction someone with every right over the KMS could still take it back."""

    def create_epoch(self, name: str) -> None:
        """Make the epoch's key; nothing happens when it exists."""

    def wrap(self, name: str, secret: Secret) -> bytes:
        """The secret under the epoch's key. Raises EpochUnknownError."""

    def unwrap(self, name: str, blob: bytes) -> Secret:
        """The secret again. Raises EpochUnknownError when destroyed, EntryCorruptError when changed."""

    def epochs(self) -> list[str]:
        """The names whose key is alive."""

    def destroy_epoch(self, name: str) -> None:
        """Forget the epoch's key; nothing wrapped under it opens again."""


class Ring(Protocol):
    """
    Where wrapped blobs lie: beside the KMS, never in the keystore, or a backup of it would hold them.

    Every method raises KmsSilentError when the place does not answer.
    """

    def get(self, name: str) -> bytes | None:
        """The blob of a name."""

    def put_new(self, name: str, blob: bytes) -> bool:
        """Store a blob unless one is there; whether it was stored."""

    def remove(self, name: str) -> None:
        """Remove a blob, whether it is there or not."""
