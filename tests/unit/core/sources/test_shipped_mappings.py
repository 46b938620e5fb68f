"""
Every shipped mapping on payloads in its platform's documented shapes, with synthetic people.

`python tests/unit/core/sources/test_shipped_mappings.py` prints what the mappings make now; it is read before it is kept.
"""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from calllog_guard.adapters.mappings.files import mapping, mapping_file, shipped, text_of_mapping
from calllog_guard.adapters.mappings.mapped_logs import messages
from calllog_guard.core.calls.reading import checked as read_strictly
from calllog_guard.core.identity.rules import DEFAULT
from calllog_guard.core.sources.check import REMEDIES, checked
from calllog_guard.errors import MessageError

PAYLOADS = Path(__file__).parents[3] / "support" / "payloads"
SAMPLES = sorted(path for path in PAYLOADS.glob("*/*") if path.suffixes[-2:] != [".expected", ".json"])
SETTINGS = {"asterisk-csv": {"zone": "Europe/London", "country": "44"}}
FREE_TEXT = ("A Name", "Another", "Somebody", "Ana", "192.0.2.", "2001:db8", "Weekly")
"""What payloads hold of names, addresses of machines and free text: an allow-list lets none of it through."""


def made(sample: Path) -> list[dict[str, Any]]:
    """What the mapping of a sample's folder makes of it, message by message."""
    found, name = [], sample.parent.name
    ours = mapping(name, SETTINGS.get(name, {}))
    for _, _, message in messages(sample, ours):
        assert not isinstance(message, MessageError), message
        results = checked(ours, message, "iocom").results
        assert results
        for each in results:
            for error in each.refused:
                assert error.reason in REMEDIES
            told = {
                "event": each.event,
                "notification": each.notification and each.notification.told(),
                "refused": [f"{error.reason} at {error.pointer} from {error.source}" for error in each.refused],
                "skipped": list(each.skipped),
            }
            found.append({"rule": each.rule} | {word: value for word, value in told.items() if value})
    return found


def test_each_mapping_has_payloads_and_each_payload_its_mapping() -> None:
    assert {path.parent.name for path in SAMPLES} == set(shipped())


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_shipped_mapping_makes_what_was_read_and_kept(sample: Path) -> None:
    """What is kept was compared with the payload by a person."""
    assert made(sample) == json.loads(sample.with_suffix(".expected.json").read_text("utf-8"))


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_no_name_address_or_free_text_comes_through(sample: Path) -> None:
    """An allow-list by construction: what no field names is never read."""
    told = json.dumps(made(sample))
    assert not [text for text in FREE_TEXT if text in told]


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_protector_takes_every_event_of_a_shipped_mapping(sample: Path) -> None:
    """An event that is refused later would be a dead letter for each message of that platform."""
    for each in made(sample):
        if "event" in each:
            found = read_strictly(json.dumps(each["event"]).encode(), DEFAULT, 2, 0)
            assert found.wrong == ()


AGAIN = [
    ("zoom/meeting.json", "96112345678", "4444AAAiAAAAAiAiAiiAii==", "5555AAAiAAAAAiAiAiiAii=="),
    ("google-meet/activities.json", "ABCDEFGHIJ", "conf-1", "conf-7"),
    ("msgraph-callrecord/group.json", "meetup-join/Weekly", "e523d2ed", "f523d2ed"),
    ("livekit/left.json", "Weekly", "RM_hycBMAjmt6Ub", "RM_hycBMAjmt6Uc"),
    ("jitsi/destroyed.json", "weekly@conference", '"created_at": 1764493200', '"created_at": 1765098000'),
    ("jaas/room.json", "/weekly", "c3348153-1027", "c3348154-1027"),
    ("daily/left.json", "q2xn", "1764493200.123", "1765098000.123"),
    ("twilio/callbacks.form", "Weekly", "RM1", "RM2"),
    ("bigbluebutton/raw.json", "weekly", "183f0bf3a0982a127bdb8161-1764493200000", "183f-1765098000000"),
    ("csv-table/conference.csv", "conf-1", "2026-11-26T", "2026-12-03T"),
]


@pytest.mark.parametrize(("name", "same", "first", "second"), AGAIN, ids=[each[0] for each in AGAIN])
def test_a_meeting_that_recurs_is_another_call_a_week_later(
    name: str, same: str, first: str, second: str, tmp_path: Path
) -> None:
    """The id of the room or series is the same; what the platform gives to one occurrence tells the calls apart."""
    text = (PAYLOADS / name).read_text("utf-8")
    assert same in text
    assert first in text

    def calls(text: str, which: str) -> set[tuple[str, str | None]]:
        sample = tmp_path / which / Path(name).parent / Path(name).name
        sample.parent.mkdir(parents=True)
        sample.write_text(text, "utf-8")
        told = [each.get("event") or each.get("notification") or {} for each in made(sample)]
        found = {(each.get("call_id") or each.get("call") or "", each.get("occurrence")) for each in told}
        return {call for call in found if call[0] and not call[0].startswith("CA")}  # Twilio's calls of two

    week, next_week = calls(text, "week"), calls(text.replace(first, second), "next")
    both = {call for call in week & next_week if len(call[0]) < 32}  # a row without an id is its content
    assert week
    assert not both


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_mapping_is_of_the_published_schema(name: str) -> None:
    """An editor that knows the schema must not underline what we ship."""
    import tomllib  # noqa: PLC0415 - only here: the loader checks by its own types

    schema = json.loads((Path(__file__).parents[4] / "schemas" / "mapping.json").read_text("utf-8"))
    jsonschema.Draft202012Validator(schema).validate(json.loads(json.dumps(tomllib.loads(text_of_mapping(name)))))
    assert mapping_file(text_of_mapping(name), {}).title


if __name__ == "__main__":
    for each in SAMPLES:
        each.with_suffix(".expected.json").write_text(
            json.dumps(made(each), indent=1, ensure_ascii=False) + "\n", "utf-8"
        )
