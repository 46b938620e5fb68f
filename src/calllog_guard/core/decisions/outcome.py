"""
Outcomes: what a worker did, told to the desk and kept in the ledger.

Rules: 1. A certificate rests on outcomes, and what the ledger calls done is not redone: each has a MAC; what no worker
          of ours wrote is a dead letter.  2. The MAC is tied to the outcome's place: no stage is taken for another.
       3. The MAC stands last, over the bytes before it as they came: it covers what a later minor release adds.
Source: docs/explanation/design.md, docs/reference/messages.md; RFC 2104.
"""

import hashlib
import hmac
from typing import Final, Literal

import msgspec

from calllog_guard.core.codec import Id, Internal, Message, Rewritten, TenantName, Utc, decode, encode
from calllog_guard.core.crypto.subject_secrets import Secret
from calllog_guard.core.decisions.preview import PreviewCount
from calllog_guard.core.identifiers import ID_BYTES, ID_LETTERS, b64
from calllog_guard.errors import NewerFormError, RecordError

TO_DESK: Final = b"outcomes"
"""The place of what is told to the desk; in the ledger it is the record's key."""
DONE: Final = b".done"
"""Ends the ledger key of a decision's result; `.absent` and `.gone` end those of its observation."""
NAMES_IN_PART: Final = 10_000
"""Names of legs in one record of the ledger: a quarter of a megabyte."""
_LEGS: Final = b".legs"
_RESULT_DOTS: Final = 2
_DIGITS: Final = 9
_MAC_BYTES: Final = len(',"mac":""}') + ID_LETTERS


def is_result(key: bytes) -> bool:
    """Whether a ledger key names a result, not a decision."""
    return key.count(b".") == _RESULT_DOTS


def legs_key(number: int) -> bytes:
    """What ends the ledger key of a part of the names that a decision is about to remove; the first part is 1."""
    return _LEGS if number == 1 else _LEGS + b"-%d" % number


def legs_part(key: bytes) -> tuple[bytes, int] | None:
    """The ledger key of a decision, and which part of its names a key is of; None when it is none."""
    name, _, last = key.rpartition(b".")
    word, dash, number = last.partition(b"-")
    if b"." + word != _LEGS or (dash and not (number.isdigit() and len(number) < _DIGITS)):
        return None
    return name, int(number or 1)


class Observed(Rewritten, frozen=True, kw_only=True):
    """How a partition was looked at from outside, over which offsets, and on how many of its replicas' disks."""

    how: tuple[str, ...]
    partition: int
    from_: int = msgspec.field(name="from")
    to: int
    replicas: int
    in_sync: int
    on_disk: int
    at: Utc


Unsure = Literal["lost", "unread"]
"""Records of accesses are lost that may have named somebody, or cannot be read."""


class Outcome(Internal, frozen=True, kw_only=True):
    """
    What a worker did for a decision.

    Args:
        tokens: In the ledger: the legs whose old values must be seen gone.
        kept: With `copied` of an erasure: the purposes for which the law had legs copied first.
        digests: Of an export: SHA-256 of each part.
        legs: How many it concerned; with `looked` or `previewed`: how many it would.
        unread: Of a search: how many keys could not be opened, so that nobody can tell whose they are.
        readers: With `traced`: the credentials that have opened the legs that a decision is about, or may have.
        disclosures: With `traced`: the cases in which records of the person were asked for, for an authority.
        unsure: With `traced`: why nobody can tell for sure who has opened them.
        measured: With `previewed`: what else a keeper has counted.
        mac: By the key that workers alone have, over the rest and the place where it is written.

    """

    v: Literal[1] = 1
    tenant: TenantName
    case: Id
    decision: Id
    stage: Literal[
        "copied",
        "destroyed",
        "tombstoned",
        "rewritten",
        "exported",
        "absent",
        "gone",
        "failed",
        "searched",
        "traced",
        "looked",
        "previewed",
    ]
    partition: int
    legs: int
    barrier: int
    up_to: int
    by: str
    at: Utc
    observed: Observed | msgspec.UnsetType = msgspec.UNSET
    tokens: tuple[Id, ...] | msgspec.UnsetType = msgspec.UNSET
    kept: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    digests: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    unread: int | msgspec.UnsetType = msgspec.UNSET
    readers: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    disclosures: tuple[Id, ...] | msgspec.UnsetType = msgspec.UNSET
    unsure: Unsure | msgspec.UnsetType = msgspec.UNSET
    measured: PreviewCount | msgspec.UnsetType = msgspec.UNSET
    mac: Id | msgspec.UnsetType = msgspec.UNSET


OUTCOMES: Final = msgspec.json.Decoder(Outcome)


class OutcomeKey(Secret):
    """What the workers of a tenant vouch with for their outcomes."""

    __slots__ = ()

    def _sealed(self, content: bytes, place: bytes) -> bytes:
        """An outcome without its MAC, and the MAC behind it."""
        mac = b64(hmac.digest(self._raw, b"outcome\n" + place + b"\n" + content, hashlib.sha256)[:ID_BYTES])
        return b'%b,"mac":"%b"}' % (content[:-1], mac)

    def vouched(self, outcome: Message, place: bytes) -> bytes:
        """The outcome, or another record that bears a `mac`, as it is written at a place."""
        return self._sealed(encode(msgspec.structs.replace(outcome, mac=msgspec.UNSET)), place)

    def proves(self, raw: bytes, place: bytes) -> bool:
        """Whether a worker of ours wrote these bytes at a place."""
        return hmac.compare_digest(raw, self._sealed(raw[:-_MAC_BYTES] + b"}", place))

    def read(self, raw: bytes, place: bytes) -> Outcome:
        """
        What a worker of ours wrote at a place.

        Raises:
            MessageError: No outcome, or none of ours wrote it (`forged_outcome`): a dead letter, which changes nothing.
            NewerFormError: A later release of ours wrote it there: halt.

        """
        try:
            outcome = decode(OUTCOMES, raw)
        except NewerFormError:
            if self.proves(raw, place):
                raise
            raise RecordError("forged_outcome") from None
        if outcome.mac is msgspec.UNSET or not self.proves(raw, place):
            raise RecordError("forged_outcome")
        return outcome
