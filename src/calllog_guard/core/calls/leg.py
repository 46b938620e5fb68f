"""
One party's part in one call, as it is sealed: self-sufficient, and no other party in it.

Rules: 1. From version 2 of the leg's header on, the call is named by its reference: its id may be made of the parties' addresses.
       2. Whoever writes a leg of version 1 anew writes version 2 where the tenant's level of forms has it; what is shown follows the level.
Source: docs/reference/messages.md, docs/how-to/read-the-log.md; vectors in `tests/vectors/stored_v1.json` and `stored_v2.json`.
"""

from contextlib import suppress
from typing import Final, Literal

import msgspec

from calllog_guard.core.calls.event import CallEvent, Kind, Party, Result
from calllog_guard.core.codec import Rewritten, Role, decode, encode, text_literal, time_text
from calllog_guard.core.crypto.subject_secrets import CallKey
from calllog_guard.core.identifiers import CallId
from calllog_guard.errors import MessageError

REFERRED: Final = 2
"""The level of forms from which on legs name calls by reference."""
LegForm = Literal[1, 2]
"""The version of a leg: 1 names the call by its id, 2 by its reference."""


class Leg(Rewritten, frozen=True, kw_only=True, gc=False):
    """The plaintext of a leg; `call` is the call's reference (in version 1 its id), `parties` their number."""

    call: str
    role: Role
    joined_at: str | None
    left_at: str | None
    kind: Kind
    outcome: Result
    started_at: str
    ended_at: str | None
    parties: int
    subject: str


LEGS: Final = msgspec.json.Decoder(Leg)


def read_leg(plaintext: bytes) -> Leg:
    """
    The facts of an opened leg.

    Raises:
        MessageError: Not what our protector writes.

    """
    return decode(LEGS, plaintext)


def form_of(calls: CallKey | None) -> LegForm:
    """The version of the legs that are written, by the key for calls: a tenant of the first level of forms has none."""
    return 1 if calls is None else 2


def referred(leg: Leg, form: LegForm, calls: CallKey | None) -> Leg:
    """A leg of a version with its call named as the tenant's level has it."""
    if form == 1 and calls is not None:
        return msgspec.structs.replace(leg, call=calls.reference(CallId(leg.call)))
    return leg


def renewed(plaintext: bytes, form: LegForm, calls: CallKey | None) -> tuple[bytes, LegForm]:
    """The plaintext of a leg that is written anew, and its version; what opens and is no leg stays as it is."""
    if form < form_of(calls):
        with suppress(MessageError):
            return encode(referred(read_leg(plaintext), form, calls)), form_of(calls)
    return plaintext, form


def leg_texts(event: CallEvent, calls: CallKey | None = None) -> list[bytes]:
    """The plaintext of each party's leg, in the order of the parties; what they share is encoded once, the call's name too."""
    answered = event.outcome == "answered"
    started, ended = f'"{time_text(event.started_at)}"', "null"
    if event.ended_at:
        ended = f'"{time_text(event.ended_at)}"'
    call = event.call_id if calls is None else calls.reference(CallId(event.call_id))
    head = b'{"call":' + text_literal(call) + b',"role":"'
    shared = f',"kind":"{event.kind}","outcome":"{event.outcome}","started_at":{started},"ended_at":{ended}'
    tail = f'{shared},"parties":{len(event.parties)},"subject":'
    joined, left = (started, ended) if answered else ("null", "null")
    whole = f'","joined_at":{joined},"left_at":{left}{tail}'.encode()
    return [
        head
        + party.role.encode()
        + (whole if party.joined_at is None and party.left_at is None else _own(party, joined, left, tail))
        + text_literal(party.id)
        + b"}"
        for party in event.parties
    ]


def _own(party: Party, joined: str, left: str, tail: str) -> bytes:
    """Behind the role of a party that was not there from the call's beginning to its end."""
    joined = f'"{time_text(party.joined_at)}"' if party.joined_at else joined
    left = f'"{time_text(party.left_at)}"' if party.left_at else left
    return f'","joined_at":{joined},"left_at":{left}{tail}'.encode()
