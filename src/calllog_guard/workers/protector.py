"""
The protector: a call becomes one sealed leg per party, under that party's own key, and nothing else.

Steps (numbered for the crash tests): 1 decoded, 2 read, 3 minted, 4 sealed, 5 acknowledged, 6 read again.
Rules: 1. Person entries are read afresh per unit, and again after its outputs are acknowledged.
       2. If one changed in between, the unit is done again before its offset moves.
Source: design sections 4, 7, 8, 9.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import Final

import msgspec
from aiokafka import TopicPartition

from calllog_guard.core.calls.event import Limits, call_of, canonical, payload_of, read_event
from calllog_guard.core.calls.leg import leg_texts
from calllog_guard.core.calls.protect import Fated, fate_of
from calllog_guard.core.crypto.entries import Person
from calllog_guard.core.crypto.envelope import NONCE_BYTES, LegHeader, seal_leg
from calllog_guard.core.crypto.secrets import Month, Pepper, month_of
from calllog_guard.core.ids import CallId, Lookup, Tenant, Token, record_key
from calllog_guard.core.retention.purpose import allowed, mask_for
from calllog_guard.core.tombstone import Output, tombstone
from calllog_guard.core.wire import to_ms
from calllog_guard.errors import MessageError, RecordError
from calllog_guard.policy import Policy
from calllog_guard.ports import Clock, Writer
from calllog_guard.settings import Settings
from calllog_guard.workers.delivery import DeadLetters, Steps, Unit
from calllog_guard.workers.keyring import Keyring, Opened, View

Count = Callable[[str, int], None]
_OUTCOMES: Final = ("answered", "missed", "declined", "failed")
_ROLES: Final = ("host", "guest", "caller", "callee")


class Part(msgspec.Struct, frozen=True, gc=False):
    """
    One party of one checked event.

    Args:
        text: The leg's plaintext; None for a party that is removed.
        started_ms: When the call began; `appended_ms` is when its record was appended.
        day: Of the call's start, UTC, as in the leg's header; `month` picks the key.

    """

    lookup: Lookup
    mask: int
    text: bytes | None
    call: CallId
    started_ms: int
    appended_ms: int
    day: str
    month: Month


@dataclass(frozen=True, slots=True)
class Rules:
    """What the policy in force says, as tables."""

    version: str
    lowercase_email: bool
    consent_bits: int
    masks: dict[tuple[str, str], int]


class Protector:
    """The role that reads events and writes legs, for one tenant."""

    name = "protector"

    def __init__(
        self,
        tenant: Tenant,
        topics: tuple[str, ...],
        ring: Keyring,
        pepper: Pepper,
        writer: Writer,
        dead: DeadLetters,
        policy: Policy,
        settings: Settings,
        clock: Clock,
        count: Count,
    ) -> None:
        self.topics = topics
        self._tenant, self._ring, self._pepper, self._writer, self._dead = tenant, ring, pepper, writer, dead
        self._policy, self._settings, self._clock, self._count = policy, settings, clock, count
        self._legs = settings.topic("calllog.legs")
        self._steps = Steps(settings.off)
        self._limits = Limits(
            ahead_ms=settings.event_ahead_s * 1000,
            late_ms=settings.event_late_days * 86_400_000,
            max_bytes=settings.event_max_bytes,
        )
        self._lookups: dict[str, Lookup] = {}

    async def assigned(self, partitions: Sequence[int]) -> dict[TopicPartition, int]:
        """See Role: the committed offset is the position."""
        del partitions
        return {}

    async def revoked(self, partitions: Sequence[int]) -> None:
        """See Role."""

    async def idle(self) -> None:
        """See Role."""

    async def unit(self, unit: Unit) -> None:
        """See Role."""
        rules = self._rules()
        parts, letters = self._decoded(unit, rules)
        self._steps.reached("protect.decoded")
        lookups = list({part.lookup for part in parts})
        while True:
            view = await self._minted(parts, lookups)
            self._steps.reached("protect.minted")
            outputs = letters + await self._sealed(parts, view, rules)
            self._steps.reached("protect.sealed")
            await self._writer.write(outputs)
            self._steps.reached("protect.acknowledged")
            again = await self._ring.view(lookups)
            self._steps.reached("protect.read_again")
            if again.raw == view.raw:
                break
            self._count("units_repeated", 1)
            letters = []
        self._count("legs_written", sum(output.value is not None for output in outputs))

    # --- 1 decoded --------------------------------------------------------------------------------------------------

    def _rules(self) -> Rules:
        version = self._policy.at(self._clock.now().date())
        tenant = version.tenant[self._tenant]
        purposes = tenant.listed()
        return Rules(
            version=version.effective.isoformat(),
            lowercase_email=tenant.lowercase_email,
            consent_bits=sum(purpose.bit for purpose in purposes if purpose.basis == "consent"),
            masks={(role, outcome): mask_for(purposes, role, outcome) for role in _ROLES for outcome in _OUTCOMES},
        )

    def _decoded(self, unit: Unit, rules: Rules) -> tuple[list[Part], list[Output]]:
        parts: list[Part] = []
        letters: list[Output] = []
        for record in (record for records in unit.values() for record in records):
            if record.key is not None and record.key[:1] == b"~":
                continue
            try:
                event = read_event(
                    payload_of(record.value, record.headers),
                    tenant=self._tenant,
                    lowercase_email=rules.lowercase_email,
                    appended_ms=record.timestamp,
                    limits=self._limits,
                )
            except MessageError as error:
                letters.append(self._dead.of(record, error))
                self._count("dead_" + error.reason, 1)
                continue
            start = event.started_at.astimezone(UTC)
            day = start.date().isoformat()
            shared = (call_of(event), to_ms(start), record.timestamp, day, month_of(start.year, start.month))
            for party, text in zip(event.parties, leg_texts(event), strict=True):
                mask = rules.masks[party.role, event.outcome]
                parts.append(Part(self._lookup(party.id, rules), mask, text, *shared))
            parts.extend(Part(self._lookup(gone, rules), 0, None, *shared) for gone in event.removed)
        return parts, letters

    def _lookup(self, text: str, rules: Rules) -> Lookup:
        found = self._lookups.get(text)
        if found is None:
            if len(self._lookups) >= self._settings.cache_entries:
                self._lookups.clear()
            subject = canonical(text, lowercase_email=rules.lowercase_email)
            found = self._lookups[text] = self._pepper.lookup(self._tenant, subject)
        return found

    # --- 2 read, 3 minted -------------------------------------------------------------------------------------------

    async def _minted(self, parts: Sequence[Part], lookups: Sequence[Lookup]) -> View:
        while True:
            view = await self._ring.view(lookups)
            self._steps.reached("protect.read")
            wanted: dict[Lookup, Person | None] = {}
            for part in parts:
                person = self._ring.person(part.lookup, view.raw[part.lookup])
                if part.text is not None and self._fate(part, person, part.mask) is Fated.MINT:
                    wanted[part.lookup] = person
            if not wanted:
                return view
            now = self._clock.now()
            late = now - timedelta(days=self._settings.event_late_days)
            if await self._ring.mint(wanted, view, month_of(late.year, late.month), month_of(now.year, now.month)):
                self._count("secrets_minted", len(wanted))

    @staticmethod
    def _fate(part: Part, person: Person | None, mask: int) -> Fated:
        return fate_of(person, mask, part.started_ms, part.appended_ms)

    # --- 4 sealed ---------------------------------------------------------------------------------------------------

    async def _sealed(self, parts: Sequence[Part], view: View, rules: Rules) -> list[Output]:
        persons: dict[Lookup, Person] = {}
        for lookup, raw in view.raw.items():
            person = self._ring.person(lookup, raw)
            if person is not None and person.pseudonym is not None:
                persons[lookup] = person
        opened = await self._ring.open(persons)
        outputs: list[Output] = []
        for part in parts:
            person = persons.get(part.lookup)
            output = self._leg(part, person, opened.get(part.lookup), rules)
            if output is not None:
                outputs.append(output)
        return outputs

    def _leg(self, part: Part, person: Person | None, keys: Opened | None, rules: Rules) -> Output | None:
        if person is None or keys is None:
            self._count("suppressed_" + self._fate(part, person, 0).value, 1)
            return None
        mask = allowed(
            part.mask,
            rules.consent_bits,
            objected=person.objected,
            withdrawn=person.withdrawn,
            consented=person.consented,
        )
        fate = self._fate(part, person, mask)
        token = keys.token_key.token(part.call)
        key = record_key(keys.pseudonym, token)
        if fate is Fated.REMOVE:
            return tombstone(self._legs, key, self._settings.partitions)
        if fate is not Fated.STORE or part.text is None:
            self._count("suppressed_" + fate.value, 1)
            return None
        try:
            value = self._value(part, token, mask, keys, rules, part.text)
        except RecordError:
            self._count("suppressed_lapsed", 1)
            return None
        return Output(self._legs, keys.place % self._settings.partitions, key, value)

    def _value(self, part: Part, token: Token, mask: int, keys: Opened, rules: Rules, text: bytes) -> bytes:
        header = LegHeader(
            kid=keys.pseudonym,
            mon=part.day[:7],
            day=part.day,
            rid=token,
            pur=mask,
            pol=rules.version,
            ten=self._tenant,
            top=self._legs,
        )
        return seal_leg(header, text, keys.data_key(part.month), secrets.token_bytes(NONCE_BYTES))
