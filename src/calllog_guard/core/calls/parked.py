"""
A party's part of an event that waits until its person's entries can be used again, as it lies in `calllog.parked`.

Rules: 1. It holds no other party; in clear it has only the event's place, the time it came, and why it waits.
       2. Its record key names the part and says nothing: parked again it replaces itself, taken up it gets a tombstone.
       3. It is judged by the time at which the event first came, however long it waits.
Source: docs/adr/0011-one-persons-matter.md; vectors in `tests/vectors/stored_v2.json`.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from typing import Any, Final, Literal

import msgspec
from cryptography.exceptions import InvalidTag

from calllog_guard.core.calls.leg import read_leg
from calllog_guard.core.codec import BEAT, EpochText, Internal, decode, encode, from_ms
from calllog_guard.core.crypto.leg_envelope import padded
from calllog_guard.core.crypto.subject_secrets import Secret
from calllog_guard.core.identifiers import ID_BYTES, Tenant, b64, call_names, id_text, is_guest, unb64
from calllog_guard.errors import MessageError, NewerFormError, RecordError

NONCE: Final = 12
PARKED_FROM: Final = 2
"""The level of forms from which on parts are parked; under the first release's they are waited for."""


class WaitingPart(Internal, frozen=True, kw_only=True):
    """
    What is sealed: the part as the protector made it.

    Args:
        mask: The purposes for which it may be kept at most, as when it came.
        text: The leg's plaintext; None for a party that is removed, whose identifier is `removed`.
        appended_ms: When the event first came, milliseconds since 1970, as is `started_ms`, when the call began.
        former: The keystore's keys by former rules of identity, where the place of the person's entry was unknown.
        session: Of which session it is, `revision` of which revision of the call; absent where there is none.
        form: The leg's version, absent for 1: in 2 `text` names the call by reference. `call` is its id (record key).

    """

    v: Literal[1] = 1
    lookup: str
    mask: int
    text: str | None
    removed: str = ""
    call: str
    started_ms: int
    appended_ms: int
    former: tuple[str, ...] = ()
    form: Literal[2] | msgspec.UnsetType = msgspec.UNSET
    session: str | msgspec.UnsetType = msgspec.UNSET
    revision: int | msgspec.UnsetType = msgspec.UNSET


class Parked(Internal, frozen=True, kw_only=True):
    """
    The record; `topic`, `partition` and `offset` are the event's, `index` the party's place in it.

    Args:
        parked_ms: Since when it waits, milliseconds since 1970.
        reason: Why: a word of ours.

    """

    v: Literal[1] = 1
    topic: str
    partition: int
    offset: int
    index: int
    parked_ms: int
    reason: str
    epoch: EpochText
    sealed: str

    @property
    def place(self) -> tuple[str, int, int, int]:
        """What orders the parts of one partition of events."""
        return self.topic, self.partition, self.offset, self.index


PARKED: Final = msgspec.json.Decoder(Parked)
_PARTS: Final = msgspec.json.Decoder(WaitingPart)


def parked_key(place: tuple[str, int, int, int], lookup: str) -> bytes:
    """The record key of a part; without the lookup, which the pepper makes, nobody can tell whose it is."""
    text = "\0".join(("parked", *map(str, place), lookup))
    return id_text(hashlib.sha256(text.encode()).digest()[:ID_BYTES]).encode()


def _bound(parked: Parked, tenant: Tenant) -> bytes:
    return "\n".join(
        ("parked", tenant, *map(str, parked.place), str(parked.parked_ms), parked.reason, parked.epoch)
    ).encode()


def seal_parked(parked: Parked, part: WaitingPart, tenant: Tenant, key: Secret, nonce: bytes) -> Parked:
    """The record with its part sealed under the tenant's epoch key; what it says in clear is the AAD."""
    sealed = nonce + key.aes().encrypt(nonce, padded(encode(part)), _bound(parked, tenant))
    return msgspec.structs.replace(parked, sealed=b64(sealed).decode())


def open_parked(parked: Parked, tenant: Tenant, key: Secret) -> WaitingPart:
    """
    The part in a record.

    Raises:
        RecordError: Changed in any bit, or another's.

    """
    try:
        raw = unb64(parked.sealed.encode("ascii"))
        content = key.aes().decrypt(raw[:NONCE], raw[NONCE:], _bound(parked, tenant))
    except (InvalidTag, ValueError):
        raise RecordError("bad_parked") from None
    return decode(_PARTS, content)


def waiting_now(records: Iterable[Any]) -> tuple[Counter[str], datetime | None]:
    """How many parts wait by reason, and since when the oldest; from the topic's records in order, what is in clear."""
    latest = {record.key: record for record in records if record.key != BEAT}
    reasons: Counter[str] = Counter()
    since: list[datetime] = []
    for record in latest.values():
        if record.value is None:
            continue
        try:
            parked = decode(PARKED, record.value)
        except (MessageError, NewerFormError):
            reasons["unreadable"] += 1
        else:
            reasons[parked.reason] += 1
            with suppress(ValueError, OverflowError, OSError):  # a time that is none: nobody's protector wrote it
                since.append(from_ms(since_ms(parked, record)))
    return reasons, min(since, default=None)


def since_ms(parked: Parked, record: Any) -> int:
    """Since when a part waits: by its protector's clock, and never later than its record came."""
    return min(parked.parked_ms, int(record.timestamp))


def event_of(part: WaitingPart, tenant: Tenant) -> bytes:
    """The part as an event of one party, for a dead letter that can be replayed; of a removal all that is known."""
    revision = {} if part.revision is msgspec.UNSET else {"revision": part.revision}
    if part.text is None or part.removed:
        gone = {"id": part.removed, "session": part.session} if part.session else part.removed
        return json.dumps({"tenant": tenant, **call_names(part.call), "removed": [gone]} | revision).encode()
    leg = read_leg(part.text.encode())
    who: dict[str, Any] = {"guest": True} if is_guest(leg.subject) else {"id": leg.subject}
    party = who | {"role": leg.role}
    if part.session:
        party["session"] = part.session
    if leg.estimated:
        party["estimated"] = True
    if leg.outcome == "answered":
        party |= {name: moment for name in ("joined_at", "left_at") if (moment := getattr(leg, name))}
    event = {
        "tenant": tenant,
        **call_names(part.call),
        "kind": leg.kind,
        "outcome": leg.outcome,
        "started_at": leg.started_at,
        "ended_at": leg.ended_at,
        "parties": [party],
    } | revision
    return json.dumps({name: value for name, value in event.items() if value is not None}).encode()
