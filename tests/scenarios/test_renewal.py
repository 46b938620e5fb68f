"""Who is restricted keeps their legs, whatever Kafka's own retention says."""

from datetime import timedelta
from pathlib import Path

from guard_world import TENANT, GuardWorld

from calllog_guard.core.retention.purposes import GRACE_DAYS
from calllog_guard.metrics import Counters


def appended(world: GuardWorld, key: bytes) -> list[bytes | None]:
    """Everything that was ever written under the key of a leg."""
    return [record.value for lane in world.log.records.values() for record in lane if record.key == key]


async def later(world: GuardWorld, days: int) -> None:
    """So many days pass; then everybody works."""
    world.clock.at += timedelta(days=days)
    await world.run()


async def test_old_legs_of_the_restricted_are_appended_again_before_the_topic_forgets_them(tmp_path: Path) -> None:
    """Art. 18: the data is to be stored; a topic that forgets by age would take it 31 days after its last purpose."""
    world = await GuardWorld(tmp_path).start()
    await world.call("call-1", "alice@example.org", "bob@example.org")
    await world.run()
    before = world.log.live("calllog.legs")
    await world.ask("restrict-01", "restrict", "alice@example.org")
    await later(world, world.policy.keep_days(TENANT) + GRACE_DAYS // 2 - 1)
    (kept,) = world.log.live("calllog.legs")
    assert appended(world, kept) == [before[kept]], "not yet: half of the grace is left"
    await later(world, 2)
    assert appended(world, kept) == [before[kept]] * 2
    await later(world, 1)
    assert appended(world, kept) == [before[kept]] * 2, "once is enough for as long again"
    assert world.counts[Counters.legs_renewed] == 1

    await world.ask("lift-00001", "lift", "alice@example.org")
    await world.run()
    await later(world, 1)
    assert world.log.live("calllog.legs") == {}, "the restriction is over: what has lapsed goes"


async def test_nobody_is_renewed_whose_erasure_came_meanwhile(tmp_path: Path) -> None:
    """An erasure is total, also of what is restricted."""
    world = await GuardWorld(tmp_path).start()
    await world.call("call-1", "alice@example.org")
    await world.ask("restrict-01", "restrict", "alice@example.org")
    await world.run()
    await world.ask("erase-00001", "erase", "alice@example.org")
    await later(world, world.policy.keep_days(TENANT) + GRACE_DAYS)
    assert world.log.live("calllog.legs") == {}
    assert world.counts[Counters.legs_renewed] == 0
