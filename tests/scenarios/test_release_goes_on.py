"""Workers of this release go on where an earlier one was stopped: pending work is finished, and rights are served."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from guard_world import TENANT, Fuse, FusedKeystore, FusedLog, GuardWorld, Hand
from releases import Fixture, releases, whole

from calllog_guard.adapters.disk.policy_file import load_policy
from calllog_guard.adapters.kms.local import FileRing, LocalKms
from calllog_guard.cli.request import reply_key
from calllog_guard.core.crypto.jose import open_sealed
from calllog_guard.core.identifiers import EpochName
from calllog_guard.core.records import Output
from calllog_guard.core.stream.arrival import arrival
from calllog_guard.settings import Settings
from calllog_guard.workers.keys.rotation import epoch_of
from calllog_guard.workers.keys.tenants.tenant_secrets import Vault


class Lanes(defaultdict[tuple[str, int], list[Any]]):
    """Topics by the fixture's names, also for who knows the usual ones."""

    def __init__(self, fixture: Fixture) -> None:
        super().__init__(list)
        self._fixture = fixture

    def __getitem__(self, place: tuple[str, int]) -> list[Any]:
        return super().__getitem__((self.name(place[0]), place[1]))

    def name(self, topic: str) -> str:
        """The fixture's name of a topic."""
        return self._fixture.topic(topic) if topic.startswith(("calllog.", "privacy.")) else topic


class Named(FusedLog):
    """A log whose records bear the fixture's names of topics."""

    async def write(self, outputs: Sequence[Output]) -> None:
        """See Writer."""
        lanes = self.records
        assert isinstance(lanes, Lanes)
        await super().write([msgspec.structs.replace(each, topic=lanes.name(each.topic)) for each in outputs])


class FrozenWorld(GuardWorld):
    """An installation in memory that begins where a fixture ends."""

    def __init__(self, folder: Path, fixture: Fixture) -> None:
        fixture.unpack(folder)
        for path in (folder / "keys").glob("*.pem"):
            path.rename(folder / path.name)
        (folder / "keys").rmdir()
        (folder / "keys").symlink_to(folder)
        self.folder, self.fixture = folder, fixture
        self.policy = load_policy(folder / "policy.toml")
        own = {name: fixture.topic(f"{name}.x")[:-1] for name in ("calllog", "privacy")}
        self.settings = Settings(
            partitions=int(fixture.manifest["settings"]["CALLLOG_GUARD_PARTITIONS"]),
            event_late_days=9000,
            cases_keep_days=9000,
            state_dir=str(folder / "none"),
            calllog_prefix=own["calllog"],
            privacy_prefix=own["privacy"],
        )
        self.clock, self.fuse = Hand(), Fuse()
        self.clock.at = datetime.fromtimestamp(fixture.manifest["frozen_ms"] // 1000, UTC)
        self.log, self.keystore = Named(self.clock, self.fuse), FusedKeystore(self.fuse)
        self.log.records = Lanes(fixture)
        self._load()
        self.keystore.entries = fixture.entries()
        self.keystore.run = self.keystore.entries[b"clg:~guarded:0"]
        self.vault = Vault(LocalKms(folder / "kms"), FileRing(folder / "kms"))
        self.counts, self.levels, self.indexes, self.calls, self.names = Counter(), {}, {}, 0, {}
        self.rows = {}
        self.positions = {
            (group.rpartition("-")[2], topic, partition): offset
            for group, places in fixture.manifest["committed"].items()
            for topic, partition, offset in places
        }

    def _load(self) -> None:
        found: dict[tuple[str, int], list[Any]] = defaultdict(list)
        for record in self.fixture.records():
            found[record.topic, record.partition].append(record)
        for place, (_, end) in self.fixture.manifest["starts"].items():
            topic, _, number = place.rpartition("/")
            lane = whole(topic, int(number), found[topic, int(number)], end)
            self.log.records[topic, int(number)] += [
                arrival((topic, int(number)), at, each.at_ms, each.key, each.value, each.headers)
                for at, each in enumerate(lane)
            ]


@pytest.mark.parametrize("release", releases())
async def test_what_was_pending_is_finished_and_rights_are_served(release: str, tmp_path: Path) -> None:
    """Erased, corrected, copied out and restricted by this release: people whom only the earlier one has ever seen."""
    world = FrozenWorld(tmp_path, Fixture(release))
    await world.restart()
    await world.run()
    for jti in ("erase-0003", "erase-0004", "erase-0005"):
        assert "tombstoned" in world.case(jti).stages, jti
    assert {world.case(jti).state for jti in ("hold-00004", "access-002")} == {"closed"}
    live = world.log.live(world.fixture.topic("calllog.legs"))
    private = (world.folder / "operator-1.pem").read_bytes()
    key = reply_key(world.folder / "operator-1.pub.pem")
    await world.ask("erase-1000", "erase", "alice@example.org")
    await world.ask("rect-1000", "rectify", "ken@example.org", facts={"call_id": "ken-2", "role": "guest"})
    await world.ask("rest-1000", "restrict", "mia@example.org")
    await world.ask("copy-1000", "access", "lea@example.org", reply_key=key)
    await world.run()
    assert "tombstoned" in world.case("erase-1000").stages
    assert "rewritten" in world.case("rect-1000").stages
    assert {world.case(jti).state for jti in ("rest-1000", "copy-1000")} == {"closed"}
    left = world.log.live(world.fixture.topic("calllog.legs"))
    assert len(live) > len(left) > 0
    changed = [key for key, value in left.items() if value != live.get(key)]
    assert len(changed) == 1, "the corrected leg alone"
    exports = world.log.records["privacy.exports", 0]
    assert b"ken-1" not in open_sealed(private, (exports[-1].value or b"").decode())
    assert b"lea@example.org" in open_sealed(private, (exports[-1].value or b"").decode())
    await world.restart(rebuild=True)
    await world.run()
    again = world.log.live(world.fixture.topic("calllog.legs"))
    assert again.keys() == left.keys(), "whoever begins anew comes to the same"


@pytest.mark.parametrize("release", releases())
def test_an_installation_of_a_release_is_separated_and_opens_what_it_did(release: str, tmp_path: Path) -> None:
    """What is pending was sealed before its trust domains were apart; nothing of it is another secret."""
    world = FrozenWorld(tmp_path, Fixture(release))
    world.vault.upgrade(TENANT, ("as-written",), world.clock.at, world.settings.partitions)
    kms, ring = LocalKms(tmp_path / "kms"), FileRing(tmp_path / "kms")

    def opened() -> list[bytes]:
        vault = Vault(kms, ring)
        uses = ("keystore", "ledger", "cases", "tallies")
        keys = [vault.epoch_key(EpochName(each), TENANT, use) for each in vault.epochs() for use in uses]
        found = [vault.case_key(TENANT), vault.outcome_key(TENANT), *keys]
        return [vault.receipt_key(TENANT), vault.guard_id(), *(each.expose() for each in found)]

    before = opened()
    world.vault.separate(TENANT, epoch_of(world.clock.at + timedelta(days=7)))
    assert opened() == before
    assert len(before) > len(("receipts", "guard", "cases", "outcomes")), "and of at least one epoch"
    assert not any(ring.get(f"{kind}.{TENANT}") for kind in ("receipts", "cases"))
