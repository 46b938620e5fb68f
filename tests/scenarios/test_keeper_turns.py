"""What fails once within a keeper's work is done again, and foreign records end no keeper: neither loses anything."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from guard_world import PARTITIONS, TENANT, GuardWorld
from test_backlog import CAROL, filled, stages
from test_crash_matrix import reply
from test_parking import ALICE, BOB, pseudonym
from test_waiting import again, spoiled

from calllog_guard.core.codec import Access, decode, encode
from calllog_guard.core.crypto.entries import applied_key
from calllog_guard.core.decisions.decision import DECISIONS
from calllog_guard.core.decisions.outcome import is_result
from calllog_guard.core.identifiers import partition_of
from calllog_guard.core.records import Output
from calllog_guard.core.stream.offsets import pack
from calllog_guard.core.stream.proofs import DESK
from calllog_guard.errors import EntryUnreadableError, Fate, GuardError, KeystoreSilentError, LogSilentError
from calllog_guard.workers.keeper.held_copies import Copies
from calllog_guard.workers.keys.hold_store import Safe
from calllog_guard.workers.keys.people.subject_keys import Keyring


async def settled(world: GuardWorld) -> None:
    """Every worker had its turns; what must be tried again is, as by `Delivery`; everything else ends the worker."""
    for _ in range(30):
        for name in ("protector", "desk", "keeper"):
            try:
                await world.step(name)
            except GuardError as error:
                if error.fate is not Fate.RETRY:
                    raise


@pytest.mark.parametrize(
    "silent",
    [
        None,
        LogSilentError("Kafka does not answer"),
        KeystoreSilentError("no answer"),
        EntryUnreadableError("x", "entry_corrupt"),
    ],
    ids=["never", "kafka", "keystore", "entry"],
)
async def test_an_answer_is_whole_although_a_server_was_silent_once(
    tmp_path: Path, monkeypatch: Any, silent: GuardError | None
) -> None:
    """The copies under a hold are part of a person's answer (Art. 15), also when one look at them failed."""
    world = await filled(tmp_path)
    await world.hold("hold-0001", "claim", ALICE)
    await world.run()
    await world.ask("erase-001", "erase", ALICE)
    await world.run()
    await world.call("back", ALICE, days_ago=-0.01)
    world.clock.at = world.clock.at.replace(hour=12)
    await world.call("back2", ALICE, days_ago=0.05)
    await world.run()
    left = [silent] if silent else []
    whole = Copies.about

    async def about(*args: Any) -> Any:
        if left and args[1].held.legs_after(args[2], args[3], 1):
            raise left.pop()
        return await whole(*args)

    monkeypatch.setattr(Copies, "about", about)
    await world.ask("access-01", "access", ALICE, reply_key=reply(world))
    await settled(world)
    for shard in world.keeper._shards.values():
        shard.pauses.at_once()
    await settled(world)
    assert "exported" in stages(world, "access-01")
    assert sum(world.case("access-01").legs.values()) >= 3, "the three copies under the hold are hers"


@pytest.mark.parametrize("silent", [False, True])
async def test_a_search_is_whole_although_the_keystore_was_silent_once(
    tmp_path: Path, monkeypatch: Any, *, silent: bool
) -> None:
    """Or the desk would take the person for nobody, and certify an erasure while the legs stand and open."""
    world = await filled(tmp_path)
    await spoiled(world)
    left = [1] * 4 if silent else []
    whole = Keyring.keys_with

    async def keys_with(*args: Any) -> Any:
        if left:
            left.pop()
            raise KeystoreSilentError("the keystore does not answer")
        return await whole(*args)

    monkeypatch.setattr(Keyring, "keys_with", keys_with)
    await world.ask("erase-001", "erase", ALICE)
    for _ in range(3):
        await settled(world)
        again(world)
    await settled(world)
    assert len(world.legs()) == 6, (stages(world, "erase-001"), world.case("erase-001").known)


@pytest.mark.parametrize("silent", [False, True])
async def test_a_late_copy_of_a_released_hold_goes_although_the_keystore_was_silent_once(
    tmp_path: Path, monkeypatch: Any, *, silent: bool
) -> None:
    """Or it would lie in the compacted topic for ever."""
    world = await filled(tmp_path)
    await world.hold("hold-0001", "claim", ALICE)
    await world.run()
    late = [
        (place, each)
        for place, lane in world.log.records.items()
        if place[0] == "calllog.held"
        for each in lane
        if each.value
    ]
    await world.release("free-0001", "claim")
    await world.run()
    assert not world.held()
    (topic, partition), record = late[0]
    await world.log.write([Output(topic, partition, record.key, record.value)])
    left = [1] if silent else []
    whole = Safe.readable

    async def readable(self: Safe, names: Any) -> Any:
        wanted = list(names)
        if left and wanted == [(record.key or b"")[:22].decode()]:
            left.pop()
            raise KeystoreSilentError("the keystore does not answer")
        return await whole(self, wanted)

    monkeypatch.setattr(Safe, "readable", readable)
    for _ in range(3):
        world.clock.at += timedelta(hours=2)
        await settled(world)
    assert not left
    assert not world.held()


async def _tampered(world: GuardWorld) -> None:
    """The rule of alice's objection is replaced, as by compaction: its entry (AAD without rule) still opens."""
    name = await pseudonym(world, ALICE)
    place = ("privacy.decisions", partition_of(name, PARTITIONS))
    lane = world.log.records[place]
    for at, record in enumerate(lane):
        if (record.key or b"").startswith(name.encode()) and not is_result(record.key or b""):
            changed = encode(msgspec.structs.replace(decode(DECISIONS, record.value or b""), rule="A" * 80))
            (proven,) = world.vault.vouched(TENANT, DESK, [Output(*place, record.key, changed)])
            lane[at] = msgspec.structs.replace(record, value=changed, headers=proven.headers)


async def test_one_rule_that_does_not_open_ends_no_replay(tmp_path: Path) -> None:
    """It is that person's matter alone: the guard would never end."""
    world = await filled(tmp_path)
    await world.ask("object-01", "object", ALICE, purposes=["quality"])
    await world.run()
    await _tampered(world)
    world.keystore.run = b"another"
    for partition in range(PARTITIONS):  # a backup from before the objection says nothing of it
        world.keystore.entries.pop(applied_key(partition), None)
    await world.restart()
    await settled(world)


async def test_one_rule_that_does_not_open_stops_no_keeper(tmp_path: Path) -> None:
    """Their legs wait to be judged, and nobody else's do."""
    world = await filled(tmp_path)
    await world.ask("object-01", "object", ALICE, purposes=["quality"])
    await world.run()
    good = dict(world.keystore.entries)
    key = f"clg:{TENANT}:key:{await pseudonym(world, ALICE)}".encode()
    await world.call("late", ALICE)
    await world.step("protector")
    del world.keystore.entries[key]
    await world.restart()
    await world.step("keeper")
    await _tampered(world)
    world.keystore.entries |= good
    await world.restart()
    for shard in world.keeper._shards.values():
        shard.unjudged.at_once()
    await world.step("keeper")


async def test_a_forged_record_beside_a_result_stops_no_replay(tmp_path: Path) -> None:
    """What no desk wrote is passed over."""
    world = await filled(tmp_path)
    await world.hold("hold-0001", "claim", ALICE)
    await world.run()
    name = await pseudonym(world, ALICE)
    place = ("privacy.decisions", partition_of(name, PARTITIONS))
    key = next(
        each.key
        for each in world.log.records[place]
        if each.key and each.key.startswith(name.encode()) and not is_result(each.key)
    )
    forged = decode(DECISIONS, world.log.live("privacy.decisions")[key])
    forged = msgspec.structs.replace(forged, decision="A" * 21 + "B")
    await world.log.write([Output(*place, key, encode(forged))])
    world.keystore.run = b"another"
    await world.restart()
    await settled(world)


@pytest.mark.parametrize(
    "forged",
    [
        {"at": datetime(1, 1, 1, tzinfo=UTC)},
        {"from_": 1 << 62, "to": 1 << 80, "which": pack([(1 << 62) + 1, 1 << 63, (1 << 64) + 9], 1 << 62)},
        {"from_": -(1 << 70), "to": -(1 << 69)},
        {"opened": -1, "partition": 1 << 70},
    ],
    ids=["time", "far", "below", "nowhere"],
)
async def test_a_forged_access_stops_no_keeper(tmp_path: Path, forged: dict[str, Any]) -> None:
    """Of the year 1, of offsets that no log has, of partitions that there are not."""
    world = await filled(tmp_path)
    name = await pseudonym(world, ALICE)
    access = Access(
        v=1,
        actor="billing-1",
        purpose="billing",
        case=None,
        topic="calllog.legs",
        partition=partition_of(name, PARTITIONS),
        from_=0,
        to=0,
        opened=1,
        refused={},
        at=world.clock.at,
        which=pack([10**6], 0),
    )
    access = msgspec.structs.replace(access, **forged)
    await world.log.write([Output("privacy.access", 0, b"billing-1", encode(access))])
    await world.restart()
    for who in (ALICE, BOB, CAROL):
        await world.ask("access-" + who[:3], "access", who, reply_key=reply(world))
    await settled(world)
    assert "exported" in stages(world, "access-ali")


async def test_a_leg_in_another_partition_goes_with_its_person(tmp_path: Path) -> None:
    """No erasure would find it there."""
    world = await filled(tmp_path)
    name = await pseudonym(world, ALICE)
    key, value = next((key, value) for key, value in world.legs().items() if key.startswith(name.encode()))
    other = (partition_of(name, PARTITIONS) + 1) % PARTITIONS
    await world.log.write([Output("calllog.legs", other, key, value)])
    await world.run()
    await world.ask("erase-001", "erase", ALICE)
    await world.run()
    assert "tombstoned" in stages(world, "erase-001")
    left = [each for each in world.log.records["calllog.legs", other] if each.key == key]
    assert left[-1].value is None, (
        "it is still there, and whatever is certified of the other partition is not true of it"
    )
