"""
The formats in which call events come: one registry for what a record holds, one for files.

Rules: 1. The first format that matches is taken; the last of each registry takes whatever is left.
       2. A format gives the event's JSON.  Whether that is an event, `event.py` judges.
Not here: reading files in bounded memory (`adapters/disk/old_logs.py` registers the formats of files).
Source: docs/how-to/publish-an-event.md; CloudEvents 1.0, Kafka binding; Confluent's wire format.
"""

import base64
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, Literal, NamedTuple, TypeVar

import msgspec

from calllog_guard.core.codec import decode
from calllog_guard.errors import MessageError

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
    """A CloudEvents 1.0 event in structured mode; its attributes are the transport's, only its data is ours."""

    specversion: Literal["1.0"]
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    data_base64: str | None = None
    datacontenttype: str | None = None


_ENVELOPES: Final = msgspec.json.Decoder(_Envelope)
_TEXTS: Final = msgspec.json.Decoder(str)
_PREFIX_BYTES: Final = 5
_CLOUDEVENTS: Final = "application/cloudevents"
_STRUCTURED: Final = f"{_CLOUDEVENTS}+json"
_BATCH: Final = f"{_CLOUDEVENTS}-batch"
_JSON: Final = re.compile(r"[^/]+/(?:[^/]+\+)?json\Z")


def _media_type(text: str) -> str:
    """The type alone, in lower case: parameters follow a semicolon (RFC 9110, section 8.3.1)."""
    return text.partition(";")[0].strip().lower()


def _content_type(value: Value) -> str:
    """What the record's header says; names of headers in any case, as HTTP has them."""
    for name, content in value.headers or ():
        if name.lower() == "content-type" and content:
            return _media_type(content.decode("ascii", "replace"))
    return ""


def looks_structured(content: object) -> bool:
    """Whether JSON is an event of CloudEvents with its attributes around it."""
    return isinstance(content, dict) and "specversion" in content and bool({"data", "data_base64"} & content.keys())


def _is_envelope(value: Value) -> bool:
    if value.headers is not None:
        return _content_type(value).startswith(_CLOUDEVENTS)
    try:
        content = json.loads(value.raw)
    except (ValueError, RecursionError):
        return False
    return looks_structured(content) and (isinstance(content.get("data"), dict) or "data_base64" in content)


def _data_of(value: Value) -> bytes:
    """
    The data of an event in structured mode.

    Raises:
        MessageError: It is in a batch, in no JSON, has no data or two, or is no event of CloudEvents 1.0.

    """
    if value.headers is None:
        try:
            return _unwrapped(value.raw)
        except MessageError:
            return value.raw
    if (kind := _content_type(value)) != _STRUCTURED:
        raise MessageError("batch" if kind.startswith(_BATCH) else "wrong_content_type")
    return _unwrapped(value.raw)


def _unwrapped(raw: bytes) -> bytes:
    found = decode(_ENVELOPES, raw)
    data = None if found.data is msgspec.UNSET or bytes(found.data) == b"null" else bytes(found.data)
    if found.data_base64 is None:
        if data is None:
            raise MessageError("missing_field", "/data")
        is_text = data[:1] == b'"' and not _JSON.match(_media_type(found.datacontenttype or "application/json"))
        return decode(_TEXTS, data).encode() if is_text else data
    if data is not None:
        raise MessageError("data_twice", "/data_base64")
    try:
        return base64.b64decode(found.data_base64, validate=True)
    except ValueError:
        raise MessageError("wrong_value", "/data_base64") from None


VALUES: Final = (
    Format[Value, bytes](
        "confluent",
        lambda value: value.raw[:1] == b"\0",
        lambda value: value.raw[_PREFIX_BYTES:],
        "begins with a zero byte: Confluent's five bytes before the JSON",
    ),
    Format[Value, bytes](
        "cloudevents",
        _is_envelope,
        _data_of,
        "header `content-type: application/cloudevents+json`: structured mode, its `data` or `data_base64`; no batch",
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
    if raw is None or not (headers or raw[:1] == b"\0"):
        return raw  # as nearly all: without headers, the first byte alone could tell of another format than the last
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
