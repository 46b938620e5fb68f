"""
Copies of legs under holds: made before anything may erase them, found again, and removed when their hold is over.

Steps (for the crash tests): 1 copies written, 2 read again; of a purpose's month that is over: 3 secret destroyed,
4 copies tombstoned.
Rules: 1. A hold's entry is read again once its copies are acknowledged: with another secret they are made anew.
       2. Copies go when their hold was released, or when their purpose has lapsed; never because an entry is missing.
       3. The secret of a purpose's month goes with the last copy, and before it.
Source: docs/adr/0004-a-hold-is-a-copy.md, docs/explanation/design.md.
"""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, NamedTuple

import msgspec

from calllog_guard.core.answers.parts import Amend
from calllog_guard.core.calls.correction import corrected
from calllog_guard.core.calls.leg import Leg, read_leg, referred, renewed
from calllog_guard.core.crypto.entries import Keys
from calllog_guard.core.crypto.held_envelope import HeldHeader, HoldSecret, parse_held
from calllog_guard.core.crypto.key_bytes import KeyBytes
from calllog_guard.core.crypto.law_copy import KeptCopy
from calllog_guard.core.crypto.leg_envelope import open_leg, parse_header, seal_leg
from calllog_guard.core.crypto.subject_secrets import Month, month_from
from calllog_guard.core.decisions.hold import Terms, kept_id
from calllog_guard.core.identifiers import INTERNAL_KEY, CallId, HoldId, Lookup, Pseudonym, id_bytes
from calllog_guard.core.records import Output
from calllog_guard.core.retention.expiry import lapsed
from calllog_guard.core.retention.purposes import Purpose, due_day
from calllog_guard.core.topics import Topic
from calllog_guard.errors import KeyMissingError, LegMovedError, MessageError, RecordError
from calllog_guard.metrics import Counters
from calllog_guard.ports.fault_injection import CrashPoints
from calllog_guard.ports.state import LegFacts, Position
from calllog_guard.workers.keeper.context import INDEX_FORM, KeeperContext
from calllog_guard.workers.keeper.decision_work import PORTION
from calllog_guard.workers.keeper.expiry.sweep_brake import SweepBrake
from calllog_guard.workers.keeper.partition import Shard
from calllog_guard.workers.keys.people.homes import Homes
from calllog_guard.workers.keys.people.view import fresh_nonce

_AT_ONCE: Final = 500
"""Legs whose values are in memory together."""
_TAIL: Final = 20_000
"""Copies read on at once, so that a large partition does not hold up its decisions."""
Rows = Sequence[tuple[LegFacts, bytes]]


@dataclass(frozen=True, slots=True)
class Under:
    """A hold, its secret as it was read, and the purposes its copies are for."""

    name: HoldId
    secret: HoldSecret
    mask: int


class Survived(NamedTuple):
    """On which bases copies were made that law keeps, and what is to be noted of them."""

    bases: tuple[str, ...]
    copies: tuple[KeptCopy, ...]


def opened_of(pseudonym: Pseudonym, keys: Keys) -> KeyBytes:
    """The key bytes in a key entry, whoever it belongs to: a fenced person has theirs until the copies are made."""
    place = int.from_bytes(id_bytes(pseudonym)[:4], "big")
    links: dict[Month, Any] = {keys.floor: keys.floor_link, keys.current: keys.current_link}
    return KeyBytes(pseudonym, keys.generation, keys.identity.token_key(), place, links, {})


class Copies:
    """Makes and removes the copies of one tenant, a partition at a time."""

    def __init__(self, tools: KeeperContext) -> None:
        self._t, self._steps = tools, CrashPoints(tools.settings.off)
        self._homes = Homes(tools.ring, writes=False)
        self._topic = tools.settings.topic(Topic.HELD)

    # --- making -------------------------------------------------------------------------------------------------------

    async def hold(self, shard: Shard, hold: HoldId, pseudonym: Pseudonym, keys: Keys, rows: Rows) -> int:
        """Copy legs under an ordered hold, unless it was released; how many."""
        secret = await self._t.safe.secret(hold)
        if secret is None:
            return 0
        under = Under(hold, secret, -1)
        made = await self._copied(shard, pseudonym, keys, rows, {key: [under] for _, key in rows})
        await self._read_again(shard, hold)
        return len(made)

    async def _read_again(self, shard: Shard, hold: HoldId) -> None:
        if await self._t.safe.secret(hold) is None:  # released meanwhile: whoever did looks no more at this partition
            while await self._remove_some(shard, hold):
                pass
        self._steps.reached("hold.read_again")

    async def hold_copies(self, shard: Shard, hold: HoldId, law: HoldId, rows: Rows) -> None:
        """
        Copy copies that law keeps under an ordered hold, unless it was released.

        Raises:
            LegMovedError: One has gone meanwhile.

        """
        secret, before = await self._t.safe.secret(hold), await self._t.safe.secret(law) if rows else None
        if secret is None or before is None:
            return
        values = await self._t.log.fetch(self._topic, shard.partition, {key: facts.offset for facts, key in rows})
        if missing := [key for _, key in rows if key not in values]:
            raise LegMovedError(missing)
        outputs, made = list[Output](), dict[bytes, LegFacts]()
        for value in values.values():
            header = parse_held(value)
            plaintext, form = renewed(open_leg(value, before.copy_key()), header.v, self._t.ring.calls)
            name = f"{hold}.{header.rid}".encode()
            there = shard.held.facts(name)
            mask = header.pur | (there.mask if there else 0)  # of several purposes each has a copy of its own
            made[name] = LegFacts(date.fromisoformat(header.day), mask, header.pol)
            header = msgspec.structs.replace(header, v=form, kid=hold, pur=mask)
            sealed = seal_leg(header, plaintext, secret.copy_key(), fresh_nonce())
            outputs.append(Output(self._topic, shard.partition, name, sealed))
        await self._t.writer.write(outputs)
        self._steps.reached("hold.copied")
        for copy, facts in made.items():
            shard.held.put(copy, facts)
        self._commit(shard)
        await self._read_again(shard, hold)

    async def survive(self, shard: Shard, pseudonym: Pseudonym, keys: Keys, rows: Rows) -> Survived:
        """Copy legs for the purposes that survive erasure by law and have not lapsed."""
        today = self._t.clock.now().date()
        wanted: dict[bytes, list[Purpose]] = {}
        until: dict[int, date] = {}
        for facts, key in rows:
            purposes = self._t.policy.purposes_since(self._t.tenant, facts.policy, today)
            keeping = [each for each in purposes if each.survives_erasure and facts.mask & each.bit]
            keeping = [each for each in keeping if due_day(facts.day, each.bit, (each,)) > today]
            if keeping:
                wanted[key] = keeping
            for purpose in keeping:
                due = due_day(facts.day, purpose.bit, (purpose,))
                until[purpose.number] = max(until.get(purpose.number, today), due)
        some = [(facts, key) for facts, key in rows if key in wanted]
        made: set[bytes] = set()
        while some:
            unders = await self._months(shard, some, wanted)
            made = set(await self._copied(shard, pseudonym, keys, some, unders))
            each = {under.name: under.secret for some_ in unders.values() for under in some_}
            self._steps.reached("hold.read_again")
            again = await self._t.safe.read(each)
            if all(name in again and again[name].secret == secret for name, secret in each.items()):
                break
        if not made:
            return Survived((), ())
        bases = tuple(sorted({purpose.basis for some_ in wanted.values() for purpose in some_}))
        copies = [KeptCopy(partition=shard.partition, purpose=at, until=day.isoformat()) for at, day in until.items()]
        return Survived(bases, tuple(copies))

    async def _months(
        self, shard: Shard, rows: Rows, wanted: Mapping[bytes, Sequence[Purpose]]
    ) -> dict[bytes, list[Under]]:
        """The holds of the purposes and months of some legs, made where they are missing."""
        found: dict[HoldId, Under] = {}
        unders: dict[bytes, list[Under]] = defaultdict(list)
        for facts, key in rows:
            month = facts.day.isoformat()[:7]
            for purpose in wanted[key]:
                name = kept_id(self._t.tenant, purpose.number, month, shard.partition)
                if name not in found:
                    terms = Terms(
                        name=f"{purpose.number}.{month}",
                        basis=purpose.basis,
                        purpose=purpose.number,
                        partition=shard.partition,
                    )
                    found[name] = Under(name, await self._t.safe.made(name, terms), purpose.bit)
                unders[key].append(found[name])
        return unders

    async def _copied(
        self, shard: Shard, pseudonym: Pseudonym, keys: Keys, rows: Rows, unders: Mapping[bytes, Sequence[Under]]
    ) -> list[bytes]:
        """Copies acknowledged and in the index; their keys."""
        opened, made = opened_of(pseudonym, keys), dict[bytes, LegFacts]()
        for at in range(0, len(rows), _AT_ONCE):
            places = {key: facts.offset for facts, key in rows[at : at + _AT_ONCE]}
            values = await self._t.log.fetch(self._t.legs, shard.partition, places)
            if missing := places.keys() - values:
                raise LegMovedError(missing)
            outputs: list[Output] = []
            for key, value in values.items():
                for under in unders[key]:
                    outputs += self._copy(shard, opened, value, under, made)
            await self._t.writer.write(outputs)
            self._steps.reached("hold.copied")
        for copy, facts in made.items():
            shard.held.put(copy, facts)
        self._commit(shard)
        return list(made)

    def _copy(
        self, shard: Shard, opened: KeyBytes, value: bytes, under: Under, made: dict[bytes, LegFacts]
    ) -> list[Output]:
        """One copy; nothing where it is no leg, stands for one removed, or its month is gone (it opens no more)."""
        try:
            if not (header := parse_header(value)).pur:
                return []
            key, calls = opened.data_key(month_from(header.mon)), self._t.ring.calls
            plaintext, form = renewed(open_leg(value, key), header.v, calls)
        except RecordError as error:
            self._t.count(Counters.unreadable[error.reason], 1)
            return []
        name = f"{under.name}.{header.rid}".encode()
        held = HeldHeader(
            v=form,
            kid=under.name,
            mon=header.mon,
            day=header.day,
            rid=header.rid,
            pur=header.pur & under.mask,
            pol=header.pol,
            ten=header.ten,
            top=self._topic,
        )
        made[name] = LegFacts(date.fromisoformat(held.day), held.pur, held.pol)
        sealed = seal_leg(held, plaintext, under.secret.copy_key(), fresh_nonce())
        return [Output(self._topic, shard.partition, name, sealed)]

    async def arriving(self, shard: Shard, holds: Iterable[str], value: bytes) -> None:
        """Copy a newly arrived leg under the holds that cover it; acknowledged before anything is done with it."""
        pseudonym = Pseudonym(parse_header(value).kid)
        keys = await self._t.ring.keys_of(pseudonym)
        entries = await self._t.safe.read(map(HoldId, holds))
        if keys is None and pseudonym not in shard.erased:
            raise KeyMissingError(f"the key of {pseudonym} is missing", "key_missing")
        if keys is None:
            return
        opened, made = opened_of(pseudonym, keys), dict[bytes, LegFacts]()
        unders = [Under(name, entry.secret, -1) for name, entry in entries.items() if entry.secret]
        await self._t.writer.write([out for each in unders for out in self._copy(shard, opened, value, each, made)])
        for copy, facts in made.items():
            shard.held.put(copy, facts)
        self._commit(shard)

    # --- finding and removing -----------------------------------------------------------------------------------------

    def _commit(self, shard: Shard) -> None:
        now = self._t.ring.now_ms()
        shard.held.commit(Position(shard.copies, 0, self._t.known_as(self._topic), now, INDEX_FORM))

    async def catch_up(self, shard: Shard, but: HoldId | None = None) -> bool:
        """Take in what was copied since, by anybody; whether all of it. A released hold's, `but` one, go on sight."""
        seen, after, all_of_it = await self._read_on(shard)
        entries, _ = await self._t.safe.readable(seen - {but})
        for name, entry in entries.items():
            while entry.secret is None and await self._remove_some(shard, name):
                pass
        shard.copies = after  # only now: what fails is read again, and no late copy is forgotten
        self._commit(shard)
        return all_of_it

    async def _read_on(self, shard: Shard) -> tuple[set[HoldId], int, bool]:
        """The holds of the copies that are new to the index, where to read on, and whether the end was reached."""
        records, after, end = await self._t.log.tail(self._topic, shard.partition, shard.copies, _TAIL)
        seen: set[HoldId] = set()
        for record in records:
            if record.key is None or record.key[:1] == INTERNAL_KEY:
                continue
            if record.value is None:
                shard.held.remove(record.key)
                continue
            try:
                header = parse_held(record.value)
                if record.key != f"{header.kid}.{header.rid}".encode() or header.top != self._topic:
                    raise RecordError("bad_copy")
                shard.held.put(
                    record.key, LegFacts(date.fromisoformat(header.day), header.pur, header.pol, record.offset)
                )
                seen.add(HoldId(header.kid))
            except (MessageError, ValueError):
                self._t.count(Counters.unreadable["bad_copy"], 1)
        self._commit(shard)
        return seen, after, after >= end

    async def about(
        self, shard: Shard, hold: HoldId, after: bytes, lookup: Lookup
    ) -> tuple[list[tuple[LegFacts, bytes]], bytes | None]:
        """A portion of a hold's copies behind `after`: those about a person, and where to go on (None: the end)."""
        rows = shard.held.legs_after(hold, after, _AT_ONCE)
        legs = await self.opened(shard, hold, rows)
        homes = await self._homes.of_stored([leg.subject for leg in legs.values()])
        mine = [(facts, key) for facts, key in rows if key in legs and homes.get(legs[key].subject) == lookup]
        return mine, rows[-1][1] if len(rows) == _AT_ONCE else None

    async def opened(self, shard: Shard, hold: HoldId, rows: Rows) -> dict[bytes, Leg]:
        """Some copies of a hold, opened; without those of one that was released, and those that do not open."""
        secret = await self._t.safe.secret(hold) if rows else None
        if secret is None:
            return {}
        values = await self._t.log.fetch(self._topic, shard.partition, {key: facts.offset for facts, key in rows})
        legs: dict[bytes, Leg] = {}
        for key, value in values.items():
            try:
                leg = read_leg(open_leg(value, secret.copy_key()))
                legs[key] = referred(leg, parse_held(value).v, self._t.ring.calls)
            except MessageError as error:  # the others are given
                self._t.count(Counters.unreadable[error.reason], 1)
        return legs

    def by_law(self, shard: Shard) -> list[HoldId]:
        """The holds of purposes and months of which a partition has copies; none that was ordered."""
        months = {(each.mask.bit_length(), each.day.isoformat()[:7]) for each in shard.held.groups()}
        return [kept_id(self._t.tenant, number, month, shard.partition) for number, month in sorted(months)]

    async def correct(self, shard: Shard, hold: HoldId, rows: Rows, amend: Amend) -> int:
        """Correct those of a hold's copies that are of one call; how many are so now."""
        secret = await self._t.safe.secret(hold) if rows else None
        if secret is None:
            return 0
        values = await self._t.log.fetch(self._topic, shard.partition, {key: facts.offset for facts, key in rows})
        if missing := [key for _, key in rows if key not in values]:
            raise LegMovedError(missing)
        outputs: list[Output] = []
        count, calls = 0, self._t.ring.calls
        call = amend.call if calls is None else calls.reference(CallId(amend.call))
        for key, value in values.items():
            header, plaintext = parse_held(value), open_leg(value, secret.copy_key())
            before, form = renewed(plaintext, header.v, calls)
            leg = read_leg(before)
            if leg.call != call or leg.session != amend.session:
                continue
            count += 1
            after = corrected(before, role=amend.role, joined_at=amend.joined_at, left_at=amend.left_at)
            if after != plaintext:
                header = msgspec.structs.replace(header, v=form)
                sealed = seal_leg(header, after, secret.copy_key(), fresh_nonce())
                outputs.append(Output(self._topic, shard.partition, key, sealed))
        await self._t.writer.write(outputs)
        return count

    async def remove(self, shard: Shard, copies: Collection[bytes]) -> None:
        """Remove copies from a partition."""
        await self._t.writer.write([Output(self._topic, shard.partition, copy, None) for copy in copies])
        for copy in copies:
            shard.held.remove(copy)
        self._commit(shard)
        if 0 < len(copies) < PORTION:  # the last of several portions: it costs what the whole index costs
            await asyncio.to_thread(shard.held.forget)

    async def release(self, shard: Shard, hold: HoldId) -> int | None:
        """Remove some of a hold's copies from a partition, once all are read; how many. None: read on, ask again."""
        if not await self.catch_up(shard, but=hold):
            return None
        return await self._remove_some(shard, hold)

    async def _remove_some(self, shard: Shard, hold: HoldId) -> int:
        copies = [key for _, key in shard.held.legs_after(hold, b"", PORTION)]
        await self.remove(shard, copies)
        return len(copies)

    async def sweep(self, shard: Shard, brake: SweepBrake) -> bool:
        """Remove the copies of a lapsed purpose, the month's secret with the last of them; whether there is more."""
        if not await self.catch_up(shard):
            return True
        most = self._t.settings.sweep_records

        def keys_with(facts: LegFacts) -> Iterator[bytes]:
            return (key for key in shard.held.keys_with(facts) if self._kept(shard, facts, key))

        day = await brake.day((self._t.settings.topic(Topic.HELD), shard.partition), shard.held, keys_with)
        if day is None:
            return False
        due = lapsed(
            shard.held.groups(),
            keys_with,
            lambda stored: self._t.policy.purposes_since(self._t.tenant, stored, day),
            day,
            most,
        )
        by_hold: dict[HoldId, set[bytes]] = defaultdict(set)
        for key in due:
            by_hold[HoldId(key[:22].decode())].add(key)
        for name, copies in by_hold.items():
            if copies == {key for _, key in shard.held.legs_after(name, b"", len(copies) + 1)}:
                await self._t.safe.forget(name)
                self._steps.reached("hold.forgotten")
        await self.remove(shard, due)
        self._steps.reached("hold.swept")
        return len(due) >= most

    def _kept(self, shard: Shard, facts: LegFacts, key: bytes) -> bool:
        """Whether it is a purpose that keeps this copy, not an order."""
        number, month = facts.mask.bit_length(), facts.day.isoformat()[:7]
        return key[:22].decode() == kept_id(self._t.tenant, number, month, shard.partition)
