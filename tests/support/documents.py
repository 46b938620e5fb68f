"""README and docs/ as one text: a table's page does not matter to tests that compare it with code."""

from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
README: Final = (ROOT / "README.md").read_text("utf-8")
PAGES: Final = {str(path.relative_to(ROOT)): path.read_text("utf-8") for path in sorted((ROOT / "docs").rglob("*.md"))}
DOCUMENTED: Final = "\n".join([README, *PAGES.values()])


def marked(name: str) -> str:
    """What stands between the markers of that name, in whichever page: in one, and once."""
    assert DOCUMENTED.count(f"<!-- {name} -->") == 1
    return DOCUMENTED.partition(f"<!-- {name} -->")[2].partition(f"<!-- /{name} -->")[0]
