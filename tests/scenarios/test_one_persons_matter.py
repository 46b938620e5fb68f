"""What is wrong with one person's entry, or with one case, holds up that person's matters and nobody else's."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from carry_world import CarryWorld
from damage import DAMAGES
from guard_world import POLICY, TENANT, GuardWorld
from test_backlog import filled, stages
from test_crash_matrix import reply
from test_parking import ALICE, BOB, lookup
from test_waiting import again, person, spoiled

from calllog_guard.core.codec import decode, encode
from calllog_guard.core.crypto.entries import person_key
from calllog_guard.core.crypto.same_person import same_key
from calllog_guard.core.decisions.decision import DECISIONS, request_name
from calllog_guard.core.decisions.outcome import is_result
from calllog_guard.core.records import Output
from calllog_guard.errors import Fate, GuardError
from calllog_guard.metrics import Counters

BAD = DAMAGES["its seal"]


async def settled(world: GuardWorld) -> None:
    """Every worker had its turns; what must be tried again is, as by `Delivery`; everything else ends the worker."""
    for _ in range(30):
        for name in ("protector", "desk", "keeper"):
            try:
                await world.step(name)
            except GuardError as error:
                if error.fate is not Fate.RETRY:
                    raise
        await world.acknowledge()


# --- one bad entry holds up the whole desk ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["access", "portability", "restrict", "object"])
async def test_desk_same_entry_of_one_person_holds_up_nobody_else(tmp_path: Path, kind: str) -> None:
    """desk._opened -> owners.opened -> homes.everyone raises outside WaitingCases: the unit is retried for ever."""
    world = await filled(tmp_path)
    world.keystore.entries[same_key(TENANT, lookup(world, ALICE))] = b"junk"
    await world.restart()
    more: dict[str, Any] = {"reply_key": reply(world)} if kind in {"access", "portability"} else {}
    more |= {"purposes": ["quality"]} if kind == "object" else {}
    await world.ask("alice-001", kind, ALICE, **more)
    await world.ask("bob-00001", kind, BOB, **more)
    await settled(world)
    assert world.case("bob-00001").decided


@pytest.mark.parametrize("kind", ["access", "restrict"])
async def test_desk_person_entry_after_a_change_of_rules_holds_up_nobody_else(tmp_path: Path, kind: str) -> None:
    """The commonest harm, a flipped bit in a person entry, once the rules of identity were ever changed."""
    world = CarryWorld(tmp_path)
    await world.start()
    await world.call("c1", ALICE, BOB)
    await world.run()
    await world.carry()
    await world.restart()
    home = await world.home(ALICE)
    place = f"clg:{TENANT}:who:{home}".encode()
    world.keystore.entries[place] = BAD(world.keystore.entries[place])
    await world.restart()
    more: dict[str, Any] = {"reply_key": reply(world)} if kind == "access" else {}
    await world.ask("alice-001", kind, ALICE, **more)
    await world.ask("bob-00001", kind, BOB, **more)
    await settled(world)
    assert world.case("bob-00001").decided


async def test_desk_same_entry_of_one_held_person_holds_up_nobody_elses_erasure(tmp_path: Path) -> None:
    """holds._widened reads the `same` entries of all under any hold: one that does not open stops every request."""
    world = await filled(tmp_path)
    await world.hold("hold-0001", "claim", ALICE)
    await world.run()
    world.keystore.entries[same_key(TENANT, lookup(world, ALICE))] = b"junk"
    await world.restart()
    await world.ask("erase-001", "erase", BOB)
    await settled(world)
    again(world)
    await settled(world)
    assert "fenced" in stages(world, "erase-001")


# --- what waits ends in a MessageError, which nobody expects in `idle` ------------------------------------------------


async def test_desk_hold_that_waits_and_is_released_stops_no_desk(tmp_path: Path) -> None:
    """WaitingCases._tried catches ParkedError alone: HoldReleasedError leaves idle, the desk halts, every start."""
    world = await filled(tmp_path)
    await spoiled(world)
    await world.hold("hold-0001", "claim", ALICE)
    await settled(world)
    await world.release("free-0001", "claim")
    await settled(world)
    again(world)
    await settled(world)
    case = world.case("hold-0001")
    assert (case.state, case.refusal, case.sealed) == ("refused", "unknown_hold", None)
    assert (len(world.desk._waiting), world.counts[Counters.decisions_failed]) == (0, 1)
    await world.restart()
    await settled(world)
    assert (world.case("hold-0001"), len(world.desk._waiting)) == (case, 0)


async def test_desk_what_comes_behind_a_released_hold_is_not_refused_for_it(tmp_path: Path) -> None:
    """WaitingCases.carried tries older cases first: their MessageError makes a dead letter of the newcomer."""
    world = await filled(tmp_path)
    good = await spoiled(world)
    await world.hold("hold-0001", "claim", ALICE)
    await world.step("desk")
    await world.release("free-0001", "claim")
    await world.step("desk")
    world.keystore.entries |= good
    await world.ask("restrict1", "restrict", ALICE)
    await world.step("desk")
    assert world.dead() == []
    assert world.case("restrict1").decided


REVIEW = POLICY.replace('on_objection = "grant"', 'on_objection = "review"')


async def test_desk_one_objection_that_does_not_open_holds_up_no_other(tmp_path: Path) -> None:
    """decide._considered opens every other objection: CaseStateError of one is another act's dead letter, a halt."""
    world = await GuardWorld(tmp_path, REVIEW).start()
    for who in (ALICE, BOB):
        await world.call("c1" + who, who)
        await world.ask("object-" + who[:3], "object", who, purposes=["quality"])
    await world.run()
    case = world.case("object-ali")
    bad = msgspec.structs.replace(case, sealed="A" * 80)
    await world.as_desk(Output("privacy.cases", 0, case.case.encode(), encode(bad)))
    await world.restart()
    await world.ask("refuse-bob", "refuse", key="officer-1", case=world.case("object-bob").case, ground="no")
    await settled(world)
    assert world.dead() == []
    assert "refused" in stages(world, "object-bob")


async def test_desk_one_objection_that_does_not_open_stops_no_desk(tmp_path: Path) -> None:
    """The same after a restart: the half refused case is tried in idle, and its error halts the desk."""
    world = await GuardWorld(tmp_path, REVIEW).start()
    for who in (ALICE, BOB):
        await world.call("c1" + who, who)
        await world.ask("object-" + who[:3], "object", who, purposes=["quality"])
    await world.run()
    case = world.case("object-ali")
    bad = msgspec.structs.replace(case, sealed="A" * 80)
    await world.as_desk(Output("privacy.cases", 0, case.case.encode(), encode(bad)))
    await world.restart()
    await world.ask("refuse-bob", "refuse", key="officer-1", case=world.case("object-bob").case, ground="no")
    await world.step("desk")
    await world.acknowledge()
    await world.step("desk")
    await world.restart()
    again(world)
    await world.step("desk")
    assert "refused" in stages(world, "object-bob")


async def test_who_has_another_objection_that_does_not_open_stays_restricted(tmp_path: Path) -> None:
    """Its tags tell whose it is, and nobody else's restriction depends on it."""
    world = await GuardWorld(tmp_path, REVIEW).start()
    await world.call("c1", ALICE, BOB)
    for jti, who in (("object-a1", ALICE), ("object-a2", ALICE), ("object-b1", BOB)):
        await world.ask(jti, "object", who, purposes=["quality"])
    await world.run()
    bad = msgspec.structs.replace(world.case("object-a1"), sealed="A" * 80)
    await world.as_desk(Output("privacy.cases", 0, bad.case.encode(), encode(bad)))
    await world.restart()
    for jti in ("object-a2", "object-b1"):
        await world.ask("refuse-" + jti, "refuse", key="officer-1", case=world.case(jti).case, ground="no")
    await settled(world)
    alice, bob = await person(world, ALICE), await person(world, BOB)
    assert alice is not None
    assert bob is not None
    assert (alice.reviewed, bob.reviewed) == (True, False)


async def test_a_release_that_names_somebody_whose_entry_is_bad_holds_up_nobody(tmp_path: Path) -> None:
    """Whether the hold names them is seen at once; the release itself waits."""
    world = await filled(tmp_path)
    await world.hold("hold-0001", "claim", ALICE)
    await world.run()
    world.keystore.entries[same_key(TENANT, lookup(world, ALICE))] = b"junk"
    await world.restart()
    await world.ask("free-0001", "release", ALICE, key="officer-1", hold={"id": "claim"})
    await world.ask("bob-00001", "restrict", BOB)
    await settled(world)
    assert world.dead() == []
    assert world.case("bob-00001").decided
    assert not world.case("free-0001").decided
    world.keystore.entries.pop(same_key(TENANT, lookup(world, ALICE)))
    again(world)
    await settled(world)
    assert world.case("free-0001").decided


# --- acts are lost in silence -----------------------------------------------------------------------------------------


async def _reviewed_case(tmp_path: Path, kind: str = "erase") -> GuardWorld:
    world = await GuardWorld(tmp_path, REVIEW).start()
    await world.call("c1", ALICE, BOB)
    await world.run()
    more: dict[str, Any] = {"purposes": ["quality"]} if kind == "object" else {}
    await world.ask("case-0001", kind, ALICE, **(more | ({} if kind == "object" else {"identity": "unverified"})))
    await world.run()
    world.keystore.entries[same_key(TENANT, lookup(world, ALICE))] = b"junk"
    await world.restart()
    return world


async def test_desk_an_extension_is_never_lost_in_silence(tmp_path: Path) -> None:
    """acts._applied: ParkedError of `remember` leaves before the save; desk._acted swallows it, and the act is gone."""
    world = await _reviewed_case(tmp_path, "restrict")
    case = world.case("case-0001").case
    await world.ask(
        "extend-01", "clock", key="officer-1", case=case, event="extend", ground="many", identity="unverified"
    )
    await settled(world)
    after = world.case("case-0001")
    assert (after.extended, request_name("officer-1", "extend-01") in after.acts, world.dead()) == (True, True, [])
    assert after.said, "what the officer said"


async def test_desk_the_reasons_of_a_refusal_are_not_lost(tmp_path: Path) -> None:
    """acts._refused: `remember` raises ParkedError after the refused case is saved: the refusal lacks reasons."""
    world = await _reviewed_case(tmp_path, "restrict")
    await world.ask(
        "refuse-01",
        "refuse",
        key="officer-1",
        case=world.case("case-0001").case,
        ground="no reason",
        identity="unverified",
    )
    await settled(world)
    del world.keystore.entries[same_key(TENANT, lookup(world, ALICE))]
    again(world)
    await settled(world)
    case = world.case("case-0001")
    assert "refused" in case.stages
    assert case.said, "what the officer said"
    ledger = [
        decode(DECISIONS, each).type
        for key, each in world.log.live("privacy.decisions").items()
        if not is_result(key) and key[:1] != b"~"
    ]
    assert ledger == [], "and nothing was decided about somebody who was never restricted"


# --- people who were carried over


async def test_protector_one_lost_entry_to_which_another_leads_holds_up_nobody(tmp_path: Path) -> None:
    """
    homes.join says KeystoreSilentError of an entry that is lost: the whole unit is retried for ever.

    Naming: `found` catches EntryUnreadableError alone.
    """
    world = CarryWorld(tmp_path)
    await world.start()
    await world.call("c1", "ALICE@example.org")
    await world.call("c2", "Alice@example.org")
    await world.run()
    assert len(world.people()) == 2
    await world.know()
    await world.restart()
    await world.call("c3", "ALICE@example.org")
    await world.step("protector")
    del world.keystore.entries[person_key(TENANT, lookup(world, "ALICE@example.org"))]
    await world.call("c4", "Alice@example.org", BOB)
    await settled(world)
    assert len(world.people()) >= 3, "bob's leg"


async def test_desk_one_persons_objection_waits_for_nobody_elses_entry(tmp_path: Path) -> None:
    """decide._considered asks who all other objections are about: bob's refusal waits for alice's entry."""
    world = await GuardWorld(tmp_path, REVIEW).start()
    for who in (ALICE, BOB):
        await world.call("c1" + who, who)
        await world.ask("object-" + who[:3], "object", who, purposes=["quality"])
    await world.run()
    world.keystore.entries[same_key(TENANT, lookup(world, ALICE))] = b"junk"
    await world.restart()
    more: dict[str, Any] = {"case": world.case("object-bob").case, "ground": "no"}
    await world.ask("refuse-bob", "refuse", key="officer-1", **more)
    await settled(world)
    again(world)
    await settled(world)
    assert "refused" in world.case("object-bob").stages
