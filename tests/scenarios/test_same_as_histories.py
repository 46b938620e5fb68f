"""Random histories of links, ends, erasures, calls, restores and walks, against a few lines that say who is one."""

import random
from collections.abc import Collection
from datetime import timedelta
from pathlib import Path

import pytest
from guard_world import POLICY, Crash, GuardWorld
from sizes import size
from test_crash_matrix import CONSENT
from test_same_as import flags, lookup, restored, walk

from calllog_guard.workers.keys.people.homes import Homes

PEOPLE = tuple(f"user{number}@example.org" for number in range(6))
SEEDS = size("SAME_AS_SEEDS", 6, 100)
STEPS = 14


class Oracle:
    """Who is one, and how many legs each has."""

    def __init__(self) -> None:
        self.group = {who: frozenset([who]) for who in PEOPLE}
        self.legs = dict.fromkeys(PEOPLE, 0)
        self.alive: set[str] = set()

    def linked(self, some: list[str]) -> None:
        """All of their groups are one; of nobodies an officer would have to say so."""
        if self.alive.isdisjoint(some):
            return
        self.alive |= set(some)
        one = frozenset().union(*(self.group[who] for who in some))
        self.group |= dict.fromkeys(one, one)

    def parted(self, some: list[str]) -> None:
        """They stand alone, the others of their groups stay together."""
        for who in some:
            rest = self.group[who] - set(some)
            self.group |= dict.fromkeys(rest, rest)
        self.group |= {who: frozenset([who]) for who in some}

    def erased(self, some: list[str]) -> None:
        """Everybody who is one with them has no leg, and is nobody else any more."""
        for who in frozenset().union(*(self.group[each] for each in some)):
            self.legs[who], self.group[who] = 0, frozenset([who])
            self.alive.discard(who)


async def one_step(world: GuardWorld, oracle: Oracle, dice: random.Random, number: int) -> str:
    """Something happens, to the world and in the oracle; what."""
    some = dice.sample(PEOPLE, dice.randint(1, 3))
    jti, what = f"step-{number:05}", dice.choice(("link", "link", "call", "part", "erase", "walk", "restart"))
    world.clock.at += timedelta(hours=1)
    if what == "link" and len(some) > 1:
        await world.ask(jti, "same_as", *some)
        oracle.linked(some)
    elif what == "part":
        await world.ask(jti, "not_same_as", *some)
        oracle.parted(some)
    elif what == "erase":
        await world.ask(jti, "erase", *some)
        oracle.erased(some)
    elif what == "call":
        for each in some:
            await world.call(f"{jti}-{each}", each, days_ago=0.01)
            oracle.legs[each] += 1
            oracle.alive.add(each)
    elif what == "walk":
        await walk(world)
    elif what == "restart":
        await restored(world, dict(world.keystore.entries))
    return what


async def generations(world: GuardWorld) -> dict[str, int]:
    """By person, the generation that they are in."""
    return {who: person.generation for who in PEOPLE if (person := await flags(world, who)) is not None}


async def as_told(world: GuardWorld, oracle: Oracle, kept: Collection[str] = PEOPLE) -> None:
    """The keystore says what the oracle says of those whom it has not lost."""
    names = {lookup(world, who): who for who in PEOPLE}
    humans = await Homes(world.ring(), writes=False).everyone(list(names))
    found = {names[each]: {names[other] for other in human.known} for each, human in humans.items()}
    wanted = {who: {*group} & {*kept} - {who} for who, group in oracle.group.items()}
    assert {who: found[who] for who in kept} == {who: wanted[who] for who in kept}


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_whoever_is_one_by_what_was_said_is_reached_as_one(tmp_path: Path, seed: int) -> None:
    """Killed now and then at a write, restored from a backup in the end: nobody is lost, nobody is joined by it."""
    dice = random.Random(seed)  # noqa: S311 - drawn histories, repeatable
    world, oracle = await GuardWorld(tmp_path, POLICY + CONSENT).start(), Oracle()
    backup, then = dict(world.keystore.entries), await generations(world)
    for number in range(STEPS):
        what = await one_step(world, oracle, dice, number)
        if dice.random() < 0.3:
            world.fuse.at, world.fuse.after, world.fuse.count = dice.randint(1, 12), dice.random() < 0.5, 0
        try:
            await world.run()
        except Crash:
            await world.restart(rebuild=dice.random() < 0.3)
            await world.run()
        world.fuse.at = -1
        await as_told(world, oracle)
        assert len(world.legs()) == sum(oracle.legs.values()), what
        assert set(world.dead()) <= {"not_linked"}, what
        if number == STEPS // 2:
            backup, then = dict(world.keystore.entries), await generations(world)
    now = await generations(world)
    await restored(world, backup)
    await as_told(world, oracle, [who for who in PEOPLE if then.get(who) == now.get(who)])
    await walk(world)
    await as_told(world, oracle, [who for who in PEOPLE if then.get(who) == now.get(who)])
