"""A disclosure gives what it was asked for, whatever happens while it waits; what is held for a court can be given to that court."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from guard_world import TENANT, GuardWorld
from test_access import RICH, parts_of, reply_key, with_calls

from calllog_guard.core.answers.whole import Answer, whole
from calllog_guard.core.profile import FORMS
from calllog_guard.core.requests.case import Case
from calllog_guard.core.requests.decision import case_id
from calllog_guard.core.requests.hold import READY
from calllog_guard.workers.disclosures import FREED

TERMS = {"authority": "Court", "basis": "Order 7", "notify": "before"}
LATER = {"notify": "when_lifted", "review_at": "2027-02-01T00:00:00Z"}


@pytest.fixture
async def world(tmp_path: Path) -> GuardWorld:
    """Three calls of alice and bob."""
    return await with_calls(tmp_path)


async def ask(world: GuardWorld, jti: str = "disclose1", who: str = "bob", **more: Any) -> None:
    """An officer asks for a disclosure."""
    await world.ask(jti, "disclose", who, key="officer-1", **{"reply_key": reply_key(world), **TERMS, **more})
    await world.run()


async def given(world: GuardWorld, jti: str = "disclose1") -> Answer:
    """A second officer approves, and the authority opens what it gets."""
    await world.ask(f"yes-{jti}", "approve", key="officer-2", case=case_id(TENANT, jti))
    await world.run()
    assert world.case(jti).state == "closed"
    found = whole(parts_of(world, jti))
    assert found.lacking == []
    return found


async def erase(world: GuardWorld, who: str = "bob") -> None:
    """The person has themselves erased."""
    await world.ask("erase-0001", "erase", who)
    await world.run()


async def later(world: GuardWorld, **time: float) -> None:
    """Time passes, and everybody works."""
    world.clock.at += timedelta(**time)
    await world.run()


def own(world: GuardWorld, jti: str, ends: str) -> Case | None:
    """A case that the disclosure has brought beside itself."""
    return world.book.get(case_id(TENANT, jti + ends))


async def test_an_erasure_in_between_empties_no_disclosure(world: GuardWorld) -> None:
    await ask(world)
    await erase(world)
    assert not [key for key in world.log.live("calllog.legs") if key in world.log.live("calllog.held")]
    assert len(world.legs()) == 3, "alice's: bob is erased at once"
    told = await given(world)
    assert len({leg.call for leg in told.legs}) == 3
    assert {leg.subject for leg in told.legs} == {"bob"}
    assert (world.case("disclose1").known, sum(world.case("disclose1").legs.values())) == (True, 3)
    assert "person/disclosed" in world.case("disclose1").notices


async def test_while_the_notice_waits_an_erasure_empties_no_disclosure(world: GuardWorld) -> None:
    world.gateway = False
    await ask(world)
    await world.ask("yes-00001", "approve", key="officer-2", case=world.case("disclose1").case)
    await world.run()
    assert world.case("disclose1").announcing
    await erase(world)
    await later(world, days=8)
    assert len(whole(parts_of(world, "disclose1")).legs) == 3


async def test_neither_an_objection_nor_expiry_in_between_empties_it(world: GuardWorld) -> None:
    await ask(world)
    await later(world, days=50)
    assert len(world.legs()) == 4, "the oldest has lapsed"
    assert len((await given(world)).legs) == 3


@pytest.mark.parametrize("end", ["given", "refused", "lost"])
async def test_the_copies_go_with_the_case(world: GuardWorld, end: str) -> None:
    await ask(world)
    assert len(world.held()) == 3
    await later(world, minutes=2)
    assert len(world.held()) == 3
    if end == "given":
        await given(world)
    elif end == "refused":
        ground = {"ground": "No duty."}
        await world.ask("no-000001", "refuse", key="officer-2", case=world.case("disclose1").case, **ground)
        await world.run()
    else:  # a crash came before the disclosure's own case was written, and its request is gone
        world.book._cases.pop(world.case("disclose1").case)
        await later(world, hours=2)
        assert len(world.held()) == 3
        await later(world, days=1)
    assert world.held() == {}
    freed = own(world, "disclose1", FREED)
    assert freed is not None
    assert (freed.state, freed.secret) == ("closed", True)
    await erase(world)
    assert world.held() == {}


async def test_what_keeps_the_copies_is_told_to_nobody(world: GuardWorld) -> None:
    """Where the law forbids telling, a receipt would tell."""
    await ask(world, **LATER)
    ready = own(world, "disclose1", READY)
    assert ready is not None
    assert ready.secret
    assert ready.case.encode() not in world.log.live("privacy.cases")
    await erase(world)
    assert world.case("erase-0001").kept == ()
    assert not any(each["kept"] for each in world.receipts("erase-0001"))


async def test_what_is_held_for_a_court_is_given_to_that_court(world: GuardWorld) -> None:
    """After an erasure nothing else is left; another authority gets nothing of it."""
    await world.hold("hold-00001", "claim", "bob", authority="Court")
    await world.run()
    await erase(world)
    await ask(world, "disclose2", authority="Police")
    assert len((await given(world, "disclose2")).legs) == 0
    await ask(world)
    told = await given(world)
    assert len({leg.call for leg in told.legs}) == 3
    await ask(world, "disclose3", "alice")
    assert {leg.subject for leg in (await given(world, "disclose3")).legs} == {"alice"}


async def test_a_range_holds_for_copies_too(world: GuardWorld) -> None:
    await world.hold("hold-00001", "claim", "bob", authority="Court")
    await world.run()
    await erase(world)
    first = (world.clock.at - timedelta(days=60)).date().isoformat()
    await ask(world, range={"from": first})
    assert len({leg.call for leg in (await given(world)).legs}) == 2


async def test_what_is_held_in_secret_is_given_where_it_is_named_and_in_secret(world: GuardWorld) -> None:
    await world.hold("hold-00001", "secret-1", "bob", authority="Court", secret=True)
    await world.run()
    await erase(world)
    await ask(world)
    assert len((await given(world)).legs) == 0, "or a count would tell that it is held"
    assert (world.case("disclose1").known, world.case("disclose1").notices) == (False, {}), "as of whom nothing is left"
    named: dict[str, Any] = {"hold": {"id": "secret-1"}}
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"authority": "Police", **LATER}, "not_for_this_authority"),
        ({}, "secret_hold"),
        ({"hold": {"id": "claim-2"}, **LATER}, "unknown_hold"),
    ]
    for number, (more, reason) in enumerate(wrong):
        await ask(world, f"wrong-00{number}", **named | more)
        assert world.dead()[-1] == reason
    await ask(world, "disclose2", **named, **LATER)
    assert case_id(TENANT, "disclose2").encode() not in world.log.live("privacy.cases")
    await world.ask("yes-00002", "approve", key="officer-2", case=case_id(TENANT, "disclose2"))
    await world.run()
    assert len(whole(parts_of(world, "disclose2")).legs) == 3


async def test_who_has_returned_is_given_as_they_are_and_as_they_were(world: GuardWorld) -> None:
    await ask(world)
    await erase(world)
    world.clock.at += timedelta(hours=2)
    await world.call("c9", "bob", days_ago=0.01)
    await world.run()
    assert len({leg.call for leg in (await given(world)).legs}) >= 3


async def test_up_to_the_first_level_of_forms_nothing_is_kept_ready(tmp_path: Path) -> None:
    """A desk of the first release would never let it go."""
    world = await GuardWorld(tmp_path, RICH, forms=1).start()
    await world.call("c1", "bob")
    await world.run()
    await ask(world)
    assert (world.held(), FORMS) == ({}, 2)


@pytest.mark.parametrize("after", [False, True])
async def test_wherever_a_worker_dies_the_copies_are_made_given_and_gone(tmp_path: Path, after: bool) -> None:  # noqa: FBT001 - drawn
    """A disclosure, an erasure, an approval: killed at every write of all of it."""
    at, blown = 0, True
    while blown:
        at += 1
        world = await with_calls(tmp_path / f"{at}")
        await world.ask("disclose1", "disclose", "bob", key="officer-1", reply_key=reply_key(world), **TERMS)
        blown = await world.run_with_crashes(at, after=after, rebuild=at % 2 == 0)
        world.fuse.at = -1
        await erase(world)
        assert len((await given(world)).legs) == 3, at
        await later(world, minutes=2)
        await later(world, minutes=2)
        assert world.held() == {}, at
        assert world.dead() == [], at
    assert at > 8
