"""Orders of secret holds on the real stack: by command line, seen by officers alone, told them when not taken."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from installation import Installation, Make
from kafka_tools import bounds
from test_choices import ask, state, with_purposes
from test_erase import cases, erased, with_calls
from test_preserve import held, order

from calllog_guard.adapters.kafka.log import KafkaLog

pytestmark = pytest.mark.real
SEEN_BY_BACKENDS = ("privacy.requests", "privacy.cases", "privacy.receipts", "privacy.exports", "calllog.dead")


def everything(guard: Installation, name: str) -> list[Any]:
    """Every record of a topic's first partition, internal ones too, but heartbeats."""
    found = asyncio.run(KafkaLog(guard.stack.kafka, {}).read_all(guard.topic(name), [0]))
    return [record for record in found if record.key != b"~beat"]


def requested(guard: Installation, kind: str, *words: str, code: int = 0, **files: Any) -> str:
    """A request of an officer, by the command line."""
    for name, content in files.items():
        path: Path = guard.directory / f"{name}.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        words = (*words, f"--{name}", f"@{path}")
    key = str(guard.directory / "keys" / "officer-1.pem")
    return guard.cli("request", kind, "--key", key, "--wait", "--json", *words, code=code)


def test_a_secret_hold_is_ordered_and_released_where_no_backend_looks(make: Make) -> None:
    guard = make()
    guard.start("all")
    with_calls(guard)
    before = {name: len(everything(guard, name)) for name in SEEN_BY_BACKENDS}
    found = json.loads(requested(guard, "hold", subject="bob@example.org", hold=order("claim-18", secret=True)))
    assert (found["type"], found["secret"]) == ("hold", True)
    guard.settled(lambda: len(held(guard)) == 3, "copied")
    requested(guard, "hold", subject="bob@example.org", hold=order("claim-18", secret=True), code=4)
    requested(guard, "release", hold={"id": "claim-99"}, code=4)
    ended = json.loads(requested(guard, "release", hold={"id": "claim-18"}))
    assert ended["secret"]
    guard.settled(lambda: held(guard) == {}, "released")
    assert {name: len(everything(guard, name)) for name in SEEN_BY_BACKENDS} == before
    officer = str(guard.directory / "keys" / "officer-1.pem")
    listed = json.loads(guard.cli("case", "list", "--key", officer, "--json"))
    assert sorted(case["type"] for case in listed) == ["hold", "release"]
    assert json.loads(guard.cli("case", "list", "--json")) == []
    orders = everything(guard, "privacy.orders")
    asked = {record.key for record in orders if not record.key.startswith(b"~")}
    assert all(any(each.key == key and each.value is None for each in orders) for key in asked), "all were taken"
    assert "claim" not in guard.log.read_text()
    assert guard.topic("privacy.orders") not in guard.log.read_text(), "no line tells that something came there"
    guard.cli("doctor", code=None)
    guard.cli("topics", "check")


def test_what_is_held_in_secret_is_disclosed_where_no_backend_looks(make: Make) -> None:
    """Asked for, approved, fetched and checked by the command line; the person is gone long since."""
    guard, who = with_purposes(make()), "bob@example.org"
    guard.start("all")
    with_calls(guard)
    requested(guard, "hold", subject=who, hold=order("claim-18", secret=True))
    guard.settled(lambda: len(held(guard)) == 3, "copied")
    ask(guard, "erase-0001", who)
    guard.settled(lambda: erased(guard, "erase-0001"), "erased")
    keys = guard.directory / "keys"
    public = str(keys / "operator-1.pub.pem")
    words = (
        "--authority",
        "Court",
        "--basis",
        "Order 7",
        "--notify",
        "when_lifted",
        "--review-at",
        "2028-01-01T00:00:00Z",
    )
    asked = json.loads(
        requested(guard, "disclose", *words, "--reply-key", public, subject=who, hold={"id": "claim-18"})
    )
    assert (asked["secret"], asked["waits_for"]) == (True, "second_officer")
    requested(guard, "disclose", *words, "--reply-key", public, subject=who, hold={"id": "claim-19"}, code=4)
    guard.cli("case", "approve", asked["case"], "--key", str(keys / "officer-2.pem"), "--wait")

    def ended() -> bool:
        listed = json.loads(guard.cli("case", "list", "--key", str(keys / "officer-1.pem"), "--json"))
        return any(case["case"] == asked["case"] and case["state"] == "closed" for case in listed)

    guard.settled(ended, "disclosed")
    seen = {name: everything(guard, name) for name in SEEN_BY_BACKENDS}
    assert not [
        each
        for some in seen.values()
        for each in some
        if asked["case"].encode() in (each.key or b"") + (each.value or b"")
    ]
    assert (seen["privacy.exports"], seen["calllog.dead"], len(seen["privacy.requests"]) < 2) == ([], [], True)
    fetched = (
        "export",
        "open",
        str(guard.directory / "court"),
        "--case",
        asked["case"],
        "--key",
        str(keys / "operator-1.pem"),
    )
    guard.cli(*fetched, code=4)
    checked = ("--officer", str(keys / "officer-1.pem"), "--receipts-key", str(keys / "iocom-receipts.pub.pem"))
    told = json.loads(guard.cli(*fetched, *checked, "--json"))
    assert (told["legs"], told["receipt"]) == (3, "good")
    assert "Disclosure of call records" in (guard.directory / "court" / "index.html").read_text()
    assert "claim" not in guard.log.read_text()


@pytest.mark.long
def test_a_hold_that_comes_as_an_order_wins_over_an_erasure_and_a_restart(make: Make) -> None:
    guard = make()
    for role in ("protector", "keeper", "auditor"):
        guard.start(role)
    with_calls(guard)
    ask(guard, "erase-0001", "alice@example.org")
    guard.cli(
        "request", "hold", "--key", str(guard.directory / "keys" / "officer-1.pem"), *_files(guard, "alice@example.org")
    )
    desk = guard.start("desk")
    guard.settled(lambda: erased(guard, "erase-0001"), "erased")
    assert len(held(guard)) == 3
    assert "kept" in cases(guard)["erase-0001"]
    assert cases(guard)["erase-0001"]["kept"] == []
    desk.kill()
    desk.wait()
    guard.start("desk")
    ask(guard, "lift-00001", "carol@example.org", type="restrict")
    guard.settled(lambda: state(guard, "lift-00001") == ("closed", None), "the desk goes on")
    officer = str(guard.directory / "keys" / "officer-1.pem")
    listed = json.loads(guard.cli("case", "list", "--key", officer, "--json"))
    assert [case["state"] for case in listed if case["type"] == "hold"] == ["closed"]
    assert not guard.dead()
    first, end = bounds(guard, "privacy.orders")
    assert (first, end > 2) == (0, True)


def _files(guard: Installation, subject: str) -> tuple[str, ...]:
    who, what = guard.directory / "who.txt", guard.directory / "hold.json"
    who.write_text(subject)
    what.write_text(json.dumps(order("claim-20", secret=True)))
    return "--subject", f"@{who}", "--hold", f"@{what}"
