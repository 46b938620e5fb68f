"""A desk that was frozen while another took its place, on the real stack: a refused case does not come back."""

import json
import signal
from typing import Any

import pytest
from installation import Installation, Make
from patience import ended, frozen
from test_choices import ask

pytestmark = pytest.mark.real


def states(guard: Installation, jti: str) -> list[dict[str, Any]]:
    """Every state of a case that its topic still has, in the order in which they were written."""
    found = [json.loads(record.value) for record in guard.records("privacy.cases", 1) if record.value]
    return [each for each in found if each["jti"] == jti]


def newest(guard: Installation, jti: str) -> dict[str, Any]:
    """The last state of a case as Kafka has it."""
    return (states(guard, jti) or [{"state": "none"}])[-1]


def rank(case: dict[str, Any]) -> tuple[int, int]:
    """Which state of a case is the later."""
    return case["tenure"], case["count"]


def test_what_a_frozen_desk_still_writes_does_not_bring_a_refused_case_back(make: Make) -> None:
    guard = make()
    paused = guard.start("desk", DEVELOPMENT="stop-at=write.cases")
    ask(guard, "waits-001", "alice@example.org", identity="unverified")
    guard.settled(lambda: frozen(paused.pid), "the desk stands still before it writes the case")
    other = guard.start("desk")
    guard.settled(lambda: newest(guard, "waits-001")["state"] == "waiting", "the other desk has the case")
    ask(guard, "refuse-01", key="officer-1", type="refuse", case=newest(guard, "waits-001")["case"], ground="No.")
    guard.settled(lambda: newest(guard, "waits-001")["state"] == "refused", "refused")
    refused = rank(newest(guard, "waits-001"))
    paused.send_signal(signal.SIGCONT)
    guard.settled(
        lambda: rank(newest(guard, "waits-001")) > refused and newest(guard, "waits-001")["state"] == "refused",
        "behind what the frozen desk has written, the case is written again",
    )
    for desk in (paused, other):
        desk.terminate()
        ended(desk)
    guard.start("desk")
    ask(guard, "verify-01", type="clock", event="verify", case=newest(guard, "waits-001")["case"])
    guard.settled(lambda: [each["reason"] for each in guard.dead()] == ["wrong_state"], "it is refused, and stays so")
    assert guard.records("privacy.decisions") == []
    assert newest(guard, "waits-001")["state"] == "refused"
