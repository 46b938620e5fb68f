"""
What officers alone may know of: orders of secret holds, their cases, why one was not taken, and disclosures of them.

All of it lies in `privacy.orders`, which no backend may read; a first release's is in `privacy.cases` until upgraded.
Rules: 1. Type, state, stages and receipts of a secret case are never in clear.  2. The record's key begins with `~`, as
          heartbeats' do: whoever lists cases passes over it.  3. Its length tells nothing but that it is short or long.
       4. An order that is not taken is no dead letter, and moves no figure: operators are told of those.
Source: docs/explanation/cases.md; IPA 2016 s.87 and s.95 (a notice whose existence may not be disclosed).
"""

from typing import Any, Final, Literal

import msgspec
from cryptography.exceptions import InvalidTag

from calllog_guard.core.cases.case import CASES, Case, check_times
from calllog_guard.core.codec import Internal, Utc, decode, encode
from calllog_guard.core.crypto.subject_secrets import Secret
from calllog_guard.core.identifiers import INTERNAL_KEY, b64, unb64
from calllog_guard.errors import MessageError, RecordError

PREFIX: Final = b"~case."
REFUSED: Final = b"~refused."
PART: Final = b"~part."
ORDERED: Final = 2
"""From this level of forms on secret cases lie in the topic of orders: a desk of the release before knows none."""
_NONCE: Final = 12
_PAD: Final = 4096


class SecretCase(Internal, frozen=True, kw_only=True):
    """The record; its key is the AAD."""

    v: Literal[1] = 1
    sealed: str


class RefusedOrder(Internal, frozen=True, kw_only=True):
    """Why the order at a place was not taken."""

    v: Literal[1] = 1
    partition: int
    offset: int
    reason: str
    at_pointer: str = ""
    at: Utc


class SecretPart(Internal, frozen=True, kw_only=True):
    """A part of a disclosure of what is held in secret."""

    v: Literal[1] = 1
    jwe: str


_RECORDS: Final = msgspec.json.Decoder(SecretCase)
_PARTS: Final = msgspec.json.Decoder(SecretPart)
_REFUSALS: Final = msgspec.json.Decoder(RefusedOrder)


def is_order(record: Any) -> bool:
    """Whether a record asks for something: desks, auditors write JSON objects under keys with `~`, and tombstones."""
    internal = (record.key or b"")[:1] == INTERNAL_KEY and (record.value or b"")[:1] == b"{"
    return record.value is not None and not internal


def is_state(record: Any) -> bool:
    """Whether a record of `privacy.orders` is a case's, by its key."""
    return bool((record.key or b"").startswith(PREFIX))


def secret_key(case: str) -> bytes:
    """The record key of a secret case."""
    return PREFIX + case.encode()


def refused_key(partition: int, offset: int) -> bytes:
    """The record key of what says why an order was not taken."""
    return REFUSED + b"%d.%d" % (partition, offset)


def part_key(name: str) -> bytes:
    """The record key of a part, by the key that it has in the topic of exports: `case.part`."""
    return PART + name.encode()


def is_part(record: Any) -> bool:
    """Whether a record of `privacy.orders` is a part, by its key."""
    return bool((record.key or b"").startswith(PART))


def part_record(jwe: str) -> bytes:
    """The record of a part: an object, as all that workers write there."""
    return encode(SecretPart(jwe=jwe))


def jwe_of(record: bytes) -> bytes:
    """
    The part in a record.

    Raises:
        MessageError: None of ours.

    """
    return decode(_PARTS, record).jwe.encode()


def seal_case(name: bytes, content: bytes, key: Secret, nonce: bytes) -> bytes:
    """The record of a secret case, or of a refusal (its JSON), under its record key."""
    sealed = nonce + key.aes().encrypt(nonce, content + b" " * (-len(content) % _PAD), name)
    return encode(SecretCase(sealed=b64(sealed).decode()))


def _content(name: bytes, value: bytes, key: Secret) -> bytes:
    raw = unb64(decode(_RECORDS, value).sealed.encode("ascii"))
    return key.aes().decrypt(raw[:_NONCE], raw[_NONCE:], name)


def open_refusal(name: bytes, value: bytes, key: Secret) -> RefusedOrder:
    """
    Why an order was not taken.

    Raises:
        RecordError: Changed, or another's.

    """
    try:
        found = decode(_REFUSALS, _content(name, value, key))
    except (InvalidTag, ValueError, MessageError):
        raise RecordError("bad_refusal") from None
    if name != refused_key(found.partition, found.offset):
        raise RecordError("bad_refusal")
    return found


def open_case(name: bytes, value: bytes, key: Secret) -> Case:
    """
    A secret case from its record.

    Raises:
        RecordError: Changed, or another's.

    """
    try:
        case = decode(CASES, _content(name, value, key))
    except (InvalidTag, ValueError, MessageError):
        raise RecordError("bad_case") from None
    if name != secret_key(case.case):
        raise RecordError("bad_case")
    check_times(case)
    return case
