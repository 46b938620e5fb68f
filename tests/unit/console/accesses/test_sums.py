"""Accesses as sums: a console that runs for years remembers those of the last four hundred days, and no flood of names."""

from datetime import date, timedelta

from calllog_guard.console.accesses.sums import KEPT_DAYS, AccessLine, AccessSums, Sum

TODAY, DAY = date(2026, 11, 24), timedelta(1)


def line(day: date, actor: str = "billing-1") -> AccessLine:
    """A line of one actor."""
    return AccessLine(day, actor, "service", "", proven=True)


def test_what_is_counted_of_a_day_is_one_sum() -> None:
    found = AccessSums()
    found.begin(TODAY)
    found.add(line(TODAY), Sum(1, 2, 0, 3, 1))
    found.add(line(TODAY), Sum(1, 5, 1, 0, 0))
    assert found.lines == {line(TODAY): Sum(2, 7, 1, 3, 1)}


def test_years_of_accesses_take_the_room_of_the_days_that_are_kept() -> None:
    """Lines, views of cases, and what nobody believes: each is forgotten with its day."""
    found = AccessSums()
    for number in range(4 * 365):
        today = TODAY + number * DAY
        found.begin(today)
        found.add(line(today), Sum(1, 1))
        found.see(f"case-{number % 1000}", today, "officer-1")
        found.doubt(today, "unsigned", 1)
        kept = (found.lines, found.views, found.doubted, found.claimed)
        assert {len(each) for each in kept} == {min(number, KEPT_DAYS) + 1}
    assert min(each.day for each in found.lines) == today - KEPT_DAYS * DAY == found.complete_from()
    assert found.of_case("case-0") == [], "a case of which all days are forgotten takes no room"
    assert found.of_case(f"case-{number % 1000}") == [((today, "officer-1"), 1)]


def test_what_is_too_old_when_it_is_read_is_not_counted() -> None:
    """A topic has several partitions: one is read to its end before another."""
    found = AccessSums()
    found.begin(TODAY)
    found.begin(TODAY - 500 * DAY)
    found.add(line(TODAY - (KEPT_DAYS + 1) * DAY), Sum(1, 1))
    found.see("case-1", TODAY - (KEPT_DAYS + 1) * DAY, "officer-1")
    assert (found.lines, found.views) == ({}, {})


def test_a_flood_of_names_and_of_days_to_come_pushes_out_itself() -> None:
    """Before the first actor signs whoever may append chooses names and days."""
    found = AccessSums(most=100)
    found.begin(TODAY)
    found.add(line(TODAY), Sum(1, 1))
    found.see("case-1", TODAY, "officer-1")
    for number in range(1000):
        found.add(line(TODAY + 365 * DAY, f"x{number}"), Sum(1, 1))
        found.see(f"x{number}", TODAY + 365 * DAY, "officer-1")
        assert max(len(found.lines), len(found.views)) <= 100
    assert line(TODAY) in found.lines
    assert found.of_case("case-1") == [((TODAY, "officer-1"), 1)]


def test_days_that_made_room_for_a_flood_are_not_said_to_be_whole() -> None:
    """A month's page says that its accesses are not all counted, as it does of days that are past."""
    found = AccessSums(most=100)
    found.begin(TODAY)
    for number in range(100):
        found.add(line(TODAY - number * DAY), Sum(1, 1))
    assert found.complete_from() == TODAY - KEPT_DAYS * DAY
    for number in range(11):
        found.add(line(TODAY, f"x{number}"), Sum(1, 1))
    left = min(each.day for each in found.lines)
    assert left == TODAY - 79 * DAY
    assert found.complete_from() == left
    for number in range(1000):
        found.add(line(TODAY + 365 * DAY, f"y{number}"), Sum(1, 1))
    assert found.complete_from() == min(each.day for each in found.lines) <= TODAY - 70 * DAY, (
        "they push out themselves"
    )


def test_views_of_a_case_that_is_kept_no_more_are_forgotten() -> None:
    found = AccessSums()
    found.begin(TODAY)
    for day, by in ((TODAY - DAY, "officer-1"), (TODAY, "officer-2"), (TODAY, "officer-2")):
        found.see("case-1", day, by)
    assert found.of_case("case-1") == [((TODAY, "officer-2"), 2), ((TODAY - DAY, "officer-1"), 1)]
    found.forget("case-1")
    assert (found.of_case("case-1"), found.views) == ([], {})
