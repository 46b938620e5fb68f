"""A month's statement on the real stack: counted once through a keeper's death, signed by the desk, checked offline."""

import asyncio
import json
from collections import Counter
from datetime import UTC, datetime

import pytest
from installation import Installation, Make, event, raw
from patience import ended
from sizes import every

from calllog_guard.adapters.kafka.log import KafkaLog
from calllog_guard.app.context import world
from calllog_guard.core.codec import decode
from calllog_guard.core.crypto.subject_secrets import Month, month_of, month_text
from calllog_guard.core.retention.removals import REMOVED, Removed, key_of
from calllog_guard.settings import from_environment

pytestmark = pytest.mark.real
RULE = "service P90D, then delete"


def months() -> tuple[Month, Month]:
    """The month before, and the present one."""
    now = datetime.now(UTC)  # noqa: TID251 - tests run on the real clock
    this = month_of(now.year, now.month)
    return Month(this - 1), this


def counts(guard: Installation, month: Month) -> dict[int, Removed]:
    """What each partition has counted of a month."""
    topic, places = guard.topic("privacy.decisions"), list(range(guard.partitions))
    found: dict[int, Removed] = {}
    for record in asyncio.run(KafkaLog(guard.stack.kafka, {}).read_all(topic, places)):
        if record.key == key_of(month):
            found[record.partition] = decode(REMOVED, record.value or b"")
    return found


def begun(guard: Installation, month: Month) -> None:
    """As keepers that began in an earlier month have left it: tests cannot wait for a month's end."""
    shared = world(from_environment(guard.environment))
    for partition in range(guard.partitions):
        rules = {RULE: 5} if partition == 0 else {}
        count = Removed(tenant=shared.tenant, month=month_text(month), partition=partition, rules=rules)
        key = key_of(month)
        value = shared.vault.outcome_key(shared.tenant).vouched(count, key)
        guard.publish("privacy.decisions", [value], partition=partition, key=key)


@pytest.mark.parametrize(
    "step", every([None, "expire.counted", "expire.tombstoned", "statement.written"], "expire.tombstoned")
)
def test_a_month_is_counted_once_signed_and_checked_offline(make: Make, step: str | None) -> None:
    guard = make(EVENT_LATE_DAYS="400")
    before, this = months()
    guard.start("protector")
    old = [raw(event(f"c{n}", f"p{n}@x.org", minutes_ago=100 * 1440, outcome="missed")) for n in range(12)]
    guard.publish("calllog.events", [*old, raw(event("c99", "alice@x.org", outcome="missed"))])
    guard.settled(lambda: len(guard.live()) == 13, "all legs")
    begun(guard, before)
    off = guard.environment.get("CALLLOG_GUARD_DEVELOPMENT", "")
    role = "desk" if step == "statement.written" else "keeper"
    if role == "keeper" and step:
        dying = guard.start(role, DEVELOPMENT=f"{off},crash-at={step}")
        assert ended(dying) == -9
    guard.start("keeper")
    guard.settled(lambda: len(guard.live()) == 1, "what has lapsed is gone")
    sums = sum((Counter(each.rules) for each in counts(guard, this).values()), Counter[str]())
    assert sums == {RULE: 12}
    guard.settled(lambda: all(each.closed for each in counts(guard, before).values()), "the month before is closed")
    if role == "desk":
        dying = guard.start(role, DEVELOPMENT=f"{off},crash-at={step}")
        assert ended(dying) == -9
    guard.start("desk")
    month, file = month_text(before), guard.directory / "statement.jws"
    said = [each for each in guard.records("privacy.receipts", 1) if each.key == f"statement.{month}".encode()]
    guard.settled(
        lambda: any(each.key == f"statement.{month}".encode() for each in guard.records("privacy.receipts", 1)),
        "signed",
    )
    file.write_text(guard.cli("report", "--month", month, "--statement"))
    key = guard.directory / "keys" / "iocom-receipts.pub.pem"
    checked = json.loads(guard.cli("receipt", "verify", str(file), "--key", str(key), "--json"))
    claims = checked["claims"]
    assert (checked["verdict"], claims["month"], claims["alive"]) == ("good", month, 13)
    assert claims["expired"] == [{"rule": RULE, "legs": 5}]
    assert f"| lapsed | {RULE} | 5 |" in guard.cli("report", "--month", month)
    assert len({each.value for each in said}) <= 1
