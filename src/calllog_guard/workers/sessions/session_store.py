"""
Sessions and calls of one partition on disk, and how far its topic was read: all of a unit is written at once.

Rows: `s` call, session -> state; `e` call -> state; `d` when it is due, call, session -> empty; `p` -> place.
Names are keyed hashes of 16 bytes. Whoever loses the rows reads the topic again.
Source: `core/sessions/session_state.py`.
"""

import struct
from collections.abc import Iterator
from itertools import islice
from typing import Final

import msgspec

from calllog_guard.core.identifiers import id_bytes, id_text
from calllog_guard.core.sessions.session_state import CALLS, FORM, NOTHING, SESSIONS, CallState, SessionState
from calllog_guard.ports.state import Rows

_DUE: Final = struct.Struct(">Q")
_PLACE: Final = b"p"
_NAME: Final = 16
_ENCODER: Final = msgspec.msgpack.Encoder()


class SessionName(tuple[str, str]):
    """The names of a call and of one of its sessions, 22 characters each; the second is empty where all is meant."""

    __slots__ = ()

    @property
    def call(self) -> str:
        """The call's."""
        return self[0]

    @property
    def session(self) -> str:
        """The session's."""
        return self[1]

    @property
    def raw(self) -> bytes:
        """As rows name it."""
        return b"".join(id_bytes(each) for each in self if each)


class StoredPlace(msgspec.Struct, frozen=True, array_like=True):
    """
    Up to where the rows say what their topic says.

    Args:
        topic: Kafka's id of it.
        now_ms: The latest time that a broker has stamped; `known_from_ms` is since when nothing is missing.

    """

    form: int
    topic: str
    offset: int
    now_ms: int
    known_from_ms: int


_PLACES: Final = msgspec.msgpack.Decoder(StoredPlace)


class SessionStore:
    """The rows of one partition, and the changes of a unit; nothing of these is on disk before `commit`."""

    def __init__(self, rows: Rows, place: StoredPlace) -> None:
        self._rows, self.place = rows, place
        self._sessions: dict[SessionName, tuple[SessionState, SessionState | None]] = {}
        self._calls: dict[SessionName, tuple[CallState | None, CallState | None]] = {}

    @staticmethod
    def place_in(rows: Rows) -> StoredPlace | None:
        """Where rows were left; None: nowhere, or in another form."""
        raw = rows.get(_PLACE)
        if raw is None:
            return None
        try:
            found = _PLACES.decode(raw)
        except msgspec.MsgspecError:
            return None
        return found if found.form == FORM else None

    def begin(self) -> None:
        """Forget what was not committed: a unit begins, perhaps once more."""
        self._sessions.clear()
        self._calls.clear()

    # --- one ----------------------------------------------------------------------------------------------------------

    def session(self, name: SessionName) -> SessionState:
        """What is known of a session, with the changes of this unit."""
        known = self._sessions.get(name)
        if known is None:
            raw = self._rows.get(b"s" + name.raw)
            before = NOTHING if raw is None else SESSIONS.decode(raw)
            known = self._sessions[name] = before, before
        return known[1] or NOTHING

    def stored(self, name: SessionName) -> SessionState:
        """What was known of a session before this unit."""
        self.session(name)
        return self._sessions[name][0]

    def put_session(self, name: SessionName, state: SessionState | None) -> None:
        """Change a session; None: forget it."""
        self._sessions[name] = self.stored(name), state

    def call(self, name: SessionName) -> CallState | None:
        """What is known of a call as a whole, likewise."""
        known = self._calls.get(name)
        if known is None:
            raw = self._rows.get(b"e" + name.raw)
            before = None if raw is None else CALLS.decode(raw)
            known = self._calls[name] = before, before
        return known[1]

    def put_call(self, name: SessionName, state: CallState | None) -> None:
        """Change a call; None: forget it."""
        self.call(name)
        self._calls[name] = self._calls[name][0], state

    # --- some ---------------------------------------------------------------------------------------------------------

    @property
    def changed(self) -> list[SessionName]:
        """The sessions that this unit has looked at."""
        return list(self._sessions)

    def sessions_of(self, call: str) -> list[SessionName]:
        """Every session of a call that is known, also by this unit alone."""
        prefix = b"s" + id_bytes(call)
        found = [
            SessionName((call, id_text(key[1 + _NAME :]))) for key, _ in self._rows.begin(prefix) if len(key) > _NAME
        ]
        return list(dict.fromkeys([*found, *(name for name in self._sessions if name.call == call)]))

    def due(self, now_ms: int, most: int) -> list[SessionName]:
        """So many sessions and calls at most that are due, as they were before this unit."""
        return list(islice(self._due(now_ms), most))

    def _due(self, now_ms: int) -> Iterator[SessionName]:
        for key, _ in self._rows.begin(b"d"):
            if _DUE.unpack_from(key, 1)[0] > now_ms:
                return
            raw = key[1 + _DUE.size :]
            yield SessionName((id_text(raw[:_NAME]), id_text(raw[_NAME:]) if raw[_NAME:] else ""))

    # --- disk ---------------------------------------------------------------------------------------------------------

    def commit(self, place: StoredPlace) -> None:
        """Write the changes, with the place, at once."""
        rows: dict[bytes, bytes | None] = {}
        for name, (before, now) in self._sessions.items():
            self._changed(rows, b"s", name, None if before is NOTHING else before, now)
        for name, (was, call) in self._calls.items():
            self._changed(rows, b"e", name, was, call)
        rows[_PLACE] = _ENCODER.encode(place)
        self._rows.write(rows)
        self.place = place
        self.begin()

    @staticmethod
    def _changed(
        rows: dict[bytes, bytes | None],
        kind: bytes,
        name: SessionName,
        before: SessionState | CallState | None,
        now: SessionState | CallState | None,
    ) -> None:
        if now is before or (now is NOTHING and before is None):
            return
        raw = name.raw
        if before is not None:
            rows[b"d" + _DUE.pack(before.due_ms) + raw] = None
        rows[kind + raw] = None if now is None else _ENCODER.encode(now)
        if now is not None:
            rows[b"d" + _DUE.pack(now.due_ms) + raw] = b""

    def forget(self) -> None:
        """Make sure that removed rows leave the files."""
        self._rows.forget()

    def close(self) -> None:
        """Let go of the files."""
        self._rows.close()
