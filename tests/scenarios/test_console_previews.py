"""What an officer reads of a preview: on the page of a case and on the terminal, before a decision and after it."""

from pathlib import Path

import msgspec
import pytest
from console_world import ACTOR, ConsoleWorld
from desk_world import CANARY, POLICY, TENANT
from html_check import Page

from calllog_guard.cli._case_view import whole
from calllog_guard.core.cases.case import AT_ONCE, Case
from calllog_guard.core.cases.receipt import RECEIPTS
from calllog_guard.core.codec import decode
from calllog_guard.core.decisions.outcome import TO_DESK, Outcome
from calllog_guard.core.decisions.preview import PreviewCount
from calllog_guard.core.identifiers import unb64
from calllog_guard.core.stream.arrival import Arrival
from calllog_guard.ports.log import TopicPartition

HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>{{7*7}}"
MEASURING = "Keepers are still measuring"
COUNT = PreviewCount(months=("2026-10", "2026-11"), narrowed=7, kept={"billing": 1200})


@pytest.fixture
async def world(tmp_path: Path) -> ConsoleWorld:
    """A console over a desk before which an objection is."""
    found = await ConsoleWorld(tmp_path / "console", policy=POLICY + ACTOR).start()
    await found.desk.meet(CANARY)
    await found.desk.ask("objection-1", CANARY, type="object", purposes=["fraud"])
    return found


def case_in(world: ConsoleWorld) -> Case:
    """The case."""
    return world.desk.case("objection-1")


async def text(world: ConsoleWorld) -> str:
    """The page of the case."""
    await world.see()
    browser = await world.signed_in()
    body = (await browser.open(f"/cases/{case_in(world).case}")).body.decode()
    assert "<script>alert" not in body
    return Page(body).text


async def counted(
    world: ConsoleWorld, told: PreviewCount | None = COUNT, legs: int = 1234, asked: Case | None = None
) -> None:
    """Keepers have answered; None: one could not."""
    case, desk = asked or case_in(world), world.desk
    assert case.preview
    for number, name in enumerate(case.preview.open):
        outcome = Outcome(
            tenant=TENANT, case=case.case, decision=name, stage="previewed" if told else "failed", partition=0,
            legs=legs, barrier=0, up_to=0,
            by="keeper", at=desk.at, measured=told or msgspec.UNSET,
        )  # fmt: skip
        value, ms = desk.vault.outcome_key(TENANT).vouched(outcome, TO_DESK), int(desk.at.timestamp() * 1000)
        record = Arrival("privacy.outcomes", 0, number, case.case.encode(), value, ms)
        await desk.desk.unit({TopicPartition("privacy.outcomes", 0): [record]})


def shown(world: ConsoleWorld) -> str:
    """The case on the terminal."""
    return whole(case_in(world), world.desk.at.date(), None)


async def test_until_keepers_have_answered_no_number_is_shown_and_the_decision_is_offered(world: ConsoleWorld) -> None:
    assert "Not measured" in await text(world)
    await world.desk.later(seconds=1)
    page = await text(world)
    assert MEASURING in page
    assert "Not measured" not in page
    assert "Records that would" not in page
    assert "Approve" in page
    assert "keepers are still measuring, since" in shown(world)
    assert "case approve, or case refuse" in shown(world)


async def test_what_was_counted_is_shown_with_its_moment(world: ConsoleWorld) -> None:
    await world.desk.later(seconds=1)
    await counted(world)
    page = await text(world)
    assert MEASURING not in page
    assert "Records that would be removed, as nothing else keeps them: 1,234, of calls in 2 months" in page
    assert "Records that lose a purpose and stay: 7" in page
    assert "Of these a law has copies kept, for billing: 1,200" in page
    assert "No hold that you may be told of and no other restriction is over the people named." in page
    assert "Counted on" in page
    told = shown(world)
    assert "would be   1234 records of 2 months, as counted at" in told
    assert "7 more lose a purpose and stay" in told
    assert "a law has copies kept of 1200 of them, for billing" in told


async def test_conflicts_are_named_and_hostile_names_stay_text(tmp_path: Path) -> None:
    world = await ConsoleWorld(tmp_path / "conflicts", policy=POLICY + ACTOR).start()
    await world.desk.meet(CANARY)
    terms = {"authority": "Court", "basis": "legal_claims", "review_at": "2027-06-01T00:00:00Z"}
    for name, secret in (("claim-1", False), ("secret-1", True)):
        order = {"id": name, "secret": secret, **terms}
        await world.desk.ask(f"hold-{name}", CANARY, type="hold", by="officer-1", hold=order)
    await world.desk.ask("objection-1", CANARY, type="object", purposes=["fraud"])
    await world.desk.later(seconds=1)
    await counted(world, msgspec.structs.replace(COUNT, restrictions=("R" * 22,), kept={HOSTILE: 1}))
    page = await text(world)
    assert "These holds are over the people named, and their copies stay: claim-1" in page
    assert "secret-1" not in page
    assert "restricted by these other cases: " + "R" * 22 in page
    assert "No hold that you may be told of" not in page
    assert f"for {HOSTILE}: 1" in page
    assert "under the hold claim-1" in shown(world)
    assert "restricted by the case " + "R" * 22 in shown(world)


async def test_who_could_not_be_counted_is_said(world: ConsoleWorld) -> None:
    await world.desk.later(seconds=1)
    await counted(world, None, 0)
    page = await text(world)
    assert "Not everybody named could be counted" in page
    assert "No hold that you may be told of" not in page, "whoever was not counted may be restricted"
    assert "not everybody named could be counted" in shown(world)


@pytest.mark.parametrize(("done", "said"), [(1234, "1,234; it was as many."), (1240, "1,234; it was 1,240: records")])
async def test_afterwards_the_page_says_how_many_it_was(world: ConsoleWorld, done: int, said: str) -> None:
    await world.desk.later(seconds=1)
    await counted(world)
    await world.desk.ask("approve-01", by="officer-1", type="approve", case=case_in(world).case)
    await world.desk.noticed("objection-1")
    assert "Counted before the approval" not in await text(world)
    case = case_in(world)
    [objection] = [name for name in case.decisions if case.progress.get(name) != AT_ONCE]
    await world.desk.told(msgspec.structs.replace(case, decisions=(objection,)), "tombstoned", done)
    assert said in await text(world)


async def test_what_was_approved_before_keepers_answered_is_not_compared(world: ConsoleWorld) -> None:
    await world.desk.later(seconds=1)
    asked = case_in(world)
    await world.desk.ask("approve-01", by="officer-1", type="approve", case=asked.case)
    await world.desk.noticed("objection-1")
    await counted(world, asked=asked)
    await world.desk.done("objection-1", "tombstoned", 3)
    page = await text(world)
    assert "Counted before the approval" not in page
    assert MEASURING not in page
    assert "would be" not in shown(world)


async def test_where_somebody_could_not_be_counted_nothing_is_compared(world: ConsoleWorld) -> None:
    """The difference would be theirs, and the page would say that records came or lapsed."""
    await world.desk.later(seconds=1)
    await counted(world, None, 0)
    await world.desk.ask("approve-01", by="officer-1", type="approve", case=case_in(world).case)
    await world.desk.noticed("objection-1")
    case = case_in(world)
    [objection] = [name for name in case.decisions if case.progress.get(name) != AT_ONCE]
    await world.desk.told(msgspec.structs.replace(case, decisions=(objection,)), "tombstoned", 7)
    assert "Counted before the approval" not in await text(world)
    token = world.desk.written("privacy.receipts")[-1].value or b""
    last = decode(RECEIPTS, unb64(token.split(b".")[1]))
    assert (last.stage, last.previewed) == ("tombstoned", msgspec.UNSET)
