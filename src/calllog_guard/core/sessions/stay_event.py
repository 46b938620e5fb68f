"""
A stay as a call event: one party, one session, open while the call goes on; and what takes a stay back.

Rules: 1. The revision follows from what is known alone: more knowledge has the higher one, whatever the order.
       2. A stay has the same name whenever it is told: the session's, and when it began.
Source: docs/how-to/publish-an-event.md.
"""

from typing import Final

from calllog_guard.core.calls.event import CallEvent, Party, RemovedSession
from calllog_guard.core.codec import encode, from_ms, time_text
from calllog_guard.core.identifiers import Tenant
from calllog_guard.core.sessions.moment import Moment
from calllog_guard.core.sources.pairing import SessionMoments, Timed

_MOST_BYTES: Final = 256
_SPAN: Final = 1 << 40
"""Milliseconds: longer than any stay.  Below it are the estimates by the call's end or the limit."""
TAKEN_BACK: Final = 1 << 50
"""The revision of what never was: above that of any stay."""


def revision_of(stay: Timed, moments: SessionMoments) -> int:
    """
    Of two tellings of one stay the better known has the higher one.

    Open; closed by the call's end or the limit; closed by the session's own leave or next join. Of two ends of a kind
    the earlier counts: a later one was all that was known before. Of leave and join at one time the leave.
    """
    if stay.left_ms is None:
        return 0
    shortness = _SPAN - min(stay.left_ms - stay.joined_ms, _SPAN - 1)
    if not stay.estimated:
        return 2 * _SPAN + 2 * shortness + 1
    own = stay.joined_ms in moments.joined and any(at == stay.left_ms > stay.joined_ms for at in moments.joined)
    return 2 * _SPAN + 2 * shortness if own else shortness


def session_name(session: str, begun_ms: int, short: str) -> str:
    """The name of a stay; of a session whose own name leaves no room `short` stands, its keyed hash."""
    began = "@" + time_text(from_ms(begun_ms))
    return (session if len(session.encode()) + len(began) <= _MOST_BYTES else short) + began


def stay_event(tenant: Tenant, who: Moment, stay: Timed, moments: SessionMoments, short: str) -> bytes:
    """A stay of whoever `who` names, in our one JSON form: the same stay gives the same bytes."""
    party = Party(
        id=who.person,
        guest=who.person is None,
        role=who.role or "guest",
        session=session_name(who.session or "", stay.joined_ms, short),
        estimated=stay.estimated,
    )
    return encode(
        CallEvent(
            tenant=tenant,
            call_id=who.call,
            kind=who.kind or "video",
            outcome="answered",
            started_at=from_ms(stay.joined_ms),
            ended_at=None if stay.left_ms is None else from_ms(stay.left_ms),
            parties=(party,),
            revision=revision_of(stay, moments),
        )
    )


def removal_event(tenant: Tenant, who: Moment, begun_ms: int, short: str) -> bytes | None:
    """What takes back a stay of whoever `who` names; None: a guest leaves nothing that could be taken back."""
    if who.person is None:
        return None
    gone = RemovedSession(id=who.person, session=session_name(who.session or "", begun_ms, short))
    return encode(
        CallEvent(
            tenant=tenant,
            call_id=who.call,
            kind=who.kind or "video",
            outcome="answered",
            started_at=from_ms(begun_ms),
            ended_at=from_ms(begun_ms),
            parties=(),
            removed=(gone,),
            revision=TAKEN_BACK,
        )
    )
