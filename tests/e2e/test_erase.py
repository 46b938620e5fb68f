"""Erase on the real stack: a signed request, to the last leg; and every step of it killed."""

import json
from typing import Any

import pytest
from installation import Installation, Make, event, raw, some
from patience import ended
from signing import claims, signed

pytestmark = pytest.mark.real


def cases(guard: Installation) -> dict[str, dict[str, Any]]:
    """The cases by their request's jti."""
    found = [json.loads(record.value) for record in guard.records("privacy.cases", 1)]
    return {case["jti"]: case for case in found}


def erased(guard: Installation, jti: str) -> bool:
    """Whether a case has reached `tombstoned`."""
    return "tombstoned" in cases(guard).get(jti, {}).get("stages", {})


def people(guard: Installation) -> set[bytes]:
    """The pseudonyms that have legs."""
    return {key.partition(b".")[0] for key in guard.live()}


def with_calls(guard: Installation) -> set[bytes]:
    """Publish three calls of alice with bob and carol; the legs' keys."""
    guard.publish("calllog.events", [raw(event(f"c{n}", "alice@example.org", "bob@example.org")) for n in range(3)])
    guard.publish("calllog.events", [raw(event("c9", "carol@example.org"))])
    guard.settled(lambda: len(guard.live()) == 7, "all legs")
    return set(guard.live())


def test_person_is_erased_and_others_stay_byte_for_byte(make: Make) -> None:
    guard = make()
    guard.start("all")
    with_calls(guard)
    before = guard.live()
    guard.publish("privacy.requests", [signed(guard.directory, claims("erase-0001", "Alice@example.org"))])
    guard.settled(lambda: erased(guard, "erase-0001"), "tombstoned")
    after = guard.live()
    assert len(after) == 4
    assert {key: before[key] for key in after} == after
    stages = cases(guard)["erase-0001"]["stages"]
    first = sorted(stages, key=stages.__getitem__)[:4]  # an auditor may have gone on since
    assert first == ["accepted", "fenced", "destroyed", "tombstoned"]
    # late: dated before the cut-off, so nothing comes of it; later: the next generation, which shares nothing
    guard.publish("calllog.events", [raw(event("late", "alice@example.org", "dora@example.org"))])
    guard.settled(lambda: len(guard.live()) == 5, "the other party's leg of the late call")
    guard.publish("calllog.events", [raw(event("new", "alice@example.org", minutes_ago=0))])
    guard.settled(lambda: len(guard.live()) == 6, "the leg after the return")
    gone = {key.partition(b".")[0] for key in before} - {key.partition(b".")[0] for key in after}
    assert len(gone) == 1
    assert not gone & people(guard)
    # a redelivery must not touch who has returned
    guard.publish("privacy.requests", [signed(guard.directory, claims("erase-0001", "alice@example.org"))])
    guard.settled(lambda: [letter["reason"] for letter in guard.dead()] == ["replayed"], "a dead letter for the replay")
    assert len(guard.live()) == 6


DESK_STEPS = ["erase.case", "erase.decision", "erase.fence", "erase.receipt"]
KEEPER_STEPS = ["enforce.fence", "enforce.barrier", "enforce.destroyed", "enforce.tombstoned", "enforce.result"]


REBUILT, RESUMED = "3000", "600000"
"""How long an index may be resumed depends on how long tombstones are kept (milliseconds)."""


@pytest.mark.parametrize(
    ("step", "keep_ms"),
    some(
        [*((step, RESUMED) for step in (*DESK_STEPS, *KEEPER_STEPS)), *((step, REBUILT) for step in KEEPER_STEPS[1:4])],
        ("enforce.destroyed", RESUMED),
    ),
)
def test_killed_at_a_step_the_erasure_still_ends(make: Make, step: str, keep_ms: str) -> None:
    guard = make(TOMBSTONE_KEEP_MS=keep_ms)
    role = "desk" if step in DESK_STEPS else "keeper"
    guard.start("protector")
    with_calls(guard)
    for other in {"desk", "keeper"} - {role}:
        guard.start(other)
    killed = guard.start(role, DEVELOPMENT=f"crash-at={step}")
    guard.publish("privacy.requests", [signed(guard.directory, claims("erase-0002", "alice@example.org"))])
    assert ended(killed) == -9
    guard.start(role)
    guard.settled(lambda: erased(guard, "erase-0002"), "tombstoned")
    assert len(guard.live()) == 4
    case = cases(guard)["erase-0002"]
    assert len(case["decisions"]) == 1
    assert not guard.dead()


def test_a_decision_that_no_desk_wrote_touches_nobody(make: Make) -> None:
    guard = make()
    guard.start("all")
    with_calls(guard)
    guard.publish("privacy.requests", [signed(guard.directory, claims("forged-001", "alice@example.org"))])
    guard.settled(lambda: erased(guard, "forged-001"), "tombstoned")
    living = {record.key: record.partition for record in guard.records("calllog.legs") if record.key in guard.live()}
    (real,) = (r for r in guard.records("privacy.decisions") if r.key and not r.key.endswith(b".done"))
    for key, partition in living.items():
        moved = json.loads(real.value) | {"pseudonym": key.decode().partition(".")[0]}
        name = f"{moved['pseudonym']}.{moved['decision']}".encode()
        guard.publish("privacy.decisions", [json.dumps(moved).encode()], partition=partition, key=name)
    guard.settled(lambda: len(guard.dead()) == len(living), "a dead letter for each forgery")
    assert {letter["reason"] for letter in guard.dead()} == {"unproven"}
    guard.stop()
    guard.start("all")
    guard.publish("calllog.events", [raw(event("after", "bob@example.org", "carol@example.org"))])
    guard.settled(lambda: len(guard.live()) == 6, "legs after a rebuild from the ledger")
    assert set(living) <= set(guard.live())


def b64url(content: dict[str, Any]) -> str:
    """A part of a JWT."""
    import base64  # noqa: PLC0415

    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


def test_hostile_requests_end_in_one_dead_letter_each_and_nobody_is_touched(make: Make) -> None:
    import base64  # noqa: PLC0415
    import hashlib  # noqa: PLC0415
    import hmac  # noqa: PLC0415

    guard = make()
    guard.start("all")
    with_calls(guard)
    good = claims("hostile-01", "alice@example.org")
    public = (guard.directory / "keys" / "backend-1.pub.pem").read_bytes()
    body = b64url({"alg": "HS256", "kid": "backend-1"}) + "." + b64url(good)
    mac = base64.urlsafe_b64encode(hmac.digest(public, body.encode(), hashlib.sha256)).rstrip(b"=").decode()
    hostile = [
        (signed(guard.directory, good, key="officer-1"), "bad_signature"),
        (f"{b64url({'alg': 'none', 'kid': 'backend-1'})}.{b64url(good)}.".encode(), "wrong_algorithm"),
        (f"{body}.{mac}".encode(), "wrong_algorithm"),
        (signed(guard.directory, good | {"iat": good["iat"] - 9000, "exp": good["iat"] - 8000}), "expired"),
        (signed(guard.directory, good | {"aud": "elsewhere"}), "wrong_audience"),
        (signed(guard.directory, good | {"tenant": "other"}), "foreign_tenant"),
        (signed(guard.directory, good | {"exp": good["iat"] + 90_000}), "lifetime_too_long"),
        (signed(guard.directory, good | {"type": "explode"}), "wrong_value"),
        (signed(guard.directory, good | {"type": "access"}), "missing_field"),
        (b"\xff\x00 nonsense", "not_a_jws"),
        (None, "null_value"),
    ]
    guard.publish("privacy.requests", [value for value, _ in hostile])
    guard.settled(lambda: len(guard.dead()) == len(hostile), "every dead letter")
    letters = sorted(guard.dead(), key=lambda letter: letter["offset"])
    assert [letter["reason"] for letter in letters] == [reason for _, reason in hostile]
    assert cases(guard) == {}
    assert len(guard.live()) == 7
