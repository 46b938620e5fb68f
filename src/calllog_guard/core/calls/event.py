"""
A call event: the one shape that is accepted, and what is refused beyond the shape.

Rules: 1. A field that the schema does not know is refused (data minimisation, GDPR Art. 5(1)(c)).
       2. Times are judged against the record's append time, so a replay is judged as the first time.
       3. A party that is wrong is refused alone: others are kept.  4. A tenant of the first level has its release's
          events: what came later is refused as that release refuses it, and nothing is mended.
Source: docs/how-to/publish-an-event.md; `schemas/event.json`.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Literal, NamedTuple, Self, cast

import msgspec

from calllog_guard.core.codec import IdText, Message, Role, TenantName, Utc, check_id, check_year, time_text
from calllog_guard.core.identifiers import CallId, SubjectId, made_up_id, named_call
from calllog_guard.core.identity.rules import canonical, is_plain
from calllog_guard.errors import MessageError

Kind = Literal["video", "audio", "screen"]
Result = Literal["answered", "missed", "declined", "failed"]


class Party(Message, omit_defaults=True, frozen=True, kw_only=True, gc=False):
    """
    A person in a call; joined and left default to the call's.

    Args:
        id: Absent for a guest whom nobody knows: `guest` counts one, and leaves no leg.
        session: One connection of a person who was in the call several times, by the platform's name: a leg each.
        estimated: The platform did not tell when they joined or left: the times are the best that is known.

    """

    id: IdText | None = None
    role: Role
    session: IdText | None = None
    guest: bool = False
    joined_at: Utc | None = None
    left_at: Utc | None = None
    estimated: bool = False


class RemovedSession(Message, frozen=True, kw_only=True, gc=False):
    """A session whose leg goes; the other legs of its party stay."""

    id: IdText
    session: IdText


class CallEvent(Message, omit_defaults=True, frozen=True, kw_only=True, gc=False):
    """
    What the backend publishes about one call, whole or in several events.

    Args:
        occurrence: Which call it is, where the platform uses one id for several: a meeting that recurs.
        ended_at: Absent while a call goes on: its legs are open until an event says the end.
        party_count: How many took part, where `parties` does not name them all.
        removed: Parties, or sessions, whose legs of this call go.
        revision: Grows with each version of the call: an older one never replaces a newer one. None is older than any.

    """

    tenant: TenantName
    call_id: IdText
    occurrence: IdText | None = None
    kind: Kind
    outcome: Result
    started_at: Utc
    ended_at: Utc | None = None
    parties: Annotated[tuple[Party, ...], msgspec.Meta(max_length=1000)]
    party_count: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] | None = None
    removed: Annotated[tuple[IdText | RemovedSession, ...], msgspec.Meta(max_length=1000)] = ()
    revision: Annotated[int, msgspec.Meta(ge=0, lt=1 << 53)] | None = None


EVENTS: Final = msgspec.json.Decoder(CallEvent)
LegForm = Literal[1, 2]
"""The version of a leg: 1 names the call by its id (an event of the first release), 2 by its reference."""
Mended = Literal["skew", "leap_second"]
"""What is mended of a time: it ended before it began, by no more than clocks differ; a second that clocks lack."""


class Skips(NamedTuple):
    """Whom a tenant's policy skips, by identifiers in lower case: whole ones, and how others begin or end."""

    whole: frozenset[str]
    starts: tuple[str, ...]
    ends: tuple[str, ...]

    @classmethod
    def of(cls, patterns: Iterable[str]) -> Self | None:
        """By patterns as the policy has them; None where there is none."""
        texts = [each.lower() for each in patterns]
        starts = tuple(each[:-1] for each in texts if each.endswith("*"))
        ends = tuple(each[1:] for each in texts if each.startswith("*"))
        whole = frozenset(each for each in texts if "*" not in each)
        return cls(whole, starts, ends) if texts else None

    def match(self, subject: str) -> bool:
        """Whether a canonical identifier is skipped."""
        text = subject.lower()
        return text in self.whole or text.startswith(self.starts) or text.endswith(self.ends)


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """
    How early and late an event may come, and how far clocks may differ, in milliseconds; how large it may be, in bytes.

    Args:
        skew_ms: Who left before joining, by no more than this, left at once.
        skips: Whom the tenant's policy skips.

    """

    ahead_ms: int
    late_ms: int
    max_bytes: int
    skew_ms: int = 0
    skips: Skips | None = None


class Wrong(NamedTuple):
    """A party, or a removal, that is refused alone: why, and its place among its like in the event as it came."""

    error: MessageError
    field: Literal["parties", "removed"]
    place: int


class CheckedEvent(msgspec.Struct, frozen=True, gc=False):
    """
    An event as it is stored: without guests and those that are wrong, its times mended, its parties counted.

    Args:
        names: The canonical form of each party's id, then of each that is removed.
        wrong: What is refused of it; `mended` is how often what was mended.
        guests: Those without an id, in their order; `whole`: all of the call, not one of several events of it.
        skipped: How many parties the tenant's policy skips.

    """

    event: CallEvent
    started_ms: int
    names: list[SubjectId]
    wrong: tuple[Wrong, ...] = ()
    mended: tuple[Mended, ...] = ()
    guests: tuple[Party, ...] = ()
    whole: bool = True
    skipped: int = 0


class Given(msgspec.Struct, frozen=True, gc=False):
    """An event as read: the source places of its parties and removals if some are missing, and what is known of it."""

    event: CallEvent
    places: dict[str, list[int]] = {}
    wrong: tuple[Wrong, ...] = ()
    mended: tuple[Mended, ...] = ()
    skipped: int = 0


def call_of(event: CallEvent) -> CallId:
    """The call's id, with its occurrence."""
    return named_call(event.call_id, event.occurrence)


def ended_early(start: datetime | None, end: datetime | None, pointer: str, skew_ms: int) -> bool:
    """
    Whether something ended before it began, by no more than clocks differ.

    Raises:
        MessageError: `end_before_start`, by more.

    """
    if start is None or end is None or end >= start:
        return False
    if start - end > timedelta(milliseconds=skew_ms):
        raise MessageError("end_before_start", pointer)
    return True


def plain_names(event: CallEvent, identity: Sequence[str]) -> list[SubjectId] | None:
    """
    The canonical form of each party's id, in their order; None where something is wrong, mended, counted or removed.

    Most events are like that, and need no more; `check_event` does the same, and tells what is wrong.
    """
    started, ended, answered = event.started_at, event.ended_at, event.outcome == "answered"
    if event.removed or event.party_count is not None or (ended and ended < started):
        return None
    names: dict[str, None] = {}
    try:
        check_id(event.call_id, "")
        if event.occurrence is not None:
            check_id(event.occurrence, "")
        check_year(started, "")
        check_year(ended, "")
        for party in event.parties:
            joined, left, text = party.joined_at, party.left_at, party.id
            if text is None or party.guest:
                return None
            if party.session is not None:
                check_id(party.session, "")
            if joined or left:
                check_year(joined, "")
                check_year(left, "")
                end = left or ended
                if not answered or (end and end < (joined or started)):
                    return None
            if is_plain(text):
                names[text] = None
            else:
                check_id(text, "")
                names[canonical(text, identity, "")] = None
    except MessageError:
        return None
    return cast("list[SubjectId]", list(names)) if len(names) == len(event.parties) > 0 else None


def check_event(given: Given, identity: Sequence[str], skew_ms: int, form: LegForm = 2) -> CheckedEvent:
    """
    What the schema cannot say; `identity` are the rules by which two ids are one person. Its arrival time is unknown.

    Raises:
        MessageError: The call's own id or times, or all parties and removals, are wrong; the event is dead-lettered.

    """
    event, mended = given.event, list(given.mended)
    check_id(event.call_id, "/call_id")
    if event.occurrence is not None:
        check_id(event.occurrence, "/occurrence")
    check_year(event.started_at, "/started_at")
    check_year(event.ended_at, "/ended_at")
    if ended_early(event.started_at, event.ended_at, "/ended_at", skew_ms):
        event = msgspec.structs.replace(event, ended_at=event.started_at)
        mended.append("skew")
    checking = _Parties(event, identity, skew_ms, form)
    places = given.places.get("parties")
    for index, party in enumerate(event.parties):
        try:
            checking.take(party)
        except MessageError as error:
            checking.refuse(error, "parties", places[index] if places else index)
    for index, gone in enumerate(event.removed):
        try:
            checking.remove(gone)
        except MessageError as error:
            checking.refuse(error, "removed", given.places.get("removed", range(index + 1))[index])
    wrong = (*given.wrong, *checking.wrong)
    if not (checking.names or checking.guests or checking.gone or given.skipped):
        raise wrong[0].error if wrong else MessageError("wrong_count", "/parties")
    made = checking.event(given.wrong)
    return CheckedEvent(
        made,
        0,
        [*checking.names, *checking.gone],
        wrong,
        (*mended, *checking.mended),
        tuple(checking.guests),
        event.party_count is None or event.party_count == checking.people(given.wrong),
        given.skipped,
    )


_LATEST: Final = datetime.max.replace(tzinfo=UTC)


class _Parties:
    """The parties of one event while they are checked."""

    def __init__(self, event: CallEvent, identity: Sequence[str], skew_ms: int, form: LegForm) -> None:
        self._event, self._identity, self._skew_ms, self._form = event, identity, skew_ms, form
        self._stays: dict[SubjectId, dict[tuple[datetime, datetime | None], int]] = {}
        self._seen: set[tuple[str, str | None]] = set()
        self._kept: list[Party] = []
        self._removed: list[str | RemovedSession] = []
        self.names: list[SubjectId] = []
        self.gone: list[SubjectId] = []
        self.guests: list[Party] = []
        self.wrong: list[Wrong] = []
        self.mended: list[Mended] = []

    def refuse(self, error: MessageError, field: Literal["parties", "removed"], index: int) -> None:
        """One that is wrong."""
        self.wrong.append(Wrong(MessageError(error.reason, f"/{field}/{index}{error.pointer}"), field, index))

    def take(self, party: Party) -> None:
        """One party; raises MessageError, with a pointer from the party on."""
        if party.id is None:
            if not party.guest:
                raise MessageError("missing_field", "/id")
            if party.session is not None:
                check_id(party.session, "/session")
            self.guests.append(self._timed(party) if party.joined_at or party.left_at else party)
            return
        if party.guest:
            raise MessageError("guest_with_id", "/guest")
        plain = is_plain(party.id)
        if not plain:
            check_id(party.id, "/id")
        if party.session is not None:
            check_id(party.session, "/session")
        if party.joined_at or party.left_at:
            party = self._timed(party)
        name = SubjectId(party.id or "") if plain else canonical(party.id or "", self._identity, "/id")
        seen = (name, party.session)
        if party.session is None and self._form > 1:
            self._stay(name, party)
        elif seen in self._seen:
            raise MessageError("duplicate_party", "/id")
        self._seen.add(seen)
        self._kept.append(party)
        self.names.append(name)

    def _stay(self, name: SubjectId, party: Party) -> None:
        """A stay without a session. Raises MessageError: it is told twice."""
        known = self._stays.setdefault(name, {})
        span = party.joined_at or self._event.started_at, party.left_at or self._event.ended_at
        if span in known:
            raise MessageError("duplicate_party", "/id")
        known[span] = len(self._kept)

    def _with_sessions(self) -> bool:
        """Give the later of one person's stays sessions by when they began; whether there are such."""
        several = [known for known in self._stays.values() if len(known) > 1]
        for known in several:
            began = Counter(joined for joined, _ in known)
            for joined, left in sorted(known, key=lambda span: (span[0], span[1] or _LATEST))[1:]:
                told = [joined] if began[joined] == 1 else [joined, left]
                session = made_up_id([each and time_text(each) for each in told])
                index = known[joined, left]
                self._kept[index] = msgspec.structs.replace(self._kept[index], session=session)
        return bool(several)

    def _timed(self, party: Party) -> Party:
        check_year(party.joined_at, "/joined_at")
        check_year(party.left_at, "/left_at")
        if self._event.outcome != "answered":
            raise MessageError("not_answered")
        joined = party.joined_at or self._event.started_at
        if ended_early(joined, party.left_at or self._event.ended_at, "/left_at", self._skew_ms):
            self.mended.append("skew")
            return msgspec.structs.replace(party, left_at=joined)
        return party

    def remove(self, gone: str | RemovedSession) -> None:
        """One that is removed; raises MessageError, with a pointer from it on."""
        text, session, pointer = (gone, None, "") if isinstance(gone, str) else (gone.id, gone.session, "/id")
        check_id(text, pointer)
        if session is not None:
            check_id(session, "/session")
        name = canonical(text, self._identity, pointer)
        if (name, session) in self._seen:
            raise MessageError("removed_party_present")
        self.gone.append(name)
        self._removed.append(gone)

    def people(self, unread: Sequence[Wrong]) -> int:
        """How many took part, with those of whom something is wrong; one person's sessions are one."""
        refused = sum(
            each.field == "parties" and each.error.reason != "duplicate_party" for each in (*unread, *self.wrong)
        )
        return len(set(self.names)) + len(self.guests) + refused

    def event(self, unread: Sequence[Wrong]) -> CallEvent:
        """
        The event with what is right of it; of `unread`, which could not even be read, the parties took part.

        Raises:
            MessageError: It counts fewer than it names.

        """
        event, kept, named = self._event, self._kept, self._with_sessions()
        people = self.people(unread)
        if event.party_count is not None and event.party_count < people:
            raise MessageError("wrong_count", "/party_count")
        count = event.party_count or max(people, 1)
        if count == len(kept) == len(event.parties) and not (unread or self.wrong or self.mended or named):
            return event
        return msgspec.structs.replace(event, parties=tuple(kept), party_count=count, removed=tuple(self._removed))
