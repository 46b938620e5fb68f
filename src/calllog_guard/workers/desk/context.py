"""What the parts of a desk share."""

from dataclasses import dataclass

from calllog_guard.workers.context import WorkerContext
from calllog_guard.workers.desk.cases.case_store import Casebook
from calllog_guard.workers.desk.decisions.decider import Decider
from calllog_guard.workers.keys.hold_store import Safe


@dataclass(frozen=True, slots=True, kw_only=True)
class DeskContext(WorkerContext):
    """The cases of a tenant, who decides them, and the store of holds."""

    book: Casebook
    decider: Decider
    safe: Safe
