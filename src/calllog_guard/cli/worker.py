"""
`worker ROLE`: runs one worker, as many processes as wanted; `worker all` runs one of each.

Rules: 1. Every line of its log is JSON with time and role.  2. The workers of `all` do not outlive it.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import click
import structlog

from calllog_guard import telemetry
from calllog_guard.app.preflight import make_state_dir
from calllog_guard.cli._options import Args, argument, command, flag
from calllog_guard.devstack.offspring import AskedError, begun, unwound_by_signals
from calllog_guard.errors import GuardError, exit_code
from calllog_guard.settings import FIRST_ROLES, PREFIX, ROLES, Settings, from_environment

log: Final = structlog.get_logger()
_LOOK_S: Final = 0.2
_KILL_S: Final = 30.0
"""Longer than a worker takes to end, whatever its state."""


@command("worker")
@argument("role", type=click.Choice([*ROLES, "all"]), help="what it does; all: a process of each")
@flag("--json", help="accepted everywhere; log lines are JSON in any case")
def worker(args: Args) -> int:
    """Run until SIGTERM or SIGINT; 70 after a halt."""
    telemetry.configure(args.role)
    try:
        settings = from_environment(os.environ)
        telemetry.configure(args.role, settings.log_level)
        if args.role == "all":
            make_state_dir(settings)
            return _all(settings)
        from calllog_guard.app.hosted import host  # noqa: PLC0415 - takes long to load

        return host(args.role, settings).lived()
    except GuardError as error:
        log.error("refused to start", why=str(error), kind=type(error).__name__)  # noqa: TRY400 - a trace may quote data
        return exit_code(error)


def _all(settings: Settings) -> int:
    """One worker of each role; when one ends, all do."""
    address, _, port = settings.http.rpartition(":")
    children: dict[str, subprocess.Popen[bytes]] = {}
    was_asked = False
    with unwound_by_signals():
        try:
            for number, name in enumerate(_roles(settings)):
                own = os.environ | {f"{PREFIX}HTTP": f"{address}:{int(port) + number if int(port) else 0}"}
                command = (sys.executable, "-m", "calllog_guard.cli", "worker", name)
                children[name] = begun(command, signal.SIGTERM, env=own)
            while not (over := [name for name, child in children.items() if child.poll() is not None]):
                time.sleep(_LOOK_S)
            log.error("a worker ended by itself: all are stopped", role=over[0])
        except AskedError:
            was_asked = True
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_IGN)  # it ends already
        codes = _ended(children.values())
    well = {0, -signal.SIGTERM}  # who is ended before it listens to signals has begun nothing
    return 0 if was_asked and well.issuperset(codes) else 70


def _roles(settings: Settings) -> list[str]:
    """Those of `all`: who has named no source of platforms' messages takes none in, and pairs none."""
    return [role for role in ROLES if role in FIRST_ROLES or Path(settings.ingest).is_file()]


def _ended(children: Iterable["subprocess.Popen[bytes]"]) -> list[int]:
    """End what still runs; the exit codes of all."""
    for child in children:
        if child.poll() is None:
            child.terminate()
    last = time.monotonic() + _KILL_S
    for child in children:
        try:
            child.wait(max(0, last - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.kill()
    return [child.wait() for child in children]
