"""
The identifiers, one type each, so that none is taken for another.

A raw subject id lives only between decoding and pseudonymising; the others are safe in keys, topics and logs.
"""

import binascii
import re
from typing import Final, NewType

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
"""Record keys of ours (heartbeats, anchors) begin so; where others may write too, `core/stream/heartbeats.py` says what is ours."""

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


def partition_of(pseudonym: Pseudonym, partitions: int) -> int:
    """
    The partition of `legs`, `decisions` and `held` in which a person lives.

    First four bytes, big-endian, modulo the count. Fixed for ever: compaction works per partition (docs/reference/topics.md).
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
