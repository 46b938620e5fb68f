"""
Signs what keepers have counted of a month, once each of them has closed it, together with what cases have removed.

Steps (numbered for the crash tests): 1 statement written, 2 marked.
Rules: 1. The statement is reckoned from records alone: the same bytes after a crash.  2. A month that a partition still
          counts is not stated; one without a keeper of these forms is, and the statement says for how many.
       3. Copies are told of where their order may be: law's, or a case's that is not secret. All else is left out.
Source: GDPR Art. 5(2); `core/audit/month_statement.py`, `core/retention/removals.py`.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from calllog_guard.core.audit.month_statement import KEY, CaseLine, HeldLine, Statement, rule_lines
from calllog_guard.core.codec import decode, encode
from calllog_guard.core.crypto.jose import receipt_pem, sign
from calllog_guard.core.crypto.subject_secrets import Month, month_from, month_text
from calllog_guard.core.policy.facts import said
from calllog_guard.core.records import Output
from calllog_guard.core.requests.types import kinds
from calllog_guard.core.retention.removals import (
    LAW,
    MARKED,
    RATCHET_KEY,
    START,
    STATED_KEY,
    Marked,
    Removed,
    month_in,
    removed_in,
)
from calllog_guard.core.retention.tally import month_before
from calllog_guard.core.topics import Topic
from calllog_guard.errors import MessageError
from calllog_guard.ports.fault_injection import CrashPoints
from calllog_guard.workers.desk.context import DeskContext

FORMS: Final = 2
_REMOVE: Final = kinds(lambda row: row.notice == "erased")
Counts = Mapping[int, Mapping[Month, Removed]]
"""By partition and month."""


class Statements:
    """One tenant's statements."""

    def __init__(self, context: DeskContext) -> None:
        self._a, self._policy, self._writer = context, context.policy, context.writer
        self._ledger, self._steps = context.settings.topic(Topic.DECISIONS), CrashPoints(context.settings.off)
        self.begin()

    def begin(self) -> None:
        """The tenant's cases were assigned."""
        self._stated: Month | None = None
        self._next: datetime | None = None

    async def look(self) -> None:
        """Sign what has closed since; the ledger is read at the start, then only while a past month is not stated."""
        now = self._a.clock.now()
        over = month_before(now.date())
        if self._a.ring.forms < FORMS or (self._stated or -1) >= over or (self._next is not None and now < self._next):
            return
        self._next = now + timedelta(seconds=self._a.settings.sweep_s)
        ours = await self._read([0])  # what is stated is known without the rest
        stated = self._marked(ours, STATED_KEY)
        before = -1 if stated is None else month_from(stated.month)
        if before >= over:
            self._stated = over
            return
        ours += await self._read(range(1, self._a.settings.partitions))
        counts = self._counts(ours)
        for month in sorted({month for each in counts.values() for month in each if before < month <= over}):
            found = self._closed(counts, month)
            if not found:
                return
            stated = await self._state(month, found, (stated, self._marked(ours, RATCHET_KEY)))
        self._stated = over if all(counts.get(each) for each in range(self._a.settings.partitions)) else None

    async def _read(self, partitions: Sequence[int]) -> list[Any]:
        """What keepers, auditors and desks of ours have counted and marked in some partitions."""
        records = await self._a.log.read_all(self._ledger, list(partitions)) if partitions else []
        key = self._a.vault.outcome_key(self._a.tenant)
        ours = [each for each in records if (each.key or b"").startswith(START)]
        return [each for each in ours if each.value is not None and key.proves(each.value, each.key or b"")]

    def _marked(self, records: Sequence[Any], key: bytes) -> Marked | None:
        marks = [record.value for record in records if (record.key, record.partition) == (key, 0)]
        try:
            return decode(MARKED, marks[-1]) if marks else None
        except MessageError:
            return None

    def _counts(self, records: Sequence[Any]) -> Counts:
        found: dict[int, dict[Month, Removed]] = {}
        for record in records:
            month = month_in(record.key)
            count = (
                removed_in(record.value, (self._a.tenant, record.key, record.partition)) if month is not None else None
            )
            if month is not None and count is not None:
                found.setdefault(record.partition, {})[month] = count
        return found

    def _closed(self, counts: Counts, month: Month) -> list[Removed]:
        """The counts of a month once no partition counts into it any more; nothing before."""
        if any(not counts.get(each) for each in range(self._a.settings.partitions)):
            return []  # its keeper has yet to begin
        counted = [each for each in counts.values() if min(each) <= month]
        found = [each[month] for each in counted if month in each and each[month].closed]
        return found if len(found) == len(counted) else []

    async def _state(
        self, month: Month, counts: Sequence[Removed], marks: tuple[Marked | None, Marked | None]
    ) -> Marked:
        """Sign a month; `marks` say which was signed before it, and from where on keys are kept."""
        before, ratchet = marks
        a, text = self._a, month_text(month)
        at = max(each.closed_at for each in counts if isinstance(each.closed_at, datetime))
        version = self._policy.at(at.date())
        statement = Statement(
            tenant=a.tenant,
            month=text,
            expired=rule_lines([each.rules for each in counts]),
            removed=self._removed(before.at if before else datetime.min.replace(tzinfo=UTC), at),
            alive=sum(each.alive or 0 for each in counts),
            held=self._held(counts),
            partitions=len(counts),
            of=a.settings.partitions,
            readable_from=ratchet.month if ratchet else None,
            walked_at=ratchet.at if ratchet else None,
            controller=said(version.tenant[a.tenant].controller),
            pol=version.effective.isoformat(),
            at=at,
        )
        private = receipt_pem(a.vault.receipt_key(a.tenant))[0]
        signed = sign(private, f"{a.tenant}-receipts", encode(statement)).encode()
        await self._writer.write([Output(a.settings.topic(Topic.RECEIPTS), a.home, f"{KEY}{text}".encode(), signed)])
        self._steps.reached("statement.written")
        mark = Marked(month=text, at=at)
        value = a.vault.outcome_key(a.tenant).vouched(mark, STATED_KEY)
        await self._writer.write([Output(self._ledger, 0, STATED_KEY, value)])
        self._steps.reached("statement.marked")
        return mark

    def _removed(self, since: datetime, until: datetime) -> tuple[CaseLine, ...]:
        """What requests have removed since the month before was closed."""
        found = [
            CaseLine(case=case.case, type=case.type, legs=sum(case.legs.values()))
            for case in self._a.book
            if case.type in _REMOVE and (at := case.stages.get("tombstoned")) is not None and since < at <= until
        ]
        return tuple(sorted(found, key=lambda line: line.case))

    def _held(self, counts: Sequence[Removed]) -> tuple[HeldLine, ...]:
        """The copies of which may be told."""
        sums: dict[str, int] = {}
        for each in counts:
            for name, copies in (each.held or {}).items():
                sums[name] = sums.get(name, 0) + copies
        cases = {case.hold: case.case for case in self._a.book if case.type == "hold" and case.hold}
        law = {
            f"{LAW}{each.number}": name for version in self._policy.history for name, each in self._purposes(version)
        }
        lines = [HeldLine(purpose=law[name], case=None, copies=some) for name, some in sums.items() if name in law]
        lines += [HeldLine(purpose=None, case=cases[name], copies=some) for name, some in sums.items() if name in cases]
        return tuple(sorted(lines, key=lambda line: (line.purpose or "", line.case or "")))

    def _purposes(self, version: Any) -> Sequence[tuple[str, Any]]:
        table = version.tenant.get(self._a.tenant)
        return list(table.purposes.items()) if table is not None else []
