"""
The keystore walk: every entry into the current epoch, ratchets forward, and old epochs destroyed once nothing needs them.

May be stopped and started at any point: each entry is changed by itself, and only if nobody changed it meanwhile.
Rules: 1. A new epoch is made before it is pointed to.  2. An epoch is destroyed only when a full look after the walk finds nothing
       under it, no open case or decision names it, and it has been superseded for longer than the backup window: from then on
       a backup of the keystore from its time opens nothing.  3. Who has a hold pending keeps every month.
Source: design section 8.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from calllog_guard.core.crypto.entries import EPOCH_KEY, key_epoch, person_epoch
from calllog_guard.core.crypto.secrets import Month, floor_month, link_at, month_of
from calllog_guard.core.ids import EpochName, Lookup, Pseudonym, Tenant
from calllog_guard.ports import Clock, Keystore
from calllog_guard.workers.keyring import Keyring, pointer
from calllog_guard.workers.vault import Vault


@dataclass(slots=True)
class Walked:
    """What a walk did and left."""

    epoch: str = ""
    rewrapped: int = 0
    advanced: int = 0
    contested: int = 0
    orphans: int = 0
    entries: Counter[str] = field(default_factory=Counter)
    destroyed: list[str] = field(default_factory=list)
    kept: dict[str, str] = field(default_factory=dict)


def epoch_of(moment: datetime) -> EpochName:
    """The epoch that is made at a time: its ISO week."""
    year, week, _ = moment.isocalendar()
    return EpochName(f"{year}-W{week:02d}")


def began(epoch: str) -> datetime:
    """When an epoch's week began."""
    return datetime.strptime(epoch + "-1", "%G-W%V-%u").replace(tzinfo=UTC)


class Walk:
    """One tenant's walk."""

    def __init__(
        self,
        tenant: Tenant,
        keystore: Keystore,
        ring: Keyring,
        vault: Vault,
        clock: Clock,
        *,
        keep_days: int,
        epoch_days: int,
        window_days: int,
        told: Callable[[int], None],
    ) -> None:
        self._tenant, self._keystore, self._ring, self._vault, self._clock = tenant, keystore, ring, vault, clock
        self._keep_days, self._epoch_days, self._window_days, self._told = keep_days, epoch_days, window_days, told

    async def run(self, needed: Mapping[str, str]) -> Walked:
        """
        Walk once; `needed` names epochs that must stay, each with the reason.

        Raises:
            KeystoreGuardedError: Nothing is walked while the restore guard is up.

        """
        done = Walked()
        current = await self._current()
        done.epoch = current
        for kind in ("who", "key"):
            await self._each(kind, current, done)
        await self._destroy(current, needed, done)
        return done

    async def _current(self) -> EpochName:
        view = await self._ring.view([])
        old, now = pointer(view), self._clock.now()
        new = epoch_of(now)
        if new == old or now < began(old) + timedelta(days=self._epoch_days):
            return old
        self._vault.create_epoch(new)
        await self._keystore.swap({EPOCH_KEY: (view.epoch, new.encode())}, {})
        return pointer(await self._ring.view([]))

    async def _each(self, kind: str, current: EpochName, done: Walked) -> None:
        start = f"clg:{self._tenant}:{kind}:".encode()
        async for places in self._keystore.scan(start):
            found = await self._keystore.read(places)
            changes: dict[bytes, tuple[bytes | None, bytes]] = {}
            for place, raw in zip(places, found, strict=True):
                new = None if raw is None else self._renewed(kind, place[len(start) :].decode(), raw, current, done)
                if raw is not None and new is not None:
                    changes[place] = (raw, new)
            if changes and not await self._keystore.swap(changes, {EPOCH_KEY: current.encode()}):
                for place, change in changes.items():
                    if not await self._keystore.swap({place: change}, {EPOCH_KEY: current.encode()}):
                        done.contested += 1  # someone wrote it meanwhile: the next walk looks again
            if kind == "key":
                names = [Pseudonym(place[len(start) :].decode()) for place in places]
                done.orphans += await self._ring.drop_orphans(names)
            self._told(len(places))

    def _renewed(self, kind: str, name: str, raw: bytes, current: EpochName, done: Walked) -> bytes | None:
        if kind == "who":
            person = self._ring.person(Lookup(name), raw)
            if person is None or person.epoch == current:
                return None
            done.rewrapped += 1
            return self._ring.seal_person(Lookup(name), replace(person, epoch=current))
        now = self._clock.now()
        keys = self._ring.keys(Pseudonym(name), raw)
        floor = keys.floor if keys.holds else max(keys.floor, floor_month(now, self._keep_days))
        month = max(keys.current, floor, month_of(now.year, now.month))
        if keys.epoch == current and floor == keys.floor and month == keys.current:
            return None
        done.rewrapped += keys.epoch != current
        done.advanced += floor != keys.floor or month != keys.current
        moved = replace(
            keys,
            floor=Month(floor),
            floor_link=link_at(keys.floor_link, keys.floor, Month(floor)),
            current=Month(month),
            current_link=link_at(keys.current_link, keys.current, Month(month)),
            epoch=current,
        )
        return self._ring.seal_keys(Pseudonym(name), moved)

    async def epochs(self) -> Counter[str]:
        """How many entries each epoch seals."""
        found: Counter[str] = Counter()
        for kind, read in (("who", person_epoch), ("key", key_epoch)):
            async for places in self._keystore.scan(f"clg:{self._tenant}:{kind}:".encode()):
                found.update(read(raw) for raw in await self._keystore.read(places) if raw is not None)
        return found

    async def _destroy(self, current: EpochName, needed: Mapping[str, str], done: Walked) -> None:
        done.entries = await self.epochs()
        await self._ring.view([])  # a guard that rose meanwhile means that what was counted is not what is
        now, alive = self._clock.now(), sorted(self._vault.epochs())
        for epoch, after in zip(alive, [*alive[1:], None], strict=True):
            why = _needed(epoch, current, done.entries, needed)
            superseded = began(after) if after else now
            end = superseded + timedelta(days=self._epoch_days + self._window_days)  # re-wrapped an epoch later at most
            if why is None and now < end:
                why = f"backup window until {end.date()}"
            if why is None:
                self._vault.destroy_epoch(EpochName(epoch))
                done.destroyed.append(epoch)
            else:
                done.kept[epoch] = why


def _needed(epoch: str, current: str, entries: Collection[str], needed: Mapping[str, str]) -> str | None:
    if epoch >= current:
        return "current"
    if epoch in entries:
        return "entries"
    return needed.get(epoch)
