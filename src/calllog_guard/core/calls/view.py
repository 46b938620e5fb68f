"""
What a reader says of a leg: a line per change, with the fields that the purpose lists and no other.

Source: docs/how-to/read-the-log.md; GDPR Art. 5(1)(c); `shows` in the policy.
"""

from datetime import datetime
from typing import Any, Final

import msgspec

from calllog_guard.core.calls.event import Kind, Result
from calllog_guard.core.calls.leg import Leg
from calllog_guard.core.codec import Id, Message, Role
from calllog_guard.core.identifiers import shown_subject

_Unset = msgspec.UnsetType
_UNSET: Final = msgspec.UNSET


class Put(Message, frozen=True, kw_only=True, gc=False, tag_field="op", tag="put"):
    """
    A leg is there, or is there with other facts: it replaces what the token stood for.

    Args:
        person: The person's pseudonym for this purpose alone; absent where the purpose lists `subject`.

    """

    token: Id
    person: Id | _Unset = _UNSET
    role: Role | _Unset = _UNSET
    started_at: str | _Unset = _UNSET
    ended_at: str | _Unset | None = _UNSET
    joined_at: str | _Unset | None = _UNSET
    left_at: str | _Unset | None = _UNSET
    duration_s: int | _Unset | None = _UNSET
    kind: Kind | _Unset = _UNSET
    outcome: Result | _Unset = _UNSET
    parties: int | _Unset = _UNSET
    subject: str | _Unset = _UNSET
    call: str | _Unset = _UNSET
    session: str | _Unset = _UNSET


class Remove(Message, frozen=True, kw_only=True, tag_field="op", tag="remove"):
    """What the token stood for must go; why is nobody's business downstream."""

    token: Id


class Reset(Message, frozen=True, kw_only=True, tag_field="op", tag="reset"):
    """Everything must go: what there is follows anew."""


Line = Put | Remove | Reset
FIELDS: Final = frozenset(Put.__struct_fields__) - {"token", "person"}
"""What a purpose may list under `shows`; the policy's form knows the same names."""


def duration_s(leg: Leg) -> int | None:
    """Whole seconds from joining to leaving, or the call's start to end; 0 if not answered, None during a call."""
    start = leg.joined_at or leg.started_at
    end = leg.left_at or leg.ended_at or start
    length = datetime.fromisoformat(end) - datetime.fromisoformat(start)
    is_open = leg.outcome == "answered" and leg.left_at is None and leg.ended_at is None
    return None if is_open else int(length.total_seconds())


def put(leg: Leg, token: str, person: str, shows: tuple[str, ...]) -> Put:
    """The line of an opened leg; `shows` holds names of `FIELDS` only."""
    seen: dict[str, Any] = {name: duration_s(leg) if name == "duration_s" else getattr(leg, name) for name in shows}
    if "subject" in seen:
        seen["subject"] = shown_subject(leg.subject)
    return Put(token=token, **seen) if "subject" in seen else Put(token=token, person=person, **seen)
