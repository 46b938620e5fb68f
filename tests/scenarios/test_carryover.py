"""People are carried over to other rules of identity: found by them, whole, never certified gone before they are."""

from pathlib import Path
from typing import Any

import pytest
from carry_world import CarryWorld
from downstream import plain
from guard_world import PARTITIONS, TENANT, Crash
from sizes import EACH_WRITE
from test_crash_matrix import reply

from calllog_guard.core.crypto.entries import IDENTITY_KEY, Person, person_key
from calllog_guard.core.identifiers import Lookup
from calllog_guard.core.identity.rules import AS_WRITTEN, CASE, DEFAULT, LOWERCASE_EMAIL, narrower
from calllog_guard.errors import EntryUnreadableError, IdentityMovedError
from calllog_guard.metrics import Counters
from calllog_guard.workers.keys.identity_change import owed
from calllog_guard.workers.keys.people.homes import Homes, stricter
from calllog_guard.workers.keys.people.naming import Naming
from calllog_guard.workers.keys.people.view import pointer

MIXED, SMALL, OTHER = "Carol@Example.org", "carol@example.org", "CAROL@example.org"


@pytest.fixture
async def world(tmp_path: Path) -> CarryWorld:
    """A tenant of the first release, which tells people apart as they are written."""
    return await CarryWorld(tmp_path).start()  # type: ignore[return-value]


async def stored(world: CarryWorld, *people: str) -> None:
    """A call of each."""
    for number, who in enumerate(people):
        await world.call(f"c{number}", who, days_ago=3)
    await world.run()


async def test_whoever_was_stored_in_mixed_case_is_erased_under_any(world: CarryWorld) -> None:
    """An erasure was certified while the legs stayed open: the policy had begun to lower-case."""
    await stored(world, MIXED, "dave@example.org")
    carried = await world.carry()
    assert (carried.people, carried.led, carried.joined, carried.refused) == (2, 1, 0, 0)
    await world.ask("erase-0001", "erase", SMALL)
    await world.run()
    assert (len(world.legs()), world.case("erase-0001").known) == (1, True)
    assert world.receipts("erase-0001")[-1]["shredded"]


async def test_a_person_keeps_their_pseudonym_under_every_form(world: CarryWorld) -> None:
    """So that a repeated call replaces its leg, whatever form it comes in, and readers know them by the same name."""
    await stored(world, MIXED)
    before = world.people(), await plain(world)
    await world.carry()
    for who in (MIXED, SMALL, OTHER, f"mailto:{MIXED}"):
        await world.call("c0", who, days_ago=3)
        await world.run()
        assert (world.people(), {token: line.person for token, line in (await plain(world)).items()}) == (
            before[0],
            {token: line.person for token, line in before[1].items()},
        ), who
    assert len(world.legs()) == 1


async def test_two_people_who_are_one_are_reached_by_one_erasure(world: CarryWorld) -> None:
    await stored(world, MIXED, SMALL, OTHER, "dave@example.org")
    carried = await world.carry()
    assert carried.joined == 2
    await world.ask("erase-0001", "erase", OTHER)
    await world.run()
    case = world.case("erase-0001")
    assert (len(world.legs()), case.known, case.linked, len(case.decisions)) == (1, True, 2, 3)
    assert world.receipts("erase-0001")[-1]["linked"] == 2


async def test_two_people_who_are_one_get_one_answer(world: CarryWorld) -> None:
    await stored(world, MIXED, SMALL)
    await world.carry()
    await world.ask("access-001", "access", SMALL, reply_key=reply(world))
    await world.run()
    assert sum(world.case("access-001").legs.values()) == 2


@pytest.mark.parametrize("flags", [("restrict", {}), ("object", {"purposes": ["quality"]})])
@pytest.mark.parametrize("first", [MIXED, SMALL])
async def test_what_was_decided_about_one_holds_for_both(
    world: CarryWorld, flags: tuple[str, dict[str, Any]], first: str
) -> None:
    kind, more = flags
    await stored(world, MIXED, SMALL)
    await world.ask("asked-0001", kind, first, **more)
    await world.run()
    await world.carry()
    await world.run()
    ring, lookups = world.ring(), [await world.home(MIXED), await world.home(SMALL)]
    persons, _ = ring.persons(await ring.view(lookups))
    assert {(each.restricted, each.objected) for each in persons.values() if each} == {
        (kind == "restrict", 4 * (kind == "object"))
    }
    assert len(persons) == 2
    if kind == "object":  # what came by and what is stored: the purpose is taken from the other's legs, too
        masks = [facts.mask for index in world.indexes.values() for facts, _ in index.by_day()]
        assert all(not mask & 4 for mask in masks), masks


async def test_what_one_had_erased_is_removed_from_the_other_up_to_that_day(world: CarryWorld) -> None:
    """The certificate of then is made true; what came after it stays."""
    await world.call("old", MIXED, days_ago=9)
    await world.call("own", SMALL, days_ago=9)
    await world.run()
    world.clock.at = world.clock.at.replace(day=23)
    await world.ask("erase-0001", "erase", SMALL)
    await world.run()
    world.clock.at = world.clock.at.replace(day=28)
    await world.call("new", MIXED, days_ago=1)
    await world.run()
    assert len(world.legs()) == 2
    carried = await world.carry()
    assert (carried.joined, carried.erased) == (1, 1)
    await world.run()
    assert len(world.legs()) == 1
    await world.call("old", MIXED, days_ago=9)
    await world.run()
    assert len(world.legs()) == 1, "and it does not come back"


async def test_whoever_is_gone_is_kept_out_under_the_identifier_they_had(world: CarryWorld) -> None:
    """Nobody knows the identifiers of the gone: the former rules are asked as well."""
    await stored(world, MIXED)
    await world.ask("erase-0001", "erase", MIXED)
    await world.run()
    await world.carry()
    await world.call("c0", MIXED, days_ago=3)
    await world.run()
    assert not world.legs()
    await world.call("c0", SMALL, days_ago=3)
    await world.run()
    assert not world.legs(), "from then on under every form"


async def test_whoever_has_no_record_left_is_met_under_the_identifier_they_had(world: CarryWorld) -> None:
    await world.ask("asked-0001", "restrict", MIXED)
    await world.run()
    assert (await world.carry()).people == 0
    await world.call("c0", MIXED, days_ago=0.01)
    await world.run()
    assert await plain(world) == {}, "restricted still"
    await world.ask("erase-0001", "erase", SMALL)
    await world.run()
    assert not world.legs()


async def test_identifiers_that_the_rules_refuse_are_found_by_the_former_ones(world: CarryWorld) -> None:
    odd = "Carol <carol@example.org>"
    await stored(world, odd, SMALL)
    assert (await world.carry()).refused == 1
    await world.ask("erase-0001", "erase", odd)
    await world.run()
    assert (len(world.legs()), world.case("erase-0001").known) == (1, True)


def test_rules_that_tell_more_people_apart_are_refused() -> None:
    """Whoever was stored as one could not be told apart by anybody."""
    assert narrower((AS_WRITTEN,), DEFAULT) == narrower((AS_WRITTEN,), (LOWERCASE_EMAIL,)) == []
    assert narrower((LOWERCASE_EMAIL,), DEFAULT) == narrower(("blanks",), DEFAULT) == narrower(DEFAULT, DEFAULT) == []
    assert narrower((LOWERCASE_EMAIL,), ("blanks",)) == [CASE]
    assert narrower(DEFAULT, (AS_WRITTEN,)) == list(DEFAULT)
    assert narrower(DEFAULT, ("blanks", "marks")) == list(DEFAULT[2:])
    assert narrower((LOWERCASE_EMAIL,), (AS_WRITTEN,)) == [CASE]


async def test_a_lift_under_one_form_ends_what_stands_on_both(world: CarryWorld) -> None:
    await stored(world, MIXED, SMALL)
    await world.carry()
    await world.ask("asked-0001", "restrict", MIXED)
    await world.run()
    ring, lookups = world.ring(), [await world.home(MIXED), await world.home(SMALL)]
    for kind, wanted in (("", True), ("lift", False)):
        if kind:
            await world.ask("lifts-0001", kind, OTHER)
            await world.run()
        persons, _ = ring.persons(await ring.view(lookups))
        assert {each.restricted for each in persons.values() if each} == {wanted}


async def test_a_hold_over_one_is_over_both(world: CarryWorld) -> None:
    await stored(world, MIXED, SMALL)
    await world.hold("hold-00001", "claim-17", MIXED)
    await world.run()
    await world.carry()
    await world.run()
    world.clock.at = world.clock.at.replace(day=25)
    await world.run()
    await world.ask("erase-0001", "erase", SMALL)
    await world.run()
    assert not world.legs()
    assert len(world.held_of(world.case("hold-00001").hold or "")) == 2


async def test_copies_that_law_keeps_bear_the_name_that_their_person_had(world: CarryWorld) -> None:
    await stored(world, MIXED)
    before = {token: line.person for token, line in (await plain(world)).items()}
    await world.carry()
    await world.ask("erase-0001", "erase", OTHER)
    await world.run()
    assert not world.legs()
    assert {token: line.person for token, line in (await plain(world)).items()} == before != {}


async def test_requests_wait_until_everybody_is_carried_over(world: CarryWorld) -> None:
    """Else somebody would be told that nobody is known, and their legs were open."""
    await stored(world, MIXED)
    await world.know()
    await world.ask("erase-0001", "erase", SMALL)
    with pytest.raises(IdentityMovedError, match="tenant identity iocom"):
        await world.run()
    assert world.book.get("erase-0001") is None
    await world.carry()
    await world.run()
    assert not world.legs()
    assert world.case("erase-0001").known


async def test_a_keystore_from_before_is_carried_over_again_before_anything_is_decided(world: CarryWorld) -> None:
    """The mark is rolled back with what it marks."""
    await stored(world, MIXED)
    backup = dict(world.keystore.entries)
    await world.carry()
    world.keystore.entries = backup | {
        key: raw for key, raw in world.keystore.entries.items() if key.startswith(b"clg:~g")
    }
    await world.ask("erase-0001", "erase", SMALL)
    with pytest.raises(IdentityMovedError):
        await world.run()
    await world.carry()
    await world.run()
    assert not world.legs()


async def test_a_keystore_that_changed_meanwhile_is_not_marked(world: CarryWorld) -> None:
    await stored(world, MIXED)
    await world.know()
    world.clock.at = world.clock.at.replace(hour=12)
    over: Any = world.over()
    first = over._person

    async def restarted(*args: Any) -> None:
        await first(*args)
        world.keystore.run = b"another"
        await world.ring().guard.open_at_once(PARTITIONS)

    over._person = restarted
    with pytest.raises(IdentityMovedError, match="run it again"):
        await over.run()
    assert IDENTITY_KEY not in world.keystore.entries


async def test_a_unit_that_began_under_the_former_rules_is_done_again(world: CarryWorld) -> None:
    await world.call("c0", MIXED, days_ago=1)
    sealer: Any = world.protector._sealer
    first = sealer.parts

    def parts(*args: Any) -> Any:
        found = first(*args)
        world.vault.know(TENANT, DEFAULT, world.clock.now())
        return found

    sealer.parts = parts
    with pytest.raises(IdentityMovedError):
        await world.step("protector")
    sealer.parts = first
    await world.carry()
    await world.run()
    assert len(world.legs()) == 1
    assert await world.home(SMALL) == await world.home(MIXED)


async def test_an_installation_that_has_changed_its_policy_is_brought_together(tmp_path: Path) -> None:
    """As `tenant upgrade` does it: people were stored by both words of the policy."""
    world = await CarryWorld(tmp_path, (AS_WRITTEN,)).start()
    await stored(world, MIXED, SMALL)  # type: ignore[arg-type]
    assert (await world.carry((LOWERCASE_EMAIL,))).joined == 1  # type: ignore[attr-defined]
    await world.ask("erase-0001", "erase", OTHER)
    await world.run()
    assert not world.legs()


async def test_a_dry_run_counts_and_writes_nothing(world: CarryWorld) -> None:
    await stored(world, MIXED, OTHER, "dave@example.org", "Carol <carol@example.org>")
    before, ledger = dict(world.keystore.entries), world.log.calls
    carried = await world.carry(dry=True)
    assert (carried.people, carried.led, carried.joined, carried.refused) == (4, 1, 1, 1)
    assert (world.keystore.entries, world.log.calls) == (before, ledger)
    assert (await world.carry()).led == 1


@pytest.mark.slow
async def test_it_may_be_killed_at_every_write_and_started_again(tmp_path: Path) -> None:
    """With an erasure that waits for it: in the end everything of the person is gone, and nothing of anybody else."""
    for at in range(1, 80, EACH_WRITE):
        blown = False
        for after in (False, True):
            world: Any = await CarryWorld(tmp_path / f"{at}-{after}").start()
            await stored(world, MIXED, SMALL, OTHER, "dave@example.org")
            await world.ask("asked-0001", "object", MIXED, purposes=["quality"])
            await world.run()
            await world.ask("erase-0001", "erase", SMALL)
            world.fuse.at, world.fuse.after, world.fuse.count = at, after, 0
            try:
                await world.carry()
                await world.run()
            except Crash:
                blown = True
                await world.restart(rebuild=at % 2 == 0)
                await world.carry()
                await world.run()
            assert (len(world.legs()), len(world.people())) == (1, 1), (at, after)
            assert world.case("erase-0001").linked == 2
            assert await world.pseudonym("dave@example.org") in world.people()
        if not blown:
            return
    raise AssertionError("no end of the writes")


async def test_entries_that_lead_in_a_circle_are_told_and_followed_by_nobody(world: CarryWorld) -> None:
    await world.carry()
    ring, naming = world.ring(), Naming(TENANT, world.vault)
    one, other = naming.lookup("one"), naming.lookup("other")
    assert not await Homes(ring).lead(one, other), "nor to where nobody is"
    epoch = pointer(await ring.view([]))
    for lookup, home in ((one, other), (other, one)):
        entry = Person(generation=0, pseudonym=None, home=home, epoch=epoch)
        world.keystore.entries[person_key(TENANT, lookup)] = ring.seal_person(lookup, entry)
    with pytest.raises(EntryUnreadableError, match="circle"):
        await Homes(ring).of([naming.names("one")])


@pytest.mark.parametrize("of", ["former", "own", "both"])
async def test_one_bad_entry_on_the_way_holds_up_its_own_person_alone(world: CarryWorld, of: str) -> None:
    """Neighbours of the same unit are stored; her part waits, and is hers once the entry is mended."""
    await stored(world, MIXED, "dave@example.org")
    await world.carry()
    await world.call("c2", SMALL)
    await world.run()
    good, name = dict(world.keystore.entries), world.people()
    naming = Naming(TENANT, world.vault).names(MIXED)
    for lookup in {"former": naming.former, "own": (naming.lookup,), "both": (naming.lookup, *naming.former)}[of]:
        place = person_key(TENANT, lookup)
        assert place in good
        world.keystore.entries[place] = good[place][:-1] + bytes([good[place][-1] ^ 1])
    await world.restart()
    before = len(world.legs())
    for number, who in enumerate(("dave@example.org", MIXED, "new@example.org")):
        await world.call(f"d{number}", who)
    await world.step("protector")
    assert (len(world.legs()), len(world.log.live("calllog.parked"))) == (before + 2, 1)
    world.keystore.entries |= {place: good[place] for place in good}
    for each in world.protector._parking._pauses:
        world.protector._parking._pauses.now(each)
    await world.step("protector")
    assert (len(world.legs()), world.log.live("calllog.parked")) == (before + 3, {})
    assert len(world.people()) == len(name) + 1, "hers, dave's, and somebody new's"


async def test_nobody_is_led_away_from_where_they_are(world: CarryWorld) -> None:
    await stored(world, SMALL)
    lookup = await world.home(SMALL)
    assert not await Homes(world.ring()).lead(lookup, Lookup("A" * 43))
    assert person_key(TENANT, lookup) in world.keystore.entries


def test_what_is_stricter_is_stricter() -> None:
    base = {"generation": 1, "epoch": "2026-W48"}
    living = Person(pseudonym="A" * 22, consented=3, **base)  # type: ignore[arg-type]
    other = Person(pseudonym="B" * 22, cut_off=5, restricted=True, objected=4, withdrawn=1, **base)  # type: ignore[arg-type]
    found = stricter(living, other)
    assert (found.cut_off, found.restricted, found.objected, found.withdrawn, found.consented) == (5, True, 4, 1, 2)
    gone = stricter(Person(pseudonym=None, cut_off=9, **base), other)  # type: ignore[arg-type]
    assert (gone.cut_off, gone.restricted, gone.objected, gone.withdrawn) == (9, False, 4, 0)
    assert [each.kind for each in owed(living, other)] == ["erase", "object", "withdraw", "restrict"]
    assert owed(stricter(living, other), other) == []


async def test_the_mark_is_what_the_desk_waits_for(world: CarryWorld) -> None:
    await world.carry(("blanks",))
    assert world.keystore.entries[IDENTITY_KEY] == b"1"
    await world.carry()
    assert world.keystore.entries[IDENTITY_KEY] == b"2"


async def test_of_whom_copies_alone_are_left_is_found_under_any_form(world: CarryWorld) -> None:
    """They may be told of: nobody is told that nobody was known."""
    await stored(world, MIXED)
    await world.hold("hold-00001", "claim-17", MIXED)
    await world.run()
    await world.ask("erase-0001", "erase", MIXED)
    await world.run()
    assert not world.legs()
    assert (await world.carry()).people == 0
    assert await world.home(SMALL) == await world.home(MIXED)
    await world.ask("access-001", "access", SMALL, reply_key=reply(world))
    await world.run()
    assert world.case("access-001").known


async def test_what_the_rules_refuse_is_nobody_new(world: CarryWorld) -> None:
    """Former rules take everything: without this a damaged identifier would be answered as one that nobody has."""
    await stored(world, SMALL)
    await world.carry()
    await world.ask("erase-0001", "erase", f'"{SMALL}"')
    await world.run()
    assert (
        world.counts[Counters.dead["no_single_address"]] + world.counts[Counters.dead["damaged_text"]],
        len(world.legs()),
    ) == (1, 1)


async def test_a_look_alike_that_former_rules_folded_is_nobody_else(tmp_path: Path) -> None:
    """The Kelvin sign was a k: whoever is known by the rules in force is not reached under it."""
    world: Any = await CarryWorld(tmp_path, (LOWERCASE_EMAIL,)).start()
    await world.carry()
    await stored(world, "karol@example.org")
    await world.ask("access-001", "access", "\u212aarol@example.org", reply_key=reply(world))
    await world.run()
    assert world.counts[Counters.dead["ambiguous_letter"]] == 1
