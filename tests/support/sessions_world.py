"""The worker of sessions in one process, on the fakes, beside the others or alone; and what its events say in the end."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from guard_world import PARTITIONS, START, TENANT, Crash, Fuse, GuardWorld

from calllog_guard.adapters.memory.log import MemoryRows
from calllog_guard.core.codec import BEAT, Beat, encode
from calllog_guard.core.records import Output
from calllog_guard.core.sources.notification import Notification
from calllog_guard.core.stream.arrival import Arrival
from calllog_guard.core.stream.proofs import AUDIT
from calllog_guard.ports.log import TopicPartition
from calllog_guard.workers.keys.tenants.moment_sealing import MomentOpener, MomentSealer
from calllog_guard.workers.sessions.context import SessionsContext
from calllog_guard.workers.sessions.worker import Sessions

MOMENTS, EVENTS = "calllog.moments", "calllog.events"
LIMIT = timedelta(hours=24)


class FusedRows(MemoryRows):
    """Rows whose writing may be the last thing a process does."""

    def __init__(self, fuse: Fuse) -> None:
        super().__init__()
        self._fuse = fuse

    def write(self, rows: Mapping[bytes, bytes | None]) -> None:
        """See Rows."""
        self._fuse.before()
        super().write(rows)
        self._fuse.done()


class Leg(NamedTuple):
    """What the newest revision says of a session of somebody."""

    joined: datetime
    left: datetime | None
    estimated: bool = False


class SessionsWorld(GuardWorld):
    """A tenant's installation in memory, whose platforms tell joins and leaves."""

    sessions: Sessions

    async def start(self) -> "SessionsWorld":
        """See GuardWorld."""
        self.vault.moments.prepare()
        self.vault.moments.renew(START)
        self.sealer = MomentSealer(TENANT, (MOMENTS, PARTITIONS), self.vault.moment_names(TENANT), self.newest)
        await super().start()
        return self

    def newest(self) -> Any:
        """The newest week's key."""
        return self.vault.moments.look()[-1]

    async def restart(self, *, rebuild: bool = False) -> None:
        """See GuardWorld; whoever pairs goes on where its rows were, or loses them."""
        await super().restart(rebuild=rebuild)
        await self.pairs_anew(lost=rebuild)

    async def pairs_anew(self, *, lost: bool = False) -> None:
        """Only the worker of sessions begins again."""
        self.fuse.at = -1
        if lost:
            self.rows = {path: rows for path, rows in self.rows.items() if "sessions-" not in str(path)}
        vault = self.wrapped.vault()
        self.sessions = Sessions(
            SessionsContext.of(
                replace(self.context(), ring=self.ring()),
                names=vault.moment_names(TENANT),
                opener=MomentOpener(TENANT, vault.moments.secret, 300),
                open_rows=lambda path: self.rows.setdefault(path, FusedRows(self.fuse)),
                id_of=lambda _: "topic-1",
                events=self._events,
            )
        )
        for place, offset in (await self.sessions.assigned(range(PARTITIONS))).items():
            self.positions["sessions", place.topic, place.partition] = offset

    async def _events(self) -> tuple[str, int]:
        return EVENTS, PARTITIONS

    # --- what platforms and time do -----------------------------------------------------------------------------------

    async def tell(self, *told: Notification, source: str = "zoom") -> None:
        """Take in notifications."""
        blows, self.fuse.at = self.fuse.at, -1
        await self.log.write([self.sealer.record(source, each) for each in told])
        self.fuse.at = blows

    async def pass_time(self, by: timedelta) -> None:
        """Time passes, and the auditor's heartbeats say so."""
        self.clock.at += by
        value = encode(Beat(counter=0, at=self.clock.at))
        beats = [Output(MOMENTS, partition, BEAT, value) for partition in range(PARTITIONS)]
        await self.log.write(self.vault.vouched(TENANT, AUDIT, beats))

    def cut(self, partition: int, first: int) -> None:
        """Retention has taken what is before an offset."""
        self.log.first[MOMENTS, partition] = first

    # --- running ------------------------------------------------------------------------------------------------------

    async def pair(self, most: int = 1000) -> None:
        """The worker of sessions alone, until nothing is left to do."""
        while await self._paired(most):
            pass

    async def _paired(self, most: int) -> bool:
        unit: dict[TopicPartition, Sequence[Arrival]] = {}
        for partition in range(PARTITIONS):
            at = self.positions["sessions", MOMENTS, partition]
            if found := self.log.records[MOMENTS, partition][at : at + most]:
                unit[TopicPartition(MOMENTS, partition)] = found
        if unit:
            await self.sessions.unit(unit)
            for place, records in unit.items():
                self.positions["sessions", MOMENTS, place.partition] = records[-1].offset + 1
        await self.sessions.idle()
        return bool(unit)

    async def pair_with_crash(self, at: int, *, after: bool, lost: bool = False, most: int = 3) -> bool:
        """As `pair`, but the process dies at the write number `at`; whether there were so many."""
        self.fuse.at, self.fuse.after, self.fuse.count = at, after, 0
        try:
            await self.pair(most)
        except Crash:
            await self.pairs_anew(lost=lost)
            await self.pair(most)
            return True
        finally:
            self.fuse.at = -1
        return False

    # --- what can be seen ---------------------------------------------------------------------------------------------

    def events(self) -> list[dict[str, Any]]:
        """Every event that was written, in the order of its partition."""
        return [json.loads(each.value or b"") for at in range(PARTITIONS) for each in self.log.records[EVENTS, at]]

    def paired(self) -> dict[tuple[str, str | None, str], Leg]:
        """By call, person and session what the newest revision says, as the log's readers have it in the end."""
        found: dict[tuple[str, str | None, str], tuple[int, Leg | None]] = {}
        for event in self.events():
            revision = event["revision"]
            spans: list[tuple[str | None, str, Leg | None]] = [
                (each.get("id"), each["session"], _leg(event, each)) for each in event["parties"]
            ]
            spans += [(each["id"], each["session"], None) for each in event.get("removed", ())]
            for person, session, leg in spans:
                key = (event["call_id"], person, session)
                if revision >= found.get(key, (-1, None))[0]:
                    found[key] = revision, leg
        return {key: leg for key, (_, leg) in found.items() if leg is not None}

    def spans(self) -> list[tuple[str | None, int, int | None, bool]]:
        """Of each leg whose it is, joined and left in seconds from START, and whether that is an estimate; sorted."""
        found = [
            (person, _second(leg.joined), None if leg.left is None else _second(leg.left), leg.estimated)
            for (_, person, _), leg in self.paired().items()
        ]
        return sorted(found, key=_order)

    def on_disk(self) -> bytes:
        """Everything that the worker of sessions keeps."""
        mine = [rows for path, rows in self.rows.items() if "sessions-" in str(path)]
        return b"".join(str(path).encode() for path in self.rows) + b"".join(
            key + value for rows in mine for key, value in rows.rows.items()
        )


def _leg(event: Mapping[str, Any], party: Mapping[str, Any]) -> Leg:
    ended = event.get("ended_at")
    left = datetime.fromisoformat(ended) if ended else None
    return Leg(datetime.fromisoformat(event["started_at"]), left, party.get("estimated", False))


def _second(moment: datetime) -> int:
    return round((moment - START).total_seconds())


def at(second: float) -> datetime:
    """So many seconds after START."""
    return START + timedelta(seconds=second)


def joined(second: float, session: str = "s-1", person: str | None = "ana@example.org", **more: Any) -> Notification:
    """Somebody has joined the call."""
    told: dict[str, Any] = {"call": "call-1", "role": "guest", "kind": "video"} | more
    return Notification("joined", told.pop("call"), at(second), person, session, **told)


def left(second: float, session: str = "s-1", person: str | None = "ana@example.org", **more: Any) -> Notification:
    """Somebody has left it."""
    return joined(second, session, person, **more)._replace(what="left")


def over(second: float, call: str = "call-1") -> Notification:
    """All of it has ended."""
    return Notification("ended", call, at(second))


def _order(span: tuple[str | None, int, int | None, bool]) -> tuple[str, int, int]:
    return span[0] or "", span[1], span[2] or 0


def ordered(
    spans: Iterable[tuple[str | None, int, int | None, bool]],
) -> list[tuple[str | None, int, int | None, bool]]:
    """As `SessionsWorld.spans` sorts them."""
    return sorted(spans, key=_order)
