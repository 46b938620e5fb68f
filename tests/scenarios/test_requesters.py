"""A `jti` is its requester's: nobody blocks or repeats another's request by using it first; old ones go on."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
from desk_world import CANARY, POLICY, TENANT, DeskWorld
from guard_world import PARTITIONS, GuardWorld
from guard_world import POLICY as GUARDED

from calllog_guard.core.cases.case import Case
from calllog_guard.core.decisions.decision import DECISIONS, case_id, request_name
from calllog_guard.core.identifiers import b64

SECOND = """
[version.tenant.iocom.requesters.backend-2]
role = "backend"
key = "backend-2.pub.pem"
"""
TWO = POLICY + SECOND
OTHER = "other@example.org"


async def world_of(folder: Path) -> DeskWorld:
    """Two backends, and two people who have called."""
    world = await DeskWorld(folder, TWO).start()
    await world.meet(OTHER)
    return world


def by(world: DeskWorld, who: str) -> list[Case]:
    """The cases of a requester."""
    return [case for case in world.book if case.asked_by == who]


async def test_whoever_uses_a_jti_first_keeps_nobody_else_from_using_it(tmp_path: Path) -> None:
    world = await world_of(tmp_path)
    await world.ask("erase-001", OTHER, type="erase", by="backend-2", identity="unverified")
    await world.ask("erase-001", CANARY, type="erase", by="backend-1")
    assert world.reasons() == []
    (first,), (second,) = by(world, "backend-2"), by(world, "backend-1")
    assert first.case != second.case
    assert (first.state, second.state) == ("waiting", "enforcing")
    assert (first.jti, second.jti) == ("erase-001", "erase-001"), "each knows its request again"


async def test_the_same_persons_erasure_by_two_is_two_decisions(tmp_path: Path) -> None:
    """One record of the ledger would have taken the other's place."""
    world = await world_of(tmp_path)
    for who in ("backend-1", "backend-2"):
        await world.ask("restrict1", CANARY, type="restrict", by=who)
    decisions = [DECISIONS.decode(each.value or b"") for each in world.written("privacy.decisions")]
    assert len({each.decision for each in decisions}) == len({each.case for each in decisions}) == 2


async def test_a_requesters_own_repeat_is_a_replay_and_the_same_place_is_resumed(tmp_path: Path) -> None:
    world = await world_of(tmp_path)
    await world.ask("erase-001", CANARY, type="erase")
    await world.again()
    assert (world.reasons(), len(by(world, "backend-1"))) == ([], 1)
    await world.ask("erase-001", CANARY, type="erase")
    assert world.reasons() == ["replayed"]


async def test_an_act_is_its_requesters_too(tmp_path: Path) -> None:
    """Who has used its `jti` in whatever case keeps no officer from acting."""
    world = await world_of(tmp_path)
    await world.ask("waits-001", CANARY, type="erase", identity="unverified")
    case = world.case("waits-001").case
    await world.ask("act-00001", by="backend-2", type="clock", event="verify", case=case, identity="unverified")
    await world.ask("act-00001", OTHER, type="restrict", by="backend-1")
    await world.ask("act-00001", by="officer-1", type="clock", event="ask_identity", case=case)
    assert "replayed" not in world.reasons()
    assert set(world.book.get(case).acts) >= {request_name("backend-2", "act-00001")}  # type: ignore[union-attr]
    await world.ask("act-00001", by="backend-2", type="clock", event="verify", case=case)
    assert world.reasons()[-1] == "replayed"


@pytest.mark.parametrize("kind", ["erase", "restrict"])
async def test_cases_of_the_first_release_go_on_for_whoever_opened_them(tmp_path: Path, kind: str) -> None:
    world = await GuardWorld(tmp_path, GUARDED + SECOND.replace("backend-2.pub", "officer-2.pub"), forms=1).start()
    world.gateway = False
    await world.call("c1", CANARY, OTHER)
    await world.run()
    await world.ask("waits-001", kind, CANARY, identity="unverified")
    await world.run()
    former = case_id(TENANT, "waits-001")
    assert [case.case for case in world.book] == [former]
    world.vault.upgrade(TENANT, ("as-written",), world.clock.at, PARTITIONS)
    await world.restart()
    world.positions["desk", "privacy.requests", 0] -= 1
    await world.run()
    assert ([case.case for case in world.book], world.dead()) == ([former], []), "the same place is resumed"
    await world.ask("waits-001", kind, CANARY, identity="unverified")
    await world.run()
    assert world.dead() == ["replayed"]
    await world.ask("verify-01", "clock", case=former, event="verify")
    await world.run()
    case = world.book.get(former)
    assert case is not None
    assert case.state != "waiting"
    assert case.name == "waits-001", "its decisions keep the names that the first release gave them"
    await shared(world, kind)


async def shared(world: GuardWorld, kind: str) -> None:
    """Another requester has the `jti` of a case of the first release for itself."""
    (world.folder / "backend-2.pem").write_bytes((world.folder / "officer-2.pem").read_bytes())
    await world.ask("waits-001", kind, OTHER, key="backend-2", identity="unverified")
    await world.run()
    assert world.dead() == ["replayed"]
    assert {case.asked_by for case in world.book} == {"backend-1", "backend-2"}


def test_the_case_of_a_request_is_what_the_readme_says() -> None:
    """Backends compute it."""
    raw = hashlib.sha256(b"case\0iocom\0backend-1\nerase-001").digest()[:16]
    assert case_id(TENANT, request_name("backend-1", "erase-001")) == b64(raw).decode()


def test_no_name_is_two_requests() -> None:
    """Neither a blank nor a line break is in the name of a requester or in a `jti`."""
    names: list[Any] = [("a", "b c"), ("a b", "c"), ("", "a\nb"), ("a", "b")]
    assert len({request_name(*each) for each in names}) == len(names)
