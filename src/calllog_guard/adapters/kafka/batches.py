"""
Batches of Kafka as arrivals, whatever their bytes: what does not parse is passed over record by record.

The library's parser is taken where it can do no harm: it unpacks a whole batch, so 30 KiB may need gigabytes, and one
name of a header that is no UTF-8 ends it for all records of the fetch.
Rules: 1. Nothing raises here.  2. At most UNPACKED_MOST of a batch is unpacked, never more than is found there.
       3. A batch that holds is left record by record: each that cannot be read is an arrival with its remnant.
       4. A batch that does not hold ends the fetch with one arrival: none of it is believed, its length included.
Source: Kafka's message format v2; RFC 1952 (gzip), RFC 8878 (zstd), LZ4 frame format, snappy as xerial frames it.
"""

import struct
import zlib
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Final, NamedTuple

import cramjam
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.legacy_records import LegacyRecordBatch

from calllog_guard.core.stream.arrival import (
    CORRUPT,
    TOO_LARGE,
    UNREADABLE,
    Arrival,
    arrival,
    header_name,
    lost,
    remnant,
    sent,
)

UNPACKED_MOST: Final = 64 << 20
"""Twice the widest record of any governed topic, and more; a batch of events unpacks to less than one megabyte."""
HEAD: Final = struct.Struct(">qiibIhiqqqhii")
"""Base offset, length of what follows, leader epoch, magic, checksum, attributes, ..., number of records."""
UNCOUNTED: Final = 12
"""The bytes of base offset and length, which the length leaves out."""
_MAGIC_AT, _ATTRIBUTES_AT, _CHECKED_FROM = 16, 21, 21
_MAGIC: Final = 2
_CODEC, _APPEND_TIME, _BROKERS = 0x07, 0x08, 1
_LEAST: Final = UNCOUNTED + 14
"""The smallest message of the oldest format."""
_RATIO: Final = 8
_VARINT_MOST: Final = 70
_XERIAL: Final = b"\x82SNAPPY\x00"
_XERIAL_HEAD: Final = 16

Place = tuple[str, int]
Found = tuple[bytes | bytearray | memoryview, bool | None]
"""What could be unpacked, and whether that is all: False when there is more, None when the rest does not unpack."""


class _Head(NamedTuple):
    base: int
    length: int
    epoch: int
    magic: int
    checksum: int
    attributes: int
    last: int
    first_ms: int
    max_ms: int
    producer: int
    producer_epoch: int
    sequence: int
    records: int

    @property
    def spare(self) -> int:
        """How many of its records compaction may have taken: so much later than its place may a record be."""
        return self.last + 1 - self.records


def split(fetched: bytes) -> Iterator[memoryview | None]:
    """The batches in what was fetched; None at last when the first, or its length, is none. A cut rest is left."""
    content, at = memoryview(fetched), 0
    while at < len(content):
        size = UNCOUNTED + struct.unpack_from(">i", content, at + 8)[0] if at + UNCOUNTED <= len(content) else 0
        if size < _LEAST or at + size > len(content):
            if at == 0 or 0 < size < _LEAST:
                yield None
            return
        yield content[at : at + size]
        at += size


def broken(place: Place, offset: int, batch: bytes | memoryview) -> Arrival:
    """The one arrival of a batch that does not hold."""
    return lost(place, offset, remnant(CORRUPT, batch, "batch"), len(batch))


def holds(batch: memoryview) -> bool:
    """Whether the checksum of a batch is that of its bytes, and its format one that we know."""
    magic = batch[_MAGIC_AT]
    try:
        if magic < _MAGIC:
            return bool(LegacyRecordBatch(batch, magic).validate_crc())
        return magic == _MAGIC and len(batch) >= HEAD.size and bool(DefaultRecordBatch(batch).validate_crc())
    except Exception:  # noqa: BLE001 - the library on foreign bytes
        return False


def arrivals(place: Place, batch: memoryview, start: int) -> Iterator[Arrival]:
    """Each record of a batch that holds, from an offset on."""
    if batch[_MAGIC_AT] < _MAGIC:
        yield from _old(place, batch, start)
        return
    head = _Head(*HEAD.unpack_from(batch))
    content, whole = unpacked(batch)
    made = arrival if head.attributes & _APPEND_TIME else sent
    least, most = head.base, head.base + head.spare
    if whole and head.records >= 0:
        try:
            for record in DefaultRecordBatch(content):
                offset = record.offset
                if not least <= offset <= most:  # believed, it would leave others out, or end beyond the log
                    break
                least, most = offset + 1, most + 1
                if offset >= start:
                    yield made(place, offset, record.timestamp, record.key, record.value, record.headers)
            else:
                return
        except Exception:  # noqa: BLE001, S110 - the library on foreign bytes: the rest one by one
            pass
    why = TOO_LARGE if whole is False else UNREADABLE
    yield from _one_by_one(place, batch, content, max(least, start), why)


def _old(place: Place, batch: memoryview, start: int) -> Iterator[Arrival]:
    """The records of a message of format 0 or 1; one that cannot be unpacked is one arrival."""
    last = struct.unpack_from(">q", batch)[0]
    try:
        found = LegacyRecordBatch(batch, batch[_MAGIC_AT])
        if _old_fits(batch):
            for record in found:
                if record.offset >= start:
                    start = record.offset + 1
                    made = arrival if record.timestamp_type == _BROKERS else sent
                    yield made(place, record.offset, record.timestamp or 0, record.key, record.value)
            return
    except Exception:  # noqa: BLE001, S110 - the library on foreign bytes
        pass
    if start <= last:
        yield lost(place, last, remnant(UNREADABLE, batch, "batch"), UNPACKED_MOST)


def _old_fits(batch: memoryview) -> bool:
    """Whether what is packed in an old message can be unpacked as a whole."""
    codec = batch[_MAGIC_AT + 1] & _CODEC
    if not codec:
        return True
    at = _MAGIC_AT + 2 + 8 * batch[_MAGIC_AT]
    key = struct.unpack_from(">i", batch, at)[0]
    at += 4 + max(key, 0) + 4
    unpack = _UNPACK.get(codec)
    return unpack is not None and unpack(batch[at:], UNPACKED_MOST)[1] is True


# --- one by one -----------------------------------------------------------------------------------------------------


def _one_by_one(place: Place, batch: memoryview, content: memoryview, start: int, why: str) -> Iterator[Arrival]:
    """Each record by itself; those behind what could be unpacked with the remnant of the batch."""
    head = _Head(*HEAD.unpack_from(batch))
    if head.records < 0:  # nobody knows how many: as many as it has places
        head = head._replace(records=head.last + 1)
    possible, position, left = range(head.base, head.base + head.spare + 1), HEAD.size, max(head.records, 0)
    while left and possible:
        try:
            size, position = _varint(content, position)
        except ValueError:
            break
        if size < 0 or position + size > len(content):
            break
        found = _record(place, content[position : position + size], head, possible)
        position, left = position + size, left - 1
        possible = range(found.offset + 1, possible.stop + 1)
        if found.offset >= start:
            yield found
    what, size = remnant(why, batch, "batch"), UNPACKED_MOST
    for offset in islice(range(possible.start, head.base + head.last + 1), left):
        if offset >= start:
            yield lost(place, offset, what, size)
            size = 0  # what it took to unpack the batch is told once


def _record(place: Place, body: memoryview, head: _Head, possible: range) -> Arrival:
    """One record; one that claims a place that it cannot have lies at the first that it can have."""
    offset = possible.start
    try:
        later, position = _varint(body, 1)
        delta, position = _varint(body, position)
        offset = possible[possible.index(head.base + delta)]
        stamp = head.max_ms if head.attributes & _APPEND_TIME else head.first_ms + later
        key, position = _bytes(body, position)
        value, position = _bytes(body, position)
        count, position = _varint(body, position)
        headers: list[tuple[str, bytes | None]] = []
        for _ in range(count):
            name, position = _bytes(body, position)
            text, position = _bytes(body, position)
            headers.append((header_name(name or b""), text))
    except (ValueError, IndexError):
        return lost(place, offset, remnant(UNREADABLE, body), len(body))
    made = arrival if head.attributes & _APPEND_TIME else sent
    return made(place, offset, stamp, key, value, headers)


def _varint(content: memoryview, at: int) -> tuple[int, int]:
    """A zigzag number and where it ends. Raises ValueError."""
    value = shift = 0
    while shift < _VARINT_MOST and at < len(content):
        byte = content[at]
        at, value, shift = at + 1, value | (byte & 0x7F) << shift, shift + 7
        if byte < 0x80:  # noqa: PLR2004 - the last byte of a number has no top bit
            return (value >> 1) ^ -(value & 1), at
    raise ValueError("no number")


def _bytes(body: memoryview, at: int) -> tuple[bytes | None, int]:
    """Bytes behind their length, and where they end. Raises ValueError."""
    size, at = _varint(body, at)
    if size < 0:
        return None, at
    if at + size > len(body):
        raise ValueError("a length beyond the record")
    return bytes(body[at : at + size]), at + size


# --- compression ----------------------------------------------------------------------------------------------------


def unpacked(batch: memoryview) -> tuple[memoryview, bool | None]:
    """The batch as if never packed; False: its beginning only, for it is too large; None: it does not unpack."""
    codec = batch[_ATTRIBUTES_AT + 1] & _CODEC
    if not codec:
        return batch, True
    unpack = _UNPACK.get(codec)
    body, whole = (b"", None) if unpack is None else unpack(batch[HEAD.size :], UNPACKED_MOST)
    content = bytearray(batch[: HEAD.size])
    content[_ATTRIBUTES_AT + 1] &= ~_CODEC
    content += body
    return memoryview(content), whole


def _gzip(packed: memoryview, most: int) -> Found:
    found, rest = bytearray(), bytes(packed)
    try:
        while rest and len(found) <= most:
            member = zlib.decompressobj(wbits=31)
            found += member.decompress(rest, most + 1 - len(found))
            if not member.eof:
                return (found, None) if len(found) <= most else (found[:most], False)
            rest = member.unused_data.lstrip(b"\0")
    except zlib.error:
        return found, None
    return (found, True) if len(found) <= most else (found[:most], False)


def _into(unpack: Callable[[Any, Any], int]) -> Callable[[memoryview, int], Found]:
    """Unpacking into room that grows until it suffices: the library unpacks all there is, or into what it is given."""

    def unpacked(packed: memoryview, most: int) -> Found:
        room = min(max(len(packed) * _RATIO, 1 << 16), most)
        while True:
            found = bytearray(room)
            try:
                return memoryview(found)[: unpack(packed, found)], True
            except cramjam.DecompressionError as error:
                if "whole buffer" not in str(error):
                    return b"", None
            if room == most:
                return found, False
            room = min(room * _RATIO, most)

    return unpacked


def _snappy(packed: memoryview, most: int) -> Found:
    framed, found = bytes(packed[: len(_XERIAL)]) == _XERIAL, bytearray()
    at = _XERIAL_HEAD if framed else 0
    try:
        while at < len(packed):
            size = struct.unpack_from(">i", packed, at)[0] if framed else len(packed)
            block = packed[at + 4 :][:size] if framed else packed
            if size < 0 or len(found) + cramjam.snappy.decompress_raw_len(block) > most:
                return found, False if size >= 0 else None
            found += cramjam.snappy.decompress_raw(block)
            at += size + 4
    except (cramjam.DecompressionError, struct.error):
        return found, None
    return found, True


_UNPACK: Final[dict[int, Callable[[memoryview, int], Found]]] = {
    1: _gzip,
    2: _snappy,
    3: _into(cramjam.lz4.decompress_into),
    4: _into(cramjam.zstd.decompress_into),
}
"""By the number of the codec in a batch's attributes: gzip, snappy, lz4, zstd."""
