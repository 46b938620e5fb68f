"""Objections to direct marketing are absolute (GDPR Art. 21(2) and (3)): granted at once, never asked or refused."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from guard_world import POLICY, GuardWorld
from policies import SERVICE, policy_of, version
from test_objections import bob

from calllog_guard.core.cases.case import Case
from calllog_guard.core.crypto.leg_envelope import parse_header
from calllog_guard.core.policy.record import markdown, record
from calllog_guard.errors import ConfigurationError

BOB = "bob@example.org"
OFFERS = """
[version.tenant.iocom.purposes.offers]
number = 6
basis = "legitimate_interests"
keep = "P60D"
direct_marketing = true
on_objection = "grant"
[version.tenant.iocom.purposes.fraud]
number = 5
basis = "legitimate_interests"
keep = "P60D"
on_objection = "review"
"""
OFFERS_BIT, FRAUD_BIT = 1 << 5, 1 << 4


async def world_of(folder: Path, policy: str = POLICY + OFFERS) -> GuardWorld:
    """A world with one call of bob."""
    world = await GuardWorld(folder, policy).start()
    await world.call("c1", BOB)
    await world.run()
    return world


async def ask(world: GuardWorld, jti: str, kind: str, *subjects: str, **more: Any) -> None:
    """Ask, and let everybody work."""
    await world.ask(jti, kind, *subjects, **more)
    await world.run()


def masks(world: GuardWorld) -> list[int]:
    """The purposes of the living legs, in their headers."""
    return [parse_header(value).pur for value in world.legs().values()]


def absolute(world: GuardWorld, jti: str) -> Case:
    """The case of what a mixed objection says of direct marketing."""
    return next(case for case in world.book if case.jti == f"{jti}+marketing")


async def test_it_is_granted_at_once_and_holds_for_what_is_stored_and_what_comes(tmp_path: Path) -> None:
    world = await world_of(tmp_path)
    await ask(world, "object-001", "object", BOB, purposes=["offers"])
    case = world.case("object-001")
    assert (case.state, "tombstoned" in case.stages) == ("observing", True)
    person = await bob(world)
    assert (person.objected, person.closed) == (OFFERS_BIT, False), "nobody considers it, so nobody is restricted"
    await world.call("c2", BOB)
    await world.run()
    assert masks(world)[-1] & OFFERS_BIT == 0


async def test_beside_another_objection_it_is_a_case_of_its_own_and_the_officer_decides_the_other_alone(
    tmp_path: Path,
) -> None:
    world = await world_of(tmp_path)
    await ask(world, "object-001", "object", BOB, purposes=["fraud", "offers"], ticket="DSR-7")
    own = absolute(world, "object-001")
    assert (own.state, own.ticket) == ("observing", "DSR-7")
    assert world.case("object-001").waits_for == "officer"
    assert (await bob(world)).objected == OFFERS_BIT
    await ask(world, "refuse-001", "refuse", key="officer-1", case=world.id_of("object-001"), ground="Compelling.")
    person = await bob(world)
    assert (person.objected, person.closed) == (OFFERS_BIT, False)
    assert world.case("object-001").state == "refused"
    await ask(world, "object-002", "object", BOB, purposes=["offers", "fraud"])
    await ask(world, "approve-01", "approve", key="officer-1", case=world.id_of("object-002"))
    assert (await bob(world)).objected == OFFERS_BIT | FRAUD_BIT


async def test_a_mixed_objection_that_comes_twice_is_a_replay_and_after_a_crash_one_and_the_same(
    tmp_path: Path,
) -> None:
    world = await world_of(tmp_path)
    await ask(world, "object-001", "object", BOB, purposes=["fraud", "offers"])
    before = len(world.book)
    world.positions["desk", "privacy.requests", 0] -= 1
    await world.run()
    assert (len(world.book), world.dead()) == (before, [])
    await ask(world, "object-001", "object", BOB, purposes=["fraud", "offers"])
    assert (len(world.book), world.dead()) == (before, ["replayed"])


async def test_no_brake_holds_it_back(tmp_path: Path) -> None:
    """The right knows no queue; others wait for an officer, behind those that were granted."""
    policy = POLICY.replace("erasures_per_hour = 10000", "objections_per_hour = 1")
    world = await world_of(tmp_path, policy + OFFERS)
    for number in range(3):
        await ask(world, f"object-00{number}", "object", f"p{number}@example.org", purposes=["offers"])
    assert [world.case(f"object-00{number}").waits_for for number in range(3)] == [None, None, None]
    await ask(world, "object-009", "object", BOB, purposes=["quality", "offers"])
    assert world.case("object-009").waits_for == "officer"
    assert absolute(world, "object-009").waits_for is None


async def test_nobody_asks_for_a_fee_or_a_clarification_and_who_shows_who_they_are_has_it(tmp_path: Path) -> None:
    """An officer may ask who somebody is (Art. 12(6)), and nothing else."""
    world = await world_of(tmp_path)
    await ask(world, "object-001", "object", BOB, purposes=["offers"], identity="unverified")
    case = {"case": world.id_of("object-001")}
    for number, event in enumerate(("ask_fee", "ask_clarification", "ask_identity")):
        await ask(world, f"asked-000{number}", "clock", key="officer-1", event=event, **case)
    assert world.dead() == ["absolute", "absolute"]
    assert (await bob(world)).objected == 0
    await ask(world, "verify-001", "clock", event="verify", **case)
    assert world.case("object-001").state == "observing", "although an officer has had it"
    assert (await bob(world)).objected == OFFERS_BIT
    await ask(world, "refuse-001", "refuse", key="officer-1", ground="No.", **case)
    assert world.dead()[-1] == "wrong_state"


async def test_who_does_not_show_who_they_are_can_be_told_no(tmp_path: Path) -> None:
    """Art. 11(2), 12(2): whoever cannot be known."""
    world = await world_of(tmp_path)
    await ask(world, "object-001", "object", BOB, purposes=["offers"], identity="unverified")
    world.clock.at += timedelta(days=20)
    await ask(world, "refuse-001", "refuse", key="officer-1", ground="Who?", case=world.id_of("object-001"))
    assert world.case("object-001").state == "refused"
    assert (await bob(world)).objected == 0


async def test_a_consent_that_is_given_after_an_objection_counts_and_one_from_before_does_not(tmp_path: Path) -> None:
    """The later word of the person is theirs; a restart of the keystore's memory tells it the same way."""
    letters = OFFERS.replace("legitimate_interests", "consent", 1)
    world = await world_of(tmp_path, POLICY + letters)
    consent = {"purposes": ["offers"], "time": "2026-11-24T08:00:00Z", "wording": "Yes."}
    await ask(world, "consent-01", "consent", BOB, **consent)
    await ask(world, "object-001", "object", BOB, purposes=["offers"])
    person = await bob(world)
    assert person.objected == OFFERS_BIT
    await ask(world, "consent-02", "consent", BOB, **consent)
    person = await bob(world)
    assert (person.objected, person.consented) == (0, OFFERS_BIT)
    (standing,) = [
        await world.keeper._enforcer.arrivals.standing(shard, name)
        for shard in world.keeper._shards.values()
        for name in shard.ruled
    ]
    assert (standing.objected, standing.consented) == (0, OFFERS_BIT)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ('basis = "legitimate_interests"', r"on_objection = .review.*Art. 21\(3\).*write .grant."),
        ('basis = "legitimate_interests"\non_objection = "review"', r"on_objection = .review.*absolute"),
        ('basis = "contract"\non_objection = "grant"', "direct_marketing with basis contract"),
        ('basis = "legal_duty"\nsurvives_erasure = true', "direct_marketing with basis legal_duty"),
    ],
)
def test_a_policy_that_would_have_it_considered_or_calls_it_a_duty_is_refused(
    tmp_path: Path, more: str, told: str
) -> None:
    offers = f'[version.tenant.iocom.purposes.offers]\nnumber = 6\nkeep = "P60D"\ndirect_marketing = true\n{more}\n'
    with pytest.raises(ConfigurationError, match=f"purposes.offers: {told}"):
        policy_of(tmp_path, version(purposes=SERVICE + offers))


def test_the_record_says_which_purposes_are_direct_marketing(tmp_path: Path) -> None:
    policy = policy_of(tmp_path, version(purposes=SERVICE + OFFERS))
    found = record(policy.versions, "iocom", policy.versions[0].effective)
    assert found is not None
    marked = {each["name"]: each["direct_marketing"] for each in found["purposes"]}
    assert marked == {"service": False, "offers": True, "fraud": False}
    assert "direct marketing, objections are absolute, Art. 21(3)" in markdown(found)
