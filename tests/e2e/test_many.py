"""Many requests in one unit: they run side by side, and each still counts, once."""

import pytest
from installation import Make, event, raw
from signing import claims, signed
from test_erase import cases

pytestmark = pytest.mark.real


def test_a_unit_full_of_requests_is_braked_deduplicated_and_enforced_as_if_one_by_one(make: Make) -> None:
    guard = make()
    policy = guard.directory / "policy.toml"
    policy.write_text(policy.read_text().replace("erasures_per_hour = 10000", "erasures_per_hour = 30"))
    people = [f"person-{number}@example.org" for number in range(40)]
    guard.publish("calllog.events", [raw(event(f"call-{n}-{who}", who)) for who in people for n in range(2)])
    guard.start("protector")
    guard.settled(lambda: len(guard.live()) == 80, "all legs")
    requests = [signed(guard.directory, claims(f"many-{number:04d}", who)) for number, who in enumerate(people)]
    guard.publish("privacy.requests", [*requests[:5], requests[2], *requests[5:]])
    guard.start("desk")
    guard.start("keeper")
    guard.settled(lambda: sum("tombstoned" in case["stages"] for case in cases(guard).values()) == 30, "thirty erased")
    assert sorted(case["jti"] for case in cases(guard).values() if case["state"] == "waiting") == [
        f"many-{number:04d}" for number in range(30, 40)
    ]
    assert {case["waits_for"] for case in cases(guard).values() if case["state"] == "waiting"} == {"officer"}
    assert [letter["reason"] for letter in guard.dead()] == ["replayed"]
    assert len(guard.live()) == 20
    told = [case["legs"] for case in cases(guard).values() if case["state"] != "waiting"]
    assert [sum(legs.values()) for legs in told] == [2] * 30
    assert len(guard.records("privacy.receipts", 1)) == 40 + 30 * 3
