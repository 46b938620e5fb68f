"""An old log comes in once whatever kills it, brings nobody back, leaves no identity in journal, manifest, talk."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from in_process import Done
from installation import Installation, Make, event, raw
from kafka import TopicPartition
from signing import claims, signed
from sizes import every
from test_erase import erased

from calllog_guard.adapters.kafka.log import KafkaLog
from calllog_guard.core.records import Output
from calllog_guard.devstack.kafka_admin import administration

pytestmark = pytest.mark.real
_DAY = 24 * 60


def run(guard: Installation, *words: str, **settings: str) -> Done:
    """Run `calllog-guard import`."""
    return guard.run("import", *words, settings=settings)


def clean(guard: Installation, people: list[str], *talk: str) -> None:
    """No identity in the state folder or in what was said."""
    said = guard.directory / "state" / "said.txt"
    said.write_text("".join(talk))
    canaries = guard.directory / "canaries.txt"
    canaries.write_text("\n".join(people))
    found = json.loads(guard.cli("scan", "--canary", str(canaries), "--json", code=None))
    said.unlink()
    assert [place for place in found["places"] if place["found"]] == []


@pytest.mark.parametrize("step", every(["import.saved", "import.acknowledged", "protect.minted"], "protect.minted"))
def test_a_killed_import_goes_on_and_nothing_is_doubled(make: Make, tmp_path: Path, step: str) -> None:
    guard = make(UNIT_RECORDS="20")
    people = [f"person-{number}-{guard.name}@example.org" for number in range(20)]
    old = tmp_path / f"{people[0]}.ndjson"
    calls = [raw(event(f"c{n}", people[n % 20], people[(n + 1) % 20], minutes_ago=(n + 1) * _DAY)) for n in range(80)]
    lapsed = raw(event("lapsed", people[3], minutes_ago=700 * _DAY))
    old.write_bytes(b"\n".join([*calls, lapsed, raw(event("bad", people[1], shoe=people[2])), b"{"]))
    killed = run(guard, str(old), "--no-erased-list", DEVELOPMENT=f"crash-at={step}")
    assert killed.code == -9
    done = run(guard, str(old), "--no-erased-list", "--json")
    assert done.code == 1, "two lines were refused"
    assert ("goes on after 20 events" in done.err) == (step == "import.saved")
    manifest = json.loads(done.out)
    assert manifest["events"] == {"read": 83, "accepted": 80, "born_expired": 1, "refused": 2}
    assert manifest["legs"]["stored"] == len(guard.live()) == 160
    assert [(each["line"], each["reason"]) for each in manifest["refused_at"]] == [
        (82, "unknown_field"),
        (83, "not_json"),
    ]
    again = run(guard, str(old), "--no-erased-list")
    assert "taken in already" in again.err
    again_written = 40 if step == "import.acknowledged" else 0  # what is written again may be compacted away by now
    assert 160 <= len(guard.records("calllog.legs")) <= 160 + again_written
    clean(guard, people, killed.err, done.out, done.err, again.out, again.err)


def test_nobody_who_was_erased_comes_back_by_a_file(make: Make, tmp_path: Path) -> None:
    guard = make()
    for role in ("protector", "desk", "keeper"):
        guard.start(role)
    guard.publish("calllog.events", [raw(event("live", "gone@x.org", "stays@x.org"))])
    guard.settled(lambda: len(guard.live()) == 2, "both legs")
    guard.publish("privacy.requests", [signed(guard.directory, claims("import-0001", "gone@x.org"))])
    guard.settled(lambda: erased(guard, "import-0001"), "erased")
    old, listed = tmp_path / "old.ndjson", tmp_path / "listed.txt"
    old.write_bytes(b"\n".join(raw(event(f"c{n}", "gone@x.org", "stays@x.org", "ages@x.org")) for n in range(5)))
    listed.write_text("Ages@x.org\r\n")
    assert run(guard, str(old)).code == 2, "the company's own list is asked for"
    done = run(guard, str(old), "--erased", str(listed), "--json")
    assert done.code == 0, done.err
    legs = json.loads(done.out)["legs"]
    assert {name: many for name, many in legs.items() if many} == {"stored": 5, "erased": 5, "listed": 5}
    assert len(guard.live()) == 6
    assert len({key.partition(b".")[0] for key in guard.live()}) == 1


def old_topic(guard: Installation, **settings: str) -> str:
    """A plain topic of the time before."""
    name, admin = f"old-{guard.name}-{len(settings)}", administration(guard.stack.kafka)
    configs = {key.replace("_", "."): value for key, value in settings.items()}
    try:
        topics: Any = {name: {"num_partitions": 2, "replication_factor": 1, "configs": configs}}
        admin.create_topics(topics, wait_for_metadata=True)
    finally:
        admin.close()
    return name


def append(guard: Installation, topic: str, partition: int, values: list[bytes]) -> None:
    """Append to a topic that is none of ours."""
    guard.write([Output(topic, partition, None, value) for value in values])


def test_an_old_topic_is_taken_in_and_cut_behind_what_is_acknowledged(make: Make) -> None:
    guard = make()
    compacted, old = old_topic(guard, cleanup_policy="compact"), old_topic(guard)
    calls = [raw(event(f"c{n}", f"p{n}", minutes_ago=60 * _DAY)) for n in range(50)]
    append(guard, old, 0, calls[:30])
    append(guard, old, 1, [*calls[30:], b"{"])
    refused = run(guard, "--topic", compacted, "--trim", "--no-erased-list")
    assert (refused.code, "cleanup.policy=compact" in refused.err) == (4, True)
    assert run(guard, "--topic", guard.topic("calllog.legs"), "--no-erased-list").code == 4
    done = run(guard, "--topic", old, "--trim", "--no-erased-list", "--json", UNIT_RECORDS="7")
    assert done.code == 1, done.err
    manifest = json.loads(done.out)
    assert manifest["positions"] == {"0": 30, "1": 21}
    assert [(each["partition"], each["offset"]) for each in manifest["refused_at"]] == [(1, 20)]
    assert len(guard.live()) == 50
    assert [letter["topic"] for letter in guard.dead()] == [old], "what is cut is not lost"
    assert asyncio.run(KafkaLog(guard.stack.kafka, {}).read_all(old, [0, 1])) == []
    append(guard, old, 0, [raw(event("late", "p1"))])
    more = json.loads(run(guard, "--topic", old, "--trim", "--no-erased-list", "--json").out)
    assert (more["events"]["read"], more["legs"]["stored"]) == (52, 51), "a topic goes on where it was"


def test_what_was_cut_off_an_old_topic_since_the_import_began_is_not_passed_over(make: Make) -> None:
    guard = make()
    old = old_topic(guard)
    append(guard, old, 0, [raw(event(f"c{n}", f"p{n}", minutes_ago=60 * _DAY)) for n in range(5)])
    append(guard, old, 1, [raw(event(f"d{n}", f"q{n}", minutes_ago=60 * _DAY)) for n in range(5)])
    cut(guard, old, 1, 2)  # before anybody came: whoever did it knows why
    assert json.loads(run(guard, "--topic", old, "--no-erased-list", "--json").out)["legs"]["stored"] == 8
    append(guard, old, 0, [raw(event(f"e{n}", f"r{n}", minutes_ago=60 * _DAY)) for n in range(5)])
    cut(guard, old, 0, 8)
    refused = run(guard, "--topic", old, "--no-erased-list")
    assert (refused.code, f"records 5 to 7 of {old}/0 were cut off" in refused.err) == (4, True)
    done = run(guard, "--topic", old, "--no-erased-list", "--skip-lost", "--json")
    manifest = json.loads(done.out)
    assert (done.code, manifest["lost"], manifest["legs"]["stored"]) == (0, 3, 10)


def cut(guard: Installation, topic: str, partition: int, before: int) -> None:
    """Delete the beginning of a topic that is none of ours."""
    admin = administration(guard.stack.kafka)
    try:
        admin.delete_records({TopicPartition(topic, partition): before})
    finally:
        admin.close()
