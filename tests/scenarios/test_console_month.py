"""A month's report in the console: what the command line's says, without what a console may not read."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from console_world import ConsoleWorld
from desk_world import CANARY, TENANT
from html_check import Page

from calllog_guard.console.pages import Visit
from calllog_guard.console.tasks import month_page
from calllog_guard.core.audit.accesses import Account, Doubt, place_of, read_access
from calllog_guard.core.audit.month_lines import PolicyLine, Report
from calllog_guard.core.audit.month_report import Month, Sources, report
from calllog_guard.core.cases.case import case_in
from calllog_guard.core.codec import from_ms
from calllog_guard.core.records import Output
from calllog_guard.errors import RecordError
from calllog_guard.workers.desk.cases.terms import limits

NOVEMBER = date(2026, 11, 1)
HOLD = {"authority": "Home Office", "basis": "IPA 2016 s.87", "review_at": "2027-01-01T00:00:00Z"}


@pytest.fixture
async def world(tmp_path: Path) -> ConsoleWorld:
    """A console over a desk with a month's work, of which somebody was shown some."""
    found = await ConsoleWorld(tmp_path / "console").start()
    desk = found.desk
    await desk.meet(CANARY)
    await desk.ask("erase-0001", CANARY, type="erase")
    for stage in ("destroyed", "tombstoned"):
        await desk.done("erase-0001", stage)
    await desk.ask("objection-1", "b@example.org", type="object", purposes=["fraud"])
    for number, secret in enumerate((True, False)):
        hold = HOLD | {"id": f"hold-{number}", "secret": secret}
        await desk.ask(f"hold-{number}00", CANARY, by="officer-1", type="hold", hold=hold, ticket=f"T-{number}")
    await found.see()
    browser = await found.signed_in()
    for _ in range(3):
        await browser.open(f"/cases/{desk.id_of('objection-1')}")
    seen = [each for each in found.log.own if each.topic == "privacy.access"]
    found.log.own += [seen[0], msgspec.structs.replace(seen[1], value=b'{"v":1}')]  # a replay, and what nobody reads
    second = read_access(seen[2].value or b"")
    again = msgspec.structs.replace(second, from_=999, to=999, sig=msgspec.UNSET)  # the same read, in another record
    recorder = found.office.recorder
    place = month_place(found)
    found.log.own.append(Output("privacy.access", 0, b"console-1", recorder.key.vouched(again, place)))
    await found.see()
    return found


def month_place(world: ConsoleWorld) -> bytes:
    """Where an access is signed for."""
    return place_of(world.office.recorder.guard, "privacy.access", 0)


async def shown(world: ConsoleWorld, **query: str) -> Any:
    """The page before it is made."""
    return await month_page.month_page(world.office, Visit("officer-1", "", query))


def by_the_command_line(world: ConsoleWorld) -> Report:
    """The report from every record, as the command line reads them."""
    office, known = world.office, world.known()
    cases: dict[str, Any] = {}
    for record in world.log.lane(("privacy.cases", 0)):
        if record.value is not None and record.key and record.key[:1] not in b"!":
            case = _case(record, known)
            if case is not None and not case.secret:
                cases[case.case] = case
    believed, doubted, names = list[Account](), list[Any](), set[bytes]()
    for record in world.log.lane(("privacy.access", 0)):
        try:
            account = known.judge.account(record.value or b"", 0, record.timestamp)
        except RecordError as error:
            doubted.append((error.reason, from_ms(record.timestamp), _opened(record.value or b"")))
            continue
        if account.name in names:
            doubted.append((Doubt.REPLAYED, from_ms(record.timestamp), _opened(record.value or b"")))
        else:
            believed.append(account)
        names.add(account.name)
    sources = Sources(
        tenant=TENANT,
        cases=list(cases.values()),
        filed={},
        holds=list(month_page.holds_of(cases.values())),
        accesses=believed,
        policies=[PolicyLine(effective=x.effective.isoformat(), change=x.change) for x in office.policy.history],
        limits=limits(office.table()),
        objectives=office.objectives,
        asked=office.recorder.actors().must_prove(office.clock.now()),
        doubted=doubted,
    )
    return report(sources, Month(first=NOVEMBER, calendar=office.table().calendar), office.clock.now())


def _case(record: Any, known: Any) -> Any:
    try:
        return case_in(record, known.proofs)
    except Exception:  # noqa: BLE001 - beats and what is sealed
        return None


def _opened(raw: bytes) -> int:
    try:
        return read_access(raw).opened
    except Exception:  # noqa: BLE001 - nobody's
        return 0


async def test_the_month_says_what_the_command_line_says(world: ConsoleWorld) -> None:
    found: Report = (await shown(world)).values["report"]
    expected = by_the_command_line(world)
    assert found == expected
    [opened] = [each for each in found.opened if each.purpose == "case_view"]
    assert (opened.times, opened.opened, opened.proven) == (3, 4, True)
    assert {(each.reason, each.accesses, each.claimed) for each in found.doubted} >= {("replayed", 1, 1)}
    assert (found.received, len(found.officers)) == (3, 1)


async def test_a_secret_hold_is_in_no_month_and_what_the_key_store_has_is_said_to_be_left_out(
    world: ConsoleWorld,
) -> None:
    browser = await world.signed_in()
    page = Page((await browser.open("/month")).body.decode())
    assert "Privacy office, November 2026" in page.text
    assert "Holds that must stay secret are not in it" in page.text
    assert (page.text.count("T-1"), "T-0" in page.text, "hold-0" in page.text) == (1, False, False)
    assert "Home Office" not in page.text
    assert "which this console cannot read" in page.text
    assert "Nothing is held." not in page.text
    assert CANARY not in page.text
    assert page.all("style") == page.all("script") == []


async def test_a_month_that_has_not_begun_or_is_none_is_not_there(world: ConsoleWorld) -> None:
    browser = await world.signed_in()
    for month in ("2026-12", "2026-13", "x", "1999-12", "2026-1", "0000-00"):
        assert (await browser.open(f"/month?month={month}")).status == 404
    page = Page((await browser.open("/month?month=2026-10")).body.decode())
    assert "October 2026" in page.text
    links = [each["href"] for each in page.all("a") if "month=" in each["href"]]
    assert links == ["/month?month=2026-09", "/month?month=2026-11"]


async def test_cases_that_had_ended_before_a_month_are_not_opened_for_it(world: ConsoleWorld) -> None:
    """The page is made of what is open, or moved since: so it costs what the month costs."""
    world.desk.at += timedelta(days=40)
    rows = list(month_page._rows(world.followed.cases.rows.values(), _month(world, date(2027, 1, 1))))
    assert {row.type for row in rows} == {"object", "hold"}, "both are open; the erasure is carried out"
    rows = list(month_page._rows(world.followed.cases.rows.values(), _month(world, NOVEMBER)))
    assert {row.type for row in rows} == {"object", "hold", "erase"}
    found: Report = (await shown(world, month="2026-12")).values["report"]
    assert found.received == 0


def _month(world: ConsoleWorld, first: date) -> Month:
    return Month(first=first, calendar=world.office.table().calendar)


async def test_a_month_of_too_many_cases_is_left_to_the_command_line(
    world: ConsoleWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(month_page, "MOST_CASES", 2)
    page = Page((await (await world.signed_in()).open("/month?month=2026-11")).body.decode())
    assert "calllog-guard report --html OUT --month 2026-11" in page.text


async def test_a_month_whose_accesses_are_forgotten_says_so(tmp_path: Path) -> None:
    """A console remembers accesses of 400 days; a report of an older month must not pass for whole."""
    world = await ConsoleWorld(tmp_path / "old").start()
    browser = await world.signed_in()
    words = "Accesses are remembered here for 400 days"
    world.followed.accesses.begin(world.office.today())
    for month, said in (("2020-01", True), ("2026-11", False)):
        page = Page((await browser.open(f"/month?month={month}")).body.decode()).text
        assert (words in page) == said
