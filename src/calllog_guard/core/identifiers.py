"""
The identifiers, one type each, so that none is taken for another.

A raw subject id lives only between decoding and pseudonymising; the others are safe in keys, topics and logs.
"""

import binascii
import hashlib
import json
import re
from collections.abc import Sequence
from typing import Any, Final, NewType

Tenant = NewType("Tenant", str)
"""1 to 32 of `a-z0-9-`; part of keystore keys, so nothing that could end a key part."""
SubjectId = NewType("SubjectId", str)
"""The backend's identifier of a person, 1 to 256 bytes of UTF-8. Personal data."""
CallId = NewType("CallId", str)
"""The backend's identifier of a call, 1 to 256 bytes of UTF-8. It may name the parties: personal data."""
CallRef = NewType("CallRef", str)
"""22 characters: names a call in what is stored and shown; without the tenant's key nobody can tell of which id."""
Lookup = NewType("Lookup", str)
"""43 characters: HMAC-SHA-256 of (tenant, subject id) under the tenant's pepper."""
Pseudonym = NewType("Pseudonym", str)
"""22 characters: names a person in the log; never reused."""
PurposePerson = NewType("PurposePerson", str)
"""22 characters: names a person to the readers of one purpose."""
Token = NewType("Token", str)
"""22 characters: names a leg of one person."""
DecisionId = NewType("DecisionId", str)
CaseId = NewType("CaseId", str)
HoldId = NewType("HoldId", str)
"""22 characters: names a hold in its copies' keys and in the keystore."""
EpochName = NewType("EpochName", str)
"""ISO week of a wrapping key, as `2026-W48`."""
PolicyVersion = NewType("PolicyVersion", str)
"""The day from which a policy version holds, as `2026-11-01`."""

ID_BYTES: Final = 16
ID_LETTERS: Final = 22
TENANT_PATTERN: Final = r"[a-z0-9][a-z0-9-]{0,31}\Z"
EPOCH_PATTERN: Final = re.compile(r"[12][0-9]{3}-W(0[1-9]|[1-4][0-9]|5[0-3])\Z")
"""What an epoch may be called: a name from damaged bytes never reaches a path or a server."""
ID_PATTERN: Final = re.compile(rf"[A-Za-z0-9_-]{{{ID_LETTERS}}}\Z")
INTERNAL_KEY: Final = b"~"
"""Record keys of ours (heartbeats, anchors) begin so; where others write too, see `core/stream/heartbeats.py`."""

LEG_LETTERS: Final = 12
"""So many letters of a token name the leg, the same in every revision of it: 72 bits, among one person's legs."""
LEG_KEY_LETTERS: Final = ID_LETTERS + 1 + LEG_LETTERS
"""Of a record key: the same in every revision of one leg."""

_SHORT: Final = 100
_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")
_STANDARD: Final = bytes.maketrans(b"-_+/=", b"+/!!!")  # what is no base64url is made foreign to base64 too
_LAST: Final = (frozenset[int](), frozenset[int](), frozenset(b"AQgw"), frozenset(b"AEIMQUYcgkosw048"))
"""By the letters beyond whole groups of four: what the last may be, so that no bits are left over."""
_PADDING: Final = (b"", b"", b"==", b"=")


def b64(raw: bytes) -> bytes:
    """Unpadded base64url (RFC 4648, section 5) as ASCII bytes."""
    text = binascii.b2a_base64(raw)
    if len(text) < _SHORT:
        return text.translate(_URL_SAFE, b"=\n")
    return text.rstrip(b"=\n").replace(b"+", b"-").replace(b"/", b"_")  # a third faster than a table on long texts


_FILL: Final = (b"", b"\0\0", b"\0")


def _letters(raws: Sequence[bytes]) -> bytes:
    """The base64url of many texts as one, each filled up to whole groups of three bytes."""
    filled = b"".join([raw + _FILL[len(raw) % 3] for raw in raws])
    return binascii.b2a_base64(filled, newline=False).replace(b"+", b"-").replace(b"/", b"_")


def b64_each(raws: Sequence[bytes]) -> list[bytes]:
    """As `b64`, for many, encoded as one; the letters of what fills each up are cut."""
    text = _letters(raws)
    found: list[bytes] = []
    at = 0
    for raw in raws:
        size = len(raw)
        found.append(text[at : at + (size * 4 + 2) // 3])
        at += (size + 2) // 3 * 4
    return found


def unb64(text: bytes) -> bytes:
    """
    The bytes of an unpadded base64url text, one text per value.

    Raises:
        ValueError: Foreign characters, padding, or bits left over; the caller refuses the message.

    """
    beyond = len(text) % 4
    if beyond and text[-1] not in _LAST[beyond]:
        raise ValueError("not the one base64url form")
    return binascii.a2b_base64(text.translate(_STANDARD) + _PADDING[beyond], strict_mode=True)


def id_text(raw: bytes) -> str:
    """16 bytes as the 22 characters that every id of ours has."""
    if len(raw) != ID_BYTES:
        raise ValueError("an id is 16 bytes")
    return binascii.b2a_base64(raw).translate(_URL_SAFE, b"=\n").decode()


def id_texts(raws: Sequence[bytes]) -> list[str]:
    """As `id_text`, for many, encoded as one."""
    text = _letters(raws).decode()
    return [text[at : at + ID_LETTERS] for at in range(0, len(text), -(-ID_BYTES // 3) * 4)]


def is_id(text: str) -> bool:
    """Whether the text is the one form of 16 bytes in base64url."""
    if not ID_PATTERN.match(text):
        return False
    try:
        return len(unb64(text.encode())) == ID_BYTES
    except ValueError:
        return False


def id_bytes(text: str) -> bytes:
    """
    The 16 bytes of an id.

    Raises:
        ValueError: Not 22 characters of base64url; the caller refuses the message.

    """
    raw = unb64(text.encode())
    if len(raw) != ID_BYTES:
        raise ValueError("an id is 16 bytes")
    return raw


_GUEST: Final = "guest\1"  # in no id: control characters are refused


def guest_id(raw: bytes) -> SubjectId:
    """The id of a guest of one call, from 16 bytes: no event and no request can name it."""
    return SubjectId(_GUEST + id_text(raw))


def is_guest(text: str) -> bool:
    """Whether an id in a record is that of a guest."""
    return text.startswith(_GUEST)


def shown_subject(text: str) -> str:
    """An id of a record as readers see it: of a guest, without the mark that no text has."""
    return text.replace("\1", " ") if is_guest(text) else text


_MADE_UP_DIGITS: Final = 32


def made_up_id(content: Sequence[Any]) -> str:
    """
    An id for what has none, from its content as JSON has it: the same content is the same call, in whatever file.

    32 hexadecimal digits; where it is stored, it is under a key of the tenant. Stored legs rest on it: it stays so.

    Raises:
        RecursionError: The content is nested without end.

    """
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:_MADE_UP_DIGITS]


_OCCURRENCE: Final = "\1"  # in no id: control characters are refused


def named_call(call_id: str, occurrence: str | None) -> CallId:
    """A call by its id and, where the same id is used again for other calls, by which of them it is."""
    return CallId(call_id if occurrence is None else f"{call_id}{_OCCURRENCE}{occurrence}")


def call_names(call: str) -> dict[str, str]:
    """What an event says of a call: its id, and its occurrence where it has one."""
    call_id, _, occurrence = call.partition(_OCCURRENCE)
    return {"call_id": call_id} | ({"occurrence": occurrence} if occurrence else {})


def partition_of(pseudonym: Pseudonym, partitions: int) -> int:
    """
    The partition of `legs`, `decisions` and `held` in which a person lives.

    First four bytes, big-endian, modulo the count. Fixed: compaction works per partition (docs/reference/topics.md).
    """
    return int.from_bytes(id_bytes(pseudonym)[:4], "big") % partitions


def record_key(pseudonym: Pseudonym, second: str) -> bytes:
    """The key `pseudonym.token` of a leg, or `pseudonym.decision` in the ledger."""
    return f"{pseudonym}.{second}".encode()


def split_key(key: bytes) -> tuple[str, str]:
    """
    The two halves of a record key.

    Raises:
        ValueError: Not two ids joined by a dot; the record is not ours.

    """
    first, dot, second = key.decode("ascii", "strict").partition(".")
    if dot != "." or not is_id(first) or not is_id(second):
        raise ValueError("not two ids joined by a dot")
    return first, second
