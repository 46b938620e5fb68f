"""
The record of a case that nobody but officers may know of: sealed as a whole, under a key that readers of cases skip.

Rules: 1. Type, state, stages and receipts of a secret case stand nowhere in clear.  2. The record's key begins with `~`, as those
          of heartbeats do: whoever lists cases passes over it.  3. Its length tells nothing but that it is short or long.
Source: IPA 2016 s.87 and s.95 (a notice whose existence may not be disclosed); design section 10, `hold`.
"""

from typing import Final, Literal

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from calllog_guard.core.crypto.secrets import Secret
from calllog_guard.core.ids import b64, unb64
from calllog_guard.core.requests.case import CASES, Case, check_times
from calllog_guard.core.wire import Internal, decode, encode
from calllog_guard.errors import MessageError, RecordError

PREFIX: Final = b"~case."
_NONCE: Final = 12
_PAD: Final = 4096


class SecretCase(Internal, frozen=True, kw_only=True):
    """The record; its key is the AAD."""

    v: Literal[1] = 1
    sealed: str


_RECORDS: Final = msgspec.json.Decoder(SecretCase)


def secret_key(case: str) -> bytes:
    """The record key of a secret case."""
    return PREFIX + case.encode()


def seal_case(name: bytes, case: bytes, key: Secret, nonce: bytes) -> bytes:
    """The record of a secret case (its JSON) under its record key."""
    sealed = nonce + AESGCM(key.expose()).encrypt(nonce, case + b" " * (-len(case) % _PAD), name)
    return encode(SecretCase(sealed=b64(sealed).decode()))


def open_case(name: bytes, value: bytes, key: Secret) -> Case:
    """
    A secret case from its record.

    Raises:
        RecordError: Changed, or another's.

    """
    try:
        raw = unb64(decode(_RECORDS, value).sealed.encode("ascii"))
        case = decode(CASES, AESGCM(key.expose()).decrypt(raw[:_NONCE], raw[_NONCE:], name))
    except (InvalidTag, ValueError, MessageError):
        raise RecordError("bad_case") from None
    if name != secret_key(case.case):
        raise RecordError("bad_case")
    check_times(case)
    return case
