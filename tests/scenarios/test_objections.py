"""What an objection restricts, and what its end may lift: its own restriction and nobody else's."""

from datetime import timedelta
from pathlib import Path

from guard_world import POLICY, TENANT, GuardWorld

from calllog_guard.core.codec import time_text
from calllog_guard.core.crypto.entries import Person
from calllog_guard.core.identifiers import SubjectId

FRAUD = """
[version.tenant.iocom.purposes.fraud]
number = 5
basis = "legitimate_interests"
keep = "P60D"
on_objection = "review"
"""
BOB = "bob@example.org"


async def world_of(folder: Path) -> GuardWorld:
    """A world with one call of bob."""
    world = await GuardWorld(folder, POLICY + FRAUD).start()
    await world.call("c1", BOB)
    await world.run()
    return world


async def bob(world: GuardWorld) -> Person:
    """What the keystore says of bob."""
    lookup = world.vault.pepper(TENANT).lookup(TENANT, SubjectId(BOB))
    ring = world.ring()
    person = ring.person(lookup, (await ring.view([lookup])).raw[lookup])
    assert person is not None
    return person


async def refuse(world: GuardWorld, jti: str, of: str) -> None:
    """An officer refuses a case."""
    await world.ask(jti, "refuse", key="officer-1", case=world.id_of(of), ground="Not shown.")
    await world.run()


async def test_refusing_an_objection_of_somebody_unknown_lifts_nobodys_restriction(tmp_path: Path) -> None:
    """Anybody may send one: its refusal must not open what the person had restricted."""
    world = await world_of(tmp_path)
    await world.ask("restrict-01", "restrict", BOB)
    await world.run()
    await world.ask("unknown-001", "object", BOB, purposes=["fraud"], identity="unverified")
    await world.run()
    await refuse(world, "refuse-0001", "unknown-001")
    assert (await bob(world)).restricted
    assert [set(shard.restricted) for shard in world.keeper._shards.values() if shard.restricted] != []
    assert world.case("unknown-001").state == "refused"


async def test_the_end_of_one_objection_leaves_the_restriction_of_another(tmp_path: Path) -> None:
    world = await world_of(tmp_path)
    for jti in ("object-0001", "object-0002"):
        await world.ask(jti, "object", BOB, purposes=["fraud"])
        await world.run()
    await refuse(world, "refuse-0001", "object-0001")
    assert (await bob(world)).closed
    await refuse(world, "refuse-0002", "object-0002")
    assert not (await bob(world)).closed


async def test_a_request_received_in_the_future_is_refused(tmp_path: Path) -> None:
    """It would put off every date of its case."""
    world = await world_of(tmp_path)
    late = time_text(world.clock.at + timedelta(days=400))
    await world.ask("future-0001", "restrict", BOB, received_at=late)
    await world.run()
    assert world.dead() == ["in_future"]


async def test_brakes_count_when_a_case_was_granted_not_when_it_was_opened(tmp_path: Path) -> None:
    """Opened unverified and shown an hour later, many would pass at once."""
    world = await GuardWorld(tmp_path, POLICY.replace("erasures_per_hour = 10000", "erasures_per_hour = 2")).start()
    for number in range(5):
        await world.ask(f"erase-000{number}", "erase", f"p{number}@example.org", identity="unverified")
    await world.run()
    world.clock.at += timedelta(minutes=61)
    for number in range(5):
        await world.ask(f"shown-000{number}", "clock", case=world.id_of(f"erase-000{number}"), event="verify")
    await world.run()
    states = [world.case(f"erase-000{number}").waits_for for number in range(5)]
    assert states == [None, None, "officer", "officer", "officer"]
