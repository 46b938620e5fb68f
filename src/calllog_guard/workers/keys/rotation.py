"""
The keystore walk: every entry into the current epoch, ratchets forward, old epochs destroyed once nothing needs them.

May be stopped and started at any point: each entry is changed by itself, and only if nobody changed it meanwhile.
Rules: 1. A new epoch is made before it is pointed to.  2. An epoch is destroyed once a full look after it finds none
       under it, no open case or decision names it, and it was superseded longer ago than the backup window: then
       a keystore backup from its time opens nothing.  3. Who is restricted, or has a hold pending, keeps every month.
       4. A key no person's entry names is an orphan only without a decision still to carry out: between the fence
       and the keeper's copies it is what the copies are made with.
       5. A fence is dropped once no event old enough for it is taken any more and no decision from before it opens.
          What leads to people, or tells of people, whom the keystore does not know any more goes with them.
       6. An unusable entry is passed over, counted, and left as it is; the key of its person stays.  It
          keeps no epoch alive for longer than the others do: a few for ever would keep every backup readable.
Source: docs/explanation/keystore.md.
"""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from calllog_guard.core.codec import to_ms
from calllog_guard.core.crypto.entries import (
    ELSEWHERE,
    EPOCH_KEY,
    GONE,
    RESTRICTED,
    REVIEWED,
    SECRETS,
    person_head,
    person_key,
)
from calllog_guard.core.crypto.law_copy import read_kept
from calllog_guard.core.crypto.rewrap import FORMS, Rewrapper, TakenEntry, epoch_in, raised
from calllog_guard.core.crypto.subject_secrets import Link, Month, floor_month, link_at, month_of
from calllog_guard.core.identifiers import EpochName, Lookup, b64
from calllog_guard.errors import EntryCorruptError, EpochUnknownError
from calllog_guard.ports.clock import Clock
from calllog_guard.workers.keys.people.late_events import LateLimit
from calllog_guard.workers.keys.people.links import drop_void
from calllog_guard.workers.keys.people.subject_keys import Keyring
from calllog_guard.workers.keys.people.view import pointer

_FENCE_MARGIN_DAYS: Final = 30
"""Beyond the late limit and the backup window: docs/explanation/keystore.md."""
Change = tuple[bytes | None, bytes]

UNREADABLE: Final = "unreadable"
UNREADABLE_MOST: Final = 1000
"""Above it something is wrong with more than single entries, and no epoch is destroyed."""
_KIND: Final = re.compile(r"[a-z]{1,16}\Z")
_TOGETHER: Final = 200
"""Entries compared at once, each with its owner: below WATCHED_MOST."""
_UNTOLD: Final = "hold"
"""Entries that are walked and counted nowhere: a figure that moved with them would tell of secret ones."""


@dataclass(slots=True)
class Walked:
    """What a walk did and left; `entries` by epoch, `states` by what they are."""

    epoch: str = ""
    rewrapped: int = 0
    advanced: int = 0
    contested: int = 0
    orphans: int = 0
    fences: int = 0
    entries: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    destroyed: list[str] = field(default_factory=list)
    kept: dict[str, str] = field(default_factory=dict)


def epoch_of(moment: datetime) -> EpochName:
    """The epoch that is made at a time: its ISO week."""
    year, week, _ = moment.isocalendar()
    return EpochName(f"{year}-W{week:02d}")


def began(epoch: str) -> datetime:
    """When an epoch's week began."""
    return datetime.strptime(epoch + "-1", "%G-W%V-%u").replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Periods:
    """How far back purposes reach, how late an event may come, how long an epoch and a backup last."""

    keep_days: int
    late_days: int
    epoch_days: int
    window_days: int


class Walk:
    """One tenant's walk."""

    def __init__(
        self,
        ring: Keyring,
        clock: Clock,
        periods: Periods,
        unfinished: Callable[[], Awaitable[Collection[str]]],
        told: Callable[[int], None] = lambda _: None,
        letters: Callable[[], Awaitable[list[str]]] | None = None,
    ) -> None:
        """`unfinished` reads the ledger: about whom a decision is not done; `letters` renews dead letters' keys."""
        tenant, keystore, vault = ring.tenant, ring.keystore, ring.vault
        self._tenant, self._keystore, self._ring, self._vault, self._clock = tenant, keystore, ring, vault, clock
        self._periods, self._told, self._unfinished, self._letters = periods, told, unfinished, letters
        self._unclaimed: list[bytes] = []
        self._unreadable: dict[bytes, bytes] = {}
        self._start = f"clg:{tenant}:".encode()
        self._lapsed_ms, self._late, self._late_days = 0, LateLimit(keystore), periods.late_days
        self._wrapper = Rewrapper(lambda epoch: vault.epoch_key(epoch, tenant, "keystore"))
        self._renew = {"who": self._persons, "key": self._keys, "same": self._sames, "kept": self._kept}

    async def run(self, needed: Mapping[str, str]) -> Walked:
        """
        Walk once; `needed` names epochs that must stay, each with the reason.

        Raises:
            KeystoreGuardedError: Nothing is walked while the restore guard is up.

        """
        done = Walked()
        self._unreadable.clear()
        current = await self._current()
        done.epoch = current
        self._late_days = await self._late.least(self._periods.late_days)
        self._lapsed_ms = self._oldest_fence(await asyncio.to_thread(self._vault.epochs))
        async for kind, places in self._each():
            if kind in FORMS:
                await self._renew.get(kind, self._plain(kind))(places, current.encode(), done)
            self._told(len(places) if kind != _UNTOLD else 0)
        await self._orphans(done)
        await self._destroy(current, needed, done)
        if self._letters is not None:
            done.destroyed += await self._letters()
        return done

    async def _current(self) -> EpochName:
        view = await self._ring.view([])
        old, now = pointer(view), self._clock.now()
        new = epoch_of(now)
        if new == old or now < began(old) + timedelta(days=self._periods.epoch_days):
            return old
        await asyncio.to_thread(self._vault.create_epoch, new)
        await self._keystore.swap({EPOCH_KEY: (view.epoch, new.encode())}, {})
        return pointer(await self._ring.view([]))

    async def _each(self) -> AsyncIterator[tuple[str, list[bytes]]]:
        """Every entry of the tenant, in batches of one kind, small enough to compare each together with its owner."""
        size = len(self._start)
        async for batch in self._keystore.scan(self._start):
            kinds: dict[bytes, list[bytes]] = {}
            for place in batch:
                kinds.setdefault(place[size:].partition(b":")[0], []).append(place)
            for kind, places in kinds.items():
                name = kind.decode("ascii", "replace")
                for at in range(0, len(places), _TOGETHER):
                    yield name if _KIND.match(name) else "", places[at : at + _TOGETHER]

    # --- each kind --------------------------------------------------------------------------------------------------

    def _taken(self, kind: str, place: bytes, raw: bytes) -> TakenEntry | None:
        """An entry that opens; None of one that does not: it stays as it is, whoever wrote to it."""
        try:
            return self._wrapper.take(kind, place, raw)
        except (EntryCorruptError, EpochUnknownError):
            if len(self._unreadable) <= UNREADABLE_MOST:
                self._unreadable[place] = raw
            return None

    def _plain(self, kind: str) -> Callable[[Sequence[bytes], bytes, Walked], Awaitable[None]]:
        """A kind that is only re-wrapped."""

        async def renew(places: Sequence[bytes], current: bytes, done: Walked) -> None:
            changes: dict[bytes, Change] = {}
            for place, raw in zip(places, await self._keystore.read(places), strict=True):
                if raw is None or _is_of(kind, raw, current):
                    continue
                if (taken := self._taken(kind, place, raw)) is not None:
                    changes[place] = (raw, self._wrapper.put(kind, place, taken._replace(epoch=current)))
            swapped = await self._swap(changes, {}, current, done)
            done.rewrapped += swapped if kind != _UNTOLD else 0

        return renew

    async def _persons(self, places: Sequence[bytes], current: bytes, done: Walked) -> None:
        put, forms = self._wrapper.put, self._ring.forms
        changes: dict[bytes, Change] = {}
        leading: dict[bytes, Lookup] = {}
        for place, raw in zip(places, await self._keystore.read(places), strict=True):
            if raw is None:
                continue
            if raw[1:2] == bytes([ELSEWHERE]) and (led := self._taken("who", place, raw)) is not None:
                leading[place] = Lookup(b64(led.secret[:32]).decode())
            lapsed = self._is_lapsed(raw)
            if not lapsed and raw[:1] >= bytes([forms]) and _is_of("who", raw, current):
                continue
            taken = self._taken("who", place, raw)
            if taken is not None and lapsed and not taken.extended:
                if await self._late.drop_under(self._late_days):
                    done.fences += await self._keystore.drop(place, {place: raw})
            elif taken is not None:
                changes[place] = (raw, put("who", place, raised("who", taken, forms)._replace(epoch=current)))
        done.rewrapped += await self._swap(changes, {}, current, done)
        await self._forgotten(leading, done)

    async def _sames(self, places: Sequence[bytes], current: bytes, done: Walked) -> None:
        """Who else somebody is goes with whoever has no entry any more, or is nobody else any more."""
        start = len(self._start) + len(b"same:")
        await self._forgotten({place: Lookup(place[start:].decode("ascii", "replace")) for place in places}, done)
        done.fences += await drop_void(self._keystore, self._tenant, places, self._taken)
        await self._plain("same")(places, current, done)

    async def _kept(self, places: Sequence[bytes], current: bytes, done: Walked) -> None:
        """What law keeps of somebody is noted until the last purpose has lapsed."""
        today = self._clock.now().date()
        for place, raw in zip(places, await self._keystore.read(places), strict=True):
            taken = None if raw is None else self._taken("kept", place, raw)
            with suppress(EntryCorruptError):  # none of ours: it stays
                if taken is not None and not read_kept(taken.secret).left(today):
                    done.fences += await self._keystore.drop(place, {place: raw})
        await self._plain("kept")(places, current, done)

    async def _forgotten(self, owners: Mapping[bytes, Lookup], done: Walked) -> None:
        """Drop entries of people, or that lead to people, whom the keystore does not know any more."""
        places = {place: person_key(self._tenant, owner) for place, owner in owners.items()}
        read = await self._keystore.read([*places, *places.values()])
        for place, raw, person in zip(places, read, read[len(places) :], strict=False):
            if raw is not None and person is None:
                done.fences += await self._keystore.drop(place, {place: raw, places[place]: None})

    def _is_lapsed(self, raw: bytes) -> bool:
        """Whether it says that its fence has nothing left to keep out; nothing is believed before it is opened."""
        try:
            _, state, _, cut_off, flags, objected, _, _ = person_head(raw)
        except EntryCorruptError:
            return False
        return state == GONE and cut_off < self._lapsed_ms and not flags and not objected

    def _oldest_fence(self, alive: Sequence[str]) -> int:
        """Up to which cut-off a fence has nothing left to keep out: no late event, nor a decision that opens."""
        days = self._late_days + self._periods.window_days + _FENCE_MARGIN_DAYS
        oldest = min((began(epoch) for epoch in alive), default=began("1970-W02"))
        return to_ms(min(self._clock.now() - timedelta(days=days), oldest))

    async def _keys(self, places: Sequence[bytes], current: bytes, done: Walked) -> None:
        names = len(self._start) + len(b"key:")
        found = [
            (place, raw, taken)
            for place, raw in zip(places, await self._keystore.read(places), strict=True)
            if raw is not None and (taken := self._taken("key", place, raw)) is not None
        ]
        owners = [person_key(self._tenant, Lookup(b64(taken.secret[:32]).decode())) for _, _, taken in found]
        floor, month = self._months()
        forms = self._ring.forms
        changes: dict[bytes, Change] = {}
        owned: dict[bytes, bytes | None] = {}
        for (place, raw, taken), owner, entry in zip(found, owners, await self._keystore.read(owners), strict=True):
            person = None if entry is None else self._taken("who", owner, entry)
            holds = taken.holds
            unclaimed = person is None or b64(person.pseudonym) != place[names:]
            if unclaimed and not holds:
                self._unclaimed.append(place)
            flags = 0 if person is None else person_head(person.before)[4]
            keeps = holds or unclaimed or flags & (RESTRICTED | REVIEWED)
            secret = _moved(taken.secret, None if keeps else floor, month)
            moved = raised("key", taken, forms)._replace(epoch=current, secret=secret)
            if moved == taken:
                continue
            if secret != taken.secret:
                done.advanced += 1
                owned[owner] = entry  # whoever is restricted meanwhile keeps the months after all
            changes[place] = (raw, self._wrapper.put("key", place, moved))
            done.rewrapped += taken.epoch != current or taken.before != moved.before
        await self._swap(changes, owned, current, done)

    async def _orphans(self, done: Walked) -> None:
        """Drop the keys nobody claims; the ledger is read after that, as decisions are written before fences."""
        places, self._unclaimed = self._unclaimed, []
        if not places:
            return
        pending = {f"key:{pseudonym}".encode() for pseudonym in await self._unfinished()}
        for place in places:
            (raw,) = await self._keystore.read([place])
            if raw is None or place.removeprefix(self._start) in pending:
                continue
            if (taken := self._taken("key", place, raw)) is None:
                continue
            owner = person_key(self._tenant, Lookup(b64(taken.secret[:32]).decode()))
            (entry,) = await self._keystore.read([owner])
            person = None if entry is None else self._taken("who", owner, entry)
            if taken.holds or (entry is not None and person is None):
                continue
            if person is None or not place.endswith(b":" + b64(person.pseudonym)):
                done.orphans += await self._keystore.drop(place, {owner: entry, place: raw})

    def _months(self) -> tuple[Month, Month]:
        now = self._clock.now()
        return floor_month(now, self._periods.keep_days), month_of(now.year, now.month)

    async def _swap(
        self, changes: Mapping[bytes, Change], unchanged: Mapping[bytes, bytes | None], current: bytes, done: Walked
    ) -> int:
        """All at once, or else one by one: what someone changed meanwhile is left to the next walk."""
        watched = {EPOCH_KEY: current, **unchanged}
        if not changes or await self._keystore.swap(changes, watched):
            return len(changes)
        swapped = sum([await self._keystore.swap({place: change}, watched) for place, change in changes.items()])
        done.contested += len(changes) - swapped
        return swapped

    # --- the end of an epoch ----------------------------------------------------------------------------------------

    async def looked(self) -> Walked:
        """How many entries there are, by epoch and by state."""
        done = Walked()
        async for kind, places in self._each():
            if kind not in FORMS:
                done.states[f"unknown kind {kind}".strip()] += len(places)
                continue
            for place, raw in zip(places, await self._keystore.read(places), strict=True):
                if raw is None:
                    continue
                epoch = self._named(kind, place, raw)
                if epoch is not None:
                    done.entries[epoch] += kind != _UNTOLD
                if kind != _UNTOLD:
                    done.states[UNREADABLE if epoch is None else _state(kind, raw)] += 1
        return done

    def _named(self, kind: str, place: bytes, raw: bytes) -> str | None:
        """The epoch that an entry needs; None of one that opened with none."""
        if self._unreadable.get(place) == raw:
            return None
        try:
            return epoch_in(kind, raw).decode("ascii")
        except EntryCorruptError:
            return None

    async def _destroy(self, current: EpochName, needed: Mapping[str, str], done: Walked) -> None:
        look = await self.looked()
        done.entries, done.states = look.entries, look.states
        await self._ring.view([])  # a guard that rose meanwhile means that what was counted is not what is
        now, alive = self._clock.now(), sorted(await asyncio.to_thread(self._vault.epochs))
        unknown = next((state for state in done.states if state.startswith("unknown")), None)
        if len(self._unreadable) > UNREADABLE_MOST:
            unknown = "many entries cannot be used"
        for epoch, after in zip(alive, [*alive[1:], None], strict=True):
            why = _needed(epoch, current, done.entries, needed) or unknown
            superseded = began(after) if after else now
            end = superseded + timedelta(days=self._periods.epoch_days + self._periods.window_days)
            if why is None and now < end:  # re-wrapped an epoch later at most
                why = f"backup window until {end.date()}"
            if why is None:
                await asyncio.to_thread(self._vault.destroy_epoch, EpochName(epoch))
                done.destroyed.append(epoch)
            else:
                done.kept[epoch] = why


def _is_of(kind: str, raw: bytes, epoch: bytes) -> bool:
    try:
        return epoch_in(kind, raw) == epoch
    except EntryCorruptError:
        return False


def _moved(secret: bytes, floor: Month | None, month: Month) -> bytes:
    """The secrets of a key entry with its ratchet moved on: no month before `floor` opens any more."""
    lookup, identity, old_floor, floor_link, old_current, current_link = SECRETS.unpack_from(secret)
    new_floor = max(old_floor, floor or 0)
    new_current = max(old_current, new_floor, month)
    if (new_floor, new_current) == (old_floor, old_current):
        return secret
    floor_link = link_at(Link(floor_link), Month(old_floor), Month(new_floor)).expose()
    current_link = link_at(Link(current_link), Month(old_current), Month(new_current)).expose()
    return SECRETS.pack(lookup, identity, new_floor, floor_link, new_current, current_link) + secret[SECRETS.size :]


def _state(kind: str, raw: bytes) -> str:
    if kind == "who":
        return {GONE: "gone", ELSEWHERE: "elsewhere"}.get(raw[1], "live")
    return kind if kind in {"same", "kept"} else "keys"


def _needed(epoch: str, current: str, entries: Collection[str], needed: Mapping[str, str]) -> str | None:
    if epoch >= current:
        return "current"
    if epoch in entries:
        return "entries"
    return needed.get(epoch)
