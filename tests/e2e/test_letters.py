"""Dead letters are opened by the operator alone, and a replay passes the fences again."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from installation import Installation, Make, event, raw
from patience import ended
from signing import claims, signed
from test_erase import erased

from calllog_guard.adapters.kafka.log import KafkaLog
from calllog_guard.core.codec import BEAT
from calllog_guard.core.crypto.jose import open_sealed
from calllog_guard.errors import RequestRefusedError

pytestmark = pytest.mark.real


def check_accesses(guard: Installation) -> None:
    """Who opened letters is on record, and who tried with a key of somebody else's."""
    accesses = [json.loads(record.value) for record in guard.records("privacy.access", 1)]
    assert {(each["actor"], each["purpose"], each["opened"], *each["refused"].items()) for each in accesses} == {
        ("operator-1", "dead_letters", 1),
        ("operator-1", "dead_letters", 0, ("denied", 1)),
    }
    assert len({each["read"] for each in accesses}) == len(accesses), "each attempt is one"


def test_dead_letters_are_listed_opened_and_replayed_past_the_fences(make: Make, tmp_path: Path) -> None:
    guard = make()
    protector = guard.start("protector")
    guard.start("desk")
    guard.start("keeper")
    key = ["--key", str(guard.directory / "keys" / "operator-1.pem")]
    mended = [raw(event(f"m{n}", "stays@x.org", "gone@x.org")) for n in range(2)]
    shoes = [raw(event("s1", "stays@x.org", "gone@x.org", shoe=9))]
    future = raw(event("f1", "gone@x.org", minutes_ago=-6))
    late = raw(event("l1", "stays@x.org", minutes_ago=40 * 24 * 60))
    guard.publish("calllog.events", [*mended, *shoes, future, late, b"\xff not json"])
    guard.publish("privacy.requests", [b"no request"])
    guard.settled(lambda: len(guard.live()) == 4 and len(guard.dead()) == 5, "legs and letters")
    guard.publish("privacy.requests", [signed(guard.directory, claims("dead-00001", "gone@x.org"))])
    guard.settled(lambda: erased(guard, "dead-00001") and len(guard.live()) == 2, "erased")

    def listed(*filters: str) -> dict[str, dict[str, Any]]:
        return {row["reason"]: row for row in json.loads(guard.cli("dead", "list", "--json", *filters))}

    rows = listed()
    assert set(rows) == {"unknown_field", "in_future", "too_late", "not_json", "not_a_jws"}
    assert set(listed("--topic", guard.topic("privacy.requests"))) == {"not_a_jws"}
    assert listed("--since", "2099-01-01") == {}
    assert guard.cli("dead", "open", rows["too_late"]["letter"], *key).encode() == late
    out = tmp_path / "opened"
    guard.cli("dead", "open", rows["not_json"]["letter"], *key, "--out", str(out))
    assert (out.read_bytes(), out.stat().st_mode & 0o077) == (b"\xff not json", 0)
    guard.cli("dead", "open", rows["not_json"]["letter"], *key, "--out", str(out), code=2)
    wrong = str(guard.directory / "keys" / "backend-1.pem")
    guard.cli("dead", "open", rows["not_json"]["letter"], "--key", wrong, code=4)
    (line,) = guard.cli("dead", "open", "--reason", "unknown_field", *key).splitlines()
    assert json.loads(line)["payload"].encode() == shoes[0]
    check_accesses(guard)

    guard.cli("dead", "replay", "--reason", "unknown_field", *key, "--drop-field", "call_id", code=4)
    guard.cli("dead", "replay", "--reason", "unknown_field", *key, "--drop-field", "shoe")
    guard.settled(lambda: len(guard.live()) == 3, "the leg of the one who stays")
    # dated after the erasure, come before it: by its new place alone it would bring the person back
    corrected = tmp_path / "corrected.json"
    corrected.write_bytes(future)
    guard.environment["CALLLOG_GUARD_EVENT_AHEAD_S"] = "1000"
    protector.terminate()
    ended(protector)
    guard.start("protector", EVENT_AHEAD_S="1000")
    guard.cli("dead", "replay", rows["in_future"]["letter"], *key, "--from", str(corrected))
    guard.cli("dead", "replay", rows["too_late"]["letter"], *key)
    guard.settled(lambda: len(guard.dead()) == 6, "too late it stays, until EVENT_LATE_DAYS says otherwise")
    assert len(guard.live()) == 3, "nobody came back"
    assert len({key.partition(b".")[0] for key in guard.live()}) == 1
    assert {row["reason"] for row in json.loads(guard.cli("dead", "list", "--json")) if row["replayed"]} == {
        "unknown_field",
        "in_future",
        "too_late",
    }
    guard.cli("dead", "replay", "--reason", "not_a_jws", *key)
    guard.settled(lambda: len(guard.dead()) == 7, "no request the second time either")
    guard.publish("calllog.legs", [b"no leg"], key=b"x" * 45)
    guard.settled(lambda: len(guard.dead()) == 8, "the keeper's letter")
    guard.cli("dead", "replay", "--reason", "bad_leg", *key, code=4)


def test_letters_of_a_week_open_with_its_key_and_no_more_once_that_is_destroyed(make: Make) -> None:
    """The operator's key alone opens none; what comes after the next key was made is sealed to that."""
    guard = make()
    guard.start("protector")
    guard.publish("calllog.events", [b"first"], key=b"c1")
    guard.settled(lambda: len(guard.dead()) == 1, "the letter")
    (first,) = guard.dead()
    assert first["kid"] == "letters-1"
    operator = (guard.directory / "keys" / "operator-1.pem").read_bytes()
    with pytest.raises(RequestRefusedError):
        open_sealed(operator, first["jwe"])
    key = str(guard.directory / "keys" / "operator-1.pem")
    place = json.loads(guard.cli("dead", "list", "--json"))[0]["letter"]
    assert guard.cli("dead", "open", place, "--key", key) == "first"
    guard.start("auditor", HEARTBEAT_S="1")
    policy = partial(KafkaLog(guard.stack.kafka, {}).read_all, guard.topic("privacy.policy"), [0])
    guard.settled(lambda: any(each.key == BEAT for each in asyncio.run(policy())), "a heartbeat")
    guard.cli("keystore", "walk")
    assert guard.cli("dead", "open", place, "--key", key) == "first", "its week is not over"
    guard.stop_workers()
    letters, now = guard.vault.letters, datetime.now(UTC)  # noqa: TID251 - tests run on the real clock
    letters.renew(now + timedelta(days=8))
    assert letters.destroy(now + timedelta(days=99), timedelta(days=9)) == ["letters-1"]
    guard.cli("dead", "open", place, "--key", key, code=4)
    guard.cli("keystore", "walk")
    guard.start("protector")
    guard.publish("calllog.events", [b"second"], key=b"c1")
    guard.settled(lambda: len(guard.dead()) == 2, "the next letter")
    (last,) = [each["letter"] for each in json.loads(guard.cli("dead", "list", "--json")) if each["letter"] != place]
    assert guard.cli("dead", "open", last, "--key", key) == "second"
