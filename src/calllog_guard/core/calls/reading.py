"""
From a record's bytes to a checked event: what a strict reading refuses is read once more, part by part.

Rules: 1. What is right is read once, strictly: the second reading costs only those events that need it.
       2. A time may be a number (seconds, milliseconds, microseconds since 1970, told by its size), or name a leap
          second.  3. A party that cannot be read is set apart, as an event of its own that can be mended and replayed.
Source: docs/how-to/publish-an-event.md; RFC 3339, section 5.7 (leap seconds); `schemas/event.json`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

import msgspec

from calllog_guard.core.calls.event import (
    EVENTS,
    CallEvent,
    CheckedEvent,
    Given,
    LegForm,
    Limits,
    Mended,
    Party,
    RemovedSession,
    Wrong,
    check_event,
    plain_names,
)
from calllog_guard.core.calls.formats import looks_structured
from calllog_guard.core.calls.strangers import without_skipped
from calllog_guard.core.codec import IdText, behind_leap_second, decode, pointer_of, reason_of, time_text, to_ms
from calllog_guard.errors import MessageError

_TIMES: Final = ("started_at", "ended_at", "joined_at", "left_at")
_UNITS: Final = (1, 1000, 1_000_000)
"""Of a second; the years 2000 to 2100 in one of them are no year of that span in another."""
_FROM_S: Final = datetime(2000, 1, 1, tzinfo=UTC).timestamp()
_TO_S: Final = datetime(2100, 1, 1, tzinfo=UTC).timestamp()
_LEAP: Final = re.compile(r"(?P<minute>.{16}):60(?P<rest>(\.\d+)?(Z|z|[+-]\d\d:?\d\d))\Z", re.ASCII)
_LISTS: Final[tuple[tuple[Literal["parties", "removed"], Any], ...]] = (
    ("parties", Party),
    ("removed", IdText | RemovedSession),
)
_VALUES: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def _number(value: float) -> str | None:
    """The text of a time in numbers; None where it is none of the years that we accept."""
    if not 0 < value < _TO_S * _UNITS[-1]:
        return None
    for unit in _UNITS:
        if _FROM_S <= value / unit < _TO_S:
            return time_text(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=round(value * 1_000_000 / unit)))
    return None


def _leap(text: str) -> str | None:
    """The second behind a leap second, as clocks that have none count it; None where there was none."""
    found = _LEAP.match(text)
    if found is None:
        return None
    try:
        behind = behind_leap_second(datetime.fromisoformat(f"{found['minute']}:59{found['rest']}"))
    except ValueError:  # no time
        return None
    return None if behind is None else time_text(behind)


def _timed(place: Any, mended: list[Mended]) -> None:
    """The times of a call, or of a party, as RFC 3339 has them; what cannot be one stays as it is."""
    if not isinstance(place, dict):
        return
    for name in _TIMES:
        value = place.get(name)
        if isinstance(value, str) and (text := _leap(value)) is not None:
            place[name] = text
            mended.append("leap_second")
        elif isinstance(value, int | float) and not isinstance(value, bool) and (text := _number(value)) is not None:
            place[name] = text


def _second_reading(raw: bytes, failed: MessageError) -> Given:
    """
    An event that a strict reading refuses.

    Raises:
        MessageError: The call itself is wrong, or none of its parties can be read: as the strict reading said it.

    """
    try:
        content = msgspec.json.decode(raw)
    except _VALUES:
        raise failed from None
    if looks_structured(content):
        raise MessageError("no_content_type")
    if not isinstance(content, dict) or not isinstance(content.get("parties", []), list):
        raise failed
    mended: list[Mended] = []
    wrong: list[Wrong] = []
    places: dict[str, list[int]] = {}
    _timed(content, mended)
    for field, kind in _LISTS:
        items = content.get(field)
        if not isinstance(items, list):
            continue
        places[field] = []
        for index, item in enumerate(items):
            _timed(item, mended)
            try:
                msgspec.convert(item, kind)
            except msgspec.ValidationError as error:
                pointer = f"/{field}/{index}{pointer_of(error)}"
                wrong.append(Wrong(MessageError(reason_of(error), pointer), field, index))
            else:
                places[field].append(index)
        content[field] = [items[index] for index in places[field]]
    if wrong and not (content.get("parties") or content.get("removed")):
        raise failed
    return Given(decode(EVENTS, msgspec.json.encode(content)), places, tuple(wrong), tuple(mended))


def _given(raw: bytes, form: LegForm) -> Given:
    """An event as it was read; raises MessageError as `checked`."""
    if form == 1:
        given = Given(decode(EVENTS, raw))
        _check_first(given.event)
        return given
    try:
        return Given(decode(EVENTS, raw))
    except MessageError as failed:
        return _second_reading(raw, failed)


def whole(found: CheckedEvent) -> CheckedEvent:
    """
    An event of which nothing is refused.

    Raises:
        MessageError: Something is; the first of it.

    """
    if found.wrong:
        raise found.wrong[0].error
    return found


def _check_first(event: CallEvent) -> None:
    """
    What the first release refuses, as it does: workers of it may run beside ours until the tenant is upgraded.

    Raises:
        MessageError: The event is dead-lettered, and can be replayed once the tenant is upgraded.

    """
    if (event.party_count, event.revision, event.occurrence) != (None, None, None):
        raise MessageError("unknown_field")
    if not event.parties:
        raise MessageError("wrong_count", "/parties")
    for index, party in enumerate(event.parties):
        if party.session is not None or party.guest or party.estimated:
            raise MessageError("unknown_field", f"/parties/{index}")
        if party.id is None:
            raise MessageError("missing_field", f"/parties/{index}")
    for index, gone in enumerate(event.removed):
        if not isinstance(gone, str):
            raise MessageError("wrong_value", f"/removed/{index}")
    if event.ended_at is None and event.outcome == "answered":
        raise MessageError("missing_field", "/ended_at")


def _check_time(event: CallEvent, appended_ms: int, limits: Limits) -> int:
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


def _checked(given: Given, identity: Sequence[str], form: LegForm, skew_ms: int) -> CheckedEvent:
    if form == 2:  # noqa: PLR2004 - the version from which on parties are refused alone
        return check_event(given, identity, skew_ms)
    return whole(check_event(given, identity, 0, 1))


def checked(raw: bytes, identity: Sequence[str], form: LegForm, skew_ms: int) -> CheckedEvent:
    """
    An event, whenever it came.

    Raises:
        MessageError: The call itself is wrong, or nothing is right of its parties; the record is dead-lettered.

    """
    return _checked(_given(raw, form), identity, form, skew_ms)


def read_event(
    raw: bytes | None, *, tenant: str, identity: Sequence[str], appended_ms: int, limits: Limits, form: LegForm = 2
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
    given = _given(raw, form)
    if given.event.tenant != tenant:
        raise MessageError("foreign_tenant", "/tenant")
    given = without_skipped(given, limits.skips, identity)
    event = given.event
    if not given.wrong and not given.mended:
        names = plain_names(event, identity)
        if names is not None:
            started_ms = _check_time(event, appended_ms, limits)
            return CheckedEvent(event, started_ms, names, skipped=given.skipped)
    found = _checked(given, identity, form, limits.skew_ms)
    return msgspec.structs.replace(found, started_ms=_check_time(found.event, appended_ms, limits))


def refused_alone(raw: bytes | None, found: CheckedEvent) -> Iterator[tuple[MessageError, bytes]]:
    """What is refused of an event, each as its own event: it tells of nobody else, and counts the whole's parties."""
    if not found.wrong or raw is None:
        return
    content: Mapping[str, Any] = msgspec.json.decode(raw)
    kept = {name: value for name, value in content.items() if name not in {"parties", "removed"}}
    if (found.event.party_count or 1) > 1:
        kept["party_count"] = found.event.party_count
    for error, field, place in found.wrong:
        yield error, msgspec.json.encode(kept | {"parties": []} | {field: [content[field][place]]})
