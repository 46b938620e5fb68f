"""The walk: entries move into the new epoch, ratchets past lapsed months, and the old epoch's key is destroyed."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace as replace_struct

from calllog_guard.adapters.kms.local import FileRing, LocalKms
from calllog_guard.adapters.memory.fakes import MemoryKeystore
from calllog_guard.core.codec import to_ms
from calllog_guard.core.crypto.entries import (
    EPOCH_KEY,
    GUARD_KEY,
    NOTHING_ELSE,
    Keys,
    Person,
    Rest,
    person_key,
    secrets_key,
)
from calllog_guard.core.crypto.held_envelope import HoldEntry, HoldSecret, hold_key, open_hold, seal_hold
from calllog_guard.core.crypto.rewrap import Rewrapper, TakenEntry
from calllog_guard.core.crypto.subject_secrets import month_from
from calllog_guard.core.decisions.hold import hold_id
from calllog_guard.core.identifiers import EpochName, Lookup, Pseudonym, SubjectId, Tenant
from calllog_guard.errors import ConfigurationError, EntryUnreadableError, RecordError
from calllog_guard.workers.keys.key_cache import CacheLimits
from calllog_guard.workers.keys.people.late_events import LateLimit
from calllog_guard.workers.keys.people.subject_keys import Keyring
from calllog_guard.workers.keys.restore_guard import guard_entry
from calllog_guard.workers.keys.rotation import Periods, Walk, epoch_of
from calllog_guard.workers.keys.tenants.tenant_secrets import Vault

TENANT = Tenant("iocom")
START = datetime(2026, 11, 24, 9, tzinfo=UTC)
PEOPLE = [Lookup(letter * 42 + "A") for letter in "ABC"]


class Hand:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.at = START

    def now(self) -> datetime:
        """See Clock."""
        return self.at


class World:
    """A keystore with three people."""

    def __init__(self, folder: Path) -> None:
        self.clock, self.keystore, self.pending = Hand(), MemoryKeystore(), set[str]()
        self.vault = Vault(LocalKms(folder), FileRing(folder))
        self.vault.create_tenant(TENANT)
        self.vault.create_epoch(epoch_of(START))
        self.ring = self.fresh_ring()
        self.keystore.entries |= {
            GUARD_KEY: guard_entry(self.vault.guard_id()),
            EPOCH_KEY: epoch_of(START).encode(),
        }

    def fresh_ring(self) -> Keyring:
        """A keyring that has seen nothing."""
        return Keyring(TENANT, self.keystore, self.vault, self.clock, CacheLimits(60, 10), 2)

    async def fill(self) -> None:
        """Two live people and one who is gone."""
        await self.ring.guard.open_at_once(2)
        view = await self.ring.view(PEOPLE)
        assert await self.ring.mint(dict.fromkeys(PEOPLE[:2]), view, month_from("2026-10"), month_from("2026-11"))
        await self.ring.fence(PEOPLE[2], to_ms(START))

    def person(self, lookup: Lookup) -> Person:
        """A person as stored now."""
        found = self.fresh_ring().person(lookup, self.keystore.entries[person_key(TENANT, lookup)])
        assert found is not None
        return found

    def keys(self, lookup: Lookup) -> tuple[Pseudonym, Keys]:
        """A living person's secrets as stored now."""
        pseudonym = self.person(lookup).pseudonym
        assert pseudonym is not None
        return pseudonym, self.fresh_ring().keys(pseudonym, self.keystore.entries[secrets_key(TENANT, pseudonym)])

    def change_person(self, lookup: Lookup, **changes: Any) -> None:
        """Store a person anew."""
        person = replace(self.person(lookup), **changes)
        self.keystore.entries[person_key(TENANT, lookup)] = self.ring.seal_person(lookup, person)

    def walk(self) -> Walk:
        """A walk as the auditor does it: purposes reach back 90 days."""
        return Walk(
            self.ring,
            self.clock,
            Periods(keep_days=90, late_days=35, epoch_days=7, window_days=14),
            self.unfinished,
        )

    async def unfinished(self) -> set[str]:
        """See Walk."""
        return self.pending


@pytest.fixture
async def world(tmp_path: Path) -> World:
    """See World."""
    made = World(tmp_path)
    await made.fill()
    return made


async def test_nothing_moves_within_an_epoch(world: World) -> None:
    before = dict(world.keystore.entries)
    done = await world.walk().run({})
    assert (done.rewrapped, done.advanced, done.destroyed) == (0, 0, [])
    assert world.keystore.entries == before
    assert done.entries == {"2026-W48": 5}


async def test_many_people_move_in_portions_that_the_keystore_can_compare(world: World) -> None:
    """Keys are compared together with owners; a transaction over a whole batch of the scan would stop the server."""
    pepper, month = world.vault.pepper(TENANT), month_from("2026-11")
    people = [pepper.lookup(TENANT, SubjectId(f"user-{number}")) for number in range(700)]
    assert await world.ring.mint(dict.fromkeys(people), await world.ring.view(people), month_from("2026-08"), month)
    world.clock.at += timedelta(days=60)
    world.vault.create_epoch(epoch_of(world.clock.at))
    done = await world.walk().run({})
    assert (done.rewrapped, done.advanced, done.contested) == (2 * 702 + 1, 702, 0)


async def test_entries_move_and_an_old_backup_opens_nothing_in_the_end(world: World) -> None:
    backup = dict(world.keystore.entries)
    world.clock.at += timedelta(days=7)
    done = await world.walk().run({})
    assert (done.epoch, done.rewrapped, done.destroyed) == ("2026-W49", 5, [])
    assert done.kept["2026-W48"] == "backup window until 2026-12-21"
    persons = {each: world.ring.person(each, world.keystore.entries[person_key(TENANT, each)]) for each in PEOPLE}
    assert all(person is not None and person.epoch == "2026-W49" for person in persons.values())
    assert [person and person.cut_off for person in persons.values()] == [0, 0, to_ms(START)], "a fence stays a fence"
    world.clock.at += timedelta(days=21)
    assert (await world.walk().run({"2026-W48": "waiting cases"})).kept["2026-W48"] == "waiting cases"
    assert (await world.walk().run({})).destroyed == ["2026-W48"]
    world.keystore.entries = backup
    thief = Keyring(TENANT, world.keystore, world.vault, world.clock, CacheLimits(60, 10), 2)
    with pytest.raises(EntryUnreadableError):
        thief.person(PEOPLE[0], backup[person_key(TENANT, PEOPLE[0])])


async def test_the_ratchet_moves_past_the_months_that_no_purpose_reaches(world: World) -> None:
    person = world.ring.person(PEOPLE[0], world.keystore.entries[person_key(TENANT, PEOPLE[0])])
    assert person is not None
    november = (await world.ring.open({PEOPLE[0]: person}))[0][PEOPLE[0]].data_key(month_from("2026-11"))
    world.clock.at += timedelta(days=130)
    await world.walk().run({})
    moved = world.ring.person(PEOPLE[0], world.keystore.entries[person_key(TENANT, PEOPLE[0])])
    assert moved is not None
    opened = (await world.fresh_ring().open({PEOPLE[0]: moved}))[0][PEOPLE[0]]
    with pytest.raises(RecordError):
        opened.data_key(month_from("2026-11"))
    assert opened.data_key(month_from("2026-12")) != november
    world.clock.at -= timedelta(days=130)
    still = (await world.ring.open({PEOPLE[0]: person}))[0][PEOPLE[0]]
    assert still.data_key(month_from("2026-12")) == opened.data_key(month_from("2026-12")), "the same chain of links"


async def test_who_is_erased_during_the_walk_is_not_brought_back(world: World) -> None:
    world.clock.at += timedelta(days=7)
    person = world.ring.person(PEOPLE[0], world.keystore.entries[person_key(TENANT, PEOPLE[0])])
    assert person is not None
    assert person.pseudonym is not None
    pseudonym, read = person.pseudonym, world.keystore.read
    calls = 0

    async def erase_in_between(keys: list[bytes]) -> list[bytes | None]:
        nonlocal calls
        found = await read(keys)
        if any(b":key:" in key for key in keys) and not calls:
            calls = 1
            await world.ring.destroy(pseudonym)
        return found

    world.keystore.read = erase_in_between  # type: ignore[method-assign, assignment]
    done = await world.walk().run({})
    assert done.contested == 1
    assert await world.ring.keys_of(pseudonym) is None


async def test_an_epoch_stays_while_an_entry_lies_under_it(world: World) -> None:
    world.clock.at += timedelta(days=40)
    swap = world.keystore.swap

    async def contested(changes: Mapping[bytes, Any], unchanged: Mapping[bytes, Any]) -> bool:
        if any(b":who:" in key for key in changes):
            return False
        return await swap(changes, unchanged)

    world.keystore.swap = contested  # type: ignore[method-assign]
    done = await world.walk().run({})
    assert done.kept["2026-W48"] == "entries"
    assert not done.destroyed


async def test_the_key_of_somebody_fenced_stays_until_what_was_decided_is_done(world: World) -> None:
    """The law may oblige to keep a copy of what is erased, and the keeper makes it after the fence: with that key."""
    name, keys = world.keys(PEOPLE[0])
    world.pending = {name}
    await world.ring.fence(PEOPLE[0], to_ms(world.clock.now()))
    world.clock.at += timedelta(days=7)
    assert (await world.walk().run({})).orphans == 0
    left = world.fresh_ring().keys(name, world.keystore.entries[secrets_key(TENANT, name)])
    assert (left.identity, left.epoch) == (keys.identity, "2026-W49"), "re-wrapped like any other"
    world.pending = set()
    assert (await world.walk().run({})).orphans == 1
    assert secrets_key(TENANT, name) not in world.keystore.entries


async def test_a_decision_that_is_written_while_the_walk_goes_on_keeps_its_key(world: World) -> None:
    """The ledger is asked after the key was seen without an owner: the decision stands there before the fence."""
    name, _ = world.keys(PEOPLE[0])
    read = world.keystore.read

    async def fenced_meanwhile(keys: Sequence[bytes]) -> list[bytes | None]:
        if any(b":key:" in key for key in keys):
            world.keystore.read = read  # type: ignore[method-assign]
            world.pending = {name}
            await world.ring.fence(PEOPLE[0], to_ms(world.clock.now()))
        return await read(keys)

    world.keystore.read = fenced_meanwhile  # type: ignore[method-assign]
    assert (await world.walk().run({})).orphans == 0
    assert secrets_key(TENANT, name) in world.keystore.entries


async def test_a_key_that_nobody_claimed_is_removed_and_cannot_be_claimed_any_more(world: World) -> None:
    view, late = await world.ring.view(PEOPLE), PEOPLE[2]
    gone, swap = world.ring.person(late, view.raw[late]), world.keystore.swap

    async def walked_over(changes: Mapping[bytes, Any], unchanged: Mapping[bytes, Any]) -> bool:
        world.keystore.swap = swap  # type: ignore[method-assign]
        assert (await world.walk().run({})).orphans == 1
        return await swap(changes, unchanged)

    world.keystore.swap = walked_over  # type: ignore[method-assign]
    assert not await world.ring.mint({late: gone}, view, month_from("2026-10"), month_from("2026-11"))
    assert await world.ring.mint({late: gone}, view, month_from("2026-10"), month_from("2026-11"))
    done = await world.walk().run({})
    assert done.orphans == 0
    assert done.entries == {"2026-W48": 6}


async def test_a_fence_is_dropped_when_it_has_nothing_left_to_keep_out_and_never_earlier(world: World) -> None:
    """Late limit 35, backup window 14, and 30 days: the entry must outlast every event and backup that could use it."""
    place = person_key(TENANT, PEOPLE[2])
    for days in (20, 40, 60, 79):
        world.clock.at = START + timedelta(days=days)
        assert (await world.walk().run({})).fences == 0
        assert place in world.keystore.entries
    world.clock.at = START + timedelta(days=80)
    assert (await world.walk().run({})).fences == 1
    assert place not in world.keystore.entries
    assert world.person(PEOPLE[0]).pseudonym, "the living stay"


async def test_a_fence_is_dropped_under_the_limit_of_protectors_and_the_keystore_remembers_it(world: World) -> None:
    """The auditor's own setting is a lower one: an event of a year ago may still come."""
    await LateLimit(world.keystore).work_under(400)
    for days, dropped in ((80, 0), (444, 0), (445, 1)):
        world.clock.at = START + timedelta(days=days)
        assert (await world.walk().run({})).fences == dropped
    with pytest.raises(ConfigurationError):
        await LateLimit(world.keystore).work_under(401)


async def test_a_fence_stays_while_a_decision_from_its_time_still_opens(world: World) -> None:
    world.clock.at = START + timedelta(days=200)
    await world.walk().run({"2026-W48": "erasures that are not done"})
    done = await world.walk().run({"2026-W48": "erasures that are not done"})
    assert (done.fences, done.states["gone"]) == (0, 1)
    world.clock.at += timedelta(days=30)
    assert (await world.walk().run({})).destroyed == ["2026-W48"]
    assert (await world.walk().run({})).fences == 1


@pytest.mark.parametrize("flag", ["restricted", "held", "reviewed", "objected"])
async def test_a_fence_with_a_wish_on_it_stays(world: World, flag: str) -> None:
    world.change_person(PEOPLE[2], **{flag: True})
    world.clock.at = START + timedelta(days=100)
    await world.walk().run({})
    assert (await world.walk().run({})).fences == 0


async def test_who_returns_while_the_fence_is_dropped_stays(world: World) -> None:
    world.clock.at = START + timedelta(days=100)
    await world.walk().run({})
    drop, place = world.keystore.drop, person_key(TENANT, PEOPLE[2])

    async def returned(key: bytes, unchanged: Mapping[bytes, bytes | None]) -> bool:
        world.change_person(PEOPLE[2], generation=2)
        return await drop(key, unchanged)

    world.keystore.drop = returned  # type: ignore[method-assign]
    assert (await world.walk().run({})).fences == 0
    assert place in world.keystore.entries


async def test_the_restricted_and_the_held_keep_every_month(world: World) -> None:
    """Restricted data is neither swept nor ratcheted away; a pending copy for a hold must still be possible."""
    first, second = (world.keys(each) for each in PEOPLE[:2])
    world.change_person(PEOPLE[0], restricted=True)
    place = secrets_key(TENANT, second[0])
    world.keystore.entries[place] = world.ring.seal_keys(second[0], replace(second[1], holds=(b"h" * 16,)))
    world.clock.at += timedelta(days=300)
    done = await world.walk().run({})
    assert done.rewrapped == 5
    assert [world.keys(each)[1].floor for each in PEOPLE[:2]] == [first[1].floor] * 2
    world.change_person(PEOPLE[0], restricted=False)
    await world.walk().run({})
    assert [world.keys(each)[1].floor == first[1].floor for each in PEOPLE[:2]] == [False, True]


async def test_who_is_restricted_during_the_walk_keeps_every_month(world: World) -> None:
    before, swap = world.keys(PEOPLE[0])[1], world.keystore.swap
    world.clock.at += timedelta(days=300)

    async def restricted(changes: Mapping[bytes, Any], unchanged: Mapping[bytes, Any]) -> bool:
        if any(b":key:" in key for key in changes) and not world.person(PEOPLE[0]).restricted:
            world.change_person(PEOPLE[0], restricted=True)
        return await swap(changes, unchanged)

    world.keystore.swap = restricted  # type: ignore[method-assign]
    await world.walk().run({})
    assert world.keys(PEOPLE[0])[1].floor == before.floor


async def test_a_hold_is_rewrapped_and_no_figure_moves_with_it(world: World) -> None:
    """A secret hold may show in no log line, status or metric; its epoch stays while it lies under it."""
    name = hold_id(TENANT, "claim-17")
    place, entry = hold_key(TENANT, name), HoldEntry(epoch_of(START), HoldSecret.mint(), b"{}")
    key = world.vault.epoch_key(entry.epoch, TENANT, "keystore")
    without = await world.walk().looked()
    world.keystore.entries[place] = seal_hold(entry, place, key, bytes(12))
    told = await world.walk().looked()
    assert (told.entries, told.states) == (without.entries, without.states)
    world.clock.at += timedelta(days=7)
    done = await world.walk().run({})
    assert (done.rewrapped, sum(done.entries.values())) == (5, 5)
    moved = world.keystore.entries[place]
    found = open_hold(moved, place, world.vault.epoch_key(EpochName("2026-W49"), TENANT, "keystore"))
    assert (found.secret, found.terms) == (entry.secret, entry.terms)
    world.keystore.entries[place] = seal_hold(entry, place, key, bytes(12))
    assert "2026-W48" in (await world.walk().looked()).entries


async def test_a_hold_is_rewrapped_and_an_unknown_kind_keeps_every_epoch(world: World) -> None:
    """What is not understood may need its epoch: rather an old backup that opens than a hold that is lost."""
    wrapper = Rewrapper(lambda epoch: world.vault.epoch_key(epoch, TENANT, "keystore"))
    hold = b"clg:iocom:hold:x"
    world.keystore.entries[hold] = wrapper.put("hold", hold, TakenEntry(b"\x01", b"2026-W48", b"", b"s" * 32))
    world.keystore.entries[b"clg:iocom:new:x"] = b"of a later release"
    world.clock.at += timedelta(days=7)
    await world.walk().run({})
    assert wrapper.take("hold", hold, world.keystore.entries[hold]) == (b"\x01", b"2026-W49", b"", b"s" * 32)
    world.clock.at += timedelta(days=60)
    done = await world.walk().run({})
    assert (done.destroyed, done.kept["2026-W48"]) == ([], "unknown kind new")
    assert done.states == {"live": 2, "gone": 1, "keys": 2, "unknown kind new": 1}, "holds are counted nowhere"
    del world.keystore.entries[b"clg:iocom:new:x"]
    assert (await world.walk().run({})).destroyed == ["2026-W48"]


class Dying(MemoryKeystore):
    """Dies at its n-th call, before or after the call has had its effect."""

    left = -1
    after = False

    async def _step(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise RuntimeError("killed")

    async def swap(
        self, changes: Mapping[bytes, tuple[bytes | None, bytes]], unchanged: Mapping[bytes, bytes | None]
    ) -> bool:
        """See Keystore."""
        if not self.after:
            await self._step()
        done = await super().swap(changes, unchanged)
        if self.after:
            await self._step()
        return done

    async def read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """See Keystore."""
        await self._step()
        return await super().read(keys)

    async def drop(self, key: bytes, unchanged: Mapping[bytes, bytes | None]) -> bool:
        """See Keystore."""
        if not self.after:
            await self._step()
        done = await super().drop(key, unchanged)
        if self.after:
            await self._step()
        return done


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.slow
async def test_killed_at_every_step_the_walk_ends_as_if_it_had_run_through(tmp_path: Path, *, after: bool) -> None:
    step, steps = 0, 0
    while True:
        step += 1
        world = World(tmp_path / str(step))
        await world.fill()
        store = Dying()
        store.entries, store.after = world.keystore.entries, after
        world.keystore = store
        world.ring = world.fresh_ring()
        world.clock.at += timedelta(days=100)
        store.left = step
        try:
            await world.walk().run({})
        except RuntimeError:
            steps += 1
        store.left = -1
        await world.walk().run({})
        done = await world.walk().looked()
        assert (done.states, list(done.entries)) == ({"live": 2, "keys": 2, "gone": 1}, ["2027-W09"]), f"step {step}"
        assert {world.keys(each)[1].current for each in PEOPLE[:2]} == {month_from("2027-03")}
        world.clock.at += timedelta(days=22)
        store.left = step
        try:
            await world.walk().run({})
        except RuntimeError:
            steps += 1
        store.left = -1
        await world.walk().run({})
        await world.walk().run({})
        done = await world.walk().looked()
        assert done.states == {"live": 2, "keys": 2}, f"killed at step {step}: the fence lapsed, the living stay"
        assert (list(done.entries), world.vault.epochs()) == (["2027-W12"], ["2027-W09", "2027-W12"])
        if steps < 2 * step - 1:
            break
    assert steps > 5, "the control: it was killed at every step"


async def test_the_walk_renews_every_entry_into_the_level_of_forms_in_force(world: World) -> None:
    """After an upgrade nothing is left in the older form, and nothing of what it said is lost."""
    profile = world.vault.profile(TENANT)
    world.vault._profiles._seen[TENANT] = replace_struct(profile, forms=1)
    entries = world.keystore.entries
    for lookup in PEOPLE:
        world.change_person(lookup, objected=4, rest=NOTHING_ELSE)
    for place in [place for place in entries if b":key:" in place]:
        pseudonym = Pseudonym(place.decode().rpartition(":")[2])
        keys = replace(world.fresh_ring().keys(pseudonym, entries[place]), rest=NOTHING_ELSE)
        entries[place] = world.ring.seal_keys(pseudonym, keys)
    before = [world.person(lookup) for lookup in PEOPLE], [world.keys(lookup) for lookup in PEOPLE[:2]]
    assert {raw[0] for place, raw in entries.items() if place.startswith(b"clg:iocom:")} == {1}
    world.vault._profiles._seen[TENANT] = profile
    done = await world.walk().run({})
    assert (done.rewrapped, done.states) == (5, {"live": 2, "gone": 1, "keys": 2})
    assert {raw[0] for place, raw in entries.items() if place.startswith(b"clg:iocom:")} == {2}
    assert ([world.person(lookup) for lookup in PEOPLE], [world.keys(lookup) for lookup in PEOPLE[:2]]) == before
    assert (await world.walk().run({})).rewrapped == 0


async def test_a_fence_that_a_later_release_added_to_is_not_dropped_as_lapsed(world: World) -> None:
    """What it added may last, as an objection does."""
    world.change_person(PEOPLE[2], rest=Rest(clear=b"more"))
    for _ in range(3):  # until the epoch of its time is destroyed
        world.clock.at += timedelta(days=200)
        assert (await world.walk().run({})).fences == 0
    assert world.person(PEOPLE[2]).rest == Rest(clear=b"more")
    world.change_person(PEOPLE[2], rest=Rest())
    assert (await world.walk().run({})).fences == 1


async def test_what_a_later_release_sealed_survives_a_moving_ratchet(world: World) -> None:
    pseudonym, keys = world.keys(PEOPLE[0])
    place = secrets_key(TENANT, pseudonym)
    world.keystore.entries[place] = world.ring.seal_keys(pseudonym, replace(keys, rest=Rest(clear=b"c", sealed=b"s")))
    world.clock.at += timedelta(days=400)
    assert (await world.walk().run({})).advanced == 2
    assert world.keys(PEOPLE[0])[1].rest == Rest(clear=b"c", sealed=b"s")


@pytest.mark.parametrize("name", ["2026-W48.bak", "2026-W99", "0000-W01", "copy of 2026-W48"])
async def test_what_else_lies_with_the_epochs_stops_no_walk(world: World, tmp_path: Path, name: str) -> None:
    """One foreign file beside the keys would end the auditor, heartbeats and all."""
    (tmp_path / "epochs" / name).write_bytes(b"x" * 32)
    world.clock.at += timedelta(days=8)
    done = await world.walk().run({})
    assert name not in done.kept
    assert (tmp_path / "epochs" / name).exists(), "it is nobody's of ours, so that we destroy nothing"
