"""A decision about hundreds of thousands of legs goes in portions: units come in between, and a crash at any write."""

import json
from pathlib import Path

import pytest
from guard_world import PARTITIONS, TENANT, GuardWorld
from sizes import EACH_WRITE
from test_access import parts_of
from test_backlog import ASKED, filled, stages
from test_crash_matrix import reply
from test_parking import ALICE, BOB, legs, lookup, pseudonym

from calllog_guard.core.answers.parts import GROUP
from calllog_guard.core.audit.absence import Look
from calllog_guard.core.cases.case import CASES
from calllog_guard.core.codec import decode
from calllog_guard.core.decisions.decision import DECISIONS
from calllog_guard.core.decisions.outcome import DONE, legs_key, legs_part
from calllog_guard.core.identifiers import Token, partition_of
from calllog_guard.core.records import Output
from calllog_guard.errors import UpgradeNeededError
from calllog_guard.metrics import Counters
from calllog_guard.workers.auditor.open_decision import Watched
from calllog_guard.workers.keeper.partition import NamedLegs

CALLS = 7


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Portions of two legs, names in parts of three, export parts of two, and a turn that is over at once."""
    for module in ("enforcement.enforcer", "arrivals", "held_copies"):
        monkeypatch.setattr(f"calllog_guard.workers.keeper.{module}.PORTION", 2)
    monkeypatch.setattr("calllog_guard.workers.keeper.held_copies._AT_ONCE", 2)
    monkeypatch.setattr("calllog_guard.workers.keeper.enforcement.results.NAMES_IN_PART", 3)
    monkeypatch.setattr("calllog_guard.workers.keeper.enforcement.exports.LEGS_PER_PART", 2)
    monkeypatch.setattr("calllog_guard.workers.keeper.decision_work._TURN_S", -1.0)


async def busy(folder: Path) -> GuardWorld:
    """Alice has many calls, bob has one."""
    world = await GuardWorld(folder).start()
    for number in range(CALLS):
        await world.call(f"c{number}", ALICE, days_ago=2 + number)
    await world.call("b", BOB)
    await world.run()
    assert len(world.legs()) == CALLS + 1
    return world


async def asked(world: GuardWorld, kind: str) -> None:
    """A decision about all that there is of alice."""
    if kind == "erase":
        await world.ask("matrix-0001", "erase", ALICE)
    elif kind == "erase a range":
        await world.ask("matrix-0001", "erase", ALICE, range={"from": "2026-01-01", "to": "2026-12-31"})
    elif kind == "access":
        await world.ask("matrix-0001", "access", ALICE, reply_key=reply(world))
    elif kind == "release":
        await world.hold("hold-0001", "claim-1", ALICE)
        await world.run()
        await world.ask("matrix-0001", "release", key="officer-1", hold={"id": "claim-1"})
    else:
        await world.hold("matrix-0001", "claim-1", ALICE)


def seen(world: GuardWorld) -> dict[str, object]:
    """What is there in the end, without what is random."""
    case = decode(CASES, world.log.live("privacy.cases")[world.id_of("matrix-0001").encode()])
    return {
        "legs": len(world.legs()),
        "held": len(world.held()),
        "state": case.state,
        "stages": sorted(case.stages),
        "counted": sum(case.legs.values()),
        "named": sorted(map(len, named(world).values())),
        "parts": sorted(key.rpartition(b".")[2] for key in world.log.live("privacy.exports")),
        "dead": world.dead(),
    }


def named(world: GuardWorld) -> dict[bytes, set[str]]:
    """The names that the ledger keeps of each decision, over all its parts."""
    found: dict[bytes, set[str]] = {}
    for key, value in world.log.live("privacy.decisions").items():
        if (part := legs_part(key)) is not None:
            found.setdefault(part[0], set()).update(json.loads(value).get("tokens", ()))
    return found


@pytest.mark.usefixtures("small")
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", ["erase", "erase a range", "access", "hold", "release"])
@pytest.mark.slow
async def test_killed_at_any_write_a_decision_in_portions_ends_as_if_nothing_had_happened(
    tmp_path: Path, kind: str
) -> None:
    world = await busy(tmp_path / "whole")
    await asked(world, kind)
    await world.run()
    wanted = seen(world)
    at, blown = 0, True
    while blown:
        at += EACH_WRITE
        world = await busy(tmp_path / str(at))
        await asked(world, kind)
        blown = await world.run_with_crashes(at, after=at % 2 == 0, rebuild=at % 3 == 0)
        found = seen(world)
        if kind in {"erase", "release"}:  # after a crash in the midst of it a keeper counts what is left
            wanted["counted"] = found["counted"]
            assert found["counted"] in range(CALLS + 1)
        assert found == wanted, f"write {at}"
    assert at > 5


@pytest.mark.usefixtures("small")
async def test_units_and_other_peoples_decisions_come_in_between(tmp_path: Path) -> None:
    """Nobody waits for somebody's hundreds of thousands of legs."""
    world = await busy(tmp_path)
    await asked(world, "erase a range")
    await world.step("desk")
    await world.ask("erase-bob1", "erase", BOB)
    await world.step("desk")
    for _ in range(3):
        await world.step("keeper")
    assert 0 < len([leg for leg in world.legs() if leg.startswith((await pseudonym(world, ALICE)).encode())]) < CALLS
    assert world.waiting() == 1, "bob's is done"
    await world.run()
    assert len(world.legs()) == 0
    assert stages(world, "matrix-0001")[-1] == stages(world, "erase-bob1")[-1] == "tombstoned"


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("kind", ["erase", "erase a range", "object"])
async def test_a_leg_that_comes_in_between_is_not_left_behind(tmp_path: Path, kind: str) -> None:
    """It arrives behind the barrier, before the decision is a standing rule, under a key already looked at."""
    world = await busy(tmp_path)
    name = await pseudonym(world, ALICE)
    own = sorted(key for key in world.legs() if key.startswith(name.encode()))
    value = world.legs()[own[0]]
    if kind == "object":
        await ASKED["object"](world, "matrix-0001", ALICE)
    else:
        await asked(world, kind)
    await world.step("desk")
    for _ in range(3):
        await world.step("keeper")
    assert world.waiting() == 1
    await world.log.write([Output("calllog.legs", partition_of(name, PARTITIONS), own[0], value)])
    await world.run()
    if kind == "object":
        masks = [facts.mask for shard in world.keeper._shards.values() for facts, _ in shard.index.legs_of(name)]
        assert len(masks) == CALLS
        assert not any(mask & 4 for mask in masks)
    else:
        assert own[0] not in world.legs()
        assert len(world.legs()) == 1


@pytest.mark.usefixtures("small")
async def test_an_answer_in_parts_has_every_leg_once_also_when_some_move(tmp_path: Path) -> None:
    world = await busy(tmp_path)
    await asked(world, "access")
    await world.step("desk")
    for number in range(20):
        await world.step("keeper")
        if number in {4, 6}:  # one is replaced while the parts are made
            await world.call(f"c{number}", ALICE, days_ago=2 + number)
            await world.step("protector")
    await world.run()
    calls = [leg.call for part in parts_of(world, "matrix-0001") for leg in part.legs]
    assert sorted(calls) == sorted(world.reference(f"c{number}") for number in range(CALLS))
    assert stages(world, "matrix-0001")[-1] == "exported"


@pytest.mark.usefixtures("small")
async def test_an_answer_holds_what_is_kept_under_a_hold_in_parts_too(tmp_path: Path) -> None:
    world = await busy(tmp_path)
    await world.hold("hold-0001", "claim-1", ALICE, BOB)
    await world.run()
    await world.ask("erase-001", "erase", ALICE)
    await world.run()
    world.clock.at = world.clock.at.replace(hour=20)
    await world.call("new", ALICE, days_ago=-0.001)
    await world.run()
    await asked(world, "access")
    await world.run()
    found = [leg for part in parts_of(world, "matrix-0001") for leg in part.legs]
    assert sorted(leg.call for leg in found) == sorted(
        map(world.reference, [*(f"c{number}" for number in range(CALLS)), "new"])
    )
    assert {leg.subject for leg in found} == {ALICE}, "bob is under the same hold"


async def test_a_part_that_is_too_large_for_its_topic_is_made_smaller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names and call ids of 256 quotes each: nothing that a backend may send makes an answer that fits no record."""
    monkeypatch.setattr("calllog_guard.workers.keeper.enforcement.exports._PART_BYTES", 9000)
    world = await GuardWorld(tmp_path, forms=1).start()  # from the next level on call ids are in no answer
    for number in range(9):
        await world.call('"' * 250 + str(number), ALICE, days_ago=2 + number)
    await world.run()
    await asked(world, "access")
    await world.run()
    parts = [part for part in parts_of(world, "matrix-0001") if part.legs]
    assert len(parts) > 2
    assert {part.parts for part in parts} == {len(parts)}
    assert len([leg for part in parts for leg in part.legs]) == 9
    exports = world.log.live("privacy.exports").items()
    assert max(len(value) for key, value in exports if int(key.rpartition(b".")[2]) > GROUP) <= 9000


@pytest.mark.usefixtures("small")
async def test_the_names_are_looked_for_only_when_all_of_them_are_known(tmp_path: Path) -> None:
    """A part of them that somebody has removed from the ledger certifies nothing."""
    world = await busy(tmp_path)
    await asked(world, "erase a range")
    await world.run()
    ledger = world.log.live("privacy.decisions")
    (result,) = [key for key in ledger if key.endswith(DONE)]
    done = world.vault.outcome_key(TENANT).read(ledger[result], result)
    assert (done.legs, not done.tokens) == (CALLS, True)
    parts = {key: world.vault.outcome_key(TENANT).read(value, key) for key, value in ledger.items() if legs_part(key)}
    assert [len(part.tokens or ()) for part in parts.values()] == [3, 3, 1]
    decision = decode(DECISIONS, ledger[result.removesuffix(DONE)])
    whole = Watched(decision=decision, done=done)
    for part in parts.values():
        assert not whole.whole
        whole.named.update(dict.fromkeys(part.tokens or ()))
    assert whole.whole
    assert len(list(whole.names)) == CALLS
    look = Look.for_(whole.names)
    assert whole.seen([look]) == ["absent", "gone"]
    look.record(f"{decision.pseudonym}.{next(iter(whole.named))}".encode(), b"value")
    assert whole.seen([look]) == []


def test_names_fill_parts_and_begin_new_ones() -> None:
    named = NamedLegs()
    one, two = named.added([Token("a"), Token("b"), Token("c")], 2).items()
    assert (one, two) == ((1, ("a", "b")), (2, ("c",)))
    named.put(*one)
    named.put(*two)
    assert named.added([Token("d"), Token("e")], 2) == {2: ("c", "d"), 3: ("e",)}
    assert named.added([], 2) == {}
    assert list(named.names) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("key", "part"),
    [
        (b"p.d.legs", (b"p.d", 1)),
        (b"p.d.legs-2", (b"p.d", 2)),
        (b"p.d.legs-", None),
        (b"p.d.legs-x", None),
        (b"p.d.legs-" + b"9" * 5000, None),
        (b"p.d.done", None),
        (b"p.d", None),
    ],
)
def test_the_keys_of_parts_of_names(key: bytes, part: tuple[bytes, int] | None) -> None:
    assert legs_part(key) == part
    if part is not None:
        assert part[0] + legs_key(part[1]) == key


async def test_the_first_releases_forms_name_what_one_record_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its auditors know one record of names: more wait for the upgrade, and are told."""
    monkeypatch.setattr("calllog_guard.workers.keeper.enforcement.results._NAMES_MOST", 2)
    world = await filled(tmp_path, forms=1)
    await world.ask("range-001", "erase", ALICE, range={"from": "2026-11-01", "to": "2026-11-22"})
    await world.run()
    ledger = world.log.live("privacy.decisions")
    assert [len(json.loads(value).get("tokens", ())) for key, value in ledger.items() if key.endswith(DONE)] == [2]
    await world.ask("range-002", "erase", BOB, range={"from": "2026-01-01", "to": "2026-12-31"})
    for _ in range(5):
        await world.step("desk")
        await world.step("keeper")
    assert world.counts[Counters.decisions_waited] == 1
    assert len(await legs(world, BOB)) == 3, "nothing is removed that is not named"
    assert UpgradeNeededError.fate.name == "RETRY"
    assert lookup(world, BOB)
