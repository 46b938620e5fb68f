"""A keystore that comes back as another run: the replay of the ledger takes nothing away from anybody's choices."""

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from guard_world import POLICY, TENANT, GuardWorld
from test_crash_matrix import CONSENT

from calllog_guard.core.crypto.entries import Person
from calllog_guard.core.identifiers import SubjectId
from calllog_guard.errors import KeystoreGuardedError
from calllog_guard.metrics import Counters

CONSENTED: dict[str, Any] = {"purposes": ["research"], "time": "2026-11-24T08:00:00Z", "wording": "Yes."}


async def replayed(world: GuardWorld, run: bytes) -> None:
    """The keystore as another run; the keepers end the guard, then everybody works."""
    world.keystore.run = run
    for _ in range(3):
        with suppress(
            KeystoreGuardedError
        ):  # an older content under a counter that was seen: noticed once, then replayed
            await world.step("keeper")
    await world.run()


async def restored(world: GuardWorld, backup: dict[bytes, bytes]) -> None:
    """The keystore as it was."""
    world.keystore.entries.clear()
    world.keystore.entries.update(backup)
    await replayed(world, b"restored")


async def alice(world: GuardWorld, name: str = "alice") -> Person:
    """As the keystore has her, or another."""
    lookup = world.vault.pepper(TENANT).lookup(TENANT, SubjectId(name))
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


@pytest.mark.parametrize(
    ("asked", "restricted"),
    [
        ([("restrict", {})], True),
        ([("object", {"purposes": ["quality"]})], True),
        ([("restrict", {}), ("lift", {})], False),
        ([("consent", CONSENTED)], False),
        ([], False),
    ],
)
async def test_who_is_lost_with_a_restored_keystore_comes_back_restricted_if_they_had_spoken_against_us(
    tmp_path: Path, asked: list[tuple[str, dict[str, Any]]], *, restricted: bool
) -> None:
    """Their objection is sealed under a key the backup does not have: nothing is used until they are asked again."""
    world = await GuardWorld(tmp_path, POLICY + CONSENT).start()
    backup = dict(world.keystore.entries)
    await world.call("c1", "bob", "alice")
    await world.run()
    for number, (kind, more) in enumerate(asked):
        await world.ask(f"choice-00{number}", kind, "alice", **more)
        await world.run()
    await restored(world, backup)
    await world.call("c2", "bob", "alice")
    await world.run()
    assert (await alice(world)).restricted is restricted
    assert world.counts[Counters.guard_choices_lost] == int(restricted)

    await world.ask("choice-010", "consent", "alice", **CONSENTED)
    await world.run()
    await replayed(world, b"a restart")
    assert (await alice(world)).restricted is restricted, "no replay takes it back"
    await world.ask("choice-011", "lift", "alice", key="officer-1")
    await world.run()
    await replayed(world, b"another restart")
    assert not (await alice(world)).restricted


async def test_who_was_erased_after_the_backup_is_not_brought_back_by_what_they_had_said_before(tmp_path: Path) -> None:
    """Their erasure is in the ledger too, and an erasure ends a restriction."""
    world = await GuardWorld(tmp_path).start()
    backup = dict(world.keystore.entries)
    await world.call("c1", "alice")
    await world.ask("choice-001", "restrict", "alice")
    await world.run()
    await world.ask("erase-0001", "erase", "alice")
    await world.run()
    await restored(world, backup)
    person = await alice(world)
    assert person.pseudonym is None
    assert not person.restricted


REVIEW = POLICY.replace('on_objection = "grant"', 'on_objection = "review"')


async def refused(world: GuardWorld, jti: str) -> None:
    """An officer finds compelling grounds against an objection."""
    await world.ask("refuse-001", "refuse", key="officer-1", case=world.id_of(jti), ground="Compelling.")
    await world.run()


async def test_an_objections_end_does_not_end_another_restriction_for_the_sweep(tmp_path: Path) -> None:
    """Its own was lifted before; the one that came since is another's."""
    world = await GuardWorld(tmp_path, REVIEW).start()
    await world.call("c1", "bob", "alice")
    asked: list[tuple[str, str, dict[str, Any]]] = [
        ("object-001", "object", {"purposes": ["quality"]}),
        ("lift-00001", "lift", {}),
        ("restrict-1", "restrict", {}),
    ]
    for jti, kind, more in asked:
        await world.ask(jti, kind, "alice", **more)
        await world.run()
    await refused(world, "object-001")
    person = await alice(world)
    assert person.restricted
    world.clock.at += timedelta(days=400)
    await world.run()
    assert [key for key in world.legs() if key.decode().startswith(str(person.pseudonym))]


async def test_an_objections_end_does_not_lift_what_a_restore_has_imposed(tmp_path: Path) -> None:
    """Nobody has asked her, and nobody has lifted it."""
    world = await GuardWorld(tmp_path, REVIEW).start()
    backup = dict(world.keystore.entries)
    await world.call("c1", "bob", "alice")
    await world.ask("restrict-1", "restrict", "alice")
    await world.run()
    await restored(world, backup)
    await world.ask("object-001", "object", "alice", purposes=["quality"])
    await world.run()
    await refused(world, "object-001")
    await replayed(world, b"a plain restart")
    assert (await alice(world)).restricted


@pytest.mark.parametrize("again", range(6))
async def test_a_restore_keeps_the_cut_off_of_who_was_erased_returned_and_restricted(
    tmp_path: Path, again: int
) -> None:
    """Two generations may lie in two partitions, and either may be replayed first: the dice decide, so a few times."""
    world = await GuardWorld(tmp_path / str(again)).start()
    backup = dict(world.keystore.entries)
    await world.call("c1", "bob", "alice")
    await world.ask("erase-0001", "erase", "alice")
    await world.run()
    cut_off = (await alice(world)).cut_off
    world.clock.at += timedelta(days=1)
    await world.call("c2", "bob", "alice", days_ago=0.1)
    await world.ask("restrict-1", "restrict", "alice")
    await world.run()
    await restored(world, backup)
    person = await alice(world)
    assert person.restricted
    assert person.cut_off >= cut_off > 0
