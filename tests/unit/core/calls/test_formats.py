"""Events come in several formats: one registry says how each is known, and a new one is a row."""

import json
from datetime import date
from pathlib import Path

import pytest

from calllog_guard.adapters.disk.old_logs import FILES, LogFile, events_of
from calllog_guard.core.calls.csv_rows import columns_of
from calllog_guard.core.calls.formats import VALUES, Value, format_of, payload_of, plain
from calllog_guard.errors import MessageError

EVENT = b'{"call_id": "c1"}'
PREFIX = b"\0\0\0\0\7"
STRUCTURED = (("content-type", b"application/cloudevents+json; charset=utf-8"),)
ENVELOPE = b'{"specversion": "1.0", "data": ' + EVENT + b"}"
COLUMNS = columns_of("start=at,caller=who,callee=whom,duration=s")


@pytest.mark.parametrize(
    ("raw", "headers", "name"),
    [
        (EVENT, (), "json"),
        (EVENT, (("ce_id", b"1"), ("content-type", b"application/json")), "json"),
        (EVENT, (("content-type", None),), "json"),
        (PREFIX + EVENT, (), "confluent"),
        (PREFIX + EVENT, STRUCTURED, "confluent"),
        (ENVELOPE, STRUCTURED, "cloudevents"),
    ],
)
def test_a_records_value_is_in_one_format(raw: bytes, headers: tuple[tuple[str, bytes | None], ...], name: str) -> None:
    assert format_of(VALUES, Value(raw, headers)).name == name
    assert payload_of(raw, headers) == EVENT


def test_an_envelope_that_is_none_is_refused() -> None:
    for raw in (EVENT, b"[]", b"", ENVELOPE.replace(b"1.0", b"0.3")):
        with pytest.raises(MessageError):
            payload_of(raw, STRUCTURED)


@pytest.mark.parametrize("raw", [EVENT, PREFIX + EVENT, ENVELOPE, PREFIX + ENVELOPE])
def test_a_dead_letter_is_unwrapped_without_headers(raw: bytes) -> None:
    assert json.loads(plain(raw)) == json.loads(EVENT)


def test_the_last_format_of_a_registry_takes_whatever_is_left(tmp_path: Path) -> None:
    assert all(VALUES[-1].matches(Value(raw, None)) for raw in (b"", b"\0", ENVELOPE))
    assert FILES[-1].matches(LogFile(tmp_path, 1, {}, "", "", None))


def test_a_file_is_read_in_the_format_that_its_name_says(tmp_path: Path) -> None:
    (tmp_path / "log.CSV").write_text("at,who,whom,s\n0,a,b,60\n")
    (tmp_path / "log.txt").write_bytes(EVENT + b"\n")

    def read(name: str, begin: int = 1) -> list[bytes | MessageError]:
        file = LogFile(tmp_path / name, 1 << 20, COLUMNS, "iocom", "log", date(2026, 11, 1), begin=begin)
        return [event for _, _, event in events_of(file)]

    (row,) = read("log.CSV", begin=0)
    assert isinstance(row, bytes)
    assert json.loads(row)["call_id"] == "log-0"
    assert read("log.txt") == [EVENT]
