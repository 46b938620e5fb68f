"""`stack up|down|status`: a real Kafka and a real Redis in one folder, for development, tests and the demo."""

import fcntl
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import click

from calllog_guard.cli._options import Args, argument, command, file, flag
from calllog_guard.cli._output import say, show
from calllog_guard.core.rights.grants import USERS
from calllog_guard.devstack.offspring import AskedError, unwound_by_signals
from calllog_guard.errors import ConfigurationError, StateRefusedError

if TYPE_CHECKING:
    from calllog_guard.devstack.supervisor import Stack

_READY_S: Final = 300.0
_STOP_S: Final = 30.0
"""Longer than a supervisor waits for its servers."""
_KILL_S: Final = 10.0
_WATCH_S: Final = 0.5
_LOCK: Final = "stack.lock"


def _locked(directory: Path) -> IO[str] | None:
    """
    The folder's lock, with our process id in it, and in the end who had to be killed; None when another stack holds it.

    The servers hold it too: it is free again once all of them have ended, whatever became of who started them.
    """
    directory.mkdir(parents=True, exist_ok=True)
    lock = (directory / _LOCK).open("a")
    for pause in (*[0.05] * 20, 0.0):  # who only asks whether it is free holds it for a moment
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            time.sleep(pause)
    else:
        lock.close()
        return None
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


def _free(directory: Path) -> bool:
    """Whether nothing of a stack runs in a folder."""
    try:
        with (directory / _LOCK).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return True
    except BlockingIOError:
        return False
    return True


def _state(directory: Path) -> dict[str, Any] | None:
    """What is ready in a folder; a record whose stack no longer holds the lock is a crash's."""
    if _free(directory):
        return None
    try:
        found: dict[str, Any] = json.loads((directory / "stack.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return found


def _text(found: dict[str, Any]) -> str:
    users = [f"# the environment of {user}: {path}" for user, path in found["users"].items()]
    head = f"# {found['profile']} stack of {found['brokers']} broker(s) in {found['dir']}"
    return "\n".join([head, *users, _exports(found["env"])])


def _exports(environment: Mapping[str, str]) -> str:
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in environment.items())


def _users(stack: "Stack") -> dict[str, str]:
    """Where each user's environment was written: names of settings, and of the files with their secrets."""
    if stack.secured is None:
        return {}
    found = {user: stack.secured.folder / f"{user}.env" for user in USERS}
    for user, path in found.items():
        path.write_text(_exports(stack.environment_of(user)) + "\n", "utf-8")
    return {user: str(path) for user, path in found.items()}


@command("stack")
@argument("action", type=click.Choice(["up", "down", "status"]))
@file("--dir", metavar="DIR", required=True, help="where data, logs and stack.json lie")
@click.option(
    "--profile",
    type=click.Choice(["fast", "production", "secure"]),
    default="fast",
    help="fast: compaction in seconds instead of hours; secure: fast, with TLS, a user per role, and rights",
)
@click.option(
    "--brokers",
    type=click.Choice([1, 3]),
    default=1,
    help="3: every record has three replicas, one broker may be away",
)
@flag("--detach", "-d", help="up: return once ready, and run on")
def stack(args: Args) -> int:
    """See the module."""
    directory = args.dir.resolve()
    found = _state(directory)
    if args.action == "status":
        if found is None:
            return _none(args, directory, 3)
        show(args, {"running": True} | found, _text(found))
        return 0
    if args.action == "down":
        return _down(args, directory)
    if found is not None:
        raise StateRefusedError(f"a stack already runs in {directory} (pid {found['pid']}): stack down it first")
    return _detached(args, directory) if args.detach else _up(args, directory)


def _none(args: Args, directory: Path, code: int) -> int:
    say(f"no stack runs in {directory}")
    if args.json:
        show(args, {"running": False, "dir": str(directory)}, "")
    return code


def _down(args: Args, directory: Path) -> int:
    """End what runs in a folder, ready or not; returns when all of it has ended."""
    if _free(directory):
        return _none(args, directory, 0)
    noted = (directory / _LOCK).read_text("utf-8").split()
    if not noted:
        raise StateRefusedError(f"the stack in {directory} began this moment: ask again")
    pid, servers = int(noted[0]), (_state(directory) or {}).get("servers", {})
    for number in (signal.SIGTERM, signal.SIGCONT):  # one that was stopped would not hear
        _signal(pid, number)
    if not _ends(directory, _STOP_S):
        for name, each in {**servers, "the supervisor": pid}.items():
            if _signal(each, signal.SIGKILL):
                say(f"{name} (pid {each}) has not ended within {_STOP_S:.0f} s and is killed")
        if not _ends(directory, _KILL_S):
            raise StateRefusedError(f"something that the stack in {directory} (pid {pid}) has started still runs")
    for name in (directory / _LOCK).read_text("utf-8").split()[1:]:
        say(f"{name} did not end by itself and was killed")
    if args.json:
        show(args, {"running": False, "dir": str(directory), "pid": pid}, "")
    return 0


def _signal(pid: int, number: signal.Signals) -> bool:
    """Send a signal; whether somebody was there."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def _ends(directory: Path, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not (free := _free(directory)) and time.monotonic() < end:
        time.sleep(0.1)
    return free


def _ready(directory: Path, child: "subprocess.Popen[bytes]") -> dict[str, Any]:
    """What runs in a folder, once it does."""
    end = time.monotonic() + _READY_S
    while (found := _state(directory)) is None:
        if child.poll() is not None or time.monotonic() > end:
            raise ConfigurationError(f"the stack did not start; see {directory / 'stack.log'}")
        time.sleep(0.2)
    return found


def _detached(args: Args, directory: Path) -> int:
    directory.mkdir(parents=True, exist_ok=True)
    words = ["stack", "up", "--dir", str(directory), "--profile", args.profile, "--brokers", str(args.brokers)]
    command = [sys.executable, "-m", "calllog_guard.cli", *words]
    with unwound_by_signals(), (directory / "stack.log").open("ab") as log:
        child = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)  # noqa: S603
        try:
            found = _ready(directory, child)
        except BaseException:
            child.terminate()
            child.wait()
            raise
    show(args, found, _text(found))
    return 0


def _up(args: Args, directory: Path) -> int:
    from calllog_guard.devstack.supervisor import Stack  # noqa: PLC0415 - `stack down` needs no client library

    if args.profile != "production":
        say(f"{args.profile} profile: compaction, expiry and rebalances take seconds here, hours in production")
    record = directory / "stack.json"
    lock = _locked(directory)
    if lock is None:
        raise StateRefusedError(f"a stack already runs or starts in {directory}: stack down it first")
    record.unlink(missing_ok=True)
    with lock, unwound_by_signals():
        stack = Stack(directory, args.profile, brokers=args.brokers, keeps=[lock.fileno()])
        ready = False
        try:
            stack.start()
            _told(args, directory, stack)
            ready = True
            while True:
                time.sleep(_WATCH_S)
                stack.check()
        except AskedError as asked:
            return 0 if ready else asked.code
        except ConfigurationError as error:
            if not ready:
                raise
            say(str(error))
            return 3
        finally:
            lock.write("".join(f" {name}" for name in stack.stop()))  # whoever waits for the end hears who was killed
            record.unlink(missing_ok=True)


def _told(args: Args, directory: Path, stack: "Stack") -> None:
    """Write down and show what runs, once it is ready."""
    found = {
        "pid": os.getpid(),
        "servers": stack.pids,
        "kafka": stack.kafka,
        "redis": stack.redis,
        "dir": str(directory),
        "profile": args.profile,
        "brokers": args.brokers,
        "env": stack.environment,
        "users": _users(stack),
    }
    (directory / "stack.env").write_text(_text(found) + "\n", "utf-8")
    draft = directory / "stack.json.new"
    draft.write_text(json.dumps(found), "utf-8")
    draft.replace(directory / "stack.json")
    show(args, found, _text(found))
    sys.stdout.flush()
