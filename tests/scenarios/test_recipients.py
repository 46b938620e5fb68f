"""Art. 19: of what becomes of a person's records those are told whom these records went to, and nobody else."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from desk_world import CANARY, DeskWorld
from guard_world import BARE as POLICY
from guard_world import TENANT, Crash, GuardWorld
from sizes import EACH_WRITE
from test_replay import alice

from calllog_guard.adapters.disk.policy_file import load_policy
from calllog_guard.core.crypto.jose import open_sealed
from calllog_guard.core.policy.form import Recipient
from calllog_guard.core.policy.recipients import given_to
from calllog_guard.core.records import Output
from calllog_guard.errors import ConfigurationError, LogSilentError

RECIPIENTS = """
[version.tenant.iocom.purposes.news]
number = 4
basis = "consent"
keep = "P30D"
[version.tenant.iocom.actors.support-1]
purposes = ["service"]
[version.tenant.iocom.recipients.invoicing]
key = "operator-1.pub.pem"
told = ["erased", "rectified", "restricted", "lifting"]
actors = ["billing-1"]
[version.tenant.iocom.recipients.helpdesk]
key = "operator-1.pub.pem"
told = ["erased", "rectified", "restricted", "lifting"]
actors = ["support-1"]
[version.tenant.iocom.recipients.court]
key = "operator-1.pub.pem"
told = ["erased"]
title = "Serious Fraud Office"
actors = []
[version.tenant.iocom.person_notices]
key = "operator-1.pub.pem"
told = ["erased", "rectified", "restricted", "lifting", "disclosed", "extended", "refused"]
"""
ALICE, BOB = "canary-alice@example.org", "canary-bob@example.org"
UNSAID = POLICY + RECIPIENTS.replace('actors = ["billing-1"]\n', "")
"""Who reads for `invoicing` is not said."""


@pytest.fixture
async def world(tmp_path: Path) -> GuardWorld:
    """See GuardWorld."""
    return await GuardWorld(tmp_path, POLICY + RECIPIENTS).start()


async def called(world: GuardWorld, name: str, *parties: str, **more: Any) -> dict[int, list[int]]:
    """A call; where its legs lie, by partition."""
    before = {place: len(lane) for place, lane in world.log.records.items()}
    await world.call(name, *parties, **more)
    await world.run()
    legs = {place: lane for place, lane in world.log.records.items() if place[0] == "calllog.legs"}
    return {
        place[1]: [each.offset for each in lane[before.get(place, 0) :]]
        for place, lane in legs.items()
        if len(lane) > before.get(place, 0)
    }


def told(world: GuardWorld, jti: str) -> dict[str, list[str]]:
    """By addressee and kind, of whom they were told."""
    pem, case = (world.folder / "operator-1.pem").read_bytes(), world.case(jti).case
    found: dict[str, list[str]] = {}
    for record in world.log.records["privacy.notices", 0]:
        notice = json.loads(record.value or b"{}")
        if notice["case"] == case:
            found.setdefault(
                f"{notice['to']}/{notice['kind']}", json.loads(open_sealed(pem, notice["jwe"]))["subjects"]
            )
    return found


def recipients(world: GuardWorld, jti: str) -> set[str]:
    """The recipients who were told of a case."""
    return {name.partition("/")[0] for name in told(world, jti)} - {"person"}


async def test_of_whom_nobody_was_given_anything_nobody_is_told(world: GuardWorld) -> None:
    await called(world, "c1", ALICE)
    await world.ask("erase-0001", "erase", ALICE)
    await world.run()
    assert told(world, "erase-0001") == {"person/erased": [ALICE]}
    assert world.receipts("erase-0001")[-1]["recipients"] == []
    assert world.case("erase-0001").sealed is None


async def test_those_who_have_opened_the_persons_records_are_told_and_no_others(world: GuardWorld) -> None:
    await world.opened("billing-1", await called(world, "c1", ALICE))
    await world.opened("support-1", await called(world, "c2", BOB))
    await world.ask("erase-0001", "erase", ALICE)
    await world.ask("erase-0002", "erase", BOB)
    await world.run()
    assert recipients(world, "erase-0001") == {"invoicing"}
    assert recipients(world, "erase-0002") == {"helpdesk"}
    receipt = world.receipts("erase-0001")[-1]
    assert (receipt["recipients"], "unsure" in receipt) == (["invoicing"], False)


async def test_one_request_about_two_people_tells_each_recipient_of_its_own(world: GuardWorld) -> None:
    """Whoever was given Alice's records hears nothing of Bob, nor how many there are."""
    await world.opened("billing-1", await called(world, "c1", ALICE))
    await called(world, "c2", BOB)
    await world.ask("erase-0001", "erase", BOB, ALICE)
    await world.run()
    assert told(world, "erase-0001") == {"person/erased": [BOB, ALICE], "invoicing/erased": [ALICE]}


KINDS: dict[str, tuple[dict[str, Any], str]] = {
    "erase": ({"range": {"from": "2026-11-01", "to": "2026-11-30"}}, "erased"),
    "rectify": ({"facts": {"call_id": "c1", "role": "guest"}}, "rectified"),
    "restrict": ({}, "restricted"),
    "object": ({"purposes": ["quality"]}, "erased"),
    "withdraw": ({"purposes": ["news"]}, "erased"),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_it_holds_for_every_act_that_recipients_are_told_of(world: GuardWorld, kind: str) -> None:
    more, word = KINDS[kind]
    for name in (ALICE, BOB):
        yes: dict[str, Any] = {"purposes": ["news"], "time": "2026-11-24T08:00:00Z", "wording": "Yes."}
        await world.ask("consent-" + name[:12], "consent", name, **yes)
    await world.run()
    await world.opened("billing-1", await called(world, "c1", ALICE))
    await called(world, "c2", BOB)
    await world.ask(f"{kind}-0001", kind, ALICE, **more)
    if kind != "rectify":
        await world.ask(f"{kind}-0002", kind, BOB, **more)
    await world.run()
    assert {name: some for name, some in told(world, f"{kind}-0001").items() if "person" not in name} == {
        f"invoicing/{word}": [ALICE]
    }
    if kind != "rectify":
        assert recipients(world, f"{kind}-0002") == set()
    assert world.case(f"{kind}-0001").sealed is None


async def test_days_that_nobody_has_opened_are_erased_without_telling_anybody(world: GuardWorld) -> None:
    """What an act does not concern makes nobody its addressee."""
    await called(world, "c2", ALICE, days_ago=10)
    await world.opened("billing-1", await called(world, "c1", ALICE, days_ago=1))
    await world.ask("range-0001", "erase", ALICE, range={"from": "2026-11-10", "to": "2026-11-15"})
    await world.run()
    assert recipients(world, "range-0001") == set()


async def test_of_the_end_of_a_restriction_those_are_told_whom_the_records_went_to(world: GuardWorld) -> None:
    await world.opened("support-1", await called(world, "c1", ALICE))
    await world.ask("restrict-1", "restrict", ALICE)
    await world.ask("lift-00001", "lift", ALICE)
    await world.run(rounds=200)
    assert recipients(world, "restrict-1") == recipients(world, "lift-00001") == {"helpdesk"}
    assert told(world, "lift-00001") == {"person/lifting": [ALICE], "helpdesk/lifting": [ALICE]}


async def test_an_authority_that_was_given_records_is_told(world: GuardWorld) -> None:
    from calllog_guard.cli.request import reply_key  # noqa: PLC0415

    await called(world, "c1", ALICE)
    key = reply_key(world.folder / "operator-1.pub.pem")
    order = {"authority": "serious  fraud office", "basis": "CJA 1987 s.2", "notify": "before", "reply_key": key}
    path = world.folder / "policy.toml"
    path.write_text(
        path.read_text() + '[version.tenant.iocom.requesters.officer-2]\nrole = "officer"\nkey = "officer-2.pub.pem"\n'
    )
    world.policy = load_policy(path)
    await world.restart()
    await world.ask("disclose-1", "disclose", ALICE, key="officer-1", **order)
    await world.run()
    await world.ask("approve-01", "approve", key="officer-2", case=world.case("disclose-1").case)
    await world.run()
    assert "exported" in world.case("disclose-1").stages
    await world.ask("erase-0001", "erase", ALICE)
    await world.run()
    assert recipients(world, "erase-0001") == {"court"}


async def test_where_accesses_are_lost_all_are_told_who_may_have_been_given_the_records(world: GuardWorld) -> None:
    """The doubt is the controller's; of whom nothing is stored nobody is told all the same."""
    await called(world, "c1", ALICE, days_ago=5)
    await world.opened("billing-1", {0: [10_000]})
    lane = world.log.records["privacy.access", 0]

    async def tail(topic: str, partition: int, start: int, most: int) -> tuple[Sequence[Any], int, int]:
        if topic == "privacy.access" and partition == 0:
            return [], 7, 7  # cut off up to its end
        return await type(world.log).tail(world.log, topic, partition, start, most)

    assert lane
    world.log.tail = tail  # type: ignore[method-assign, assignment] # the topic's retention
    await world.restart()
    await world.ask("erase-0001", "erase", ALICE)
    await world.ask("erase-0002", "erase", BOB)
    await world.run()
    assert recipients(world, "erase-0001") == {"invoicing", "helpdesk", "court"}
    assert world.receipts("erase-0001")[-1]["unsure"] == ["lost"]
    assert recipients(world, "erase-0002") == set()


async def test_records_younger_than_what_was_lost_are_judged_by_what_is_left(world: GuardWorld) -> None:
    await called(world, "c1", ALICE, days_ago=0)

    async def tail(topic: str, partition: int, start: int, most: int) -> tuple[Sequence[Any], int, int]:
        if topic == "privacy.access" and partition == 0:
            return [], 7, 7
        return await type(world.log).tail(world.log, topic, partition, start, most)

    world.log.tail = tail  # type: ignore[method-assign, assignment] # the topic's retention
    await world.restart()
    await world.ask("erase-0001", "erase", ALICE)
    await world.run()
    assert recipients(world, "erase-0001") == set()


async def test_an_erasure_waits_for_no_record_of_accesses(world: GuardWorld) -> None:
    await called(world, "c1", ALICE)

    async def tail(topic: str, partition: int, start: int, most: int) -> tuple[Sequence[Any], int, int]:
        if topic == "privacy.access":
            raise LogSilentError("no answer")
        return await type(world.log).tail(world.log, topic, partition, start, most)

    world.log.tail = tail  # type: ignore[method-assign, assignment] # a topic that is not there
    await world.restart()
    await world.ask("erase-0001", "erase", ALICE)
    for _ in range(10):
        try:
            await world.run()
        except LogSilentError:
            continue
        break
    assert world.legs() == {}
    assert recipients(world, "erase-0001") == {"invoicing", "helpdesk", "court"}
    assert world.receipts("erase-0001")[-1]["unsure"] == ["unread"]


async def test_what_nobody_can_read_leaves_nobody_out(world: GuardWorld) -> None:
    await called(world, "c1", ALICE)
    await world.log.write([Output("privacy.access", 0, b"billing-1", b"\xff not JSON")])
    await world.ask("erase-0001", "erase", ALICE)
    await world.run()
    assert recipients(world, "erase-0001") == {"invoicing", "helpdesk", "court"}


async def test_an_access_that_does_not_say_which_records_it_opened_counts(world: GuardWorld) -> None:
    """As an earlier release wrote it: nobody is left out because it is not known for sure."""
    await world.opened("billing-1", await called(world, "c1", ALICE), which=False)
    await world.ask("erase-0001", "erase", ALICE)
    await world.run()
    assert recipients(world, "erase-0001") == {"invoicing"}


@pytest.mark.parametrize("rebuild", [False, True])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.slow
async def test_wherever_a_process_dies_those_are_told_and_no_others(
    tmp_path: Path, *, after: bool, rebuild: bool
) -> None:
    for at in range(1, 80, EACH_WRITE):
        world = await GuardWorld(tmp_path / str(at), POLICY + RECIPIENTS).start()
        await world.opened("billing-1", await called(world, "c1", ALICE))
        await world.ask("erase-0001", "erase", ALICE)
        if not await world.run_with_crashes(at, after=after, rebuild=rebuild):
            break
        assert set(told(world, "erase-0001")) == {"person/erased", "invoicing/erased"}, at
        assert world.case("erase-0001").sealed is None
    else:
        raise AssertionError("the story has no end")


async def test_a_keeper_of_an_earlier_release_leaves_nobody_out(world: GuardWorld) -> None:
    """It does what is decided and does not say where the records had gone."""
    await called(world, "c1", ALICE)

    async def silent(*_: Any) -> bool:
        return True

    world.keeper._enforcer._tracer.told = silent  # type: ignore[method-assign, assignment]
    await world.ask("erase-0001", "erase", ALICE)
    await world.run()
    assert recipients(world, "erase-0001") == {"invoicing", "helpdesk", "court"}
    assert world.receipts("erase-0001")[-1]["unsure"] == ["untraced"]


async def test_before_the_upgrade_of_the_forms_all_are_told(tmp_path: Path) -> None:
    """A release before could not read what keepers say."""
    world = await GuardWorld(tmp_path, POLICY + RECIPIENTS, forms=1).start()
    await called(world, "c1", ALICE)
    await world.ask("erase-0001", "erase", ALICE)
    await world.run()
    assert recipients(world, "erase-0001") == {"invoicing", "helpdesk", "court"}
    assert b"traced" not in b"".join(each.value or b"" for each in world.log.records["privacy.outcomes", 0])


async def test_a_request_outlives_a_keepers_absence_sealed(world: GuardWorld) -> None:
    await world.opened("billing-1", await called(world, "c1", ALICE))
    await world.ask("erase-0001", "erase", ALICE)
    await world.step("desk")
    case = world.case("erase-0001")
    assert "fenced" in case.stages, "nothing waits for the recipients"
    assert (case.sealed is None, set(told(world, "erase-0001"))) == (False, {"person/erased"})
    written = [
        each.value or b"" for lane in world.log.records.values() for each in lane if each.topic != "calllog.events"
    ]
    assert not any(b"canary" in each for each in written)
    await world.restart()
    await world.run()
    assert recipients(world, "erase-0001") == {"invoicing"}


async def test_who_reads_for_a_recipient_may_be_left_unsaid(tmp_path: Path) -> None:
    world = await GuardWorld(tmp_path, UNSAID).start()
    await world.opened("support-1", await called(world, "c1", ALICE))
    await called(world, "c2", BOB)
    await world.ask("erase-0001", "erase", ALICE)
    await world.ask("erase-0002", "erase", BOB)
    await world.run()
    assert recipients(world, "erase-0001") == {"invoicing", "helpdesk"}
    assert recipients(world, "erase-0002") == set()


def test_a_recipient_reads_as_the_credentials_that_the_policy_names(tmp_path: Path) -> None:
    world = GuardWorld(tmp_path, POLICY + RECIPIENTS)
    table = world.policy.at(world.clock.at.date()).tenant[TENANT]
    assert given_to(table, ["billing-1"]) == ("invoicing",)
    assert given_to(table, ["helpdesk"]) == ("helpdesk",), "a credential of its own name"
    assert given_to(table, [], ["COURT"]) == ("court",)
    assert given_to(table, [], unsure=True) == ("invoicing", "helpdesk", "court")
    assert given_to(table, []) == ()
    assert isinstance(table.recipients["court"], Recipient)


def test_a_credential_that_never_was_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no actor is called biling-1"):
        GuardWorld(tmp_path, (POLICY + RECIPIENTS).replace('actors = ["billing-1"]', 'actors = ["biling-1"]'))


async def test_accesses_are_read_once_however_many_are_erased(world: GuardWorld) -> None:
    await world.opened("billing-1", await called(world, "c1", ALICE))
    people = [f"person-{number}@example.org" for number in range(20)]
    for number, each in enumerate(people):
        await world.call(f"d{number}", each)
    await world.run()
    read = 0
    tail = world.log.tail

    async def counted(topic: str, partition: int, start: int, most: int) -> Any:
        nonlocal read
        read += topic == "privacy.access"
        return await tail(topic, partition, start, most)

    world.log.tail = counted  # type: ignore[method-assign]
    await world.restart()
    for number, each in enumerate(people):
        await world.ask(f"erase-{number:04}", "erase", each)
    await world.run()
    assert read <= 2 * world.settings.few_partitions


async def test_what_a_keeper_said_before_it_died_counts(tmp_path: Path) -> None:
    """Some legs are gone when it looks again: it finds fewer readers then, or none."""
    world = await DeskWorld(tmp_path).start()
    world.readers = None
    await world.meet(BOB)
    await world.ask("erase-0001", CANARY, BOB, type="erase")
    case = world.case("erase-0001")
    first, second = sorted(case.traces or {}, key=lambda name: (case.traces or {})[name].place)
    await world.trace(case, first, "billing-1")
    await world.trace(case, first)
    assert "invoicing/erased" not in world.named(), "of the other nobody has said it yet"
    await world.trace(case, second)
    (told,) = [world.words(each) for each in world.notices() if each.to == "invoicing"]
    assert told.subjects == (CANARY,)


# --- read between the look and the flag -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["restrict", "object", "withdraw"])
@pytest.mark.slow
async def test_who_reads_until_the_flag_is_raised_is_told(tmp_path: Path, kind: str) -> None:
    """A desk dies after writing a decision and before raising its flag; the keeper is awake, and so is a reader."""
    more, word = KINDS[kind]
    read = 0
    for at in range(1, 20):
        world = await GuardWorld(tmp_path / f"{at}", POLICY + RECIPIENTS).start()
        yes: dict[str, Any] = {"purposes": ["news"], "time": "2026-11-24T08:00:00Z", "wording": "Yes."}
        await world.ask("consent-01", "consent", ALICE, **yes)
        await world.run()
        await called(world, "c1", ALICE)
        await world.ask("asked-0001", kind, ALICE, **more)
        world.fuse.at, world.fuse.after, world.fuse.count = at, True, 0
        try:
            await world.step("desk")
        except Crash:
            await world.restart()
        else:
            break
        for _ in range(3):
            await world.step("keeper")
        person = await alice(world, ALICE)
        free = not (person.restricted or person.objected or person.withdrawn)
        if free:
            await world.opened("billing-1")
            read += 1
        await world.run()
        assert ({f"invoicing/{word}"} <= told(world, "asked-0001").keys()) is free, at
    assert read > 1


@pytest.mark.parametrize("kind", ["erase", "rectify"])
async def test_who_reads_until_it_is_done_is_told(world: GuardWorld, kind: str) -> None:
    """An erasure of some days and a correction raise no flag."""
    more, word = KINDS[kind]
    legs = await called(world, "c1", ALICE)
    results = world.keeper._enforcer.results
    traced = results.traced

    async def and_read(*args: Any) -> None:
        await traced(*args)
        if not world.log.records["privacy.access", 0]:
            await world.opened("billing-1", legs)

    results.traced = and_read  # type: ignore[assignment, method-assign]
    await world.ask("asked-0001", kind, ALICE, **more)
    await world.run()
    assert recipients(world, "asked-0001") == {"invoicing"}
    assert f"invoicing/{word}" in told(world, "asked-0001")
    assert world.case("asked-0001").sealed is None


async def test_a_withdrawal_that_is_taken_back_before_a_keeper_looks_holds_up_nothing(world: GuardWorld) -> None:
    yes: dict[str, Any] = {"purposes": ["news"], "time": "2026-11-24T08:00:00Z", "wording": "Yes."}
    await world.ask("consent-01", "consent", ALICE, **yes)
    await world.run()
    await world.opened("billing-1", await called(world, "c1", ALICE))
    await world.ask("asked-0001", "withdraw", ALICE, purposes=["news"])
    await world.ask("consent-02", "consent", ALICE, **yes)
    await world.step("desk")
    assert not (await alice(world, ALICE)).withdrawn
    await world.run()
    assert recipients(world, "asked-0001") == {"invoicing"}
