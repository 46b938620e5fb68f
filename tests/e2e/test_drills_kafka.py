"""
Drills on three real brokers: one away, restarts, a stopped cleaner, a torn replica. `make drills` runs the full size.

The sizes come from DRILL_LEGS (a fifth is erased), DRILL_DOWN_S, DRILL_RESTARTS; DRILL_CLEAN_S is what the bound allows
one round of the cleaners on this machine.
"""

import asyncio
import os
import secrets
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from installation import Installation, Make, event, raw
from patience import PATIENCE_S, ended
from replicas import follower, left, records, until_whole
from signing import claims, signed
from test_audit import progress, receipts, set_topic, stages
from test_erase import with_calls

from calllog_guard.adapters.kafka.log import KafkaLog
from calllog_guard.devstack.supervisor import Stack

pytestmark = [pytest.mark.real, pytest.mark.long]
LEGS = int(os.environ.get("DRILL_LEGS", "500"))
DOWN_S = float(os.environ.get("DRILL_DOWN_S", "5"))
RESTARTS = int(os.environ.get("DRILL_RESTARTS", "1"))
CLEAN_S = float(os.environ.get("DRILL_CLEAN_S", "30"))
PEOPLE, ERASED = 50, 10
LAG_S, HEARTBEAT_S, BACKOFF_S, DELETE_S = 2.0, 0.5, 0.2, 0.5
"""L, H, B and D of the fast profile (docs, "How long until the bytes are gone")."""
ROUND_S = LAG_S + HEARTBEAT_S + BACKOFF_S + CLEAN_S
LEDGERS = ("calllog.legs", "privacy.decisions")


@pytest.fixture(scope="module")
def three(java: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:  # noqa: ARG001
    """Three brokers, for all drills of this file."""
    with Stack(tmp_path_factory.mktemp("three"), brokers=3) as running:
        yield running


@pytest.fixture
def make3(three: Stack, tmp_path: Path) -> Iterator[Make]:
    """Installations on three brokers, which end with the test."""
    made: list[Installation] = []

    def one(**settings: str) -> Installation:
        made.append(Installation(three, tmp_path / f"on three {len(made)}", **settings))
        return made[-1]

    yield one
    for each in made:
        each.stop()
    for broker in three.brokers:
        broker.overrides = {}
    three.start_kafka()  # the next drill finds them all, however this one ended


def erase(guard: Installation, *people: str) -> list[str]:
    """Ask for erasures; their `jti`."""
    asked = {f"drill-{secrets.token_hex(4)}": person for person in people}
    guard.publish("privacy.requests", [signed(guard.directory, claims(jti, who)) for jti, who in asked.items()])
    return list(asked)


def reached(guard: Installation, asked: list[str], stage: str) -> bool:
    """Whether every request has come that far."""
    return all(stage in stages(guard, jti) for jti in asked)


def with_many_calls(guard: Installation) -> list[str]:
    """Publish LEGS calls of PEOPLE people over all partitions; the people."""
    people = [f"p{number}@example.org" for number in range(PEOPLE)]
    for partition in range(guard.partitions):
        numbers = range(partition, LEGS, guard.partitions)
        calls = [raw(event(f"c{number}", people[number % PEOPLE])) for number in numbers]
        guard.publish("calllog.events", calls, partition=partition)
    guard.settled(lambda: len(guard.live()) == LEGS, "all legs")
    return people


def restarted(guard: Installation) -> None:
    """Restart brokers in turn, every other one by a crash; each is whole before the next."""
    names = [broker.name for broker in guard.stack.brokers]
    for number in range(RESTARTS):
        child = guard.stack.children[names[number % len(names)]]
        (child.kill if number % 2 else child.stop)()
        child.start()
        until_whole(guard, LEDGERS)


class Cleaners:
    """How long a round of the brokers' cleaners takes now: the longest time between two noted by a broker."""

    def __init__(self, stack: Stack) -> None:
        self._notes = [each / "cleaner-offset-checkpoint" for each in stack.log_dirs]
        self._seen = [(self._stamp(each), time.monotonic()) for each in self._notes]
        self.round_s = CLEAN_S

    @staticmethod
    def _stamp(note: Path) -> int:
        return note.stat().st_mtime_ns if note.exists() else 0

    def look(self) -> None:
        """Measure; a cleaner that notes nothing any more lengthens no round, and a wait for it ends as any other."""
        now = time.monotonic()
        for number, note in enumerate(self._notes):
            stamp, since = self._stamp(note), self._seen[number][1]
            if stamp != self._seen[number][0]:
                self.round_s = max(self.round_s, now - since)
                self._seen[number] = stamp, now


def stamps(guard: Installation) -> list[list[int]]:
    """When the brokers took each record of the legs, in milliseconds of their clocks, by partition."""
    places = range(guard.partitions)
    found = asyncio.run(KafkaLog(guard.stack.kafka, {}).read_all(guard.topic("calllog.legs"), places))
    return [[each.timestamp for each in found if each.partition == place] for place in places]


def longest_beat_s(guard: Installation, since_ms: int) -> float:
    """The longest time between two heartbeats of one partition since then: H, with every stall of this machine."""
    lanes = [[each for each in lane if each >= since_ms] for lane in stamps(guard)]
    return max(((later - one) / 1000 for lane in lanes for one, later in pairwise(lane)), default=0.0)


def seconds_until_off(guard: Installation, gone: set[bytes], *, keys: bool, bound_s: Callable[[float], float]) -> float:
    """
    Wait until no replica holds a value (or a key) of some legs; how long that took.

    `bound_s` limits it, for the length of one round: L + H + B + C, where C and H are what they take in this run.
    """
    topic, since_ms = guard.topic("calllog.legs"), max(map(max, stamps(guard)))
    began, cleaners = time.monotonic(), Cleaners(guard.stack)

    def off() -> bool:
        cleaners.look()
        return not any(left(each, topic, gone)[keys] for each in guard.stack.log_dirs)

    guard.settled(off, "keys are off" if keys else "values are off", seconds=PATIENCE_S + bound_s(0))
    took = time.monotonic() - began
    bound = bound_s(LAG_S + max(HEARTBEAT_S, longest_beat_s(guard, since_ms)) + BACKOFF_S + cleaners.round_s)
    assert took < bound, f"something was left after the bound of {bound:.1f} s"
    return took


@pytest.mark.timeout(1800 + 60 * RESTARTS + 6 * DOWN_S)
def test_a_broker_away_and_restarts_do_not_keep_a_value_beyond_the_bound(make3: Make) -> None:
    """Every value leaves every replica within L + H + B + C + D, every key within 2(L + H + B + C) + R + D."""
    asked_at = time.monotonic()
    make3()  # how busy is this machine?
    keep_s = 30 + 2 * DOWN_S + 8 * (time.monotonic() - asked_at)  # longer than a broker is away
    guard = make3(TOMBSTONE_KEEP_MS=str(int(1000 * keep_s)))
    guard.start("all")
    people = with_many_calls(guard)
    before, down = set(guard.live()), guard.stack.brokers[follower(guard, "calllog.legs", 0)]
    asked = erase(guard, *people[: ERASED // 2])
    restarted(guard)
    guard.stack.children[down.name].kill()
    began = time.monotonic()
    asked += erase(guard, *people[ERASED // 2 : ERASED])
    guard.settled(lambda: reached(guard, asked, "tombstoned"), "tombstoned")
    gone = before - set(guard.live())
    assert len(gone) == LEGS * ERASED // PEOPLE
    time.sleep(max(0.0, began + DOWN_S - time.monotonic()))
    missed = left(down.log_dir, guard.topic("calllog.legs"), gone)[0]
    assert missed, "the broker that was away has what was erased meanwhile"
    assert not any("absent" in stages(guard, each) for each in asked[ERASED // 2 :]), "a replica was away"
    guard.stack.children[down.name].start()
    until_whole(guard, LEDGERS)
    away_s = time.monotonic() - began
    assert away_s < keep_s, "the drill asks for a broker that comes back while the tombstones are kept"
    values_s = seconds_until_off(guard, gone, keys=False, bound_s=lambda round_s: round_s + DELETE_S)
    keys_s = values_s + seconds_until_off(
        guard, gone, keys=True, bound_s=lambda round_s: 2 * round_s + keep_s + DELETE_S - values_s
    )
    bounds = ROUND_S + DELETE_S, 2 * ROUND_S + keep_s + DELETE_S
    print(  # noqa: T201 - the figures of the drill
        f"drill: {LEGS} legs, {len(gone)} tombstones, {RESTARTS} restarts, a broker {away_s:.0f} s away with {missed} "
        "values; "
        f"after all were in sync again the last value was off in {values_s:.1f} s (bound of an idle machine "
        f"{bounds[0]:.1f}), "
        f"the last key in {keys_s:.1f} s (bound {bounds[1]:.1f}); C taken as {CLEAN_S:.0f} s, R {keep_s:.0f} s"
    )
    guard.settled(lambda: reached(guard, asked, "gone"), "certified")
    certificates = [receipt["observed"] for receipt in receipts(guard) if receipt["stage"] == "absent"]
    assert len(certificates) == ERASED
    assert {(seen["in_sync"], seen["on_disk"]) for seen in certificates} == {(3, 3)}
    assert set(guard.live()) == before - gone
    assert all(worker.poll() is None for worker in guard.workers), guard.log.read_text()[-2000:]


def test_a_quiet_partition_without_heartbeats_is_overdue_and_never_certified(make: Make) -> None:
    """Nothing rolls its segment, so nothing cleans it: the auditor must say so, and a heartbeat must mend it."""
    guard = make(HEARTBEAT_S="86400", OBJECTIVE_VALUE_S="8")
    for role in ("protector", "desk", "keeper"):
        guard.start(role)
    quiet = guard.start("auditor")
    with_calls(guard)
    asked = erase(guard, "alice@example.org")
    guard.settled(lambda: "erasures are overdue" in guard.log.read_text(), "the alarm")
    guard.settled(lambda: guard.log.read_text().count("erasures are overdue") > 3, "more looks")
    assert "absent" not in stages(guard, asked[0])
    quiet.terminate()
    ended(quiet)
    guard.start("auditor", HEARTBEAT_S="0.5")
    guard.settled(lambda: reached(guard, asked, "gone"), "certified once heartbeats are there")


def withheld_until_mended(guard: Installation, spoil: Callable[[], Callable[[], None]], alarm: str) -> None:
    """Spoil something: the alarm comes, no certificate does, and the documented recovery brings it."""
    for role in ("protector", "desk", "keeper", "auditor"):
        guard.start(role)
    with_calls(guard)
    mend = spoil()
    guard.settled(lambda: alarm in guard.log.read_text(), f"the alarm: {alarm}")
    asked = erase(guard, "nobody@example.org")
    guard.settled(lambda: progress(guard, asked[0]) == {"rewritten"}, "rewritten")
    seen = guard.log.read_text().count(alarm)
    guard.settled(lambda: guard.log.read_text().count(alarm) > seen + 2, "three more looks")
    assert "absent" not in stages(guard, asked[0]), "nothing of nobody is there, but nothing may be certified"
    mend()
    guard.settled(lambda: reached(guard, asked, "gone"), "certified after the recovery")


def test_a_hanging_transaction_is_noticed_and_ended_by_whoever_owns_its_id(make: Make) -> None:
    """Nothing behind it is ever compacted; another producer of the same transactional id aborts it."""
    guard = make()
    runner = asyncio.Runner()

    def hang() -> Callable[[], None]:
        def producer() -> AIOKafkaProducer:
            return AIOKafkaProducer(
                bootstrap_servers=guard.stack.kafka, transactional_id=guard.name, transaction_timeout_ms=900_000
            )

        async def begin() -> AIOKafkaProducer:
            hanging = producer()
            await hanging.start()
            await hanging.begin_transaction()
            for partition in range(guard.partitions):
                await hanging.send_and_wait(guard.topic("calllog.legs"), b"x", key=b"~foreign", partition=partition)
            return hanging

        async def end(hanging: AIOKafkaProducer) -> None:
            heir = producer()
            await heir.start()
            await heir.stop()
            await hanging._sender.close()
            await hanging.client.close()
            hanging._closed = True

        hanging = runner.run(begin())
        return lambda: runner.run(end(hanging))

    with runner:
        withheld_until_mended(guard, hang, "an open transaction holds compaction back")


def test_a_cleanup_policy_that_has_drifted_is_noticed_and_set_back(make: Make) -> None:
    """Without `compact` an erased value stays for years."""
    guard = make()

    def drift() -> Callable[[], None]:
        set_topic(guard, "calllog.legs", cleanup_policy="delete")
        return lambda: set_topic(guard, "calllog.legs", cleanup_policy="compact,delete")

    withheld_until_mended(guard, drift, "cleanup.policy")


def test_a_broker_without_its_cleaner_is_noticed_and_started_with_it(make3: Make) -> None:
    """One of three replicas would keep everything; consumers of the others would not see it."""
    guard = make3()
    broker = guard.stack.brokers[follower(guard, "calllog.legs", 0)]
    child = guard.stack.children[broker.name]

    def start_with(**overrides: str) -> None:
        child.stop()
        broker.overrides = {name.replace("_", "."): value for name, value in overrides.items()}
        child.start()

    def off() -> Callable[[], None]:
        start_with(log_cleaner_enable="false")
        return start_with

    withheld_until_mended(guard, off, "log.cleaner.enable")


def test_a_partition_that_its_cleaner_gave_up_is_noticed_and_copied_anew(make3: Make) -> None:
    """A torn segment stops the cleaning of that partition on that broker for good, without any other sign."""
    guard = make3()
    broker, topic = guard.stack.brokers[1], guard.topic("calllog.legs")
    child = guard.stack.children[broker.name]

    def closed() -> list[Path]:
        """Segments that the next cleaning must read."""
        folders = broker.log_dir.glob(f"{topic}-*")
        found = [path for folder in folders for path in sorted(folder.glob("*.log"))[:-1]]
        return [path for path in found if any(not key.startswith(b"~") for key, _ in records(path))]

    def tear() -> Callable[[], None]:
        guard.settled(lambda: bool(closed()), "legs in a closed segment")
        child.stop()
        torn = closed()[0]
        with torn.open("r+b") as file:
            file.seek(BATCH_HEAD)
            file.write(b"\xff" * 8)
        child.start()
        return lambda: copy_anew(torn.parent)

    def copy_anew(folder: Path) -> None:
        child.stop()
        wipe(folder)
        child.start()
        until_whole(guard, LEDGERS)

    withheld_until_mended(guard, tear, '"cleaner_uncleanable": 1')


BATCH_HEAD = 61
"""Bytes before the first record of a batch (message format v2)."""


def wipe(folder: Path) -> None:
    """Delete one replica of one partition, as an operator would while its broker is down."""
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


def test_a_replica_away_for_longer_than_tombstones_are_kept_is_no_certificate_until_it_is_copied_anew(
    make3: Make,
) -> None:
    """It never sees the tombstone and keeps the value for ever, in sync; consumers of the leader see nothing of it."""
    guard = make3(OBJECTIVE_VALUE_S="20")
    guard.start("all")
    before = with_calls(guard)
    names = [broker.name for broker in guard.stack.brokers]
    away = follower(guard, "calllog.legs", 0)
    child, log_dir, topic = guard.stack.children[names[away]], guard.stack.log_dirs[away], guard.topic("calllog.legs")
    child.stop()
    asked = erase(guard, "alice@example.org")
    guard.settled(lambda: reached(guard, asked, "tombstoned"), "tombstoned")
    gone = before - set(guard.live())
    others = [each for each in guard.stack.log_dirs if each != log_dir]
    guard.settled(lambda: not any(left(each, topic, gone)[1] for each in others), "no key on the others")
    child.start()
    until_whole(guard, LEDGERS)
    guard.settled(lambda: "erasures are overdue" in guard.log.read_text(), "the alarm")
    assert left(log_dir, topic, gone)[0] == len(gone)
    assert "absent" not in stages(guard, asked[0])
    child.stop()
    for folder in log_dir.glob(f"{topic}-*"):
        wipe(folder)
    child.start()
    until_whole(guard, LEDGERS)
    guard.settled(lambda: reached(guard, asked, "gone"), "certified after the copy")
