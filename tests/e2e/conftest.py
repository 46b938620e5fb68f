"""Installations on the shared stack."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from installation import Installation, Make

from calllog_guard.devstack.supervisor import Stack


@pytest.fixture
def make(stack: Stack, tmp_path: Path) -> Iterator[Make]:
    """Installations that end with the test."""
    made: list[Installation] = []

    def one(**settings: str) -> Installation:
        made.append(Installation(stack, tmp_path / f"in {len(made)}", **settings))
        return made[-1]

    yield one
    for each in made:
        each.forget()
