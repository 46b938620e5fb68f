"""The contract of the keeper's index, on the fake and on RocksDB."""

from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest

from calllog_guard.adapters.memory.log import MemoryIndex
from calllog_guard.adapters.rocksdb.index import RocksIndex
from calllog_guard.ports.state import Index, LegFacts, Pending, Position

EARLY, LATE = date(2026, 8, 14), date(2026, 11, 24)
AT = Position(legs=7, decisions=3, topics="calllog.legs", at_ms=1, form=2)
Opened = Callable[[], Index]


def row(person: str, leg: int) -> bytes:
    """A record key."""
    return f"{person * 22}.{leg:022d}".encode()


def facts(day: date, offset: int = 0, mask: int = 1) -> LegFacts:
    """Facts of a leg."""
    return LegFacts(day, mask, "2026-11-01", offset)


@pytest.fixture(params=["memory", "rocksdb"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opened]:
    """Opens the one index of a test; once more: as after a crash."""
    held: list[RocksIndex] = []
    memory = MemoryIndex()

    def rocks() -> Index:
        for index in held:
            index.close()
        held[:] = [RocksIndex(tmp_path / "index")]
        return held[0]

    yield rocks if request.param == "rocksdb" else memory.reopened
    for index in held:
        index.destroy()


def test_what_is_committed_is_there_again_with_its_position(opened: Opened) -> None:
    index = opened()
    assert index.position() is None
    index.put(row("a", 1), facts(LATE, 12))
    index.commit(AT)
    index = opened()
    assert (index.position(), index.facts(row("a", 1))) == (AT, facts(LATE, 12))
    assert index.facts(row("a", 2)) is None


def test_what_is_not_committed_is_not_answered_and_lost_by_a_crash(opened: Opened) -> None:
    index = opened()
    index.put(row("a", 1), facts(LATE))
    index.commit(AT)
    index.put(row("a", 2), facts(LATE))
    index.remove(row("a", 1))
    assert [key for _, key in index.legs_of("a" * 22)] == [row("a", 1)]
    index = opened()
    index.commit(AT)
    assert [key for _, key in index.legs_of("a" * 22)] == [row("a", 1)]


def test_a_leg_that_is_put_again_is_there_once_with_its_new_facts(opened: Opened) -> None:
    index = opened()
    index.put(row("a", 1), facts(EARLY, 1))
    index.put(row("a", 1), facts(LATE, 2, mask=3))
    index.commit(AT)
    index.put(row("a", 1), facts(LATE, 5, mask=2))
    index.commit(AT)
    assert index.legs_of("a" * 22) == [(facts(LATE, 5, mask=2), row("a", 1))]
    assert [key for _, key in index.by_day()] == [row("a", 1)]
    assert list(index.groups()) == [facts(LATE, 0, mask=2)]


def test_what_is_put_and_removed_within_one_unit_is_gone(opened: Opened) -> None:
    index = opened()
    index.put(row("a", 1), facts(EARLY))
    index.remove(row("a", 1))
    index.remove(row("b", 1))
    index.commit(AT)
    assert (list(index.by_day()), index.legs_of("a" * 22), list(index.groups())) == ([], [], [])


def test_legs_of_one_person_are_that_persons_alone(opened: Opened) -> None:
    index = opened()
    for person in "abc":
        for leg in (2, 1):
            index.put(row(person, leg), facts(LATE, leg))
    index.commit(AT)
    assert index.legs_of("b" * 22) == [(facts(LATE, 1), row("b", 1)), (facts(LATE, 2), row("b", 2))]


def test_groups_come_oldest_first_each_once_with_their_keys(opened: Opened) -> None:
    index = opened()
    for number, (day, mask) in enumerate([(LATE, 1), (EARLY, 3), (LATE, 2), (EARLY, 3)]):
        index.put(row("a", number), facts(day, number, mask))
    index.commit(AT)
    groups = list(index.groups())
    assert groups == [facts(EARLY, 0, 3), facts(LATE, 0, 1), facts(LATE, 0, 2)]
    assert [sorted(index.keys_with(each)) for each in groups] == [
        [row("a", 1), row("a", 3)],
        [row("a", 0)],
        [row("a", 2)],
    ]
    assert [found.day for found, _ in index.by_day()] == [EARLY, EARLY, LATE, LATE]


def test_decisions_wait_in_the_order_of_the_ledger(opened: Opened) -> None:
    index = opened()
    index.pend(b"b", Pending(b"second", 5, 2))
    index.pend(b"a", Pending(b"first", 5, 1))
    index.pend(b"c", Pending(b"third", 9, 3))
    index.unpend(b"b")
    index.commit(AT)
    index = opened()
    assert list(index.pending().items()) == [(b"a", Pending(b"first", 5, 1)), (b"c", Pending(b"third", 9, 3))]


def test_forgetting_keeps_what_is_there(opened: Opened) -> None:
    index = opened()
    for number in range(100):
        index.put(row("a", number), facts(LATE))
    index.commit(AT)
    for number in range(99):
        index.remove(row("a", number))
    index.commit(AT)
    index.forget()
    assert [key for _, key in index.by_day()] == [row("a", 99)]
