"""What a worker works with, where a test has need of a part of it alone."""

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, TypeVar

from calllog_guard.adapters.memory.fakes import MemoryWriter
from calllog_guard.core.stream.arrival import Arrival
from calllog_guard.settings import Settings
from calllog_guard.workers.context import WorkerContext

Made = TypeVar("Made", bound=WorkerContext)


def silent(_name: str, _value: float) -> None:
    """No figure is looked at."""


def context(kind: type[Made], **given: Any) -> Made:
    """One that knows what is given, counts nothing, and has nothing else."""
    names = {each.name for each in fields(kind)} - {"agree", "anchor"}
    usual = {"home": 0, "settings": Settings(), "writer": MemoryWriter(), "count": silent, "level": silent}
    return kind(**dict.fromkeys(names) | usual | given)  # type: ignore[arg-type]


class Given:
    """A log that hands out the same records whatever is asked for."""

    def __init__(self, *records: Arrival) -> None:
        self.records = records

    async def read_all(self, *_: object) -> list[Arrival]:
        """See Log."""
        return list(self.records)

    async def read_each(self, _t: str, _p: Sequence[int], visit: Callable[[Arrival], object]) -> None:
        """See Log."""
        for record in self.records:
            visit(record)
