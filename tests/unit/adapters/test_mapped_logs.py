"""Files of platforms' messages: whatever the dialect, each message once, with its place."""

import json
from pathlib import Path
from typing import Any

import pytest

from calllog_guard.adapters.mappings.files import mapping_file
from calllog_guard.adapters.mappings.mapped_logs import mapped_events, messages
from calllog_guard.core.sources.mapping import Mapping
from calllog_guard.errors import ConfigurationError, MessageError

TABLE = """
v = 1
title = "A table of calls"
tells = "call"
documentation = "https://example.org"
[input]
form = "csv"
%s
[[rule]]
name = "a call"
event.call_id = { digest = ["timestamp", "caller", "callee"] }
event.kind = { value = "audio" }
event.outcome = { value = "answered" }
event.started_at = { path = "timestamp", convert = "iso-8601" }
event.ended_at = { path = "timestamp", convert = "iso-8601", plus = "duration" }
[[rule.event.party]]
id = "caller"
role = { value = "caller" }
[[rule.event.party]]
id = "callee"
role = { value = "callee" }
"""
HEADER, ROW = (
    ["timestamp", "caller", "callee", "duration"],
    ["2026-11-26T09:00:00Z", "an,a@example.org", "ben@example.org", "120"],
)


def table(csv: str = "") -> Mapping:
    """A mapping of a table of calls."""
    return Mapping(mapping_file(TABLE % (csv and f"csv = {{ {csv} }}"), {}))


def lined(mapping: Mapping, path: Path, raw: bytes, skip: int = 0) -> list[tuple[int, int, Any]]:
    """What a file holds: the ids of the parties of each event, or the reason why there is none."""
    path.write_bytes(raw)
    found = []
    for done, line, event in mapped_events(path, mapping, "iocom", skip):
        if isinstance(event, bytes):
            told: Any = [each.get("id") for each in json.loads(event)["parties"]]
        else:
            told = event.reason if isinstance(event, MessageError) else f"skipped: {event.why}"
        found.append((done, line, told))
    return found


def quoted(cells: list[str], delimiter: str) -> str:
    """A line of CSV."""
    return delimiter.join(f'"{each}"' if delimiter in each else each for each in cells)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_whatever_the_dialect_a_row_is_the_same_call(tmp_path: Path, delimiter: str, end: str, encoding: str) -> None:
    """A spreadsheet writes CSV as its country does; nobody should have to convert a log of calls by hand."""
    text = end.join([quoted(HEADER, delimiter), quoted(ROW, delimiter), ""])
    ours = table('encoding = "utf-16"' if encoding == "utf-16" else "")
    assert lined(ours, tmp_path / "calls.csv", text.encode(encoding)) == [
        (1, 2, ["an,a@example.org", "ben@example.org"])
    ]


def test_a_file_without_header_has_the_columns_of_the_mapping(tmp_path: Path) -> None:
    ours = table(f"header = false, columns = {json.dumps(HEADER)}, skip_lines = 1, quote = \"'\", escape = '\\'")
    raw = "# exported\n" + "2026-11-26T09:00:00Z,'o\\'neil@example.org',ben@example.org,120\n"
    assert lined(ours, tmp_path / "calls.csv", raw.encode()) == [(1, 2, ["o'neil@example.org", "ben@example.org"])]


def test_what_is_no_row_is_refused_by_its_line_and_the_others_are_taken(tmp_path: Path) -> None:
    good, surplus, nul = quoted(ROW, ","), quoted([*ROW, "x"], ","), quoted([*ROW[:3], "\0"], ",")
    text = "\n".join(
        [quoted(HEADER, ","), good, surplus, nul, quoted(["soon", *ROW[1:]], ","), "", good, 'x,"never ends']
    )
    assert lined(table(), tmp_path / "calls.csv", text.encode()) == [
        (1, 2, ["an,a@example.org", "ben@example.org"]),
        (2, 3, "bad_row"),
        (3, 4, "bad_row"),
        (4, 5, "wrong_value"),
        (5, 7, ["an,a@example.org", "ben@example.org"]),
        (6, 8, "bad_row"),
    ]


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"start,caller,callee,duration\n", "no column timestamp"),
        (b"", "the file has no line"),
        (b"timestamp,caller,callee,duration,caller\n", "several columns caller"),
        ("timestamp,caller,callee,duration\n\u00e9".encode("latin-1"), "set `encoding`"),
    ],
)
def test_a_file_of_another_source_is_told_at_once(tmp_path: Path, raw: bytes, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        lined(table(), tmp_path / "calls.csv", raw)


EACH = """
v = 1
title = "Lists of calls"
tells = "call"
documentation = "https://example.org"
[[rule]]
name = "calls"
each = "calls"
event.call_id = { path = "id", convert = "number-text" }
event.kind = { value = "audio" }
event.outcome = { value = "missed" }
event.started_at = { value = "never", convert = "iso-8601" }
[[rule.event.party]]
id = "who"
role = { value = "caller" }
"""


def calls(*ids: int) -> dict[str, Any]:
    """A message with some calls."""
    return {"calls": [{"id": each, "who": f"p{each}@example.org"} for each in ids]}


def test_a_message_that_becomes_several_events_is_done_with_the_last(tmp_path: Path) -> None:
    """An import that was killed between two of them goes on with the message, and repeats no other."""
    ours = Mapping(mapping_file(EACH.replace('value = "never"', 'value = "2026-11-26T09:00:00Z"'), {}))
    raw = b"\n".join(json.dumps(each).encode() for each in (calls(1, 2), {"else": 1}, calls(3)))
    whole = lined(ours, tmp_path / "calls.json", raw)
    assert whole == [
        (0, 1, ["p1@example.org"]),
        (1, 1, ["p2@example.org"]),
        (2, 2, "skipped: a message without items"),
        (3, 3, ["p3@example.org"]),
    ]
    assert lined(ours, tmp_path / "calls.json", raw, skip=1) == whole[2:]


@pytest.mark.parametrize("indent", [None, 1])
def test_a_document_is_read_however_it_is_laid_out(tmp_path: Path, indent: int | None) -> None:
    ours = Mapping(mapping_file(EACH.replace('value = "never"', 'value = "2026-11-26T09:00:00Z"'), {}))
    raw = json.dumps([calls(1), calls(2)], indent=indent).encode()
    assert lined(ours, tmp_path / "calls.json", b"\xef\xbb\xbf" + raw) == [
        (1, 1, ["p1@example.org"]),
        (2, 2, ["p2@example.org"]),
    ]


def test_what_a_mapping_skips_is_told_beside_what_it_takes(tmp_path: Path) -> None:
    """A count that leaves it out would let nobody compare the import with the platform's own number."""
    bot = 'role = { value = "caller" }\nskip = [{ path = "who", equals = ["p2@example.org"], why = "a recorder" }]'
    text = EACH.replace('value = "never"', 'value = "2026-11-26T09:00:00Z"').replace('role = { value = "caller" }', bot)
    ours = Mapping(mapping_file(text, {}))
    assert lined(ours, tmp_path / "calls.json", json.dumps(calls(1, 2)).encode()) == [
        (0, 1, ["p1@example.org"]),
        (1, 1, "skipped: a recorder"),
    ]


def test_a_file_of_which_nothing_is_made_is_told_and_never_passed_over_in_silence(tmp_path: Path) -> None:
    ours = Mapping(mapping_file(EACH, {}))
    with pytest.raises(ConfigurationError, match="makes nothing of any of 2 messages"):
        lined(ours, tmp_path / "calls.json", b'{"event": 1}\n{"event": 2}\n')


def test_a_line_that_is_no_json_is_refused_by_its_place(tmp_path: Path) -> None:
    path = tmp_path / "calls.json"
    path.write_bytes(b'{"calls": []}\n{"calls"\n' + b"[" * 100_000 + b"\n" + b'"' + b"x" * 300_000 + b'"\n')
    ours = Mapping(mapping_file(EACH, {}))
    found = [(line, getattr(each, "reason", None)) for _, line, each in messages(path, ours, 1 << 18)]
    assert found == [(1, None), (2, "not_json"), (3, "nested_too_deep"), (4, "too_large")]
