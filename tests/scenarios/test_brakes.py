"""Brakes count people per requester, over types that open, falsify, destroy; two officers, two keys; who is meant."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from desk_world import CANARY, POLICY, DeskWorld

from calllog_guard.core.requests.request import Request
from calllog_guard.ports.log import TopicPartition

LIMITS = "\n".join(f"{kind}_per_hour = 3" for kind in ("erasures", "exports", "objections", "disclosures", "changes"))
SECOND = """
[version.tenant.iocom.requesters.backend-2]
role = "backend"
key = "backend-2.pub.pem"
"""
MORE: dict[str, dict[str, Any]] = {
    "erase": {},
    "access": {"reply_key": {"kty": "OKP", "crv": "X25519", "x": "hSDwCYkwp1R0i33ctD73Wg2_Og0mOBr066SpjqqbTmo"}},
    "restrict": {},
    "rectify": {"facts": {"call_id": "c1", "role": "guest"}},
    "withdraw": {"purposes": ["surveys"]},
    "object": {"purposes": ["marketing"]},
}
"""Every type that a brake counts and that needs no officer otherwise, with what it must say besides."""
PURPOSES = """
[version.tenant.iocom.purposes.surveys]
number = 6
basis = "consent"
keep = "P60D"
[version.tenant.iocom.purposes.marketing]
number = 7
basis = "legitimate_interests"
keep = "P60D"
on_objection = "grant"
"""


@pytest.fixture
async def world(tmp_path: Path) -> DeskWorld:
    """A desk whose brakes let three people an hour through."""
    policy = POLICY.replace('regime = "uk"\n', f'regime = "uk"\n{LIMITS}\n') + PURPOSES + SECOND
    world = await DeskWorld(tmp_path, policy).start()
    await world.meet(*people(4), "other@example.org")
    return world


def people(count: int, first: int = 0) -> list[str]:
    """So many addresses."""
    return [f"p{number}@example.org" for number in range(first, first + count)]


async def test_who_came_first_goes_first_however_long_each_looks_for_its_people(
    world: DeskWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, subjects = [f"erase-{number:04d}" for number in range(6)], world.desk._o.decider.subjects
    more = subjects.more

    async def slow(request: Request) -> int:
        for _ in range(20 * (len(names) - names.index(request.jti))):
            await asyncio.sleep(0)
        return await more(request)

    monkeypatch.setattr(subjects, "more", slow)
    for name, who in zip(names, people(6), strict=True):
        world.send(name, who, type="erase")
    await world.desk.unit({TopicPartition("privacy.requests", 0): world.asked})
    assert [world.case(name).waits_for for name in names] == [None] * 3 + ["officer"] * 3


@pytest.mark.parametrize("kind", sorted(MORE))
async def test_one_request_about_many_people_waits_for_an_officer(world: DeskWorld, kind: str) -> None:
    await world.ask("three-0001", *people(3), type=kind, **MORE[kind])
    await world.ask("another-01", CANARY, type=kind, **MORE[kind])
    assert world.case("three-0001").waits_for is None
    assert world.case("another-01").waits_for == "officer"
    await world.ask("four-00001", *people(4), type=kind, **MORE[kind])
    assert world.case("four-00001").waits_for == "officer"


async def test_each_requester_has_a_brake_of_its_own(world: DeskWorld) -> None:
    await world.ask("three-0001", *people(3), type="erase")
    await world.ask("others-001", CANARY, type="erase", by="backend-2")
    assert world.case("others-001").waits_for is None


async def test_what_falsifies_shares_a_brake(world: DeskWorld) -> None:
    for name, kind in (("rectify-01", "rectify"), ("restrict-1", "restrict"), ("withdraw-1", "withdraw")):
        await world.ask(name, CANARY, type=kind, **MORE[kind])
    await world.ask("restrict-2", "other@example.org", type="restrict")
    assert world.case("restrict-2").waits_for == "officer"


async def test_an_hour_later_the_brake_is_off(world: DeskWorld) -> None:
    await world.ask("three-0001", *people(3), type="erase")
    await world.later(hours=1, seconds=1)
    await world.ask("another-01", CANARY, type="erase")
    assert world.case("another-01").waits_for is None


async def test_what_a_desk_counted_stays_counted_when_it_starts_anew(world: DeskWorld) -> None:
    await world.ask("three-0001", *people(3), type="erase")
    await world.restart()
    await world.ask("another-01", CANARY, type="erase")
    assert world.case("another-01").waits_for == "officer"


async def test_more_identifiers_than_anybody_has_wait_whatever_the_limit(tmp_path: Path) -> None:
    """A hundred logs in one answer are a hundred people's."""
    world = await DeskWorld(tmp_path, POLICY).start()
    await world.ask("twenty-001", *people(20), type="access", **MORE["access"])
    await world.ask("twentyone1", *people(21), type="access", **MORE["access"])
    assert world.case("twenty-001").waits_for is None
    assert world.case("twentyone1").waits_for == "officer"


async def test_two_officers_with_one_key_are_one(tmp_path: Path) -> None:
    """Two names in the policy make no second pair of eyes."""
    world = await DeskWorld(tmp_path, POLICY.replace("officer-2.pub.pem", "officer-1.pub.pem")).start()
    (tmp_path / "officer-2.pem").write_bytes((tmp_path / "officer-1.pem").read_bytes())
    await world.ask(
        "disclose-1",
        CANARY,
        type="disclose",
        by="officer-1",
        authority="The police",
        basis="A warrant",
        notify="before",
        reply_key=MORE["access"]["reply_key"],
    )
    case = world.case("disclose-1")
    assert case.waits_for == "second_officer"
    await world.ask("approve-01", type="approve", by="officer-2", case=case.case)
    assert world.reasons() == ["same_officer"]
    assert world.case("disclose-1").waits_for == "second_officer"


async def test_an_installation_with_a_name_takes_what_bears_it(tmp_path: Path) -> None:
    policy = POLICY.replace('regime = "uk"\n', 'regime = "uk"\naudience = "london"\n')
    world = await DeskWorld(tmp_path, policy).start()
    await world.ask("foreign-01", CANARY, type="erase")
    assert world.reasons() == ["wrong_audience"]
    await world.ask("ours-00001", CANARY, type="erase", aud="london")
    assert world.case("ours-00001").state == "enforcing"
