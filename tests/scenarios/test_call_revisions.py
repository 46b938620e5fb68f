"""An older revision of a call never wins: whatever the order, a late delivery, a crash, a rebuild, two protectors."""

from datetime import timedelta
from itertools import permutations
from pathlib import Path
from typing import Any

import msgspec
import pytest
from guard_world import PARTITIONS, GuardWorld
from sizes import EACH_WRITE
from test_access import RICH, answer, follow
from test_call_references import copies
from test_parking import ALICE, BOB, again, legs, places
from test_sessions import letters, of, publish

from calllog_guard.core.calls.leg import Leg
from calllog_guard.core.codec import encode, time_text
from calllog_guard.core.crypto.leg_envelope import parse_header
from calllog_guard.core.identifiers import Pseudonym, b64, partition_of
from calllog_guard.core.records import Output


@pytest.fixture
async def world(tmp_path: Path) -> GuardWorld:
    """An installation without calls."""
    return await GuardWorld(tmp_path, RICH).start()


async def told(world: GuardWorld, revision: int | None, *sessions: str, who: str = BOB, **more: Any) -> None:
    """A version of the call, whose parties joined as many minutes after its start as its number says."""
    joined = time_text(world.clock.at - timedelta(days=1) + timedelta(minutes=(revision or 0) % 20))
    parties = [of(who, session or None, joined_at=joined) for session in sessions or ("",)]
    await publish(world, "c1", parties, **({} if revision is None else {"revision": revision}) | more)


async def found(world: GuardWorld, who: str = BOB) -> list[tuple[str, int | None]]:
    """Session and revision of what is stored of a person and shown."""
    shown = {key for key, value in world.legs().items() if parse_header(value).pur}
    every: list[Leg] = await legs(world, who)
    assert len(shown) <= len(world.legs())
    return sorted(
        (leg.session or "", leg.revision if isinstance(leg.revision, int) else None) for leg in every if leg.parties
    )


@pytest.mark.parametrize("order", list(permutations((None, 1, 5))))
async def test_the_newest_revision_stays_whatever_the_order(tmp_path: Path, order: tuple[int | None, ...]) -> None:
    """Told in one unit, one after the other, and all once more an hour and a half later; a call without a revision is the oldest."""
    for alone in (False, True):
        world = await GuardWorld(tmp_path / str(alone), RICH).start()
        for revision in order:
            await told(world, revision, "s1", "")
            if alone:
                await world.run()
        await world.run()
        assert await found(world) == [("", 5), ("s1", 5)]
        world.clock.at += timedelta(hours=1.5)
        for revision in (1, 5, None):
            await publish(world, "c1", [of(BOB)], **({} if revision is None else {"revision": revision}))
            await world.run()
        assert await found(world) == [("", 5), ("s1", 5)]
        await world.restart(rebuild=True)
        await world.run()
        assert await found(world) == [("", 5), ("s1", 5)]
        assert len(world.legs()) == 2


async def test_a_paused_protector_that_wakes_wins_nothing(world: GuardWorld) -> None:
    """It has read the older revision, and writes it after its successor has written the newer one."""
    await told(world, 1)
    late, held = world._protector(), list[Any]()
    await late.assigned(range(PARTITIONS))
    write = world.log.write

    async def hold_back(outputs: Any) -> None:
        held.append(outputs)

    world.log.write = hold_back  # type: ignore[method-assign]
    current, world.protector = world.protector, late
    await world.step("protector")
    world.protector, world.log.write = current, write  # type: ignore[method-assign]
    world.positions["protector", "calllog.events", 0] = 0
    await told(world, 2)
    await world.run()
    assert await found(world) == [("", 2)]
    for outputs in held:
        await world.log.write(outputs)
    await world.run()
    assert await found(world) == [("", 2)]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("rebuild", [False, True])
async def test_no_crash_brings_an_older_revision_back(tmp_path: Path, *, after: bool, rebuild: bool) -> None:
    """At any write, whatever survives of the index."""
    for at in range(1, 40, EACH_WRITE):
        world = await GuardWorld(tmp_path / f"{at}", RICH).start()
        await told(world, 3)
        await world.run()
        await told(world, 7)
        await told(world, 5, who=ALICE)
        await told(world, 2)
        crashed = await world.run_with_crashes(at, after=after, rebuild=rebuild)
        assert (await found(world), await found(world, ALICE)) == ([("", 7)], [("", 5)])
        if not crashed:
            return
    raise AssertionError("it writes for ever")


async def test_no_revision_wins_over_a_correction(world: GuardWorld) -> None:
    """Neither an older nor a newer one: what the person has had corrected stands."""
    await told(world, 5)
    await world.run()
    await world.ask("rectify-01", "rectify", BOB, facts={"call_id": "c1", "role": "host"})
    await world.run()
    assert [leg.role for leg in await legs(world, BOB)] == ["host"]
    for revision in (4, 6):
        await told(world, revision)
        await world.run()
    assert [(leg.role, leg.revision) for leg in await legs(world, BOB)] == [("host", 6)]


async def test_what_a_revision_removes_stays_away(world: GuardWorld) -> None:
    """An older one does not bring it back, a newer one does; nothing of it is shown, and it goes when no older event can come."""
    await told(world, 5)
    await publish(world, "c1", [of(ALICE)], removed=[BOB], revision=6)
    await world.run()
    await told(world, 4)
    await told(world, None)
    await world.run()
    assert await found(world) == []
    assert [leg.subject for leg in (await answer(world, "access-01", BOB)).legs] == []
    assert {parse_header(value).pur for value in world.legs().values()} == {0, 5}
    await told(world, 7)
    await world.run()
    assert await found(world) == [("", 7)]
    await publish(world, "c1", [], removed=[BOB], revision=8)
    await world.run()
    world.clock.at += timedelta(days=38)
    world.keeper._sweeper.next_ms = 0
    await world.run()
    assert {parse_header(value).pur for value in world.legs().values()} == {5}


async def test_a_revision_that_no_purpose_covers_leaves_nothing_of_the_call(world: GuardWorld) -> None:
    """It keeps an older one away, and says no more than that there was a call."""
    policy = (world.folder / "policy.toml").read_text()
    hosts = policy.replace(
        "[version.tenant.iocom.purposes.service]",
        '[version.tenant.iocom.purposes.service]\nwhen = { roles = ["host"] }',
    )
    follow(
        world,
        hosts.replace('basis = "legitimate_interests"', 'basis = "legitimate_interests"\nwhen = { roles = ["host"] }'),
    )
    await publish(world, "c1", [of(BOB, role="host")], revision=1)
    await publish(world, "c1", [of(BOB, role="guest")], revision=2)
    await publish(world, "c1", [of(BOB, role="host")], revision=1)
    await world.run()
    (leg,) = await legs(world, BOB)
    assert (leg.role, leg.joined_at, leg.left_at, leg.ended_at, leg.parties) == ("guest", None, None, None, 0)
    assert await found(world) == []


async def test_an_erasure_reaches_what_stands_for_a_removal(world: GuardWorld) -> None:
    """It lies under the person's key as all else does."""
    await told(world, 5)
    await publish(world, "c1", [], removed=[BOB], revision=6)
    await world.run()
    await world.ask("erase-01", "erase", BOB)
    await world.run()
    await told(world, 9)
    await world.run()
    assert (world.legs(), len(world.held())) == ({}, 0)


async def test_a_hold_keeps_the_newest_revision(world: GuardWorld) -> None:
    """Copies of older ones go as they do that are replaced under one key."""
    await told(world, 1)
    await world.run()
    await world.hold("hold-0001", "h1", BOB)
    await world.run()
    for revision in (5, 3):
        await told(world, revision)
        await world.run()
    assert [leg.revision for _, leg in await copies(world)] == [5]


async def test_a_part_that_waited_has_its_revision(world: GuardWorld) -> None:
    """Also what it removes."""
    await told(world, 1)
    await world.run()
    entries = dict(world.keystore.entries)
    for party, removed, expected in (([of(BOB)], [], [("", 3)]), ([], [BOB], [])):
        del world.keystore.entries[(await places(world, BOB))["key"]]
        await publish(world, "c1", party, removed=removed, revision=3 + len(removed))
        await world.run()
        world.keystore.entries.update(entries)
        again(world)
        await world.run()
        await told(world, 2)
        await world.run()
        assert await found(world) == expected


async def test_a_revision_whose_person_cannot_be_read_is_compared_later(world: GuardWorld) -> None:
    """Nothing is removed before it is known which is the newer; a restart does not forget it."""
    await told(world, 1)
    await told(world, 5)
    await world.step("protector")
    entries = dict(world.keystore.entries)
    del world.keystore.entries[(await places(world, BOB))["key"]]
    await world.step("keeper")
    assert len(world.legs()) == 2
    await world.restart()
    world.keystore.entries.update(entries)
    await world.run()
    assert await found(world) == [("", 5)]


async def test_the_first_level_refuses_revisions_as_its_release_does(tmp_path: Path) -> None:
    """The letter can be replayed after the upgrade."""
    world = await GuardWorld(tmp_path, forms=1).start()
    await told(world, 5)
    await world.run()
    assert [(why, where) for why, where, _ in letters(world)] == [("unknown_field", "")]


async def test_a_revision_is_a_number_that_every_client_can_name(world: GuardWorld) -> None:
    """Up to 2^53 - 1; the version of a platform, or a time in milliseconds."""
    await told(world, (1 << 53) - 1)
    for bad in (-1, 1 << 53, 1.5, "7"):
        await publish(world, "c1", [of(BOB)], revision=bad)
    await world.run()
    assert [(why, where) for why, where, _ in letters(world)] == [("wrong_value", "/revision")] * 4
    assert await found(world) == [("", (1 << 53) - 1)]


async def test_a_leg_without_any_purpose_that_stands_for_none_goes_at_once(world: GuardWorld) -> None:
    """What stands for a removed leg says of itself that it is a revision; nothing else without a purpose is kept."""
    await told(world, None)
    await world.step("protector")
    ((key, value),) = world.legs().items()
    bare = msgspec.structs.replace(parse_header(value), pur=0)
    rest = value.partition(b".")[2]
    place = partition_of(Pseudonym(bare.kid), PARTITIONS)
    await world.log.write([Output("calllog.legs", place, key, b64(encode(bare)) + b"." + rest)])
    await world.run()
    assert world.legs() == {}
