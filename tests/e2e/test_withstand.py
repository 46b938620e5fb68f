"""What the workers withstand: expiry killed at its steps, a frozen protector, rebalances, servers that go away."""

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from installation import Installation, Make, event, raw
from kafka_tools import ends, handled
from patience import ended
from signing import claims, signed
from sizes import every
from test_erase import cases, erased

from calllog_guard.devstack.supervisor import Stack

pytestmark = pytest.mark.real
_DAY = 24 * 60


def expiring(guard: Installation) -> None:
    """Publish what has lapsed (missed calls are kept for 90 days) and what has not."""
    old = [raw(event(f"old{n}", f"p{n}", minutes_ago=100 * _DAY, outcome="missed")) for n in range(20)]
    young = [raw(event(f"new{n}", f"p{n}", minutes_ago=80 * _DAY, outcome="missed")) for n in range(20)]
    guard.publish("calllog.events", old + young)
    guard.settled(lambda: len(guard.live()) == 40, "all legs")


@pytest.mark.parametrize("step", every(["none", "expire.due", "expire.tombstoned"], "expire.due"))
def test_lapsed_legs_go_and_others_stay_also_when_killed(make: Make, step: str) -> None:
    guard = make(EVENT_LATE_DAYS="400")
    guard.start("protector")
    expiring(guard)
    before = guard.live()
    if step != "none":
        assert ended(guard.start("keeper", DEVELOPMENT=f"crash-at={step}")) == -signal.SIGKILL
    guard.start("keeper")
    guard.settled(lambda: len(guard.live()) == 20, "twenty legs have lapsed")
    left = guard.live()
    assert all(before[key] == value for key, value in left.items())
    later = [event("old", "late", minutes_ago=100 * _DAY, outcome="missed"), event("new", "late", outcome="missed")]
    guard.publish("calllog.events", [raw(each) for each in later])
    wanted = ends(guard, "calllog.events")
    guard.settled(lambda: handled(guard, wanted, "protector"), "both are sealed")
    guard.settled(lambda: len(guard.live()) == 21, "a later sweep takes what has lapsed, and nothing else")
    assert left.items() <= guard.live().items()


def test_legs_of_a_zombie_are_tombstoned_on_sight(make: Make) -> None:
    guard = make()
    frozen = guard.start("protector")
    guard.start("desk")
    guard.start("keeper")
    guard.publish("calllog.events", [raw(event("c1", "alice@example.org", "bob@example.org"))])
    guard.settled(lambda: len(guard.live()) == 2, "both legs")
    written = {record.key: record.value for record in guard.records("calllog.legs")}
    frozen.send_signal(signal.SIGSTOP)
    guard.publish("calllog.events", [raw(event(f"c{n}", "alice@example.org")) for n in range(2, 30)])
    guard.publish("privacy.requests", [signed(guard.directory, claims("zombie-001", "alice@example.org"))])
    guard.settled(lambda: erased(guard, "zombie-001"), "tombstoned")
    (gone,) = {key for key in written if key not in guard.live()}
    # what a warm cache may still write after the erasure: the very leg again
    partition = next(record.partition for record in guard.records("calllog.legs") if record.key == gone)
    guard.publish("calllog.legs", [written[gone]], partition=partition, key=gone)
    frozen.send_signal(signal.SIGCONT)
    guard.settled(lambda: gone not in guard.live(), "tombstoned on sight")
    guard.publish("calllog.events", [raw(event("last", "bob@example.org"))])
    guard.settled(lambda: len(guard.live()) == 2, "only bob's legs")
    assert guard.cli("read", "--purpose", "service", "--actor", "support-1").count('"op"') == 2


def test_pages_tell_and_name_nobody(make: Make) -> None:
    guard = make()
    guard.start("protector")
    guard.publish("calllog.events", [raw(event("c1", "alice@example.org")), b"nonsense alice@example.org"])
    guard.settled(lambda: len(guard.dead()) == 1 and len(guard.live()) == 1, "a leg and a dead letter")
    assert json.loads(guard.page("/health")) == {"role": "protector", "alive": True, "ready": True}
    page = guard.page("/metrics")
    assert 'calllog_guard_dead_total{reason="not_json",role="protector"} 1.0' in page
    assert 'calllog_guard_secrets_minted_total{role="protector"} 1.0' in page
    assert "alice" not in page + guard.log.read_text()


def test_two_of_each_with_a_rebalance_in_the_middle_of_an_erasure(make: Make) -> None:
    guard = make()
    for role in ("protector", "keeper", "desk"):
        guard.start(role)
    for batch in range(5):
        calls = [raw(event(f"c{batch}-{n}", "alice@example.org", f"p{n}@example.org")) for n in range(100)]
        guard.publish("calllog.events", calls, partition=batch % 4)
    guard.start("protector")
    guard.settled(lambda: len(guard.live()) == 1000, "all legs")
    guard.publish("privacy.requests", [signed(guard.directory, claims("balance-01", "alice@example.org"))])
    guard.start("keeper")
    guard.settled(lambda: erased(guard, "balance-01"), "tombstoned")
    assert len(guard.live()) == 500
    assert not guard.dead()
    assert all(worker.poll() is None for worker in guard.workers), guard.log.read_text()[-4000:]


@pytest.fixture
def own_stack(java: None, tmp_path: Path) -> Iterator[Stack]:  # noqa: ARG001
    """A stack that a test may stop."""
    with Stack(tmp_path / "stack") as stack:
        yield stack


@pytest.mark.long
@pytest.mark.parametrize("server", ["redis", "kafka"])
def test_a_server_away_for_20_s_loses_nothing_and_mints_nobody_twice(
    own_stack: Stack, tmp_path: Path, server: str
) -> None:
    guard = Installation(own_stack, tmp_path / "guard")
    try:
        for role in ("protector", "keeper", "desk"):
            guard.start(role)
        guard.publish("calllog.events", [raw(event(f"a{n}", f"p{n}@example.org")) for n in range(50)])
        guard.settled(lambda: len(guard.live()) == 50, "the first legs")
        if server == "redis":
            own_stack.stop_redis()
            guard.publish("calllog.events", [raw(event(f"b{n}", f"q{n}@example.org")) for n in range(50)])
            time.sleep(20)
            assert len(guard.live()) == 50, "nothing may pass while the keystore is silent"
            own_stack.start_redis()
        else:
            own_stack.kill_kafka()
            time.sleep(20)
            own_stack.start_kafka()
            guard.publish("calllog.events", [raw(event(f"b{n}", f"q{n}@example.org")) for n in range(50)])
        guard.publish("calllog.events", [raw(event(f"c{n}", f"p{n}@example.org")) for n in range(50)])
        guard.settled(lambda: len(guard.live()) == 150, "all legs")
        owners = Counter(key.partition(b".")[0] for key in guard.live())
        assert len(owners) == 100
        guard.publish("privacy.requests", [signed(guard.directory, claims("outage-001", "p1@example.org"))])
        guard.settled(lambda: erased(guard, "outage-001"), "tombstoned")
        assert len(guard.live()) == 148
        assert cases(guard)["outage-001"]["state"] == "observing"
        assert all(worker.poll() is None for worker in guard.workers), os.linesep + guard.log.read_text()[-2000:]
    finally:
        guard.stop()
