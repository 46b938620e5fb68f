"""
Every type of request as a typed function.

In: what the type takes.  Out: a draft, or whatever a subclass makes of one (`Privacy.erase` signs, seals and sends it).
Rules: 1. The desk's table `TYPES` says what a type takes; a function takes no more.  2. A `jti` names the request for
          ever: with the same one it is the same request.
Source: `schemas/request.json`; docs/how-to/send-an-erasure.md.
"""

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Final, Generic, Literal, TypedDict, TypeVar, Unpack, cast

from calllog_guard.core.codec import time_text
from calllog_guard.core.crypto.jose import public_forms
from calllog_guard.core.requests.fields import ClockEvent, Notify
from calllog_guard.core.requests.types import Kind, NoticeKind
from calllog_guard.errors import ConfigurationError

Sent = TypeVar("Sent")
Identity = Literal["verified", "unverified"]
Moment = datetime | str
Days = tuple[date | str | None, date | str | None]
"""The first and the last day of the calls' start in UTC, both inclusive; None: open."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A request that is not signed yet: its type, its `jti`, and what it says beside."""

    kind: Kind
    jti: str
    claims: Mapping[str, Any] = field(repr=False)


class Common(TypedDict, total=False):
    """What every type takes: `jti` (default: a new one), your own `ticket`, and when it came (default: now)."""

    jti: str
    ticket: str
    received_at: Moment


class Held(Common, total=False):
    """What an order to preserve says beside: which days, and whether it is secret."""

    range: Days | None
    secret: bool | None


class Disclosed(Common, total=False):
    """What a disclosure says beside: when it is looked at again, which days, of which hold."""

    review_at: Moment | None
    range: Days | None
    hold: str | None


def _rest(terms: Mapping[str, Any], *own: str) -> Common:
    return cast("Common", {name: value for name, value in terms.items() if name not in own})


def new_jti() -> str:
    """A name that no other request has; `_` would be mistaken for other things on terminals."""
    return secrets.token_urlsafe(16).replace("_", "-")


class Requests(Generic[Sent]):
    """One function for each type of request; a subclass says what becomes of its draft."""

    def _made(self, draft: Draft) -> Sent:
        raise NotImplementedError

    def _ask(self, kind: Kind, common: Common, **claims: Any) -> Sent:
        said = {name: value for name, value in (dict(common) | claims).items() if value is not None}
        jti = str(said.pop("jti", None) or new_jti())
        return self._made(Draft(kind, jti, {name: _plain(value) for name, value in said.items()}))

    def _about(self, kind: Kind, subjects: Iterable[str], identity: Identity, common: Common, **claims: Any) -> Sent:
        if isinstance(subjects, str):
            raise ConfigurationError('subjects is a list of identifiers, all of one person: ["alice@example.org"]')
        return self._ask(kind, common, subjects=list(subjects), identity=identity, **claims)

    def erase(
        self,
        subjects: Iterable[str],
        *,
        identity: Identity,
        range: Days | None = None,  # noqa: A002
        **common: Unpack[Common],
    ) -> Sent:
        """Erase a person, or with `range` the calls of some days (Art. 17)."""
        return self._about("erase", subjects, identity, common, range=_days(range))

    def access(
        self, subjects: Iterable[str], reply_key: bytes | Mapping[str, str], *, identity: Identity,
        range: Days | None = None, **common: Unpack[Common],  # noqa: A002
    ) -> Sent:  # fmt: skip
        """Give a person what is stored (Art. 15), sealed to `reply_key`: a public X25519 key, PEM or JWK."""
        return self._about("access", subjects, identity, common, reply_key=_jwk(reply_key), range=_days(range))

    def portability(
        self, subjects: Iterable[str], reply_key: bytes | Mapping[str, str], *, identity: Identity,
        range: Days | None = None, **common: Unpack[Common],  # noqa: A002
    ) -> Sent:  # fmt: skip
        """Give a person what they provided (Art. 20); see `access`."""
        return self._about("portability", subjects, identity, common, reply_key=_jwk(reply_key), range=_days(range))

    def rectify(
        self, subjects: Iterable[str], call_id: str | tuple[str, str], *, identity: Identity,
        role: str | None = None, joined_at: Moment | None = None, left_at: Moment | None = None,
        **common: Unpack[Common],
    ) -> Sent:  # fmt: skip
        """Correct a person's part of one call, or, where `call_id` is a pair, of that session of the call (Art. 16)."""
        call, session = (call_id, None) if isinstance(call_id, str) else call_id
        given = {
            "call_id": call,
            "session": session,
            "role": role,
            "joined_at": _plain(joined_at),
            "left_at": _plain(left_at),
        }
        facts = {name: value for name, value in given.items() if value is not None}
        return self._about("rectify", subjects, identity, common, facts=facts)

    def restrict(
        self, subjects: Iterable[str], *, identity: Identity, ground: str | None = None, **common: Unpack[Common]
    ) -> Sent:
        """Open a person's calls to nobody (Art. 18)."""
        return self._about("restrict", subjects, identity, common, ground=ground)

    def lift(
        self, subjects: Iterable[str], *, identity: Identity, ground: str | None = None, case: str | None = None,
        **common: Unpack[Common],
    ) -> Sent:  # fmt: skip
        """End a restriction."""
        return self._about("lift", subjects, identity, common, ground=ground, case=case)

    def object(
        self, subjects: Iterable[str], purposes: Iterable[str], *, identity: Identity, ground: str | None = None,
        **common: Unpack[Common],
    ) -> Sent:  # fmt: skip
        """Object to purposes (Art. 21)."""
        return self._about("object", subjects, identity, common, purposes=list(purposes), ground=ground)

    def withdraw(
        self, subjects: Iterable[str], purposes: Iterable[str], *, identity: Identity, **common: Unpack[Common]
    ) -> Sent:
        """Withdraw consent to purposes (Art. 7(3))."""
        return self._about("withdraw", subjects, identity, common, purposes=list(purposes))

    def consent(
        self, subjects: Iterable[str], purposes: Iterable[str], *, identity: Identity, time: Moment, wording: str,
        **common: Unpack[Common],
    ) -> Sent:  # fmt: skip
        """Record consent to purposes: when it was given, and to which words."""
        return self._about("consent", subjects, identity, common, purposes=list(purposes), time=time, wording=wording)

    def hold(
        self,
        subjects: Iterable[str],
        name: str,
        *,
        authority: str,
        basis: str,
        review_at: Moment,
        identity: Identity,
        **terms: Unpack[Held],
    ) -> Sent:
        """Preserve a person's calls under an order of `name`."""
        order = {"id": name, "authority": authority, "basis": basis, "review_at": _plain(review_at)}
        more = {"range": _days(terms.get("range")), "secret": terms.get("secret")}
        order |= {word: value for word, value in more.items() if value is not None}
        return self._about("hold", subjects, identity, _rest(terms, "range", "secret"), hold=order)

    def release(self, name: str, *, subjects: Iterable[str] = (), **common: Unpack[Common]) -> Sent:
        """End a hold, or what it holds of some people."""
        return self._ask("release", common, hold={"id": name}, subjects=list(subjects) or None)

    def disclose(
        self, subjects: Iterable[str], reply_key: bytes | Mapping[str, str], *, authority: str, basis: str,
        notify: Notify, identity: Identity, **terms: Unpack[Disclosed],
    ) -> Sent:  # fmt: skip
        """Give an authority what the law lets it have, sealed to its key."""
        claims: dict[str, Any] = {"authority": authority, "basis": basis, "reply_key": _jwk(reply_key)}
        claims |= {"notify": notify, "review_at": terms.get("review_at"), "range": _days(terms.get("range"))}
        claims["hold"] = {"id": terms["hold"]} if terms.get("hold") else None
        return self._about("disclose", subjects, identity, _rest(terms, "review_at", "range", "hold"), **claims)

    def approve(self, case: str, *, ground: str | None = None, **common: Unpack[Common]) -> Sent:
        """Grant a case that waits for an officer."""
        return self._ask("approve", common, case=case, ground=ground)

    def refuse(self, case: str, ground: str, **common: Unpack[Common]) -> Sent:
        """Refuse a case that waits for an officer, with reasons."""
        return self._ask("refuse", common, case=case, ground=ground)

    def clock(
        self, case: str, event: ClockEvent, *, ground: str | None = None, to: str | None = None,
        notice: NoticeKind | None = None, review_at: Moment | None = None, **common: Unpack[Common],
    ) -> Sent:  # fmt: skip
        """Say what happened to a case: its identity was shown, a fee was paid, a notice was received, and so on."""
        return self._ask(
            "clock", common, case=case, event=event, ground=ground, to=to, notice=notice, review_at=review_at
        )

    def complain(self, ground: str, *, subjects: Iterable[str] = (), **common: Unpack[Common]) -> Sent:
        """Put a complaint on record (DPA 2018 s.164A)."""
        return self._ask("complain", common, ground=ground, subjects=list(subjects) or None)

    def same_as(
        self, subjects: Iterable[str], *, identity: Identity, ground: str | None = None, **common: Unpack[Common]
    ) -> Sent:
        """Say that identifiers are one person, each of them verified: what is asked under one then reaches all."""
        return self._about("same_as", subjects, identity, common, ground=ground)

    def not_same_as(
        self, subjects: Iterable[str], *, identity: Identity, ground: str | None = None, **common: Unpack[Common]
    ) -> Sent:
        """End what a `same_as` has said of these identifiers; what was done stays."""
        return self._about("not_same_as", subjects, identity, common, ground=ground)


class Drafts(Requests[Draft]):
    """Requests that are not sent yet: for `privacy.check` and `privacy.send`."""

    def _made(self, draft: Draft) -> Draft:
        return draft


drafts: Final = Drafts()
"""`drafts.erase([...], identity="verified")` and its like."""


def _plain(value: Any) -> Any:
    if not isinstance(value, datetime):
        return value
    if value.tzinfo is None:
        raise ConfigurationError("a time needs a zone: datetime.now(UTC), or text as 2026-11-24T09:00:00Z")
    return time_text(value)


def _days(range_: Days | None) -> dict[str, str] | None:
    if range_ is None:
        return None
    ends = zip(("from", "to"), range_, strict=True)
    return {name: day.isoformat() if isinstance(day, date) else day for name, day in ends if day is not None}


def _jwk(key: bytes | Mapping[str, str]) -> dict[str, str]:
    if isinstance(key, Mapping):
        return dict(key)
    try:
        found = public_forms(key)[1]
    except ValueError:
        found = {}
    if found.get("crv") != "X25519" or b"PRIVATE" in key:
        raise ConfigurationError("reply_key is no public X25519 key in PEM: calllog-guard key new NAME makes a pair")
    return found
