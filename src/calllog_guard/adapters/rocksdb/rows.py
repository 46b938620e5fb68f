"""Sorted rows of bytes in RocksDB: what a worker has made of a topic and need not read again."""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rocksdict import AccessType, Options, Rdict, WriteBatch

from calllog_guard.errors import IndexFaultError, IndexHeldError


def opened(path: Path) -> Any:
    """
    A database of raw bytes, made where there is none.

    Raises:
        IndexHeldError: Another process has it open.
        IndexFaultError: It cannot be opened; it can be made anew.

    """
    options = Options(raw_mode=True)
    options.create_if_missing(True)  # noqa: FBT003 - the library's signature
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        return Rdict(str(path), options, access_type=AccessType.read_write())
    except Exception as error:  # noqa: BLE001 - the library raises plain Exception
        if "lock file" in str(error):  # RocksDB's own words for a LOCK that another process has
            raise IndexHeldError(f"the index {path.name} is held by another process") from None
        raise IndexFaultError(f"the index {path.name} cannot be opened ({type(error).__name__}): delete it") from None


def beginning(db: Any, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The rows whose keys begin so, in order."""
    rows = db.iter()
    rows.seek(prefix)
    while rows.valid() and rows.key().startswith(prefix):
        yield rows.key(), rows.value()
        rows.next()


class RocksRows:
    """See Rows."""

    def __init__(self, path: Path) -> None:
        self._path, self._db = path, opened(path)

    def write(self, rows: Mapping[bytes, bytes]) -> None:
        """See Rows."""
        batch = WriteBatch(raw_mode=True)
        for key, value in rows.items():
            batch.put(key, value)
        self._db.write(batch)

    def get(self, key: bytes) -> bytes | None:
        """See Rows."""
        found: bytes | None = self._db.get(key)
        return found

    def begin(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """See Rows."""
        return beginning(self._db, prefix)

    def close(self) -> None:
        """See Rows."""
        self._db.close()

    def destroy(self) -> None:
        """See Rows."""
        self._db.close()
        shutil.rmtree(self._path, ignore_errors=True)
