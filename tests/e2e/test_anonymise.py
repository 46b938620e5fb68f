"""Legs that are to be anonymised, on the real stack: counted once and gone, whatever step the keeper dies at."""

import asyncio

import pytest
from installation import Installation, Make, event, raw
from patience import ended
from sizes import every

from calllog_guard.adapters.kafka.log import KafkaLog
from calllog_guard.app.context import world
from calllog_guard.core.retention.tally import Tally, TallyPlace, name_from, open_tally, tally_epoch
from calllog_guard.settings import from_environment

pytestmark = pytest.mark.real


def tallies(guard: Installation) -> list[Tally]:
    """What the partitions have counted."""
    shared = world(from_environment(guard.environment))
    found: dict[tuple[int, bytes], bytes] = {}
    topic = guard.topic("privacy.decisions")
    for record in asyncio.run(KafkaLog(guard.stack.kafka, {}).read_all(topic, list(range(guard.partitions)))):
        if record.key is not None and record.value is not None and name_from(record.key) is not None:
            found[record.partition, record.key] = record.value
    opened = []
    for (partition, key), value in found.items():
        name = name_from(key)
        assert name is not None
        secret = shared.vault.epoch_key(tally_epoch(value), shared.tenant, "tallies")
        opened.append(open_tally(value, TallyPlace(shared.tenant, partition, name), secret))
    return opened


@pytest.mark.parametrize(
    "step", every([None, "statistics.fetched", "statistics.counted", "expire.tombstoned"], "statistics.counted")
)
def test_lapsing_legs_are_counted_once_and_go(make: Make, step: str | None) -> None:
    guard = make(EVENT_LATE_DAYS="400")
    path = guard.directory / "policy.toml"
    path.write_text(path.read_text().replace('keep = "P90D"', 'keep = "P90D"\nthen = "anonymise"', 1))
    guard.start("protector")
    calls = [raw(event(f"c{n}", f"p{n}@x.org", minutes_ago=100 * 1440, outcome="missed")) for n in range(12)]
    guard.publish("calllog.events", calls)
    guard.settled(lambda: len(guard.live()) == 12, "all legs")
    if step:
        off = guard.environment.get("CALLLOG_GUARD_DEVELOPMENT", "")
        dying = guard.start("keeper", DEVELOPMENT=f"{off},crash-at={step}")
        assert ended(dying) == -9
    guard.start("keeper")
    guard.settled(lambda: not guard.live(), "counted and gone")
    guard.settled(lambda: all(not tally.batch for tally in tallies(guard)), "the names of the last batch are forgotten")
    counts = [count for tally in tallies(guard) for count in tally.cells.values()]
    assert (sum(count.legs for count in counts), sum(count.people for count in counts)) == (12, 12)
