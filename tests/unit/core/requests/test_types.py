"""One row says everything of a type of request: no other file has a table of types."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

import calllog_guard
from calllog_guard.core.cases.case_states import EVENTS
from calllog_guard.core.requests.fields import Hold
from calllog_guard.core.requests.request import Request
from calllog_guard.core.requests.types import EXPORTS, TYPES, DecisionType, Kind, kinds, row_of, stages_of

SOURCES = Path(calllog_guard.__file__).parent
TABLE = SOURCES / "core" / "requests" / "types.py"
CASES = kinds(lambda row: row.ends)
"""What acts on a case bears the name of an event of the state machine, too."""


def tables(tree: ast.AST) -> Iterator[tuple[int, set[str]]]:
    """Sets, lists, tuples, keys of dicts and literal types, with the texts that they name."""
    for node in ast.walk(tree):
        named = node.keys if isinstance(node, ast.Dict) else getattr(node, "elts", [])
        yield (
            getattr(node, "lineno", 0),
            {each.value for each in named if isinstance(each, ast.Constant) and isinstance(each.value, str)},
        )


@pytest.mark.slow
def test_no_other_file_has_a_table_of_types() -> None:
    """A new type is one row; whoever adds it finds nothing else to extend by hand."""
    found = {
        f"{path.relative_to(SOURCES)}:{line}": sorted(named & CASES)
        for path in SOURCES.rglob("*.py")
        if path != TABLE
        for line, named in tables(ast.parse(path.read_text()))
        if len(named & CASES) > 1
    }
    assert found == {}


def test_every_type_has_a_row_and_every_decision_is_of_one() -> None:
    assert tuple(TYPES) == get_args(Kind)
    assert {kind for kind, row in TYPES.items() if row.rule or row.answer} | {"search", "preview"} == set(
        get_args(DecisionType)
    )
    assert not CASES & set(EVENTS)


@pytest.mark.parametrize("kind", get_args(Kind))
def test_a_row_agrees_with_itself(kind: Kind) -> None:
    row = TYPES[kind]
    fields = {*Request.__struct_fields__, *(f"hold.{name}" for name in Hold.__struct_fields__)}
    assert {*row.must, *row.may} <= fields
    assert not set(row.must) & set(row.may)
    assert row.roles
    assert row.help
    assert bool(row.title) == bool(row.asked), "a person's own is called something in answers and in letters"
    assert not (row.rule and row.answer), "a rule stands, an answer is made once"
    assert bool(row.stages) == bool(row.removes or row.answer or row.rule == "hold"), "a keeper has something to tell"
    assert (kind in EXPORTS) == (row.stages == ("exported",)) == ("reply_key" in row.must)
    assert (row.rule == "choice") == ("purposes" in row.must)
    assert row.ends is not None or not (row.rule or row.answer or row.brake or row.identity)


def test_stages_are_those_of_the_row() -> None:
    assert stages_of("erase") == ("destroyed", "tombstoned", "rewritten", "absent", "gone")
    assert stages_of("erase", ranged=True) == stages_of("object", ranged=True) == ("tombstoned", "absent", "gone")
    assert (row_of("search"), stages_of("search"), stages_of("complain")) == (None, (), ())
