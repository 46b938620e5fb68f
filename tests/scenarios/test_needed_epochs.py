"""Which epochs must stay: those that open a case or an undone decision, none that a record merely names."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from guard_world import TENANT, GuardWorld
from test_backlog import filled
from test_parking import ALICE

from calllog_guard.app import roles as bootstrap
from calllog_guard.core.codec import decode, encode
from calllog_guard.core.decisions.decision import DECISIONS, Decision
from calllog_guard.core.decisions.outcome import is_result
from calllog_guard.core.records import Output


async def erased(tmp_path: Path, *, done: bool = True) -> GuardWorld:
    """A world with a case of alice's and a decision about her."""
    world = await filled(tmp_path)
    await world.ask("erase-001", "erase", ALICE)
    if done:
        await world.run()
    else:
        await world.step("desk")
    return world


def decided(world: GuardWorld) -> Decision:
    """The first decision of the ledger."""
    ledger = world.log.live("privacy.decisions").items()
    return next(decode(DECISIONS, value) for key, value in ledger if not is_result(key) and key[:1] != b"~")


def shared(world: GuardWorld) -> Any:
    """What a process shares, on the world's log."""
    return SimpleNamespace(tenant=TENANT, home=0, settings=world.settings, vault=world.vault, log=world.log)


async def test_a_decision_that_is_not_done_keeps_its_epoch(tmp_path: Path) -> None:
    world = await erased(tmp_path, done=False)
    decision = decided(world)
    assert (await bootstrap.needed_epochs(shared(world)))[decision.epoch] == "erasures that are not done"
    assert await bootstrap.unfinished(shared(world)) == {decision.pseudonym}


@pytest.mark.parametrize("epoch", ["2020-W01", None])
async def test_a_forged_decision_keeps_no_epoch(tmp_path: Path, epoch: str | None) -> None:
    """One record would keep an epoch, and every backup of it, readable for ever."""
    world = await erased(tmp_path)
    whole = decided(world)
    forged = msgspec.structs.replace(
        whole, pseudonym="A" * 22, decision="A" * 22, entry="junk", epoch=epoch or whole.epoch
    )
    await world.as_desk(Output("privacy.decisions", 0, b"A" * 22 + b"." + b"A" * 22, encode(forged)))
    await world.as_desk(Output("privacy.decisions", 0, b"A" * 22 + b"." + b"B" * 22, encode(whole)))
    assert await bootstrap.unfinished(shared(world)) == set()
    assert "erasures that are not done" not in (await bootstrap.needed_epochs(shared(world))).values()


async def test_a_case_that_waits_keeps_its_epoch(tmp_path: Path) -> None:
    world = await filled(tmp_path)
    await world.ask("erase-001", "erase", ALICE, identity="unverified")
    await world.run()
    epoch = world.case("erase-001").epoch
    assert epoch
    assert await bootstrap.needed_epochs(shared(world)) == {epoch: "sealed parts of cases"}


@pytest.mark.parametrize("epoch", ["2020-W01", None])
async def test_a_forged_case_keeps_no_epoch(tmp_path: Path, epoch: str | None) -> None:
    world = await filled(tmp_path)
    await world.ask("erase-001", "erase", ALICE, identity="unverified")
    await world.run()
    case = world.case("erase-001")
    forged = msgspec.structs.replace(case, case="A" * 22, epoch=epoch or case.epoch, filed="junk")
    replaced = msgspec.structs.replace(case, sealed="junk")
    records = [Output("privacy.cases", 0, each.case.encode(), encode(each)) for each in (forged, replaced)]
    await world.as_desk(*records)
    assert await bootstrap.needed_epochs(shared(world)) == {case.epoch: "sealed parts of cases"}
    await world.log.write([Output("privacy.cases", 0, case.case.encode(), None)])
    kept = await bootstrap.needed_epochs(shared(world))
    assert kept == {case.epoch: "sealed parts of cases"}, "no desk of ours has forgotten it"
    await world.as_desk(Output("privacy.cases", 0, case.case.encode(), None))
    assert await bootstrap.needed_epochs(shared(world)) == {}
