"""What law keeps of somebody who was erased is theirs for every right: found, given, corrected, passed over, named."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from desk_world import CANARY, POLICY, DeskWorld
from downstream import Downstream, plain
from guard_world import POLICY as POLICY_OF_ONE
from guard_world import TENANT, GuardWorld
from patience import PATIENCE_S
from sizes import EACH_WRITE

from calllog_guard.core.cases.notices import KeptFor, Words
from calllog_guard.core.crypto.entries import person_key
from calllog_guard.core.crypto.jose import open_sealed
from calllog_guard.core.crypto.law_copy import KeptCopies, KeptCopy, kept_key, noted_key
from calllog_guard.core.identifiers import Lookup, SubjectId, b64
from calllog_guard.workers.keys.people.law_copies import KeptOf
from calllog_guard.workers.keys.rotation import Periods, Walk

CALLS = ("a1", "a10", "a50", "a70", "b1", "b2", *(f"c{number}" for number in range(6)))


POLICY_OF_TWO = POLICY_OF_ONE.replace(
    "[version.tenant.iocom.actors.billing-1]",
    '[version.tenant.iocom.requesters.officer-2]\nrole = "officer"\nkey = "officer-2.pub.pem"\n'
    "[version.tenant.iocom.actors.billing-1]",
).replace("exports_per_hour = 10000\n", "exports_per_hour = 10000\ndisclosures_per_hour = 100\n")


async def erased(folder: Path, *, days: int = 1) -> GuardWorld:
    """Bob was the host of three calls, for which billing has its legs kept by law, and was erased."""
    world = await GuardWorld(folder).start()
    for age in (10, 50, 70):
        await world.call(f"a{age}", "bob", "alice", days_ago=age)
    await world.run()
    await world.ask("erase-001", "erase", "bob")
    await world.run()
    assert (len(world.held()), world.case("erase-001").kept) == (3, ({"basis": "legal_duty"},))
    world.clock.at += timedelta(days=days)
    return world


def reply_key(world: GuardWorld) -> dict[str, str]:
    """Where answers are sealed to."""
    public = load_pem_public_key((world.folder / "operator-1.pub.pem").read_bytes())
    assert isinstance(public, X25519PublicKey)
    return {"kty": "OKP", "crv": "X25519", "x": b64(public.public_bytes_raw()).decode()}


async def answer(world: GuardWorld, jti: str, *who: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The records that somebody is given, and what is told beside them."""
    await world.ask(jti, "access", *who, reply_key=reply_key(world))
    await world.run()
    assert world.case(jti).state == "closed"
    name, pem = world.id_of(jti).encode(), (world.folder / "operator-1.pem").read_bytes()
    records = [record for record in world.log.records["privacy.exports", 0] if (record.key or b"").startswith(name)]
    parts = {r.key: json.loads(open_sealed(pem, (r.value or b"").decode())) for r in records}
    calls = {world.reference(call): call for call in CALLS}
    legs = [leg | {"call": calls[leg["call"]]} for part in parts.values() for leg in part["legs"]]
    return sorted(legs, key=lambda leg: str(leg["call"])), parts[name + b".1"]["about"]


def lookup(world: GuardWorld, who: str) -> Lookup:
    """The key of somebody."""
    return world.vault.pepper(TENANT).lookup(TENANT, SubjectId(who))


async def test_a_copy_of_ones_data_has_what_law_keeps(tmp_path: Path) -> None:
    """With purpose, law and the day until which it is kept."""
    world = await erased(tmp_path)
    legs, about = await answer(world, "access-01", "bob")
    assert [leg["call"] for leg in legs] == ["a10", "a50", "a70"]
    assert {tuple(leg["purposes"]) for leg in legs} == {("billing",)}
    assert {leg["subject"] for leg in legs} == {"bob"}
    last = max(leg["kept_until"] for leg in legs)
    assert about["kept_by_law"] == [{"basis": "legal_duty", "hold": None, "purpose": "billing", "until": last}]
    assert world.case("access-01").known is True


async def test_nobody_elses_copy_has_it(tmp_path: Path) -> None:
    """Of six people in four partitions two at least have their copies under one hold."""
    world = await GuardWorld(tmp_path).start()
    for number in range(6):
        await world.call(f"c{number}", f"host-{number}", "guest", days_ago=2)
    await world.run()
    await world.ask("erase-001", "erase", *(f"host-{number}" for number in range(6)))
    await world.run()
    assert len(world.held()) == 6
    for number in range(6):
        legs, _ = await answer(world, f"access-0{number}", f"host-{number}")
        assert [(leg["call"], leg["subject"]) for leg in legs] == [(f"c{number}", f"host-{number}")]
    legs, about = await answer(world, "access-eve", "eve")
    assert (legs, about["kept_by_law"]) == ([], [])
    assert world.case("access-eve").known is False


async def test_who_has_returned_is_given_both_and_each_once(tmp_path: Path) -> None:
    world = await erased(tmp_path)
    await world.call("b1", "bob", "alice", days_ago=0.01)
    await world.run()
    await world.ask("erase-002", "erase", "bob")
    await world.run()
    world.clock.at += timedelta(days=1)
    await world.call("b2", "bob", "alice", days_ago=0.01)
    await world.run()
    legs, _ = await answer(world, "access-01", "bob")
    assert [leg["call"] for leg in legs] == ["a10", "a50", "a70", "b1", "b2"]
    asked = [
        partition
        for (topic, partition), lane in world.log.records.items()
        for record in lane
        if topic == "privacy.decisions" and (record.key or b"")[23:].decode() in world.case("access-01").decisions
    ]
    assert asked
    assert len(asked) == len(set(asked)), "each partition once"
    await world.restart(rebuild=True)
    legs, _ = await answer(world, "access-02", "alice", "bob")
    assert [leg["call"] for leg in legs if leg["subject"] == "bob"] == ["a10", "a50", "a70", "b1", "b2"]


async def test_a_secret_hold_is_in_none_of_it(tmp_path: Path) -> None:
    world = await GuardWorld(tmp_path).start()
    await world.call("a1", "alice", "bob", outcome="missed")
    await world.run()
    await world.hold("hold-0001", "claim-17", "alice", secret=True)
    await world.run()
    await world.ask("erase-001", "erase", "alice")
    await world.run()
    assert len(world.held()) == 1
    legs, about = await answer(world, "access-01", "alice")
    assert (legs, about["kept_by_law"], world.case("access-01").known) == ([], [], False)
    assert await KeptOf(world.ring(), world.clock).of([lookup(world, "alice")]) == ()


async def test_a_correction_reaches_what_law_keeps(tmp_path: Path) -> None:
    """The copy that says it wrongly is replaced under its own key; it is told once it is done."""
    world = await erased(tmp_path)
    await world.ask("rectify-1", "rectify", "bob", facts={"call_id": "a50", "role": "callee"})
    await world.run()
    case = world.case("rectify-1")
    assert (case.state, sum(case.legs.values()), "rewritten" in case.stages) == ("observing", 1, True)
    legs, _ = await answer(world, "access-01", "bob")
    assert {leg["call"]: leg["role"] for leg in legs} == {"a10": "host", "a50": "callee", "a70": "host"}
    assert len(world.held()) == 3
    await world.ask("rectify-2", "rectify", "bob", facts={"call_id": "a99", "role": "callee"})
    await world.run()
    assert (world.case("rectify-2").state, world.case("rectify-2").waits_for) == ("waiting", "officer")


@pytest.mark.parametrize("after", [False, True])
async def test_a_keeper_that_dies_corrects_all_the_same(tmp_path: Path, *, after: bool) -> None:
    at, more = 0, True
    while more:
        at += EACH_WRITE
        world = await erased(tmp_path / str(at))
        await world.ask("rectify-1", "rectify", "bob", facts={"call_id": "a50", "role": "callee"})
        more = await world.run_with_crashes(at, after=after, rebuild=bool(at % 2))
        world.fuse.at = -1
        legs, _ = await answer(world, "access-01", "bob")
        assert {leg["call"]: leg["role"] for leg in legs} == {"a10": "host", "a50": "callee", "a70": "host"}
    assert at > 5


async def test_who_restricts_what_law_keeps_has_it_passed_over(tmp_path: Path) -> None:
    """At once, for every reader, until it ends (Art. 18(2))."""
    world = await erased(tmp_path)
    assert len(await plain(world)) == 3
    await world.ask("restrict1", "restrict", "bob")
    await world.run()
    assert (world.case("restrict1").state, await plain(world)) == ("closed", {})
    await world.ask("lift-0001", "lift", "bob")
    await world.run()
    assert (world.case("lift-0001").state, len(await plain(world))) == ("closed", 3)


@pytest.mark.parametrize("anew", [False, True])
async def test_a_table_that_follows_loses_what_is_restricted_and_has_it_again(tmp_path: Path, *, anew: bool) -> None:
    """Also where its process started anew and has to learn whose the copies are."""
    world = await erased(tmp_path)
    job = Downstream(world, "billing").start()
    try:
        await job.until_true()
        assert len(job.table.rows) == 3
        if anew:
            await job.ends()
            job.start()
        for jti, kind, left in (("restrict1", "restrict", 0), ("lift-0001", "lift", 3)):
            await world.ask(jti, kind, "bob")
            await world.run()
            async with asyncio.timeout(PATIENCE_S):
                await job.until_true()
            assert len(job.table.rows) == left
    finally:
        await job.ends()


async def test_a_table_that_stood_still_loses_what_was_restricted_meanwhile(tmp_path: Path) -> None:
    """Its process learns whose the copies are that it has shown before it was started anew."""
    world = await erased(tmp_path)
    job = Downstream(world, "billing").start()
    try:
        await job.until_true()
        assert len(job.table.rows) == 3
        await job.ends()
        await world.ask("restrict1", "restrict", "bob")
        await world.run()
        job.start()
        async with asyncio.timeout(PATIENCE_S):
            await job.until_true()
        assert len(job.table.rows) == 0
    finally:
        await job.ends()


async def test_whose_entry_cannot_be_used_is_shown_to_no_reader(tmp_path: Path) -> None:
    """Whether they have restricted it is not known."""
    world = await erased(tmp_path)
    place = person_key(TENANT, lookup(world, "bob"))
    before = world.keystore.entries[place]
    world.keystore.entries[place] = before[:-1] + bytes([before[-1] ^ 1])
    assert await plain(world) == {}
    world.keystore.entries[place] = before
    assert len(await plain(world)) == 3


async def test_a_note_that_cannot_be_used_lets_nothing_be_said(tmp_path: Path) -> None:
    """What is kept of the person is not known: their requests wait."""
    world = await erased(tmp_path)
    place = kept_key(TENANT, lookup(world, "bob"))
    before = world.keystore.entries[place]
    world.keystore.entries[place] = before[:-1] + bytes([before[-1] ^ 1])
    await world.ask("access-01", "access", "bob", reply_key=reply_key(world))
    await world.run()
    assert world.case("access-01").state == "enforcing"
    world.keystore.entries[place] = before
    world.desk._waiting._pauses.at_once()
    await world.run()
    assert world.case("access-01").state == "closed"


async def test_an_erasure_asked_for_again_says_what_is_kept(tmp_path: Path) -> None:
    world = await erased(tmp_path)
    await world.ask("erase-002", "erase", "bob")
    await world.run()
    assert world.case("erase-002").kept == ({"basis": "legal_duty"},)
    assert world.receipts("erase-002")[-1]["kept"] == [{"basis": "legal_duty"}]
    assert len(world.held()) == 3


@pytest.mark.parametrize("after", [False, True])
async def test_it_is_noted_before_the_key_is_gone(tmp_path: Path, *, after: bool) -> None:
    """A keeper that dies at any write of the erasure leaves nobody whose copies lead nowhere."""
    at, more = 0, True
    while more:
        at += EACH_WRITE
        world = await GuardWorld(tmp_path / str(at)).start()
        await world.call("a1", "bob", "alice")
        await world.run()
        await world.ask("erase-001", "erase", "bob")
        more = await world.run_with_crashes(at, after=after, rebuild=False)
        found = await KeptOf(world.ring(), world.clock).of([lookup(world, "bob")])
        assert [each.copy.purpose for each in found] == [2]
        assert len(world.held()) == 1
    assert at > 8


async def test_the_walk_keeps_the_note_as_long_as_the_copies(tmp_path: Path) -> None:
    """Under each new epoch, also when nothing else is known of the person any more; then it goes."""
    world = await erased(tmp_path)
    place, bob = kept_key(TENANT, lookup(world, "bob")), [lookup(world, "bob")]
    before = world.keystore.entries[place]

    async def unfinished() -> set[str]:
        return set()

    def walk() -> Walk:
        periods = Periods(keep_days=6 * 372, late_days=35, epoch_days=7, window_days=14)
        return Walk(world.ring(), world.clock, periods, unfinished)

    world.clock.at += timedelta(days=300)
    await walk().run({})
    assert world.keystore.entries[place] != before, "under the present epoch"
    assert len(await KeptOf(world.ring(), world.clock).of(bob)) >= 1
    assert (await walk().looked()).states["kept"] == 1
    world.clock.at += timedelta(days=6 * 366)
    await walk().run({})
    assert place not in world.keystore.entries


@pytest.mark.parametrize("why", ["an earlier release made them", "a restored keystore has forgotten them"])
async def test_copies_of_which_nothing_is_noted_are_noted(tmp_path: Path, why: str) -> None:
    """By the keeper, once: else nobody would find them for the person."""
    world = await erased(tmp_path)
    place, noted = kept_key(TENANT, lookup(world, "bob")), [noted_key(number) for number in range(4)]
    before = await KeptOf(world.ring(), world.clock).of([lookup(world, "bob")])
    del world.keystore.entries[place]
    for key in noted:
        if why.startswith("an earlier"):
            world.keystore.entries.pop(key, None)
        else:
            world.keystore.entries[key] = b"another run"
    world.clock.at += timedelta(hours=1)
    for _ in range(12):  # a portion in each turn
        await world.step("keeper")
    assert await KeptOf(world.ring(), world.clock).of([lookup(world, "bob")]) == before
    assert all(key in world.keystore.entries for key in noted)
    legs, _ = await answer(world, "access-01", "bob")
    assert [leg["call"] for leg in legs] == ["a10", "a50", "a70"]


def test_the_later_day_counts() -> None:
    first = KeptCopies().with_copies([KeptCopy(partition=1, purpose=2, until="2030-01-01")])
    both = first.with_copies(
        [KeptCopy(partition=1, purpose=2, until="2029-01-01"), KeptCopy(partition=0, purpose=2, until="2031-01-01")]
    )
    assert [(each.partition, each.until) for each in both.copies] == [(0, "2031-01-01"), (1, "2030-01-01")]
    assert both.with_copies(both.copies) == both


# --- what the person is told ------------------------------------------------------------------------------------------

BY_LAW = """
[version.tenant.iocom.purposes.billing]
number = 2
basis = "legal_duty"
keep = "P6Y"
survives_erasure = true
why = "Invoices, as tax law demands"
"""


async def told_of(folder: Path, who: str) -> dict[str, Words]:
    """The notices of an erasure, by addressee."""
    before = "[version.tenant.iocom.requesters.backend-1]"
    world = await DeskWorld(folder, POLICY.replace(before, BY_LAW + before, 1)).start()
    await world.meet(who)
    await world.ask("erase-001", who, type="erase")
    return {each.to: world.words(each) for each in world.notices() if each.kind == "erased"}


async def test_the_notice_of_an_erasure_names_what_is_kept_why_until_when_and_the_authority(tmp_path: Path) -> None:
    """Art. 12(4): the part of the request that is not followed has its reasons, and where to complain."""
    told = await told_of(tmp_path, "bob@example.org")
    person = told["person"]
    assert person.kept == (KeptFor(purpose="billing", why="Invoices, as tax law demands", until="2032-11-25"),)
    assert person.remedies is not None
    assert person.remedies.authority
    assert isinstance(person.text, str)
    for text in (
        "but for what follows",
        "Invoices, as tax law demands (legal duty)",
        "25 November 2032 at the latest",
        "supervisory authority",
    ):
        assert text in person.text
    assert (told["invoicing"].kept, told["invoicing"].remedies) == (msgspec.UNSET, None), "recipients need not know"


async def test_where_no_law_keeps_anything_the_notice_says_nothing_of_it(tmp_path: Path) -> None:
    world = await DeskWorld(tmp_path).start()
    await world.ask("erase-001", CANARY, type="erase")
    (person,) = [world.words(each) for each in world.notices() if each.to == "person"]
    assert (person.kept, person.remedies) == (msgspec.UNSET, None)
    assert "but for what follows" not in str(person.text)


# --- held by an order that came later -------------------------------------------------------------------------------


async def held(world: GuardWorld, jti: str = "hold-0001", name: str = "claim-17", **more: Any) -> None:
    """An officer orders a hold on bob, who is erased."""
    await world.hold(jti, name, "bob", **more)
    await world.run()


async def test_a_hold_on_somebody_erased_takes_in_what_law_keeps(tmp_path: Path) -> None:
    """Art. 17(3)(e): it stays beyond the law's period while the hold stands; then goes, but for what law keeps."""
    world = await erased(tmp_path)
    await held(world)
    case = world.case("hold-0001")
    assert (case.state, case.known, sum(case.legs.values()), "copied" in case.stages) == ("closed", True, 3, True)
    assert len(world.held()) == 6
    await world.restart(rebuild=True)
    await world.run()
    assert len((await answer(world, "access-01", "bob"))[0]) == 3
    world.clock.at += timedelta(days=7 * 366)
    await world.run()
    await world.run()
    assert len(world.held()) == 3, "the law's time is over"
    legs, about = await answer(world, "access-02", "bob")
    assert [leg["call"] for leg in legs] == ["a10", "a50", "a70"]
    assert about["kept_by_law"] == [{"basis": "legal_claims", "hold": "claim-17"}]
    await world.release("release-1", "claim-17")
    await world.run()
    assert world.held() == {}


async def test_a_release_leaves_what_law_keeps(tmp_path: Path) -> None:
    world = await erased(tmp_path)
    before = world.held()
    first = (world.clock.at - timedelta(days=60)).date().isoformat()
    await held(world, range={"from": first})
    assert len(world.held()) == 5, "two are of these days"
    await world.release("release-1", "claim-17")
    await world.run()
    assert (world.case("release-1").state, world.held()) == ("closed", before)
    assert len((await answer(world, "access-01", "bob"))[0]) == 3


@pytest.mark.parametrize("secret", [False, True])
async def test_what_law_kept_is_disclosed_to_whom_it_is_held_for(tmp_path: Path, *, secret: bool) -> None:
    """And to nobody else; of what is held in secret neither the person nor another authority learns."""
    from test_disclosures import ask, nothing  # noqa: PLC0415

    world = await GuardWorld(tmp_path, POLICY_OF_TWO).start()
    for age in (10, 50):
        await world.call(f"a{age}", "bob", "alice", days_ago=age)
    await world.run()
    await world.ask("erase-001", "erase", "bob")
    await world.run()
    await ask(world, "disclose0")
    await nothing(world, "disclose0")
    await held(world, secret=secret)
    legs, about = await answer(world, "access-01", "bob")
    assert (len(legs), len(about["kept_by_law"])) == (2, 1 if secret else 2)
    await ask(world, "disclose1", authority="Police")
    await nothing(world, "disclose1")
    if secret:
        await ask(world, "disclose2")
        await nothing(world, "disclose2")
    named: dict[str, Any] = {"hold": {"id": "claim-17"}, "notify": "when_lifted", "review_at": "2027-02-01T00:00:00Z"}
    await ask(world, "disclose3", **(named if secret else {}))
    await world.ask("yes-00003", "approve", key="officer-2", case=world.id_of("disclose3"))
    await world.run()
    case = world.case("disclose3")
    assert (case.state, sum(case.legs.values()), case.secret) == ("closed", 2, secret)


async def test_of_somebody_else_nothing_is_held(tmp_path: Path) -> None:
    world = await GuardWorld(tmp_path).start()
    for number in range(6):
        await world.call(f"c{number}", f"host-{number}", "guest", days_ago=2)
    await world.run()
    await world.ask("erase-001", "erase", *(f"host-{number}" for number in range(6)))
    await world.run()
    await world.hold("hold-0001", "claim-17", "host-1", "host-4")
    await world.run()
    assert (len(world.held()), sum(world.case("hold-0001").legs.values())) == (8, 2)
    await world.hold("hold-0002", "claim-18", "nobody")
    await world.run()
    assert (len(world.held()), world.case("hold-0002").known) == (8, False)


async def test_wherever_a_worker_dies_what_law_keeps_is_held_and_let_go(tmp_path: Path) -> None:
    at, more = 0, True
    while more:
        at += EACH_WRITE
        world = await erased(tmp_path / str(at))
        await world.hold("hold-0001", "claim-17", "bob")
        more = await world.run_with_crashes(at, after=at % 2 == 0, rebuild=at % 4 > 1)
        world.fuse.at = -1
        assert len(world.held()) == 6, at
        assert (world.case("hold-0001").state, sum(world.case("hold-0001").legs.values())) == ("closed", 3), at
        await world.release("release-1", "claim-17")
        await world.run()
        assert (len(world.held()), world.dead()) == (3, []), at
    assert at > 5
