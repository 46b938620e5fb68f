"""An identifier that matches nobody is answered so: nothing is said to be destroyed, nothing tells of a secret hold."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from guard_world import TENANT, GuardWorld
from sizes import EACH_WRITE
from test_crash_matrix import reply
from test_receipt import RECEIPT

from calllog_guard.cli._case_view import matched, table, whole
from calllog_guard.core.cases.case import Case, after_outcome
from calllog_guard.core.crypto.entries import EPOCH_KEY, GUARD_KEY
from calllog_guard.core.decisions.decision import unseen_pseudonym
from calllog_guard.core.decisions.outcome import Outcome
from calllog_guard.core.identifiers import DecisionId, EpochName, split_key
from calllog_guard.core.profile import RELEASE_0_1
from calllog_guard.reports.certificate import SignatureCheck, certificate
from calllog_guard.workers.keys.restore_guard import guard_entry

AT = datetime(2026, 11, 24, 9, tzinfo=UTC)
TODAY = AT.date()


@pytest.fixture
async def world(tmp_path: Path) -> GuardWorld:
    """Alice and Bob have called."""
    made = await GuardWorld(tmp_path).start()
    await made.call("c1", "alice", "bob")
    await made.run()
    return made


async def test_an_erasure_of_nobody_destroys_nothing_and_says_so(world: GuardWorld) -> None:
    await world.ask("erase-0001", "erase", "nobody@example.org")
    await world.run()
    case = world.case("erase-0001")
    assert (case.known, case.unknown, sorted(case.stages)) == (False, (0,), ["accepted", "fenced"])
    assert case.state == "observing", "the keeper has had it, as any other"
    for receipt in world.receipts("erase-0001"):
        assert not receipt["shredded"]
        assert receipt["stage"] in {"accepted", "fenced"}
        assert not {"destroyed", "tombstoned"} & receipt["stages"].keys()
    assert [receipt.get("known") for receipt in world.receipts("erase-0001")] == [None, False]
    assert (matched(case), whole(case, TODAY, None).count("nobody under its identifiers")) == ("nobody", 1)
    assert table([case], TODAY).endswith("\tnobody")


@pytest.mark.parametrize("forms", [1, 2])
async def test_one_key_seals_and_another_names_whom_nobody_knows(tmp_path: Path, forms: int) -> None:
    """From the second level of forms on; the first release's names stay, for a desk of it may have begun the case."""
    world = await GuardWorld(tmp_path, forms=forms).start()
    await world.ask("erase-0001", "erase", "nobody@example.org")
    await world.run()
    (key,) = [each for each in world.log.live("privacy.decisions") if not each.endswith(b".done") and each[:1] != b"~"]
    epoch = EpochName(world.keystore.entries[EPOCH_KEY].decode())
    pseudonym, decision = split_key(key)
    names = {
        use: unseen_pseudonym(world.vault.epoch_key(epoch, TENANT, use), DecisionId(decision))
        for use in ("ledger", "unseen")
    }
    assert pseudonym == names["ledger" if forms == 1 else "unseen"] != names["unseen" if forms == 1 else "ledger"]


async def test_an_erasure_of_somebody_says_that_they_were_known(world: GuardWorld) -> None:
    await world.ask("erase-0001", "erase", "alice")
    await world.run()
    case = world.case("erase-0001")
    assert (case.known, case.unknown, matched(case)) == (True, (), "")
    last = world.receipts("erase-0001")[-1]
    assert (last["stage"], last["shredded"], last["known"]) == ("tombstoned", True, True)


async def test_of_several_identifiers_those_that_match_nobody_are_told_by_their_place(world: GuardWorld) -> None:
    await world.ask("erase-0001", "erase", "nobody", "alice", "ALICE", "+441632960961")
    await world.run()
    case = world.case("erase-0001")
    assert (case.known, case.unknown, matched(case)) == (True, (0, 2, 3), "nobody under 1, 3, 4")
    assert world.receipts("erase-0001")[-1]["shredded"]
    assert "nobody under 1, 3, 4 of its identifiers" in whole(case, TODAY, None)


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("erase", {"range": {"from": "2026-11-01"}}),
        ("restrict", {}),
        ("object", {"purposes": ["quality"]}),
        ("rectify", {"facts": {"call_id": "c1", "role": "host"}}),
        ("lift", {}),
        ("access", {"reply": True}),
        ("portability", {"reply": True}),
    ],
)
async def test_every_type_says_whether_somebody_was_known(world: GuardWorld, kind: str, more: dict[str, Any]) -> None:
    more = {"reply_key": reply(world)} if more.pop("reply", False) else more
    for number, (who, known) in enumerate({"nobody": False, "alice": True}.items()):
        await world.ask(f"asked-000{number}", kind, who, **more)
        await world.run()
        case = world.case(f"asked-000{number}")
        assert case.known is known, case
        said = {receipt["stage"] for receipt in world.receipts(case.jti)}
        assert known or not said & {"destroyed", "tombstoned", "rewritten"}, said


async def test_an_answer_about_nobody_is_an_answer(world: GuardWorld) -> None:
    await world.ask("access-001", "access", "nobody", reply_key=reply(world))
    await world.run()
    assert world.case("access-001").state == "closed"
    assert "exported" in {receipt["stage"] for receipt in world.receipts("access-001")}
    assert world.log.live("privacy.exports")


async def gone(world: GuardWorld, *, secret: bool) -> None:
    """Alice's records are put under a secret hold, or not, and then she is erased."""
    if secret:
        await world.hold("hold-00001", "claim-17", "alice", secret=True)
        await world.run()
    await world.ask("erase-0001", "erase", "alice")
    await world.run()
    assert bool(world.held_of(world.case("hold-00001").hold or "")) if secret else True


@pytest.mark.parametrize("kind", ["erase", "restrict", "access", "object"])
async def test_who_is_held_in_secret_and_nowhere_else_is_known_no_more(tmp_path: Path, kind: str) -> None:
    """Whoever asks under such an identifier learns what they would learn of anybody erased, or never there."""
    told: list[list[dict[str, Any]]] = []
    for name, secret, who in (("a", True, "alice"), ("b", False, "alice"), ("c", False, "nobody")):
        world = await GuardWorld(tmp_path / name).start()
        await world.call("c1", "alice", "bob", outcome="missed")  # of which no law keeps anything
        await world.run()
        await gone(world, secret=secret)
        world.clock.at += timedelta(hours=1)
        more: dict[str, Any] = {"purposes": ["quality"]} if kind == "object" else {}
        more |= {"reply_key": reply(world)} if kind == "access" else {}
        await world.ask("asked-0001", kind, who, **more)
        await world.run()
        assert world.case("asked-0001").known is False
        hidden = {"at", "stages", "bounds", "digests", "case"}
        told.append([{k: v for k, v in each.items() if k not in hidden} for each in world.receipts("asked-0001")])
    assert told[0] == told[1] == told[2]


async def test_who_is_held_openly_is_known(world: GuardWorld) -> None:
    await world.hold("hold-00001", "claim-17", "alice")
    await world.run()
    await world.ask("erase-0001", "erase", "alice")
    await world.run()
    await world.ask("access-001", "access", "alice", reply_key=reply(world))
    await world.run()
    assert world.case("access-001").known is True


@pytest.mark.parametrize("kind", ["restrict", "erase", "object"])
@pytest.mark.slow
async def test_a_crash_makes_nobody_known(tmp_path: Path, kind: str) -> None:
    """Whom the case itself has minted or fenced before the crash was not known before."""
    for at in range(1, 60, EACH_WRITE):
        for after in (False, True):
            world = await GuardWorld(tmp_path / f"{at}-{after}").start()
            more: dict[str, Any] = {"purposes": ["quality"]} if kind == "object" else {}
            await world.ask("asked-0001", kind, "nobody", **more)
            blown = await world.run_with_crashes(at, after=after, rebuild=False)
            assert (world.case("asked-0001").known, world.case("asked-0001").unknown) == (False, (0,)), (at, after)
        if not blown:
            return
    raise AssertionError("no end of the writes")


async def test_who_appears_before_the_fence_is_known(world: GuardWorld) -> None:
    """Their key is destroyed, and that is said."""
    subjects = world.desk._o.decider.subjects
    seen: list[Case] = []
    plain = subjects.matched

    async def matched_late(case: Case, request: Any, told: Any = ()) -> Case:
        found = await plain(case, request, told)
        seen.append(found)
        await world.call("c9", "carol")
        await world.step("protector")
        return found

    subjects.matched = matched_late  # type: ignore[method-assign]
    await world.ask("erase-0001", "erase", "carol")
    await world.run()
    assert (seen[0].known, world.case("erase-0001").known, world.case("erase-0001").unknown) == (False, True, ())
    assert world.receipts("erase-0001")[-1]["shredded"]


async def test_nothing_new_is_written_for_a_tenant_of_the_first_release(tmp_path: Path) -> None:
    """Its desk would refuse a case with a field that it does not know."""
    world = GuardWorld(tmp_path)
    world.vault = world.wrapped.without("profile.", "signer.")
    assert world.vault.profile(TENANT).forms == RELEASE_0_1
    world.keystore.entries[GUARD_KEY] = guard_entry(world.vault.guard_id())
    await world.start()
    await world.ask("erase-0001", "erase", "nobody")
    await world.run()
    case = world.case("erase-0001")
    assert (case.known, case.unknown) == (msgspec.UNSET, msgspec.UNSET)
    assert {"destroyed", "tombstoned"} <= case.stages.keys()


def case_of(*, known: bool) -> Case:
    """An erasure whose fence is up."""
    return Case(
        case="A" * 22,
        tenant=TENANT,
        type="erase",
        state="enforcing",
        ticket=None,
        received_at=AT,
        due="2026-12-24",
        law_due=None,
        decisions=("B" * 21 + "A",),
        jti="erase-0001",
        place=(0, 0),
        appended_at=AT,
        opened_at=AT,
        asked_by="backend-1",
        known=known,
        unknown=() if known else (0,),
    )


@pytest.mark.parametrize("known", [True, False])
def test_a_case_of_nobody_ends_as_any_other_and_says_less(known: bool) -> None:  # noqa: FBT001
    case, said, states = case_of(known=known), list[str](), []
    for stage in ("destroyed", "tombstoned", "rewritten", "absent", "gone"):
        outcome = Outcome(
            tenant=TENANT, case=case.case, decision=case.decisions[0], stage=stage, partition=0, legs=0, barrier=0,
            up_to=0,
            by="keeper", at=AT,
        )  # fmt: skip
        case, new = after_outcome(case, outcome, AT)
        assert after_outcome(case, outcome, AT) == (case, []), "a repeat says nothing"
        said += new
        states.append(case.state)
    assert states == ["enforcing", "observing", "observing", "observing", "closed"]
    assert said == (["destroyed", "tombstoned", "rewritten", "absent", "gone"] if known else ["absent", "gone"])


def test_the_page_of_a_receipt_says_that_nobody_was_known() -> None:
    text = certificate(
        msgspec.structs.replace(RECEIPT, shredded=False, known=False, unknown=(0,)), SignatureCheck("k", "n")
    )
    assert "Nobody was known under the identifiers of the request" in text
    assert "Certificate" not in text
    text = certificate(msgspec.structs.replace(RECEIPT, known=True, unknown=(2,)), SignatureCheck("k", "n"))
    assert "Nobody was known under 1 identifier of the request." in text
