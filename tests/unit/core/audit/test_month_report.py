"""The officer's report: numbers counted by hand, no name of anybody, a page that runs nothing."""

import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from desk_world import CANARY, DeskWorld
from html_check import checked
from test_notices import DISCLOSE, GROUND, reply_key

from calllog_guard.cli.report import first_of, holds_of
from calllog_guard.core.audit.accesses import Account
from calllog_guard.core.audit.month_lines import HoldLine, PolicyLine, Report
from calllog_guard.core.audit.month_report import Month, Sources, report
from calllog_guard.core.cases.case import Case
from calllog_guard.core.cases.case_filter import Filter, chosen, days_left, may_act
from calllog_guard.core.cases.notices import Filed, Sent
from calllog_guard.core.cases.working_days import calendar_of
from calllog_guard.core.codec import Access, encode
from calllog_guard.core.decisions.hold import Terms
from calllog_guard.core.identifiers import HoldId
from calllog_guard.errors import ConfigurationError
from calllog_guard.reports.month import month_markdown as markdown
from calllog_guard.reports.month import month_page as page

NOVEMBER = Month(first=date(2026, 11, 1), calendar=calendar_of("uk"))
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


def day(number: int, hour: int = 9) -> datetime:
    """A time in November."""
    return datetime(2026, 11, number, hour, tzinfo=UTC)


def case(number: int, kind: str, state: Any, received: datetime, **more: Any) -> Case:
    """A case."""
    start: dict[str, Any] = {"received_at": received, "appended_at": received, "opened_at": received}
    names: dict[str, Any] = {"tenant": "iocom", "jti": f"jti-{number:05d}", "law_due": None}
    more = {"due": "2026-12-20", "ticket": None, "asked_by": "backend-1"} | more
    return Case(case=f"{number:022d}", type=kind, state=state, place=(0, number), **start, **names, **more)


ERASED = {"accepted": day(3), "fenced": day(3), "destroyed": day(3), "tombstoned": day(3), "absent": day(3, 12)}
CASES = [
    case(1, "erase", "observing", day(3), stages=ERASED),
    case(2, "erase", "observing", day(4), stages=ERASED | {"absent": day(3, 10)}),
    case(3, "erase", "observing", day(4), stages={n: at for n, at in ERASED.items() if n != "absent"}),
    case(
        4, "access", "closed", day(1), stages={"accepted": day(1), "exported": day(6)}, due="2026-11-05", legs={"d": 40}
    ),
    case(5, "object", "waiting", day(1), waits_for="officer", due="2026-11-30"),
    case(6, "complain", "waiting", day(1), waits_for="officer", due="2026-11-20"),
    case(7, "disclose", "waiting", day(20), waits_for="second_officer", asked_by="officer-1"),
    case(
        8,
        "disclose",
        "closed",
        day(9),
        approvals=("officer-1", "officer-2"),
        stages={"exported": day(9)},
        legs={"d": 3, "e": 4},
        review_at=day(20),
    ),
    case(9, "restrict", "closed", day(2) - timedelta(40), stages={"fenced": day(2) - timedelta(40)}),
    case(10, "hold", "closed", day(2), stages={"copied": day(2)}, ticket="HOLD-7"),
    case(
        11,
        "rectify",
        "observing",
        day(5),
        stages={"tombstoned": day(5)},
        notices={
            "invoicing/rectified": Sent(sent_at=day(5), act_by=day(12)),
            "person/rectified": Sent(sent_at=day(5), act_by=day(12), acknowledged_at=day(6)),
        },
    ),
]


def access(actor: str, purpose: str, opened: int, at: datetime, read: str = "", **refused: int) -> Access:
    """An access on record."""
    return Access(
        read=read.rjust(22, "r") if read else msgspec.UNSET,
        v=1,
        actor=actor,
        purpose=purpose,
        case=None,
        topic="calllog.legs",
        partition=0,
        from_=0,
        to=9,
        opened=opened,
        refused=refused,
        at=at,
    )


SOURCES = Sources(
    tenant="iocom",
    cases=CASES,
    filed={CASES[7].case: Filed(authority="Court <b>", basis="Order 7", notify="when_lifted")},
    holds=[HoldLine(hold="HOLD-7", case=CASES[9].case, state="closed", basis=None, review_at=day(10))],
    accesses=[
        Account(each, proven=False)
        for each in (
            access("billing-1", "billing", 5, day(3), erased=2),
            access("billing-1", "billing", 7, day(4)),
            access("support-1", "service", 1, day(4)),
            access("support-1", "service", 100, day(4) - timedelta(60)),
            *(access("billing-1", "follow", 2, day(5, hour), "a", lapsed=1) for hour in (8, 9, 10, 11)),
            access("billing-1", "follow", 2, day(6), "a"),
            access("billing-1", "follow", 0, day(7), "a"),
            access("billing-1", "follow", 1, day(6), "b"),
            access("support-1", "billing", 0, day(7), "c", denied=1),
        )
    ],
    policies=[PolicyLine(effective="2026-01-01", change="First | version.")],
    limits={("erase",): 2, ("access", "portability"): 100},
    objectives={"absent": 5400.0, "gone": 108_000.0},
)


@pytest.fixture
def made() -> Report:
    """The report of these cases."""
    return report(SOURCES, NOVEMBER, NOW)


def test_the_month_is_counted_as_by_hand(made: Report) -> None:
    assert (made.received, made.answered, made.late) == (10, 7, 1)
    assert {(each.type, each.state): each.cases for each in made.counts}["erase", "observing"] == 3
    assert "restrict" not in {each.type for each in made.counts}, "answered before the month began"
    assert [(line.case, line.left) for line in made.due_soon] == [(CASES[5].case, -5), (CASES[4].case, 5)]
    assert [line.type for line in made.officers] == ["complain", "object", "disclose"]
    days = {each.day: (each.received, each.answered) for each in made.days}
    assert (len(days), days["2026-11-01"], days["2026-11-03"]) == (30, (3, 0), (1, 3))


def test_erasures_are_held_against_their_objectives(made: Report) -> None:
    (absent,) = [stage for stage in made.stages if stage.stage == "absent"]
    assert (absent.since, absent.erasures, absent.median_s, absent.worst_s) == ("tombstoned", 2, 7200, 10_800)
    assert absent.missed == 2, "three hours against one and a half, and one that is not seen absent yet"
    (gone,) = [stage for stage in made.stages if stage.stage == "gone"]
    assert (gone.erasures, gone.missed) == (0, 3), "none is gone, and the objective of 30 hours is over for all"


def test_who_opened_what_brakes_notices_and_disclosures(made: Report) -> None:
    assert [(o.actor, o.times, o.opened, o.refused) for o in made.opened] == [
        ("billing-1", 2, 12, 2),
        ("billing-1", 3, 11, 4),
        ("support-1", 0, 0, 0),
        ("support-1", 1, 1, 0),
        ("answers", 1, 40, 0),
        ("answers", 1, 7, 0),
    ], "a read counts once a day, however many partitions it has, and only where it opened something"
    assert [o.denied for o in made.opened] == [0, 0, 1, 0, 0, 0]
    assert [(b.type, b.limit, b.busiest) for b in made.brakes] == [("erase", 2, 2), ("access, portability", 100, 1)]
    assert [(n.to, n.sent, n.acknowledged, n.overdue) for n in made.notices] == [
        ("invoicing", 1, 0, 1),
        ("person", 1, 1, 0),
    ]
    told = made.disclosures[1]
    assert (told.authority, told.approvals, told.told, told.review_at) == (
        "Court <b>",
        ("officer-1", "officer-2"),
        None,
        day(20),
    )
    assert made.disclosures[0].authority is None


def test_a_second_officer_is_never_the_first() -> None:
    assert [may_act(CASES[6], officer) for officer in ("officer-1", "officer-2")] == [False, True]
    assert [may_act(CASES[4], officer) for officer in ("officer-1", "officer-2")] == [True, True]
    assert not may_act(CASES[0], "officer-1")


def test_cases_are_chosen_and_the_soonest_due_stands_first() -> None:
    today = date(2026, 11, 25)

    def names(**wanted: Any) -> list[int]:
        return [int(each.case) for each in chosen(CASES, Filter(**wanted), today)]

    assert names(due_within=7) == [6, 5]
    assert names(kind="disclose") == [7, 8]
    assert names(state="observing", kind="erase") == [1, 2, 3]
    assert names(waits_for="officer") == [6, 5]
    assert names(officer="officer-1") == [6, 5]
    assert names(officer="officer-2") == [6, 5, 7]
    assert names()[:3] == [6, 5, 7]
    assert [days_left(each, today) for each in CASES[4:6]] == [5, -5]


def test_the_page_is_whole_runs_nothing_and_fetches_nothing(made: Report) -> None:
    text = page(made)
    assert len(checked(text).all("svg")) == 4
    assert "Court &lt;b&gt;" in text


def test_a_report_with_a_secret_hold_says_so() -> None:
    assert "for officers alone" in page(report(replace(SOURCES, secrets=True), NOVEMBER, NOW))
    assert "for officers alone" not in page(report(SOURCES, NOVEMBER, NOW))


def test_a_hold_shows_its_terms_and_a_released_one_has_none() -> None:
    held, over = (msgspec.structs.replace(CASES[9], case=letter * 22, hold=letter * 22) for letter in "AB")
    terms = Terms(name="claim-7", basis="Limitation Act", review_at=day(28))
    lines = holds_of([held, over, CASES[0]], {HoldId("A" * 22): terms, HoldId("B" * 22): None})
    assert [(each.hold, each.state, each.basis) for each in lines] == [
        ("claim-7", "held", "Limitation Act"),
        ("HOLD-7", "released", None),
    ]


def test_markdown_has_every_table_and_its_cells_stay_cells(made: Report) -> None:
    text = markdown(made)
    for title in (
        "Due within",
        "Waiting for officers",
        "Erasures by stage",
        "Holds",
        "Disclosures",
        "Notices",
        "Brakes",
        "Policy",
    ):
        assert f"## {title}" in text
    assert "First \\| version." in text
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1


def test_an_empty_month_is_a_report_too() -> None:
    nothing = Sources(
        tenant="iocom", cases=[], filed={}, holds=[], accesses=[], policies=[], limits={}, objectives={"absent": 1.0}
    )
    made = report(nothing, NOVEMBER, NOW)
    assert made.received == 0
    assert "Nothing waits for an officer." in markdown(made)
    assert "No case concerns this month." in page(made)


async def test_no_identity_is_in_the_report_whatever_was_asked(tmp_path: Path) -> None:
    """The canary is a subject, a ground, a wording and a complaint; none of it may come out of the cases."""
    world = await DeskWorld(tmp_path).start()
    disclose = DISCLOSE | {"notify": "when_lifted", "reply_key": reply_key(world), "review_at": "2027-02-01T00:00:00Z"}
    await world.ask("erase-0001", CANARY, type="erase", ticket="DSR-1")
    await world.ask("object-001", CANARY, type="object", purposes=["fraud"], ground=GROUND)
    await world.ask("refuse-001", by="officer-1", type="refuse", case=world.case("object-001").case, ground=GROUND)
    await world.ask("complain-1", CANARY, type="complain", ground=GROUND)
    await world.ask("rectify-01", CANARY, type="rectify", facts={"call_id": "canary-call", "role": "guest"})
    await world.ask("disclose-1", CANARY, by="officer-1", **disclose)
    await world.ask("approve-01", by="officer-2", type="approve", case=world.case("disclose-1").case)
    cases = list(world.book)
    filed = {each.case: found for each in cases if (found := world.book.filed_of(each))}
    more: dict[str, Any] = {"accesses": [], "policies": [], "limits": {}, "objectives": {}}
    made = report(
        Sources(tenant="iocom", cases=cases, filed=filed, holds=holds_of(cases, {}), **more), NOVEMBER, world.at
    )
    assert len(made.disclosures) == 1
    for text in (page(made), markdown(made), encode(made).decode(), msgspec.json.encode(cases).decode()):
        assert "canary" not in text
    assert "Serious Fraud Office" in page(made)


def test_a_month_is_read_as_it_is_written() -> None:
    assert first_of("2026-11", date(2026, 1, 5)) == date(2026, 11, 1)
    assert first_of(None, date(2026, 1, 5)) == date(2026, 1, 1)
    for text in ("2026-13", "November", "2026-11-01"):
        with pytest.raises(ConfigurationError, match="2026-11"):
            first_of(text, date(2026, 1, 5))


def test_the_last_day_of_a_month() -> None:
    assert [Month(first=date(2028, month, 1), calendar=calendar_of("eu")).last.day for month in range(1, 13)] == [
        31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31,
    ]  # fmt: skip


def test_a_report_after_an_export_does_not_say_that_nobody_opened_a_record() -> None:
    """The keepers opened them to make the answer; of a month without either alone is it said."""
    exported = replace(SOURCES, accesses=[])
    assert "| answers | access | 1 | 40 | 0 | 0 |" in markdown(report(exported, NOVEMBER, NOW))
    nothing = markdown(report(replace(exported, cases=[]), NOVEMBER, NOW))
    assert "No record was opened, and no answer has one." in nothing


def test_accesses_that_nobody_believes_name_nobody_and_are_counted() -> None:
    """Apart from what is proven, and from what was written when nobody had to prove anything."""
    accounts = [
        Account(access("billing-1", "billing", 5, day(3), "a"), proven=True),
        Account(access("billing-1", "billing", 2, day(2), "b"), proven=False),
    ]
    doubted = [("unsigned", day(4), 100), ("unsigned", day(5), 3), ("unsigned", day(4) - timedelta(60), 1)]
    found = report(replace(SOURCES, cases=[], accesses=accounts, asked=True, doubted=doubted), NOVEMBER, NOW)
    assert [(each.actor, each.opened, each.proven) for each in found.opened] == [
        ("billing-1", 5, True),
        ("billing-1", 2, False),
    ]
    assert [(each.reason, each.accesses, each.claimed) for each in found.doubted] == [("unsigned", 2, 103)]
    text = markdown(found)
    assert "billing-1 (not proven)" in text
    assert "| unsigned | 2 | 103 |" in text.replace("  ", " ")
