"""Workers whose clock is ten years ahead, on the real stack: no sweep, no ratchet, no epoch, an alarm each."""

import re
import urllib.request
from pathlib import Path

import pytest
from installation import Installation, Make, event, raw
from patience import ended
from redis import Redis

pytestmark = pytest.mark.real

AHEAD = """
import datetime
import calllog_guard.adapters.memory.fakes as memory

memory.SystemClock.now = lambda self: datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=3660)
"""


def figures(guard: Installation, name: str) -> dict[str, float]:
    """A number of each worker that shows one, by role."""
    found: dict[str, float] = {}
    for address in set(re.findall(r'"pages": "([^"]+)"', guard.log.read_text())):
        with urllib.request.urlopen(f"http://{address}/metrics") as answer:
            for role, value in re.findall(
                rf'^calllog_guard_{name}{{role="(\w+)"}} (\S+)$', answer.read().decode(), re.MULTILINE
            ):
                found[role] = float(value)
    return found


def test_ten_years_ahead_nothing_is_destroyed(make: Make, tmp_path: Path) -> None:
    guard = make(SWEEP_S="1", WALK_S="1", HTTP="127.0.0.1:0")
    protector = guard.start("protector")
    guard.publish("calllog.events", [raw(event("c1", "alice@example.org", "bob@example.org"))])
    guard.settled(lambda: len(guard.live()) == 2, "both legs")
    protector.terminate()
    assert ended(protector) == 0
    guard.log.unlink()
    with Redis.from_url(guard.environment["CALLLOG_GUARD_KEYSTORE"]) as redis:
        before = {
            key: redis.get(key) for key in redis.scan_iter("clg:*") if key[:7] == b"clg:ioc" or key == b"clg:~epoch"
        }
        assert len(before) >= 5
        (tmp_path / "ahead").mkdir()
        (tmp_path / "ahead" / "sitecustomize.py").write_text(AHEAD)
        guard.environment["PYTHONPATH"] = str(tmp_path / "ahead")
        for role in ("keeper", "auditor"):
            guard.start(role)
        guard.settled(lambda: set(figures(guard, "clocks_apart_total")) == {"keeper", "auditor"}, "an alarm each")
        guard.settled(
            lambda: figures(guard, "heartbeats_total").get("auditor", 0) >= 100, "time for a walk and for sweeps"
        )
        assert all(ahead > 3_600 * 86_400 for ahead in figures(guard, "clock_ahead_s").values())
        assert {key: redis.get(key) for key in before} == before
    assert len(guard.live()) == 2
