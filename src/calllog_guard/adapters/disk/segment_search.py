"""
The search for many pseudonyms at once in the files of a partition.

Rules: 1. Every byte is searched; a batch with a mark, or compressed, is parsed as well.  2. Bytes of a segment that are
       no batch are searched too, and counted as unread: what they hold in compressed form cannot be known.
       3. Memory is bounded by a block and the largest batch, however large the file, however little it is packed in.
Source: Kafka's on-disk record format, message format v2.
"""

from typing import Any, BinaryIO, Final

import ahocorasick_rs

from calllog_guard.adapters.kafka.batches import HEAD as _HEAD
from calllog_guard.adapters.kafka.batches import UNCOUNTED as _UNCOUNTED
from calllog_guard.adapters.kafka.batches import arrivals, holds, unpacked
from calllog_guard.core.audit.absence import KEY, Look, Sighting, marks

_BLOCK: Final = 4 << 20
_OVERLAP: Final = 64
_MAGIC: Final = 2
_COMPRESSED: Final = 0x07
_BATCH_MOST: Final = 64 << 20
"""Above `max.message.bytes` of every governed topic: a length beyond it is no length."""


class Search:
    """One automaton over every form of every pseudonym, and what it has found so far."""

    def __init__(self, names: list[bytes]) -> None:
        patterns = marks(names)
        self._automaton = ahocorasick_rs.BytesAhoCorasick(list(patterns))
        self._owners = list(patterns.values())
        self.look = Look({name: Sighting() for name in names})

    def file(self, file: BinaryIO, *, segment: bool) -> None:
        """Read a file, a segment as batches."""
        rest, whole = self._batches(file) if segment else (b"", True)
        blank = self._formless(file, rest)
        self.look.unread += not whole and not blank  # zeros are space that a broker laid out in advance

    def _batches(self, file: BinaryIO) -> tuple[bytes, bool]:
        """Take batches; what was read behind the last of them, and whether it can be nothing but one half written."""
        rest, size = b"", None
        while size != 0 and (block := file.read(_BLOCK)):
            self.look.size_bytes += len(block)
            content = memoryview(rest + block)
            at = 0
            while (size := _size(content[at:])) and at + size <= len(content):
                self._batch(content[at : at + size])
                at += size
            rest = bytes(content[at:])
        return rest, size is None or (size > 0 and not _compressed(rest))

    def _batch(self, batch: memoryview) -> None:
        compressed, count = _compressed(batch), _HEAD.unpack_from(batch)[-1]
        self.look.records += count
        found = {} if compressed else self._hits(batch)
        if not compressed and not found:
            return
        parsed: dict[bytes, Sighting] = {}
        if holds(batch):
            content, whole = unpacked(batch)
            if compressed:
                self._hits(bytes(content[_HEAD.size :]), found)
            self.look.unread += whole is not True
            for record in arrivals(("", 0), batch, 0):
                for name in self.look.named(record.key or b""):
                    parsed.setdefault(name, Sighting()).add(Sighting(int(record.value is not None), 1))
        else:
            self.look.unread += 1
        for name in found.keys() | parsed.keys():
            self.look.seen[name].add(found.get(name, Sighting()).most(parsed.get(name, Sighting())))

    def _formless(self, file: BinaryIO, rest: bytes) -> bool:
        """Search bytes that are no batch, to the end of the file; whether all are zero."""
        blank, block = True, rest
        if not block:
            block = rest = file.read(_BLOCK)
            self.look.size_bytes += len(block)
        while block:
            if block.strip(b"\0"):
                blank = False
                for name, sighting in self._hits(rest).items():
                    self.look.seen[name].add(sighting)
            block = file.read(_BLOCK)
            self.look.size_bytes += len(block)
            rest = rest[-_OVERLAP:] + block
        return blank

    def _hits(self, content: Any, found: dict[bytes, Sighting] | None = None) -> dict[bytes, Sighting]:
        """What bytes betray, by pseudonym."""
        found = {} if found is None else found
        for hit in self._automaton.find_matches_as_indexes(content, overlapping=True):
            name, value = self._owners[hit[0]]
            name = name or bytes(content[hit[1] : hit[1] + KEY])
            if name in self.look.seen:
                found.setdefault(name, Sighting()).add(Sighting(int(value), int(not value)))
        return found


def _size(content: Any) -> int | None:
    """Bytes of the batch at the beginning; 0 when there is none, None when too little is there to tell."""
    if len(content) < _HEAD.size:
        return None
    head = _HEAD.unpack_from(content)
    size = int(head[1]) + _UNCOUNTED
    return size if head[3] == _MAGIC and _HEAD.size <= size <= _BATCH_MOST and head[-1] >= 0 else 0


def _compressed(batch: Any) -> bool:
    return len(batch) >= _HEAD.size and bool(_HEAD.unpack_from(batch)[5] & _COMPRESSED)
