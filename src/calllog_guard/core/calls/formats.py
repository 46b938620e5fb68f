"""
The formats in which call events come: one registry for what a record holds, one for files.

Rules: 1. The first format that matches is taken; the last of each registry takes whatever is left.
       2. A format gives the event's JSON.  Whether that is an event, `event.py` judges.
Not here: reading files in bounded memory (`adapters/disk/old_logs.py` registers the formats of files).
Source: docs/how-to/publish-an-event.md; CloudEvents 1.0, Kafka binding; Confluent's wire format.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, Literal, NamedTuple, TypeVar

import msgspec

from calllog_guard.core.codec import decode

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Format(Generic[T, R]):
    """
    One format.

    Args:
        matches: Whether something has this format.
        to_event: The event in it, or its events one by one; raises MessageError on what only looks so.
        known_by: The same as `matches`, in words.

    """

    name: str
    matches: Callable[[T], bool]
    to_event: Callable[[T], R]
    known_by: str


class Value(NamedTuple):
    """What a record holds; the headers are None where nobody knows them any more."""

    raw: bytes
    headers: Sequence[tuple[str, bytes | None]] | None


class _Envelope(msgspec.Struct, frozen=True):
    """A CloudEvents 1.0 event in structured mode; its attributes are the transport's, only `data` is ours."""

    specversion: Literal["1.0"]
    data: msgspec.Raw


_ENVELOPES: Final = msgspec.json.Decoder(_Envelope)
_PREFIX_BYTES: Final = 5


def _is_envelope(value: Value) -> bool:
    if value.headers is not None:
        structured = b"application/cloudevents+json"
        return any(name == "content-type" and (what or b"").startswith(structured) for name, what in value.headers)
    try:
        content = json.loads(value.raw)
    except (ValueError, RecursionError):
        return False
    return isinstance(content, dict) and "specversion" in content and isinstance(content.get("data"), dict)


def _data_of(value: Value) -> bytes:
    if value.headers is None:
        return json.dumps(json.loads(value.raw)["data"]).encode()
    return bytes(decode(_ENVELOPES, value.raw).data)


VALUES: Final = (
    Format[Value, bytes](
        "confluent",
        lambda value: value.raw[:1] == b"\0",
        lambda value: value.raw[_PREFIX_BYTES:],
        "begins with a zero byte: Confluent's five bytes before the JSON",
    ),
    Format[Value, bytes](
        "cloudevents", _is_envelope, _data_of, "header `content-type: application/cloudevents+json` (structured mode)"
    ),
    Format[Value, bytes](
        "json", lambda _: True, lambda value: value.raw, "all else: the event itself; so is CloudEvents' binary mode"
    ),
)
"""What a record of a topic of events may hold."""


def format_of(formats: Sequence[Format[T, R]], found: T) -> Format[T, R]:
    """The first of some formats that matches; the last matches all."""
    return next(each for each in formats if each.matches(found))


def payload_of(raw: bytes | None, headers: Sequence[tuple[str, bytes | None]]) -> bytes | None:
    """
    The event's JSON in a record's value.

    Raises:
        MessageError: An envelope that is none; the record is dead-lettered.

    """
    if raw is None:
        return None
    value = Value(raw, headers)
    return format_of(VALUES, value).to_event(value)


def plain(raw: bytes) -> bytes:
    """
    The event's JSON in a dead letter, which has no headers to tell of.

    What is in no format comes back as it is; whether it is an event is the protector's to say.
    """
    before = b""
    while raw != before:
        before, value = raw, Value(raw, None)
        raw = format_of(VALUES, value).to_event(value)
    return raw
