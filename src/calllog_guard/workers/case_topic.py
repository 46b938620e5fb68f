"""
The topic of cases as the desk of its tenant reads it: as a whole when the partition is assigned, and its end again and again.

Rules: 1. Of two states of a case the higher stands, wherever it lies.  2. Kafka keeps the last one of a key: where that is an older one
          (a paused desk wrote it), or none of ours, the one that stands is written again before compaction takes it.
Source: design section 14 (time).
"""

from collections.abc import Callable
from typing import Any, Final

import structlog

from calllog_guard.errors import MessageError
from calllog_guard.ports import Place, ReadAll
from calllog_guard.workers.casebook import Casebook, name_in
from calllog_guard.workers.tenure import Tenure
from calllog_guard.workers.tools import Tail

log: Final = structlog.get_logger()
LOOK_S: Final = 15
"""Between two looks at the end of the topic; a segment is compacted no sooner than it rolls (`segment.ms`, an hour)."""
_AT_ONCE: Final = 10_000


class CaseTopic:
    """One tenant's; `tail` gives records of a partition from an offset on, with the offset after them and the end."""

    def __init__(
        self,
        place: Place,
        book: Casebook,
        tenure: Tenure,
        read_all: ReadAll,
        tail: Tail,
        count: Callable[[str, int], None],
    ) -> None:
        self._place, self._book, self._tenure = place, book, tenure
        self._read_all, self._tail, self._count = read_all, tail, count
        self._next = 0

    async def begin(self) -> None:
        """Take the cases over: from now on whoever had them writes nothing, and what they have written is read."""
        await self._tenure.begin()
        topic, home = self._place
        behind: set[str] = set()
        self._next = 0
        for record in await self._read_all(topic, [home]):
            self._next = record.offset + 1
            self._taken(record, behind)
        if self._book.tenure >= self._tenure.number:  # the keystore is older than the log
            await self._tenure.begin(self._book.tenure)
        await self._again(behind)

    def end(self) -> None:
        """The cases are no longer this desk's, and it knows: what else it writes needs no tenure."""
        self._tenure.end()

    def _taken(self, record: Any, behind: set[str]) -> None:
        try:
            stands = self._book.note(record)
        except MessageError as error:  # no case of ours; the one it would replace is kept
            self._count("unreadable_" + error.reason, 1)
            stands = False
        (behind.discard if stands else behind.add)(name_in(record))

    async def look(self) -> None:
        """See what was written since by anybody else."""
        last: dict[str, Any] = {}
        while True:
            records, self._next, end = await self._tail(*self._place, self._next, _AT_ONCE)
            last |= {name_in(record): record for record in records}
            if self._next >= end:
                break
        await self._again({name for name, record in last.items() if not self._book.stands(record)})

    async def _again(self, behind: set[str]) -> None:
        cases = [case for name in sorted(behind) if (case := self._book.get(name)) is not None]
        if cases:
            await self._book.save_all(cases, [])
            self._count("cases_restored", len(cases))
            log.error("behind cases stood older states, or none of ours: they are written again", cases=len(cases))
