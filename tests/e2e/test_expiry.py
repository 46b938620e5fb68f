"""Much at once, on the real stack: a log that lapsed as a whole waits for an officer, and goes by their word."""

import json

import pytest
from installation import Installation, Make, event, raw

pytestmark = pytest.mark.real
LEGS = 1100


def shown(guard: Installation, *more: str, code: int) -> dict[str, object]:
    """What `expiry` says."""
    return dict(json.loads(guard.cli("expiry", "--json", *more, code=code)))


def test_a_log_that_lapsed_as_a_whole_waits_for_an_officer(make: Make) -> None:
    guard = make(EVENT_LATE_DAYS="400", SWEEP_S="1")
    guard.start("protector")
    old = [raw(event(f"c{n}", "alice@x.org", minutes_ago=(100 + n % 6) * 1440, outcome="missed")) for n in range(LEGS)]
    guard.publish("calllog.events", [*old, raw(event("old", "bob@x.org", minutes_ago=100 * 1440, outcome="missed"))])
    guard.settled(lambda: len(guard.live()) == LEGS + 1, "all legs")
    keeper = guard.start("keeper")
    guard.settled(lambda: b"waits for an officer" in guard.log.read_bytes(), "it is told")
    found = shown(guard, code=1)
    assert [each["legs"] for each in found["partitions"] if each["waits"]] in ([LEGS], [LEGS + 1])  # type: ignore[attr-defined]
    assert len(guard.live()) >= LEGS
    shown(guard, "--key", str(guard.directory / "keys" / "backend-1.pem"), code=4)
    shown(guard, "--key", str(guard.directory / "keys" / "officer-1.pem"), code=0)
    guard.settled(lambda: not guard.live(), "they go by the officer's word")
    assert keeper.poll() is None
    assert guard.dead() == [], "the word is no version of the policy"
    shown(guard, "--key", str(guard.directory / "keys" / "officer-1.pem"), code=4)
