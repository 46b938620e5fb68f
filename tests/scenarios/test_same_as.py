"""One human, several identifiers: what is asked under one reaches all, an end concerns the future, erasure forgets."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from carry_world import CarryWorld
from guard_world import POLICY, TENANT, GuardWorld
from sizes import EACH_WRITE
from structlog.testing import capture_logs
from test_access import answer
from test_crash_matrix import CONSENT, reply
from test_same_person import PAIRS

from calllog_guard.cli._case_view import whole
from calllog_guard.core.cases.case_states import rights
from calllog_guard.core.crypto.entries import person_key
from calllog_guard.core.crypto.same_person import SAME_MOST, Same, same_key
from calllog_guard.core.identifiers import Lookup
from calllog_guard.errors import IdentityMovedError
from calllog_guard.workers.keys.people.homes import Homes
from calllog_guard.workers.keys.people.links import PersonLinks
from calllog_guard.workers.keys.people.naming import Naming
from calllog_guard.workers.keys.rotation import Periods, Walk

ALICE, NUMBER, THIRD, BOB = "alice@example.org", "+441632960961", "alice@home.example", "bob@example.org"
CLERK = "officer-1"


async def filled(folder: Path, *people: str, **more: Any) -> GuardWorld:
    """A world with a call of each, at rest."""
    world = await GuardWorld(folder, POLICY + CONSENT, **more).start()
    for number, who in enumerate(people or (ALICE, NUMBER, THIRD, BOB)):
        await world.call(f"c{number}", who, days_ago=3)
    await world.run()
    return world


@pytest.fixture
async def world(tmp_path: Path) -> GuardWorld:
    """Alice has called under three identifiers, and Bob."""
    return await filled(tmp_path)


async def link(world: GuardWorld, *people: str, jti: str = "same-00001", **more: Any) -> None:
    """A backend says that they are one."""
    await world.ask(jti, "same_as", *people, **more)
    await world.run()


def lookup(world: GuardWorld, text: str) -> Lookup:
    """Under which key an identifier's person lies."""
    return Naming(TENANT, world.vault).lookup(text)


async def said(world: GuardWorld, text: str) -> Same:
    """What the keystore says of who else somebody is."""
    who = lookup(world, text)
    return (await Homes(world.ring(), writes=False).sames([who]))[who][1]


async def others(world: GuardWorld, text: str) -> set[str]:
    """Whom an identifier leads to."""
    who = lookup(world, text)
    found = set((await Homes(world.ring(), writes=False).everyone([who]))[who].known)
    return {each for each in (ALICE, NUMBER, THIRD, BOB) if lookup(world, each) in found}


async def flags(world: GuardWorld, text: str) -> Any:
    """A person's entry."""
    who, ring = lookup(world, text), world.ring()
    return ring.entry(who, (await ring.view([who])).raw[who])


def entries(world: GuardWorld) -> list[bytes]:
    """The keystore keys of who else somebody is."""
    return [key for key in world.keystore.entries if b":same:" in key]


async def walk(world: GuardWorld) -> Any:
    """One walk through the keystore."""

    async def nobody() -> set[str]:
        return set()

    periods = Periods(keep_days=90, late_days=35, epoch_days=7, window_days=14)
    return await Walk(world.ring(), world.clock, periods, nobody).run({})


# --- what is reached ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("under", [ALICE, NUMBER])
async def test_an_erasure_under_one_erases_all_and_says_so(world: GuardWorld, under: str) -> None:
    await link(world, ALICE, NUMBER)
    await world.ask("erase-0001", "erase", under)
    await world.run()
    case = world.case("erase-0001")
    assert (len(world.legs()), case.known, case.unknown, case.linked, len(case.decisions)) == (2, True, (), 1, 2)
    assert world.receipts("erase-0001")[-1]["linked"] == 1
    assert "reached    1 more under identifiers" in whole(case, world.clock.at.date(), None)
    for who in (ALICE, NUMBER):
        await world.call("late", who, days_ago=2)
    await world.run()
    assert len(world.legs()) == 2, "the fence keeps both out"


@pytest.mark.parametrize("kind", ["access", "portability"])
async def test_an_answer_under_one_tells_of_all_and_says_so(world: GuardWorld, kind: str) -> None:
    await link(world, ALICE, NUMBER)
    told = await answer(world, "asked-0001", NUMBER, kind=kind)
    case = world.case("asked-0001")
    assert (sum(case.legs.values()), case.linked, case.state) == (2, 1, "closed")
    assert world.receipts("asked-0001")[-1]["linked"] == 1
    assert (told.about.linked, {leg.subject for leg in told.legs}) == (1, {ALICE, NUMBER})


async def test_a_link_of_links_is_one_person(world: GuardWorld) -> None:
    await link(world, ALICE, NUMBER)
    await link(world, NUMBER, THIRD, jti="same-00002")
    assert await others(world, ALICE) == {NUMBER, THIRD}
    assert await others(world, THIRD) == {ALICE, NUMBER}
    await world.ask("erase-0001", "erase", THIRD)
    await world.run()
    assert (len(world.legs()), world.case("erase-0001").linked) == (1, 2)


async def test_days_are_erased_under_all(world: GuardWorld) -> None:
    await link(world, ALICE, NUMBER)
    await world.ask("erase-0001", "erase", ALICE, range={"from": "2026-11-01"})
    await world.run()
    assert (len(world.legs()), sum(world.case("erase-0001").legs.values())) == (2, 2)
    assert await others(world, ALICE) == {NUMBER}, "nobody is forgotten by it"


@pytest.mark.parametrize(
    ("kind", "more", "flag"),
    [
        ("restrict", {}, "restricted"),
        ("object", {"purposes": ["quality"]}, "objected"),
        ("withdraw", {"purposes": ["research"]}, "withdrawn"),
    ],
)
async def test_what_protects_one_protects_all(world: GuardWorld, kind: str, more: dict[str, Any], flag: str) -> None:
    await link(world, ALICE, NUMBER)
    await world.ask("asked-0001", kind, NUMBER, **more)
    await world.run()
    assert [bool(getattr(await flags(world, who), flag)) for who in (ALICE, NUMBER, THIRD)] == [True, True, False]


@pytest.mark.parametrize("kind", ["consent", "rectify", "disclose"])
async def test_what_is_about_one_identifier_stays_with_it(world: GuardWorld, kind: str) -> None:
    """A consent is specific, a record is one identifier's, and an authority gets what its order names."""
    await link(world, ALICE, NUMBER)
    if kind == "consent":
        more: dict[str, Any] = {"purposes": ["research"], "time": "2026-11-24T08:00:00Z", "wording": "Yes."}
        await world.ask("asked-0001", kind, ALICE, **more)
        await world.run()
        assert [(await flags(world, who)).consented for who in (ALICE, NUMBER)] == [8, 0]
    elif kind == "rectify":
        await world.ask("asked-0001", kind, ALICE, facts={"call_id": "c1", "role": "guest"})
        await world.run()
        assert world.case("asked-0001").waits_for == "officer", "the call is another identifier's"
    else:
        terms = {"authority": "Court", "basis": "Order 7", "notify": "before", "reply_key": reply(world)}
        await world.ask("asked-0001", kind, ALICE, key=CLERK, **terms)
        await world.ask("asked-0002", "approve", key="officer-2", case=world.id_of("asked-0001"))
        await world.run()
        assert sum(world.case("asked-0001").legs.values()) == 1
    assert not world.case("asked-0001").linked


async def test_a_lift_ends_on_the_others_what_it_ends_on_those_named(world: GuardWorld) -> None:
    """Who shows one identifier ends nothing that stands on another by itself."""
    await world.ask("asked-0001", "restrict", NUMBER)
    await world.run()
    await link(world, ALICE, NUMBER)
    await world.ask("own-000001", "restrict", ALICE)
    await world.run()
    await world.ask("apart-0001", "not_same_as", ALICE)
    await world.run()
    await world.ask("own-000002", "restrict", NUMBER)
    await world.run()
    await link(world, ALICE, NUMBER, jti="same-00002")
    assert [(await flags(world, who)).restricted for who in (ALICE, NUMBER)] == [True, True]
    await world.ask("lifts-0001", "lift", ALICE)
    await world.run()
    assert [(await flags(world, who)).restricted for who in (ALICE, NUMBER)] == [False, True]


async def test_a_lift_under_one_ends_a_restriction_that_was_asked_of_all(world: GuardWorld) -> None:
    await link(world, ALICE, NUMBER)
    await world.ask("asked-0001", "restrict", ALICE)
    await world.run()
    await world.ask("lifts-0001", "lift", NUMBER)
    await world.run()
    assert [(await flags(world, who)).restricted for who in (ALICE, NUMBER)] == [False, False]


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
async def test_every_form_of_an_identifier_is_linked_as_it_is_stored(tmp_path: Path, pair: tuple[str, str]) -> None:
    """One table of rules for events, requests, imports and this."""
    world = await filled(tmp_path, pair[0], BOB)
    await link(world, pair[1], BOB)
    assert world.case("same-00001").unknown == ()
    await world.ask("erase-0001", "erase", BOB)
    await world.run()
    assert not world.legs()


# --- what stands when a link is made --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "more", "flag"),
    [
        ("restrict", {}, "restricted"),
        ("object", {"purposes": ["quality"]}, "objected"),
        ("withdraw", {"purposes": ["research"]}, "withdrawn"),
    ],
)
@pytest.mark.parametrize("first", [ALICE, NUMBER])
async def test_what_stood_on_one_is_asked_for_of_all_as_a_case_of_its_own(
    world: GuardWorld, kind: str, more: dict[str, Any], flag: str, first: str
) -> None:
    """Never less protection, and whoever is concerned has receipts and notices of it."""
    await world.ask("asked-0001", kind, first, **more)
    await world.run()
    await link(world, ALICE, NUMBER)
    assert [bool(getattr(await flags(world, who), flag)) for who in (ALICE, NUMBER, THIRD)] == [True, True, False]
    assert "fenced" in world.case(f"same-00001+{kind}").stages
    if kind == "object":
        masks = [facts.mask for index in world.indexes.values() for facts, _ in index.by_day()]
        assert sorted(bool(mask & 4) for mask in masks) == [False, False, True, True]
    await link(world, ALICE, NUMBER, jti="same-00002")
    assert world.book.get(world.id_of(f"same-00002+{kind}")) is None, "it stands on all by now"


async def test_what_an_officer_began_no_backend_ends_by_a_link(world: GuardWorld) -> None:
    await world.ask("asked-0001", "restrict", ALICE, key=CLERK)
    await world.run()
    await link(world, ALICE, NUMBER)
    await world.ask("lifts-0001", "lift", NUMBER)
    await world.run()
    assert [(await flags(world, who)).restricted for who in (ALICE, NUMBER)] == [True, True]
    await world.ask("lifts-0002", "lift", NUMBER, key=CLERK)
    await world.run()
    assert not (await flags(world, NUMBER)).restricted


async def test_while_an_officer_has_an_objection_all_are_restricted(world: GuardWorld) -> None:
    await world.ask("asked-0001", "object", ALICE, purposes=["fraud"])
    await world.run()
    assert (await flags(world, ALICE)).reviewed
    await link(world, ALICE, NUMBER)
    assert (await flags(world, NUMBER)).reviewed
    await world.ask("word-00001", "approve", key=CLERK, case=world.id_of("asked-0001"))
    await world.run()
    assert [((await flags(world, who)).reviewed, (await flags(world, who)).objected) for who in (ALICE, NUMBER)] == [
        (False, 16),
        (False, 16),
    ]


async def test_the_end_of_one_objection_leaves_what_another_restricts_under_another_identifier(
    world: GuardWorld,
) -> None:
    for jti, who in (("asked-0001", ALICE), ("asked-0002", NUMBER)):
        await world.ask(jti, "object", who, purposes=["fraud"])
        await world.run()
    await link(world, ALICE, NUMBER)
    for jti, left in (("asked-0001", True), ("asked-0002", False)):
        await world.ask(f"refuse-{jti}", "refuse", key=CLERK, case=world.id_of(jti), ground="Not shown.")
        await world.run()
        assert world.case(jti).state == "refused"
        assert [(await flags(world, who)).reviewed for who in (ALICE, NUMBER)] == [left, left]


async def test_an_erasure_of_before_erases_nothing_more_by_a_link(world: GuardWorld) -> None:
    """It was done of what was asked; who wants more erased asks again."""
    await world.ask("erase-0001", "erase", ALICE)
    await world.run()
    await link(world, ALICE, NUMBER)
    case = world.case("same-00001")
    assert (case.unknown, len(world.legs())) == ((0,), 3)
    await world.call("late", ALICE, days_ago=2)
    await world.run()
    assert len(world.legs()) == 3, "and its fence stands"


# --- an end -------------------------------------------------------------------------------------------------------------


async def test_whose_link_ends_is_reached_no_more_and_the_others_stay_one(world: GuardWorld) -> None:
    await link(world, ALICE, NUMBER, THIRD)
    await world.ask("apart-0001", "not_same_as", NUMBER)
    await world.run()
    assert (await others(world, ALICE), await others(world, NUMBER)) == ({THIRD}, set())
    await world.ask("erase-0001", "erase", NUMBER)
    await world.run()
    case = world.case("erase-0001")
    assert (len(world.legs()), bool(case.linked)) == (3, False)
    assert [receipt["stage"] for receipt in world.receipts("apart-0001")] == ["accepted", "fenced"]


async def test_an_end_concerns_the_future_alone(world: GuardWorld) -> None:
    """What stands on each stays on each until somebody ends it."""
    await link(world, ALICE, NUMBER)
    await world.ask("asked-0001", "restrict", ALICE)
    await world.run()
    await world.ask("apart-0001", "not_same_as", ALICE)
    await world.run()
    assert [(await flags(world, who)).restricted for who in (ALICE, NUMBER)] == [True, True]
    await world.ask("lifts-0001", "lift", NUMBER)
    await world.run()
    assert [(await flags(world, who)).restricted for who in (ALICE, NUMBER)] == [True, False]


async def test_after_an_end_nobody_sees_what_the_other_asked(world: GuardWorld) -> None:
    """A link that was wrong has made two people one; the one's cases are not the other's."""
    await link(world, ALICE, NUMBER)
    await world.ask("asked-0001", "restrict", ALICE)
    await world.run()
    case = world.case("asked-0001")
    owners = world.desk._owners
    theirs = {
        who: case.case
        in await owners.of([case], [each for each in await owners.identities([lookup(world, who)]) if each])
        for who in (ALICE, NUMBER)
    }
    assert theirs == {ALICE: True, NUMBER: False}


# --- abuse --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "subjects", "reason"),
    [
        ("same_as", (ALICE,), "one_identifier"),
        ("same_as", (ALICE, ALICE), "one_identifier"),
        ("same_as", (ALICE, "ALICE@example.org", "mailto:alice@example.org"), "one_identifier"),
        ("same_as", ("new@example.org", "NEW@example.org"), "one_identifier"),
        ("same_as", (ALICE, "\ufb01ona@example.org"), "ambiguous_letter"),
        ("not_same_as", (ALICE,), "not_linked"),
        ("not_same_as", ("nobody@example.org",), "not_linked"),
    ],
)
async def test_what_cannot_be_said_is_refused_with_its_reason(
    world: GuardWorld, kind: str, subjects: tuple[str, ...], reason: str
) -> None:
    await world.ask("asked-0001", kind, *subjects)
    await world.run()
    assert (world.dead(), world.book.get(world.id_of("asked-0001")), entries(world)) == ([reason], None, [])


async def test_the_same_twice_changes_nothing(world: GuardWorld) -> None:
    await link(world, ALICE, NUMBER)
    before, ledger = await said(world, ALICE), len(world.log.live("privacy.decisions"))
    await link(world, NUMBER, ALICE, jti="same-00002")
    assert (await said(world, ALICE), len(world.log.live("privacy.decisions"))) == (before, ledger)
    assert world.case("same-00002").state == "closed"


async def test_links_in_a_circle_are_one_group(world: GuardWorld) -> None:
    for number, pair in enumerate(((ALICE, NUMBER), (NUMBER, THIRD), (THIRD, ALICE))):
        await link(world, *pair, jti=f"same-0000{number}")
    assert await others(world, ALICE) == {NUMBER, THIRD}
    await world.ask("apart-0001", "not_same_as", ALICE, NUMBER)
    await world.run()
    assert [await others(world, who) for who in (ALICE, NUMBER, THIRD)] == [set(), set(), set()]


async def test_who_was_never_seen_is_linked_for_what_may_come(world: GuardWorld) -> None:
    await link(world, ALICE, "new@example.org")
    assert world.case("same-00001").unknown == (1,)
    world.clock.at += timedelta(hours=1)
    await world.call("later", "new@example.org", days_ago=0.01)
    await world.run()
    await world.ask("erase-0001", "erase", ALICE)
    await world.run()
    assert len(world.legs()) == 3, "Bob's, and two of hers that are not linked"


async def test_of_nobodies_an_officer_says_what_it_means(world: GuardWorld) -> None:
    await link(world, "one@example.org", "other@example.org")
    case = world.case("same-00001")
    assert (case.known, case.waits_for, entries(world)) == (False, "officer", [])
    await world.ask("word-00001", "approve", key=CLERK, case=case.case)
    await world.run()
    assert (world.case("same-00001").state, len(entries(world))) == ("closed", 2)


async def test_an_unverified_identity_links_nobody(world: GuardWorld) -> None:
    await link(world, ALICE, NUMBER, identity="unverified")
    assert (world.case("same-00001").waits_for, entries(world)) == ("identity", [])
    await world.ask("word-00001", "clock", case=world.id_of("same-00001"), event="verify")
    await world.run()
    assert await others(world, ALICE) == {NUMBER}


async def test_more_identifiers_than_a_human_has_wait_for_an_officer_or_are_refused(world: GuardWorld) -> None:
    many = [f"user{number}@example.org" for number in range(SAME_MOST)]
    await link(world, *many[:21])
    assert (world.case("same-00001").waits_for, entries(world)) == ("officer", [])
    await link(world, ALICE, *many[: SAME_MOST - 1], jti="same-00002")
    await world.ask("word-00001", "approve", key=CLERK, case=world.id_of("same-00002"))
    await world.run()
    assert len(entries(world)) == SAME_MOST
    await link(world, ALICE, NUMBER, jti="same-00003")
    assert world.dead() == ["too_many_identifiers"]


async def test_an_answer_about_more_people_than_a_human_has_identifiers_waits_for_an_officer(world: GuardWorld) -> None:
    """A link must not lead around the brake of whoever carries data away."""
    await link(world, ALICE, *(f"user{number}@example.org" for number in range(25)))
    await world.ask("word-00001", "approve", key=CLERK, case=world.id_of("same-00001"))
    await world.run()
    await world.ask("asked-0001", "access", ALICE, reply_key=reply(world))
    await world.run()
    case = world.case("asked-0001")
    assert (case.waits_for, case.people) == ("officer", 26)


async def test_whom_a_link_reaches_counts_for_the_brake_of_erasures(tmp_path: Path) -> None:
    policy = (POLICY + CONSENT).replace("erasures_per_hour = 10000", "erasures_per_hour = 2")
    world = await GuardWorld(tmp_path, policy).start()
    for number, who in enumerate((ALICE, NUMBER, THIRD)):
        await world.call(f"c{number}", who)
    await link(world, ALICE, NUMBER, THIRD)
    await world.ask("erase-0001", "erase", ALICE)
    await world.run()
    assert (world.case("erase-0001").waits_for, len(world.legs())) == ("officer", 3)


def test_an_authority_links_nobody() -> None:
    assert [rights(role, "same_as") for role in ("backend", "officer", "authority_desk")] == [True, True, False]


async def test_a_tenant_of_older_forms_links_nobody(tmp_path: Path) -> None:
    """A desk of the first release may take over: it would not know."""
    world = await GuardWorld(tmp_path, POLICY, forms=1).start()
    await world.call("c1", ALICE, NUMBER)
    await link(world, ALICE, NUMBER)
    assert (world.dead(), entries(world)) == (["older_forms"], [])


# --- what is forgotten, and what is not ---------------------------------------------------------------------------------


async def test_nothing_remembers_that_the_erased_had_another_identifier(world: GuardWorld) -> None:
    await link(world, ALICE, NUMBER)
    await world.ask("erase-0001", "erase", ALICE)
    await world.run()
    assert [(await said(world, who)).is_empty for who in (ALICE, NUMBER)] == [True, True]
    await walk(world)
    assert entries(world) == []


async def test_the_ledger_names_nobody_whom_a_link_is_about(world: GuardWorld) -> None:
    """Else two dated pseudonyms would be known to be one person for ever."""
    await link(world, ALICE, NUMBER)
    names = {(await flags(world, who)).pseudonym for who in (ALICE, NUMBER)}
    linked = [
        json.loads(value)
        for key, value in world.log.live("privacy.decisions").items()
        if not key.endswith(b".done") and b'"same_as"' in value
    ]
    (decision,) = linked
    assert decision["pseudonym"] not in names
    assert not any(name in json.dumps(decision) for name in names)
    assert decision["case"] == world.id_of("same-00001")
    for who in (ALICE, NUMBER):
        assert lookup(world, who) not in json.dumps(decision)


async def test_who_returns_after_an_erasure_is_nobody_elses(world: GuardWorld) -> None:
    await link(world, ALICE, NUMBER)
    before = dict(world.keystore.entries)
    await world.ask("erase-0001", "erase", ALICE)
    await world.run()
    world.clock.at += timedelta(hours=1)
    for who in (ALICE, NUMBER):
        await world.call(f"back-{who}", who, days_ago=0.01)
    await world.run()
    assert len(world.legs()) == 4
    for key in [same_key(TENANT, lookup(world, who)) for who in (ALICE, NUMBER)]:  # as an older keystore has them
        world.keystore.entries[key] = before[key]
    assert await others(world, ALICE) == set()
    await world.ask("erase-0002", "erase", ALICE)
    await world.run()
    assert len(world.legs()) == 3, "who was linked were others: their generation is over"


async def test_the_walk_keeps_what_leads_to_somebody_and_moves_it_on(world: GuardWorld) -> None:
    await link(world, ALICE, NUMBER)
    world.clock.at += timedelta(days=8)
    done = await walk(world)
    assert (done.states["same"], done.fences) == (2, 0)
    assert await others(world, NUMBER) == {ALICE}


async def restored(world: GuardWorld, backup: dict[bytes, bytes]) -> None:
    """A keystore of before, under a new run; keepers replay the ledger before anybody goes on."""
    guard = {key: raw for key, raw in world.keystore.entries.items() if key.startswith(b"clg:~guard")}
    world.keystore.entries = backup | {key: raw for key, raw in guard.items() if key == b"clg:~guard"}
    world.keystore.run += b", another"
    await world.restart()
    await world.step("keeper")
    await world.run()


@pytest.mark.parametrize("end", ["linked", "not_same_as", "erased"])
async def test_a_restored_keystore_says_what_was_decided_since(world: GuardWorld, end: str) -> None:
    """A backup of before a link loses none; one of before its end, or of an erasure, brings none back."""
    backups = [dict(world.keystore.entries)]
    await link(world, ALICE, NUMBER)
    backups.append(dict(world.keystore.entries))
    if end == "not_same_as":
        await world.ask("apart-0001", "not_same_as", ALICE)
    elif end == "erased":
        await world.ask("erase-0001", "erase", ALICE)
    await world.run()
    wanted = {NUMBER} if end == "linked" else set()
    for backup in backups:
        await restored(world, backup)
        assert await others(world, ALICE) == wanted
        if end == "erased":
            await walk(world)
            assert entries(world) == []


async def test_a_link_is_found_whatever_was_noted_as_applied(world: GuardWorld) -> None:
    """The keeper notes a decision's offset before the desk has changed the entries: a backup may lie in between."""
    before = {key: raw for key, raw in world.keystore.entries.items() if b":same:" not in key}
    await link(world, ALICE, NUMBER)
    applied = {key: raw for key, raw in world.keystore.entries.items() if key.startswith(b"clg:~applied")}
    await restored(world, before | applied)
    assert await others(world, ALICE) == {NUMBER}


async def test_no_epoch_is_kept_for_a_link(world: GuardWorld) -> None:
    await link(world, ALICE, NUMBER)
    ledger = world.log.live("privacy.decisions")
    (key,) = [key for key, value in ledger.items() if b'"same_as"' in value]
    assert key + b".done" in ledger


async def test_people_who_are_carried_over_stay_one_with_whom_they_were_linked(tmp_path: Path) -> None:
    """Entries never move: other rules of identity lead to them, and end no link nor make one."""
    world: Any = await CarryWorld(tmp_path).start()
    for number, who in enumerate(("Carol@Example.org", NUMBER)):
        await world.call(f"c{number}", who, days_ago=3)
    await world.run()
    await link(world, "Carol@Example.org", NUMBER)
    await world.carry()
    await world.ask("erase-0001", "erase", "carol@example.org")
    await world.run()
    assert (len(world.legs()), world.case("erase-0001").linked) == (0, 1)


async def test_what_rules_made_one_stays_one(tmp_path: Path) -> None:
    world: Any = await CarryWorld(tmp_path).start()
    for number, who in enumerate(("Carol@Example.org", "carol@example.org", NUMBER)):
        await world.call(f"c{number}", who, days_ago=3)
    await world.run()
    await link(world, "Carol@Example.org", "carol@example.org")
    await world.carry()
    await world.ask("apart-0001", "not_same_as", "Carol@Example.org")
    await world.run()
    await world.ask("erase-0001", "erase", "carol@example.org")
    await world.run()
    assert len(world.legs()) == 1


async def test_nothing_is_linked_while_people_are_carried_over(tmp_path: Path) -> None:
    world: Any = await CarryWorld(tmp_path).start()
    await world.call("c1", ALICE, NUMBER)
    await world.run()
    await world.know()
    await world.ask("same-00001", "same_as", ALICE, NUMBER)
    with pytest.raises(IdentityMovedError):
        await world.run()
    assert entries(world) == []


# --- holds --------------------------------------------------------------------------------------------------------------


async def seen(folder: Path, *, secret: bool) -> dict[str, Any]:
    """What may be read of a link, an erasure and an answer of somebody who is under a secret hold, or is not."""
    world = await filled(folder)
    if secret:
        await world.hold("hold-00001", "claim-17", ALICE, secret=True)
        await world.run()
    await link(world, ALICE, NUMBER)
    world.clock.at += timedelta(days=1)
    await world.run()
    await world.ask("asked-0001", "access", NUMBER, reply_key=reply(world))
    await world.run()
    await world.ask("erase-0001", "erase", NUMBER)
    await world.run()
    cases = {name: world.case(name) for name in ("same-00001", "asked-0001", "erase-0001")}
    found: dict[str, Any] = {
        name: (sorted(case.stages), case.state, case.linked, case.kept, len(case.decisions), sum(case.legs.values()))
        for name, case in cases.items()
    }
    for name in cases:
        found[f"{name} receipts"] = [
            {word: each.get(word) for word in ("stage", "linked", "known", "legs", "kept", "statement")}
            for each in world.receipts(name)
        ]
    return found | {"exports": len(world.log.live("privacy.exports")), "legs": len(world.legs())}


async def test_a_secret_hold_on_one_changes_nothing_that_is_told_of_the_others(tmp_path: Path) -> None:
    assert await seen(tmp_path / "with", secret=True) == await seen(tmp_path / "without", secret=False)


async def test_a_hold_over_one_is_over_all(world: GuardWorld) -> None:
    """It is over a human: their records are copied under every identifier before they are erased."""
    await world.hold("hold-00001", "claim-17", ALICE)
    await world.run()
    await link(world, ALICE, NUMBER)
    await world.ask("erase-0001", "erase", NUMBER)
    await world.run()
    assert len(world.held_of(world.case("hold-00001").hold or "")) == 2
    assert len(world.legs()) == 2


# --- crashes ------------------------------------------------------------------------------------------------------------


async def stories(world: GuardWorld, name: str) -> None:
    """What is asked before anybody looks."""
    if name == "linked":
        await world.ask("same-00001", "same_as", ALICE, NUMBER, "new@example.org")
    elif name == "linked, restricted":
        await world.ask("same-00001", "same_as", ALICE, BOB)
    elif name == "not_same_as":
        await world.ask("apart-0001", "not_same_as", THIRD)
    else:
        await world.ask("erase-0001", "erase", THIRD)


async def end_of(world: GuardWorld) -> dict[str, Any]:
    """What is there in the end."""
    people = {ALICE, NUMBER, THIRD, BOB}
    cases = [world.case(jti) for jti in ("same-00001", "apart-0001", "erase-0001") if world.book.get(world.id_of(jti))]
    return {
        "others": {who: sorted(await others(world, who)) for who in people},
        "empty": {who: (await said(world, who)).is_empty for who in people},
        "restricted": {who: (await flags(world, who)).restricted for who in people},
        "legs": len(world.legs()),
        "cases": [(case.type, case.state, sorted(case.stages), case.linked, case.unknown) for case in cases],
        "open": sorted(case.jti for case in world.book if case.open),
        "dead": world.dead(),
    }


async def prepared(folder: Path) -> GuardWorld:
    """Alice has two identifiers that are one already; Bob is restricted."""
    world = await filled(folder)
    await link(world, ALICE, THIRD, jti="same-00000")
    await world.ask("asked-0001", "restrict", BOB)
    await world.run()
    return world


@pytest.mark.slow
@pytest.mark.parametrize("name", ["linked", "linked, restricted", "not_same_as", "erased"])
async def test_killed_at_any_write_it_ends_as_if_nothing_had_happened(tmp_path: Path, name: str) -> None:
    """Nobody is one half, nobody is forgotten in an erasure, and no link of the erased is left."""
    world = await prepared(tmp_path / "whole")
    await stories(world, name)
    await world.run()
    wanted = await end_of(world)
    assert wanted["open"] == []
    at, blown = 0, True
    while blown:
        at += EACH_WRITE
        for after in (False, True):
            world = await prepared(tmp_path / f"{at}-{after}")
            await stories(world, name)
            blown = await world.run_with_crashes(at, after=after, rebuild=at % 2 == 0)
            assert await end_of(world) == wanted, f"write {at}, {'after' if after else 'before'}"
    assert at > 3


async def test_a_fence_between_reading_and_writing_is_met(world: GuardWorld) -> None:
    """A keeper repeats a fence at any moment: nobody who is gone is linked."""
    await link(world, ALICE, NUMBER)
    ring = world.ring()
    homes = Homes(ring)
    links: Any = PersonLinks(ring, homes)
    groups = [[each for who in (ALICE, NUMBER) for each in (await said(world, who)).links]]
    await links.write([[one] for one in groups[0]])
    first, fenced = links._changes, list[Any]()

    async def changes(*args: Any) -> Any:
        found = await first(*args)
        if not fenced:
            fenced.append(await world.ring().fence(lookup(world, ALICE), 1))
        return found

    links._changes = changes
    await links.write(groups)
    assert [(await said(world, who)).links for who in (ALICE, NUMBER)] == [(), ()]


async def test_a_half_done_erasure_reaches_the_rest_though_the_first_has_returned(world: GuardWorld) -> None:
    """One entry cannot be used: the other is fenced, returns, and the link is still known until all are erased."""
    await link(world, ALICE, NUMBER)
    place = person_key(TENANT, lookup(world, NUMBER))
    good = world.keystore.entries[place]
    world.keystore.entries[place] = good[:-1] + bytes([good[-1] ^ 1])
    await world.restart()
    await world.ask("erase-0001", "erase", ALICE)
    await world.step("desk")
    assert (await flags(world, ALICE)).pseudonym is None
    world.clock.at += timedelta(hours=1)
    await world.call("back", ALICE, days_ago=0.01)
    await world.step("protector")
    assert (await flags(world, ALICE)).pseudonym is not None
    world.keystore.entries[place] = good
    await world.restart()
    world.desk._waiting.at_once_all()
    await world.run()
    assert (await flags(world, NUMBER)).pseudonym is None
    assert len(world.legs()) == 3, "Bob's, the third's, and what came after the return"
    assert [(await said(world, who)).is_empty for who in (ALICE, NUMBER)] == [True, True]


async def test_nobodys_place_changes_while_an_erasure_is_half_done(world: GuardWorld) -> None:
    """Names of decisions derive from places: two people under one name would be certified by one result."""
    await link(world, ALICE, NUMBER, THIRD)
    last = max((NUMBER, THIRD), key=lambda who: lookup(world, who))
    place = person_key(TENANT, lookup(world, last))
    good = world.keystore.entries[place]
    world.keystore.entries[place] = good[:-1] + bytes([good[-1] ^ 1])
    await world.restart()
    await world.ask("erase-0001", "erase", ALICE)
    await world.step("desk")
    assert len(world.case("erase-0001").decisions) == 2
    world.keystore.entries[place] = good
    await world.restart()
    world.desk._waiting.at_once_all()
    await world.run()
    assert (len(world.case("erase-0001").decisions), len(world.legs())) == (3, 1)


async def test_a_disclosure_copies_nothing_of_whom_its_order_does_not_name(world: GuardWorld) -> None:
    """Its copies are made when it is asked for, and outlive an erasure until it has ended."""
    await link(world, ALICE, NUMBER)
    terms = {"authority": "Court", "basis": "Order 7", "notify": "before", "reply_key": reply(world)}
    await world.ask("asked-0001", "disclose", ALICE, key=CLERK, **terms)
    await world.run()
    world.clock.at += timedelta(days=1)
    await world.run()
    (ready,) = [case for case in world.book.every() if case.jti.endswith("+ready")]
    assert len(world.held_of(ready.hold or "")) == 1


async def test_who_was_lost_with_a_restore_is_told_of(world: GuardWorld) -> None:
    """Whom a link named is nobody's by now: the backend must say it again."""
    backup = dict(world.keystore.entries)
    await world.call("new", "new@example.org", days_ago=1)
    await link(world, ALICE, "new@example.org")
    with capture_logs() as lines:
        await restored(world, backup)
    assert [line for line in lines if "say it again by same_as" in str(line)]
    assert (await said(world, ALICE)).links == ()
