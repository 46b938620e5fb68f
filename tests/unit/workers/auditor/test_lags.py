"""The alarm before a gap: how long unread records have waited, and how their topic is kept longer, within a bound."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from contexts import context

from calllog_guard.adapters.memory.extents import MemoryExtents
from calllog_guard.adapters.memory.fakes import MemoryKeystore
from calllog_guard.core.codec import encode, to_ms
from calllog_guard.core.crypto.jose import new_pair, sign
from calllog_guard.core.identifiers import Tenant
from calllog_guard.core.officers.acceptances import Acceptance, Accepted, AcceptedSpan
from calllog_guard.core.officers.prolongations import PROLONGED, Prolonged, changes, next_retention, noted
from calllog_guard.core.stream.arrival import Arrival
from calllog_guard.core.stream.beginnings import Reached, reached_entry, reached_key
from calllog_guard.errors import LogSilentError
from calllog_guard.metrics import GaugeMetric, Gauges
from calllog_guard.settings import Settings
from calllog_guard.workers.auditor.context import AuditorContext
from calllog_guard.workers.auditor.lags import Lags

HOUR = 3_600_000
NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
EVENTS = "calllog.events"
TOPICS = {EVENTS: 3, "privacy.requests": 1, "privacy.outcomes": 1, "privacy.cases": 1, "privacy.policy": 1}
TOPICS |= dict.fromkeys(("calllog.legs", "privacy.decisions", "calllog.held"), 4) | {"calllog.statistics": 1}


@pytest.mark.parametrize(
    ("age_h", "kept_h", "expected_h"),
    [
        (0, 24, None),
        (12, 24, None),
        (12.1, 24, 48),
        (12.1, 48, None),
        (24.1, 48, 96),
        (50, 96, None),  # the bound; the alarm goes on
        (6.1, 48, None),  # not young enough to end it
        (6, 48, 24),
        (0, 96, 24),
        (0, 200, None),  # nobody of ours: a drift
        (1, 1, 2),  # somebody has shortened it under what is unread
        (0, 1, None),
    ],
)
def test_a_topic_is_kept_longer_while_and_as_far_as_it_must(
    age_h: float, kept_h: float, expected_h: float | None
) -> None:
    found = next_retention(int(age_h * HOUR), int(kept_h * HOUR), 24 * HOUR, 0.5, 4)
    assert found == (None if expected_h is None else int(expected_h * HOUR))
    assert next_retention(int(age_h * HOUR), 24 * HOUR, 24 * HOUR, 0.5, 1) is None


class Installed:
    """What an auditor sees, and the administrator's port that it uses."""

    def __init__(self) -> None:
        self.extents, self.keystore = MemoryExtents(), MemoryKeystore()
        self.kept = {EVENTS: 24 * HOUR, "privacy.requests": 7 * 24 * HOUR, "calllog.legs": 200 * 24 * HOUR}
        self.levels: dict[GaugeMetric, float] = {}
        self.notes: list[Prolonged] = []
        self.signed: list[Accepted] = []
        self.at = NOW
        for topic, many in TOPICS.items():
            self.extents.create(topic, many)
        own = context(
            AuditorContext,
            settings=Settings(partitions=4),
            clock=self,
            ring=SimpleNamespace(tenant=Tenant("iocom"), keystore=self.keystore),
            admin=self,
            extents=self.extents,
            events=lambda: [EVENTS],
            level=self.levels.__setitem__,
        )
        self.lags = Lags(own, self.accepted, self.note)

    def now(self) -> datetime:
        """See Clock."""
        return self.at

    async def accepted(self) -> list[Accepted]:
        """What officers have signed."""
        return self.signed

    async def note(self, change: Prolonged) -> None:
        """A change goes on record."""
        self.notes.append(change)

    def kept_ms(self, topics: Sequence[str]) -> dict[str, int]:
        """See Topics."""
        return {topic: self.kept[topic] for topic in topics if topic in self.kept}

    def keep(self, topic: str, retention_ms: int) -> None:
        """See Topics."""
        self.kept[topic] = retention_ms

    async def read(self, topic: str, partition: int, offset: int, role: str = "protector") -> None:
        """A group has read up to an offset."""
        self.extents.commit(f"calllog.guard-{role}", topic, partition, offset)
        known = self.extents.topics[topic].id
        await self.keystore.put({reached_key(role, topic, partition): reached_entry(Reached(known, offset))})


async def aged(installed: Installed) -> float:
    """The age that a look shows, in hours."""
    await installed.lags.look()
    return round(installed.levels[Gauges.unread_age_s[EVENTS]] / 3600, 1)


async def test_the_age_is_that_of_the_oldest_record_that_is_unread() -> None:
    installed = Installed()
    assert await aged(installed) == 0
    for hours in (9, 5, 2):
        installed.extents.append(EVENTS, 0, 10, to_ms(NOW - timedelta(hours=hours)))
    installed.extents.append(EVENTS, 2, 1, to_ms(NOW - timedelta(hours=3)))
    for read, expected in ((0, 9), (9, 9), (10, 5), (25, 3), (30, 3)):
        await installed.read(EVENTS, 0, read)
        assert expected / 1.5 <= await aged(installed) <= expected
    await installed.read(EVENTS, 2, 1)
    assert await aged(installed) == 0


async def test_a_topic_near_its_end_is_told_kept_longer_and_set_back_each_on_record() -> None:
    installed = Installed()
    installed.extents.append(EVENTS, 0, 10, to_ms(NOW))
    for hours, kept in ((11, 24), (13, 48), (20, 48), (25, 96), (60, 96), (95, 96)):
        installed.at = NOW + timedelta(hours=hours)
        await installed.lags.look()
        assert installed.kept[EVENTS] == kept * HOUR
    assert installed.levels[Gauges.unread_near_end[EVENTS]] == 1
    assert installed.levels[Gauges.retention_prolonged[EVENTS]] == 3
    await installed.read(EVENTS, 0, 10)
    await installed.lags.look()
    assert (installed.kept[EVENTS], installed.levels[Gauges.unread_near_end[EVENTS]]) == (24 * HOUR, 0)
    told = [(each.from_ms // HOUR, each.to_ms // HOUR) for each in installed.notes]
    assert told == [(24, 48), (48, 96), (96, 24)]
    assert {each.topic for each in installed.notes} == {EVENTS}


async def test_what_law_or_policy_keeps_is_told_and_never_prolonged() -> None:
    installed = Installed()
    installed.kept["calllog.legs"] = HOUR
    installed.extents.append("calllog.legs", 0, 10, to_ms(NOW))
    installed.at = NOW + timedelta(minutes=50)
    await installed.lags.look()
    assert installed.levels[Gauges.unread_near_end["calllog.legs"]] == 1
    assert (installed.kept["calllog.legs"], installed.notes) == (HOUR, [])


async def test_gaps_that_nobody_accepted_are_counted_for_whoever_has_halted() -> None:
    installed = Installed()
    installed.extents.append(EVENTS, 0, 50, to_ms(NOW))
    await installed.read(EVENTS, 0, 10)
    installed.extents.trim(EVENTS, 0, 20)
    await installed.lags.look()
    assert installed.levels[Gauges.partitions_with_gaps] == 1
    known = installed.extents.topics[EVENTS].id
    spans = (AcceptedSpan(partition=0, was=known, from_=10, to=20),)
    installed.signed.append(
        Accepted(Acceptance(tenant="iocom", topic=EVENTS, id=known, spans=spans, at=NOW), "officer-1")
    )
    await installed.lags.look()
    assert installed.levels[Gauges.partitions_with_gaps] == 0


async def test_a_topic_that_does_not_exist_and_a_group_that_never_was_are_no_error() -> None:
    installed = Installed()
    del installed.extents.topics[EVENTS]
    await installed.lags.look()
    assert Gauges.unread_age_s[EVENTS] not in installed.levels


def test_the_record_of_a_change_is_as_it_was() -> None:
    golden = json.loads((Path(__file__).parents[3] / "vectors" / "beginnings_v1.json").read_text())
    change = Prolonged(tenant="iocom", topic=EVENTS, from_ms=1, to_ms=2, age_ms=3, at=NOW)
    assert encode(change).decode() == golden["prolonged"]


def test_only_the_auditors_word_is_a_change_of_the_record() -> None:
    (private, public), (foreign, _) = new_pair(signs=True), new_pair(signs=True)
    change = Prolonged(tenant="iocom", topic=EVENTS, from_ms=1, to_ms=2, age_ms=3, at=NOW)
    key = PROLONGED + b"x"

    def read(value: bytes | None, key: bytes = key) -> list[Any]:
        record = Arrival("privacy.policy", 0, 0, key, value)
        return changes([record], Tenant("iocom"), public)

    assert read(noted(private, change)) == [change]
    for value in (None, b"", encode(change), noted(foreign, change), sign(private, "audit", b"{}").encode()):
        assert read(value) == []
    assert read(noted(private, change), b"~beat") == []
    other = Prolonged(tenant="other", topic=EVENTS, from_ms=1, to_ms=2, age_ms=3, at=NOW)
    assert read(noted(private, other)) == []


async def test_a_topic_is_never_kept_longer_off_the_record() -> None:
    """Where the note is not acknowledged, nothing is changed, and the next look does both."""
    installed = Installed()
    installed.extents.append(EVENTS, 0, 10, to_ms(NOW))
    silent = [1]

    async def note(change: Prolonged) -> None:
        if silent:
            silent.pop()
            raise LogSilentError("Kafka does not answer")
        installed.notes.append(change)

    installed.lags._signed = note
    installed.at = NOW + timedelta(hours=13)
    with pytest.raises(LogSilentError):
        await installed.lags.look()
    assert installed.kept[EVENTS] == 24 * HOUR
    await installed.lags.look()
    await installed.lags.look()
    assert installed.kept[EVENTS] == 48 * HOUR
    assert [(each.from_ms // HOUR, each.to_ms // HOUR) for each in installed.notes] == [(24, 48)]
