"""A dead letter's payload is mended by the operator's word alone, and only where the letter says it is unknown."""

import json

import pytest
from installation import event, raw

from calllog_guard.core.calls.formats import plain
from calllog_guard.core.calls.repair import call_key, without
from calllog_guard.errors import StateRefusedError

WRONG = raw(
    event("c1", "a", "b")
    | {"parties": [{"id": "a", "role": "host", "shoe": 9}, {"id": "b", "role": "guest", "shoe": 7}]}
)


def test_an_unknown_field_goes_from_every_like_place() -> None:
    mended = json.loads(without(WRONG, "unknown_field", "/parties/0", ["shoe"]))
    assert mended["parties"] == [{"id": "a", "role": "host"}, {"id": "b", "role": "guest"}]
    assert json.loads(without(raw({"call_id": "c", "hat": 1}), "unknown_field", "", ["hat"])) == {"call_id": "c"}


@pytest.mark.parametrize(
    ("reason", "pointer", "name", "why"),
    [
        ("too_late", "/started_at", "shoe", "its reason is too_late"),
        ("unknown_field", "/parties/0", "joined_at", "schema knows"),
        ("unknown_field", "", "shoe", "no such field at /"),
        ("unknown_field", "/nothing/0", "shoe", "no such field"),
    ],
)
def test_anything_else_is_not_dropped(reason: str, pointer: str, name: str, why: str) -> None:
    with pytest.raises(StateRefusedError, match=why):
        without(WRONG, reason, pointer, [name])
    with pytest.raises(StateRefusedError, match="no JSON"):
        without(b"{", "unknown_field", "", ["shoe"])


def test_envelopes_are_taken_off_and_the_call_id_is_the_key() -> None:
    assert json.loads(plain(json.dumps({"specversion": "1.0", "data": json.loads(WRONG)}).encode())) == json.loads(
        WRONG
    )
    assert plain(b"\x00\x00\x00\x00\x01" + WRONG) == WRONG
    assert plain(b"[" * 100_000) == b"[" * 100_000
    assert [call_key(each) for each in (WRONG, b"{", b"[1]", b'{"call_id":7}')] == [b"c1", None, None, None]
