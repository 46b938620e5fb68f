"""Whose restriction a lift ends: a backend's its own, an officer's any; several stand, with origins (Art. 18)."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from guard_world import POLICY, GuardWorld
from test_objections import BOB, FRAUD, bob
from test_replay import replayed as replay
from test_replay import restored

from calllog_guard.adapters.disk.policy_file import load_policy
from calllog_guard.core.cases.case import Case
from calllog_guard.core.cases.notices import NOTICES, WORDS
from calllog_guard.core.codec import decode
from calllog_guard.core.crypto.entries import Person, open_person, seal_person
from calllog_guard.core.crypto.jose import open_sealed
from calllog_guard.core.crypto.subject_secrets import Secret
from calllog_guard.core.identifiers import EpochName, Pseudonym
from calllog_guard.metrics import Counters

TOLD = """
[version.tenant.iocom.recipients.invoicing]
key = "operator-1.pub.pem"
told = ["restricted", "lifting"]
"""


async def world_of(folder: Path, more: str = "") -> GuardWorld:
    """A world with one call of bob."""
    world = await GuardWorld(folder, POLICY + FRAUD + TOLD + more).start()
    await world.call("c1", BOB)
    await world.run()
    await world.opened("billing-1")
    return world


async def ask(world: GuardWorld, jti: str, kind: str, *subjects: str, **more: Any) -> Case | None:
    """Ask, let everybody work, and see what became of it."""
    await world.ask(jti, kind, *(subjects or (BOB,) * (kind != "refuse")), **more)
    await world.run()
    return world.book.get(world.id_of(jti))


def lifting(world: GuardWorld) -> int:
    """How many recipients were told that a restriction has ended."""
    found = [decode(NOTICES, each.value or b"") for each in world.log.records["privacy.notices", 0]]
    return sum(each.kind == "lifting" and each.to != "person" for each in found)


def swept(world: GuardWorld) -> bool:
    """Whether the keepers take bob's legs as those of anybody."""
    return not any(shard.restricted for shard in world.keeper._shards.values())


async def replayed(world: GuardWorld) -> Person:
    """What the keystore says of bob once the ledger has been applied to it anew."""
    await replay(world, b"another %d" % world.clock.at.timestamp())
    world.clock.at += timedelta(seconds=1)
    return await bob(world)


@pytest.mark.parametrize("first", ["backend-1", "officer-1"])
async def test_a_backend_lifts_what_a_backend_began_and_an_officers_stands(tmp_path: Path, first: str) -> None:
    world = await world_of(tmp_path)
    second = {"backend-1": "officer-1", "officer-1": "backend-1"}[first]
    await ask(world, "restrict-1", "restrict", key=first)
    await ask(world, "restrict-2", "restrict", key=second)
    own, others = ("restrict-1", "restrict-2") if first == "backend-1" else ("restrict-2", "restrict-1")
    case = await ask(world, "lift-00001", "lift")
    assert case is not None
    assert (case.state, case.lifts) == ("closed", {world.id_of(own): "ended", world.id_of(others): "stands"})
    assert (await bob(world)).restricted
    assert (await replayed(world)).restricted
    assert lifting(world) == 0, "nobody is told of an end that did not come"
    assert not swept(world)
    case = await ask(world, "lift-00002", "lift", key="officer-1")
    assert case is not None
    assert case.lifts == {world.id_of(others): "ended"}
    assert not (await bob(world)).restricted
    assert not (await replayed(world)).restricted
    assert (lifting(world), swept(world)) == (1, True)


async def test_a_backends_lift_of_an_officers_restriction_ends_nothing_and_says_so(tmp_path: Path) -> None:
    world = await world_of(tmp_path)
    await ask(world, "restrict-1", "restrict", key="officer-1")
    case = await ask(world, "lift-00001", "lift")
    assert case is not None
    assert (case.state, case.decisions, case.lifts) == ("closed", (), {world.id_of("restrict-1"): "stands"})
    assert (await bob(world)).restricted


async def test_a_lift_does_not_end_what_an_objection_has_brought(tmp_path: Path) -> None:
    """Art. 18(1)(d): restricted while it is verified whose grounds are the weightier."""
    world = await world_of(tmp_path)
    await ask(world, "restrict-1", "restrict")
    await ask(world, "object-001", "object", purposes=["fraud"])
    case = await ask(world, "lift-00001", "lift")
    assert case is not None
    assert case.lifts == {world.id_of("restrict-1"): "ended", world.id_of("object-001"): "stands"}
    person = await bob(world)
    assert (person.restricted, person.reviewed) == (False, True)
    assert (await replayed(world)).reviewed
    await ask(world, "refuse-001", "refuse", key="officer-1", case=world.id_of("object-001"), ground="Compelling.")
    assert not (await bob(world)).closed


async def test_an_officer_ends_one_that_is_named_and_no_other(tmp_path: Path) -> None:
    world = await world_of(tmp_path)
    for number in (1, 2, 3):
        await ask(world, f"restrict-{number}", "restrict", key="officer-1" if number == 3 else "backend-1")
    case = await ask(world, "lift-00001", "lift", key="officer-1", case=world.id_of("restrict-2"))
    assert case is not None
    assert case.lifts == {world.id_of(f"restrict-{n}"): "ended" if n == 2 else "stands" for n in (1, 2, 3)}
    case = await ask(world, "lift-00002", "lift", case=world.id_of("restrict-3"))
    assert case is not None
    assert case.lifts == {world.id_of("restrict-1"): "stands", world.id_of("restrict-3"): "stands"}, (
        "a backend names it in vain"
    )
    case = await ask(world, "lift-00003", "lift")
    assert case is not None
    assert case.lifts == {world.id_of("restrict-1"): "ended", world.id_of("restrict-3"): "stands"}
    assert (await bob(world)).restricted
    await ask(world, "lift-00004", "lift", key="officer-1", case=world.id_of("restrict-3"))
    assert not (await replayed(world)).closed


async def test_an_officer_may_end_what_an_objection_has_brought_and_leave_the_rest(tmp_path: Path) -> None:
    world = await world_of(tmp_path)
    await ask(world, "restrict-1", "restrict")
    await ask(world, "object-001", "object", purposes=["fraud"])
    await ask(world, "lift-00001", "lift", key="officer-1", case=world.id_of("object-001"))
    person = await replayed(world)
    assert (person.restricted, person.reviewed) == (True, False)


async def test_where_nothing_is_restricted_nobody_is_told_of_an_end(tmp_path: Path) -> None:
    world = await world_of(tmp_path)
    case = await ask(world, "lift-00001", "lift")
    assert case is not None
    assert (case.state, case.lifts, lifting(world)) == ("closed", {}, 0)


async def test_a_lift_that_an_officer_has_approved_is_an_officers(tmp_path: Path) -> None:
    """Asked for by a backend, unverified, looked at by an officer."""
    world = await world_of(tmp_path)
    await ask(world, "restrict-1", "restrict", key="officer-1")
    await ask(world, "lift-00001", "lift", identity="unverified")
    clock = {"case": world.id_of("lift-00001")}
    await world.ask("asked-0001", "clock", key="officer-1", event="ask_identity", **clock)
    await world.ask("verify-001", "clock", event="verify", **clock)
    await world.ask("approve-01", "approve", key="officer-1", **clock)
    await world.run()
    assert not (await bob(world)).closed


async def test_a_backend_that_took_another_key_goes_on_where_the_first_left_off(tmp_path: Path) -> None:
    """`key rotate` and `key revoke` are no reason to keep anybody restricted."""
    world = await world_of(tmp_path)
    await ask(world, "restrict-1", "restrict")
    for name in ("backend-1.pem", "backend-1.pub.pem"):
        (tmp_path / name.replace("1", "2")).write_bytes((tmp_path / name).read_bytes())
    first = POLICY + FRAUD + TOLD
    second = first.replace("effective = 2020-01-01", "effective = 2026-11-24").replace("backend-1", "backend-2")
    (tmp_path / "policy.toml").write_text(first + second)
    world.policy.file = world.policy.versions = world.policy.history = load_policy(tmp_path / "policy.toml").versions
    world.backend = "backend-2"
    await ask(world, "lift-00001", "lift", key="backend-2")
    assert not (await bob(world)).closed


async def test_what_a_key_will_be_or_has_become_says_nothing_of_what_it_was_when_it_asked(tmp_path: Path) -> None:
    """A waiting version makes no backend an officer today; an officer's key turned backend's ends no restriction."""
    world = await world_of(tmp_path)
    await ask(world, "restrict-1", "restrict", key="officer-1")
    first = POLICY + FRAUD + TOLD
    swapped = first.replace("backend-1]", "x]").replace("officer-1]", "backend-1]").replace("x]", "officer-1]")
    swapped = (
        swapped.replace('"backend-1.pub', '"x.pub')
        .replace('"officer-1.pub', '"backend-1.pub')
        .replace("x.pub", "officer-1.pub")
    )
    later = swapped.replace("effective = 2020-01-01", "effective = 2026-11-25")
    assert later != first
    (tmp_path / "policy.toml").write_text(first + later)
    world.policy.file = world.policy.versions = world.policy.history = load_policy(tmp_path / "policy.toml").versions
    await ask(world, "lift-00001", "lift")
    assert (await bob(world)).restricted, "the backend is an officer from tomorrow on, and today it is not"
    world.clock.at += timedelta(days=1)
    await ask(world, "lift-00002", "lift", key="officer-1")
    assert (await bob(world)).restricted, "an officer began it, under a name that is a backend's now"
    await ask(world, "lift-00003", "lift")
    assert not (await bob(world)).restricted, "what was a backend is an officer now"


async def test_of_a_restriction_whose_case_is_forgotten_an_officer_decides(tmp_path: Path) -> None:
    world = await world_of(tmp_path)
    await ask(world, "restrict-1", "restrict")
    await world.book.forget_all([world.case("restrict-1")])
    await ask(world, "lift-00001", "lift")
    assert (await bob(world)).restricted
    await ask(world, "lift-00002", "lift", key="officer-1")
    assert not (await bob(world)).restricted


async def test_what_a_restore_has_imposed_an_officer_lifts_and_no_backend(tmp_path: Path) -> None:
    """Who restricted, and was lost with the keystore, is asked again by somebody who knows that they must be."""
    world = await world_of(tmp_path)
    before = dict(world.keystore.entries)
    await world.call("c2", "eve@example.org")
    await world.run()
    await ask(world, "restrict-1", "restrict", "eve@example.org", key="backend-1")
    await restored(world, before)
    assert world.counts[Counters.guard_choices_lost] == 1
    await ask(world, "restrict-2", "restrict", "eve@example.org")
    case = await ask(world, "lift-00001", "lift", "eve@example.org")
    assert case is not None
    assert case.lifts == {world.id_of("restrict-2"): "ended", "restore": "stands"}
    case = await ask(world, "lift-00002", "lift", "eve@example.org")
    assert case is not None
    assert case.lifts == {"restore": "stands"}
    case = await ask(world, "lift-00003", "lift", "eve@example.org", key="officer-1")
    assert case is not None
    assert case.lifts == {"restore": "ended"}
    case = await ask(world, "lift-00004", "lift", "eve@example.org")
    assert case is not None
    assert case.lifts == {}


async def test_of_several_identifiers_each_is_looked_at_and_only_the_freed_are_told_of(tmp_path: Path) -> None:
    world = await world_of(tmp_path)
    await world.call("c2", "robert@example.org")
    await world.run()
    await ask(world, "restrict-1", "restrict", BOB, "robert@example.org")
    await ask(world, "restrict-2", "restrict", "robert@example.org", key="officer-1")
    case = await ask(world, "lift-00001", "lift", BOB, "robert@example.org")
    assert case is not None
    assert case.lifts == {world.id_of("restrict-1"): "ended", world.id_of("restrict-2"): "stands"}
    assert not (await bob(world)).closed
    notice = decode(NOTICES, world.log.records["privacy.notices", 0][-1].value or b"")
    words = decode(WORDS, open_sealed((tmp_path / "operator-1.pem").read_bytes(), notice.jwe))
    assert (notice.kind, words.subjects) == ("lifting", (BOB,))


async def test_an_objection_to_a_purpose_that_is_dropped_meanwhile_ends_nobodys_own_restriction(tmp_path: Path) -> None:
    """The end of an objection is the end of its own restriction, whatever its purposes are called by then."""
    world = await world_of(tmp_path)
    backup = dict(world.keystore.entries)
    await ask(world, "restrict-1", "restrict")
    await ask(world, "object-001", "object", purposes=["fraud"])
    (tmp_path / "policy.toml").write_text(POLICY + TOLD)
    world.policy.file = world.policy.versions = world.policy.history = load_policy(tmp_path / "policy.toml").versions
    await ask(world, "refuse-001", "refuse", key="officer-1", case=world.id_of("object-001"), ground="Dropped.")
    person = await bob(world)
    assert (person.restricted, person.reviewed) == (True, False)
    await restored(world, backup)
    person = await bob(world)
    assert (person.restricted, person.reviewed) == (True, False), "as the ledger tells it"


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("write", range(1, 9))
async def test_wherever_it_dies_a_lift_ends_what_it_should_and_nothing_else(
    tmp_path: Path,
    write: int,
    after: bool,  # noqa: FBT001 - drawn
) -> None:
    world = await world_of(tmp_path)
    await ask(world, "restrict-1", "restrict")
    await ask(world, "restrict-2", "restrict", key="officer-1")
    await world.ask("lift-00001", "lift", BOB)
    await world.run_with_crashes(write, after=after, rebuild=False)
    case = world.case("lift-00001")
    assert (case.state, case.lifts) == (
        "closed",
        {world.id_of("restrict-1"): "ended", world.id_of("restrict-2"): "stands"},
    )
    assert (await bob(world)).restricted
    world.fuse.at = -1
    await world.ask("lift-00002", "lift", BOB, key="officer-1")
    await world.run_with_crashes(write, after=after, rebuild=False)
    assert world.case("lift-00002").lifts == {world.id_of("restrict-2"): "ended"}
    assert not (await bob(world)).closed
    assert lifting(world) >= 1


def test_an_entry_of_the_second_form_remembers_what_a_restore_imposed_and_one_of_the_first_does_not() -> None:
    key, epoch = Secret(b"\x03" * 32), EpochName("2026-W48")
    person = Person(generation=1, pseudonym=Pseudonym("A" * 22), restricted=True, imposed=True, epoch=epoch)
    found = [open_person(seal_person(person, b"p", key, bytes(12), form), b"p", key) for form in (1, 2)]
    assert [(each.restricted, each.imposed) for each in found] == [(True, False), (True, True)]
    assert not found[1].erased(5, epoch).imposed
