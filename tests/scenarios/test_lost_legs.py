"""A leg that the index knows and the log has lost keeps nobody's request waiting for ever."""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import pytest
from guard_world import GuardWorld
from msgspec.structs import replace
from test_crash_matrix import reply

from calllog_guard.metrics import Counters

WHO = "alice@example.org"
ASKED: dict[str, Callable[[GuardWorld], Awaitable[None]]] = {
    "hold": lambda world: world.hold("request-001", "claim-1", WHO),
    "erase": lambda world: world.ask("request-001", "erase", WHO),
    "access": lambda world: world.ask("request-001", "access", WHO, reply_key=reply(world)),
}


def lose(world: GuardWorld, key: bytes) -> None:
    """As a broker that lost a record after the keeper had read it."""
    for (topic, _), lane in world.log.records.items():
        for at, record in enumerate(lane):
            if topic == "calllog.legs" and record.key == key:
                lane[at] = replace(record, key=b"~lost", value=b"")


@pytest.mark.parametrize("kind", ASKED)
async def test_a_lost_leg_is_counted_and_what_was_decided_goes_on(kind: str, tmp_path: Path) -> None:
    """A copy that can never be made must hold up neither an erasure nor the answer to the person."""
    world = await GuardWorld(tmp_path).start()
    for name in ("call-1", "call-2"):
        await world.call(name, WHO)
    await world.run()
    lost, kept = world.legs()
    lose(world, lost)
    await ASKED[kind](world)
    await world.run()
    case = world.case("request-001")
    assert case.state == ("observing" if kind == "erase" else "closed")
    assert world.counts[Counters.legs_lost] == 1
    assert [key for key in world.legs() if key != b"~lost"] == ([] if kind == "erase" else [kept])
    assert len(world.held()) == (0 if kind == "access" else 1), "what was there was copied"


async def test_a_leg_that_was_only_replaced_is_not_taken_for_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The keeper looks again once it has read what the log had when the leg was missed."""
    world = await GuardWorld(tmp_path).start()
    await world.call("call-1", WHO)
    await world.run()
    (key,), fetch = world.legs(), world.log.fetch
    lane = next(lane for (topic, _), lane in world.log.records.items() if topic == "calllog.legs" and lane)

    async def replaced_first(topic: str, partition: int, places: Mapping[bytes, int]) -> dict[bytes, bytes]:
        if lane[0].key == key:
            await world.call("call-1", WHO, outcome="missed")
            await world.step("protector")
            lane[0] = replace(lane[0], key=b"~compacted", value=b"")
        return await fetch(topic, partition, places)

    monkeypatch.setattr(world.log, "fetch", replaced_first)
    await world.restart()
    await ASKED["hold"](world)
    await world.run()
    assert world.counts[Counters.legs_moved] > 0
    assert world.counts[Counters.legs_lost] == 0
    assert key in world.legs()
    assert len(world.held()) == 1
