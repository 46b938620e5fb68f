"""The indexes of cases: whatever was put and dropped, and however the clock goes, they say what a pass would say."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from calllog_guard.core.cases.case import Case
from calllog_guard.core.requests.types import RESTRICTS, TYPES, Kind
from calllog_guard.workers.desk.cases.case_index import BegunCases, CaseIndex

START = datetime(2026, 11, 24, 9, tzinfo=UTC)
HOUR = timedelta(hours=1)
KINDS: tuple[Kind, ...] = ("erase", "object", "restrict", "hold", "disclose", "access", "rectify")
CASE = Case(
    case="A" * 22, tenant="iocom", type="erase", state="waiting", ticket=None, received_at=START, due="2026-12-24",
    law_due=None, jti="some-00001", place=(0, 0), appended_at=START, opened_at=START, asked_by="backend-1",
)  # fmt: skip


def case(number: int, **changed: object) -> Case:
    """One of few cases: its type, requester and secrecy never change."""
    fixed = {
        "case": f"{number:022}",
        "type": KINDS[number % len(KINDS)],
        "asked_by": f"backend-{number % 2}",
        "secret": number % 3 == 0,
        "hold": "H" * 22 if number % 2 else None,
    }
    return msgspec.structs.replace(CASE, **fixed, **changed)


MOMENTS = st.integers(0, 180).map(lambda minutes: START + timedelta(minutes=minutes))
CASES = st.builds(
    case,
    st.integers(0, 13),
    state=st.sampled_from(["waiting", "enforcing", "observing", "closed", "refused"]),
    waits_for=st.sampled_from([None, "officer", "notice", "identity"]),
    cut_off=st.none() | MOMENTS,
    people=st.sampled_from([msgspec.UNSET, 3]),
    decisions=st.sampled_from([(), ("D" * 22,)]),
    stages=st.sampled_from([{}, {"refused": START}, {"unfound": START}]),
    epoch=st.sampled_from([None, "2026-W47", "2026-W48"]),
)


def begun(cases: dict[str, Case], kind: Kind, now: datetime) -> Counter[str]:
    """By a pass over all."""
    found: Counter[str] = Counter()
    for each in cases.values():
        same = TYPES[kind].brake is not None and TYPES[each.type].brake == TYPES[kind].brake  # type: ignore[index]
        if same and each.begun and not each.secret and each.begun_at > now - HOUR:
            found[each.asked_by] += each.named
    return found


@given(st.lists(st.tuples(CASES, st.none() | MOMENTS, st.lists(CASES, max_size=2)), max_size=30))
def test_a_brake_counts_as_a_pass_over_the_last_hour_would(
    steps: list[tuple[Case, datetime | None, list[Case]]],
) -> None:
    """The clock may go back: what was left behind once stays so."""
    index, kept = BegunCases(), dict[str, Case]()
    for each, now, writing in steps:
        index.put(each)
        if each.begun:
            kept[each.case] = each
        if now is not None:
            kept = {name: known for name, known in kept.items() if known.begun_at > now - HOUR}
            beside = {known.case: known for known in writing}
            for kind in KINDS:
                assert index.people(kind, now, beside) == begun(kept | beside, kind, now)


def restricting(each: Case) -> bool:
    """Whether somebody may be restricted by it until an officer has decided, or they were told."""
    waits = each.state == "waiting" or (each.state == "refused" and "refused" not in each.stages)
    return not each.secret and bool(each.decisions) and (each.considered or (each.type in RESTRICTS and waits))


@given(st.lists(st.tuples(CASES, st.booleans()), max_size=40))
def test_whatever_a_case_becomes_the_indexes_say_what_a_pass_would_say(steps: list[tuple[Case, bool]]) -> None:
    index, cases = CaseIndex(), dict[str, Case]()
    for each, gone in steps:
        index.put(cases.get(each.case), each)
        cases[each.case] = each
        if gone:
            index.drop(cases.pop(each.case))
        every = list(cases.values())
        assert {case.case: case for case in index.holds()} == {
            case.case: case for case in every if case.type == "hold" and case.hold
        }
        assert {case.case: case for case in index.considered()} == {
            case.case: case for case in every if restricting(case)
        }
        for epoch in ("2026-W47", "2026-W48"):
            old = {case.case: case for case in index.sealed_before(epoch)}
            assert old == {case.case: case for case in every if case.epoch not in {None, epoch}}
