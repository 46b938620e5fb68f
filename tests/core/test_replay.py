"""A keystore that comes back as another run: the replay of the ledger takes nothing away from anybody's choices."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from guard_world import TENANT, GuardWorld

from calllog_guard.core.crypto.entries import Person
from calllog_guard.core.ids import SubjectId


async def alice(world: GuardWorld) -> Person:
    """As the keystore has her."""
    lookup = world.vault.pepper(TENANT).lookup(TENANT, SubjectId("alice"))
    ring = world.ring()
    person = ring.person(lookup, (await ring.view([lookup])).raw[lookup])
    assert person is not None
    return person


@pytest.mark.parametrize(
    ("kind", "more", "holds"),
    [
        ("object", {"purposes": ["quality"]}, lambda person: person.objected == 4),
        ("restrict", {}, lambda person: person.restricted),
    ],
)
async def test_what_the_keeper_has_not_read_yet_stays_as_the_desk_has_set_it(
    tmp_path: Path, kind: str, more: dict[str, Any], holds: Callable[[Person], bool]
) -> None:
    """The desk is done and has said so; the keeper is a moment behind when Redis restarts."""
    world = await GuardWorld(tmp_path).start()
    await world.call("c1", "bob", "alice")
    await world.run()
    await world.ask("restrict-0", "restrict", "alice")
    await world.ask("lift-00000", "lift", "alice")
    await world.run()
    await world.ask("choice-001", kind, "alice", **more)
    await world.step("desk")
    assert holds(await alice(world))
    world.keystore.run = b"another"
    await world.step("keeper", most=1)
    await world.step("keeper")
    await world.run()
    assert holds(await alice(world))
