"""Keys that begin with `~`, on the real stack: a topic's writer can neither hide messages by them nor speak for us."""

import asyncio
import json
from collections import Counter
from datetime import UTC, datetime

import pytest
from installation import Installation, Make, event, raw
from signing import claims, signed
from test_erase import erased

from calllog_guard.adapters.kafka.log import KafkaLog
from calllog_guard.core.codec import BEAT, BEATS, Beat, decode, encode
from calllog_guard.core.stream.proofs import HEADER

pytestmark = pytest.mark.real
HUGE = encode(Beat(counter=1 << 50, at=datetime(2026, 11, 24, 9, tzinfo=UTC)))
KEYS = [BEAT, b"~replayed", b"~accepted.x", b"~case.x", b"~guard", b"~cells.closed", b"~"]
TOPICS = ("calllog.events", "privacy.requests", "privacy.outcomes")


def lay(guard: Installation) -> Counter[str]:
    """How many dead letters there are of each topic."""
    return Counter(each["topic"] for each in guard.dead())


def counters(guard: Installation, topic: str = "privacy.policy") -> list[int]:
    """What the heartbeats of ours in a topic say, each with its proof."""
    found = asyncio.run(KafkaLog(guard.stack.kafka, {}).read_all(guard.topic(topic), [0]))
    ours = [each for each in found if each.key == BEAT and [name for name, _ in each.headers] == [HEADER]]
    return [decode(BEATS, each.value or b"").counter for each in ours]


def test_what_begins_with_a_tilde_is_handled_or_told(make: Make) -> None:
    """Events and requests are carried out, forgeries of our records are dead letters, our heartbeats neither."""
    guard = make(HEARTBEAT_S="1", WATCH_S="1")
    for role in ("protector", "desk", "keeper", "auditor"):
        guard.start(role)
    guard.settled(lambda: min(len(counters(guard, topic)) for topic in TOPICS[:2]) > 1, "heartbeats")
    for key in (b"~c1", b"~beat", b"~replayed"):
        guard.publish("calllog.events", [raw(event(key.decode(), "alice@x.org", "bob@x.org"))], key=key)
    for topic in TOPICS:
        for key in KEYS:
            guard.publish(topic, [HUGE, b"{}"], key=key)
    guard.settled(lambda: len(guard.live()) == 6, "the events")
    guard.publish("privacy.requests", [signed(guard.directory, claims("tilde-00001", "alice@x.org"))], key=b"~x")
    guard.settled(lambda: erased(guard, "tilde-00001"), "the request")
    guard.settled(lambda: lay(guard).total() >= 2 * len(KEYS) * len(TOPICS), "every forgery")
    assert lay(guard) == {guard.topic(topic): 2 * len(KEYS) for topic in TOPICS}
    assert len(guard.live()) == 3


def test_a_letter_of_a_call_whose_id_begins_with_a_tilde_is_replayed(make: Make) -> None:
    guard = make()
    guard.start("protector")
    guard.publish("calllog.events", [raw(event("~c1", "alice@x.org", extra=1))], key=b"~c1")
    guard.settled(lambda: len(guard.dead()) == 1, "the letter")
    (row,) = json.loads(guard.cli("dead", "list", "--json"))
    key = str(guard.directory / "keys" / "operator-1.pem")
    guard.cli("dead", "replay", row["letter"], "--key", key, "--drop-field", "extra")
    guard.settled(lambda: len(guard.live()) == 1, "the call")


def test_no_forged_heartbeat_makes_the_keystore_look_old(make: Make) -> None:
    """Beside the policy, where officers may write, and in the ledger; who starts later goes on as if without them."""
    guard = make(HEARTBEAT_S="1")
    guard.start("auditor")
    guard.settled(lambda: len(counters(guard)) > 0, "heartbeats")
    guard.stop_workers()
    guard.publish("privacy.policy", [HUGE, b"junk"], key=BEAT)
    for partition in range(guard.partitions):
        guard.publish("privacy.decisions", [HUGE], key=BEAT, partition=partition)
    for role in ("protector", "keeper", "auditor"):
        guard.start(role)
    guard.publish("calllog.events", [raw(event("c1", "alice@x.org"))], key=b"c1")
    guard.settled(lambda: len(guard.live()) == 1, "the call")
    guard.settled(lambda: lay(guard) == {guard.topic("privacy.policy"): 1}, "the junk")
    assert json.loads(guard.cli("keystore", "guard", "--json")) == {"waiting": []}
    assert max(counters(guard)) < 1 << 20
