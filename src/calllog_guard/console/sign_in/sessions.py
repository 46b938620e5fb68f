"""
Who is signed in: links that work once, sessions in memory, the tokens of forms, and a brake on guesses.

Rules: 1. A link, a session, a token is random or made with a key of this process: nothing of it outlives the process.
       2. What does not count any more is not told from what never did.
       3. Of a link and of a session only a digest is kept: whoever reads this memory later cannot sign in by it.
Source: OWASP ASVS 4.0.3, V3 (sessions), V4.2.2 (forms), V2.2.1 (guesses); RFC 6265bis.
"""

import hashlib
import hmac
import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from calllog_guard.core.identifiers import b64

LINK_LIFE: Final = timedelta(minutes=5)
IDLE: Final = timedelta(minutes=30)
"""After so long without a page a session is over; ASVS V3.3.2 at level 2."""
LONGEST: Final = timedelta(hours=8)
"""After so long it is over whatever happens: a working day. ASVS V3.3.2 would let 12 hours pass."""
GUESSES: Final = 10
GUESSED_IN: Final = timedelta(minutes=5)
_MOST: Final = 100
"""Sessions at once; the one that was used longest ago makes room."""
_PEERS: Final = 1000
_BYTES: Final = 32
Now = Callable[[], datetime]


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


@dataclass(slots=True)
class Session:
    """Somebody who is signed in: the officer by the name of the key, since when, and when the last page was asked."""

    officer: str
    began: datetime
    used: datetime


class SignInLinks:
    """Links, each of which lets one officer in once."""

    def __init__(self, now: Now) -> None:
        self._now = now
        self._made: dict[bytes, tuple[str, datetime]] = {}

    def new(self, officer: str) -> str:
        """A code for an officer; the officer's older ones end with it."""
        self._made = {code: found for code, found in self._made.items() if found[0] != officer}
        code = b64(secrets.token_bytes(_BYTES)).decode()
        self._made[_digest(code)] = officer, self._now() + LINK_LIFE
        return code

    def taken(self, code: str) -> str | None:
        """Whom a code lets in; it does so once."""
        officer, until = self._made.pop(_digest(code), (None, self._now()))
        return officer if officer is not None and self._now() < until else None


class SignedIn:
    """Who is signed in, by signed cookies."""

    def __init__(self, now: Now) -> None:
        self._now, self._key = now, secrets.token_bytes(_BYTES)
        self._found: dict[bytes, Session] = {}

    def begin(self, officer: str) -> str:
        """Sign an officer in; what the cookie says."""
        name, at = b64(secrets.token_bytes(_BYTES)).decode(), self._now()
        if len(self._found) >= _MOST:
            del self._found[min(self._found, key=lambda each: self._found[each].used)]
        self._found[_digest(name)] = Session(officer, at, at)
        return f"{name}.{self._mac('session', name)}"

    def found(self, cookie: str) -> Session | None:
        """Whose cookie it is; it counts as used now."""
        name, at = self._name(cookie), self._now()
        session = self._found.get(_digest(name)) if name else None
        if session is None or at >= session.used + IDLE or at >= session.began + LONGEST:
            self.end(cookie)
            return None
        session.used = at
        return session

    def end(self, cookie: str) -> None:
        """Sign out."""
        if name := self._name(cookie):
            self._found.pop(_digest(name), None)

    def end_all(self, officer: str) -> None:
        """Sign an officer out everywhere."""
        self._found = {name: each for name, each in self._found.items() if each.officer != officer}

    def token(self, cookie: str) -> str:
        """What each form of a session, or of a sign-in, bears."""
        return self._mac("form", cookie)

    def bears(self, cookie: str, token: str) -> bool:
        """Whether a form is of this session, or of this sign-in."""
        return bool(cookie) and hmac.compare_digest(self.token(cookie).encode(), token.encode())

    def new_mark(self) -> str:
        """The cookie of somebody who is about to sign in."""
        return b64(secrets.token_bytes(_BYTES)).decode()

    def _name(self, cookie: str) -> str | None:
        name, _, mac = cookie.partition(".")
        return name if name and hmac.compare_digest(self._mac("session", name).encode(), mac.encode()) else None

    def _mac(self, use: str, text: str) -> str:
        return b64(hmac.digest(self._key, f"{use}\n{text}".encode(), "sha256")).decode()


class Throttle:
    """
    How often somebody has done something, by who it is; too often: they are not heard for a while.

    Args:
        most: So often within `within` is not yet too often.

    """

    def __init__(self, now: Now, most: int = GUESSES, within: timedelta = GUESSED_IN) -> None:
        self._now, self._most, self._within = now, most, within
        self._done: dict[str, deque[datetime]] = {}

    def too_many(self, who: str) -> bool:
        """Whether they are not heard."""
        found, since = self._done.get(who, deque()), self._now() - self._within
        while found and found[0] <= since:
            found.popleft()
        return len(found) >= self._most

    def note(self, who: str) -> None:
        """Once more."""
        if who not in self._done and len(self._done) >= _PEERS:
            self._done.pop(next(iter(self._done)))
        self._done.setdefault(who, deque(maxlen=self._most)).append(self._now())
