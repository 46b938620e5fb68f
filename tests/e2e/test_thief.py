"""
What a thief can do: every combination of copies of Kafka, Redis and KMS, each opened by all means that our code has.

The copies are real: records and files of an installation, `then` (before erasure and expiry), `days later` (after
both, in the same epoch) and `weeks later` (after the epoch was destroyed). The documentation's table is what is tested.
"""

import asyncio
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from documents import DOCUMENTED
from installation import Installation, event, raw
from redis import Redis
from redises import Lone, running
from signing import claims, signed
from test_audit import stages

from calllog_guard.adapters.disk.trace_search import Hunter
from calllog_guard.adapters.kms.local import FileRing, LocalKms
from calllog_guard.adapters.redis.keystore import RedisKeystore
from calllog_guard.cli.scan import scan_files
from calllog_guard.core.calls.leg import read_leg
from calllog_guard.core.crypto.entries import Keys, open_keys
from calllog_guard.core.crypto.leg_envelope import open_leg, parse_header
from calllog_guard.core.crypto.subject_secrets import link_at, month_from
from calllog_guard.core.identifiers import EpochName, Tenant
from calllog_guard.devstack.supervisor import Stack
from calllog_guard.errors import GuardError
from calllog_guard.workers.keys.key_cache import CacheLimits
from calllog_guard.workers.keys.people.subject_keys import Keyring
from calllog_guard.workers.keys.rotation import Periods, Walk
from calllog_guard.workers.keys.tenants.tenant_secrets import Vault

pytestmark = pytest.mark.real
TENANT = Tenant("iocom")
PEOPLE = ["alice@example.org", "bob@example.org", "carol@example.org"]
KMS = ("none", "then", "days later", "weeks later")
_DAY = 24 * 60


@dataclass
class Loot:
    """Copies by the time they were taken."""

    kafka: dict[str, dict[bytes, bytes]] = field(default_factory=dict)
    redis: dict[str, dict[bytes, bytes]] = field(default_factory=lambda: {"none": {}})
    kms: dict[str, Path] = field(default_factory=dict)
    folders: list[Path] = field(default_factory=list)

    def take(self, when: str, guard: Installation, folder: Path) -> None:
        """Copy everything."""
        self.kafka[when] = {each.key: each.value for each in guard.records("calllog.legs") if each.value}
        for name, origin in (("kms", guard.directory / "kms"), ("redis", guard.stack.redis_dir)):
            shutil.copytree(origin, folder / when / name)
        if (guard.directory / "state").exists():
            shutil.copytree(guard.directory / "state", folder / when / "state")
        self.kms[when] = folder / when / "kms"
        self.folders.append(folder / when)
        with running(server := Lone(folder / when / "redis")), Redis.from_url(server.url) as client:
            self.redis[when] = {name: client.get(name) or b"" for name in client.keys("clg:iocom:*")}

    def opened(self, kafka: str, redis: str, kms: str) -> set[str]:
        """Whose legs open, tried with every key of every entry under every epoch; the guard is not asked."""
        found: set[str] = set()
        keys = list(self._keys(self.redis[redis], self.kms[kms])) if kms != "none" else []
        for value in self.kafka[kafka].values():
            header = parse_header(value)
            month = month_from(header.mon)
            for each in keys:
                for at, link in ((each.floor, each.floor_link), (each.current, each.current_link)):
                    try:
                        leg = read_leg(open_leg(value, link_at(link, at, month).data_key(month)))
                    except (GuardError, ValueError):
                        continue
                    old = header.day < (datetime.now(UTC) - timedelta(days=250)).date().isoformat()  # noqa: TID251
                    found.add("erased" if leg.subject == PEOPLE[0] else "expired" if old else "living")
        return found

    @staticmethod
    def _keys(entries: dict[bytes, bytes], kms: Path) -> Iterator[Keys]:
        vault = Vault(LocalKms(kms), FileRing(kms))
        for place, entry in entries.items():
            for epoch in vault.epochs():
                try:
                    yield open_keys(entry, place, vault.epoch_key(EpochName(epoch), TENANT, "keystore"))
                except GuardError:
                    continue


class Ahead:
    """A clock so many days ahead."""

    def __init__(self, days: int) -> None:
        self._by = timedelta(days=days)

    def now(self) -> datetime:
        """See Clock."""
        return datetime.now(UTC) + self._by  # noqa: TID251


async def nobody() -> set[str]:
    """Nothing is pending."""
    return set()


async def walked(guard: Installation, days: int) -> list[str]:
    """The walk as it will run so many days from now; the epochs that it destroys."""
    keystore, kms = RedisKeystore(guard.stack.redis), guard.directory / "kms"
    vault, clock = Vault(LocalKms(kms), FileRing(kms)), Ahead(days)
    ring = Keyring(TENANT, keystore, vault, clock, CacheLimits(1, 1), guard.partitions)
    periods = Periods(keep_days=186, late_days=400, epoch_days=7, window_days=14)
    try:
        return (await Walk(ring, clock, periods, nobody).run({})).destroyed
    finally:
        await keystore.close()


@pytest.fixture(scope="module")
def loot(java: None, tmp_path_factory: pytest.TempPathFactory) -> Loot:  # noqa: ARG001
    """Three copies of one installation's life."""
    folder, loot = tmp_path_factory.mktemp("thief"), Loot()
    with Stack(folder / "stack") as stack:
        guard = Installation(stack, folder / "guard", KEYSTORE=stack.redis, EVENT_LATE_DAYS="400")
        try:
            guard.start("protector")
            guard.publish("calllog.events", [raw(event("c1", *PEOPLE))])
            guard.publish("calllog.events", [raw(event("c2", PEOPLE[1], minutes_ago=300 * _DAY, outcome="missed"))])
            guard.settled(lambda: len(guard.live()) == 4, "all legs")
            loot.take("then", guard, folder)
            for role in ("desk", "keeper", "auditor"):
                guard.start(role)
            guard.publish("privacy.requests", [signed(guard.directory, claims("thief-001", PEOPLE[0]))])
            guard.settled(lambda: "absent" in stages(guard, "thief-001"), "absent")
            guard.settled(lambda: len(guard.records("calllog.legs")) == 2 or len(guard.live()) == 2, "expired")
            guard.said('"event": "walked"')
            guard.settled(
                lambda: (
                    not [each for each in guard.records("calllog.legs") if each.value and each.key not in guard.live()]
                ),
                "compacted",
            )
            loot.take("days later", guard, folder)
            guard.stop()
            assert asyncio.run(walked(guard, 8)) == []
            assert len(asyncio.run(walked(guard, 40))) == 1
            loot.take("weeks later", guard, folder)
        finally:
            guard.stop()
    return loot


def cells() -> list[tuple[str, str, set[str]]]:
    """Redis, KMS, and what opens of Kafka's copy of then, as the documentation says."""
    table = DOCUMENTED.partition("<!-- thief -->")[2].partition("<!-- /thief -->")[0]
    found = []
    for redis, kms, *cell in re.findall(r"^\| ([a-z ]+) \| ([a-z ]+) \|" + r" (yes|no) \|" * 3, table, re.MULTILINE):
        names = {name for name, word in zip(("erased", "expired", "living"), cell, strict=True) if word == "yes"}
        found += [(redis, each, names) for each in (KMS if kms == "any" else [kms])]
    return found


def test_the_table_names_every_combination() -> None:
    assert sorted((redis, kms) for redis, kms, _ in cells()) == sorted((redis, kms) for redis in KMS for kms in KMS)


@pytest.mark.parametrize(("redis", "kms", "opens"), cells())
def test_a_thief_opens_what_the_readme_says_and_nothing_else(loot: Loot, redis: str, kms: str, opens: set[str]) -> None:
    assert loot.opened("then", redis, kms) == opens
    for later in ("days later", "weeks later"):
        assert loot.opened(later, redis, kms) == opens & {"living"}, (
            "a later log holds nothing of the erased and the expired"
        )


def test_no_copy_of_any_folder_names_anybody(loot: Loot) -> None:
    hunter = Hunter(PEOPLE)
    looked = [place for folder in loot.folders for place in scan_files(folder, hunter, ["calllog.events"])]
    assert len(looked) > 10, "the control: there was something to look at"
    assert [place.where for place in looked if place.found] == []
