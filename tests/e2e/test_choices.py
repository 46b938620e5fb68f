"""Restrict, lift, object, withdraw, consent, a ranged erasure and a rectification, on the real stack."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from installation import Installation, Make, event, raw
from signing import claims, signed
from test_erase import cases

pytestmark = pytest.mark.real
_DAY = 24 * 60

PURPOSES = """
[version.tenant.iocom.purposes.research]
number = 3
basis = "consent"
keep = "P60D"
[version.tenant.iocom.purposes.quality]
number = 4
basis = "legitimate_interests"
keep = "P60D"
on_objection = "grant"
[version.tenant.iocom.purposes.fraud]
number = 5
basis = "legitimate_interests"
keep = "P60D"
on_objection = "review"
[version.tenant.iocom.requesters.officer-2]
role = "officer"
key = "keys/officer-2.pub.pem"
"""
GATEWAY = """
[version.tenant.iocom.person_notices]
key = "keys/operator-1.pub.pem"
told = ["lifting", "disclosed"]
"""


def with_purposes(guard: Installation) -> Installation:
    """The installation with more purposes and a second officer."""
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415

    key = Ed25519PrivateKey.generate()
    none, pem = serialization.NoEncryption(), serialization.Encoding.PEM
    (guard.directory / "keys" / "officer-2.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, none)
    )
    (guard.directory / "keys" / "officer-2.pub.pem").write_bytes(
        key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    path = guard.directory / "policy.toml"
    path.write_text(path.read_text() + PURPOSES)
    return with_gateway(guard)


def with_gateway(guard: Installation) -> Installation:
    """The installation with a gateway that tells people what they must be told before."""
    path = guard.directory / "policy.toml"
    path.write_text(path.read_text() + GATEWAY)
    return guard


def ask(guard: Installation, jti: str, *subjects: str, key: str = "backend-1", **more: Any) -> None:
    """Send a request."""
    guard.publish("privacy.requests", [signed(guard.directory, claims(jti, *subjects, iss=key, **more), key=key)])


def state(guard: Installation, jti: str) -> tuple[str, str | None]:
    """State of a case, and what it waits for."""
    case = cases(guard).get(jti, {"state": "", "waits_for": None})
    return case["state"], case["waits_for"]


def told(guard: Installation, jti: str) -> None:
    """Whoever a case waits for has been told, and the backend says so."""
    guard.settled(lambda: state(guard, jti)[1] == "notice", f"{jti} waits until the person is told")
    ask(guard, f"told-{jti}", type="clock", case=cases(guard)[jti]["case"], event="noticed", to="person")


def masks(guard: Installation) -> dict[str, int]:
    """The purposes of each living leg, by call day."""
    from calllog_guard.core.crypto.leg_envelope import parse_header  # noqa: PLC0415

    headers = [parse_header(value) for value in guard.live().values()]
    return {f"{header.day} {header.rid}": header.pur for header in headers}


def read(guard: Installation, purpose: str = "service", actor: str = "support-1") -> list[dict[str, Any]]:
    """What a reader sees."""
    return [json.loads(line) for line in guard.cli("read", "--purpose", purpose, "--actor", actor).splitlines()]


def test_choices_are_enforced_in_the_stream_and_on_what_is_stored(make: Make) -> None:
    guard = with_purposes(make())
    guard.start("all")
    guard.publish("calllog.events", [raw(event("c1", "alice@example.org", outcome="missed"))])
    guard.settled(lambda: list(masks(guard).values()) == [0b11001], "service, quality and fraud, but no research")
    ask(
        guard,
        "consent-01",
        "alice@example.org",
        type="consent",
        purposes=["research"],
        time="2026-11-24T10:00:00Z",
        wording="Yes.",
    )
    guard.settled(lambda: state(guard, "consent-01") == ("closed", None), "consent on record")
    guard.publish("calllog.events", [raw(event("c2", "alice@example.org", outcome="missed"))])
    guard.settled(lambda: sorted(masks(guard).values()) == [0b11001, 0b11101], "research from now on")
    ask(guard, "object-001", "alice@example.org", type="object", purposes=["quality"])
    ask(guard, "withdraw-1", "alice@example.org", type="withdraw", purposes=["research"])
    guard.settled(
        lambda: "tombstoned" in cases(guard).get("withdraw-1", {}).get("stages", {}), "enforced by the keeper"
    )
    guard.publish("calllog.events", [raw(event("c3", "alice@example.org", outcome="missed"))])
    guard.settled(lambda: min(masks(guard).values()) == 0b10001, "service and fraud are left")
    ask(guard, "wrong-0001", "alice@example.org", type="withdraw", purposes=["service"])
    ask(guard, "wrong-0002", "alice@example.org", type="object", purposes=["shoes"])
    guard.settled(lambda: len(guard.dead()) == 2, "two dead letters")
    assert {letter["reason"] for letter in guard.dead()} == {"not_by_consent", "unknown_purpose"}


@pytest.mark.long
def test_an_objection_to_review_restricts_until_an_officer_decides(make: Make) -> None:
    guard = with_purposes(make())
    guard.start("all")
    guard.publish("calllog.events", [raw(event("c1", "alice@example.org", "bob@example.org"))])
    guard.settled(lambda: len(guard.live()) == 2, "both legs")
    ask(guard, "object-002", "alice@example.org", type="object", purposes=["fraud"])
    guard.settled(lambda: state(guard, "object-002") == ("waiting", "officer"), "put to an officer")
    guard.settled(lambda: len(read(guard)) == 1, "restricted meanwhile: only bob's")
    guard.settled(lambda: cases(guard)["object-002"].get("preview", {}).get("at"), "counted before the officer decides")
    counted = cases(guard)["object-002"]["preview"]
    assert [counted.get(name) for name in ("legs", "narrowed", "months", "open")] == [0, 1, 0, []]
    case = cases(guard)["object-002"]["case"]
    ask(guard, "approve-01", type="approve", case=case)
    guard.settled(lambda: [letter["reason"] for letter in guard.dead()] == ["wrong_role"], "a backend is no officer")
    ask(guard, "approve-02", key="officer-1", type="approve", case=case)
    guard.settled(lambda: state(guard, "object-002") == ("waiting", "notice"), "granted, and to be told")
    assert len(read(guard)) == 1, "restricted until they were"
    told(guard, "object-002")
    guard.settled(lambda: "tombstoned" in cases(guard)["object-002"]["stages"], "granted")
    assert len(read(guard)) == 2, "lifted"
    assert len(guard.live()) == 2
    ask(guard, "object-003", "alice@example.org", type="object", purposes=["fraud"])
    guard.settled(lambda: state(guard, "object-003") == ("waiting", "officer"), "put to an officer")
    ask(
        guard,
        "refuse-001",
        key="officer-1",
        type="refuse",
        case=cases(guard)["object-003"]["case"],
        ground="Compelling.",
    )
    guard.settled(lambda: state(guard, "object-003") == ("refused", "notice"), "refused by a human")
    assert len(read(guard)) == 1, "restricted until they were told that it ends"
    told(guard, "object-003")
    guard.settled(lambda: state(guard, "object-003") == ("refused", None), "told")
    assert len(read(guard)) == 2, "lifted"
    assert "Compelling" not in json.dumps(cases(guard)["object-003"])


def test_restricted_legs_are_stored_not_opened_and_not_swept(make: Make) -> None:
    guard = with_gateway(make(EVENT_LATE_DAYS="400"))
    for role in ("protector", "desk"):
        guard.start(role)
    old = [
        raw(event(f"o{n}", f"{name}@example.org", minutes_ago=100 * _DAY, outcome="missed"))
        for n, name in enumerate("ab")
    ]
    ask(guard, "restrict-1", "a@example.org", type="restrict", ground="accuracy")
    guard.settled(lambda: state(guard, "restrict-1") == ("waiting", "officer"), "restricted before the first call")
    ask(guard, "approve-01", key="officer-1", type="approve", case=cases(guard)["restrict-1"]["case"])
    guard.settled(lambda: state(guard, "restrict-1") == ("closed", None), "an officer lets it stand for who may come")
    guard.publish("calllog.events", old)
    guard.settled(lambda: len(guard.live()) == 2, "both legs: a is stored")
    guard.start("keeper")
    guard.settled(lambda: len(guard.live()) == 1, "b's lapsed leg is swept, a's is kept")
    assert read(guard) == []
    ask(guard, "lift-00001", "a@example.org", type="lift")
    told(guard, "lift-00001")
    guard.settled(lambda: len(guard.live()) == 0, "swept after the lift")


@pytest.mark.long
def test_a_ranged_erasure_takes_those_days_and_whatever_arrives_for_them(make: Make) -> None:
    guard = make(EVENT_LATE_DAYS="400")
    guard.start("all")
    ages = (10, 20, 30)
    calls = [raw(event(f"r{age}", "alice@example.org", minutes_ago=age * _DAY)) for age in ages]
    guard.publish("calllog.events", calls)
    guard.settled(lambda: len(guard.live()) == 3, "three legs")
    today = datetime.now(UTC).date()  # noqa: TID251 - tests run on the real clock
    span = {"from": (today - timedelta(25)).isoformat(), "to": (today - timedelta(15)).isoformat()}
    ask(guard, "range-0001", "alice@example.org", range=span)
    guard.settled(lambda: "tombstoned" in cases(guard).get("range-0001", {}).get("stages", {}), "tombstoned")
    assert len(guard.live()) == 2
    guard.publish("calllog.events", calls)
    guard.publish("calllog.events", [raw(event("mark", "bob@example.org"))])
    guard.settled(lambda: len(guard.live()) == 3, "bob, and the two other days: the range is a standing rule")
    assert span["from"] not in json.dumps([json.loads(r.value) for r in guard.records("privacy.decisions") if r.value])
    assert len(read(guard)) == 3, "the secrets stay"


def test_corrected_facts_replace_the_stored_ones_also_after_a_replay(make: Make) -> None:
    guard = make()
    guard.start("all")
    call = raw(event("fix", "alice@example.org", "bob@example.org"))
    guard.publish("calllog.events", [call])
    guard.settled(lambda: len(guard.live()) == 2, "both legs")
    ask(guard, "rectify-01", "alice@example.org", type="rectify", facts={"call_id": "fix", "role": "guest"})
    guard.settled(lambda: "rewritten" in cases(guard).get("rectify-01", {}).get("stages", {}), "rewritten")
    assert sorted(line["role"] for line in read(guard)) == ["guest", "guest"]

    def places() -> set[tuple[int, int]]:
        return {(each.partition, each.offset) for each in guard.records("calllog.legs")}

    before = places()
    guard.publish("calllog.events", [call])
    guard.settled(lambda: bool(places() - before), "the replay")
    guard.settled(lambda: sorted(line["role"] for line in read(guard)) == ["guest", "guest"], "corrected again")
    assert not guard.dead()


@pytest.mark.long
def test_a_case_waits_for_identity_and_goes_on_by_itself(make: Make) -> None:
    guard = make()
    guard.start("all")
    guard.publish("calllog.events", [raw(event("c1", "alice@example.org", "bob@example.org"))])
    guard.settled(lambda: len(guard.live()) == 2, "both legs")
    ask(guard, "unknown-01", "alice@example.org", identity="unverified")
    guard.settled(lambda: state(guard, "unknown-01") == ("waiting", "identity"), "waits")
    case = cases(guard)["unknown-01"]
    assert "alice" not in json.dumps(case)
    ask(guard, "clock-0001", type="clock", case=case["case"], event="verify")
    guard.settled(lambda: "tombstoned" in cases(guard)["unknown-01"]["stages"], "erased once identity is shown")
    assert len(guard.live()) == 1
    assert cases(guard)["unknown-01"]["sealed"] is None
    ask(guard, "clock-0002", type="clock", case=case["case"], event="fee")
    guard.settled(lambda: [letter["reason"] for letter in guard.dead()] == ["wrong_state"], "too late for a fee")
