"""A request may lie in any partition: the desk takes it to its tenant's, once, with its first place and time."""

from datetime import timedelta
from pathlib import Path

import msgspec
from aiokafka import TopicPartition
from desk_world import CANARY, TENANT, DeskWorld

from calllog_guard.core.crypto.jose import sign
from calllog_guard.core.records import Output
from calllog_guard.core.stream.arrival import Arrival, arrival
from calllog_guard.core.stream.proofs import DESK
from calllog_guard.core.stream.routes import first, routed

TOPIC = "privacy.requests"


def request(world: DeskWorld, jti: str, by: str = "backend-1", **more: object) -> bytes:
    """A signed request."""
    now = int(world.at.timestamp())
    claims = {
        "v": 1, "iss": by, "aud": "calllog-guard", "tenant": "iocom", "jti": jti, "iat": now, "exp": now + 600,
        "received_at": world.at.isoformat(), "type": "erase", "subjects": [CANARY], "identity": "verified", **more,
    }  # fmt: skip
    world.names[jti] = f"{by}\n{jti}"
    return sign((world.folder / f"{by}.pem").read_bytes(), by, msgspec.json.encode(claims)).encode()


async def give(world: DeskWorld, *records: Arrival) -> None:
    """Hand records to the desk."""
    for each in records:
        await world.desk.unit({TopicPartition(each.topic, each.partition): [each]})
    await world.traced()


def at(world: DeskWorld, partition: int, offset: int, value: bytes, key: bytes = b"iocom") -> Arrival:
    """A record that has just been appended."""
    return Arrival(TOPIC, partition, offset, key, value, int(world.at.timestamp() * 1000))


def arrived(world: DeskWorld, output: Output, offset: int) -> Arrival:
    """What the desk wrote, as it comes back."""
    ms = int(world.at.timestamp() * 1000)
    return arrival((TOPIC, output.partition), offset, ms, output.key, output.value, output.headers)


async def test_a_request_elsewhere_is_taken_to_its_tenants_partition_with_its_first_place_and_time(
    tmp_path: Path,
) -> None:
    """Librdkafka's default partitioner put it there; its sender knows of no setting."""
    world = await DeskWorld(tmp_path).start()
    sent = world.at
    await give(world, at(world, 2, 7, request(world, "erase-001")))
    (output,) = world.written(TOPIC)
    assert (output.partition, world.reasons(), list(world.book)) == (0, [], [])
    world.at += timedelta(hours=5)
    await give(world, arrived(world, output, 40))
    case = world.case("erase-001")
    assert (case.place, case.appended_at, case.state) == ((2, 7), sent, "enforcing"), "not expired on the way"
    await give(world, arrived(world, output, 40), arrived(world, output, 41))
    assert world.reasons() == [], "twice after a crash is once"
    await give(world, at(world, 0, 42, request(world, "erase-001")))
    assert world.reasons() == ["replayed"]


async def test_nobody_but_a_desk_makes_a_request_older(tmp_path: Path) -> None:
    """A key that anybody can write says nothing: an old request that was caught would hold again."""
    world = await DeskWorld(tmp_path).start()
    old = at(world, 2, 7, request(world, "erase-001"))
    world.at += timedelta(hours=5)
    forged = routed(old, 0)
    await give(world, arrived(world, forged, 40))
    (moved,) = world.vault.vouched(TENANT, DESK, [msgspec.structs.replace(forged, partition=1)])
    await give(world, arrived(world, msgspec.structs.replace(moved, partition=0), 41))
    assert world.reasons() == ["expired", "expired"]
    (good,) = world.vault.vouched(TENANT, DESK, [forged])
    assert first(arrived(world, good, 42), world.vault.proofs(TENANT)).offset == 7


async def test_what_nobody_registered_has_signed_is_refused_where_it_lies(tmp_path: Path) -> None:
    world = await DeskWorld(tmp_path).start()
    await give(world, at(world, 2, 7, request(world, "erase-001", by="backend-2")), at(world, 3, 0, b"rubbish"))
    assert len(world.reasons()) == 2
    assert world.written(TOPIC) == []


async def test_a_route_is_taken_once(tmp_path: Path) -> None:
    """Two desks that do not agree where a tenant lives would send it to and fro."""
    world = await DeskWorld(tmp_path).start()
    (sent,) = world.vault.vouched(TENANT, DESK, [routed(at(world, 2, 7, request(world, "erase-001")), 3)])
    await give(world, arrived(world, sent, 0))
    assert world.reasons() == ["wrong_partition"]
    assert world.written(TOPIC) == []
