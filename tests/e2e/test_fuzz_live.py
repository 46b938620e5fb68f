"""
The fuzzer over whole records on a real broker: no worker ends, none stands still, each input is accounted for.

`make fuzz` takes 10 minutes.
"""

import asyncio
import json
import os
import time
from collections import defaultdict
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from fuzz_records import JUNK, Dice, Sent, accepted
from installation import Installation, Make, event, raw
from raw_batches import Raw, batch
from raw_producer import Prepared, produce
from signing import claims, signed
from test_erase import erased

from calllog_guard.core.identity.rules import DEFAULT, canonical

pytestmark = [pytest.mark.real, pytest.mark.timeout(0), pytest.mark.long]

SECONDS, SEED = float(os.environ.get("FUZZ_S", "3")), int(os.environ.get("FUZZ_SEED", "1"))


class Sender:
    """Sends by dice, and keeps by place what the broker took."""

    def __init__(self, guard: Installation) -> None:
        self.guard = guard
        self.sent: dict[str, dict[int, Sent]] = defaultdict(dict)
        self.refused = 0
        self.dices = {
            "calllog.events": Dice(SEED, lambda n: raw(event(f"call {n}", f"p{n}@x.org", f"q{n}@x.org")), bombs=0.002),
            "privacy.requests": Dice(SEED + 1, self._request),
            "privacy.outcomes": Dice(SEED + 2, lambda number: b"%d no outcome" % number, bombs=0.002),
            "privacy.decisions": Dice(SEED + 3, lambda number: b"%d no decision" % number),
            "calllog.legs": Dice(SEED + 4, lambda number: b"%d no leg" % number),
        }

    def _request(self, number: int) -> bytes:
        return signed(self.guard.directory, claims(f"fuzzed-{number:06d}", f"p{number}@x.org", type="restrict"))

    async def send(self, seconds: float) -> None:
        """For so many seconds."""
        producer: Any = AIOKafkaProducer(
            bootstrap_servers=self.guard.stack.kafka, acks="all", max_request_size=64 << 20
        )
        await producer.start()
        end = time.monotonic() + seconds
        try:
            while time.monotonic() < end:
                for topic in self.dices:
                    for records, codec in self.dices[topic].batches(2):
                        await self._append(producer, topic, records, codec)
        finally:
            await producer.stop()

    async def _append(self, producer: Any, topic: str, records: list[Sent], codec: str) -> None:
        bytes_ = batch([each.record for each in records], codec)
        prepared = Prepared(bytes_, len(records))
        try:
            sent = await (await producer.send_batch(prepared, self.guard.topic(topic), partition=0))
        except KafkaError:  # larger than the topic takes, or of a form that a broker of today refuses
            self.refused += 1
            return
        for number, each in enumerate(records):
            self.sent[topic][int(sent.offset) + number] = each

    def letters(self) -> dict[str, dict[int, str]]:
        """By topic, the reasons by offset."""
        found: dict[str, dict[int, str]] = defaultdict(dict)
        for each in self.guard.dead():
            if each["partition"] == 0:
                found[each["topic"]][each["offset"]] = each["reason"]
        return found


def test_whole_records_by_dice_on_a_broker(make: Make) -> None:
    """Behind all of it a good event and a good erasure come through; nothing before them is lost in silence."""
    guard = make(SESSION_MS="10000")
    workers = [guard.start(role) for role in ("protector", "desk", "keeper")]
    sender = Sender(guard)
    asyncio.run(sender.send(SECONDS))
    last = [Raw(raw(event("last", "last@x.org")), b"last")]
    asyncio.run(produce(guard.stack.kafka, guard.topic("calllog.events"), 0, [(last, "none")]))
    guard.publish("privacy.requests", [signed(guard.directory, claims("fuzzed-last", "last@x.org"))])
    guard.settled(lambda: erased(guard, "fuzzed-last"), "the erasure behind all of it", 600 + 2 * SECONDS)

    def told() -> bool:
        letters = sender.letters()
        return all(
            each.fate != "letter" or offset in letters[guard.topic(topic)]
            for topic in ("calllog.events", "privacy.requests", "privacy.outcomes")
            for offset, each in sender.sent[topic].items()
        )

    guard.settled(told, "each that is no message is told", 600)
    assert [worker.poll() for worker in workers] == [None] * 3
    letters = sender.letters()
    events = [
        json.loads(each) for each in accepted(letters[guard.topic("calllog.events")], sender.sent["calllog.events"])
    ]
    parties = {(each["call_id"], canonical(party["id"], DEFAULT)) for each in events for party in each["parties"]}
    legs = [value for value in guard.live().values() if value.startswith(b"eyJ") and value not in JUNK]
    assert len(legs) == len(parties)
    lines = guard.cli("read", "--purpose", "service", "--actor", "support-1").splitlines()
    assert 0 < len(lines) <= len(legs)
    accepted(letters[guard.topic("privacy.requests")], sender.sent["privacy.requests"])
    assert sum(map(len, sender.sent.values())) > SECONDS
    print(f"{sum(map(len, sender.sent.values()))} records taken, {sender.refused} batches refused by the broker")  # noqa: T201
