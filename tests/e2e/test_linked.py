"""A backend says that two identifiers are one person, and erases under one: both are gone, and nothing remembers it."""

import json

import pytest
from installation import Make, event, raw
from signing import claims, signed
from test_erase import cases

pytestmark = pytest.mark.real

ALICE, NUMBER = "alice@example.org", "+441632960961"


def test_an_erasure_under_one_identifier_is_certified_for_both(make: Make) -> None:
    guard = make()
    guard.start("all")
    people = (ALICE, NUMBER, "bob@example.org")
    guard.publish("calllog.events", [raw(event(f"c{at}", who)) for at, who in enumerate(people)])
    guard.settled(lambda: len(guard.live()) == len(people), "a leg of each")
    before = guard.live()

    (guard.directory / "ids.txt").write_text(f"{ALICE}\ntel:+44-1632-960961\n")
    key = str(guard.directory / "keys" / "backend-1.pem")
    words = ("request", "same-as", "--subject", f"@{guard.directory / 'ids.txt'}", "--key", key, "--wait", "--json")
    linked = json.loads(guard.cli(*words))
    assert (linked["state"], linked["known"], linked["unknown"]) == ("closed", True, [])

    guard.publish("privacy.requests", [signed(guard.directory, claims("erase-0001", NUMBER))])
    guard.settled(lambda: "absent" in cases(guard).get("erase-0001", {}).get("stages", {}), "the certificate")
    case = cases(guard)["erase-0001"]
    assert (case["linked"], len(case["decisions"])) == (1, 2)
    assert f"reached    {case['linked']} more" in guard.cli("case", "show", case["case"])
    after = guard.live()
    assert (len(after), set(after) < set(before)) == (1, True), "Bob's leg alone is left"
    guard.cli("scan", "--case", case["case"])

    guard.publish("calllog.events", [raw(event("late", who)) for who in people])
    guard.settled(lambda: len(guard.live()) == 2, "of a late call Bob's leg alone is stored")
    guard.cli("keystore", "walk")
    assert "same" not in json.loads(guard.cli("keystore", "status", "--json"))["states"]
