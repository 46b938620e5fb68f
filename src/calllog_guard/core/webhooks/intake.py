"""
What becomes of one raw message of a source: call events, notifications, a refusal, and what was skipped.

In: bytes as they came.  Out: a `Taken`; every item of the message is in it once.
Rules: 1. What can be kept is kept: one refusal speaks for all that is wrong with a message, and is its dead letter.
       2. An event that no protector would take is refused here, where the message can still be mapped anew.
       3. The same message gives the same events, byte for byte: it may come as often as its platform likes.
Source: docs/how-to/platforms.md.
"""

from collections.abc import Mapping as Dict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgspec

from calllog_guard.core.calls.event import Limits
from calllog_guard.core.calls.reading import read_event
from calllog_guard.core.sources.inputs import message_of
from calllog_guard.core.sources.mapping import Mapping
from calllog_guard.core.sources.notification import Notification
from calllog_guard.core.webhooks.signatures import NO_KEYS, SCHEMES, Scheme, SourceKeys
from calllog_guard.errors import MessageError

_ANY_MS: Final = 1 << 53
"""How late an event comes, its protector judges: by when it was appended."""
_JSON: Final = ("application/json", "text/json", "application/webhook+json")
_FORM: Final = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class IngestSource:
    """
    A source, ready to be used.

    Args:
        scheme: How its webhooks are signed; empty: it has none.
        url: The address that the platform calls.

    """

    name: str
    mapping: Mapping
    scheme: str = ""
    keys: SourceKeys = NO_KEYS
    url: str = ""

    @property
    def signed(self) -> Scheme | None:
        """Its scheme."""
        return SCHEMES[self.scheme] if self.scheme else None

    def takes(self, content_type: str) -> bool:
        """Whether its messages come as this type of content."""
        kind, form = content_type.partition(";")[0].strip().lower(), self.mapping.file.input
        is_json = kind in _JSON or (kind.startswith("application/") and kind.endswith("+json"))
        return kind == _FORM if form.form == "form" and not (form.within and is_json) else is_json


class Strictness(NamedTuple):
    """By which rules a tenant's protectors read events."""

    tenant: str
    identity: Sequence[str]
    skew_ms: int
    max_bytes: int


class Taken(NamedTuple):
    """
    What becomes of a message.

    Args:
        events: Each with its key, the call's id.
        refused: The first of what is wrong with it.
        skipped: By the words of the mapping's tests.

    """

    events: tuple[tuple[bytes, bytes], ...] = ()
    notifications: tuple[Notification, ...] = ()
    refused: MessageError | None = None
    skipped: tuple[str, ...] = ()


def taken(mapping: Mapping, raw: bytes, rules: Strictness) -> Taken:
    """Map one message."""
    try:
        message = message_of(raw, mapping.file.input)
    except MessageError as error:
        return Taken(refused=error)
    events: list[tuple[bytes, bytes]] = []
    notifications: list[Notification] = []
    refused: list[MessageError] = []
    skipped: list[str] = []
    for item in mapping.results(message, rules.tenant):
        refused += item.refused
        skipped += item.skipped
        if item.notification is not None:
            notifications.append(item.notification)
        if item.event is not None:
            try:
                events.append(_event(item.event, rules))
            except MessageError as error:
                refused.append(error)
    return Taken(tuple(events), tuple(notifications), next(iter(refused), None), tuple(skipped))


def _event(event: Dict[str, Any], rules: Strictness) -> tuple[bytes, bytes]:
    try:
        raw = msgspec.json.encode(event)
    except UnicodeEncodeError:  # half of a character, as a form may have it
        raise MessageError("wrong_value") from None
    limits = Limits(ahead_ms=_ANY_MS, late_ms=_ANY_MS, max_bytes=rules.max_bytes, skew_ms=rules.skew_ms)
    found = read_event(raw, tenant=rules.tenant, identity=rules.identity, appended_ms=0, limits=limits)
    return found.event.call_id.encode(), raw
