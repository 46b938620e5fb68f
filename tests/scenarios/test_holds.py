"""Holds, releases and what purposes keep by law, on the fakes: every conflict, and a crash at every single write."""

import json
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from downstream import readings
from guard_world import PARTITIONS, TENANT, GuardWorld
from sizes import EACH_WRITE

from calllog_guard.adapters.memory.fakes import MemoryLogReader
from calllog_guard.core.calls.view import Line, Put
from calllog_guard.core.crypto.held_envelope import parse_held
from calllog_guard.core.crypto.jose import open_sealed
from calllog_guard.core.crypto.leg_envelope import open_leg
from calllog_guard.core.decisions.hold import hold_id, kept_id
from calllog_guard.core.identifiers import HoldId, Pseudonym, SubjectId, b64
from calllog_guard.core.records import Output
from calllog_guard.workers.reader.once import snapshot

CLAIM = hold_id(TENANT, "claim-17")


@pytest.fixture
async def world(tmp_path: Path) -> GuardWorld:
    """Two people with three calls each: ten days, fifty days and seventy days ago."""
    return await filled(tmp_path)


async def filled(folder: Path) -> GuardWorld:
    """See `world`."""
    made = await GuardWorld(folder).start()
    for days in (10, 50, 70):
        await made.call(f"a{days}", "bob", "alice", days_ago=days)
    await made.run()
    assert len(made.legs()) == 6
    return made


async def opened(world: GuardWorld, hold: HoldId) -> list[bytes]:
    """The plaintexts of a hold's copies; nothing when its secret is destroyed."""
    secret = await world.safe().secret(hold)
    copies = [value for key, value in world.held().items() if key.startswith(hold.encode())]
    return [open_leg(value, secret.copy_key()) for value in copies] if secret else []


async def test_a_hold_copies_what_there_is_and_what_comes(world: GuardWorld) -> None:
    await world.hold("hold-0001", "claim-17", "alice")
    await world.run()
    assert (world.case("hold-0001").state, len(await opened(world, CLAIM))) == ("closed", 3)
    await world.call("a1", "bob", "alice")
    await world.run()
    assert len(await opened(world, CLAIM)) == 4
    assert all(b'"subject":"alice"' in text for text in await opened(world, CLAIM))
    assert [each["stage"] for each in world.receipts("hold-0001")] == ["accepted", "copied"]


async def test_a_range_holds_those_days_alone(world: GuardWorld) -> None:
    days = [(world.clock.at - timedelta(days=each)).date().isoformat() for each in (60, 40)]
    await world.hold("hold-0001", "claim-17", "alice", range={"from": days[0], "to": days[1]})
    await world.run()
    await world.call("b45", "bob", "alice", days_ago=45)
    await world.call("b5", "bob", "alice", days_ago=5)
    await world.run()
    assert len(await opened(world, CLAIM)) == 2


async def test_held_then_erased_the_copies_stay_and_everything_else_goes(world: GuardWorld) -> None:
    await world.hold("hold-0001", "claim-17", "alice")
    await world.ask("erase-001", "erase", "alice")
    await world.run()
    assert len(world.legs()) == 3
    assert len(await opened(world, CLAIM)) == 3
    case = world.case("erase-001")
    assert list(case.stages) == ["accepted", "fenced", "destroyed", "tombstoned"]
    assert case.kept == ({"basis": "legal_claims", "hold": "claim-17"},)


async def test_a_hold_that_arrives_while_an_erasure_runs_is_before_it(world: GuardWorld) -> None:
    await world.ask("erase-001", "erase", "alice")
    await world.step("desk")
    await world.hold("hold-0001", "claim-17", "alice")
    await world.step("desk")
    await world.run()
    assert len(await opened(world, CLAIM)) == 3
    assert len(world.legs()) == 3
    assert "destroyed" in world.case("erase-001").stages
    assert world.case("hold-0001").state == "closed"


async def test_a_hold_after_an_erasure_is_done_has_nothing_to_copy_and_covers_who_returns(world: GuardWorld) -> None:
    await world.ask("erase-001", "erase", "alice")
    await world.run()
    await world.hold("hold-0001", "claim-17", "alice")
    await world.run()
    assert (world.case("hold-0001").state, await opened(world, CLAIM)) == ("closed", [])
    assert len([key for key in world.keystore.entries if b":key:" in key]) == 1, "bob's: nobody is minted for a hold"
    world.clock.at += timedelta(days=3)
    await world.call("new", "alice", days_ago=1)
    await world.run()
    assert len(await opened(world, CLAIM)) == 1


@pytest.mark.parametrize("at_once", [True, False])
async def test_who_returns_is_under_the_same_hold(world: GuardWorld, *, at_once: bool) -> None:
    await world.hold("hold-0001", "claim-17", "alice")
    await world.run()
    await world.ask("erase-001", "erase", "alice")
    await world.run()
    world.clock.at += timedelta(days=3)
    await world.call("new", "alice", days_ago=1)
    if at_once:  # the erasure is asked for before the desk has looked for who has returned
        await world.step("protector")
        world.desk._next_holds = world.clock.at + timedelta(days=1)
        await world.ask("erase-002", "erase", "alice")
    await world.run()
    assert len(await opened(world, CLAIM)) == 4
    assert len(world.legs()) == (3 if at_once else 4)


async def test_a_ranged_erasure_and_an_objection_leave_the_copies(world: GuardWorld) -> None:
    await world.hold("hold-0001", "claim-17", "alice")
    days = [(world.clock.at - timedelta(days=each)).date().isoformat() for each in (80, 40)]
    await world.ask("range-001", "erase", "alice", range={"from": days[0], "to": days[1]})
    await world.run()
    assert (len(world.legs()), len(await opened(world, CLAIM))) == (4, 3)
    await world.call("late60", "bob", "alice", days_ago=60)
    await world.run()
    assert (len(world.legs()), len(await opened(world, CLAIM))) == (5, 4), "bob's leg; alice's is held and goes"


async def test_a_leg_that_lapses_stays_as_a_copy(world: GuardWorld) -> None:
    await world.hold("hold-0001", "claim-17", "alice")
    await world.step("desk")
    world.clock.at += timedelta(days=30)
    await world.keeper.idle()
    assert len(world.legs()) == 6, "marked: nothing of hers is swept before it is copied"
    world.clock.at += timedelta(hours=1)
    await world.run()
    assert (len(world.legs()), len(await opened(world, CLAIM))) == (5, 3), (
        "alice's oldest leg has lapsed; bob's is billed"
    )


async def test_a_call_that_has_lapsed_when_it_comes_is_copied_all_the_same(world: GuardWorld) -> None:
    await world.hold("hold-0001", "claim-17", "alice")
    await world.run()
    await world.call("late100", "bob", "alice", days_ago=100, outcome="missed")
    await world.run()
    world.clock.at += timedelta(hours=1)
    await world.run()
    assert (len(world.legs()), len(await opened(world, CLAIM))) == (6, 4)


async def test_two_holds_and_one_release(world: GuardWorld) -> None:
    other = hold_id(TENANT, "claim-18")
    await world.hold("hold-0001", "claim-17", "alice", "bob")
    await world.hold("hold-0002", "claim-18", "alice")
    await world.run()
    assert (len(await opened(world, CLAIM)), len(await opened(world, other))) == (6, 3)
    await world.release("release-1", "claim-17")
    await world.run()
    assert (world.held_of(CLAIM), len(await opened(world, other))) == ([], 3)
    assert (await world.safe().read([CLAIM]))[CLAIM].secret is None
    case = world.case("release-1")
    assert (case.state, list(case.stages), sum(case.legs.values())) == (
        "closed",
        ["accepted", "decided", "destroyed", "tombstoned"],
        6,
    )
    assert [each["stage"] for each in world.receipts("release-1")][-1] == "tombstoned"
    lookups = [world.vault.pepper(TENANT).lookup(TENANT, SubjectId(each)) for each in ("alice", "bob")]
    view = await world.ring().view(lookups)
    persons = [world.ring().person(each, view.raw[each]) for each in lookups]
    assert [person and person.held for person in persons] == [True, False]
    await world.call("later", "bob", "alice")
    await world.run()
    assert (world.held_of(CLAIM), len(await opened(world, other))) == ([], 4)


async def test_a_release_while_an_erasure_waits_for_that_hold(world: GuardWorld) -> None:
    await world.hold("hold-0001", "claim-17", "alice")
    await world.ask("erase-001", "erase", "alice")
    await world.release("release-1", "claim-17")
    await world.run()
    assert (world.held_of(CLAIM), len(world.legs())) == ([], 3)
    assert "tombstoned" in world.case("erase-001").stages
    assert world.case("release-1").state == world.case("hold-0001").state == "closed"


async def test_an_erased_persons_hold_can_be_released(world: GuardWorld) -> None:
    await world.hold("hold-0001", "claim-17", "alice")
    await world.ask("erase-001", "erase", "alice")
    await world.run()
    await world.release("release-1", "claim-17")
    await world.run()
    assert world.held_of(CLAIM) == []
    assert world.case("release-1").state == "closed"


async def test_copies_that_come_late_go_on_sight(world: GuardWorld) -> None:
    await world.hold("hold-0001", "claim-17", "alice")
    await world.run()
    copies = [record for lane in list(world.log.records.values()) for record in lane if record.topic == "calllog.held"]
    await world.release("release-1", "claim-17")
    await world.run()
    await world.log.write([Output(each.topic, each.partition, each.key, each.value) for each in copies])
    assert len(world.held_of(CLAIM)) == 3
    world.clock.at += timedelta(hours=1)
    await world.run()
    assert world.held_of(CLAIM) == []


async def test_a_copy_whose_hold_is_not_known_is_left_alone(world: GuardWorld) -> None:
    """A keystore from a backup may have forgotten the hold; a younger backup may bring it back."""
    from calllog_guard.core.crypto.held_envelope import hold_key  # noqa: PLC0415

    await world.hold("hold-0001", "claim-17", "alice")
    await world.run()
    await world.keystore.delete([hold_key(TENANT, CLAIM)])
    await world.restart(rebuild=True)
    world.clock.at += timedelta(days=1)
    await world.run()
    assert len(world.held_of(CLAIM)) == 3


async def test_who_may_not_order_or_release_is_refused(world: GuardWorld) -> None:
    await world.release("release-0", "claim-17")
    await world.hold("hold-0001", "claim-17", "alice")
    await world.hold("hold-0002", "claim-17", "bob")
    await world.ask(
        "hold-0003",
        "hold",
        "bob",
        hold={"id": "x", "authority": "a", "basis": "b", "review_at": "2027-01-01T00:00:00Z"},
    )
    await world.ask("release-1", "release", "bob", key="officer-1", order=True, hold={"id": "claim-17"})
    await world.release("release-2", "claim-17")
    await world.release("release-3", "claim-17")
    await world.hold("hold-0004", "claim-17", "alice")
    await world.run()
    assert world.dead() == ["wrong_role"]
    assert world.refused() == ["unknown_hold", "known_hold", "not_of_this_hold", "unknown_hold", "known_hold"]


# --- what the law keeps -----------------------------------------------------------------------------------------------


def months(world: GuardWorld, *days: int) -> list[str]:
    """The months of calls so many days ago."""
    return [(world.clock.at - timedelta(days=each)).date().isoformat()[:7] for each in days]


async def test_what_billing_keeps_by_law_is_copied_before_the_erasure(world: GuardWorld) -> None:
    await world.ask("erase-001", "erase", "bob")
    await world.run()
    copies = world.held()
    assert (len(world.legs()), len(copies)) == (3, 3)
    headers = [parse_held(value) for value in copies.values()]
    assert {header.pur for header in headers} == {0b10}, "for that purpose alone"
    lanes = {p for (topic, p), lane in world.log.records.items() if topic == "calllog.held" and lane}
    (partition,) = lanes
    assert {header.kid for header in headers} == {
        kept_id(TENANT, 2, each, partition) for each in months(world, 10, 50, 70)
    }
    texts = [text for header in headers for text in await opened(world, HoldId(header.kid))]
    assert all(b'"subject":"bob"' in text for text in texts)
    assert [each.get("kept") for each in world.receipts("erase-001")][-1] == [{"basis": "legal_duty"}]


async def test_nothing_is_kept_of_who_has_no_such_purpose(world: GuardWorld) -> None:
    await world.ask("erase-001", "erase", "alice")
    await world.run()
    assert (world.held(), world.case("erase-001").kept) == ({}, ())
    assert {tuple(each["kept"]) for each in world.receipts("erase-001")} == {()}


async def test_what_the_law_kept_goes_when_the_purpose_lapses_and_the_months_secret_with_it(world: GuardWorld) -> None:
    await world.ask("erase-001", "erase", "bob")
    await world.run()
    names = [HoldId(parse_held(value).kid) for value in world.held().values()]
    world.clock.at += timedelta(days=6 * 365 - 20)
    await world.run()
    assert len(world.held()) == 1, "seventy and fifty days ago have lapsed"
    assert len(await world.safe().read(names)) == 1
    world.clock.at += timedelta(days=60)
    await world.run()
    assert world.held() == {}
    assert await world.safe().read(names) == {}


async def test_two_people_of_one_month_share_its_secret_until_the_last_copy_goes(world: GuardWorld) -> None:
    for n in range(12):
        await world.call(f"x{n}", f"host{n}", days_ago=10 + n % 2)
    await world.run()
    await world.ask("erase-001", "erase", *(f"host{n}" for n in range(12)))
    await world.run()
    assert len(world.held()) == 12
    names = {HoldId(parse_held(value).kid) for value in world.held().values()}
    assert len(names) <= 4
    world.clock.at = world.clock.at.replace(year=2032, day=14)
    await world.run()
    left = world.held()
    assert len(left) == 6
    assert {HoldId(parse_held(value).kid) for value in left.values()} <= set(await world.safe().read(names))


# --- crashes ----------------------------------------------------------------------------------------------------------


async def marked(world: GuardWorld) -> set[Pseudonym]:
    """Whose key still waits for a hold's copies."""
    names = [key.rpartition(b":")[2].decode() for key in world.keystore.entries if b":key:" in key]
    return await world.ring().marked(list(map(Pseudonym, names)))


async def held_and_erased(world: GuardWorld) -> None:
    await world.hold("hold-0001", "claim-17", "alice")
    await world.ask("erase-001", "erase", "alice")


async def erased_and_held(world: GuardWorld) -> None:
    await world.ask("erase-001", "erase", "alice")
    await world.step("desk")
    await world.hold("hold-0001", "claim-17", "alice")


async def erased_by_law(world: GuardWorld) -> None:
    await world.ask("erase-001", "erase", "bob")


async def ordered_and_released(world: GuardWorld) -> None:
    await world.hold("hold-0001", "claim-17", "alice")
    await world.run()
    await world.release("release-1", "claim-17")


async def _held(world: GuardWorld) -> None:
    assert len(await opened(world, CLAIM)) == 3
    assert len(world.legs()) == 3
    case = world.case("hold-0001")
    assert (case.state, case.decided) == ("closed", True)
    assert {"fenced", "tombstoned"} <= set(world.case("erase-001").stages)


async def _kept(world: GuardWorld) -> None:
    assert (len(world.legs()), len(world.held())) == (3, 3)
    headers = [parse_held(value) for value in world.held().values()]
    assert all([await opened(world, HoldId(header.kid)) for header in headers])
    assert world.case("erase-001").kept == ({"basis": "legal_duty"},)


async def _released(world: GuardWorld) -> None:
    assert world.held_of(CLAIM) == []
    assert (await world.safe().read([CLAIM]))[CLAIM].secret is None
    case = world.case("release-1")
    assert (case.state, case.decided) == ("closed", True)
    assert len(world.legs()) == 6


Story = Callable[[GuardWorld], Awaitable[None]]
STORIES: list[tuple[Story, Story]] = [
    (held_and_erased, _held),
    (erased_and_held, _held),
    (erased_by_law, _kept),
    (ordered_and_released, _released),
]


@pytest.mark.parametrize(("story", "ending"), STORIES, ids=[story.__name__ for story, _ in STORIES])
@pytest.mark.parametrize("rebuild", [False, True], ids=["resumed", "rebuilt"])
@pytest.mark.slow
async def test_a_crash_at_any_write_has_one_end(tmp_path: Path, story: Story, ending: Story, *, rebuild: bool) -> None:
    """Before and after every write to the log and to the keystore, by whichever worker."""
    at, blown = 0, True
    while blown:
        at += EACH_WRITE
        for after in (False, True):
            world = await filled(tmp_path / f"{at}{after}")
            await story(world)
            blown = await world.run_with_crashes(at, after=after, rebuild=rebuild)
            await ending(world)
            assert world.dead() == []
            assert not await marked(world)
    assert at > 10


async def test_the_case_of_a_hold_that_stands_is_kept_for_as_long_as_it_stands(tmp_path: Path) -> None:
    """The desk knows a hold by its case: forgotten after three years, who returns would be held no more."""
    world = await filled(tmp_path)
    await world.hold("hold-0001", "h1", "alice")
    await world.run()
    later, keep = world.clock.at + timedelta(days=4000), timedelta(days=1095)
    assert list(world.book.over(later, keep)) == []
    await world.release("free-0001", "h1")
    await world.run()
    assert {case.type for case in world.book.over(later, keep)} == {"hold", "release"}


# --- readers ----------------------------------------------------------------------------------------------------------


async def lines(world: GuardWorld, purpose: str = "billing") -> tuple[dict[str, Line], Counter[str]]:
    """What a reader for a purpose gets, by token, and what was refused."""
    legs, kept = readings(world, purpose)
    batches = snapshot(legs, MemoryLogReader(world.log), range(PARTITIONS), lambda _: None, kept)
    found = [line for batch in [each async for each in batches] for line in batch]
    assert all(isinstance(line, Put) for line in found)
    by_token = {line.token: line for line in found if isinstance(line, Put)}
    assert len(by_token) == len(found), "no token twice"
    return dict(by_token), Counter({str(name): many for name, many in (legs.refused + kept.refused).items()})


async def test_a_billing_table_does_not_see_an_erasure(world: GuardWorld) -> None:
    before, _ = await lines(world)
    assert len(before) == 3
    await world.ask("erase-001", "erase", "bob")
    await world.run()
    assert (await lines(world))[0] == before
    world.clock.at = world.clock.at.replace(year=2032, month=12)
    assert len((await lines(world))[0]) < 3, "lapsed"


async def test_what_an_officer_ordered_is_no_readers_business_and_shows_in_no_count(world: GuardWorld) -> None:
    before = await lines(world)
    await world.hold("hold-0001", "claim-17", "bob", "alice", secret=True)
    await world.run()
    assert len(world.held()) == 6
    assert await lines(world) == before


# --- a person's own copy ----------------------------------------------------------------------------------------------


async def given(world: GuardWorld, jti: str, who: str) -> list[str]:
    """The calls of which a person gets a copy."""
    public = load_pem_public_key((world.folder / "operator-1.pub.pem").read_bytes())
    assert isinstance(public, X25519PublicKey)
    key = {"kty": "OKP", "crv": "X25519", "x": b64(public.public_bytes_raw()).decode()}
    await world.ask(jti, "access", who, reply_key=key)
    await world.run()
    name, pem = world.id_of(jti).encode(), (world.folder / "operator-1.pem").read_bytes()
    records = [record for record in world.log.records["privacy.exports", 0] if (record.key or b"").startswith(name)]
    parts = {record.key: json.loads(open_sealed(pem, (record.value or b"").decode())) for record in records}
    assert world.case(jti).state == "closed"
    ids = {world.reference(f"a{number}"): f"a{number}" for number in range(100)}
    return sorted(ids[leg["call"]] for part in parts.values() for leg in part["legs"])


async def test_a_persons_copy_has_what_is_held_unless_that_is_secret(world: GuardWorld) -> None:
    await world.hold("hold-0001", "claim-17", "alice")
    await world.hold("hold-0002", "claim-18", "bob", secret=True)
    await world.run()
    world.clock.at += timedelta(days=25)
    await world.run()
    assert len(world.legs()) == 5, "alice's oldest leg has lapsed and lies under the hold alone"
    assert await given(world, "access-01", "alice") == ["a10", "a50", "a70"]
    await world.ask("erase-001", "erase", "alice", "bob")
    await world.run()
    assert await given(world, "access-02", "alice") == ["a10", "a50", "a70"]
    assert await given(world, "access-03", "bob") == ["a10", "a50", "a70"], "what the law keeps, each once"
    await world.call("a1", "carol", "alice", days_ago=0)
    world.clock.at += timedelta(days=1)
    await world.call("a0", "carol", "alice", days_ago=0)
    await world.run()
    assert await given(world, "access-04", "alice") == ["a0", "a10", "a50", "a70"]
