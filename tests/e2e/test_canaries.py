"""Two hundred identities go in; none of them is found anywhere, and a planted one is."""

import json
from typing import Any

import pytest
from installation import Installation, Make, event, raw
from signing import claims, signed
from test_choices import ask, read, state
from test_exports import asker, opened

from calllog_guard.adapters.disk.trace_search import Hunter
from calllog_guard.devstack.supervisor import Stack

pytestmark = pytest.mark.real


def after_an_erasure(guard: Installation, who: str) -> bytes:
    """All that a person and a reader are given, opened."""
    ask(guard, "access-001", who, type="access", reply_key=asker(guard))
    guard.settled(lambda: state(guard, "access-001") == ("closed", None), "exported")
    found = opened(guard, "access-001")
    assert len(found["legs"]) == 2
    lines = read(guard, "billing", "billing-1")
    assert {"call", "started_at"} <= lines[0].keys()
    files = [path.read_bytes() for path in (guard.directory / "access-001").iterdir() if path.suffix != ".jwe"]
    return b"".join([json.dumps(lines).encode(), *files])


def test_no_canary_is_found_anywhere_and_a_planted_one_is(make: Make, stack: Stack) -> None:
    guard = make(EVENTS_KEEP_H="1")
    policy = guard.directory / "policy.toml"
    policy.write_text(policy.read_text().replace('shows = ["started_at"', 'shows = ["call", "started_at"', 1))
    guard.start("all")
    people = [f"canary-{number:03d}-{guard.name}@example.org" for number in range(200)]
    pairs = [(people[n], people[(n + 1) % 200]) for n in range(200)]
    # as a platform names a call of two: the id outlives nobody in the other's record
    calls = [raw(event(f"19:{one}_{other}", one, other)) for one, other in pairs]
    guard.publish("calllog.events", calls)
    guard.publish("calllog.events", [raw(event("bad", people[0], shoe_size=people[1])), people[2].encode()])
    guard.settled(lambda: len(guard.live()) == 400 and len(guard.dead()) == 2, "all legs")
    guard.publish("privacy.requests", [signed(guard.directory, claims("canary-001", *people[:50]))])
    unverified = claims("canary-002", people[60], identity="unverified")
    guard.publish("privacy.requests", [signed(guard.directory, unverified)])
    guard.settled(lambda: len(guard.live()) == 300, "the legs of fifty are gone")
    canaries = guard.directory / "canaries.txt"
    canaries.write_text("\n".join(people))
    logs = guard.directory / "logs"
    logs.mkdir()
    (logs / "workers.log").write_bytes(guard.log.read_bytes())
    where = ["--log-dir", str(stack.redis_dir), "--log-dir", str(logs)]

    def looked() -> dict[str, Any]:
        found: dict[str, Any] = json.loads(guard.cli("scan", "--canary", str(canaries), *where, "--json", code=None))
        return found

    # the request that named fifty of them is trimmed behind the desk, as are the events behind the protector
    guard.settled(lambda: looked()["findings"] == 0 and looked()["plaintext_topic"] == 0, "nothing is left")
    given = after_an_erasure(guard, people[50])
    assert people[50].encode() in given
    assert not Hunter(people[:50]).hits(given), "the other of a call whose id was made of both addresses"
    # not among the legs: there a keeper removes what is none
    guard.publish("privacy.receipts", [people[7].encode("utf-16-le")], key=b"~planted")
    found = guard.cli("scan", "--canary", str(canaries), "--json", code=1)
    hits = [place for place in json.loads(found)["places"] if place["found"] and not place["plaintext"]]
    assert [place["forms"] for place in hits if "receipts" in place["where"]] == [["utf-16"]]
