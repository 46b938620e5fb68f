"""CPU seconds of this process, by what they went for."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Rows = dict[str, tuple[float, int]]
"""By what was measured: CPU seconds, and for how many items."""


class Spent:
    """Adds up what is spent under each name."""

    def __init__(self) -> None:
        self.rows: Rows = {}

    @contextmanager
    def on(self, what: str, items: int) -> Iterator[None]:
        """So many items are handled."""
        began = time.process_time()
        yield
        before = self.rows.get(what, (0.0, 0))
        self.rows[what] = (before[0] + time.process_time() - began, before[1] + items)


class Newest(dict[Path, Any]):
    """What was opened last under each path: files that were closed do not open again."""

    def setdefault(self, path: Path, opened: Any = None) -> Any:
        """Keep it."""
        self[path] = opened
        return opened
