"""
The journal of an import as files that only their owner reads: the manifest so far, and the places of what was refused.

Rules: 1. The manifest is replaced whole, after its counted places are on disk.  2. Bytes beyond its count are of a
       batch that was not settled, and is cut.  3. One process at a time.
"""

import fcntl
import os
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import msgspec

from calllog_guard.adapters.disk.folders import make_folder, sync_folder
from calllog_guard.core.calls.import_journal import MANIFESTS, Batch, Manifest, advanced
from calllog_guard.core.codec import decode, encode
from calllog_guard.errors import MessageError, StateRefusedError


def _new(path: Path) -> IO[bytes]:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")


class Journal:
    """One import's journal in a directory; `name` tells the source, the options and the list of erased people apart."""

    def __init__(self, directory: Path, name: str) -> None:
        make_folder(directory)
        self._path = directory / f"{name}.journal.json"
        self._places = directory / f"{name}.refused.ndjson"
        self.manifest_path = directory / f"{name}.manifest.json"
        self._descriptor = -1

    def __enter__(self) -> Self:
        """
        Take the journal.

        Raises:
            StateRefusedError: Another process has it.

        """
        self._descriptor = os.open(self._places, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._descriptor)
            raise StateRefusedError("this import is running already: wait for it, or stop it") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go."""
        os.close(self._descriptor)

    def load(self) -> Manifest | None:
        """
        How far the import is; None when it has not begun.

        Raises:
            StateRefusedError: The file is none of ours.

        """
        if not self._path.exists():
            os.truncate(self._descriptor, 0)
            return None
        try:
            manifest = decode(MANIFESTS, self._path.read_bytes())
        except MessageError as error:
            raise StateRefusedError(f"the journal {self._path.name} cannot be read ({error}): delete it") from None
        os.truncate(self._descriptor, manifest.refused_bytes)
        return manifest

    def forget(self) -> None:
        """Begin anew."""
        self._path.unlink(missing_ok=True)

    def add(self, manifest: Manifest, batch: Batch) -> Manifest:
        """Keep what a settled batch adds; durable on return."""
        lines = b"".join(msgspec.json.encode(each) + b"\n" for each in batch.refused)
        if lines:
            with os.fdopen(os.dup(self._descriptor), "ab") as places:
                places.write(lines)
            os.fsync(self._descriptor)
        manifest = advanced(manifest, batch, manifest.refused_bytes + len(lines))
        self.save(manifest)
        return manifest

    def save(self, manifest: Manifest) -> None:
        """Keep the manifest so far."""
        draft = self._path.with_suffix(".draft")
        with _new(draft) as file:
            file.write(encode(manifest))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path)
        sync_folder(self._path.parent)

    def finish(self, manifest: Manifest, at: datetime) -> Manifest:
        """Write the finished manifest, with the place of everything that was refused, in bounded memory."""
        manifest = msgspec.structs.replace(manifest, finished_at=at)

        draft = self.manifest_path.with_suffix(".draft")
        with _new(draft) as file, self._places.open("rb") as places:
            file.write(encode(manifest)[:-1] + b',"refused_at":[')
            comma = b"\n"
            for line in places:
                file.write(comma + line.rstrip(b"\n"))
                comma = b",\n"
            file.write(b"\n]}\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.manifest_path)
        sync_folder(self.manifest_path.parent)
        self.save(manifest)
        return manifest
