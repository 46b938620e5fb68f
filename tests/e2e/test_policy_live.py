"""The policy on the real stack: published versions apply without a restart, forged ones change nothing, residency."""

import json
import re
import urllib.request
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from installation import Installation, Make, event, raw
from patience import ended
from test_choices import with_purposes

from calllog_guard.adapters.disk.policy_file import load_policy
from calllog_guard.core.crypto.jose import sign
from calllog_guard.core.policy.changes.publication import Publication, with_keys

pytestmark = pytest.mark.real
_DAY = 24 * 60


def today() -> date:
    """The day by the real clock."""
    return datetime.now(UTC).date()  # noqa: TID251 - tests run on the real clock


def next_version(guard: Installation, effective: date, *changes: tuple[str, str]) -> Path:
    """The policy with one more version, in a file beside it: what an officer has on the desk."""
    first = (guard.directory / "policy.toml").read_text()
    second = first.replace("effective = 2026-01-01", f"effective = {effective}").replace(
        "First version.", "Next version."
    )
    for old, new in changes:
        assert second.count(old) == 1
        second = second.replace(old, new)
    path = guard.directory / "next.toml"
    path.write_text(first + second)
    return path


def publish(guard: Installation, path: Path, *words: str, key: str = "officer-1", code: int = 0) -> str:
    """Publish as an officer would, from a policy file of their own."""
    worker_policy = guard.environment["CALLLOG_GUARD_POLICY"]
    guard.environment["CALLLOG_GUARD_POLICY"] = str(path)
    try:
        return guard.cli("policy", "publish", "--key", str(guard.directory / "keys" / f"{key}.pem"), *words, code=code)
    finally:
        guard.environment["CALLLOG_GUARD_POLICY"] = worker_policy


def with_legs(guard: Installation) -> None:
    """Ten legs of sixty days ago and ten of ten days ago, kept for 90 days (missed calls: no billing)."""
    old = [raw(event(f"old{n}", f"p{n}", minutes_ago=60 * _DAY, outcome="missed")) for n in range(10)]
    young = [raw(event(f"new{n}", f"p{n}", minutes_ago=10 * _DAY, outcome="missed")) for n in range(10)]
    guard.publish("calllog.events", old + young)
    guard.settled(lambda: len(guard.live()) == 20, "all legs")


def pages(guard: Installation) -> list[str]:
    """The metrics of every worker."""
    found = re.findall(r'"pages": "([^"]+)"', guard.log.read_text())
    return [urllib.request.urlopen(f"http://{each}/metrics").read().decode() for each in found]


def all_show(guard: Installation, version: str) -> bool:
    """Whether three workers show this version as the one in force, and no other."""
    shown = [re.findall(r'policy_info\{role="[a-z]+",version="([0-9.-]+)"\}', page) for page in pages(guard)]
    return shown == [[version]] * 3


def forged(guard: Installation, path: Path) -> bytes:
    """A version signed by a requester who is no officer, under the officer's name."""
    return signed(guard, path, by="backend-1", change="Forged.")


def signed(
    guard: Installation, path: Path, *, by: str = "officer-1", change: str = "Late.", at: timedelta = timedelta()
) -> bytes:
    """The newest version of a file under the officer's name, signed so long ago."""
    policy = load_policy(path)
    newest = policy.versions[-1]
    claims = Publication(
        tenant="iocom",
        effective=newest.effective,
        change=change,
        at=datetime.now(UTC) - at,  # noqa: TID251 - tests run on the real clock
        policy=with_keys(newest.tenant["iocom"], policy.public_key),
    )
    key = (guard.directory / "keys" / f"{by}.pem").read_bytes()
    return sign(key, "officer-1", msgspec.json.encode(claims)).encode()


def test_running_workers_follow_a_published_version_and_no_forged_one(make: Make) -> None:
    guard = make(EVENT_LATE_DAYS="400", SWEEP_S="0.5")
    for role in ("protector", "keeper", "auditor"):
        guard.start(role)
    with_legs(guard)
    before = guard.live()
    version = f"{today()}"
    path = next_version(guard, today(), ('keep = "P90D"', 'keep = "P30D"'))
    guard.publish("privacy.policy", [forged(guard, path)], key=f"iocom.{version}".encode())
    guard.settled(lambda: [each["reason"] for each in guard.dead()] == ["bad_signature"], "the forgery's dead letter")
    assert guard.live() == before
    guard.settled(lambda: all_show(guard, "2026-01-01"), "every worker shows the first version")
    published = json.loads(publish(guard, path, "--json"))
    assert [(each["what"], each["where"]) for each in published["differences"]] == [
        ("shortened", "purposes.service.keep")
    ]
    guard.settled(lambda: len(guard.live()) == 10, "what has lapsed is tombstoned")
    assert all(before[key] == value for key, value in guard.live().items())
    guard.settled(lambda: all_show(guard, version), "every worker shows the new version")  # each looks once a second
    guard.publish("calllog.events", [raw(event("later", "p1", minutes_ago=_DAY))])
    guard.settled(lambda: len(guard.live()) == 11, "a leg under the new version")
    (new,) = set(guard.live()) - set(before)
    header = guard.live()[new].split(b".")[0].decode()
    import base64  # noqa: PLC0415

    assert json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))["pol"] == version
    assert all(worker.poll() is None for worker in guard.workers)
    # who starts later reads what is published before the first unit; a command does so too
    guard.start("keeper")
    guard.said('"policy followed"', 4)
    record = json.loads(guard.cli("policy", "print", "--published", "--json"))[0]
    assert [each["effective"] for each in record["history"]] == ["2026-01-01", version]
    assert {purpose["name"]: purpose["keep"] for purpose in record["purposes"]}["service"] == "P30D"


def test_what_is_grave_is_followed_when_two_officers_have_signed_it_and_a_day_lies_before_it(make: Make) -> None:
    guard = with_purposes(make(EVENT_LATE_DAYS="400"))
    guard.start("keeper")

    def history() -> list[str]:
        record = json.loads(guard.cli("policy", "print", "--published", "--json"))[0]
        return [each["effective"] for each in record["history"]]

    change, later = ('keep = "P90D"', 'keep = "P30D"'), today() + timedelta(3)
    publish(guard, next_version(guard, today() + timedelta(1), change), code=4)
    path = next_version(guard, later, change)
    told = json.loads(publish(guard, path, "--json", code=1))
    assert told["waits_for"] == "second_officer"
    assert told["grave"] == ["purposes.service.keep is shorter (P30D for P90D)"]
    publish(guard, path, code=1)
    assert history() == ["2026-01-01"]
    guard.said("waits until a second officer")
    assert json.loads(publish(guard, path, "--json", key="officer-2"))["waits_for"] is None
    assert history() == ["2026-01-01", f"{later}"]
    many = len(guard.records("privacy.policy", 1))
    publish(guard, path)
    assert len(guard.records("privacy.policy", 1)) == many, "a single signature would take the place of both"
    guard.said('"policy followed"')


def test_check_says_what_a_change_does_and_publish_refuses_what_no_worker_would_follow(make: Make) -> None:
    guard = make(EVENT_LATE_DAYS="400")
    guard.start("protector")
    with_legs(guard)
    old = str(guard.directory / "policy.toml")
    path = next_version(guard, today() + timedelta(1), ('keep = "P90D"', 'keep = "P30D"'))
    guard.environment["CALLLOG_GUARD_POLICY"] = str(path)
    found = json.loads(guard.cli("policy", "check", "--legs", "--json"))
    assert found["legs"]["iocom"] == {
        "legs": 20, "due_anyway": 0, "due_by_change": 10, "on": f"{today() + timedelta(1)}"
    }  # fmt: skip
    assert guard.cli("policy", "check", "--against", old).count("shortened") == 1
    path = next_version(guard, today(), ('keep = "P90D"', 'keep = "P120D"'))
    found = json.loads(guard.cli("policy", "check", "--against", old, "--json", code=1))
    assert [each["what"] for each in found["differences"]] == ["lengthened"]
    guard.cli("policy", "check", "--against", old, "--lengthen")
    publish(guard, path, code=4)
    publish(guard, path, "--lengthen", key="backend-1", code=4)
    publish(guard, next_version(guard, today(), ('keep = "P6M"', 'keep = "P1Y"')), "--lengthen", code=4)
    past = next_version(guard, date(2026, 1, 2), ('keep = "P90D"', 'keep = "P30D"'))
    publish(guard, past, code=4)
    assert guard.records("privacy.policy", 1) == []
    publish(guard, next_version(guard, today(), ('keep = "P90D"', 'keep = "P120D"')), "--lengthen")
    assert len(guard.records("privacy.policy", 1)) == 1


def test_a_version_that_was_appended_after_its_day_stops_whoever_begins_until_it_is_answered(make: Make) -> None:
    """As after a restore of the topic: its record is of now, and was signed before its day."""
    guard = make()
    day = today() - timedelta(1)
    late = signed(guard, next_version(guard, day, ('keep = "P90D"', 'keep = "P30D"')), at=timedelta(2))
    guard.publish("privacy.policy", [late], key=f"iocom.{day}".encode())
    assert ended(guard.start("protector")) == 2
    assert f"version {day} was signed in time, but its record" in guard.log.read_text()
    assert {line["check"]: line["verdict"] for line in json.loads(guard.cli("doctor", "--json", code=1))}[
        "policy"
    ] == "bad"
    guard.cli("read", "--purpose", "service", "--actor", "support-1", code=2)
    publish(guard, next_version(guard, today()), code=4)  # longer than the late one promised, and nobody said so
    publish(guard, next_version(guard, today(), ('keep = "P90D"', 'keep = "P30D"')))
    guard.start("protector")
    guard.publish("calllog.events", [raw(event("c1", "p1"))])
    guard.settled(lambda: len(guard.live()) == 1, "a worker begins under the newer version")


def test_servers_outside_the_allowed_hosts_are_refused_at_start_and_by_doctor(make: Make) -> None:
    guard = make()
    policy = guard.directory / "policy.toml"
    good = policy.read_text()
    for hosts in ('["*.london.example.net", "localhost", "127.*"]', '["127.0.0.2"]'):
        policy.write_text(re.sub(r"allowed_hosts = \[.*?\]", f"allowed_hosts = {hosts}", good))
        for role in ("protector", "desk", "keeper", "auditor"):
            assert ended(guard.start(role)) == 2
        assert guard.log.read_text().count("Kafka lies outside the policy's allowed_hosts: 127.0.0.1 is none of") >= 4
        lines = {line["check"]: line for line in json.loads(guard.cli("doctor", "--json", code=1))}
        assert lines["residency"]["verdict"] == "bad"
    policy.write_text(good)
    replica = {"CALLLOG_GUARD_KEYSTORE_REPLICA_URLS": "redis://replica.virginia.example.net:6379/0"}
    inside = dict(guard.environment)
    guard.environment |= replica
    lines = {line["check"]: line for line in json.loads(guard.cli("doctor", "--json", code=1))}
    assert "replica.virginia.example.net is none of" in lines["residency"]["found"]
    guard.environment = inside
    guard.start("protector")
    guard.publish("calllog.events", [raw(event("c1", "p1"))])
    guard.settled(lambda: len(guard.live()) == 1, "a worker that starts inside")


def test_a_log_that_forgets_earlier_than_the_policy_keeps_is_refused(make: Make) -> None:
    guard = make()
    policy = guard.directory / "policy.toml"
    policy.write_text(policy.read_text().replace('keep = "P6M"', 'keep = "P2Y"'))
    assert ended(guard.start("keeper")) == 2
    assert "keeps records for 217 days, the policy keeps legs for 744: raise its retention.ms" in guard.log.read_text()


def test_nobody_starts_under_a_new_policy_that_no_new_one_may_be(make: Make) -> None:
    """An erasure would destroy what a law obliges to keep: that is decided in words, before the first one."""
    guard = make()
    policy = guard.directory / "policy.toml"
    good = policy.read_text()
    bad = good.replace('basis = "contract"\nkeep = "P6M"', 'basis = "legal_duty"\nkeep = "P6M"')
    assert bad != good
    policy.write_text(bad)
    assert ended(guard.start("keeper")) == 2
    assert "basis legal_duty without survives_erasure" in guard.log.read_text()
    lines = {line["check"]: line for line in json.loads(guard.cli("doctor", "--json", code=1))}
    assert (lines["policy"]["verdict"], "survives_erasure" in lines["policy"]["found"]) == ("bad", True)
    guard.cli("policy", "check", code=1)
    policy.write_text(good)
    publish(
        guard,
        next_version(guard, today(), ('basis = "contract"\nkeep = "P6M"', 'basis = "legal_duty"\nkeep = "P6M"')),
        code=4,
    )
    policy.write_text(
        bad.replace('keep = "P6M"', 'keep = "P6M"\nerasable_because = "The invoices are kept in the books."')
    )
    guard.start("protector")
    guard.publish("calllog.events", [raw(event("c1", "p1"))])
    guard.settled(lambda: len(guard.live()) == 1, "a worker that starts under words")


@pytest.mark.long
def test_a_mistake_is_corrected_on_its_own_day(make: Make) -> None:
    """Nine days for ninety: published in the morning, seen at noon."""
    guard = make(EVENT_LATE_DAYS="400", SWEEP_S="0.5")
    for role in ("protector", "auditor"):
        guard.start(role)
    with_legs(guard)
    mistake = next_version(guard, today(), ('keep = "P90D"', 'keep = "P9D"'))
    workers = guard.environment["CALLLOG_GUARD_POLICY"]
    guard.environment["CALLLOG_GUARD_POLICY"] = str(mistake)
    counted = json.loads(guard.cli("policy", "check", "--legs", "--json"))["legs"]["iocom"]
    guard.environment["CALLLOG_GUARD_POLICY"] = workers
    assert counted == {"legs": 20, "due_anyway": 0, "due_by_change": 20, "on": f"{today()}"}, "on its own day, too"
    publish(guard, mistake)
    first, morning = mistake.read_text(), (guard.directory / "policy.toml").read_text()
    second = (
        first[len(morning) :].replace('keep = "P9D"', 'keep = "P90D"').replace("change =", "revision = 2\nchange =")
    )
    mistake.write_text(first + second)
    publish(guard, mistake, code=4)  # longer than what has been promised since midnight
    publish(guard, mistake, "--lengthen")
    assert len({record.key for record in guard.records("privacy.policy", 1)}) == 2
    guard.start("keeper")
    guard.publish("calllog.events", [raw(event("later", "p1", minutes_ago=_DAY, outcome="missed"))])
    guard.settled(lambda: len(guard.live()) == 21, "the keeper has begun, and a leg more")
    guard.settled(lambda: all_show(guard, f"{today()}.2"), "every worker shows the correction")
    history = json.loads(guard.cli("policy", "print", "--published", "--json"))[0]["history"]
    assert [(each["revision"], each["differences"]) for each in history[1:]] == [
        (1, ["shortened purposes.service.keep: P90D -> P9D"]),
        (2, ["lengthened purposes.service.keep: P9D -> P90D"]),
    ]
    assert len(guard.live()) == 21, "nothing is swept by a mistake that is none any more"
