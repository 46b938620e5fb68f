"""
A notification: what a platform says of one moment of a call, where it does not report the whole call.

Not here: how joins and leaves become sessions (`pairing.py`).
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from calllog_guard.core.codec import time_text
from calllog_guard.core.sources.model import What


def as_json(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields as JSON has them: times as text, and those that say nothing left out."""
    return {
        name: time_text(each) if isinstance(each, datetime) else each
        for name, each in fields.items()
        if each is not None
    }


class Notification(NamedTuple):
    """
    One moment of a call, in one form for all platforms.

    Args:
        call: The platform's id of this occurrence of the call.
        person: The subject id; None for a guest whom nobody knows, and where all of a call is meant.
        session: The platform's id of this connection; None where all of a call is meant.
        joined_at: When the session began, where a leave says it.

    """

    what: What
    call: str
    at: datetime
    person: str | None = None
    session: str | None = None
    role: str | None = None
    kind: str | None = None
    joined_at: datetime | None = None

    def told(self) -> dict[str, Any]:
        """Its fields that say something, for JSON."""
        return as_json(self._asdict())
