"""
Whatever a role may read by the table of rights is the same with a secret hold on everybody and with none.

Two worlds get the same stories, with returns after an erasure, requests of every type and disclosures; in one of
them everybody is under a secret hold, some of which are released, or ordered twice. PAIRS says how many stories.
"""

import json
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import downstream
import guard_world
import pytest
from downstream import readings
from guard_world import BARE, GuardWorld
from sizes import size
from test_secret_holds import REPLY

from calllog_guard.adapters.memory.fakes import MemoryLogReader
from calllog_guard.core.cases.secret_cases import is_part
from calllog_guard.core.identifiers import unb64
from calllog_guard.core.rights.grants import USERS, rights
from calllog_guard.workers.keeper import decision_work as work
from calllog_guard.workers.keeper.expiry import sweeper
from calllog_guard.workers.reader.once import snapshot

PAIRS = size("PAIRS", 60, 200)
TOGETHER = 20
KNOWING = {"desk", "keeper", "auditor"}
"""Who carries holds out."""
OFFICERS_OWN = ("officer", "privacy.orders")
"""Officers give the orders."""
MORE = """
[version.tenant.iocom.purposes.product]
number = 4
basis = "legitimate_interests"
keep = "P45D"
then = "anonymise"
on_objection = "review"
[version.tenant.iocom.requesters.officer-2]
role = "officer"
key = "officer-2.pub.pem"
[version.tenant.iocom.recipients.invoicing]
key = "operator-1.pub.pem"
told = ["erased", "rectified", "restricted", "lifting"]
[version.tenant.iocom.person_notices]
key = "operator-1.pub.pem"
told = ["erased", "restricted", "lifting", "disclosed", "extended", "refused"]
"""
LIMITS = "\n".join(f"{name}_per_hour = 100000" for name in ("objections", "disclosures", "erasures", "exports"))
STORIES = (
    ("call", "erase", "call", "erase"),
    ("call", "access", "portability", "call", "access"),
    ("call", "object", "call", "erase"),
    ("call", "restrict", "access", "lift"),
    ("call", "rectify", "erase", "access", "call", "rectify"),
    ("call", "disclose", "second", "erase", "call", "disclose"),
    ("call", "range", "access", "call", "erase"),
    ("erase", "call", "access"),
    ("call", "complain", "refuse", "erase", "call", "object"),
    ("call", "review", "refuse", "call", "review", "approve"),
    ("call", "review", "erase", "call", "call"),
)


def shape(value: Any) -> Any:
    """A message in which what is random, or sealed, is reduced to its length; no name and no number is lost."""
    if isinstance(value, dict):
        return sorted((str(shape(name)), shape(each)) for name, each in value.items())
    if isinstance(value, list):
        return [shape(each) for each in value]
    random = isinstance(value, str) and (len(value) in {22, 43} or len(value) > 64)
    return len(value) if random else value


def seen(value: bytes | None) -> Any:
    """What somebody without a key sees in a value."""
    if not value:
        return value
    if value[:1] == b"{":
        return len(value), shape(json.loads(value))
    head, *rest = value.split(b".")
    claims = [shape(json.loads(unb64(part))) for part in ([head, rest[0]] if len(rest) == 2 else [head])]
    return len(value), claims, [len(part) for part in rest]


class Told:
    """A world in which stories are told, with or without a secret hold on everybody."""

    def __init__(self, world: GuardWorld, *, held: bool) -> None:
        self.world, self._held = world, held
        self.rounds: list[tuple[int, int]] = []

    async def order(self, some: Iterable[int], *, late: bool) -> None:
        """The holds on people, half of them before anybody knows the person."""
        if self._held:
            for n in some:
                if bool(n % 2) is late:
                    await self.world.hold(f"order-{n:05}", f"claim-{n}", f"p{n}@x.org", secret=True)
            await self.world.run()

    async def disclosed(self, some: Iterable[int]) -> None:
        """To the court what is held for it in secret."""
        if self._held:
            for n in some:
                if n % 3 == 0:
                    terms: dict[str, Any] = {
                        "authority": "Court",
                        "basis": "Order",
                        "notify": "when_lifted",
                        "reply_key": REPLY,
                    }
                    terms |= {"review_at": "2028-01-01T00:00:00Z", "hold": {"id": f"claim-{n}"}, "order": True}
                    await self.world.ask(f"given-{n:05}", "disclose", f"p{n}@x.org", key="officer-1", **terms)
            await self.world.run()
            for n in some:
                if n % 3 == 0:
                    case = self.world.id_of(f"given-{n:05}")
                    await self.world.ask(f"grant-{n:05}", "approve", key="officer-2", case=case, order=True)
            await self.world.run()

    async def later(self, some: Iterable[int]) -> None:
        """Some are released, some ordered under a name that was used, which no desk takes."""
        if self._held:
            for n in some:
                if n % 4 == 0:
                    await self.world.release(f"ended-{n:05}", f"claim-{n}")
                if n % 5 == 0:
                    await self.world.hold(f"again-{n:05}", f"claim-{n}", f"p{n}@x.org", secret=True)
                if n % 7 == 0:  # what law keeps of whoever is erased by now, too
                    await self.world.hold(f"after-{n:05}", f"after-{n}", f"p{n}@x.org", secret=True)
            await self.world.run()

    async def step(self, some: Iterable[int], at: int) -> None:
        """The next step of each story; how long everybody waited for what follows from it."""
        for n in some:
            story = STORIES[n % len(STORIES)]
            if at < len(story):
                await self._step(n, at, story[at])
        self.rounds.append((await self.world.run(), len(self.world.dead())))

    async def _step(self, n: int, at: int, word: str) -> None:
        world, who, jti = self.world, f"p{n}@x.org", f"story-{n:05}-{at}"
        more: dict[str, Any] = {}
        if word == "call":
            for days in (1, 30, 80) if at == 0 else (0.01,):
                await world.call(f"c{n}-{at}-{days}", who, f"guest{n}@x.org", days_ago=days)
            return
        if word in {"second", "approve", "refuse"}:
            asked = next(
                case for case in world.book if case.jti.startswith(f"story-{n:05}") and case.state == "waiting"
            )
            key = "officer-2" if word == "second" else "officer-1"
            ground = {"ground": "So it is."} if word == "refuse" else {}
            kind = "refuse" if word == "refuse" else "approve"
            await world.ask(jti, kind, key=key, case=asked.case, **ground)
            return
        if word in {"access", "portability"}:
            more = {"reply_key": REPLY}
        elif word in {"object", "review"}:
            more = {"purposes": ["quality" if word == "object" else "product"]}
        elif word == "range":
            more = {"range": {"from": (world.clock.at - timedelta(days=40)).date().isoformat()}}
        elif word == "rectify":
            more = {"facts": {"call_id": f"c{n}-{'0-1' if at == 1 else f'{at - 1}-0.01'}", "role": "caller"}}
        elif word == "complain":
            more = {"ground": "Too slow."}
        elif word == "disclose":
            more = {"authority": "Court", "basis": "Order", "notify": "before", "reply_key": REPLY}
        kind = {"review": "object", "range": "erase"}.get(word, word)
        await world.ask(jti, kind, who, key="officer-1" if word == "disclose" else "backend-1", **more)

    async def read(self) -> None:
        """A reader reads for billing what there is of legs, on the record."""
        legs = readings(self.world, writer=self.world.log)[0]  # type: ignore[arg-type]
        batches = snapshot(legs, MemoryLogReader(self.world.log), range(1), lambda _: None)
        async for _ in batches:
            pass

    def view(self, user: str) -> dict[str, Any]:
        """Each record of each topic that a user may read, and where those end that it is only shown."""
        found: dict[str, Any] = {}
        for topic, users in rights().items():
            lane = self.world.log.records[topic, 0]
            if (user, topic) == OFFICERS_OWN:
                continue
            if "R" in users[user]:
                found[topic] = [
                    (
                        each.offset,
                        each.timestamp,
                        len(each.key or b""),
                        (each.key or b"")[:1] == b"~",
                        [(name, len(value or b"")) for name, value in each.headers],
                        seen(each.value),
                    )
                    for each in lane
                ]
            elif user != "operator" and set(users[user]) & {"W", "D"}:
                found[topic] = len(lane)
        return found


async def told(folder: Path, *, held: bool) -> Told:
    """All stories, chapter by chapter, with days between."""
    found = Told(
        await GuardWorld(
            folder, BARE.replace("exports_per_hour = 10000", LIMITS).replace("erasures_per_hour = 10000\n", "") + MORE
        ).start(),
        held=held,
    )
    groups = [range(at, min(at + TOGETHER, PAIRS)) for at in range(0, PAIRS, TOGETHER)]
    for some in groups:
        await found.order(some, late=False)
    for at in range(max(map(len, STORIES))):
        for some in groups:
            await found.step(some, at)
            if at == 0:
                await found.order(some, late=True)
            if at == 1:
                await found.disclosed(some)
        if at == 2:
            for some in groups:
                await found.later(some)
        await found.read()
        found.world.clock.at += timedelta(days=9)
        await found.world.run()
    found.world.clock.at += timedelta(days=40)
    await found.world.run()
    await found.read()
    return found


@pytest.mark.slow
async def test_nothing_that_anybody_may_read_tells_of_a_secret_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys, sizes, counts, offsets, times and every field in clear; how soon requests were done; the figures."""
    for module in (guard_world, downstream):  # in which partition somebody lies is random
        monkeypatch.setattr(module, "PARTITIONS", 1)
    for module in (work, sweeper):  # how much is done in a turn is this machine's business
        monkeypatch.setattr(module, "_TURN_S", float("inf"))
    held, free = await told(tmp_path / "held", held=True), await told(tmp_path / "free", held=False)
    assert len(held.world.held()) > len(free.world.held()), "there are holds"
    assert len(held.world.log.records["privacy.orders", 0]) > PAIRS
    assert held.world.case("given-00000").state == "closed"
    assert [each for each in held.world.log.records["privacy.orders", 0] if is_part(each)]
    assert held.rounds == free.rounds
    for user in set(USERS) - KNOWING:
        ours, theirs = held.view(user), free.view(user)
        assert ours.keys() == theirs.keys()
        for topic in ours:
            assert ours[topic] == theirs[topic], f"{user} reads {topic}"
    assert held.world.counts == free.world.counts, "metrics"
    assert held.world.id_of("order-00000") not in {case.case for case in held.world.book}
