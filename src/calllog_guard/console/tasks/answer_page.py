"""
An answer, handed out sealed: the browser of whoever has the addressee's key opens it, and nothing comes back.

Rules: 1. That the officer got it is on record before.  2. The server can open no part: it has no such key.
       3. The answer of a case in secret is none of these: it lies in another topic.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import Final

from calllog_guard.client.answers import ChosenParts, chosen_parts
from calllog_guard.console.case_view import evidence_in
from calllog_guard.console.pages import MadePage, Office, Visit
from calllog_guard.core.answers.parts import ExportedLeg
from calllog_guard.core.cases.case import Case
from calllog_guard.core.codec import from_ms, to_ms
from calllog_guard.core.policy.actors import ANSWER_VIEW
from calllog_guard.core.requests.types import EXPORTS
from calllog_guard.ports.log import Log, Portion, Positions, Record, TopicPartition

MOST_BYTES: Final = 32 << 20
"""Of all parts on one page; what is larger is opened on the command line."""
EXPORTED: Final = "exported"
_AT_ONCE: Final = 50
_MARGIN: Final = timedelta(hours=1)
"""So far may the clocks of keeper, desk and brokers be apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedParts:
    """Finds the parts of an answer in their topic, between the decision and the keeper's word that all are there."""

    log: Log
    exports: str
    home: int

    async def of(self, case: Case) -> Sequence[tuple[bytes, bytes]]:
        """The parts' keys and values, in order. Raises LogSilentError."""
        start, until = f"{case.case}.".encode(), case.stages[EXPORTED] + _MARGIN
        first = await self.log.offset_at(self.exports, self.home, to_ms(case.begun_at - _MARGIN))
        made: AsyncGenerator[tuple[Positions, Portion], None] = self.log.portions(
            {TopicPartition(self.exports, self.home): first}, _AT_ONCE
        )
        found = list[tuple[bytes, bytes]]()
        async with aclosing(made) as portions:
            async for _, portion in portions:
                records = [record for some in portion.values() for record in some]
                found += [
                    (record.key or b"", record.value)
                    for record in records
                    if (record.key or b"").startswith(start) and record.value is not None
                ]
                if any(from_ms(record.timestamp) > until for record in records):
                    break
        return found


async def answer_page(office: Office, visit: Visit, name: str) -> MadePage:
    """
    The sealed parts of a case's answer, with what opens them in the browser.

    Raises:
        GuardError: That the officer gets them cannot be put on record, or the log does not answer: nothing is shown.

    """
    row = office.followed.cases.rows.get(name)
    if row is None or not has_answer(row.whole()):
        return MadePage("missing.html.j2", {}, HTTPStatus.NOT_FOUND)
    await office.recorder.viewed(row.case, visit.officer, row.offset, ANSWER_VIEW)
    receipts = await office.followed.receipts_of(name)
    chosen = chosen_parts(
        f"{name}.".encode(), [each.value or b"" for each in receipts], await office.parts(row.whole())
    )
    values = {
        "row": row,
        "parts": sorted(chosen.parts.items()) if _bytes(chosen) <= MOST_BYTES else [],
        "many": len(chosen.parts),
        "digests": sorted(chosen.digests),
        "good": _good(receipts, chosen, office.receipts_key()),
        "columns": ExportedLeg.__struct_fields__,
    }
    return MadePage("answer.html.j2", values)


def has_answer(case: Case) -> bool:
    """Whether a keeper has made the answer of a case."""
    return case.type in EXPORTS and EXPORTED in case.stages


def _bytes(chosen: ChosenParts) -> int:
    return sum(map(len, chosen.parts.values()))


def _good(receipts: Sequence[Record], chosen: ChosenParts, pem: bytes | None) -> bool | None:
    """Whether the receipt that names the parts has a good signature; None: there is none, or it was not checked."""
    named = [each for each in receipts if each.value == chosen.receipt]
    return next((seen.good for seen in evidence_in(named, pem)), None)
