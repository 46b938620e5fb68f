"""Batches of Kafka made by hand: non-text header names, lying lengths, any compression, checksums right or wrong."""

import gzip
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import cramjam
from aiokafka.codec import lz4_encode, snappy_encode, zstd_encode
from aiokafka.record.util import calc_crc32c

from calllog_guard.adapters.kafka.batches import HEAD

CODECS: Final[dict[str, tuple[int, Callable[[bytes], bytes]]]] = {
    "none": (0, bytes),
    "gzip": (1, gzip.compress),
    "snappy": (2, snappy_encode),
    "snappy raw": (2, lambda raw: bytes(cramjam.snappy.compress_raw(raw))),
    "lz4": (3, lz4_encode),
    "zstd": (4, zstd_encode),
}


@dataclass(frozen=True)
class Raw:
    """A record as a producer may send it; `body` replaces its encoding by bytes that need not be one."""

    value: bytes | None = None
    key: bytes | None = None
    headers: Sequence[tuple[bytes, bytes | None]] = ()
    at_ms: int = 0
    body: bytes | None = None


def varint(number: int) -> bytes:
    """Zigzag, seven bits a byte."""
    left = (number << 1) ^ (number >> 63)
    left &= (1 << 64) - 1
    found = bytearray()
    while left > 0x7F:
        found.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes((*found, left))


def _text(raw: bytes | None) -> bytes:
    return varint(-1) if raw is None else varint(len(raw)) + raw


def encoded(record: Raw, delta: int, first_ms: int) -> bytes:
    """One record with its length."""
    body = record.body
    if body is None:
        headers = b"".join(_text(name) + _text(text) for name, text in record.headers)
        stamp = varint(record.at_ms - first_ms) + varint(delta)
        body = b"\0" + stamp + _text(record.key) + _text(record.value) + varint(len(record.headers)) + headers
    return varint(len(body)) + body


def batch(records: Sequence[Raw], codec: str = "none", *, base: int = 0, more: bytes = b"", **head: Any) -> bytes:
    """
    A batch whose checksum holds.

    Args:
        more: Bytes behind the last record, before compression.
        head: `attributes` to be set beside the codec's; `count` and `last` if they lie; packed `body` in place of all.

    """
    first = records[0].at_ms if records else 0
    number, pack = CODECS[codec]
    body = head.get("body")
    if body is None:
        body = pack(b"".join(encoded(each, delta, first) for delta, each in enumerate(records)) + more)
    last = head.get("last", max(len(records) - 1, 0))
    count = head.get("count", len(records))
    attributes = head.get("attributes", 0) | number
    newest = max((each.at_ms for each in records), default=0)
    checked = struct.pack(">hiqqqhii", attributes, last, first, newest, -1, -1, -1, count) + body
    return struct.pack(">qiibI", base, len(checked) + 9, -1, 2, calc_crc32c(checked)) + checked


assert HEAD.size == len(batch(()))
