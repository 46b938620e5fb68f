"""
Who reads, by keys that the policy registers: whether a read may begin, and whether a record of an access is believed.

Rules: 1. From the first registered key on all readers sign: no later version takes it back, whatever it says of actors.
       2. A record is judged by when the broker appended it: a holder of a revoked key can date what it writes at will.
       3. A name keeps its key (`checks.py`). Who is dropped from the policy is believed to that day's end, by `until`
          to that moment.  4. What was written before is believed as it always was, and told apart from what is proven.
       5. An actor is believed within what it may do: its purposes, in the version in force. Of its reads it can say too
          much, against itself; nobody else can say it in its name.
Source: docs/how-to/read-the-log.md; GDPR Art. 15(1)(c), 19.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from typing import Final, NamedTuple

from calllog_guard.core.audit.accesses import (
    Account,
    Doubt,
    denies,
    digest,
    named_in,
    place_of,
    proves,
    public_bytes,
    read_access,
)
from calllog_guard.core.codec import Access, check_year, from_ms
from calllog_guard.core.identifiers import Tenant, b64
from calllog_guard.core.policy.changes.publication import KeyOf
from calllog_guard.core.policy.form import Actor, TenantPolicy, Version
from calllog_guard.errors import MessageError, NewerFormError, RecordError, StateRefusedError

DEAD_LETTERS: Final = "dead_letters"
"""The purpose of whoever opens dead letters, which is none of the policy's: any registered actor may have it."""
CASE_VIEW: Final = "case_view"
"""The purpose of a console that shows an officer a case, likewise; no leg is opened for it."""
ANSWER_VIEW: Final = "answer_view"
"""That of one that hands an officer the sealed answer of a case."""
_AHEAD: Final = timedelta(minutes=5)
"""So far a reader's clock may be ahead of the broker's."""
_LATE: Final = timedelta(minutes=1)
"""What was signed before the key lapsed is appended that much later at most."""
_NAME: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}\Z|\?\Z")
"""A name that a policy can have, or none: anything else is no reader of ours, and would be in answers and reports."""
_REMEDY: Final = "calllog-guard key register --role actor"


class Registered(NamedTuple):
    """An actor's key: 32 bytes, and from when to when it counts."""

    public: bytes
    since: datetime
    until: datetime | None


def registered(actor: Actor | None, key_of: KeyOf) -> Registered | None:
    """What the policy registers of an actor; None: no key."""
    if actor is None or not isinstance(actor.key, str) or not isinstance(actor.since, datetime):
        return None
    until = actor.until if isinstance(actor.until, datetime) else None
    return Registered(public_bytes(key_of(actor.key)), actor.since, until)


class Actors:
    """
    The actors of a tenant over all versions of its policy.

    Args:
        versions: With the revisions that others have replaced, oldest first.

    """

    def __init__(self, versions: Sequence[Version], tenant: Tenant, key_of: KeyOf) -> None:
        self._tables = [(each.effective, each.tenant[tenant]) for each in versions if tenant in each.tenant]
        self._key_of = key_of
        self._names = {name for _, table in self._tables for name in table.actors}
        self._known: dict[tuple[str, date], Registered | None] = {}
        starts = [
            max(actor.since, datetime.combine(day, time(), UTC))
            for day, table in self._tables
            for actor in table.actors.values()
            if isinstance(actor.key, str) and isinstance(actor.since, datetime)
        ]
        self.proven_from = min(starts, default=None)

    @cached_property
    def digest(self) -> str:
        """Another one where other keys or rights are registered: what was believed by these may not be by those."""
        told, before = hashlib.sha256(), ""
        for day, table in self._tables:
            found = {
                name: (each.purposes, registered(each, self._key_of)) for name, each in sorted(table.actors.items())
            }
            if (text := repr(found)) != before:
                told.update(f"{day} {text}\n".encode())
            before = text
        return b64(told.digest()[:16]).decode()

    def must_prove(self, now: datetime) -> bool:
        """Whether whoever reads must sign by now."""
        return self.proven_from is not None and now >= self.proven_from

    def check(self, name: str, actor: Actor, public: bytes | None, now: datetime) -> None:
        """
        Whether somebody with a key, or with none, is this actor of the policy in force.

        Raises:
            StateRefusedError: What was found, and what to do.

        """
        mine = registered(actor, self._key_of)
        if mine is None:
            if self.must_prove(now):
                raise StateRefusedError(
                    f"no key of {name} is registered, and since {self.proven_from:%Y-%m-%d %H:%M} UTC whoever reads "
                    f"proves who they are: {_REMEDY} {name}"
                )
            return
        if public is not None and public != mine.public:
            raise StateRefusedError(
                f"the key is not the one that the policy registers for {name}: read with {name}'s own (calllog-guard "
                f"key public {name} shows its fingerprint)"
            )
        if mine.until is not None and now >= mine.until:
            raise StateRefusedError(
                f"the key of {name} has lapsed, or was revoked, on {mine.until:%Y-%m-%d %H:%M} UTC: calllog-guard key "
                f"rotate {name}"
            )
        if self.must_prove(now) and (public is None or now < mine.since):
            found = "no key was given" if public is None else f"its key counts from {mine.since:%Y-%m-%d %H:%M} UTC on"
            raise StateRefusedError(
                f"{name} has to prove who it is, and {found}: name its private key, --key PEM or "
                "CALLLOG_GUARD_ACTOR_KEY"
            )

    @cached_property
    def bits(self) -> dict[str, int]:
        """By which bit a record's header names each purpose that a version has."""
        return {name: 1 << (each.number - 1) for _, table in self._tables for name, each in table.purposes.items()}

    def named(self, public: bytes, now: datetime) -> str | None:
        """Whose key that is in the policy in force, and counts now."""
        for table in self._around(now.date(), timedelta(0)):
            for name, actor in table.actors.items():
                mine = registered(actor, self._key_of)
                if mine and mine.public == public and mine.since <= now and (mine.until is None or now < mine.until):
                    return name
            break
        return None

    def at(self, name: str, moment: datetime) -> Registered | None:
        """The key of an actor as the version then in force has it, or one that was in force on the day before."""
        place = name, moment.date()
        if name not in self._names:
            return None
        if place not in self._known:
            found = (registered(table.actors.get(name), self._key_of) for table in self._around(moment.date()))
            self._known[place] = next(filter(None, found), None)
        return self._known[place]

    def may(self, name: str, purpose: str, moment: datetime) -> bool:
        """Whether an actor might read for a purpose then."""
        rights = (table.actors.get(name) for table in self._around(moment.date()))
        return any(actor is not None and purpose in actor.purposes for actor in rights)

    def _around(self, day: date, back: timedelta = timedelta(1)) -> Iterator[TenantPolicy]:
        """The tables that were in force on a day, or so long before, the newest first."""
        newest: date | None = None
        for effective, table in reversed(self._tables):
            if effective > day:
                continue
            if newest is not None and newest <= day - back:
                return
            newest = effective
            yield table


class Judge:
    """
    What believes records of accesses; whoever counts them passes over copies (`Account.name`).

    Args:
        guard: The 16 bytes by which the installation is known.
        topic: Of the records; `dead` is that of dead letters, `cases` that of cases.

    """

    def __init__(self, actors: Actors, guard: bytes, topic: str, *, dead: str, cases: str) -> None:
        self.actors = actors
        self._guard, self._topic = guard, topic
        self._own = {(dead, DEAD_LETTERS), (cases, CASE_VIEW), (cases, ANSWER_VIEW)}

    def account(self, raw: bytes, partition: int, appended_ms: int) -> Account:
        """
        What a record says, if it is to be believed.

        Raises:
            RecordError: It is not; the reason is a `Doubt`.
            NewerFormError: A later release's, and an actor's: halt.

        """
        appended, place = from_ms(appended_ms), place_of(self._guard, self._topic, partition)
        access = self._read(raw, place, appended)
        mine, signed = self.actors.at(access.actor, appended), isinstance(access.sig, str)
        if not signed or mine is None:
            if not self.actors.must_prove(appended) or (not signed and denies(access)):
                return Account(access, proven=False)
            raise RecordError(Doubt.UNREGISTERED if mine is None else Doubt.UNSIGNED)
        if not proves(raw, access, place, mine.public):
            raise RecordError(Doubt.SIGNATURE)
        if appended < mine.since and not self.actors.must_prove(appended):
            return Account(access, proven=False)
        self._check(access, mine, appended)
        return Account(access, proven=True, name=digest(raw))

    def _read(self, raw: bytes, place: bytes, appended: datetime) -> Access:
        """What a record says; whoever may append halts nobody by what a later release alone could write."""
        try:
            access = read_access(raw)
            check_year(access.at, "/at")
            if not (_NAME.match(access.actor) and _NAME.match(access.purpose)):
                raise MessageError("bad_name")  # noqa: TRY301 - as any other that says nothing
        except MessageError:
            raise RecordError(Doubt.UNREADABLE) from None
        except NewerFormError:
            named = named_in(raw)
            mine = self.actors.at(named.actor, appended)
            if mine is None or not proves(raw, named, place, mine.public):
                raise RecordError(Doubt.UNREADABLE) from None
            raise
        return access

    def _check(self, access: Access, mine: Registered, appended: datetime) -> None:
        """Whether what an actor has signed is within what it might do then."""
        if appended < mine.since:
            raise RecordError(Doubt.UNREGISTERED)
        if mine.until is not None and appended > mine.until + _LATE:
            raise RecordError(Doubt.LAPSED)
        if access.at > appended + _AHEAD:
            raise RecordError(Doubt.TIME)
        own = (access.topic, access.purpose) in self._own
        if not (denies(access) or own or self.actors.may(access.actor, access.purpose, appended)):
            raise RecordError(Doubt.PURPOSE)
