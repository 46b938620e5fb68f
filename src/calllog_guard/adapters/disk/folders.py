"""
What lies in a folder lies there after a power cut: a new name, a name that was replaced, and one that is gone.

A file that is synced can be lost with its name, and one that was removed can come back: names are the folder's content.
Source: fsync(2): syncing a file does not sync the entry in the folder that holds it.
"""

import os
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Make a folder's names durable; where the system cannot open a folder nothing happens."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path, mode: int = 0o700) -> None:
    """Make a folder and those above it that are missing, durably."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True, mode=mode)
    for each in missing:
        sync_folder(each.parent)
