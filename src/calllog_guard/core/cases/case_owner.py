"""
Whose a case is, and what its officers told the person in words: kept for the person's own answer, and for nothing else.

A case names nobody. It has a tag per identifier known at its opening, made with that person's own secret: who has the
secret finds the person's cases; with the secret goes the only link. Officers' words lie under a random key of the case,
wrapped for each of these persons.
Rules: 1. Two cases of one person have nothing in common.  2. An unknown identifier takes as much room, random bytes:
          a reader of cases does not learn who is known.  3. One key tags, another wraps, a third seals.
Source: GDPR Art. 11, 12(4), 15; RFC 2104; vectors in `tests/vectors/stored_v2.json`.
"""

import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import msgspec
from cryptography.exceptions import InvalidTag

from calllog_guard.core.codec import Internal, Utc, decode, encode
from calllog_guard.core.crypto.subject_secrets import SECRET_BYTES, IdentitySecret, Secret
from calllog_guard.core.identifiers import ID_BYTES, b64, unb64
from calllog_guard.errors import MessageError, RecordError

_NONCE: Final = 12
_TAG: Final = 16
_PAD: Final = 512
Random = Callable[[int], bytes]


class Reason(Internal, frozen=True, kw_only=True):
    """What an officer told the person in words: why refused, why extended, or what was answered."""

    of: Literal["refused", "extended", "answered"]
    text: str
    at: Utc


_REASONS: Final = msgspec.json.Decoder(Reason)


@dataclass(frozen=True, slots=True)
class Whose:
    """The two parts of a case: by tag the wrapped key of the case, and what was said, sealed under that key."""

    keys: Mapping[str, str]
    said: tuple[str, ...] = ()


def tags_of(identity: IdentitySecret) -> Callable[[str], str]:
    """The tags of a person's cases: the key is derived once for all of them, which costs ten times a tag."""
    key = identity.case_tags_key().expose()

    def tag(case: str) -> str:
        return b64(hmac.digest(key, case.encode(), hashlib.sha256)[:ID_BYTES]).decode()

    return tag


def tag_of(identity: IdentitySecret, case: str) -> str:
    """The tag of a person's case."""
    return tags_of(identity)(case)


def opened(case: str, identities: Sequence[IdentitySecret | None], random: Random) -> Whose:
    """What a new case knows of those whom it is about; None stands for an identifier that is not known."""
    key = random(SECRET_BYTES)
    keys: dict[str, str] = {}
    for identity in identities:
        nonce = random(_NONCE)
        if identity is None:
            keys[b64(random(ID_BYTES)).decode()] = b64(nonce + random(SECRET_BYTES + _TAG)).decode()
        else:
            tag = tag_of(identity, case)
            wrapped = identity.case_words_key().aes().encrypt(nonce, key, _bound(case, tag))
            keys[tag] = b64(nonce + wrapped).decode()
    return Whose(keys)


def _bound(case: str, tag: str) -> bytes:
    return b"whose\n" + case.encode() + b"\n" + tag.encode()


def case_key(whose: Whose, case: str, identity: IdentitySecret) -> Secret | None:
    """
    The key of a person's case; None where it is not theirs.

    Raises:
        RecordError: Changed.

    """
    tag = tag_of(identity, case)
    if tag not in whose.keys:
        return None
    try:
        raw = unb64(whose.keys[tag].encode("ascii"))
        return Secret(identity.case_words_key().aes().decrypt(raw[:_NONCE], raw[_NONCE:], _bound(case, tag)))
    except (InvalidTag, ValueError):
        raise RecordError("bad_case") from None


def say(whose: Whose, case: str, key: Secret | None, reason: Reason, random: Random) -> Whose:
    """The same with one more thing that was said; without a key, because nobody is known, with as much at random."""
    content = encode(reason)
    content += b" " * (-len(content) % _PAD)
    nonce = random(_NONCE)
    if key is None:
        sealed = random(len(content) + _TAG)
    else:
        sealed = key.aes().encrypt(nonce, content, _place(case, len(whose.said)))
    return Whose(whose.keys, (*whose.said, b64(nonce + sealed).decode()))


def _place(case: str, number: int) -> bytes:
    return b"said\n" + case.encode() + b"\n" + str(number).encode()


def said(whose: Whose, case: str, key: Secret) -> tuple[Reason, ...]:
    """
    What was said in a case.

    Raises:
        RecordError: Changed, or another case's.

    """
    found: list[Reason] = []
    for number, sealed in enumerate(whose.said):
        try:
            raw = unb64(sealed.encode("ascii"))
            found.append(decode(_REASONS, key.aes().decrypt(raw[:_NONCE], raw[_NONCE:], _place(case, number))))
        except (InvalidTag, ValueError, MessageError):
            raise RecordError("bad_case") from None
    return tuple(found)
