"""A desk that was paused while another took its place: its late writes are not made, and do not win."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from desk_world import CANARY, TENANT, DeskWorld
from guard_world import GuardWorld

from calllog_guard.adapters.memory.fakes import MemoryKeystore
from calllog_guard.adapters.memory.log import MemoryIndex
from calllog_guard.core.cases.case import TENURE_MOST, later
from calllog_guard.core.cases.secret_cases import is_state, open_case
from calllog_guard.core.codec import decode
from calllog_guard.core.crypto.subject_secrets import Secret
from calllog_guard.core.decisions.decision import DECISIONS, Decision, Entry, open_entry, seal_entry
from calllog_guard.core.identifiers import Lookup
from calllog_guard.core.records import Output
from calllog_guard.core.stream.arrival import Arrival
from calllog_guard.errors import RecordError, StaleDeskError
from calllog_guard.metrics import Counters
from calllog_guard.ports.log import TopicPartition
from calllog_guard.workers.keeper.partition import Shard
from calllog_guard.workers.keys.people.naming import Naming
from calllog_guard.workers.keys.tenants.tenure import Tenure, entry_of

HERE = TopicPartition("privacy.requests", 0)
AT = datetime(2026, 11, 24, tzinfo=UTC)
NAME = "A" * 22


async def taken_over(world: DeskWorld) -> Any:
    """The desk that was paused, after another has been assigned its partition."""
    paused = world.desk
    await world.restart()
    return paused


async def test_a_paused_desk_writes_nothing_once_another_has_its_cases(tmp_path: Path) -> None:
    world = await DeskWorld(tmp_path).start()
    await world.ask("waits-001", CANARY, type="erase", identity="unverified")
    paused = await taken_over(world)
    before = len(world.writer.writes)
    await world.ask("erase-001", CANARY, type="erase")
    assert len(world.writer.writes) > before
    before = len(world.writer.writes)
    with pytest.raises(StaleDeskError):
        await paused.unit({HERE: [world.asked[-1]]})
    with pytest.raises(StaleDeskError):
        await paused._book.save(world.case("waits-001"))
    world.at = world.at.replace(year=2036)
    with pytest.raises(StaleDeskError):
        await paused.idle()
    assert len(world.writer.writes) == before


async def test_a_refused_case_does_not_come_back(tmp_path: Path) -> None:
    """What was on its way when the desk was paused lies behind its successor's, and Kafka would keep that alone."""
    world = await DeskWorld(tmp_path).start()
    await world.ask("waits-001", CANARY, type="erase", identity="unverified")
    (older,) = [each for each in world.written("privacy.cases") if each.key == world.case_key("waits-001")]
    await taken_over(world)
    await world.ask("refuse-01", by="officer-1", type="refuse", case=world.case("waits-001").case, ground="No.")
    world.writer.writes.append([older])
    await world.restart()
    assert world.case("waits-001").state == "refused", "written again, or compaction would keep the older one alone"
    assert world.counts[Counters.cases_restored] == 1
    await world.ask("verify-01", type="clock", event="verify", case=world.case("waits-001").case)
    assert world.reasons() == ["wrong_state"]
    assert world.written("privacy.decisions") == []


@pytest.mark.parametrize("value", [b"older", b"garbage", None])
async def test_the_desk_sees_what_is_written_behind_it(tmp_path: Path, value: bytes | None) -> None:
    world = await DeskWorld(tmp_path).start()
    await world.ask("waits-001", CANARY, type="erase", identity="unverified")
    first = world.written("privacy.cases")[-1]
    await world.ask("refuse-01", by="officer-1", type="refuse", case=world.case("waits-001").case, ground="No.")
    await world.later(seconds=16)
    assert world.counts[Counters.cases_restored] == 0, "its own states are no news"
    newest = world.case("waits-001")
    behind = first if value == b"older" else Output("privacy.cases", 0, first.key, value)
    world.writer.writes.append([behind])
    await world.later(seconds=16)
    assert world.counts[Counters.cases_restored] == 1
    again = world.case("waits-001")
    assert (again.state, again.count) == ("refused", (newest.count or 0) + 1)
    await world.later(seconds=16)
    assert world.counts[Counters.cases_restored] == 1


async def test_a_secret_case_is_counted_like_any_other(tmp_path: Path) -> None:
    world = await GuardWorld(tmp_path).start()
    await world.hold("hold-0001", "claim-17", CANARY, secret=True)
    await world.run()
    key, records = world.vault.case_key(TENANT), await world.log.read_all("privacy.orders", [0])
    states = [each for each in records if is_state(each)]
    counts = [open_case(each.key or b"", each.value or b"", key).count for each in states]
    assert counts == list(range(1, len(counts) + 1))
    assert len(counts) > 1
    await world.log.write([Output("privacy.orders", 0, states[0].key, states[0].value)])
    world.clock.at += timedelta(seconds=16)
    await world.desk.idle()
    assert world.counts[Counters.cases_restored] == 1


async def test_choices_of_a_person_change_under_their_own_desk_alone(tmp_path: Path) -> None:
    """Also when the other desk came between reading and writing."""
    world = await DeskWorld(tmp_path).start()
    ring = world.desk._o.decider._ring
    lookup = Naming(TENANT, world.vault).names(CANARY).lookup
    view = await ring.view([lookup])
    await world.restart()
    assert not await ring.fence_if(lookup, view, 1)
    with pytest.raises(StaleDeskError):
        await ring.view([lookup])
    with pytest.raises(StaleDeskError):
        await ring.change(lookup, lambda person: person, generation=1)


async def test_the_first_release_is_written_without_tenures(tmp_path: Path) -> None:
    world = await GuardWorld(tmp_path, forms=1).start()
    await world.ask("erase-001", "erase", CANARY)
    await world.run()
    (record, *_) = await world.log.read_all("privacy.cases", [0])
    assert b"tenure" not in (record.value or b"")
    decided = await world.log.read_all("privacy.decisions", range(4))
    assert decided
    assert not any(b"tenure" in (each.value or b"") for each in decided)


async def test_whoever_knows_that_it_has_no_cases_needs_no_tenure(tmp_path: Path) -> None:
    """A desk of other partitions makes dead letters of what does not belong there."""
    world = await DeskWorld(tmp_path).start()
    other = await taken_over(world)
    await other.revoked([0])
    await other.unit({HERE: [Arrival("privacy.requests", 1, 0, b"iocom", b"nonsense", 0)]})
    assert world.reasons() == ["not_a_jws"]


# --- the number -------------------------------------------------------------------------------------------------------


async def test_each_tenure_has_a_higher_number_and_ends_the_one_before() -> None:
    keystore = MemoryKeystore()
    first, second = Tenure(TENANT, keystore), Tenure(TENANT, keystore)
    await first.begin()
    await first.check()
    await second.begin()
    assert (first.number, second.number) == (1, 2)
    with pytest.raises(StaleDeskError):
        await first.check()
    await first.begin()
    assert first.number == 3


async def test_an_older_keystore_takes_nobodys_cases_away() -> None:
    keystore = MemoryKeystore()
    tenure = Tenure(TENANT, keystore)
    await tenure.begin()
    old = dict(keystore.entries)
    await tenure.begin()
    keystore.entries = old
    await tenure.check()
    assert tenure.number == 3
    keystore.entries.clear()
    await tenure.check()
    assert tenure.number == 4


@pytest.mark.parametrize("raw", [b"x", entry_of(TENURE_MOST, bytes(16)), entry_of((1 << 64) - 1, bytes(16)), bytes(25)])
async def test_a_number_that_no_desk_can_have_reached_says_nothing(raw: bytes) -> None:
    keystore = MemoryKeystore()
    tenure = Tenure(TENANT, keystore)
    await tenure.begin()
    keystore.entries[tenure.key] = raw
    await tenure.check()
    assert tenure.number == 2
    await tenure.check()
    assert tenure.number == 2


async def test_two_desks_with_one_number_are_told_apart() -> None:
    """Each took it of another content of the keystore."""
    keystore, other = MemoryKeystore(), MemoryKeystore()
    tenure = Tenure(TENANT, keystore)
    await tenure.begin()
    await Tenure(TENANT, other).begin()
    keystore.entries = other.entries
    with pytest.raises(StaleDeskError):
        await tenure.check()


async def test_a_keystore_that_is_older_than_the_log_begins_above_it(tmp_path: Path) -> None:
    world = await DeskWorld(tmp_path).start()
    for _ in range(3):
        await world.restart()
    await world.ask("waits-001", CANARY, type="erase", identity="unverified")
    assert world.case("waits-001").tenure == 4
    del world.keystore.entries[world.desk._topic._tenure.key]
    await world.restart()
    await world.ask("refuse-01", by="officer-1", type="refuse", case=world.case("waits-001").case, ground="No.")
    assert world.case("waits-001").tenure == 5


# --- the order of what holds ------------------------------------------------------------------------------------------


def decision(kind: Any, letter: str, tenure: int, case: str = "B") -> Decision:
    """A decision of a desk."""
    return Decision(
        v=2,
        decision=letter * 22,
        type=kind,
        tenant="iocom",
        case=case * 22,
        pseudonym=NAME,
        entry="",
        epoch="2026-W48",
        cut_off=AT,
        pol="2026-11-01",
        at=AT,
        tenure=tenure,
    )


def shard_with(*decisions: Decision) -> Shard:
    """A partition whose ledger has these decisions, in this order."""
    shard = Shard(0, MemoryIndex(), 0, 0, MemoryIndex(), 0)
    for each in decisions:
        shard.note(f"{each.pseudonym}.{each.decision}", each)
    return shard


def test_what_a_paused_desk_decided_late_comes_before_what_its_successor_decided() -> None:
    """Compaction has left the late record of the restriction alone: behind its end."""
    shard = shard_with(decision("lift", "D", 6), decision("restrict", "C", 5))
    assert NAME not in shard.restricted
    assert [each.type for each in shard.ruled[NAME].values()] == ["restrict", "lift"]
    shard = shard_with(decision("withdraw", "D", 6), decision("consent", "C", 5))
    assert [each.type for each in shard.standing_rules(NAME)] == ["consent"], "the withdrawal waits for its barrier"
    assert [each.type for each in shard.ruled[NAME].values()] == ["consent", "withdraw"]


def test_an_old_decision_that_is_appended_again_changes_nothing() -> None:
    """Its proof holds where it lies: compaction leaves the later record of it alone, behind what was decided since."""
    first, second = decision("lift", "D", 5), decision("restrict", "C", 5)
    second = msgspec.structs.replace(second, at=AT + timedelta(microseconds=1))
    shard = shard_with(second, first)
    assert [each.type for each in shard.ruled[NAME].values()] == ["lift", "restrict"]
    assert NAME in shard.restricted


async def test_no_two_decisions_of_a_desk_are_made_at_one_moment(tmp_path: Path) -> None:
    """Nor one before the other, where its clock goes back."""
    world = await DeskWorld(tmp_path).start()
    for number in range(3):
        await world.ask(f"restrict{number}", CANARY, type="restrict")
        world.at -= timedelta(hours=number)
    made = [decode(DECISIONS, each.value or b"").at for each in world.written("privacy.decisions")]
    assert len(made) == len(set(made)) == 3
    assert made == sorted(made)


def test_a_decision_cannot_be_moved_to_another_tenure() -> None:
    key = Secret(bytes(32))
    sealed = seal_entry(decision("restrict", "C", 5), Entry(Lookup("A" * 43), 1), key, bytes(12))
    assert open_entry(sealed, key).generation == 1
    for moved in (6, msgspec.UNSET):
        with pytest.raises(RecordError):
            open_entry(msgspec.structs.replace(sealed, tenure=moved), key)


async def test_of_two_states_the_higher_stands(tmp_path: Path) -> None:
    world = await DeskWorld(tmp_path).start()
    await world.ask("waits-001", CANARY, type="erase", identity="unverified")
    case = world.case("waits-001")
    states = [msgspec.structs.replace(case, tenure=at, count=n) for at, n in ((1, 9), (2, 1), (2, 2))]
    old = msgspec.structs.replace(case, tenure=msgspec.UNSET, count=msgspec.UNSET)
    for lower, higher in zip([old, *states], states, strict=False):
        assert later(lower, higher) is higher
        assert later(higher, lower) is higher
    again = msgspec.structs.replace(old, state="refused")
    assert later(old, again) is again, "those of the first release go by their order"
