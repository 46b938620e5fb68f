"""Files and records that a command cannot read hide nothing else, and are told: no clean bill, no fault of ours."""

import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from contexts import Given
from guard_world import TENANT, GuardWorld
from test_backlog import filled
from test_parking import ALICE

from calllog_guard.adapters.disk.trace_search import Hunter
from calllog_guard.cli import _case_read as case_read
from calllog_guard.cli import case as cases
from calllog_guard.cli import dead as letters
from calllog_guard.cli import report, scan
from calllog_guard.cli._options import Args
from calllog_guard.core.calls.parked import Parked, waiting_now
from calllog_guard.core.cases.case import Case
from calllog_guard.core.cases.case_filter import Filter, chosen
from calllog_guard.core.codec import Access, Dead, encode, to_ms
from calllog_guard.core.policy.actors import Actors
from calllog_guard.core.records import Output
from calllog_guard.core.stream.arrival import Arrival
from calllog_guard.core.stream.proofs import AUDIT, DESK, Proofs, vouched
from calllog_guard.core.stream.replay import REPLAYED_KEY, Replayed
from calllog_guard.errors import ConfigurationError
from calllog_guard.settings import Settings

MOMENT = datetime(2026, 11, 1, tzinfo=UTC)
DEAD: dict[str, Any] = {
    "v": 1, "topic": "t", "partition": 0, "offset": 0, "reason": "x", "at_pointer": "", "kid": "k", "jwe": "x",
    "at": MOMENT,
}  # fmt: skip
LETTER = encode(Dead(**DEAD))
GOOD = Arrival("calllog.dead", 0, 9, None, LETTER)
NAMED = b'"2026-11-01T00:00:00Z"'


def shared(**more: Any) -> Any:
    nobody = SimpleNamespace(actors=lambda tenant: Actors((), tenant, lambda _: b""))
    usual: dict[str, Any] = {
        "policy": nobody,
        "vault": SimpleNamespace(guard_id=lambda: bytes(16), proofs=lambda _: Proofs({})),
    }
    return SimpleNamespace(tenant=TENANT, home=0, settings=Settings(), **usual | more)


async def listed(*records: Arrival) -> list[letters.Letter]:
    return await letters._letters(shared(log=Given(*records)), lambda _place, _dead: True, payloads=False)


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
async def test_a_letter_of_no_time_hides_no_other(capsys: pytest.CaptureFixture[str], at: str) -> None:
    forged = Arrival("calllog.dead", 0, 3, None, LETTER.replace(NAMED, f'"{at}"'.encode()))
    found = await listed(forged, GOOD)
    assert [each.row()["letter"] for each in found] == ["0:9"]
    assert "1 records of calllog.dead could not be read, and were passed over: 0:3\n" in capsys.readouterr().err


@pytest.mark.parametrize("value", [None, b"null", b'{"v":2}', b"\xff"])
@pytest.mark.parametrize("key", [None, REPLAYED_KEY])
async def test_what_is_no_letter_hides_none(key: bytes | None, value: bytes | None) -> None:
    """As long as it is kept, no letter could be listed, opened or replayed."""
    assert len(await listed(*[Arrival("calllog.dead", 0, at, key, value) for at in range(9)], GOOD)) == 1


NOTE = Output("calllog.dead", 0, REPLAYED_KEY, encode(Replayed(partition=0, offset=9, at=MOMENT)))


async def shows_replayed(world: GuardWorld, note: Output, at: datetime = MOMENT) -> bool:
    record = Arrival("calllog.dead", note.partition, 10, note.key, note.value, to_ms(at), headers=note.headers)
    given = shared(vault=world.vault, log=Given(GOOD, record))
    (letter,) = await letters._letters(given, lambda _place, _dead: True, payloads=False)
    return letter.replayed


async def test_nobody_hides_a_letter_but_who_replays_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A letter that is said to be replayed is left out of the next replay, and nobody looks at it again."""
    world = await GuardWorld(tmp_path).start()
    given = shared(vault=world.vault, clock=world.clock)
    (note,) = letters._notes(given, [letters.Letter((0, 9), Dead(**DEAD), whole=True)])
    assert await shows_replayed(world, note)
    assert capsys.readouterr().err == ""
    moved = msgspec.structs.replace(note, partition=1)
    for forged in (NOTE, vouched(NOTE, AUDIT, bytes(32)), *world.vault.vouched(TENANT, DESK, [NOTE]), moved):
        assert not await shows_replayed(world, forged)
        assert "1 records of calllog.dead could not be read" in capsys.readouterr().err
    elsewhere = msgspec.structs.replace(NOTE, partition=1)
    assert not await shows_replayed(world, world.vault.vouched(TENANT, AUDIT, [elsewhere])[0])


async def test_old_notes_count_by_the_brokers_time_until_the_upgrade(tmp_path: Path) -> None:
    """And a tenant of the first release, which signs nothing, believes them."""
    first = await GuardWorld(tmp_path, forms=1).start()
    assert await shows_replayed(first, NOTE)
    given = shared(vault=first.vault, clock=first.clock)
    assert letters._notes(given, [letters.Letter((0, 9), Dead(**DEAD), whole=True)])[0].headers == ()
    first.vault.upgrade(TENANT, partitions=4, at=MOMENT)
    assert await shows_replayed(first, NOTE, MOMENT + timedelta(minutes=14))
    assert not await shows_replayed(first, NOTE, MOMENT + timedelta(minutes=16))


async def cases_of(world: GuardWorld, *records: Arrival) -> list[Case]:
    given = shared(vault=world.vault, log=Given(*records, *world.log.records["privacy.cases", 0]))
    return chosen((await case_read.all_cases(given)).values(), Filter(), date(2026, 11, 24))


async def test_a_record_that_is_no_case_hides_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world = await filled(tmp_path)
    await world.ask("erase-001", "erase", ALICE)
    await world.run()
    case = world.case("erase-001")
    dated = encode(msgspec.structs.replace(case, due="2026-99-99", state="waiting", case="A" * 22))
    bad = [dated, b"null", b'{"v":9}', encode(case)]  # the last lies under another's key
    records = [Arrival("privacy.cases", 0, at, b"A" * 22, value) for at, value in enumerate([*bad, *[b"{"] * 9])]
    assert [each.case for each in await cases_of(world, *records)] == [case.case]
    assert "13 records of privacy.cases could not be read, and were passed over: 0:0, 0:1, 0:2, 0:3, 0:4, ..." in (
        capsys.readouterr().err
    )


async def test_an_access_at_no_time_ends_no_report(capsys: pytest.CaptureFixture[str]) -> None:
    good = Access(
        v=1,
        actor="a",
        purpose="billing",
        case=None,
        topic="t",
        partition=0,
        from_=0,
        to=0,
        opened=1,
        refused={},
        at=MOMENT,
    )
    values = [encode(good), encode(msgspec.structs.replace(good, at=datetime(1, 1, 1, tzinfo=UTC))), b'{"v":2}']
    records = [Arrival("privacy.access", 0, at, None, value) for at, value in enumerate(values)]
    assert [each.access for each in (await report._accesses(shared(log=Given(*records)))).believed] == [good]
    assert "2 records of privacy.access could not be read, and were passed over: 0:1, 0:2" in capsys.readouterr().err


async def test_whom_a_disclosure_was_for_is_left_out_where_it_does_not_open(tmp_path: Path) -> None:
    world = await filled(tmp_path)
    await world.ask("erase-001", "erase", ALICE)
    await world.run()
    case = msgspec.structs.replace(world.case("erase-001"), filed="junk", epoch="2020-W01")
    assert report._filed(shared(vault=world.vault), [case]) == {}


async def test_a_tombstone_among_receipts_ends_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world = await filled(tmp_path)
    await world.ask("erase-001", "erase", ALICE)
    await world.run()
    case = world.case("erase-001")
    key = case.case.encode()
    records = [Arrival("privacy.receipts", 0, at, key, value) for at, value in enumerate([None, b"x"])]
    (tmp_path / "out").mkdir()
    await cases._receipts(shared(log=Given(*records)), case, tmp_path / "out")
    assert [each.read_bytes() for each in (tmp_path / "out").iterdir()] == [b"x"]
    assert "1 records of privacy.receipts could not be read, and were passed over: 0:0" in capsys.readouterr().err


@pytest.mark.parametrize("parked_ms", [-(10**17), 10**18])
def test_a_part_that_waits_since_no_time_is_counted(parked_ms: int) -> None:
    parked = Parked(
        topic="t", partition=0, offset=0, index=0, parked_ms=parked_ms, reason="x", epoch="2026-W48", sealed=""
    )
    whole = msgspec.structs.replace(parked, parked_ms=7_000)
    records = [
        SimpleNamespace(key=key, value=encode(value), timestamp=10**18)
        for key, value in ((b"k", parked), (b"l", whole))
    ]
    reasons, since = waiting_now(records)
    assert (reasons.total(), since) == (2, datetime(1970, 1, 1, 0, 0, 7, tzinfo=UTC))


def test_a_scan_of_a_folder_that_is_not_there_is_no_clean_bill(tmp_path: Path) -> None:
    """A slip in the name of a folder would read as if nothing had been found in it."""
    with pytest.raises(ConfigurationError, match="there is no folder"):
        scan.scan_files(tmp_path / "not there", Hunter([ALICE]), ())


@pytest.mark.parametrize("log_dir", ["not there", "file"])
async def test_a_scan_says_so_before_it_reads_anything(tmp_path: Path, log_dir: str) -> None:
    (tmp_path / "file").write_bytes(b"x")
    assert scan.scan.callback
    with pytest.raises(ConfigurationError, match="there is no folder"):
        await scan.scan.callback(Args(log_dir=(tmp_path, tmp_path / log_dir), case=None, canary=None, json=False))


def test_a_scan_of_a_file_that_cannot_be_read_is_no_clean_bill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what is gone is passed over in silence."""
    for name in ("00.log", "01.log", "02.log"):
        (tmp_path / name).write_bytes(ALICE.encode())
    whole = scan._blocks

    def blocks(path: Path) -> Any:
        if path.name == "00.log":
            raise PermissionError(13, "Permission denied")
        if path.name == "01.log":
            raise FileNotFoundError(2, "No such file")
        return whole(path)

    monkeypatch.setattr(scan, "_blocks", blocks)
    found = scan.scan_files(tmp_path, Hunter([ALICE]), ())
    assert [(each.where, bool(each.found), each.unread) for each in found] == [
        ("file 02.log", True, 0),
        ("file 00.log", False, 1),
    ]


def test_a_folder_that_cannot_be_read_is_no_clean_bill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub").mkdir()
    whole = os.scandir

    def scandir(path: Any) -> Any:
        if str(path).endswith("sub"):
            raise PermissionError(13, "Permission denied", str(path))
        return whole(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert [(each.where, each.unread) for each in scan.scan_files(tmp_path, Hunter([ALICE]), ())] == [("file sub", 1)]
