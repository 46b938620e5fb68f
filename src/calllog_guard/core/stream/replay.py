"""
What a replayed record carries: the coordinates of its dead letter, and when it first came to us.

Rules: 1. A replay is judged by the fence as on its first day: its own append time is now, and a fence raised in between would
          not see it.  2. The header can only make a record older, so whoever forges it suppresses, never stores.
Source: docs/explanation/design.md.
"""

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from calllog_guard.core.codec import Internal, Utc

REPLAY_HEADER: Final = "clg-replay"
REPLAYED_KEY: Final = b"~replayed"
"""The key of the note in `calllog.dead` that a letter was replayed; every reader of letters skips keys that begin so."""


def replay_header(partition: int, offset: int, appended_ms: int) -> tuple[str, bytes]:
    """The header of a replayed record: `partition:offset` of its dead letter in `calllog.dead`, `@` and milliseconds."""
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
    """The note that the letter at `partition` and `offset` of `calllog.dead` was replayed; it lives as long as the letter."""

    v: Literal[1] = 1
    partition: int
    offset: int
    at: Utc


REPLAYED: Final = msgspec.json.Decoder(Replayed)
