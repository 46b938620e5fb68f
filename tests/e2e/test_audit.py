"""Absence observed on the real stack: certificates only for what was seen, withheld while anything has drifted."""

import json
from pathlib import Path
from typing import Any

import pytest
from aiokafka.record.memory_records import MemoryRecords
from installation import Installation, Make, event, raw
from kafka.admin import ConfigResource, ConfigResourceType
from signing import claims, signed
from test_erase import cases, with_calls

from calllog_guard.core.crypto.jose import verify
from calllog_guard.devstack.kafka_admin import administration

pytestmark = pytest.mark.real


def stages(guard: Installation, jti: str) -> dict[str, str]:
    """The stages of a case so far."""
    found: dict[str, str] = cases(guard).get(jti, {}).get("stages", {})
    return found


def progress(guard: Installation, jti: str) -> set[str]:
    """How far the decisions of a case are; of nobody the stages tell less."""
    return set(cases(guard).get(jti, {}).get("progress", {}).values())


def receipts(guard: Installation) -> list[dict[str, Any]]:
    """Every receipt, its signature checked with the public key alone."""
    public = (guard.directory / "keys" / "iocom-receipts.pub.pem").read_bytes()
    return [json.loads(verify(public, record.value.decode())) for record in guard.records("privacy.receipts", 1)]


def on_disk(guard: Installation, name: str) -> list[tuple[bytes, bytes | None]]:
    """Key and value of every record in any segment file of a topic, parsed independently of the product."""
    found = []
    for path in Path(guard.stack.broker_log_dir).glob(f"{guard.topic(name)}-*/*.log*"):
        records = MemoryRecords(path.read_bytes())
        while records.has_next():
            found += [(record.key, record.value) for record in records.next_batch()]
    return found


def test_the_certificate_follows_the_disappearance_of_the_bytes(make: Make) -> None:
    guard = make()
    guard.start("all")
    before = with_calls(guard)
    guard.publish("privacy.requests", [signed(guard.directory, claims("audit-0001", "alice@example.org"))])
    guard.settled(lambda: "absent" in stages(guard, "audit-0001"), "absent")
    gone = {key for key in before if key not in guard.live()}
    assert len(gone) == 3
    assert not [key for key, value in on_disk(guard, "calllog.legs") if key in gone and value is not None]
    guard.settled(lambda: "gone" in stages(guard, "audit-0001"), "gone")
    assert not [key for key, _ in on_disk(guard, "calllog.legs") if key in gone]
    case = cases(guard)["audit-0001"]
    assert case["state"] == "closed"
    order = ["accepted", "fenced", "destroyed", "tombstoned", "rewritten", "absent", "gone"]
    assert sorted(case["stages"], key=case["stages"].__getitem__) == order
    told = {receipt["stage"]: receipt for receipt in receipts(guard)}
    assert set(told) == set(order) - {"rewritten"}
    assert not told["tombstoned"]["final"]
    assert told["tombstoned"]["observed"] is None
    certificate = told["absent"]
    assert certificate["final"]
    assert certificate["legs"] == 3
    assert certificate["observed"]["how"] == ["consumer:read_uncommitted", "files:segments", "keystore:rewritten"]
    assert certificate["observed"]["on_disk"] == 1
    assert "barred from saying" in certificate["statement"]
    shown = guard.directory / "receipts"
    guard.cli("case", "show", case["case"], "--receipts", str(shown))
    newest = max(shown.iterdir(), key=lambda path: int(path.stem.rpartition("-")[2]))
    public, page = guard.directory / "keys" / "iocom-receipts.pub.pem", guard.directory / "page.html"
    guard.cli("receipt", "verify", str(newest), "--key", str(public), "--page", str(page))
    assert "Certificate of erasure" in page.read_text()
    assert "Every file of the log" in page.read_text()
    assert "ok" in guard.cli("doctor")
    # the plaintext that the backend published, and the request that named her, are trimmed behind the workers
    guard.settled(
        lambda: not any(b"alice@" in (value or b"") for _, value in on_disk(guard, "calllog.events")),
        "plain text leaves the disk",
    )
    assert not guard.dead()


def test_a_keeper_that_reads_the_decision_before_the_legs_counts_them_all(make: Make) -> None:
    guard = make()
    guard.start("protector")
    guard.start("desk")
    with_calls(guard)
    guard.publish("privacy.requests", [signed(guard.directory, claims("count-0001", "alice@example.org"))])
    guard.settled(lambda: "fenced" in stages(guard, "count-0001"), "fenced")
    guard.start("keeper")
    guard.settled(lambda: "tombstoned" in stages(guard, "count-0001"), "tombstoned")
    assert len(guard.live()) == 4
    assert {receipt["stage"]: receipt["legs"] for receipt in receipts(guard)}["tombstoned"] == 3


def set_topic(guard: Installation, name: str, **settings: str) -> None:
    """Change settings of a topic behind the product's back."""
    admin: Any = administration(guard.stack.kafka)
    try:
        admin.alter_configs(
            [
                ConfigResource(
                    ConfigResourceType.TOPIC, guard.topic(name), {k.replace("_", "."): v for k, v in settings.items()}
                )
            ]
        )
    finally:
        admin.close()


def test_no_certificate_while_a_governed_setting_has_drifted(make: Make) -> None:
    guard = make()
    for role in ("protector", "desk", "keeper"):
        guard.start(role)
    with_calls(guard)
    set_topic(guard, "calllog.legs", cleanup_policy="delete")
    guard.start("auditor")
    guard.publish("privacy.requests", [signed(guard.directory, claims("drift-0001", "nobody@example.org"))])
    guard.settled(lambda: progress(guard, "drift-0001") == {"rewritten"}, "rewritten")
    assert "cleanup.policy" in guard.cli("doctor", code=1)
    guard.said("governed settings have drifted")
    guard.publish("calllog.events", [raw(event("x", "bob@example.org"))])
    guard.said("governed settings have drifted", 4)
    assert "absent" not in stages(guard, "drift-0001"), "nothing of nobody is there, but nothing may be certified"
    set_topic(guard, "calllog.legs", cleanup_policy="compact,delete")
    guard.settled(lambda: "gone" in stages(guard, "drift-0001"), "certified after the recovery")
