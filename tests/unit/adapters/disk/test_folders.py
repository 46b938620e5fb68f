"""What lies in a folder survives a power cut: the folder is synced after every new name, and every one that goes."""

import os
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from calllog_guard.adapters.disk.policy_floor import SeenLaw
from calllog_guard.adapters.disk.private_files import write_once
from calllog_guard.adapters.kms.local import FileRing, LocalKms, write_new

Done = Callable[[Path], object]


def destroyed(folder: Path) -> None:
    """An epoch's key is made and destroyed."""
    kms = LocalKms(folder)
    kms.create_epoch("2026-W48")
    kms.destroy_epoch("2026-W48")


WAYS: dict[str, tuple[Done, str]] = {
    "a key": (lambda folder: write_new(folder / "a" / "key", b"k"), "a"),
    "the folder of a key": (lambda folder: write_new(folder / "a" / "key", b"k"), ""),
    "a wrapped key": (lambda folder: FileRing(folder).put_new("epoch.x", b"b"), "ring"),
    "an epoch's key that goes": (destroyed, "epochs"),
    "a page": (lambda folder: write_once(folder / "page", [b"x"]), ""),
    "the law that was seen": (lambda folder: SeenLaw(folder / "state" / "law").keep((date(2026, 11, 1), 1)), "state"),
}


@pytest.mark.parametrize("what", sorted(WAYS))
def test_a_folder_is_synced_behind_what_changes_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    do, name = WAYS[what]
    seen: list[tuple[Path, frozenset[str]]] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        place = Path(f"/proc/self/fd/{descriptor}").readlink()
        if place.is_dir():
            seen.append((place, frozenset(each.name for each in place.iterdir())))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    do(tmp_path)
    folder = tmp_path / name
    last = [names for place, names in seen if place == folder][-1:]
    assert last == [frozenset(each.name for each in folder.iterdir())], "synced last as it is left"
