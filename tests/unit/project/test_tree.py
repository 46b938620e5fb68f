"""The tree is the table of contents: small folders, short modules, no class name twice, every path in a text exists."""

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import code_map
import pytest

ROOT = Path(__file__).parents[3]
SRC = ROOT / "src" / "calllog_guard"
MODULES = sorted(SRC.rglob("*.py"))
MOST_MODULES = 12
MOST_LINES = 400
VERBS = {"cli"}
"""A file per verb, however many there are."""


def named(path: Path) -> str:
    """A path as the tree is read: below the package."""
    return str(path.relative_to(SRC))


def test_a_folder_has_at_most_twelve_modules() -> None:
    many: dict[str, int] = defaultdict(int)
    for path in MODULES:
        many[named(path.parent)] += path.name != "__init__.py"
    assert len(many) > 20, "found"
    assert {folder: count for folder, count in many.items() if count > MOST_MODULES and folder not in VERBS} == {}


def test_a_module_has_at_most_400_lines() -> None:
    lines = {named(path): len(path.read_text("utf-8").splitlines()) for path in MODULES}
    assert {name for name, count in lines.items() if count > MOST_LINES} == set()


@pytest.mark.slow
def test_no_class_name_stands_twice() -> None:
    homes: dict[str, list[str]] = defaultdict(list)
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef):
                homes[node.name].append(named(path))
    assert len(homes) > 300, "found"
    assert {name: places for name, places in homes.items() if len(places) > 1} == {}


def paths_in(path: Path) -> Iterator[str]:
    """The files that docstrings and comments name: in backticks, or with a folder."""
    text = path.read_text("utf-8")
    yield from re.findall(r"`([\w./-]+\.(?:py|md|json|csv|toml|j2))`", text)
    yield from re.findall(r"(?<![\w./`-])((?:docs|tests|tools|bench|examples|schemas|src)/[\w./-]+\w)", text)


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_every_file_that_a_module_names_exists(path: Path) -> None:
    homes = (path.parent, SRC, ROOT, ROOT / "schemas", ROOT / "tests" / "vectors")
    told = {name for name in paths_in(path) if name not in GIVEN}
    assert {name for name in told if not any((home / name).exists() for home in homes)} == set()
    assert not re.search(r"\bdesign section|\bhouse rule|\binterface: ", path.read_text("utf-8")), (
        "a source that is not here"
    )


GIVEN = {"policy.toml", "ingest.toml"}
"""Files of an installation."""


def test_every_folder_says_what_it_is() -> None:
    for folder in {path.parent for path in MODULES}:
        assert ast.get_docstring(ast.parse((folder / "__init__.py").read_text("utf-8"))), named(folder)


def test_the_map_has_every_folder() -> None:
    assert code_map.PAGE.read_text("utf-8") == code_map.page(), "run `make reference` and commit what it writes"


def test_no_two_files_of_tests_have_one_name() -> None:
    """Tests are no packages: pytest takes two files of one name for one, and runs neither's if one was loaded."""
    names = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name, many in names.items() if many > 1] == []
