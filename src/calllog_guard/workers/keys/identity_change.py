"""
Carries the stored people over to other rules of identity: whom the former rules knew the present ones find.

What a key was made of stands in legs alone, so a leg of each person is opened. May be killed and restarted anywhere:
every step finds what is done.
Steps (for the crash tests): 1 decisions written, 2 two people joined, or a key led to somebody; 3 keystore marked.
Rules: 1. The desk decides nothing until the keystore is marked: nobody not yet found is told absent.
       2. Two people who are one now stay two in the log; the stricter decision about one holds for both: what
          one had erased is removed from the other, too, as are purposes that one has objected to or withdrawn.
       3. Whose identifiers the present rules refuse stay where they are, and are found by the former rules.
       4. People of whom a hold or law keeps copies alone are carried over, too: these may be told of, and asked for.
       5. The mark is set upon a keystore that was the same all along.
Source: docs/adr/0012-identity-is-fixed.md.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from calllog_guard.core.calls.leg import read_leg
from calllog_guard.core.codec import encode, from_ms
from calllog_guard.core.crypto.entries import IDENTITY_KEY, Person
from calllog_guard.core.crypto.key_bytes import KeyBytes
from calllog_guard.core.crypto.leg_envelope import open_leg, parse_header
from calllog_guard.core.crypto.subject_secrets import DataKey, month_from
from calllog_guard.core.decisions.decision import (
    Decision,
    Entry,
    decision_id,
    digest,
    seal_entry,
    version_at,
)
from calllog_guard.core.decisions.standing_rules import Rule, Span, seal_rule
from calllog_guard.core.identifiers import DecisionId, HoldId, Lookup, Pseudonym, Tenant, partition_of, record_key
from calllog_guard.core.identity.rules import canonical
from calllog_guard.core.policy.active import Policy
from calllog_guard.core.records import Output
from calllog_guard.core.requests.types import DecisionType
from calllog_guard.core.stream.arrival import content
from calllog_guard.core.stream.proofs import DESK
from calllog_guard.core.topics import Topic
from calllog_guard.errors import IdentityMovedError, MessageError
from calllog_guard.ports.clock import Clock
from calllog_guard.ports.fault_injection import CrashPoints
from calllog_guard.ports.log import Log, Writer
from calllog_guard.settings import Settings
from calllog_guard.workers.keys.hold_store import Safe
from calllog_guard.workers.keys.people.homes import Homes
from calllog_guard.workers.keys.people.naming import Naming
from calllog_guard.workers.keys.people.subject_keys import Keyring
from calllog_guard.workers.keys.people.view import fresh_nonce, pointer

_LEGS_OF_ONE: Final = 4
"""Kept of each person: the newest; an older month may not open any more."""
_AT_ONCE: Final = 500


@dataclass(slots=True)
class Carried:
    """
    What was found, and done.

    Args:
        people: Who has a leg that opens.
        led: Whose key by the present rules is another, and leads to them now.
        joined: Who had a namesake by the present rules: each knows of the other now.
        erased: Of these, whose records up to a namesake's erasure are removed.
        refused: Whose identifiers the present rules refuse.
        unopened: Who has legs, and none that opens.

    """

    people: int = 0
    led: int = 0
    joined: int = 0
    erased: int = 0
    refused: int = 0
    unopened: int = 0


@dataclass(slots=True)
class _Legs:
    """The newest legs of one person by record key, and whether there were more."""

    newest: "OrderedDict[bytes, bytes]" = field(default_factory=OrderedDict)
    more: bool = False

    def note(self, key: bytes, value: bytes | None, most: int) -> None:
        self.newest.pop(key, None)
        if value is not None:
            self.newest[key] = value
            if len(self.newest) > most:
                self.newest.popitem(last=False)
                self.more = True


@dataclass(frozen=True, slots=True)
class _Rule:
    """One decision that makes what holds for one person hold for another."""

    kind: DecisionType
    rule: Rule


def owed(person: Person, other: Person) -> list[_Rule]:
    """What was decided about the same human elsewhere, and not yet about this person; nothing is owed to the gone."""
    found: list[_Rule] = []
    if person.pseudonym is None:
        return found
    if other.cut_off > person.cut_off:
        found.append(_Rule("erase", Rule(range=Span(to=from_ms(other.cut_off).date().isoformat()))))
    if mask := other.objected & ~person.objected:
        found.append(_Rule("object", Rule(mask=mask)))
    if mask := other.withdrawn & ~person.withdrawn:
        found.append(_Rule("withdraw", Rule(mask=mask)))
    if other.restricted and not other.imposed and not person.restricted:
        found.append(_Rule("restrict", Rule()))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityChangeNeeds:
    """What carrying over needs of the world."""

    tenant: Tenant
    ring: Keyring
    safe: Safe
    writer: Writer
    policy: Policy
    settings: Settings
    clock: Clock
    log: Log
    told: Callable[[str], None] = lambda _: None


class CarryOver:
    """One tenant's; with `dry` nothing is written, and the present rules are those given."""

    def __init__(self, needs: IdentityChangeNeeds, *, dry: tuple[str, ...] | None = None) -> None:
        self._n, self._dry = needs, dry
        self._homes, self._naming = Homes(needs.ring), Naming(needs.tenant, needs.ring.vault)
        self._counted: dict[Lookup, Lookup] = {}
        self._legs, self._held = needs.settings.topic(Topic.LEGS), needs.settings.topic(Topic.HELD)
        self._steps = CrashPoints(needs.settings.off)

    async def run(self) -> Carried:
        """
        Carry everybody over.

        Raises:
            IdentityMovedError: The keystore is another since it began: run it again.

        """
        profile = self._n.ring.vault.profile(self._n.tenant)
        if self._dry is None and profile.at is not None:
            await self._units_end(profile.at)
        origin, _ = await self._n.ring.keystore.origin([IDENTITY_KEY])
        await self._n.ring.view([])
        done = Carried()
        for partition in range(self._n.settings.partitions):
            await self._partition(partition, done)
            await self._copies(partition)
            self._n.told(f"partition {partition + 1} of {self._n.settings.partitions}: {done.people} people")
        if self._dry is None:
            await self._mark(origin, len(profile.before))
        return done

    async def _units_end(self, since: Any) -> None:
        """Whoever began a unit under the former rules has ended it, or has halted: what it stored is in the log."""
        left = since + timedelta(seconds=self._n.settings.unit_max_s) - self._n.clock.now()
        if left > timedelta(0):
            self._n.told(f"waits {left.total_seconds():.0f} s, until no unit runs that began under the former rules")
            await asyncio.sleep(left.total_seconds())

    async def _mark(self, origin: bytes, many: int) -> None:
        view = await self._n.ring.view([])
        again, (mark,) = await self._n.ring.keystore.origin([IDENTITY_KEY])
        if again != origin:
            raise IdentityMovedError("the keystore was restarted or restored meanwhile: run it again")
        if view.carried < many:
            await self._n.ring.keystore.swap({IDENTITY_KEY: (mark, str(many).encode())}, {})
        self._steps.reached("carry.marked")

    # --- the legs of one partition ------------------------------------------------------------------------------------

    async def _partition(self, partition: int, done: Carried) -> None:
        found = await self._newest(partition, _LEGS_OF_ONE, None)
        short = {name for name, legs in found.items() if legs.more and not legs.newest}
        if short:  # all that was kept of them was removed later
            found |= await self._newest(partition, 1 << 30, short)
        names = [name for name, legs in found.items() if legs.newest]
        for at in range(0, len(names), _AT_ONCE):
            some = names[at : at + _AT_ONCE]
            owners = await self._n.ring.owners([Pseudonym(name) for name in some])
            for name in some:
                owner = owners.get(Pseudonym(name))
                texts = [] if owner is None else list(_subjects(found[name], owner[1]))
                if owner is None or not texts:
                    done.unopened += 1
                    continue
                done.people += 1
                await self._person(owner[0], texts, done)

    async def _newest(self, partition: int, most: int, only: set[str] | None) -> dict[str, _Legs]:
        found: dict[str, _Legs] = {}

        def note(record: Any) -> None:
            key = record.key or b"~"
            name = key[:22].decode("ascii", "replace")
            if key[:1] != b"~" and (only is None or name in only):
                value = content(record)
                if value is not None or name in found:
                    found.setdefault(name, _Legs()).note(key, value, most)

        await self._n.log.read_each(self._legs, [partition], note)
        return found

    async def _copies(self, partition: int) -> None:
        """Of whom no leg is left, but a copy that is kept: their entry is found by the identifier in it."""
        if self._dry is not None:
            return
        kept: dict[bytes, bytes | None] = {}

        def note(record: Any) -> None:
            if (key := record.key or b"~")[:1] != b"~":
                kept[key] = content(record)

        await self._n.log.read_each(self._held, [partition], note)
        copies = [(HoldId(key[:22].decode("ascii", "replace")), value) for key, value in kept.items() if value]
        entries, _ = await self._n.safe.readable(name for name, _ in copies)
        for name, value in copies:
            if (entry := entries.get(name)) is not None and entry.secret is not None:
                for text in _opened([(value, entry.secret.copy_key())]):
                    await self._homes.of([self._homes.stored(text)])

    # --- one person ---------------------------------------------------------------------------------------------------

    async def _person(self, home: Lookup, texts: Sequence[str], done: Carried) -> None:
        lookup = next((found for text in texts if (found := self._lookup(text)) is not None), None)
        if lookup is None:
            done.refused += 1
        elif lookup != home:
            await self._brought(lookup, home, done)

    def _lookup(self, text: str) -> Lookup | None:
        rules = self._naming.rules if self._dry is None else self._dry
        try:
            return self._naming.keyed(canonical(text, rules))
        except MessageError:
            return None

    async def _brought(self, lookup: Lookup, home: Lookup, done: Carried) -> None:
        """Let a key lead to where somebody is; whoever is there already and they know of each other from then on."""
        own = (await self._homes.where([lookup]))[lookup]
        if own == home or home in (await self._homes.same([own]))[own]:
            return
        view = await self._n.ring.view([own, home])
        if view.raw[home] is None:
            return  # gone meanwhile, and the fence with them
        if view.raw[own] is None and self._dry is not None and self._counted.setdefault(lookup, home) != home:
            done.joined += 1
        elif view.raw[own] is None:
            if self._dry is None and not await self._homes.lead(own, home):
                await self._brought(lookup, home, done)
            else:
                done.led += 1
        else:
            await self._joined({each: self._n.ring.person(each, view.raw[each]) for each in (own, home)}, done)
        self._steps.reached("carry.brought")

    async def _joined(self, two: dict[Lookup, Person | None], done: Carried) -> None:
        """Two people are one: what is decided about either holds for both, and each knows of the other."""
        (own, there), (home, person) = two.items()
        if there is not None and person is not None:
            done.joined += 1
            done.erased += any(
                each.kind == "erase" for one, other in ((there, person), (person, there)) for each in owed(one, other)
            )
            if self._dry is None:
                await self._decided(own, there, person)
                await self._decided(home, person, there)
                self._steps.reached("carry.decided")
                await self._homes.join(own, home)

    async def _decided(self, lookup: Lookup, person: Person, other: Person) -> None:
        rules = owed(person, other)
        if not rules or person.pseudonym is None:
            return
        keys = await self._n.ring.keys_of(person.pseudonym)
        if keys is None:
            return
        view, vault, tenant = await self._n.ring.view([]), self._n.ring.vault, self._n.tenant
        key = vault.epoch_key(pointer(view), tenant, "ledger")
        outputs: list[Output] = []
        for each in rules:
            told = self._decision(each, person.pseudonym, pointer(view), other)
            if each.rule != Rule():
                told = seal_rule(told, each.rule, keys.identity.rules_key(), fresh_nonce())
            told = seal_entry(told, Entry(lookup, person.generation), key, fresh_nonce())
            place = partition_of(person.pseudonym, self._n.settings.partitions)
            name = record_key(person.pseudonym, DecisionId(told.decision))
            outputs.append(Output(self._n.settings.topic(Topic.DECISIONS), place, name, encode(told)))
        await self._n.writer.write(await self._n.ring.guard.vouched(DESK, outputs))

    def _decision(self, each: _Rule, pseudonym: Pseudonym, epoch: Any, other: Person) -> Decision:
        now, tenant = self._n.clock.now(), self._n.tenant
        name = f"same {pseudonym} {other.pseudonym or other.cut_off} {each.kind}"
        return Decision(
            v=version_at(self._n.ring.forms),
            decision=decision_id(tenant, name, 0, other.generation),
            type=each.kind,
            tenant=tenant,
            case=digest("same", tenant, name),
            pseudonym=pseudonym,
            entry="",
            epoch=epoch,
            cut_off=now,
            range="sealed" if each.kind == "erase" else None,
            pol=self._n.policy.at(now.date()).effective.isoformat(),
            at=now,
        )


def _subjects(legs: _Legs, opened: KeyBytes) -> Iterator[str]:
    """The identifiers in some legs, the newest first, as far as they open."""
    for value in reversed(legs.newest.values()):
        with suppress(MessageError):
            yield from _opened([(value, opened.data_key(month_from(parse_header(value).mon)))])


def _opened(sealed: Iterable[tuple[bytes, DataKey]]) -> Iterator[str]:
    """The identifiers in what opens."""
    for value, key in sealed:
        with suppress(MessageError, ValueError):
            yield read_leg(open_leg(value, key)).subject
