"""The client on the real stack: a call is published, its person erased, the certificate verified; sync and asyncio."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from installation import Installation, Make
from patience import PATIENCE_S

from calllog_guard.adapters.kafka.log import tenant_partition
from calllog_guard.client import (
    AsyncClient,
    CallEvent,
    Client,
    InvalidEventError,
    Party,
    RefusedError,
    drafts,
    open_export,
)
from calllog_guard.core.crypto.jose import new_pair
from calllog_guard.core.identifiers import Tenant
from calllog_guard.errors import WorkersSilentError
from calllog_guard.settings import Settings

pytestmark = pytest.mark.real


def settings(guard: Installation) -> Settings:
    """The names of an installation's topics."""
    name = guard.name
    return Settings(kafka=guard.stack.kafka, calllog_prefix=f"c{name}.", privacy_prefix=f"p{name}.", partitions=4)


def client(guard: Installation) -> Client:
    """As the page of the docs makes one."""
    keys = guard.directory / "keys"
    return Client(
        tenant="iocom", settings=settings(guard), key=keys / "backend-1.pem", desk=keys / "iocom-desk.pub.pem",
        receipts=keys / "iocom-receipts.pub.pem",
    )  # fmt: skip


def call(name: str, *people: str) -> CallEvent:
    """A call of now."""
    now = datetime.now(UTC)  # noqa: TID251 - the client checks against its own clock
    parties = tuple(Party(id=each, role="caller" if each is people[0] else "callee") for each in people)
    return CallEvent(
        tenant="iocom", call_id=name, kind="audio", outcome="answered", started_at=now, ended_at=now, parties=parties
    )


def test_a_backend_publishes_asks_and_holds_a_verified_certificate(make: Make) -> None:
    guard = make()
    guard.start("all")
    with client(guard) as backend:
        backend.publisher.send(call("c1", "alice@example.org", "bob@example.org"))
        with pytest.raises(InvalidEventError):
            backend.publisher.send(call("c2", "bob@example.org", "carol@example.org"), b'{"recording":1}')
        guard.settled(lambda: len(guard.live()) == 2, "two legs")
        case = backend.privacy.erase(["alice@example.org"], identity="verified", jti="DSR-2026-1")
        assert backend.privacy.erase(["alice@example.org"], identity="verified", jti="DSR-2026-1") == case
        stages = list(backend.cases.follow(case, until="absent", timeout_s=PATIENCE_S))
        assert [each.name for each in stages][:2] == ["accepted", "fenced"]
        certificate = backend.receipts.verified(case, "absent")
        refused = backend.privacy.object(["bob@example.org"], ["telepathy"], identity="verified", jti="DSR-2026-2")
        with pytest.raises(RefusedError, match="unknown_purpose at /purposes/0: name a purpose") as why:
            list(backend.cases.follow(refused, timeout_s=PATIENCE_S))
        mended = backend.privacy.object(["bob@example.org"], ["service"], identity="verified", jti="DSR-2026-2")
        assert next(backend.cases.follow(mended, timeout_s=PATIENCE_S)).name == "accepted"
    assert why.value.pointer == "/purposes/0"
    assert (certificate.stage, certificate.request, certificate.final) == ("absent", "DSR-2026-1", True)
    assert len(guard.live()) == 1


def test_a_request_that_a_default_partitioner_put_elsewhere_is_taken(make: Make) -> None:
    """Two desks, and two partitions of requests: the one that reads it is not always the one that has the tenant."""
    guard = make(PARTITIONS="8")
    for _ in range(2):
        guard.start("desk")
    for role in ("protector", "keeper", "auditor"):
        guard.start(role)
    at = Settings(
        kafka=guard.stack.kafka, calllog_prefix=f"c{guard.name}.", privacy_prefix=f"p{guard.name}.", partitions=8
    )
    keys = guard.directory / "keys"
    home = tenant_partition("iocom", 2)
    with Client(tenant="iocom", settings=at, key=keys / "backend-1.pem", plain=True) as backend:
        signed = backend.privacy.sign(drafts.erase(["alice@example.org"], identity="verified"))
        guard.publish("privacy.requests", [signed.token], partition=1 - home)
        stages = backend.cases.follow(signed.case(Tenant("iocom")), until="fenced", timeout_s=PATIENCE_S)
        assert [stage.name for stage in stages][-1] == "fenced"
    assert not guard.dead()


async def test_an_answer_is_fetched_and_opened_and_a_wait_that_ends_says_for_whom(make: Make, tmp_path: Path) -> None:
    guard, (private, public) = make(), new_pair(signs=False)
    keys = guard.directory / "keys"
    async with AsyncClient(
        tenant="iocom",
        settings=settings(guard),
        key=keys / "backend-1.pem",
        desk=keys / "iocom-desk.pub.pem",
        receipts=keys / "iocom-receipts.pub.pem",
    ) as backend:
        assert (
            await backend.publisher.send_all([call(f"c{n}", "alice@example.org", "bob@example.org") for n in range(3)])
            == 3
        )
        case = await backend.privacy.access(["alice@example.org"], public, identity="verified")
        with pytest.raises(WorkersSilentError, match="worker desk"):
            _ = [stage async for stage in backend.cases.follow(case, timeout_s=1)]
        guard.start("all")
        names = [stage.name async for stage in backend.cases.follow(case, timeout_s=PATIENCE_S)]
        assert names[-1] == "exported"
        assert await backend.receipts.fetch_export(case, tmp_path / "answer") >= 1
        assert (await backend.receipts.verified(case)).stage == "exported"
    assert open_export(tmp_path / "answer", private, case).answer.case == case
