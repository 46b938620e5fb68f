"""Topics that may not grow did: everything says so, goes on with the first partitions, and leaves no data beyond."""

import asyncio
import json

import pytest
from installation import Installation, Make, event, raw
from kafka_tools import bounds, delete_records, grow, make_anew
from patience import ended
from signing import claims, signed
from sizes import every
from test_audit import set_topic, stages
from test_erase import with_calls
from test_gaps import HALT, accepted, halted

from calllog_guard.adapters.kafka.log import KafkaLog

pytestmark = pytest.mark.real
FIXED = ("calllog.legs", "privacy.decisions", "calllog.held", "privacy.requests", "privacy.outcomes", "privacy.cases")


def beyond(guard: Installation, name: str, partition: int) -> list[bytes | None]:
    """The values in one partition, heartbeats left out."""
    found = asyncio.run(KafkaLog(guard.stack.kafka, {}).read_all(guard.topic(name), [partition]))
    return [each.value for each in found if not (each.key or b"").startswith(b"~")]


def checked(guard: Installation, setting: str) -> dict[str, str]:
    """The verdicts of `topics check` on a setting, by topic."""
    rows = json.loads(guard.run("topics", "check", "--json")[1])
    return {row["topic"]: row["verdict"] for row in rows if row["setting"] == setting}


@pytest.mark.long
def test_more_partitions_than_at_creation_are_told_and_hold_nobody_up(make: Make) -> None:
    """Twice as many of each: erasures are certified as before, what is written there is dead-lettered and goes."""
    guard = make()
    for name in FIXED:
        grow(guard, name, 9)
    guard.start("protector")
    with_calls(guard)
    for role in ("desk", "desk", "keeper", "keeper", "auditor"):
        guard.start(role)
    assert set(checked(guard, "records in partitions beyond")) == {guard.topic(name) for name in FIXED}
    assert set(checked(guard, "records in partitions beyond").values()) == {"warned"}
    assert '"verdict": "warned"' in guard.run("doctor", "--json")[1]
    guard.publish("privacy.requests", [signed(guard.directory, claims("beyond-001", "alice@example.org"))])
    guard.settled(lambda: "absent" in stages(guard, "beyond-001"), "certified")
    guard.said("more partitions than they were created with")
    assert not guard.dead()

    leg = next(iter(guard.live().items()))
    guard.publish("calllog.legs", [leg[1]], partition=7, key=leg[0])
    guard.publish("privacy.decisions", [b"rubbish"], partition=8, key=b"x")
    guard.publish("privacy.requests", [signed(guard.directory, claims("beyond-002", "zoe@example.org"))], partition=5)
    guard.settled(lambda: "absent" in stages(guard, "beyond-002"), "taken to its tenant's partition")
    guard.publish("privacy.requests", [b"rubbish"], partition=5)
    wrong = {"calllog.legs": 7, "privacy.decisions": 8}

    def letters() -> dict[str, int]:
        found = [each for each in guard.dead() if each["reason"] == "wrong_partition"]
        return {each["topic"].partition(".")[2]: each["partition"] for each in found}

    guard.settled(
        lambda: any(each["reason"] == "wrong_algorithm" or each["reason"] == "not_a_jws" for each in guard.dead()),
        "rubbish",
    )
    both = {name.partition(".")[2]: at for name, at in wrong.items()}
    guard.settled(lambda: letters() == both, lambda: f"a letter of each: {letters()}")
    guard.settled(lambda: not any(beyond(guard, "calllog.legs", 7)), "compacted away")
    guard.said("records lie in partitions that nobody reads")
    guard.settled(lambda: checked(guard, "records in partitions beyond")[guard.topic("calllog.legs")] == "bad", "told")
    guard.publish("privacy.requests", [signed(guard.directory, claims("beyond-003", "bob@example.org"))])
    guard.settled(lambda: "absent" in stages(guard, "beyond-003"), "certified all the same")

    # the way back: what lies there is deleted with Kafka's own tools
    guard.stop_workers()
    for name, at in (wrong | {"privacy.requests": 5}).items():
        set_topic(guard, name, cleanup_policy="compact,delete" if name != "privacy.requests" else "delete")
        delete_records(guard, name, bounds(guard, name, at)[1], at)
    set_topic(guard, "privacy.decisions", cleanup_policy="compact")
    assert set(checked(guard, "records in partitions beyond").values()) == {"warned"}


@pytest.mark.parametrize("name", every(["calllog.legs", "privacy.requests", "privacy.cases"], "calllog.legs"))
def test_fewer_partitions_than_at_creation_are_refused(make: Make, name: str) -> None:
    guard = make(PARTITIONS="8")
    make_anew(guard, name, 1, retention_ms="-1")
    role = "keeper" if name == "calllog.legs" else "desk"
    before = len(guard.log.read_text()) if guard.log.exists() else 0
    assert ended(guard.start(role)) == 2
    assert "partitions and was created with" in guard.log.read_text()[before:]
    assert checked(guard, "partitions")[guard.topic(name)] == "bad"


@pytest.mark.long
def test_another_count_than_at_creation_is_refused_by_everything(make: Make) -> None:
    """A setting can be mistyped, and one process that writes by another modulo loses legs for ever."""
    guard = make()
    guard.publish("calllog.events", [raw(event("c1", "alice@example.org"))])
    grow(guard, "calllog.legs", 8)
    for wrong in ("8", "3", "48"):
        guard.environment["CALLLOG_GUARD_PARTITIONS"] = wrong
        for role in ("protector", "desk", "keeper", "auditor"):
            assert ended(guard.start(role)) == 2
        for words in (
            ("topics", "create"),
            ("topics", "check"),
            ("tenant", "create", "iocom"),
            ("read", "--purpose", "service", "--actor", "support-1"),
            ("rebuild", "--partition", "0"),
            ("keystore", "guard"),
        ):
            code, _, err = guard.run(*words)
            assert (code, "created with 4" in err) == (2, True), (words, err)
        assert '"check": "partitions", "verdict": "bad"' in guard.run("doctor", "--json")[1]
    guard.environment["CALLLOG_GUARD_PARTITIONS"] = "4"
    guard.start("protector")
    guard.settled(lambda: len(guard.live()) == 1, "the leg")


@pytest.mark.long
def test_legs_and_ledger_made_anew_are_accepted_by_name_and_certified_again(make: Make) -> None:
    """Their old offsets say nothing of the new topics: barriers and indexes that rested on them would wait for ever."""
    guard = make()
    guard.start("protector")
    with_calls(guard)
    for role in ("desk", "keeper", "auditor"):
        guard.start(role)
    for number in range(3):
        guard.publish("privacy.requests", [signed(guard.directory, claims(f"before-{number:03}", "carol@example.org"))])
    guard.settled(lambda: "tombstoned" in stages(guard, "before-002"), "tombstoned")
    for name in ("calllog.legs", "privacy.decisions"):
        make_anew(guard, name, 4, cleanup_policy="compact", retention_ms="-1")
    for worker in guard.workers[1:]:
        assert ended(worker) == HALT
    guard.stop_workers()
    assert "was deleted and made anew" in halted(guard, "keeper")
    for name in ("calllog.legs", "privacy.decisions"):
        settle(guard, name)
        accepted(guard, name)
    for role in ("protector", "desk", "keeper", "auditor"):
        guard.start(role)
    guard.publish("calllog.events", [raw(event(f"d{n}", "dave@example.org", "erin@example.org")) for n in range(3)])
    guard.settled(lambda: len(guard.live()) == 6, "legs in the new topic")
    guard.publish("privacy.requests", [signed(guard.directory, claims("after-0001", "dave@example.org"))])
    guard.settled(lambda: "absent" in stages(guard, "after-0001"), "certified")
    assert len(guard.live()) == 3


def settle(guard: Installation, name: str) -> None:
    """Give a topic that was made by hand the settings that it must have."""
    rows = json.loads(guard.run("topics", "check", "--json")[1])
    wanted = {
        row["setting"].replace(".", "_"): row["wanted"]
        for row in rows
        if row["topic"] == guard.topic(name) and row["verdict"] == "bad"
    }
    set_topic(guard, name, **wanted)
