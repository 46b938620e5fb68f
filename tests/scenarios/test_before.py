"""Before means before: nothing is lifted or disclosed until the person is told, or its days are over (Art. 18(3))."""

from pathlib import Path
from typing import Any

import pytest
from desk_world import CANARY, POLICY, DeskWorld, DiedError
from test_notices import DISCLOSE, GROUND, reply_key

from calllog_guard.core.cases.case import Case
from calllog_guard.core.crypto.entries import Person
from calllog_guard.metrics import Gauges
from calllog_guard.workers.keys.people.naming import Naming

GATEWAY = "[version.tenant.iocom.person_notices]"
NO_GATEWAY = POLICY[: POLICY.index(GATEWAY)]
SHORT = POLICY.replace('regime = "uk"\n', 'regime = "uk"\nnotice_days = 3\n')


@pytest.fixture
async def world(tmp_path: Path) -> DeskWorld:
    """See DeskWorld."""
    return await DeskWorld(tmp_path).start()


async def person(world: DeskWorld) -> Person:
    """What the keystore says."""
    ring, naming = world.ring(), Naming(world.desk._o.tenant, world.vault)
    lookup = naming.names(CANARY, "/subjects").lookup
    found = ring.person(lookup, (await ring.view([lookup])).raw[lookup])
    assert found is not None
    return found


def decisions(world: DeskWorld, jti: str) -> int:
    """How many decisions of a case are in the ledger."""
    case = world.case(jti).case.encode()
    return len({each.key for each in world.written("privacy.decisions") if case in (each.value or b"")})


async def lift(world: DeskWorld) -> None:
    """A restriction, and its lift."""
    await world.ask("restrict-1", CANARY, type="restrict")
    await world.ask("waits-0001", CANARY, type="lift")


async def disclose(world: DeskWorld, **more: Any) -> None:
    """A disclosure that two officers want."""
    asked = DISCLOSE | {"notify": "before", "reply_key": reply_key(world)} | more
    await world.ask("waits-0001", CANARY, by="officer-1", **asked)
    await world.ask("approve-01", by="officer-2", type="approve", case=world.case("waits-0001").case)


async def granted(world: DeskWorld) -> None:
    """An objection that an officer grants."""
    await world.ask("waits-0001", CANARY, type="object", purposes=["fraud"])
    await world.ask("approve-01", by="officer-1", type="approve", case=world.case("waits-0001").case)


async def refused(world: DeskWorld) -> None:
    """An objection that an officer refuses."""
    await world.ask("waits-0001", CANARY, type="object", purposes=["fraud"])
    case = world.case("waits-0001").case
    await world.ask("refuse-001", by="officer-1", type="refuse", case=case, ground=GROUND)


STORIES = {"lift": lift, "disclose": disclose, "objection granted": granted, "objection refused": refused}
UNDECIDED = {"lift": 0, "disclose": 0, "objection granted": 1, "objection refused": 1}
"""An objection that is considered has restricted the person already."""


def waits(case: Case, name: str) -> bool:
    """Whether a case waits until the person is told."""
    return (case.state, case.waits_for) == ("refused" if name == "objection refused" else "waiting", "notice")


def done(case: Case, name: str) -> bool:
    """Whether it has been carried out."""
    states = {"lift": "closed", "objection refused": "refused"}
    return case.waits_for is None and case.state == states.get(name, "enforcing")


@pytest.mark.parametrize("name", STORIES)
async def test_nothing_is_done_before_the_gateway_says_that_the_person_was_told(world: DeskWorld, name: str) -> None:
    await STORIES[name](world)
    case, before = world.case("waits-0001"), decisions(world, "waits-0001")
    kind = "disclosed" if name == "disclose" else "lifting"
    assert waits(case, name)
    assert f"person/{kind}" in world.named()
    assert before == UNDECIDED[name]
    assert (await person(world)).closed == (name != "disclose")
    assert f"invoicing/{kind}" not in world.named(), "who was given the data may not use them yet"
    for time in ({"minutes": 2}, {"days": 6}):
        await world.later(**time)
        assert waits(world.case("waits-0001"), name)
    await world.noticed("waits-0001")
    assert done(world.case("waits-0001"), name)
    assert decisions(world, "waits-0001") > before
    assert not (await person(world)).closed
    assert ("invoicing/lifting" in world.named()) == (name != "disclose")
    told = world.case("waits-0001").notices[f"person/{kind}"]
    assert told.acknowledged_at == world.at
    await world.again()
    assert decisions(world, "waits-0001") > before
    assert world.reasons() == []


@pytest.mark.parametrize("name", STORIES)
async def test_after_so_many_days_it_is_done_unacknowledged_and_never_earlier(tmp_path: Path, name: str) -> None:
    world = await DeskWorld(tmp_path, SHORT).start()
    await STORIES[name](world)
    await world.later(days=2, hours=23)
    assert waits(world.case("waits-0001"), name)
    assert decisions(world, "waits-0001") == UNDECIDED[name]
    await world.restart()
    await world.later(hours=1, minutes=1)
    assert done(world.case("waits-0001"), name)
    assert world.case("waits-0001").notices.keys() >= {"person/disclosed" if name == "disclose" else "person/lifting"}


class Stubborn(DeskWorld):
    """A desk that is started again where it dies, and is handed what it had not done."""

    async def again(self) -> None:
        """See DeskWorld."""
        try:
            await super().again()
        except DiedError:
            await self.restart()
            await super().again()

    async def later(self, **time: float) -> None:
        """See DeskWorld."""
        try:
            await super().later(**time)
        except DiedError:
            await self.restart()
            await super().later(minutes=2)


@pytest.mark.parametrize("name", STORIES)
@pytest.mark.parametrize("ends", ["acknowledged", "days"])
@pytest.mark.slow
async def test_wherever_the_desk_dies_the_person_is_told_first_and_it_is_done_once(
    tmp_path: Path, name: str, ends: str
) -> None:
    """Every write of the story is the last one once; the notice is told under one name, whatever was repeated."""
    for writes in range(40):
        world = Stubborn(tmp_path / f"{writes}")
        await world.start()
        world.writer.left = writes
        await STORIES[name](world)
        assert waits(world.case("waits-0001"), name), writes
        assert decisions(world, "waits-0001") == UNDECIDED[name], writes
        if ends == "acknowledged":
            await world.noticed("waits-0001")
        else:
            await world.later(days=8)
        left, world.writer.left = world.writer.left, -1
        await world.later(minutes=2)
        assert done(world.case("waits-0001"), name), writes
        assert decisions(world, "waits-0001") > UNDECIDED[name]
        mine = [each for each in world.notices() if each.case == world.case("waits-0001").case]
        assert len({(each.to, each.kind, each.act_by) for each in mine}) == len(world.case("waits-0001").notices)
        assert world.reasons() == []
        if left > 0:
            break
    assert 10 < writes < 39


async def test_while_it_waits_the_due_date_goes_on_and_an_officer_may_still_refuse(world: DeskWorld) -> None:
    await disclose(world)
    before = world.case("waits-0001")
    await world.later(days=5)
    case = world.case("waits-0001")
    assert (case.due, case.law_due, case.paused_s) == (before.due, before.law_due, 0)
    assert world.levels[Gauges.cases_open["disclose", "notice"]] == 1
    await world.ask("ask-000001", type="clock", case=case.case, event="ask_clarification")
    assert world.reasons() == ["wrong_state"]
    await world.ask("refuse-001", by="officer-1", type="refuse", case=case.case, ground=GROUND)
    case = world.case("waits-0001")
    assert (case.state, case.refusal, case.waits_for) == ("refused", "officer", None)
    assert world.named() == ["person/disclosed", "person/refused"]
    assert "It does not get them" in str(world.words(world.notices()[-1]).text)
    await world.later(days=20)
    assert decisions(world, "waits-0001") == 0


async def test_a_disclosure_that_nobody_was_told_of_is_refused_without_a_word_to_them(world: DeskWorld) -> None:
    """Where the law forbids telling, a refusal would tell."""
    for number, notify in enumerate(("before", "when_lifted")):
        more = {"review_at": "2027-02-01T00:00:00Z"} if notify == "when_lifted" else {}
        asked = DISCLOSE | {"notify": notify, "reply_key": reply_key(world), **more}
        await world.ask(f"waits-000{number}", CANARY, by="officer-1", **asked)
        case = world.case(f"waits-000{number}").case
        await world.ask(f"refuse-00{number}", by="officer-2", type="refuse", case=case, ground=GROUND)
        assert world.case(f"waits-000{number}").state == "refused"
    assert world.named() == []


async def test_where_the_law_forbids_telling_nothing_waits(world: DeskWorld) -> None:
    await disclose(world, notify="when_lifted", review_at="2027-02-01T00:00:00Z")
    assert (world.case("waits-0001").state, decisions(world, "waits-0001")) == ("enforcing", 1)
    assert world.named() == []


@pytest.mark.parametrize("policy", [NO_GATEWAY, POLICY.replace('"lifting", "disclosed", "extended"', '"extended"')])
async def test_where_nobody_would_tell_the_person_it_is_refused_and_the_requester_reads_why(
    tmp_path: Path, policy: str
) -> None:
    world = await DeskWorld(tmp_path, policy).start()
    await lift(world)
    asked = DISCLOSE | {"notify": "before", "reply_key": reply_key(world)}
    await world.ask("disclose-1", CANARY, by="officer-1", **asked)
    assert world.reasons() == ["nobody_to_tell", "nobody_to_tell"]
    assert (await person(world)).restricted
    await world.ask("object-001", CANARY, type="object", purposes=["fraud"])
    case = world.case("object-001").case
    for number, word in enumerate(("approve", "refuse")):
        more = {"ground": GROUND} if word == "refuse" else {}
        await world.ask(f"decided-{number}", by="officer-1", type=word, case=case, **more)
    assert world.reasons() == ["nobody_to_tell"] * 4
    assert (world.case("object-001").state, world.case("object-001").waits_for) == ("waiting", "officer")
    assert (await person(world)).reviewed
    await world.ask(
        "secret-001", CANARY, by="officer-1", **asked | {"notify": "when_lifted", "review_at": "2027-02-01T00:00:00Z"}
    )
    assert world.case("secret-001").state == "waiting", "where telling is forbidden nobody is needed who tells"


async def test_what_is_being_announced_counts_for_the_brake(tmp_path: Path) -> None:
    world = await DeskWorld(
        tmp_path, POLICY.replace('regime = "uk"\n', 'regime = "uk"\ndisclosures_per_hour = 1\n')
    ).start()
    await disclose(world)
    await world.restart()
    await world.ask("second-001", CANARY, by="officer-1", **DISCLOSE, notify="before", reply_key=reply_key(world))
    assert world.case("second-001").waits_for == "officer"


async def test_a_restriction_that_is_asked_for_while_a_lift_is_announced_stands(world: DeskWorld) -> None:
    await lift(world)
    await world.ask("restrict-2", CANARY, type="restrict")
    await world.noticed("waits-0001")
    case = world.case("waits-0001")
    assert case.lifts == {world.case("restrict-1").case: "ended", world.case("restrict-2").case: "stands"}
    assert (await person(world)).restricted
    assert "invoicing/lifting" not in world.named(), "they may still not use the data"


async def test_a_refused_objection_keeps_its_restriction_whatever_else_ends(world: DeskWorld) -> None:
    await refused(world)
    await world.ask("object-002", CANARY, type="object", purposes=["fraud"])
    await world.ask("approve-02", by="officer-1", type="approve", case=world.case("object-002").case)
    await world.noticed("object-002")
    assert (await person(world)).reviewed, "the first is not told yet"
    await world.noticed("waits-0001")
    assert not (await person(world)).closed


async def test_days_pass_only_while_the_clocks_agree(world: DeskWorld) -> None:
    await disclose(world)

    async def apart() -> bool:
        return False

    object.__setattr__(world.desk._o, "agree", apart)
    await world.later(days=30)
    assert waits(world.case("waits-0001"), "disclose")
    await world.noticed("waits-0001")
    assert done(world.case("waits-0001"), "disclose")


async def test_who_is_erased_while_it_waits_is_erased_and_nothing_is_done_to_who_returns(world: DeskWorld) -> None:
    await lift(world)
    await world.ask("erase-0001", CANARY, type="erase")
    await world.later(hours=1)
    await world.meet(CANARY)
    await world.ask("restrict-3", CANARY, type="restrict")
    await world.noticed("waits-0001")
    assert world.case("waits-0001").state == "closed"
    assert (await person(world)).restricted


async def test_an_acknowledgement_of_another_notice_is_none(world: DeskWorld) -> None:
    """Of an objection the person was also told that it restricts, and a recipient that it does."""
    await granted(world)
    for to, notice in (("invoicing", "restricted"), ("person", "restricted")):
        case = world.case("waits-0001").case
        await world.ask(f"noticed-{to}", type="clock", case=case, event="noticed", to=to, notice=notice)
    assert world.reasons() == []
    assert waits(world.case("waits-0001"), "objection granted")
    assert decisions(world, "waits-0001") == 1


async def test_an_objection_of_who_is_erased_while_it_is_announced_is_closed(world: DeskWorld) -> None:
    """No keeper will ever tell of it: nothing was decided that it has to do."""
    await granted(world)
    await world.ask("erase-0001", CANARY, type="erase")
    await world.noticed("waits-0001")
    assert (world.case("waits-0001").state, decisions(world, "waits-0001")) == ("closed", 1)


async def test_a_restart_ends_no_restriction_early(world: DeskWorld) -> None:
    """What was asked later about the same person tries what a crash left first; this is none."""
    await refused(world)
    await world.restart()
    await world.ask("access-001", CANARY, type="access", reply_key=reply_key(world))
    assert world.case("access-001").decided, "and nobody's answer waits for a notice"
    assert waits(world.case("waits-0001"), "objection refused")
    assert (await person(world)).reviewed
