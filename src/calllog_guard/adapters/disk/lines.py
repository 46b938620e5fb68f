"""
Lines and rows of files, one by one, in bounded memory.

Rules: 1. What is longer than it may be is told by its place and never held.
"""

import codecs
import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, TextIO

from calllog_guard.core.calls.import_journal import Skipped
from calllog_guard.errors import MessageError

BLOCK: Final = 1 << 20
NUL: Final = "\0"
"""In no text; a row that holds one is refused, and a line that is too long for memory is read as one."""

Numbered = tuple[int, int, bytes | MessageError]
"""Where to go on after it (lines or rows done), the line it lies in (from 1), and the event or why there is none."""
Mapped = tuple[int, int, bytes | MessageError | Skipped]
"""As `Numbered`, through a mapping: it may skip what is no call, or nobody."""


def ndjson_lines(path: Path, most_bytes: int, skip: int) -> Iterator[Numbered]:
    """The lines of a file after the first `skip`; empty ones are left out."""
    with path.open("rb") as file:
        number = 0
        while line := file.readline(most_bytes + 2):
            number += 1
            if number == 1:
                line = line.removeprefix(codecs.BOM_UTF8)
            whole = line.endswith(b"\n") or len(line) <= most_bytes
            while not whole and (rest := file.readline(BLOCK)):
                whole = rest.endswith(b"\n")
                line = b""
            if number <= skip:
                continue
            if not line:
                yield number, number, MessageError("too_large")
            elif text := line.strip():
                yield number, number, text


def text_lines(file: TextIO) -> Iterator[str]:
    """The lines of a text; of one that is longer than a block nothing is held."""
    while line := file.readline(BLOCK):
        whole = len(line) < BLOCK or line[-1] in "\r\n"
        while not whole and (rest := file.readline(BLOCK)):
            whole = rest[-1] in "\r\n"
            line = NUL + "\n"
        yield line


def csv_cells(rows: Any) -> Iterator[tuple[int, list[str] | None]]:
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
