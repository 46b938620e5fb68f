"""Objections before an officer: the end of one ends its own restriction, and no other's."""

from pathlib import Path

import pytest
from guard_world import POLICY, GuardWorld
from test_objections import BOB, bob
from test_replay import alice

REVIEWED = POLICY.replace('on_objection = "grant"', 'on_objection = "review"')


@pytest.mark.parametrize("word", ["approve", "refuse"])
async def test_who_objects_twice_stays_restricted_until_both_are_decided(tmp_path: Path, word: str) -> None:
    """Art. 18(1)(d): restricted pending the verification, of each."""
    world = await GuardWorld(tmp_path, REVIEWED).start()
    await world.call("c1", "bob", "alice")
    for jti in ("object-001", "object-002"):
        await world.ask(jti, "object", "alice", purposes=["quality"])
    await world.run()
    assert (await alice(world)).reviewed
    more = {"ground": "Compelling."} if word == "refuse" else {}
    await world.ask("decide-001", word, key="officer-1", case=world.case("object-001").case, **more)
    await world.run()
    assert (await alice(world)).reviewed, "the second is still considered"
    await world.ask("decide-002", word, key="officer-1", case=world.case("object-002").case, **more)
    await world.run()
    assert not (await alice(world)).reviewed
    assert (await alice(world)).objected == (4 if word == "approve" else 0)


@pytest.mark.parametrize("word", ["approve", "refuse"])
async def test_who_objects_is_free_once_theirs_is_decided_whoever_else_waits(tmp_path: Path, word: str) -> None:
    """Everybody begins with generation 1: ids of decisions tell nobody from anybody."""
    world = await GuardWorld(tmp_path, REVIEWED).start()
    await world.call("c1", BOB, "alice")
    for jti, who in (("object-001", "alice"), ("object-002", BOB)):
        await world.ask(jti, "object", who, purposes=["quality"])
    await world.run()
    assert (await alice(world)).reviewed
    more = {"ground": "Compelling."} if word == "refuse" else {}
    await world.ask("decide-001", word, key="officer-1", case=world.case("object-001").case, **more)
    await world.run()
    assert not (await alice(world)).reviewed, "bob's is still considered, and hers is not"
    assert (await bob(world)).reviewed
