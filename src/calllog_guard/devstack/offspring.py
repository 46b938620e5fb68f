"""
Child processes that do not outlive us, and ends that leave none behind.

Rules: 1. The kernel tells a child when its starting thread ends, even by SIGKILL (Linux); elsewhere orderly ends do.
       2. The first SIGTERM or SIGINT unwinds what has begun; those that follow do not disturb the unwinding.
       3. One that comes while a child starts unwinds once it is there: what is raised before is lost, for Python only
          prints what its hooks around a fork raise.
Source: prctl(2), PR_SET_PDEATHSIG.
"""

import ctypes
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

_PR_SET_PDEATHSIG: Final = 1
_KILLED: Final = 128
"""Shells call the end by signal N 128 + N."""


_STARTS: Final[list[int]] = []
"""Of each start of a child that is under way, the signal that came meanwhile, or 0."""


class AskedError(SystemExit):
    """SIGTERM or SIGINT has asked us to end; `code` is what a shell expects of it."""

    code: int


@contextmanager
def unwound_by_signals() -> Iterator[None]:
    """
    Have the first SIGTERM or SIGINT raise AskedError here, and pass over those that follow.

    Raises:
        AskedError: From wherever the signal meets us; the handlers of before are back once this block is left.

    """
    asked = False

    def unwind(number: int, _: Any) -> None:
        nonlocal asked
        if not asked:
            asked = True
            if _STARTS:
                _STARTS[-1] = number
            else:
                raise AskedError(_KILLED + number)

    before = {each: signal.signal(each, unwind) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def begun(
    command: Sequence[str], ends_by: signal.Signals = signal.SIGKILL, /, **options: Any
) -> "subprocess.Popen[Any]":
    """
    Start a child that the kernel ends with us, by this signal.

    Raises:
        AskedError: A signal came meanwhile; the child is ended.

    """
    _STARTS.append(0)
    try:
        child = subprocess.Popen(command, preexec_fn=ends_with_us(ends_by), **options)  # noqa: S603, PLW1509 - ours
    finally:
        number = _STARTS.pop()
    if number:
        child.kill()
        child.wait()
        raise AskedError(_KILLED + number)
    return child


def ends_with_us(number: signal.Signals = signal.SIGKILL) -> Callable[[], None] | None:
    """What a new child does before its program, to get this signal when we have ended; None where no kernel does it."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is None:  # not Linux
        return None
    parent = os.getpid()

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, int(number))
        if os.getppid() != parent:  # it ended before the kernel knew
            os._exit(_KILLED + int(number))

    return ask
