"""
At rest a followed table is what a plain read shows: random histories, in which workers and the follower die anywhere.

Two ways to the same answer: the follower lives from changes, the plain read knows no past.
"""

import asyncio
import os
import shutil
import tempfile
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from downstream import Downstream, plain
from guard_world import POLICY, Crash, GuardWorld
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from patience import PATIENCE_S
from sizes import size

from calllog_guard.errors import GuardError

SEQUENCES = size("FOLLOWING_SEQUENCES", 8, 25)
BOTH = POLICY.replace('purposes = ["billing"]', 'purposes = ["billing", "service"]').replace('"P6Y"', '"P60D"')
PEOPLE = ("ann", "ben", "cem")
who = st.sampled_from(PEOPLE)
act = st.one_of(
    st.tuples(st.just("call"), who, who, st.sampled_from([0.001, 1, 20, 55])),
    st.tuples(st.sampled_from(["erase", "restrict", "lift"]), who),
    st.tuples(st.just("erase_days"), who, st.integers(0, 30)),
    st.tuples(st.just("object"), who, st.sampled_from(["approve", "refuse"])),
    st.tuples(st.just("hold"), who, st.booleans()),
    st.tuples(st.just("release")),
    st.tuples(st.just("days"), st.sampled_from([1, 10, 40])),
    st.tuples(st.just("step"), st.sampled_from(["protector", "desk", "keeper"])),
    st.tuples(st.just("crash"), st.sampled_from(["protector", "desk", "keeper"]), st.integers(1, 6), st.booleans()),
    st.tuples(st.just("follow")),
    st.tuples(st.just("dies"), st.integers(1, 6), st.booleans()),
    st.tuples(st.just("compacted")),
)


class History:
    """One world, and two tables that follow it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.number = folder, 0
        self.holds: list[str] = []
        self.objections: list[str] = []

    async def go(self, acts: list[tuple[Any, ...]]) -> None:
        """Everything in turn, then rest."""
        self.world = await GuardWorld(self.folder, BOTH).start()
        for name in PEOPLE:
            await self.world.call(f"first-{name}", name, "guest")
        await self.world.run()
        self.jobs = [Downstream(self.world, purpose).start() for purpose in ("billing", "service")]
        try:
            for name, *rest in acts:
                doing: Callable[..., Coroutine[Any, Any, None]] = getattr(self, name)
                await doing(*rest)
            self.world.keeper._sweeper.next_ms = 0
            await self.world.run(200)
            for job in self.jobs:
                async with asyncio.timeout(PATIENCE_S):
                    await job.until_true()
                await job.for_(0.05)
                assert job.table.rows == await plain(self.world, job.purpose)
        finally:
            for job in self.jobs:
                await job.ends()

    def name(self) -> str:
        """A new name."""
        self.number += 1
        return f"name-{self.number:05d}"

    async def call(self, host: str, guest: str, days: float) -> None:
        """The same call again, where host, guest and day are the same: a leg is replaced."""
        parties = dict.fromkeys([host, guest])
        await self.world.call(f"{host}-{guest}-{days}", *parties, days_ago=days)

    async def _asked(self, kind: str, person: str, **more: Any) -> None:
        await self.world.ask(self.name(), kind, person, **more)

    async def erase(self, person: str) -> None:
        """All of a person."""
        await self._asked("erase", person)

    async def restrict(self, person: str) -> None:
        """Not used for now."""
        await self._asked("restrict", person)

    async def lift(self, person: str) -> None:
        """Used again."""
        await self._asked("lift", person)

    async def erase_days(self, person: str, back: int) -> None:
        """Some days."""
        first = (self.world.clock.at - timedelta(days=back)).date()
        last = first + timedelta(days=back // 2)
        await self._asked("erase", person, range={"from": first.isoformat(), "to": last.isoformat()})

    async def object(self, person: str, answer: str) -> None:
        """An objection to billing, which an officer decides."""
        name = self.name()
        await self.world.ask(name, "object", person, purposes=["billing"])
        await self.step("desk")
        more = {"ground": "The law."} if answer == "refuse" else {}
        try:
            case = self.world.case(name).case
        except AssertionError:  # the desk is not as far
            return
        await self.world.ask(self.name(), answer, key="officer-1", case=case, **more)

    async def hold(self, person: str, secret: bool) -> None:  # noqa: FBT001 - drawn by Hypothesis
        """An officer's order."""
        self.holds.append(self.name())
        await self.world.hold(self.name(), self.holds[-1], person, secret=secret)

    async def release(self) -> None:
        """The oldest order ends."""
        if self.holds:
            await self.world.release(self.name(), self.holds.pop(0))

    async def days(self, many: int) -> None:
        """Time passes, and the sweep comes by."""
        self.world.clock.at += timedelta(days=many)
        self.world.keeper._sweeper.next_ms = 0

    async def step(self, role: str) -> None:
        """A worker does what it finds."""
        try:
            await self.world.step(role)
        except GuardError:
            await self.world.restart()

    async def crash(self, role: str, at: int, after: bool) -> None:  # noqa: FBT001 - drawn by Hypothesis
        """A worker dies at a write."""
        self.world.fuse.at, self.world.fuse.after, self.world.fuse.count = at, after, 0
        with suppress(Crash, GuardError):
            await self.world.step(role)
        await self.world.restart()

    async def follow(self) -> None:
        """The tables follow for a moment."""
        for job in self.jobs:
            await job.for_(0.01)

    async def dies(self, at: int, after: bool) -> None:  # noqa: FBT001 - drawn by Hypothesis
        """The followers die at a write of their cursors, and start again."""
        for job in self.jobs:
            job.fuse.at, job.fuse.after, job.fuse.count = at, after, 0
            with suppress(Crash):
                await job.for_(0.02)
            job.fuse.at = -1
            await job.ends()
            job.start()

    async def compacted(self) -> None:
        """Values that were replaced are there no more; offsets stay."""
        for lane in self.world.log.records.values():
            last = {record.key: record.offset for record in lane}
            for place, record in enumerate(lane):
                if record.topic in {"calllog.legs", "calllog.held"} and last[record.key] != record.offset:
                    lane[place] = replace(record, key=b"~beat", value=b"{}")


@given(st.lists(act, min_size=5, max_size=30))
@settings(
    max_examples=SEQUENCES,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate, *([Phase.shrink] if os.environ.get("PROPERTY_SHORTEN") else [])],
)
@pytest.mark.slow
def test_at_rest_a_followed_table_is_what_a_plain_read_shows(acts: list[tuple[Any, ...]]) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        asyncio.run(History(folder).go(acts))
    finally:
        shutil.rmtree(folder)
