"""The one way in for time."""

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """The one way in for time."""

    def now(self) -> datetime:
        """The time, aware, UTC."""
