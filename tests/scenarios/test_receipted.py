"""Every stage that the documentation calls receipted is, of every type of request, and no other."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from documents import DOCUMENTED
from guard_world import POLICY, TENANT, GuardWorld
from test_crash_matrix import reply

from calllog_guard.core.decisions.outcome import TO_DESK, Outcome
from calllog_guard.core.profile import RELEASE_0_1
from calllog_guard.core.records import Output
from calllog_guard.core.requests.types import TYPES

_POLICY = (
    POLICY.replace("[version.tenant.iocom.actors.billing-1]", """\
[version.tenant.iocom.purposes.offers]
number = 4
basis = "consent"
keep = "P30D"
[version.tenant.iocom.requesters.officer-2]
role = "officer"
key = "officer-2.pub.pem"
[version.tenant.iocom.actors.billing-1]""")
)  # fmt: skip
BY_AUDITOR = {"erase": ("rewritten", "absent", "gone"), "rectify": ("absent",)} | dict.fromkeys(
    ("object", "withdraw"), ("absent", "gone")
)
"""The stages that follow an observation, which is made by hand here."""


def table() -> dict[str, list[str]]:
    """The documentation's stages by type; a range stands behind its type."""
    rows = DOCUMENTED.partition("<!-- receipts -->")[2].partition("<!-- /receipts -->")[0].splitlines()
    found = {}
    for kinds, stages in (row.strip("|").split("|") for row in rows if "`" in row):
        for kind in re.findall(r"`(\w+)`", kinds):
            found[f"{kind} of a range" if "range" in kinds else kind] = re.findall(r"`(\w+)`", stages)
    return found


@pytest.fixture
async def world(tmp_path: Path) -> GuardWorld:
    """Alice and Bob have called."""
    made = await GuardWorld(tmp_path, _POLICY).start()
    await made.call("c1", "alice", "bob")
    await made.run()
    return made


def asking(world: GuardWorld, kind: str) -> dict[str, Any]:
    """What a request of a type needs beside its subject."""
    more: dict[str, dict[str, Any]] = {
        "erase of a range": {"range": {"from": "2026-11-01", "to": "2026-12-01"}},
        "access": {"reply_key": reply(world)},
        "portability": {"reply_key": reply(world)},
        "disclose": {"reply_key": reply(world), "authority": "Court", "basis": "Order 7", "notify": "before",
                     "key": "officer-1", "range": {"from": "2026-11-01", "to": "2026-12-01"}},
        "rectify": {"facts": {"call_id": "c1", "role": "guest"}},
        "object": {"purposes": ["quality"], "ground": "I do not want it"},
        "withdraw": {"purposes": ["offers"]},
        "consent": {"purposes": ["offers"], "time": "2026-11-24T09:00:00Z", "wording": "Yes"},
        "complain": {"ground": "It took too long"},
        "hold": {"key": "officer-1", "hold": {"id": "claim-1", "authority": "Court", "basis": "legal_claims",
                                              "review_at": "2027-06-01T00:00:00Z"}},
        "release": {"key": "officer-1", "hold": {"id": "claim-0"}},
    }  # fmt: skip
    return more.get(kind, {})


async def observed(world: GuardWorld, jti: str, stages: Sequence[str]) -> None:
    """What an auditor tells."""
    case, key = world.case(jti), world.vault.outcome_key(TENANT)
    for stage in stages:
        for decision in case.decisions:
            told: Any = {"stage": stage, "partition": 0, "legs": 0, "barrier": 0, "up_to": 0, "by": "auditor"}
            outcome = Outcome(tenant=TENANT, case=case.case, decision=decision, at=world.clock.at, **told)
            await world.log.write([Output("privacy.outcomes", 0, case.case.encode(), key.vouched(outcome, TO_DESK))])
    await world.run()


async def carried_out(world: GuardWorld, kind: str, *subjects: str) -> list[str]:
    """A request of a type, granted where that takes officers, and observed; the stages of its receipts."""
    more, verb = asking(world, kind), kind.partition(" ")[0]
    if kind == "release":
        await world.hold("hold-0000", "claim-0", *subjects)
        await world.run()
        subjects = ()
    if kind == "lift":
        await world.ask("rest-0001", "restrict", *subjects)
    if verb in {"same_as", "not_same_as"}:
        subjects = (*subjects, "bob")
    if verb == "not_same_as":
        await world.ask("same-0001", "same_as", *subjects)
    await world.ask("asked-001", verb, *subjects, **more)
    await world.run()
    officer = "officer-2" if kind == "disclose" else "officer-1"
    if world.case("asked-001").state == "waiting":
        case = world.case("asked-001").case
        await world.ask("appr-0001", "approve", key=officer, case=case, ground="It is so")
        await world.run()
    await observed(world, "asked-001", BY_AUDITOR.get(verb, ())[kind.endswith("range") :])
    assert world.case("asked-001").state == "closed"
    assert world.receipts("asked-001")[-1]["final"] is True
    return [each["stage"] for each in world.receipts("asked-001")]


def test_the_table_names_every_type_that_has_a_case() -> None:
    with_case = {kind for kind, rule in TYPES.items() if rule.ends is not None}
    assert {name.partition(" ")[0] for name in table()} == with_case


@pytest.mark.parametrize("kind", list(table()))
async def test_each_type_has_the_receipts_that_the_readme_says(world: GuardWorld, kind: str) -> None:
    """Whoever asked finds each step signed; of what the table does not name nobody waits for a receipt."""
    assert await carried_out(world, kind, "alice") == table()[kind]


async def test_a_hold_of_nobody_ends_in_a_receipt(world: GuardWorld) -> None:
    """Or its officer would wait for one that never comes."""
    assert await carried_out(world, "hold", "nobody@example.org") == ["accepted", "decided"]


async def test_the_first_release_goes_on_without_it(tmp_path: Path) -> None:
    """It refuses a stage that it does not know."""
    world = await GuardWorld(tmp_path, _POLICY, forms=RELEASE_0_1).start()
    await world.hold("hold-0001", "claim-1", "nobody@example.org")
    await world.run()
    assert [each["stage"] for each in world.receipts("hold-0001")] == ["accepted"]


async def test_of_a_refusal_there_is_a_receipt(world: GuardWorld) -> None:
    await world.ask("asked-001", "complain", "alice", ground="It took too long")
    await world.run()
    await world.ask("refu-0001", "refuse", key="officer-1", case=world.case("asked-001").case, ground="It did not")
    await world.run()
    assert [each["stage"] for each in world.receipts("asked-001")] == ["accepted", "refused"]
