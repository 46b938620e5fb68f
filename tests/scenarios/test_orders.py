"""Orders of holds have a topic of their own, which no backend may read; older secret cases move there."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from guard_world import TENANT, Crash, GuardWorld
from sizes import EACH_WRITE
from test_secret_holds import REPLY

from calllog_guard.core.cases.secret_cases import REFUSED, is_order, is_state, open_case, secret_key
from calllog_guard.core.codec import decode
from calllog_guard.core.decisions.decision import DECISIONS, case_id, request_name
from calllog_guard.core.decisions.hold import hold_id
from calllog_guard.core.decisions.outcome import is_result
from calllog_guard.core.records import Output
from calllog_guard.core.rights.grants import rights
from calllog_guard.core.stream.arrival import Arrival
from calllog_guard.core.topics import LATER, Topic
from calllog_guard.metrics import Counters
from calllog_guard.settings import Settings
from calllog_guard.workers.runtime.reads import reads_of

CLAIM = hold_id(TENANT, "claim-17")
HOLD = case_id(TENANT, request_name("officer-1", "hold-0001"))
OLD = case_id(TENANT, "hold-0001")
"""The same, as the first release names it."""


def lane(world: GuardWorld, topic: str = "privacy.orders") -> list[Arrival]:
    """A topic's records."""
    return world.log.records[topic, 0]


async def started(folder: Path, **more: Any) -> GuardWorld:
    """Alice has called three times."""
    world = await GuardWorld(folder, **more).start()
    for days in (10, 50, 70):
        await world.call(f"a{days}", "bob", "alice", days_ago=days)
    await world.run()
    return world


def test_no_backend_has_any_right_to_orders() -> None:
    users = rights()[Topic.ORDERS]
    assert users["backend"] == users["reader"] == users["recipient"] == users["protector"] == ""
    assert users["keeper"] == "W", "the parts of what is disclosed of a secret hold"
    assert {user for user, letters in users.items() if "R" in letters} == {"desk", "officer"}


async def test_an_order_leaves_nothing_where_backends_read(tmp_path: Path) -> None:
    """Neither its case, nor a record more among the requests."""
    world = await started(tmp_path)
    await world.hold("hold-0001", "claim-17", "alice", secret=True)
    await world.run()
    assert (world.case("hold-0001").state, len(world.held_of(CLAIM))) == ("closed", 3)
    assert (lane(world, "privacy.requests"), lane(world, "privacy.cases")) == ([], [])
    await world.release("release-1", "claim-17")
    await world.run()
    assert (world.case("release-1").state, world.held_of(CLAIM)) == ("closed", [])
    assert (lane(world, "privacy.requests"), lane(world, "privacy.cases")) == ([], [])
    await world.restart()
    assert world.case("release-1").state == "closed", "read again from the topic of orders"


async def test_an_order_names_nobody_once_it_is_taken(tmp_path: Path) -> None:
    """The topic is compacted, not trimmed: the request goes with the next compaction."""
    world = await started(tmp_path)
    await world.hold("hold-0001", "claim-17", "alice", secret=True)
    await world.run()
    live = world.log.live("privacy.orders")
    assert list(live) == [secret_key(HOLD)]
    assert [each.key for each in lane(world) if each.value is None] == [b"hold-0001"]


async def test_an_open_hold_is_a_case_like_any_other(tmp_path: Path) -> None:
    world = await started(tmp_path)
    await world.hold("hold-0001", "claim-17", "alice")
    await world.run()
    assert [each.key for each in lane(world) if is_state(each)] == []
    assert {each.key for each in lane(world, "privacy.cases")} == {HOLD.encode()}


async def test_an_order_is_carried_out_before_what_was_asked_with_it(tmp_path: Path) -> None:
    """Both lie in the same unit, the erasure first."""
    world = await started(tmp_path)
    await world.ask("erase-001", "erase", "alice")
    await world.hold("hold-0001", "claim-17", "alice", secret=True)
    await world.run()
    assert (len(world.held_of(CLAIM)), len(world.legs())) == (3, 3)


async def test_what_is_not_taken_is_told_to_officers_alone(tmp_path: Path) -> None:
    """No dead letter, no figure: an operator reads those."""
    world = await started(tmp_path)
    counts = dict(world.counts)
    await world.ask("erase-001", "erase", "alice", order=True)  # a backend's key
    await world.ask("release-1", "release", key="officer-1", order=True, hold={"id": "claim-99"})
    await world.run()
    assert (lane(world, "calllog.dead"), world.counts) == ([], counts)
    assert len(world.legs()) == 6
    told = [each for each in lane(world) if (each.key or b"").startswith(REFUSED)]
    assert world.refused() == ["wrong_topic", "unknown_hold"]
    assert len({len(each.value or b"") for each in told}) == 1, "its length says nothing"
    await world.restart()
    assert list(world.book) == []


async def test_an_order_under_the_key_of_a_case_takes_none_away(tmp_path: Path) -> None:
    """Whoever may write orders may choose their keys."""
    world = await started(tmp_path)
    await world.hold("hold-0001", "claim-17", "alice", secret=True)
    await world.run()
    (state,) = [each for each in lane(world) if is_state(each)][-1:]
    forged = Arrival("privacy.orders", 0, 99, state.key, b"no.request.at-all", 0)
    assert is_order(forged)
    await world.log.write([_output(forged)])
    await world.run()
    world.clock.at = world.clock.at.replace(hour=10)
    await world.desk.idle()
    assert world.log.live("privacy.orders")[secret_key(HOLD)] != forged.value
    await world.restart()
    assert world.case("hold-0001").state == "closed"


def _output(record: Arrival) -> Output:
    return Output(record.topic, record.partition, record.key, record.value)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.slow
async def test_the_desk_dies_at_each_write_of_an_order(tmp_path: Path, *, after: bool) -> None:
    at, more = 0, True
    while more:
        at += EACH_WRITE
        world = await started(tmp_path / str(at))
        await world.hold("hold-0001", "claim-17", "alice", secret=True)
        await world.ask("erase-001", "erase", "alice")
        more = await world.run_with_crashes(at, after=after, rebuild=False)
        assert (world.case("hold-0001").state, len(world.held_of(CLAIM))) == ("closed", 3)
        assert "tombstoned" in world.case("erase-001").stages
        assert list(world.log.live("privacy.orders")) == [secret_key(HOLD)]
        assert lane(world, "calllog.dead") == []
    assert at > 10


# --- an installation of the release before ----------------------------------------------------------------------------


async def of_before(folder: Path) -> GuardWorld:
    """A secret hold at the first level of forms: its case lies among the others."""
    world = await started(folder, forms=1)
    await world.hold("hold-0001", "claim-17", "alice", secret=True)
    await world.run()
    assert lane(world) == []
    assert list(world.log.live("privacy.cases")) == [secret_key(OLD)]
    return world


async def upgraded(world: GuardWorld) -> None:
    """As `tenant upgrade` does it, beside running workers."""
    world.vault.upgrade(TENANT, (), world.clock.now(), 4)
    await world.ring().guard.tell_profile()


async def test_before_its_upgrade_an_installation_has_no_orders(tmp_path: Path) -> None:
    world = await of_before(tmp_path)
    assert world.desk.topics == ("privacy.requests", "privacy.outcomes")
    await world.restart()
    assert world.case("hold-0001").state == "closed"
    assert lane(world) == []


async def test_secret_cases_are_moved_once_after_the_upgrade(tmp_path: Path) -> None:
    """A running desk sees it by itself; nothing is left but tombstones where backends read."""
    world = await of_before(tmp_path)
    await upgraded(world)
    world.clock.at = world.clock.at.replace(hour=10)
    await world.desk.idle()
    assert world.desk.topics == ("privacy.requests", "privacy.outcomes", "privacy.orders")
    assert dict(world.log.live("privacy.cases")) == {}
    assert list(world.log.live("privacy.orders")) == [secret_key(OLD)]
    writes = world.log.calls
    for hour in (11, 12):
        world.clock.at = world.clock.at.replace(hour=hour)
        await world.desk._topic.look()
    assert (world.log.calls, world.counts[Counters.cases_restored]) == (writes, 0), "once"
    await world.restart()
    assert world.case("hold-0001").state == "closed"
    await world.release("release-1", "claim-17")
    await world.run()
    assert (world.held_of(CLAIM), dict(world.log.live("privacy.cases"))) == ([], {})


@pytest.mark.parametrize("after", [False, True])
async def test_a_desk_that_dies_while_it_moves_them_loses_none(tmp_path: Path, *, after: bool) -> None:
    for at in range(1, 9):
        world = await of_before(tmp_path / str(at))
        await upgraded(world)
        world.fuse.at, world.fuse.after, world.fuse.count = at, after, 0
        try:
            await world.desk.assigned([0])
        except Crash:
            await world.restart()
        assert world.case("hold-0001").state == "closed"
        assert dict(world.log.live("privacy.cases")) == {}
        assert list(world.log.live("privacy.orders")) == [secret_key(OLD)]


async def test_what_a_paused_desk_writes_where_they_were_is_moved_too(tmp_path: Path) -> None:
    """An older state: it neither stands nor stays."""
    world = await of_before(tmp_path)
    first = lane(world, "privacy.cases")[0]
    await upgraded(world)
    await world.restart()
    await world.log.write([_output(first)])
    world.clock.at = world.clock.at.replace(hour=10)
    await world.desk.idle()
    assert dict(world.log.live("privacy.cases")) == {}
    (value,) = world.log.live("privacy.orders").values()
    assert open_case(secret_key(OLD), value, world.vault.case_key(TENANT)).state == "closed"


def test_a_desk_needs_the_topic_only_once_its_tenant_is_raised() -> None:
    before = reads_of("desk", Settings(), ["calllog.events"])
    assert "privacy.orders" in before.topics
    assert "privacy.orders" not in before.wanted
    assert "privacy.orders" in replace(before, marked=True).wanted


def test_an_order_is_told_from_what_workers_write() -> None:
    def record(key: bytes, value: bytes | None) -> Arrival:
        return Arrival("privacy.orders", 0, 0, key, value)

    assert is_order(record(b"any", b"a.b.c"))
    assert is_order(record(b"~case.x", b"a.b.c")), "no first letter makes an order disappear"
    assert is_order(record(b"any", b"{}"))
    assert not is_order(record(b"~case.x", b"{}"))
    assert not is_order(record(b"any", None))


def test_an_installation_of_the_first_release_lacks_no_topic() -> None:
    """Else heartbeats and certificates would wait for its upgrade."""
    assert {"privacy.orders", "calllog.parked"} <= set(LATER)


@pytest.mark.parametrize("kind", ["access", "portability", "restrict", "object", "rectify"])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.slow
async def test_what_comes_first_by_the_other_topic_leaves_no_case_open(tmp_path: Path, kind: str, after: bool) -> None:  # noqa: FBT001
    """A desk dies between naming a decision and writing it; then an officer's erasure is read before the request."""
    more: dict[str, dict[str, Any]] = {
        "access": {"reply_key": REPLY},
        "portability": {"reply_key": REPLY},
        "object": {"purposes": ["quality"]},
        "rectify": {"facts": {"call_id": "a10", "role": "host"}},
    }
    at, blown = 0, True
    while blown:
        at += EACH_WRITE
        world = await started(tmp_path / f"{at}")
        await world.ask("asked-001", kind, "alice", **more.get(kind, {}))
        world.fuse.at, world.fuse.after, world.fuse.count = at, after, 0
        try:
            await world.step("desk")
            blown = False
        except Crash:
            pass
        world.fuse.at = -1
        await world.ask("erase-001", "erase", "alice", key="officer-1", order=True)
        await world.restart()
        await world.run()
        found = world.case("asked-001")
        assert found.state in {"closed", "observing"} or found.waits_for == "officer", (at, found)
        assert world.case("erase-001").state == "observing"
        lanes = [lane(world, "privacy.decisions")] + [world.log.records["privacy.decisions", n] for n in (1, 2, 3)]
        ledger = [decode(DECISIONS, each.value or b"") for some in lanes for each in some if is_decision(each)]
        decided = {each.decision for each in ledger if each.case == found.case and each.type != "preview"}
        assert decided == set(found.decisions), at
    assert at > 3


def is_decision(record: Arrival) -> bool:
    """Whether a record of the ledger is one, not a result or a heartbeat."""
    key = record.key or b"~"
    return record.value is not None and key[:1] != b"~" and not is_result(key)
