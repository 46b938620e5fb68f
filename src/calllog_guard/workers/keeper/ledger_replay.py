"""
The end of the restore guard: the ledger applied again to a keystore that may have forgotten some of it.

Rules: 1. People erased since the backup are erased again before anything is opened.  2. Flags are told whole, from all
          decisions about a person, so nothing decided later is taken back.  3. Only what a desk sealed counts.
       4. Who was new after the backup and restricted or objected is minted restricted: what they said is lost with
          their key, and nothing of theirs is opened until they are asked. (A consent that is lost was none: safe.)
       5. An unusable entry opens nothing either: it is passed over and counted, and the guard ends without it. Whose
          rules cannot be read because their key is such is restricted.
       6. Who is one person is written anew from all that opens, in its order: an end is not undone, nor a link lost.
Source: docs/adr/0009-restore-guard.md, docs/adr/0019-several-identifiers.md.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, Final

import structlog
from msgspec import UNSET

from calllog_guard.core.codec import BEAT, Beat, decode, encode, to_ms
from calllog_guard.core.crypto.entries import Person
from calllog_guard.core.crypto.same_person import SAMENESSES, groups_after
from calllog_guard.core.crypto.subject_secrets import floor_month, month_of
from calllog_guard.core.decisions.decision import Decision, Entry
from calllog_guard.core.decisions.hold import RELEASES
from calllog_guard.core.decisions.outcome import is_result
from calllog_guard.core.decisions.standing_rules import Standing
from calllog_guard.core.identifiers import HoldId, Lookup, Pseudonym
from calllog_guard.core.records import Output
from calllog_guard.core.requests.types import LINKS
from calllog_guard.core.stream.proofs import KEEP
from calllog_guard.core.topics import Topic
from calllog_guard.errors import EntryUnreadableError, MessageError
from calllog_guard.metrics import Counters, Gauges
from calllog_guard.workers.keeper.context import KeeperContext
from calllog_guard.workers.keeper.enforcement.enforcer import Enforcer
from calllog_guard.workers.keeper.enforcement.holds import Preserver
from calllog_guard.workers.keeper.partition import Shard
from calllog_guard.workers.keys.people.homes import Homes
from calllog_guard.workers.keys.people.links import PersonLinks
from calllog_guard.workers.keys.people.view import pointer

log: Final = structlog.get_logger()
Read = Callable[[Shard, Any], tuple[Decision, Entry | None]]
_LINK_MARKS: Final = tuple(f'"type":"{kind}"'.encode() for kind in sorted(LINKS))
"""By which the few decisions about who is one person are found among all."""


class Replayer:
    """Replays the ledger of the keeper's partitions; `read` opens a decision and checks its seal."""

    def __init__(self, tools: KeeperContext, enforcer: Enforcer, preserver: Preserver, read: Read) -> None:
        self._t, self._enforcer, self._preserver, self._read = tools, enforcer, preserver, read
        self._ring, self._writer, self._clock, self._count = tools.ring, tools.writer, tools.clock, tools.count
        self._decisions = tools.settings.topic(Topic.DECISIONS)
        self._links = PersonLinks(tools.ring, Homes(tools.ring, writes=False))

    async def replay(self, shards: Mapping[int, Shard]) -> None:
        """
        After a restart, restore or failover of the keystore: apply the ledger again, as far as it may be forgotten.

        Whoever was erased since the backup is erased again before anybody opens anything.
        """
        origin, missing = await self._ring.guard.unguarded(sorted(shards))
        self._t.level(Gauges.guard_lag, len(missing))
        for partition, applied in missing.items():
            shard = shards[partition]
            end = (await self._t.log.ends(self._decisions, [partition]))[partition]
            again = 0
            flagged: dict[str, Entry] = {}
            records = await self._t.log.read_all(self._decisions, [partition])
            await self._unmark(shard, records)
            for record in records:
                if record.offset < applied or record.value is None or not record.key or record.key[:1] == b"~":
                    continue
                if not is_result(record.key):
                    await self._again(shard, record, flagged)
                    again += 1
            await self._linked(shard, records)
            bereft = await self._flags(shard, flagged)
            lost = await self._lost(shard)
            beat = Beat(counter=await self._ring.guard.raise_floor(), at=self._clock.now())
            await self._restricted(shard, bereft)
            # at once, not with the next heartbeat: a keeper that starts meanwhile looks into the ledger for it
            beats = [Output(self._decisions, partition, BEAT, encode(beat))]
            await self._writer.write(await self._ring.guard.vouched(KEEP, beats))
            settled = not shard.pending and shard.decisions >= end
            await self._ring.guard.mark(partition, origin, end if settled else applied)
            log.warning("ledger replayed", partition=partition, decisions=again, people_without_key=lost)
            self._count(Counters.guard_replayed, again)
            self._count(Counters.guard_keys_lost, lost)

    async def _unmark(self, shard: Shard, records: Sequence[Any]) -> None:
        """A restored key entry may bear the mark of a hold that was copied since: it would keep the key for ever."""
        for record in records:
            name = (record.key or b"").decode("ascii", "replace")
            if name in shard.done and record.value is not None:
                with suppress(MessageError):  # not written by a desk
                    decision, _ = self._read(shard, record)
                    if decision.type == "hold":
                        await self._preserver.unmark(decision)

    async def _linked(self, shard: Shard, records: Sequence[Any]) -> None:
        """Who is one person; those minted after the backup are nobody's by now, until it is said again."""
        found: list[tuple[Decision, Entry]] = []
        for record in records:
            if record.value is None or not any(mark in record.value for mark in _LINK_MARKS):
                continue
            with suppress(MessageError):  # not written by a desk
                decision, entry = self._read(shard, record)
                found += [(decision, entry)] if entry is not None and decision.type in LINKS else []
        said = [decode(SAMENESSES, entry.task) for _, entry in sorted(found, key=lambda each: each[0].turn)]
        lost = 0
        for group in groups_after(said):
            with self._passing():
                lost += await self._links.write([group], under_guard=True)
        if lost:
            log.error("people are not known any more who were one with others: say it again by same_as", people=lost)

    @contextmanager
    def _passing(self) -> Iterator[None]:
        try:
            yield
        except EntryUnreadableError:
            self._count(Counters.keystore_answers["corrupt"], 1)

    async def _again(self, shard: Shard, record: Any, flagged: dict[str, Entry]) -> None:
        try:
            decision, entry = self._read(shard, record)
        except MessageError:
            return  # not written by a desk
        shard.note(record.key.decode(), decision)  # perhaps not read yet: its flags are set already
        if decision.type == "release" and entry is not None:
            with self._passing():
                await self._t.safe.release(HoldId(decode(RELEASES, entry.task).hold), under_guard=True)
        if not decision.total:
            if entry is not None and decision.pseudonym in shard.ruled:
                flagged[decision.pseudonym] = entry
            return
        if entry is not None:
            cut_off = to_ms(decision.cut_off)
            with self._passing():
                await self._ring.fence(entry.lookup, cut_off, generation=entry.generation, under_guard=True)
        if record.key.decode() in shard.done:
            await self._ring.destroy(Pseudonym(decision.pseudonym))

    async def _flags(self, shard: Shard, flagged: dict[str, Entry]) -> dict[str, Entry]:
        """Flags of a restriction, objection, withdrawal or consent that the keystore may have lost; who is absent."""
        absent: dict[str, Entry] = {}
        for pseudonym, entry in flagged.items():
            standing = await self._standing(shard, pseudonym)
            ruled = list(shard.ruled[pseudonym].values())
            own = {each.case for each in ruled if each.type == "restrict"}  # an objection's end lifts its own alone
            lifted = any(each.type == "lift" and each.case not in own for each in ruled)

            def told(person: Person, standing: Standing | None = standing, *, lifted: bool = lifted) -> Person:
                if standing is None:
                    return replace(person, restricted=True)
                return replace(
                    person,
                    # one that the ledger does not know is ours (rule 4), and ends by a `lift` like any other
                    restricted=bool(standing.restrictions) or (person.restricted and not lifted),
                    imposed=person.imposed and not lifted,
                    held=bool(standing.holds),
                    reviewed=bool(standing.reviews),
                    objected=standing.objected,
                    withdrawn=standing.withdrawn,
                    consented=standing.consented,
                )

            with self._passing():
                if not await self._ring.change(entry.lookup, told, generation=entry.generation, under_guard=True):
                    absent[pseudonym] = entry
        return absent

    async def _standing(self, shard: Shard, pseudonym: str) -> Standing | None:
        """What a person's entry must say; None where their key cannot be used, so that nobody can tell."""
        try:
            return await self._enforcer.arrivals.flags(shard, pseudonym)
        except EntryUnreadableError:
            self._count(Counters.keystore_answers["corrupt"], 1)
            return None

    async def _restricted(self, shard: Shard, absent: Mapping[str, Entry]) -> None:
        """Mint those of them the keystore lost, restricted, where what was decided bars the use of their records."""
        cases: list[str] = []
        for pseudonym, entry in absent.items():
            binding = _binding(list(shard.ruled[pseudonym].values()))
            if not binding or pseudonym in shard.erased:
                continue
            with self._passing():
                there = await self._ring.keys_of(Pseudonym(pseudonym)) is not None
                if not there and await self._minted(entry.lookup, entry.generation):
                    cases += [each.case for each in binding]
        if cases:
            log.error("choices lost with the keystore: ask these people again, then lift", cases=sorted(set(cases)))
            self._count(Counters.guard_choices_lost, len(cases))

    async def _minted(self, lookup: Lookup, lost: int) -> bool:
        """Mint a person whose generation `lost` is lost, unless they are there in a later one; whether it was done."""
        now = self._clock.now()
        floor, current = floor_month(now, self._t.policy.keep_days(self._t.tenant)), month_of(now.year, now.month)
        while True:
            view = await self._ring.view([lookup], under_guard=True)
            person = self._ring.entry(lookup, view.raw[lookup])
            if person is not None and (person.home or person.pseudonym is not None or person.generation >= lost):
                return False
            before = person or Person(generation=lost, pseudonym=None, epoch=pointer(view))
            if await self._ring.mint({lookup: replace(before, restricted=True, imposed=True)}, view, floor, current):
                return True

    async def _lost(self, shard: Shard) -> int:
        """How many people have legs but no key any more: minted after the backup, their legs open no more."""
        names = {key.partition(b".")[0].decode() for _, key in shard.index.by_day()}
        return await self._ring.missing([Pseudonym(name) for name in names if name not in shard.erased])


def _binding(decisions: Sequence[Decision]) -> list[Decision]:
    """Those that bind us not to use the person's records, as far as can be known without the person's key."""
    lifts = {each.case for each in decisions if each.type == "lift"}
    whole = [at for at, each in enumerate(decisions) if each.type == "lift" and each.rule is UNSET]
    since = whole[-1] if whole else -1
    return [
        each
        for at, each in enumerate(decisions)
        if each.type == "object" or (each.type == "restrict" and at > since and each.case not in lifts)
    ]
