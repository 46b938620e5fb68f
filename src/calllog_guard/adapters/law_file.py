"""
Which law this machine has followed: the day of its newest version, so that nothing here begins under an older one.

What a topic has lost nobody can read from it; this does not depend on the topic. Only ever raised.
"""

import contextlib
import secrets
from datetime import date
from pathlib import Path
from typing import Final

import structlog

from calllog_guard.errors import ConfigurationError, NewerFormError

log: Final = structlog.get_logger()
_FORM: Final = 1
"""The version of the file's form; behind it the day."""


class SeenLaw:
    """One file; several workers of a machine may keep it at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept: date | None = None

    def newest(self) -> date | None:
        """
        The day of the newest version that was followed here; None: none was.

        Raises:
            ConfigurationError: The file is none of ours.
            NewerFormError: A later release wrote it.

        """
        try:
            form, _, day = self._path.read_text("ascii").partition(" ")
            if int(form) > _FORM:
                raise NewerFormError(str(self._path), int(form), _FORM)
            found = date.fromisoformat(day.strip()) if int(form) == _FORM else None
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            found = None
        if found is None:
            raise ConfigurationError(f"{self._path} cannot be read as the day of a policy version: mend or delete it")
        return found

    def keep(self, day: date) -> None:
        """A version is followed; who cannot write goes on without, and says so once."""
        if self._kept is not None and day <= self._kept:
            return
        self._kept = day
        draft = self._path.with_name(f".{self._path.name}.{secrets.token_hex(4)}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if (self.newest() or date.min) < day:
                draft.write_text(f"{_FORM} {day}\n", "ascii")
                draft.replace(self._path)
        except OSError as error:
            log.warning("the followed policy version is not remembered on this machine", why=error.strerror)
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)
