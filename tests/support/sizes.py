"""A test's size: `make test` takes the usual one, `make test-all` the full one (SIZE=full); its own variable wins."""

import os
from collections.abc import Sequence
from typing import Any, Final, TypeVar

import pytest

FULL: Final = os.environ.get("SIZE") == "full"
Some = TypeVar("Some")


def size(name: str, usual: int, full: int) -> int:
    """How many of something a test takes."""
    return int(os.environ.get(name) or (full if FULL else usual))


EACH_WRITE: Final = size("EACH_WRITE", 3, 1)
"""Which writes a test of crashes kills at: every third, or every one."""


def every(steps: Sequence[Some], *usual: Some) -> list[Any]:
    """A case for each step; those that are not named are variants, which `make test` leaves to `make test-all`."""
    assert set(usual) <= set(steps), "a step that is named is one of them"
    named = [step if isinstance(step, tuple) else (step,) for step in steps]
    return [
        pytest.param(*each, marks=() if step in usual else pytest.mark.long)
        for step, each in zip(steps, named, strict=True)
    ]
