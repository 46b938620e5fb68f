"""Redis is killed at random under load: no live secret is lost, no erased one returns. `make chaos`: 200 kills."""

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from installation import Installation, event, raw
from signing import claims, signed
from test_erase import cases
from test_restore import keys

from calllog_guard.devstack.supervisor import Stack

pytestmark = [pytest.mark.real, pytest.mark.long]
KILLS = int(os.environ.get("CHAOS_KILLS", "6"))


@pytest.fixture
def guard(java: None, tmp_path: Path) -> Iterator[Installation]:  # noqa: ARG001
    """An installation on a stack of its own."""
    with Stack(tmp_path / "stack") as stack:
        made = Installation(stack, tmp_path / "guard")
        yield made
        made.stop()


def removed(guard: Installation, jti: str) -> bool:
    """Whether every keeper is done with a case; who asks before their first call is stored has no stage."""
    return cases(guard).get(jti, {}).get("state") in {"observing", "closed"}


@pytest.mark.timeout(1800 + 20 * KILLS)
def test_redis_killed_at_random_moments_loses_no_secret_and_brings_nobody_back(guard: Installation) -> None:
    seed = random.randrange(1 << 32)  # noqa: S311 - printed, so that a failure can be repeated
    dice = random.Random(seed)  # noqa: S311
    print(f"seed {seed}")  # noqa: T201
    for role in ("protector", "desk", "keeper"):
        guard.start(role)
    people: list[str] = []
    gone: list[str] = []
    for kill in range(KILLS):
        new = [f"p{kill}-{n}@example.org" for n in range(20)]
        guard.publish("calllog.events", [raw(event(f"c{kill}-{n}", person)) for n, person in enumerate(new)])
        if people:
            victim = dice.choice([person for person in people if person not in gone])
            gone.append(victim)
            guard.publish("privacy.requests", [signed(guard.directory, claims(f"chaos-{kill:04d}", victim))])
        people += new
        time.sleep(dice.random() * 0.6)
        guard.stack.children["redis"].kill()
        time.sleep(dice.random() * 0.3)
        guard.stack.start_redis()
    guard.settled(lambda: all(removed(guard, f"chaos-{kill:04d}") for kill in range(1, KILLS)), "all erased")
    left = len(people) - len(gone)

    def seen() -> str:
        return f"a leg of each of the {left} others: {len(guard.live())} legs, {len(keys(guard))} keys, {guard.dead()}"

    guard.settled(lambda: len(guard.live()) == left, seen)
    # a mint killed before its claim leaves a key that nobody has; the walk is refused until the ledger is replayed
    guard.settled(lambda: guard.run("keystore", "walk")[0] == 0, "the walk")
    assert len(keys(guard)) == left, "each living person has a key, and nobody else"
    assert guard.cli("read", "--purpose", "service", "--actor", "support-1").count('"put"') == left
    assert all(worker.poll() is None for worker in guard.workers), guard.log.read_text()[-2000:]
