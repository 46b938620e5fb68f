"""
Following for a purpose: lines that keep a table downstream true, for as long as it likes, across restarts.

Rules: 1. A leg is in the cursor before its hand-out, out of it after its removal is taken; the bookmark moves when the
          next batch is asked for. So a crash repeats lines, and forgets no leg that may, or should, be downstream.
       2. What was shown and may not be seen any more is removed; what may be seen again comes again.
       3. Silence, or a key that is missing, removes nothing.
       4. A follower that may have missed a tombstone starts over: `reset`, then everything anew (`progress`).
       5. What a purpose keeps by law stays, without a gap: an erased person's leg is removed after its tombstone, and
          no tombstone is believed before the copies, which are older, have been read to their end (`remembered`).
How it notices: legs, copies and tombstones from the topics, a person's new standing by the `lookout`, a lapse by date.
Without a right to the ledger, which tells of secret holds, a new standing is seen at the lookout's next round.
Source: docs/adr/0004-a-hold-is-a-copy.md, docs/reference/topics.md, docs/explanation/design.md.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from datetime import date
from typing import Final, NamedTuple

from calllog_guard.core.calls.view import Line, Reset
from calllog_guard.core.retention.read_access import MAY_END, Refusal, has_lapsed
from calllog_guard.errors import Fate, GuardError
from calllog_guard.ports.log import Record
from calllog_guard.ports.state import Cursor, Shown, ShownLeg
from calllog_guard.workers.reader.follower_position import AnewError, FollowerPosition, Trail
from calllog_guard.workers.reader.follower_rows import Remembered, Step, seen, unknown
from calllog_guard.workers.reader.once import read_on
from calllog_guard.workers.reader.recheck import ROUND_S, Lookout
from calllog_guard.workers.reader.session import BATCH, Reading, Right, Verdict
from calllog_guard.workers.runtime.retry import RETRY_FIRST_S, longer

LAP_S: Final = 1.0
"""How often published policies and copies are looked for, where no tombstone asks for the copies sooner."""


class Pace(NamedTuple):
    """How often everyone is looked at in turn, and how often what is published and copies are looked for."""

    round_s: float = ROUND_S
    lap_s: float = LAP_S


PACE: Final = Pace()


class Following:
    """One errand, followed: its legs by `reading`, its copies by `kept`; `ready` unless it waits for what is silent."""

    def __init__(
        self,
        reading: Reading,
        kept: Reading,
        trail: Trail,
        cursor: Cursor,
        told: Callable[[str], None],
        pace: Pace = PACE,
    ) -> None:
        self._reading, self._kept, self._trail, self._cursor = reading, kept, trail, cursor
        self._retry_max_s, self._told, self._look = reading.context.settings.retry_max_s, told, trail.look
        self._progress, self._lookout = (
            FollowerPosition(trail, cursor, reading.context.clock),
            Lookout(cursor, pace.round_s),
        )
        self._remembered = Remembered(cursor, reading.errand.tenant)
        kept.source.follow()
        self._lapses: tuple[date, object] | None = None
        self._lap_s, self._next_lap = pace.lap_s, 0.0
        self.ready, self.alive, self.why = False, True, ["it has not read up to its place yet"]

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    async def batches(self) -> AsyncGenerator[list[Line], None]:
        """
        Batches of lines for ever; a batch counts as taken when the next one is asked for.

        Raises:
            KeystoreSilentError, KeystoreGuardedError, LogSilentError: Silence beyond RETRY_MAX_S; nothing was removed.
            StateRefusedError: The policy has taken the right or the purpose away: the table has no purpose any more.

        """
        silent_since: float | None = None
        pause, progress = RETRY_FIRST_S, self._progress
        while True:
            try:
                async with aclosing(self._steps()) as steps:
                    async for step in steps:
                        self.ready, self.why, silent_since, pause = True, [], None, RETRY_FIRST_S
                        if step.given:
                            self._cursor.save(progress.saved, step.given, ())
                        if step.lines:
                            yield step.lines
                        self._cursor.save(progress.mark, step.kept, step.dropped)
                        progress.saved = progress.mark
            except AnewError:
                self._told("starts over: a removal may have been missed, or a topic was made anew")
                self._cursor.clear()
            except GuardError as error:
                self.ready, self.why, silent_since = False, [f"it waits: {error}"], silent_since or self._now()
                if error.fate is not Fate.RETRY or self._now() - silent_since > self._retry_max_s:
                    raise
                self._told(f"waits, nothing is removed: {error}")
                await asyncio.sleep(pause)
                pause = longer(pause)

    # --- rounds -----------------------------------------------------------------------------------------------------

    def _meant(self, right: Right) -> tuple[str, ...]:
        errand = self._reading.errand
        return self._progress.meaning(errand.tenant, errand.purpose, right.meaning, copies=right.copies)

    async def _steps(self) -> AsyncGenerator[Step, None]:
        right = await self._reading.entitled()
        await self._reading.source.standings({}, right.purpose)  # a table is not emptied for a keystore that is silent
        await self._progress.identify(copies=right.copies)
        if await self._progress.begin(self._meant(right)):
            yield Step([Reset()])
        self._lapses, self._next_lap = None, 0.0
        self._lookout.everyone_anew()
        while True:
            right = await self._reading.entitled()
            if self._meant(right) != self._progress.mark.reading:
                raise AnewError
            records = await self._trail.log.poll(BATCH)
            self._lookout.watch((each for each in records if each.topic == self._trail.ledger), self._now())
            async for step in self._changed([each for each in records if each.topic == self._trail.legs], right):
                yield step
            async for step in self._looked_at(self._lookout.names(self._now()), right):
                yield step
            async for step in self._lapsed(right):
                yield step
            if self._now() >= self._next_lap:
                self._next_lap = self._now() + self._lap_s
                await self._look()
                async for step in self._copied(right):
                    yield step
                await self._progress.identify(copies=right.copies)
                await self._progress.keep_up()
                yield Step()

    # --- 1 legs, copies and tombstones ------------------------------------------------------------------------------

    async def _changed(self, records: Sequence[Record], right: Right) -> AsyncGenerator[Step, None]:
        """Legs that were read; their place in the topic moves when the step is taken, after the copies' before them."""
        latest = list({record.key: record for record in records}.values())
        gone = [record.key for record in latest if record.value is None]
        if right.copies and self._remembered.rows(gone):
            async for step in self._copied(right):
                yield step
        await self._progress.moved(self._trail.log)
        if latest:
            yield self._told_of(await self._reading.judged(latest), right)

    async def _copied(self, right: Right) -> AsyncGenerator[Step, None]:
        """What was copied, or has gone, up to the present end. Of other holds nothing is read or put on record."""
        if not right.copies:
            return
        bounds = await self._trail.log.bounds(self._trail.places(self._trail.copies))
        async for records in read_on(self._trail.held, {place: end for place, (_, end) in bounds.items()}):
            latest = {record.key: record for record in records}.values()
            step = self._told_of(await self._kept.judged([each for each in latest if each.value is not None]), right)
            for row in self._remembered.rows(each.key for each in latest if each.value is None).values():
                step.hides(row, None)
            await self._progress.moved(self._trail.held)
            yield step

    def _told_of(self, verdicts: Sequence[Verdict], right: Right) -> Step:
        """What the table is told of records that were read."""
        rows = self._remembered.rows(verdict.record.key for verdict in verdicts if verdict.line is None)
        there = [seen(verdict, Shown.THERE) for verdict in verdicts if verdict.line is not None]
        silent = self._remembered.silent([*there, *rows.values()], right)
        step = Step(given=[row for row in there if (row.name, row.token) not in silent])
        for verdict in verdicts:
            header, refusal, row = verdict.header, verdict.refusal, rows.get(verdict.record.key or b"")
            if verdict.line is not None and header is not None:
                if (header.kid, header.rid) not in silent:  # if it is not taken, its record comes again
                    step.lines.append(verdict.line)
            elif refusal is Refusal.UNKNOWN:
                step.kept.append(unknown(verdict, row))
            elif row is not None and not self._remembered.outlives(row, refusal, right):
                step.hides(row, refusal, silent=(row.name, row.token) in silent)
            if refusal in MAY_END:
                step.kept.append(seen(verdict, Shown.HIDDEN))
        return step

    # --- 2 people whose standing may have changed -------------------------------------------------------------------

    async def _looked_at(self, names: Sequence[str], right: Right) -> AsyncGenerator[Step, None]:
        rows = self._cursor.of(names) if names else []
        legs, copies = list[ShownLeg](), list[ShownLeg]()
        for row in rows:
            (copies if self._remembered.is_copy(row, right) else legs).append(row)
        for reading, some in ((self._reading, legs), (self._kept, copies)):
            if some:
                async for step in self._standing(reading, some, right):
                    yield step

    async def _standing(self, reading: Reading, rows: Sequence[ShownLeg], right: Right) -> AsyncGenerator[Step, None]:
        now = await self._now_of(reading, rows, right)
        changed: list[tuple[ShownLeg, Refusal | None]] = []
        for row, refusal in now:
            stays = refusal is Refusal.UNKNOWN or self._remembered.outlives(row, refusal, right)
            known = row.shown is Shown.HIDDEN and refusal in MAY_END
            if not stays and not known and not (refusal is None and row.shown is Shown.THERE):
                changed.append((row, refusal))
        silent = self._remembered.silent((row for row, _ in changed), right)
        step, again = Step(), defaultdict(list)
        for row, refusal in changed:
            is_silent = (row.name, row.token) in silent
            if refusal is not None:
                step.hides(row, refusal, silent=is_silent)
            elif not is_silent:
                again[row.partition].append(row)
        if step.kept or step.dropped:
            yield step
        for partition, hidden in again.items():
            for start in range(0, len(hidden), BATCH):
                yield await self._again(reading, partition, hidden[start : start + BATCH])
        async for step in self._unmet(reading, [row for row, refusal in now if refusal is None]):
            yield step

    async def _now_of(
        self, reading: Reading, rows: Sequence[ShownLeg], right: Right
    ) -> list[tuple[ShownLeg, Refusal | None]]:
        """What stands against each row now, by its name and by whose it is."""
        holders = await reading.source.holders(list({row.name for row in rows}))
        standings = await reading.source.standings(holders, right.purpose)
        closed = await reading.source.closed([(row.name, row.token) for row in rows])
        by_name = {name: each.refusal for name, each in standings.items()}
        own = dict.fromkeys(closed.restricted, Refusal.RESTRICTED)
        return [(row, by_name.get(row.name, Refusal.UNKNOWN) or own.get((row.name, row.token))) for row in rows]

    async def _unmet(self, reading: Reading, rows: Sequence[ShownLeg]) -> AsyncGenerator[Step, None]:
        """Copies that are shown since before this start, and whose people are still to be met."""
        unmet = (await reading.source.closed([(row.name, row.token) for row in rows])).unknown if rows else set()
        by_partition: dict[int, list[ShownLeg]] = defaultdict(list)
        for row in rows:
            if row.shown is Shown.THERE and (row.name, row.token) in unmet:
                by_partition[row.partition].append(row)
        for partition, there in by_partition.items():
            for start in range(0, len(there), BATCH):
                yield await self._met(reading, partition, there[start : start + BATCH])

    async def _met(self, reading: Reading, partition: int, there: Sequence[ShownLeg]) -> Step:
        """Copies that were shown before this start, whose people are met anew: they may have restricted them since."""
        by_offset = {row.offset: row for row in there}
        step, place = Step(), (reading.source.topic, partition)
        for verdict in await reading.judged(await self._trail.log.fetch(place, list(by_offset))):
            if verdict.line is None and verdict.refusal in MAY_END:
                step.hides(by_offset[verdict.record.offset], verdict.refusal)
        return step

    async def _again(self, reading: Reading, partition: int, hidden: Sequence[ShownLeg]) -> Step:
        """Legs that were hidden and may be seen: what the log has of them now."""
        by_offset = {row.offset: row for row in hidden}
        step, place = Step(), (reading.source.topic, partition)
        for verdict in await reading.judged(await self._trail.log.fetch(place, list(by_offset))):
            header, row = verdict.header, by_offset.pop(verdict.record.offset)
            if header is None or (header.kid, header.rid) != (row.name, row.token):
                step.hides(row, Refusal.UNREADABLE)
            elif verdict.line is not None:
                step.lines.append(verdict.line)
                step.given.append(seen(verdict, Shown.PERHAPS))
                step.kept.append(seen(verdict, Shown.THERE))
            elif verdict.refusal is not Refusal.UNKNOWN:
                step.hides(row, verdict.refusal)
        for row in by_offset.values():  # compacted away: a later record of it, or its tombstone, is yet to come
            step.hides(row, Refusal.UNKNOWN)
        return step

    # --- 3 legs that lapse ------------------------------------------------------------------------------------------

    async def _lapsed(self, right: Right) -> AsyncGenerator[Step, None]:
        """Looked for when the day or a period has changed; a leg that comes in is judged by itself."""
        if self._lapses is not None and self._lapses[0] == right.today and self._lapses[1] is right.law:
            return
        for day, policy in self._cursor.days():
            if has_lapsed(day, right.purpose, right.since(policy), right.today):
                step = Step()
                for row in self._cursor.of_day(day, policy):
                    step.hides(row, Refusal.LAPSED)
                yield step
        self._lapses = right.today, right.law
