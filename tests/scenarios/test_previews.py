"""What an approval would touch is counted before it, by keepers, and nothing changes by it."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from guard_world import POLICY, TENANT, Crash, GuardWorld
from sizes import EACH_WRITE
from test_access import RICH, reply_key
from test_orders import upgraded
from test_parking import lookup

from calllog_guard.core.cases.case import Case
from calllog_guard.core.codec import decode
from calllog_guard.core.crypto.entries import person_key
from calllog_guard.core.decisions.decision import DECISIONS, Decision
from calllog_guard.core.decisions.outcome import is_result
from calllog_guard.core.decisions.preview import Preview, PreviewCount
from calllog_guard.errors import IdentityMovedError, KeystoreSilentError

BRAKED = (
    RICH.replace("erasures_per_hour = 10000", "erasures_per_hour = 1")
    .replace('keep = "P90D"\n', 'keep = "P90D"\nwhen = { outcomes = ["answered"] }\n')
    .replace('keep = "P60D"\n', 'keep = "P60D"\nwhen = { outcomes = ["answered"] }\n')
    + """\
[version.tenant.iocom.purposes.fraud]
number = 5
basis = "legitimate_interests"
keep = "P200D"
on_objection = "review"
"""
)


async def world_of(folder: Path, policy: str = BRAKED, **more: Any) -> GuardWorld:
    """Three calls of alice, the host, and bob, and one of carol that nothing but fraud keeps; the brake is used up."""
    world = await GuardWorld(folder, policy, **more).start()
    for number, days in enumerate((70, 50, 10)):
        await world.call(f"c{number}", "alice", "bob", days_ago=days)
    await world.call("old", "carol", "bob", days_ago=100, outcome="missed")
    await world.run()
    await world.ask("first-0001", "erase", "nobody@example.org")
    await world.run()
    return world


@pytest.fixture
async def world(tmp_path: Path) -> GuardWorld:
    """Some calls of alice, bob and carol."""
    return await world_of(tmp_path)


async def asked(world: GuardWorld, kind: str, jti: str = "asked-0001", who: str = "bob", **more: Any) -> Case:
    """A request that an officer has to weigh, and everybody has worked."""
    if kind == "object":
        more = {"purposes": ["fraud"], **more}
    if kind == "disclose":
        terms = {"authority": "Court", "basis": "Order 7", "notify": "before", "reply_key": reply_key(world)}
        more = {"key": "officer-1", **terms, **more}
    await world.ask(jti, kind, who, **more)
    await world.run()
    return world.case(jti)


async def approved(world: GuardWorld, jti: str = "asked-0001") -> Case:
    """An officer approves it, and everybody works."""
    await world.ask(f"yes-{jti}", "approve", key="officer-2", case=world.id_of(jti))
    await world.run()
    return world.case(jti)


def preview(case: Case) -> Preview:
    """What keepers have counted."""
    assert case.measured is not None
    return case.measured


def previews(world: GuardWorld) -> list[Decision]:
    """The previews in the ledger."""
    live = world.log.live("privacy.decisions")
    found = [decode(DECISIONS, value) for key, value in live.items() if not is_result(key) and key[:1] != b"~"]
    return [each for each in found if each.type == "preview"]


def stored(world: GuardWorld) -> tuple[Any, ...]:
    """All that a preview must leave as it is."""
    topics = ("calllog.legs", "calllog.held", "privacy.exports", "privacy.notices")
    return dict(world.keystore.entries), [world.log.live(topic) for topic in topics]


def bare(case: Case) -> dict[str, Any]:
    """What a case says of its preview, without when."""
    found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(preview(case)))
    return {name: value for name, value in found.items() if name not in {"at", "asked_at"}}


@pytest.mark.parametrize(
    ("kind", "who", "months", "more"),
    [
        ("erase", "alice", 3, {"legs": 3, "kept": {"billing": 3}}),
        ("erase", "bob", 4, {"legs": 4, "kept": {}}),
        ("object", "bob", 1, {"legs": 1, "narrowed": 3}),
        ("disclose", "bob", 4, {"legs": 4, "kept": {}}),
    ],
)
async def test_what_is_counted_before_an_approval_is_what_is_then_done(
    world: GuardWorld, kind: str, who: str, months: int, more: dict[str, Any]
) -> None:
    case = await asked(world, kind, who=who)
    assert case.weighed
    found = preview(case)
    assert (found.months, found.unsure, found.open, found.seen) == (months, False, (), ())
    assert {name: getattr(found, name) for name in more} == more
    done = await approved(world)
    assert sum(done.legs.values()) == found.legs
    last = world.receipts("asked-0001")[-1]
    assert (last["stage"], last["legs"]) == ("exported" if kind == "disclose" else "tombstoned", found.legs)
    assert (last["previewed"]["legs"], last["previewed"]["months"]) == (found.legs, months)
    assert [each for each in world.receipts("asked-0001") if each["stage"] == "accepted" and "previewed" in each] == []
    assert world.dead() == []


@pytest.mark.parametrize("days", [{"from": "2026-10-01"}, {"to": "2026-10-31"}])
async def test_of_some_days_those_alone_are_counted(world: GuardWorld, days: dict[str, str]) -> None:
    case = await asked(world, "erase", who="alice", range=days)
    found = preview(case)
    assert found.legs in {1, 2}
    assert found.kept == {"billing": found.legs}
    assert sum((await approved(world)).legs.values()) == found.legs


@pytest.mark.parametrize("kind", ["erase", "object", "disclose"])
async def test_nothing_that_is_stored_changes_by_a_preview(world: GuardWorld, kind: str) -> None:
    """Once the case is open and its own effects are there: an objection restricts, a disclosure has copies made."""
    await world.ask("asked-0001", kind, "bob", **_terms(world, kind))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world.desk._previews, "_due", lambda _case: False)
        await world.run()
    before = stored(world)
    assert previews(world) == []
    await world.restart()
    await world.run()
    assert preview(world.case("asked-0001")).legs
    keys, topics = stored(world)
    changed = {name for name in keys if keys[name] != before[0].get(name)}
    assert changed <= {name for name in keys if b":~" in name}, "what restarts and offsets move, and no person"
    assert topics == before[1]


def _terms(world: GuardWorld, kind: str) -> dict[str, Any]:
    if kind == "object":
        return {"purposes": ["fraud"]}
    terms = {"authority": "Court", "basis": "Order 7", "notify": "before", "reply_key": reply_key(world)}
    return {"key": "officer-1", **terms} if kind == "disclose" else {}


async def test_what_comes_in_between_makes_a_difference_that_the_receipt_shows(world: GuardWorld) -> None:
    found = preview(await asked(world, "erase"))
    await world.call("late", "alice", "bob", days_ago=1)
    await world.run()
    assert sum((await approved(world)).legs.values()) == found.legs + 1
    last = world.receipts("asked-0001")[-1]
    assert (last["previewed"]["legs"], last["legs"]) == (found.legs, found.legs + 1)


@pytest.mark.parametrize("kind", ["erase", "object", "disclose"])
async def test_an_approval_that_comes_first_waits_for_no_keeper(world: GuardWorld, kind: str) -> None:
    """What is counted while it is carried out may be a part of it: it is no comparison, and there is none."""
    await world.ask("asked-0001", kind, "bob", **_terms(world, kind))
    await world.step("desk")
    await world.step("desk")
    case = world.case("asked-0001")
    assert case.weighed
    assert case.preview
    assert case.preview.open != ()
    done = await approved(world)
    assert done.state in {"closed", "observing"}
    assert done.measured is None
    assert all("previewed" not in each for each in world.receipts("asked-0001"))


@pytest.mark.parametrize("kind", ["erase", "disclose"])
async def test_killed_at_any_write_the_preview_says_the_same(tmp_path: Path, kind: str) -> None:
    whole = await world_of(tmp_path / "whole")
    wanted = bare(await asked(whole, kind))
    at, blown = 0, True
    while blown:
        at += EACH_WRITE
        world = await world_of(tmp_path / str(at))
        await world.ask("asked-0001", kind, "bob", **_terms(world, kind))
        blown = await world.run_with_crashes(at, after=at % 2 == 0, rebuild=at % 3 == 0)
        assert bare(world.case("asked-0001")) == wanted, f"write {at}"
        assert len(previews(world)) == 1
    assert at > 3


class Dying:
    """The process dies once the case says whom it asks."""

    def reached(self, step: str) -> None:
        """See CrashPoints."""
        assert step == "preview.case"
        raise Crash


async def test_dead_between_the_case_and_the_ledger_it_asks_once_more(
    world: GuardWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The case says whom it asks before the ledger has it."""
    await world.ask("asked-0001", "erase", "bob")
    monkeypatch.setattr(world.desk._previews, "_steps", Dying())
    with pytest.raises(Crash):
        await world.step("desk")
    case = world.case("asked-0001")
    assert case.preview
    assert len(case.preview.open) == 1
    assert previews(world) == []
    await world.restart()
    await world.run()
    assert (preview(world.case("asked-0001")).legs, len(previews(world))) == (4, 1)


class Silent:
    """The log falls silent once the case says whom it asks."""

    def reached(self, step: str) -> None:
        """See CrashPoints."""
        del step
        raise KeystoreSilentError("silent")


@pytest.mark.parametrize("where", ["before the case", "behind the case"])
async def test_what_could_not_be_asked_for_a_silent_store_is_asked_once_it_is_there(
    world: GuardWorld, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """The process goes on: nothing else would ever ask, and the page would say for ever that keepers measure."""

    async def silent() -> None:
        raise KeystoreSilentError("silent")

    await world.ask("asked-0001", "erase", "bob")
    with monkeypatch.context() as patch:
        if where == "before the case":
            patch.setattr(world.desk._previews._holds, "standing", silent)
        else:
            patch.setattr(world.desk._previews, "_steps", Silent())
        with pytest.raises(KeystoreSilentError):
            await world.step("desk")
    assert previews(world) == []
    await world.run()
    assert (preview(world.case("asked-0001")).legs, len(previews(world))) == (4, 1)


async def test_a_count_that_cannot_be_asked_for_holds_up_no_protection(
    world: GuardWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has returned after an erasure is put under the holds that name them, whatever a preview meets."""
    renewed: list[str] = []

    async def silent(*_: Any) -> None:
        raise KeystoreSilentError("silent")

    async def noted(version: str) -> None:
        renewed.append(version)

    monkeypatch.setattr(world.desk._previews, "look", silent)
    monkeypatch.setattr(world.desk._holds, "renewed", noted)
    world.clock.at += timedelta(hours=1)
    with pytest.raises(KeystoreSilentError):
        await world.desk.idle()
    assert len(renewed) == 1


async def test_once_an_officer_has_decided_the_case_keeps_what_is_compared(world: GuardWorld) -> None:
    """Else it would join, for years, the cases of somebody who is erased."""
    await world.ask("restrict-01", "restrict", "bob")
    await world.hold("hold-0001", "claim-1", "bob")
    await world.run()
    found = preview(await asked(world, "erase"))
    assert (found.holds, found.restrictions) == (("claim-1",), (world.case("restrict-01").case,))
    done = preview(await approved(world))
    assert (done.holds, done.restrictions) == ((), ())
    assert (done.legs, done.months, done.at) == (found.legs, found.months, found.at)
    assert world.receipts("asked-0001")[-1]["previewed"]["legs"] == found.legs


async def test_of_keepers_that_have_answered_in_part_no_month_stays_with_the_case(world: GuardWorld) -> None:
    """An officer decides while one partition's keeper is down: which months had calls is in no case for years."""
    await world.ask("asked-0001", "erase", "alice", "bob")
    await world.step("desk")
    await world.step("desk")
    case = world.case("asked-0001")
    assert case.preview
    told = PreviewCount(months=("2026-10",))
    half = case.preview.answered(case.preview.open[0], 3, told, world.clock.at)
    await world.desk._book.save(msgspec.structs.replace(case, preview=half))
    assert b"2026-10" in half.seen[0].encode()
    await world.ask("yes-000001", "approve", key="officer-2", case=world.id_of("asked-0001"))
    await world.step("desk")
    assert not world.case("asked-0001").weighed
    assert world.case("asked-0001").preview is msgspec.UNSET


async def test_a_case_that_comes_before_an_officer_again_is_counted_anew(world: GuardWorld) -> None:
    """What was granted has become impossible: an officer decides it a second time, and knows what is there by then."""
    first = preview(await asked(world, "erase", who="alice"))
    case = world.case("asked-0001")
    granted = msgspec.structs.replace(case, state="enforcing", waits_for=None)
    granted = await world.desk._book.save(granted)
    await world.call("late", "alice", "bob", days_ago=1)
    world.clock.at += timedelta(seconds=1)
    await world.desk._book.save(msgspec.structs.replace(granted, state="waiting", waits_for="officer"))
    await world.run()
    found = preview(world.case("asked-0001"))
    assert (found.legs, found.number) == (first.legs + 1, first.number)
    assert len(previews(world)) == 2


async def test_who_was_erased_before_it_asks_once_more_is_waited_for_no_longer(
    world: GuardWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody would ever answer."""
    await world.ask("asked-0001", "object", "bob", purposes=["fraud"])
    monkeypatch.setattr(world.desk._previews, "_steps", Dying())
    with pytest.raises(Crash):
        await world.step("desk")
    await world.restart()
    monkeypatch.setattr(world.desk._previews, "_due", lambda _case: False)
    await world.ask("erase-0001", "erase", "bob", key="officer-1")
    await world.run()
    await world.ask("yes-000001", "approve", key="officer-1", case=world.id_of("erase-0001"))
    await world.run()
    await world.restart()
    await world.run()
    found = preview(world.case("asked-0001"))
    assert (found.legs, found.unsure) == (0, True)
    assert previews(world) == []


@pytest.mark.parametrize("kind", ["erase", "object", "disclose"])
async def test_a_secret_hold_moves_nothing_that_a_case_says(tmp_path: Path, kind: str) -> None:
    """Neither a number, nor a name, nor that there is one: whoever reads the case may not know of it."""
    said = []
    for secret in (None, True, False):
        world = await world_of(tmp_path / str(secret))
        if secret is not None:
            await world.hold("hold-0001", "claim-1", "bob", secret=secret)
            await world.run()
        said.append(bare(await asked(world, kind)))
    without, secretly, openly = said
    assert secretly == without
    assert (without["holds"], openly["holds"]) == ([], ["claim-1"])


async def test_a_restriction_that_stands_is_named_and_not_the_one_that_it_brings_itself(world: GuardWorld) -> None:
    assert preview(await asked(world, "object")).restrictions == ()
    await world.ask("restrict-01", "restrict", "alice")
    await world.run()
    found = preview(await asked(world, "erase", "asked-0002", "alice"))
    assert found.restrictions == (world.case("restrict-01").case,)


async def test_of_several_people_a_month_is_counted_once(world: GuardWorld) -> None:
    await world.ask("asked-0001", "erase", "alice", "bob", "nobody-else@example.org")
    await world.run()
    found = preview(world.case("asked-0001"))
    assert (found.legs, found.months, found.kept) == (7, 4, {"billing": 3})
    assert b"2026-1" not in msgspec.json.encode(found.months), "a case says how many, not which"
    assert len(previews(world)) == 2


async def test_where_nobody_is_known_nobody_is_asked_or_minted(world: GuardWorld) -> None:
    before = dict(world.keystore.entries)
    case = await asked(world, "erase", who="stranger@example.org")
    assert case.weighed
    assert (preview(case).legs, preview(case).months, preview(case).open) == (0, 0, ())
    assert previews(world) == []
    assert world.keystore.entries == before


async def test_another_act_on_the_case_brings_another_preview(world: GuardWorld) -> None:
    """Days later there is more, or less."""
    await asked(world, "erase")
    await world.call("late", "alice", "bob", days_ago=1)
    await world.ask("extend-001", "clock", key="officer-1", case=world.id_of("asked-0001"), event="ask_identity")
    await world.run()
    assert not world.case("asked-0001").weighed
    await world.ask("verify-001", "clock", case=world.id_of("asked-0001"), event="verify")
    await world.run()
    case = world.case("asked-0001")
    assert case.weighed
    assert (preview(case).number, preview(case).legs) == (2, 5)


async def test_what_needs_no_officer_is_not_counted(world: GuardWorld) -> None:
    await world.ask("asked-0001", "object", "bob", purposes=["quality"])
    await world.run()
    assert world.case("asked-0001").preview is msgspec.UNSET
    await world.ask("asked-0002", "erase", "alice", identity="unverified")
    await world.run()
    assert (world.case("asked-0002").waits_for, world.case("asked-0002").preview) == ("identity", msgspec.UNSET)
    assert previews(world) == []


async def test_a_keeper_of_the_first_level_of_forms_is_never_asked(tmp_path: Path) -> None:
    """It would take the decision for nobody's, and halt or write a dead letter."""
    world = await world_of(tmp_path, POLICY.replace("erasures_per_hour = 10000", "erasures_per_hour = 1"), forms=1)
    case = await asked(world, "erase")
    assert (case.weighed, case.preview, previews(world)) == (True, msgspec.UNSET, [])


async def test_somebody_whose_entry_cannot_be_used_is_said_not_to_be_counted(world: GuardWorld) -> None:
    """The others are."""
    place = person_key(TENANT, lookup(world, "alice"))
    world.keystore.entries[place] = b"\x00" * len(world.keystore.entries[place])
    await world.restart()
    await world.ask("asked-0001", "erase", "alice", "bob")
    await world.run()
    found = preview(world.case("asked-0001"))
    assert (found.legs, found.unsure) == (4, True)


async def test_what_counts_for_long_holds_up_nothing_that_was_decided(
    world: GuardWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hundreds of thousands of records take many turns: no other decision about the person waits for them."""
    monkeypatch.setattr("calllog_guard.workers.keeper.enforcement.enforcer.PORTION", 1)
    monkeypatch.setattr("calllog_guard.workers.keeper.decision_work._TURN_S", -1.0)
    await world.ask("asked-0001", "object", "bob", purposes=["fraud"])
    await world.step("desk")
    await world.step("keeper")
    await world.ask("access-0001", "access", "bob", reply_key=reply_key(world))
    await world.step("desk")
    await world.step("keeper")
    begun = [key for shard in world.keeper._shards.values() for key in shard.progress]
    decided = {world.case("access-0001").decisions[0], previews(world)[0].decision}
    assert {key.decode().partition(".")[2] for key in begun} >= decided, "both are under way"
    await world.run()
    assert preview(world.case("asked-0001")).legs == 1


async def test_how_long_it_is_counted_tells_of_no_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The copies of a hold take as long as there are records: what only counts does not wait for them."""
    monkeypatch.setattr("calllog_guard.workers.keeper.enforcement.enforcer.PORTION", 1)
    monkeypatch.setattr("calllog_guard.workers.keeper.decision_work._TURN_S", -1.0)
    turns = []
    for secret in (None, True):
        world = await world_of(tmp_path / str(secret))
        if secret:
            await world.hold("hold-0001", "claim-1", "alice", "bob", secret=True)
        await world.ask("asked-0001", "erase", "bob")
        await world.step("desk")
        await world.step("desk")
        case, many = world.case("asked-0001"), 0
        while case.measured is None:
            await world.step("keeper")
            await world.step("desk")
            case, many = world.case("asked-0001"), many + 1
        turns.append(many)
    assert turns[0] == turns[1] > 2


async def test_the_ledger_says_that_it_was_counted_and_not_what(world: GuardWorld) -> None:
    """The ledger is kept for ever, under the person's pseudonym."""
    await asked(world, "erase", who="alice")
    live = world.log.live("privacy.decisions")
    told = [value for key, value in live.items() if is_result(key) and b"previewed" in value]
    assert len(told) == 1
    assert b"measured" not in told[0]
    assert b'"legs":0' in told[0]


async def test_of_many_cases_some_are_asked_about_at_once_and_all_in_the_end(
    world: GuardWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands that a brake has stopped hold up no request."""
    monkeypatch.setattr("calllog_guard.workers.desk.decisions.previews._AT_ONCE", 2)
    for number in range(5):
        await world.ask(f"asked-000{number}", "erase", "bob", ticket=f"T-{number}")
    await world.step("desk")
    assert len(previews(world)) == 2
    await world.step("desk")
    assert len(previews(world)) == 4
    await world.run()
    assert {preview(world.case(f"asked-000{number}")).legs for number in range(5)} == {4}


async def test_whom_a_case_names_is_asked_again_where_nobody_can_tell_yet(
    world: GuardWorld,
) -> None:
    """People are being carried over to other rules of identity, or an entry waits to be mended."""

    async def moved(_request: Any) -> None:
        raise IdentityMovedError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world.desk._previews._subjects, "named", moved)
        case = await asked(world, "erase")
    assert (case.weighed, case.preview) == (True, msgspec.UNSET)
    world.clock.at += timedelta(seconds=61)
    await world.run()
    assert preview(world.case("asked-0001")).legs == 4


async def test_of_somebody_who_was_erased_meanwhile_the_copies_are_counted_that_are_given(world: GuardWorld) -> None:
    """They were kept ready when the disclosure was asked for; a copy of what is still there is no second record."""
    assert preview(await asked(world, "disclose")).legs == 4
    await world.ask("erase-0001", "erase", "bob")
    await world.run()
    await approved(world, "erase-0001")
    await world.ask("verify-001", "clock", key="officer-1", case=world.id_of("asked-0001"), event="verify")
    await world.run()
    found = preview(world.case("asked-0001"))
    assert (found.number, found.legs, found.months) == (1, 4, 4)
    assert sum((await approved(world)).legs.values()) == 4


async def test_whoever_else_the_person_is_is_counted_with_them(world: GuardWorld) -> None:
    """What a same_as makes one person is erased as one."""
    await world.ask("same-00001", "same_as", "alice", "carol")
    await world.run()
    found = preview(await asked(world, "erase", who="alice"))
    assert (found.legs, found.months) == (4, 4)
    assert sum((await approved(world)).legs.values()) == 4


async def test_a_case_that_waits_when_its_tenant_is_raised_is_asked_about_then(tmp_path: Path) -> None:
    world = await world_of(tmp_path, POLICY.replace("erasures_per_hour = 10000", "erasures_per_hour = 1"), forms=1)
    await asked(world, "erase")
    await upgraded(world)
    await world.run()
    assert preview(world.case("asked-0001")).legs == 3
