"""Events come in several formats: one registry says how each is known, and a new one is a row."""

import base64
import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from calllog_guard.adapters.disk.old_logs import FILES, LogFile, events_of
from calllog_guard.core.calls.csv_rows import columns_of, event_of_row
from calllog_guard.core.calls.formats import VALUES, Value, format_of, payload_of, plain
from calllog_guard.core.calls.reading import checked
from calllog_guard.core.identity.rules import DEFAULT
from calllog_guard.core.requests.remedies import remedy
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


BASE64 = json.dumps({"specversion": "1.0", "data_base64": base64.b64encode(EVENT).decode()}).encode()
TEXT = json.dumps({"specversion": "1.0", "datacontenttype": "text/plain", "data": EVENT.decode()}).encode()
IN_JSON = [
    ENVELOPE,
    ENVELOPE.replace(b"{", b'{"datacontenttype": "application/json; charset=utf-8", "data_base64": null, ', 1),
    ENVELOPE.replace(b"{", b'{"datacontenttype": "application/vnd.iocom.call+json", ', 1),
    BASE64,
    BASE64.replace(b"{", b'{"data": null, "datacontenttype": "application/octet-stream", ', 1),
    TEXT,
]


@pytest.mark.parametrize("raw", IN_JSON)
@pytest.mark.parametrize("kind", [b"application/cloudevents+json", b"Application/CloudEvents+JSON ; charset=UTF-8"])
@pytest.mark.parametrize("name", ["content-type", "Content-Type", "CONTENT-TYPE"])
def test_structured_mode_is_taken_as_the_specification_says(raw: bytes, kind: bytes, name: str) -> None:
    """CloudEvents 1.0, JSON format, section 3.1: data as JSON, as text of another type, or in base64."""
    assert payload_of(raw, (("ce_x", b"1"), (name, kind))) == EVENT


@pytest.mark.parametrize(
    ("raw", "kind", "reason"),
    [
        (ENVELOPE.replace(b"{", b'{"data_base64": "e30=", ', 1), b"application/cloudevents+json", "data_twice"),
        (BASE64.replace(b"eyJj", b"e!Jj"), b"application/cloudevents+json", "wrong_value"),
        (BASE64.replace(b"eyJj", b"eyJ"), b"application/cloudevents+json", "wrong_value"),
        (b'{"specversion": "1.0"}', b"application/cloudevents+json", "missing_field"),
        (b'{"specversion": "1.0", "data": null}', b"application/cloudevents+json", "missing_field"),
        (b"[" + ENVELOPE + b"]", b"application/cloudevents-batch+json", "batch"),
        (b"<event/>", b"application/cloudevents+xml", "wrong_content_type"),
        (b"[" + ENVELOPE + b"]", b"application/cloudevents+json", "wrong_value"),
    ],
)
def test_what_structured_mode_has_not_is_refused_by_a_word(raw: bytes, kind: bytes, reason: str) -> None:
    with pytest.raises(MessageError) as refused:
        payload_of(raw, (("content-type", kind),))
    assert refused.value.reason == reason


@pytest.mark.parametrize("kind", [b"application/json", b"application/json; charset=utf-8", b"text/x+json", b"\xff"])
def test_binary_mode_is_the_event_itself(kind: bytes) -> None:
    """The attributes are headers, in any case of letters, and none of them is read."""
    assert payload_of(EVENT, (("ce_specversion", b"1.0"), ("CE_ID", b"1"), ("Content-Type", kind))) == EVENT


@pytest.mark.parametrize("raw", [ENVELOPE, BASE64])
def test_a_structured_event_without_its_content_type_is_told_so(raw: bytes) -> None:
    """Its fields are no unknown ones of a call; a replay of its letter unwraps it."""
    payload = payload_of(raw, (("ce_id", b"1"),))
    assert payload is not None
    with pytest.raises(MessageError, match="no_content_type"):
        checked(payload, DEFAULT, 2, 0)
    assert "content-type" in remedy("no_content_type")
    assert json.loads(plain(raw)) == json.loads(EVENT)


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

    def read(name: str, begin: int = 1) -> list[Any]:
        file = LogFile(tmp_path / name, 1 << 20, COLUMNS, "iocom", "log", date(2026, 11, 1), begin=begin)
        return [event for _, _, event in events_of(file)]

    (row,) = read("log.CSV", begin=0)
    assert isinstance(row, bytes)
    assert json.loads(row)["call_id"] == "log-0"
    assert read("log.txt") == [EVENT]


def row_of(**cells: str) -> dict[str, Any]:
    """The event of a row whose content names its call."""
    row = {"at": "2026-11-24T09:00:00Z", "who": "a", "whom": "b", "s": "60"} | cells
    columns = COLUMNS | ({"call": "id"} if "id" in cells else {})
    found: dict[str, Any] = json.loads(event_of_row(row, columns, "iocom", "", date(2026, 11, 1)))
    return found


def test_a_row_is_the_same_call_in_whatever_file_it_stands() -> None:
    """A file that has grown changes nothing of what is there, and two files of one name are two."""
    assert row_of() == row_of()
    others = [row_of(at="2026-11-24T09:00:01Z"), row_of(who="c"), row_of(whom="c"), row_of(s="61")]
    assert len({each["call_id"] for each in (row_of(), *others)}) == 5
    assert row_of(at="2026-11-24T10:00:00+01:00")["call_id"] != row_of(who="a'")["call_id"]


def test_rows_of_one_call_are_its_sessions() -> None:
    """A conference stands in several rows; the same row again, with another end, replaces itself."""
    one, two = row_of(id="conf-1"), row_of(id="conf-1", whom="c", s="30")
    assert [each["call_id"] for each in (one, two)] == ["conf-1"] * 2
    sessions = [{party["session"] for party in each["parties"]} for each in (one, two, row_of(id="conf-1", s="9"))]
    assert [len(each) for each in sessions] == [1, 1, 1]
    assert sessions[0] != sessions[1]
    assert sessions[0] == sessions[2]


def test_whom_a_row_does_not_name_is_a_guest() -> None:
    """The other one's part is kept; a row of nobody is refused, and who calls themself is one party."""
    assert row_of(who="")["parties"] == [{"guest": True, "role": "caller"}, {"id": "b", "role": "callee"}]
    assert row_of(whom="a")["parties"] == [{"id": "a", "role": "caller"}]
    with pytest.raises(MessageError, match="missing_field"):
        row_of(who="", whom="")
    with pytest.raises(MessageError, match="missing_field"):
        event_of_row(
            {"at": "2026-11-24T09:00:00Z", "who": "", "whom": "b", "s": "1"}, COLUMNS, "iocom", "log-0",
            date(2026, 11, 1),
        )  # fmt: skip
