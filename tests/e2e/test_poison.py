"""Poisoned records beside good ones: every worker goes on, each poisoned record is told, the good ones are handled."""

import asyncio
import json
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import psutil
import pytest
from installation import Installation, Make, event, raw
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic
from patience import ended
from raw_batches import Raw
from raw_producer import produce
from signing import claims, signed
from test_erase import erased

from calllog_guard.core.identifiers import b64
from calllog_guard.devstack.kafka_admin import administration

pytestmark = pytest.mark.real

BOMB = b" " * (30 << 20)
RSS_MOST = 450 << 20
"""A worker takes about 110 MB; one unpacked batch, poll and letter beside it are bounded. Unbounded: gigabytes."""
ODD: list[Raw] = [
    Raw(b"x", headers=[(b"content-type", None)]),
    Raw(b"x", headers=[(b"clg-replay", None)]),
    Raw(b"x", headers=[(b"clg-replay", b"0:0@" + b"9" * 5000)]),
    Raw(b"x", headers=[(b"\xff\xfe", b"no text"), (b"", b"")]),
    Raw(b"x", headers=[(b"h%d" % number, b"v") for number in range(20_000)]),
    Raw(b"x", key=b"k" * (1 << 20)),
    Raw(None, key=None),
    Raw(b""),
    Raw(b"\x00\x00\x00"),
    Raw(b"{}", headers=[(b"content-type", b"application/cloudevents+json")]),
    Raw(b"[" * 100_000),
    Raw(b"\x80abc", at_ms=1 << 61),
    Raw(b"x", at_ms=-(1 << 61)),
    Raw(b'{"tenant": "\\ud800"}'),
]
"""What a broker takes and a worker cannot use; none of them is a message."""


def good(name: str, header: tuple[bytes, bytes | None] | None = None) -> Raw:
    """An event that is in order, whatever header it bears."""
    return Raw(raw(event(name, "alice@x.org", "bob@x.org")), name.encode(), [header] if header else [])


def keyed() -> list[Raw]:
    """The same with a key each, as compacted topics want it, so that none is compacted away before it is read."""
    return [Raw(each.value, b"key %d" % number, each.headers) for number, each in enumerate(ODD)]


def send(guard: Installation, topic: str, lots: Sequence[tuple[Sequence[Raw], str]], partition: int = 0) -> None:
    """Append batches as they are."""
    asyncio.run(produce(guard.stack.kafka, guard.topic(topic), partition, lots))


def opened(guard: Installation, letter: str, *more: str, code: int = 0) -> dict[str, Any]:
    """One letter as a line of JSON."""
    key = str(guard.directory / "keys" / "operator-1.pem")
    return dict(json.loads(guard.cli("dead", "open", letter, "--key", key, "--json", *more, code=code)))


def alive(worker: "subprocess.Popen[bytes]") -> int:
    """That a worker runs, and how much memory it ever took."""
    assert worker.poll() is None
    return int(psutil.Process(worker.pid).memory_info().rss)


def test_no_event_stops_the_protector(make: Make) -> None:
    """Headers, keys, sizes, compressions; each poisoned record is a letter with its place, good ones are stored."""
    guard = make()
    worker = guard.start("protector")
    strange = [good("h0", (b"\xff", b"x")), good("h1", (b"content-type", None)), good("h2", (b"trace", None))]
    lots: list[tuple[list[Raw], str]] = [([good("g0")], "none")]
    for number, codec in enumerate(("none", "gzip", "snappy", "lz4", "zstd")):
        lots += [([each], codec) for each in ODD[number::5]]
        lots += [([good(f"g1{number}"), ODD[3], good(f"g2{number}")], codec)]
    lots += [
        (strange, "none"),
        (ODD, "zstd"),
        ([Raw(BOMB)], "gzip"),
        ([good("g3"), Raw(BOMB, b"k"), good("g4")], "zstd"),
    ]
    send(guard, "calllog.events", lots)
    poisoned = len(ODD) * 2 + 5 + 2
    guard.settled(lambda: len(guard.live()) == 2 * (3 + 10 + 3), "every good event")
    guard.settled(lambda: len(guard.dead()) == poisoned, "every poisoned one")
    places = [(each["topic"], each["partition"], each["offset"]) for each in guard.dead()]
    assert len(set(places)) == len(places)
    assert alive(worker) < RSS_MOST
    reasons = Counter(each["reason"] for each in guard.dead())
    assert reasons["unpacked_too_large"] == 2
    rows = {row["letter"]: row for row in json.loads(guard.cli("dead", "list", "--json"))}
    large = [row for row in rows.values() if row["reason"] == "unpacked_too_large"]
    assert {row["payload"] for row in large} == {"digest"}
    left = opened(guard, large[0]["letter"])["remnant"]
    assert (left["of"], left["bytes"]) == ("value", len(BOMB))
    key = str(guard.directory / "keys" / "operator-1.pem")
    guard.cli("dead", "replay", large[0]["letter"], "--key", key, code=4)
    guard.cli("dead", "replay", "--reason", "unpacked_too_large", "--key", key)
    assert len(guard.dead()) == poisoned


def test_large_events_that_do_not_unpack_from_little_are_bounded_too(make: Make) -> None:
    """Megabytes of JSON are refused with a digest; up to half of one the letter keeps the payload, to be mended."""
    guard = make()
    worker = guard.start("protector")
    small, large = b'{"x":"' + b"y" * 300_000 + b'"}', b'{"x":"' + b"y" * (12 << 20) + b'"}'
    send(guard, "calllog.events", [([Raw(small)], "none"), ([Raw(large)], "none"), ([good("after")], "none")])
    guard.settled(lambda: len(guard.live()) == 2 and len(guard.dead()) == 2, "both letters")
    rows = json.loads(guard.cli("dead", "list", "--json"))
    assert [row["payload"] for row in sorted(rows, key=lambda row: row["offset"])] == ["kept", "digest"]
    first = min(rows, key=lambda row: int(row["offset"]))
    assert opened(guard, first["letter"])["payload"].encode() == small
    assert alive(worker) < RSS_MOST


def test_thirty_bombs_stand_between_two_events(make: Make) -> None:
    """A gigabyte behind a megabyte: the memory stays, the event behind them comes through, each is told."""
    guard = make(SESSION_MS="10000")
    worker = guard.start("protector")
    many = 30
    send(
        guard,
        "calllog.events",
        [([good("before")], "none"), *[([Raw(BOMB)], "gzip")] * many, ([good("after")], "none")],
    )
    most = 0
    for _ in range(10_000):
        most = max(most, alive(worker))
        if len(guard.live()) == 4:
            break
    guard.settled(lambda: len(guard.live()) == 4 and len(guard.dead()) == many, "the event behind them")
    assert most < RSS_MOST


def test_what_its_sender_dated_waits_in_a_letter_until_the_topic_is_mended(make: Make) -> None:
    """A topic with its senders' times: no event or request is carried out; replayed, it has the broker's time."""
    guard = make()
    for role in ("protector", "desk", "keeper"):
        guard.start(role)
    send(guard, "calllog.events", [([good("c0")], "none")])
    guard.settled(lambda: len(guard.live()) == 2, "legs")
    for name in ("calllog.events", "privacy.requests"):
        stamped(guard, name, "CreateTime")
    now = int(time.time() * 1000)  # noqa: TID251 - the servers' clock is real
    send(guard, "calllog.events", [([replace(good("c1"), at_ms=now)], "none")])
    token = signed(guard.directory, claims("border-00002", "alice@x.org"))
    send(guard, "privacy.requests", [([Raw(token, b"iocom", at_ms=now)], "gzip")])
    guard.settled(lambda: len(guard.dead()) == 2, "letters")
    assert [each["reason"] for each in guard.dead()] == ["senders_time"] * 2
    for name in ("calllog.events", "privacy.requests"):
        stamped(guard, name, "LogAppendTime")
    key = str(guard.directory / "keys" / "operator-1.pem")
    guard.cli("dead", "replay", "--reason", "senders_time", "--key", key)
    guard.settled(lambda: erased(guard, "border-00002"), "the request")


def stamped(guard: Installation, name: str, how: str) -> None:
    """Let a topic take the broker's time, or its senders'."""
    admin: Any = administration(guard.stack.kafka)
    try:
        kind, wanted = ConfigResourceType.TOPIC, {"message.timestamp.type": how}
        admin.alter_configs([ConfigResource(kind, guard.topic(name), wanted)])
    finally:
        admin.close()


def test_no_request_or_outcome_stops_the_desk(make: Make) -> None:
    """The same poison in the desk's topics; a good request behind it is carried out."""
    guard = make()
    workers = [guard.start(role) for role in ("protector", "desk", "keeper")]
    send(guard, "calllog.events", [([good("c1")], "none")])
    guard.settled(lambda: len(guard.live()) == 2, "legs")
    poison = [([each], "none") for each in ODD if len(each.key or b"") < 1000] + [([Raw(BOMB)], "zstd")]
    for topic in ("privacy.requests", "privacy.outcomes"):
        send(guard, topic, poison)
    token = signed(guard.directory, claims("border-00001", "alice@x.org"))
    send(guard, "privacy.requests", [([Raw(token, b"iocom", [(b"\xff", None)])], "none")])
    guard.settled(lambda: erased(guard, "border-00001"), "the request behind it")
    guard.settled(lambda: len(guard.dead()) == 2 * len(poison), "each is told")
    assert max(map(alive, workers)) < RSS_MOST


def test_no_leg_or_decision_stops_the_keeper(make: Make) -> None:
    """Forged legs of 27 MB, keys of every kind, decisions that are none; the index goes on, also after a start anew."""
    guard = make()
    workers = [guard.start(role) for role in ("protector", "desk", "keeper")]
    pseudonym = b64(b"\0\0\0\0" + b"p" * 12)
    leg, other = (
        pseudonym + b"." + b64(name * 16) for name in (b"t", b"u")
    )  # of one key the first may be compacted away
    poison = [
        *[([each], "none") for each in keyed()],
        ([Raw(b"e" * (27 << 20), leg)], "zstd"),
        ([Raw(b"e" * 500_000, other)], "none"),
        ([Raw(b"value", b"\xff" * 45), Raw(b"value", b"k" * 500_000), Raw(None, b"\xff.\xff")], "none"),
    ]
    tombstones = sum(each.value is None for some, _ in poison for each in some)
    for topic in ("calllog.legs", "privacy.decisions"):
        send(guard, topic, poison)
    send(guard, "calllog.events", [([good("c1")], "none")])
    count = sum(len(some) for some, _ in poison)

    def told() -> bool:
        lay = Counter(each["topic"] for each in guard.dead())
        legs, decisions = lay[guard.topic("calllog.legs")], lay[guard.topic("privacy.decisions")]
        return legs == count - tombstones and decisions >= count - tombstones

    guard.settled(told, "each is told")
    workers[-1].terminate()
    ended(workers[-1])
    workers[-1] = guard.start("keeper")
    guard.publish("privacy.requests", [signed(guard.directory, claims("border-00002", "alice@x.org"))])
    guard.settled(lambda: erased(guard, "border-00002"), "a decision behind it")
    assert max(map(alive, workers)) < RSS_MOST


def test_readers_an_import_and_the_scan_pass_over_the_same(make: Make) -> None:
    """An import reads what other programs wrote, a reader what anybody with write rights has put beside the legs."""
    guard = make(UNIT_RECORDS="7")
    guard.start("protector")
    send(guard, "calllog.events", [([good("c1")], "none")])
    guard.settled(lambda: len(guard.live()) == 2, "legs")
    poison = [*[([each], "zstd") for each in keyed()], ([Raw(BOMB, b"bomb")], "gzip")]
    send(guard, "calllog.legs", poison)
    lines = guard.cli("read", "--purpose", "service", "--actor", "support-1").splitlines()
    assert [json.loads(line)["op"] for line in lines] == ["put", "put"]

    old = f"old-{guard.name}"
    admin = administration(guard.stack.kafka)
    try:
        admin.create_topics(
            [NewTopic(old, 1, 1, topic_configs={"max.message.bytes": str(32 << 20), "retention.ms": "-1"})],
            wait_for_metadata=True,
        )
    finally:
        admin.close()
    lots = [([good("o1")], "none"), *poison, ([good("o2")], "none")]
    asyncio.run(produce(guard.stack.kafka, old, 0, lots))
    done = json.loads(guard.cli("import", "--topic", old, "--no-erased-list", "--json", code=1))
    events = done[0]["events"] if isinstance(done, list) else done["events"]
    assert (events["read"], events["accepted"], events["refused"]) == (len(lots), 2, len(poison))
    guard.settled(
        lambda: sum(len(key) == 45 for key in guard.live()) == 6, "the legs of the old topic"
    )  # poison has other keys
    canary = guard.directory / "canary"
    canary.write_text("nobody@nowhere.example\n")
    guard.cli("scan", "--canary", str(canary))
