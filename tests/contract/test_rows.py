"""The contract of rows, on the fake and on RocksDB."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from calllog_guard.adapters.memory.log import MemoryRows
from calllog_guard.adapters.rocksdb.rows import RocksRows
from calllog_guard.errors import IndexHeldError
from calllog_guard.ports.state import Rows

Opened = Callable[[], Rows]


@pytest.fixture(params=["memory", "rocksdb"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opened]:
    """Opens the rows of a test; once more: as after a crash."""
    held: list[RocksRows] = []
    memory = MemoryRows()

    def rocks() -> Rows:
        for rows in held:
            with suppress(Exception):
                rows.close()
        held[:] = [RocksRows(tmp_path / "rows")]
        return held[0]

    yield rocks if request.param == "rocksdb" else lambda: memory
    for rows in held:
        with suppress(Exception):  # the test has closed them
            rows.close()


def test_what_is_written_is_there_again(opened: Opened) -> None:
    opened().write({b"a": b"1", b"b": b""})
    rows = opened()
    assert [rows.get(key) for key in (b"a", b"b", b"c")] == [b"1", b"", None]


def test_what_is_none_is_removed_in_the_same_writing(opened: Opened) -> None:
    """Also what was never there."""
    rows = opened()
    rows.write({b"a": b"1", b"b": b"2"})
    rows.write({b"a": None, b"c": b"3", b"x": None})
    rows = opened()
    assert list(rows.begin(b"")) == [(b"b", b"2"), (b"c", b"3")]


def test_rows_that_begin_alike_come_in_their_order_and_no_other(opened: Opened) -> None:
    rows = opened()
    rows.write({b"d\x02": b"2", b"d\x00\xff": b"1", b"c\xff": b"0", b"e": b"9", b"d": b""})
    assert [value for _, value in rows.begin(b"d")] == [b"", b"1", b"2"]
    assert next(iter(rows.begin(b"d\x01")), None) is None


def test_what_is_removed_leaves_the_files(opened: Opened, tmp_path: Path) -> None:
    rows = opened()
    rows.write({b"n%d" % number: b"canary-in-a-row" * 20 for number in range(100)})
    rows.write({b"n%d" % number: None for number in range(100)})
    rows.forget()
    assert list(rows.begin(b"n")) == []
    rows.write({b"k": b"kept"})
    rows.close()
    files = [path.read_bytes() for path in tmp_path.rglob("*.sst")]
    assert not any(b"canary-in-a-row" in raw for raw in files)


def test_what_is_destroyed_is_gone(opened: Opened, tmp_path: Path) -> None:
    rows = opened()
    rows.write({b"a": b"1"})
    rows.destroy()
    assert not (tmp_path / "rows").exists()
    assert opened().get(b"a") is None


def test_another_who_has_them_open_is_told_apart_from_damage(tmp_path: Path) -> None:
    rows = RocksRows(tmp_path / "rows")
    with pytest.raises(IndexHeldError):
        RocksRows(tmp_path / "rows")
    rows.close()
