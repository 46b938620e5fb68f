"""Whose a case is: found by the person's secret alone, and with the secret goes the link and what was said."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from desk_world import CANARY, DeskWorld, DiedError
from hypothesis import given
from hypothesis import strategies as st
from test_notices import in_clear, reply_key

from calllog_guard.core.answers.about import OwnRequest
from calllog_guard.core.answers.parts import PARTS
from calllog_guard.core.answers.whole import whole
from calllog_guard.core.cases import case_owner as whose
from calllog_guard.core.cases.case_owner import Reason, Whose
from calllog_guard.core.codec import decode, from_ms
from calllog_guard.core.crypto.jose import open_sealed
from calllog_guard.core.crypto.subject_secrets import IdentitySecret
from calllog_guard.core.decisions.decision import case_id
from calllog_guard.core.identifiers import Tenant
from calllog_guard.errors import RecordError

ALICE, BOB = IdentitySecret(b"\x01" * 32), IdentitySecret(b"\x02" * 32)
CASE, OTHER = "A" * 22, "B" * 21 + "A"
REASON = Reason(of="refused", text="because", at=from_ms(0))


def numbers(size: int) -> bytes:
    """Random bytes that are always the same."""
    return bytes(number % 256 for number in range(size))


def test_a_person_finds_the_case_and_what_was_said_in_it() -> None:
    parts = whose.opened(CASE, [ALICE, None], numbers)
    key = whose.case_key(parts, CASE, ALICE)
    assert key is not None
    assert whose.case_key(parts, CASE, BOB) is None
    later = whose.say(whose.say(parts, CASE, key, REASON, numbers), CASE, key, REASON, numbers)
    assert whose.said(later, CASE, key) == (REASON, REASON)


def test_two_cases_of_one_person_have_nothing_in_common() -> None:
    first, second = (set(whose.opened(case, [ALICE], numbers).keys) for case in (CASE, OTHER))
    assert not first & second


@given(st.text(max_size=500))
def test_who_is_not_known_takes_as_much_room(text: str) -> None:
    """A reader of cases must not learn from lengths who is known, nor that somebody was told something else."""
    reason = msgspec.structs.replace(REASON, text=text)
    shapes = []
    for identity in (ALICE, None):
        parts = whose.opened(CASE, [identity], numbers)
        key = whose.case_key(parts, CASE, ALICE)
        parts = whose.say(parts, CASE, key, reason, numbers)
        shapes.append(
            [(len(tag), len(wrapped)) for tag, wrapped in parts.keys.items()] + [len(each) for each in parts.said]
        )
    assert shapes[0] == shapes[1]


def test_what_was_said_belongs_to_its_case_and_its_place() -> None:
    parts = whose.opened(CASE, [ALICE], numbers)
    key = whose.case_key(parts, CASE, ALICE)
    assert key is not None
    told = whose.say(whose.say(parts, CASE, key, REASON, numbers), CASE, key, REASON, numbers)
    for moved in (Whose(told.keys, told.said[::-1]), Whose(told.keys, (told.said[0] + "A",)), Whose(told.keys, ("x",))):
        with pytest.raises(RecordError, match="bad_case"):
            whose.said(moved, CASE, key)
    with pytest.raises(RecordError, match="bad_case"):
        whose.said(told, OTHER, key)
    (tag,) = parts.keys
    with pytest.raises(RecordError, match="bad_case"):
        whose.case_key(Whose({tag: "A" * 80}), CASE, ALICE)


def test_what_was_written_once_is_read_for_ever() -> None:
    golden = json.loads((Path(__file__).parents[1] / "vectors" / "stored_v2.json").read_text())
    parts = Whose(golden["case_whose"], tuple(golden["case_said"]))
    case = case_id(Tenant("iocom"), "jti-00001")
    key = whose.case_key(parts, case, ALICE)
    assert key is not None
    assert [each.text for each in whose.said(parts, case, key)] == ["The records are needed in court."]


# --- at the desk ----------------------------------------------------------------------------------------------------

GROUND = "canary: because the facts are needed in court"


@pytest.fixture
async def world(tmp_path: Path) -> DeskWorld:
    """A desk."""
    return await DeskWorld(tmp_path).start()


async def answered(world: DeskWorld, jti: str, *who: str) -> dict[str, OwnRequest]:
    """What a person's answer says of their requests, by their types."""
    await world.ask(jti, *who, type="access", reply_key=reply_key(world))
    name = world.case(jti).case.encode()
    values = [each.value or b"" for each in world.written("privacy.exports") if (each.key or b"").startswith(name)]
    pem = (world.folder / "asker.pem").read_bytes()
    found = whole([decode(PARTS, open_sealed(pem, value.decode())) for value in values])
    assert [each.case for each in found.about.requests].count(world.case(jti).case) == 1
    return {each.type: each for each in found.about.requests}


async def test_a_refusal_is_told_again_with_its_reasons_and_stands_nowhere_in_clear(world: DeskWorld) -> None:
    await world.ask("restrict-1", CANARY, type="restrict")
    await world.ask("object-001", CANARY, type="object", purposes=["fraud"])
    case = world.case("object-001").case
    await world.ask("refuse-001", by="officer-1", type="refuse", case=case, ground=GROUND)
    told = (await answered(world, "access-01", CANARY))["object"]
    assert (told.state, told.purposes) == ("refused", ("fraud",))
    assert [(each.of, each.text) for each in told.reasons] == [("refused", GROUND)]
    assert b"canary" not in in_clear(world)


async def test_what_was_never_granted_is_found_too(world: DeskWorld) -> None:
    """A refused erasure, a complaint: nothing was decided in them that names the person."""
    await world.ask("restrict-1", CANARY, type="restrict")
    await world.ask("unknown-01", CANARY, type="erase", identity="unverified")
    case = world.case("unknown-01").case
    await world.ask(
        "extend-001", by="officer-1", type="clock", case=case, event="extend", ground="canary: it takes long"
    )
    await world.ask("refuse-001", by="officer-1", type="refuse", case=case, ground=GROUND)
    await world.ask("complain-1", CANARY, type="complain", ground="canary: you log too much")
    complaint = world.case("complain-1").case
    await world.ask("approve-01", by="officer-1", type="approve", case=complaint, ground="canary: we log less now")
    found = await answered(world, "access-01", CANARY)
    assert [(each.of, each.text) for each in found["erase"].reasons] == [
        ("extended", "canary: it takes long"),
        ("refused", GROUND),
    ]
    assert [each.text for each in found["complain"].reasons] == ["canary: we log less now"]
    assert set(await answered(world, "access-02", "somebody.else@example.org")) == {"access"}


async def test_a_refusal_that_died_half_way_is_told_once(world: DeskWorld) -> None:
    await world.ask("restrict-1", CANARY, type="restrict")
    await world.ask("object-001", CANARY, type="object", purposes=["fraud"])
    case = world.case("object-001").case
    for left in range(1, 6):
        world.writer.left = left
        with suppress(DiedError):
            await world.ask("refuse-001", by="officer-1", type="refuse", case=case, ground=GROUND)
        await world.restart()
        world.asked.pop()  # its offset did not move: it is read again
    await world.ask("refuse-001", by="officer-1", type="refuse", case=case, ground=GROUND)
    assert len((await answered(world, "access-01", CANARY))["object"].reasons) == 1


async def test_with_an_erasure_goes_what_linked_the_cases(world: DeskWorld) -> None:
    await world.ask("restrict-1", CANARY, type="restrict")
    await world.ask("complain-1", CANARY, type="complain", ground="too much")
    await world.ask("erase-0001", CANARY, type="erase")
    await world.later(days=1)
    await world.ask("restrict-2", CANARY, type="restrict")
    assert set(await answered(world, "access-01", CANARY)) == {"restrict", "access"}


async def test_a_case_says_as_much_of_who_is_known_as_of_who_is_not(world: DeskWorld) -> None:
    await world.ask("restrict-1", CANARY, type="restrict")

    async def shape(jti: str, who: str) -> list[Any]:
        await world.ask(jti, who, type="erase", identity="unverified")
        case = world.case(jti).case
        await world.ask(f"no-{jti}", by="officer-1", type="refuse", case=case, ground=GROUND)
        found = json.loads(msgspec.json.encode(world.case(jti)))
        return [[len(each) for each in found["whose"].values()], [len(each) for each in found["said"]], sorted(found)]

    assert await shape("unknown-01", CANARY) == await shape("unknown-02", "nobody@example.org")


async def test_a_tenant_of_the_first_release_gets_no_new_fields(tmp_path: Path) -> None:
    """A desk of that release beside it would refuse the case."""
    world = DeskWorld(tmp_path)
    world.vault = world.wrapped.without("profile")
    await world.start()
    await world.ask("restrict-1", CANARY, type="restrict")
    await world.ask("object-001", CANARY, type="object", purposes=["fraud"])
    await world.ask("refuse-001", by="officer-1", type="refuse", case=world.case("object-001").case, ground=GROUND)
    assert b'"whose"' not in in_clear(world)
    assert b'"said"' not in in_clear(world)
    found = await answered(world, "access-01", CANARY)
    assert found["object"].state == "refused", "found by what was decided in it"
