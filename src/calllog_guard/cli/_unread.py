"""Records that a command cannot read: passed over one by one, told in one line: how many, and where the first lie."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from calllog_guard.cli._output import say
from calllog_guard.errors import EntryCorruptError, EpochUnknownError, MessageError, NewerFormError

_TOLD: Final = 5
"""Places that are named; whoever writes one bad record writes a million."""
_BAD: Final = (MessageError, NewerFormError, EntryCorruptError, EpochUnknownError, ValueError, OverflowError)
"""What a record that nobody's worker wrote may raise: no silence of a server is among these."""


@dataclass(slots=True)
class Unread:
    """The records of a topic that could not be read."""

    topic: str
    many: int = 0
    places: list[str] = field(default_factory=list)

    @contextmanager
    def passing(self, record: Any) -> Iterator[None]:
        """Pass over a record of which nothing can be made."""
        try:
            yield
        except _BAD:
            self.note(f"{record.partition}:{record.offset}")

    def note(self, place: str) -> None:
        """One more."""
        self.many += 1
        if len(self.places) < _TOLD:
            self.places.append(place)

    def tell(self) -> None:
        """Say it, if there are any."""
        if self.many:
            more = ", ..." if self.many > len(self.places) else ""
            say(
                f"{self.many} records of {self.topic} could not be read, and were passed over: "
                f"{', '.join(self.places)}{more}"
            )
