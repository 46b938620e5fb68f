"""
The topics of cases as the tenant's desk reads them: whole when the partition is assigned, their ends repeatedly.

Rules: 1. A case's higher state stands, wherever it lies.  2. Kafka keeps the last one of a key: if that is an older one
          (a paused desk wrote it), or none of ours, the one that stands is written again before compaction takes it.
       3. Secret cases that an earlier release left among the others are moved, once the tenant is raised.
       4. The parts of what was disclosed of a secret hold go as soon as those in the topic of exports do.
Source: docs/how-to/operate.md.
"""

from datetime import datetime
from typing import Any, Final

import structlog

from calllog_guard.core.cases.secret_cases import is_part
from calllog_guard.core.codec import to_ms
from calllog_guard.core.stream.proofs import TOGETHER
from calllog_guard.errors import MessageError
from calllog_guard.metrics import Counters
from calllog_guard.ports.log import Place
from calllog_guard.workers.desk.cases.case_store import name_in
from calllog_guard.workers.desk.context import DeskContext
from calllog_guard.workers.keys.tenants.tenure import Tenure
from calllog_guard.workers.runtime.parallel import unhurried

log: Final = structlog.get_logger()
LOOK_S: Final = 15
"""Between two looks at the end of the topic; a segment is compacted no sooner than it rolls (`segment.ms`, an hour)."""
_AT_ONCE: Final = 10_000


class CaseTopic:
    """One tenant's."""

    def __init__(self, context: DeskContext, tenure: Tenure) -> None:
        self._book, self._tenure, self._log, self._count = context.book, tenure, context.log, context.count
        self._next: dict[Place, int] = {}
        self._former: set[bytes] = set()
        self._parts: dict[bytes, int] = {}

    async def begin(self) -> None:
        """Take the cases over: from now on whoever had them writes nothing, and what they have written is read."""
        await self._tenure.begin()
        behind: set[str] = set()
        self._next.clear()
        self._former.clear()
        self._parts.clear()
        for topic, home in self._book.places:
            async for record in unhurried(await self._log.read_all(topic, [home]), TOGETHER):
                self._next[topic, home] = record.offset + 1
                self._dated(record)
                if self._book.concerns(record):
                    self._taken(record, behind)
        if self._book.tenure >= self._tenure.number:  # the keystore is older than the log
            await self._tenure.begin(self._book.tenure)
        await self._again(behind)
        await self._moved()

    def end(self) -> None:
        """The cases are no longer this desk's, and it knows: what else it writes needs no tenure."""
        self._tenure.end()

    def _taken(self, record: Any, behind: set[str]) -> None:
        try:
            stands = self._book.note(record)
        except MessageError as error:  # no case of ours; the one it would replace is kept
            self._count(Counters.unreadable[error.reason], 1)
            stands = False
        (behind.discard if stands else behind.add)(name_in(record))
        self._noted(record)

    def _noted(self, record: Any) -> None:
        if self._book.is_former(record):
            (self._former.discard if record.value is None else self._former.add)(record.key)

    def _dated(self, record: Any) -> None:
        if is_part(record) and record.value is None:
            self._parts.pop(record.key, None)
        elif is_part(record):
            self._parts[record.key] = record.timestamp

    async def drop_parts(self, before: datetime) -> None:
        """Remove the parts that were written before a moment."""
        old = [key for key, at in self._parts.items() if at < to_ms(before)]
        await self._book.drop(old)
        for key in old:
            del self._parts[key]

    async def _moved(self) -> None:
        if self._book.ordered and self._former:
            await self._book.move(self._former)
            self._former.clear()

    async def look(self) -> None:
        """See what was written since by anybody else."""
        for place in self._book.places:
            last: dict[str, Any] = {}
            while True:
                records, self._next[place], end = await self._log.tail(*place, self._next.get(place, 0), _AT_ONCE)
                for record in records:
                    self._dated(record)
                last |= {name_in(record): record for record in records if self._book.concerns(record)}
                if self._next[place] >= end:
                    break
            moves = {name for name, record in last.items() if self._book.ordered and self._book.is_former(record)}
            for record in last.values():
                self._noted(record)
            await self._again({name for name in last.keys() - moves if not self._stands(last[name])})
        await self._moved()

    def _stands(self, record: Any) -> bool:
        try:
            return self._book.stands(record)
        except MessageError as error:
            self._count(Counters.unreadable[error.reason], 1)
            log.error("a record of a case is none of our desks': it is passed over", why=error.reason)  # noqa: TRY400
            return not self._book.knows(record)

    async def _again(self, behind: set[str]) -> None:
        cases = [case for name in sorted(behind) if (case := self._book.get(name)) is not None]
        if cases:
            await self._book.save_all(cases, [])
            self._count(Counters.cases_restored, len(cases))
            log.error("behind cases stood older states, or none of ours: they are written again", cases=len(cases))
