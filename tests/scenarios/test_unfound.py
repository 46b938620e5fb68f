"""Nothing is certified as something: without a known person or a find an officer decides, and nobody else hears."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from desk_world import CANARY, DeskWorld
from guard_world import POLICY, GuardWorld
from sizes import EACH_WRITE
from test_replay import alice

from calllog_guard.cli._case_view import table, whole
from calllog_guard.core.cases.case import Case
from calllog_guard.reports.certificate import SignatureCheck, certificate

FACTS = {"call_id": "never-was", "role": "guest"}
ASKED: dict[str, dict[str, Any]] = {
    "rectify": {"facts": FACTS},
    "restrict": {},
    "lift": {},
    "object": {"purposes": ["quality"]},
    "withdraw": {"purposes": ["research"]},
}
CONSENT = """
[version.tenant.iocom.purposes.research]
number = 4
basis = "consent"
keep = "P60D"
"""
OFFERS = """
[version.tenant.iocom.purposes.offers]
number = 6
basis = "legitimate_interests"
keep = "P60D"
direct_marketing = true
on_objection = "grant"
"""
NOBODY = "nobody@example.org"


@pytest.fixture
async def world(tmp_path: Path) -> GuardWorld:
    """Alice and Bob have called."""
    made = await GuardWorld(tmp_path, POLICY + CONSENT).start()
    await made.call("c1", "alice", "bob")
    await made.run()
    return made


async def decided(world: GuardWorld, word: str) -> Case:
    """An officer says what it comes to."""
    case = world.case("asked-0001")
    await world.ask("decided-01", word, key="officer-1", case=case.case, ground="We know nobody of that name.")
    await world.run()
    return world.case("asked-0001")


def waits(case: Case) -> bool:
    """Whether an officer has it, and nothing is said to be done."""
    said = case.stages.keys() & {"fenced", "decided", "rewritten", "tombstoned", "absent", "gone"}
    return (case.state, case.waits_for, said) == ("waiting", "officer", set())


@pytest.mark.parametrize("kind", ASKED)
@pytest.mark.parametrize("word", ["approve", "refuse"])
async def test_what_is_asked_about_nobody_is_an_officers_to_decide(world: GuardWorld, kind: str, word: str) -> None:
    await world.ask("asked-0001", kind, NOBODY, **ASKED[kind])
    await world.run()
    case = world.case("asked-0001")
    assert waits(case)
    assert case.known is False
    (told,) = [each for each in world.receipts("asked-0001") if each["stage"] == "unfound"]
    assert (told["known"], told["final"], told["legs"]) == (False, False, 0)
    done = await decided(world, word)
    assert done.state in ({"refused"} if word == "refuse" else {"closed", "observing"})
    assert done.sealed is None
    last = world.receipts("asked-0001")[-1]
    assert last["known"] is False
    assert not {"tombstoned", "rewritten", "destroyed"} & {each["stage"] for each in world.receipts("asked-0001")}


@pytest.mark.parametrize("word", ["approve", "refuse"])
async def test_a_correction_of_a_call_that_does_not_exist_is_not_done(world: GuardWorld, word: str) -> None:
    """Art. 16: nothing was rewritten, so nothing is said to be."""
    await world.ask("asked-0001", "rectify", "alice", facts=FACTS)
    await world.run()
    case = world.case("asked-0001")
    assert waits(case)
    assert case.known is True
    assert [each["stage"] for each in world.receipts("asked-0001")] == ["accepted", "unfound"]
    done = await decided(world, word)
    assert done.state == ("closed" if word == "approve" else "refused")
    stages = [each["stage"] for each in world.receipts("asked-0001")]
    assert stages == ["accepted", "unfound", "answered" if word == "approve" else "refused"]
    assert world.receipts("asked-0001")[-1]["final"]


async def test_a_correction_of_a_call_that_exists_is_done(world: GuardWorld) -> None:
    await world.ask("asked-0001", "rectify", "alice", facts=FACTS | {"call_id": "c1"})
    await world.run()
    case = world.case("asked-0001")
    assert (case.state, "rewritten" in case.stages, case.sealed) == ("observing", True, None)


async def test_a_correction_stands_for_a_call_that_comes_later(world: GuardWorld) -> None:
    """An officer who approves it leaves the rule in force; a case that is answered hears no more."""
    await world.ask("asked-0001", "rectify", "alice", facts=FACTS)
    await world.run()
    assert (await decided(world, "approve")).state == "closed"
    await world.call("never-was", "alice", "bob")
    await world.run()
    assert world.case("asked-0001").state == "closed"


@pytest.mark.parametrize(("word", "restricted"), [("approve", True), ("refuse", False)])
async def test_whoever_comes_meanwhile_is_restricted_until_an_officer_decides(
    world: GuardWorld,
    word: str,
    restricted: bool,  # noqa: FBT001
) -> None:
    await world.ask("asked-0001", "restrict", "carol")
    await world.run()
    await world.call("c2", "carol", "bob")
    await world.run()
    assert waits(world.case("asked-0001"))
    person = await alice(world, "carol")
    assert (person.reviewed, person.restricted) == (True, False)
    await decided(world, word)
    person = await alice(world, "carol")
    assert (person.reviewed, person.restricted) == (False, restricted)


async def test_who_came_meanwhile_is_corrected_as_anybody(world: GuardWorld) -> None:
    """The officer's word is a grant: what can be done now is done, and said."""
    await world.ask("asked-0001", "rectify", "carol", facts=FACTS | {"call_id": "c2"})
    await world.run()
    assert waits(world.case("asked-0001"))
    await world.call("c2", "carol", "bob")
    await world.run()
    done = await decided(world, "approve")
    assert (done.state, done.known, "rewritten" in done.stages, "unfound" in done.stages) == (
        "observing",
        True,
        True,
        False,
    )


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("consent", {"purposes": ["research"], "time": "2026-11-24T08:00:00Z", "wording": "Yes."}),
        ("object", {"purposes": ["offers"]}),
    ],
)
async def test_a_choice_that_nobody_weighs_needs_no_officer(tmp_path: Path, kind: str, more: dict[str, Any]) -> None:
    """Who signs up says what they consent to, and that they want no advertising, before they have ever called."""
    world = await GuardWorld(tmp_path, POLICY + CONSENT + OFFERS).start()
    await world.ask("asked-0001", kind, NOBODY, **more)
    await world.run()
    case = world.case("asked-0001")
    assert (case.known, case.state in {"closed", "observing"}) == (False, True)


@pytest.mark.parametrize("kind", ["rectify", "restrict", "object"])
@pytest.mark.slow
async def test_killed_at_any_write_it_waits_for_the_officer_once(tmp_path: Path, kind: str) -> None:
    who = "alice" if kind == "rectify" else NOBODY
    for at in range(1, 80, EACH_WRITE):
        for after in (False, True):
            world = await GuardWorld(tmp_path / f"{at}-{after}").start()
            await world.call("c1", "alice", "bob")
            await world.run()
            await world.ask("asked-0001", kind, who, **ASKED[kind])
            blown = await world.run_with_crashes(at, after=after, rebuild=at % 2 == 0)
            assert waits(world.case("asked-0001")), (at, after)
            world.fuse.at = -1
            done = await decided(world, "approve")
            assert done.state in {"closed", "observing"}, (at, after)
            assert done.sealed is None
        if not blown:
            return
    raise AssertionError("no end of the writes")


# --- who hears of it ------------------------------------------------------------------------------------------------


@pytest.fixture
async def desk(tmp_path: Path) -> DeskWorld:
    """One person is known."""
    return await DeskWorld(tmp_path).start()


@pytest.mark.parametrize("kind", ["rectify", "restrict", "lift", "object"])
async def test_recipients_hear_nothing_about_nobody_and_the_person_hears_it(desk: DeskWorld, kind: str) -> None:
    more = ASKED[kind] | ({"purposes": ["fraud"]} if kind == "object" else {})
    await desk.ask("asked-0001", NOBODY, type=kind, **more)
    assert desk.named() == []
    case = desk.case("asked-0001").case
    await desk.ask("decided-01", by="officer-1", type="approve", case=case, ground="Nobody of that name.")
    assert desk.named() == ["person/answered"]
    words = desk.words(desk.notices()[0])
    assert (words.nothing, words.ground) == (True, "Nobody of that name.")
    text = str(words.text)
    assert "We found no call record to which that could be done" in text
    assert "that we keep of you" not in text


async def test_an_erasure_of_nobody_tells_the_person_so_and_no_recipient(desk: DeskWorld) -> None:
    await desk.ask("asked-0001", NOBODY, type="erase")
    assert desk.named() == ["person/answered"]


async def test_a_disclosure_of_nobody_tells_nobody(desk: DeskWorld) -> None:
    from test_notices import DISCLOSE, reply_key  # noqa: PLC0415

    more = DISCLOSE | {"notify": "before", "reply_key": reply_key(desk)}
    await desk.ask("asked-0001", NOBODY, by="officer-1", **more)
    await desk.ask("decided-01", by="officer-2", type="approve", case=desk.case("asked-0001").case)
    assert (desk.named(), desk.case("asked-0001").known) == ([], False)


async def test_a_correction_is_told_when_it_is_made_and_not_before(desk: DeskWorld) -> None:
    await desk.ask("asked-0001", CANARY, type="rectify", facts=FACTS)
    assert desk.named() == []
    await desk.done("asked-0001", "rewritten", legs=1)
    assert desk.named() == ["invoicing/rectified"]
    await desk.done("asked-0001", "rewritten", legs=1)
    assert desk.named() == ["invoicing/rectified"]
    assert desk.case("asked-0001").sealed is None


async def test_a_correction_that_found_nothing_is_told_to_no_recipient(desk: DeskWorld) -> None:
    await desk.ask("asked-0001", CANARY, type="rectify", facts=FACTS)
    await desk.done("asked-0001", "rewritten", legs=0)
    assert (desk.named(), waits(desk.case("asked-0001"))) == ([], True)
    case = desk.case("asked-0001").case
    await desk.ask("decided-01", by="officer-1", type="refuse", case=case, ground="There was no such call.")
    assert desk.named() == ["person/refused"]
    await desk.done("asked-0001", "absent", legs=0)
    assert desk.case("asked-0001").state == "refused", "that nothing is left of nothing changes nothing"


async def test_what_is_not_corrected_is_not_named(desk: DeskWorld) -> None:
    """A recipient that reads `joined_at: null` might store it."""
    await desk.ask("asked-0001", CANARY, type="rectify", facts=FACTS)
    await desk.done("asked-0001", "rewritten", legs=1)
    content = msgspec.json.encode(desk.words(desk.notices()[0]))
    assert msgspec.json.decode(content)["facts"].keys() == FACTS.keys()


# --- what is shown --------------------------------------------------------------------------------------------------


async def test_the_words_of_a_case_are_those_of_its_type(world: GuardWorld) -> None:
    """An objection takes a purpose away; legs that others need stay, and are not said to be gone."""
    await world.ask("asked-0001", "object", "alice", purposes=["quality"])
    await world.run()
    case = world.case("asked-0001")
    case = msgspec.structs.replace(case, stages=case.stages | {"gone": world.clock.at})
    assert sum(case.legs.values()) == 0
    today = world.clock.at.date()
    assert "purposes ended, none removed" in table([case], today)
    assert "gone" not in table([case], today) + whole(case, today, None)


def test_the_page_of_a_receipt_certifies_no_removal_of_nothing() -> None:
    from test_receipt import RECEIPT  # noqa: PLC0415

    told = msgspec.structs.replace(RECEIPT, shredded=False, legs=0, known=True)
    text = certificate(told, SignatureCheck("k", "n"))
    assert "No record had to be removed" in text
    assert "Certificate" not in text
    assert "Certificate of removal" in certificate(msgspec.structs.replace(told, legs=1), SignatureCheck("k", "n"))


async def test_the_officer_reads_that_nothing_was_found(world: GuardWorld) -> None:
    await world.ask("asked-0001", "rectify", "alice", facts=FACTS)
    await world.run()
    assert "nothing to which it could be done" in whole(world.case("asked-0001"), world.clock.at.date(), None)


async def test_who_is_known_by_held_copies_alone_is_not_said_to_be_corrected(world: GuardWorld) -> None:
    await world.hold("hold-00001", "claim-17", "bob")
    await world.run()
    await world.ask("erase-0001", "erase", "bob")
    await world.run()
    await world.ask("asked-0001", "rectify", "bob", facts=FACTS | {"call_id": "c1"})
    await world.run()
    assert (waits(world.case("asked-0001")), world.case("asked-0001").known) == (True, True)
    assert (await decided(world, "approve")).state == "closed"


@pytest.mark.parametrize("rebuild", [False, True])
async def test_a_restriction_that_an_officer_lets_stand_keeps_legs_from_being_swept(
    tmp_path: Path, *, rebuild: bool
) -> None:
    """The end of the officer's consideration is a lift of the same case: it ends what preceded it, not the decision."""
    world = await GuardWorld(tmp_path).start()
    await world.ask("restrict-1", "restrict", "a@example.org", ground="accuracy")
    await world.run()
    await world.ask("approve-01", "approve", key="officer-1", case=world.id_of("restrict-1"))
    await world.run()
    if rebuild:
        await world.restart(rebuild=True)
    for number, who in enumerate(("a@example.org", "b@example.org")):
        await world.call(f"o{number}", who, days_ago=100, outcome="missed")
    await world.run()
    world.clock.at += timedelta(hours=2)  # the next sweep is due
    await world.run()
    assert len(world.legs()) == 1, "a's is kept, b's has lapsed"
    assert sum(len(shard.restricted) for shard in world.keeper._shards.values()) == 1
