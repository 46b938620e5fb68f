"""`source` shows what a mapping makes of a sample, and needs nothing but the sample."""

import json
from pathlib import Path

import pytest

from calllog_guard.adapters.mappings.files import shipped
from calllog_guard.cli import main
from calllog_guard.cli._mapping import mapping_mark
from calllog_guard.cli._options import Args

LEFT = {
    "type": "participant.left",
    "payload": {"room": "standup", "user_id": "ana@example.org", "user_name": "Ana", "session_id": "6f1b"},
}


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    """A file with one good message and one that lacks a time."""
    path = tmp_path / "left.json"
    good = LEFT | {"payload": LEFT["payload"] | {"joined_at": 1764493200.123, "duration": 216.2}}  # type: ignore[operator]
    path.write_text(json.dumps(good) + "\n" + json.dumps(LEFT) + "\n")
    return path


def test_a_check_says_what_is_taken_dropped_and_refused_and_shows_the_event(
    sample: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["source", "check", str(sample), "--mapping", "daily", "--tenant", "iocom", "--json"]) == 1
    good, bad = json.loads(capsys.readouterr().out)
    assert {"place": "payload.user_id", "kind": "text"} in good["taken"]
    assert good["dropped"] == [{"place": "payload.user_name", "kind": "text"}]
    assert good["events"][0]["parties"][0]["id"] == "ana@example.org"
    assert bad["events"] == []
    (refused,) = bad["refused"]
    assert (refused["reason"], refused["at_pointer"], refused["from"]) == (
        "missing_value",
        "/started_at",
        "payload.joined_at",
    )
    assert refused["remedy"]


def test_a_check_on_a_terminal_shows_places_and_no_value_but_the_events(
    sample: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["source", "check", str(sample), "--mapping", "daily", "--limit", "1"]) == 0
    shown = capsys.readouterr().out
    assert "payload.user_name" in shown
    assert "Ana" not in shown.replace("ana@example.org", "")
    assert '"call_id": "standup"' in shown


def test_nothing_taken_is_a_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever chose the wrong mapping must not read `done`."""
    path = tmp_path / "other.json"
    path.write_text('{"event": "meeting.started"}')
    assert main(["source", "check", str(path), "--mapping", "daily"]) == 1
    assert "of a type that the mapping does not take" in " ".join(capsys.readouterr().out.split())


def test_every_shipped_mapping_is_listed_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["source", "list", "--json"]) == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == shipped()
    assert main(["source", "show", "daily"]) == 0
    assert 'title = "Daily"' in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--mapping", "dayly"], "no mapping is named dayly: take"),
        (["--mapping", "missing/file.toml"], "the mapping cannot be read"),
        (["--mapping", "daily", "--set", "zone"], "give NAME=VALUE"),
        (["--mapping", "daily", "--set", "zone=Mars/Base"], "no such time zone"),
        (["--mapping", "daily", "--set", "zones=UTC"], "--set knows no zones"),
        ([], "--mapping"),
    ],
)
def test_a_wrong_word_is_told_with_what_to_do(
    sample: Path, words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["source", "check", str(sample), *words]) == 2
    assert says in capsys.readouterr().err


def test_what_a_protector_would_refuse_is_told_before_anything_is_sent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The event that results may still be none: an id that a spreadsheet has rounded, an end long before the start."""
    path = tmp_path / "left.json"
    when = {"joined_at": 1764493200, "duration": -600}
    path.write_text(json.dumps(LEFT | {"payload": LEFT["payload"] | when}))  # type: ignore[operator]
    assert main(["source", "check", str(path), "--mapping", "daily", "--json"]) == 1
    (told,) = json.loads(capsys.readouterr().out)
    (refused,) = told["refused"]
    assert (refused["reason"], refused["at_pointer"], refused["from"]) == ("end_before_start", "/ended_at", "the event")


def test_another_mapping_or_another_setting_makes_an_import_anew(tmp_path: Path) -> None:
    """What was read in the wrong zone must not count as taken in."""
    own = tmp_path / "own.toml"
    own.write_text("v = 1")
    given = [
        (None, (), ()),
        (None, (), (("delimiter", ";"),)),
        ("daily", (), ()),
        ("daily", (("zone", "UTC"),), ()),
        ("daily", (("zone", "Europe/London"),), ()),
        ("asterisk-csv", (), ()),
        ("asterisk-csv", (), (("encoding", "cp1252"),)),
        (str(own), (), ()),
    ]
    marks = [mapping_mark(Args(mapping=name, set=settings, dialect=said)) for name, settings, said in given]
    own.write_text("v = 2")
    marks.append(mapping_mark(Args(mapping=str(own), set=(), dialect=())))
    assert marks[0] == ()
    assert len(set(marks)) == len(marks)
