"""
`calllog-guard stack up|down|status`: a real Kafka and a real Redis in one folder.

Rules: 1. A lock on `stack.lock` says whether a stack runs; `stack.json` only says which.
       2. No signal is sent to a recorded process id unless that lock is held.
"""

import argparse
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from calllog_guard.errors import ConfigurationError, GuardError, StateRefusedError
from calllog_guard.stack.supervisor import PROFILES, Stack

_DONE: Final = 0
_UNAVAILABLE: Final = 3
_REFUSED: Final = 4
_READY_S: Final = 1200.0  # the first start fetches Kafka
_DOWN_S: Final = 60.0


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the verb `stack`."""
    verb = subparsers.add_parser("stack", help="run a real Kafka and a real Redis in one folder", description=__doc__)
    actions = verb.add_subparsers(metavar="ACTION", required=True)
    up = actions.add_parser("up", help="start both and stay until SIGTERM or SIGINT")
    up.add_argument("--profile", choices=PROFILES, default="fast", help="fast: compaction within seconds")
    up.add_argument("-d", "--detach", action="store_true", help="return once both answer; end it with `stack down`")
    up.set_defaults(run=_up)
    down = actions.add_parser("down", help="end the stack of the folder")
    down.set_defaults(run=_down)
    status = actions.add_parser("status", help="whether the folder's stack runs: exit 0, else 4")
    status.set_defaults(run=_status)
    for action in (up, down, status):
        action.add_argument("--dir", type=Path, required=True, help="the folder that keeps all data")
        action.add_argument("--json", action="store_true", help="print one JSON line")


def _up(args: argparse.Namespace) -> int:
    folder = Path(args.dir).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    return _detached(args, folder) if args.detach else _foreground(args, folder)


def _foreground(args: argparse.Namespace, folder: Path) -> int:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    record = folder / "stack.json"
    try:
        with _held(folder):
            record.unlink(missing_ok=True)
            stack = Stack(folder, args.profile)
            try:
                stack.start()
                found = {"pid": os.getpid(), "kafka": stack.kafka, "redis": stack.redis, "dir": str(folder)}
                found |= {"profile": stack.profile, "env": stack.environment}
                _write(record, found)
                _say(args, found, f"ready: kafka {stack.kafka}, redis {stack.redis}")
                return _watch(stack)
            finally:
                signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second signal must not leave a child behind
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                stack.stop()
                record.unlink(missing_ok=True)
    except KeyboardInterrupt:
        return _DONE


def _watch(stack: Stack) -> int:
    """Wait for a signal, which arrives as KeyboardInterrupt; return only when a child died."""
    while True:
        try:
            stack.check()
        except ConfigurationError as error:
            sys.stderr.write(f"calllog-guard: {error}\n")
            return _UNAVAILABLE
        time.sleep(0.2)


def _detached(args: argparse.Namespace, folder: Path) -> int:
    if _runs(folder):
        raise _already(folder)
    command = [sys.executable, "-m", __spec__.name, "stack", "up", "--dir", str(folder), "--profile", args.profile]
    log = folder / "stack.log"
    with log.open("wb") as output:
        child = subprocess.Popen(  # noqa: S603
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    end = time.monotonic() + _READY_S
    try:
        while time.monotonic() < end:
            found = _read(folder)
            if found is not None and found["pid"] == child.pid:
                child.returncode = _DONE  # it stays; Popen must not warn that we leave it
                _say(args, found, f"ready: kafka {found['kafka']}, redis {found['redis']}")
                return _DONE
            code = child.poll()
            if code is not None:
                sys.stderr.write(log.read_text(encoding="utf-8", errors="replace"))
                return code if code > 0 else _UNAVAILABLE
            time.sleep(0.1)
    except BaseException:
        child.terminate()
        child.wait()
        raise
    child.terminate()
    child.wait()
    sys.stderr.write(f"calllog-guard: the stack was not ready within {_READY_S:.0f} s; see {log}\n")
    return _UNAVAILABLE


def _down(args: argparse.Namespace) -> int:
    folder = Path(args.dir).resolve()
    if not _runs(folder):
        _say(args, {"running": False, "dir": str(folder)}, f"no stack runs in {folder}")
        return _DONE
    found = _read(folder)
    if found is None:
        msg = f"the stack in {folder} is starting or ending: try again"
        raise StateRefusedError(msg)
    os.kill(int(found["pid"]), signal.SIGTERM)
    end = time.monotonic() + _DOWN_S
    while _runs(folder):
        if time.monotonic() > end:
            sys.stderr.write(f"calllog-guard: process {found['pid']} did not end within {_DOWN_S:.0f} s\n")
            return _UNAVAILABLE
        time.sleep(0.1)
    _say(args, {"running": False, "dir": str(folder)}, f"ended the stack in {folder}")
    return _DONE


def _status(args: argparse.Namespace) -> int:
    folder = Path(args.dir).resolve()
    found = _read(folder) if _runs(folder) else None
    if found is None:
        _say(args, {"running": False, "dir": str(folder)}, f"no stack is ready in {folder}")
        return _REFUSED
    _say(args, {"running": True, **found}, f"running: kafka {found['kafka']}, redis {found['redis']}")
    return _DONE


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; the kernel lets go of it when we end, however we end."""
    with (folder / "stack.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise _already(folder) from error
        yield


def _runs(folder: Path) -> bool:
    path = folder / "stack.lock"
    if not path.exists():
        return False
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _already(folder: Path) -> StateRefusedError:
    return StateRefusedError(f"a stack runs in {folder} already: use it, or end it with `stack down`")


def _read(folder: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads((folder / "stack.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return found


def _write(path: Path, found: dict[str, Any]) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(found) + "\n", encoding="utf-8")
    fresh.replace(path)


def _say(args: argparse.Namespace, found: dict[str, Any], text: str) -> None:
    sys.stdout.write((json.dumps(found) if args.json else text) + "\n")
    sys.stdout.flush()


def _main() -> int:
    """The verb on its own: how `up --detach` starts itself."""
    root = argparse.ArgumentParser(prog="calllog-guard")
    register(root.add_subparsers(metavar="VERB", required=True))
    args = root.parse_args()
    try:
        return int(args.run(args))
    except GuardError as error:
        sys.stderr.write(f"calllog-guard: {error}\n")
        return _REFUSED if isinstance(error, StateRefusedError) else 2


if __name__ == "__main__":
    sys.exit(_main())
