"""Readers of a whole world on fakes: a plain read, and a job that follows with its table, which may die anywhere."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from guard_world import PARTITIONS, TENANT, Crash, Fuse, GuardWorld
from reading_world import KEEP_MS, Table

from calllog_guard.adapters.memory.fakes import MemoryLogReader, MemoryWriter
from calllog_guard.adapters.sqlite_cursor import SqliteCursor
from calllog_guard.core.calls.view import Line, Put, Remove
from calllog_guard.metrics import CounterMetric
from calllog_guard.ports.state import Bookmark, ShownLeg
from calllog_guard.settings import Settings
from calllog_guard.workers.keys.people.homes import Homes
from calllog_guard.workers.reader.follower import Following, Pace
from calllog_guard.workers.reader.follower_position import Trail
from calllog_guard.workers.reader.once import snapshot
from calllog_guard.workers.reader.session import ReaderContext, Reading
from calllog_guard.workers.reader.sources import Errand, Kept, People, Source


def readings(
    world: GuardWorld,
    purpose: str = "billing",
    writer: MemoryWriter | None = None,
    counts: Counter[CounterMetric] | None = None,
) -> list[Reading]:
    """A reader of the legs and one of the copies, of another process; their access records go to `writer`."""
    ring, pepper = world.ring(), world.vault.pepper(TENANT)
    errand = Errand(tenant=TENANT, purpose=purpose, actor="billing-1")
    writer = writer or MemoryWriter()
    counted: Counter[CounterMetric] = Counter() if counts is None else counts

    def count(name: CounterMetric, by: int) -> None:
        counted[name] += by

    sources: list[Source] = [
        People("calllog.legs", ring, pepper, purpose, cache_entries=100),
        Kept("calllog.held", ring, world.safe(), Homes(ring, writes=False), pepper, errand),
    ]
    settings = Settings(partitions=PARTITIONS, retry_max_s=5.0)
    given = ReaderContext(settings=settings, policy=world.policy, clock=world.clock, writer=writer, count=count)
    return [Reading(errand, source, given) for source in sources]


async def plain(world: GuardWorld, purpose: str = "billing") -> dict[str, Put]:
    """What a plain read shows now, by token."""
    legs, kept = readings(world, purpose)
    batches = snapshot(legs, MemoryLogReader(world.log), range(PARTITIONS), lambda _: None, kept)
    return {line.token: line for batch in [each async for each in batches] for line in batch if isinstance(line, Put)}


class FusedCursor(SqliteCursor):
    """A cursor one of whose writes may be the last thing that its process does."""

    fuse = Fuse()

    def save(self, bookmark: Bookmark, kept: Sequence[ShownLeg], dropped: Sequence[tuple[str, str]]) -> None:
        """See Cursor."""
        self.fuse.before()
        super().save(bookmark, kept, dropped)
        self.fuse.done()


class Downstream:
    """A table and the job that keeps it true; `start` after `ends` is the next start of the same job."""

    def __init__(self, world: GuardWorld, purpose: str = "billing", **changes: Any) -> None:
        self.world, self.purpose, self.table = world, purpose, Table()
        self.changes: dict[str, Any] = {"round_s": 0.02, "lap_s": 0.01, "keep_ms": KEEP_MS * 100_000} | changes
        self.accesses, self.log, self.held = MemoryWriter(), MemoryLogReader(world.log), MemoryLogReader(world.log)
        self.counts: Counter[CounterMetric] = Counter()
        self.fuse = Fuse()
        self._asked: Any = None

    def start(self) -> "Downstream":
        """From the cursor on."""
        self.cursor = FusedCursor(self.world.folder / f"cursor-{self.purpose}")
        self.cursor.fuse = self.fuse
        legs, kept = readings(self.world, self.purpose, self.accesses, self.counts)
        changes = dict(self.changes)
        trail = Trail(
            log=self.log,
            held=self.held,
            legs="calllog.legs",
            copies="calllog.held",
            ledger="privacy.decisions",
            partitions=range(PARTITIONS),
            keep_ms=changes.pop("keep_ms"),
        )
        made = Following(legs, kept, trail, self.cursor, lambda _: None, Pace(**changes))
        self.batches = made.batches()
        return self

    async def until(self, condition: Callable[[], bool]) -> None:
        """Take batches until a condition holds; one that never holds is the test's time limit."""
        while not condition():
            self._asked = self._asked or asyncio.ensure_future(anext(self.batches))
            done, _ = await asyncio.wait([self._asked], timeout=0.02)
            if done:
                asked, self._asked = self._asked, None
                self.table.apply(await asked)

    async def until_true(self) -> None:
        """Until the table is what a plain read shows."""
        wanted = await plain(self.world, self.purpose)
        await self.until(lambda: self.table.rows == wanted)

    async def for_(self, seconds: float) -> None:
        """Whatever comes in that time."""
        end = asyncio.get_running_loop().time() + seconds
        await self.until(lambda: asyncio.get_running_loop().time() >= end)

    async def ends(self) -> None:
        """As a crash ends it: what was taken last counts as not taken."""
        if self._asked is not None:
            self._asked.cancel()
            await asyncio.wait([self._asked])
            self._asked = None
        with suppress(Crash):
            await self.batches.aclose()
        self.cursor.close()

    def removed(self) -> set[str]:
        """The tokens of every removal that came."""
        return {line.token for line in self.table.lines if isinstance(line, Remove)}

    def since(self, many: int) -> list[Line]:
        """The lines that came after so many."""
        return self.table.lines[many:]
