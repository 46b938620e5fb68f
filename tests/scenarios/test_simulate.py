"""The short version of `make simulate`."""

from pathlib import Path

import pytest
from simulate import FIRST, SECOND, simulate, thinned

from calllog_guard.cli.demo import made_calls


@pytest.mark.slow
def test_two_policies_a_year_apart_leave_each_day_what_the_oracle_counts(tmp_path: Path) -> None:
    calls = tmp_path / "calls.csv"
    made_calls(calls)
    thinned(calls, 0.2)
    result = simulate(calls, tmp_path)
    assert result.mine == result.other
    change = (SECOND - FIRST).days
    assert result.mine[change] < result.mine[change - 1] * 0.8, "the change must matter, or nothing is shown"
    assert result.mine[-1] == 0 < max(result.mine)
