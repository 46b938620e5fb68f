"""Guests and services: a guest leaves a leg where the policy says so, is nobody's and nobody else; a service leaves none."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from guard_world import TENANT, GuardWorld
from test_access import RICH
from test_parking import ALICE, BOB, again, parked
from test_sessions import letters, of, publish
from test_statistics import ANONYMOUS, month_ends, sweeps, told

from calllog_guard.core.calls.event import Limits, Skips
from calllog_guard.core.calls.leg import Leg, read_leg
from calllog_guard.core.calls.reading import read_event
from calllog_guard.core.calls.view import put
from calllog_guard.core.codec import to_ms
from calllog_guard.core.crypto.leg_envelope import open_leg, parse_header
from calllog_guard.core.crypto.subject_secrets import month_from
from calllog_guard.core.identifiers import Pseudonym
from calllog_guard.core.identity.rules import AS_WRITTEN, DEFAULT, canonical
from calllog_guard.core.policy.changes.differences import effects
from calllog_guard.core.policy.record import markdown, record
from calllog_guard.errors import ConfigurationError, MessageError
from calllog_guard.metrics import Counters

LEG = RICH.replace('regime = "uk"\n', 'regime = "uk"\nguests = "leg"\n')
SKIP = RICH.replace(
    'regime = "uk"\n', 'regime = "uk"\nskip = ["jibri@*", "*@recorder.example.org", "room-7@example.org"]\n'
)
GUEST = {"guest": True, "role": "guest"}


@pytest.fixture
async def world(tmp_path: Path) -> GuardWorld:
    """An installation whose policy gives guests legs, without calls."""
    return await GuardWorld(tmp_path, LEG).start()


async def opened(world: GuardWorld) -> list[tuple[str, Leg]]:
    """Every leg, with its person's name in the log."""
    ring = world.ring()
    found: list[tuple[str, Leg]] = []
    for key, value in world.legs().items():
        name = Pseudonym(key[:22].decode())
        lookup, keys = (await ring.owners([name]))[name]
        assert lookup
        found.append((name, read_leg(open_leg(value, keys.data_key(month_from(parse_header(value).mon))))))
    return found


async def guests(world: GuardWorld) -> list[tuple[str, Leg]]:
    """The legs of guests."""
    return [each for each in await opened(world) if each[1].subject.startswith("guest\1")]


async def test_a_guest_only_counts_unless_the_policy_says_otherwise(tmp_path: Path) -> None:
    world = await GuardWorld(tmp_path, RICH).start()
    await publish(world, "c1", [of(ALICE, role="host"), GUEST, GUEST])
    await world.run()
    assert [leg.parties for _, leg in await opened(world)] == [3]


async def test_two_strangers_of_one_call_are_two_and_nobody_else(world: GuardWorld) -> None:
    """Each has a leg, a name in the log and an id of their own; both count once."""
    await publish(world, "c1", [of(ALICE, role="host"), GUEST, {**GUEST, "role": "callee"}])
    await publish(world, "c2", [of(ALICE, role="host"), GUEST])
    await world.run()
    found = await guests(world)
    assert len({name for name, _ in found}) == len({leg.subject for _, leg in found}) == len(found) == 3
    assert sorted(leg.parties for _, leg in await opened(world)) == [2, 2, 3, 3, 3]
    assert world.dead() == []


async def test_a_guest_who_is_told_again_is_the_same(world: GuardWorld) -> None:
    """By a redelivery, by the call's end, and by a session whatever else the event says."""
    for ended in (None, "", ""):
        more = {"ended_at": None} if ended is None else {}
        await publish(world, "c1", [of(ALICE, role="host"), GUEST, {**GUEST, "session": "s1"}], **more)
        await world.run()
    await publish(world, "c1", [of(BOB), {**GUEST, "session": "s1"}], party_count=9)
    await world.run()
    found = await guests(world)
    assert sorted((leg.session or "", bool(leg.ended_at), leg.parties) for _, leg in found) == [
        ("", True, 3),
        ("s1", True, 9),
    ]


async def test_guests_of_several_events_of_a_large_call_are_never_one(world: GuardWorld) -> None:
    """Whom nothing tells apart only counts; sessions tell, in however many events."""
    for part in (1, 2):
        await publish(world, "c1", [of(ALICE, role="host"), GUEST], party_count=1000)
        await publish(world, "c1", [GUEST])
        await publish(world, "c1", [of(f"p{part}"), GUEST])
        await publish(world, "c1", [{**GUEST, "session": f"s{part}"}], party_count=1000)
    await world.run()
    found = await guests(world)
    assert sorted(leg.session or "" for _, leg in found) == ["", "", "s1", "s2"]
    assert len({name for name, _ in found}) == 4


@pytest.mark.parametrize("identity", [DEFAULT, (AS_WRITTEN,)])
async def test_nobody_names_a_guest(world: GuardWorld, identity: tuple[str, ...]) -> None:
    """Neither a request nor an event nor a list, with the id as it is stored or as it is shown."""
    await publish(world, "c1", [of(ALICE, role="host"), GUEST])
    await world.run()
    ((_, leg),) = await guests(world)
    with pytest.raises(MessageError, match="bad_id"):
        canonical(leg.subject, identity)
    shown = put(leg, "t" * 22, "p" * 22, ("subject",)).subject
    assert isinstance(shown, str)
    assert shown.isprintable()
    await world.ask("erase-01", "erase", shown)
    await world.ask("erase-02", "erase", leg.subject)
    await publish(world, "c2", [of(leg.subject), of(BOB)])
    await world.run()
    assert len(await guests(world)) == 1
    assert not any("erase-02" in each.get("request", "") for each in world.receipts("erase-01"))
    assert set(world.dead()) == {"bad_id"}
    assert len(world.dead()) == 2, "the request by the stored id, and the party"


async def test_a_wrong_guest_is_refused_alone(world: GuardWorld) -> None:
    """Its times were never looked at while guests left nothing."""
    late = {**GUEST, "joined_at": "9999-12-31T23:59:59Z"}
    await publish(world, "c1", [of(ALICE, role="host"), late, {**GUEST, "session": "x\u0007"}])
    await world.run()
    assert [(reason, at) for reason, at, _ in letters(world)] == [
        ("bad_time", "/parties/1/joined_at"),
        ("bad_id", "/parties/2/session"),
    ]
    assert [leg.parties for _, leg in await opened(world)] == [3]


async def test_a_guests_leg_lapses_as_every_leg(world: GuardWorld) -> None:
    await publish(world, "c1", [of(ALICE), {**GUEST, "session": "s1"}])
    await world.run()
    assert len(await guests(world)) == 1
    world.clock.at += timedelta(days=100)
    await sweeps(world)
    assert world.legs() == {}


async def test_guests_are_no_people_in_statistics(tmp_path: Path) -> None:
    """Twelve guests may be one human: a cell is told for the ten known people alone, and then counts all legs."""
    policy = ANONYMOUS.replace('regime = "uk"\n', 'regime = "uk"\nguests = "leg"\n')
    world = await GuardWorld(tmp_path, policy).start()
    now, world.clock.at = world.clock.at, world.clock.at - timedelta(days=100)
    for number in range(12):
        await publish(world, f"v{number}", [{**GUEST, "session": "s"}])
        await publish(world, f"a{number}", [of(f"p{number}"), {**GUEST, "session": "s"}], kind="audio")
    await world.run()
    assert len(await guests(world)) == 24
    world.clock.at = now
    await sweeps(world)
    await month_ends(world)
    assert [(each["kind"], each["legs"]) for each in told(world)] == [("audio", 24)]
    assert world.legs() == {}


async def test_a_guest_whose_entries_cannot_be_used_waits_and_is_stored(world: GuardWorld) -> None:
    """As anybody: parked, and taken up once the entries are mended."""
    await publish(world, "c1", [of(ALICE, role="host"), {**GUEST, "session": "s1"}])
    await world.run()
    ((name, _),) = await guests(world)
    place = next(key for key in world.keystore.entries if key.endswith(name.encode()))
    kept = world.keystore.entries.pop(place)
    await world.restart()
    await publish(world, "c1", [of(ALICE, role="host"), {**GUEST, "session": "s1"}])
    await world.run()
    assert len(parked(world)) == 1
    world.keystore.entries[place] = kept
    again(world)
    await world.run()
    assert (parked(world), [each for each, _ in await guests(world)]) == ({}, [name])


async def test_services_leave_nothing_and_count_for_nothing(tmp_path: Path) -> None:
    """By the policy's list, whatever way their ids are written; whoever takes part beside them is stored."""
    world = await GuardWorld(tmp_path, SKIP).start()
    bots = [of("Jibri@Conference.example.org"), of("bot-1@recorder.example.org"), of("ROOM-7@example.org")]
    await publish(world, "c1", [*bots, of(ALICE, role="host"), of("jibri"), of("room-77@example.org")])
    await publish(world, "c2", bots)
    await publish(world, "c3", [bots[0], of(ALICE, role="host"), of("x\u0007")], party_count=7)
    await world.run()
    assert sorted((leg.subject, leg.parties) for _, leg in await opened(world)) == [
        (ALICE, 3),
        (ALICE, 7),
        ("jibri", 3),
        ("room-77@example.org", 3),
    ]
    assert [(reason, at) for reason, at, _ in letters(world)] == [("bad_id", "/parties/2/id")]
    assert world.counts[Counters.events_suppressed["skipped"]] == 7


async def test_a_service_that_was_stored_before_can_be_removed(tmp_path: Path) -> None:
    world = await GuardWorld(tmp_path, RICH).start()
    await publish(world, "c1", [of(ALICE, role="host"), of("jibri@example.org")])
    await world.run()
    limits = Limits(ahead_ms=0, late_ms=10**12, max_bytes=10**6, skips=Skips.of(["jibri@*"]))
    raw: dict[str, Any] = {
        "tenant": TENANT,
        "call_id": "c1",
        "kind": "video",
        "outcome": "missed",
        "started_at": "2026-11-23T09:00:00Z",
    }
    raw |= {"parties": [of("jibri@example.org")], "removed": ["jibri@example.org"]}
    found = read_event(
        json.dumps(raw).encode(), tenant=TENANT, identity=DEFAULT, appended_ms=to_ms(world.clock.at), limits=limits
    )
    assert (found.names, found.skipped) == (["jibri@example.org"], 1)


@pytest.mark.parametrize("pattern", ["*", "a*", "*.b", "a*b", "", "a**", "x\n", "*@x.org*"])
def test_a_list_that_would_skip_everybody_is_refused(pattern: str) -> None:
    import tomllib  # noqa: PLC0415

    from calllog_guard.core.policy.checks import read_form  # noqa: PLC0415

    text = RICH.replace('regime = "uk"\n', f'regime = "uk"\nskip = [{json.dumps(pattern)}]\n')
    with pytest.raises(ConfigurationError, match="skip"):
        read_form(tomllib.loads(text))


def test_a_policys_word_on_guests_and_services_is_told() -> None:
    """By `policy check` before it holds, and in the record of processing."""
    import tomllib  # noqa: PLC0415

    from calllog_guard.core.policy.checks import read_form  # noqa: PLC0415

    plain, leg, skip = (read_form(tomllib.loads(text))[-1] for text in (RICH, LEG, SKIP))
    assert list(effects(plain, plain)) == []
    assert "keystore" in next(effects(plain, leg))
    assert "only count" in next(effects(leg, plain))
    assert "jibri@*" in next(effects(plain, skip))
    pages = [markdown(record([each], TENANT, each.effective) or {}) for each in (plain, leg, skip)]
    assert ["guests" in page for page in pages] == [False, True, False]
    assert ["jibri@*" in page for page in pages] == [False, False, True]
