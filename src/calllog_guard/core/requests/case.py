"""
A case: the life of a request, without the identity of whom it is about.

Source: interface: messages; design sections 9 and 10. Beyond the interface: `jti`, `place` and `cut_off` make a redelivery
resume and a replay refused; `progress` says which decision reached which stage, `observed` what was seen of it last.
"""

from datetime import datetime
from typing import Final, Literal

import msgspec

from calllog_guard.core.requests.decision import Observed, Outcome
from calllog_guard.core.wire import Day, Id, Message, TenantName, Utc

State = Literal["waiting", "enforcing", "observing", "closed", "refused"]
WaitsFor = Literal["identity", "clarification", "fee", "officer", "second_officer"]
STAGES: Final = ("destroyed", "tombstoned", "rewritten", "absent", "gone")


class Case(Message, frozen=True, kw_only=True):
    """See above; `place` is the request's partition and offset, `sealed` what a waiting case needs."""

    v: Literal[1] = 1
    case: Id
    tenant: TenantName
    type: str
    state: State
    waits_for: WaitsFor | None = None
    ticket: str | None
    received_at: Utc
    due: Day
    law_due: Day
    extended: bool = False
    paused_s: int = 0
    decisions: tuple[Id, ...] = ()
    stages: dict[str, Utc] = msgspec.field(default_factory=dict)
    refusal: str | None = None
    keep_until: Utc | None = None
    jti: str
    place: tuple[int, int]
    cut_off: Utc | None = None
    opened_at: Utc
    sealed: str | None = None
    epoch: str | None = None
    progress: dict[str, str] = msgspec.field(default_factory=dict)
    legs: dict[str, int] = msgspec.field(default_factory=dict)
    observed: dict[str, Observed] = msgspec.field(default_factory=dict)


CASES: Final = msgspec.json.Decoder(Case)


def _reached(progress: dict[str, str], decisions: tuple[str, ...], stage: str) -> bool:
    rank = STAGES.index(stage)
    return all(progress.get(each) in STAGES and STAGES.index(progress[each]) >= rank for each in decisions)


def after_outcome(case: Case, outcome: Outcome, at: datetime) -> tuple[Case, list[str]]:
    """The case after an outcome, and the stages that all its decisions have reached by it; a repeat changes nothing."""
    if outcome.decision not in case.decisions or outcome.stage not in STAGES:
        return case, []
    before = case.progress.get(outcome.decision)
    if before in STAGES and STAGES.index(before) >= STAGES.index(outcome.stage):
        return case, []
    progress = case.progress | {outcome.decision: outcome.stage}
    new = [stage for stage in STAGES if stage not in case.stages and _reached(progress, case.decisions, stage)]
    stages = case.stages | dict.fromkeys(new, at)
    state: State = "closed" if "gone" in stages else "observing" if "tombstoned" in stages else case.state
    # after a crash in the midst of the tombstones a keeper counts what was left: the first count is the whole one
    legs = case.legs | {outcome.decision: max(outcome.legs, case.legs.get(outcome.decision, 0))}
    observed = case.observed | ({outcome.decision: outcome.observed} if outcome.observed else {})
    changed = msgspec.structs.replace(case, progress=progress, stages=stages, state=state, legs=legs, observed=observed)
    return changed, new
