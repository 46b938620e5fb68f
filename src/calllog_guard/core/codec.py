"""
Messages as bytes: strict JSON in, one canonical JSON out, times in UTC.

Rules: 1. From outside, an unknown field is refused.  Between workers it is of a later minor version: passed over,
          and kept in a rewrite.  2. A higher `v` is a later major version: halt.  A field that readers need raises `v`.
       3. Errors carry a word of ours and a pointer of schema names, never input.
       4. Times leave in UTC with `Z`, no fraction when it is zero, else three or six digits.
Source: docs/reference/messages.md; RFC 8259, RFC 3339, RFC 6901.
"""

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Annotated, ClassVar, Final, Literal, TypeVar

import msgspec

from calllog_guard.core.later_fields import MARK, REST, flat, known, with_rest
from calllog_guard.errors import MessageError, NewerFormError

Utc = Annotated[datetime, msgspec.Meta(tz=True)]
Id = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{22}$(?!\n)", description="16 bytes in unpadded base64url")]
TenantName = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$(?!\n)")]
Day = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$(?!\n)")]
EpochText = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{4}-W[0-9]{2}$(?!\n)")]
IdText = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Role = Literal["host", "guest", "caller", "callee"]
Signature = Annotated[
    str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{86}$(?!\n)", description="Ed25519, 64 bytes in unpadded base64url")
]
Compact = Annotated[str, msgspec.Meta(description="JWE or JWS in compact serialisation")]

T = TypeVar("T")


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What all messages share: frozen, unknown fields refused."""


class Internal(Message, frozen=True, kw_only=True):
    """Between our programs: `decode` passes over fields that a later minor release added; a `v` above `major` halts."""

    major: ClassVar[int] = 1
    never: ClassVar[frozenset[str]] = frozenset()
    """Fields that change how the rest is to be read, whoever added them: refused."""


class Rewritten(Internal, frozen=True, kw_only=True):
    """An internal message that others write anew: what they do not know stays in `rest`, byte for byte, as it came."""

    rest: tuple[tuple[str, msgspec.Raw], ...] | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name=REST)


_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_ID_BYTES: Final = 256


def check_id(text: str, pointer: str) -> None:
    """
    What the schema cannot say of a subject's or call's id: at most 256 bytes, no control characters.

    Raises:
        MessageError: `bad_id`.

    """
    plain = text.isascii() and text.isprintable()  # of ASCII, what does not print are control characters
    if len(text if plain else text.encode()) > _ID_BYTES or not (plain or _CONTROL.search(text) is None):
        raise MessageError("bad_id", pointer)


def check_year(moment: datetime | None, pointer: str) -> None:
    """
    Whether a time lies within the years that we accept (docs/how-to/publish-an-event.md).

    Raises:
        MessageError: `bad_time`.

    """
    if moment is not None and not 2000 <= moment.year < 2100:  # noqa: PLR2004 - docs/how-to/publish-an-event.md
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


def decode(decoder: "msgspec.json.Decoder[T]", raw: bytes, *, stored: bool = False) -> T:
    """
    Decode and check one message.

    Args:
        stored: One of our programs wrote it, although its like comes from outside: read as Internal is.

    Raises:
        MessageError: Not UTF-8, not JSON, nested without end, or not to the schema; the message is dead-lettered.
        NewerFormError: An internal message of a later major version: halt.

    """
    failed: MessageError | None = None
    try:
        found = decoder.decode(raw)
        if MARK not in raw or not (stored or _is_internal(decoder.type)):
            return found
    except msgspec.ValidationError as error:
        failed = MessageError(reason_of(error), pointer_of(error))
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise MessageError("not_json") from None
    except RecursionError:
        raise MessageError("nested_too_deep") from None
    failed = failed or MessageError("unknown_field")  # a field by the name under which rests are kept in memory
    if not (stored or _is_internal(decoder.type)):
        raise failed
    return _newer(decoder, raw, failed)


def _is_internal(kind: type) -> bool:
    return isinstance(kind, type) and issubclass(kind, Internal)


class _Version(msgspec.Struct):
    v: int = 1


_versions: Final = msgspec.json.Decoder(_Version)
_objects: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


def _newer(decoder: "msgspec.json.Decoder[T]", raw: bytes, failed: MessageError) -> T:
    """What is not to the schema of this release: of a later major version, of a later minor one, or bad."""
    kind: type = decoder.type
    major: int = getattr(kind, "major", 1)
    try:
        with suppress(msgspec.ValidationError):  # it says no version
            found = _versions.decode(raw).v
            if found > major:
                raise NewerFormError(f"a message of the kind {kind.__name__}", found, major)
        if failed.reason != "unknown_field" or getattr(kind, "never", frozenset()) & _objects.decode(raw).keys():
            raise failed
        return with_rest(decoder.decode(known(kind, raw)), raw)
    except msgspec.ValidationError as error:
        raise MessageError(reason_of(error), pointer_of(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError):  # behind what was unknown
        raise MessageError("not_json") from None
    except RecursionError:
        raise MessageError("nested_too_deep") from None


def encode(message: Message) -> bytes:
    """The one JSON form of a message."""
    return flat(_encoder.encode(message))


def text_literal(text: str) -> bytes:
    """A JSON string, quoted and escaped."""
    return _encoder.encode(text)


def time_text(moment: datetime) -> str:
    """An aware time as our one text of it."""
    text = _encoder.encode(moment if moment.tzinfo is UTC else moment.astimezone(UTC))[1:-1].decode()
    return text[:-4] + "Z" if text[-8:-7] == "." and text.endswith("000Z") else text


def behind_leap_second(last: datetime) -> datetime | None:
    """
    The second behind a leap second, as clocks that have none count it; None where UTC has no leap second.

    Args:
        last: The time with 59 in place of 60. Leap seconds end a day of UTC.

    """
    try:
        behind = (last + timedelta(seconds=1)).astimezone(UTC)
    except OverflowError:  # beyond the calendar
        return None
    return behind if (behind.hour, behind.minute, behind.second) == (0, 0, 0) else None


_1970: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)


def from_ms(moment_ms: int) -> datetime:
    """The UTC time of milliseconds since 1970, as Kafka's timestamps count."""
    return datetime.fromtimestamp(moment_ms // 1000, UTC).replace(microsecond=moment_ms % 1000 * 1000)


def to_ms(moment: datetime) -> int:
    """Milliseconds since 1970, rounded down."""
    return (moment - _1970) // _MS


class Dead(Internal, frozen=True, kw_only=True):
    """
    A dead letter: where it lay, why, and the payload sealed to the operator's key. No field's name or value.

    `appended_at` is when the record first came: a replay is judged by it (letters of earlier releases lack it).
    `source` is that of a platform's message: by its mapping it is mapped anew.
    """

    v: Literal[1]
    topic: str
    partition: int
    offset: int
    reason: str
    at_pointer: str
    kid: str
    jwe: Compact
    at: Utc
    appended_at: Utc | msgspec.UnsetType = msgspec.UNSET
    source: str | msgspec.UnsetType = msgspec.UNSET


DEAD: Final = msgspec.json.Decoder(Dead)

BEAT: Final = b"~beat"
"""The key of heartbeats, in every topic that has them."""


class Beat(Internal, frozen=True, kw_only=True):
    """A heartbeat: keeps segments rolling; the counter is the keystore's, by which an older keystore is known."""

    v: Literal[1] = 1
    counter: int
    at: Utc


BEATS: Final = msgspec.json.Decoder(Beat)


class Access(Internal, frozen=True, kw_only=True):
    """
    Who opened what, for which purpose; acknowledged before the first line is shown.

    `which` are the offsets opened (`core/stream/offsets.py`), `read` names their read; accesses of earlier releases say
    neither. A read that was not let begin has `refused` `denied`, and -1 for its place: it saw nothing.
    `by` is the officer, by the name of the key, to whom the actor, a console, has shown a case.
    `sig` is the actor's signature (`core/audit/accesses.py`), the last that is said.
    """

    v: Literal[1]
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
    read: Id | msgspec.UnsetType = msgspec.UNSET
    by: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._:-]{1,64}$(?!\n)")] | msgspec.UnsetType = msgspec.UNSET
    sig: Signature | msgspec.UnsetType = msgspec.UNSET


DENIED: Final = "denied"
"""In `refused` of an access: the policy, or the key, let nobody begin; the value counts what was asked for."""
NOBODY: Final = "?"
"""The actor or purpose of a read that was denied, where the policy has no such name: what anybody typed is not kept."""
