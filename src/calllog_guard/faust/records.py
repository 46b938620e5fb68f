"""
Call events and lines as Faust's Records: what a Faust program sends and keeps.

Rules: 1. A Record is sent as its schema says: without Faust's own fields, and without what is not there.
       2. No `repr` shows what a Record holds, for Faust logs Records.
Source: `schemas/event.json`, `schemas/reader-put.json`, `schemas/reader-remove.json`.
"""

from typing import Any

import faust
import msgspec

from calllog_guard.core.calls.view import Put, Remove


class _Silent(faust.Record, abstract=True, include_metadata=False, serializer="json"):  # type: ignore[misc, call-arg]
    def to_representation(self) -> Any:
        """The fields that are there; see Faust."""
        return {name: value for name, value in super().to_representation().items() if value is not None}

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class PartyRecord(_Silent, include_metadata=False, serializer="json"):  # type: ignore[call-arg]
    """A person in a call; `id=None` with `guest=True` is a guest whom nobody knows."""

    id: str | None
    role: str
    session: str | None = None
    guest: bool | None = None
    joined_at: str | None = None
    left_at: str | None = None
    estimated: bool | None = None


class CallRecord(_Silent, include_metadata=False, serializer="json"):  # type: ignore[call-arg]
    """What a backend publishes about one call; its key is the call id. Times are RFC 3339 with an offset."""

    tenant: str
    call_id: str
    kind: str
    outcome: str
    started_at: str
    parties: list[PartyRecord]
    ended_at: str | None = None
    party_count: int | None = None
    occurrence: str | None = None
    revision: int | None = None
    removed: list[Any] | None = None


class PutRecord(_Silent, include_metadata=False, serializer="json"):  # type: ignore[call-arg]
    """A leg is there, or is there with other facts: it replaces what the token stood for."""

    token: str
    op: str = "put"
    person: str | None = None
    role: str | None = None
    started_at: str | None = None
    ended_at: str | None = None
    joined_at: str | None = None
    left_at: str | None = None
    duration_s: int | None = None
    kind: str | None = None
    outcome: str | None = None
    parties: int | None = None
    subject: str | None = None
    call: str | None = None
    session: str | None = None


class RemoveRecord(_Silent, include_metadata=False, serializer="json"):  # type: ignore[call-arg]
    """What the token stood for must go, if it is there."""

    token: str
    op: str = "remove"


def record_of(line: Put | Remove) -> PutRecord | RemoveRecord:
    """A line as a Record."""
    fields = msgspec.to_builtins(line)
    return PutRecord(**fields) if isinstance(line, Put) else RemoveRecord(**fields)
