"""
Decisions that a case names and the ledger never got: no keeper answers them, and the case would stay open for ever.

A desk names a decision in its case before writing it. If it dies in between, and the person is erased meanwhile (by an
officer's request in the topic of orders, which is read first), that decision is never written.
Rules: 1. What the ledger has stays named and is carried out.  2. It is read only where a name is left without a record.
Source: docs/contributing/architecture.md.
"""

from collections.abc import Collection

import msgspec

from calllog_guard.core.cases.case import AT_ONCE, Case
from calllog_guard.core.decisions.outcome import is_result
from calllog_guard.core.topics import Topic
from calllog_guard.workers.desk.context import DeskContext


async def without_unwritten(context: DeskContext, case: Case, written: Collection[str]) -> Case:
    """
    The case without what the ledger never got.

    Args:
        written: The decisions that were written just now.

    """
    answered = {name for name, stage in case.progress.items() if stage != AT_ONCE}
    left = set(case.decisions) - set(written) - answered
    if not left:
        return case
    topic = context.settings.topic(Topic.DECISIONS)
    for record in await context.log.read_all(topic, range(context.settings.partitions)):
        if record.value is not None and record.key and not is_result(record.key):
            left.discard(record.key.decode("ascii", "replace").partition(".")[2])
    if not left:
        return case
    traces = {name: trace for name, trace in (case.traces or {}).items() if name not in left} or msgspec.UNSET
    decisions = tuple(name for name in case.decisions if name not in left)
    progress = {name: stage for name, stage in case.progress.items() if name not in left}
    return msgspec.structs.replace(case, decisions=decisions, traces=traces, progress=progress)
