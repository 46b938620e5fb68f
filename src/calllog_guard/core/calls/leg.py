"""
One party's part in one call, as it is sealed: self-sufficient, and no other party in it.

Rules: 1. From version 2 of the leg's header on, the call is named by reference: its id may hold the parties' addresses.
       2. Who rewrites a leg of version 1 writes version 2 if the tenant's forms do; what is shown follows the level.
Source: docs/reference/messages.md, docs/how-to/read-the-log.md;
  vectors in `tests/vectors/stored_v1.json` and `stored_v2.json`.
"""

from contextlib import suppress
from typing import Final, Literal

import msgspec

from calllog_guard.core.calls.event import CallEvent, Kind, LegForm, Party, Result, call_of
from calllog_guard.core.codec import Rewritten, Role, decode, encode, text_literal, time_text
from calllog_guard.core.crypto.subject_secrets import CallKey
from calllog_guard.core.identifiers import CallId
from calllog_guard.errors import MessageError

REFERRED: Final = 2
"""The level of forms from which on legs name calls by reference."""


class Leg(Rewritten, frozen=True, kw_only=True, gc=False):
    """
    The plaintext of a leg; `call` is the call's reference (in version 1 its id), `parties` their number.

    Args:
        ended_at: None of an answered call that goes on, as is `left_at`, or of whose end nobody has told.
        session: The platform's name of one connection, where the person has several in a call (version 2).
        revision: Of the event that it comes from, where that has one (version 2).
        estimated: When they joined or left was not told: the times are the best that is known (version 2).

    """

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
    session: str | msgspec.UnsetType = msgspec.UNSET
    revision: int | msgspec.UnsetType = msgspec.UNSET
    estimated: Literal[True] | msgspec.UnsetType = msgspec.UNSET


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
    """The plaintext of each party's leg, in the parties' order; the shared part, the call's name too, is made once."""
    answered = event.outcome == "answered"
    started, ended = f'"{time_text(event.started_at)}"', "null"
    if event.ended_at:
        ended = f'"{time_text(event.ended_at)}"'
    call = call_of(event) if calls is None else calls.reference(call_of(event))
    head = b'{"call":' + text_literal(call) + b',"role":"'
    shared = f',"kind":"{event.kind}","outcome":"{event.outcome}","started_at":{started},"ended_at":{ended}'
    tail = f'{shared},"parties":{event.party_count or len(event.parties)},"subject":'
    joined, left = (started, ended) if answered else ("null", "null")
    end = b"" if event.revision is None else b',"revision":%d' % event.revision
    whole = f'","joined_at":{joined},"left_at":{left}{tail}'.encode()
    return [
        head
        + party.role.encode()
        + (whole if party.joined_at is None and party.left_at is None else _own(party, joined, left, tail))
        + text_literal(party.id or "")
        + (end if party.session is None else b',"session":' + text_literal(party.session) + end)
        + (b',"estimated":true}' if party.estimated else b"}")
        for party in event.parties
    ]


def removal_text(event: CallEvent, subject: str, session: str, calls: CallKey | None) -> bytes:
    """
    The plaintext of what stands in place of a leg that a revision removes: it keeps older ones away, unseen.

    Of the call it says nothing but its name and its beginning.
    """
    return encode(
        Leg(
            call=call_of(event) if calls is None else calls.reference(call_of(event)),
            role="guest",
            joined_at=None,
            left_at=None,
            kind=event.kind,
            outcome=event.outcome,
            started_at=time_text(event.started_at),
            ended_at=None,
            parties=0,
            subject=subject,
            session=session or msgspec.UNSET,
            revision=event.revision if event.revision is not None else msgspec.UNSET,
        )
    )


def emptied(text: bytes) -> bytes:
    """What stands in place of a leg that no purpose covers any more: as `removal_text`."""
    return encode(
        msgspec.structs.replace(
            read_leg(text),
            role="guest",
            joined_at=None,
            left_at=None,
            ended_at=None,
            parties=0,
            estimated=msgspec.UNSET,
        )
    )


def _own(party: Party, joined: str, left: str, tail: str) -> bytes:
    """Behind the role of a party that was not there from the call's beginning to its end."""
    joined = f'"{time_text(party.joined_at)}"' if party.joined_at else joined
    left = f'"{time_text(party.left_at)}"' if party.left_at else left
    return f'","joined_at":{joined},"left_at":{left}{tail}'.encode()
