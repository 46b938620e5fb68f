"""
Files of a platform's messages: JSON (a message a line, or one document), a form a line, CSV; in bounded memory.

Rules: 1. What is no message is refused by its line; the others are taken.
       2. A message that becomes several events is done with the last: an import that goes on repeats no other.
"""

import codecs
import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from calllog_guard.adapters.disk.lines import NUL, Mapped, csv_cells, ndjson_lines, text_lines
from calllog_guard.core.calls.import_journal import Skipped
from calllog_guard.core.sources.columns import columns_of_mapping
from calllog_guard.core.sources.inputs import encoding_of, message_of, rows_of
from calllog_guard.core.sources.mapping import Mapping
from calllog_guard.errors import ConfigurationError, MessageError

_MOST_BYTES: Final = 64 << 20
"""Of a document that is not written line by line."""


MOST_LINE_BYTES: Final = 8 << 20
"""Of one message: far more than a platform sends of a call of thousands, and than its event may have."""


class Counted(NamedTuple):
    """A message: how many are done with it, the line that it lies in, and the message or why there is none."""

    done: int
    line: int
    message: Any


def messages(path: Path, mapping: Mapping, most_bytes: int = MOST_LINE_BYTES) -> Iterator[Counted]:
    """
    The messages of a file.

    Raises:
        ConfigurationError: The file is not of the mapping's form at all.

    """
    if mapping.file.input.form == "csv":
        return _rows(path, mapping)
    if (mapping.file.input.form == "json" or mapping.file.input.within) and _is_document(path, most_bytes):
        return _document(path, mapping)
    return _lines(path, mapping, most_bytes)


def _is_document(path: Path, most_bytes: int) -> bool:
    """Whether JSON is not written line by line: the first line with something is no whole value, or the only one."""
    lines = (each for _, _, each in ndjson_lines(path, most_bytes, 0))
    first = next(lines, b"{}")
    if isinstance(first, bytes) and first[:1] not in {b"[", b"{"}:
        return False
    if next(lines, None) is None and isinstance(first, bytes):
        return True
    try:
        json.loads(first if isinstance(first, bytes) else b"")
    except (ValueError, RecursionError):
        return True
    return False


def _document(path: Path, mapping: Mapping) -> Iterator[Counted]:
    """The messages of one document: the items of a list, or itself."""
    with path.open("rb") as file:
        raw = file.read(_MOST_BYTES + 1)
    if len(raw) > _MOST_BYTES:
        raise ConfigurationError("the file is one document of more than 64 MiB: write a message a line")
    try:
        found = message_of(raw.removeprefix(codecs.BOM_UTF8), mapping.file.input)
    except MessageError as error:
        yield Counted(1, 1, error)
        return
    for number, each in enumerate(found if isinstance(found, list) else [found], 1):
        yield Counted(number, number, each)


def _lines(path: Path, mapping: Mapping, most_bytes: int) -> Iterator[Counted]:
    for done, line, raw in ndjson_lines(path, most_bytes, 0):
        try:
            yield Counted(done, line, raw if isinstance(raw, MessageError) else message_of(raw, mapping.file.input))
        except MessageError as error:
            yield Counted(done, line, error)


def _rows(path: Path, mapping: Mapping) -> Iterator[Counted]:
    dialect = mapping.file.input.csv
    with path.open("rb") as opened:
        encoding = encoding_of(dialect, opened.read(2))
    with path.open(newline="", encoding=encoding) as file:
        reader = None
        try:
            columns, reader = rows_of(text_lines(file), dialect, columns_of_mapping(mapping.file))
            for number, (line, cells) in enumerate(csv_cells(reader), 1):
                at = line + dialect.skip_lines
                whole = cells is not None and len(cells) <= len(columns) and not any(NUL in each for each in cells)
                row: Any = dict(zip(columns, cells or (), strict=False)) if whole else MessageError("bad_row")
                yield Counted(number, at, row)
        except (csv.Error, UnicodeError) as error:
            after = reader.line_num if reader is not None else 0
            raise ConfigurationError(
                f"after line {after}: no CSV in {dialect.encoding} ({type(error).__name__}): "
                "set `encoding` in the mapping, or give --dialect encoding=NAME, as cp1252"
            ) from None


def mapped_events(path: Path, mapping: Mapping, tenant: str, skip: int) -> Iterator[Mapped]:
    """
    The events of a file after the first `skip` messages, and what is refused and what is skipped of it.

    Raises:
        ConfigurationError: The mapping gives joins and leaves, or none of its rules takes any message of the file.

    """
    if mapping.notifies:
        raise ConfigurationError(
            "this mapping gives joins and leaves, which are no calls yet: take the platform's report of whole calls"
        )
    seen = made = 0
    for done, line, message in messages(path, mapping):
        seen += 1
        if done <= skip:
            made += 1
            continue
        found = list(_outcomes(message, mapping, tenant))
        made += sum(not isinstance(each, Skipped) for each in found)
        yield from ((done if number == len(found) else done - 1, line, each) for number, each in enumerate(found, 1))
    if seen and not made:
        raise ConfigurationError(
            f"the mapping makes nothing of any of {seen} messages: `calllog-guard source check` shows why"
        )


def _outcomes(message: Any, mapping: Mapping, tenant: str) -> Iterator[bytes | MessageError | Skipped]:
    if isinstance(message, MessageError):
        yield message
        return
    for result in mapping.results(message, tenant):
        if result.event is not None:
            yield json.dumps(result.event, ensure_ascii=False).encode()
        yield from result.refused
        yield from map(Skipped, result.skipped)
