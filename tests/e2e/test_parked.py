"""One bad entry of the keystore beside everybody else's events, on the real stack."""

import re
import signal
from typing import Literal

import pytest
from installation import Installation, Make, event, raw, some
from patience import ended
from sizes import every
from spoiled import spoil

pytestmark = pytest.mark.real
ALICE = "alice@example.org"
CACHE = {"CACHE_S": "1"}
Kind = Literal["who", "key"]
How = Literal["missing", "flipped"]


def known(guard: Installation) -> None:
    """Alice and fifty others have had a call."""
    guard.publish("calllog.events", [raw(event(f"k{n}", f"n{n}@example.org")) for n in range(50)])
    guard.publish("calllog.events", [raw(event("k", ALICE))])
    guard.settled(lambda: len(guard.live()) == 51, "everybody's first leg")


def parked(guard: Installation) -> int:
    """How many parts wait, as the topic has it in the end."""
    latest = {record.key: record.value for record in guard.records("calllog.parked")}
    return sum(value is not None for value in latest.values())


@pytest.mark.parametrize(
    ("kind", "how"), every([("key", "missing"), ("key", "flipped"), ("who", "flipped")], ("key", "flipped"))
)
def test_a_bad_entry_holds_up_nobody_else_and_its_parts_come_when_it_is_mended(
    make: Make, kind: Kind, how: How
) -> None:
    guard = make(**CACHE)
    worker = guard.start("protector")
    known(guard)
    bad = spoil(guard, ALICE, kind, how)
    sent = 0

    def waits() -> bool:
        """One call more, until hers waits: what is in memory of a key counts for CACHE_S."""
        nonlocal sent
        guard.publish("calllog.events", [raw(event(f"c{sent}", ALICE, f"n{sent % 50}@example.org"))])
        sent += 1
        return parked(guard) > 0

    guard.settled(waits, "her part waits")
    assert "alice" not in str([record.value for record in guard.records("calllog.parked")])
    guard.settled(lambda: len(guard.live()) >= 51 + sent, "everybody else's legs")
    page = guard.page("/metrics")
    assert re.search(r"calllog_guard_parked_people\{.*\} 1\.0", page)
    assert re.search(r'calllog_guard_alive\{role="protector"\} 1\.0', page)
    bad.mended()
    guard.settled(lambda: len(guard.live()) == 51 + 2 * sent and parked(guard) == 0, "her legs")
    assert worker.poll() is None
    assert not guard.dead()
    assert "alice" not in guard.log.read_text() + page


@pytest.mark.parametrize("step", some(["parked", "settled", "forgotten"], "parked"))
def test_killed_at_a_step_nothing_that_waits_is_lost(make: Make, step: str) -> None:
    guard = make(**CACHE)
    worker = guard.start("protector")
    known(guard)
    worker.terminate()
    ended(worker)
    bad = spoil(guard, ALICE, "key", "missing")
    guard.publish("calllog.events", [raw(event(f"c{number}", ALICE, "bob@example.org")) for number in range(5)])
    killed = guard.start("protector", DEVELOPMENT=f"crash-at=park.{step}")
    if step != "parked":
        guard.settled(lambda: parked(guard) == 5, "five parts wait")
        bad.mended()
    assert ended(killed) == -signal.SIGKILL
    bad.mended()
    guard.start("protector")
    guard.settled(lambda: len(guard.live()) == 61 and parked(guard) == 0, "all legs, and nothing waits")
    assert not guard.dead()


def test_partitions_that_move_take_what_waits_with_them(make: Make) -> None:
    """The next owner of the partition of events takes it up."""
    guard = make(**CACHE)
    first = guard.start("protector")
    known(guard)
    first.terminate()
    ended(first)
    bad = spoil(guard, ALICE, "who", "flipped")
    for partition in range(4):
        guard.publish("calllog.events", [raw(event(f"c{partition}", ALICE))], partition=partition)
    second = guard.start("protector")
    guard.settled(lambda: parked(guard) == 4, "a part of each partition waits")
    guard.start("protector")
    second.kill()
    second.wait()
    bad.mended()
    guard.settled(lambda: len(guard.live()) == 55 and parked(guard) == 0, "all legs")
