"""Calls as platforms report them: several stays in one have a leg each; one party's fault is nobody else's loss."""

import json
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from guard_world import START, TENANT, GuardWorld
from msgspec import UNSET
from test_access import RICH, answer
from test_call_references import copies
from test_parking import ALICE, BOB, again, legs, places

from calllog_guard.core.calls.event import CallEvent, Party
from calllog_guard.core.calls.leg import Leg, emptied, leg_texts, read_leg
from calllog_guard.core.calls.parked import WaitingPart, event_of
from calllog_guard.core.codec import encode, time_text
from calllog_guard.core.crypto.jose import open_sealed
from calllog_guard.core.identifiers import named_call
from calllog_guard.core.records import Output
from calllog_guard.metrics import Counters
from calllog_guard.reports.calls import pages_of

CAROL = "carol@example.org"


async def publish(world: GuardWorld, call: str, parties: Sequence[Any], **more: Any) -> None:
    """An event of a call that began yesterday and took half an hour."""
    start = world.clock.at - timedelta(days=1)
    times = {"started_at": time_text(start), "ended_at": time_text(start + timedelta(minutes=30))}
    event = {"tenant": TENANT, "call_id": call, "kind": "video", "outcome": "answered"} | times | more
    event = {name: value for name, value in event.items() if value is not None} | {"parties": parties}
    await world.log.write([Output("calllog.events", 0, call.encode(), json.dumps(event).encode())])


def of(who: str, session: str | None = None, role: str = "guest", **more: Any) -> dict[str, Any]:
    """A party."""
    return {"id": who, "role": role} | ({} if session is None else {"session": session}) | more


def letters(world: GuardWorld) -> list[tuple[str, str, dict[str, Any]]]:
    """Of each dead letter why, where, and what the operator reads in it."""
    operator = (world.folder / "operator-1.pem").read_bytes()
    found = [json.loads(each.value) for each in world.log.records["calllog.dead", 0] if each.value]
    return [(each["reason"], each["at_pointer"], json.loads(open_sealed(operator, each["jwe"]))) for each in found]


@pytest.fixture
async def world(tmp_path: Path) -> GuardWorld:
    """An installation without calls."""
    return await GuardWorld(tmp_path, RICH).start()


def said(found: Sequence[Leg]) -> list[tuple[Any, ...]]:
    """Session, joined and left of some legs, sorted."""
    return sorted((leg.session or "", leg.joined_at or "", leg.left_at or "") for leg in found)


async def test_who_reconnects_has_a_leg_for_each_session(world: GuardWorld) -> None:
    """Neither session replaces the other, and people are counted once."""
    await publish(world, "c1", [of(ALICE, role="host"), of(BOB, "s1"), of(BOB, "s2")])
    await world.run()
    assert [leg.session for leg in sorted(await legs(world, BOB), key=lambda leg: str(leg.session))] == ["s1", "s2"]
    assert {leg.parties for who in (ALICE, BOB) for leg in await legs(world, who)} == {2}
    assert (len(world.legs()), world.dead()) == (3, [])


async def test_a_session_that_is_told_again_replaces_itself_alone(world: GuardWorld) -> None:
    """Whether in one event or several."""
    early, late = (time_text(world.clock.at - timedelta(hours=hours)) for hours in (23.9, 23.8))
    await publish(world, "c1", [of(BOB, "s1"), of(BOB, "s2"), of(BOB)])
    await publish(world, "c1", [of(BOB, "s2", joined_at=early, left_at=late)])
    await world.run()
    found = await legs(world, BOB)
    assert len(found) == 3
    assert {leg.session: leg.left_at for leg in found}["s2"] == late


async def test_who_is_named_twice_without_sessions_has_a_leg_for_each_stay(world: GuardWorld) -> None:
    """A platform that reports stays without a name: in any order, told again, and after a report of the first alone."""
    at = [time_text(world.clock.at - timedelta(hours=hours)) for hours in (24, 23.9, 23.8, 23.7)]
    first, again = of(BOB, joined_at=at[0], left_at=at[1]), of(BOB, joined_at=at[2], left_at=at[3])
    device = of(BOB.upper(), joined_at=at[2])
    await publish(world, "c1", [of(ALICE, role="host"), of(BOB, left_at=at[1])])
    for parties in ([first, again, device], [device, again, first], [again, first, device]):
        await publish(world, "c1", [of(ALICE, role="host"), *parties])
        await world.run()
        found = [(leg.joined_at, leg.left_at) for leg in await legs(world, BOB)]
        ended = time_text(world.clock.at - timedelta(hours=23.5))
        assert sorted(found, key=str) == sorted([(at[0], at[1]), (at[2], at[3]), (at[2], ended)], key=str)
        assert {leg.parties for leg in await legs(world, ALICE)} == {2}
    assert world.dead() == []
    await publish(world, "c1", [of(ALICE, role="host"), first, {**first, "role": "callee"}])
    await publish(world, "c1", [of(ALICE), of(BOB), of(BOB)], outcome="missed")
    await world.run()
    assert world.dead() == ["duplicate_party"] * 2


async def test_a_session_that_is_removed_takes_no_other_with_it(world: GuardWorld) -> None:
    """The plain form means the leg without a session."""
    await publish(world, "c1", [of(BOB, "s1"), of(BOB, "s2"), of(BOB)])
    await publish(world, "c1", [of(ALICE)], removed=[{"id": BOB, "session": "s1"}, BOB])
    await world.run()
    assert [leg.session for leg in await legs(world, BOB)] == ["s2"]
    await publish(world, "c1", [], removed=[{"id": BOB, "session": "s2"}])
    await world.run()
    assert (await legs(world, BOB), world.dead()) == ([], [])


async def test_an_erasure_reaches_every_session(world: GuardWorld) -> None:
    """And what law keeps is a copy of each."""
    await publish(world, "c1", [of(BOB, "s1", role="host"), of(BOB, "s2", role="host"), of(ALICE)])
    await world.run()
    await world.ask("erase-01", "erase", BOB)
    await world.run()
    assert (len(world.legs()), len(world.held())) == (1, 2)
    assert next(each["legs"] for each in world.receipts("erase-01") if each["stage"] == "tombstoned") == 2


async def test_a_correction_is_of_one_session(world: GuardWorld) -> None:
    """It stands when the session is told again, and other sessions keep what they say."""
    await publish(world, "c1", [of(BOB, "s1"), of(BOB, "s2")])
    await world.run()
    await world.ask("rectify-01", "rectify", BOB, facts={"call_id": "c1", "session": "s2", "role": "host"})
    await world.run()
    await publish(world, "c1", [of(BOB, "s1"), of(BOB, "s2")])
    await world.run()
    assert {leg.session: leg.role for leg in await legs(world, BOB)} == {"s1": "guest", "s2": "host"}


async def test_a_correction_reaches_the_copy_of_its_session_alone(world: GuardWorld) -> None:
    """Also of somebody who is erased."""
    await publish(world, "c1", [of(BOB, "s1", role="host"), of(BOB, "s2", role="host")])
    await world.run()
    await world.ask("erase-01", "erase", BOB)
    await world.run()
    left = time_text(world.clock.at - timedelta(hours=23.9))
    await world.ask("rectify-01", "rectify", BOB, facts={"call_id": "c1", "session": "s2", "left_at": left})
    await world.run()
    found = {leg.session: leg.left_at for _, leg in await copies(world)}
    assert (found["s2"], found["s1"] != left) == (left, True)


async def test_an_answer_names_each_session(world: GuardWorld) -> None:
    """A person sees two connections, and by which name each can be corrected."""
    await publish(world, "c1", [of(BOB, "s1"), of(BOB, "s2"), of(ALICE)])
    await world.run()
    found = (await answer(world, "access-01", BOB)).legs
    assert sorted((str(leg.session), leg.parties) for leg in found) == [("s1", 2), ("s2", 2)]


async def test_a_session_waits_with_its_part(world: GuardWorld) -> None:
    """A part that was parked is stored under its own session's token."""
    await world.call("known", BOB)
    await world.run()
    entries = dict(world.keystore.entries)
    del world.keystore.entries[(await places(world, BOB))["key"]]
    await publish(world, "c1", [of(BOB, "s1"), of(BOB, "s2")])
    await world.run()
    world.keystore.entries.update(entries)
    again(world)
    await world.run()
    assert sorted(str(leg.session) for leg in await legs(world, BOB) if leg.session) == ["s1", "s2"]


async def test_a_time_that_nobody_told_says_so_until_somebody_corrects_it(world: GuardWorld) -> None:
    """In the record, in an answer and on its page; a role that is corrected says nothing of times."""
    await publish(world, "c1", [of(ALICE, role="host", estimated=True), of(BOB, "s1", estimated=True), of(CAROL)])
    await world.run()
    assert [leg.estimated for who in (ALICE, BOB, CAROL) for leg in await legs(world, who)] == [True, True, UNSET]
    (found,) = (await answer(world, "access-01", BOB)).legs
    assert (found.estimated, "an estimate" in next(pages_of([found], "UTC"))[0].rows[0].seen) == (True, True)
    left = time_text(world.clock.at - timedelta(hours=23.9))
    for number, (who, facts) in enumerate(
        ((ALICE, {"call_id": "c1", "role": "guest"}), (BOB, {"call_id": "c1", "session": "s1", "left_at": left}))
    ):
        await world.ask(f"rectify-{number}", "rectify", who, facts=facts)
        await world.run()
    assert [leg.estimated for who in (ALICE, BOB) for leg in await legs(world, who)] == [True, UNSET]


def test_a_part_that_waits_keeps_that_its_times_are_estimated() -> None:
    """In the letter that can be replayed, too."""
    event = CallEvent(tenant=TENANT, call_id="c1", kind="video", outcome="answered", started_at=START, parties=(
        Party(id=BOB, role="guest", session="s1", estimated=True), Party(id=ALICE, role="host"),
    ))  # fmt: skip
    for text, wanted in zip(leg_texts(event), (True, None), strict=True):
        part = WaitingPart(lookup="A" * 43, mask=1, text=text.decode(), call="c1", started_ms=1, appended_ms=2)
        assert json.loads(event_of(part, TENANT))["parties"][0].get("estimated") is wanted
        assert encode(read_leg(text)) == text
        assert read_leg(emptied(text)).estimated is UNSET


# --- an id that is used again ------------------------------------------------------------------------------------------


async def test_calls_of_one_id_stay_apart_by_their_occurrence(world: GuardWorld) -> None:
    """Last week's meeting is not this week's; each is told again, corrected and removed by itself, and named by a reference of its own."""
    for occurrence in ("w1", "w2", "w2", None):
        await publish(world, "weekly", [of(ALICE), of(BOB, "s1")], occurrence=occurrence)
    await world.run()
    assert (len(await legs(world, ALICE)), len({leg.call for leg in await legs(world, ALICE)})) == (3, 3)
    facts = {"call_id": "weekly", "occurrence": "w2", "session": "s1", "role": "host"}
    await world.ask("rectify-01", "rectify", BOB, facts=facts)
    await publish(world, "weekly", [of(ALICE)], removed=[{"id": BOB, "session": "s1"}], occurrence="w1")
    await world.run()
    assert sorted(leg.role for leg in await legs(world, BOB)) == ["guest", "host"]


def test_a_part_that_waits_keeps_its_occurrence() -> None:
    """Its letter, if it waits in vain, can be replayed."""
    part = WaitingPart(
        lookup="A" * 43, mask=0, text=None, removed=BOB, call=named_call("weekly", "w1"), started_ms=1, appended_ms=2, session="s1"
    )  # fmt: skip
    found = json.loads(event_of(part, TENANT))
    assert (found["call_id"], found["occurrence"], found["removed"]) == ("weekly", "w1", [{"id": BOB, "session": "s1"}])
    assert json.loads(event_of(msgspec.structs.replace(part, call="weekly"), TENANT)).keys() == {
        "tenant",
        "call_id",
        "removed",
    }


async def test_an_id_that_comes_again_without_one_is_told(world: GuardWorld) -> None:
    """The new call replaces the old one's legs: nobody else can know that it is another."""
    await publish(world, "weekly", [of(ALICE), of(BOB)])
    await world.run()
    world.clock.at += timedelta(days=7)
    await publish(world, "weekly", [of(ALICE)])
    await publish(world, "weekly", [of(BOB)], occurrence="w2")
    await world.run()
    assert (world.counts[Counters.calls_reused], len(world.legs())) == (1, 3)


# --- one party is wrong -----------------------------------------------------------------------------------------------

WRONG: list[tuple[Any, str, str]] = [
    (of(""), "wrong_value", "/parties/1/id"),
    (of(CAROL) | {"id": None}, "missing_field", "/parties/1/id"),
    ({"role": "guest"}, "missing_field", "/parties/1/id"),
    (of("x" * 257), "wrong_value", "/parties/1/id"),
    (of("a\u0007b"), "bad_id", "/parties/1/id"),
    (of(CAROL, name="Carol"), "unknown_field", "/parties/1"),
    (of(CAROL, role="boss"), "wrong_value", "/parties/1/role"),
    (of(CAROL, "s\u0007"), "bad_id", "/parties/1/session"),
    (of(CAROL, joined_at="yesterday"), "wrong_value", "/parties/1/joined_at"),
    (of(CAROL, joined_at="1999-01-01T00:00:00Z"), "bad_time", "/parties/1/joined_at"),
    (of(CAROL, left_at="2026-11-01T09:00:00Z"), "end_before_start", "/parties/1/left_at"),
    (of(CAROL, guest=True), "guest_with_id", "/parties/1/guest"),
    (7, "wrong_value", "/parties/1"),
]


async def test_one_wrong_party_is_nobody_elses_loss(world: GuardWorld) -> None:
    """The others' legs count it; its letter names its place, and says nothing of the others."""
    for number, (party, _, _) in enumerate(WRONG):
        await publish(world, f"c{number}", [of(ALICE, role="host"), party, of(BOB)])
    await world.run()
    assert [leg.parties for who in (ALICE, BOB) for leg in await legs(world, who)] == [3] * 2 * len(WRONG)
    found = letters(world)
    assert [(why, where) for why, where, _ in found] == [(why, where) for _, why, where in WRONG]
    for (party, _, _), (_, _, event) in zip(WRONG, found, strict=True):
        assert (event["parties"], event["party_count"]) == ([party], 3)
        assert ALICE not in json.dumps(event)


async def test_a_refused_party_is_stored_once_it_is_mended(world: GuardWorld) -> None:
    """The letter's payload is an event: mended and replayed it gives the leg that was missing, and changes no other."""
    await publish(world, "c1", [of(ALICE, role="host"), of(BOB, name="Bob")])
    await world.run()
    before = world.legs()
    event = letters(world)[0][2]
    del event["parties"][0]["name"]
    await world.log.write([Output("calllog.events", 0, b"c1", json.dumps(event).encode())])
    await world.run()
    assert [leg.parties for leg in await legs(world, BOB)] == [2]
    assert before.items() <= world.legs().items()


async def test_the_same_party_twice_without_a_session_is_kept_once(world: GuardWorld) -> None:
    """The second is the letter's, and is no second person."""
    await publish(world, "c1", [of(ALICE, role="host"), of(BOB), of("BOB@example.org"), of(BOB, "s1"), of(BOB, "s1")])
    await world.run()
    assert [leg.parties for leg in await legs(world, ALICE)] == [2]
    assert [(why, where) for why, where, _ in letters(world)] == [
        ("duplicate_party", "/parties/2/id"),
        ("duplicate_party", "/parties/4/id"),
    ]


async def test_a_wrong_removal_leaves_the_others_in_force(world: GuardWorld) -> None:
    """What is right of an event is done."""
    await publish(world, "c1", [of(BOB), of(CAROL)])
    await publish(world, "c1", [of(ALICE)], removed=[BOB, "", {"id": CAROL, "session": ""}, ALICE, CAROL])
    await world.run()
    assert (await legs(world, BOB), await legs(world, CAROL), len(await legs(world, ALICE))) == ([], [], 1)
    assert [(why, where) for why, where, _ in letters(world)] == [
        ("wrong_value", "/removed/1"),
        ("wrong_value", "/removed/2/session"),
        ("removed_party_present", "/removed/3"),
    ]


async def test_an_event_of_which_nothing_is_right_is_one_letter(world: GuardWorld) -> None:
    """Its payload is the whole event."""
    await publish(world, "c1", [of(""), of("", "s1")])
    await publish(world, "c2", [])
    await publish(world, "c3", [of(ALICE), of(BOB)], party_count=1)
    await publish(world, "c4", [of(ALICE), of(BOB)], kind="radio")
    await world.run()
    assert ([why for why, _, _ in letters(world)], len(world.legs())) == (
        ["wrong_value", "wrong_count", "wrong_count", "wrong_value"],
        0,
    )


# --- guests and large calls -------------------------------------------------------------------------------------------


async def test_a_guest_counts_and_leaves_no_leg(world: GuardWorld) -> None:
    """Two strangers of one name are two, and nobody."""
    guest = {"guest": True, "role": "guest"}
    await publish(world, "c1", [of(ALICE, role="host"), guest, guest | {"session": "s1"}])
    await world.run()
    assert [leg.parties for leg in await legs(world, ALICE)] == [3]
    assert (len(world.legs()), world.dead()) == (1, [])


async def test_a_call_may_be_told_in_several_events(world: GuardWorld) -> None:
    """Each says how many there were."""
    await publish(world, "c1", [of(ALICE, role="host")], party_count=20_000)
    await publish(world, "c1", [of(BOB)], party_count=20_000)
    await world.run()
    assert [leg.parties for who in (ALICE, BOB) for leg in await legs(world, who)] == [20_000, 20_000]


async def test_guests_alone_leave_nothing_and_no_letter(world: GuardWorld) -> None:
    """A call of strangers is no fault."""
    await publish(world, "c1", [{"guest": True, "role": "guest"}])
    await world.run()
    assert (len(world.legs()), world.dead()) == (0, [])


# --- times ------------------------------------------------------------------------------------------------------------

FORMS = [
    "2026-11-23T09:00:00z", "2026-11-23T09:00:00.0Z", "2026-11-23T10:00:00.000000000+0100", "2026-11-23t09:00:00+00:00",
    1_795_424_400, 1_795_424_400.0, 1_795_424_400_000, 1_795_424_400_000_000,
]  # fmt: skip

NO_TIMES = [True, -1, 0, 10**400, 1e300, 17_954_244_000, "1795424400", "2026-11-23T09:00:60Z", "2026-11-23T09:00:00"]


async def test_a_time_may_come_in_any_form_that_platforms_have(world: GuardWorld) -> None:
    """In every place where there is one."""
    for number, form in enumerate(FORMS):
        times = {"started_at": form, "ended_at": form}
        await publish(world, f"c{number}", [of(ALICE), of(BOB, joined_at=form, left_at=form)], **times)
    await world.run()
    for who in (ALICE, BOB):
        found = await legs(world, who)
        assert len(found) == len(FORMS)
        for leg in found:
            assert {leg.started_at, leg.ended_at, leg.joined_at, leg.left_at} == {"2026-11-23T09:00:00Z"}


async def test_what_is_no_time_is_refused(world: GuardWorld) -> None:
    """A number of no year that a call can be of, a second that there never was, a time of no zone."""
    for form in NO_TIMES:
        await publish(world, "c1", [of(ALICE)], started_at=form)
    await world.run()
    assert [(why, where) for why, where, _ in letters(world)] == [("wrong_value", "/started_at")] * len(NO_TIMES)


async def test_a_leap_second_is_the_next(world: GuardWorld) -> None:
    """As clocks that have none count it; it is told."""
    times = {"started_at": "2026-10-31T23:59:60.5Z", "ended_at": "2026-11-01T02:59:60+03:00"}
    await publish(world, "c1", [of(ALICE, left_at="2026-11-01T00:10:00Z")], **times)
    await world.run()
    (leg,) = await legs(world, ALICE)
    assert (leg.started_at, leg.left_at) == ("2026-11-01T00:00:00.500Z", "2026-11-01T00:10:00Z")
    assert leg.ended_at == leg.started_at
    assert world.counts[Counters.events_mended["leap_second"]] == 2


async def test_clocks_may_differ_a_little(world: GuardWorld) -> None:
    """Who left a moment before joining left at once; the call too; further apart it is a fault."""
    start = world.clock.at - timedelta(days=1)
    early, far = (time_text(start - timedelta(seconds=seconds)) for seconds in (5, 5.001))
    await publish(world, "c1", [of(ALICE), of(BOB, left_at=early)], ended_at=early)
    await publish(world, "c2", [of(ALICE), of(BOB, left_at=far)])
    await publish(world, "c3", [of(ALICE)], ended_at=far)
    await world.run()
    found = [leg for leg in await legs(world, ALICE) if leg.ended_at == leg.started_at]
    assert said(found) == said(await legs(world, BOB)) == [("", time_text(start), time_text(start))]
    assert world.counts[Counters.events_mended["skew"]] == 2
    assert [(why, where) for why, where, _ in letters(world)] == [
        ("end_before_start", "/parties/1/left_at"),
        ("end_before_start", "/ended_at"),
    ]


async def test_a_call_that_goes_on_is_open_until_its_end_is_told(world: GuardWorld) -> None:
    """Nobody knows yet how long it was; the event that says it replaces the open leg."""
    await publish(world, "c1", [of(ALICE), of(BOB, "s1")], ended_at=None)
    await world.run()
    assert {(leg.ended_at, leg.left_at) for who in (ALICE, BOB) for leg in await legs(world, who)} == {(None, None)}
    await publish(world, "c1", [of(ALICE), of(BOB, "s1")])
    await world.run()
    assert None not in [leg.left_at for who in (ALICE, BOB) for leg in await legs(world, who)]
    assert (len(world.legs()), world.dead()) == (2, [])


# --- the first level of forms -----------------------------------------------------------------------------------------


LATER: list[tuple[Sequence[Any], dict[str, Any], str]] = [
    ([of(BOB, "s1")], {}, "unknown_field"),
    ([of(BOB, estimated=True)], {}, "unknown_field"),
    ([{"guest": True, "role": "guest"}], {}, "unknown_field"),
    ([of(ALICE), of(BOB)], {"party_count": 2}, "unknown_field"),
    ([of(ALICE)], {"occurrence": "w1"}, "unknown_field"),
    ([], {"removed": [BOB]}, "wrong_count"),
    ([of(ALICE)], {"removed": [{"id": BOB, "session": "s1"}]}, "wrong_value"),
    ([of(ALICE), of("")], {}, "wrong_value"),
    ([of(ALICE), {"role": "guest"}], {}, "missing_field"),
    ([of(ALICE), of(ALICE)], {}, "duplicate_party"),
    ([of(ALICE)], {"ended_at": None}, "missing_field"),
    ([of(ALICE)], {"ended_at": "2026-11-23T08:59:59Z"}, "end_before_start"),
    ([of(ALICE)], {"ended_at": 1_795_424_400}, "wrong_value"),
]


async def test_a_tenant_of_the_first_level_goes_on_as_before(tmp_path: Path) -> None:
    """That release's workers may run beside ours, and would refuse it: the letter can be replayed after an upgrade."""
    world = await GuardWorld(tmp_path, forms=1).start()
    for parties, more, _ in LATER:
        await publish(world, "c1", parties, **more)
    await world.run()
    assert ([why for why, _, _ in letters(world)], len(world.legs())) == ([why for _, _, why in LATER], 0)
