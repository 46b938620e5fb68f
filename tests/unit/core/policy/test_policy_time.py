"""How long a leg lives over random policies, against an oracle that walks the days one by one."""

import string
from datetime import date, timedelta
from pathlib import Path

import pytest
from dateutil.relativedelta import relativedelta
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as some
from policies import SERVICE, policy_of, version
from sizes import size

from calllog_guard.adapters.disk.policy_file import key_files
from calllog_guard.adapters.rocksdb.index import RocksIndex
from calllog_guard.core.identifiers import Tenant
from calllog_guard.core.policy.active import Policy
from calllog_guard.core.policy.changes.differences import lapsing, longer
from calllog_guard.core.policy.form import PurposeTable, TenantPolicy, Version
from calllog_guard.core.policy.versions import purposes_since
from calllog_guard.core.retention.expiry import lapsed
from calllog_guard.core.retention.purposes import REMOVED_DAYS, due_day
from calllog_guard.ports.state import LegFacts, Position

START = date(2026, 1, 1)
TENANT = Tenant("iocom")
Law = dict[date, dict[int, tuple[int, int]]]
"""By effective day: the purposes' numbers, each with its months and days."""

periods = some.one_of(
    some.tuples(some.just(0), some.integers(1, 120)),
    some.tuples(some.integers(1, 4), some.just(0)),
    some.tuples(some.integers(1, 2), some.integers(1, 40)),
)
tables = some.dictionaries(some.integers(1, 4), periods, min_size=1, max_size=4)
laws = some.dictionaries(some.integers(1, 300), tables, max_size=4).flatmap(
    lambda later: tables.map(
        lambda first: {START: first} | {START + timedelta(day): later[day] for day in sorted(later)}
    )
)


def written(law: Law) -> tuple[Version, ...]:
    """The law as our versions."""
    return tuple(
        Version(
            effective=day,
            change="x",
            tenant={
                TENANT: TenantPolicy(
                    regime="uk",
                    events=("e",),
                    purposes={
                        string.ascii_lowercase[number]: PurposeTable(
                            number=number, basis="contract", keep=f"P{months}M{days}D"
                        )
                        for number, (months, days) in table.items()
                    },
                )
            },
        )
        for day, table in law.items()
    )


def last_day(law: Law, stored: date, call: date, numbers: set[int]) -> date:
    """
    The oracle: day by day, a promise made is a promise kept.

    What was promised on any day since the leg is stored (that day's law: so long, for these purposes) binds on every
    later day; a purpose that any of those laws lacks is lost. The day on which nothing is left is the answer.
    """
    left, day = set(numbers), stored
    promises: list[dict[int, date]] = []
    while True:
        law_now = law[max(since for since in law if since <= day)]
        promises.append({n: call + relativedelta(months=m) + timedelta(d) for n, (m, d) in law_now.items()})
        left = {number for number in left if all(number in each and day <= each[number] for each in promises)}
        if not left:
            return day
        day += timedelta(1)


cases = some.tuples(laws, some.integers(0, 320), some.integers(0, 20), some.sets(some.integers(1, 4), min_size=1))


@settings(max_examples=size("LAWS", 100, 600), deadline=None)
@given(cases)
@pytest.mark.slow
def test_a_leg_ends_on_the_oracles_day_and_not_a_day_earlier(case: tuple[Law, int, int, set[int]]) -> None:
    law, stored_after, age, wanted = case
    stored = START + timedelta(stored_after)
    call = stored - timedelta(age)
    under = max(since for since in law if since <= stored)
    numbers = wanted & set(law[under])
    assume(numbers)  # what no purpose covers is not stored
    mask = sum(1 << (number - 1) for number in numbers)
    versions, end = written(law), last_day(law, stored, call, numbers)

    def gone(day: date) -> bool:
        return due_day(call, mask, purposes_since(versions, TENANT, under.isoformat(), day)) <= day

    assert gone(end)
    assert gone(end + timedelta(1))
    if end > stored:
        assert not gone(end - timedelta(1))
        assert not gone(stored)


def test_a_lengthened_period_reaches_new_legs_and_no_old_one() -> None:
    law = {START: {1: (0, 90)}, START + timedelta(30): {1: (0, 180)}}
    versions, today = written(law), START + timedelta(91)
    old, new = (purposes_since(versions, TENANT, day.isoformat(), today) for day in law)
    assert due_day(START, 1, old) == START + timedelta(91)
    assert due_day(START + timedelta(30), 1, new) == START + timedelta(30 + 181)


def test_a_shortened_period_reaches_old_legs_from_its_day_on_and_not_before() -> None:
    later = START + timedelta(30)
    versions = written({START: {1: (0, 90)}, later: {1: (0, 10)}})
    before = purposes_since(versions, TENANT, START.isoformat(), later - timedelta(1))
    after = purposes_since(versions, TENANT, START.isoformat(), later)
    assert due_day(START, 1, before) == START + timedelta(91)
    assert due_day(START, 1, after) == START + timedelta(11)


def test_a_dropped_purpose_ends_its_legs_although_it_comes_back() -> None:
    law = {START: {1: (0, 90)}, START + timedelta(5): {2: (0, 90)}, START + timedelta(9): {1: (0, 90), 2: (0, 90)}}
    versions = written(law)
    assert len(purposes_since(versions, TENANT, START.isoformat(), START + timedelta(4))) == 1
    assert purposes_since(versions, TENANT, START.isoformat(), START + timedelta(5)) == ()
    assert [each.number for each in purposes_since(versions, TENANT, START.isoformat(), START + timedelta(9))] == []


def test_periods_compare_by_the_calendar() -> None:
    assert longer((3, 0), (0, 90))
    assert not longer((0, 89), (3, 0))
    assert longer((0, 400), (1, 0))
    assert not longer((12, 0), (0, 366))
    assert longer((12, 0), (0, 365))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    law=laws,
    legs=some.lists(some.tuples(some.integers(0, 60), some.integers(1, 15)), min_size=1, max_size=40),
    after=some.integers(0, 200),
    most=some.integers(1, 50),
)
@pytest.mark.slow
def test_a_sweep_takes_what_is_due_and_nothing_else(
    tmp_path: Path, law: Law, legs: list[tuple[int, int]], after: int, most: int
) -> None:
    index = RocksIndex(tmp_path / "index")
    try:
        policy, today = Policy(written(law), key_files(tmp_path)), START + timedelta(after)
        expected = set()
        for number, (day, mask) in enumerate(legs):
            call = START + timedelta(min(day, after))
            under = max(since for since in law if since <= call)
            key = b"%022d.%022d" % (number, number)
            index.put(key, LegFacts(call, mask, under.isoformat()))
            if last_day(law, call, call, {bit + 1 for bit in range(4) if mask >> bit & 1}) <= today:
                expected.add(key)
        index.commit(Position(0, 0, "t", 0))
        found = lapsed(
            index.groups(),
            index.keys_with,
            lambda stored: policy.purposes_since(TENANT, stored, today),
            today,
            most,
        )
        assert len(found) == len(set(found)) == min(most, len(expected))
        assert set(found) <= expected
    finally:
        index.destroy()


def test_a_young_leg_of_a_dropped_purpose_goes_although_older_ones_live(tmp_path: Path) -> None:
    """A sweep that ended at the first leg that lives would keep it until that one dies."""
    index = RocksIndex(tmp_path / "index")
    try:
        versions = written({START: {1: (0, 90), 2: (0, 90)}, START + timedelta(9): {1: (0, 90)}})
        index.put(b"%045d" % 1, LegFacts(START, 1, START.isoformat()))
        index.put(b"%045d" % 2, LegFacts(START + timedelta(8), 2, START.isoformat()))
        index.commit(Position(0, 0, "t", 0))
        today = START + timedelta(9)
        found = lapsed(index.groups(), index.keys_with, lambda v: purposes_since(versions, TENANT, v, today), today, 10)
        assert found == [b"%045d" % 2]
    finally:
        index.destroy()


def test_the_effect_of_a_change_is_counted(tmp_path: Path) -> None:
    short = version("2026-06-01", purposes=SERVICE.replace("P90D", "P30D"))
    policy = policy_of(tmp_path, version(), short)
    day = date(2026, 6, 1)
    legs = {(date(2026, 1, 1), 1, "2026-01-01"): 5, (date(2026, 4, 15), 1, "2026-01-01"): 7, (day, 1, "2026-01-01"): 9}
    assert lapsing(policy.versions[:1], policy.versions, "iocom", legs, day) == (21, 5, 7)


def test_what_stands_for_a_removed_leg_goes_once_no_older_event_can_come() -> None:
    day = date(2026, 1, 1)
    assert due_day(day, 0, ()) == day + timedelta(REMOVED_DAYS)
