"""The client before anything is sent: what it loads, signs, seals and refuses, and what it makes of a case."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from calllog_guard import client
from calllog_guard.client import (
    AsyncClient,
    CallEvent,
    Draft,
    InvalidEventError,
    Party,
    RequesterKey,
    SealingKey,
    drafts,
    verify_receipt,
)
from calllog_guard.client.cases import CaseView
from calllog_guard.client.signing import Signer
from calllog_guard.core.cases.case import Case
from calllog_guard.core.codec import encode
from calllog_guard.core.crypto.jose import desk_pem, new_pair, sign
from calllog_guard.core.decisions.decision import case_id, request_name
from calllog_guard.core.identifiers import Tenant
from calllog_guard.core.requests.request import Request, read_request
from calllog_guard.core.requests.sealing import bare
from calllog_guard.core.requests.types import Kind
from calllog_guard.core.stream.arrival import Arrival
from calllog_guard.errors import ConfigurationError, MessageError

PRIVATE, PUBLIC = new_pair(signs=True)
SEED = bytes(range(32))
ASKER = new_pair(signs=False)[1]
TENANT = Tenant("iocom")
NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
KEY, SEAL = RequesterKey("backend-1", PRIVATE), SealingKey("iocom-desk", desk_pem(SEED)[1])
CASE = "A" * 22
WHO = "alice@example.org"
DRAFTS: dict[str, Draft] = {
    "erase": drafts.erase([WHO], identity="verified", range=("2026-01-01", None)),
    "access": drafts.access([WHO], ASKER, identity="verified"),
    "portability": drafts.portability([WHO], ASKER, identity="verified"),
    "rectify": drafts.rectify([WHO], "call-1", identity="verified", role="host"),
    "restrict": drafts.restrict([WHO], identity="verified", ground="wrong"),
    "lift": drafts.lift([WHO], identity="verified", case=CASE),
    "object": drafts.object([WHO], ["fraud"], identity="verified"),
    "withdraw": drafts.withdraw([WHO], ["marketing"], identity="verified"),
    "consent": drafts.consent([WHO], ["marketing"], identity="verified", time=NOW, wording="I agree."),
    "hold": drafts.hold([WHO], "h1", authority="A", basis="B", review_at=NOW, identity="verified", secret=True),
    "release": drafts.release("h1"),
    "disclose": drafts.disclose([WHO], ASKER, authority="A", basis="B", notify="before", identity="verified"),
    "approve": drafts.approve(CASE),
    "refuse": drafts.refuse(CASE, "no"),
    "clock": drafts.clock(CASE, "noticed", to="person"),
    "complain": drafts.complain("unhappy"),
    "same_as": drafts.same_as([WHO, "+441632960961"], identity="verified"),
    "not_same_as": drafts.not_same_as([WHO], identity="verified", ground="another's"),
}
SIGNER = Signer(tenant=TENANT, key=KEY, seal=SEAL)


def read(token: bytes) -> Request:
    """What a desk reads of a record."""
    opened = bare(token, {"iocom-desk": SEED}.get)
    return read_request(opened, {"backend-1": PUBLIC}.get, tenant="iocom", appended_ms=int(NOW.timestamp() * 1000))


def call(**more: Any) -> CallEvent:
    """A call of now."""
    now = datetime.now(UTC)  # noqa: TID251 - the client checks against its own clock
    parties = (Party(id=WHO, role="host"), Party(id="+441632960961", role="guest"))
    whole: dict[str, Any] = {
        "tenant": "iocom",
        "call_id": "c1",
        "kind": "audio",
        "outcome": "answered",
        "started_at": now,
        "ended_at": now,
    }
    return CallEvent(**(whole | {"parties": parties} | more))


@pytest.mark.slow
def test_importing_every_name_loads_no_workers_library() -> None:
    """A backend must not carry a worker's dependencies."""
    program = (
        "import sys; from calllog_guard.client import *; AsyncClient(tenant='iocom'); "
        "print(*sorted({name.split('.')[0] for name in sys.modules})); "
        "print(*sorted({name.split('.')[1] for name in sys.modules if name.startswith('calllog_guard.')}))"
    )
    out = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=True)
    libraries, ours = (set(line.split()) for line in out.stdout.splitlines())
    heavy = {"aiokafka", "redis", "rocksdict", "rich", "structlog", "aiohttp", "kafka", "jinja2", "prometheus_client"}
    assert libraries & (heavy | {"click", "cramjam", "sqlite3", "boto3", "hvac", "faust"}) == set()
    assert ours == {"adapters", "client", "core", "errors", "settings"}


def test_every_public_name_is_there_and_stands_in_the_docs() -> None:
    page = (Path(__file__).parents[3] / "docs/how-to/use-the-client.md").read_text("utf-8")
    assert [name for name in client.__all__ if getattr(client, name, None) is None] == []
    assert [name for name in client.__all__ if f"`{name}`" not in page] == []
    with pytest.raises(AttributeError):
        client.Nothing  # noqa: B018


def test_the_program_of_the_docs_has_15_lines() -> None:
    """The bar of issue 17: from the request to the verified certificate."""
    page = (Path(__file__).parents[3] / "docs/how-to/use-the-client.md").read_text("utf-8")
    program = page.partition("$ cat > forget.py <<'END'\n")[2].partition("\nEND\n")[0]
    lines = [line for line in program.splitlines() if line.strip()]
    assert "verified(case" in program
    assert len(lines) <= 15


def test_every_type_of_request_has_a_function_and_a_desk_reads_what_it_makes() -> None:
    assert set(DRAFTS) == set(get_args(Kind))
    for kind, draft in DRAFTS.items():
        request = read(SIGNER.sign(draft, NOW).token)
        assert (request.type, request.jti, request.iss, request.tenant) == (kind, draft.jti, "backend-1", "iocom")


def test_a_request_is_sealed_unless_that_is_refused_by_name() -> None:
    """What is not sealed names people in clear."""
    with pytest.raises(ConfigurationError, match="plain=True"):
        AsyncClient(tenant="iocom", key=KEY).privacy.sign(DRAFTS["erase"])
    assert AsyncClient(tenant="iocom", key=KEY, desk=SEAL).privacy.sign(DRAFTS["erase"]).token.count(b".") == 4
    assert AsyncClient(tenant="iocom", key=KEY, plain=True).privacy.sign(DRAFTS["erase"]).token.count(b".") == 2
    with pytest.raises(ConfigurationError, match="key="):
        AsyncClient(tenant="iocom").privacy.sign(DRAFTS["erase"])


def test_the_sealed_length_does_not_tell_a_hold_from_an_erasure() -> None:
    assert len(SIGNER.sign(DRAFTS["hold"], NOW).token) == len(SIGNER.sign(DRAFTS["erase"], NOW).token)


def test_the_same_jti_is_the_same_case() -> None:
    one, two = (SIGNER.sign(drafts.erase([WHO], identity="verified", jti="DSR-2026-118"), NOW) for _ in range(2))
    assert one.case(TENANT) == two.case(TENANT) == case_id(TENANT, request_name("backend-1", "DSR-2026-118"))
    assert drafts.approve(CASE).jti != drafts.approve(CASE).jti


def test_what_the_desk_would_refuse_is_said_before_it_is_sent() -> None:
    privacy = AsyncClient(tenant="iocom", key=KEY, desk=SEAL).privacy
    assert privacy.check(DRAFTS["erase"]) is None
    late = privacy.check(drafts.erase([WHO], identity="verified", range=("2026-02-02", "2026-01-01")))
    assert late is not None
    assert (late.reason, late.pointer) == ("end_before_start", "/range/to")
    assert late.remedy
    odd = privacy.check(drafts.erase([WHO, "a b@example.org"], identity="verified"))
    assert odd is not None
    assert (odd.reason, odd.pointer) == ("no_single_address", "/subjects/1")
    assert "example.org" not in repr(odd)
    with pytest.raises(ConfigurationError, match="missing_field at /subjects: add"):
        privacy.sign(drafts.erase([], identity="verified"))


async def test_a_secret_hold_is_not_sent_where_it_shows() -> None:
    """The client writes to `privacy.requests`; orders about secret holds belong into `privacy.orders`."""
    order = drafts.hold(
        [WHO], "order-1", authority="Court", basis="Order 7", review_at=NOW, identity="verified", secret=True
    )
    with pytest.raises(ConfigurationError, match="request hold"):
        await AsyncClient(tenant="iocom", key=KEY, desk=SEAL).privacy.send(order)


def test_mistakes_of_a_program_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"\[\"alice@example.org\"\]"):
        drafts.erase(WHO, identity="verified")
    with pytest.raises(ConfigurationError, match=r"datetime\.now"):
        drafts.erase([WHO], identity="verified", received_at=datetime(2026, 1, 1))  # noqa: DTZ001
    with pytest.raises(ConfigurationError, match="key new"):
        drafts.access([WHO], PUBLIC, identity="verified")
    (tmp_path / "backend-1.pem").write_bytes(PUBLIC)
    with pytest.raises(ConfigurationError, match="private key"):
        RequesterKey.read(tmp_path / "backend-1.pem")
    (tmp_path / "other.pub.pem").write_bytes(SEAL.pem)
    with pytest.raises(ConfigurationError, match="iocom-desk"):
        SealingKey.read(tmp_path / "other.pub.pem", TENANT)


def test_an_event_that_a_protector_would_refuse_is_named_by_its_place_alone() -> None:
    publisher = AsyncClient(tenant="iocom").publisher
    good = publisher.check([call(), msgspec.json.decode(encode(call())), encode(call())])
    assert [key for key, _ in good] == [b"c1"] * 3
    bad: dict[str, CallEvent | bytes] = {
        "foreign_tenant": call(tenant="other"),
        "missing_field": b'{"tenant":"iocom","call_id":"c1"}',
        "duplicate_party": call(parties=(Party(id=WHO, role="host"), Party(id="ALICE@example.org", role="guest"))),
        "too_late": call(started_at=datetime(2020, 1, 1, tzinfo=UTC)),
        "unknown_field": b'{"recording":true}',
        "not_json": b"{",
    }
    for reason, event in bad.items():
        with pytest.raises(InvalidEventError, match=rf"event 1 would be refused: {reason} ") as found:
            publisher.check([call(), event])
        assert found.value.index == 1
        assert "example.org" not in str(found.value).lower()


def test_stages_are_told_once_and_in_order() -> None:
    def record(*stages: str, state: str = "enforcing", count: int = 1) -> Arrival:
        told = {name: NOW.isoformat() for name in stages}
        case = {
            "v": 1, "case": CASE, "tenant": "iocom", "type": "erase", "state": state, "ticket": None, "jti": "erase-001",
            "received_at": NOW.isoformat(), "due": "2026-12-29", "law_due": None, "place": [0, 1], "asked_by": "backend-1",
            "appended_at": NOW.isoformat(), "opened_at": NOW.isoformat(), "stages": told, "count": count,
        }  # fmt: skip
        return Arrival("privacy.cases", 0, 0, CASE.encode(), msgspec.json.encode(case))

    view = CaseView(CASE)
    assert [each.name for each in view.stages(record("accepted"))] == ["accepted"]
    assert [each.name for each in view.stages(record("accepted", "fenced", "destroyed", count=3))] == [
        "fenced",
        "destroyed",
    ]
    assert list(view.stages(record("accepted", "fenced", count=2))) == [], "an older state of the case"
    assert list(view.stages(Arrival("privacy.cases", 0, 0, CASE.encode(), None))) == []
    assert list(view.stages(Arrival("privacy.cases", 0, 0, CASE.encode(), b"{}"))) == []
    (last,) = view.stages(record("accepted", "fenced", "destroyed", "absent", state="observing", count=4))
    assert (last.name, last.final, last.state) == ("absent", True, "observing")
    assert isinstance(view.latest, Case)


def test_a_receipt_is_read_only_when_its_signature_is_good() -> None:
    claims = {"v": 1, "case": CASE, "tenant": "iocom", "request": "erase-001", "stage": "absent", "bounds": {},
              "pol": "2026-01-01", "at": NOW.isoformat()}  # fmt: skip
    token = sign(PRIVATE, "iocom-receipts", msgspec.json.encode(claims))
    assert verify_receipt(token, PUBLIC).stage == "absent"
    with pytest.raises(MessageError, match="bad_signature"):
        verify_receipt(token, new_pair(signs=True)[1])
    with pytest.raises(ConfigurationError, match="receipts"):
        verify_receipt(token, ASKER)
