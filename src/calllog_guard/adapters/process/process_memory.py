"""
What the operating system may do with the memory of this process: no core dump, no look by the same user's others.

Rules: 1. Both are set before anything is opened, in every process of ours; foreign children get no core dump either.
       2. Without such a setting (`dumpable` is Linux's), the limit of core files is all there is, and doctor says so.
       3. Memory is not locked: RocksDB and the fetched records would have to be, too. Doctor warns of swap instead.
Source: prctl(2), PR_SET_DUMPABLE; setrlimit(2), RLIMIT_CORE; core(5): a dump through a pipe heeds the first alone.
"""

import ctypes
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

_PR_GET_DUMPABLE: Final = 3
_PR_SET_DUMPABLE: Final = 4
_SWAPS: Final = Path("/proc/swaps")
_IN_MEMORY: Final = "/dev/zram"
_C: Final[Any] = ctypes.CDLL(None) if os.name == "posix" else None
"""The C library of this process."""


def _prctl(option: int, value: int = 0) -> int | None:
    """The kernel's answer; None where there is no such call."""
    call = getattr(_C, "prctl", None)
    return None if call is None else int(call(option, value, 0, 0, 0))


def close() -> None:
    """Leave no core dump, and let nobody but root look into this process."""
    with suppress(ImportError):
        import resource  # noqa: PLC0415 - not everywhere

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _prctl(_PR_SET_DUMPABLE, 0)


def open_to() -> list[str]:
    """By which ways the memory of this process may still get out, in words; none where all is as wanted."""
    found: list[str] = []
    try:
        import resource  # noqa: PLC0415 - not everywhere

        if resource.getrlimit(resource.RLIMIT_CORE)[0] != 0:
            found.append("core files")
    except ImportError:
        found.append("crash dumps of this system")
    if _prctl(_PR_GET_DUMPABLE) != 0:
        found.append("debuggers of the same user")
    return found


def swaps(table: Path = _SWAPS) -> list[str]:
    """The disks to which memory may be written; none is said where the system does not tell."""
    try:
        rows = table.read_text().splitlines()[1:]
    except OSError:
        return []
    return [row.split()[0] for row in rows if row.split() and not row.startswith(_IN_MEMORY)]
