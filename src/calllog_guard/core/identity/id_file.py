"""
Identifiers in a file, one a line, as editors, spreadsheets and mail programs on any system write it.

Rules: 1. What belongs to the file is no part of an identifier: byte order marks, line ends, blanks around, empty lines.
       2. Bytes that could be read in two ways are refused.  3. No error quotes a line.
Source: Unicode 23.8 (byte order mark); `core/identity/rules.py` for what is inside a line.
"""

import codecs
import re
from typing import Final
from unicodedata import category

from calllog_guard.errors import ConfigurationError

_LINE_ENDS: Final = re.compile(r"\r\n|\n|\r")
_MARKS: Final = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""By what a file begins with; the longer of two that begin alike comes first."""


def identifiers(raw: bytes, option: str) -> list[tuple[int, str]]:
    """
    The identifiers of a file, each with the number of its line.

    Args:
        option: Whose file it is, for the errors.

    Raises:
        ConfigurationError: No text in UTF-8, nor in UTF-16 with its mark; a control character.

    """
    coding = next((coding for mark, coding in _MARKS.items() if raw.startswith(mark)), "utf-8")
    try:
        text = raw.decode(coding)
    except UnicodeDecodeError:
        raise ConfigurationError(f"{option}: the file cannot be read as UTF-8 text; save it as UTF-8") from None
    found: list[tuple[int, str]] = []
    for number, line in enumerate(_LINE_ENDS.split(text), 1):
        if any(category(letter) == "Cc" and letter != "\t" for letter in line):
            raise ConfigurationError(f"{option}: line {number} has a control character; save the file as UTF-8 text")
        if bare := _bare(line):
            found.append((number, bare))
    return found


def _bare(line: str) -> str:
    """The line without what files put around an identifier, in any order: blanks, and the mark of an appended file."""
    while (shorter := line.strip().strip("\ufeff")) != line:
        line = shorter
    return line
