"""From a true call history through a platform's own way of telling it: the legs are those of the history."""

from collections import defaultdict
from datetime import datetime
from random import Random
from typing import Any

import pytest
from call_tellers import CALLS, CONFERENCES, DAY, NOTIFIED, History, Stay, Told
from hypothesis import given, settings
from hypothesis import strategies as st
from sizes import size

from calllog_guard.adapters.mappings.files import mapping
from calllog_guard.core.codec import to_ms
from calllog_guard.core.sources.inputs import message_of
from calllog_guard.core.sources.notification import Notification
from calllog_guard.core.sources.pairing import SessionMoments, noted, stays

pytestmark = pytest.mark.slow
EXAMPLES = size("HISTORIES", 12, 10_000)
HOURS = 12 * 3600
LOST = 0.05
MAPPINGS = {name: mapping(name, {}) for name in {*CONFERENCES, *CALLS, *NOTIFIED}}
Legs = set[tuple[str | None, str | None, float, float, bool]]
"""Who (None for a guest), by which session, joined, left, and whether that is an estimate."""


def history_of(dice: Random) -> History:
    """People who come, go, come back, and use two devices at once; some of them nobody knows. 1 to 1,000 people."""
    many = dice.choices([(1, 12), (13, 60), (61, 1000)], [90, 9, 1])[0]
    found: list[Stay] = []
    for number in range(dice.randint(*many)):
        person = None if dice.random() < 0.2 else f"p{number}@example.org"
        at = dice.randint(0, HOURS)
        for _ in range(dice.choices([1, 2, 5], [80, 15, 5])[0]):
            left = at + dice.randint(0, HOURS // 4)
            found.append(Stay(person, f"s-{len(found)}", at, left))
            at = dice.choice([left, left + dice.randint(1, 600), at])  # at once, later, or on a second device
    return History("call-1", found)


def heard(told: list[bytes], dice: Random) -> list[bytes]:
    """Messages up to five times each, in any order."""
    found = [each for each in told for _ in range(dice.randint(1, 5))]
    dice.shuffle(found)
    return found


def mapped(name: str, raw: bytes) -> list[Any]:
    """What the mapping of a platform makes of a message; nothing is refused."""
    ours = MAPPINGS[name]
    found = list(ours.results(message_of(raw, ours.file.input), "iocom"))
    assert not [each for each in found if each.refused]
    return found


def legs(name: str, told: list[bytes], dice: Random) -> Legs:
    """The legs of the events of a platform's messages."""
    found: dict[tuple[str | None, str | None], tuple[float, float]] = {}
    for raw in heard(told, dice):
        for result in mapped(name, raw):
            event: dict[str, Any] = result.event or {"parties": []}
            for party in event["parties"]:
                assert event["call_id"].startswith("call-1")
                assert ("id" in party) is not party.get("guest", False)
                key = (party.get("id"), party.get("session"))
                span = (
                    _second(party.get("joined_at", event["started_at"])),
                    _second(party.get("left_at", event["ended_at"])),
                )
                assert found.setdefault(key, span) == span, "the same leg is told in the same way"
    return {(*key, *span, False) for key, span in found.items()}


def _second(text: str) -> float:
    return datetime.fromisoformat(text).timestamp() - DAY


def paired(name: str, told: list[bytes], dice: Random) -> Legs:
    """The legs of joins and leaves, once they are paired."""
    moments: dict[str, SessionMoments] = defaultdict(SessionMoments)
    who: dict[str, str | None] = {}
    ends: set[int] = set()
    for raw in heard(told, dice):
        for result in mapped(name, raw):
            told_of = result.notification
            assert isinstance(told_of, Notification)
            assert told_of.call == "call-1"
            if told_of.session is None:
                ends.add(to_ms(told_of.at))
                continue
            assert who.setdefault(told_of.session, told_of.person) == told_of.person
            moments[told_of.session] = noted(moments[told_of.session], told_of)
    late = (DAY + 3 * HOURS) * 1000
    return {
        (who[session], session, each.joined_ms / 1000 - DAY, (each.left_ms or 0) / 1000 - DAY, each.estimated)
        for session, known in moments.items()
        for each in stays(known, ends, late, 2 * HOURS * 1000)
    }


@pytest.mark.parametrize("name", CONFERENCES)
def test_the_legs_of_a_conference_are_those_of_its_history(name: str) -> None:
    """Reconnects, two devices, guests; messages out of order and again: no leg more, none less, to the second."""
    tell: Told = CONFERENCES[name]
    for seed in range(EXAMPLES):
        dice = Random(seed)  # noqa: S311 - dice of a test
        history = history_of(dice)
        wanted = {(*stay, False) for stay in history.stays}
        assert legs(name, tell(history), dice) == wanted, f"seed {seed}"


@pytest.mark.parametrize("name", NOTIFIED)
def test_the_legs_of_joins_and_leaves_are_those_of_their_history(name: str) -> None:
    """One leave in twenty never comes: that stay ends with the call, and says so; all others are exact."""
    tell: Told = NOTIFIED[name]
    for seed in range(EXAMPLES):
        dice = Random(seed)  # noqa: S311 - dice of a test
        history = history_of(dice)
        lost = [dice.random() < LOST for _ in history.stays]
        told, many = tell(history), len(lost)
        kept = [each for each, gone in zip(told[many : 2 * many], lost, strict=True) if not gone]
        wanted = {
            (stay.person, stay.session, stay.joined, history.ended if gone else stay.left, gone)
            for stay, gone in zip(history.stays, lost, strict=True)
        }
        assert paired(name, [*told[:many], *kept, *told[2 * many :]], dice) == wanted, f"seed {seed}"


def test_a_thousand_people_are_a_thousand_legs() -> None:
    """A message a person, or one message with a thousand."""
    people = [Stay(f"p{number}@example.org", f"s-{number}", number, number + 600) for number in range(1000)]
    for name, tell in CONFERENCES.items():
        assert len(legs(name, tell(History("call-1", people)), Random(18))) == 1000  # noqa: S311 - dice of a test


@pytest.mark.parametrize("name", CALLS)
def test_the_legs_of_a_call_of_two_are_those_of_its_history(name: str) -> None:
    """Each side tells it, and the platform tells it again."""
    tell: Told = CALLS[name]

    @settings(max_examples=EXAMPLES, deadline=None)
    @given(st.integers(0, HOURS), st.integers(0, 60), st.integers(0, HOURS), st.randoms(use_true_random=False))
    def holds(at: int, rings: int, long: int, dice: Random) -> None:
        answered = at if name == "twilio" else at + rings
        people = [
            Stay("ana@example.org", "", at, at + rings + long),
            Stay("+441632960961", "", answered, at + rings + long),
        ]
        found = {(who, joined, left) for who, _, joined, left, _ in legs(name, tell(History("call-1", people)), dice)}
        assert found == {(stay.person, stay.joined, stay.left) for stay in people}

    holds()
