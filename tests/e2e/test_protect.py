"""Protect on the real stack: calls in, sealed legs out, everything else a dead letter."""

import asyncio
import json
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from installation import Make, event, raw, some
from patience import ended

from calllog_guard.core.codec import encode
from calllog_guard.core.crypto.jose import open_sealed
from calllog_guard.core.stream.arrival import remnant

pytestmark = pytest.mark.real


HOSTILE: list[tuple[bytes | None, str]] = [
    (b"not json", "not_json"),
    (b"x" * 10_000_000, "too_large"),
    (raw(event("h2", *(f"p{n}" for n in range(1001)))), "wrong_count"),
    (raw(event("h3", "a", shoe_size="canary-field")), "unknown_field"),
    (raw(event("h4")), "wrong_count"),
    (raw(event("h5", "a")).replace(b'"h5"', b'"\xff\xfe"'), "not_json"),
    (raw(event("h6", "a\x00b")), "bad_id"),
    (None, "null_value"),
    (b'{"parties":' + b"[" * 200_000, "wrong_value"),
    (raw(event("h9", "a") | {"call_id": 12}), "wrong_value"),
    (raw(event("h10", "a", tenant="other")), "foreign_tenant"),
    (raw(event("h11", "a", minutes_ago=60 * 24 * 90)), "too_late"),
    (raw(event("h12", "a", minutes_ago=-60)), "in_future"),
]


def test_every_party_gets_one_sealed_leg_and_every_hostile_event_one_dead_letter(make: Make) -> None:
    guard = make()
    guard.start("protector")
    guard.publish("calllog.events", [raw(event("c1", "alice@example.org", "bob@example.org"))])
    for value, _ in HOSTILE:
        guard.publish("calllog.events", [value])
    guard.publish("calllog.events", [raw(event("c2", "alice@example.org"))])
    guard.settled(lambda: len(guard.live()) == 3 and len(guard.dead()) == len(HOSTILE), "3 legs and every dead letter")
    letters = sorted(guard.dead(), key=lambda letter: letter["offset"])
    assert [letter["reason"] for letter in letters] == [reason for _, reason in HOSTILE]
    assert [letter["offset"] for letter in letters] == list(range(1, 1 + len(HOSTILE)))
    private = (guard.directory / "keys" / "operator-1.pem").read_bytes()
    sealed = [encode(remnant(why, value or b"")) if why == "too_large" else value or b"" for value, why in HOSTILE]
    weeks = guard.vault.letters.private("letters-1")
    opened = [open_sealed(private, open_sealed(weeks, letter["jwe"]).decode()) for letter in letters]
    assert opened == sealed
    assert "canary-field" not in json.dumps([letter | {"jwe": ""} for letter in letters])
    people = {key.partition(b".")[0] for key in guard.live()}
    assert len(people) == 2


def test_an_event_that_a_transaction_took_back_is_no_call(make: Make) -> None:
    """A backend that aborts has never said it."""
    guard = make()

    async def go() -> None:
        backend: Any = AIOKafkaProducer(bootstrap_servers=guard.stack.kafka, transactional_id=guard.name)
        await backend.start()
        try:
            for name, kept in (("taken", False), ("kept", True)):
                await backend.begin_transaction()
                content = raw(event(name, f"{name}@example.org"))
                await backend.send_and_wait(guard.topic("calllog.events"), content, partition=0)
                await (backend.commit_transaction() if kept else backend.abort_transaction())
        finally:
            await backend.stop()

    asyncio.run(go())
    guard.start("protector")
    guard.settled(lambda: len(guard.live()) > 0, "the call that was kept")
    guard.publish("calllog.events", [raw(event("later", "later@example.org"))])
    guard.settled(lambda: len(guard.live()) > 1, "the call behind it")
    assert len(guard.live()) == 2
    assert guard.dead() == []


STEPS = ["decoded", "read", "minted", "sealed", "acknowledged", "read_again"]


@pytest.mark.parametrize("step", some(STEPS, "sealed"))
def test_killed_at_a_step_loses_nothing_and_mints_nobody_twice(make: Make, step: str) -> None:
    guard = make()
    calls = [raw(event(f"c{number}", f"p{number % 7}", f"q{number % 5}")) for number in range(50)]
    guard.publish("calllog.events", calls)
    killed = guard.start("protector", DEVELOPMENT=f"crash-at=protect.{step}")
    assert ended(killed) == -9
    guard.start("protector")
    guard.settled(lambda: len(guard.live()) == 100, "every party's leg")
    assert len({key.partition(b".")[0] for key in guard.live()}) == 12
    assert not guard.dead()
