"""Unread losses halt a worker until an officer accepts it by name; event topics may differ, grow, be remade."""

import json
import signal
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from installation import Installation, Make, event, raw
from kafka.errors import KafkaError
from kafka_tools import admin, bounds, delete_records, forget_group, grow, make_anew, set_offset
from patience import PATIENCE_S, ended
from sizes import every
from test_audit import set_topic

from calllog_guard.adapters.kafka.admin.extents import KafkaExtents
from calllog_guard.core.crypto.leg_envelope import parse_header
from calllog_guard.core.stream.beginnings import Committed
from calllog_guard.errors import LogSilentError
from calllog_guard.settings import Settings

pytestmark = pytest.mark.real
HALT = 70


def key(guard: Installation, name: str = "officer-1") -> str:
    """A private key's file."""
    return str(guard.directory / "keys" / f"{name}.pem")


def calls(guard: Installation, start: int, many: int, *, partition: int = 0, name: str = "calllog.events") -> None:
    """Publish calls of as many people."""
    guard.publish(
        name, [raw(event(f"c{n}", f"p{n}@example.org")) for n in range(start, start + many)], partition=partition
    )


def with_ten(guard: Installation) -> None:
    """Ten calls are protected and committed, and the protector has stopped."""
    worker = guard.start("protector")
    calls(guard, 0, 10)
    guard.settled(lambda: len(guard.live()) == 10, "the first legs")
    worker.terminate()
    assert ended(worker) == 0


def halted(guard: Installation, role: str = "protector") -> str:
    """Start a worker that must halt; what it says."""
    before = len(guard.log.read_text())
    assert ended(guard.start(role)) == HALT
    return guard.log.read_text()[before:]


def metric(guard: Installation, name: str) -> float:
    """The sum of a metric of the worker that started last; -1 while it shows none."""
    try:
        page = guard.page("/metrics")
    except OSError:  # the one before, which has ended
        return -1
    return sum(float(line.rpartition(" ")[2]) for line in page.splitlines() if line.startswith(f"calllog_guard_{name}"))


def test_records_deleted_above_the_committed_offset_halt_until_an_officer_accepts_them(make: Make) -> None:
    guard = make()
    with_ten(guard)
    calls(guard, 10, 10)
    delete_records(guard, "calllog.events", 15)
    topic = guard.topic("calllog.events")
    told = halted(guard)
    assert "records 10 to 14 are gone unread" in told
    assert f"calllog-guard topics accept {topic}" in told
    lost = next(json.loads(line) for line in told.splitlines() if '"records are lost"' in line)
    assert (lost["topic"], lost["partition"], lost["first"], lost["last"]) == (topic, 0, 10, 14)
    halted(guard)  # as under a supervisor: it does not get used to it
    assert len(guard.live()) == 10

    code, out, _ = guard.run("topics", "accept", topic, "--json")
    assert code == 1
    (shown,) = json.loads(out)["gaps"]
    assert (shown["from"], shown["to"], shown["records"], shown["roles"]) == (10, 15, 5, ["protector"])
    assert guard.run("topics", "accept", "calllog.evnets", "--key", key(guard))[0] == 2
    assert guard.run("topics", "accept", topic, "--partition", "9", "--key", key(guard))[0] == 2
    assert guard.run("topics", "accept", topic, "--key", key(guard, "backend-1"))[0] == 4
    assert guard.run("topics", "accept", topic, "--partition", "1", "--key", key(guard))[0] == 4
    halted(guard)

    assert guard.run("topics", "accept", topic, "--key", key(guard))[0] == 0
    code, out, err = guard.run("topics", "accept", topic, "--key", key(guard))
    assert (code, "accepted by officer-1" in out, "accepted already" in err) == (0, True, True)
    guard.start("protector")
    guard.settled(lambda: len(guard.live()) == 15, "what was left")
    assert metric(guard, "records_lost_total") == 5
    guard.settled(
        lambda: guard.run("topics", "accept", topic, "--key", key(guard))[0] == 4, "nothing is left to accept"
    )
    assert json.loads(guard.run("report", "--json")[1])["losses"][0]["officer"] == "officer-1"


def accepted(guard: Installation, name: str) -> None:
    """An officer accepts what is lost of a topic."""
    code, _, err = guard.run("topics", "accept", guard.topic(name), "--key", key(guard))
    assert code == 0, err


def test_records_deleted_under_a_running_worker_halt_it(make: Make) -> None:
    """The library would jump to the new beginning and say nothing."""
    guard = make()
    worker = guard.start("protector")
    calls(guard, 0, 10)
    guard.settled(lambda: len(guard.live()) == 10, "the first legs")
    read = 10

    def ended_or_read() -> bool:
        return worker.poll() is not None or len(guard.live()) == read + 10

    while True:  # what it had asked for before it was stopped may have been on its way: then nothing is lost
        worker.send_signal(signal.SIGSTOP)
        calls(guard, read, 10)
        delete_records(guard, "calllog.events", read + 5)
        worker.send_signal(signal.SIGCONT)
        guard.settled(ended_or_read, "a halt, or every leg")
        if worker.poll() is not None:
            break
        read += 10
    assert worker.returncode == HALT
    guard.said(f"records {read} to {read + 4} are gone unread")
    halted(guard)
    accepted(guard, "calllog.events")
    guard.start("protector")
    guard.settled(lambda: len(guard.live()) == read + 5, "what was left")


def test_what_retention_takes_from_a_worker_that_is_away_is_a_gap(make: Make) -> None:
    guard = make()
    with_ten(guard)
    set_topic(guard, "calllog.events", retention_ms="1000", segment_ms="1000", message_timestamp_type="LogAppendTime")
    calls(guard, 10, 10)

    def rolled() -> bool:
        calls(guard, 100, 1)  # a segment ends when a record comes
        return bounds(guard, "calllog.events")[0] > 10

    guard.settled(rolled, "retention has taken something unread")
    set_topic(guard, "calllog.events", retention_ms="86400000", segment_ms="86400000")
    first, end = bounds(guard, "calllog.events")
    assert f"records 10 to {first - 1} are gone unread" in halted(guard)
    accepted(guard, "calllog.events")
    guard.start("protector")
    guard.settled(lambda: metric(guard, "records_lost_total") == first - 10, "it goes on")
    calls(guard, 200, 1)
    left = end - first + 1
    guard.settled(lambda: len(guard.live()) >= 10 + min(left, 1), "what was left")


def test_offsets_that_kafka_forgot_neither_replay_all_nor_hide_a_gap(make: Make) -> None:
    """After `offsets.retention.minutes` a group without members is gone, and with it what it has read."""
    guard = make()
    with_ten(guard)
    guard.settled(lambda: _forgotten(guard), "the group is deleted")
    worker = guard.start("protector")
    calls(guard, 10, 1)
    guard.settled(lambda: len(guard.live()) == 11, "the next leg")
    assert metric(guard, "legs_written_total") == 1, "nothing was read again"
    worker.terminate()
    assert ended(worker) == 0
    calls(guard, 11, 4)
    delete_records(guard, "calllog.events", 13)
    guard.settled(lambda: _forgotten(guard), "the group is deleted")
    assert "records 11 to 12 are gone unread" in halted(guard)


def _forgotten(guard: Installation) -> bool:
    try:
        forget_group(guard, "protector")
    except KafkaError:  # its member has just left
        return False
    return True


def test_an_offset_that_somebody_set_ahead_passes_over_nothing(make: Make) -> None:
    """`kafka-consumer-groups --reset-offsets --to-latest` on a group whose workers are away."""
    guard = make()
    with_ten(guard)
    assert committed(guard) == Committed(10, ours=True)
    calls(guard, 10, 10)
    guard.settled(lambda: _set_offset(guard, 20), "set ahead")
    guard.start("protector")
    guard.settled(lambda: len(guard.live()) == 20, "a leg of each call")
    guard.said("somebody set an offset ahead")
    guard.settled(lambda: committed(guard) == Committed(20, ours=True), "committed")


def committed(guard: Installation) -> Committed | None:
    """What the protectors have committed of the first partition."""
    topic, extents = guard.topic("calllog.events"), KafkaExtents(Settings(kafka=guard.stack.kafka), {})
    try:
        found = extents.committed(f"c{guard.name}.guard-protector", extents.shapes([topic]))
        return found.get((topic, 0))
    finally:
        extents.close()


def _set_offset(guard: Installation, offset: int) -> bool:
    with suppress(KafkaError):  # its member has just left
        set_offset(guard, "protector", "calllog.events", offset)
    return committed(guard) == Committed(offset, ours=False)


class Flow(threading.Thread):
    """A backend that publishes calls of as many people until it is stopped; `days` dates those from now on."""

    def __init__(self, guard: Installation, *topics: tuple[str, int]) -> None:
        super().__init__(daemon=True)
        self._guard, self.topics = guard, list(topics)
        self._done = threading.Event()
        self.days, self.sent = 0, 0

    def run(self) -> None:
        """See Thread."""
        number = 0
        while not self._done.is_set():
            for topic, partitions in self.topics:
                number += 1
                made = [
                    event(f"f{number}-{each}", f"f{number}-{each}@example.org", minutes_ago=10 + 1440 * self.days)
                    for each in range(3)
                ]
                while not self._published(topic, [raw(each) for each in made], number % partitions):
                    pass
                self.sent += 3

    def _published(self, topic: str, values: list[bytes], partition: int) -> bool:
        """Whether it was acknowledged; else it may be written or not, as in a topic's deletion: it is sent again."""
        with suppress(LogSilentError):
            self._guard.publish(topic, values, partition=partition)
            return True
        return False

    def end(self) -> None:
        """Stop publishing."""
        self._done.set()
        self.join(PATIENCE_S)
        assert not self.is_alive()


def legs_dated(guard: Installation, days: int) -> int:
    """How many legs have the day of a flow."""
    day = f"{datetime.now(UTC) - timedelta(minutes=10 + 1440 * days):%Y-%m-%d}"  # noqa: TID251 - the real clock
    return sum(parse_header(value).day == day for value in guard.live().values())


@pytest.mark.long
def test_topics_of_events_may_have_other_counts_and_grow_under_flow(make: Make) -> None:
    """Protectors share out whatever partitions there are, and read new ones from their first record."""
    guard = make()
    more = guard.topic("calllog.events") + ".more"
    policy = guard.directory / "policy.toml"
    text = policy.read_text().replace('.events"]', f'.events", "{more}"]')
    policy.write_text(text)
    grow(guard, "calllog.events", 7)
    with admin(guard) as client:
        client.create_topics(
            {
                more: {
                    "num_partitions": 1,
                    "replication_factor": 1,
                    "configs": {"message.timestamp.type": "LogAppendTime"},
                }
            },
            wait_for_metadata=True,
        )
    guard.cli("topics", "create", code=None)
    for role in ("protector", "protector", "auditor"):
        guard.start(role)
    flow = Flow(guard, ("calllog.events", 7), ("calllog.events.more", 1))
    flow.start()
    guard.settled(lambda: len(guard.live()) > 60, "legs of both")
    grow(guard, "calllog.events", 9)
    grow(guard, "calllog.events.more", 5)
    flow.topics = [("calllog.events", 9), ("calllog.events.more", 5)]
    sent = flow.sent
    guard.settled(lambda: flow.sent > sent + 90, "more is sent")
    flow.end()
    guard.settled(lambda: len(guard.live()) == flow.sent, "a leg of each call")
    assert not guard.dead()
    file = guard.directory / "more.ndjson"
    file.write_text("\n".join(json.dumps(event(f"m{n}", f"m{n}@example.org")) for n in range(20)))
    for topic in (guard.topic("calllog.events"), more):
        assert json.loads(guard.cli("emit", str(file), "--topic", topic, "--json")) == {"published": 20}
    guard.settled(lambda: len(guard.live()) == flow.sent + 20, "the same calls, once")
    assert all(worker.poll() is None for worker in guard.workers), guard.log.read_text()[-2000:]


def test_a_topic_made_anew_under_flow_is_read_from_its_first_record_once_accepted(make: Make) -> None:
    """By its name and offsets nobody would see it: the new topic has records at the old position before it."""
    guard = make()
    worker = guard.start("protector")
    flow = Flow(guard, ("calllog.events", 4))
    flow.start()
    guard.settled(lambda: len(guard.live()) > 60, "legs")
    make_anew(guard, "calllog.events", 6)
    flow.topics, flow.days = [("calllog.events", 6)], 3
    assert ended(worker) == HALT
    assert "was deleted and made anew" in halted(guard)
    code, out, _ = guard.run("topics", "accept", guard.topic("calllog.events"), "--json")
    shown = json.loads(out)["gaps"]
    assert (code, len(shown), {each["kind"] for each in shown}) == (1, 6, {"anew"})
    assert {each["records"] for each in shown} == {None}
    accepted(guard, "calllog.events")
    guard.start("protector")
    sent = flow.sent
    guard.settled(lambda: flow.sent > sent + 60, "more is sent")
    flow.end()
    there = [json.loads(each.value) for each in guard.records("calllog.events", 6)]
    day = f"{datetime.now(UTC) - timedelta(minutes=10 + 1440 * 3):%Y-%m-%d}"  # noqa: TID251 - the real clock
    wanted = sum(each["started_at"][:10] == day for each in there)
    assert wanted > 60
    guard.settled(lambda: legs_dated(guard, 3) == wanted, "a leg of each call of the new topic")


@pytest.mark.parametrize(
    ("role", "name", "partition"),
    every(
        [("desk", "privacy.requests", 0), ("keeper", "calllog.legs", 0), ("desk", "privacy.outcomes", 0)],
        ("keeper", "calllog.legs", 0),
    ),
)
def test_every_role_halts_over_what_it_has_not_read(make: Make, role: str, name: str, partition: int) -> None:
    guard = make()
    for each in ("protector", "desk", "keeper"):
        guard.start(each)
    guard.publish(name, [b"rubbish"] * 3, partition=partition, key=b"x")
    guard.settled(lambda: len(guard.dead()) >= 3, "what was read")
    guard.stop_workers()
    guard.publish(name, [b"rubbish"] * 9, partition=partition, key=b"x")
    set_topic(guard, name, cleanup_policy="delete")
    delete_records(guard, name, bounds(guard, name, partition)[1] - 2, partition)
    told = halted(guard, role)
    assert "are gone unread" in told
    assert f"topics accept {guard.topic(name)}" in told
    accepted(guard, name)
    before = len(guard.dead())
    guard.start(role)
    guard.settled(lambda: len(guard.dead()) == before + 2, "what was left")


def retention(guard: Installation) -> tuple[str, str]:
    """What `topics check` finds of the time for which events are kept, and its verdict."""
    rows = json.loads(guard.run("topics", "check", "--json")[1])
    (row,) = [
        each for each in rows if (each["topic"], each["setting"]) == (guard.topic("calllog.events"), "retention.ms")
    ]
    return row["found"], row["verdict"]


def test_what_nears_the_end_of_its_time_is_kept_longer_within_a_bound_until_it_is_read(make: Make) -> None:
    """Protectors are away: the auditor sees it coming, says so, and plain text waits for longer, on record."""
    guard = make(EVENTS_KEEP_H="1", LAG_SHARE="0.002", PROLONG_MOST="3")
    guard.start("auditor")
    calls(guard, 0, 5)
    guard.settled(lambda: retention(guard) == (str(3 * 3_600_000), "warned"), "kept longer, to the bound")
    guard.settled(lambda: metric(guard, "unread_near_end") == 1, "told")
    guard.said("what is unread nears the end of its time")
    assert not metric(guard, "governed_drift"), "it withholds nothing"
    guard.start("protector")
    guard.settled(lambda: len(guard.live()) == 5, "all legs")
    guard.settled(lambda: retention(guard) == (str(3_600_000), "ok"), "set back")
    lines = json.loads(guard.run("report", "--json")[1])["prolonged"]
    assert [(each["from_s"], each["to_s"]) for each in lines] == [(3600, 7200), (7200, 10_800), (10_800, 3600)]
