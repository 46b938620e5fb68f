"""How a process keeps up with what is published: on fakes, so that each circumstance can be made."""

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from policies import policy_of, version
from test_publication import APPENDED, EARLY, LONG, NOW, SHORT, late_one, published

from calllog_guard.adapters.disk.policy_floor import SeenLaw
from calllog_guard.core.codec import Beat, encode, to_ms
from calllog_guard.core.crypto.jose import new_pair
from calllog_guard.core.officers.acceptances import Acceptance, accepting
from calllog_guard.core.policy.active import Policy
from calllog_guard.core.policy.form import Version
from calllog_guard.core.stream.anchor import Anchor
from calllog_guard.core.stream.arrival import Remnant
from calllog_guard.errors import ConfigurationError, NewerFormError, RequestRefusedError
from calllog_guard.metrics import CounterMetric, Counters
from calllog_guard.workers.runtime.policy_updates import PolicyHooks, PolicySource


@dataclass
class Record:
    """What the client library hands out."""

    value: bytes | None
    key: bytes = b"iocom.2026-06-02"
    timestamp: int = APPENDED
    remnant: Remnant | None = None


@dataclass
class World:
    """A topic, a clock, and what was told."""

    policy: Policy
    topic: list[Record] = field(default_factory=list)
    moment: datetime = NOW
    days: int | None = 120
    read: int = 0
    seen: tuple[date, int] | None = None
    shown: list[str] = field(default_factory=list)
    letters: list[str] = field(default_factory=list)
    counts: dict[CounterMetric, int] = field(default_factory=dict)

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

        def count(name: CounterMetric, by: int) -> None:
            self.counts[name] = self.counts.get(name, 0) + by

        def show(shown: Version) -> None:
            self.shown.append(shown.label)

        hooks = PolicyHooks(kept_days=kept_days, seen=lambda: self.seen, show=show, letter=letter, count=count)
        return PolicySource(self.policy, self, self, hooks)

    def kept(self, day: int = 2) -> str:
        """The service's period on a day of June."""
        return self.policy.at(NOW.date().replace(day=day)).tenant["iocom"].purposes["service"].keep


async def test_a_running_process_follows_and_shows_the_version_when_its_day_comes(tmp_path: Path) -> None:
    world = World(policy_of(tmp_path, version()))
    source = world.source()
    await source.catch_up()
    world.topic += [Record(None, b"~beat"), Record(encode(Beat(counter=1, at=NOW)), b"~beat"), Record(None)]
    world.topic.append(Record(published(tmp_path, version("2026-06-02", purposes=SHORT))))
    await source.look()
    assert (world.kept(1), world.kept(2)) == ("P90D", "P30D")
    assert world.shown[-1] == "2026-01-01"
    world.moment += timedelta(days=1)
    await source.look()
    assert world.shown[-1] == "2026-06-02"
    assert (world.letters, world.counts) == ([], {})


@pytest.mark.parametrize("key", [b"~beat", b"~guard", b"~accepted.x", b"~x"])
async def test_a_version_is_followed_or_told_whatever_its_key(tmp_path: Path, key: bytes) -> None:
    """What is ours beside the policy is told by what it says."""
    world = World(policy_of(tmp_path, version()))
    source = world.source()
    await source.catch_up()
    world.topic += [Record(b"junk", key), Record(published(tmp_path, version("2026-06-02", purposes=SHORT)), key)]
    await source.look()
    assert world.kept() == "P30D"
    assert world.letters == ["not_a_jws"]


async def test_heartbeats_anchors_and_acceptances_are_no_versions(tmp_path: Path) -> None:
    claims = Acceptance(tenant="iocom", topic="calllog.events", id="A" * 22, spans=(), at=NOW)
    private, _ = new_pair(signs=True)
    world = World(policy_of(tmp_path, version()))
    world.topic += [
        Record(encode(Beat(counter=1, at=NOW)), b"~beat"),
        Record(encode(Beat(counter=1, at=NOW)).replace(b'"v":1', b'"v":2'), b"~beat"),
        Record(encode(Anchor(guard="A" * 22)), b"~guard"),
        Record(accepting(private, "officer-1", claims), b"~accepted.x"),
    ]
    await world.source().catch_up()
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
    assert world.counts == {Counters.policy_refused["bad_signature"]: 1}
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


async def test_what_is_too_large_for_a_policy_is_refused_and_not_kept(tmp_path: Path) -> None:
    """A hundred of them would be gigabytes; what could not even be unpacked is no policy either."""
    world = World(policy_of(tmp_path, version()))
    source = world.source()
    await source.catch_up()
    left = Remnant(reason="unpacked_too_large", of="value", bytes=30 << 20, sha256="0" * 64)
    world.topic += [Record(b"x" * (1 << 20 | 1)), Record(b"", remnant=left)]
    await source.look()
    assert not any(len(token) > 1 << 20 for token in source._records)
    assert (
        world.counts[Counters.policy_refused["too_large"]]
        == world.counts[Counters.policy_refused["unpacked_too_large"]]
        == 1
    )
    world.topic.append(Record(published(tmp_path, version("2026-06-02", purposes=SHORT))))
    await source.look()
    assert world.kept() == "P30D"


async def test_a_topic_from_a_backup_stops_who_begins_and_not_who_runs(tmp_path: Path) -> None:
    """The record of a version is appended again, after its day: whoever began now would follow the older law."""
    late = late_one(tmp_path)
    world = World(policy_of(tmp_path, version()), moment=EARLY)
    running = world.source()
    world.topic.append(Record(late, timestamp=to_ms(EARLY)))
    await running.catch_up()
    world.moment = NOW
    world.topic.append(Record(late))
    await running.look()
    assert world.kept(1) == "P30D"
    assert (world.letters, world.counts) == ([], {})
    restored = World(policy_of(tmp_path, version()), [Record(late)])
    with pytest.raises(ConfigurationError, match="version 2026-05-31 was signed in time"):
        await restored.source().catch_up()
    assert restored.letters == ["appended_after_its_day"]
    assert restored.shown == []


async def test_who_runs_without_a_late_version_counts_it_and_goes_on(tmp_path: Path) -> None:
    world = World(policy_of(tmp_path, version()))
    source = world.source()
    await source.catch_up()
    world.topic.append(Record(late_one(tmp_path)))
    await source.look()
    assert world.letters == ["appended_after_its_day"]
    assert world.counts == {Counters.policy_refused["appended_after_its_day"]: 1}
    assert world.kept(1) == "P90D"


async def test_an_emptied_topic_stops_who_begins_where_the_version_was_followed(tmp_path: Path) -> None:
    seen = SeenLaw(tmp_path / "law" / "privacy.policy.iocom")
    seen.keep((date(2026, 5, 31), 1))
    world = World(policy_of(tmp_path, version()), seen=seen.newest())
    with pytest.raises(ConfigurationError, match="version 2026-05-31 was followed on this machine"):
        await world.source().catch_up()


def test_a_machine_remembers_the_newest_version_that_it_has_followed(tmp_path: Path) -> None:
    path = tmp_path / "law" / "privacy.policy.iocom"
    assert SeenLaw(path).newest() is None
    first, second = SeenLaw(path), SeenLaw(path)
    first.keep((date(2026, 6, 2), 1))
    second.keep((date(2026, 6, 1), 1))
    second.keep((date(2026, 6, 1), 2))
    assert SeenLaw(path).newest() == (date(2026, 6, 2), 1)
    assert path.read_bytes() == b"1 2026-06-02\n"
    for text in ("2 2026-06-02\n", "1 2026-06-02 2\n", "2 2026-06-02 x\n", "1 yesterday\n", ""):
        path.write_text(text)
        with pytest.raises(ConfigurationError, match="cannot be read as the day"):
            SeenLaw(path).newest()
    path.write_text("3 2026-06-02 2\n")
    with pytest.raises(NewerFormError):
        SeenLaw(path).newest()
    blocked = tmp_path / "file"
    blocked.write_text("")
    SeenLaw(blocked / "law").keep((date(2026, 6, 2), 1))  # a folder that takes nothing stops no worker


def test_a_machine_remembers_which_revision_of_a_day_it_has_followed(tmp_path: Path) -> None:
    path = tmp_path / "law" / "privacy.policy.iocom"
    seen = SeenLaw(path)
    for number in (1, 2, 1):
        seen.keep((date(2026, 6, 2), number))
    assert path.read_bytes() == b"2 2026-06-02 2\n"
    assert SeenLaw(path).newest() == (date(2026, 6, 2), 2)
    SeenLaw(path).keep((date(2026, 6, 2), 1))
    assert SeenLaw(path).newest() == (date(2026, 6, 2), 2)
    SeenLaw(path).keep((date(2026, 6, 3), 1))
    assert path.read_bytes() == b"1 2026-06-03\n"


async def test_a_correction_that_is_lost_brings_the_mistake_back_for_nobody_who_begins(tmp_path: Path) -> None:
    """The day alone would say that nothing is missing."""
    corrected = version("2026-06-01", purposes=SHORT).replace("change =", "revision = 2\nchange =", 1)
    world = World(policy_of(tmp_path, version(), version("2026-06-01"), corrected))
    await world.source().catch_up()
    assert (world.kept(1), world.shown) == ("P30D", ["2026-06-01.2"])
    world = World(policy_of(tmp_path, version(), version("2026-06-01")), seen=(date(2026, 6, 1), 2))
    with pytest.raises(ConfigurationError, match="version 2026-06-01, revision 2 was followed on this machine"):
        await world.source().catch_up()
