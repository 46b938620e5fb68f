"""Each mutant still finds the protection that it takes out; `make mutants` then shows that its test fails."""

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
MUTANTS: list[tuple[str, str, str, str, str]] = runpy.run_path(str(ROOT / "tests" / "mutants.py"))["MUTANTS"]


def test_there_are_mutants() -> None:
    assert len(MUTANTS) > 40


@pytest.mark.parametrize(("what", "file", "old", "new", "test"), MUTANTS)
def test_a_protection_is_found_once_and_its_test_exists(what: str, file: str, old: str, new: str, test: str) -> None:
    """A mutant that changes nothing would be caught by nobody, and nobody would see."""
    assert (ROOT / "src" / "calllog_guard" / file).read_text().count(old) == 1, what
    assert old != new
    assert (ROOT / test.partition("::")[0]).exists()
