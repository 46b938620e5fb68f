"""
A KMS of files, for development: one file per epoch, readable by its owner only; wrapped blobs beside it.

The key of a trust domain lies in a folder of its own beside `epochs`, which can belong to that domain's user alone.
AES-256-GCM with a random nonce; the epoch's name is the AAD.
"""

import os
import secrets
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from calllog_guard.adapters.disk.folders import make_folder, sync_folder
from calllog_guard.core.crypto.subject_secrets import Secret
from calllog_guard.core.rights.grants import DOMAIN_KEY
from calllog_guard.errors import EntryCorruptError, EpochUnknownError, KmsForbiddenError, KmsSilentError

_NONCE: Final = 12


def write_new(path: Path, content: bytes) -> bool:
    """Create a file that only its owner reads, whole or not at all; False when there is one."""
    make_folder(path.parent)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        return False
    finally:
        draft.unlink()
        sync_folder(path.parent)
    return True


class LocalKms:
    """See Kms."""

    delay_days: Final = 0

    def __init__(self, directory: Path) -> None:
        self._directory = directory / "epochs"

    def _path(self, name: str) -> Path:
        domain = name.removeprefix(DOMAIN_KEY)
        return self._directory.parent / domain / "root" if domain != name else self._directory / name

    def create_epoch(self, name: str) -> None:
        """See Kms."""
        write_new(self._path(name), secrets.token_bytes(32))

    def _key(self, name: str) -> bytes:
        try:
            return self._path(name).read_bytes()
        except FileNotFoundError:
            if name.startswith(DOMAIN_KEY):
                raise KmsForbiddenError(f"the key {name} is none of this user's") from None
            raise EpochUnknownError(f"the KMS does not know the epoch {name}") from None
        except PermissionError:
            raise KmsForbiddenError(f"the key {name} is none of this user's") from None
        except OSError:
            raise KmsSilentError("the KMS does not answer") from None

    def wrap(self, name: str, secret: Secret) -> bytes:
        """See Kms."""
        nonce = secrets.token_bytes(_NONCE)
        return nonce + AESGCM(self._key(name)).encrypt(nonce, secret.expose(), name.encode())

    def unwrap(self, name: str, blob: bytes) -> Secret:
        """See Kms."""
        try:
            return Secret(AESGCM(self._key(name)).decrypt(blob[:_NONCE], blob[_NONCE:], name.encode()))
        except (InvalidTag, ValueError):
            raise EntryCorruptError(f"a blob wrapped under {name} does not open") from None

    def epochs(self) -> list[str]:
        """See Kms."""
        return sorted(path.name for path in self._directory.glob("[!.]*"))

    def destroy_epoch(self, name: str) -> None:
        """See Kms."""
        path = self._path(name)
        path.unlink(missing_ok=True)
        if path.parent.exists():
            sync_folder(path.parent)


class FileRing:
    """A folder, on a disk that every machine shares where there are several; a blob is written once, whole."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory / "ring"

    def get(self, name: str) -> bytes | None:
        """See Ring."""
        try:
            return (self._directory / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise KmsSilentError(f"the folder of wrapped keys does not answer: {error.strerror}") from None

    def put_new(self, name: str, blob: bytes) -> bool:
        """See Ring."""
        try:
            return write_new(self._directory / name, blob)
        except OSError as error:
            raise KmsSilentError(f"the folder of wrapped keys takes nothing: {error.strerror}") from None

    def remove(self, name: str) -> None:
        """See Ring."""
        try:
            (self._directory / name).unlink(missing_ok=True)
            sync_folder(self._directory)
        except OSError as error:
            raise KmsSilentError(f"the folder of wrapped keys removes nothing: {error.strerror}") from None
