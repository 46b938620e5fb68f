"""Notices: who is told what, before what, exactly once, and that nobody else can read it."""

from pathlib import Path
from typing import Any

import pytest
from desk_world import CANARY, START, TENANT, DeskWorld, DiedError

from calllog_guard.core.cases.notices import ACT_DAYS, Sent, Words, acknowledged, for_recipient
from calllog_guard.core.identifiers import CallId
from calllog_guard.metrics import Gauges

GROUND = "canary: because the facts are needed in court"
DISCLOSE: dict[str, Any] = {
    "type": "disclose",
    "authority": "Serious Fraud Office",
    "basis": "Criminal Justice Act 1987 s.2",
}


@pytest.fixture
async def world(tmp_path: Path) -> DeskWorld:
    """See DeskWorld."""
    return await DeskWorld(tmp_path).start()


def reply_key(world: DeskWorld) -> dict[str, str]:
    """The asker's public key."""
    from calllog_guard.cli.request import reply_key as jwk  # noqa: PLC0415

    found = jwk(world.folder / "asker.pub.pem")
    assert found is not None
    return found


def in_clear(world: DeskWorld) -> bytes:
    """Everything that the desk wrote, keys too."""
    return b"\n".join((each.key or b"") + (each.value or b"") for write in world.writer.writes for each in write)


async def test_recipients_and_the_person_are_told_of_an_erasure_and_nothing_tells_in_clear(world: DeskWorld) -> None:
    await world.ask("erase-0001", CANARY, type="erase", ticket="DSR-118")
    assert world.named() == ["person/erased", "invoicing/erased"]
    person, recipient = map(world.words, world.notices())
    assert person.subjects == recipient.subjects == (CANARY,)
    assert (person.ticket, person.request) == ("DSR-118", "erase-0001")
    assert (recipient.ticket, recipient.request, recipient.ground) == (None, None, None)
    assert (recipient.act_by - START).days == ACT_DAYS
    assert b"canary" not in in_clear(world)
    assert set(world.case("erase-0001").notices) == {"person/erased", "invoicing/erased"}


async def test_a_ranged_erasure_and_a_correction_say_what_they_are_about(world: DeskWorld) -> None:
    await world.ask("range-0001", CANARY, type="erase", range={"from": "2026-11-01", "to": "2026-11-02"})
    assert world.named() == ["person/erased"], (
        "recipients hear of it once it is done: nobody reads the range from then on"
    )
    await world.done("range-0001", "tombstoned")
    await world.ask("rectify-01", CANARY, type="rectify", facts={"call_id": "c1", "role": "guest"})
    assert world.named()[2:] == [], "not before a keeper has made it"
    await world.done("rectify-01", "rewritten")
    erased, _, rectified = (world.words(each) for each in (*world.notices()[1:2], *world.notices()[1:3]))
    assert erased.range is not None
    assert rectified.facts is not None
    reference = world.vault.call_key(TENANT).reference(CallId("c1"))
    assert (erased.range.from_, rectified.facts.call_id) == ("2026-11-01", reference), (
        "as the recipient's lines name it"
    )
    assert "call c1" not in str(rectified.text)
    assert world.named()[2:] == ["invoicing/rectified"]


async def test_the_end_of_a_restriction_is_told_before_the_flag_falls(world: DeskWorld) -> None:
    """GDPR Art. 18(3): informed before."""
    await world.ask("restrict-1", CANARY, type="restrict")
    before = len(world.writer.writes)
    await world.ask("lift-00001", CANARY, type="lift")
    await world.noticed("lift-00001")
    topics = [write[0].topic for write in world.writer.writes[before:]]
    assert topics.index("privacy.notices") < topics.index("privacy.decisions")
    assert world.named() == ["person/restricted", "invoicing/restricted", "person/lifting", "invoicing/lifting"]


async def test_while_the_notice_is_not_acknowledged_by_the_log_the_restriction_stands(world: DeskWorld) -> None:
    await world.ask("restrict-1", CANARY, type="restrict")
    entries = dict(world.keystore.entries)
    world.writer.left = 2  # the receipt of the acceptance and the case; then the notices
    with pytest.raises(DiedError):
        await world.ask("lift-00001", CANARY, type="lift")
    assert world.keystore.entries == entries
    assert "person/lifting" not in world.named()
    await world.restart()
    await world.again()
    assert world.named()[2:] == ["person/lifting"]
    await world.noticed("lift-00001")
    assert world.keystore.entries != entries
    assert world.named()[2:] == ["person/lifting", "invoicing/lifting"]


ASKED: dict[str, dict[str, Any]] = {
    "erase": {},
    "restrict": {},
    "lift": {},
    "complain": {"ground": "canary: you log too much"},
    "object": {"purposes": ["fraud"]},
    "rectify": {"facts": {"call_id": "c1", "role": "guest"}},
}


@pytest.mark.parametrize("kind", ASKED)
@pytest.mark.parametrize("writes", range(12))
async def test_wherever_the_desk_dies_no_case_claims_a_notice_that_was_not_sent(
    world: DeskWorld, kind: str, writes: int
) -> None:
    """And all are told in the end, under names that let a reader keep the first."""
    await world.ask("restrict-1", CANARY, type="restrict")
    world.writer.left = writes
    try:
        await world.ask(f"{kind}-0001", CANARY, type=kind, **ASKED[kind])
    except DiedError:
        await world.restart()
        await world.again()
    world.writer.left = -1
    if kind == "rectify":
        await world.done("rectify-0001", "rewritten")
    if kind == "lift":
        await world.noticed("lift-0001")
    told = world.case(f"{kind}-0001").notices
    mine = [each for each in world.notices() if each.case == world.case(f"{kind}-0001").case]
    assert {f"{each.to}/{each.kind}" for each in mine} == set(told) != set()
    assert len({(each.to, each.kind, each.act_by) for each in mine}) == len(told), "a repeat says the same"


async def test_a_refusal_gives_reasons_and_remedies_to_the_person_alone(world: DeskWorld) -> None:
    """Art. 12(4)."""
    await world.ask("object-001", CANARY, type="object", purposes=["fraud"])
    assert world.named() == ["person/restricted", "invoicing/restricted"]
    case = world.case("object-001").case
    await world.ask("refuse-001", by="officer-1", type="refuse", case=case, ground=GROUND)
    assert world.named()[2:] == ["person/refused", "person/lifting"]
    await world.noticed("object-001")
    assert world.named()[2:] == ["person/refused", "person/lifting", "invoicing/lifting"]
    words = world.words(world.notices()[2])
    assert words.ground == GROUND
    assert words.remedies is not None
    assert "Information Commissioner" in words.remedies.authority
    assert b"canary" not in in_clear(world)
    assert world.case("object-001").state == "refused"
    assert world.case("object-001").sealed is None


async def test_a_refusal_that_dies_on_its_way_is_told_all_the_same(world: DeskWorld) -> None:
    await world.ask("unknown-01", CANARY, type="erase", identity="unverified")
    case = world.case("unknown-01").case
    world.writer.left = 1  # the act is saved, and then no more
    with pytest.raises(DiedError):
        await world.ask("refuse-001", by="officer-1", type="refuse", case=case, ground=GROUND)
    assert world.named() == []
    await world.restart()
    await world.again()
    await world.again()
    assert world.named() == ["person/refused"]
    assert world.case("unknown-01").state == "refused"


async def test_an_extension_is_told_with_its_reasons_and_the_new_date(world: DeskWorld) -> None:
    await world.ask("unknown-01", CANARY, type="erase", identity="unverified")
    case = world.case("unknown-01")
    await world.ask("extend-001", by="officer-1", type="clock", case=case.case, event="extend", ground=GROUND)
    (notice,) = world.notices()
    words = world.words(notice)
    assert (notice.to, notice.kind, words.ground, words.due) == ("person", "extended", GROUND, "2027-01-25")
    assert case.due == "2026-12-24"
    assert words.due == world.case("unknown-01").due
    await world.later(days=40)
    await world.ask("extend-002", by="officer-1", type="clock", case=case.case, event="extend", ground=GROUND)
    assert len(world.notices()) == 1


async def test_a_disclosure_is_told_before_it_is_made(world: DeskWorld) -> None:
    more = DISCLOSE | {"notify": "before", "reply_key": reply_key(world)}
    await world.ask("restrict-1", CANARY, type="restrict")
    await world.ask("disclose-1", CANARY, by="officer-1", **more)
    assert "person/disclosed" not in world.named()
    before = len(world.writer.writes)
    await world.ask("approve-01", by="officer-2", type="approve", case=world.case("disclose-1").case)
    await world.noticed("disclose-1")
    topics = [write[0].topic for write in world.writer.writes[before:]]
    assert topics.index("privacy.notices") < topics.index("privacy.decisions")
    assert world.words(world.notices()[-1]).authority == "Serious Fraud Office"
    case = world.case("disclose-1")
    assert case.sealed is None
    filed = world.book.filed_of(case)
    assert filed is not None
    assert filed.authority == "Serious Fraud Office"
    assert b"Fraud Office" not in in_clear(world), "whom it was for stands nowhere in clear"


async def test_where_the_law_forbids_telling_the_person_is_told_when_it_no_longer_does(world: DeskWorld) -> None:
    more = DISCLOSE | {"notify": "when_lifted", "reply_key": reply_key(world), "review_at": "2027-02-01T00:00:00Z"}
    await world.ask("disclose-1", CANARY, by="officer-1", **more)
    case = world.case("disclose-1").case
    await world.ask("tell-00000", by="officer-1", type="clock", case=case, event="tell")
    await world.ask("approve-01", by="officer-2", type="approve", case=case)
    assert world.named() == []
    assert world.reasons() == ["nothing_to_tell"]
    await world.done("disclose-1", "exported")
    assert world.case("disclose-1").state == "closed"
    await world.ask(
        "review-001", by="officer-1", type="clock", case=case, event="not_yet", review_at="2027-03-01T00:00:00Z"
    )
    assert world.case("disclose-1").review_at is not None
    await world.ask("tell-00001", type="clock", case=case, event="tell")
    assert world.reasons() == ["nothing_to_tell", "wrong_role"]
    await world.ask("tell-00002", by="officer-1", type="clock", case=case, event="tell")
    assert world.named() == ["person/disclosed"]
    assert world.words(world.notices()[0]).subjects == (CANARY,)
    assert (world.case("disclose-1").sealed, world.case("disclose-1").review_at) == (None, None)
    assert world.case("disclose-1").filed is not None


async def test_a_complaint_is_acknowledged_waits_for_a_human_and_is_answered(world: DeskWorld) -> None:
    await world.ask("complain-1", CANARY, type="complain", ground="canary: you log too much")
    case = world.case("complain-1")
    assert (case.state, case.waits_for, case.due) == ("waiting", "officer", "2026-12-24")
    assert "accepted" in case.stages
    await world.ask("approve-00", by="officer-1", type="approve", case=case.case)
    assert world.reasons() == ["no_answer"]
    await world.ask("approve-01", by="officer-1", type="approve", case=case.case, ground="canary: we log less now")
    received, notice = world.notices()
    words = world.words(received)
    assert (received.to, received.kind, words.ground, words.due) == ("person", "received", None, "2026-12-24")
    words = world.words(notice)
    assert (notice.kind, words.ground) == ("answered", "canary: we log less now")
    assert words.remedies is not None
    assert world.case("complain-1").state == "closed"
    assert b"canary" not in in_clear(world)


async def test_a_notice_is_acknowledged_also_when_the_case_is_closed(world: DeskWorld) -> None:
    await world.ask("restrict-1", CANARY, type="restrict")
    case = world.case("restrict-1")
    assert case.state == "closed"
    await world.later(hours=2)
    assert world.levels[Gauges.notices_unacknowledged_oldest_s] == 7200
    await world.ask("noticed-01", type="clock", case=case.case, event="noticed", to="invoicing", notice="erased")
    assert world.reasons() == ["no_such_notice"]
    await world.ask("noticed-02", type="clock", case=case.case, event="noticed", to="invoicing")
    await world.again()
    after = world.case("restrict-1")
    assert after.notices["invoicing/restricted"].acknowledged_at == world.at
    assert after.notices["person/restricted"].acknowledged_at is None
    assert after.state == "closed"
    await world.later(days=8)
    assert world.levels[Gauges.notices_overdue] == 1


async def test_without_anybody_to_tell_nothing_is_sent(tmp_path: Path) -> None:
    from desk_world import POLICY  # noqa: PLC0415

    world = await DeskWorld(tmp_path, POLICY[: POLICY.index("[version.tenant.iocom.recipients")]).start()
    await world.ask("erase-0001", CANARY, type="erase")
    assert world.notices() == []
    assert "fenced" in world.case("erase-0001").stages


def test_an_acknowledgement_counts_from_the_first_time() -> None:
    sent = {"a/erased": Sent(sent_at=START, act_by=START), "b/erased": Sent(sent_at=START, act_by=START)}
    once = acknowledged(sent, "a", None, START)
    assert once is not None
    assert once["a/erased"].acknowledged_at == START
    assert once["b/erased"].acknowledged_at is None
    again = acknowledged(once, "a", "erased", START.replace(year=2027))
    assert again == once
    assert acknowledged(sent, "c", None, START) is None


def test_a_recipient_never_reads_an_officers_words() -> None:
    words = Words(v=1, kind="refused", tenant="iocom", case="A" * 22, ground=GROUND, act_by=START, at=START)
    assert for_recipient(words).ground is None
