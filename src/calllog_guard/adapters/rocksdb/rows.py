"""Sorted rows of bytes in RocksDB: what a worker has made of a topic and need not read again."""

import functools
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from rocksdict import AccessType, BlockBasedOptions, Cache, Options, Rdict, WriteBatch

from calllog_guard.errors import IndexFaultError, IndexHeldError

_BUFFER: Final = 4 << 20
"""What rows gather in memory before they write a file, twice: a process may have those of 48 partitions open."""
_CACHE: Final = 64 << 20
"""What all rows of a process keep of their files in memory, together."""
_HELD: Final = ("lock file", "lock hold by current process")
"""RocksDB's own words for a LOCK that another process has, or this one."""


@functools.cache
def _cache() -> Any:
    return Cache(_CACHE)


def opened(path: Path, *, bounded: bool = False) -> Any:
    """
    A database of raw bytes, made where there is none.

    Args:
        bounded: Whether its memory does not grow with its rows; else each has what RocksDB wants, up to 160 MiB.

    Raises:
        IndexHeldError: Another process has it open.
        IndexFaultError: It cannot be opened; it can be made anew.

    """
    options = Options(raw_mode=True)
    options.create_if_missing(True)  # noqa: FBT003 - the library's signature
    if bounded:
        tables = BlockBasedOptions()
        tables.set_block_cache(_cache())
        tables.set_cache_index_and_filter_blocks(True)
        options.set_block_based_table_factory(tables)
        options.set_write_buffer_size(_BUFFER)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        return Rdict(str(path), options, access_type=AccessType.read_write())
    except Exception as error:  # noqa: BLE001 - the library raises plain Exception
        if any(words in str(error) for words in _HELD):
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
        self._path, self._db = path, opened(path, bounded=True)

    def write(self, rows: Mapping[bytes, bytes | None]) -> None:
        """See Rows."""
        batch = WriteBatch(raw_mode=True)
        for key, value in rows.items():
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        self._db.write(batch)

    def get(self, key: bytes) -> bytes | None:
        """See Rows."""
        found: bytes | None = self._db.get(key)
        return found

    def begin(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """See Rows."""
        return beginning(self._db, prefix)

    def forget(self) -> None:
        """See Rows."""
        self._db.flush()
        self._db.compact_range(None, None)

    def close(self) -> None:
        """See Rows."""
        self._db.close()

    def destroy(self) -> None:
        """See Rows."""
        self._db.close()
        shutil.rmtree(self._path, ignore_errors=True)
