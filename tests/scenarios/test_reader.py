"""What a reader gets, and what it is refused for which reason: on fakes."""

import json
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from metrics_page import page_of
from reading_world import TENANT, World

from calllog_guard.adapters.memory.fakes import MemoryWriter
from calllog_guard.core.calls.view import FIELDS, Put
from calllog_guard.core.codec import Access, decode
from calllog_guard.core.crypto.entries import person_key, secrets_key
from calllog_guard.core.identifiers import CallId, partition_of
from calllog_guard.core.policy.form import Shown
from calllog_guard.core.records import Output
from calllog_guard.core.stream.offsets import unpack
from calllog_guard.errors import (
    ConfigurationError,
    KeystoreGuardedError,
    KeystoreSilentError,
    LogSilentError,
    StateRefusedError,
)
from calllog_guard.metrics import Counters

ACCESSES = msgspec.json.Decoder(Access)


@pytest.fixture
async def world(tmp_path: Path) -> World:
    """A log in which alice and bob were in one call."""
    made = World(tmp_path)
    await made.ring.guard.open_at_once(2)
    await made.leg("alice")
    await made.leg("bob", role="guest")
    return made


async def test_a_purpose_sees_its_fields_alone(world: World) -> None:
    """Data minimisation: what the purpose does not list does not come out."""
    lines = await world.all(world.reading("billing"))
    assert [set(msgspec.to_builtins(line)) for line in lines] == [
        {"op", "token", "person", "started_at", "duration_s", "role"}
    ]
    assert isinstance(lines[0], Put)
    assert (lines[0].role, lines[0].duration_s, lines[0].started_at) == ("host", 1870, "2026-11-20T10:00:00Z")
    expected = world.vault.pepper(TENANT).person_for("billing", world.lookup("alice"))
    assert lines[0].person == expected


async def test_of_several_revisions_the_newest_is_shown(world: World) -> None:
    """Whatever the order in which they lie, before a keeper has looked at them; a leg without a revision is the oldest."""
    for revision, role in ((3, "callee"), (5, "host"), (None, "guest"), (4, "caller")):
        await world.leg("carol", "c2", v=2, role=role, revision=revision)
    lines = [line for line in await world.all(world.reading("service")) if isinstance(line, Put)]
    assert [line.role for line in lines if line.subject == "carol"] == ["host"]
    assert len(lines) == 3


async def test_a_call_is_shown_by_its_reference_whatever_form_its_leg_has(world: World) -> None:
    """A line must not show an address of somebody else: of the first form, the id stands in the leg."""
    reference = world.vault.call_key(TENANT).reference(CallId("c1"))
    await world.leg("carol", reference, v=2, role="guest")
    lines = [line for line in await world.all(world.reading("service")) if isinstance(line, Put)]
    assert [line.call for line in lines] == [reference] * 3


def which(world: World) -> dict[int, set[bytes]]:
    """By partition, the keys of the records that the accesses say were opened."""
    found: dict[int, set[bytes]] = {}
    for output in world.accesses():
        access = decode(ACCESSES, output.value or b"")
        place = access.topic, access.partition
        keys = [each.key or b"" for each in world.log.outputs if (each.topic, each.partition) == place]
        assert access.which is not msgspec.UNSET
        opened = unpack(access.which, access.from_)
        assert len(opened) == access.opened
        found.setdefault(access.partition, set()).update(keys[offset] for offset in opened)
    return found


async def test_an_access_says_which_records_were_opened_and_no_others(world: World) -> None:
    """From the next level of forms on; an older reader of accesses would refuse the field."""
    await world.leg("carol", mask=1)
    await world.all(world.reading("billing"))
    opened = {key[:22].decode() for keys in which(world).values() for key in keys}
    assert opened == {await world.name("alice")}, "bob was no host, and carol's leg is no bill"
    world.vault = world.wrapped.without("profile")
    before = len(world.accesses())
    await world.all(world.reading("billing"))
    assert not any(b"which" in (output.value or b"") for output in world.accesses()[before:])


async def test_who_may_see_the_subject_sees_no_pseudonym_beside_it(world: World) -> None:
    """Both at once would be the table that undoes the pseudonyms."""
    lines = [msgspec.to_builtins(line) for line in await world.all(world.reading("service"))]
    assert {line["subject"] for line in lines} == {"alice", "bob"}
    assert not any("person" in line for line in lines)
    assert {line["call"] for line in lines} == {world.vault.call_key(TENANT).reference(CallId("c1"))}


def test_the_policy_may_list_what_a_line_can_hold_and_nothing_else() -> None:
    assert set(get_args(Shown)) == FIELDS


async def test_two_purposes_name_a_person_differently(world: World) -> None:
    pepper, lookup = world.vault.pepper(TENANT), world.lookup("alice")
    assert pepper.person_for("billing", lookup) != pepper.person_for("offers", lookup)


async def refused(world: World, purpose: str = "billing") -> dict[str, int]:
    """The refusals of a reader, which must be those on record."""
    before = len(world.accesses())
    world.counts.clear()
    reading = world.reading(purpose)
    lines = await world.all(reading)
    assert len(lines) == reading.opened
    recorded: dict[str, int] = {}
    for output in world.accesses()[before:]:
        for why, many in json.loads(output.value or b"")["refused"].items():
            recorded[why] = recorded.get(why, 0) + many
    assert recorded == {str(why): many for why, many in reading.refused.items()}
    shown = recorded | ({"opened": len(lines)} if lines else {})
    assert {name: many for name, many in world.counts.items() if many} == {
        Counters.reads[purpose, result]: many for result, many in shown.items()
    }
    return recorded


async def test_an_operator_sees_what_is_read_for_which_purpose(world: World) -> None:
    await world.sets("alice", restricted=True)
    await refused(world, "service")
    registry = page_of("reader", world.counts, {})
    for result in ("opened", "restricted"):
        labels = {"role": "reader", "purpose": "service", "result": result}
        assert registry.get_sample_value("calllog_guard_reads_total", labels) == 1


OUTSIDE = {"purpose": 1}
"""bob was a guest: billing covers hosts."""


@pytest.mark.parametrize(
    ("flags", "purpose", "expected"),
    [
        ({"restricted": True}, "billing", {"restricted": 1} | OUTSIDE),
        ({"objected": 2}, "billing", {"objected": 1} | OUTSIDE),
        ({"withdrawn": 2}, "billing", {"withdrawn": 1} | OUTSIDE),
        ({"objected": 1, "withdrawn": 4}, "billing", OUTSIDE),
        ({}, "offers", {"not_consented": 2}),
        ({"consented": 4}, "offers", {"not_consented": 1}),
        ({"consented": 4, "withdrawn": 4}, "offers", {"withdrawn": 1, "not_consented": 1}),
    ],
)
async def test_what_a_person_said_is_heard(
    world: World, flags: dict[str, Any], purpose: str, expected: dict[str, int]
) -> None:
    await world.sets("alice", **flags)
    assert await refused(world, purpose) == expected


async def test_an_erased_person_is_answered_as_erased(world: World) -> None:
    """The legs still lie in the log; the fence alone decides."""
    await world.ring.fence(world.lookup("alice"), 1)
    assert await refused(world) == {"erased": 1} | OUTSIDE


async def test_who_returned_is_seen_anew_and_the_former_life_is_not(world: World) -> None:
    lookup = world.lookup("alice")
    await world.ring.fence(lookup, 1)
    view = await world.ring.view([lookup])
    gone = world.ring.person(lookup, view.raw[lookup])
    assert await world.ring.mint({lookup: gone}, view, 24_321, 24_322)  # type: ignore[arg-type]
    await world.leg("alice", "c2")
    assert await refused(world) == {"erased": 1} | OUTSIDE


async def test_a_missing_entry_is_unknown_and_never_erased(world: World) -> None:
    """A lost key or entry is no erasure: only an entry that says so is."""
    del world.keystore.entries[secrets_key(TENANT, await world.name("alice"))]
    assert await refused(world) == {"unknown": 1} | OUTSIDE
    del world.keystore.entries[person_key(TENANT, world.lookup("bob"))]
    assert await refused(world) == {"unknown": 2}


async def test_a_leg_of_other_purposes_is_not_opened(world: World) -> None:
    await world.leg("carol", mask=5)
    assert await refused(world) == {"purpose": 2}


async def test_a_lapsed_leg_is_not_opened_although_not_yet_swept(world: World) -> None:
    """Billing reaches back 30 days, the leg is kept for 90: no sweep comes by in between."""
    world.clock.at += timedelta(days=26)
    assert await refused(world) == OUTSIDE
    world.clock.at += timedelta(days=1)
    assert await refused(world) == {"lapsed": 2}
    assert await refused(world, "service") == {}


async def test_what_is_no_leg_of_its_place_is_not_opened(world: World) -> None:
    """Another key, topic, tenant or partition, another time, or changed bytes: none of them opens."""
    right = partition_of(await world.name("carol"), 2)
    await world.leg("carol", "k1", key="A" * 22)
    await world.leg("carol", "k2", topic="calllog.held")
    await world.leg("carol", "k3", tenant="other")
    await world.leg("carol", "k4", partition=1 - right)
    await world.leg("carol", "k5", day="2026-13-40", value=b"not a leg")
    assert await refused(world) == {"unreadable": 5} | OUTSIDE


async def test_heartbeats_and_tombstones_are_no_legs(world: World) -> None:
    await world.log.write([Output("calllog.legs", 0, b"~beat", b"{}")])
    await world.removes(await world.leg("carol", "c9"))
    assert await refused(world) == OUTSIDE


class Failing(MemoryWriter):
    """A log that acknowledges nothing."""

    async def write(self, outputs: Sequence[Output]) -> None:
        """See Writer."""
        raise LogSilentError(f"{len(outputs)} not acknowledged")


async def test_without_an_acknowledged_access_record_no_line_comes_out(world: World) -> None:
    reading = world.reading()
    reading._writer = Failing()
    with pytest.raises(LogSilentError):
        await world.all(reading)
    assert reading.opened == 0


async def test_the_access_is_on_record_before_the_first_line(world: World) -> None:
    reading = world.reading()
    records = [record for number in (0, 1) for record in world.reads._records(("calllog.legs", number))]
    verdicts = await reading.judged(records)
    assert sum(verdict.line is not None for verdict in verdicts) == 1
    accesses = [json.loads(output.value or b"") for output in world.accesses()]
    assert sum(access["opened"] for access in accesses) == 1
    assert {(access["actor"], access["purpose"], access["topic"]) for access in accesses} == {
        ("all-1", "billing", "calllog.legs")
    }


async def test_who_is_erased_between_reading_and_printing_is_not_printed(world: World) -> None:
    """The fence falls while the access record is on its way."""
    write, reading = world.log.write, world.reading()

    async def fence_meanwhile(outputs: Sequence[Output]) -> None:
        await write(outputs)
        world.log.write = write  # type: ignore[method-assign]
        await world.ring.fence(world.lookup("alice"), 1)

    world.log.write = fence_meanwhile  # type: ignore[method-assign]
    assert await world.all(reading) == []
    assert reading.refused == {"erased": 1, "purpose": 1}


async def test_silence_is_an_error_and_not_an_answer(world: World) -> None:
    reading = world.reading()
    world.keystore.silent = True
    with pytest.raises(KeystoreSilentError):
        await world.all(reading)
    assert not reading.refused
    world.keystore.silent = False
    world.keystore.run = b"another"
    with pytest.raises(KeystoreGuardedError):
        await world.all(reading)
    assert not reading.refused


async def test_an_actor_without_the_purpose_is_refused_and_an_unknown_purpose_is_a_mistake(world: World) -> None:
    with pytest.raises(StateRefusedError, match="does not let billing-1 read for service"):
        await world.all(world.reading("service", "billing-1"))
    with pytest.raises(StateRefusedError, match="does not let nobody"):
        await world.all(world.reading("service", "nobody"))
    with pytest.raises(ConfigurationError, match="knows no purpose 'marketing'; it knows billing, offers, service"):
        await world.all(world.reading("marketing"))
    tried = [decode(ACCESSES, output.value or b"") for output in world.accesses()]
    assert [(each.actor, each.purpose, each.opened, each.refused) for each in tried] == [
        ("billing-1", "service", 0, {"denied": 1}),
        ("?", "service", 0, {"denied": 1}),
        ("all-1", "?", 0, {"denied": 1}),
    ], "what was tried is on record; a name that nobody has may be anything, somebody's address among it"
    assert {(each.partition, each.from_, each.to) for each in tried} == {(-1, -1, -1)}
    assert [output.key for output in world.accesses()] == [b"billing-1", b"?", b"all-1"]
