"""Calls of a thousand new parties: units stay small, Redis goes on answering everybody, and nothing is lost."""

import json
import threading
import time

import pytest
from installation import Make, event, raw
from redis import Redis

pytestmark = pytest.mark.real
EVENTS = 30
PARTIES = 1000
WAIT_S = 10.0
"""What another client of the keystore waits at most; without portions it waited for ever."""


@pytest.mark.long
def test_calls_of_a_thousand_new_parties_stop_nobody(make: Make) -> None:
    """Three hundred of them put ten thousand watched keys into one transaction once."""
    guard = make()
    crowds = [
        raw(event(f"c{number}", *(f"u{number}-{party}@example.org" for party in range(PARTIES))))
        for number in range(EVENTS)
    ]
    guard.publish("calllog.events", crowds)
    waits: list[float] = []
    over = threading.Event()

    def ping() -> None:
        with Redis.from_url(guard.environment["CALLLOG_GUARD_KEYSTORE"]) as client:
            while not over.is_set():
                began = time.perf_counter()
                client.ping()
                waits.append(time.perf_counter() - began)
                over.wait(0.005)

    other = threading.Thread(target=ping)
    other.start()
    try:
        worker = guard.start("protector")
        guard.settled(lambda: len(guard.live()) == EVENTS * PARTIES, "every leg")
    finally:
        over.set()
        other.join()
    assert worker.poll() is None
    assert not guard.dead()
    assert max(waits) < WAIT_S
    units = [line for line in guard.log.read_text().splitlines() if '"event": "unit"' in line]
    assert max(json.loads(line)["records"] for line in units) <= 10_000 // PARTIES
