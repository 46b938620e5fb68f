"""
The dates of `clock_table.csv` worked out a second time, without the code, its libraries or its way of counting.

Days are numbers, walked one by one; months, weekdays, summer time, holidays are written here. The policy's and the
law's dates in the table were typed in by reasoning with a calendar (`why`); this checks them, and is where the 28-day
alarm and the last day to extend come from. `python clock_by_hand.py` writes the table with what it finds.
"""

import csv
import sys
from pathlib import Path
from typing import Final

TABLE: Final = Path(__file__).with_name("clock_table.csv")
MONTHS: Final = {1: 31, 2: 28, 3: 31, 4: 30, 5: 31, 6: 30, 7: 31, 8: 31, 9: 30, 10: 31, 11: 30, 12: 31}
LEAP: Final = (2024, 2028, 2032)
FIRST_YEAR: Final = 2023
"""Its first of January was a Sunday: day 0."""

# England and Wales, as gov.uk lists them up to 2028, then by the Acts: substitute days and Easter typed in.
ENGLAND: Final = """
2024: 01-01 03-29 04-01 05-06 05-27 08-26 12-25 12-26
2025: 01-01 04-18 04-21 05-05 05-26 08-25 12-25 12-26
2026: 01-01 04-03 04-06 05-04 05-25 08-31 12-25 12-28
2027: 01-01 03-26 03-29 05-03 05-31 08-30 12-27 12-28
2028: 01-03 04-14 04-17 05-01 05-29 08-28 12-25 12-26
2029: 01-01 03-30 04-02 05-07 05-28 08-27 12-25 12-26
2030: 01-01 04-19 04-22 05-06 05-27 08-26 12-25 12-26
2031: 01-01 04-11 04-14 05-05 05-26 08-25 12-25 12-26
2032: 01-01 03-26 03-29 05-03 05-31 08-30 12-27 12-28
2033: 01-03
"""
# Of the others only what the table touches.
OTHERS: Final = {
    "GB-SCT": "2025: 01-01 01-02\n2026: 11-30\n2027: 03-26",
    "GB-NIR": "2026: 03-17\n2027: 03-29 07-12",
    "DE-": "2025: 12-25 12-26\n2027: 01-01",
    "DE-BY": "2025: 12-25 12-26\n2027: 01-01 01-06",
    "IE-": "2026: 03-17",
    "FR-": "2028: 07-14",
}
HOURS_EAST: Final = {"UTC": (0, 0), "Europe/London": (0, 1), "Europe/Berlin": (1, 2)}
"""In winter and in summer."""

Day = int


def length(year: int, month: int) -> int:
    """The days of a month."""
    return 29 if month == 2 and year in LEAP else MONTHS[month]


def number(year: int, month: int, day: int) -> Day:
    """Days since day 0, counted month by month."""
    count = sum(length(y, m) for y in range(FIRST_YEAR, year) for m in MONTHS)
    return count + sum(length(year, m) for m in range(1, month)) + day - 1


def written(day: Day) -> str:
    """The date of a day's number."""
    year, month = FIRST_YEAR, 1
    while day >= length(year, month):
        day -= length(year, month)
        month += 1
        if month > 12:
            year, month = year + 1, 1
    return f"{year}-{month:02}-{day + 1:02}"


def read(text: str) -> Day:
    """The number of a date."""
    return number(int(text[:4]), int(text[5:7]), int(text[8:10]))


def holidays_of(place: str) -> set[Day]:
    """The typed holidays of a place."""
    if not place:
        return set()
    lines = (ENGLAND if place == "GB-ENG" else OTHERS[place]).strip().splitlines()
    return {read(f"{line[:4]}-{each}") for line in lines for each in line[6:].split()}


def last_sunday(year: int, month: int) -> Day:
    """Summer time begins and ends there."""
    day = number(year, month, length(year, month))
    while day % 7:
        day -= 1
    return day


def local(text: str, zone: str) -> Day:
    """The day of an RFC 3339 text in a zone; minutes decide nothing in the table."""
    clock, offset = text[11:19], text[19:]
    hours = read(text) * 24 + int(clock[:2])
    if offset != "Z":
        hours -= int(offset[:3])
    year = int(written(hours // 24)[:4])
    summer = last_sunday(year, 3) * 24 + 1 <= hours < last_sunday(year, 10) * 24 + 1
    return (hours + HOURS_EAST[zone][summer]) // 24


def later(day: Day, months: int) -> Day:
    """The same date in a later month, or the last that it has."""
    text = written(day)
    year, month, date = int(text[:4]), int(text[5:7]), int(text[8:])
    for _ in range(months):
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)
    return number(year, month, min(date, length(year, month)))


def stopped(day: Day, months: int, still: set[Day]) -> Day:
    """The month's end when the clock stands on some days: each of them, as it comes, moves the end by one."""
    end, today = later(day, months), day
    while today <= end:
        end += today in still
        today += 1
    return end


def worked(day: Day, free: set[Day]) -> Day:
    """The day, or the next one that is worked."""
    while day % 7 in {0, 6} or day in free:
        day += 1
    return day


def began(row: dict[str, str], zone: str) -> Day | None:
    """When the law's time began."""
    received = local(row["received_at"], zone)
    start = received
    for what in ("identity", "fee"):
        came = row[f"{what}_shown" if what == "identity" else f"{what}_paid"]
        asked = row[f"{what}_asked"]
        old = received < read("2026-02-05")
        if row["regime"] == "eu" or not asked or (old and local(asked, zone) - received > 7):
            continue
        if not came:
            return None
        start = max(start, local(came, zone))
    return start


def stands(row: dict[str, str], zone: str) -> set[Day] | None:
    """The days on which the law's clock stands; None when it has not begun to go again."""
    still: set[Day] = set()
    new = row["regime"] == "uk" and row["access"] == "yes" and local(row["received_at"], zone) >= read("2026-02-05")
    for pause in row["pauses"].split() if new else []:
        asked, _, came = pause.partition("/")
        if not came:
            return None
        still |= set(range(local(asked, zone), local(came, zone)))
    return still


def dates(row: dict[str, str]) -> dict[str, str]:
    """Every date of a row of the table."""
    uk = row["regime"] == "uk"
    zone = row["zone"] or ("Europe/London" if uk else "UTC")
    place = f"{row['country']}-{row['subdivision']}" if row["country"] else "GB-ENG" if uk else ""
    free, received = holidays_of(place), local(row["received_at"], zone)
    start, still = began(row, zone), stands(row, zone)
    runs = start is not None and still is not None
    last = later(received, int(row["answer_months"]))
    tell = min(last, stopped(start, 1, still)) if start is not None and still is not None else last
    told = bool(row["extended_at"]) and local(row["extended_at"], zone) <= tell
    policy = worked(later(received, int(row["extend_to_months" if told else "answer_months"])), free)
    law = worked(stopped(start or 0, 3 if told else 1, still or set()), free) if runs else None
    return {
        "policy": written(policy),
        "law": "" if law is None else written(law),
        "binding": written(policy if law is None else min(policy, law)),
        "alarm_28d": written(received + 28),
        "extend_until": written(tell),
    }


def rows() -> list[dict[str, str]]:
    """The table."""
    with TABLE.open(newline="") as file:
        return list(csv.DictReader(file))


def main() -> int:
    """Write the table with what is found, and tell where that differs."""
    table = rows()
    for row in table:
        found = dates(row)
        for name, date in found.items():
            if row[name] and row[name] != date:
                sys.stderr.write(f"row {row['number']}: {name} {row[name]} was typed, {date} is found: {row['why']}\n")
    with TABLE.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(table[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows([row | dates(row) for row in table])
    return 0


if __name__ == "__main__":
    sys.exit(main())
