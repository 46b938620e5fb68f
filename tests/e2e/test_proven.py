"""
Readers prove who they are, on the real stack, against a thief with a reader's rights to both servers, no actor's key.

The thief reads the topics, writes what it likes to `privacy.access`, and has a reader's whole environment but the key.
"""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from installation import Installation, Make, event, raw
from test_choices import ask, state
from test_exports import asker, opened

pytestmark = pytest.mark.real
SERVICE = ("read", "--purpose", "service", "--actor", "support-1")


def seen(guard: Installation, jti: str) -> tuple[list[tuple[str, int, object]], int]:
    """Who has seen alice's records, as she is told, and how many accesses nobody believes."""
    ask(guard, jti, "alice@example.org", type="access", reply_key=asker(guard))
    guard.settled(lambda: state(guard, jti) == ("closed", None), "answered")
    about: dict[str, Any] = opened(guard, jti)["about"]
    lines = [(each["actor"], each["records"], each.get("proven")) for each in about["opened_by"]]
    return lines, about.get("unproven", 0)


def registered(guard: Installation, *actors: str) -> None:
    """Every actor has a key that counts from now on."""
    for actor in actors:
        guard.cli("key", "new", actor, "--role", "actor")
        guard.cli("key", "register", actor, "--role", "actor")


def forged(true: bytes, **changes: Any) -> bytes:
    """What the thief makes of a true access."""
    return json.dumps(json.loads(true) | {"at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"} | changes).encode()  # noqa: TID251


def forgeries(true: bytes) -> list[bytes]:
    """Every kind of it."""
    morrow = datetime.now(UTC) + timedelta(1)  # noqa: TID251
    return [
        true,
        forged(true, actor="billing-1", purpose="billing"),
        forged(true, actor="billing-1", purpose="billing", sig="A" * 86),
        forged(true, actor="thief-1"),
        forged(true, at=f"{morrow:%Y-%m-%dT%H:%M:%SZ}"),
    ]


def test_what_nobody_proves_names_nobody_and_older_accesses_are_told_as_such(make: Make) -> None:
    guard = make()
    guard.start("all")
    guard.publish("calllog.events", [raw(event("c1", "alice@example.org", "bob@example.org"))])
    guard.settled(lambda: len(guard.live()) == 2, "both legs")
    assert guard.cli(*SERVICE).count('"put"') == 2, "as before, while no actor has a key"
    assert seen(guard, "access-001") == ([("support-1", 1, None)], 0)
    opening = [each.value for each in guard.records("privacy.access", 1) if json.loads(each.value)["opened"]]

    registered(guard, "support-1", "billing-1")
    guard.stop_workers()
    guard.start("all")
    keys = guard.directory / "keys"
    before = len(guard.records("privacy.access", 1))
    guard.cli(*SERVICE, code=4)
    guard.cli(*SERVICE, "--key", str(keys / "billing-1.pem"), code=4)
    guard.cli("key", "new", "thief-1", "--role", "actor")
    guard.cli(*SERVICE, "--key", str(keys / "thief-1.pem"), code=4)
    denied = [json.loads(record.value) for record in guard.records("privacy.access", 1)[before:]]
    assert [(each["actor"], each["opened"], each["refused"]) for each in denied] == [
        ("support-1", 0, {"denied": 1})
    ] * 3
    assert guard.cli(*SERVICE, "--key", str(keys / "support-1.pem")).count('"put"') == 2
    guard.environment["CALLLOG_GUARD_ACTOR_KEY"] = str(keys / "support-1.pem")
    assert guard.cli(*SERVICE).count('"put"') == 2

    signed = next(each.value for each in guard.records("privacy.access", 1) if b'"sig"' in each.value)
    copies = [signed, signed.replace(b'"opened":', b'"opened":1'), b"\xff no access", b'{"v":99}']
    many = [*(each for true in opening for each in forgeries(true)), *copies]
    guard.publish("privacy.access", many, key=b"support-1")
    lines, unproven = seen(guard, "access-002")
    assert lines == [("support-1", 1, True), ("support-1", 1, False)]
    assert unproven >= len(forgeries(opening[0]))
    report = json.loads(guard.cli("report", "--json"))
    assert sum(each["accesses"] for each in report["doubted"]) == len(many)
    assert {"unsigned", "wrong_signature", "unregistered_actor", "replayed", "unreadable"} == {
        each["reason"] for each in report["doubted"]
    }
    assert {each["actor"] for each in report["opened"]} <= {"support-1", "answers"}, "nobody by a forged one"

    guard.cli("key", "revoke", "support-1")
    guard.cli(*SERVICE, code=4)
    guard.stop_workers()
    guard.start("all")
    assert seen(guard, "access-003")[0] == lines, "what was signed before stays proven"


@pytest.mark.long
def test_a_dead_letter_is_opened_by_a_registered_actor(make: Make) -> None:
    guard = make()
    guard.start("all")
    guard.publish("calllog.events", [b"no event"])
    guard.settled(lambda: len(guard.dead()) == 1, "a letter")
    operator = ("dead", "open", "0:0", "--key", str(guard.directory / "keys" / "operator-1.pem"))
    assert guard.cli(*operator) == "no event"
    guard.cli("key", "new", "letters-1", "--role", "actor")
    policy = guard.directory / "policy.toml"
    policy.write_text(policy.read_text() + "\n[version.tenant.iocom.actors.letters-1]\npurposes = []\n")
    guard.cli("key", "register", "letters-1", "--role", "actor")
    guard.cli(*operator, code=4)
    guard.environment["CALLLOG_GUARD_ACTOR_KEY"] = str(guard.directory / "keys" / "letters-1.pem")
    assert guard.cli(*operator) == "no event"
    report = json.loads(guard.cli("report", "--json"))
    assert [(each["actor"], each["proven"]) for each in report["opened"]] == [
        ("letters-1", True),
        ("operator-1", False),
    ]
    assert report["doubted"] == []
