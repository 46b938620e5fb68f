"""How a process keeps up with what is published: on fakes, so that each circumstance can be made."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from policies import policy_of, version
from test_publication import APPENDED, LONG, NOW, SHORT, published

from calllog_guard.errors import RequestRefusedError
from calllog_guard.policy import Policy
from calllog_guard.workers.policy_source import PolicySource


@dataclass
class Record:
    """What the client library hands out."""

    value: bytes | None
    key: bytes = b"iocom.2026-06-02"
    timestamp: int = APPENDED


@dataclass
class World:
    """A topic, a clock, and what was told."""

    policy: Policy
    topic: list[Record] = field(default_factory=list)
    moment: datetime = NOW
    days: int | None = 120
    read: int = 0
    shown: list[str] = field(default_factory=list)
    letters: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def now(self) -> datetime:
        """See Clock."""
        return self.moment

    async def up_to_now(self) -> list[Any]:
        """See Tail."""
        self.read = len(self.topic)
        return list(self.topic)

    async def more(self) -> list[Any]:
        """See Tail."""
        fresh, self.read = self.topic[self.read :], len(self.topic)
        return list(fresh)

    def source(self) -> PolicySource:
        """A process that begins."""

        async def kept_days() -> int | None:
            return self.days

        async def letter(record: Any, error: RequestRefusedError) -> None:
            assert record.value is not None
            self.letters.append(error.reason)

        def count(name: str, by: int) -> None:
            self.counts[name] = self.counts.get(name, 0) + by

        return PolicySource(self.policy, self, kept_days, self, count, self.shown.append, letter)

    def kept(self, day: int = 2) -> str:
        """The service's period on a day of June."""
        return self.policy.at(NOW.date().replace(day=day)).tenant["iocom"].purposes["service"].keep


async def test_a_running_process_follows_and_shows_the_version_when_its_day_comes(tmp_path: Path) -> None:
    world = World(policy_of(tmp_path, version()))
    source = world.source()
    await source.catch_up()
    world.topic += [Record(None, b"~beat"), Record(b"{}", b"~beat"), Record(None)]
    world.topic.append(Record(published(tmp_path, version("2026-06-02", purposes=SHORT))))
    await source.look()
    assert (world.kept(1), world.kept(2)) == ("P90D", "P30D")
    assert world.shown[-1] == "2026-01-01"
    world.moment += timedelta(days=1)
    await source.look()
    assert world.shown[-1] == "2026-06-02"
    assert (world.letters, world.counts) == ([], {})


async def test_a_process_that_begins_later_ends_at_the_same_law(tmp_path: Path) -> None:
    world = World(policy_of(tmp_path, version()))
    world.topic.append(Record(published(tmp_path, version("2026-06-02", purposes=SHORT))))
    await world.source().catch_up()
    assert world.kept() == "P30D"


async def test_a_refused_publication_is_told_once_and_a_repetition_of_it_not_at_all(tmp_path: Path) -> None:
    world = World(policy_of(tmp_path, version()))
    source = world.source()
    await source.catch_up()
    forged = published(tmp_path, version("2026-06-02", purposes=SHORT), by="officer-2", kid="officer-1")
    world.topic += [Record(forged), Record(forged)]
    await source.look()
    await source.look()
    assert world.letters == ["bad_signature"]
    assert world.counts == {"policy_refused_bad_signature": 1}
    assert world.kept() == "P90D"


async def test_a_tombstone_takes_no_version_back_from_who_follows_it(tmp_path: Path) -> None:
    world = World(policy_of(tmp_path, version()))
    source = world.source()
    world.topic.append(Record(published(tmp_path, version("2026-06-02", purposes=SHORT))))
    await source.catch_up()
    world.topic.append(Record(None))
    await source.look()
    assert world.kept() == "P30D"


async def test_a_version_that_the_topic_forgets_too_early_waits_for_the_topic(tmp_path: Path) -> None:
    world = World(policy_of(tmp_path, version()))
    source = world.source()
    world.topic.append(Record(published(tmp_path, version("2026-06-02", purposes=LONG), lengthen=True)))
    await source.catch_up()
    assert world.kept() == "P90D"
    world.days = None
    world.moment += timedelta(seconds=31)
    await source.look()
    assert world.kept() == "P6M"


async def test_many_forgeries_fill_no_memory(tmp_path: Path) -> None:
    world = World(policy_of(tmp_path, version()))
    source = world.source()
    await source.catch_up()
    world.topic += [Record(b"nonsense %d" % number) for number in range(250)]
    await source.look()
    world.topic.append(Record(published(tmp_path, version("2026-06-02", purposes=SHORT))))
    await source.look()
    assert len(source._records) <= 101
    assert world.kept() == "P30D"
