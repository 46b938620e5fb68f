"""
Holds at the desk: ordered by officers, over everyone named and in whatever generation they come back; and released.

Steps (for the crash tests): 1 entry made, 2 people named in it, 3 keys marked, 4 decisions written, 5 flags set,
6 told; of a release: 1 decisions written, 2 flags, 3 secret destroyed.
Rules: 1. A person's key is marked before the decision is written: no erasure then destroys it before the copies exist.
       2. The terms name everyone before the ledger does: a release finds them all.  3. Whoever is back after erasure is
          under the same holds before anything else is decided about them.
       4. What law keeps of an erased person is theirs: a hold ordered later has it copied, for as long as it stands.
Source: docs/adr/0004-a-hold-is-a-copy.md, docs/explanation/design.md, docs/explanation/cases.md.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Final

import structlog

from calllog_guard.core.cases.case import Case
from calllog_guard.core.codec import encode
from calllog_guard.core.crypto.entries import HOLDS_MOST, Keys, Person
from calllog_guard.core.decisions.decision import (
    Decision,
    Entry,
    decision_id,
    decision_in,
    open_entry,
    seal_entry,
    version_at,
)
from calllog_guard.core.decisions.hold import (
    DISCLOSED,
    LAW_FROM,
    READY,
    Covered,
    OfLaw,
    Release,
    Terms,
    hold_id,
    over_subjects,
    with_people,
    with_told,
)
from calllog_guard.core.decisions.outcome import is_result
from calllog_guard.core.decisions.standing_rules import Rule, seal_rule
from calllog_guard.core.identifiers import INTERNAL_KEY, DecisionId, EpochName, HoldId, Lookup, Pseudonym, id_bytes
from calllog_guard.core.requests.request import Request
from calllog_guard.core.requests.types import DecisionType
from calllog_guard.core.topics import Topic
from calllog_guard.errors import (
    EntryUnreadableError,
    EpochUnknownError,
    HoldReleasedError,
    HoldsFullError,
    KeyMissingError,
    MessageError,
    ParkedError,
    RequestRefusedError,
)
from calllog_guard.ports.fault_injection import CrashPoints
from calllog_guard.workers.desk.context import DeskContext
from calllog_guard.workers.desk.decisions.granted import Former, Granted, Telling, span_of
from calllog_guard.workers.keys.hold_store import terms_of
from calllog_guard.workers.keys.people.law_copies import KeptOf
from calllog_guard.workers.keys.people.view import fresh_nonce, pointer

log: Final = structlog.get_logger()
_NONE: Final = HoldId("none")
"""No hold: asked for with all others, so that asking takes the same whether there are any."""


class Holds:
    """One tenant's holds."""

    def __init__(self, context: DeskContext) -> None:
        self._a, self._tenant, self._ring, self._safe = context, context.tenant, context.ring, context.safe
        self._steps, self._lock = CrashPoints(context.settings.off), asyncio.Lock()
        self._kept = KeptOf(context.ring, context.clock)

    @property
    def context(self) -> DeskContext:
        """What the parts of a desk share."""
        return self._a

    async def named(self, request: Request) -> tuple[HoldId | None, bool]:
        """
        The hold that a new request is about, and whether it is secret.

        Raises:
            HoldReleasedError: `known_hold` for an order by a used name, `unknown_hold` for a release or disclosure.
            RequestRefusedError: `not_of_this_hold`: one named is not in the hold; `unreadable_hold`; of a disclosure
                `not_for_this_authority`, and `secret_hold` where the person would be told of it before.

        """
        if request.hold is None:
            return None, False
        name = hold_id(self._tenant, request.hold.id)
        entries, unreadable = await self._safe.readable([name])
        if unreadable:  # an officer knows how to mend it: nothing is asked of it until then
            raise RequestRefusedError("unreadable_hold", "/hold/id")
        entry = entries.get(name)
        if request.type == "hold":
            if entry is not None:
                raise HoldReleasedError("known_hold", "/hold/id")
            return name, bool(request.hold.secret)
        if entry is None or entry.secret is None:
            raise HoldReleasedError("unknown_hold", "/hold/id")
        terms = terms_of(entry)
        if any(each.isdisjoint(terms.subjects) for each in await self._a.decider.subjects.keys(request)):
            raise RequestRefusedError("not_of_this_hold", "/subjects")
        if request.type == "disclose" and terms.authority != request.authority:
            raise RequestRefusedError("not_for_this_authority", "/authority")
        if request.type == "disclose" and terms.secret and request.notify != "when_lifted":
            raise RequestRefusedError("secret_hold", "/notify")
        return name, terms.secret

    # --- order --------------------------------------------------------------------------------------------------------

    async def hold(self, granted: Granted) -> Case:
        """
        Put everyone named under the hold who is there; repeatable after a crash. Nobody is minted: it would show.

        Raises:
            EntryUnreadableError: Of some whose entries cannot be used; the others are under it.
            HoldsFullError: As `_cover`.

        """
        case, order = granted.case, granted.request.hold
        if order is None or case.hold is None:
            raise RequestRefusedError("missing_field", "/hold")
        name, lookups = HoldId(case.hold), await self._a.decider.lookups(granted.request)
        terms = Terms(
            name=order.id,
            case=case.case,
            range=span_of(order.range),
            authority=order.authority,
            basis=order.basis or "",
            review_at=order.review_at,
            secret=case.secret,
            subjects=tuple(dict.fromkeys(lookups.values())),
        )
        await self._safe.made(name, terms)
        self._steps.reached("hold.made")
        everyone = list(lookups.values())
        met = await self.living(everyone)
        if not case.jti.endswith(READY):  # whoever was erased before a disclosure was asked for is known no more
            law = await self._kept.of(everyone)
            met += [*await self._erased(everyone), *await self._a.decider.by_law(granted, lookups, law)]
        case, left = await self._cover(name, case, granted.version, met)
        left |= self._ring.persons(await self._ring.view(list(lookups.values())))[1]
        for error in left.values():
            raise error
        return case

    async def _cover(
        self, name: HoldId, case: Case, version: str, met: Sequence[tuple[Lookup, int, Pseudonym]]
    ) -> tuple[Case, dict[Lookup, ParkedError]]:
        """
        Mark, decide and flag for those of some people whom the hold does not cover yet in this generation of theirs.

        Who is left out: their keys cannot be used, or bear as many marks as they can.
        """
        terms = await self._safe.change(name, lambda found: with_people(found, met))
        fresh = [each for each in terms.people if not each.told]
        if not fresh:
            return case, {}
        self._steps.reached("hold.named")
        found: list[Decision] = []
        left: dict[Lookup, ParkedError] = {}
        for each in fresh:
            try:
                decision = await self._marked(name, terms, case, version, each)
            except ParkedError as error:
                left[Lookup(each.lookup)] = error
            else:
                found += [decision] if decision is not None else []
        self._steps.reached("hold.marked")
        case = await self._a.decider.decided(case, found)
        self._steps.reached("hold.decided")
        done = [each for each in fresh if each.lookup not in left]
        for each in done:
            await self._flag(Lookup(each.lookup), each.generation, held=True)
        self._steps.reached("hold.flagged")
        await self._safe.change(name, partial(with_told, done))
        return case, left

    async def living(self, lookups: Collection[Lookup]) -> list[tuple[Lookup, int, Pseudonym]]:
        """Who of some people is there; whose entry cannot be used is not: what they are named in waits for it."""
        persons, _ = self._ring.persons(await self._ring.view(list(lookups)))
        return [
            (lookup, person.generation, person.pseudonym)
            for lookup, person in persons.items()
            if person is not None and person.pseudonym is not None
        ]

    async def _erased(self, lookups: Collection[Lookup]) -> list[tuple[Lookup, int, Pseudonym]]:
        """Earlier generations of erased people: where the erasure still runs, the key is there and can be marked."""
        persons, unreadable = self._ring.persons(await self._ring.view(list(lookups)))
        if not unreadable and not any(person is not None and person.cut_off for person in persons.values()):
            return []
        topic, found = self._a.settings.topic(Topic.DECISIONS), []
        for record in await self._a.log.read_all(topic, range(self._a.settings.partitions)):
            if record.value is None or not record.key or record.key[:1] == INTERNAL_KEY or is_result(record.key):
                continue
            try:
                decision = decision_in(record, self._ring.guard.proofs)
                key = self._a.vault.epoch_key(EpochName(decision.epoch), self._tenant, "ledger")
                entry = open_entry(decision, key) if decision.total else None
            except (MessageError, EpochUnknownError):
                continue  # not written by a desk, or so old that it is done
            if entry is not None and entry.lookup in lookups:
                found.append((entry.lookup, entry.generation, Pseudonym(decision.pseudonym)))
        return found

    async def _marked(self, name: HoldId, terms: Terms, case: Case, version: str, each: Covered) -> Decision | None:
        """
        The decision about one person, whose key bears its mark; None when the key is gone, and with it the records.

        Raises:
            ParkedError: The key of a living person is missing, cannot be used, or has no room for the mark.

        """
        decision = decision_id(self._tenant, case.name, each.number, each.generation)
        if each.generation >= LAW_FROM:
            task = encode(OfLaw(hold=name, range=terms.range))
            bare = await self._decision("hold", decision, case, version, each)
            return self._sealed(bare, Entry(Lookup(each.lookup), each.generation, task))
        mark = id_bytes(decision)

        def marked(keys: Keys) -> Keys:
            holds = tuple(dict.fromkeys((*keys.holds, mark)))
            if len(holds) > HOLDS_MOST[max(self._ring.forms, keys.rest.form)]:
                raise HoldsFullError(
                    f"as many holds of {each.pseudonym} wait for their copies as its key entry can name"
                )
            return replace(keys, holds=holds)

        keys = await self._ring.change_keys(Pseudonym(each.pseudonym), marked)
        if keys is None:
            if (Lookup(each.lookup), each.generation, each.pseudonym) in await self.living([Lookup(each.lookup)]):
                raise KeyMissingError(f"the key of the live person {each.pseudonym} is missing", "key_missing")
            return None
        told = await self._decision("hold", decision, case, version, each)
        told = seal_rule(told, Rule(hold=name, range=terms.range), keys.identity.rules_key(), fresh_nonce())
        return self._sealed(told, Entry(Lookup(each.lookup), each.generation))

    async def _decision(
        self, kind: DecisionType, name: DecisionId, case: Case, version: str, each: Covered
    ) -> Decision:
        now = self._a.clock.now()
        return Decision(
            v=version_at(self._ring.forms),
            decision=name,
            type=kind,
            tenant=self._tenant,
            case=case.case,
            pseudonym=each.pseudonym,
            entry="",
            epoch=pointer(await self._ring.view([])),
            cut_off=case.cut_off or now,
            pol=version,
            at=now,
        )

    def _sealed(self, decision: Decision, entry: Entry) -> Decision:
        key = self._a.vault.epoch_key(EpochName(decision.epoch), self._tenant, "ledger")
        return seal_entry(decision, entry, key, fresh_nonce())

    async def _flag(self, lookup: Lookup, generation: int, *, held: bool) -> None:
        def flagged(person: Person) -> Person:
            return replace(person, held=held)

        await self._ring.change(lookup, flagged, generation=generation)

    # --- what stands --------------------------------------------------------------------------------------------------

    async def standing(self) -> dict[HoldId, tuple[Case, Terms]]:
        """The living holds, with the cases they come from."""
        cases = {HoldId(case.hold): case for case in self._a.book.holds() if case.hold}
        entries, _ = await self._safe.readable([*cases, _NONE])
        return {name: (cases[name], terms_of(entry)) for name, entry in entries.items() if entry.secret}

    async def renewed(self, version: str, lookups: Collection[Lookup] | None = None) -> Telling:
        """
        Put whoever returned after an erasure under the holds that name them; what may be told of their holds.

        Args:
            version: The policy in force.
            lookups: None means everyone under a hold.

        """
        standing = await self._widened(await self.standing())
        named = {Lookup(each) for _, terms in standing.values() for each in terms.subjects}
        wanted = named if lookups is None else set(lookups)
        living = await self.living(wanted)  # asked for everyone, so that nobody's request takes longer for being held
        present = {(lookup, generation) for lookup, generation, _ in living}
        kept: list[dict[str, str]] = []
        holds: list[HoldId] = []
        former: dict[Former, None] = {}
        full: set[Lookup] = set()
        for name, (case, terms) in standing.items():
            if wanted.isdisjoint(terms.subjects):
                continue
            told = {(each.lookup, each.generation) for each in terms.people if each.told}
            people = [each for each in living if each[0] in terms.subjects and each[:2] not in told]
            if people:
                async with self._lock:  # erasures run abreast: each goes on from the case as the last one left it
                    with suppress(HoldReleasedError):  # another desk was faster
                        case_now = self._a.book.get(case.case) or case
                        _, left = await self._cover(name, case_now, version, people)
                        full |= {each for each, error in left.items() if isinstance(error, HoldsFullError)}
                        self._told_of(left)
            if not terms.secret:
                kept.append({"basis": terms.basis, "hold": terms.name})
                holds.append(name)
                met = [Former(Lookup(p.lookup), p.generation, Pseudonym(p.pseudonym)) for p in terms.people if p.told]
                former |= dict.fromkeys(each for each in met if (each.lookup, each.generation) not in present)
        law = await self._kept.of(lookups) if lookups is not None else ()
        return Telling(kept=tuple(kept), holds=tuple(holds), former=tuple(former), law=law, full=frozenset(full))

    @staticmethod
    def _told_of(left: Mapping[Lookup, ParkedError]) -> None:
        if left:
            log.warning("a hold waits", why=sorted({str(error) for error in left.values()})[:5], people=len(left))

    async def _widened(self, standing: dict[HoldId, tuple[Case, Terms]]) -> dict[HoldId, tuple[Case, Terms]]:
        """
        The same, each over whoever else its people are by now: a hold is over a human, not over an identifier.

        Of whom that cannot be known the hold stays as it is: what is asked about them, or who they are, waits.
        """
        homes = self._a.decider.subjects.homes
        named = sorted({Lookup(each) for _, terms in standing.values() for each in terms.subjects})
        where = await homes.where(named)
        others = await homes.everyone_known(sorted(set(where.values())))
        found = dict(standing)
        for name, (case, terms) in standing.items():
            subjects = [Lookup(each) for each in terms.subjects]
            humans = [(each, others[where[each]]) for each in subjects]
            alone = terms.name.startswith(DISCLOSED)
            all_of_them = [
                other
                for each, human in humans
                for other in (each, where[each], *(human.ruled if alone else human.known))
            ]
            known = set(subjects)
            if fresh := [each for each in dict.fromkeys(all_of_them) if each not in known]:
                with suppress(HoldReleasedError):  # another desk was faster
                    found[name] = case, await self._safe.change(name, partial(over_subjects, subjects=fresh))
        return found

    # --- release ------------------------------------------------------------------------------------------------------

    async def release(self, granted: Granted) -> Case:
        """Decide for everyone under the hold, then destroy its secret; may be called again after a crash."""
        case = granted.case
        name = HoldId(case.hold or "")
        entry = (await self._safe.read([name])).get(name)
        if entry is not None and entry.secret is not None:
            terms = terms_of(entry)
            decisions = [
                await self._released(name, case, granted.version, number, each)
                for number, each in enumerate(terms.people)
            ]
            case = await self._a.decider.decided(case, decisions)
            self._steps.reached("release.decided")
            await self._unflag(name, terms)
            self._steps.reached("release.flagged")
            await self._safe.release(name)
            self._steps.reached("release.secret")
        return case

    async def _released(self, name: HoldId, case: Case, version: str, number: int, each: Covered) -> Decision:
        decision = decision_id(self._tenant, case.name, number, each.generation)
        told = await self._decision("release", decision, case, version, each)
        keys = None
        with suppress(EntryUnreadableError):
            keys = await self._ring.keys_of(Pseudonym(each.pseudonym))
        if keys is not None:
            told = seal_rule(told, Rule(hold=name), keys.identity.rules_key(), fresh_nonce())
        return self._sealed(told, Entry(Lookup(each.lookup), each.generation, encode(Release(hold=name))))

    async def _unflag(self, name: HoldId, terms: Terms) -> None:
        """Whom no other hold names is not held any more."""
        others = {
            each for other, (_, found) in (await self.standing()).items() if other != name for each in found.subjects
        }
        free = [Lookup(each) for each in terms.subjects if each not in others]
        for lookup, generation, _ in await self.living(free):
            await self._flag(lookup, generation, held=False)
