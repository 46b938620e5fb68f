"""People under a secret hold get the same answers, in the same steps, as others: a thousand pairs, field by field."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from guard_world import TENANT, GuardWorld
from sizes import size

from calllog_guard.core.decisions.hold import hold_id
from calllog_guard.core.identifiers import b64

PAIRS = size("PAIRS", 60, 200)
RANDOM = {22, 43, 80}
"""Lengths of what is random: ids, digests, wrapped keys."""
_TOLD = ("privacy.receipts", "privacy.notices", "privacy.exports", "privacy.access", "calllog.dead")
_KEY = X25519PrivateKey.from_private_bytes(bytes(range(32))).public_key().public_bytes_raw()
REPLY = {"kty": "OKP", "crv": "X25519", "x": b64(_KEY).decode()}


def shape(value: Any) -> Any:
    """A message with its random ids and digests reduced to their lengths."""
    if isinstance(value, dict):
        return {shape(name): shape(each) for name, each in value.items()}
    if isinstance(value, list):
        return [shape(each) for each in value]
    return len(value) if isinstance(value, str) and len(value) in RANDOM else value


def asks(n: int) -> tuple[str, ...]:
    """What a person asks for."""
    return ("access", "erase", "again") if n % 5 == 0 else ("erase",)


def calls(n: int) -> int:
    """How many calls a person has; every third has none."""
    return n % 3


class Twin:
    """A world in which a thousand people are under a secret hold, and a thousand are not, or the other way round."""

    def __init__(self, world: GuardWorld, held: str, other: str) -> None:
        self.world, self._held, self._other = world, held, other
        self.steps: list[tuple[int, int, int]] = []

    async def prepare(self, pairs: int) -> None:
        """Calls of everyone, then the holds on one half."""
        for n in range(pairs):
            for person in (f"a{n}", f"b{n}"):
                for call in range(calls(n)):
                    await self.world.call(f"{person}-{call}", f"host{n}", person, days_ago=1 + 7 * call)
        await self.world.run()
        for n in range(pairs):
            await self.world.hold(f"hold-{n:04d}", f"claim-{n}", f"{self._held}{n}", secret=True)
        await self.world.run()

    async def asked(self, n: int) -> None:
        """One person asks for an erasure, and every fifth for a copy before and after it."""
        for kind in asks(n):
            keystore, log = self.world.keystore.calls, self.world.log.calls
            more: dict[str, Any] = {} if kind == "erase" else {"reply_key": REPLY}
            await self.world.ask(f"{kind}-{n:04d}", "erase" if kind == "erase" else "access", f"a{n}", **more)
            rounds = await self.world.run()
            self.steps.append((rounds, self.world.keystore.calls - keystore, self.world.log.calls - log))

    def answers(self, jti: str) -> Any:
        """All that may be seen of a request."""
        name = self.world.id_of(jti).encode()
        case = json.loads(
            next(r.value or b"" for r in reversed(self.world.log.records["privacy.cases", 0]) if r.key == name)
        )
        told = {
            topic: [
                (len(record.key or b""), len(record.value or b""))
                for record in lane
                if (record.key or b"")[:22] == name
            ]
            for topic in _TOLD
            for lane in [self.world.log.records[topic, 0]]
        }
        return shape(case), shape(self.world.receipts(jti)), told


async def twins(folder: Path, pairs: int) -> tuple[Twin, Twin]:
    """Two worlds in which the same is asked; in the first whoever asks is under a secret hold."""
    held = Twin(await GuardWorld(folder / "held").start(), "a", "b")
    free = Twin(await GuardWorld(folder / "free").start(), "b", "a")
    for twin in (held, free):
        await twin.prepare(pairs)
        for n in range(pairs):
            await twin.asked(n)
    return held, free


@pytest.mark.slow
async def test_a_thousand_pairs_cannot_be_told_apart(tmp_path: Path) -> None:
    """Every field of every answer, every length, and how often keystore and log were asked until it was given."""
    held, free = await twins(tmp_path, PAIRS)
    for n in range(PAIRS):
        for kind in asks(n):
            assert held.answers(f"{kind}-{n:04d}") == free.answers(f"{kind}-{n:04d}")
    assert held.steps == free.steps
    assert held.world.counts == free.world.counts, "metrics"
    sizes = [
        Counter(len(r.value or b"") for r in twin.world.log.records["privacy.receipts", 0]) for twin in (held, free)
    ]
    assert sizes[0] == sizes[1]
    assert len(held.world.log.live("calllog.held")) == len(free.world.log.live("calllog.held")) >= PAIRS - 1
    for n in range(PAIRS):  # whoever has no calls is nobody: nothing is said to be destroyed
        stages = ["accepted", "fenced"] + (["destroyed", "tombstoned"] if calls(n) else [])
        assert list(held.world.case(f"erase-{n:04d}").stages) == stages


async def test_a_secret_hold_is_in_no_list_and_no_receipt(tmp_path: Path) -> None:
    world = await GuardWorld(tmp_path).start()
    await world.call("c1", "host", "alice")
    await world.hold("hold-0001", "claim-17", "alice", secret=True)
    await world.hold("hold-0002", "claim-18", "alice")
    await world.ask("erase-001", "erase", "alice")
    await world.run()
    await world.ask("release-1", "release", key="officer-1", hold={"id": "claim-17"})
    await world.run()
    assert sorted(case.jti for case in world.book) == ["erase-001", "hold-0002"]
    assert (world.case("hold-0001").state, world.case("release-1").state) == ("closed", "closed")
    assert world.held_of(hold_id(TENANT, "claim-17")) == []
    seen = b"".join(record.value or b"" for topic in _TOLD for record in world.log.records[topic, 0])
    names = [world.id_of(jti).encode() for jti in ("hold-0001", "release-1")]
    assert not any(name in seen for name in names)
    assert world.receipts("hold-0001") == world.receipts("release-1") == []
    assert len(world.case("release-1").told) == 3, "its receipts lie in the case: accepted, destroyed, tombstoned"
    assert [each["kept"] for each in world.receipts("erase-001")][-1] == [{"basis": "legal_claims", "hold": "claim-18"}]
    assert not [each for each in world.log.records["privacy.cases", 0] if (each.key or b"").startswith(b"~case.")]
    orders = world.log.records["privacy.orders", 0]
    cases = [record for record in orders if (record.key or b"").startswith(b"~case.")]
    assert {len(record.value or b"") % 4096 < 4096 for record in cases} == {True}
    assert not any(b"claim-17" in (r.value or b"") for r in cases)
    await world.restart()
    assert world.case("release-1").state == "closed", "sealed cases are read again"
