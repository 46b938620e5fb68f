"""A fuzzer over whole records on the fake log: no worker ends or stands still, all is accounted for, crashes too."""

import json
import os
import random
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from downstream import plain
from fuzz_records import JUNK, Dice, Sent, accepted, no_record
from guard_world import POLICY, TENANT, GuardWorld
from raw_batches import batch

from calllog_guard.adapters.kafka.batches import arrivals, holds, split
from calllog_guard.core.codec import time_text, to_ms
from calllog_guard.core.crypto.jose import sign
from calllog_guard.core.identity.rules import canonical

pytestmark = pytest.mark.timeout(900)
SERVICE = POLICY.replace('purposes = ["billing"]', 'purposes = ["billing", "service"]')
ROUNDS = 12


class Fuzzed:
    """A world and what was sent to each of its topics."""

    def __init__(self, world: GuardWorld, seed: int) -> None:
        self.world, self.dice = world, random.Random(seed)  # noqa: S311 - repeatable
        self.sent: dict[str, dict[int, Sent]] = defaultdict(dict)
        self.requests: list[str] = []
        self.dices = {
            "calllog.events": Dice(seed, self._event),
            "privacy.requests": Dice(seed + 1, self._request),
            "privacy.outcomes": Dice(seed + 2, lambda number: b"%d no outcome" % number),
            "privacy.decisions": Dice(seed + 3, lambda number: b"%d no decision" % number),
            "calllog.legs": Dice(seed + 4, lambda number: b"%d no leg" % number),
        }

    def _event(self, number: int) -> bytes:
        at = self.world.clock.at
        parties = [{"id": f"p{number}@x.org", "role": "host"}, {"id": f"q{number}@x.org", "role": "guest"}]
        content = {"tenant": TENANT, "call_id": f"call {number}", "kind": "video", "outcome": "answered"}
        return json.dumps(
            content | {"started_at": time_text(at), "ended_at": time_text(at), "parties": parties}
        ).encode()

    def _request(self, number: int) -> bytes:
        now, jti = int(self.world.clock.at.timestamp()), f"fuzzed-{number:05d}"
        claims = {
            "v": 1,
            "iss": "backend-1",
            "aud": "calllog-guard",
            "tenant": TENANT,
            "jti": jti,
            "iat": now,
            "exp": now + 600,
        }
        claims |= {
            "received_at": time_text(self.world.clock.at),
            "type": "restrict",
            "subjects": [f"p{number}@x.org"],
            "identity": "verified",
        }
        self.requests.append(jti)
        return sign(
            (self.world.folder / "backend-1.pem").read_bytes(), "backend-1", json.dumps(claims).encode()
        ).encode()

    def send(self, topic: str, many: int) -> None:
        """Batches as a broker would hand them out, at the end of the topic."""
        for records, codec in self.dices[topic].batches(many):
            mixed = [*records, Sent(no_record(self.dice), "letter")] if self.dice.random() < 0.2 else records
            raw = batch([each.record for each in mixed], codec)
            self._append(topic, raw, mixed)

    def _append(self, topic: str, raw: bytes, sent: Sequence[Sent]) -> None:
        (view,) = split(raw)
        assert view is not None
        assert holds(view)
        lane = self.world.log.records[topic, 0]
        found = list(arrivals((topic, 0), view, 0))
        assert len(found) == len(sent)
        now = to_ms(self.world.clock.at)
        for each, one in zip(found, sent, strict=True):
            self.sent[topic][len(lane)] = one
            at = now if one.fate == "good" else each.timestamp
            lane.append(msgspec.structs.replace(each, offset=len(lane), timestamp=at, senders=False))

    def letters(self, topic: str) -> dict[int, str]:
        """Reasons by offset; a crash may have written one twice."""
        found = [json.loads(each.value or b"{}") for each in self.world.log.records["calllog.dead", 0]]
        return {each["offset"]: each["reason"] for each in found if (each["topic"], each["partition"]) == (topic, 0)}


@pytest.mark.parametrize("seed", range(int(os.environ.get("FUZZ_SEEDS", "3"))))
@pytest.mark.slow
async def test_whole_records_by_dice(tmp_path: Path, seed: int) -> None:
    """Every topic in turn, units of any size, a process that dies at some writes."""
    world = await GuardWorld(tmp_path, SERVICE).start()
    fuzzed = Fuzzed(world, seed * 100)
    for number in range(ROUNDS):
        for topic in fuzzed.dices:
            fuzzed.send(topic, 4)
        if number % 3 == 0:
            dice = fuzzed.dice
            await world.run_with_crashes(dice.randrange(1, 40), after=dice.random() < 0.5, rebuild=dice.random() < 0.5)
        else:
            for _ in range(3):
                await world.step(fuzzed.dice.choice(["protector", "desk", "keeper"]), fuzzed.dice.randrange(1, 9))
        await world.run()
    events = [json.loads(each) for each in accepted(fuzzed.letters("calllog.events"), fuzzed.sent["calllog.events"])]
    rules = world.vault.profile(TENANT).identity
    legs = {(event["call_id"], canonical(party["id"], rules, "")) for event in events for party in event["parties"]}
    living = [value for value in world.legs().values() if value.startswith(b"eyJ") and value not in JUNK]
    assert len(living) == len(legs)
    assert len(legs) >= 2 * 3 * ROUNDS
    accepted(fuzzed.letters("privacy.requests"), fuzzed.sent["privacy.requests"])
    for topic in ("privacy.outcomes", "privacy.decisions"):
        told = fuzzed.letters(topic)
        assert all(offset in told for offset, each in fuzzed.sent[topic].items() if each.record.value)
    assert any(world.book.get(world.id_of(jti)) for jti in fuzzed.requests)
    assert 0 < len(await plain(world, "service")) <= len(legs)
