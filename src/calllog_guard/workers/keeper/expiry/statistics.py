"""
Anonymise at expiry: lapsing legs are counted before they go; what at least K people stand behind is published once.

How it goes. A due leg is counted at once into its partition's tally of the month, and tombstoned: waiting for the
month's end is the tally's part, not the leg's. The tally is a sealed record `~cells.<month>.<calls' month>` of its
ledger partition. After a month, each keeper says so per partition (`~cells.closed`) and counts into later months only.
Partition 0's keeper reads what all closed, adds up (a person lives in one partition), publishes cells that K people
stand behind to `calllog.statistics`, marks the month (`~cells.published`) and drops tallies; smaller cells stay untold.
Steps of a counting (for the crash tests): 1 fetched, 2 counted; tombstones follow. Of a publication: 3 published,
4 marked.
Rules: 1. A tally names the legs of its last batch: those left after a crash are removed, not recounted; nothing else is
          counted before.  2. Nothing is counted before the partition is read to its end at assignment, or an index
          built anew would count what was removed.  3. A published cell is never rewritten, whatever is found later.
       4. Who is erased, or restricted, is not counted: the leg goes with the erasure, or waits for the lift.
       5. Losing a count is allowed, telling of few people is not: a tally whose epoch is destroyed counts nothing.
Source: docs/how-to/write-the-policy.md; GDPR recital 26.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any, Final

import msgspec
import structlog

from calllog_guard.core.calls.leg import Leg, read_leg
from calllog_guard.core.codec import BEAT, decode, encode
from calllog_guard.core.crypto.entries import Person
from calllog_guard.core.crypto.key_bytes import KeyBytes
from calllog_guard.core.crypto.leg_envelope import open_leg
from calllog_guard.core.crypto.subject_secrets import Month, month_from, month_of, month_text
from calllog_guard.core.identifiers import EpochName, Pseudonym, is_guest
from calllog_guard.core.records import Output
from calllog_guard.core.retention.purposes import Purpose, anonymises
from calllog_guard.core.retention.statistics import Cell, cell_of, statistics, tag_of
from calllog_guard.core.retention.tally import (
    CLOSED_KEY,
    FORGOTTEN_KEY,
    PUBLISHED_KEY,
    START,
    Mark,
    Tally,
    TallyName,
    TallyPlace,
    month_before,
    name_from,
    open_tally,
    seal_tally,
    tally_epoch,
)
from calllog_guard.core.stream.proofs import KEEP, Proofs
from calllog_guard.core.topics import Topic
from calllog_guard.errors import EntryCorruptError, EpochUnknownError, MessageError
from calllog_guard.metrics import Counters
from calllog_guard.ports.fault_injection import CrashPoints
from calllog_guard.ports.state import LegFacts
from calllog_guard.workers.keeper.context import KeeperContext
from calllog_guard.workers.keeper.partition import Shard
from calllog_guard.workers.keys.people.view import fresh_nonce, pointer

log: Final = structlog.get_logger()
_BATCH: Final = 1000
"""Legs counted at once: their values are in memory together, and their names in the tally (45 KB)."""
_MARKS: Final = msgspec.json.Decoder(Mark)


@dataclass(slots=True)
class TallyBook:
    """One partition's counts: tallies with their epoch, and the last month that is closed, published, forgotten."""

    tallies: dict[TallyName, tuple[Tally, EpochName]] = field(default_factory=dict)
    closed: Month | None = None
    published: Month | None = None
    forgotten: Month | None = None


class Statistician:
    """Counts for one keeper, partition by partition."""

    def __init__(self, tools: KeeperContext) -> None:
        self._t, self._steps = tools, CrashPoints(tools.settings.off)
        self._ledger = tools.settings.topic(Topic.DECISIONS)
        self._books: dict[int, TallyBook] = {}
        self._others: dict[int, TallyBook] = {}

    # --- assignment -------------------------------------------------------------------------------------------------

    def begin(self, partition: int, records: Sequence[Any]) -> None:
        """A partition was assigned; `records` is its ledger."""
        self._books[partition] = self._book(partition, records)

    def end(self, partition: int) -> None:
        """A partition is someone else's."""
        self._books.pop(partition, None)

    def noted(self, partition: int, record: Any) -> bool:
        """Whether a record of the ledger is one of counting; a tally that was published is forgotten here too."""
        if not (record.key or b"").startswith(START):
            return False
        name = name_from(record.key) if record.value is None else None
        if name is not None and self._ours(record):
            self._books[partition].tallies.pop(name, None)
        return True

    def _book(self, partition: int, records: Sequence[Any]) -> TallyBook:
        counted = [record for record in records if record.key and record.key.startswith(START)]
        found = {record.key: record for record in counted if self._ours(record)}
        proofs = self._t.ring.guard.proofs
        marks = (found.get(key) for key in (CLOSED_KEY, PUBLISHED_KEY, FORGOTTEN_KEY))
        book = TallyBook({}, *(None if mark is None else _month(mark, proofs) for mark in marks))
        for key, record in found.items():
            name, value = name_from(key), record.value
            if name is None or value is None:
                continue
            try:
                epoch = proofs.form(record, KEEP, lambda each: tally_epoch(each.value))
                secret = self._t.vault.epoch_key(epoch, self._t.tenant, "tallies")
                book.tallies[name] = open_tally(value, TallyPlace(self._t.tenant, partition, name), secret), epoch
            except (EpochUnknownError, EntryCorruptError, MessageError, ValueError, IndexError) as error:
                self._t.count(Counters.tallies_lost, 1)
                log.error("a tally counts nothing", partition=partition, why=str(error))  # noqa: TRY400
        return book

    def _ours(self, record: Any) -> bool:
        """Whether a keeper of ours wrote a record; what others wrote in its place is passed over."""
        ours = self._t.ring.guard.proofs.believed(record, KEEP)
        if not ours and record.key != BEAT:
            self._t.count(Counters.unreadable["unproven"], 1)
        return ours

    async def _put(self, outputs: Sequence[Output]) -> None:
        """Write what keepers believe."""
        await self._t.writer.write(await self._t.ring.guard.vouched(KEEP, outputs))

    # --- counting ---------------------------------------------------------------------------------------------------

    async def counted(self, shard: Shard, due: Sequence[bytes]) -> tuple[list[bytes], bool]:
        """
        Which of the legs that are due may go now, and whether more of them could at once.

        Raises:
            GuardError: Nothing went that was not counted; try again.

        """
        left = self._left(shard)
        if left:
            return left, True
        if not self._wanted():
            return list(due), False
        today = self._t.clock.now().date()
        tables: dict[tuple[date, int, str], tuple[Purpose, ...] | None] = {}
        batch: dict[bytes, tuple[LegFacts, tuple[Purpose, ...]]] = {}
        plain: list[bytes] = []
        full = False
        for key in due:
            facts = shard.index.facts(key)
            if facts is None:
                continue
            group = (facts.day, facts.mask, facts.policy)
            if group not in tables:
                purposes = self._t.policy.purposes_since(self._t.tenant, facts.policy, today)
                tables[group] = purposes if anonymises(facts.day, facts.mask, purposes) else None
            table = tables[group]
            if table is None:
                plain.append(key)
            elif len(batch) < _BATCH and _called(facts) == _called(next(iter(batch.values()), (facts,))[0]):
                batch[key] = facts, table
            else:
                full = True
        return plain + (await self._count(shard, batch) if batch else []), full

    def _left(self, shard: Shard) -> list[bytes]:
        """Legs that were counted and are still there."""
        book = self._books[shard.partition]
        batches = [item for tally, _ in book.tallies.values() for item in tally.batch.items()]
        return [key for key, offset in batches if (facts := shard.index.facts(key)) and facts.offset == offset]

    def _wanted(self) -> bool:
        """Whether any law says anonymise."""
        tables = [version.tenant.get(self._t.tenant) for version in self._t.policy.versions]
        return any(purpose.then == "anonymise" for table in tables if table for purpose in table.purposes.values())

    async def _count(self, shard: Shard, batch: Mapping[bytes, tuple[LegFacts, tuple[Purpose, ...]]]) -> list[bytes]:
        """Count legs of one month of calls; those that may go, counted or not."""
        places = {key: facts.offset for key, (facts, _) in batch.items()}
        values = await self._t.log.fetch(self._t.legs, shard.partition, places)
        self._steps.reached("statistics.fetched")
        people, unknown = await self._people({Pseudonym(key[:22].decode()) for key in values})
        shard.unsure |= unknown
        book = self._books[shard.partition]
        lapsed = self._running(book)
        legs: list[tuple[Cell, bytes | None]] = []
        counted: dict[bytes, int] = {}
        gone: list[bytes] = []
        for key, value in values.items():
            facts, table = batch[key]
            person, opened = people.get(Pseudonym(key[:22].decode()), (None, None))
            if key[:22].decode() in unknown or (person is not None and person.closed):
                continue  # restricted a moment ago: its keeper will read of it; or nobody can tell
            gone.append(key)
            found = _cell(facts, value, opened) if _counts(facts, table, person) and opened else None
            if found is not None and opened is not None:
                cell, guest = found
                legs.append((cell, None if guest else tag_of(opened.token_key.tally_key(), lapsed, cell)))
                counted[key] = facts.offset
        if counted:
            name = TallyName(lapsed, _called(next(iter(batch.values()))[0]))
            before = book.tallies.get(name, (Tally(), None))[0]
            await self._write(shard.partition, name, before.counted(legs, counted))
            self._t.count(Counters.legs_counted, len(counted))
        self._steps.reached("statistics.counted")
        return gone

    async def _people(
        self, pseudonyms: set[Pseudonym]
    ) -> tuple[dict[Pseudonym, tuple[Person, KeyBytes]], set[Pseudonym]]:
        """Who of them lives, with their key bytes; no fenced person. And of whom nothing can be told."""
        owners = await self._t.ring.owners(sorted(pseudonyms))
        view = await self._t.ring.view([lookup for lookup, _ in owners.values()])
        persons, unreadable = self._t.ring.persons(view)
        found: dict[Pseudonym, tuple[Person, KeyBytes]] = {}
        for pseudonym, (lookup, opened) in owners.items():
            person = persons.get(lookup)
            if person is not None and person.pseudonym == pseudonym:
                found[pseudonym] = person, opened
        return found, {pseudonym for pseudonym, (lookup, _) in owners.items() if lookup in unreadable}

    def _running(self, book: TallyBook) -> Month:
        """The month into which is counted: never one that is closed, also when the clock goes back."""
        today = self._t.clock.now().date()
        month = month_of(today.year, today.month)
        return month if book.closed is None else Month(max(month, book.closed + 1))

    async def _write(self, partition: int, name: TallyName, tally: Tally) -> None:
        epoch = pointer(await self._t.ring.view([]))
        key = self._t.vault.epoch_key(epoch, self._t.tenant, "tallies")
        sealed = seal_tally(tally, TallyPlace(self._t.tenant, partition, name), epoch, key, fresh_nonce())
        await self._put([Output(self._ledger, partition, name.key, sealed)])
        self._books[partition].tallies[name] = tally, epoch

    # --- the month's end --------------------------------------------------------------------------------------------

    async def close(self, shard: Shard) -> None:
        """After a partition's sweep: seal what an epoch's end would take, close the month that is over, publish it."""
        book = self._books[shard.partition]
        if not (book.tallies or self._wanted()) or self._left(shard):
            return
        epoch = pointer(await self._t.ring.view([]))
        for name, (tally, sealed) in list(book.tallies.items()):
            if tally.batch or sealed != epoch:
                await self._write(shard.partition, name, replace(tally, batch={}))
        over = month_before(self._t.clock.now().date())
        if book.closed is None or book.closed < over:
            await self._mark(shard.partition, CLOSED_KEY, over)
            book.closed = over
        if shard.partition == 0 and (book.forgotten is None or book.forgotten < over):
            await self._publish(book, over)

    async def _mark(self, partition: int, key: bytes, month: Month) -> None:
        mark = encode(Mark(month=month_text(month)))
        await self._put([Output(self._ledger, partition, key, mark)])

    async def _publish(self, book: TallyBook, over: Month) -> None:
        """Tell a month that every partition has closed; until then nothing."""
        others = await self._closed(over)
        if others is None:
            return
        months = {name.lapsed for other in others.values() for name in other.tallies}
        for month in sorted(month for month in months if (book.published or -1) < month <= over):
            counted = [
                tally.cells
                for other in others.values()
                for name, (tally, _) in other.tallies.items()
                if name.lapsed == month
            ]
            await self._tell(month, counted)
        self._steps.reached("statistics.published")
        await self._mark(0, PUBLISHED_KEY, over)
        book.published = over
        self._steps.reached("statistics.marked")
        names = [(number, name) for number, other in others.items() for name in other.tallies if name.lapsed <= over]
        await self._put([Output(self._ledger, number, name.key, None) for number, name in names])
        await self._mark(0, FORGOTTEN_KEY, over)
        book.forgotten = over
        self._others.clear()

    async def _closed(self, over: Month) -> dict[int, TallyBook] | None:
        """The books of all partitions, once each has closed the month; those that have are not read again."""
        for partition in range(self._t.settings.partitions):
            known = self._others.get(partition, TallyBook())
            if known.closed is None or known.closed < over:
                known = self._book(partition, await self._t.log.read_all(self._ledger, [partition]))
            if known.closed is None or known.closed < over:
                return None
            self._others[partition] = known
        return self._others

    async def _tell(self, month: Month, counted: Sequence[Mapping[Cell, Any]]) -> None:
        """Publish a month's cells that are not published yet: after a crash the same, and never another number."""
        topic, home = self._t.settings.topic(Topic.STATISTICS), self._t.home
        told, untold = statistics(self._t.tenant, month, counted)
        there = {record.key for record in await self._t.log.read_all(topic, [home]) if self._ours(record)}
        fresh = [each for each in told if each.key not in there]
        await self._put([Output(topic, home, each.key, encode(each)) for each in fresh])
        self._t.count(Counters.cells_published, len(fresh))
        self._t.count(Counters.cells_untold, untold)


def _month(mark: Any, proofs: Proofs) -> Month | None:
    try:
        return month_from(proofs.form(mark, KEEP, lambda each: decode(_MARKS, each.value or b"").month))
    except (MessageError, ValueError):
        return None  # not written by a keeper: the month is closed again, and what is published is there already


def _called(facts: LegFacts) -> Month:
    return month_of(facts.day.year, facts.day.month)


def _counts(facts: LegFacts, purposes: tuple[Purpose, ...], person: Person | None) -> bool:
    """Whether a leg is counted, by what its person says now."""
    return person is not None and anonymises(facts.day, facts.mask & ~person.objected & ~person.withdrawn, purposes)


def _cell(facts: LegFacts, value: bytes, opened: KeyBytes) -> tuple[Cell, bool] | None:
    """The cell of a leg, and whether it is a guest's; None when it opens no more: it goes uncounted."""
    try:
        leg = read_leg(open_leg(value, opened.data_key(_called(facts))))
        return cell_of(facts.day, leg.kind, leg.outcome, _span(leg), leg.parties), is_guest(leg.subject)
    except (MessageError, ValueError):
        return None


def _span(leg: Leg) -> tuple[datetime | None, datetime | None]:
    joined, left = (datetime.fromisoformat(each) if each else None for each in (leg.joined_at, leg.left_at))
    return joined, left
