"""
Messages as bytes: strict JSON in, one canonical JSON out, times in UTC.

Rules: 1. From outside, an unknown field is refused.  Between workers it is a later minor version's: passed over, and kept by whoever
          rewrites the message.  2. A higher `v` is a later major version's: halt.  A field that a reader must understand raises `v`.
       3. Errors carry a word of ours and a pointer of schema names, never input.
       4. Times leave in UTC with `Z`, no fraction when it is zero, else three or six digits.
Source: RFC 8259, RFC 3339, RFC 6901; `shared` interface: messages.
"""

import re
from datetime import UTC, datetime
from typing import Annotated, ClassVar, Final, Literal, TypeVar

import msgspec

from calllog_guard.errors import MessageError, NewerFormError

Utc = Annotated[datetime, msgspec.Meta(tz=True)]
Id = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{22}$(?!\n)", description="16 bytes in unpadded base64url")]
TenantName = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$(?!\n)")]
Day = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$(?!\n)")]
EpochText = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{4}-W[0-9]{2}$(?!\n)")]
IdText = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Role = Literal["host", "guest", "caller", "callee"]
Compact = Annotated[str, msgspec.Meta(description="JWE or JWS in compact serialisation")]

T = TypeVar("T")


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What all messages share: frozen, unknown fields refused."""


class Internal(Message, frozen=True, forbid_unknown_fields=False, kw_only=True):
    """What our programs write for each other: unknown fields are passed over, a `v` above `major` halts."""

    major: ClassVar[int] = 1


_REST: Final = "~rest"


class Rewritten(Internal, frozen=True, kw_only=True):
    """An internal message that others write anew: its unknown fields ride along in `rest`, byte for byte, and never under that name."""

    rest: tuple[tuple[str, msgspec.Raw], ...] | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name=_REST)


_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_ID_BYTES: Final = 256


def check_id(text: str, pointer: str) -> None:
    """
    What the schema cannot say of a subject's or call's id: at most 256 bytes, no control characters.

    Raises:
        MessageError: `bad_id`.

    """
    if len(text.encode()) > _ID_BYTES or _CONTROL.search(text):
        raise MessageError("bad_id", pointer)


def check_year(moment: datetime | None, pointer: str) -> None:
    """
    Whether a time lies within the years that we accept (design section 6).

    Raises:
        MessageError: `bad_time`.

    """
    if moment is not None and not 2000 <= moment.year < 2100:  # noqa: PLR2004 - design section 6
        raise MessageError("bad_time", pointer)


_AT: Final = re.compile(r" - at `\$(?P<path>[^`]*)`\Z")
_STEP: Final = re.compile(r"\.([a-z_]+)|\[(\d+)\]")
_encoder: Final = msgspec.json.Encoder()


def pointer_of(error: msgspec.ValidationError) -> str:
    """The RFC 6901 pointer of a decoding error; msgspec's own text may quote the value, so nothing else is kept."""
    found = _AT.search(str(error))
    if not found:
        return ""
    return "".join(f"/{name or index}" for name, index in _STEP.findall(found["path"]))


def reason_of(error: msgspec.ValidationError) -> str:
    """One word for what a decoding error found."""
    text = str(error)
    if text.startswith("Object contains unknown field"):
        return "unknown_field"
    if text.startswith("Object missing required field"):
        return "missing_field"
    if text.startswith("Expected `array` of length"):
        return "wrong_count"
    return "wrong_value"


class _Version(msgspec.Struct):
    v: int = 1


_versions: Final = msgspec.json.Decoder(_Version)
_objects: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_arrays: Final = msgspec.json.Decoder(list[msgspec.Raw])
_rests: Final = msgspec.json.Decoder(list[tuple[str, msgspec.Raw]])


def decode(decoder: "msgspec.json.Decoder[T]", raw: bytes) -> T:
    """
    Decode and check one message.

    Raises:
        MessageError: Not UTF-8, not JSON, nested without end, or not to the schema; the message is dead-lettered.
        NewerFormError: An internal message of a later major version: halt.

    """
    try:
        found = decoder.decode(raw)
        # one that we write ourselves is written again as it came, unless a later release has added to it
        return _with_rest(found, raw) if isinstance(found, Rewritten) and encode(found) != raw else found
    except msgspec.ValidationError as error:
        _check_major(decoder.type, raw)
        raise MessageError(reason_of(error), pointer_of(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise MessageError("not_json") from None
    except RecursionError:
        raise MessageError("nested_too_deep") from None


def _check_major(kind: type, raw: bytes) -> None:
    if not (isinstance(kind, type) and issubclass(kind, Internal)):
        return
    try:
        found = _versions.decode(raw).v
    except (
        msgspec.DecodeError,
        UnicodeDecodeError,
        RecursionError,
    ):  # no version that could be told, or no JSON behind the fault
        return
    if found > kind.major:
        raise NewerFormError(f"a message of the kind {kind.__name__}", found, kind.major)


def _with_rest(value: T, raw: bytes | msgspec.Raw) -> T:
    """The same with the unknown fields that `raw` has, at whatever depth a rewritten message stands."""
    if isinstance(value, tuple) and any(isinstance(each, Rewritten) for each in value):
        return type(value)(_with_rest(each, part) for each, part in zip(value, _arrays.decode(raw), strict=True))
    if not isinstance(value, Rewritten):
        return value
    ours = dict(zip(value.__struct_encode_fields__, value.__struct_fields__, strict=True))
    del ours[_REST]
    fields = _objects.decode(raw)
    inner = {ours[name]: _with_rest(getattr(value, ours[name]), part) for name, part in fields.items() if name in ours}
    rest = tuple((name, part) for name, part in fields.items() if name not in ours)
    return msgspec.structs.replace(value, rest=rest or msgspec.UNSET, **inner)


def encode(message: Message) -> bytes:
    """The one JSON form of a message."""
    return _flat(_encoder.encode(message))


def _flat(raw: bytes) -> bytes:
    """Unknown fields stand among the others; nothing is done where there are none."""
    if b'"~rest":' not in raw:
        return raw
    if raw[:1] == b"[":
        return _encoder.encode([msgspec.Raw(_flat(bytes(part))) for part in _arrays.decode(raw)])
    fields = _objects.decode(raw)
    rest = _rests.decode(fields.pop(_REST, b"[]"))
    flat = {name: msgspec.Raw(_flat(bytes(part))) for name, part in fields.items()}
    return _encoder.encode(flat | {name: part for name, part in rest if name not in flat})


def text_literal(text: str) -> bytes:
    """A JSON string, quoted and escaped."""
    return _encoder.encode(text)


def time_text(moment: datetime) -> str:
    """An aware time as our one text of it."""
    text = moment.astimezone(UTC).replace(tzinfo=None).isoformat()
    return (text[:-3] if text[-7:-6] == "." and text.endswith("000") else text) + "Z"


def from_ms(moment_ms: int) -> datetime:
    """The UTC time of milliseconds since 1970, as Kafka's timestamps count."""
    return datetime.fromtimestamp(moment_ms // 1000, UTC).replace(microsecond=moment_ms % 1000 * 1000)


def to_ms(moment: datetime) -> int:
    """Milliseconds since 1970, rounded down."""
    return int(moment.timestamp()) * 1000 + moment.microsecond // 1000


class Dead(Message, frozen=True, kw_only=True):
    """
    A dead letter: where it lay, why, and the payload sealed to the operator's key. No field's name or value.

    `appended_at` is when the record first came: a replay is judged by it (letters of earlier releases lack it).
    """

    v: int
    topic: str
    partition: int
    offset: int
    reason: str
    at_pointer: str
    kid: str
    jwe: Compact
    at: Utc
    appended_at: Utc | msgspec.UnsetType = msgspec.UNSET


DEAD: Final = msgspec.json.Decoder(Dead)

BEAT: Final = b"~beat"
"""The key of heartbeats, in every topic that has them."""


class Beat(Message, frozen=True, kw_only=True):
    """A heartbeat: keeps segments rolling; the counter is the keystore's, by which an older keystore is known."""

    v: int = 1
    counter: int
    at: Utc


BEATS: Final = msgspec.json.Decoder(Beat)


class Access(Message, frozen=True, kw_only=True):
    """
    Who opened what, for which purpose; acknowledged before the first line is shown.

    `which` are the offsets that were opened (`offsets.py`); accesses of earlier releases do not say it.
    """

    v: int
    actor: str
    purpose: str
    case: Id | None
    topic: str
    partition: int
    from_: int = msgspec.field(name="from")
    to: int
    opened: int
    refused: dict[str, int]
    at: Utc
    which: str | msgspec.UnsetType = msgspec.UNSET
