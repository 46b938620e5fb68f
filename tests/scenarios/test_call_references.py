"""A call id made of the parties' addresses outlives no erasure in another's record: records name calls by reference."""

import json
from datetime import date, timedelta
from pathlib import Path

import pytest
from guard_world import PARTITIONS, START, TENANT, GuardWorld
from jwcrypto import jwe, jwk
from test_access import answer, with_calls
from test_parking import again, legs, parked, pseudonym

from calllog_guard.adapters.disk.trace_search import Hunter
from calllog_guard.adapters.memory.fakes import MemoryKms, MemoryRing
from calllog_guard.core.calls.leg import Leg, read_leg
from calllog_guard.core.calls.parked import WaitingPart, event_of
from calllog_guard.core.crypto.entries import secrets_key
from calllog_guard.core.crypto.held_envelope import parse_held
from calllog_guard.core.crypto.leg_envelope import open_leg, parse_header
from calllog_guard.core.crypto.subject_secrets import CallKey, DataKey, Pepper, month_from
from calllog_guard.core.identifiers import CallId, HoldId, Lookup, Tenant, b64, is_id
from calllog_guard.core.records import Output
from calllog_guard.core.retention.purposes import GRACE_DAYS
from calllog_guard.metrics import Counters
from calllog_guard.workers.keys.tenants.tenant_secrets import Vault
from calllog_guard.workers.protector.leg_writer import PendingLeg

AMY, BEN = "alice@example.org", "bob@example.org"
CALL = f"teams-19:{AMY}_{BEN}"
GOLDEN = json.loads((Path(__file__).parents[1] / "vectors" / "stored_v2.json").read_text())


def reference(world: GuardWorld, call: str = CALL) -> str:
    """By what the tenant's records name a call."""
    return world.reference(call)


async def upgrade(world: GuardWorld) -> None:
    """`tenant upgrade`."""
    world.vault.upgrade(TENANT, ("as-written",), world.clock.at, PARTITIONS)
    await world.ring().guard.tell_profile()
    await world.restart()


@pytest.fixture
async def old(tmp_path: Path) -> GuardWorld:
    """A tenant of the first release, its call in clear, just upgraded."""
    world = await GuardWorld(tmp_path, forms=1).start()
    await world.call(CALL, AMY, BEN)
    await world.run()
    assert {leg.call for who in (AMY, BEN) for leg in await legs(world, who)} == {CALL}
    assert versions(world) == [1, 1]
    await upgrade(world)
    return world


def versions(world: GuardWorld) -> list[int]:
    """Of the living legs."""
    return sorted(parse_header(value).v for value in world.legs().values())


def lying(world: GuardWorld, family: str) -> dict[tuple[int, bytes], bytes]:
    """Legs or copies as they lie, by partition and key."""
    live = world.log.live(f"calllog.{family}")
    return {
        (partition, record.key): live[record.key]
        for (topic, partition), lane in world.log.records.items()
        for record in lane
        if topic == f"calllog.{family}" and record.key in live
    }


async def copies(world: GuardWorld) -> list[tuple[int, Leg]]:
    """The living copies, opened: their versions and what they say."""
    found: list[tuple[int, Leg]] = []
    for value in world.held().values():
        header = parse_held(value)
        secret = await world.safe().secret(HoldId(header.kid))
        assert secret is not None
        found.append((header.v, read_leg(open_leg(value, secret.copy_key()))))
    return found


# --- the reference ----------------------------------------------------------------------------------------------------


async def test_each_party_of_a_call_has_the_same_reference_and_nobody_its_id(tmp_path: Path) -> None:
    """A disclosure joins by it."""
    world = await GuardWorld(tmp_path).start()
    await world.call(CALL, AMY, BEN)
    await world.call("another", AMY, BEN)
    await world.run()
    amy, ben = [[leg.call for leg in await legs(world, who)] for who in (AMY, BEN)]
    assert sorted(amy) == sorted(ben) == sorted([reference(world), reference(world, "another")])
    assert len(set(amy)) == 2
    assert all(map(is_id, amy))
    assert versions(world) == [2] * 4


async def test_the_same_call_again_replaces_what_was_stored(tmp_path: Path) -> None:
    """The record key is made of the id still, in either form."""
    world = await GuardWorld(tmp_path, forms=1).start()
    await world.call(CALL, AMY, BEN)
    await world.run()
    before = world.legs().keys()
    await upgrade(world)
    await world.call(CALL, AMY, BEN, outcome="missed")
    await world.run()
    assert world.legs().keys() == before
    assert (versions(world), {leg.call for leg in await legs(world, BEN)}) == ([2, 2], {reference(world)})


def test_a_reference_is_the_tenants_own() -> None:
    """Who has no key can try no guess: two tenants, and a key of another use, give others."""
    vault = Vault(MemoryKms(), MemoryRing())
    tenants = [Tenant("iocom"), Tenant("acme")]
    for tenant in tenants:
        vault.create_tenant(tenant)
    keys = [vault.call_key(tenant) for tenant in tenants]
    assert keys[0] is vault.call_key(tenants[0])
    pepper = vault.pepper(tenants[0])
    found = [key.reference(CallId("c1")) for key in (*keys, CallKey(pepper.expose()))]
    assert len(set(found)) == 3


def test_an_independent_jose_library_opens_a_leg_and_a_copy_of_version_2() -> None:
    for name, key, kind in (("leg", "leg_key", "calllog-leg"), ("copy", "copy_key", "calllog-held")):
        foreign = jwe.JWE(algs=["dir", "A256GCM"])
        foreign.deserialize(GOLDEN[name], jwk.JWK(kty="oct", k=b64(bytes.fromhex(GOLDEN[key])).decode()))
        assert foreign.payload.rstrip(b" ").decode() == GOLDEN["leg_plaintext"]
        assert (foreign.jose_header["v"], foreign.jose_header["typ"]) == (2, kind)
    leg = read_leg(open_leg(GOLDEN["leg"].encode(), DataKey(bytes.fromhex(GOLDEN["leg_key"]))))
    assert leg.call == GOLDEN["call_reference"] == Pepper(b"\x04" * 32).call_key().reference(CallId("call-1"))


# --- what an earlier level left ---------------------------------------------------------------------------------------


async def test_what_is_given_and_shown_names_a_call_of_either_form_by_its_reference(old: GuardWorld) -> None:
    world = old
    await world.call("new", AMY, BEN)
    await world.run()
    assert versions(world) == [1, 1, 2, 2]
    told = await answer(world, "access-01", AMY, BEN)
    assert [leg.call for leg in told.legs].count(reference(world)) == 2
    assert {leg.call for leg in told.legs} == {reference(world), reference(world, "new")}
    assert told.about.calls == "reference"


async def test_an_answer_of_a_tenant_of_the_first_release_is_as_it_was(tmp_path: Path) -> None:
    world = await GuardWorld(tmp_path, forms=1).start()
    await world.call(CALL, AMY, BEN)
    await world.run()
    told = await answer(world, "access-01", AMY)
    assert [leg.call for leg in told.legs] == [CALL]
    assert not told.about.calls


@pytest.mark.parametrize("role", ["guest", "host"])
async def test_a_correction_renews_the_form_also_where_it_says_nothing_new(old: GuardWorld, role: str) -> None:
    """Alice was the host."""
    world = old
    await world.ask("rectify-01", "rectify", AMY, facts={"call_id": CALL, "role": role})
    await world.run()
    ((leg,),) = [await legs(world, AMY)]
    assert (leg.call, leg.role) == (reference(world), role)
    assert versions(world) == [1, 2], "the other's is not touched"
    written = [record for (topic, _), lane in world.log.records.items() for record in lane if topic == "calllog.legs"]
    assert len(written) == 3, "it is written anew once"


async def test_a_copy_of_an_old_leg_names_the_call_by_reference(old: GuardWorld) -> None:
    world = old
    await world.hold("hold-0001", "claim-1", BEN)
    await world.run()
    ((version, leg),) = await copies(world)
    assert (version, leg.call, leg.subject) == (2, reference(world), BEN)


async def test_a_leg_that_comes_under_a_hold_in_the_old_form_is_copied_in_the_new(old: GuardWorld) -> None:
    """A worker that was paused through the upgrade writes it."""
    world = old
    await world.hold("hold-0001", "claim-1", BEN)
    await world.run()
    await world.log.write([Output("calllog.held", partition, key, None) for partition, key in lying(world, "held")])
    assert world.held() == {}
    again = [Output("calllog.legs", *place, value) for place, value in lying(world, "legs").items()]
    await world.log.write(again)
    await world.run()
    ((version, leg),) = await copies(world)
    assert (version, leg.call) == (2, reference(world))
    assert versions(world) == [1, 1]


async def test_a_copy_of_the_old_form_is_given_by_reference(tmp_path: Path) -> None:
    """What an officer had copied before the upgrade stays as it is; who is told of it reads the reference."""
    world = await GuardWorld(tmp_path, forms=1).start()
    await world.call(CALL, AMY, BEN)
    await world.run()
    await world.hold("hold-0001", "claim-1", BEN)
    await world.run()
    await world.ask("erase-0001", "erase", BEN)
    await world.run()
    await upgrade(world)
    ((version, leg),) = await copies(world)
    assert (version, leg.call) == (1, CALL)
    (value,) = world.held().values()
    hold = HoldId(parse_held(value).kid)
    ((shard, rows),) = [
        (shard, rows) for shard in world.keeper._shards.values() if (rows := shard.held.legs_after(hold, b"", 9))
    ]
    opened = await world.keeper._enforcer.copies.opened(shard, hold, rows)
    assert [leg.call for leg in opened.values()] == [reference(world)]


async def test_old_legs_of_the_restricted_are_appended_again_with_the_reference(old: GuardWorld) -> None:
    world = old
    await world.ask("restrict-01", "restrict", AMY)
    await world.run()
    world.clock.at += timedelta(days=world.policy.keep_days(TENANT) + GRACE_DAYS // 2 + 1)
    await world.run()
    assert (world.counts[Counters.legs_renewed], versions(world)) == (1, [2])
    assert [leg.call for leg in await legs(world, AMY)] == [reference(world)]


async def test_who_is_restricted_and_has_no_usable_key_keeps_their_legs_as_they_are(old: GuardWorld) -> None:
    world = old
    await world.ask("restrict-01", "restrict", AMY)
    await world.run()
    name = await pseudonym(world, AMY)
    world.keystore.entries[secrets_key(TENANT, name)] = b"\x01damaged"
    world.clock.at += timedelta(days=world.policy.keep_days(TENANT) + GRACE_DAYS // 2 + 1)
    await world.run()
    assert (world.counts[Counters.legs_renewed], versions(world)) == (1, [1])


# --- what waits -------------------------------------------------------------------------------------------------------


async def test_a_part_that_waits_becomes_a_leg_with_the_reference(tmp_path: Path) -> None:
    world = await GuardWorld(tmp_path).start()
    await world.call("known", AMY, BEN)
    await world.run()
    name = await pseudonym(world, AMY)
    kept = world.keystore.entries.pop(secrets_key(TENANT, name))
    await world.restart()
    await world.call(CALL, AMY, BEN)
    await world.run()
    assert len(parked(world)) == 1
    world.keystore.entries[secrets_key(TENANT, name)] = kept
    await world.restart()  # from what lies in the topic
    again(world)
    await world.run()
    assert parked(world) == {}
    assert {leg.call for leg in await legs(world, AMY)} == {reference(world, "known"), reference(world)}


async def test_a_part_of_the_old_form_that_waited_gets_the_reference(tmp_path: Path) -> None:
    """Made by a unit that began before the upgrade."""
    world = await GuardWorld(tmp_path).start()
    rules = world.protector._sealer.rules()
    text = GOLDEN["leg_plaintext"].replace(GOLDEN["call_reference"], "call-1").encode()
    part = PendingLeg(Lookup("A" * 43), 1, text, CallId("call-1"), 0, 0, "2026-11-24", month_from("2026-11"))
    again = world.protector._sealer.again(part, rules)
    assert again.form == 2
    assert read_leg(again.text or b"").call == reference(world, "call-1")
    assert world.protector._sealer.again(again, rules) == again


def test_a_part_that_lapsed_can_be_replayed_under_its_calls_id() -> None:
    """Its record key is made of the id: under the reference it would replace nothing."""
    text = GOLDEN["leg_plaintext"]
    part = WaitingPart(lookup="A" * 43, mask=1, text=text, call="call-1", started_ms=0, appended_ms=0, form=2)
    assert json.loads(event_of(part, TENANT))["call_id"] == "call-1"


# --- nothing is left --------------------------------------------------------------------------------------------------


async def test_after_an_erasure_no_byte_anywhere_holds_an_id_made_of_addresses(tmp_path: Path) -> None:
    """Topics, keystore, index, and everything that opens: the other's legs, copies, answers, notices."""
    world = await with_calls(tmp_path)
    await world.call(CALL, AMY, BEN)
    await world.call(f"{CALL}-again", AMY, BEN)
    await world.run()
    await world.hold("hold-0001", "claim-1", BEN)
    await world.run()
    await world.ask("rectify-01", "rectify", BEN, facts={"call_id": CALL, "role": "host"})
    await world.run()
    await world.ask("erase-0001", "erase", AMY)
    await world.run()
    told = await answer(world, "access-01", BEN)
    plain = ("calllog.events", "privacy.requests")  # trimmed behind their readers; see test_canaries.py
    found = [*world.keystore.entries, *world.keystore.entries.values()]
    for (topic, _), lane in world.log.records.items():
        if topic not in plain:
            found += [part for record in lane for part in (record.key, record.value) if part]
    found += [json.dumps([leg.call for leg in told.legs]).encode()]
    found += [leg.call.encode() for leg in await legs(world, BEN)]
    found += [leg.call.encode() for _, leg in await copies(world)]
    hunter = Hunter([AMY, CALL])
    assert not [each for each in found if hunter.hits(each)]
    assert hunter.hits(CALL.encode()), "it would have been found"
    assert reference(world) in {leg.call for leg in told.legs}


# --- the certificate --------------------------------------------------------------------------------------------------


def bound(world: GuardWorld, jti: str) -> str | None:
    """Until when the last receipt of a case says that others' old records may be left."""
    found: str | None = world.receipts(jti)[-1]["bounds"].get("clear_calls")
    return found


async def test_a_receipt_says_until_when_others_may_have_an_id_in_clear(old: GuardWorld) -> None:
    world = old
    await world.ask("erase-0001", "erase", AMY)
    await world.ask("access-0001", "restrict", BEN)
    await world.run()
    last = date(START.year, START.month, START.day) + timedelta(days=1)
    until = last + timedelta(days=world.policy.keep_days(TENANT) + GRACE_DAYS)
    assert bound(world, "erase-0001") == f"{until}T00:00:00Z"
    assert bound(world, "access-0001") is None, "of an erasure alone"
    world.clock.at += timedelta(days=world.policy.keep_days(TENANT) + GRACE_DAYS + 2)
    await world.ask("erase-0002", "erase", "carol@example.org")
    await world.run()
    assert bound(world, "erase-0002") is None, "by then the last of them is gone"


async def test_of_a_tenant_that_began_with_references_there_is_nothing_to_say(tmp_path: Path) -> None:
    world = await GuardWorld(tmp_path).start()
    await world.call(CALL, AMY, BEN)
    await world.ask("erase-0001", "erase", AMY)
    await world.run()
    assert bound(world, "erase-0001") is None


async def test_of_a_tenant_of_whom_nobody_knows_it_is_said(tmp_path: Path) -> None:
    """The first level of forms writes ids; a profile from before the field was does not say."""
    world = await GuardWorld(tmp_path, forms=1).start()
    await world.call(CALL, AMY, BEN)
    await world.run()
    await world.ask("erase-0001", "erase", AMY)
    await world.run()
    assert bound(world, "erase-0001") is not None
