"""
Old logs as files: their digest, and their events one by one, in bounded memory.

Rules: 1. A line longer than an event may be is refused by its number and never held.  2. Nothing of a file's content or name is
       in an error.  3. Every line that holds something is told of: as an event, or as refused.
"""

import codecs
import csv
import hashlib
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any, Final, NamedTuple, TextIO

from calllog_guard.core.calls.csv_rows import event_of_row
from calllog_guard.core.calls.formats import Format, format_of
from calllog_guard.errors import ConfigurationError, MessageError

_BLOCK: Final = 1 << 20
_NUL: Final = "\0"
"""In no text; a row that holds one is refused, and a line that is too long for memory is read as one."""

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


class LogFile(NamedTuple):
    """A file of old or new events, and how to read it; see `csv_rows` for what concerns CSV alone."""

    path: Path
    most_bytes: int
    columns: Mapping[str, str]
    tenant: str
    name: str
    first: date | None
    skip: int = 0
    begin: int = 1


def csv_rows(of: LogFile) -> Iterator[Numbered]:
    """
    The rows of a file after the first `skip`, as events; where no column gives the call ids, `name` and `begin` do.

    Lines that make no row, behind a quote that does not end for one, are refused each by itself.

    Raises:
        ConfigurationError: A column is missing, the text is not in UTF-8, or `first` is needed and not given.

    """
    with of.path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.reader(_lines(file), strict=True)
        try:
            head = next(rows, [])
            if missing := set(of.columns.values()) - set(head):
                raise ConfigurationError(f"the file has no column {', '.join(sorted(missing))}: give --columns")
            for number, (line, cells) in enumerate(_rows(rows), 1):
                if number <= of.skip:
                    continue
                row = dict(zip(head, cells or (), strict=False))
                if of.first is None and row.get(of.columns["start"], "").strip().isdecimal():
                    raise ConfigurationError("starts are numbers of seconds: give the day of second 0 with --start")
                whole = cells is not None and not any(cells[len(head) :]) and not any(_NUL in each for each in cells)
                event = _event(row, of.columns, of.tenant, f"{of.name}-{number - 1 + of.begin}", of.first or date.min)
                yield number, line, event if whole else MessageError("bad_row")
        except (csv.Error, UnicodeDecodeError) as error:
            kind = type(error).__name__
            raise ConfigurationError(f"after line {rows.line_num}: no CSV in UTF-8 ({kind})") from None


def _lines(file: TextIO) -> Iterator[str]:
    """The lines of a text; of one that is longer than a block nothing is held."""
    while line := file.readline(_BLOCK):
        whole = len(line) < _BLOCK or line[-1] in "\r\n"
        while not whole and (rest := file.readline(_BLOCK)):
            whole = rest[-1] in "\r\n"
            line = _NUL + "\n"
        yield line


def _rows(rows: Any) -> Iterator[tuple[int, list[str] | None]]:
    """The cells of each row of a `csv.reader` with the line in which it ends; None for each line of what is no row."""
    done = rows.line_num
    while True:
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error:
            yield from ((line, None) for line in range(done + 1, rows.line_num + 1))
        else:
            if cells:
                yield rows.line_num, cells
        done = rows.line_num


def _event(
    row: Mapping[str, str | None], columns: Mapping[str, str], tenant: str, call: str, first: date
) -> bytes | MessageError:
    try:
        return event_of_row(row, columns, tenant, call, first)
    except MessageError as error:
        return error


FILES: Final = (
    Format[LogFile, Iterator[Numbered]](
        "csv",
        lambda file: file.path.suffix.lower() == ".csv",
        csv_rows,
        "its name ends in `.csv`: a header line, then a call a row",
    ),
    Format[LogFile, Iterator[Numbered]](
        "ndjson",
        lambda _: True,
        lambda file: ndjson_lines(file.path, file.most_bytes, file.skip),
        "all else: an event a line",
    ),
)
"""What `emit` and `import` read."""


def events_of(file: LogFile) -> Iterator[Numbered]:
    """
    The events of a file.

    Raises:
        ConfigurationError: See `csv_rows`.

    """
    return format_of(FILES, file).to_event(file)
