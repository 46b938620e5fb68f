"""
The KMS's contract, on the fake, on files, on AWS (moto's server) and on Vault.

Vault is the recorded double, or with `VAULT_REAL=1` (`make vault`) a real server; every test is the same on both.
"""

import os
import secrets
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import hvac
import pytest
from botocore.exceptions import ClientError
from hvac.exceptions import InvalidRequest
from moto.server import ThreadedMotoServer
from vault_double import VaultDouble
from vault_server import VaultServer

from calllog_guard.adapters.kms.aws import AwsKms
from calllog_guard.adapters.kms.local import FileRing
from calllog_guard.adapters.kms.schemes import kms_at, ring_folder
from calllog_guard.adapters.memory.fakes import MemoryKms, MemoryRing
from calllog_guard.core.crypto.subject_secrets import Secret
from calllog_guard.errors import ConfigurationError, EntryCorruptError, EpochUnknownError, GuardError, KmsSilentError
from calllog_guard.ports.keys import Kms, Ring

REGION = "eu-west-2"


@pytest.fixture(scope="session")
def aws() -> Iterator[str]:
    """The address of moto's server."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        yield f"{host}:{port}"
        server.stop()


@pytest.fixture(scope="session")
def vault() -> Iterator[str]:
    """The address of a Vault, whose token is in the environment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VAULT_TOKEN", "test-root")
        server = VaultServer("test-root") if os.environ.get("VAULT_REAL") else VaultDouble("test-root")
        yield server.url.removeprefix("http://")
        server.stop()


@pytest.fixture
def prefix() -> str:
    """Keys of one test alone."""
    return f"t{secrets.token_hex(4)}"


@pytest.fixture(params=["memory", "local", "aws", "vault"])
def kms(request: pytest.FixtureRequest, prefix: str, tmp_path: Path) -> Kms:
    """One of the four."""
    match request.param:
        case "memory":
            return MemoryKms()
        case "local":
            return kms_at(f"local:{tmp_path}")
        case "aws":
            return kms_at(f"awskms://{request.getfixturevalue('aws')}?region={REGION}&prefix={prefix}&tls=off")
    return kms_at(f"vault://{request.getfixturevalue('vault')}?snapshots=3&prefix={prefix}&tls=off")


def test_what_was_wrapped_comes_back_and_no_blob_shows_it(kms: Kms) -> None:
    secret = Secret.mint()
    kms.create_epoch("2026-W48")
    blob = kms.wrap("2026-W48", secret)
    assert kms.unwrap("2026-W48", blob) == secret
    assert secret.expose() not in blob
    assert kms.wrap("2026-W48", secret) != blob


def test_making_an_epoch_again_keeps_its_key(kms: Kms) -> None:
    """Two auditors may meet the same due date."""
    secret = Secret.mint()
    kms.create_epoch("2026-W48")
    blob = kms.wrap("2026-W48", secret)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(kms.create_epoch, ["2026-W48"] * 4))
        list(threads.map(kms.create_epoch, ["2026-W49"] * 4))
    assert kms.unwrap("2026-W48", blob) == secret
    assert kms.unwrap("2026-W49", kms.wrap("2026-W49", secret)) == secret
    assert kms.epochs() == ["2026-W48", "2026-W49"]


def test_an_unknown_epoch_is_refused_and_not_made_by_asking(kms: Kms) -> None:
    """Transit makes a missing key when it encrypts: a destroyed epoch would come back."""
    kms.create_epoch("2026-W48")
    blob = kms.wrap("2026-W48", Secret.mint())
    with pytest.raises(EpochUnknownError, match="2026-W49"):
        kms.wrap("2026-W49", Secret.mint())
    with pytest.raises(EpochUnknownError, match="2026-W49"):
        kms.unwrap("2026-W49", blob)
    assert kms.epochs() == ["2026-W48"]


def test_a_destroyed_epoch_opens_nothing_and_others_live_on(kms: Kms) -> None:
    secret = Secret.mint()
    for name in ("2026-W48", "2026-W49"):
        kms.create_epoch(name)
    gone, stays = kms.wrap("2026-W48", secret), kms.wrap("2026-W49", secret)
    kms.destroy_epoch("2026-W48")
    kms.destroy_epoch("2026-W48")
    with pytest.raises(EpochUnknownError):
        kms.unwrap("2026-W48", gone)
    with pytest.raises(EpochUnknownError):
        kms.wrap("2026-W48", secret)
    assert kms.unwrap("2026-W49", stays) == secret
    assert kms.epochs() == ["2026-W49"]


def test_an_epoch_that_is_made_again_does_not_open_what_was_before(kms: Kms) -> None:
    kms.create_epoch("2026-W48")
    blob = kms.wrap("2026-W48", Secret.mint())
    kms.destroy_epoch("2026-W48")
    kms.create_epoch("2026-W48")
    with pytest.raises(GuardError):  # moto refuses access where AWS names the key as the wrong one
        kms.unwrap("2026-W48", blob)


def test_a_changed_blob_or_another_epochs_does_not_open(kms: Kms) -> None:
    for name in ("2026-W48", "2026-W49"):
        kms.create_epoch(name)
    blob = kms.wrap("2026-W48", Secret.mint())
    changed = blob[:-6] + bytes([blob[-6] ^ 1]) + blob[-5:]
    for name, wrong in (("2026-W48", changed), ("2026-W48", b"\xff"), ("2026-W49", blob)):
        with pytest.raises(EntryCorruptError, match=name):
            kms.unwrap(name, wrong)


def test_a_silent_kms_is_told_from_an_unknown_epoch(kms: Kms, tmp_path: Path) -> None:
    """Silence must never look like destruction, nor the other way round."""
    silent: Kms
    match kms:
        case MemoryKms():
            silent = kms
            kms.silent = True
        case AwsKms():
            silent = kms_at(f"awskms://127.0.0.1:1?region={REGION}&tls=off")
        case _ if kms.delay_days:
            silent = kms_at("vault://127.0.0.1:1?snapshots=0&tls=off")
        case _:
            (tmp_path / "epochs" / "2026-W48").mkdir(parents=True)  # cannot be read as a file, by root neither
            silent = kms
    with pytest.raises(KmsSilentError):
        silent.unwrap("2026-W48", b"x" * 40)


def test_aws_binds_the_epoch_as_encryption_context(aws: str, prefix: str) -> None:
    kms = kms_at(f"awskms://{aws}?region={REGION}&prefix={prefix}&tls=off")
    kms.create_epoch("2026-W48")
    blob = kms.wrap("2026-W48", Secret.mint())
    client: Any = boto3.client("kms", region_name=REGION, endpoint_url=f"http://{aws}")
    for context in ({}, {"calllog-guard": prefix, "epoch": "2026-W49"}):
        with pytest.raises(ClientError, match="InvalidCiphertext"):
            client.decrypt(CiphertextBlob=blob, EncryptionContext=context)


def test_aws_disables_at_once_and_deletes_within_the_delay_that_receipts_count(aws: str, prefix: str) -> None:
    kms = kms_at(f"awskms://{aws}?region={REGION}&prefix={prefix}&tls=off")
    kms.create_epoch("2026-W48")
    client: Any = boto3.client("kms", region_name=REGION, endpoint_url=f"http://{aws}")
    key = client.describe_key(KeyId=f"alias/{prefix}/2026-W48")["KeyMetadata"]
    kms.destroy_epoch("2026-W48")
    left = client.describe_key(KeyId=key["KeyId"])["KeyMetadata"]
    assert (left["KeyState"], left["Enabled"]) == ("PendingDeletion", False)
    assert round((left["DeletionDate"] - key["CreationDate"]).total_seconds() / 86400) == kms.delay_days == 7


def test_aws_finishes_a_destruction_that_was_cut_short(aws: str, prefix: str) -> None:
    """The alias goes last, so the walk sees the epoch again and repeats (moto lets a disabled key work)."""
    kms = kms_at(f"awskms://{aws}?region={REGION}&prefix={prefix}&tls=off")
    kms.create_epoch("2026-W48")
    client: Any = boto3.client("kms", region_name=REGION, endpoint_url=f"http://{aws}")
    key = client.describe_key(KeyId=f"alias/{prefix}/2026-W48")["KeyMetadata"]["KeyId"]
    client.disable_key(KeyId=key)
    assert kms.epochs() == ["2026-W48"]
    kms.destroy_epoch("2026-W48")
    assert client.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "PendingDeletion"
    assert kms.epochs() == []


def test_vault_binds_the_epoch_as_context(vault: str, prefix: str) -> None:
    kms = kms_at(f"vault://{vault}?snapshots=3&prefix={prefix}&tls=off")
    kms.create_epoch("2026-W48")
    blob = kms.wrap("2026-W48", Secret.mint()).decode()
    transit = hvac.Client(url=f"http://{vault}").secrets.transit
    for context in (None, b64encode(b"another/2026-W49").decode()):
        with pytest.raises(InvalidRequest):
            transit.decrypt_data(f"{prefix}-2026-W48", ciphertext=blob, context=context)


def test_vault_allows_deletion_only_for_the_deletion(vault: str, prefix: str) -> None:
    kms = kms_at(f"vault://{vault}?snapshots=3&prefix={prefix}&tls=off")
    kms.create_epoch("2026-W48")
    transit = hvac.Client(url=f"http://{vault}").secrets.transit
    with pytest.raises(InvalidRequest, match="deletion is not allowed"):
        transit.delete_key(f"{prefix}-2026-W48")
    assert kms.delay_days == 3


def test_a_lapsed_vault_token_means_wait_and_a_renewed_file_is_read_afresh(vault: str, tmp_path: Path) -> None:
    token = tmp_path / "token"
    kms = kms_at(f"vault://{vault}?snapshots=0&tls=off&token_file={token}")
    with pytest.raises(KmsSilentError, match="token"):
        kms.epochs()
    token.write_text("lapsed\n")
    with pytest.raises(KmsSilentError, match="Forbidden"):
        kms.epochs()
    token.write_text("test-root\n")
    kms.create_epoch("2026-W48")


@pytest.mark.parametrize(
    ("address", "word"),
    [
        ("gcpkms:x", "schemes"),
        ("awskms:", "region"),
        ("awskms://kms.example.net?region=x&tls=off", "this machine"),
        ("awskms:eu-west-2?regoin=x", "regoin"),
        ("vault://vault.example.net:8200", "snapshots"),
        ("vault:?snapshots=1", "host"),
    ],
)
def test_a_wrong_address_is_refused_with_what_to_write(address: str, word: str) -> None:
    with pytest.raises(ConfigurationError, match=word):
        kms_at(address)


def test_a_remote_kms_needs_a_folder_for_wrapped_keys() -> None:
    assert ring_folder("local:here", "") == Path("here")
    assert ring_folder("awskms:eu-west-2", "/shared/ring") == Path("/shared/ring")
    with pytest.raises(ConfigurationError, match="CALLLOG_GUARD_RING"):
        ring_folder("awskms:eu-west-2", "")


@pytest.fixture(params=["memory", "file"])
def ring(request: pytest.FixtureRequest, tmp_path: Path) -> Ring:
    """One of the two."""
    return MemoryRing() if request.param == "memory" else FileRing(tmp_path)


def test_a_ring_takes_a_name_once(ring: Ring) -> None:
    assert ring.get("guard") is None
    assert ring.put_new("guard", b"first")
    assert not ring.put_new("guard", b"second")
    assert ring.get("guard") == b"first"


def test_a_ring_that_cannot_be_read_is_silent_not_empty(tmp_path: Path) -> None:
    """A shared disk that fell away must not look like a tenant that was never made."""
    (tmp_path / "ring" / "guard").mkdir(parents=True)
    with pytest.raises(KmsSilentError):
        FileRing(tmp_path).get("guard")
    (tmp_path / "other").write_text("no folder")
    with pytest.raises(KmsSilentError):
        FileRing(tmp_path / "other").put_new("guard", b"x")
