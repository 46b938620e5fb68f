"""Opened epoch keys live for a bounded time, the KMS stays off the hot path, and what it destroyed ends everywhere."""

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from contexts import context

from calllog_guard.adapters.disk.policy_file import key_files
from calllog_guard.adapters.kms.aws import AwsKms
from calllog_guard.adapters.kms.local import FileRing, LocalKms
from calllog_guard.adapters.memory.fakes import MemoryKeystore, MemoryKms, MemoryRing, SystemClock
from calllog_guard.core.crypto.subject_secrets import Secret
from calllog_guard.core.identifiers import EpochName, Tenant
from calllog_guard.core.policy.active import Policy
from calllog_guard.errors import ConfigurationError, EpochUnknownError, KmsSilentError, StoredFormError
from calllog_guard.ports.keys import Kms
from calllog_guard.workers.context import WorkerContext
from calllog_guard.workers.desk.answers.receipts import ReceiptSigner
from calllog_guard.workers.keys.key_cache import CacheLimits
from calllog_guard.workers.keys.people.subject_keys import Keyring
from calllog_guard.workers.keys.tenants.tenant_secrets import Vault
from calllog_guard.workers.runtime.process.self_test import FORMS, Made, probe

TENANT, EPOCH = Tenant("iocom"), EpochName("2026-W48")


class World:
    """A KMS, and a vault as another process would hold it, on a clock set by hand."""

    def __init__(self) -> None:
        self.kms, self.ring, self.at = MemoryKms(), MemoryRing(), 0.0
        self.vault = Vault(self.kms, self.ring, life_s=300, now=lambda: self.at)
        maker = Vault(self.kms, self.ring)
        maker.create_tenant(TENANT)
        maker.create_epoch(EPOCH)

    def key(self) -> Secret:
        """What a unit asks for."""
        return self.vault.epoch_key(EPOCH, TENANT, "keystore")


@pytest.fixture
def world() -> World:
    """A new one."""
    return World()


def test_a_key_in_use_does_not_ask_the_kms(world: World) -> None:
    first = world.key()
    asked = world.kms.asked
    world.at = 290
    assert world.key() == first
    assert world.kms.asked == asked


def test_an_epoch_destroyed_elsewhere_ends_here_within_its_life(world: World) -> None:
    """Or a worker that never restarts would open last year's backup."""
    world.key()
    world.kms.destroy_epoch(EPOCH)
    world.at = 300
    with pytest.raises(EpochUnknownError):
        world.key()


async def test_a_refresh_finds_the_destroyed_epoch_before_its_life_is_over(world: World) -> None:
    world.key()
    world.kms.destroy_epoch(EPOCH)
    world.at = 100
    await world.vault.refresh()
    with pytest.raises(EpochUnknownError):
        world.key()


async def test_a_refresh_prolongs_a_life_so_that_no_unit_waits(world: World) -> None:
    first = world.key()
    world.at = 200
    await world.vault.refresh()
    asked, world.at = world.kms.asked, 450
    assert world.key() == first
    assert world.kms.asked == asked


async def test_a_silent_kms_is_borne_for_one_life_and_then_asked_seldom(world: World) -> None:
    """Silence is not destruction, but no key may outlive what the KMS last said of it."""
    first = world.key()
    world.kms.silent, world.at = True, 200
    await world.vault.refresh()
    assert world.key() == first
    world.at = 301
    asked = world.kms.asked
    for _ in range(3):
        with pytest.raises(KmsSilentError):
            world.key()
    assert world.kms.asked == asked + 1
    await world.vault.refresh()
    assert list(world.vault._epochs) == [], "nothing is kept beyond its life"
    world.kms.silent, world.at = False, 320
    assert world.key() == first


def test_a_folder_that_lags_behind_the_kms_means_wait(world: World) -> None:
    """Only the KMS knows which epochs are dead; a shared disk that is late must not halt a worker."""
    blob = world.ring.blobs.pop(f"epoch.{EPOCH}")
    with pytest.raises(KmsSilentError, match="share"):
        world.key()
    world.at = 20
    world.ring.blobs[f"epoch.{EPOCH}"] = blob
    assert world.key()


async def test_a_slow_kms_does_not_hold_up_the_loop(world: World) -> None:
    """The group membership and the pages live in the same loop."""
    world.key()
    answer, turned = threading.Event(), False
    inner = world.kms.unwrap

    class Slow(MemoryKms):
        """Answers when told."""

        def unwrap(self, name: str, blob: bytes) -> Secret:
            """See Kms."""
            assert answer.wait(30)
            return inner(name, blob)

    world.vault._kms = Slow()
    refreshing = asyncio.create_task(world.vault.refresh())
    for _ in range(3):
        await asyncio.sleep(0)
        turned = True
    assert turned
    assert not refreshing.done()
    answer.set()
    await refreshing


def test_warming_up_opens_everything_before_the_first_unit(world: World) -> None:
    world.kms.create_epoch("2026-W49")  # a crash between the KMS and the ring: nothing lies under it
    world.vault.warm(TENANT)
    asked = world.kms.asked
    world.vault.pepper(TENANT)
    world.vault.receipt_key(TENANT)
    world.vault.guard_id()
    world.key()
    assert world.kms.asked == asked


def test_warming_up_without_a_tenant_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="tenant create"):
        Vault(LocalKms(tmp_path), FileRing(tmp_path)).warm(TENANT)


def ring(kms: Kms) -> Keyring:
    """Of a tenant whose secrets are under this KMS."""
    vault = Vault(kms, MemoryRing())
    return Keyring(TENANT, MemoryKeystore(), vault, SystemClock(), CacheLimits(60, 10), 1)


def test_a_receipt_counts_how_long_the_kms_could_take_a_destruction_back() -> None:
    fenced = datetime(2026, 11, 24, tzinfo=UTC)
    for kms, days in ((MemoryKms(), 28), (AwsKms("eu-west-2", "p"), 35)):
        bounds = ReceiptSigner(context(WorkerContext, ring=ring(kms), policy=Policy((), key_files(Path()))))._bounds(
            fenced
        )
        assert bounds["backup_end"] == fenced + timedelta(days=days)


def test_every_stored_form_passes_the_start_up_probe() -> None:
    assert len(FORMS) == 17
    probe()


@pytest.mark.parametrize("fault", ["another", "unchecked", "refuses"])
def test_a_form_that_does_not_hold_stops_the_worker(fault: str) -> None:
    """Half of a library's upgrade must be found before a record is written with it."""

    def opened(sealed: bytes) -> bytes:
        if fault == "refuses":
            raise ValueError("no")
        return sealed[:4] if fault == "unchecked" else b"else"

    def made() -> Made:
        return b"leg ", b"leg and its seal", opened

    with pytest.raises(StoredFormError, match="leg v1"):
        probe({"leg v1": made})
