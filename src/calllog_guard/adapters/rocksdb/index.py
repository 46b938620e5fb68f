"""
The keeper's index of one partition in RocksDB: which legs there are and when they fall due; no values.

Rules: 1. One write batch per unit, with the position in it.  2. It can always be rebuilt from the topics.
       3. Erased ranges are compacted at once, so that it remembers nobody.
Rows: `l` pseudonym.token -> facts, place; `d` facts pseudonym.token -> empty; `q` decision -> pending; `p` -> position.
Source: docs/contributing/architecture.md.
"""

import shutil
import struct
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Final

import msgspec
from rocksdict import WriteBatch

from calllog_guard.adapters.rocksdb.rows import beginning, opened
from calllog_guard.ports.state import LegFacts, Pending, Position

_FACTS: Final = struct.Struct(">IQ10s")
_PLACE: Final = struct.Struct(">Q")
_KEY_BYTES: Final = 45


def _packed(facts: LegFacts) -> bytes:
    """Ordered by day."""
    return _FACTS.pack(facts.day.toordinal(), facts.mask, facts.policy.encode())


def _unpacked(raw: bytes) -> LegFacts:
    day, mask, policy = _FACTS.unpack_from(raw)
    (offset,) = _PLACE.unpack_from(raw, _FACTS.size) if len(raw) > _FACTS.size else (0,)
    return LegFacts(date.fromordinal(day), mask, policy.decode(), offset)


class RocksIndex:
    """One partition's index; changes gather until `commit`."""

    def __init__(self, path: Path) -> None:
        self._path, self._db = path, opened(path)
        self._batch = WriteBatch(raw_mode=True)
        self._fresh: dict[bytes, bytes | None] = {}

    # --- changes ----------------------------------------------------------------------------------------------------

    def _put(self, key: bytes, value: bytes) -> None:
        self._batch.put(key, value)
        self._fresh[key] = value

    def _drop(self, key: bytes) -> None:
        self._batch.delete(key)
        self._fresh[key] = None

    def _get(self, key: bytes) -> bytes | None:
        if key in self._fresh:
            return self._fresh[key]
        found: bytes | None = self._db.get(key)
        return found

    def put(self, key: bytes, facts: LegFacts) -> None:
        """A leg is there."""
        self.remove(key)
        packed = _packed(facts)
        self._put(b"l" + key, packed + _PLACE.pack(facts.offset))
        self._put(b"d" + packed + key, b"")

    def remove(self, key: bytes) -> None:
        """A leg is gone."""
        packed = self._get(b"l" + key)
        if packed is not None:
            self._drop(b"l" + key)
            self._drop(b"d" + packed[: _FACTS.size] + key)

    def pend(self, key: bytes, pending: Pending) -> None:
        """Note a decision that waits."""
        self._put(b"q" + key, msgspec.msgpack.encode(pending))

    def unpend(self, key: bytes) -> None:
        """A decision is done."""
        self._drop(b"q" + key)

    def commit(self, position: Position) -> None:
        """Write everything since the last commit, with the position, at once."""
        self._put(b"p", msgspec.msgpack.encode(position))
        self._db.write(self._batch)
        self._batch = WriteBatch(raw_mode=True)
        self._fresh.clear()

    # --- answers (committed rows only) --------------------------------------------------------------------------------

    def position(self) -> Position | None:
        """Up to where the index is."""
        raw = self._db.get(b"p")
        return None if raw is None else msgspec.msgpack.decode(raw, type=Position)

    def facts(self, key: bytes) -> LegFacts | None:
        """What is known of a leg."""
        raw = self._db.get(b"l" + key)
        return None if raw is None else _unpacked(raw)

    def legs_of(self, pseudonym: str) -> list[tuple[LegFacts, bytes]]:
        """Facts and record keys of a person's legs."""
        return [(_unpacked(raw), key[1:]) for key, raw in beginning(self._db, b"l" + pseudonym.encode() + b".")]

    def legs_after(self, pseudonym: str, key: bytes, most: int) -> list[tuple[LegFacts, bytes]]:
        """See Index: behind a key comes what begins with it and a zero byte."""
        prefix = b"l" + pseudonym.encode() + b"."
        found: list[tuple[LegFacts, bytes]] = []
        rows = self._db.iter()
        rows.seek(max(prefix, b"l" + key + b"\0"))
        while rows.valid() and len(found) < most and rows.key().startswith(prefix):
            found.append((_unpacked(rows.value()), rows.key()[1:]))
            rows.next()
        return found

    def people_after(self, pseudonym: str, most: int) -> list[str]:
        """See Index: behind a person's dot comes a slash."""
        found: list[str] = []
        rows = self._db.iter()
        rows.seek(b"l" + (pseudonym.encode() + b"/" if pseudonym else b""))
        while rows.valid() and len(found) < most and rows.key().startswith(b"l"):
            found.append(rows.key()[1:].partition(b".")[0].decode())
            rows.seek(b"l" + found[-1].encode() + b"/")
        return found

    def pending(self) -> dict[bytes, Pending]:
        """Decisions that wait, by ledger key, in the order of the ledger."""
        found = [(key[1:], msgspec.msgpack.decode(raw, type=Pending)) for key, raw in beginning(self._db, b"q")]
        return dict(sorted(found, key=lambda item: item[1].offset))

    def by_day(self) -> Iterator[tuple[LegFacts, bytes]]:
        """Facts (without the place) and record keys, the oldest day first."""
        for key, _ in beginning(self._db, b"d"):
            yield _unpacked(key[1:-_KEY_BYTES]), key[-_KEY_BYTES:]

    def groups(self) -> Iterator[LegFacts]:
        """The different facts, the oldest day first: from each the next is found by one seek."""
        rows = self._db.iter()
        rows.seek(b"d")
        while rows.valid() and rows.key().startswith(b"d"):
            packed = rows.key()[:-_KEY_BYTES]
            yield _unpacked(packed[1:])
            rows.seek(packed + b"\xff")  # above every record key: these are ASCII

    def keys_with(self, facts: LegFacts) -> Iterator[bytes]:
        """The record keys of the legs with these facts."""
        for key, _ in beginning(self._db, b"d" + _packed(facts)):
            yield key[-_KEY_BYTES:]

    def count(self) -> int:
        """How many legs there are."""
        return sum(1 for _ in beginning(self._db, b"l"))

    def forget(self) -> None:
        """Compact, so that removed rows leave the files."""
        self._db.flush()
        self._db.compact_range(None, None)

    def close(self) -> None:
        """Close the files."""
        self._db.close()

    def destroy(self) -> None:
        """Close and delete the files."""
        self._db.close()
        shutil.rmtree(self._path, ignore_errors=True)
