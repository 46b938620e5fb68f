"""The command line: `calllog-guard VERB`, one module of `commands/` per family of verbs."""

import argparse
import contextlib
import os
import re
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Final, NoReturn

from calllog_guard import __version__, telemetry
from calllog_guard.adapters.process import process_memory
from calllog_guard.errors import GuardError, exit_code

EXITS = "exit codes: 0 done, 1 a finding, 2 usage or configuration, 3 unavailable, 4 refused by state, 70 halt"
VERBS: Final = {
    "stack": "stack",
    "init": "setup",
    "topics": "topics",
    "tenant": "tenants",
    "key": "keys",
    "policy": "policy",
    "doctor": "doctor",
    "worker": "worker",
    "emit": "calls",
    "read": "read",
    "import": "imports",
    "dead": "letters",
    "request": "rights",
    "case": "cases",
    "report": "report",
    "receipt": "receipts",
    "notice": "notices",
    "export": "export",
    "scan": "scan",
    "keystore": "keystore",
    "rebuild": "rebuild",
    "expiry": "expiry",
    "demo": "demo",
}
"""The module of `commands/` that has each verb, in the order of `--help`; no other is loaded when one is asked for."""


class Parser(argparse.ArgumentParser):
    """Takes what looks like one of our ids for a value, although one in 64 begins with `-`: they are base64url."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        # the library asks this pattern what is a value and no option; it has no public way
        self._negative_number_matcher = re.compile(r"^-[\w-]{21}$|^-\d+$", re.ASCII)


def parser(verb: str = "") -> argparse.ArgumentParser:
    """The whole command line, or what one of its verbs needs; `--help` of each teaches it."""
    root = Parser(prog="calllog-guard", description=__doc__, epilog=EXITS)
    root.add_argument("--version", action="version", version=__version__)
    verbs = root.add_subparsers(metavar="VERB", required=True)
    for family in [VERBS[verb]] if verb in VERBS else VERBS.values():
        import_module(f"calllog_guard.commands.{family}").register(verbs)
    return root


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    words = sys.argv[1:] if argv is None else argv
    verb = words[0] if words else ""
    args = parser(verb).parse_args(words)
    if verb != "worker":
        telemetry.mute()
    try:
        return int(args.run(args))
    except GuardError as error:
        print(f"calllog-guard: {error}", file=sys.stderr)  # noqa: T201 - talk goes to stderr
        return exit_code(error)
    except BrokenPipeError:
        sys.stderr.close()  # whoever read our output has seen enough
        return 0
    except OSError as error:
        print(f"calllog-guard: {error.strerror}: {error.filename}", file=sys.stderr)  # noqa: T201
        return 2
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # noqa: BLE001 - a defect; its text may quote data, its kind and place do not
        place = telemetry.place(error.__traceback__)
        print(f"calllog-guard: this should not happen: {type(error).__name__} at {place}", file=sys.stderr)  # noqa: T201
        return 70


def program() -> NoReturn:
    """The command line as a process: it ends when its command has, whatever a thread of it still waits for."""
    process_memory.close()
    try:
        code = main()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 2
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # nobody reads any more
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    program()
