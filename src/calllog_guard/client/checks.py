"""
What would come of an event or a request, said before it is sent: the workers' own checks.

Rules: 1. Nothing of the content is quoted.  2. What only workers can know (holds, brakes, what lies in a queue) is not
          guessed: a request without a finding may still wait for somebody, and an officer may still refuse a case.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import msgspec

from calllog_guard.core.calls.event import CallEvent, LegForm, Limits
from calllog_guard.core.calls.reading import read_event, whole
from calllog_guard.core.cases.request_check import check_request, check_told
from calllog_guard.core.codec import encode
from calllog_guard.core.identity.rules import DEFAULT, canonical
from calllog_guard.core.policy.active import TenantPolicy
from calllog_guard.core.requests.remedies import remedy
from calllog_guard.core.requests.request import Request, check_fields
from calllog_guard.errors import MessageError, RequestRefusedError

_EVENTS: Final = {
    "unknown_field": "leave the field out: what is not in docs/how-to/publish-an-event.md is not stored",
    "missing_field": "add the field: see docs/how-to/publish-an-event.md",
    "wrong_value": "write the value as schemas/event.json says",
    "too_late": "nothing: events of calls so old are taken in by `calllog-guard import`",
    "too_large": "split the call: an event is at most 256 KiB",
    "not_answered": "leave joined_at and left_at out of calls that were not answered",
    "duplicate_party": "name each party once, or with a `session` for each connection: both ids are one person's",
    "removed_party_present": "name the party under `parties` or under `removed`, not both",
}
Event = CallEvent | Mapping[str, Any] | bytes
"""A call event: typed, as a table, or as JSON in UTF-8."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a request would be refused, where (RFC 6901), and what to do."""

    reason: str
    pointer: str
    remedy: str

    @classmethod
    def of(cls, error: MessageError) -> Self:
        """As the desk would say it."""
        return cls(error.reason, error.pointer, remedy(error.reason))


class InvalidEventError(MessageError):
    """An event that a protector would refuse: nothing of its batch was published."""

    def __init__(self, index: int, error: MessageError) -> None:
        super().__init__(error.reason, error.pointer)
        self.index = index
        what = _EVENTS.get(error.reason) or remedy(error.reason)
        self.args = (f"event {index} would be refused: {error.reason} at {error.pointer or '/'}: {what}",)


def checked_event(
    event: Event, tenant: str, now_ms: int, limits: Limits, identity: Sequence[str], form: LegForm
) -> tuple[bytes, bytes]:
    """
    The record of an event: its key and its value; `form` is the version of the tenant's legs.

    Raises:
        MessageError: A protector would refuse it.

    """
    if isinstance(event, bytes):
        raw = event
    else:
        raw = encode(event) if isinstance(event, CallEvent) else msgspec.json.encode(event)
    found = whole(read_event(raw, tenant=tenant, identity=identity, appended_ms=now_ms, limits=limits, form=form))
    return found.event.call_id.encode(), raw


def check(request: Request, table: TenantPolicy | None = None, identity: Sequence[str] = DEFAULT) -> None:
    """
    Whether a desk would take a request, as far as its sender can know.

    Args:
        table: The policy in force, where the sender has it: who may ask for what, and which purposes there are.
        identity: The tenant's rules by which identifiers are one person's.

    Raises:
        MessageError: It would be refused.

    """
    if table is None:
        check_fields(request)
    elif request.iss not in table.requesters:
        raise RequestRefusedError("unknown_requester")
    else:
        check_request(request, table)
        check_told(request, table)
    for index, subject in enumerate(request.subjects):
        canonical(subject, identity, f"/subjects/{index}")
