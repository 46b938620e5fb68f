"""People are carried over to other rules of identity while calls and requests come in, on the real stack."""

import json

import pytest
from installation import Make, event, raw
from signing import claims, signed
from test_erase import cases, erased

pytestmark = pytest.mark.real


def test_people_are_carried_over_while_workers_run(make: Make) -> None:
    guard = make(identity="as-written")
    guard.start("all")
    people = ("Carol@Example.org", "carol@example.org", "dave@example.org")
    guard.publish("calllog.events", [raw(event(f"c{at}", who)) for at, who in enumerate(people)])
    guard.settled(lambda: len(guard.live()) == len(people), "three people")

    guard.environment["CALLLOG_GUARD_UNIT_MAX_S"] = "3"  # of the command alone: what workers began has ended by then
    verb = ("tenant", "identity", "iocom")
    dry = json.loads(guard.cli(*verb, "--identity", "default", "--dry-run", "--json"))
    assert (dry["identity"], dry["carried"]["people"], dry["carried"]["joined"]) == (["as-written"], 3, 1)
    carried = json.loads(guard.cli(*verb, "--identity", "default", "--json"))
    assert (carried["before"], carried["carried"]["joined"]) == ([["as-written"]], 1)
    assert "carried" not in json.loads(guard.cli(*verb, "--json")), "there is nothing left to do"
    assert "everybody known" not in guard.cli("doctor", code=None)
    guard.cli(*verb, "--identity", "as-written", code=4)

    guard.publish("privacy.requests", [signed(guard.directory, claims("erase-0001", "mailto:CAROL@example.org"))])
    guard.settled(lambda: erased(guard, "erase-0001"), "the erasure of both")
    case = cases(guard)["erase-0001"]
    assert (len(guard.live()), case["known"], case["linked"]) == (1, True, 1)
    guard.publish(
        "calllog.events", [raw(event("c0", "Carol@Example.org", minutes_ago=60)), raw(event("c9", "eve@x.org"))]
    )
    guard.settled(lambda: len(guard.live()) >= 2, "who comes after that")
    assert len(guard.live()) == 2, "and the erased stay out under the identifier that they had"
