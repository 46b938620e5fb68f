"""Whatever an event holds, it is stored in part, or refused by a word of ours, and what is refused of it is an event again."""

import json
from datetime import UTC, datetime
from random import Random
from typing import Any

from sizes import size

from calllog_guard.core.calls.event import Limits
from calllog_guard.core.calls.leg import leg_texts, read_leg
from calllog_guard.core.calls.reading import read_event, refused_alone
from calllog_guard.core.codec import to_ms
from calllog_guard.core.identity.rules import DEFAULT
from calllog_guard.errors import MessageError

NOW = to_ms(datetime(2026, 11, 24, 10, tzinfo=UTC))
LIMITS = Limits(ahead_ms=300_000, late_ms=35 * 86_400_000, max_bytes=262_144, skew_ms=5000)
FIELDS = [
    "tenant",
    "call_id",
    "occurrence",
    "kind",
    "outcome",
    "started_at",
    "ended_at",
    "parties",
    "party_count",
    "removed",
    "revision",
    "id",
    "role",
    "session",
    "guest",
    "joined_at",
    "left_at",
    "zz",
]
VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2**53, 2**63, 2**64, 2**70, 10**400, 1.5, 1e308, -0.0, 1_795_510_800, 1_795_510_800_123,
    1_795_510_800_123_456, 1_795_510_800.5, "", "a", "x" * 257, "\0", "\ud800", "e\u0301", "2026-11-24T09:00:00Z",
    "2026-11-24T09:30:60Z", "2026-11-23T23:59:60Z", "0001-01-01T00:00:60+23:59", "9999-12-31T23:59:60Z",
    "2026-11-24T09:00:00", "alice@example.org", "ALICE@example.org", [], {}, [[]], {"id": "a"}, {"id": "a", "session": "s"},
    {"role": "guest", "guest": True}, {"id": "bob", "role": "guest", "session": "1"},
]  # fmt: skip


def strange(random: Random) -> bytes:
    """An event with up to four strange things in it, whole or cut."""
    event: dict[str, Any] = {
        "tenant": "iocom", "call_id": "c1", "kind": "video", "outcome": "answered", "started_at": "2026-11-24T09:00:00Z",
        "ended_at": "2026-11-24T09:31:10.250Z",
        "parties": [{"id": "alice@example.org", "role": "host"}, {"id": "+441632960961", "role": "guest"}],
    }  # fmt: skip
    for _ in range(random.randint(1, 4)):
        parties = event.get("parties")
        kind = random.random()
        if kind < 0.4 or not isinstance(parties, list) or not parties:
            event[random.choice(FIELDS)] = random.choice(VALUES)
        elif kind < 0.5:
            parties.append(random.choice(VALUES))
        elif kind < 0.9 and isinstance(party := random.choice(parties), dict):
            party[random.choice(FIELDS)] = random.choice(VALUES)
        else:
            event["removed"] = [random.choice(VALUES) for _ in range(random.randint(0, 3))]
    raw = json.dumps(event).encode()
    return raw if random.random() > 0.05 else raw[: random.randint(0, len(raw))]


def test_nothing_strange_is_more_than_refused() -> None:
    """A worker that met another error would halt at the event for ever."""
    random = Random(7)  # noqa: S311 - the same strange events each time
    stored = refused = alone = 0
    for _ in range(size("STRANGE", 3000, 100_000)):
        raw = strange(random)
        try:
            found = read_event(raw, tenant="iocom", identity=DEFAULT, appended_ms=NOW, limits=LIMITS)
        except MessageError:
            refused += 1
            continue
        stored += 1
        assert [read_leg(text).subject for text in leg_texts(found.event)] == [each.id for each in found.event.parties]
        for error, event in refused_alone(raw, found):
            alone += 1
            place = error.pointer.split("/")
            assert json.loads(event)[place[1]] == [json.loads(raw)[place[1]][int(place[2])]]
    assert min(stored, refused, alone) > 100
