"""Two tenants of one policy file on the same servers: installations of their own, and what they may not share."""

from pathlib import Path
from typing import Any

import pytest
from installation import Installation, Make, event, raw
from patience import ended
from redis import Redis

pytestmark = pytest.mark.real


def named(guard: Installation) -> str:
    """A second tenant in the policy file, with two topics of events; its prefix."""
    policy, prefix = guard.directory / "policy.toml", f"d{guard.name}."
    head, mark, tables = policy.read_text().partition("[version.tenant.iocom]")
    second = (mark + tables).replace("iocom", "acme")
    second = second.replace(f'"c{guard.name}.events"', f'"{prefix}events", "{prefix}more"')
    policy.write_text(head + mark + tables + second)
    return prefix


def own(guard: Installation, tmp_path: Path, prefix: str) -> dict[str, dict[str, str]]:
    """What the second installation has of its own, by what it is."""
    database = guard.environment["CALLLOG_GUARD_KEYSTORE"].rpartition("/")[0] + "/0"
    with Redis.from_url(database) as redis:
        redis.flushdb()
    return {
        "kms": {"CALLLOG_GUARD_KMS": f"local:{tmp_path / 'kms'}"},
        "keystore": {"CALLLOG_GUARD_KEYSTORE": database},
        "topics": {"CALLLOG_GUARD_CALLLOG_PREFIX": prefix, "CALLLOG_GUARD_PRIVACY_PREFIX": f"{prefix}p."},
    }


def test_two_tenants_share_servers_and_nothing_else(make: Make, tmp_path: Path) -> None:
    guard: Any = make()
    prefix, shared = named(guard), dict(guard.environment)
    guard.environment["CALLLOG_GUARD_TENANT"] = "acme"
    assert ended(guard.start("protector")) == 2
    guard.said("keeps no pepper.acme")
    for part in own(guard, tmp_path, prefix).values():
        guard.cli("tenant", "create", "acme", code=4)  # keys, then the keystore, then the topics are iocom's
        guard.environment |= part
    guard.cli("topics", "create")
    guard.cli("tenant", "create", "acme")
    theirs = dict(guard.environment)
    guard.environment["CALLLOG_GUARD_PRIVACY_PREFIX"] = shared["CALLLOG_GUARD_PRIVACY_PREFIX"]
    assert ended(guard.start("auditor")) == 2
    guard.said("is the ledger of tenant iocom's installation")
    guard.environment = theirs
    guard.start("protector")
    here, guard.topic = guard.topic, lambda name: prefix + name.partition(".")[2]
    guard.publish("calllog.more", [raw(event("c2", "alice@example.org") | {"tenant": "acme"})])
    guard.settled(lambda: len(guard.live()) == 1, "the second tenant's leg, from its second topic")
    guard.topic = here
    assert guard.live() == {}
