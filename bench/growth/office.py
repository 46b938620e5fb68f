"""A desk and ever more cases: what a start, a minute's look and a request cost beside them."""

import gc
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import structlog
from desk_world import CANARY, POLICY, TENANT, DeskWorld
from spent import Rows, Spent

from calllog_guard.core.cases.case import Case
from calllog_guard.core.codec import encode
from calllog_guard.core.identifiers import b64
from calllog_guard.core.records import Output
from calllog_guard.core.stream.arrival import arrival
from calllog_guard.core.stream.proofs import DESK
from calllog_guard.ports.log import TopicPartition

_PORTION = 500
_ASKED = 60
_EVENTS = 'events = ["calllog.events"]'
_UNBRAKED = POLICY.replace(_EVENTS, _EVENTS + "\nchanges_per_hour = 1000000")
_REPLY = {"kty": "OKP", "crv": "X25519", "x": "3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08"}
_REFUSE: dict[str, Any] = {"ground": "Not shown."}
_NOTICED: dict[str, Any] = {"event": "noticed", "to": "person"}
_REQUESTS = TopicPartition("privacy.requests", 0)


def _alike(case: Case, many: int) -> Iterator[list[Any]]:
    """So many cases like one, as records of their topic, in portions; the request in each is the first one's."""
    for at in range(0, many, _PORTION):
        cases = [
            msgspec.structs.replace(case, case=b64(secrets.token_bytes(16)).decode(), jti=f"alike-{number:08}")
            for number in range(at, min(many, at + _PORTION))
        ]
        yield [Output("privacy.cases", 0, each.case.encode(), encode(each)) for each in cases]


async def _handled(world: DeskWorld) -> None:
    await world.desk.unit({_REQUESTS: [world.asked[-1]]})
    await world.desk.idle()


async def cases(size: int, folder: Path) -> Rows:
    """Erasures that wait for somebody's identity; then requests of one type after the other about somebody else."""
    spent, world = Spent(), await DeskWorld(folder).start()
    await world.meet("bob@example.org")
    await world.ask("seed-0001", CANARY, type="erase", identity="unverified")
    for outputs in _alike(world.case("seed-0001"), size):
        vouched = world.vault.vouched(TENANT, DESK, outputs)
        records = [arrival(("privacy.cases", 0), 0, 0, each.key, each.value, each.headers) for each in vouched]
        with spent.on("a start reads them", len(records)):
            for record in records:
                world.book.note(record)
    gc.collect()
    gc.freeze()
    with structlog.testing.capture_logs():
        for what in ("the first look of a minute", "each later look"):
            world.desk._deadlines._next = world.at  # noqa: SLF001 - a minute has passed, and no other date has
            with spent.on(what, size):
                world.desk._deadlines.sweep(world.policy.at(world.at.date()).tenant[TENANT], world.at)  # noqa: SLF001
    for number in range(_ASKED):
        kind = ("restrict", "lift", "access")[number % 3]
        more = {"reply_key": _REPLY} if kind == "access" else {}
        world.send(f"request-{number:04}", "bob@example.org", type=kind, **more)
        with spent.on(f"{'an access' if kind == 'access' else 'another request'} among them", 1):
            await _handled(world)
    return spent.rows


async def objections(size: int, folder: Path) -> Rows:
    """Objections before an officer, who refuses them one after the other: each restricts its person until then."""
    spent, world = Spent(), await DeskWorld(folder, _UNBRAKED).start()
    for number in range(size):
        name = f"person-{number}@example.org"
        await world.meet(name)
        world.send(f"object-{number:06}", name, type="object", purposes=["fraud"])
        with spent.on("taken in", 1):
            await _handled(world)
    for number in range(size):
        case = world.id_of(f"object-{number:06}")
        for act, by, more in (("refuse", "officer-1", _REFUSE), ("clock", "backend-1", _NOTICED)):
            world.send(f"{act}-{number:06}", by=by, type=act, case=case, **more)
            with spent.on("refused, and the person told", 1 if act == "clock" else 0):
                await _handled(world)
    if world.reasons() or any(case.waits_for for case in world.book):
        raise SystemExit("an objection still waits")
    return spent.rows
