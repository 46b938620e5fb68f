"""
A call event: the one shape that is accepted, and what is refused beyond the shape.

Rules: 1. A field that the schema does not know is refused (data minimisation, GDPR Art. 5(1)(c)).
       2. Times are judged against the record's append time, so a replay is judged as the first time.
Source: docs/how-to/publish-an-event.md; `schemas/event.json`.
"""

from collections.abc import Container, Sequence
from datetime import datetime
from typing import Annotated, Final, Literal, NamedTuple

import msgspec

from calllog_guard.core.codec import IdText, Message, Role, TenantName, Utc, check_id, check_year, decode, to_ms
from calllog_guard.core.identifiers import CallId, SubjectId
from calllog_guard.core.identity.rules import canonical, is_plain
from calllog_guard.errors import MessageError

Kind = Literal["video", "audio", "screen"]
Result = Literal["answered", "missed", "declined", "failed"]


class Party(Message, omit_defaults=True, frozen=True, kw_only=True):
    """A person in a call; joined and left default to the call's."""

    id: IdText
    role: Role
    joined_at: Utc | None = None
    left_at: Utc | None = None


class CallEvent(Message, omit_defaults=True, frozen=True, kw_only=True):
    """What the backend publishes about one call; `removed` names parties whose legs of this call go."""

    tenant: TenantName
    call_id: IdText
    kind: Kind
    outcome: Result
    started_at: Utc
    ended_at: Utc | None = None
    parties: Annotated[tuple[Party, ...], msgspec.Meta(min_length=1, max_length=1000)]
    removed: Annotated[tuple[IdText, ...], msgspec.Meta(max_length=1000)] = ()


EVENTS: Final = msgspec.json.Decoder(CallEvent)


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How early and late an event may come, in milliseconds, and how large it may be, in bytes."""

    ahead_ms: int
    late_ms: int
    max_bytes: int


def call_of(event: CallEvent) -> CallId:
    """The call's id."""
    return CallId(event.call_id)


def _check_span(start: datetime | None, end: datetime | None, pointer: str) -> None:
    if start and end and end < start:
        raise MessageError("end_before_start", pointer)


def check_event(event: CallEvent, identity: Sequence[str]) -> list[SubjectId]:
    """
    What the schema cannot say; `identity` are the rules by which two ids are one person.

    Returns:
        The canonical form of each party's id, then of each that is removed.

    Raises:
        MessageError: Ids, times or parties contradict each other, or an id has no canonical form; the event is dead-lettered.

    """
    check_id(event.call_id, "/call_id")
    check_year(event.started_at, "/started_at")
    check_year(event.ended_at, "/ended_at")
    if event.ended_at is None and event.outcome == "answered":
        raise MessageError("missing_field", "/ended_at")
    _check_span(event.started_at, event.ended_at, "/ended_at")
    names: dict[SubjectId, None] = {}
    for index, party in enumerate(event.parties):
        try:
            names[_checked(party, event, identity, names)] = None
        except MessageError as error:
            raise MessageError(error.reason, f"/parties/{index}{error.pointer}") from None
    removed: list[SubjectId] = []
    for index, gone in enumerate(event.removed):
        check_id(gone, f"/removed/{index}")
        removed.append(canonical(gone, identity, f"/removed/{index}"))
        if removed[-1] in names:
            raise MessageError("removed_party_present", f"/removed/{index}")
    return [*names, *removed]


def _checked(party: Party, event: CallEvent, identity: Sequence[str], seen: Container[str]) -> SubjectId:
    """The canonical form of a party that is none of those seen; raises as `check_event`, with a pointer from the party on."""
    plain = is_plain(party.id)
    if not plain:
        check_id(party.id, "/id")
    if party.joined_at or party.left_at:
        check_year(party.joined_at, "/joined_at")
        check_year(party.left_at, "/left_at")
        if event.outcome != "answered":
            raise MessageError("not_answered")
        _check_span(party.joined_at or event.started_at, party.left_at or event.ended_at, "/left_at")
    name = SubjectId(party.id) if plain else canonical(party.id, identity, "/id")
    if name in seen:
        raise MessageError("duplicate_party", "/id")
    return name


def check_time(event: CallEvent, appended_ms: int, limits: Limits) -> int:
    """
    Whether the event comes in time, judged against the record's append time; when the call began.

    Raises:
        MessageError: `in_future` or `too_late`; the event is dead-lettered.

    """
    started = to_ms(event.started_at)
    latest = max(started, to_ms(event.ended_at) if event.ended_at else 0)
    if latest > appended_ms + limits.ahead_ms:
        raise MessageError("in_future", "/started_at")
    if started < appended_ms - limits.late_ms:
        raise MessageError("too_late", "/started_at")
    return started


class CheckedEvent(NamedTuple):
    """An event, when it began, and the canonical form of each party's id, then of each that is removed."""

    event: CallEvent
    started_ms: int
    names: list[SubjectId]


def read_event(
    raw: bytes | None, *, tenant: str, identity: Sequence[str], appended_ms: int, limits: Limits
) -> CheckedEvent:
    """
    One checked event from a record's value.

    Raises:
        MessageError: Anything else; the record is dead-lettered.

    """
    if raw is None:
        raise MessageError("null_value")
    if len(raw) > limits.max_bytes:
        raise MessageError("too_large")
    event = decode(EVENTS, raw)
    if event.tenant != tenant:
        raise MessageError("foreign_tenant", "/tenant")
    names = check_event(event, identity)
    return CheckedEvent(event, check_time(event, appended_ms, limits), names)
