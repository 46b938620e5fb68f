"""Holds, releases and what the law keeps, on the real stack; every numbered step of a hold and of a release killed."""

import json
from typing import Any

import pytest
from installation import Installation, Make, by_law, event, raw, some
from patience import ended
from redis import Redis
from signing import claims, signed
from test_choices import ask, state
from test_erase import cases, erased, with_calls

pytestmark = pytest.mark.real


def order(name: str, **more: Any) -> dict[str, Any]:
    """The terms of a hold."""
    return {"id": name, "authority": "Court", "basis": "legal_claims", "review_at": "2027-06-01T00:00:00Z", **more}


def held(guard: Installation) -> dict[bytes, bytes]:
    """The copies that a new reader would end up with."""
    found: dict[bytes, bytes] = {}
    for record in guard.records("calllog.held"):
        if record.value is None:
            found.pop(record.key, None)
        else:
            found[record.key] = record.value
    return found


def kept_by_law(guard: Installation) -> Installation:
    """The installation with billing kept by law."""
    path = guard.directory / "policy.toml"
    path.write_text(by_law(path.read_text()))
    return guard


def stages(guard: Installation, jti: str) -> list[str]:
    """The stages that a case has reached."""
    return sorted(cases(guard).get(jti, {}).get("stages", {}))


def test_held_erased_and_released(make: Make) -> None:
    guard = kept_by_law(make())
    guard.start("all")
    with_calls(guard)
    ask(guard, "hold-00001", "alice@example.org", key="officer-1", type="hold", hold=order("claim-17"))
    guard.settled(lambda: state(guard, "hold-00001") == ("closed", None), "copied")
    guard.publish("privacy.requests", [signed(guard.directory, claims("erase-0001", "alice@example.org"))])
    guard.settled(lambda: erased(guard, "erase-0001"), "erased")
    copies = held(guard)
    ours = {key for key in copies if json.loads(_header(copies[key]))["pur"] != 2}
    assert (len(guard.live()), len(ours)) == (4, 3)
    assert cases(guard)["erase-0001"]["kept"] == [
        {"basis": "legal_claims", "hold": "claim-17"},
        {"basis": "legal_duty"},
    ]
    ask(guard, "release-01", key="officer-1", type="release", hold={"id": "claim-17"})
    guard.settled(lambda: state(guard, "release-01") == ("closed", None), "released")
    assert not ours & set(held(guard))
    assert len(held(guard)) == 3, "what billing keeps by law"
    listed = guard.cli("case", "list")
    assert [listed.count(f"\t{kind}\tclosed") for kind in ("hold", "release")] == [1, 1]
    assert not guard.dead()


def _header(value: bytes) -> bytes:
    from calllog_guard.core.identifiers import unb64  # noqa: PLC0415

    return unb64(value.partition(b".")[0])


@pytest.mark.long
def test_a_secret_hold_shows_to_nobody_but_officers(make: Make) -> None:
    guard = kept_by_law(make())
    guard.start("all")
    with_calls(guard)
    hold = order("claim-18", secret=True)
    ask(guard, "hold-00002", "bob@example.org", key="officer-1", type="hold", hold=hold)
    guard.settled(lambda: len(held(guard)) == 3, "copied")
    guard.publish("privacy.requests", [signed(guard.directory, claims("erase-0002", "bob@example.org"))])
    guard.publish("privacy.requests", [signed(guard.directory, claims("erase-0003", "carol@example.org"))])
    guard.settled(lambda: erased(guard, "erase-0002") and erased(guard, "erase-0003"), "both are erased")
    officer = str(guard.directory / "keys" / "officer-1.pem")
    listed = json.loads(guard.cli("case", "list", "--json"))
    assert sorted(case["jti"] for case in listed) == ["erase-0002", "erase-0003"]
    everything = json.loads(guard.cli("case", "list", "--key", officer, "--json"))
    assert sorted(case["jti"] for case in everything) == ["erase-0002", "erase-0003", "hold-00002"]
    guard.cli("case", "show", next(case["case"] for case in everything if case["jti"] == "hold-00002"), code=4)
    guard.cli("case", "list", "--key", str(guard.directory / "keys" / "backend-1.pem"), "--json")
    receipts = guard.records("privacy.receipts", 1)
    assert len([record for record in receipts if b"claim-18" in record.value]) == 0
    first, second = (cases(guard)[jti] for jti in ("erase-0002", "erase-0003"))
    assert list(first["stages"]) == list(second["stages"])
    assert second["kept"] == [{"basis": "legal_duty"}]
    assert first["kept"] == []
    assert "hold" not in guard.log.read_text()


STEPS = ["hold.made", "hold.named", "hold.marked", "hold.decided", "hold.flagged"]
KEEPER_STEPS = ["hold.copied", "hold.read_again", "hold.unmarked"]


@pytest.mark.parametrize("step", some([*STEPS, *KEEPER_STEPS], "hold.decided"))
def test_killed_at_a_step_of_a_hold_everything_is_copied_before_it_is_erased(make: Make, step: str) -> None:
    guard = make()
    role = "desk" if step in STEPS else "keeper"
    for other in {"protector", "desk", "keeper"} - {role}:
        guard.start(other)
    with_calls(guard)
    killed = guard.start(role, DEVELOPMENT=f"crash-at={step}")
    ask(guard, "hold-00003", "alice@example.org", key="officer-1", type="hold", hold=order("claim-19"))
    ask(guard, "erase-0004", "alice@example.org")
    assert ended(killed) == -9
    guard.start(role)
    guard.settled(lambda: erased(guard, "erase-0004"), "erased")
    guard.settled(lambda: state(guard, "hold-00003") == ("closed", None), "the hold's case")
    assert len([key for key, value in held(guard).items() if json.loads(_header(value))["pur"] != 2]) == 3
    assert len(guard.live()) == 4
    with Redis.from_url(guard.environment["CALLLOG_GUARD_KEYSTORE"]) as redis:
        assert len(redis.keys("clg:iocom:key:*")) == 2, "no mark keeps the erased person's key"
    assert not guard.dead()


RELEASE_STEPS = ["release.decided", "release.flagged", "release.secret"]
RELEASE_KEEPER_STEPS = ["release.destroyed", "release.tombstoned"]


@pytest.mark.parametrize("step", some([*RELEASE_STEPS, *RELEASE_KEEPER_STEPS]))
def test_killed_at_a_step_of_a_release_no_copy_is_left(make: Make, step: str) -> None:
    guard = make()
    role = "desk" if step in RELEASE_STEPS else "keeper"
    for other in {"protector", "desk", "keeper"} - {role}:
        guard.start(other)
    with_calls(guard)
    killed = guard.start(role, DEVELOPMENT=f"crash-at={step}")
    ask(guard, "hold-00004", "bob@example.org", key="officer-1", type="hold", hold=order("claim-20"))
    guard.settled(lambda: state(guard, "hold-00004") == ("closed", None), "copied")
    assert len(held(guard)) == 3
    ask(guard, "release-02", key="officer-1", type="release", hold={"id": "claim-20"})
    assert ended(killed) == -9
    guard.start(role)
    guard.settled(lambda: state(guard, "release-02") == ("closed", None), "released")
    assert held(guard) == {}
    assert stages(guard, "release-02") == ["accepted", "decided", "destroyed", "tombstoned"]
    assert not guard.dead()


def test_what_arrives_later_is_copied_and_the_walk_knows_the_hold(make: Make) -> None:
    guard = make()
    guard.start("all")
    with_calls(guard)
    ask(guard, "hold-00005", "bob@example.org", key="officer-1", type="hold", hold=order("claim-21"))
    guard.settled(lambda: state(guard, "hold-00005") == ("closed", None), "copied")
    guard.publish("calllog.events", [raw(event("c10", "bob@example.org"))])
    guard.settled(lambda: len(held(guard)) == 4, "copied as it arrives")
    found = json.loads(guard.cli("keystore", "status", "--json"))
    assert sum(found["entries"].values()) == 6, "three people and their keys; holds are counted nowhere"
