"""
Workers as forks of one process that has imported everything: an interpreter for each takes most of a second of CPU.

A fork is a process of its own, with its own environment, log, signals: it may be frozen, killed, crashed. Run as a
program, this file is the process that forks: a line of JSON in, a process id out.
"""

import atexit
import ctypes
import functools
import gc
import importlib
import json
import os
import pkgutil
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

_PR_SET_CHILD_SUBREAPER: Final = 36
"""Source: prctl(2). An orphan's parent is then who has asked for it, and can wait for it."""


class Forked(subprocess.Popen[bytes]):
    """A fork that runs our command line; waited for like any child."""

    def __init__(self, words: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.args, self.returncode = words, None
        self.stdin = self.stdout = self.stderr = None
        self._waitpid_lock, self._sigint_wait_secs = threading.Lock(), 0.25
        adopting(on=True)
        try:
            self.pid = _server().forked({"words": list(words), "environment": dict(environment), "log": str(log)})
        finally:
            adopting(on=False)
        self._child_created = True


class Together(subprocess.Popen[bytes]):
    """Several as one, as `worker all` has them: it has ended when one of them has."""

    def __init__(self, each: Sequence[Forked]) -> None:
        self._each, self.args, self.pid = each, ["worker", "all"], each[0].pid
        self.stdin = self.stdout = self.stderr = None

    def poll(self) -> int | None:
        """The exit code of one that has ended by itself, or that of all."""
        codes = [each.poll() for each in self._each]
        ended = [code for code in codes if code is not None]
        self.returncode = max(ended, key=abs) if any(ended) or len(ended) == len(codes) else None
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for all."""
        for each in self._each:
            each.wait(timeout)
        return self.poll() or 0

    def send_signal(self, sig: int) -> None:
        """To all of them."""
        for each in self._each:
            each.send_signal(sig)


def adopting(*, on: bool) -> None:
    """Whether orphans of our descendants become our children."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, int(on), 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


class _Server:
    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        atexit.register(self._process.communicate)

    def forked(self, request: Mapping[str, Any]) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


@functools.cache
def _server() -> _Server:
    return _Server()


def _load() -> None:
    warnings.simplefilter("ignore")  # libraries warn at their import
    import calllog_guard  # noqa: PLC0415 - in the server alone

    for each in pkgutil.walk_packages(calllog_guard.__path__, "calllog_guard."):
        if not each.name.endswith("__main__"):
            importlib.import_module(each.name)
    warnings.resetwarnings()
    gc.collect()
    gc.freeze()


def _serve() -> None:
    while line := sys.stdin.readline():
        request = json.loads(line)
        ours, theirs = os.pipe()
        middle = os.fork()
        if middle == 0:  # it ends at once, so that the fork is an orphan, and who has asked adopts it
            pid = os.fork()
            if pid == 0:
                os.close(ours)
                os.close(theirs)
                _become(**request)
            os.write(theirs, str(pid).encode())
            os._exit(0)
        os.close(theirs)
        os.waitpid(middle, 0)
        print(os.read(ours, 32).decode(), flush=True)  # noqa: T201 - the answer
        os.close(ours)


def _become(words: Sequence[str], environment: Mapping[str, str], log: str) -> None:
    from calllog_guard.cli import program  # noqa: PLC0415

    os.environ.clear()
    os.environ.update(environment)
    nothing, file = os.open(os.devnull, os.O_RDONLY), os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.dup2(nothing, 0)
    for each in (1, 2):
        os.dup2(file, each)
    os.close(nothing)
    os.close(file)
    sys.argv = ["calllog-guard", *words]
    program()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _load()
    _serve()
