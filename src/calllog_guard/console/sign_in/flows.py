"""
A sign-in that is under way at an identity provider: what binds its end to its beginning, and to one browser.

Rules: 1. State, nonce and verifier follow from the browser's cookie by a key of this process: nothing is kept of who
          only begins.  2. A sign-in ends once, in the browser that began it, within minutes.
Source: RFC 7636 (PKCE, S256); RFC 9700, 2.1 and 4.7; OpenID Connect Core 1.0, 15.5.2.
"""

import hashlib
import hmac
import secrets
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from calllog_guard.console.sign_in.sessions import Now
from calllog_guard.core.identifiers import b64

FLOW_LIFE: Final = timedelta(minutes=10)
_MOST: Final = 10_000
"""Ended sign-ins that are remembered; the oldest makes room: the provider takes no code twice either."""
_BYTES: Final = 32


class Flow(NamedTuple):
    """What one sign-in says to the provider, and expects of it."""

    state: str
    nonce: str
    verifier: str

    @property
    def challenge(self) -> str:
        """What the provider is shown of the verifier."""
        return _text(hashlib.sha256(self.verifier.encode()).digest())


class Flows:
    """The sign-ins of this process."""

    def __init__(self, now: Now) -> None:
        self._now, self._key = now, secrets.token_bytes(_BYTES)
        self._ended: dict[bytes, datetime] = {}

    def new(self) -> tuple[str, Flow]:
        """The cookie of a browser that begins, and what belongs to it."""
        name = f"{_text(secrets.token_bytes(_BYTES))}.{int(self._now().timestamp())}"
        return f"{name}.{self._mac('flow', name)}", self._flow(name)

    def of(self, cookie: str) -> Flow | None:
        """What belongs to a cookie of ours that is in time."""
        name, _, mac = cookie.rpartition(".")
        if not name or not hmac.compare_digest(self._mac("flow", name).encode(), mac.encode()):
            return None
        if self._now().timestamp() >= int(name.rpartition(".")[2]) + FLOW_LIFE.total_seconds():
            return None
        return self._flow(name)

    def ended(self, cookie: str, state: str) -> Flow | None:
        """The sign-in that a browser comes back from, once; None: another's, an old one, one that has ended."""
        found = self.of(cookie)
        if found is None or not hmac.compare_digest(found.state.encode(), state.encode()):
            return None
        name, now = hashlib.sha256(cookie.encode()).digest(), self._now()
        if name in self._ended:
            return None
        while self._ended:  # the first of them ends first
            first = next(iter(self._ended))
            if now < self._ended[first] and len(self._ended) < _MOST:
                break
            del self._ended[first]
        self._ended[name] = now + FLOW_LIFE
        return found

    def _flow(self, name: str) -> Flow:
        return Flow(*(self._mac(use, name) for use in ("state", "nonce", "verifier")))

    def _mac(self, use: str, text: str) -> str:
        return _text(hmac.digest(self._key, f"{use}\n{text}".encode(), "sha256"))


def _text(raw: bytes) -> str:
    return b64(raw).decode()
