"""
Pairs joins and leaves: each stay in a call is told as a call event, open, then final; estimated where nobody told it.

Steps of a unit (numbered for the crash tests): 1 opened, 2 paired, 3 the events acknowledged, 4 the rows written.
Rules: 1. The rows are written after the events are acknowledged, with the place up to which they know the topic: a
          crash between the two tells the same once more.
       2. Time passes as brokers stamp records, heartbeats too; the own clock says nothing.
       3. What is told follows from the moments alone (`core/sessions/`): order, repetition and restarts change nothing.
       4. The rows of a partition that is somebody else's are deleted; who gets it anew reads its topic again.
Source: docs/explanation/delivery.md, docs/how-to/platforms.md.
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

from calllog_guard.core.codec import BEAT, to_ms
from calllog_guard.core.records import Output
from calllog_guard.core.sessions.moment import Moment, moment_partition
from calllog_guard.core.sessions.session_state import (
    FORM,
    SessionState,
    ended,
    lapsed,
    lapses_at,
    later,
    learned,
    rank_of,
    same_identity,
    stays_of,
    told,
)
from calllog_guard.core.sessions.stay_event import removal_event, stay_event
from calllog_guard.core.sources.pairing import Timed, changes
from calllog_guard.core.stream.arrival import content
from calllog_guard.core.topics import Topic
from calllog_guard.errors import IndexFaultError, MessageError, RecordError
from calllog_guard.metrics import Counters
from calllog_guard.ports.fault_injection import CrashPoints
from calllog_guard.ports.log import Place, TopicPartition
from calllog_guard.settings import Settings
from calllog_guard.workers.runtime.delivery import Unit
from calllog_guard.workers.sessions.context import SessionsContext
from calllog_guard.workers.sessions.session_store import SessionName, SessionStore, StoredPlace

log: Final = structlog.get_logger()
_DUE_AT_ONCE: Final = 1000
_FORGET_S: Final = 3600.0
"""So often at most files are rewritten without the rows that have lapsed."""
_HOUR_MS: Final = 3_600_000
_KEY_LETTERS: Final = 22


def rows_path(settings: Settings, partition: int) -> Path:
    """Where the rows of a partition lie."""
    return Path(settings.state_dir) / f"{_prefix(settings)}{partition}"


def _prefix(settings: Settings) -> str:
    return f"sessions-{settings.topic(Topic.MOMENTS)}-"


class Sessions:
    """The role that reads moments, for one tenant."""

    name = "sessions"
    duties = ()

    def __init__(self, means: SessionsContext) -> None:
        settings = means.settings
        self._m, self._topic = means, settings.topic(Topic.MOMENTS)
        self.topics: tuple[str, ...] = (self._topic,)
        self._limit_ms = settings.session_limit_h * _HOUR_MS
        self._ahead_ms, self._late_ms = settings.event_ahead_s * 1000, settings.event_late_days * 24 * _HOUR_MS
        self._steps = CrashPoints(settings.off)
        self._stores: dict[int, SessionStore] = {}
        self._opened: dict[SessionName, Moment] = {}
        self._unforgotten: set[SessionStore] = set()
        self._forget_at = 0.0

    # --- assignment ---------------------------------------------------------------------------------------------------

    async def assigned(self, partitions: Sequence[int]) -> dict[TopicPartition, int]:
        """See Role: rows that the topic still continues are gone on with, others are made anew from its beginning."""
        self.close()
        starts, ends = (
            await self._m.log.starts(self._topic, partitions),
            await self._m.log.ends(self._topic, partitions),
        )
        self._forget_others(set(partitions))
        places: dict[TopicPartition, int] = {}
        for partition in partitions:
            store = self._stores[partition] = self._store(partition, starts[partition], ends[partition])
            places[TopicPartition(self._topic, partition)] = store.place.offset
        return places

    def _store(self, partition: int, start: int, end: int) -> SessionStore:
        path, topic = rows_path(self._m.settings, partition), self._m.id_of(self._topic)
        rows = self._m.open_rows(path)
        place = SessionStore.place_in(rows)
        if place is not None and place.topic == topic and start <= place.offset <= end:
            return SessionStore(rows, place)
        rows.destroy()
        # where nothing was cut off, all there ever was is known; else from the first record on, which is not read yet
        known_from = 0 if start == 0 else -1
        return SessionStore(self._m.open_rows(path), StoredPlace(FORM, topic, start, 0, known_from))

    def _forget_others(self, mine: set[int]) -> None:
        """Delete the rows of partitions that are not ours, unless another process beside us has them open."""
        prefix, settings = _prefix(self._m.settings), self._m.settings
        folder = Path(settings.state_dir)
        for each in folder.glob(f"{prefix}*") if folder.is_dir() else ():
            number = each.name.removeprefix(prefix)
            if number.isdecimal() and int(number) not in mine:
                with suppress(IndexFaultError):
                    self._m.open_rows(each).destroy()

    async def revoked(self, partitions: Sequence[int]) -> None:
        """See Role: what comes back goes on where it was; what does not is deleted at the next assignment."""
        for partition in partitions:
            if (store := self._stores.pop(partition, None)) is not None:
                self._unforgotten.discard(store)
                store.close()

    def close(self) -> None:
        """Let go of every store."""
        for store in self._stores.values():
            store.close()
        self._stores.clear()
        self._unforgotten.clear()

    # --- units --------------------------------------------------------------------------------------------------------

    async def unit(self, unit: Unit) -> None:
        """See Role."""
        records = [record for some in unit.values() for record in some]
        if numbers := self._m.opener.unknown(record.value or b"" for record in records):
            await asyncio.to_thread(self._m.opener.learn, numbers)
        events = await self._m.events()
        for place, some in unit.items():
            if (store := self._stores.get(place.partition)) is None:  # beyond those that the topic was created with
                await self._m.writer.write(list(self._misplaced(some)))
            else:
                await self._pair(store, some, events)

    async def idle(self) -> None:
        """See Role: what is due and was more than one unit takes."""
        for store in self._stores.values():
            if store.due(store.place.now_ms, 1):
                await self._pair(store, (), await self._m.events())
        now = asyncio.get_running_loop().time()
        if self._unforgotten and now >= self._forget_at:
            for store in self._unforgotten:
                await asyncio.to_thread(store.forget)
            self._unforgotten.clear()
            self._forget_at = now + _FORGET_S

    def _misplaced(self, records: Sequence[Any]) -> Iterator[Output]:
        """Dead letters of records where no moment of ours lies."""
        for record in records:
            if record.key != BEAT or not self._m.ring.guard.heartbeats.ours(record):
                self._m.count(Counters.dead["wrong_partition"], 1)
                yield self._m.dead.of(record, RecordError("wrong_partition"))

    async def _pair(self, store: SessionStore, records: Sequence[Any], events: Place) -> None:
        store.begin()
        self._opened.clear()
        outputs = list(self._noted(store, records))
        self._steps.reached("sessions.opened")
        place = self._moved(store.place, records)
        self._pass_time(store, place)
        outputs += self._told(store, place, events)
        self._steps.reached("sessions.paired")
        if outputs:
            await self._m.writer.write(outputs)
        self._steps.reached("sessions.told")
        store.commit(place)
        self._steps.reached("sessions.kept")

    @staticmethod
    def _moved(place: StoredPlace, records: Sequence[Any]) -> StoredPlace:
        if not records:
            return place
        known_from = records[0].timestamp if place.known_from_ms < 0 else place.known_from_ms
        return msgspec.structs.replace(
            place,
            offset=records[-1].offset + 1,
            now_ms=max(place.now_ms, *(record.timestamp for record in records)),
            known_from_ms=known_from,
        )

    # --- 1 opened -----------------------------------------------------------------------------------------------------

    def _noted(self, store: SessionStore, records: Sequence[Any]) -> Iterator[Output]:
        """Take in each record; the dead letters of those that say nothing."""
        heartbeats = self._m.ring.guard.heartbeats
        for record in records:
            if record.key == BEAT and heartbeats.ours(record):
                continue
            try:
                self._note(store, record)
            except MessageError as error:
                self._m.count(Counters.dead[error.reason], 1)
                yield self._m.dead.of(record, error)

    def _note(self, store: SessionStore, record: Any) -> None:
        sealed, name = content(record) or b"", (record.key or b"").decode("ascii", "replace")
        if len(name) != _KEY_LETTERS:
            raise RecordError("bad_moment")
        moment = self._m.opener.open(name, sealed)
        self._check(moment, name, record)
        self._m.count(Counters.moments[moment.what], 1)
        if moment.what == "ended":
            self._note_end(store, SessionName((name, "")), moment, record.timestamp)
        if moment.session is None or moment.what not in {"joined", "left"}:
            return
        tenant, names = self._m.tenant, self._m.names
        own = SessionName((name, names.session(tenant, moment.source, moment.call, moment.session)))
        rank, before = rank_of(moment, names), store.session(own)
        after = learned(before, moment, record.timestamp, rank, sealed)
        if after.sealed is sealed:
            self._opened[own] = moment
        store.put_session(own, after)

    def _check(self, moment: Moment, name: str, record: Any) -> None:
        """
        Whether a moment lies where its call does, and when events may be.

        Raises:
            MessageError: The record is dead-lettered.

        """
        if self._m.names.call(self._m.tenant, moment.source, moment.call) != name:
            raise RecordError("bad_moment")
        times = [to_ms(moment.at), to_ms(moment.joined_at or moment.at)]
        if max(times) > record.timestamp + self._ahead_ms:
            raise MessageError("in_future", "/at")
        if min(times) < record.timestamp - self._late_ms:
            raise MessageError("too_late", "/at")

    def _note_end(self, store: SessionStore, call: SessionName, moment: Moment, appended_ms: int) -> None:
        before = store.call(call)
        after = ended(before, moment, appended_ms)
        store.put_call(call, msgspec.structs.replace(after, due_ms=lapses_at(after.seen_ms, self._limit_ms)))
        if before is None or before.ends != after.ends:
            for each in store.sessions_of(call.call):
                store.session(each)  # looked at with the others

    # --- 2 paired -----------------------------------------------------------------------------------------------------

    def _pass_time(self, store: SessionStore, place: StoredPlace) -> None:
        """For those that are due: what has not come by now counts as missing; what was long ago is forgotten."""
        touched = set(store.changed)
        for name in store.due(place.now_ms, _DUE_AT_ONCE):
            if not name.session:
                call = store.call(name)
                if call is not None and call.due_ms <= place.now_ms:
                    store.put_call(name, None)
                    self._unforgotten.add(store)
            elif name not in touched:
                store.put_session(name, later(store.session(name), place.now_ms))

    def _told(self, store: SessionStore, place: StoredPlace, events: Place) -> Iterator[Output]:
        """The events of every session that this unit has looked at."""
        for name in store.changed:
            state = store.session(name)
            if not state.sealed:  # forgotten
                continue
            call = store.call(SessionName((name.call, "")))
            found = stays_of(state, () if call is None else call.ends, self._limit_ms, place.known_from_ms)
            try:
                values = list(self._events(store, name, state, found))
            except RecordError as error:  # who it was is sealed to a week that is over: nothing can be told of it
                self._m.count(Counters.unreadable[error.reason], 1)
                store.put_session(name, None)
                continue
            for value in values:
                yield Output(events[0], moment_partition(name.call, events[1]), name.call.encode(), value)
            after = told(state, found, self._limit_ms)
            if lapsed(after, place.now_ms, self._limit_ms):
                self._unforgotten.add(store)
                store.put_session(name, None)
            elif after != store.stored(name):
                store.put_session(name, after)

    def _events(
        self, store: SessionStore, name: SessionName, state: SessionState, found: Sequence[Timed]
    ) -> Iterator[bytes]:
        """What is to be told of a session: of whom it was of before, that they were not there."""
        before, tenant = store.stored(name), self._m.tenant
        change = changes(before.told, found)
        stays: Iterable[Timed] = change.told
        if before.told and not same_identity(before.rank, state.rank):
            former, now = self._m.opener.open(name.call, before.sealed), self._who(name, state)
            if former.person != now.person:
                gone = (stay.joined_ms for stay in before.told)
                yield from filter(None, (removal_event(tenant, former, at, name.session) for at in gone))
            stays = found
        if not stays and not change.gone:
            return
        who = self._who(name, state)
        gone_now = (removal_event(tenant, who, at, name.session) for at in change.gone)
        yield from filter(None, gone_now)
        for stay in stays:
            self._m.count(Counters.stays[_kind(stay)], 1)
            yield stay_event(tenant, who, stay, state.moments, name.session)

    def _who(self, name: SessionName, state: SessionState) -> Moment:
        known = self._opened.get(name)
        return known if known is not None else self._m.opener.open(name.call, state.sealed)


def _kind(stay: Timed) -> str:
    return "open" if stay.left_ms is None else "estimated" if stay.estimated else "exact"
