"""A disclosure gives what it was asked for, whatever happens meanwhile; what a court has held can go to it."""

import hashlib
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from guard_world import GuardWorld
from sizes import EACH_WRITE
from test_access import RICH, parts_of, reply_key, with_calls

from calllog_guard.core.answers.parts import PARTS, Part
from calllog_guard.core.answers.whole import Answer, whole
from calllog_guard.core.cases.case import Case
from calllog_guard.core.cases.secret_cases import PART, jwe_of
from calllog_guard.core.codec import decode
from calllog_guard.core.crypto.jose import open_sealed
from calllog_guard.core.decisions.hold import READY
from calllog_guard.core.identifiers import b64
from calllog_guard.core.profile import FORMS
from calllog_guard.core.rights.grants import rights
from calllog_guard.metrics import Counters
from calllog_guard.workers.desk.decisions.disclosures import FREED

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
    await world.ask(f"yes-{jti}", "approve", key="officer-2", case=world.id_of(jti))
    await world.run()
    assert world.case(jti).state == "closed"
    found = whole(parts_of(world, jti))
    assert found.lacking == []
    return found


async def nothing(world: GuardWorld, jti: str = "disclose1") -> Case:
    """A second officer approves, and keepers find nothing to give: the case says so, and nobody was told of it."""
    await world.ask(f"yes-{jti}", "approve", key="officer-2", case=world.id_of(jti))
    await world.run()
    case = world.case(jti)
    assert (case.state, case.waits_for, case.notices) == ("waiting", "officer", {})
    assert world.receipts(jti)[-1]["stage"] == "unfound"
    assert (parts_of(world, jti), world.log.records["privacy.notices", 0]) == ([], [])
    return case


def secret_parts(world: GuardWorld) -> list[Part]:
    """The parts that lie in the topic of orders, opened."""
    pem, live = (world.folder / "operator-1.pem").read_bytes(), world.log.live("privacy.orders")
    return [decode(PARTS, open_sealed(pem, jwe_of(live[key]).decode())) for key in in_orders(world)]


def in_orders(world: GuardWorld) -> list[bytes]:
    """Their keys."""
    return [key for key in world.log.live("privacy.orders") if key.startswith(PART)]


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
    return world.book.get(world.id_of(jti + ends))


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
    await nothing(world, "disclose2")
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
    assert (await nothing(world)).known is False, "as of whom nothing is left, or it would tell that it is held"
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
    assert world.id_of("disclose2").encode() not in world.log.live("privacy.cases")
    await world.ask("yes-00002", "approve", key="officer-2", case=world.id_of("disclose2"))
    await world.run()
    assert parts_of(world, "disclose2") == []
    assert len(whole(secret_parts(world)).legs) == 3


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
@pytest.mark.slow
async def test_wherever_a_worker_dies_the_copies_are_made_given_and_gone(tmp_path: Path, after: bool) -> None:  # noqa: FBT001
    """A disclosure, an erasure, an approval: killed at every write of all of it."""
    at, blown = 0, True
    while blown:
        at += EACH_WRITE
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


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("rebuild", [False, True])
@pytest.mark.slow
async def test_wherever_a_worker_dies_while_it_is_erased_and_given_it_is_given_whole(
    tmp_path: Path,
    after: bool,  # noqa: FBT001 - drawn
    rebuild: bool,  # noqa: FBT001 - drawn
) -> None:
    """Killed at every write of the erasure, of the approval and of the release."""
    at, blown = 0, True
    while blown:
        at += EACH_WRITE
        world = await with_calls(tmp_path / f"{at}")
        await ask(world)
        await world.ask("erase-0001", "erase", "bob")
        await world.ask("yes-00001", "approve", key="officer-2", case=world.case("disclose1").case)
        blown = await world.run_with_crashes(at, after=after, rebuild=rebuild)
        world.fuse.at = -1
        assert world.case("disclose1").state == "closed", at
        assert len(whole(parts_of(world, "disclose1")).legs) == 3, at
        await later(world, minutes=2)
        assert world.held() == {}, at
        assert world.dead() == [], at
    assert at > 20


AUTHORITY = """\
[version.tenant.iocom.requesters.police-1]
role = "authority_desk"
key = "backend-1.pub.pem"
[version.tenant.iocom.recipients.court]
key = "operator-1.pub.pem"
told = ["erased", "rectified", "restricted"]
"""
NAMED: dict[str, Any] = {"hold": {"id": "secret-1"}, "order": True, **LATER}


async def with_secret(folder: Path, policy: str = RICH) -> GuardWorld:
    """Bob is held in secret for the court; he has been erased, and is back."""
    world = await with_calls(folder, policy)
    await world.hold("hold-00001", "secret-1", "bob", authority="Court", secret=True)
    await world.run()
    return world


async def test_what_is_disclosed_of_a_secret_hold_shows_nowhere_but_among_the_orders(tmp_path: Path) -> None:
    """Neither in a topic a backend reads, nor in a figure; whoever looks for exports there would learn of the hold."""
    world = await with_secret(tmp_path)
    readable = [topic for topic, users in rights().items() if "R" in users["backend"] + users["recipient"]]
    assert "privacy.exports" in readable
    before = {topic: len(world.log.records[topic, 0]) for topic in readable}
    await ask(world, **NAMED)
    await world.ask("yes-00001", "approve", key="officer-2", case=world.id_of("disclose1"), order=True)
    await world.run()
    assert world.case("disclose1").state == "closed"
    assert len(in_orders(world)) > 1
    assert {topic: len(world.log.records[topic, 0]) for topic in readable} == before
    given_ = [jwe_of(value) for key, value in world.log.live("privacy.orders").items() if key.startswith(PART)]
    digests = {b64(hashlib.sha256(each).digest()).decode() for each in given_}
    assert digests == {each for some in world.case("disclose1").digests.values() for each in some}
    await world.ask("erase-0001", "erase", "bob")
    await world.run()
    assert [trace.given for trace in (world.case("erase-0001").traces or {}).values()] == [()]


async def test_no_recipient_hears_that_records_were_disclosed_of_a_secret_hold(tmp_path: Path) -> None:
    world = await with_secret(tmp_path, RICH + AUTHORITY)
    await ask(world, **NAMED)
    await world.ask("yes-00001", "approve", key="officer-2", case=world.id_of("disclose1"), order=True)
    await world.run()
    await world.ask("erase-0001", "erase", "bob")
    await world.run()
    assert not [name for name in world.case("erase-0001").notices if name.startswith("court/")]
    await ask(world, "disclose2", "alice")
    await given(world, "disclose2")
    await world.ask("erase-0002", "erase", "alice")
    await world.run()
    assert "court/erased" in world.case("erase-0002").notices, "the others are told"


async def test_the_parts_of_a_secret_disclosure_go_with_those_of_the_others(tmp_path: Path) -> None:
    """A compacted topic lets nothing go by itself."""
    world = await with_secret(tmp_path)
    await ask(world, **NAMED)
    await world.ask("yes-00001", "approve", key="officer-2", case=world.id_of("disclose1"), order=True)
    await world.run()
    parts = in_orders(world)
    assert parts
    await later(world, days=29)
    assert in_orders(world) == parts
    await world.restart()
    await later(world, days=2)
    assert in_orders(world) == []


async def test_only_officers_name_a_hold(tmp_path: Path) -> None:
    """Else an authority's desk could find out by the answers which holds there are."""
    world = await with_secret(tmp_path, RICH + AUTHORITY)
    (tmp_path / "police-1.pem").write_bytes((tmp_path / "backend-1.pem").read_bytes())
    for number, name in enumerate(("secret-1", "nothing-1")):
        more = {**TERMS, **LATER, "reply_key": reply_key(world), "hold": {"id": name}}
        await world.ask(f"asked-00{number}", "disclose", "bob", key="police-1", **more)
        await world.run()
    assert world.dead() == ["wrong_role", "wrong_role"]


async def test_no_brake_is_moved_by_a_secret_disclosure(tmp_path: Path) -> None:
    world = await with_secret(tmp_path, RICH.replace("disclosures_per_hour = 100\n", "disclosures_per_hour = 1\n"))
    await ask(world, **NAMED)
    await world.ask("yes-00001", "approve", key="officer-2", case=world.id_of("disclose1"), order=True)
    await ask(world, "disclose2", "alice")
    assert world.case("disclose2").waits_for == "second_officer"


async def test_copies_that_an_officer_has_let_go_are_let_go(world: GuardWorld) -> None:
    await ask(world)
    ready = own(world, "disclose1", READY)
    assert ready is not None
    await world.release("release-1", f"disclosure:{world.case('disclose1').case}")
    await world.run()
    assert world.held() == {}
    await given(world)
    await later(world, minutes=2)
    assert own(world, "disclose1", FREED) is None


# --- of nothing -----------------------------------------------------------------------------------------------------


OLD: dict[str, Any] = {"range": {"to": "2020-12-31"}}


async def test_of_a_disclosure_of_nothing_an_officer_decides_and_nobody_hears(world: GuardWorld) -> None:
    """Somebody is known, and nothing in the range: the case says so before anything is announced."""
    await ask(world, **OLD)
    case = await nothing(world)
    assert (case.known, case.of_nothing) == (True, True)
    ground = {"ground": "No record of those days."}
    await world.ask("no-000001", "refuse", key="officer-1", case=case.case, **ground)
    await world.run()
    assert (world.case("disclose1").state, world.case("disclose1").notices) == ("refused", {})
    await later(world, minutes=2)
    assert (world.held(), world.counts[Counters.cases_waited], world.dead()) == ({}, 0, [])


async def test_two_officers_may_answer_that_there_is_nothing(world: GuardWorld) -> None:
    """What the authority gets says so; the person, of whom nothing was given, is told nothing."""
    await ask(world, **OLD)
    case = await nothing(world)
    await world.ask("again-001", "approve", key="officer-1", case=case.case)
    await world.run()
    assert world.case("disclose1").waits_for == "second_officer"
    await world.ask("again-002", "approve", key="officer-2", case=case.case)
    await world.run()
    case, found = world.case("disclose1"), whole(parts_of(world, "disclose1"))
    assert (case.state, case.notices, sum(case.legs.values()), found.legs) == ("closed", {}, 0, [])
    assert (world.receipts("disclose1")[-1]["stage"], world.receipts("disclose1")[-1]["legs"]) == ("exported", 0)
    await world.ask("access-01", "access", "bob", reply_key=reply_key(world))
    await world.run()
    assert whole(parts_of(world, "access-01")).about.disclosures == ()


@pytest.mark.parametrize("who", ["bob", "carol"])
async def test_what_came_while_an_officer_had_it_is_announced_and_given(world: GuardWorld, who: str) -> None:
    first = (world.clock.at + timedelta(days=1)).date().isoformat()
    await ask(world, who=who, range={"from": first})
    case = await nothing(world)
    assert case.known is (who == "bob")
    world.clock.at += timedelta(days=3)
    await world.call("c9", "alice", who)
    await world.run()
    await world.ask("again-001", "approve", key="officer-1", case=case.case)
    await world.ask("again-002", "approve", key="officer-2", case=case.case)
    await world.run()
    case = world.case("disclose1")
    assert (case.state, sum(case.legs.values()), "person/disclosed" in case.notices) == ("closed", 1, True)
    assert "unfound" not in case.stages


async def test_what_is_not_held_for_the_authority_is_nothing(world: GuardWorld) -> None:
    """Neither what law keeps, nor what is held for another, nor in secret: all three are answered alike."""
    await world.hold("hold-00001", "claim", "bob", authority="Court")
    await world.hold("hold-00002", "secret-1", "alice", authority="Police", secret=True)
    await world.run()
    for number, who in enumerate(("alice", "bob")):
        await world.ask(f"erase-000{number}", "erase", who)
    await world.run()
    said: list[Any] = []
    for number, who in enumerate(("alice", "bob", "nobody")):
        await ask(world, f"disclose{number}", who, authority="Police")
        case = await nothing(world, f"disclose{number}")
        last = world.receipts(f"disclose{number}")[-1]
        said.append(
            (case.known, len(case.progress), {name: last[name] for name in ("known", "legs", "final", "stage")})
        )
    assert said[0] == said[1] == said[2]
    await ask(world, "disclose9", "bob", range={"to": "2020-12-31"})
    assert (await nothing(world, "disclose9")).known is True, "held for the court, and not of those days"


async def test_wherever_a_worker_dies_a_disclosure_of_nothing_is_told_to_nobody(tmp_path: Path) -> None:
    at, blown = 0, True
    while blown:
        at += EACH_WRITE
        world = await with_calls(tmp_path / f"{at}")
        await ask(world, **OLD)
        await world.ask("yes-00001", "approve", key="officer-2", case=world.id_of("disclose1"))
        blown = await world.run_with_crashes(at, after=at % 2 == 0, rebuild=at % 4 > 1)
        world.fuse.at = -1
        await later(world, minutes=2)
        case = world.case("disclose1")
        assert (case.waits_for, case.notices, "unfound" in case.stages) == ("officer", {}, True), at
        assert world.dead() == [], at
    assert at > 3
