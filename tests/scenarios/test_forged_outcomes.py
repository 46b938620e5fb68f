"""Whoever may write to the workers' topics, and is no worker, ends no case and stops no erasure."""

from datetime import timedelta
from pathlib import Path

import msgspec
from guard_world import TENANT, GuardWorld

from calllog_guard.core.codec import encode
from calllog_guard.core.decisions.decision import DECISIONS
from calllog_guard.core.decisions.outcome import DONE, TO_DESK, Outcome, is_result
from calllog_guard.core.records import Output

WHO = "alice@example.org"


def decided(world: GuardWorld) -> dict[bytes, bytes]:
    """The ledger without what keepers count in it."""
    return {key: value for key, value in world.log.live("privacy.decisions").items() if key[:1] != b"~"}


def said(world: GuardWorld, stage: str) -> Outcome:
    """What an attacker says of the one decision in the ledger."""
    ((key, value),) = ((k, v) for k, v in decided(world).items() if not is_result(k))
    decision = DECISIONS.decode(value)
    return Outcome(
        tenant=TENANT,
        case=decision.case,
        decision=decision.decision,
        stage=stage,  # type: ignore[arg-type]
        partition=place(key),
        legs=1,
        barrier=0,
        up_to=1,
        by="auditor",
        at=world.clock.at + timedelta(days=1),
    )


def place(key: bytes) -> int:
    """The partition of a pseudonym."""
    from guard_world import PARTITIONS  # noqa: PLC0415

    from calllog_guard.core.identifiers import Pseudonym, partition_of  # noqa: PLC0415

    return partition_of(Pseudonym(key[:22].decode()), PARTITIONS)


async def test_a_forged_outcome_is_a_dead_letter_and_no_certificate(tmp_path: Path) -> None:
    """A certificate says what our auditor has seen: nobody else may say it."""
    world = await GuardWorld(tmp_path).start()
    await world.call("call-1", WHO)
    await world.ask("erase-0001", "erase", WHO)
    await world.run()
    stages = [receipt["stage"] for receipt in world.receipts("erase-0001")]
    assert stages == ["accepted", "fenced", "destroyed", "tombstoned"]
    outcome = said(world, "absent")
    ours = world.vault.outcome_key(TENANT).vouched(outcome, b"another place")
    for value in (encode(outcome), ours):
        await world.log.write([Output("privacy.outcomes", 0, outcome.case.encode(), value)])
    await world.run()
    assert [receipt["stage"] for receipt in world.receipts("erase-0001")] == stages
    assert world.case("erase-0001").state == "observing"
    assert world.dead() == ["forged_outcome"] * 2

    told = world.vault.outcome_key(TENANT).vouched(outcome, TO_DESK)
    await world.log.write([Output("privacy.outcomes", 0, outcome.case.encode(), told)])
    await world.run()
    assert [receipt["stage"] for receipt in world.receipts("erase-0001")] == [*stages, "absent"], "the auditor may"


async def test_a_forged_result_in_the_ledger_keeps_nobody_from_being_erased(tmp_path: Path) -> None:
    """What is said to be done nobody does again; so it counts only if a keeper of ours has said it."""
    world = await GuardWorld(tmp_path).start()
    await world.call("call-1", WHO)
    await world.run()
    assert len(world.legs()) == 1
    await world.ask("erase-0001", "erase", WHO)
    await world.step("desk")
    outcome = said(world, "tombstoned")
    ((key, _),) = decided(world).items()
    done = msgspec.structs.replace(outcome, mac="A" * 22)
    await world.log.write([Output("privacy.decisions", place(key), key + DONE, encode(done))])
    await world.restart(rebuild=True)
    await world.run()
    assert world.legs() == {}
    assert world.dead() == ["forged_outcome"]
    assert world.case("erase-0001").state == "observing"
