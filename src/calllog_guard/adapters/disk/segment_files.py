"""
A partition as it lies on a broker's disk: segments, and what the cleaner, a move or a deletion left by another name.

Rules: 1. Files are listed again until none is new: a file renamed meanwhile hides nothing.  2. A log directory that was
       named and cannot be read is no proof of anything: nothing is concluded.
"""

import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from calllog_guard.adapters.disk.segment_search import Search
from calllog_guard.core.audit.absence import Look
from calllog_guard.errors import LogSilentError

_LISTINGS: Final = 8


@dataclass(frozen=True, slots=True)
class Replica:
    """One log directory's share of a partition: its live folder, and those on their way in or out."""

    directory: Path
    name: str

    @property
    def live(self) -> bool:
        """Whether the directory holds the partition itself, not only what a move or a deletion has left of it."""
        return (self.directory / self.name).is_dir()

    def files(self) -> list[Path]:
        """Every file in every folder now."""
        found: list[Path] = []
        for folder in (self.directory / self.name, *sorted(self.directory.glob(f"{self.name}.*"))):
            with suppress(FileNotFoundError, NotADirectoryError):
                found += sorted(folder.iterdir())
        return found


def replicas(log_dirs: list[Path], topic: str, partition: int) -> list[Replica]:
    """
    Which of some log directories hold anything of a partition.

    Raises:
        LogSilentError: A directory that was named cannot be read.

    """
    name = f"{topic}-{partition}"
    found = []
    for directory in log_dirs:
        try:
            entries = [each.name for each in directory.iterdir()]
        except OSError as error:
            raise LogSilentError(
                f"the log directory {directory} cannot be read ({type(error).__name__}): "
                "let the auditor read it, or take it out of CALLLOG_GUARD_LOG_DIRS"
            ) from None
        if any(each == name or each.startswith(f"{name}.") for each in entries):
            found.append(Replica(directory, name))
    return found


def look_at_replica(replica: Replica, names: list[bytes]) -> Look:
    """
    What one replica's files show of some pseudonyms; each file is read once, whatever it is called by then.

    Raises:
        LogSilentError: A file cannot be read.

    """
    search = Search(names)
    search.look.live = replica.live
    known = _Known()
    try:
        for _ in range(_LISTINGS):
            fresh = sum(_read(path, known, search) for path in replica.files())
            if not fresh:
                return search.look
    except OSError as error:
        raise LogSilentError(f"a file of {replica.name} cannot be read ({type(error).__name__})") from None
    search.look.unread += 1  # files came faster than they could be read
    return search.look


@dataclass(slots=True)
class _Known:
    """Which files were read: by inode and time, as names change; by inode and name with the size, as one file grows."""

    versions: set[tuple[int, int]] = field(default_factory=set)
    sizes: dict[tuple[int, str], int] = field(default_factory=dict)

    def new(self, name: str, state: os.stat_result) -> bool:
        """Whether a file was not read; what was appended to one since is younger than what we look for."""
        version, place = (state.st_ino, state.st_mtime_ns), (state.st_ino, name)
        if version in self.versions or state.st_size >= self.sizes.get(place, state.st_size + 1):
            return False
        self.versions.add(version)
        self.sizes[place] = state.st_size
        return True


def _read(path: Path, known: _Known, search: Search) -> bool:
    """Read a file that is new; one that has vanished is passed over: what took its place is in the next listing."""
    with suppress(FileNotFoundError, IsADirectoryError), path.open("rb") as file:
        # asked of the open file: what the name meant when it was listed may be another file by now
        if known.new(path.name, os.fstat(file.fileno())):
            search.file(file, segment=".log" in path.name)
            return True
    return False
