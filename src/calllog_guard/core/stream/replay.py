"""
What a replayed record carries: the coordinates of its dead letter, and when it first came to us.

Rules: 1. A replay is judged by the fence as on its first day: its own append time is now; a later fence would
          not see it.  2. The header can only make a record older, so whoever forges it suppresses, never stores.
       3. A letter's replay is believed where a signer of ours says so in its own partition: else whoever writes to
          dead letters could hide one.
Source: docs/explanation/design.md.
"""

from collections.abc import Sequence
from typing import Any, Final, Literal

import msgspec

from calllog_guard.core.codec import Internal, Utc, decode
from calllog_guard.core.stream.proofs import AUDIT, UNPROVEN, Proofs
from calllog_guard.errors import RecordError

REPLAY_HEADER: Final = "clg-replay"
REPLAYED_KEY: Final = b"~replayed"
"""The key of the note in `calllog.dead` that a letter was replayed; all readers of letters skip keys that begin so."""


def replay_header(partition: int, offset: int, appended_ms: int) -> tuple[str, bytes]:
    """A replayed record's header: `partition:offset` of its dead letter in `calllog.dead`, `@` and milliseconds."""
    return REPLAY_HEADER, f"{partition}:{offset}@{appended_ms}".encode()


_DIGITS: Final = 15
"""Of any time in milliseconds that can be named."""


def first_appended_ms(timestamp_ms: int, headers: Sequence[tuple[str, bytes | None]]) -> int:
    """When a record first came to us; a replay header that is none of ours counts as older than every fence."""
    for name, value in headers:
        if name == REPLAY_HEADER:
            text = (value or b"").rpartition(b"@")[2]
            timestamp_ms = min(timestamp_ms, int(text)) if text.isdigit() and len(text) <= _DIGITS else 0
    return max(timestamp_ms, 0)


class Replayed(Internal, frozen=True, kw_only=True):
    """The note that the letter at `partition` and `offset` of `calllog.dead` was replayed; it lives like the letter."""

    v: Literal[1] = 1
    partition: int
    offset: int
    at: Utc


REPLAYED: Final = msgspec.json.Decoder(Replayed)


def replayed_in(record: Any, proofs: Proofs) -> tuple[int, int]:
    """
    The place of the letter that a note says was replayed.

    Raises:
        MessageError: No note, or nobody of ours wrote it.
        NewerFormError: A later release of ours wrote it.

    """
    note = proofs.read(record, AUDIT, lambda each: decode(REPLAYED, each.value))
    if note.partition != record.partition:
        raise RecordError(UNPROVEN)
    return note.partition, note.offset
