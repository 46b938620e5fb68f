"""
Following for a purpose: lines that keep a table downstream true, for as long as it likes, across restarts.

Rules: 1. A leg is in the cursor before it is handed out, and out of it after its removal was taken; the bookmark moves when the
          next batch is asked for. So a crash repeats lines, and forgets no leg that may be downstream.
       2. What was shown and may not be seen any more is removed; what may be seen again comes again.
       3. Silence, or a key that is missing, removes nothing.
       4. A follower that may have missed a tombstone starts over: `reset`, then everything anew.
How it notices: legs and tombstones from the topic, a person's new standing by the `lookout`, what lapses by the calendar.
Without a right to the ledger, which tells of secret holds, a new standing is seen at the lookout's next round.
Source: design sections 5 (compaction), 9 (fence); facts: a consumer slower than `delete.retention.ms`.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import date
from typing import Final

import msgspec

from calllog_guard.core.calls.view import Line, Remove, Reset
from calllog_guard.core.ids import split_key
from calllog_guard.core.retention.access import MAY_END, Refusal, has_lapsed
from calllog_guard.core.wire import to_ms
from calllog_guard.errors import ConfigurationError, Fate, GuardError
from calllog_guard.ports import Bookmark, Clock, Cursor, LogReader, Place, Record, Seen, Shown
from calllog_guard.workers.lookout import ROUND_S, Lookout
from calllog_guard.workers.reading import BATCH, Reading, Right, Verdict

_RETRY_FIRST_S: Final = 0.05
_RETRY_MOST_S: Final = 2.0
_LAP_S: Final = 1.0


@dataclass(slots=True)
class Step:
    """
    Lines to hand out, with what the cursor remembers.

    Args:
        given: Legs of the lines, remembered before these are handed out.
        kept: What is remembered once they are taken, as is `dropped`.

    """

    lines: list[Line] = field(default_factory=list)
    given: list[Seen] = field(default_factory=list)
    kept: list[Seen] = field(default_factory=list)
    dropped: list[tuple[str, str]] = field(default_factory=list)

    def hides(self, row: Seen, refusal: Refusal | None) -> None:
        """A leg may not be seen any more, or is no more."""
        if row.shown is not Shown.HIDDEN:
            self.lines.append(Remove(token=row.token))
        if refusal in MAY_END:
            self.kept.append(msgspec.structs.replace(row, shown=Shown.HIDDEN))
        else:
            self.dropped.append((row.name, row.token))


def seen(verdict: Verdict, shown: Shown) -> Seen:
    """What is remembered of a leg."""
    header, record = verdict.header, verdict.record
    if header is None:
        raise AssertionError("only what has a header is remembered")
    return Seen(header.kid, header.rid, record.partition, record.offset, header.day, header.pol, shown)


class _AnewError(Exception):
    """The follower has to start over."""


class Following:
    """One errand, followed."""

    def __init__(
        self,
        reading: Reading,
        log: LogReader,
        cursor: Cursor,
        clock: Clock,
        *,
        ledger: str | None,
        partitions: Sequence[int],
        keep_ms: int,
        retry_max_s: float,
        told: Callable[[str], None],
        look: Callable[[], Awaitable[None]],
        round_s: float = ROUND_S,
    ) -> None:
        self._reading, self._log, self._cursor, self._clock = reading, log, cursor, clock
        self._legs, self._ledger, self._partitions = reading.source.topic, ledger, sorted(partitions)
        self._topics = [each for each in (self._legs, ledger) if each is not None]
        self._keep_ms, self._retry_max_s = keep_ms, retry_max_s
        self._told, self._look = told, look
        self._lookout = Lookout(cursor, round_s)
        self._mark = self._saved = Bookmark((), {}, 0)
        self._lapses: tuple[date, object] | None = None
        self._before: dict[int, int] = {}
        self._ends: dict[int, int] = {}
        self._lap_ms, self._next_lap = 0, 0.0

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    async def batches(self) -> AsyncGenerator[list[Line], None]:
        """
        Batches of lines for ever; a batch counts as taken when the next one is asked for.

        Raises:
            KeystoreSilentError, KeystoreGuardedError, LogSilentError: Silence for longer than RETRY_MAX_S; nothing was removed.
            StateRefusedError: The policy has taken the right away: the table has no purpose any more.

        """
        silent_since: float | None = None
        pause = _RETRY_FIRST_S
        while True:
            try:
                async with aclosing(self._steps()) as steps:
                    async for step in steps:
                        silent_since, pause = None, _RETRY_FIRST_S
                        if step.given:
                            self._cursor.save(self._saved, step.given, ())
                        if step.lines:
                            yield step.lines
                        self._cursor.save(self._mark, step.kept, step.dropped)
                        self._saved = self._mark
            except _AnewError:
                self._cursor.clear()
            except GuardError as error:
                silent_since = silent_since or self._now()
                if error.fate is not Fate.RETRY or self._now() - silent_since > self._retry_max_s:
                    raise
                self._told(f"waits, nothing is removed: {error}")
                await asyncio.sleep(pause)
                pause = min(pause * 2, _RETRY_MOST_S)

    # --- start ------------------------------------------------------------------------------------------------------

    def _meant(self, right: Right) -> tuple[str, ...]:
        errand = self._reading.errand
        partitions = ",".join(map(str, self._partitions))
        return errand.tenant, self._legs, errand.purpose, right.meaning, partitions, self._ledger or ""

    async def _begun(self) -> bool:
        """Go to the bookmark, or to the beginning; whether the table starts over."""
        right = self._reading.right()
        meant, now = self._meant(right), to_ms(self._clock.now())
        places = [(topic, partition) for topic in self._topics for partition in self._partitions]
        bounds = await self._log.bounds(places)
        await self._reading.source.standings({}, right.purpose)  # a table is not emptied for a keystore that is silent
        mark = self._cursor.bookmark()
        if mark is not None and mark.reading[:3] != meant[:3]:
            raise ConfigurationError(
                f"the cursor follows {' '.join(mark.reading[:3])}: name another file for {meant[2]}"
            )
        anew = mark is None or mark.reading != meant or now - mark.whole_ms > self._keep_ms // 2
        if mark is not None and not anew:
            anew = any(not first <= mark.offsets[t][p] <= end for (t, p), (first, end) in bounds.items())
        if mark is None or anew:
            self._cursor.clear()
            offsets = {  # legs from their beginning, the ledger from its end
                topic: {partition: bounds[topic, partition][topic != self._legs] for partition in self._partitions}
                for topic in self._topics
            }
            mark = Bookmark(meant, offsets, now)
        self._mark = self._saved = mark
        self._lapses = None
        self._before, self._lap_ms, self._next_lap = mark.offsets[self._legs], now, 0.0
        self._ends = {partition: bounds[self._legs, partition][1] for partition in self._partitions}
        await self._log.assign({(t, p): offset for t, each in mark.offsets.items() for p, offset in each.items()})
        return anew

    # --- rounds -----------------------------------------------------------------------------------------------------

    async def _steps(self) -> AsyncGenerator[Step, None]:
        if await self._begun():
            yield Step([Reset()])
        self._lookout.everyone_anew()
        while True:
            right = self._reading.right()
            if self._meant(right) != self._mark.reading:
                raise _AnewError
            records = await self._log.poll(BATCH)
            self._lookout.watch((record for record in records if record.topic == self._ledger), self._now())
            self._mark = await self._moved()
            if legs := [record for record in records if record.topic == self._legs]:
                yield await self._changed(legs)
            async for step in self._looked_at(self._lookout.names(self._now()), right):
                yield step
            async for step in self._lapsed(right):
                yield step
            if await self._keeps_up():
                yield Step()

    async def _keeps_up(self) -> bool:
        """
        Once a second: look for published policies, note up to when everything has been read; whether it was time for it.

        Raises:
            _AnewError: That is too long ago, or the beginning of the log has overtaken us: a tombstone may have been missed.

        """
        if self._now() < self._next_lap:
            return False
        self._next_lap = self._now() + _LAP_S
        await self._look()
        now_ms, at = to_ms(self._clock.now()), self._mark.offsets[self._legs]
        bounds = await self._log.bounds([(self._legs, partition) for partition in self._partitions])
        if any(first > self._before[partition] for (_, partition), (first, _) in bounds.items()):
            raise _AnewError
        self._before = at
        whole_ms = self._mark.whole_ms
        if all(at[partition] >= end for partition, end in self._ends.items()):
            whole_ms, self._lap_ms = self._lap_ms, now_ms
            self._ends = {partition: end for (_, partition), (_, end) in bounds.items()}
        if now_ms - whole_ms > self._keep_ms // 2:
            raise _AnewError
        self._mark = Bookmark(self._mark.reading, self._mark.offsets, whole_ms)
        return True

    async def _moved(self) -> Bookmark:
        offsets: dict[str, dict[int, int]] = {topic: {} for topic in self._topics}
        for (topic, partition), offset in (await self._log.positions()).items():
            offsets[topic][partition] = offset
        return Bookmark(self._mark.reading, offsets, self._mark.whole_ms)

    # --- 1 legs and tombstones --------------------------------------------------------------------------------------

    async def _changed(self, records: Sequence[Record]) -> Step:
        latest = {record.key: record for record in records}
        step = Step()
        for verdict in await self._reading.judged(list(latest.values())):
            if verdict.line is not None:
                step.lines.append(verdict.line)
                step.given.append(seen(verdict, Shown.THERE))  # if it is not taken, its record comes again
                continue
            if verdict.refusal is Refusal.UNKNOWN:
                continue
            row = self._row(verdict.record.key or b"")
            if row is not None:
                step.hides(row, verdict.refusal)
            if verdict.refusal in MAY_END:
                step.kept.append(seen(verdict, Shown.HIDDEN))
        return step

    def _row(self, key: bytes) -> Seen | None:
        try:
            return self._cursor.at(*split_key(key))
        except ValueError:
            return None

    # --- 2 people whose standing may have changed -------------------------------------------------------------------

    async def _looked_at(self, names: Sequence[str], right: Right) -> AsyncGenerator[Step, None]:
        rows = self._cursor.of(names) if names else []
        if not rows:
            return
        holders = await self._reading.source.holders(list({row.name for row in rows}))
        standings = await self._reading.source.standings(holders, right.purpose)
        step, again = Step(), defaultdict[int, list[Seen]](list)
        for row in rows:
            refusal = standings[row.name].refusal if row.name in standings else Refusal.UNKNOWN
            if refusal is None and row.shown is not Shown.THERE:
                again[row.partition].append(row)
            elif refusal not in {None, Refusal.UNKNOWN} and not (row.shown is Shown.HIDDEN and refusal in MAY_END):
                step.hides(row, refusal)
        if step.kept or step.dropped:
            yield step
        for partition, hidden in again.items():
            for start in range(0, len(hidden), BATCH):
                yield await self._again((self._legs, partition), hidden[start : start + BATCH])

    async def _again(self, place: Place, hidden: Sequence[Seen]) -> Step:
        """Legs that were hidden and may be seen: what the log has of them now."""
        by_offset = {row.offset: row for row in hidden}
        step = Step()
        for verdict in await self._reading.judged(await self._log.fetch(place, list(by_offset))):
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
