"""The counts of a preview: what each type touches, and how answers come together in a case."""

from dataclasses import dataclass
from datetime import UTC, date, datetime

import pytest

from calllog_guard.core.cases.case import Case, check_times
from calllog_guard.core.decisions.preview import Measuring, Preview, PreviewCount, PreviewTask
from calllog_guard.core.decisions.standing_rules import Span
from calllog_guard.core.requests.types import PreviewKind
from calllog_guard.errors import RecordError

AT = datetime(2026, 11, 24, 9, tzinfo=UTC)
ONE, TWO = "A" * 22, "B" * 22


@dataclass(frozen=True)
class Leg:
    """What decides whether it is touched."""

    day: date
    mask: int
    policy: str = "2026-01-01"


LEGS = [
    Leg(date(2026, 10, 31), 0b01),
    Leg(date(2026, 11, 1), 0b11),
    Leg(date(2026, 11, 2), 0b10),
    Leg(date(2026, 11, 3), 0),
]
"""The last stands in place of one that was removed."""


@pytest.mark.parametrize(
    ("of", "span", "legs", "narrowed", "months", "kept"),
    [
        ("removed", None, 4, 0, ("2026-10", "2026-11"), {"billing": 2}),
        ("removed", Span(from_="2026-11-01", to=None), 3, 0, ("2026-11",), {"billing": 2}),
        ("given", None, 3, 0, ("2026-10", "2026-11"), {}),
        ("given", Span(from_=None, to="2026-10-31"), 1, 0, ("2026-10",), {}),
        ("narrowed", None, 1, 1, ("2026-10",), {}),
    ],
)
def test_each_type_counts_what_it_touches(
    of: PreviewKind, span: Span | None, legs: int, narrowed: int, months: tuple[str, ...], kept: dict[str, int]
) -> None:
    found = Measuring(PreviewTask(of=of, range=span, mask=0b01), lambda leg: ["billing"] if leg.mask & 0b10 else [])
    for leg in LEGS:
        found.see(leg)
    assert found.legs == legs
    assert found.told([]) == PreviewCount(months=months, narrowed=narrowed, kept=kept)


def test_answers_come_together_and_a_month_of_both_is_one() -> None:
    asked = Preview(number=0, asked_at=AT, open=(ONE, TWO))
    half = asked.answered(ONE, 3, PreviewCount(months=("2026-10", "2026-11"), kept={"billing": 1}), AT)
    assert (half.at, half.open, half.seen) == (None, (TWO,), ("2026-10", "2026-11"))
    whole = half.answered(TWO, 2, PreviewCount(months=("2026-11",), kept={"billing": 2}, restrictions=(ONE,)), AT)
    assert (whole.at, whole.open, whole.seen) == (AT, (), ())
    assert (whole.legs, whole.months, whole.kept, whole.restrictions) == (5, 2, {"billing": 3}, (ONE,))


def test_an_answer_that_comes_twice_counts_once() -> None:
    """Outcomes are delivered at least once."""
    asked = Preview(number=0, asked_at=AT, open=(ONE, TWO))
    half = asked.answered(ONE, 3, PreviewCount(), AT)
    assert half.answered(ONE, 3, PreviewCount(), AT) == half


def test_what_could_not_be_answered_is_said() -> None:
    found = Preview(number=0, asked_at=AT, open=(ONE,)).answered(ONE, 0, None, AT)
    assert (found.at, found.unsure) == (AT, True)


def test_of_many_restrictions_some_are_named() -> None:
    """A case has room for its acts."""
    names = [f"{number:022}" for number in range(30)]
    assert len(Measuring(PreviewTask(of="removed"), lambda _: []).told(names).restrictions) == 20
    asked = Preview(number=0, asked_at=AT, open=(ONE,))
    assert len(asked.answered(ONE, 0, PreviewCount(restrictions=tuple(names)), AT).restrictions) == 20


@pytest.mark.parametrize("year", [1, 9999])
def test_a_preview_of_no_time_is_no_case_of_ours(year: int) -> None:
    """A page that shows it would fail: before the second level of forms whoever may write there writes a case."""
    case = Case(
        case=ONE, tenant="iocom", type="erase", state="waiting", waits_for="officer", ticket=None, received_at=AT,
        due="2026-12-24", law_due=None, jti="erase-0001", place=(0, 0), appended_at=AT, opened_at=AT,
        asked_by="backend-1",
        preview=Preview(number=0, asked_at=AT, at=datetime(year, 12, 31, tzinfo=UTC)),
    )  # fmt: skip
    with pytest.raises(RecordError, match="bad_case"):
        check_times(case)
