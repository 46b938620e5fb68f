"""Who pairs joins and leaves: erased people stay erased, nothing on disk or in a log names anybody, nothing hostile stops it."""

import json
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from guard_world import PARTITIONS, START, TENANT
from sessions_world import LIMIT, SessionsWorld, joined, left, over
from structlog.testing import capture_logs
from test_access import RICH
from test_parking import legs

from calllog_guard.adapters.rocksdb.rows import RocksRows
from calllog_guard.core.records import Output
from calllog_guard.core.sessions.moment import MomentEnvelope, moment_of, moment_partition
from calllog_guard.core.sources.pairing import MOST_MOMENTS
from calllog_guard.errors import KmsSilentError, NewerFormError
from calllog_guard.metrics import Counters
from calllog_guard.ports.log import TopicPartition
from calllog_guard.workers.sessions import worker as pairing
from calllog_guard.workers.sessions.worker import rows_path

ANA, BO = "ana@example.org", "bo@example.org"
QUARTER = timedelta(minutes=15)


@pytest.fixture
async def world(tmp_path: Path) -> SessionsWorld:
    """An installation without calls, a quarter of an hour after the first of them began."""
    world = await SessionsWorld(tmp_path, RICH).start()
    world.clock.at += QUARTER
    return world


async def settle(world: SessionsWorld) -> None:
    """Every worker until nothing is left to do."""
    await world.pair()
    await world.run()


async def test_stays_become_records_and_an_open_one_is_replaced(world: SessionsWorld) -> None:
    """Through protector and keeper: the open revision goes, an estimate says so."""
    await world.tell(joined(0, role="host"), joined(10, "s-2", BO))
    await settle(world)
    assert [leg.left_at for who in (ANA, BO) for leg in await legs(world, who)] == [None, None]
    await world.tell(left(60, role="host"), over(100))
    await settle(world)
    found = [leg for who in (ANA, BO) for leg in await legs(world, who)]
    assert [(leg.role, leg.left_at, leg.estimated) for leg in found] == [
        ("host", "2026-11-24T09:01:00Z", msgspec.UNSET),
        ("guest", "2026-11-24T09:01:40Z", True),
    ]
    assert (len(world.legs()), world.dead()) == (2, [])


async def test_what_is_told_of_an_erased_person_leaves_no_record(world: SessionsWorld) -> None:
    """A leave behind the fence, rows that are lost and made anew, a replay of the day: no leg of a call before the cut-off."""
    await world.tell(joined(0), joined(0, "s-2", BO))
    await settle(world)
    await world.ask("erase-01", "erase", ANA)
    await world.run()
    assert await legs(world, BO)
    assert len(world.legs()) == 1
    world.clock.at += QUARTER
    await world.tell(left(1000), left(1000, "s-2", BO))
    await settle(world)
    await world.pairs_anew(lost=True)
    await settle(world)
    await world.tell(joined(0), left(1000), over(1100))
    await world.pass_time(LIMIT * 4)
    await settle(world)
    assert (len(world.legs()), len(await legs(world, BO))) == (1, 1)
    assert world.counts[Counters.events_suppressed["erased"]] > 0
    later = (world.clock.at - START).total_seconds()
    await world.tell(joined(later, "s-9", call="call-2"))
    await settle(world)
    assert len(world.legs()) == 2, "who returns is somebody new"


async def test_a_receipt_says_until_when_moments_and_what_is_made_of_them_may_be_there(world: SessionsWorld) -> None:
    """Twice the limit and a day in their topic, its file a day more; then an event of the last one has its own time."""
    await world.tell(joined(0), left(9))
    await settle(world)
    await world.ask("erase-01", "erase", ANA)
    await world.run()
    receipt = next(each for each in world.receipts("erase-01") if each["stage"] == "destroyed")
    fenced = datetime.fromisoformat(receipt["stages"]["fenced"])
    bounds = {name: datetime.fromisoformat(str(at)) for name, at in receipt["bounds"].items() if name != "cache_s"}
    assert bounds["moments"] - fenced == timedelta(hours=2 * 24 + 24 + 24) + (bounds["events"] - fenced)


async def test_nothing_that_is_kept_or_logged_names_anybody(
    world: SessionsWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither people nor calls nor sessions: not in keys, not in rows, not in the topic, not in a log line."""
    words = [b"ana@", b"example.org", b"Weekly of Ana", b"device-77", b"zoom-eu", b"phone-of-bo"]
    with capture_logs() as lines:
        await world.tell(
            joined(0, "device-77", call="Weekly of Ana"), left(9, "device-77", call="Weekly of Ana"), over(20, "Weekly of Ana"),
            joined(1, "phone-of-bo", None), source="zoom-eu",
        )  # fmt: skip
        await world.log.write([Output("calllog.moments", 0, b"A" * 22, b"ana@example.org")])
        await settle(world)
    kept = world.on_disk()
    lanes = [record for place, lane in world.log.records.items() if place[0] == "calllog.moments" for record in lane]
    topic = b"".join((record.key or b"") + (record.value or b"") for record in lanes if record.key != b"A" * 22)
    keys = b"".join(record.key or b"" for lane in world.log.records.values() for record in lane)
    told = json.dumps([str(line) for line in lines]).encode() + capsys.readouterr().out.encode()
    dead = b"".join(record.value or b"" for record in world.log.records["calllog.dead", 0])
    for word in words:
        assert word not in kept + topic + keys + told + dead, word
    events = json.dumps(world.events()).encode()
    assert all(word in events for word in words[:4]), "the control: what is published plainly is found"


# --- what is hostile or damaged ---------------------------------------------------------------------------------------


async def test_what_is_no_moment_is_a_dead_letter_and_the_others_are_paired(world: SessionsWorld) -> None:
    """Garbage, another call's key, another tenant's seal, a null, a heartbeat that nobody signed, times that cannot be."""
    await world.tell(joined(0))
    good = next(lane[0] for place, lane in world.log.records.items() if place[0] == "calllog.moments" and lane)
    value, key = good.value or b"", good.key or b""
    bad = [(b"x" * 22, value), (key, value[:-1]), (key, b""), (key, None), (None, value), (b"\xff" * 22, value)]
    bad += [(b"~beat", b"{}"), (key, value[:-1] + bytes([value[-1] ^ 1]))]
    await world.log.write([Output("calllog.moments", good.partition, *each) for each in bad])
    await world.tell(joined(10_000), left(-86_400 * 500), left(60))
    await world.pair()
    assert sorted(world.dead()) == sorted(["bad_moment"] * len(bad) + ["in_future", "too_late"])
    assert world.spans() == [(ANA, 0, 60, False)]


async def test_a_moment_that_somebody_sealed_under_another_calls_key_says_nothing(world: SessionsWorld) -> None:
    """Whoever may write there could else put somebody into a partition where their call is not."""
    told = joined(0)
    moment, name = moment_of("zoom", told), world.vault.moment_names(TENANT).call(TENANT, "zoom", "another")
    value = MomentEnvelope.to_seal(world.newest(), b"s" * 32).seal(TENANT, name, moment, b"n" * 12)
    await world.log.write([Output("calllog.moments", moment_partition(name, PARTITIONS), name.encode(), value)])
    await world.pair()
    assert (world.dead(), world.events()) == (["bad_moment"], [])


async def test_what_lies_beyond_the_partitions_of_the_topic_is_a_dead_letter(world: SessionsWorld) -> None:
    """Somebody has given the topic more: nothing of ours is there, and nothing there stops the worker."""
    await world.tell(joined(0))
    lanes = [lane for place, lane in world.log.records.items() if place[0] == "calllog.moments" and lane]
    beyond = TopicPartition("calllog.moments", PARTITIONS + 3)
    await world.sessions.unit({beyond: [msgspec.structs.replace(lanes[0][0], partition=beyond.partition)]})
    assert (world.dead(), world.events()) == (["wrong_partition"], [])


async def test_who_comes_and_goes_without_end_fills_nothing(world: SessionsWorld) -> None:
    await world.tell(*(joined(number / 1000) for number in range(MOST_MOMENTS + 3)))
    await world.pair()
    assert world.dead() == ["too_many"] * 3
    await world.tell(*(over(number / 1000) for number in range(205)))
    await world.pair()
    assert world.dead() == ["too_many"] * 8


async def test_a_later_releases_moment_halts(world: SessionsWorld) -> None:
    await world.log.write([Output("calllog.moments", 0, b"A" * 22, bytes([2]) + bytes(90))])
    with pytest.raises(NewerFormError):
        await world.pair()


async def test_moments_whose_week_is_over_open_for_nobody_and_stop_nothing(world: SessionsWorld) -> None:
    """Also the one that says who a session is of: its row is forgotten."""
    await world.tell(joined(0), joined(0, "s-2", BO))
    await world.pair()
    world.vault.moments.renew(START + timedelta(days=8))
    await world.tell(left(50, "s-2", BO))
    world.vault.moments.destroy(START + timedelta(days=30), timedelta(days=1))
    await world.pairs_anew()
    await world.tell(left(60))
    await world.pass_time(LIMIT)
    await world.pair()
    assert world.counts[Counters.unreadable["moment_lapsed"]] >= 1
    await world.pairs_anew(lost=True)
    await world.pair()
    assert set(world.dead()) == {"moment_lapsed"}


async def test_while_the_kms_is_silent_the_unit_waits(world: SessionsWorld) -> None:
    """Nothing is lost, and nothing is a dead letter."""
    await world.tell(joined(0))
    world.wrapped.kms.silent = True
    with pytest.raises(KmsSilentError):
        await world.pair()
    world.wrapped.kms.silent = False
    await world.pair()
    assert (world.spans(), world.dead()) == ([(ANA, 0, None, False)], [])


# --- on disk ----------------------------------------------------------------------------------------------------------


async def test_rows_on_disk_go_on_where_they_were_and_those_of_others_are_deleted(
    world: SessionsWorld, tmp_path: Path
) -> None:
    """Unless another process beside us has them open."""
    means = world.sessions._m
    ours = pairing.Sessions(replace(means, open_rows=RocksRows))
    places = await ours.assigned(range(PARTITIONS))
    assert set(places.values()) == {0}
    await world.tell(joined(0))
    lanes = {number: world.log.records["calllog.moments", number] for number in range(PARTITIONS)}
    await ours.unit({TopicPartition("calllog.moments", number): lane for number, lane in lanes.items() if lane})
    await ours.revoked(range(PARTITIONS))
    other = RocksRows(rows_path(world.settings, 3))
    again = pairing.Sessions(replace(means, open_rows=RocksRows))
    found = await again.assigned([0, 1])
    assert found == {TopicPartition("calllog.moments", number): len(lanes[number]) for number in (0, 1)}
    assert there(tmp_path) == ["0", "1", "3"]
    other.close()
    await again.assigned([0])
    assert there(tmp_path) == ["0"]
    again.close()


def there(folder: Path) -> list[str]:
    """The partitions whose rows lie in a folder."""
    return sorted(path.name.rpartition("-")[2] for path in folder.glob("sessions-*"))
