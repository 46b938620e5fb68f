"""
Old logs as files: their digest, and their events one by one, in bounded memory.

Rules: 1. A line longer than an event may be is refused by number, never held.  2. No content or name of a file is
       in an error.  3. Every line that holds something is told of: as an event, or as refused.
"""

import csv
import hashlib
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any, Final, NamedTuple

from calllog_guard.adapters.disk.lines import NUL, Mapped, Numbered, csv_cells, ndjson_lines, text_lines
from calllog_guard.adapters.mappings.mapped_logs import mapped_events
from calllog_guard.core.calls.csv_rows import event_of_row
from calllog_guard.core.calls.formats import Format, format_of
from calllog_guard.core.sources.inputs import encoding_of, rows_of
from calllog_guard.core.sources.mapping import Mapping as SourceMapping
from calllog_guard.core.sources.model import Dialect
from calllog_guard.errors import ConfigurationError, MessageError

_BLOCK: Final = 1 << 20


def digest(path: Path) -> tuple[str, int]:
    """SHA-256 and size of a file."""
    found, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            found.update(block)
            size += len(block)
    return found.hexdigest(), size


class LogFile(NamedTuple):
    """
    A file of events, and how to read it; see `csv_rows` for what concerns CSV alone, and is without a mapping.

    Args:
        name: Where no column gives the call ids it does, with the number of the row; empty: the row's content does.

    """

    path: Path
    most_bytes: int
    columns: Mapping[str, str]
    tenant: str
    name: str
    first: date | None
    skip: int = 0
    begin: int = 1
    mapping: SourceMapping | None = None
    dialect: Dialect = Dialect()


def csv_rows(of: LogFile) -> Iterator[Numbered]:
    """
    The rows of a file after the first `skip`, as events.

    Lines that make no row, behind a quote that does not end for one, are refused each by itself.

    Raises:
        ConfigurationError: A column is missing, the text is not in UTF-8, or `first` is needed and not given.

    """
    with of.path.open("rb") as opened:
        encoding = encoding_of(of.dialect, opened.read(2))
    with of.path.open(newline="", encoding=encoding) as file:
        rows: Any = None
        try:
            needed = [(name,) for name in sorted(of.columns.values())]
            head, rows = rows_of(text_lines(file), of.dialect, needed, _HINT)
            for number, (line, cells) in enumerate(csv_cells(rows), 1):
                if number <= of.skip:
                    continue
                row = dict(zip(head, cells or (), strict=False))
                if of.first is None and row.get(of.columns["start"], "").strip().isdecimal():
                    raise ConfigurationError("starts are numbers of seconds: give the day of second 0 with --start")
                whole = cells is not None and not any(cells[len(head) :]) and not any(NUL in each for each in cells)
                call = f"{of.name}-{number - 1 + of.begin}" if of.name else ""
                event = _event(row, of.columns, of.tenant, call, of.first or date.min)
                yield number, line + of.dialect.skip_lines, event if whole else MessageError("bad_row")
        except (csv.Error, UnicodeError) as error:
            after = rows.line_num if rows is not None else 0
            raise ConfigurationError(
                f"after line {after}: no CSV in {of.dialect.encoding} ({type(error).__name__}): "
                "give --dialect encoding=NAME, as cp1252"
            ) from None


_HINT: Final = (
    "give --columns, with numbers from 1 where no line names them (--dialect header=false); `--dialect delimiter=…` "
    "says what stands between two cells, where it is none of , ; | and tab"
)


def _event(
    row: Mapping[str, str | None], columns: Mapping[str, str], tenant: str, call: str, first: date
) -> bytes | MessageError:
    try:
        return event_of_row(row, columns, tenant, call, first)
    except MessageError as error:
        return error


def _mapped(file: LogFile) -> Iterator[Mapped]:
    assert file.mapping is not None  # noqa: S101 - by that the format is known
    return mapped_events(file.path, file.mapping, file.tenant, file.skip)


FILES: Final = (
    Format[LogFile, Iterator[Mapped]](
        "mapped",
        lambda file: file.mapping is not None,
        _mapped,
        "`--mapping` says so: messages of a platform, in the form that the mapping names",
    ),
    Format[LogFile, Iterator[Mapped]](
        "csv",
        lambda file: file.path.suffix.lower() == ".csv",
        csv_rows,
        "its name ends in `.csv`: a header line, then a call a row",
    ),
    Format[LogFile, Iterator[Mapped]](
        "ndjson",
        lambda _: True,
        lambda file: ndjson_lines(file.path, file.most_bytes, file.skip),
        "all else: an event a line",
    ),
)
"""What `emit` and `import` read."""


def events_of(file: LogFile) -> Iterator[Mapped]:
    """
    The events of a file.

    Raises:
        ConfigurationError: See `csv_rows`.

    """
    form = format_of(FILES, file)
    if file.dialect != Dialect() and form.name != "csv":
        raise ConfigurationError("--dialect says how CSV is written; the name of this file does not end in .csv")
    return form.to_event(file)
