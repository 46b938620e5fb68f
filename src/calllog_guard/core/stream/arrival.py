"""
The border: whatever a broker hands out becomes an Arrival, which holds a message or says why it holds none.

Rules: 1. Total: no bytes, no null and no number in key, value, headers or time raises here.
       2. What cannot be handed out has a remnant and an empty value, never none: a tombstone would remove what
          stands under the key.  3. `content` is the way to a value: it refuses a remnant.
Source: docs/adr/0011-one-persons-matter.md; Kafka's message format v2.
"""

import hashlib
from collections.abc import Sequence
from typing import Final

import msgspec

from calllog_guard.core.codec import Internal
from calllog_guard.errors import MessageError

LATEST_MS: Final = 253_402_300_799_999
"""The last millisecond of the year 9999: no time that we can name is later."""
RECORD_MOST: Final = 24 << 20
"""Bytes of the largest record that is handed out whole: `max.message.bytes` of the widest governed topic."""
_KEY_MOST: Final = 256
CORRUPT: Final = "corrupt_batch"
"""The checksum of its batch does not hold: the broker's disk, or the way from there."""
UNREADABLE: Final = "unreadable_record"
"""The checksum holds, and the bytes are none of Kafka's format, or of no compression that it has."""
SENDERS_TIME: Final = "senders_time"
"""Its topic took the sender's time when it was appended: whoever sends could date it as they like."""
TOO_LARGE: Final = "unpacked_too_large"
"""It is larger unpacked than RECORD_MOST, or lies behind so much of its batch that it was not unpacked."""


REMNANT: Final = "remnant"
"""The `cty` of a dead letter that holds a Remnant, not the payload."""


class Remnant(Internal, frozen=True, kw_only=True):
    """
    What is kept of bytes that are not: why, how many, and their digest.

    Args:
        of: `value` of the record, or `batch`: the whole batch as in the log, where no record of it can be told apart.

    """

    reason: str
    of: str
    bytes: int
    sha256: str


class Arrival(msgspec.Struct, frozen=True, gc=False):
    """
    One record, where it lies and what it holds.

    Args:
        timestamp: Milliseconds since 1970, within the years that can be named.
        headers: Names as text; bytes that are no UTF-8 are escaped, so that such a name is none of ours.
        size: Bytes of key, value and headers; of a remnant, what it took to come to it.
        remnant: What is kept of it when it cannot be handed out; its value is empty then.
        senders: Whether the time is its sender's word: its topic did not take the broker's when it was appended.

    """

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int = 0
    headers: tuple[tuple[str, bytes | None], ...] = ()
    size: int = 0
    remnant: Remnant | None = None
    senders: bool = False


def remnant(reason: str, content: bytes | memoryview, of: str = "value") -> Remnant:
    """What is kept of bytes that are not."""
    return Remnant(reason=reason, of=of, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


REMNANTS: Final = msgspec.json.Decoder(Remnant)


def header_name(name: bytes) -> str:
    """The text of a header's name; one that is no UTF-8 stays one of a kind, and can be written again."""
    return name.decode("utf-8", "backslashreplace")


def arrival(
    place: tuple[str, int],
    offset: int,
    timestamp_ms: int,
    key: bytes | None,
    value: bytes | None,
    headers: Sequence[tuple[str, bytes | None]] = (),
) -> Arrival:
    """A record as it is handed to the workers."""
    size = len(value or b"") + len(key or b"")
    if headers:
        size += sum(len(name) + len(text or b"") for name, text in headers)
    if size > RECORD_MOST:
        return lost(place, offset, remnant(TOO_LARGE, value or b""), size, timestamp_ms, key)
    topic, partition = place
    return Arrival(topic, partition, offset, key, value, _named(timestamp_ms), tuple(headers), size)


def sent(
    place: tuple[str, int],
    offset: int,
    timestamp_ms: int,
    key: bytes | None,
    value: bytes | None,
    headers: Sequence[tuple[str, bytes | None]] = (),
) -> Arrival:
    """As `arrival`, where the time is its sender's word."""
    return msgspec.structs.replace(arrival(place, offset, timestamp_ms, key, value, headers), senders=True)


def lost(
    place: tuple[str, int], offset: int, left: Remnant, size: int, timestamp_ms: int = 0, key: bytes | None = None
) -> Arrival:
    """A record that cannot be handed out; a key that is longer than any of ours is not kept."""
    kept = key if key is not None and len(key) <= _KEY_MOST else None
    return Arrival(*place, offset, kept, b"", _named(timestamp_ms), (), size, left)


def _named(timestamp_ms: int) -> int:
    return timestamp_ms if 0 <= timestamp_ms <= LATEST_MS else min(max(timestamp_ms, 0), LATEST_MS)


def content(record: Arrival) -> bytes | None:
    """
    The value of a record.

    Raises:
        MessageError: It could not be handed out; a dead letter with what is left of it.

    """
    if record.remnant is not None:
        raise MessageError(record.remnant.reason)
    return record.value


def appended_ms(record: Arrival) -> int:
    """
    When the broker appended a record that somebody outside sent.

    Raises:
        MessageError: Its topic took the sender's word for it; a dead letter, which can be replayed once that is mended.

    """
    if record.senders:
        raise MessageError(SENDERS_TIME)
    return record.timestamp
