"""
Parts of checked calls to sealed legs: persons read afresh, minted where new, and nothing settled on an old view.

The protector and the import of old logs both write through this, so that one rule decides what is stored.
Steps (numbered for the crash tests): 2 read, 3 minted, 4 sealed, 5 acknowledged, 6 read again.
Rules: 1. Person entries are read afresh per unit, and again after its outputs are acknowledged.
       2. If one changed in between, or the rules by which people are known, the unit is done again before its offset
          moves.
       3. Whose entries cannot be used is left out and told: what becomes of their parts is the caller's to say.
Source: docs/explanation/design.md, docs/reference/messages.md, docs/explanation/keystore.md.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import Final, NamedTuple, get_args

import msgspec

from calllog_guard.core.calls.event import CheckedEvent, LegForm, Skips, call_of
from calllog_guard.core.calls.fate import Fated, fate_of
from calllog_guard.core.calls.leg import emptied, form_of, leg_texts, read_leg, removal_text, renewed
from calllog_guard.core.calls.strangers import with_guests
from calllog_guard.core.crypto.entries import Person
from calllog_guard.core.crypto.key_bytes import KeyBytes
from calllog_guard.core.crypto.leg_envelope import Draft, leg_head, leg_header, seal_each
from calllog_guard.core.crypto.subject_secrets import CallKey, DataKey, Month, floor_month, month_of
from calllog_guard.core.identifiers import CallId, Lookup, Token, id_texts, record_key
from calllog_guard.core.policy.form import Version
from calllog_guard.core.records import Output
from calllog_guard.core.retention.purposes import allowed, mask_for
from calllog_guard.core.stream.heartbeats import Heartbeats
from calllog_guard.core.topics import Topic
from calllog_guard.errors import IdentityMovedError, KeyMissingError, RecordError
from calllog_guard.metrics import CounterMetric, Counters
from calllog_guard.ports.fault_injection import CrashPoints
from calllog_guard.workers.context import WorkerContext
from calllog_guard.workers.keys.people.homes import Homes
from calllog_guard.workers.keys.people.naming import Names, Naming, UnitNames
from calllog_guard.workers.keys.people.unreadable import Unreadable
from calllog_guard.workers.keys.people.view import View

Persons = Mapping[Lookup, Person | None]
_SUPPRESSED: Final = {fate: Counters.events_suppressed[fate] for fate in get_args(Fated)}
_OUTCOMES: Final = ("answered", "missed", "declined", "failed")
_AT_ONCE: Final = 256
"""Legs: their texts and records lie in memory more than once while they are sealed."""
_ROLES: Final = ("host", "guest", "caller", "callee")


class PendingLeg(msgspec.Struct, frozen=True, gc=False):
    """
    One party of one checked event.

    Args:
        text: The leg's plaintext; None for a party that is removed.
        started_ms: When the call began; `appended_ms` is when its record was first appended.
        day: Of the call's start, UTC, as in the leg's header; `month` picks the key.
        place: Where the event lay (topic, partition, offset), and the party's place in it.
        removed: The identifier of a party that is removed.
        former: What the lookup was by former rules of identity; see `resolved`.
        form: The leg's version, which says how `text` names the call.
        session: Of which of the person's sessions it is; empty where they have none.
        revision: Of the event; -1 where it has none. What a revision removes has a `text`, too, in the leg's place.

    """

    lookup: Lookup
    mask: int
    text: bytes | None
    call: CallId
    started_ms: int
    appended_ms: int
    day: str
    month: Month
    place: tuple[str, int, int, int] = ("", 0, 0, 0)
    removed: str = ""
    former: tuple[Lookup, ...] = ()
    form: LegForm = 1
    session: str = ""
    revision: int = -1


class DueLeg(msgspec.Struct, frozen=True, gc=False):
    """
    A part that leaves a record.

    Args:
        mask: The purposes that its person leaves it.
        data_key: Of its month; None: its leg is removed by a tombstone.
        text: What is sealed.

    """

    part: PendingLeg
    keys: KeyBytes
    mask: int
    data_key: DataKey | None = None
    text: bytes = b""


class Settled(NamedTuple):
    """How many parts ended in which way, and whose were left out."""

    ended: Counter[CounterMetric]
    left: Unreadable


class PurposeTables(NamedTuple):
    """
    What a version of the policy says to the legs of a form.

    Args:
        consent_bits: Of purposes that need a consent.
        head: The headers' common parts; `revised` are those of revisions.
        masks: By outcome and role.
        guests: Whether guests leave legs; `skips` are those of whom nothing is kept.

    """

    consent_bits: int
    head: tuple[str, str]
    revised: tuple[str, str]
    masks: dict[str, dict[str, int]]
    guests: bool
    skips: Skips | None


@dataclass(frozen=True, slots=True)
class UnitRules:
    """What holds for one unit: the policy in force, and the rules by which people, calls and heartbeats are known."""

    version: str
    identity: tuple[str, ...]
    calls: CallKey | None
    heartbeats: Heartbeats
    tables: PurposeTables
    names: UnitNames


class Sealer:
    """
    One tenant's way from parts to acknowledged legs.

    Args:
        returns: Whether a call may bring back a person who is gone; an old log's never does.

    """

    def __init__(self, context: WorkerContext, *, returns: bool = True) -> None:
        self._tenant, self._ring, self._writer = context.tenant, context.ring, context.writer
        self._naming, self._homes = Naming(context.tenant, context.vault), Homes(context.ring)
        self._policy, self._settings, self._clock = context.policy, context.settings, context.clock
        self._keep_days, self._returns, self._count = context.keep_days, returns, context.count
        self._legs, self._steps = context.settings.topic(Topic.LEGS), CrashPoints(context.settings.off)
        self._tables: tuple[Version, LegForm, PurposeTables] | None = None

    # --- parts ------------------------------------------------------------------------------------------------------

    def rules(self) -> UnitRules:
        """By the policy version in force now, for one unit."""
        version, calls = self._policy.at(self._clock.now().date()), self._ring.calls
        form = form_of(calls)
        if self._tables is None or self._tables[0] is not version or self._tables[1] != form:
            self._tables = version, form, self._tables_of(version, form)
        return UnitRules(
            version=version.effective.isoformat(),
            identity=self._naming.rules,
            calls=calls,
            heartbeats=self._ring.guard.heartbeats,
            tables=self._tables[2],
            names=self._naming.of_unit(),
        )

    def _tables_of(self, version: Version, form: LegForm) -> PurposeTables:
        table = version.tenant[self._tenant]
        purposes = table.listed()
        return PurposeTables(
            sum(purpose.bit for purpose in purposes if purpose.basis == "consent"),
            leg_head(version.effective.isoformat(), self._tenant, self._legs, form),
            leg_head(version.effective.isoformat(), self._tenant, self._legs, form, revised=True),
            {outcome: {role: mask_for(purposes, role, outcome) for role in _ROLES} for outcome in _OUTCOMES},
            table.names_guests,
            Skips.of(table.skips),
        )

    def parts(
        self, checked: CheckedEvent, appended_ms: int, rules: UnitRules, place: tuple[str, int, int] = ("", 0, 0)
    ) -> list[PendingLeg]:
        """The parties of a checked event; `appended_ms` is when it first came to us, `place` where it lies."""
        if checked.guests and rules.tables.guests and rules.calls is not None:
            checked = with_guests(checked, rules.calls)
        event = checked.event
        start = event.started_at.astimezone(UTC)
        day, form = start.date().isoformat(), form_of(rules.calls)
        call, began, month = call_of(event), checked.started_ms, month_of(start.year, start.month)
        revision = -1 if event.revision is None else event.revision
        lookups, former = rules.names.of_all(checked.names), rules.names.former_of_all(checked.names, event)
        masks, texts, parts = rules.tables.masks[event.outcome], leg_texts(event, rules.calls), list[PendingLeg]()
        for index, party in enumerate(event.parties):
            lookup, mask, text = lookups[index], masks[party.role], texts[index]
            where, before, session = (*place, index), former[index], party.session or ""
            parts.append(
                PendingLeg(
                    lookup, mask, text, call, began, appended_ms, day, month, where, "", before, form, session, revision
                )
            )
        for index, each in enumerate(event.removed, len(parts)):
            who, session = (each, "") if isinstance(each, str) else (each.id, each.session)
            mark = removal_text(event, who, session, rules.calls) if revision >= 0 else None
            lookup, where, before = lookups[index], (*place, index), former[index]
            parts.append(
                PendingLeg(
                    lookup, 0, mark, call, began, appended_ms, day, month, where, who, before, form, session, revision
                )
            )
        return parts

    @staticmethod
    def again(part: PendingLeg, rules: UnitRules) -> PendingLeg:
        """A part that has waited, for the purposes that it came with and the policy still has, in today's form."""
        if part.text is None:
            return part
        leg = read_leg(part.text)
        text, form = renewed(part.text, part.form, rules.calls)
        return msgspec.structs.replace(
            part, mask=part.mask & rules.tables.masks[leg.outcome][leg.role], text=text, form=form
        )

    async def resolved(self, parts: Sequence[PendingLeg]) -> tuple[list[PendingLeg], Unreadable]:
        """
        The parts under the keys where their people's entries lie: most under their own, all if no rule ever changed.

        Of whom that cannot be known keeps their own key, and it is told why.
        """
        if not self._naming.former:
            return list(parts), {}
        names = [Names(part.lookup, part.former) for part in parts]
        found = await self._homes.found(set(names))
        return [
            part if each in found.left else msgspec.structs.replace(part, lookup=found.homes[each], former=())
            for part, each in zip(parts, names, strict=True)
        ], {each.lookup: error for each, error in found.left.items()}

    # --- 2 read to 6 read again -------------------------------------------------------------------------------------

    async def settle(
        self,
        parts: Sequence[PendingLeg],
        letters: Sequence[Output],
        rules: UnitRules,
        room: int = 0,
        unknown: Unreadable | None = None,
    ) -> Settled:
        """
        Write what becomes of the parts, with `letters`; returns when all is acknowledged and no person has changed.

        Args:
            parts: As `resolved` gives them; `unknown` are those of whom it could not tell where their entries lie.
            room: How many people may be left out because their entries cannot be used.

        Raises:
            EntryUnreadableError: There are more; nothing is written.

        """
        out = unknown or {}
        known = [part for part in parts if part.lookup not in out]
        lookups = list({part.lookup for part in known})
        while True:
            view, persons, left = await self._minted(known, lookups)
            self._steps.reached("protect.minted")
            outputs, ended, keyless = await self._sealed(known, persons, rules)
            left |= keyless | out
            if len(left) > room:
                raise next(iter(left.values()))
            self._steps.reached("protect.sealed")
            await self._writer.write([*letters, *outputs])
            self._steps.reached("protect.acknowledged")
            again = await self._ring.view(lookups)
            self._steps.reached("protect.read_again")
            if self._naming.rules != rules.identity:
                raise IdentityMovedError(
                    "the rules by which people are known are others since this unit began: it is done again"
                )
            if again.raw == view.raw:
                self._answered(persons, left)
                return Settled(ended, left)
            self._count(Counters.units_repeated, 1)
            letters = ()

    def _answered(self, persons: Persons, left: Unreadable) -> None:
        """What the keystore said of the persons of a unit."""
        said = Counter(
            "unknown" if person is None else "live" if person.pseudonym else "erased"
            for lookup, person in persons.items()
            if lookup not in left
        )
        said.update("missing" if isinstance(error, KeyMissingError) else "corrupt" for error in left.values())
        for answer, times in said.items():
            self._count(Counters.keystore_answers[answer], times)

    async def _minted(self, parts: Sequence[PendingLeg], lookups: Sequence[Lookup]) -> tuple[View, Persons, Unreadable]:
        """The entries as read once everybody who needs secrets has them, what they say, and whose say nothing."""
        while True:
            view = await self._ring.view(lookups)
            self._steps.reached("protect.read")
            persons, unreadable = self._ring.persons(view)
            wanted: dict[Lookup, Person | None] = {}
            for part in parts:
                if part.text is None or part.lookup not in persons:
                    continue
                person = persons[part.lookup]
                if (person is None or person.pseudonym is None) and self._fate(part, person, part.mask) == "mint":
                    wanted[part.lookup] = person
            if not wanted:
                return view, persons, unreadable
            now = self._clock.now()
            late = now - timedelta(days=self._settings.event_late_days)
            floor = min(floor_month(now, self._keep_days), month_of(late.year, late.month))
            before = self._ring.minted
            await self._ring.mint(wanted, view, floor, month_of(now.year, now.month))
            self._count(Counters.secrets_minted, self._ring.minted - before)

    def _fate(self, part: PendingLeg, person: Person | None, mask: int) -> Fated:
        return fate_of(person, mask, part.started_ms, part.appended_ms, returns=self._returns)

    async def _sealed(
        self, parts: Sequence[PendingLeg], persons: Persons, rules: UnitRules
    ) -> tuple[list[Output], Counter[CounterMetric], Unreadable]:
        """The legs of those whose entries say something, how their parts ended, and whose keys cannot be used."""
        living = {lookup: person for lookup, person in persons.items() if person is not None and person.pseudonym}
        opened, keyless = await self._ring.open(living)
        ended: Counter[CounterMetric] = Counter()
        due: list[DueLeg] = []
        for part in parts:
            if part.lookup in persons and part.lookup not in keyless:
                leg = self._due(part, persons[part.lookup], opened.get(part.lookup), rules, ended)
                if leg is not None:
                    due.append(leg)
        outputs: list[Output] = []
        for at in range(0, len(due), _AT_ONCE):
            outputs += self._outputs(due[at : at + _AT_ONCE], rules)
        removed = sum(output.value is None for output in outputs)
        ended.update({Counters.legs_removed: removed, Counters.legs_written: len(outputs) - removed})
        return outputs, ended, keyless

    def _due(
        self,
        part: PendingLeg,
        person: Person | None,
        keys: KeyBytes | None,
        rules: UnitRules,
        ended: Counter[CounterMetric],
    ) -> DueLeg | None:
        """What is to be written of a part; None where nothing is, which is counted."""
        if person is None or keys is None:
            ended[_SUPPRESSED[self._fate(part, person, 0)]] += 1
            return None
        mask = allowed(
            part.mask,
            rules.tables.consent_bits,
            objected=person.objected,
            withdrawn=person.withdrawn,
            consented=person.consented,
        )
        fate = fate_of(person, mask, part.started_ms, part.appended_ms, returns=self._returns)
        if fate == "remove" and part.revision < 0:
            return DueLeg(part, keys, mask)
        if fate not in {"store", "remove"} or part.text is None:
            ended[_SUPPRESSED[fate]] += 1
            return None
        try:
            data_key = keys.data_key(part.month)
        except RecordError:
            ended[Counters.events_suppressed["lapsed"]] += 1
            return None
        return DueLeg(part, keys, mask, data_key, part.text if fate == "store" else emptied(part.text))

    def _outputs(self, due: Sequence[DueLeg], rules: UnitRules) -> list[Output]:
        """The records of what is due, in its order."""
        tokens = id_texts([leg.keys.token_key.token_bytes(leg.part.call, leg.part.session) for leg in due])
        names: list[bytes] = []
        drafts: list[Draft] = []
        for leg, name in zip(due, tokens, strict=True):
            part, keys, token, head = leg.part, leg.keys, name, rules.tables.head
            if part.revision >= 0:
                token = keys.token_key.revised(Token(token), part.call, part.session, part.revision)
                head = rules.tables.revised
            names.append(record_key(keys.pseudonym, token))
            if leg.data_key is not None:
                drafts.append((leg_header(head, keys.pseudonym, part.day, token, leg.mask), leg.text, leg.data_key))
        sealed, partitions = iter(seal_each(drafts)), self._settings.partitions
        return [
            Output(self._legs, leg.keys.place % partitions, name, None if leg.data_key is None else next(sealed))
            for leg, name in zip(due, names, strict=True)
        ]
