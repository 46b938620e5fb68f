"""What a follower remembers: all of it after a crash, nothing of what was dropped."""

from pathlib import Path

from calllog_guard.adapters.sqlite_cursor import SqliteCursor
from calllog_guard.ports.state import Bookmark, Shown, ShownLeg

MARK = Bookmark(("iocom", "calllog.legs"), {"calllog.legs": {0: 7}}, 1000)


def leg(name: str, token: str, day: str = "2026-11-20") -> ShownLeg:
    """A leg downstream."""
    return ShownLeg(name * 22, token * 22, 0, 5, day, "2026-01-01", Shown.THERE)


def test_a_cursor_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    cursor = SqliteCursor(tmp_path / "cursor")
    assert cursor.bookmark() is None
    cursor.save(MARK, [leg("a", "x"), leg("a", "y"), leg("b", "z", "2026-11-21")], ())
    cursor.close()
    again = SqliteCursor(tmp_path / "cursor")
    assert again.bookmark() == MARK
    assert again.of(["a" * 22, "c" * 22]) == [leg("a", "x"), leg("a", "y")]
    assert again.at("b" * 22, ["z" * 22, "x" * 22]) == [leg("b", "z", "2026-11-21")]
    assert [row.token[0] for row in again.at("a" * 22, [f"{n:022}" for n in range(600)] + ["y" * 22])] == ["y"]
    assert sorted(again.days()) == [("2026-11-20", "2026-01-01"), ("2026-11-21", "2026-01-01")]
    assert again.of_day("2026-11-21", "2026-01-01") == [leg("b", "z", "2026-11-21")]
    again.clear()
    assert (again.bookmark(), again.days()) == (None, [])
    again.close()


def test_names_come_in_turn_each_once(tmp_path: Path) -> None:
    cursor = SqliteCursor(tmp_path / "cursor")
    cursor.save(MARK, [leg(name, token) for name in "abcde" for token in "xy"], ())
    found, last = [], ""
    while names := cursor.names_after(last, 2):
        assert len(names) <= 2
        found += names
        last = names[-1]
    assert [name[0] for name in found] == list("abcde")
    cursor.close()


def test_what_is_dropped_is_in_no_file(tmp_path: Path) -> None:
    """The cursor outlives people: it must not remember them."""
    cursor = SqliteCursor(tmp_path / "cursor")
    cursor.save(MARK, [leg(name, token) for name in "abc" for token in "xyz"], ())

    def remembered() -> bool:
        return any(b"b" * 22 in path.read_bytes() for path in tmp_path.iterdir())

    assert remembered()
    cursor.save(MARK, (), [("b" * 22, token * 22) for token in "xyz"])
    assert not remembered()
    cursor.close()
    assert not remembered()
