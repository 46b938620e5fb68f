"""
A person's secrets and what they yield: pseudonym, token key, month keys.

Rules: 1. Secrets are random, never derived from identifiers.  2. One HKDF info per use, never one key for two uses.
       3. No secret prints itself; raw bytes need `expose()`.
Source: HMAC-SHA-256 (RFC 2104), HKDF-SHA-256 (RFC 5869); vectors in `tests/vectors/stored_v1.json`.
"""

import hmac
import secrets
from collections import deque
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from functools import lru_cache
from typing import Final, NewType, Self
from weakref import ref

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hmac import HMAC

from calllog_guard.core.identifiers import (
    ID_BYTES,
    LEG_LETTERS,
    CallId,
    CallRef,
    Lookup,
    Pseudonym,
    PurposePerson,
    SubjectId,
    Tenant,
    Token,
    b64,
    guest_id,
    id_text,
)

SECRET_BYTES: Final = 32
_INFO: Final = "calllog-guard/v1/"
_MARGIN_DAYS: Final = 31  # a leg lives until the sweep that follows its last day

Random = Callable[[int], bytes]
"""The source of random bytes; only vector tests pass another than the system's."""
Month = NewType("Month", int)
"""Months since year 0: `year * 12 + month - 1`; fits 16 bits until the year 5461."""


def month_of(year: int, month: int) -> Month:
    """The serial number of a calendar month."""
    return Month(year * 12 + month - 1)


def floor_month(day: date, keep_days: int) -> Month:
    """The oldest month that a purpose kept for so many days may still reach on a day, with a month to spare."""
    oldest = day - timedelta(days=keep_days + _MARGIN_DAYS)
    return month_of(oldest.year, oldest.month)


def month_text(month: Month) -> str:
    """As in the header of a leg: `2026-11`."""
    return f"{month // 12:04d}-{month % 12 + 1:02d}"


def month_from(text: str) -> Month:
    """The month that a text of the form `2026-11` (or a longer date) begins with."""
    return month_of(int(text[:4]), int(text[5:7]))


READY_MOST: Final = 20_000
"""
Ciphers and begun HMACs at once, some 10,000 people's: each is 0.8 to 2.5 KB of the library's, a key 56 bytes. What was
made first rests first, and is made anew in 2 microseconds.
"""
_READY: Final[deque["ref[Secret]"]] = deque()
"""Weak: whoever lets go of a key lets go of all that was made of it."""


def _is_ready(key: "Secret") -> None:
    _READY.append(ref(key))
    while len(_READY) > READY_MOST:
        before = _READY.popleft()()
        if before is not None and before is not key:
            before.rest()


class Secret:
    """32 secret bytes that never print themselves."""

    __slots__ = ("__weakref__", "_aes", "_raw")

    def __init__(self, raw: bytes) -> None:
        if len(raw) != SECRET_BYTES:
            raise ValueError(f"a secret is {SECRET_BYTES} bytes, found {len(raw)}")
        self._raw = raw
        self._aes: AESGCM | None = None

    @classmethod
    def mint(cls, random: Random = secrets.token_bytes) -> Self:
        """A new random secret."""
        return cls(random(SECRET_BYTES))

    def expose(self) -> bytes:
        """The raw bytes, for the one place that seals or stores them."""
        return self._raw

    def aes(self) -> AESGCM:
        """AES-256-GCM under it, made once for a while: see `READY_MOST`."""
        found = self._aes
        if found is None:
            found = self._aes = AESGCM(self._raw)
            _is_ready(self)
        return found

    def rest(self) -> None:
        """Let go of what was made of it: it is made anew where it is wanted again."""
        self._aes = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__}, {len(self._raw)} bytes>"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and hmac.compare_digest(self._raw, other._raw)

    def __hash__(self) -> int:
        return hash((type(self), self._raw))


_SHA256: Final = hashes.SHA256()
_UNSALTED: Final = HMAC(bytes(SECRET_BYTES), _SHA256)


def _hkdf(raw: bytes, info: bytes, salted: HMAC = _UNSALTED) -> bytes:
    """HKDF-SHA-256 of one block (RFC 5869, section 2): in half the time that the library's object for it takes."""
    extracting = salted.copy()
    extracting.update(raw)
    expanding = HMAC(extracting.finalize(), _SHA256)
    expanding.update(info + b"\x01")
    return expanding.finalize()


def derive(secret: Secret, use: str, size: int = SECRET_BYTES, *, beside: Secret | None = None) -> bytes:
    """
    HKDF-SHA-256 with an info of our own per use; without salt, or with a second secret as salt: both are needed.

    Args:
        size: At most 32.

    """
    salted = _UNSALTED if beside is None else HMAC(beside.expose(), _SHA256)
    return _hkdf(secret.expose(), (_INFO + use).encode(), salted)[:size]


class MacKey(Secret):
    """A key of HMAC-SHA-256 that is used for many messages: what depends on the key alone is computed once."""

    __slots__ = ("_begun",)

    def __init__(self, raw: bytes) -> None:
        super().__init__(raw)
        self._begun: HMAC | None = None

    def begun(self) -> HMAC:
        """An HMAC under it to copy, made once for a while."""
        found = self._begun
        if found is None:
            found = self._begun = HMAC(self._raw, _SHA256)
            _is_ready(self)
        return found

    def rest(self) -> None:
        """See Secret."""
        super().rest()
        self._begun = None

    def mac(self, message: bytes) -> bytes:
        """The 32 bytes of a message."""
        begun = self.begun().copy()
        begun.update(message)
        return begun.finalize()


class Pepper(MacKey):
    """A tenant's key for lookups."""

    __slots__ = ()

    def lookup(self, tenant: Tenant, subject: SubjectId) -> Lookup:
        """The keystore's key for a person: HMAC-SHA-256 over tenant, a zero byte, and the subject id."""
        return self.lookup_of(tenant)(subject)

    def lookup_of(self, tenant: Tenant) -> Callable[[SubjectId], Lookup]:
        """As `lookup`, for many: what depends on the tenant is computed once."""
        before = self.begun().copy()
        before.update(f"lookup\0{tenant}\0".encode())

        def lookup(subject: SubjectId) -> Lookup:
            begun = before.copy()
            begun.update(subject.encode())
            return Lookup(b64(begun.finalize()).decode())

        return lookup

    def person_for(self, purpose: str, lookup: Lookup) -> PurposePerson:
        """A person's name for the readers of one purpose: nobody can join two purposes by it, or one with the log."""
        message = b"person\x00" + purpose.encode() + b"\x00" + lookup.encode()
        return PurposePerson(id_text(self.mac(message)[:ID_BYTES]))

    def call_key(self) -> "CallKey":
        """The tenant's key for calls."""
        return CallKey(derive(self, "call"))


class CallKey(MacKey):
    """Names a tenant's calls to those who may not know their ids, and their guests."""

    __slots__ = ("_guests",)

    def __init__(self, raw: bytes) -> None:
        super().__init__(raw)
        self._guests: MacKey | None = None

    def guest(self, call: CallId, told: Sequence[str]) -> SubjectId:
        """The id of a guest of one call, by what tells them from its other guests; without the key nobody's guess."""
        if self._guests is None:
            self._guests = MacKey(derive(self, "guest"))
        return guest_id(self._guests.mac("\0".join((call, *told)).encode())[:ID_BYTES])

    def reference(self, call: CallId) -> CallRef:
        """The same for each party of a call; it does not open, and without the key no guess of the id can be tried."""
        return CallRef(id_text(self.mac(call.encode())[:ID_BYTES]))


class TokenKey(MacKey):
    """Names one person's legs."""

    __slots__ = ()

    def revised(self, token: Token, call: CallId, session: str, revision: int) -> Token:
        """The name of one revision of a leg: it begins as the leg's, and does not tell which revision it is."""
        own = id_text(self.mac(f"{call}\0{session}\0{revision}".encode())[:ID_BYTES])
        return Token(token[:LEG_LETTERS] + own[LEG_LETTERS:])

    def token(self, call: CallId, session: str = "") -> Token:
        """The name of this person's leg of a call, or of one session of it; without the secret it links to nothing."""
        return Token(id_text(self.token_bytes(call, session)))

    def token_bytes(self, call: CallId, session: str = "") -> bytes:
        """As `token`, before it is text: a unit's tokens are encoded at once."""
        begun = (self._begun or self.begun()).copy()  # as `mac`, without a call of its own: once for each leg
        begun.update(f"{call}\0{session}".encode() if session else call.encode())  # no id has a zero byte
        return begun.finalize()[:ID_BYTES]

    def tally_key(self) -> Secret:
        """Tells people apart in the count of lapsed legs (`core/retention/statistics.py`), and dies with the person."""
        return Secret(derive(self, "tally"))


class IdentitySecret(Secret):
    """Where a person's pseudonym and token key come from; exists in the keystore alone."""

    __slots__ = ()

    def pseudonym(self) -> Pseudonym:
        """The name of the person in the log, 22 characters."""
        return Pseudonym(id_text(derive(self, "pseudonym", ID_BYTES)))

    def token_key(self) -> TokenKey:
        """The key that names this person's legs."""
        return TokenKey(derive(self, "token-key"))

    def rules_key(self) -> Secret:
        """Seals what was decided about this person and stands for ever; it goes with the person."""
        return Secret(derive(self, "rules"))

    def case_tags_key(self) -> Secret:
        """Tells this person's cases from others'; it goes with the person."""
        return Secret(derive(self, "case-tags"))

    def case_words_key(self) -> Secret:
        """Wraps the keys of this person's cases, under which lies what officers said to them."""
        return Secret(derive(self, "case-words"))


class DataKey(Secret):
    """Seals one person's legs of one month."""

    __slots__ = ()


class Link(Secret):
    """One link of a data ratchet: yields its month's data key and later links (`link_at`), never a former one."""

    __slots__ = ()

    def data_key(self, month: Month) -> DataKey:
        """The key of this link's own month."""
        return DataKey(derive(self, "data/" + month_text(month)))


@lru_cache(1200)
def _link_info(month: Month) -> bytes:
    return f"{_INFO}link/{month_text(month)}".encode()


def link_at(link: Link, at: Month, wanted: Month) -> Link:
    """
    The ratchet moved on to a later month.

    Raises:
        ValueError: `wanted` lies before `at`; that month's key no longer exists.

    """
    if wanted < at:
        raise ValueError("the ratchet has moved past this month")
    raw = link.expose()
    for month in range(at + 1, wanted + 1):
        raw = _hkdf(raw, _link_info(Month(month)))
    return Link(raw)
