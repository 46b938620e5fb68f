"""Actors are registered keys: who reads proves who they are, what they opened is signed; the unproven names nobody."""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from guard_world import BARE, TENANT, GuardWorld
from test_access import answer
from test_recipients import ALICE, BOB, RECIPIENTS, called, recipients

from calllog_guard.adapters.disk.policy_file import load_policy
from calllog_guard.adapters.memory.log import MemoryRows
from calllog_guard.core.audit.accesses import Account, ActorKey, Doubt, actor_key, place_of
from calllog_guard.core.codec import Access, encode, to_ms
from calllog_guard.core.policy.actors import DEAD_LETTERS, Judge
from calllog_guard.core.records import Output
from calllog_guard.core.stream.offsets import pack
from calllog_guard.errors import NewerFormError, RecordError
from calllog_guard.metrics import Counters
from calllog_guard.workers.keeper.enforcement.access_index import AccessIndex

ACCESS = "privacy.access"
SINCE = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
LATER = SINCE + timedelta(hours=1)
KEYED = '[version.tenant.iocom.actors.{0}]\npurposes = ["{1}"]\nkey = "{0}.pub.pem"\nsince = {2:%Y-%m-%dT%H:%M:%SZ}\n'
PROVING = (BARE + RECIPIENTS).replace(
    '[version.tenant.iocom.actors.billing-1]\npurposes = ["billing"]\n', KEYED.format("billing-1", "billing", SINCE)
).replace(
    '[version.tenant.iocom.actors.support-1]\npurposes = ["service"]\n', KEYED.format("support-1", "service", LATER)
)  # fmt: skip
"""The guard world starts at nine: half an hour in which nobody has to prove anything."""


@pytest.fixture
async def world(tmp_path: Path) -> GuardWorld:
    """An installation whose actors have keys from half past nine on."""
    return await GuardWorld(tmp_path, PROVING).start()


def key(world: GuardWorld, name: str) -> ActorKey:
    """Somebody's key."""
    return actor_key((world.folder / f"{name}.pem").read_bytes(), name)


def access(world: GuardWorld, places: dict[int, list[int]], **changes: Any) -> Access:
    """An access of billing-1 to legs of one partition."""
    ((partition, offsets),) = places.items()
    usual = Access(
        v=1, actor="billing-1", purpose="billing", case=None, topic="calllog.legs", partition=partition,
        from_=min(offsets),
        to=max(offsets), opened=len(offsets), refused={}, at=world.clock.at, which=pack(offsets, min(offsets)),
        read="r" * 21 + "A",
    )  # fmt: skip
    return msgspec.structs.replace(usual, **changes)


def counted(world: GuardWorld) -> Counter[str]:
    """How many records a world's log hands out from now on, by topic, to who reads a part of it."""
    read, tail = Counter[str](), world.log.tail

    async def counting(topic: str, partition: int, start: int, most: int) -> Any:
        found = await tail(topic, partition, start, most)
        read[topic] += len(found[0])
        return found

    world.log.tail = counting  # type: ignore[method-assign]
    return read


async def written(world: GuardWorld, it: Access, signer: str | None = "billing-1", place: int = 0) -> bytes:
    """Append an access to its topic; its bytes."""
    where = place_of(world.vault.guard_id(), ACCESS, 0)
    value = encode(it) if signer is None else key(world, signer).vouched(it, where)
    await world.log.write([Output(ACCESS, place, it.actor.encode(), value)])
    return value


async def seen(
    world: GuardWorld, jti: str = "access-01", who: str = ALICE
) -> tuple[list[tuple[str, int, object]], int]:
    """Who has seen a person's records, as the person is told, and how many accesses nobody believes."""
    about = (await answer(world, jti, who)).about
    return [(each.actor, each.records, each.proven) for each in about.opened_by], about.unproven or 0


# --- the answer counts what is proven ---------------------------------------------------------------------------------


async def test_what_an_actor_has_signed_is_told_as_proven(world: GuardWorld) -> None:
    places = await called(world, "c1", ALICE)
    world.clock.at = LATER
    await written(world, access(world, places))
    assert await seen(world) == ([("billing-1", 1, True)], 0)


async def test_what_was_written_before_anybody_had_to_sign_is_told_as_such(world: GuardWorld) -> None:
    """A person is not told less than what happened because the rules are stricter now."""
    places = await called(world, "c1", ALICE)
    await written(world, access(world, places), None)
    world.clock.at = LATER
    await written(world, access(world, places))
    assert await seen(world) == ([("billing-1", 1, True), ("billing-1", 1, False)], 0)


async def test_where_no_actor_has_a_key_nothing_changes(tmp_path: Path) -> None:
    world = await GuardWorld(tmp_path, BARE + RECIPIENTS).start()
    await world.opened("billing-1", await called(world, "c1", ALICE))
    assert await seen(world) == ([("billing-1", 1, msgspec.UNSET)], 0)


async def unsigned(world: GuardWorld, it: Access) -> None:
    """As a thief with a reader's rights to Kafka writes it."""
    await written(world, it, None)


async def by_another(world: GuardWorld, it: Access) -> None:
    """Signed with a key that is not billing-1's."""
    await written(world, it, "support-1")


async def by_nobody(world: GuardWorld, it: Access) -> None:
    """In the name of somebody who is no actor, signed with their own key."""
    await written(world, msgspec.structs.replace(it, actor="thief-1"), "thief-1")


async def elsewhere(world: GuardWorld, it: Access) -> None:
    """Signed for another installation, as a copy of its topic."""
    value = key(world, "billing-1").vouched(it, place_of(bytes(16), ACCESS, 0))
    await world.log.write([Output(ACCESS, 0, b"billing-1", value)])


async def altered(world: GuardWorld, it: Access) -> None:
    """A true record, with another purpose's name in it."""
    value = key(world, "billing-1").vouched(it, place_of(world.vault.guard_id(), ACCESS, 0))
    await world.log.write(
        [Output(ACCESS, 0, b"billing-1", value.replace(b'"case":null', b'"case":"%b"' % (b"A" * 22)))]
    )


async def behind_it(world: GuardWorld, it: Access) -> None:
    """A true record with something behind the signature, where a later field would be believed."""
    value = key(world, "billing-1").vouched(it, place_of(world.vault.guard_id(), ACCESS, 0))
    await world.log.write([Output(ACCESS, 0, b"billing-1", value[:-1] + b',"purpose":"billing"}')])


async def to_come(world: GuardWorld, it: Access) -> None:
    """Signed by the actor, of tomorrow."""
    await written(world, msgspec.structs.replace(it, at=it.at + timedelta(1)))


async def for_another_purpose(world: GuardWorld, it: Access) -> None:
    """Signed by the actor, for what it may not read for."""
    await written(world, msgspec.structs.replace(it, purpose="service"))


async def as_letters(world: GuardWorld, it: Access) -> None:
    """Signed by the actor, for the purpose of those who open dead letters, which these are not."""
    await written(world, msgspec.structs.replace(it, purpose=DEAD_LETTERS))


async def not_yet(world: GuardWorld, it: Access) -> None:
    """Signed by an actor whose key does not count yet, while others' do."""
    await written(world, msgspec.structs.replace(it, actor="support-1", purpose="service"), "support-1")


FORGED: dict[Doubt, tuple[Callable[[GuardWorld, Access], Any], ...]] = {
    Doubt.UNSIGNED: (unsigned,),
    Doubt.SIGNATURE: (by_another, elsewhere, altered, behind_it),
    Doubt.UNREGISTERED: (by_nobody, not_yet),
    Doubt.TIME: (to_come,),
    Doubt.PURPOSE: (for_another_purpose, as_letters),
}


@pytest.mark.parametrize(("reason", "forge"), [(why, each) for why, some in FORGED.items() for each in some])
async def test_a_forged_access_is_counted_and_believed_by_nobody(
    world: GuardWorld, reason: Doubt, forge: Callable[[GuardWorld, Access], Any]
) -> None:
    """It names nobody in an answer, chooses no recipient, and makes nobody unsure."""
    places = await called(world, "c1", ALICE)
    world.clock.at = SINCE + timedelta(minutes=1)
    await forge(world, access(world, places))
    assert await seen(world) == ([], 1)
    assert world.counts[Counters.access_unproven[reason]] == 1
    await world.ask("erase-0001", "erase", ALICE)
    await world.run()
    assert recipients(world, "erase-0001") == set()
    assert "unsure" not in world.receipts("erase-0001")[-1]


async def test_a_copy_of_an_access_counts_once(world: GuardWorld) -> None:
    places = await called(world, "c1", ALICE)
    world.clock.at = LATER
    value = await written(world, access(world, places))
    world.clock.at += timedelta(5)
    await world.log.write([Output(ACCESS, 0, b"billing-1", value)])
    about = (await answer(world, "access-01", ALICE)).about
    assert [(each.records, each.days) for each in about.opened_by] == [(1, 1)]
    assert world.counts[Counters.access_unproven["replayed"]] == 1


async def test_of_a_call_that_had_not_begun_no_actor_has_opened_anything(world: GuardWorld) -> None:
    """An actor's key signs what it likes of the legs that are to come; whom they will be about it cannot choose."""
    world.clock.at = LATER
    guessed = {partition: [0] for partition in range(4)}
    for partition, offsets in guessed.items():
        await written(world, access(world, {partition: offsets}))
    world.clock.at += timedelta(3)
    await called(world, "c1", ALICE, days_ago=0)
    assert await seen(world) == ([], 1)
    assert world.counts[Counters.access_unproven["never_read"]] == 4


async def test_of_legs_that_are_not_there_no_actor_has_opened_anything(world: GuardWorld) -> None:
    """Nor of those that come within the hour: an access is compared with the end of the legs when it comes."""
    world.clock.at = LATER
    for partition in range(4):
        await written(world, access(world, {partition: [0]}))
    await world.step("keeper")
    await world.keeper._enforcer.readership.follow()
    await called(world, "c1", ALICE)
    assert await seen(world) == ([], 1)
    assert world.counts[Counters.access_unproven["never_read"]] == 4


async def test_a_leg_of_no_such_purpose_was_opened_by_nobody_for_it(world: GuardWorld) -> None:
    """An actor can sign what it likes of itself; what its purpose does not cover it was refused."""
    places = await called(world, "c1", ALICE, BOB)
    world.clock.at = LATER + timedelta(minutes=1)
    for partition, offsets in places.items():
        await written(world, access(world, {partition: offsets}))
    assert await seen(world) == ([("billing-1", 1, True)], 0), "the host"
    assert await seen(world, "access-02", BOB) == ([], 1), "a guest is no business of billing"
    assert world.counts[Counters.access_unproven["never_read"]] == 1


async def test_an_objection_since_hides_no_reader(world: GuardWorld) -> None:
    """The index knows the legs without the purpose then: what nobody can disprove is told."""
    places = await called(world, "c1", ALICE)
    world.clock.at = LATER + timedelta(minutes=1)
    quality = PROVING.replace('purposes = ["billing"]\nkey', 'purposes = ["billing", "quality"]\nkey')
    (world.folder / "policy.toml").write_text(quality)
    other = load_policy(world.folder / "policy.toml")
    world.policy.versions, world.policy.history = other.versions, other.history
    await written(world, access(world, places, purpose="quality"))
    await world.ask("object-001", "object", ALICE, purposes=["quality"])
    await world.run()
    assert await seen(world) == ([("billing-1", 1, True)], 0)


async def test_a_name_that_no_policy_can_have_stands_nowhere(tmp_path: Path) -> None:
    """Also while nobody has to prove anything: whoever may append could write into everybody's answer."""
    world = await GuardWorld(tmp_path, BARE + RECIPIENTS).start()
    places = await called(world, "c1", ALICE)
    await written(world, access(world, places, actor="<b>call +44 20 7946 0000</b>"), None)
    assert await seen(world) == ([], 0)


async def test_a_million_names_fill_no_memory(tmp_path: Path) -> None:
    """While nobody has to prove anything; beyond ten thousand they are one."""
    world = await GuardWorld(tmp_path, BARE + RECIPIENTS).start()
    places = await called(world, "c1", ALICE)
    index = AccessIndex(MemoryRows, "these", world.clock.at)
    for number in range(10_010):
        index.add(0, number, Account(access(world, places, actor=f"a-{number}"), proven=False))
    assert (len(index.head.lines), index.head.lines[-1][0]) == (10_001, "?")


async def test_what_was_signed_before_a_key_was_revoked_stays_proven(tmp_path: Path) -> None:
    """Who holds a revoked key can date what it writes as it likes: the broker says when it came."""
    until = LATER + timedelta(hours=1)
    text = PROVING.replace(
        f"since = {SINCE:%Y-%m-%dT%H:%M:%SZ}", f"since = {SINCE:%Y-%m-%dT%H:%M:%SZ}\nuntil = {until:%Y-%m-%dT%H:%M:%SZ}"
    )
    world = await GuardWorld(tmp_path, text).start()
    places = await called(world, "c1", ALICE)
    world.clock.at = LATER
    await written(world, access(world, places))
    world.clock.at = until + timedelta(minutes=2)
    await written(world, access(world, places, at=LATER, read="s" * 21 + "A"))
    assert await seen(world) == ([("billing-1", 1, True)], 1)
    assert world.counts[Counters.access_unproven["lapsed_actor"]] == 1


async def test_a_later_releases_access_halts_only_when_an_actor_wrote_it(world: GuardWorld) -> None:
    """Whoever may append to the topic could else stop every keeper."""
    places = await called(world, "c1", ALICE)
    world.clock.at = LATER
    later = encode(access(world, places)).replace(b'"v":1', b'"v":9')
    await world.log.write([Output(ACCESS, 0, b"billing-1", later)])
    assert await seen(world) == ([], 0)
    assert world.counts[Counters.access_unproven["unreadable"]] == 1
    judge = Judge(
        world.policy.actors(TENANT), world.vault.guard_id(), ACCESS, dead="calllog.dead", cases="privacy.cases"
    )
    signed = key(world, "billing-1").vouched(access(world, places), place_of(world.vault.guard_id(), ACCESS, 0))
    with pytest.raises(RecordError):
        judge.account(signed.replace(b'"v":1', b'"v":9'), 0, to_ms(LATER))

    class Later(Access, frozen=True, kw_only=True):
        v: int = 9  # type: ignore[assignment]

    newer = Later(**{each: getattr(access(world, places), each) for each in Access.__struct_fields__} | {"v": 9})
    with pytest.raises(NewerFormError):
        judge.account(
            key(world, "billing-1").vouched(newer, place_of(world.vault.guard_id(), ACCESS, 0)), 0, to_ms(LATER)
        )


async def test_a_later_minor_releases_field_is_covered_by_the_signature(world: GuardWorld) -> None:
    class Wider(Access, frozen=True, kw_only=True):
        zz_later: str = "new"

    places = await called(world, "c1", ALICE)
    world.clock.at = LATER
    fields = {each: getattr(access(world, places), each) for each in Access.__struct_fields__}
    await written(world, Wider(**fields))
    assert await seen(world) == ([("billing-1", 1, True)], 0)


async def test_a_registration_that_comes_later_is_applied_to_what_was_read(tmp_path: Path) -> None:
    """The keeper has believed it when nobody had a key, and follows a version by which somebody had."""
    world = await GuardWorld(tmp_path, BARE + RECIPIENTS).start()
    places = await called(world, "c1", ALICE)
    world.clock.at = LATER
    await written(world, access(world, places), None)
    assert await seen(world) == ([("billing-1", 1, msgspec.UNSET)], 0)
    (world.folder / "policy.toml").write_text(PROVING)
    other = load_policy(world.folder / "policy.toml")
    world.policy.versions, world.policy.history = other.versions, other.history
    assert await seen(world, "access-02") == ([], 1)


async def test_recipients_are_those_whose_credentials_have_proven_it(world: GuardWorld) -> None:
    mine, theirs = await called(world, "c1", ALICE), await called(world, "c2", BOB)
    world.clock.at = LATER + timedelta(minutes=1)
    await written(world, access(world, mine))
    await written(world, access(world, theirs, actor="support-1", purpose="service"), "billing-1")
    for number, who in enumerate((ALICE, BOB)):
        await world.ask(f"erase-000{number}", "erase", who)
    await world.run()
    assert recipients(world, "erase-0000") == {"invoicing"}
    assert recipients(world, "erase-0001") == set()


@pytest.mark.slow
async def test_a_hundred_identifiers_read_the_accesses_once(tmp_path: Path) -> None:
    """A count of records handed out, not of calls: each is read once for all, later questions read only new ones."""
    world = await GuardWorld(tmp_path, PROVING).start()
    people = [f"person-{number}@example.org" for number in range(100)]
    for number, each in enumerate(people):
        await world.call(f"c{number}", each)
    await world.run()
    world.clock.at = LATER
    for place in range(4):
        for number in range(50):
            await written(world, access(world, {place: [number]}, at=LATER + timedelta(seconds=number)))
    read = counted(world)
    await world.restart()
    for number in range(0, 100, 20):
        await answer(world, f"access-{number:02}", *people[number : number + 20])
    assert read[ACCESS] == 200
