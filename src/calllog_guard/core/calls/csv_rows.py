"""
A row of an old call log in CSV as a call event: two parties, a start, a duration.

Out: the event's JSON, which is then judged like any other. Source: docs/how-to/import.md; `schemas/event.json`.
"""

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from calllog_guard.core.identifiers import made_up_id
from calllog_guard.errors import ConfigurationError, MessageError

_NEEDED: Final = frozenset({"start", "caller", "callee", "duration"})
_PEOPLE: Final = ("caller", "callee")
_KNOWN: Final = _NEEDED | {"call", "occurrence", "kind", "outcome"}


def columns_of(text: str) -> dict[str, str]:
    """
    Which column is what, from `start=…,caller=…,callee=…,duration=…`; more may be added.

    Raises:
        ConfigurationError: A word that is none of these, or one that is missing.

    """
    names = dict(pair.partition("=")[::2] for pair in text.split(","))
    if not names.keys() >= _NEEDED or not names.keys() <= _KNOWN or not all(names.values()):
        raise ConfigurationError(
            f"--columns must name {', '.join(sorted(_NEEDED))}, and may name {', '.join(sorted(_KNOWN - _NEEDED))}"
        )
    return names


def event_of_row(
    row: Mapping[str, str | None], columns: Mapping[str, str], tenant: str, call: str, first: date
) -> bytes:
    """
    The event of one row.

    Args:
        call: The call's id where no column gives one. Empty (from level 2 of forms on): the row's content names it, so
            that it is the same call in any file; where a column gives the ids, rows of one call are its sessions.
        first: The day that second 0 falls on, where the start is a number of seconds and no time of RFC 3339.

    Raises:
        MessageError: A column is empty or no number or time; the row is refused.

    """
    cells = {word: (row.get(name) or "").strip() for word, name in columns.items()}
    people = [cells["caller"], cells["callee"]]
    unknown = any(people) and not call
    for word, cell in cells.items():
        if not cell and not (unknown and word in _PEOPLE) and word != "occurrence":
            raise MessageError("missing_field", "/" + word)
    try:
        seconds = int(cells["duration"])
    except ValueError:
        raise MessageError("bad_row", "/duration") from None
    try:
        start = _start(cells["start"], first)
        end = start + timedelta(seconds=max(seconds, 0))
    except (ValueError, OverflowError):
        raise MessageError("bad_row", "/start") from None
    kind = cells.get("kind", "audio")
    outcome = cells.get("outcome", "answered" if seconds >= 0 else "missed")
    parties: list[dict[str, Any]] = [
        {"id": name, "role": role} if name else {"guest": True, "role": role}
        for name, role in zip(people, _PEOPLE, strict=True)
    ]
    if not call:
        call = made_up_id([start.isoformat(), *people, str(seconds), kind, outcome])
        parties = parties[: len(set(people))]  # a number that calls itself, as voicemail does, is one party
        if "call" in cells:
            parties = [{**party, "session": made_up_id([start.isoformat(), *people])} for party in parties]
    event = {
        "tenant": tenant,
        "call_id": cells.get("call", call),
        **({"occurrence": cells["occurrence"]} if cells.get("occurrence") else {}),
        "kind": kind,
        "outcome": outcome,
        "started_at": start.isoformat(),
        "ended_at": end.isoformat(),
        "parties": parties,
    }
    return json.dumps(event).encode()


def _start(text: str, first: date) -> datetime:
    if text.isdecimal():
        return datetime(first.year, first.month, first.day, tzinfo=UTC) + timedelta(seconds=int(text))
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError("a time without its offset")
    return found
