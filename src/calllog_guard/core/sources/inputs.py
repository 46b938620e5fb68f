"""
Messages as they come: JSON, forms, rows of CSV.

Out: a message as JSON has it: dicts, lists, texts, numbers.
Rules: 1. What is too large, nested without end or in no such form is refused; nothing of its content is in the error.
Source: RFC 8259; application/x-www-form-urlencoded (URL Standard, section 5); RFC 4180.
"""

import codecs
import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from calllog_guard.core.sources.model import Dialect, Input
from calllog_guard.errors import ConfigurationError, MessageError

_DELIMITERS: Final = (",", ";", "\t", "|")
_MOST_FIELDS: Final = 1000
_json: Final = msgspec.json.Decoder()


def message_of(raw: bytes, form: Input) -> Any:
    """
    One message.

    Raises:
        MessageError: It is in no such form.

    """
    if form.form == "form" and not (form.within and raw.lstrip()[:1] in {b"[", b"{"}):
        fields = _form(raw)
        return fields if form.within is None else message_of(fields.get(form.within, "").encode(), Input())
    try:
        return _json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise MessageError("not_json") from None
    except RecursionError:
        raise MessageError("nested_too_deep") from None


def _form(raw: bytes) -> dict[str, str]:
    """The fields of a form; of a name that comes twice, the last."""
    try:
        text = raw.strip().decode("ascii")
        return dict(
            parse_qsl(text, keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=_MOST_FIELDS)
        )
    except ValueError:
        raise MessageError("not_a_form") from None


def dialect_of(words: Mapping[str, str], dialect: Dialect = Dialect()) -> Dialect:  # noqa: B008 - frozen
    """
    A dialect with what its user says of it.

    Raises:
        ConfigurationError: A word that no dialect has, or a value that it does not take.

    """
    known = [name for name in Dialect.__struct_fields__ if name != "columns"]
    if unknown := words.keys() - set(known):
        raise ConfigurationError(f"--dialect knows no {', '.join(sorted(unknown))}: it sets {', '.join(known)}")
    try:
        return msgspec.convert(msgspec.to_builtins(dialect) | dict(words), Dialect, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigurationError(
            f"--dialect: {error}: a delimiter, a quote and an escape are one character, a header is true or false"
        ) from None


_WIDE: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def encoding_of(dialect: Dialect, first: bytes = b"") -> str:
    """
    The encoding of a file, by the name that also takes a byte order mark off.

    Args:
        first: The first bytes of the file: those of UTF-16 begin no text in UTF-8.

    Raises:
        ConfigurationError: Python knows no such encoding of text.

    """
    try:
        name = codecs.lookup(dialect.encoding).name
        "".encode(name)
    except LookupError:
        raise ConfigurationError(
            f'there is no encoding "{dialect.encoding}": utf-8, utf-16, cp1252 and so on'
        ) from None
    if name == "utf-8":
        return "utf-16" if first.startswith(_WIDE) else "utf-8-sig"
    return name


def rows_of(
    lines: Iterable[str],
    dialect: Dialect,
    needed: Sequence[tuple[str, ...]],
    hint: str = "is it of this source, and is its first line a header?",
) -> tuple[list[str], Any]:
    """
    The names of the columns, and the `csv.reader` of the rows behind the header.

    A column may be needed by its number, from 1; without a header, numbers are all the names that there are.

    Args:
        needed: Groups of columns, one of each of which is needed: by them `auto` finds the delimiter.
        hint: What to do where a column is missing.

    Raises:
        ConfigurationError: A column is missing.

    """
    left = iter(lines)
    for _ in range(dialect.skip_lines):
        next(left, "")
    first = next(left, "")
    delimiter = _delimiter(first, dialect, {each for group in needed for each in group})
    reader = csv.reader(
        _again(first, left),
        delimiter=delimiter,
        quotechar=dialect.quote,
        doublequote=dialect.escape is None,
        escapechar=dialect.escape,
        strict=True,
    )
    head = [each.strip() for each in next(reader, [])] if dialect.header else []
    columns = list(dialect.columns) or _numbered(
        head if dialect.header else None, {each for group in needed for each in group}
    )
    if twice := [each for group in needed for each in group if columns.count(each) > 1]:
        raise ConfigurationError(
            f"the file has several columns {', '.join(twice)}: name them by number, or anew by `columns`"
        )
    if lacking := [" or ".join(group) for group in needed if not set(group) & set(columns)]:
        found = f"the file has no column {', '.join(lacking)}" if first.strip() else "the file has no line"
        raise ConfigurationError(f"{found}: {hint}" if first.strip() else found)
    return columns, reader


_MOST_COLUMNS: Final = 1000
"""Of a file without a header."""


def _numbered(head: Sequence[str] | None, needed: set[str]) -> list[str]:
    """The names of the columns, and the numbers of those that are named by them."""
    names = [str(number) for number in range(1, _MOST_COLUMNS + 1)] if head is None else list(head)
    for each in needed - set(names):
        if each.isascii() and each.isdecimal() and 0 < int(each) <= len(names):
            names[int(each) - 1] = each
    return names


def _again(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _delimiter(first: str, dialect: Dialect, named: set[str]) -> str:
    """Of the usual delimiters that which gives most of the named columns, then most cells."""
    known = {"tab": "\t"}.get(dialect.delimiter, dialect.delimiter)
    if known != "auto":
        if len(known) != 1:
            raise ConfigurationError("a delimiter is one character, `tab` or `auto`")
        return known

    def score(delimiter: str) -> tuple[int, int]:
        cells = next(csv.reader([first], delimiter=delimiter, quotechar=dialect.quote), [])
        return len({each.strip() for each in cells} & named), len(cells)

    return max(_DELIMITERS, key=score)
