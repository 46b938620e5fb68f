"""A refused request has a voice back: its requester reads why, in nobody else's place, nothing of what was asked."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiokafka import TopicPartition
from desk_world import CANARY, TENANT, DeskWorld

from calllog_guard.client.cases import Answered, RefusedError
from calllog_guard.core.answers.refused_request import REFUSED_REQUESTS, RefusedRequest
from calllog_guard.core.cases.receipt import RECEIPTS
from calllog_guard.core.codec import decode
from calllog_guard.core.crypto.jose import receipt_pem, sign, verify
from calllog_guard.core.decisions.decision import case_id, request_name
from calllog_guard.core.stream.arrival import Arrival
from calllog_guard.errors import MessageError


async def world_of(folder: Path) -> DeskWorld:
    """A desk."""
    return await DeskWorld(folder).start()


def answers(world: DeskWorld) -> list[RefusedRequest]:
    """The answers to refused requests, their signatures good."""
    public = receipt_pem(world.vault.receipt_key(TENANT))[1]
    found = []
    for each in world.written("privacy.receipts"):
        content = verify(public, (each.value or b"").decode())
        if b'"remedy"' in content:
            found.append(decode(REFUSED_REQUESTS, content))
            assert each.key == found[-1].case.encode()
            with pytest.raises(MessageError):
                decode(RECEIPTS, content)
    return found


async def test_a_refused_request_is_answered_where_its_requester_reads(tmp_path: Path) -> None:
    world = await world_of(tmp_path)
    await world.ask("erase-001", CANARY, type="erase", ground="because")
    (told,) = answers(world)
    assert (told.request, told.reason, told.at_pointer) == ("erase-001", "unexpected_field", "/ground")
    assert told.case == case_id(TENANT, request_name("backend-1", "erase-001"))
    assert told.remedy
    assert (told.partition, told.offset) == (0, 0)
    assert CANARY not in json.dumps(msgspec.to_builtins(told))
    assert world.reasons() == ["unexpected_field"], "the letter is written all the same"
    view = Answered(told.case, (0, 0), None)
    (record,) = world.written("privacy.receipts")
    view.note(Arrival("privacy.receipts", 0, 0, record.key, record.value))
    with pytest.raises(RefusedError, match="unexpected_field at /ground: leave the field out"):
        view.judge()


async def test_the_mended_request_of_the_same_name_is_taken(tmp_path: Path) -> None:
    world = await world_of(tmp_path)
    await world.ask("erase-001", CANARY, type="erase", ground="because")
    await world.ask("erase-001", CANARY, type="erase")
    assert world.case("erase-001").state == "enforcing"
    assert len(answers(world)) == 1
    later = Answered(world.id_of("erase-001"), (0, 1), None)
    for each in world.written("privacy.receipts"):
        later.note(Arrival("privacy.receipts", 0, 0, each.key, each.value))
    later.judge()  # what was said of the first is not said of the second


async def test_what_nobody_registered_has_signed_is_answered_to_nobody(tmp_path: Path) -> None:
    """Else anybody could write where receipts are."""
    world = await world_of(tmp_path)
    await world.ask("erase-001", CANARY, type="erase", by="backend-2")
    now = int(world.at.timestamp())
    claims = {"jti": "erase-002", "type": "erase", "iss": "backend-1"}
    forged = sign((tmp_path / "backend-2.pem").read_bytes(), "backend-1", msgspec.json.encode(claims)).encode()
    for raw in (forged, b"x.y.z", b"", None):
        record = Arrival("privacy.requests", 0, 7, b"iocom", raw, now * 1000)
        await world.desk.unit({TopicPartition("privacy.requests", 0): [record]})
    assert len(world.reasons()) == 5
    assert answers(world) == []


async def test_a_repeat_of_what_was_taken_is_not_answered(tmp_path: Path) -> None:
    """A requester that sends again follows its case, which is not refused."""
    world = await world_of(tmp_path)
    await world.ask("erase-001", CANARY, type="erase")
    await world.ask("erase-001", CANARY, type="erase")
    await world.ask("erase-001", CANARY, type="erase", ground="because")
    assert world.reasons() == ["replayed", "unexpected_field"]
    assert answers(world) == []


async def test_nothing_that_officers_order_of_holds_is_answered_where_backends_read(tmp_path: Path) -> None:
    world = await world_of(tmp_path)
    order = {"id": "h1", "authority": "A", "basis": "B", "review_at": "2027-01-01T00:00:00Z", "secret": True}
    await world.ask("hold-0001", CANARY, type="hold", by="officer-1", hold=order, ground="no")
    await world.ask("what-0001", CANARY, type=["hold"], by="officer-1")
    await world.ask("more-0001", CANARY, type="erase", by="officer-1", hold=order)
    assert len(world.reasons()) == 3
    assert answers(world) == []
    await world.ask("erase-001", CANARY, type="erase", by="officer-1", ground="no")
    assert [each.request for each in answers(world)] == ["erase-001"]


@pytest.mark.parametrize(
    "more",
    [
        {"aud": ["other", "calllog-guard"]},
        {"nbf": 0},
        {"nbf": 1_795_510_799.5},
        {"iat": 1_795_510_799.25, "exp": 1_795_511_000.75},
    ],
)
async def test_what_is_valid_as_a_jwt_is_taken(tmp_path: Path, more: dict[str, Any]) -> None:
    """RFC 7519: a list of audiences, not before, seconds with a fraction."""
    world = await world_of(tmp_path)
    assert world.at.timestamp() == 1_795_510_800
    await world.ask("erase-001", CANARY, type="erase", identity="unverified", **more)
    assert world.reasons() == []
    case = world.case("erase-001")
    kept = world.book.request_of(case)
    assert (kept.aud, type(kept.iat), kept.nbf) == ("calllog-guard", int, msgspec.UNSET), "as every release reads it"


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"aud": ["other"]}, "wrong_audience"),
        ({"aud": []}, "wrong_audience"),
        ({"aud": ["calllog-guard", 1]}, "wrong_value"),
        ({"nbf": 1_795_520_000}, "not_yet_valid"),
        ({"nbf": "now"}, "wrong_value"),
        ({"iat": 1_795_510_799.5, "exp": 1_795_510_799.9}, "expired"),
        ({"iat": 1_795_510_800, "exp": 1_795_597_200.5}, "lifetime_too_long"),
    ],
)
async def test_what_is_not_valid_yet_or_for_others_is_refused_and_answered(
    tmp_path: Path, more: dict[str, Any], reason: str
) -> None:
    world = await world_of(tmp_path)
    await world.ask("erase-001", CANARY, type="erase", **more)
    assert world.reasons() == [reason]
    assert [each.reason for each in answers(world)] == [reason]
