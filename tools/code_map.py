"""
Print docs/contributing/map.md: every folder of the code with what its `__init__.py` says of it.

`make reference` writes it; tests/unit/project/test_tree.py fails where it is not what the folders say.
"""

import ast
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "docs" / "contributing" / "map.md"
HEAD: Final = """\
# Map

The folders of `src/calllog_guard/`, each with what it says of itself. A module's first line says what it is for.

| folder | what |
|---|---|
"""
REST: Final = """\

Beside the code:

| where | what |
|---|---|
| `examples/` | `billing.py` keeps a table downstream true |
| `schemas/` | JSON Schema 2020-12 of every message, exported from the types |
| `tests/unit/` | pure and quick; mirrors the folders of the code |
| `tests/scenarios/` | whole stories on fakes: crashes after every step, random histories against oracles |
| `tests/contract/` | one suite per port, on the fake and on the real server |
| `tests/e2e/` | worker processes on a real Kafka and Redis |
| `tests/vectors/` | golden bytes; a release's forms never change |
| `tests/devstack/` | the stack itself: start, lifetime, end |
| `tests/support/` | worlds, damage and data that tests share |
| `tools/` | what `make` runs: reference pages, pictures, locks |
| `bench/` | measurements, off by default; `make bench-compare BASE=<commit>` tells what a change costs per event |
"""


def page() -> str:
    """The page as the folders are now."""
    source = ROOT / "src" / "calllog_guard"
    rows = []
    for path in sorted(source.rglob("__init__.py")):
        if path.parent != source:
            said = (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").partition("\n")[0]
            rows.append(f"| `{path.parent.relative_to(source)}/` | {said} |\n")
    return HEAD + "".join(rows) + REST


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
