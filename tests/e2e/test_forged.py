"""Forged records on the real stack: who writes to workers' topics and is no worker opens, destroys, stops nothing."""

import json
from typing import Any

import pytest
from installation import Installation, Make, event, raw
from signing import claims, signed

from calllog_guard.core.cases.case import TENURE_MOST
from calllog_guard.core.codec import encode
from calllog_guard.core.stream.anchor import Anchor

pytestmark = pytest.mark.real
ROLES = ("protector", "desk", "keeper", "auditor")
OTHERS = encode(Anchor(guard="B" * 21 + "A", tenant="other", legs="others.legs"))


def asked(guard: Installation, jti: str, *subjects: str, **more: Any) -> None:
    """Send a request."""
    guard.publish("privacy.requests", [signed(guard.directory, claims(jti, *subjects, **more))], key=b"iocom")


def shown(guard: Installation) -> dict[str, dict[str, Any]]:
    """The cases as officers see them."""
    return {each["jti"]: each for each in json.loads(guard.cli("case", "list", "--json"))}


def proven(guard: Installation, case: bytes) -> bool:
    """Whether the last record of a case bears a proof."""
    return bool([each for each in guard.records("privacy.cases", 1) if each.key == case][-1].headers)


def erased(guard: Installation, jti: str) -> bool:
    """Whether a case has reached `tombstoned`."""
    return "tombstoned" in shown(guard).get(jti, {}).get("stages", {})


def newest(guard: Installation, name: str, count: int = 1) -> list[Any]:
    """The last record of each key of a topic, with its value."""
    last = {record.key: record for record in guard.records(name, count) if record.value}
    return list(last.values())


def forge(guard: Installation) -> None:
    """Everything that anybody can make of what they have read."""
    for record in newest(guard, "privacy.cases"):
        content = json.loads(record.value)
        high = {"tenure": TENURE_MOST - 1, "count": TENURE_MOST - 1, "state": "enforcing", "waits_for": None}
        for changed in (content | high, content | {"v": 9}, high | content | {"state": "closed"}):
            guard.publish("privacy.cases", [json.dumps(changed).encode()], key=record.key)
        guard.publish("privacy.cases", [None], key=record.key)
    for record in newest(guard, "privacy.decisions", guard.partitions):
        content = json.loads(record.value)
        for changed in (content | {"v": 9}, content | {"type": "restrict", "epoch": "2020-W01"}):
            value = json.dumps(changed).encode()
            guard.publish("privacy.decisions", [value], key=record.key, partition=record.partition)
    for record in newest(guard, "privacy.outcomes"):
        guard.publish("privacy.outcomes", [json.dumps(json.loads(record.value) | {"v": 9}).encode()], key=record.key)
    guard.publish("privacy.policy", [OTHERS, OTHERS.replace(b'"v":1', b'"v":9')], key=b"~guard")
    for name in ("privacy.decisions", "calllog.legs"):
        guard.publish(name, [OTHERS], key=b"~guard")


@pytest.mark.parametrize("running", [True, pytest.param(False, marks=pytest.mark.long)])
def test_forged_records_stop_nobody_and_change_nothing(make: Make, *, running: bool) -> None:
    """Neither what runs nor what starts over them; the commands of officers see the cases as desks wrote them."""
    # what compaction has taken nobody can restore: it comes an hour later, as in production
    guard = make(HEARTBEAT_S="1", WATCH_S="1", COMPACTION_LAG_MS="3600000")
    workers = [guard.start(role) for role in ROLES]
    guard.publish("calllog.events", [raw(event("c1", "alice@x.org", "bob@x.org", "carol@x.org"))], key=b"c1")
    guard.settled(lambda: len(guard.live()) == 3, "the call")
    asked(guard, "waits-0001", "bob@x.org", identity="unverified")
    asked(guard, "erase-0001", "alice@x.org")
    guard.settled(lambda: erased(guard, "erase-0001") and "waits-0001" in shown(guard), "the requests")
    if not running:
        guard.stop()
    forge(guard)
    if not running:
        workers = [guard.start(role) for role in ROLES]
    asked(guard, "erase-0002", "carol@x.org")
    guard.settled(lambda: erased(guard, "erase-0002"), "another request")

    case = shown(guard)["waits-0001"]
    assert (case["state"], case["waits_for"]) == ("waiting", "identity")
    name = case["case"].encode()
    guard.settled(lambda: proven(guard, name), "it is written again, or compaction would keep the forged one alone")
    assert all(worker.poll() is None for worker in workers)
    assert len(guard.live()) == 1
    assert json.loads(guard.cli("keystore", "guard", "--json")) == {"waiting": []}
    asked(guard, "verify-001", type="clock", event="verify", case=case["case"])
    guard.settled(lambda: guard.live() == {}, "the case that waited is carried out")
