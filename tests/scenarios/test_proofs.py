"""Our workers' records are told from others' in their place: forged records are passed over and counted, no more."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from desk_world import CANARY, TENANT, DeskWorld
from guard_world import PARTITIONS, START, GuardWorld
from test_auditor import LEDGER, Log, Record, audited, made
from test_auditor import VALUE as SEALED

from calllog_guard.core.cases.case import TENURE_MOST, case_of
from calllog_guard.core.cases.secret_cases import is_state
from calllog_guard.core.codec import encode, to_ms
from calllog_guard.core.crypto.entries import GUARD_KEY
from calllog_guard.core.crypto.jose import signer_public
from calllog_guard.core.decisions.decision import DECISIONS
from calllog_guard.core.decisions.outcome import DONE, Outcome, is_result
from calllog_guard.core.identifiers import b64
from calllog_guard.core.profile import UNPROVEN_FOR
from calllog_guard.core.records import Output
from calllog_guard.core.retention.tally import CLOSED_KEY, PUBLISHED_KEY, Mark
from calllog_guard.core.stream.anchor import ANCHOR, Anchor, anchor_in
from calllog_guard.core.stream.arrival import Arrival, arrival, sent
from calllog_guard.core.stream.proofs import AUDIT, DESK, HEADER, KEEP, UNPROVEN, Proofs, vouched
from calllog_guard.errors import ConfigurationError, NewerFormError, RecordError
from calllog_guard.metrics import Counters, Gauges
from calllog_guard.workers.keys.restore_guard import guard_entry, read_guard

SEED, OTHER = b"\x0b" * 32, b"\x0c" * 32
AT = datetime(2026, 11, 24, 9, tzinfo=UTC)
KNOWN = Proofs({DESK: b64(signer_public(SEED)).decode(), KEEP: b64(signer_public(OTHER)).decode()})
CASE = Output("privacy.cases", 0, b"key", b"value")
LATER = b'"v":9'


def lying(output: Output, at: datetime = AT, *, senders: bool = False, **moved: Any) -> Arrival:
    """A record as it is read somewhere."""
    output = msgspec.structs.replace(output, **moved)
    place = (output.topic, output.partition)
    return (sent if senders else arrival)(place, 7, to_ms(at), output.key, output.value, output.headers)


# --- the proof --------------------------------------------------------------------------------------------------------


def test_a_record_is_known_where_it_lies_and_by_its_role() -> None:
    mine = vouched(CASE, DESK, SEED)
    assert KNOWN.proven(lying(mine), DESK)
    assert not KNOWN.proven(lying(mine), KEEP)
    assert not KNOWN.proven(lying(vouched(CASE, KEEP, OTHER)), DESK), "a keeper writes no case"
    assert not KNOWN.proven(lying(vouched(CASE, DESK, OTHER)), DESK)
    assert not KNOWN.proven(lying(CASE), DESK)
    for moved in ({"topic": "privacy.orders"}, {"partition": 1}, {"key": b"keys"}, {"value": b"v"}, {"value": None}):
        assert not KNOWN.proven(lying(mine, **moved), DESK)


def test_a_tombstone_is_no_empty_value() -> None:
    """Who has one signed must not be able to make the other of it."""
    gone, empty = (vouched(msgspec.structs.replace(CASE, value=value), DESK, SEED) for value in (None, b""))
    assert KNOWN.proven(lying(gone), DESK)
    assert KNOWN.proven(lying(empty), DESK)
    assert not KNOWN.proven(lying(gone, value=b""), DESK)
    assert not KNOWN.proven(lying(empty, value=None), DESK)


def test_what_needs_no_proof_is_told_by_the_brokers_time_alone() -> None:
    upgraded = KNOWN._replace(until=AT)
    before = AT - timedelta(milliseconds=1)
    assert upgraded.believed(lying(CASE, before), DESK)
    assert not upgraded.believed(lying(CASE, before, senders=True), DESK), "a sender dates as they like"
    assert not upgraded.believed(lying(CASE), DESK)
    assert not KNOWN.believed(lying(CASE, before), DESK), "a tenant that has always had signers"
    assert Proofs({}).believed(lying(CASE), DESK), "the first release signs nothing"
    assert upgraded.believed(lying(vouched(CASE, DESK, SEED)), DESK)


def test_a_later_form_halts_only_if_it_is_proven() -> None:
    def later(_: Any) -> None:
        raise NewerFormError("a message", 9, 1)

    for reading in (KNOWN.read, KNOWN.form):
        with pytest.raises(NewerFormError):
            reading(lying(vouched(CASE, DESK, SEED)), DESK, later)
        with pytest.raises(RecordError):
            reading(lying(CASE), DESK, later)
    with pytest.raises(RecordError):
        Proofs({}).read(lying(CASE), DESK, later)


# --- cases ------------------------------------------------------------------------------------------------------------


async def refused(world: DeskWorld) -> Output:
    """A case that an officer has refused; its record."""
    await world.start()
    await world.ask("waits-001", CANARY, type="erase", identity="unverified")
    await world.ask("refuse-01", by="officer-1", type="refuse", case=world.case("waits-001").case, ground="No.")
    return [each for each in world.written("privacy.cases") if each.key == world.case_key("waits-001")][-1]


def forged(true: Output, **changes: Any) -> list[Output]:
    """Records that anybody can make of one that they have read."""
    case = msgspec.structs.replace(case_of(lying(true)), **changes)
    plain = Output(true.topic, true.partition, true.key, encode(case))
    return [plain, msgspec.structs.replace(plain, headers=true.headers), vouched(plain, DESK, OTHER)]


HIGH = {"tenure": TENURE_MOST - 1, "count": TENURE_MOST - 1}


@pytest.mark.parametrize("number", range(3))
async def test_a_forged_case_with_a_high_tenure_is_no_case(tmp_path: Path, number: int) -> None:
    world = DeskWorld(tmp_path)
    forgery = forged(await refused(world), state="enforcing", refusal=None, cut_off=AT, keep_until=None, **HIGH)[number]
    world.writer.writes.append([forgery])
    await world.restart()
    again = world.case("waits-001")
    assert (again.state, again.tenure) == ("refused", 2), "written again, or compaction would keep the forged one"
    assert world.counts[Counters.unreadable["unproven"]] == 1
    assert world.counts[Counters.cases_restored] == 1
    assert world.written("privacy.decisions") == []
    world.writer.writes.append([forgery])
    await world.later(seconds=16)
    assert world.case("waits-001").state == "refused"
    assert world.counts[Counters.unreadable["unproven"]] == 2


async def test_a_forged_case_that_nobody_knows_is_counted_and_never_kept(tmp_path: Path) -> None:
    world = DeskWorld(tmp_path)
    true = await refused(world)
    name = "B" * 21 + "A"
    (new, *_) = forged(true, case=name, state="enforcing", jti="other-001", **HIGH)
    new = msgspec.structs.replace(new, key=name.encode())
    world.writer.writes.append([new])
    await world.later(seconds=16)
    assert world.counts[Counters.unreadable["unproven"]] == 1
    await world.restart()
    assert world.book.get(name) is None
    assert world.counts[Counters.unreadable["unproven"]] == 2
    assert world.book.tenure < TENURE_MOST // 2


@pytest.mark.parametrize("live", [False, True])
async def test_a_forged_tombstone_forgets_no_case(tmp_path: Path, *, live: bool) -> None:
    """Neither a desk's that runs, nor one's that reads its cases anew."""
    world = DeskWorld(tmp_path)
    true = await refused(world)
    world.writer.writes.append([Output("privacy.cases", 0, true.key, None), Output("privacy.cases", 0, true.key, None)])
    await (world.later(seconds=16) if live else world.restart())
    assert world.case("waits-001").state == "refused"
    assert world.counts[Counters.cases_restored] == 1


async def test_a_forgotten_case_stays_forgotten(tmp_path: Path) -> None:
    world = DeskWorld(tmp_path)
    await refused(world)
    await world.later(days=1200)
    assert world.written("privacy.cases")[-1].value is None
    await world.restart()
    assert len(world.book) == 0
    assert world.counts[Counters.unreadable["unproven"]] == 0


@pytest.mark.parametrize("topic", ["privacy.cases", "privacy.orders"])
async def test_a_forged_later_version_of_a_case_halts_no_desk(tmp_path: Path, topic: str) -> None:
    world = await GuardWorld(tmp_path).start()
    await world.hold("hold-0001", "claim-17", CANARY, secret=True)
    await world.ask("waits-001", "erase", CANARY, identity="unverified")
    await world.run()
    lane = world.log.records[topic, 0]
    state = [each for each in lane if topic == "privacy.cases" or is_state(each)][-1]
    later = Output(topic, 0, state.key, (state.value or b"").replace(b'"v":1', LATER, 1))
    assert LATER in (later.value or b"")
    await world.log.write([later])
    world.clock.at += timedelta(seconds=16)
    await world.desk.idle()
    await world.log.write([later])
    await world.restart()
    assert world.counts[Counters.cases_restored] == 2
    assert world.case("hold-0001").secret
    assert world.case("waits-001").state == "waiting"


async def test_a_later_release_of_ours_halts_the_desk(tmp_path: Path) -> None:
    world = DeskWorld(tmp_path)
    true = await refused(world)
    later = Output(true.topic, 0, true.key, (true.value or b"").replace(b'"v":1', LATER, 1))
    world.writer.writes.append(list(world.vault.vouched(TENANT, DESK, [later])))
    with pytest.raises(NewerFormError):
        await world.restart()


async def test_cases_of_the_first_release_go_on_after_the_upgrade_and_none_is_added(tmp_path: Path) -> None:
    """They bear no proof, and no record can be dated back; a count without a proof was never written by any desk."""
    world = await GuardWorld(tmp_path, forms=1).start()
    await world.ask("waits-001", "erase", CANARY, identity="unverified")
    await world.run()
    (old,) = world.log.records["privacy.cases", 0]
    assert not old.headers
    world.vault.upgrade(TENANT, ("as-written",), world.clock.at, PARTITIONS)
    assert world.vault.profile(TENANT).unproven_until == START + UNPROVEN_FOR
    await world.restart()
    assert world.case("waits-001").state == "waiting"
    plain = Output("privacy.cases", 0, old.key, old.value)
    (counted, *_) = forged(plain, state="enforcing", cut_off=AT, **HIGH)
    await world.log.write([counted])
    await world.restart()
    assert world.case("waits-001").state == "waiting"
    assert world.counts[Counters.unreadable["unproven"]] == 1
    world.clock.at += UNPROVEN_FOR
    (late, *_) = forged(plain, state="enforcing", cut_off=AT)
    await world.log.write([late])
    await world.restart()
    assert world.case("waits-001").state == "waiting"
    assert world.counts[Counters.unreadable["unproven"]] == 3, "the earlier one was read again"
    await world.ask("verify-01", "clock", event="verify", case=world.case("waits-001").case)
    await world.run()
    assert world.case("waits-001").state != "waiting"
    assert all(each.headers for each in world.log.records["privacy.cases", 0][-2:])


def test_the_mark_of_an_upgrade_never_moves(tmp_path: Path) -> None:
    world = GuardWorld(tmp_path, forms=1)
    world.vault.upgrade(TENANT, ("as-written",), START, PARTITIONS)
    world.vault.upgrade(TENANT, ("as-written",), START + timedelta(days=9), PARTITIONS)
    assert world.vault.profile(TENANT).unproven_until == START + UNPROVEN_FOR
    new = GuardWorld(tmp_path / "new")
    new.vault.upgrade(TENANT, (), START, PARTITIONS)
    assert new.vault.proofs(TENANT).until is None


# --- outcomes and decisions -------------------------------------------------------------------------------------------


async def test_a_forged_later_version_of_an_outcome_halts_nobody(tmp_path: Path) -> None:
    world = await GuardWorld(tmp_path).start()
    await world.call("call-1", CANARY)
    await world.ask("erase-001", "erase", CANARY)
    await world.run()
    (done,) = [each for lane in ledger(world) for each in lane if (each.key or b"").endswith(DONE)]
    later = (done.value or b"").replace(b'"v":1', LATER, 1)
    await world.log.write(
        [Output("privacy.outcomes", 0, b"x", later), Output(done.topic, done.partition, done.key, later)]
    )
    await world.run()
    assert world.dead() == ["forged_outcome"] * 2
    await world.restart(rebuild=True)
    await world.run()
    key = world.vault.outcome_key(TENANT)
    place = done.key or b""
    halting = key._sealed(later[:-32] + b"}", place)
    with pytest.raises(NewerFormError):
        key.read(halting, place)


def ledger(world: GuardWorld) -> list[Sequence[Arrival]]:
    """The partitions of the ledger."""
    return [list(world.log.records["privacy.decisions", partition]) for partition in range(PARTITIONS)]


def decisions(world: GuardWorld) -> list[Arrival]:
    """The decisions in it."""
    every = [each for lane in ledger(world) for each in lane if each.key and each.key[:1] != b"~"]
    return [each for each in every if each.key and not is_result(each.key)]


async def test_a_forged_decision_erases_nobody_whose_epoch_is_gone(tmp_path: Path) -> None:
    """Its seal opens no more, and what is done is read for ever: who is erased is tombstoned on sight."""
    world = await GuardWorld(tmp_path).start()
    await world.call("call-1", CANARY)
    await world.ask("limit-001", "restrict", CANARY)
    await world.run()
    (true,) = decisions(world)
    decision = DECISIONS.decode(true.value or b"")
    erases = msgspec.structs.replace(decision, type="erase", epoch="2025-W01", rule=msgspec.UNSET)
    forgery = Output(true.topic, true.partition, true.key, encode(erases))
    kept = [each for each in ledger(world)[true.partition] if each.key == (true.key or b"") + DONE]
    if not kept:  # the desk carries a restriction out; a keeper may have said that it is done
        outcome = Outcome(
            tenant=TENANT, case=decision.case, decision=decision.decision, stage="traced", partition=true.partition,
            legs=0,
            barrier=0, up_to=0, by="keeper", at=AT,
        )  # fmt: skip
        place = (true.key or b"") + DONE
        value = world.vault.outcome_key(TENANT).vouched(outcome, place)
        await world.log.write([Output(true.topic, true.partition, place, value)])
    await world.log.write([forgery])
    await world.restart(rebuild=True)
    await world.run()
    assert len(world.legs()) == 1
    assert world.counts[Counters.unreadable["unproven"]] >= 1
    assert UNPROVEN in world.dead()


async def test_a_forged_later_version_of_a_decision_halts_nobody(tmp_path: Path) -> None:
    world = await GuardWorld(tmp_path).start()
    await world.call("call-1", CANARY)
    await world.ask("erase-001", "erase", CANARY)
    await world.run()
    (true,) = decisions(world)
    later = (true.value or b"").replace(b'"v":2', LATER, 1)
    await world.log.write([Output(true.topic, true.partition, true.key, later)])
    await world.run()
    await world.restart(rebuild=True)
    await world.run()
    assert set(world.dead()) == {UNPROVEN}
    (proven,) = world.vault.vouched(TENANT, DESK, [Output(true.topic, true.partition, true.key, later)])
    await world.log.write([proven])
    with pytest.raises(NewerFormError):
        await world.run()


@pytest.mark.parametrize("change", [{"type": "restrict"}, {"pseudonym": "B" * 21 + "A"}, {"range": "sealed"}])
async def test_a_forged_decision_certifies_nothing(tmp_path: Path, change: dict[str, Any]) -> None:
    """Another person's name in it would have had the auditor look for legs that nobody has."""
    value = msgspec.json.encode(msgspec.json.decode(Log().ledger[0].value or b"") | change)
    log = Log(legs=[SEALED])
    log.ledger.append(Record(LEDGER, value, offset=2, signed=False))
    stages, levels = await audited(log, tmp_path)
    assert stages == ["rewritten"]
    assert levels[Gauges.erase_unobserved_oldest_s] > 0


async def test_an_auditor_reads_on_past_a_forged_later_version(tmp_path: Path) -> None:
    log = Log()
    log.ledger.append(Record(LEDGER, (log.ledger[0].value or b"").replace(b'"v":1', LATER, 1), offset=2, signed=False))
    assert (await audited(log, tmp_path))[0] == ["rewritten", "absent", "gone"]


# --- what keepers count -----------------------------------------------------------------------------------------------


async def test_a_forged_mark_keeps_no_month_from_being_told(tmp_path: Path) -> None:
    from test_statistics import DECEMBER, filled, month_ends, told  # noqa: PLC0415

    world = await filled(tmp_path, 10)
    await world.run()
    mark = encode(Mark(month="2099-01"))
    await world.log.write([Output("privacy.decisions", 0, key, mark) for key in (PUBLISHED_KEY, CLOSED_KEY)])
    (tally,) = {key for key in world.log.live("privacy.decisions") if key.startswith(b"~cells.2")}
    await world.log.write([Output("privacy.decisions", at, tally, None) for at in range(PARTITIONS)])
    await world.restart(rebuild=True)
    await month_ends(world)
    assert world.clock.at == DECEMBER
    assert len(told(world)) == 1
    assert world.counts[Counters.unreadable["unproven"]] > 0


# --- whose ledger it is -----------------------------------------------------------------------------------------------

MINE = Anchor(guard="A" * 22, tenant="iocom", legs="calllog.legs")
THEIRS = Anchor(guard="B" * 21 + "A", tenant="other", legs="calllog.legs")
SIGNED = Proofs({AUDIT: b64(signer_public(SEED)).decode()})
UPGRADED = SIGNED._replace(until=AT)


def anchored(*anchors: tuple[Anchor, bytes | None, datetime], proofs: Proofs = SIGNED, ours: bool = True) -> Any:
    """What is made of some anchors: who signed, and when they came."""
    records = []
    for anchor, seed, at in anchors:
        output = Output("privacy.policy", 0, ANCHOR, encode(anchor))
        records.append(lying(vouched(output, AUDIT, seed) if seed else output, at))
    return anchor_in(records, proofs, MINE, "privacy.policy", ours=ours)


def test_a_forged_anchor_stops_nobody() -> None:
    for forgery in ((THEIRS, None, AT), (THEIRS, OTHER, AT)):
        assert anchored(forgery, (MINE, SEED, AT)) == (MINE, 1)
        assert anchored((MINE, SEED, AT), forgery, ours=False) == (MINE, 1)
        assert anchored(forgery) == (MINE, 1), "compaction has taken ours, and our auditor's heartbeats lie beside it"
        assert anchored((MINE, None, AT - timedelta(1)), forgery, proofs=UPGRADED) == (MINE, 1)
    later = Output("privacy.policy", 0, ANCHOR, encode(MINE).replace(b'"v":1', LATER))
    mine = vouched(Output("privacy.policy", 0, ANCHOR, encode(MINE)), AUDIT, SEED)
    assert anchor_in([lying(later), lying(mine)], SIGNED, MINE, "privacy.policy", ours=False) == (MINE, 1)


def test_another_installations_ledger_is_still_refused() -> None:
    with pytest.raises(ConfigurationError, match="tenant other's installation"):
        anchored((THEIRS, OTHER, AT), ours=False)
    with pytest.raises(ConfigurationError, match="tenant other's installation"):
        anchored((THEIRS, None, AT), proofs=Proofs({}), ours=False)
    with pytest.raises(ConfigurationError, match="none of ours"):
        anchor_in([lying(Output("p", 0, ANCHOR, b"{}"))], Proofs({}), MINE, "p", ours=False)
    assert anchored(ours=False) == (None, 0)
    assert anchored((MINE, None, AT), proofs=Proofs({})) == (MINE, 0)


async def test_every_heartbeat_renews_the_anchor(tmp_path: Path) -> None:
    auditor, writer, _ = await made(Log(), tmp_path)
    auditor._upkeep._m = msgspec_replace(auditor._upkeep._m, anchor=MINE)
    await auditor._upkeep.beat()
    (output,) = [each for each in writer.outputs if each.key == ANCHOR]
    assert (output.topic, output.partition, output.value) == ("privacy.policy", 0, encode(MINE))
    assert [name for name, _ in output.headers] == [HEADER]


def msgspec_replace(means: Any, **changes: Any) -> Any:
    """A dataclass with other fields."""
    from dataclasses import replace  # noqa: PLC0415

    return replace(means, **changes)


# --- the keystore's counter -------------------------------------------------------------------------------------------


async def test_a_counter_that_leaps_is_an_alarm_and_no_action(tmp_path: Path) -> None:
    """Believed, it would leave the next restore without a counter above it, and end every auditor once it is full."""
    world = await GuardWorld(tmp_path).start()
    guard = world.ring().guard
    guard.count = world.count
    await guard.raise_counter()
    entry = read_guard(world.keystore.entries[GUARD_KEY])
    assert entry is not None
    world.keystore.entries[GUARD_KEY] = guard_entry(*entry._replace(counter=(1 << 64) - 1))
    for _ in range(2):
        await guard.unguarded(range(PARTITIONS))
    assert guard.seen == entry.counter
    assert world.counts[Counters.counter_leaps] == 1
    assert await guard.raise_counter() == entry.counter + 1
    healed = read_guard(world.keystore.entries[GUARD_KEY])
    assert healed is not None
    assert healed.counter == entry.counter + 1
