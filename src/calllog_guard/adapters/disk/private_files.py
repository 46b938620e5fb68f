"""Files that are written for their owner alone: whole or not at all, and never over another."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from calllog_guard.adapters.disk.folders import sync_folder
from calllog_guard.errors import StateRefusedError


def write_once(path: Path, content: Iterable[bytes]) -> str:
    """
    Write a file that only the owner may read, whole or not at all; its SHA-256 in hexadecimal.

    Raises:
        StateRefusedError: There is another one already.

    """
    beside, digest = path.with_name(f".{path.name}.new"), hashlib.sha256()
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        for piece in content:
            digest.update(piece)
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    try:
        path.hardlink_to(beside)
    except FileExistsError:
        if path.is_symlink() or not path.is_file() or _sum(path) != digest.hexdigest():
            raise StateRefusedError(f"there is another {path} already: take it away, or name another folder") from None
    finally:
        beside.unlink()
        sync_folder(path.parent)
    return digest.hexdigest()


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
