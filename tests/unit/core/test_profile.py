"""A tenant's profile says which forms are written: nobody changes it unnoticed, all follow it, it never falls back."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from make_vectors_v2 import vectors
from msgspec.structs import replace

from calllog_guard.adapters.kms.local import FileRing, LocalKms
from calllog_guard.adapters.memory.fakes import MemoryKeystore, MemoryKms, MemoryRing, SystemClock
from calllog_guard.core.crypto.entries import EPOCH_KEY, GUARD_KEY, guarded_key
from calllog_guard.core.crypto.jose import signer_public
from calllog_guard.core.identifiers import Tenant, b64
from calllog_guard.core.identity.rules import legacy_identity
from calllog_guard.core.profile import FORMS, TenantProfile, digest, packed, profile_name
from calllog_guard.core.rights.grants import VOUCHES_PROFILES
from calllog_guard.errors import EntryCorruptError, GuardMovedError, KmsSilentError, NewerFormError
from calllog_guard.workers.keys.key_cache import CacheLimits
from calllog_guard.workers.keys.people.subject_keys import Keyring
from calllog_guard.workers.keys.restore_guard import guard_entry, read_guard
from calllog_guard.workers.keys.tenants.tenant_secrets import SIGNERS, Vault

TENANT = Tenant("iocom")
AT = datetime(2026, 11, 24, 9, tzinfo=UTC)
GOLDEN = json.loads((Path(__file__).parents[2] / "vectors" / "stored_v2.json").read_text())


class Place:
    """What an installation's secrets lie in, and one process' view of it."""

    def __init__(self) -> None:
        self.kms, self.ring, self.keystore = MemoryKms(), MemoryRing(), MemoryKeystore()
        self.vault = self.process()

    def process(self) -> Vault:
        """Another process of the same installation."""
        return Vault(self.kms, self.ring)

    def older(self) -> "Place":
        """The same as the first release made it: no profile, no signer."""
        self.vault.create_tenant(TENANT)
        for name in [name for name in self.ring.blobs if name.startswith(("profile.", "signer."))]:
            del self.ring.blobs[name]
        self.vault = self.process()
        return self

    def keyring(self, vault: Vault) -> Keyring:
        """What a worker reads persons with."""
        return Keyring(TENANT, self.keystore, vault, SystemClock(), CacheLimits(60, 10), 1)


@pytest.fixture
def place() -> Place:
    """A new one."""
    return Place()


def test_a_tenant_of_the_first_release_writes_its_forms_until_it_is_upgraded(place: Place) -> None:
    place.older().vault.create_tenant(
        TENANT
    )  # `tenant create` again adds what a newer release needs, and raises nothing
    assert place.process().profile(TENANT) == TenantProfile(forms=1)
    done = place.vault.upgrade(TENANT, legacy_identity(lowercase_email=True), AT)
    assert (done.number, done.forms, done.identity, done.at) == (1, FORMS, ("lowercase-email",), AT)
    assert place.process().profile(TENANT) == done


def test_an_upgrade_again_changes_nothing(place: Place) -> None:
    place.vault.create_tenant(TENANT, ("as-written",), AT)
    first = place.vault.profile(TENANT)
    assert place.vault.upgrade(TENANT, ("lowercase-email",)) == first
    assert [name for name in place.ring.blobs if name.startswith("profile.")] == ["profile.iocom.1"]


def test_a_new_tenant_begins_with_the_newest_forms_and_a_signer(place: Place) -> None:
    place.vault.create_tenant(TENANT, ("as-written",))
    profile = place.process().profile(TENANT)
    assert (profile.forms, profile.identity) == (FORMS, ("as-written",))
    seeds = {role: place.process().signer_seed(TENANT, role) for role in SIGNERS}
    assert profile.signers == {role: b64(signer_public(seed)).decode() for role, seed in seeds.items()}
    assert len(set(seeds.values())) == len(SIGNERS) == 3


def test_a_creation_that_was_cut_short_is_no_older_tenant(place: Place) -> None:
    place.vault.create_tenant(TENANT)
    for name in [name for name in place.ring.blobs if not name.startswith(("profile.", "signer."))]:
        del place.ring.blobs[name]
    place.process().create_tenant(TENANT)
    assert place.process().profile(TENANT).forms == FORMS


@pytest.mark.parametrize("changed", [b'"forms":1', b'"number":2'])
def test_who_writes_beside_the_kms_cannot_change_a_profile(place: Place, changed: bytes) -> None:
    """A level that fell unnoticed would store again in clear what the newer form hides."""
    place.vault.create_tenant(TENANT)
    name = profile_name(TENANT, 1)
    for old in (b'"forms":2', b'"number":1'):
        if old[:8] == changed[:8]:
            place.ring.blobs[name] = place.ring.blobs[name].replace(old, changed)
    with pytest.raises(EntryCorruptError, match="may not"):
        place.process().profile(TENANT)


def test_a_profile_counts_in_its_place_alone(place: Place) -> None:
    """An older number put forward, another tenant's, or a proof of something else."""
    place.vault.create_tenant(TENANT)
    blobs = place.ring.blobs
    blobs[profile_name(TENANT, 2)] = blobs[profile_name(TENANT, 1)]
    with pytest.raises(EntryCorruptError):
        place.process().profile(TENANT)
    blobs[profile_name(Tenant("acme"), 1)] = blobs.pop(profile_name(TENANT, 2))
    with pytest.raises(EntryCorruptError):
        place.process().profile(Tenant("acme"))
    content = packed(TenantProfile(number=2, forms=1))
    blobs[profile_name(TENANT, 2)] = content + blobs[f"pepper.{TENANT}"]
    with pytest.raises(EntryCorruptError):
        place.process().profile(TENANT)
    blobs[profile_name(TENANT, 2)] = b""
    with pytest.raises(EntryCorruptError):
        place.process().profile(TENANT)


def test_no_bit_of_a_profile_may_change(tmp_path: Path) -> None:
    vault = Vault(LocalKms(tmp_path), FileRing(tmp_path))
    vault.create_tenant(TENANT, ("as-written",), AT)
    path = tmp_path / "ring" / profile_name(TENANT, 1)
    whole = path.read_bytes()
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        with pytest.raises((EntryCorruptError, NewerFormError)):
            Vault(LocalKms(tmp_path), FileRing(tmp_path)).profile(TENANT)
    path.write_bytes(whole)
    assert Vault(LocalKms(tmp_path), FileRing(tmp_path)).profile(TENANT).forms == FORMS


def later(number: int, **fields: object) -> Callable[[Place], None]:
    """A profile that a later release writes."""

    def write(place: Place) -> None:
        name = profile_name(TENANT, number)
        content = packed(replace(place.vault.profile(TENANT), number=number))
        raw = json.dumps(json.loads(content[5:]) | fields).encode()
        content = content[:1] + len(raw).to_bytes(4, "big") + raw
        proof = place.kms.wrap(VOUCHES_PROFILES, type(place.vault.pepper(TENANT))(digest(name, content)))
        place.ring.blobs[name] = content + proof

    return write


@pytest.mark.parametrize("fields", [{"v": 2}, {"v": 2, "forms": "new"}, {"forms": FORMS + 1}])
def test_a_later_releases_profile_halts(place: Place, fields: dict[str, object]) -> None:
    """Its level says that stored forms are written which this release cannot read."""
    place.vault.create_tenant(TENANT)
    later(2, **fields)(place)
    with pytest.raises(NewerFormError, match="a later release wrote it"):
        place.process().profile(TENANT)
    place.ring.blobs[profile_name(TENANT, 2)] = b"\x02" + bytes(8)
    with pytest.raises(NewerFormError):
        place.process().profile(TENANT)


def test_rules_of_identity_of_a_later_release_halt(place: Place) -> None:
    """By rules that this release does not know nobody would be found."""
    place.vault.create_tenant(TENANT)
    later(2, identity=["marks", "thumbs"])(place)
    with pytest.raises(EntryCorruptError, match="thumbs"):
        place.process().profile(TENANT)


def test_a_later_releases_fields_are_kept_in_a_profile_that_is_written_anew(place: Place) -> None:
    place.older().vault.upgrade(TENANT, ("as-written",), AT)
    later(2, forms=1, shards={"by": [1, 2.5]}, signers={"audit": "x", "later": "y"})(place)
    process = place.process()
    process._profiles._seen.clear()
    done = process.upgrade(TENANT, ("ignored",), AT)
    raw = place.ring.blobs[profile_name(TENANT, 3)]
    assert b'"shards":{"by": [1, 2.5]}' in raw, "byte for byte"
    assert (done.forms, done.number, done.identity, done.signers["later"]) == (FORMS, 3, ("as-written",), "y")


async def test_a_running_worker_follows_an_upgrade_with_the_next_refresh(place: Place) -> None:
    worker = place.older().process()
    assert worker.profile(TENANT).forms == 1
    place.vault.upgrade(TENANT)
    assert worker.profile(TENANT).forms == 1
    await worker.refresh()
    assert worker.profile(TENANT).forms == FORMS


async def test_the_next_unit_follows_an_upgrade(place: Place) -> None:
    """Its reading of the keystore tells it: nobody writes the older form for a whole life of the cache."""
    ring = place.keyring(place.older().process())
    place.keystore.entries |= {
        GUARD_KEY: guard_entry(place.vault.guard_id(), 7),
        EPOCH_KEY: b"2026-W48",
        guarded_key(0): b"memory",
    }
    await ring.view([])
    assert ring.forms == 1
    place.vault.upgrade(TENANT)
    await place.keyring(place.vault).guard.tell_profile()
    await ring.view([])
    assert ring.forms == FORMS
    guard = read_guard(place.keystore.entries[GUARD_KEY])
    assert guard is not None
    assert (guard.counter, guard.profile) == (7, 1)


async def test_a_profile_that_was_rolled_back_is_waited_for(place: Place) -> None:
    """Whoever removes it, or puts an older copy of the folder in its place, does not lower the level."""
    place.vault.create_tenant(TENANT)
    place.keystore.entries |= {
        GUARD_KEY: guard_entry(place.vault.guard_id(), 7, 1),
        EPOCH_KEY: b"2026-W48",
        guarded_key(0): b"memory",
    }
    blob = place.ring.blobs.pop(profile_name(TENANT, 1))
    ring = place.keyring(place.process())
    with pytest.raises(KmsSilentError, match="profile 0 of iocom, and the keystore knows 1"):
        await ring.view([])
    place.ring.blobs[profile_name(TENANT, 1)] = blob
    assert await ring.view([])
    assert ring.forms == FORMS


async def test_every_heartbeat_tells_the_newest_profile(place: Place) -> None:
    """An upgrade that was cut short before it reached the keystore, or a keystore restored from before it."""
    place.vault.create_tenant(TENANT)
    place.keystore.entries |= {GUARD_KEY: guard_entry(place.vault.guard_id(), 7), guarded_key(0): b"memory"}
    assert await place.keyring(place.vault).guard.raise_counter() == 8
    guard = read_guard(place.keystore.entries[GUARD_KEY])
    assert guard is not None
    assert (guard.counter, guard.profile) == (8, 1)


async def test_the_guard_stays_in_its_first_form_for_a_tenant_of_the_first_release(place: Place) -> None:
    """Workers of that release beside this one would halt at another."""
    place.older()
    place.keystore.entries |= {GUARD_KEY: guard_entry(place.vault.guard_id(), 7), guarded_key(0): b"memory"}
    await place.keyring(place.vault).guard.raise_counter()
    await place.keyring(place.vault).guard.raise_floor()
    assert place.keystore.entries[GUARD_KEY] == guard_entry(place.vault.guard_id(), 9)
    assert len(place.keystore.entries[GUARD_KEY]) == 25


async def test_counters_are_as_wide_as_the_forms_allow(place: Place) -> None:
    """Generations take their floor from the counter: one that they cannot hold is nobody's."""
    wide, narrow = (1 << 32) + 5, (1 << 32) - 5
    for forms, vault in ((1, place.older().vault), (2, Place().vault)):
        if forms == 2:
            vault.create_tenant(TENANT)
        guard = place.keyring(vault).guard
        guard.saw(narrow)
        guard.saw(wide)
        guard.saw(1 << 64)
        assert guard.seen == (narrow if forms == 1 else wide)


async def test_what_a_later_minor_release_puts_into_the_guard_stays(place: Place) -> None:
    place.vault.create_tenant(TENANT)
    place.keystore.entries[GUARD_KEY] = guard_entry(place.vault.guard_id(), 7, 1, b"more")
    place.keystore.entries[guarded_key(0)] = b"memory"
    await place.keyring(place.vault).guard.raise_counter()
    assert place.keystore.entries[GUARD_KEY] == guard_entry(place.vault.guard_id(), 8, 1, b"more")


async def test_a_later_major_guard_halts(place: Place) -> None:
    place.vault.create_tenant(TENANT)
    place.keystore.entries[GUARD_KEY] = b"\x03" + guard_entry(place.vault.guard_id(), 7, 1)[1:]
    with pytest.raises(NewerFormError, match="guard entry has the version 3"):
        await place.keyring(place.vault).view([])
    for broken in (b"", b"\x01short", b"\x00" + bytes(24), guard_entry(bytes(16), 7)):
        place.keystore.entries[GUARD_KEY] = broken
        with pytest.raises(GuardMovedError):
            await place.keyring(place.vault).view([])


def test_the_stored_forms_of_level_2_are_as_they_were() -> None:
    assert vectors() == GOLDEN
