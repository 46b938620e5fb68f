"""
What is known of one session and of one call while they are paired, and when each must be looked at again.

Rules: 1. The same moments, in whatever order and however often, make the same state; nothing here asks for the time.
       2. Time passes as brokers stamp records: a state that is built anew is the one that was lost.
       3. A state says in clear when somebody came and went.  Who it was is sealed in it, as it lay in the log.
       4. What nothing was heard of for twice the limit is forgotten.
Not here: what is stored where (`workers/sessions/session_store.py`), what is told of it (`stay_event.py`).
"""

from typing import Final

import msgspec

from calllog_guard.core.codec import to_ms
from calllog_guard.core.sessions.moment import Moment, NamingKey
from calllog_guard.core.sources.pairing import SessionMoments, Timed, noted, stays
from calllog_guard.errors import MessageError

FORM: Final = 1
"""Of the rows: those of another form are built anew from the topic."""
GRACE_MS: Final = 2 * 3_600_000
"""So long after its last moment nothing is concluded from what is missing: platforms deliver again for 90 minutes."""
MOST_ENDS: Final = 200
"""Of one call, each at another time."""
_DIGEST: Final = 8


class SessionState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """
    One session; all times in milliseconds since 1970.

    Args:
        told: Its stays as they were told last.
        settled_ms: Up to when time has passed for it: what had not come by then counts as missing.
        seen_ms: When its last moment was appended.
        due_ms: When it must be looked at next.
        rank: How well `sealed` says who it is: of two the higher counts. It names nobody.
        sealed: The moment that says who it is, as it lay in the log.

    """

    joined: tuple[int, ...]
    left: tuple[int, ...]
    told: tuple[Timed, ...]
    settled_ms: int
    seen_ms: int
    due_ms: int
    rank: bytes
    sealed: bytes

    @property
    def moments(self) -> SessionMoments:
        """When it began and ended."""
        return SessionMoments(self.joined, self.left)


class CallState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One call: when all of it ended, and as of a session."""

    ends: tuple[int, ...]
    seen_ms: int
    due_ms: int


SESSIONS: Final = msgspec.msgpack.Decoder(SessionState)
CALLS: Final = msgspec.msgpack.Decoder(CallState)
NOTHING: Final = SessionState((), (), (), 0, 0, 0, b"", b"")


def rank_of(moment: Moment, names: NamingKey) -> bytes:
    """How well a moment says who it is of; of two that say it as well, always the same one."""
    said = bytes([moment.person is not None, moment.what == "joined", moment.role is not None])
    return said + identity_of(moment, names)


def identity_of(moment: Moment, names: NamingKey) -> bytes:
    """What is the same in moments that say the same of somebody; without the key it says nothing."""
    text = "\0".join(("identity", moment.person or "", moment.role or "", moment.kind or ""))
    return names.mac(text.encode())[:_DIGEST]


def same_identity(one: bytes, other: bytes) -> bool:
    """Whether two ranks are of the same words about somebody."""
    return one[-_DIGEST:] == other[-_DIGEST:]


def learned(state: SessionState, moment: Moment, appended_ms: int, rank: bytes, sealed: bytes) -> SessionState:
    """
    A session with one more of its moments; one that is known changes nothing but how long it is remembered.

    Raises:
        MessageError: `too_many`; the moment is dead-lettered.

    """
    known = noted(state.moments, moment.notification)
    if rank < state.rank:
        rank, sealed = state.rank, state.sealed
    seen_ms = max(state.seen_ms, appended_ms)
    return SessionState(known.joined, known.left, state.told, state.settled_ms, seen_ms, state.due_ms, rank, sealed)


def ended(state: CallState | None, moment: Moment, appended_ms: int) -> CallState:
    """
    A call with one more of its ends.

    Raises:
        MessageError: `too_many`; the moment is dead-lettered.

    """
    state, at = state or CallState((), 0, 0), to_ms(moment.at)
    if at not in state.ends and len(state.ends) >= MOST_ENDS:
        raise MessageError("too_many", "/at")
    return CallState(tuple(sorted({*state.ends, at})), max(state.seen_ms, appended_ms), state.due_ms)


def stays_of(state: SessionState, ends: tuple[int, ...], limit_ms: int, known_from_ms: int) -> tuple[Timed, ...]:
    """
    The stays of a session, as far as they can be told.

    Args:
        known_from_ms: Since when all is known: a leave whose beginning may have been before that is no stay.

    """
    found = stays(state.moments, ends, state.settled_ms, limit_ms)
    return tuple(stay for stay in found if stay.joined_ms in state.joined or stay.joined_ms - limit_ms >= known_from_ms)


def told(state: SessionState, found: tuple[Timed, ...], limit_ms: int) -> SessionState:
    """A session whose stays are told, with when it must be looked at next."""
    shown = {stay.joined_ms: stay for stay in found}
    paired = {stay.left_ms for stay in found}
    waits = [at for at in state.joined if at not in shown or shown[at].left_ms is None]
    waits += [at for at in state.left if at not in paired]
    coming = [at + limit_ms for at in waits if at + limit_ms > state.settled_ms]
    due = max(min(coming), state.seen_ms + GRACE_MS) if coming else lapses_at(state.seen_ms, limit_ms)
    return msgspec.structs.replace(state, told=found, due_ms=due)


def lapses_at(seen_ms: int, limit_ms: int) -> int:
    """When it is forgotten."""
    return seen_ms + 2 * limit_ms + GRACE_MS


def lapsed(state: SessionState, now_ms: int, limit_ms: int) -> bool:
    """Whether nothing was heard of a session for so long that it is forgotten: once nothing of it waits any more."""
    return state.due_ms == lapses_at(state.seen_ms, limit_ms) <= now_ms


def later(state: SessionState, now_ms: int) -> SessionState:
    """A session for which time has passed."""
    return msgspec.structs.replace(state, settled_ms=max(state.settled_ms, now_ms))
