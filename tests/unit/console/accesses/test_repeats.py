"""What keeps an access from counting twice: it does so as long as one can come again, and its memory has a bound."""

from datetime import timedelta

from desk_world import START

from calllog_guard.console.accesses.repeats import KEPT, Repeats

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


def test_what_is_signed_counts_once_while_it_can_come_again() -> None:
    found = Repeats()
    assert not found.again(b"one", START)
    assert found.again(b"one", START + MINUTE)
    assert found.again(b"one", START + KEPT)
    assert found.again(b"one", START + KEPT + 5 * MINUTE), "it may have said that it was made five minutes later"
    assert not found.again(b"", START)
    assert not found.again(b"", START), "what is not signed has no name"


def test_what_is_forgotten_could_not_come_again() -> None:
    """Made at most five minutes after it was first appended, it is late by the time at which it is forgotten."""
    found, later = Repeats(), START + KEPT + 6 * MINUTE
    found.again(b"one", START)
    assert not found.again(b"one", later), "it is forgotten"
    assert found.late(START + 5 * MINUTE, later)
    assert not found.late(START, START + KEPT)


def test_a_year_of_accesses_takes_the_room_of_days() -> None:
    found = Repeats()
    for number in range(365 * 24):
        at = START + number * timedelta(hours=1)
        assert not found.again(str(number).encode(), at)
        assert found.new_read(at.date(), at.date(), number)
        assert found.kept < 2 * 24 * 4


def test_a_read_is_new_once_a_day() -> None:
    found, day = Repeats(), START.date()
    assert [found.new_read(day, day, "a"), found.new_read(day, day, "a")] == [True, False]
    assert found.new_read(day + DAY, day + DAY, "a")
    assert not found.new_read(day, day + DAY, "a"), "yesterday is remembered"
    assert found.new_read(day, day + 3 * DAY, "a")
