"""How a raw message says from which source it came: a header."""

from collections.abc import Sequence
from typing import Final

SOURCE_HEADER: Final = "clg-source"
"""The header by which a record of `calllog.notifications` names its source."""
UNKNOWN_SOURCE: Final = "unknown_source"
"""The reason of a record that names no source of `ingest.toml`."""


def source_of(headers: Sequence[tuple[str, bytes | None]]) -> str:
    """The source that a record names; empty: none."""
    return next(((value or b"").decode("utf-8", "replace") for name, value in headers if name == SOURCE_HEADER), "")


def naming(source: str) -> tuple[tuple[str, bytes], ...]:
    """The headers by which a record names its source."""
    return ((SOURCE_HEADER, source.encode()),)
