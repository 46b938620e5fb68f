"""
Old logs as files: their digest, and their events one by one, in bounded memory.

Rules: 1. A line longer than an event may be is refused by its number and never held.  2. Nothing of a file's content or name is
       in an error.
"""

import codecs
import csv
import hashlib
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Final

from calllog_guard.core.calls.rows import event_of_row
from calllog_guard.errors import ConfigurationError, MessageError

_BLOCK: Final = 1 << 20

Numbered = tuple[int, int, bytes | MessageError]
"""Where to go on after it (lines or rows that are done), the line it lies in (from 1), and the event or why there is none."""


def digest(path: Path) -> tuple[str, int]:
    """SHA-256 and size of a file."""
    found, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            found.update(block)
            size += len(block)
    return found.hexdigest(), size


def ndjson_lines(path: Path, most_bytes: int, skip: int) -> Iterator[Numbered]:
    """The lines of a file after the first `skip`; empty ones are left out."""
    with path.open("rb") as file:
        number = 0
        while line := file.readline(most_bytes + 2):
            number += 1
            if number == 1:
                line = line.removeprefix(codecs.BOM_UTF8)
            whole = line.endswith(b"\n") or len(line) <= most_bytes
            while not whole and (rest := file.readline(_BLOCK)):
                whole = rest.endswith(b"\n")
                line = b""
            if number <= skip:
                continue
            if not line:
                yield number, number, MessageError("too_large")
            elif text := line.strip():
                yield number, number, text


def csv_rows(
    path: Path, columns: Mapping[str, str], tenant: str, name: str, first: date | None, skip: int
) -> Iterator[Numbered]:
    """
    The rows of a file after the first `skip`, as events; `name` begins the call ids where no column gives them.

    Raises:
        ConfigurationError: A column is missing, the text is no CSV in UTF-8, or `first` is needed and not given.

    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        try:
            missing = set(columns.values()) - set(rows.fieldnames or ())
            if missing:
                raise ConfigurationError(f"the file has no column {', '.join(sorted(missing))}: give --columns")
            for number, row in enumerate(rows, 1):
                if number <= skip:
                    continue
                if first is None and (row[columns["start"]] or "").strip().isdecimal():
                    raise ConfigurationError("starts are numbers of seconds: give the day of second 0 with --start")
                yield number, rows.line_num, _event(row, columns, tenant, f"{name}-{number}", first or date.min)
        except (csv.Error, UnicodeDecodeError) as error:
            kind = type(error).__name__
            raise ConfigurationError(f"after line {rows.line_num}: no CSV in UTF-8 ({kind})") from None


def _event(
    row: Mapping[str, str | None], columns: Mapping[str, str], tenant: str, call: str, first: date
) -> bytes | MessageError:
    try:
        return event_of_row(row, columns, tenant, call, first)
    except MessageError as error:
        return error
