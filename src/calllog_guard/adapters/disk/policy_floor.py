"""
Which policy this machine has followed: its newest version by day and revision; nothing here begins under an older.

What a topic has lost nobody can read from it; this does not depend on the topic. Only ever raised.
"""

import contextlib
import os
import secrets
from datetime import date
from pathlib import Path
from typing import Final

import structlog

from calllog_guard.adapters.disk.folders import make_folder, sync_folder
from calllog_guard.errors import ConfigurationError, NewerFormError

log: Final = structlog.get_logger()
_FORM, _REVISED = "1", "2"
"""The version of the file's form: behind it the day, or of what was corrected on its day the day and the revision."""
Order = tuple[date, int]
"""See Version.order."""


class SeenLaw:
    """One file; several workers of a machine may keep it at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept: Order | None = None

    def newest(self) -> Order | None:
        """
        Day and revision of the newest version that was followed here; None: none was.

        Raises:
            ConfigurationError: The file is none of ours.
            NewerFormError: A later release wrote it.

        """
        try:
            text = self._path.read_text("ascii")
            form = text.partition(" ")[0]
            if form.isdigit() and int(form) > int(_REVISED):
                raise NewerFormError(str(self._path), int(form), int(_REVISED))
            found = _read(text)
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            raise ConfigurationError(
                f"{self._path} cannot be read as the day of a policy version: mend or delete it"
            ) from None
        return found

    def keep(self, order: Order) -> None:
        """A version is followed; who cannot write goes on without, and says so once."""
        if self._kept is not None and order <= self._kept:
            return
        self._kept = order
        draft = self._path.with_name(f".{self._path.name}.{secrets.token_hex(4)}")
        try:
            make_folder(self._path.parent)
            if (self.newest() or (date.min, 0)) < order:
                with draft.open("x", encoding="ascii") as file:
                    file.write(_written(*order))
                    file.flush()
                    os.fsync(file.fileno())
                draft.replace(self._path)
                sync_folder(self._path.parent)
        except OSError as error:
            log.warning("the followed policy version is not remembered on this machine", why=error.strerror)
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)


def _read(text: str) -> Order:
    form, day, *revision = text.split()
    if (form, len(revision)) not in {(_FORM, 0), (_REVISED, 1)}:
        raise ValueError(form)
    return date.fromisoformat(day), int(revision[0]) if revision else 1


def _written(day: date, revision: int) -> str:
    return f"{_REVISED} {day} {revision}\n" if revision > 1 else f"{_FORM} {day}\n"
