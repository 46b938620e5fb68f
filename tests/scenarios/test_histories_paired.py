"""From a true call history through joins and leaves as platforms tell them: the legs are those of the history."""

import json
import random
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from call_tellers import DAY, History, Stay, iso
from guard_world import START
from sessions_world import LIMIT, SessionsWorld, ordered
from sizes import size

from calllog_guard.adapters.mappings.files import mapping, mapping_file, shipped, text_of_mapping
from calllog_guard.core.sources.inputs import message_of

pytestmark = pytest.mark.slow
EPOCH = int(START.timestamp())
Told = Callable[[History, frozenset[str]], list[Any]]


def zoom(history: History, lost: frozenset[str]) -> list[Any]:
    """Joins, leaves, and the end of the meeting."""

    def message(event: str, **more: Any) -> dict[str, Any]:
        meeting = {"id": "961", "uuid": history.call, "topic": "Weekly", "host_id": "h1"} | more
        return {"event": f"meeting.{event}", "event_ts": 1, "payload": {"account_id": "acc", "object": meeting}}

    def who(stay: Stay) -> dict[str, Any]:
        return {"user_name": "A Name", "user_id": stay.session, "email": stay.person or "", "id": ""}

    found = [message("participant_joined", participant=who(s) | {"join_time": iso(s.joined)}) for s in history.stays]
    found += [
        message("participant_left", participant=who(stay) | {"leave_time": iso(stay.left), "leave_reason": "left"})
        for stay in history.stays
        if stay.session not in lost
    ]
    return [*found, message("ended", end_time=iso(history.ended))]


def jaas(history: History, lost: frozenset[str]) -> list[Any]:
    """Likewise, by webhooks whose order nobody promises."""

    def message(kind: str, second: int, **data: Any) -> dict[str, Any]:
        named = {"eventType": kind, "sessionId": history.call, "timestamp": (DAY + second) * 1000}
        return named | {"appId": "vpaas", "data": {"conference": "weekly@x", **data}}

    def who(stay: Stay) -> dict[str, Any]:
        return {"participantId": stay.session, "name": "A Name"} | (
            {} if stay.person is None else {"email": stay.person}
        )

    found = [message("PARTICIPANT_JOINED", stay.joined, **who(stay)) for stay in history.stays]
    found += [message("PARTICIPANT_LEFT", stay.left, **who(stay)) for stay in history.stays if stay.session not in lost]
    return [*found, message("ROOM_DESTROYED", history.ended)]


def bigbluebutton(history: History, lost: frozenset[str]) -> list[Any]:
    """In lists of one; who is inside at the end has no leave."""

    def message(kind: str, second: int, user: dict[str, Any] | None = None) -> list[Any]:
        meeting = {"internal-meeting-id": history.call, "external-meeting-id": "weekly", "name": "Weekly"}
        attributes = {"meeting": meeting} | ({} if user is None else {"user": user})
        return [
            {"data": {"type": "event", "id": kind, "attributes": attributes, "event": {"ts": (DAY + second) * 1000}}}
        ]

    def who(stay: Stay) -> dict[str, Any]:
        return {"internal-user-id": stay.session, "external-user-id": stay.person or stay.session, "name": "A Name"}

    found = [message("user-joined", stay.joined, who(stay)) for stay in history.stays]
    found += [message("user-left", stay.left, who(stay)) for stay in history.stays if stay.session not in lost]
    return [*found, message("meeting-ended", history.ended)]


def matrix(history: History, lost: frozenset[str]) -> list[Any]:
    """Room state, prolonged now and then; nobody is a guest, and nothing ends a call."""

    def message(stay: Stay, second: int, content: dict[str, Any]) -> dict[str, Any]:
        return {
            "type": "org.matrix.msc3401.call.member", "room_id": history.call, "state_key": f"_{stay.session}_m.call",
            "sender": stay.person or f"@{stay.session}:example.org", "origin_server_ts": (DAY + second) * 1000,
            "content": content,
        }  # fmt: skip

    content: dict[str, Any] = {"application": "m.call", "call_id": "", "device_id": "D", "expires": 14_400_000}
    found = [message(stay, stay.joined, content) for stay in history.stays]
    found += [
        message(stay, (stay.joined + stay.left) // 2, content | {"created_ts": (DAY + stay.joined) * 1000})
        for stay in history.stays
    ]
    return found + [message(stay, stay.left, {}) for stay in history.stays if stay.session not in lost]


PAIRED: dict[str, Told] = {"zoom": zoom, "jaas": jaas, "bigbluebutton": bigbluebutton, "matrix": matrix}


def test_every_mapping_that_tells_notifications_is_told_here() -> None:
    assert set(PAIRED) == {
        name for name in shipped() if mapping_file(text_of_mapping(name), {}).tells == "notification"
    }


@pytest.mark.parametrize("seed", range(size("PAIRED", 3, 2500)))
@pytest.mark.parametrize("name", PAIRED)
async def test_the_legs_of_joins_and_leaves_are_those_of_the_history(tmp_path: Path, name: str, seed: int) -> None:
    """Devices, reconnects, guests; shuffled, up to five times each, 5 % of leaves lost: to the second where none was."""
    dice = random.Random(seed)  # noqa: S311 - dice of a test
    many = 1000 if seed == 0 and size("PAIRED", 0, 1) else dice.randint(1, 30)
    people = [None, *(f"p{number}@example.org" for number in range(max(2, many // 2)))]
    begun = [dice.randrange(0, 12 * 3600) for _ in range(many)]
    stays = [Stay(dice.choice(people), f"s-{n}", at, at + dice.randrange(1, 12 * 3600)) for n, at in enumerate(begun)]
    history = History("call-1", stays)
    lost = frozenset(stay.session for stay in stays if dice.random() < 0.05)
    told = [json.dumps(each).encode() for each in PAIRED[name](history, lost) for _ in range(dice.randint(1, 5))]
    dice.shuffle(told)

    world, ours = await SessionsWorld(tmp_path).start(), mapping(name, {})
    for raw in told:
        for result in ours.results(message_of(raw, ours.file.input), "iocom"):
            assert result.notification, result
            await world.tell(result.notification, source=name)
    await world.pair(dice.choice([7, 1000]))
    await world.pass_time(LIMIT + timedelta(hours=3))
    await world.pair()

    def span(stay: Stay) -> tuple[str | None, int, int | None, bool]:
        person = stay.person or (f"@{stay.session}:example.org" if name == "matrix" else None)
        ended = stay.joined + int(LIMIT.total_seconds()) if name == "matrix" else history.ended
        left = ended if stay.session in lost else stay.left
        return person, DAY + stay.joined - EPOCH, DAY + left - EPOCH, stay.session in lost

    assert world.spans() == ordered(map(span, stays))
    assert world.dead() == []
