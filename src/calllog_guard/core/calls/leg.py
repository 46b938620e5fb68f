"""
One party's part in one call, as it is sealed: self-sufficient, and no other party in it.

Source: design section 7.
"""

from typing import Final

import msgspec

from calllog_guard.core.calls.event import CallEvent, Kind, Party, Result
from calllog_guard.core.wire import Rewritten, Role, decode, text_literal, time_text


class Leg(Rewritten, frozen=True, kw_only=True, gc=False):
    """The plaintext of a leg; `parties` is their number."""

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


def leg_texts(event: CallEvent) -> list[bytes]:
    """The plaintext of each party's leg, in the order of the parties; what they share is encoded once."""
    answered = event.outcome == "answered"
    started, ended = f'"{time_text(event.started_at)}"', "null"
    if event.ended_at:
        ended = f'"{time_text(event.ended_at)}"'
    head = b'{"call":' + text_literal(event.call_id) + b',"role":"'
    shared = f',"kind":"{event.kind}","outcome":"{event.outcome}","started_at":{started},"ended_at":{ended}'
    tail = f'{shared},"parties":{len(event.parties)},"subject":'.encode()
    return [
        head + _own(party, started, ended, answered=answered) + tail + text_literal(party.id) + b"}"
        for party in event.parties
    ]


def _own(party: Party, started: str, ended: str, *, answered: bool) -> bytes:
    joined = f'"{time_text(party.joined_at)}"' if party.joined_at else started if answered else "null"
    left = f'"{time_text(party.left_at)}"' if party.left_at else ended if answered else "null"
    return f'{party.role}","joined_at":{joined},"left_at":{left}'.encode()
