"""
Reading once: what a purpose may see now, partition by partition.

A partition's live records are held in memory, sealed, while it is read; what is opened is handed out in batches.
Where several revisions of a leg are there, which the keeper has still to compare, the newest is handed out.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from typing import Final

from calllog_guard.core.calls.view import Line, Put
from calllog_guard.core.identifiers import INTERNAL_KEY, LEG_KEY_LETTERS
from calllog_guard.errors import LogSilentError
from calllog_guard.ports.log import LogReader, Place, Record
from calllog_guard.workers.reader.session import BATCH, Reading, Verdict

_STALLED_S: Final = 30.0
_TOLD_S: Final = 5.0


async def snapshot(
    reading: Reading,
    log: LogReader,
    partitions: Sequence[int],
    told: Callable[[str], None],
    kept: Reading | None = None,
) -> AsyncGenerator[list[Line], None]:
    """
    Lines of legs that are there and may be seen, and of the copies that the purpose keeps by law; no removals.

    Raises:
        KeystoreSilentError, KeystoreGuardedError, LogSilentError: What came out so far is true, but not all there is.

    """
    loop = asyncio.get_running_loop()
    next_word = loop.time() + _TOLD_S
    readings = (reading, kept) if kept and reading.right().copies else (reading,)
    for number, partition in enumerate(partitions):
        if loop.time() >= next_word:
            told(f"{number} of {len(partitions)} partitions read, {reading.opened} legs opened")
            next_word = loop.time() + _TOLD_S
        tokens: set[str] = set()
        for each in readings:  # copies are made before their legs go: never the other way
            records = await _state(log, (each.source.topic, partition))
            many = Counter(_leg(record) for record in records)
            newest: dict[bytes, Verdict] = {}
            for start in range(0, len(records), BATCH):
                verdicts = await each.judged(records[start : start + BATCH])
                lines = [line for line in _lines(verdicts, many, newest) if line.token not in tokens]
                tokens.update(line.token for line in lines)
                if lines:
                    yield list[Line](lines)
            if newest:
                yield [found.line for found in newest.values() if found.line and found.line.token not in tokens]


def _leg(record: Record) -> bytes:
    """How the record keys of all revisions of a leg begin."""
    return (record.key or b"")[:LEG_KEY_LETTERS]


def _lines(verdicts: Sequence[Verdict], many: Mapping[bytes, int], newest: dict[bytes, Verdict]) -> Iterator[Put]:
    """The lines of legs that are there once; of others the newest revision is kept in `newest`."""
    for verdict in verdicts:
        leg = _leg(verdict.record)
        if verdict.line is not None and many[leg] == 1:
            yield verdict.line
        elif verdict.line is not None and (leg not in newest or newest[leg].revision < verdict.revision):
            newest[leg] = verdict


async def _state(log: LogReader, place: Place) -> list[Record]:
    """The last record of each key, without tombstones and internal keys, up to the present end."""
    first, end = (await log.bounds([place]))[place]
    state: dict[bytes, Record] = {}
    if first == end:
        return []
    await log.assign({place: first})
    async for records in read_on(log, {place: end}):
        for record in records:
            key = record.key or INTERNAL_KEY
            if record.value is None:
                state.pop(key, None)
            elif key[:1] != INTERNAL_KEY:
                state[key] = record
    return list(state.values())


async def read_on(log: LogReader, ends: Mapping[Place, int]) -> AsyncGenerator[Sequence[Record], None]:
    """
    What a reader has still to read of what it was assigned, up to these ends.

    Raises:
        LogSilentError: Nothing came for too long.

    """
    loop = asyncio.get_running_loop()
    heard = loop.time()
    while any(at < ends[place] for place, at in (await log.positions()).items()):
        records = await log.poll(BATCH)
        if records:
            heard = loop.time()
            yield records
        elif loop.time() - heard > _STALLED_S:
            raise LogSilentError(f"Kafka handed out nothing for {_STALLED_S:.0f} s before the end of a partition")
