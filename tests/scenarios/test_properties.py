"""
Random policies, requests, times and crashes: at no moment does a reader get what it may not, judged by `oracle.py`.

`make properties` runs 5,000 sequences of 50 steps, and shortens failures; here a few hundred short ones; they show
as they came (PROPERTY_SHORTEN=1 shortens them, which takes minutes).
"""

import asyncio
import contextlib
import os
import shutil
import tempfile
from collections.abc import Coroutine, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from guard_world import PARTITIONS, START, TENANT, Crash, GuardWorld
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from oracle import NUMBERS, PERIODS, Law, Leg, Oracle, Wish, policy_text
from sizes import size

from calllog_guard.adapters.memory.fakes import MemoryLogReader, MemoryWriter
from calllog_guard.core.codec import time_text
from calllog_guard.core.crypto.entries import person_key
from calllog_guard.core.identifiers import SubjectId
from calllog_guard.errors import (
    ConfigurationError,
    Fate,
    GuardError,
    KeystoreGuardedError,
    StaleDeskError,
    StateRefusedError,
)
from calllog_guard.settings import Settings
from calllog_guard.workers.reader.once import snapshot
from calllog_guard.workers.reader.session import ReaderContext, Reading
from calllog_guard.workers.reader.sources import Errand, People

PEOPLE = ("ann@example.org", "ben@example.org", "cem@example.org")
SEQUENCES = size("PROPERTY_SEQUENCES", 50, 200)
STEPS = int(os.environ.get("PROPERTY_STEPS", "25"))
Answer = TypeVar("Answer")

who = st.sampled_from(PEOPLE)
period = st.sampled_from(sorted(PERIODS))
law = st.fixed_dictionaries({"service": period}, optional={name: period for name in NUMBERS if name != "service"})


class Promises(RuleBasedStateMachine):
    """A backend, an officer, time and accidents on one side, readers on the other, the oracle between."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.loop = asyncio.new_event_loop()
        self.number = 0
        self.copies: list[dict[bytes, bytes]] = []
        self.open_cases: dict[str, Wish] = {}
        self.strangers: set[str] = set()

    def do(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        """Run to its end."""
        return self.loop.run_until_complete(work)

    @initialize(
        first=law,
        second=st.none() | law,
        after_days=st.integers(1, 60),
        then=st.fixed_dictionaries({name: st.sampled_from(["delete", "anonymise"]) for name in NUMBERS}),
    )
    def begin(self, first: Law, second: Law | None, after_days: int, then: dict[str, Any]) -> None:
        """A policy, perhaps with a second version that begins in some days."""
        laws = [(date(2020, 1, 1), first)]
        if second is not None:
            laws.append((START.date() + timedelta(days=after_days), second))
        self.oracle = Oracle(laws)
        self.world = self.do(GuardWorld(self.folder, policy_text(laws, then)).start())
        pepper = self.world.vault.pepper(TENANT)
        ring = self.world.ring()
        self.sources = {
            name: People("calllog.legs", ring, pepper, name, cache_entries=100) for name in NUMBERS
        }  # with their caches, over the whole sequence

    def teardown(self) -> None:
        """At rest everything is as it must be."""
        try:
            if hasattr(self, "world"):
                self.rest()
        finally:
            self.loop.close()
            shutil.rmtree(self.folder)

    # --- the backend, the officer -----------------------------------------------------------------------------------

    def name(self) -> str:
        """A new name."""
        self.number += 1
        return f"name-{self.number:05d}"

    @rule(
        parties=st.lists(who, min_size=1, max_size=3, unique=True),
        days=st.sampled_from([0.0001, 1, 4, 6, 15, 25, 40, 80]),
        outcome=st.sampled_from(["answered", "missed"]),
        at_once=st.booleans(),
    )
    def call(self, parties: list[str], days: float, outcome: str, *, at_once: bool) -> None:
        """A call took place; its legs are there at once, or later."""
        name = self.name()
        start = self.world.clock.at - timedelta(days=days)
        self.do(self.world.call(name, *parties, days_ago=days, outcome=outcome))
        for at, party in enumerate(parties):
            leg = Leg(party, name, start, "guest" if at else "host", outcome)
            self.oracle.legs[party, name] = leg
            self.published(leg)
        if at_once:
            self.step("protector")

    def published(self, leg: Leg) -> None:
        """Once more."""
        leg.published.append(self.world.clock.at)
        leg.waiting.append(self.world.clock.at)

    @rule(data=st.data())
    def again(self, data: st.DataObject) -> None:
        """The backend publishes an old event once more."""
        calls = sorted({name for _, name in self.oracle.legs})
        if not calls:
            return
        name = data.draw(st.sampled_from(calls))
        legs = [leg for leg in self.oracle.legs.values() if leg.call == name]
        days = (self.world.clock.at - legs[0].start) / timedelta(days=1)
        self.do(self.world.call(name, *(leg.who for leg in legs), days_ago=days, outcome=legs[0].outcome))
        for leg in legs:
            self.published(leg)

    def wish(self, person: str, kind: str, **more: Any) -> tuple[str, Wish]:
        """Note a wish."""
        wish = Wish(person, kind, self.world.clock.at, **more)
        self.oracle.wishes.append(wish)
        return self.name(), wish

    def known(self, purpose: str) -> bool:
        """Whether the policy in force knows a purpose: a request that names another is refused."""
        here = self.oracle.laws[self.oracle.law_at(self.world.clock.at.date())][1]
        settled = all(wish.ended for wish in self.oracle.wishes)
        return purpose in here and settled  # and still does when the desk comes to it: it comes at once

    @rule(person=who, kind=st.sampled_from(["restrict", "lift", "erase"]))
    def ask(self, person: str, kind: str) -> None:
        """A request that needs nothing else."""
        name, _ = self.wish(person, kind)
        self.do(self.world.ask(name, kind, person))

    @rule(person=who, from_days=st.integers(0, 60), length=st.integers(0, 30))
    def erase_days(self, person: str, from_days: int, length: int) -> None:
        """Some days."""
        first = (self.world.clock.at - timedelta(days=from_days)).date()
        last = first + timedelta(days=length)
        name, _ = self.wish(person, "erase", span=(first, last))
        self.do(self.world.ask(name, "erase", person, range={"from": first.isoformat(), "to": last.isoformat()}))

    @rule(person=who, kind=st.sampled_from(["withdraw", "consent"]))
    def choose(self, person: str, kind: str) -> None:
        """Consent is given or withdrawn."""
        if not self.known("offers"):
            return
        name, _ = self.wish(person, kind, purpose="offers")
        more = {"time": time_text(self.world.clock.at), "wording": "Yes."} if kind == "consent" else {}
        self.do(self.world.ask(name, kind, person, purposes=["offers"], **more))
        self.step("desk")

    @rule(person=who, purpose=st.sampled_from(["quality", "fraud"]))
    def object(self, person: str, purpose: str) -> None:
        """An objection; one of them is put to an officer."""
        if not self.known(purpose):
            return
        name, wish = self.wish(person, "object", purpose=purpose)
        self.do(self.world.ask(name, "object", person, purposes=[purpose]))
        self.step("desk")
        if purpose == "fraud":
            self.open_cases[name] = wish

    @rule(kind=st.sampled_from(["approve", "refuse"]))
    def decide(self, kind: str) -> None:
        """An officer decides about the oldest objection."""
        waiting = self.open_cases
        name = next((name for name, wish in waiting.items() if wish.ended), None)
        if name is None or not self.known("fraud"):
            return
        about = waiting.pop(name)
        asked, _ = self.wish(about.who, kind, purpose="fraud", about=about)
        more = {"ground": "Compelling."} if kind == "refuse" else {}
        case = self.world.case(name).case
        self.do(self.world.ask(asked, kind, key="officer-1", case=case, **more))
        self.step("desk")

    @rule(data=st.data(), role=st.sampled_from(["host", "guest", "caller"]))
    def rectify(self, data: st.DataObject, role: str) -> None:
        """A role is corrected; for which purposes the leg is kept stays as it was, what covers it does not."""
        if not self.oracle.legs:
            return
        person, name = data.draw(st.sampled_from(sorted(self.oracle.legs)))
        self.oracle.legs[person, name].lost = True
        asked, _ = self.wish(person, "rectify")
        self.do(self.world.ask(asked, "rectify", person, facts={"call_id": name, "role": role}))

    # --- time and accidents -----------------------------------------------------------------------------------------

    @rule(hours=st.sampled_from([0.01, 1, 24, 24 * 5, 24 * 16, 24 * 31]))
    def time_passes(self, hours: float) -> None:
        """Nobody does anything."""
        self.world.clock.at += timedelta(hours=hours)

    @rule(name=st.sampled_from(["protector", "desk", "keeper"]))
    def works(self, name: str) -> None:
        """One worker does what it finds."""
        self.step(name)

    @rule(
        name=st.sampled_from(["protector", "desk", "keeper"]),
        at=st.integers(1, 6),
        after=st.booleans(),
        rebuild=st.booleans(),
    )
    def dies(self, name: str, at: int, *, after: bool, rebuild: bool) -> None:
        """A worker dies at one of its writes; all start anew, perhaps without their index."""
        self.world.fuse.at, self.world.fuse.after, self.world.fuse.count = at, after, 0
        self.step(name)
        self.do(self.world.restart(rebuild=rebuild))

    @rule()
    def keystore_restarts(self) -> None:
        """The keystore answers as another run: nobody opens anything until the ledger is replayed."""
        self.world.keystore.run = self.name().encode()

    @rule(back=st.integers(0, 3))
    def keystore_is_restored(self, back: int) -> None:
        """From a copy older than it; or such a copy is made. People minted since and their wishes are lost."""
        keystore = self.world.keystore
        if not back or back > len(self.copies):
            self.copies.append(dict(keystore.entries))
            return
        copy = self.copies[-back]
        ring, pepper = self.world.ring(), self.world.vault.pepper(TENANT)
        for person in PEOPLE:
            lookup = pepper.lookup(TENANT, SubjectId(person))
            then, now = (ring.person(lookup, each.get(person_key(TENANT, lookup))) for each in (copy, keystore.entries))
            if now and now.pseudonym and (then is None or then.pseudonym != now.pseudonym):
                self.strangers.add(person)
        keystore.entries = dict(copy)
        keystore.run = self.name().encode()

    def step(self, name: str) -> None:
        """One worker; the oracle hears how far it came."""
        now = self.world.clock.at
        for wish in self.oracle.wishes if name == "desk" else ():
            wish.began = wish.began or now
        try:
            self.do(self.world.step(name))
            if name == "desk":
                self.do(self.let_stand())
            done = True
        except Crash:
            done = False
        except GuardError as error:
            if error.fate is not Fate.RETRY:
                raise
            done = False
        if name == "desk" and done:
            for wish in self.oracle.wishes:
                wish.ended = wish.ended or now
        if name == "protector":
            self.oracle.sealed(now, certain=done)

    async def let_stand(self) -> int:
        """An officer lets requests about unknown people stand; who must be told before is told; how many cases."""
        found = [case for case in self.world.book if case.waits_for == "officer" and "unfound" in case.stages]
        for case in found:
            await self.world.ask(self.name(), "approve", key="officer-1", case=case.case)
        told = [case for case in self.world.book if case.waits_for == "notice"]
        for case in told:
            await self.world.ask(self.name(), "clock", case=case.case, event="noticed", to="person")
        if found or told:
            await self.world.step("desk")
        return len(found) + len(told)

    # --- readers ----------------------------------------------------------------------------------------------------

    def shown(self, purpose: str) -> Sequence[tuple[str, str]]:
        """What a reader gets now: persons and calls."""
        errand = Errand(tenant=TENANT, purpose=purpose, actor="all-1")
        settings, policy, clock = Settings(partitions=PARTITIONS), self.world.policy, self.world.clock
        given = ReaderContext(settings=settings, policy=policy, clock=clock, writer=MemoryWriter())
        reading = Reading(errand, self.sources[purpose], given)
        return self.do(self._lines(reading))

    async def _lines(self, reading: Reading) -> Sequence[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        ids = {self.world.reference(name): name for _, name in self.oracle.legs}
        with contextlib.suppress(ConfigurationError, StateRefusedError):  # the policy in force has no such purpose
            try:
                async for lines in snapshot(
                    reading, MemoryLogReader(self.world.log), range(PARTITIONS), lambda _: None
                ):
                    found += [(str(line.subject), ids.get(str(line.call), "")) for line in lines]  # type: ignore[union-attr]
            except GuardError as error:
                if error.fate is not Fate.RETRY:
                    raise
        return found

    @invariant()
    def nobody_is_shown_what_may_not_be_shown(self) -> None:
        """The promise."""
        if not hasattr(self, "world"):
            return
        today = self.world.clock.at.date()
        for purpose in NUMBERS:
            for person, name in self.shown(purpose):
                leg = self.oracle.legs[person, name]
                right = person in self.strangers or self.oracle.may(leg, purpose, today)
                assert right, (purpose, leg, list(self.oracle.states(person)))

    def settle(self) -> None:
        """Let all work until nothing is left to do, as often as it takes."""
        for _ in range(
            20
        ):  # each of the workers, and each worker again, may find the keystore older than one it has seen
            self.step("keeper")
            with contextlib.suppress(KeystoreGuardedError):
                try:
                    self.do(self.world.run(200))
                    while self.do(self.let_stand()):
                        self.do(self.world.run(200))
                except StaleDeskError:  # restored from a copy of a later desk's: not alive any more, it is started anew
                    self.do(self.world.restart())
                    continue
                return
        raise AssertionError("the guard stays up")

    @rule()
    def rest(self) -> None:
        """Everything is done that can be: what is certain is shown, and what a range took is gone."""
        now = self.world.clock.at
        for wish in self.oracle.wishes:
            wish.began = wish.began or now
        self.world.keeper._sweeper.next_ms = 0
        self.settle()
        self.oracle.sealed(now, certain=True)  # before or after any of the wishes that were still open
        for wish in self.oracle.wishes:
            wish.ended = wish.ended or now
        today = now.date()
        for purpose in NUMBERS:
            shown = set(self.shown(purpose))
            for (person, name), leg in self.oracle.legs.items():
                if person in self.strangers:
                    continue
                if self.oracle.gone_by_range(leg):
                    assert (person, name) not in shown, ("a range", purpose, leg)
                elif self.oracle.must(leg, purpose, today):
                    assert (person, name) in shown, (purpose, leg, list(self.oracle.states(person)))


TestPromises = pytest.mark.slow(Promises.TestCase)
TestPromises.settings = settings(
    max_examples=SEQUENCES,
    stateful_step_count=STEPS,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    report_multiple_bugs=False,
    phases=[Phase.generate, *([Phase.shrink] if os.environ.get("PROPERTY_SHORTEN") else [])],
)
