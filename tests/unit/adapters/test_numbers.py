"""What workers count is shown on their pages."""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import calllog_guard
from calllog_guard.adapters.http.pages import _LABELLED, _LABELLED_LEVELS, _LEVELS, _PLAIN, Numbers
from calllog_guard.workers.runtime.process.health import Health
from calllog_guard.workers.runtime.process.pulse import Pulse

SOURCES = Path(calllog_guard.__file__).parent
CALLS = {"count", "_count", "level", "_level"}


def counted() -> Iterator[tuple[str, str]]:
    """Names of numbers as the source has them, with the file; of a name that is put together, what it begins with."""
    for path in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and node.args and _called(node.func) in CALLS:
                name = _begins(node.args[0])
                if name.isidentifier():  # else it is a text's own `count`
                    yield name, path.name


def _called(func: ast.expr) -> str:
    return func.attr if isinstance(func, ast.Attribute) else func.id if isinstance(func, ast.Name) else ""


def _begins(argument: ast.expr) -> str:
    if isinstance(argument, ast.BinOp):
        return _begins(argument.left)
    if isinstance(argument, ast.JoinedStr):
        return _begins(argument.values[0])
    return argument.value if isinstance(argument, ast.Constant) and isinstance(argument.value, str) else ""


def test_every_number_is_shown() -> None:
    """An alarm that nobody can see is none."""
    plain = {*_PLAIN, *_LEVELS, "unit_us"}
    starts = (*_LABELLED, *_LABELLED_LEVELS, "erase_stage_")
    names = dict(counted())
    assert {"taken_up", "parked_", "cases_waiting", "decisions_waiting"} <= names.keys()
    assert {name: place for name, place in names.items() if name not in plain and not name.startswith(starts)} == {}


def test_what_waits_is_on_the_page() -> None:
    levels = dict.fromkeys(("parked_parts", "cases_waiting", "decisions_waiting", "people_unjudged"), 3.0)
    page = Numbers("keeper", Counter(decisions_waited=2), levels, Health(Pulse({}, 10, lambda *_: None))).collect()
    shown = {family.name: [sample.value for sample in family.samples] for family in page}
    assert all(shown["calllog_guard_" + name] == [3.0] for name in levels)
    assert shown["calllog_guard_decisions_waited"] == [2]
