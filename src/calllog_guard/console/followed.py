"""
What the topics say, followed into memory: cases, receipts, accesses, and signs of life.

Rules: 1. A record of a case counts if a desk of ours wrote it; what nobody's worker wrote is counted and passed over.
       2. A receipt is kept by its place alone, and read anew when it is shown.
       3. Accesses are kept as sums by day, actor, and officer (`accesses/sums.py`); of one that nobody believes only
          its number.  4. What keeps an access from counting twice is bounded: `accesses/repeats.py`.
Source: `core/stream/proofs.py`, `core/policy/actors.py`.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import date, datetime, timedelta
from typing import Any, Final, NamedTuple

from calllog_guard.client.answers import refusal
from calllog_guard.console.accesses.repeats import Repeats
from calllog_guard.console.accesses.sums import AccessLine, AccessSums, Sum
from calllog_guard.console.case_rows import CaseRows, row_of
from calllog_guard.core.answers.refused_request import RefusedRequest
from calllog_guard.core.audit.accesses import Doubt, read_access
from calllog_guard.core.audit.month_report import read_of
from calllog_guard.core.cases.case import case_in
from calllog_guard.core.cases.working_days import Calendar
from calllog_guard.core.codec import BEAT, DENIED, Access, from_ms
from calllog_guard.core.decisions.decision import case_id, request_name
from calllog_guard.core.identifiers import INTERNAL_KEY, Tenant
from calllog_guard.core.policy.actors import Judge
from calllog_guard.core.stream.proofs import DESK, Proofs
from calllog_guard.core.topics import Topic
from calllog_guard.errors import EntryCorruptError, MessageError, NewerFormError, RecordError
from calllog_guard.ports.log import LogReader, Place, Record
from calllog_guard.settings import Settings

_AT_ONCE: Final = 500
_REFUSED: Final = 2000
"""Refused requests that are remembered: the newest."""
REFUSED_DAYS: Final = 7
"""So long a refusal stands in the inbox."""
_BAD: Final = (MessageError, NewerFormError, EntryCorruptError, ValueError, OverflowError)


class KnownBy(NamedTuple):
    """By what records are judged; asked anew for each portion, for the policy moves on."""

    proofs: Proofs
    judge: Judge
    calendar: Calendar


class Followed:
    """
    The state of a console; `home` is the tenant's partition.

    Args:
        known: By what records are judged now.

    """

    def __init__(self, log: LogReader, settings: Settings, home: int, known: Callable[[], KnownBy]) -> None:
        self._log, self._known = log, known
        self._cases, self._receipts = settings.topic(Topic.CASES), settings.topic(Topic.RECEIPTS)
        self._access = settings.topic(Topic.ACCESS)
        self.home = home
        self._next: dict[Place, int] = {(self._cases, home): 0, (self._receipts, home): 0}
        self._next |= {(self._access, partition): 0 for partition in range(settings.few_partitions)}
        self.cases = CaseRows()
        self.receipts: dict[str, tuple[int, ...]] = {}
        self.refused: dict[str, RefusedRequest] = {}
        self.accesses = AccessSums()
        self.repeats: dict[int, Repeats] = defaultdict(Repeats)
        self.unread: Counter[str] = Counter()
        self.beat_at: datetime | None = None
        self.written_at: datetime | None = None

    async def begin(self) -> None:
        """Read on from where reading stopped. Raises LogSilentError."""
        bounds = await self._log.bounds(list(self._next))
        self._next = {place: max(at, bounds[place][0]) for place, at in self._next.items()}
        await self._log.assign(self._next)

    async def catch_up(self) -> None:
        """Read all that lies there now. Raises LogSilentError."""
        await self.begin()
        ends = {place: end for place, (_, end) in (await self._log.bounds(list(self._next))).items()}
        while True:
            await self.more()
            at = await self._log.positions()
            if all(at.get(place, 0) >= end for place, end in ends.items()):
                return

    async def more(self) -> int:
        """Take in what has come since; how many records. Raises LogSilentError."""
        records = await self._log.poll(_AT_ONCE)
        if not records:
            return 0
        known = self._known()
        for record in records:
            self._next[record.topic, record.partition] = record.offset + 1
            self._take(record, known)
        return len(records)

    def _take(self, record: Any, known: KnownBy) -> None:
        try:
            if record.topic == self._cases:
                self._case(record, known)
            elif record.topic == self._receipts:
                self._receipt(record, known)
            elif record.value is not None:
                self._accessed(record, known)
        except _BAD:
            self.unread[record.topic] += 1

    def _case(self, record: Any, known: KnownBy) -> None:
        if record.key == BEAT:
            self.beat_at = from_ms(record.timestamp)
            return
        if (record.key or b"").startswith(INTERNAL_KEY):  # what officers alone may know of
            return
        if record.value is None:
            if known.proofs.believed(record, DESK):
                self.cases.remove((record.key or b"").decode("ascii"))
                self.accesses.forget((record.key or b"").decode("ascii"))
            return
        case = case_in(record, known.proofs)
        if case.secret:
            return
        self.written_at = from_ms(record.timestamp)
        self.cases.put(row_of(case, record.offset, known.calendar))

    def _receipt(self, record: Any, known: KnownBy) -> None:
        if record.value is None or not known.proofs.believed(record, DESK):
            return
        name = (record.key or b"").decode("ascii")
        self.receipts[name] = (*self.receipts.get(name, ()), record.offset)
        if (refused := refusal(record.value, None)) is not None:
            self.refused[name] = refused
            while len(self.refused) > _REFUSED:
                del self.refused[next(iter(self.refused))]

    def _accessed(self, record: Any, known: KnownBy) -> None:
        appended = from_ms(record.timestamp)
        self.accesses.begin(known.calendar.day(appended))
        try:
            account = known.judge.account(record.value, record.partition, record.timestamp)
        except RecordError as error:
            self._doubt(record.value, known.calendar.day(appended), error.reason)
            return
        repeats, today = self.repeats[record.partition], known.calendar.day(appended)
        if account.name and repeats.late(account.access.at, appended):
            self._doubt(record.value, today, Doubt.TIME)
            return
        if repeats.again(account.name, appended):
            self._doubt(record.value, today, Doubt.REPLAYED)
            return
        access, day = account.access, known.calendar.day(account.access.at)
        line = AccessLine(day, access.actor, access.purpose, _by(access), account.proven)
        denied = access.refused.get(DENIED, 0)
        read = (line._replace(by=""), read_of(access))
        fresh = access.opened > 0 and repeats.new_read(day, today, read)
        self.accesses.add(
            line,
            Sum(
                accesses=1,
                opened=access.opened,
                denied=denied,
                refused=sum(access.refused.values()) - denied,
                reads=int(fresh),
            ),
        )
        if access.case is not None and access.topic == self._cases and line.by:
            self.accesses.see(access.case, day, line.by)

    def _doubt(self, raw: bytes, day: date, reason: str) -> None:
        """Count an access that nobody believes."""
        claimed = 0
        with suppress(*_BAD):
            claimed = max(0, read_access(raw).opened)
        self.accesses.doubt(day, reason, claimed)

    async def receipts_of(self, case: str) -> Sequence[Record]:
        """The records of a case's receipts, as far as they are still there. Raises LogSilentError."""
        offsets = self.receipts.get(case, ())
        return await self._log.fetch((self._receipts, self.home), offsets) if offsets else ()

    def refusals_about(self, case: str) -> list[RefusedRequest]:
        """What officers have sent about a case from a console, and the desk has refused; the newest first."""
        return [each for each in reversed(self.refused.values()) if each.request.startswith(f"{case}.")]

    def refusals_of(self, officer: str, tenant: Tenant, today: date) -> list[RefusedRequest]:
        """What an officer has sent within REFUSED_DAYS, and the desk has refused; the newest first."""
        since = today - timedelta(REFUSED_DAYS)
        return [
            each
            for each in reversed(self.refused.values())
            if each.at.date() >= since and each.case == case_id(tenant, request_name(officer, each.request))
        ]


def _by(access: Access) -> str:
    return access.by if isinstance(access.by, str) else ""
