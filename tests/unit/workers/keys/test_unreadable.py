"""One useless entry of the keystore is that person's matter: keyring, walk, readers and statistics give the others."""

from datetime import timedelta
from pathlib import Path

import pytest
import reading_world
import test_rotation
from damage import DAMAGES, each_damage
from reading_world import Table
from test_following import running
from test_rotation import PEOPLE, TENANT

from calllog_guard.adapters.kms.local import LocalKms
from calllog_guard.core.calls.view import Put, Remove
from calllog_guard.core.crypto.entries import person_key, secrets_key
from calllog_guard.core.crypto.subject_secrets import month_from
from calllog_guard.core.identifiers import EpochName
from calllog_guard.errors import EntryUnreadableError, EpochUnknownError, KmsSilentError
from calllog_guard.workers.keys.rotation import UNREADABLE, UNREADABLE_MOST, epoch_of
from calllog_guard.workers.keys.tenants.tenant_secrets import Vault


@pytest.fixture
async def people(tmp_path: Path) -> test_rotation.World:
    """A keystore with two living people and one who is gone."""
    made = test_rotation.World(tmp_path)
    await made.fill()
    return made


@pytest.fixture
async def calls(tmp_path: Path) -> reading_world.World:
    """A log in which alice and bob are hosts of a call each."""
    made = reading_world.World(tmp_path)
    await made.ring.guard.open_at_once(2)
    for who in ("alice", "bob"):
        await made.leg(who, "call-" + who)
    return made


async def test_whoever_asks_for_many_gets_the_others(people: test_rotation.World) -> None:
    """A protector's unit has a thousand people in it."""
    entries, (alice, bob, _) = people.keystore.entries, PEOPLE
    good = people.ring.persons(await people.ring.view(PEOPLE))[0]
    names = {who: found.pseudonym for who, found in good.items() if found and found.pseudonym}
    living = {who: found for who, found in good.items() if found and found.pseudonym}
    for damage in each_damage(entries, person_key(TENANT, alice)):
        found, unreadable = people.fresh_ring().persons(await people.ring.view(PEOPLE))
        assert (found, set(unreadable)) == ({who: good[who] for who in PEOPLE[1:]}, {alice}), damage
    for damage in each_damage(entries, secrets_key(TENANT, names[alice])):
        ring = people.fresh_ring()
        opened, unreadable = await ring.open(living)
        assert (set(opened), set(unreadable)) == ({bob}, {alice}), damage
        assert set(await ring.owners(list(names.values()))) == {names[bob]}, damage
        assert await ring.marked(list(names.values())) == {names[alice]}, "nobody can tell whether a hold is pending"
        with pytest.raises(EntryUnreadableError):
            await ring.keys_of(names[alice])
    del entries[secrets_key(TENANT, names[alice])]
    assert (await people.fresh_ring().open(living))[1][alice].reason == "key_missing"


async def test_an_erasure_removes_a_key_that_does_not_open(people: test_rotation.World) -> None:
    entries, (pseudonym, _) = people.keystore.entries, people.keys(PEOPLE[0])
    place = secrets_key(TENANT, pseudonym)
    for damage in DAMAGES.values():
        good = entries[place]
        entries[place] = damage(good)
        assert await people.fresh_ring().destroy(pseudonym)
        assert place not in entries
        entries[place] = good


@pytest.mark.parametrize("kind", ["who", "key"])
@pytest.mark.parametrize("name", DAMAGES)
async def test_the_walk_goes_on_past_what_it_cannot_open(people: test_rotation.World, kind: str, name: str) -> None:
    """The others are moved, nothing damaged is touched, no key is taken for an orphan's, and old epochs end."""
    pseudonym, _ = people.keys(PEOPLE[0])
    place = person_key(TENANT, PEOPLE[0]) if kind == "who" else secrets_key(TENANT, pseudonym)
    entries = people.keystore.entries
    entries[place] = bad = DAMAGES[name](entries[place])
    people.clock.at += timedelta(days=7)
    done = await people.walk().run({})
    assert (done.rewrapped, done.orphans, done.states[UNREADABLE]) == (4, 0, 1)
    assert entries[place] == bad
    assert people.person(PEOPLE[1]).epoch == "2026-W49"
    people.clock.at += timedelta(days=21)
    done = await people.walk().run({})
    assert (done.destroyed, done.orphans, done.states[UNREADABLE]) == (["2026-W48"], 0, 1)
    assert secrets_key(TENANT, pseudonym) in entries


async def test_of_somebody_whose_entry_does_not_open_no_month_is_given_up(people: test_rotation.World) -> None:
    """They may be restricted: nobody can tell."""
    pseudonym, keys = people.keys(PEOPLE[0])
    entries, place = people.keystore.entries, person_key(TENANT, PEOPLE[0])
    entries[place] = DAMAGES["its seal"](entries[place])
    people.clock.at += timedelta(days=200)
    await people.walk().run({})
    moved = people.fresh_ring().keys(pseudonym, entries[secrets_key(TENANT, pseudonym)])
    assert (moved.floor, moved.current) == (keys.floor, month_from("2027-06"))
    assert people.keys(PEOPLE[1])[1].floor > keys.floor, "the control: the other's ratchet has moved"


async def test_many_entries_that_do_not_open_keep_every_epoch(people: test_rotation.World) -> None:
    """That is no matter of single people any more: perhaps another installation's, perhaps another KMS."""
    for number in range(UNREADABLE_MOST + 1):
        people.keystore.entries[b"clg:iocom:who:%d" % number] = b"damaged"
    people.clock.at += timedelta(days=7)
    await people.walk().run({})
    people.clock.at += timedelta(days=60)
    done = await people.walk().run({})
    assert (done.destroyed, done.kept["2026-W48"]) == ([], "many entries cannot be used")


async def test_keys_without_a_kind_stop_no_walk(people: test_rotation.World) -> None:
    """And what somebody called them stands in no figure: it may name a person."""
    for place in (b"clg:iocom:alice@example.org", b"clg:iocom:", b"clg:iocom:Alice:x", b"clg:iocom:\xff:x"):
        people.keystore.entries[place] = b"?"
    done = await people.walk().run({})
    assert done.states == {"live": 2, "gone": 1, "keys": 2, "unknown kind": 4}


async def test_the_kms_is_not_asked_again_and_again_for_a_damaged_name(
    people: test_rotation.World, tmp_path: Path
) -> None:
    """Every look at its keys may take seconds, and nobody else is served meanwhile."""

    class Counted(LocalKms):
        asked = 0

        def epochs(self) -> list[str]:
            """See Kms."""
            self.asked += 1
            return super().epochs()

    kms = Counted(tmp_path)
    vault = Vault(kms, people.vault._ring)
    for _ in range(50):
        with pytest.raises(EpochUnknownError):
            vault.epoch_key(EpochName("2020-W01"), TENANT, "keystore")
    assert kms.asked == 1
    vault.create_epoch(EpochName("2020-W01"))
    vault.epoch_key(EpochName("2020-W01"), TENANT, "keystore")


async def test_a_damaged_epoch_pauses_nobody_elses_kms(people: test_rotation.World) -> None:
    """A name that is a path would be a folder that does not answer: silence, and every unit would wait."""
    entries, place = people.keystore.entries, person_key(TENANT, PEOPLE[0])
    for name in DAMAGES:
        ring = people.fresh_ring()
        good = entries[place]
        entries[place] = DAMAGES[name](good)
        vault = Vault(people.vault._kms, people.vault._ring)
        ring._vault = vault
        ring.persons(await people.ring.view(PEOPLE[:1]))
        vault.epoch_key(epoch_of(test_rotation.START), TENANT, "keystore")
        entries[place] = good
    with pytest.raises(KmsSilentError):
        people.vault._ring.get("epoch.2026-W48/x")  # the control


async def test_a_reader_gets_the_others_and_nothing_is_known_of_that_one(calls: reading_world.World) -> None:
    name = await calls.name("alice")
    for place in (person_key(TENANT, calls.lookup("alice")), secrets_key(TENANT, name)):
        for damage in each_damage(calls.keystore.entries, place):
            calls.ring = calls.fresh_ring()
            reading = calls.reading("service")
            lines = await calls.all(reading)
            assert [each.subject for each in lines if isinstance(each, Put)] == ["bob"], damage
            assert reading.refused == {"unknown": 1}, damage


async def test_a_follower_removes_nothing_of_theirs_and_goes_on_with_the_others(calls: reading_world.World) -> None:
    """Nothing is known: not that they are erased, not that they may be read."""
    table, place = Table(), person_key(TENANT, calls.lookup("alice"))
    async with running(calls, table) as job:
        await job.until(lambda: len(table.rows) == 2)
        good = calls.keystore.entries[place]
        calls.keystore.entries[place] = DAMAGES["its seal"](good)
        await calls.leg("bob", "another")
        await job.until(lambda: len(table.rows) == 3)
        assert not [line for line in table.lines if isinstance(line, Remove)]
