"""
A leg as JWE compact (RFC 7516), `dir` + `A256GCM`, and its protected header.

Rules: 1. The header is the AAD: person, month, record key, tenant, topic, policy.  2. Only our own header form is read:
       `alg` and `enc` pinned, no `zip`, no `crit`; the AAD covers what a later minor release adds, as it came.
       3. One key, named by the header; never a second.
Source: docs/reference/messages.md; RFC 7516, RFC 7518 (5.3), NIST SP 800-38D;
  vectors in `tests/vectors/stored_v1.json` and `stored_v2.json`.
"""

import secrets
from collections.abc import Iterator, Sequence
from typing import Annotated, ClassVar, Final, Literal

import msgspec
from cryptography.exceptions import InvalidTag

from calllog_guard.core.codec import Day, Id, Message, Rewritten, TenantName, decode, encode
from calllog_guard.core.crypto.subject_secrets import DataKey
from calllog_guard.core.identifiers import b64, b64_each, unb64
from calllog_guard.errors import MessageError, RecordError

NONCE_BYTES: Final = 12
_NONCE_LETTERS: Final = 16  # without a rest: three bytes are four letters
TAG_BYTES: Final = 16
PAD: Final = 64
_ANY_ID: Final = "A" * 22
UNREAD: Final = frozenset({"crit", "zip", "b64"})
"""Header parameters that would change how a record is to be opened (RFC 7516): refused, whoever wrote them."""


class LegHeader(Rewritten, frozen=True, kw_only=True, gc=False):
    """
    The protected header, in this order; each field ties the leg to its place. `v` says how the call is named.

    Args:
        rev: Whether it is a revision of a leg, of which there may be others (LEG_LETTERS). The leg says which.

    """

    major: ClassVar[int] = 2
    never: ClassVar[frozenset[str]] = UNREAD
    alg: Literal["dir"] = "dir"
    enc: Literal["A256GCM"] = "A256GCM"
    typ: Literal["calllog-leg"] = "calllog-leg"
    v: Literal[1, 2] = 1
    kid: Id
    mon: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{4}-[0-9]{2}$(?!\n)")]
    day: Day
    rid: Id
    pur: Annotated[int, msgspec.Meta(ge=0, lt=1 << 50)]
    pol: Day
    ten: TenantName
    top: str
    rev: bool | msgspec.UnsetType = msgspec.UNSET


_headers: Final = msgspec.json.Decoder(LegHeader)


Nonce = tuple[bytes, bytes]
"""Twelve random bytes for one seal, and their base64url."""
Draft = tuple[bytes, bytes, DataKey]
"""A leg to be sealed: its header as JSON, its plaintext, the key."""


def nonces(most: int) -> Iterator[Nonce]:
    """So many random nonces, each handed out once; the system is asked once for all, and all are encoded at once."""
    drawn = secrets.token_bytes(most * NONCE_BYTES)
    texts = b64(drawn)
    return zip(
        [drawn[at : at + NONCE_BYTES] for at in range(0, len(drawn), NONCE_BYTES)],
        [texts[at : at + _NONCE_LETTERS] for at in range(0, len(texts), _NONCE_LETTERS)],
        strict=True,
    )


def padded(plaintext: bytes) -> bytes:
    """Spaces up to the next multiple of 64, so that the length tells little."""
    return plaintext + b" " * (-len(plaintext) % PAD)


def seal_leg(header: Message, plaintext: bytes, key: DataKey, nonce: bytes) -> bytes:
    """A leg or copy as five base64url parts, the second (encrypted key) empty. `nonce`: 12 random bytes, used once."""
    aad = b64(encode(header))
    sealed = key.aes().encrypt(nonce, padded(plaintext), aad)
    return b".".join((aad, b"", b64(nonce), b64(sealed[:-TAG_BYTES]), b64(sealed[-TAG_BYTES:])))


def leg_head(policy: str, tenant: str, topic: str, v: Literal[1, 2] = 1, *, revised: bool = False) -> tuple[str, str]:
    """What all legs' headers of one form and one policy share: before the person, and behind the purposes."""
    header = LegHeader(
        v=v,
        kid=_ANY_ID,
        mon=policy[:7],
        day=policy,
        rid=_ANY_ID,
        pur=0,
        pol=policy,
        ten=tenant,
        top=topic,
        rev=revised or msgspec.UNSET,
    )
    before, _, rest = encode(header).decode().partition(f'"kid":"{_ANY_ID}"')
    return before, rest.partition('"pur":0')[2]


def leg_header(shared: tuple[str, str], kid: str, day: str, rid: str, purposes: int) -> bytes:
    """The header of a leg, as `LegHeader` is encoded."""
    return (
        f'{shared[0]}"kid":"{kid}","mon":"{day[:7]}","day":"{day}","rid":"{rid}","pur":{purposes}{shared[1]}'.encode()
    )


def seal_each(drafts: Sequence[Draft]) -> list[bytes]:
    """As `seal_leg`, for many under fresh nonces: what is text in the end is encoded at once, as one."""
    firsts = b64_each([header for header, _, _ in drafts])
    fresh = list(nonces(len(drafts)))
    sealed: list[bytes] = []
    for (_, text, key), first, nonce in zip(drafts, firsts, fresh, strict=True):
        found = key.aes().encrypt(nonce[0], padded(text), first)
        sealed += (found[:-TAG_BYTES], found[-TAG_BYTES:])
    letters = b64_each(sealed)
    return [
        b".".join((first, b"", nonce[1], text, tag))
        for first, nonce, text, tag in zip(firsts, fresh, letters[::2], letters[1::2], strict=True)
    ]


def parse_header(leg: bytes) -> LegHeader:
    """
    The protected header of a leg, checked to our form; nothing is opened.

    Raises:
        RecordError: Not a leg that our writers write; it is reported, never guessed at.

    """
    try:
        return decode(_headers, unb64(leg.partition(b".")[0]))
    except (MessageError, ValueError):
        raise RecordError("bad_leg") from None


def open_leg(leg: bytes, key: DataKey) -> bytes:
    """
    The plaintext of a leg, without its padding.

    Raises:
        RecordError: Another form, another key, or changed in any bit.

    """
    parts = leg.split(b".")
    if len(parts) != 5 or parts[1]:  # noqa: PLR2004 - the five parts of RFC 7516
        raise RecordError("bad_leg")
    try:
        nonce, text, tag = map(unb64, parts[2:])
        if len(nonce) != NONCE_BYTES or len(tag) != TAG_BYTES:
            raise RecordError("bad_leg")
        return key.aes().decrypt(nonce, text + tag, parts[0]).rstrip(b" ")
    except (InvalidTag, ValueError):
        raise RecordError("bad_leg") from None
